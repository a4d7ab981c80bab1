"""What a network of transformers is built from: plain values, in our settings or in the config.json beside its weights.

A closed list says which values count. The library takes more: some of its keys would download code and run it."""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from seg.core.errors import ConfigError, did_you_mean

FAMILIES = {
    "mask2former": "Mask2FormerForUniversalSegmentation",
    "eomt": "EomtForUniversalSegmentation",
    "eomt_dinov3": "EomtDinov3ForUniversalSegmentation",
}
BACKBONES = ("swin", "swinv2", "resnet", "convnext", "convnextv2")
KEY, CONFIG, WEIGHTS = "model.network.architecture", "config.json", "model*.safetensors"
Architecture = dict[str, object]

LICENCES = {
    "mask2former": "Mask2Former's own zoo (facebook/mask2former-*): CC BY-NC 4.0, no commercial use",
    "eomt": "EoMT's own (tue-mps/*_eomt_*): MIT, over DINOv2 (Apache-2.0)",
    "eomt_dinov3": "EoMT over DINOv3 (tue-mps/*_dinov3_*): the DINOv3 License of Meta, with terms of its own",
}
"""Of the weights that are known; those of others have their authors' licence."""


def library() -> Any:
    """The package; ConfigError with the command that installs it."""
    try:
        found = import_module("transformers")
    except ImportError:
        raise ConfigError("model.network: needs the package transformers; pip install -e '.[transformers]'") from None
    found.logging.set_verbosity_error()
    found.logging.disable_progress_bar()
    return found


def configuration(given: Mapping[str, object], num_labels: int, in_channels: int) -> Any:
    """The library's configuration of a network for so many classes and channels; ConfigError for a key or kind that is not in the list."""
    kinds, values = library().CONFIG_MAPPING, dict(given)
    family = _kind(values, FAMILIES, KEY)
    _check_keys(kinds[family], values, KEY)
    place, at = values, KEY
    if (inner := values.get("backbone_config")) is not None:
        if not isinstance(inner, Mapping):
            raise ConfigError(f"{KEY}.backbone_config: expected keys and values, got {inner}")
        place, at = dict(inner), f"{KEY}.backbone_config"
        backbone = _kind(place, BACKBONES, at)
        _check_keys(kinds[backbone], place, at)
        depths = place.get("depths")
        place.setdefault("out_features", [f"stage{i + 1}" for i in range(len(depths) if isinstance(depths, list) else 4)])
    try:
        place["num_channels"] = in_channels
        if place is not values:
            values["backbone_config"] = kinds[backbone](**place)
        return kinds[family](**values, num_labels=num_labels)
    except Exception as error:  # of each key's own validator, which has errors of its own
        raise ConfigError(f"{at}: transformers does not take it ({' '.join(str(error).split())[:300]})") from None


def _kind(values: Architecture, known: Any, at: str) -> str:
    kind = values.pop("model_type", None)
    if kind not in known:
        raise ConfigError(f"{at}.model_type={kind}: expected one of {', '.join(known)}")
    return str(kind)


def keys_of(kind: Any) -> set[str]:
    """The keys of the library's configuration class that count."""
    return {name for name in kind.__annotations__ if not name.startswith("_")} - {"sub_configs_defaults"} | {"out_features"}


def _check_keys(kind: Any, values: Mapping[str, object], at: str) -> None:
    for name in values:
        if name not in keys_of(kind):
            raise ConfigError(f"unknown key {at}.{name}: {did_you_mean(name, keys_of(kind), 'keys')}")


def fetched(name: str) -> Path:
    """The folder of weights that a hub's name or a path means; ConfigError where it holds no config.json or no safetensors.

    Only files of tensors and the configuration are downloaded."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = Path(import_module("huggingface_hub").snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS]))
    if not (folder / CONFIG).is_file() or not any(folder.glob(WEIGHTS)):
        what = f"model.weights={name}: expected {CONFIG} and {WEIGHTS}, as save_pretrained of transformers writes them"
        raise ConfigError(f"{what}; weights of other kinds are not read, since they may run code")
    return folder


def architecture_of(folder: Path, name: str) -> Architecture:
    """What the config.json of a folder of weights says of the architecture; keys that do not count are left out."""
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        family, inner = content["model_type"], content.get("backbone_config")
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"model.weights={name}: {CONFIG} is damaged ({type(error).__name__}: {str(error)[:100]})") from None
    if family not in FAMILIES:
        raise ConfigError(f"model.weights={name}: are of {family}, expected one of {', '.join(FAMILIES)}")
    kinds = library().CONFIG_MAPPING
    found = {key: value for key, value in content.items() if key in keys_of(kinds[family])}
    if inner is not None:
        backbone = inner.get("model_type") if isinstance(inner, dict) else None
        if backbone not in BACKBONES:
            raise ConfigError(f"model.weights={name}: their backbone is {backbone}, expected one of {', '.join(BACKBONES)}")
        found["backbone_config"] = {k: v for k, v in inner.items() if k in keys_of(kinds[backbone])} | {"model_type": backbone}
    return found | {"model_type": family}
