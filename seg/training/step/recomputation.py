"""Activation checkpointing (Chen et al. 2016): blocks keep their input alone, and run again when the backward pass needs the rest.

torch's `checkpoint_wrapper` does the work; it leaves the names in the state dict as they are, and draws the same dropout again.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from seg.core.errors import ConfigError
from seg.core.private_torch import apply_activation_checkpointing, changes_in_place, checkpoint_wrapper

SHARE = 0.125
"""Of the network's activations: what a block may hold while it runs again. Smaller ones would keep more inputs, larger ones run in more
memory."""


def checkpoint_activations(network: nn.Module, images: Tensor) -> list[str]:
    """Have the network's blocks forget what they can compute again; returns their names. images: (1, C, H, W) as the network takes them.

    ConfigError where it has no such blocks.
    """
    chosen = find_blocks(network, images)
    if not chosen:
        raise ConfigError(
            f"trainer.activation_checkpointing=true: {type(network).__name__} has no blocks that could run again; "
            "set trainer.activation_checkpointing=false"
        )
    blocks = {id(network.get_submodule(name)) for name in chosen}
    apply_activation_checkpointing(
        network,
        checkpoint_wrapper_fn=lambda block: checkpoint_wrapper(block, context_fn=partial(_contexts, block)),
        check_fn=lambda module: id(module) in blocks,
    )
    return chosen


def find_blocks(network: nn.Module, images: Tensor) -> list[str]:
    """The outermost modules whose activations are at most SHARE of all, of two layers or more; the innermost where all are larger.

    Only those that are called once, give one tensor, and whose input nobody changes in place.
    """
    trace = _ForwardTrace(network, images)

    def choose(module: nn.Module, prefix: str) -> list[str]:
        found: list[str] = []
        for name, child in module.named_children():
            path = f"{prefix}{name}"
            if trace.fits(child) and trace.held(child) <= SHARE * trace.held(network):
                found.append(path)
            else:
                found += choose(child, f"{path}.") or [path] * trace.fits(child)
        return found

    return choose(network, "")


class _ForwardTrace:
    """What the modules of a network are called with and give, found by one forward pass in evaluation mode."""

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        self.calls: Counter[nn.Module] = Counter()
        self.given: dict[nn.Module, Any] = {}
        self.seen: dict[nn.Module, list[tuple[Tensor, int]]] = {}
        modes = {module: module.training for module in network.modules()}
        hooks = [m.register_forward_pre_hook(self._before) for m in modes] + [m.register_forward_hook(self._after) for m in modes]
        try:
            with torch.no_grad():
                network.eval()(images)
        finally:
            for hook in hooks:
                hook.remove()
            for module, mode in modes.items():
                module.training = mode
        self.changed = {m for m, inputs in self.seen.items() if any(changes_in_place(t) != count for t, count in inputs)}
        self.elements = {m: sum(t.numel() for t in _tensors(given)) for m, given in self.given.items()}
        self.plain = {m for m, given in self.given.items() if isinstance(given, Tensor)}
        self.seen, self.given = {}, {}

    def _before(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.seen[module] = [(t, changes_in_place(t)) for t in _tensors(inputs)]

    def _after(self, module: nn.Module, _: Any, output: Any) -> None:
        self.calls[module] += 1
        self.given[module] = output

    def fits(self, module: nn.Module) -> bool:
        layers = [m for m in _layers(module) if self.calls[m]]
        return self.calls[module] == 1 and module in self.plain and module not in self.changed and len(layers) > 1

    def held(self, module: nn.Module) -> int:
        """Elements that the layers within a module give."""
        return sum(self.elements.get(m, 0) * self.calls[m] for m in _layers(module))


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    return (m for m in module.modules() if not any(True for _ in m.children()))


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for part in value for t in _tensors(part)] if isinstance(value, list | tuple) else []


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Of the first run, and of the second."""
    return nullcontext(), _buffers_kept(block)


@contextmanager
def _buffers_kept(block: nn.Module) -> Iterator[None]:
    """What a second run does to buffers is lost: a batch norm's running statistics follow each batch once."""
    own = [(m, name, value) for m in block.modules() for name, value in m.named_buffers(recurse=False, remove_duplicate=False)]
    try:
        for module, name, value in own:
            setattr(module, name, value.clone())
        yield
    finally:
        for module, name, value in own:
            setattr(module, name, value)
