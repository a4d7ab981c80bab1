"""Where pretrained weights of an encoder can be had: a file of the project, or a hub that answers within seconds."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seg.settings.inputs import WEIGHT_SUFFIXES

FOLDER = "weights"
SECONDS = 5.0
FILES = ("model.safetensors", "pytorch_model.bin")


def find(encoder: str, project: Path, hub: bool) -> tuple[str | None, str]:
    """Weights for an encoder by its name in `model.network.encoder_name`.

    A file of the project, weights/<encoder>.pt or another suffix, comes before a hub. hub: whether one may be asked. Only the head of one
    file is asked for: the training downloads it.
    """
    for suffix in WEIGHT_SUFFIXES:
        path = Path(FOLDER) / f"{encoder}{suffix}"
        if (project / path).is_file():
            return path.as_posix(), f"{path} holds weights of this encoder"
    if not hub:
        return None, "from scratch: plan.pretrained=false"
    source = hub_file(encoder)
    if source is None:
        return None, f"from scratch: no hub has weights of {encoder} under the name imagenet"
    repository, revision, files = source
    failed = _refusal(repository, revision, files)
    if failed is None:
        return "imagenet", f"huggingface.co/{repository} has weights that were trained on ImageNet"
    return None, f"from scratch: huggingface.co/{repository} {failed}"


def hub_file(encoder: str) -> tuple[str, str | None, tuple[str, ...]] | None:
    """Where ImageNet weights of an encoder of smp or (with the prefix tu-) of timm lie: the hub's repository, its revision (None: the
    newest), and the names that their file may have."""
    import segmentation_models_pytorch as smp
    import timm

    if encoder.startswith("tu-"):
        try:
            config = timm.get_pretrained_cfg(encoder.removeprefix("tu-"))
        except RuntimeError:  # it has no weights of the name behind the dot
            return None
        repository = getattr(config, "hf_hub_id", None)
        return (repository, None, FILES) if repository else None
    settings: Mapping[str, Any] = smp.encoders.encoders.get(encoder, {}).get("pretrained_settings", {}).get("imagenet", {})
    return (settings["repo_id"], settings.get("revision"), FILES[:1]) if "repo_id" in settings else None


def _refusal(repository: str, revision: str | None, files: tuple[str, ...]) -> str | None:
    """Why none of the files can be had; None where one can."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    if any(isinstance(try_to_load_from_cache(repository, name, revision=revision), str) for name in files):
        return None
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return "is not asked, as HF_HUB_OFFLINE is set"
    reason = "does not answer"
    for name in files:
        try:
            get_hf_file_metadata(hf_hub_url(repository, name, revision=revision), timeout=SECONDS)
        except Exception as error:  # of the client, of its HTTP library, of the network: each in a way of its own
            reason = f"cannot be reached ({type(error).__name__})"
            if type(error).__name__ not in ("EntryNotFoundError", "RemoteEntryNotFoundError"):
                break
        else:
            return None
    return reason
