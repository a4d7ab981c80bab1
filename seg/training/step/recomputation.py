"""The settings by which a step takes less time or memory: precision, fused optimizers, compilation, and activation checkpointing."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from seg.core.environment import in_first_process
from seg.core.errors import ConfigError
from seg.core.private_torch import apply_activation_checkpointing, changes_in_place, checkpoint_wrapper
from seg.models.base import SegmentationModel
from seg.models.dry_run import modes_kept
from seg.models.hardware import compile_in_place, set_float32_matmul
from seg.models.tensor_file import tensors_in
from seg.settings.section import NamedTarget
from seg.training.loading.datamodule import SegmentationData
from seg.training.settings import Trainer

FUSED = {"cuda": ("SGD", "Adam", "AdamW"), "cpu": ("Adam", "AdamW")}
"""Optimizers of torch that one kernel a device steps faster; on a CPU SGD's takes as long as without."""
SHARE = 0.125
"""Of the network's activations: what a block may hold while it runs again. Smaller ones would keep more inputs, larger ones run in more
memory."""


def check_acceleration(settings: Trainer, device: torch.device) -> None:
    """Raise ConfigError for what this device, or the strategy, cannot do."""
    if settings.precision == "16-mixed" and device.type == "cpu":
        raise ConfigError("trainer.precision=16-mixed: needs a GPU; on a CPU set trainer.precision=auto, 32-true or bf16-mixed")
    if settings.compile and settings.activation_checkpointing:
        raise ConfigError(
            "trainer.compile=true with trainer.activation_checkpointing=true: torch cannot compile blocks that run again; set one "
            "of them to false (a compiled network keeps fewer activations by itself)"
        )
    if settings.average != "none" and settings.strategy.startswith(("fsdp", "deepspeed")):
        problem = f"trainer.average={settings.average}: needs the whole network in each rank, which trainer.strategy={settings.strategy}"
        raise ConfigError(f"{problem} does not have; set trainer.strategy=ddp, or trainer.average=none")


def accelerate(settings: Trainer, model: SegmentationModel, data: SegmentationData, device: torch.device) -> None:
    """Make a model whose network was checked, and whose parameters are grouped, ready for quick steps."""
    set_float32_matmul(settings.float32_matmul, device)
    if settings.activation_checkpointing:
        size = data.image_sizes()[0][0]
        images, _ = model.network_input(torch.zeros(1, data.info.channels, *size, dtype=torch.uint8))
        checkpoint_activations(model.body, images)
    if settings.compile:
        compile_in_place(model.body, "trainer.compile", print if in_first_process() else lambda _: None)


def chosen_fused(optimizer: NamedTarget, precision: str, device: torch.device) -> NamedTarget:
    """The optimizer with `fused: auto` replaced: whether its kernel gains on this device, and gradients can still be clipped."""
    if optimizer.arguments.get("fused") != "auto":
        return optimizer
    known = optimizer.target.startswith("torch.optim.") and optimizer.target.rpartition(".")[2] in FUSED.get(device.type, ())
    arguments: dict[str, Any] = {**optimizer.arguments, "fused": True if known and precision != "16-mixed" else None}
    return NamedTarget.model_validate({"_target_": optimizer.target, "name": optimizer.name, **arguments})


def checkpoint_activations(network: nn.Module, images: Tensor) -> list[str]:
    """Have the network's blocks forget what they can compute again; returns their names. images: (1, C, H, W) as the network takes them.

    ConfigError where it has no such blocks."""
    chosen = find_blocks(network, images)
    if not chosen:
        problem = f"trainer.activation_checkpointing=true: {type(network).__name__} has no blocks that could run again"
        raise ConfigError(f"{problem}; set trainer.activation_checkpointing=false")
    blocks = {id(network.get_submodule(name)) for name in chosen}
    apply_activation_checkpointing(
        network,
        checkpoint_wrapper_fn=lambda block: checkpoint_wrapper(block, context_fn=lambda: (nullcontext(), _buffers_kept(block))),
        check_fn=lambda module: id(module) in blocks,
    )
    return chosen


def find_blocks(network: nn.Module, images: Tensor) -> list[str]:
    """The outermost modules whose activations are at most SHARE of all, of two layers or more; the innermost where all are larger.

    Only those that are called once, give one tensor, and whose input nobody changes in place."""
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
        modules = list(network.modules())
        hooks = [m.register_forward_pre_hook(self._before) for m in modules] + [m.register_forward_hook(self._after) for m in modules]
        try:
            with modes_kept(network), torch.no_grad():
                network.eval()(images)
        finally:
            for hook in hooks:
                hook.remove()
        self.changed = {m for m, inputs in self.seen.items() if any(changes_in_place(t) != count for t, count in inputs)}
        self.elements = {m: sum(t.numel() for t in tensors_in(given)) for m, given in self.given.items()}
        self.plain = {m for m, given in self.given.items() if isinstance(given, Tensor)}
        self.seen, self.given = {}, {}

    def _before(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.seen[module] = [(t, changes_in_place(t)) for t in tensors_in(inputs)]

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
