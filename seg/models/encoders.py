"""Encoders by name: those of smp and of the textbooks, timm's as `tu-<name>`, and as `tv-<name>` those that torchvision alone has."""

import warnings
from collections import OrderedDict
from difflib import get_close_matches
from itertools import takewhile
from typing import Any

import segmentation_models_pytorch.encoders as smp
import timm
import torch
import torchvision
from segmentation_models_pytorch.encoders._base import EncoderMixin
from torch import Tensor, nn

from seg.core.errors import ConfigError
from seg.models.textbook import TEXTBOOK, TextbookEncoder, too_deep

SHUFFLENETS = tuple(f"shufflenet_v2_x{width}" for width in ("0_5", "1_0", "1_5", "2_0"))
TORCHVISION = ("squeezenet1_0", "squeezenet1_1", *SHUFFLENETS, "googlenet")
"""Of torchvision's classifiers those of which neither smp nor timm has the family."""

HEAD = (nn.AdaptiveAvgPool2d, nn.Dropout, nn.Linear)  # where a classifier's head begins
KEY = "model.network.encoder_name"


class TorchvisionEncoder(nn.Module, EncoderMixin):
    """A torchvision classifier without its head, as an smp encoder: images -> features at the strides 1, 2, 4, ... 2 ** depth.

    Its tensors keep torchvision's names, so that torchvision's own files of weights fit. output_stride: smp's loader dilates
    what lies deeper. ValueError where the network has fewer stages than `depth`."""

    def __init__(self, name: str, depth: int, output_stride: int) -> None:
        super().__init__()
        classifier = _classifier(name)
        layers = dict(takewhile(lambda item: not isinstance(item[1], HEAD), _layers(classifier).items()))
        self.stages, channels = _stages(layers)
        if depth > len(self.stages):
            raise ValueError(too_deep(name, len(self.stages), depth))
        self.stages = self.stages[:depth]
        kept = OrderedDict((layer, layers[layer]) for stage in self.stages for layer in stage)
        for child, module in ({"features": nn.Sequential(kept)} if hasattr(classifier, "features") else kept).items():
            self.add_module(child, module)
        self._depth, self._in_channels, self._output_stride, self._out_channels = depth, 3, output_stride, [3, *channels[:depth]]

    def forward(self, x: Tensor) -> list[Tensor]:
        features = [x]
        layers = _layers(self)
        for stage in self.stages:
            for layer in stage:
                x = layers[layer](x)
            features.append(x)
        return features

    def get_stages(self) -> dict[int, list[nn.Module]]:
        """{stride: layers}, as smp asks for it before it dilates."""
        layers = _layers(self)
        return {2 ** (i + 1): [layers[layer] for layer in stage] for i, stage in enumerate(self.stages)}

    def make_dilated(self, output_stride: int) -> None:
        """Convolutions beyond `output_stride` keep the resolution (called by smp). ValueError where a pooling layer would have to."""
        deeper = [m for stride, modules in self.get_stages().items() if stride > output_stride for m in modules]
        if any(isinstance(m, nn.MaxPool2d) for m in deeper):
            raise ValueError("this encoder downsamples by pooling and cannot be dilated")
        super().make_dilated(output_stride)


def _classifier(name: str) -> nn.Module:
    extra = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    classifier: nn.Module = torchvision.models.get_model(name, weights=None, **extra)
    if name.startswith("squeezenet"):  # its first convolution loses the image's edge, and so half a pixel of alignment
        first: Any = _layers(classifier)["0"]
        first.padding = tuple(side // 2 for side in first.kernel_size)
    return classifier


def _layers(network: nn.Module) -> dict[str, nn.Module]:
    """A classifier's layers in the order in which they are applied; SqueezeNet has them in `features`."""
    return dict(dict(network.named_children()).get("features", network).named_children())


def _stages(layers: dict[str, nn.Module]) -> tuple[list[list[str]], list[int]]:
    """Layers by the stride of what they give, from 2 on, and each stage's channels."""
    stages: list[list[str]] = []
    channels: list[int] = []
    x = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        for name, layer in layers.items():
            x = layer.eval()(x)
            layer.train()
            if 64 // x.shape[-1] == 2 ** (len(stages) + 1):
                stages.append([])
                channels.append(0)
            stages[-1].append(name)
            channels[-1] = x.shape[1]
    return stages, channels


def register() -> None:
    """Make the `tv-` encoders and the textbooks' known to smp, whose table of encoders is the place for others."""
    made = {f"tv-{name}": (TorchvisionEncoder, name) for name in TORCHVISION} | {name: (TextbookEncoder, name) for name in TEXTBOOK}
    for name, (encoder, own) in made.items():
        smp.encoders.setdefault(name, {"encoder": encoder, "params": {"name": own}, "pretrained_settings": {}})


def encoder_names() -> list[str]:
    """All names, smp's own first, then torchvision's, the textbooks' and timm's."""
    register()
    return [*smp.get_encoder_names(), *(f"tu-{name}" for name in timm.list_models())]


def check_encoder(name: str, weights: str | None) -> None:
    """Raise ConfigError where there is no encoder `name`, or none with such weights; from scratch where `weights` is None."""
    register()
    known = smp.encoders
    if smp.is_equivalent_to_timm_universal(name):
        return
    if name.startswith("tu-"):
        _check_timm(name, weights)
    elif name not in known:
        raise ConfigError(f"{KEY}={name}: no such encoder{_similar(name, encoder_names())}; `seg models --encoders` lists them")
    elif weights is not None and weights not in known[name]["pretrained_settings"]:
        if name.startswith("tv-"):
            file = torchvision.models.get_model_weights(name[3:]).DEFAULT.url
            raise ConfigError(f"model.weights={weights}: {name} has none by name; set model.weights=null, or to a download of {file}")
        options = ", ".join(known[name]["pretrained_settings"]) or "none"
        what = f"model.weights={weights}: {name} has no such weights (it has: {options})"
        raise ConfigError(f"{what}; set one of these, a local file or null")


def _check_timm(name: str, weights: str | None) -> None:
    model, _, tag = name[3:].partition(".")
    if not timm.is_model(model):
        what = f"{KEY}={name}: timm has no such model{_similar(name, [f'tu-{n}' for n in timm.list_models()])}"
        raise ConfigError(f"{what}; `seg models --encoders 'tu-{model[:4]}*'` lists some")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tagged = [full.partition(".")[2] for full in timm.list_pretrained(f"{model}*") if full.partition(".")[0] == model]
    if tag and tag not in tagged:
        raise ConfigError(f"{KEY}={name}: timm's {model} has no weights '{tag}'; it has: {', '.join(tagged) or 'none'}")
    if weights is not None and not tagged:
        raise ConfigError(f"model.weights={weights}: timm has no weights for {model}; set model.weights=null, or to a local file")
    if weights not in (None, "imagenet"):
        what = f"model.weights={weights}: {name} has no such weights (it has: imagenet); set that, a local file or null"
        raise ConfigError(f"{what}; which of timm's weights they are, the encoder's name says, as in tu-{model}.{tagged[0]}")


def _similar(name: str, names: list[str]) -> str:
    close = get_close_matches(name, names, n=3, cutoff=0.6) or get_close_matches(f"tu-{name}", names, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else ""
