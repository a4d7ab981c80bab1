"""The encoder of a network, and its stages: what a network has that is pretrained, frozen, or learned at rates of its own."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from seg.models.dry_run import modes_kept

PLACES = ("encoder", "backbone.encoder", "backbone.body", "backbone", "features")
"""Where networks keep it: smp's; `EncoderPyramid`; torchvision's detectors; torchvision's semantic networks; `FCN`."""

SIDES = (64, 224)  # pixels of the square image with which the stages are found; some transformers take the second alone


@runtime_checkable
class HasEncoder(Protocol):
    """A network that knows its own encoder, whose features cannot be seen from outside."""

    def encoder_within(self) -> tuple[str, nn.Module]: ...

    def encoder_stages(self) -> dict[str, int]: ...


def find_encoder(network: nn.Module) -> tuple[str, nn.Module] | None:
    """The encoder's name in the network, and the encoder; None where the network has none."""
    if isinstance(network, HasEncoder):
        return network.encoder_within()
    for place in PLACES:
        try:
            found = attrgetter(place)(network)
        except AttributeError:
            continue
        if isinstance(found, nn.Module) and next(found.parameters(), None) is not None:
            return place, found
    return None


def stages_of(network: nn.Module, in_channels: int) -> dict[str, int]:
    """{parameter of the encoder, by its name there: its stage, 1 the stem's, the highest the deepest}.

    A stage is what one level of features needs beyond the levels before it, found by differentiation. Levels are the
    features that the encoder gives as a list; else what its children give, the last of each stride. A dilation counts as
    the stride that it stands for. Empty for a network without an encoder.
    """
    if isinstance(network, HasEncoder):
        return network.encoder_stages()
    found = find_encoder(network)
    if found is None:
        return {}
    _, encoder = found
    named = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    levels = _levels(network, encoder, in_channels, SIDES)
    stages: dict[str, int] = {}
    for stage, level in enumerate(levels, start=1):
        gradients = torch.autograd.grad(level.sum(), list(named.values()), retain_graph=True, allow_unused=True)
        for name, gradient in zip(named, gradients, strict=True):
            if gradient is not None:
                stages.setdefault(name, stage)
    used = {stage: number for number, stage in enumerate(sorted({*stages.values(), 1}), start=1)}  # a level may add nothing
    return {name: used[stages.get(name, max(used))] for name in named}


def _levels(network: nn.Module, encoder: nn.Module, in_channels: int, sides: Sequence[int]) -> list[Tensor]:
    """Features of an image of zeros, from fine to coarse; the modules' modes stay as they are."""
    given: list[Any] = []
    by_child: list[tuple[int, Tensor]] = []

    def keep(child: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.requires_grad:
            dilation = max((m.dilation[0] for m in child.modules() if isinstance(m, nn.Conv2d)), default=1)
            by_child.append((sides[0] // output.shape[-1] * int(dilation), output))

    hooks = [encoder.register_forward_hook(lambda _, __, output: given.append(output))]
    hooks += [child.register_forward_hook(keep) for child in encoder.children()]
    whole = getattr(network, "backbone", network)  # torchvision's detectors do not take a plain batch
    try:
        with modes_kept(whole), torch.enable_grad():
            whole.eval()
            whole(torch.zeros(1, in_channels, sides[0], sides[0]))
    except (RuntimeError, AssertionError, ValueError):
        if len(sides) == 1:
            raise
        return _levels(network, encoder, in_channels, sides[1:])
    finally:
        for hook in hooks:
            hook.remove()
    listed = [t for t in _tensors(given[0]) if t.requires_grad] if given else []
    if len(listed) > 1:
        return listed
    levels: dict[int, Tensor] = {}
    reached = 0
    for stride, output in by_child:
        reached = max(reached, stride)
        levels[reached] = output
    return list(levels.values()) or listed


def _tensors(output: Any) -> list[Tensor]:
    """The tensors of a list or tuple, or of its first member where that is one (smp's vision transformers)."""
    if isinstance(output, list | tuple) and output and isinstance(output[0], list | tuple):
        output = output[0]
    return [t for t in output if isinstance(t, Tensor)] if isinstance(output, list | tuple) else []
