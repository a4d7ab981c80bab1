"""Arguments of libraries' targets are of the types that their signatures declare; no word for off means on."""

import re
from typing import Any

import pytest
import torch

from seg.core.errors import ConfigError
from seg.settings.section import Target
from seg.settings.targets import UNKNOWN, build, check_arguments, check_type, types_of

ALLOW = ["torch.nn", "torch.optim", "segmentation_models_pytorch", "albumentations", "stranger"]
UNET, SGD, ADAM = "segmentation_models_pytorch.Unet", "torch.optim.SGD", "torch.optim.AdamW"


@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        (SGD, {"nesterov": "no"}, "nesterov='no': is text, which counts as true; write false, without quotes"),
        (SGD, {"nesterov": "Off"}, "nesterov='Off': is text, which counts as true; write false"),
        (SGD, {"nesterov": "false"}, "nesterov='false': is text, which counts as true; write false"),
        (SGD, {"nesterov": 1}, "nesterov=1: expected boolean, got int"),
        (SGD, {"lr": "1e-3"}, "lr='1e-3': expected number, got str"),
        (SGD, {"lr": [0.1]}, "lr=[0.1]: expected number, got list"),
        (SGD, {"momentum": True}, "momentum=True: expected number, got bool"),
        (ADAM, {"betas": [0.9, "0.99"]}, "betas.1='0.99': expected number, got str"),
        (ADAM, {"betas": [0.9]}, "betas.1 is missing"),
        (UNET, {"encoder_depth": "5"}, "encoder_depth='5': expected integer, got str"),
        (UNET, {"decoder_channels": [64, "a"]}, "decoder_channels.1='a': expected integer, got str"),
        (UNET, {"decoder_use_norm": "off"}, "decoder_use_norm='off': is text, which counts as true; write false"),
        (UNET, {"drop_path": "no"}, "drop_path='no': is text, which counts as true; write false"),
        ("torch.nn.Conv2d", {"kernel_size": 3, "padding_mode": "mirror"}, "padding_mode='mirror': expected 'zeros', 'reflect', "),
        ("albumentations.Affine", {"balanced_scale": "off"}, "balanced_scale='off': is text, which counts as true; write false"),
        ("albumentations.RandomCrop", {"height": 64.5, "width": 64}, "height=64.5: expected integer"),
    ],
    ids=str,
)
def test_another_type_is_one_line(name: str, arguments: dict[str, Any], answer: str) -> None:
    given = ("params", "in_channels", "out_channels")
    with pytest.raises(ConfigError, match=f"^x.{re.escape(answer)}"):
        check_arguments(Target(_target_=name, **arguments), ALLOW, "x", given)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (SGD, {"lr": 1, "nesterov": False, "fused": None}),
        (ADAM, {"betas": [0.9, 0.99]}),
        (UNET, {"decoder_channels": [64, 32], "decoder_attention_type": None, "decoder_use_norm": False, "activation": "sigmoid"}),
        ("torch.nn.Conv2d", {"kernel_size": [3, 5], "padding": "same"}),
        ("albumentations.Affine", {"scale": [0.6, 1.8], "rotate": 3, "translate_percent": {"x": [0.0, 0.1], "y": 0.0}}),
        ("albumentations.GaussianBlur", {"blur_limit": [3, 5]}),
    ],
    ids=str,
)
def test_values_of_the_declared_types_pass(name: str, arguments: dict[str, Any]) -> None:
    check_arguments(Target(_target_=name, **arguments), ALLOW, "x", ("params", "in_channels", "out_channels"))


def test_building_checks_too() -> None:
    with pytest.raises(ConfigError, match=r"^optimizer\.nesterov='no': is text"):
        build(Target(_target_=SGD, lr=0.1, momentum=0.9, nesterov="no"), ALLOW, "optimizer", {"params": [torch.ones(1)]})


def test_without_an_annotation_the_default_tells() -> None:
    def stranger(a, b=True, c=0.5, d="mean", e: "Nowhere" = 3):  # type: ignore[no-untyped-def]  # noqa: F821
        return a, b, c, d, e

    assert types_of(stranger) == {"a": UNKNOWN, "b": bool | None, "c": float | None, "d": UNKNOWN, "e": UNKNOWN}
    for value, kind in (("x", bool | None), ("0.1", float | None), ("yes", UNKNOWN)):
        with pytest.raises(ConfigError, match=f"^k='{value}'"):
            check_type(value, kind, "k")
    for value, kind in ((None, bool | None), (1, float | None), ("much", UNKNOWN)):
        check_type(value, kind, "k")
