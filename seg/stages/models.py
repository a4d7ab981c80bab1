"""`models`: what there is to choose from, read from conf/ and from the libraries: models, losses and encoders, with their sizes."""

from dataclasses import dataclass
from pathlib import Path

from seg.catalogue.encoders import find
from seg.core.environment import conf_folder
from seg.runtime.progress import show


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of the command line. encoders: a pattern of the encoders to list; "" for all but timm's; None for models and losses instead."""

    encoders: str | None = None


def run(project: Path, given: Arguments) -> None:
    if given.encoders is None:
        show_options(conf_folder(project))
    else:
        show_encoders(given.encoders or None)


def show_options(conf: Path) -> None:
    """Every option of conf/model and conf/loss."""
    from seg.catalogue.options import losses_of, models_of  # these import torch, which takes seconds
    from seg.configure.compose import compose
    from seg.models.masks.architecture import LICENCES

    classes = len(compose(conf, [])[0]["data"]["classes"])
    print(f"Models: model=<name>; parameters that learn, with {classes} classes and the settings of conf/model/<name>.yaml\n")
    show(("name", "task", "parameters", "source"), models_of(conf))
    print("\nWeights for architectures of transformers: model.weights=<a hub's name or a folder>; their licences\n")
    show(("model_type", "licence"), list(LICENCES.items()))
    print("\nLosses: loss=<name>\n")
    show(("name", "settings", "source"), losses_of(conf))
    print("\nEncoders of models that take an encoder_name: seg models --encoders [PATTERN]")


def show_encoders(pattern: str | None) -> None:
    """Encoders whose name matches (a part of it, or with wildcards); without a pattern all but timm's."""
    found, others = find(pattern)
    print("Encoders: model.network.encoder_name=<name>; parameters, and the strides at which there are features\n")
    remarks = any(one.remark for one in found)
    rows = [
        (one.name, "-" if one.parameters is None else f"{one.parameters:,}", " ".join(map(str, one.strides)) or "-", one.remark)
        for one in found
    ]
    show(("name", "parameters", "strides", "remark")[: 3 + remarks], [row[: 3 + remarks] for row in rows])
    if pattern is None:
        print(f"\nand {others} of timm, as tu-<name>: seg models --encoders 'tu-resnet*'")
