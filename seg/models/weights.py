"""Weights to start from: a local file's, for a whole network or for its encoder."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from segmentation_models_pytorch.encoders._utils import patch_first_conv
from torch import Tensor, nn

from seg.core.errors import ConfigError, DataError
from seg.models.finetune import find_encoder
from seg.models.tensor_file import read_tensors

DEEPEST = 5  # modules around a network, or around its encoder, at most
TIMM = "model."  # in segmentation_models_pytorch, timm's network lies so named in the encoder
LISTED = 6  # names in a line of a summary, at most
RGB = 3


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file's tensors by name; and of one of our checkpoints its normalisation, for each channel."""

    path: Path
    tensors: dict[str, Tensor]
    mean: list[float] | None
    std: list[float] | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file gave a network, by its names; `unused` by the file's. adapted, reshaped: channels, shapes in the file and the network."""

    path: Path
    loaded: set[str]
    missing: set[str]
    unused: set[str]
    names: set[str]
    names_in_file: set[str]
    adapted: dict[str, tuple[int, int]] = field(default_factory=dict)
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)

    def summary(self) -> str:
        """A line, and one more for each kind of difference."""
        lines = [f"weights: {len(self.loaded)} of the network's {len(self.names)} tensors from {self.path}"]
        changes = [f"{name}, from {old} to {new} channels" for name, (old, new) in self.adapted.items()]
        shapes = [f"{name} {old} -> {new}" for name, (old, new) in self.reshaped.items()]
        for title, entries in (
            ("adapted to the images", changes),
            ("of another shape, so initialised anew", shapes),
            ("not in the file, so initialised anew", _by_module(self.missing, self.names)),
            ("in the file alone, not used", _by_module(self.unused, self.names_in_file)),
        ):
            if entries:
                more = f", and {len(entries) - LISTED} more" if len(entries) > LISTED else ""
                lines.append(f"  {title}: {', '.join(entries[:LISTED])}{more}")
        return "\n".join(lines)


def read_weights(path: Path) -> WeightsFile:
    """A state dict, alone or as `state_dict` or `model`, or one of our checkpoints. ConfigError where it is neither."""
    try:
        content = read_tensors(path)
    except OSError as error:
        raise ConfigError(f"model.weights={path}: cannot be read ({error.strerror})") from None
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ConfigError(f"model.weights={path}: expected a file of tensors alone, as torch.save writes a state dict ({reason})") from None
    tensors = {name.replace("_orig_mod.", ""): tensor for name, tensor in _tensors(content).items()}  # of torch.compile, at any depth
    if not (isinstance(content, dict) and "format" in content and {"mean", "std"} <= tensors.keys()):
        return WeightsFile(path, tensors, None, None)
    mean, std = (tensors[name].flatten().tolist() for name in ("mean", "std"))
    prefix = "network."
    return WeightsFile(path, {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}, mean, std)


def load_weights(network: nn.Module, file: WeightsFile, channels: int) -> Loaded:
    """Copy every tensor that fits by name and shape into the network, or into its encoder, whichever takes more.

    channels: the images'; a first convolution for others is adapted. ConfigError where nothing fits."""
    own = network.state_dict()
    first = f"{first_convolution(network, channels)}.weight"
    best: dict[str, str] = {}  # {name in the network: name in the file}, of what fits; and in `named` of all
    named: dict[str, str] = {}
    encoder = find_encoder(network)
    places: list[tuple[str, Callable[[str], str]]] = [("", str)]
    if encoder:
        inside = f"{encoder[0]}.{TIMM}"
        # timm's network that gives its features calls stages.0.weight stages_0.weight
        places += [(f"{encoder[0]}.", str), (inside, str), (inside, lambda name: name.replace(".", "_", 1))]
    for (place, named_there), before in product(places, _prefixes(file.tensors)):
        found = {place + named_there(name.removeprefix(before)): name for name in file.tensors if name.startswith(before)}
        fitting = {n: f for n, f in found.items() if n in own and _fits(file.tensors[f], own[n], n == first)}
        if len(fitting) > len(best):
            best, named = fitting, found
    if not best:
        problem = f"model.weights={file.path}: no tensor of it fits the network by name and shape; is it for another model?"
        raise ConfigError(f"{problem} ({_example(file.tensors)} there, {_example(own)} here)")
    given = {n: file.tensors[f] for n, f in best.items()}
    changed = {n: (t.shape[1], own[n].shape[1]) for n, t in given.items() if t.shape != own[n].shape}
    network.load_state_dict({n: adapted(t, channels) if n in changed else t for n, t in given.items()}, strict=False)
    reshaped = {n: (tuple(file.tensors[f].shape), tuple(own[n].shape)) for n, f in named.items() if n in own and n not in best}
    names = _told(own)
    return Loaded(
        path=file.path,
        loaded=_told(best),
        missing=names - best.keys() - reshaped.keys(),
        unused=_told(file.tensors) - {f for n, f in named.items() if n in own},
        names=names,
        names_in_file=_told(file.tensors),
        adapted=changed,
        reshaped=reshaped,
    )


def _prefixes(names: Iterable[str]) -> list[str]:
    """What may stand before a tensor's name in a file, the shortest first: what saved it called the network and its encoder something."""
    parts = (name.split(".") for name in names)
    found = {".".join(own[:depth]) + "." for own in parts for depth in range(1, min(len(own), DEEPEST + 1))}
    return ["", *sorted(found, key=lambda before: (before.count("."), before))]


def _fits(given: Tensor, own: Tensor, first: bool) -> bool:
    if given.shape == own.shape:
        return True
    return first and given.ndim == own.ndim == 4 and given.shape[0] == own.shape[0] and given.shape[2:] == own.shape[2:]


def _told(names: Iterable[str]) -> set[str]:
    """Without the batch norms' counters of steps, which files of old versions lack and nothing uses."""
    return {n for n in names if not n.endswith("num_batches_tracked")}


def _example(tensors: dict[str, Tensor]) -> str:
    return next((f"{name} {tuple(t.shape)}" for name, t in tensors.items()), "no tensor")


def _by_module(some: Collection[str], every: Collection[str], prefix: str = "") -> list[str]:
    """The names of `some` of all names, whole modules as "module (tensors)"."""
    found = []
    for child in sorted({name.removeprefix(prefix).partition(".")[0] for name in some}):
        path = f"{prefix}{child}"
        inside = {name for name in some if name.startswith(f"{path}.")}
        if path in some:
            found.append(path)
        elif inside == {name for name in every if name.startswith(f"{path}.")}:
            found.append(f"{path} ({len(inside)})")
        else:
            found += _by_module(inside, every, f"{path}.")
    return found


def _tensors(content: Any) -> dict[str, Tensor]:
    if isinstance(content, dict):
        for key in ("state_dict", "model", "model_state_dict"):
            if isinstance(content.get(key), dict):
                content = content[key]
        return {str(n): t for n, t in content.items() if isinstance(t, Tensor)}
    return {}


def licence_of(network: nn.Module) -> str | None:
    """That of the weights of a network or an encoder of timm; None where none is told."""
    return next((own["license"] for part in network.modules() if (own := getattr(part, "pretrained_cfg", None) or {}).get("license")), None)


def first_convolution(network: nn.Module, channels: int) -> str | None:
    """The name of the first convolution that takes images of so many channels."""
    return next((n for n, m in network.named_modules() if isinstance(m, nn.Conv2d) and m.in_channels == channels), None)


def take_channels(network: nn.Module, channels: int, pretrained: bool) -> None:
    """Have a network for RGB images take others; `pretrained` weights are adapted, others drawn anew.

    ValueError where no convolution takes three channels."""
    if first_convolution(network, RGB) is None:
        raise ValueError("has no convolution that takes three channels")
    patch_first_conv(network, channels, RGB, pretrained=pretrained)


def adapted(weight: Tensor, channels: int) -> Tensor:
    """The weight (O, I, k, k) of a first convolution as one for images of `channels` channels: (O, channels, k, k)."""
    convolution = nn.utils.skip_init(nn.Conv2d, weight.shape[1], weight.shape[0], tuple(weight.shape[2:]), bias=False)
    with torch.no_grad():
        convolution.weight.copy_(weight)
    patch_first_conv(convolution, channels, weight.shape[1])
    return convolution.weight.detach()
