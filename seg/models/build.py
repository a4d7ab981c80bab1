"""From the configuration and a data set's facts to a model."""

import inspect
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from seg.core.errors import ConfigError
from seg.data.store import DatasetInfo
from seg.models.base import SegmentationModel
from seg.models.encoders import check_encoder
from seg.models.finetune import find_encoder, freezes
from seg.models.known import WEIGHTS
from seg.models.masks.architecture import architecture_of, fetched
from seg.models.settings import CHANNELS, CLASSES, NetworkSettings
from seg.models.weights import RGB, Loaded, WeightsFile, licence_of, load_weights, read_weights, take_channels
from seg.settings.inputs import local_weights
from seg.settings.section import Target
from seg.settings.targets import build, locate

S = TypeVar("S", bound=NetworkSettings)
T = TypeVar("T")
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

WAYS_OUT = {
    "downsampling pattern": "this encoder has no features at the strides 2 to 32; choose another one, or model=dpt, which takes a plain "
    "ViT",
    "dilated|output_stride": "this encoder cannot be dilated, which the model needs; choose another one, or a model without dilation",
    "Only Timm encoders": "set model.network.encoder_name=tu-<a ViT of timm>, or choose another model",
}
"""Words of smp's and timm's messages, as patterns, and what a user can do about them."""


def build_model(cfg: NetworkSettings, data: DatasetInfo, pretrained: bool = True, say: Callable[[str], None] = print) -> SegmentationModel:
    """The model of the task, with the network and loss that the configuration names.

    pretrained=False leaves `model.weights` out, for a model whose weights are loaded next. say: is told what a file of
    weights gave the network."""
    local = local_weights(Path.cwd(), cfg.model.weights) if pretrained else None
    whole = local is None or local.is_dir()  # what the network itself reads
    file = None if whole else read_weights(Path(str(cfg.model.weights)))  # messages name it as the user did
    mean, std = _normalization(cfg, data, file) if pretrained else (data.mean, data.std)
    network = build_network(cfg, data, cfg.model.weights if pretrained and not file else None)
    for line in getattr(network, "remarks", []):
        say(line)
    if pretrained and cfg.model.weights and not file and (licence := licence_of(network)):
        say(f"weights: {cfg.model.weights}; their licence, as timm tells it: {licence}")
    if file:
        loaded = load_weights(network, file, data.channels)
        _refuse_frozen_gaps(cfg, network, loaded)
        say(loaded.summary())
        if file.mean and cfg.model.normalization != "checkpoint":
            say(f"  normalisation: {cfg.model.normalization}; model.normalization=checkpoint keeps the one that these weights learned with")
    loss = build(cfg.loss, cfg.targets.allow, "loss", {"class_counts": data.class_counts})
    return assemble(cfg, data, network, loss, mean, std)


def assemble(
    cfg: NetworkSettings, data: DatasetInfo, network: nn.Module, loss: Any, mean: Sequence[float], std: Sequence[float]
) -> SegmentationModel:
    """The model of the task around a network. loss: None where the model is only used."""
    given = {"network": network, "loss": loss, "class_names": [c.name for c in data.classes], "things": data.things}
    given |= {"mean": mean, "std": std, "stride": cfg.model.stride, "scale": cfg.model.scale}
    key, target = adapter_of(cfg)
    model = build(target, cfg.targets.allow, key, given)
    if not isinstance(model, SegmentationModel):
        raise ConfigError(f"{key}._target_={target.target}: is not a SegmentationModel")
    model.window, stride = cfg.model.window, model.stride
    if model.window and (model.window % stride or model.window < 2 * stride):
        raise ConfigError(f"model.window={model.window}: expected a multiple of the network's stride {stride}, two times it or more")
    return model


def adapter_of(cfg: NetworkSettings) -> tuple[str, Target]:
    """What makes a model of the network, and its key: the task's own, unless the model brings one."""
    return ("model.adapter", cfg.model.adapter) if cfg.model.adapter else ("task.model", cfg.task.model)


def build_network(cfg: NetworkSettings, data: DatasetInfo, hub: str | None) -> nn.Module:
    """The network for the data's classes and channels, from scratch or with a hub's weights."""
    target, allow, key = cfg.model.network, cfg.targets.allow, "model.network"
    classes = num_outputs(cfg, data)
    known: dict[str, Any] = dict.fromkeys(CLASSES, classes) | dict.fromkeys(CHANNELS, data.channels)
    signature = inspect.signature(locate(target.target, allow, key)).parameters
    if not signature.keys() & set(CLASSES):
        what = f"{key}._target_={target.target}: takes none of {', '.join(CLASSES)}"
        raise ConfigError(f"{what}; wrap it in a function that does")
    slots = [name for name in WEIGHTS[:2] if name in signature] or [name for name in WEIGHTS[2:] if name in signature]
    if hub is not None and not slots:
        raise ConfigError(f"model.weights={hub}: {target.target} has no weights by name; set model.weights=null, or to a local file")
    for slot in slots:
        if slot not in target.arguments:
            known[slot] = hub
    if isinstance(encoder := target.arguments.get("encoder_name"), str):
        check_encoder(encoder, target.arguments.get("encoder_weights", hub))
    network = _asked(hub, lambda: build(target, allow, key, known)) if hub else _from_scratch(target, allow, key, known)
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{key}._target_={target.target}: gave a {type(network).__name__}, expected a torch.nn.Module")
    if data.channels != RGB and not signature.keys() & set(CHANNELS):
        try:
            take_channels(network, data.channels, pretrained=hub is not None)
        except ValueError as error:
            what = f"{key}._target_={target.target}: {error}, nor an argument {' or '.join(CHANNELS)}, but data.channels={data.channels}"
            raise ConfigError(f"{what}; wrap it in a function that takes one") from None
    return network


def with_architecture(cfg: S) -> S:
    """The settings with the architecture of the weights in place of the configured one, where they bring their own."""
    target, weights = cfg.model.network, cfg.model.weights
    if weights is None or "pretrained" not in inspect.signature(locate(target.target, cfg.targets.allow, "model.network")).parameters:
        return cfg
    local = local_weights(Path.cwd(), weights)
    if local and not local.is_dir():
        return cfg
    architecture = architecture_of(_asked(weights, lambda: fetched(weights)), weights)
    network = Target.model_validate({"_target_": target.target} | target.arguments | {"architecture": architecture})
    return cfg.model_copy(update={"model": cfg.model.model_copy(update={"network": network})})


def _refuse_frozen_gaps(cfg: NetworkSettings, network: nn.Module, loaded: Loaded) -> None:
    """Raise ConfigError where a part of the encoder would be frozen as it was initialised."""
    found = find_encoder(network)
    if not found or not freezes(cfg.finetune):
        return
    place, encoder = found
    if gaps := [name for name, _ in encoder.named_parameters(prefix=place) if name not in loaded.loaded]:
        what = f"model.weights={cfg.model.weights}: lacks {len(gaps)} tensors of the encoder ({gaps[0]}, for one), which"
        fix = "set finetune=none, or give a file for this encoder"
        raise ConfigError(f"{what} finetune={cfg.finetune.name} would freeze as they were initialised; {fix}")


def num_outputs(cfg: NetworkSettings, data: DatasetInfo) -> int:
    """See `SegmentationModel.num_outputs`; an adapter may be a function, too."""
    key, target = adapter_of(cfg)
    made = getattr(locate(target.target, cfg.targets.allow, key), "num_outputs", SegmentationModel.num_outputs)
    return int(made([c.name for c in data.classes], cfg.task.instances))


def _from_scratch(target: Target, allow: list[str], key: str, known: dict[str, Any]) -> nn.Module:
    try:
        network: nn.Module = build(target, allow, key, known)
    except ConfigError as error:
        raise ConfigError(f"{error}{_way_out(str(error.__cause__ or error))}") from error
    except (RuntimeError, IndexError, AttributeError, NotImplementedError) as error:  # libraries raise these for arguments, too
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise ConfigError(f"{key}: {target.target} cannot be built with these arguments ({reason}){_way_out(reason)}") from error
    return network


def _way_out(reason: str) -> str:
    """What to change, where a library's message does not say it."""
    return next((f"; {way}" for words, way in WAYS_OUT.items() if re.search(words, reason)), "")


def _asked(hub: str, answer: Callable[[], T]) -> T:
    """What is had from a hub, or from a folder that is there."""
    client = logging.getLogger("huggingface_hub")
    level = client.level
    client.setLevel(logging.ERROR)  # it would say each attempt that failed; the error tells of the last
    try:
        return answer()
    except ConfigError as error:  # a name that the encoder's weights do not have, perhaps
        raise error if f"model.weights={hub}" in str(error) else ConfigError(f"{error} (with model.weights={hub})") from None
    except Exception as error:  # each hub's client fails in ways of its own
        reason = " ".join(str(error).split())[:200]
        what = f"model.weights={hub}: could not be downloaded ({type(error).__name__}: {reason}); offline, set model.weights=null to train"
        raise ConfigError(f"{what} from scratch, or model.weights=<local file> with the same encoder's state dict") from None
    finally:
        client.setLevel(level)


def _normalization(cfg: NetworkSettings, data: DatasetInfo, file: WeightsFile | None) -> tuple[list[float], list[float]]:
    """Mean and std of each channel, as `model.normalization` says; a gray image has the mean of another's channels."""
    kind = cfg.model.normalization
    if kind == "dataset":
        return data.mean, data.std
    if kind == "imagenet":
        mean, std = list(IMAGENET_MEAN), list(IMAGENET_STD)
    elif file and file.mean and file.std:
        mean, std = file.mean, file.std
    else:
        what = "model.normalization=checkpoint: needs model.weights=<a checkpoint that `train` wrote>"
        raise ConfigError(f"{what}, got {cfg.model.weights}; set model.normalization=dataset, or imagenet")
    if data.channels == 1:
        return [sum(mean) / len(mean)], [sum(std) / len(std)]
    if len(mean) != data.channels:
        what = f"model.normalization={kind}: is for {len(mean)} channels, but data.channels={data.channels}"
        raise ConfigError(f"{what}; set model.normalization=dataset")
    return mean, std
