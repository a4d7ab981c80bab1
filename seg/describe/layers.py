"""What a network costs, layer by layer: parameters, multiply-adds and activations, counted while it works on an image.

Multiply-adds are those of convolutions, matrix products and attention, as papers count them: half of what
`torch.utils.flop_counter` counts, which knows the formula of each operation. Normalisation, activations and resizing count nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from seg.models.tensor_file import tensors_in


@dataclass(slots=True)
class Layer:
    """A module that works by itself.

    name: its place in the network. kind: its class. parameters: its own numbers that can be learned; those that another layer has, too,
    count at the first one. multiply_adds: of one image. outputs: the shape of each of its outputs, of one image; a layer that works several
    times has several. activations: numbers in them.
    """

    name: str
    kind: str
    parameters: int = 0
    multiply_adds: int = 0
    outputs: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def activations(self) -> int:
        return sum(prod(shape) for shape in self.outputs)


def layers_of(network: nn.Module, work: Callable[[], Any]) -> list[Layer]:
    """The layers of a network in the order in which they work; those that do not work in `work` come last, if they have parameters.

    Args:
        network: The network, in the mode in which it is to be described.
        work: Lets the network work on one image.

    Returns:
        A row for each module without parts, and for each one that computes something beside its parts. Their sums are those of the network.
    """
    names = {module: name for name, module in network.named_modules()}
    layers: dict[str, Layer] = {}
    counter = FlopCounterMode(display=False)
    within: list[list[int]] = []  # of each module at work: operations before it, and those of its parts

    def begins(module: nn.Module, _: Any) -> None:
        within.append([counter.get_total_flops(), 0])

    def ends(module: nn.Module, _: Any, output: Any) -> None:
        before, of_parts = within.pop()
        all_of_it = counter.get_total_flops() - before
        if within:
            within[-1][1] += all_of_it
        layer = layers.setdefault(names[module], Layer(names[module], type(module).__name__))
        layer.multiply_adds += (all_of_it - of_parts) // 2
        if not _has_parts(module):
            layer.outputs += [tuple(t.shape[1:]) for t in tensors_in(output)]

    hooks = [hook for module in names for hook in (module.register_forward_pre_hook(begins), module.register_forward_hook(ends))]
    try:
        with counter, _slow_attention():
            work()
    finally:
        for hook in hooks:
            hook.remove()
    owners = _owners(network)
    for module, name in names.items():
        if own := sum(p.numel() for p in module.parameters(recurse=False) if owners[p] == name):
            layers.setdefault(name, Layer(name, type(module).__name__)).parameters = own
    if rest := counter.get_total_flops() // 2 - sum(layer.multiply_adds for layer in layers.values()):  # beside all modules
        layers[""] = Layer("", type(network).__name__, multiply_adds=rest)
    return [layer for layer in layers.values() if layer.parameters or layer.multiply_adds or layer.outputs]


def _has_parts(module: nn.Module) -> bool:
    return next(module.children(), None) is not None


def _owners(network: nn.Module) -> dict[Tensor, str]:
    """Each parameter, and the first module that has it."""
    owners: dict[Tensor, str] = {}
    for name, module in network.named_modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(parameter, name)
    return owners


@contextmanager
def _slow_attention() -> Iterator[None]:
    """Attention by products of matrices, which torch counts; quicker ways, of which some take over on some machines, are not counted."""
    quick = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(quick)
