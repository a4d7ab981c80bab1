"""How a pretrained network learns: which of its parts, from which epoch, at which share of the learning rate.

Gradual unfreezing and discriminative learning rates are those of Howard and Ruder 2018 (ULMFiT).
"""

from dataclasses import dataclass

from torch import nn

from seg.core.errors import ConfigError
from seg.models.encoder_stages import find_encoder, stages_of
from seg.models.settings import Finetune

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


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

        Without a gradient an optimizer leaves a parameter as it is: no momentum, no weight decay.
        """
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
        raise ConfigError(
            f"finetune={settings.name}: would freeze an encoder of random weights; set model.weights=<a hub's name or a local file>, "
            "or finetune=none"
        )
    if settings.freeze_epochs >= max_epochs:
        raise ConfigError(
            f"finetune.freeze_epochs={settings.freeze_epochs}: expected less than trainer.max_epochs={max_epochs}, or the encoder never "
            "learns; to keep it as it is on purpose, set finetune.freeze_epochs=0 and finetune.frozen_stages to the number of its stages"
        )


def make_plan(network: nn.Module, rest: nn.Module, settings: Finetune, in_channels: int, max_epochs: int) -> Plan:
    """Freeze what stays frozen, and group the rest: the head (all but the encoder), then stages from the deepest to the stem.

    network: holds the encoder. rest: the model around it. All is one group where all of it learns alike.
    """
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
        raise ConfigError(
            f"finetune={settings.name}: the last stage of the encoder would learn from epoch {last + 1}, but "
            f"trainer.max_epochs={max_epochs}; set trainer.max_epochs={last + 1} or more, or a smaller finetune.unfreeze_every, or keep "
            "the first stages as they are with finetune.frozen_stages"
        )
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(stage_of.get(name, 0) > settings.frozen_stages and parameter.requires_grad)
    for module in encoder.modules() if settings.frozen_norms else ():
        if isinstance(module, BATCH_NORMS):
            module.requires_grad_(False)
    inside = {id(p) for p in encoder.parameters()}
    head = [p for p in rest.parameters() if p.requires_grad and id(p) not in inside]
    stages = [
        [p for n, p in encoder.named_parameters() if p.requires_grad and stage_of[n] == stage]
        for stage in range(num_stages, settings.frozen_stages, -1)
    ]
    if not thaws(settings) and settings.lr_factor == 1:
        return Plan([Group("all", [p for p in rest.parameters() if p.requires_grad], 1.0, 0)], encoder)
    groups = [Group("head", head, 1.0, 0)]
    for depth, parameters in enumerate(stages):
        name, epoch = f"stage{num_stages - depth}", settings.freeze_epochs + depth * settings.unfreeze_every
        groups.append(Group(name, parameters, settings.lr_factor ** (depth + 1), epoch))
    return Plan([g for g in groups if g.parameters], encoder)
