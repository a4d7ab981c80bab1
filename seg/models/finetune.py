"""How a pretrained network learns: which stages of its encoder, from which epoch, at which share of the learning rate.

Gradual unfreezing and discriminative learning rates are those of Howard and Ruder 2018 (ULMFiT)."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from seg.core.errors import ConfigError
from seg.models.dry_run import modes_kept
from seg.models.settings import Finetune

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
PLACES = ("encoder", "backbone.encoder", "backbone.body", "backbone", "features")
"""Where networks keep their encoder: smp's; `EncoderPyramid`; torchvision's detectors; torchvision's semantic networks; `FCN`."""

SIDES = (64, 224)  # pixels of the square image with which the stages are found; some transformers take the second alone


@dataclass(frozen=True)
class Group:
    """Parameters that learn together. lr_share: of the learning rate. epoch: the first in which they learn, from 0."""

    name: str
    parameters: list[nn.Parameter]
    lr_share: float
    epoch: int


class Plan:
    """Groups from the head to the stem, and the encoder whose frozen parts keep their batch norms' statistics."""

    def __init__(self, groups: list[Group], encoder: nn.Module | None) -> None:
        self.groups, self.encoder = groups, encoder

    def start_epoch(self, model: nn.Module, epoch: int) -> None:
        """Bring the model to the state of an epoch (from 0): what is frozen has no gradients, and is in evaluation mode.

        Without a gradient an optimizer leaves a parameter as it is: no momentum, no weight decay."""
        for group in self.groups:
            for parameter in group.parameters:
                parameter.requires_grad_(epoch >= group.epoch)
        model.train()
        for module in self.encoder.modules() if self.encoder else ():
            parameters = list(module.parameters())
            if parameters and not any(p.requires_grad for p in parameters):
                module.eval()

    def table(self, lr: float | None) -> list[str]:
        """A line a group; nothing where all is learned alike."""
        if len(self.groups) == 1:
            return []
        width = max(len(g.name) for g in self.groups)
        return [
            f"  {g.name:{width}}  {sum(p.numel() for p in g.parameters) / 1e6:6.2f} M parameters  "
            f"{f'{g.lr_share:.3g} of the lr' if lr is None else f'lr {lr * g.lr_share:.3g}'}  from epoch {g.epoch + 1}"
            for g in self.groups
        ]


def freezes(settings: Finetune) -> bool:
    """Whether a part of the encoder is kept as it is, for some epochs or for all."""
    return thaws(settings) or settings.frozen_stages > 0 or settings.frozen_norms


def thaws(settings: Finetune) -> bool:
    """Whether what is learned changes from epoch to epoch."""
    return settings.freeze_epochs > 0 or settings.unfreeze_every > 0


def check_finetune(settings: Finetune, weights: str | None, max_epochs: int) -> None:
    """Raise ConfigError for what cannot work, as far as the settings tell."""
    if freezes(settings) and weights is None:
        problem = f"finetune={settings.name}: would freeze an encoder of random weights; set model.weights=<a hub's name or a local file>"
        raise ConfigError(f"{problem}, or finetune=none")
    if settings.freeze_epochs >= max_epochs:
        wanted = f"expected less than trainer.max_epochs={max_epochs}, or the encoder never learns"
        fix = "to keep it as it is on purpose, set finetune.freeze_epochs=0 and finetune.frozen_stages to the number of its stages"
        raise ConfigError(f"finetune.freeze_epochs={settings.freeze_epochs}: {wanted}; {fix}")


def make_plan(network: nn.Module, rest: nn.Module, settings: Finetune, in_channels: int, max_epochs: int) -> Plan:
    """Freeze what stays frozen, and group the rest: the head (all but the encoder), then stages from the deepest to the stem.

    network: holds the encoder. rest: the model around it. All is one group where all of it learns alike."""
    if not freezes(settings) and settings.lr_factor == 1:
        return Plan([Group("all", [p for p in rest.parameters() if p.requires_grad], 1.0, 0)], None)
    found = find_encoder(network)
    if found is None:
        raise ConfigError(f"finetune={settings.name}: needs a network with an encoder, and this one has none; set finetune=none")
    encoder = found[1]
    stage_of = stages_of(network, in_channels)
    num_stages = max(stage_of.values())
    if settings.frozen_stages > num_stages:
        raise ConfigError(f"finetune.frozen_stages={settings.frozen_stages}: expected at most {num_stages}, the stages of the encoder")
    last = settings.freeze_epochs + max(0, num_stages - settings.frozen_stages - 1) * settings.unfreeze_every
    if last >= max_epochs:
        what = f"finetune={settings.name}: the last stage of the encoder would learn from epoch {last + 1}"
        fix = f"set trainer.max_epochs={last + 1} or more, or a smaller finetune.unfreeze_every, or keep the first stages as they are"
        raise ConfigError(f"{what}, but trainer.max_epochs={max_epochs}; {fix} with finetune.frozen_stages")
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(stage_of.get(name, 0) > settings.frozen_stages and parameter.requires_grad)
    for module in encoder.modules() if settings.frozen_norms else ():
        if isinstance(module, BATCH_NORMS):
            module.requires_grad_(False)
    if not thaws(settings) and settings.lr_factor == 1:
        return Plan([Group("all", [p for p in rest.parameters() if p.requires_grad], 1.0, 0)], encoder)
    inside = {id(p) for p in encoder.parameters()}
    groups = [Group("head", [p for p in rest.parameters() if p.requires_grad and id(p) not in inside], 1.0, 0)]
    for depth, stage in enumerate(range(num_stages, settings.frozen_stages, -1)):
        parameters = [p for n, p in encoder.named_parameters() if p.requires_grad and stage_of[n] == stage]
        epoch = settings.freeze_epochs + depth * settings.unfreeze_every
        groups.append(Group(f"stage{stage}", parameters, settings.lr_factor ** (depth + 1), epoch))
    return Plan([g for g in groups if g.parameters], encoder)


def find_encoder(network: nn.Module) -> tuple[str, nn.Module] | None:
    """The encoder's name in the network, and the encoder; None where the network has none."""
    own: Any = network
    if hasattr(network, "encoder_within"):  # it knows its own encoder, whose features cannot be seen from outside
        return own.encoder_within()
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
    the stride that it stands for. Empty for a network without an encoder."""
    own: Any = network
    if hasattr(network, "encoder_stages"):
        return own.encoder_stages()
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
