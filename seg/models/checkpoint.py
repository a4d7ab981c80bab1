"""The checkpoint that leaves training: weights, and all that is needed to use them without the files they came from.

Plain data and tensors alone, so that it loads with `weights_only=True`.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seg.core.errors import ConfigError, DataError
from seg.core.outputs import whole_file
from seg.data.sample import ClassInfo
from seg.data.store import DatasetInfo
from seg.models.base import SegmentationModel
from seg.models.build import build_model
from seg.models.settings import TrainedSettings
from seg.settings.section import Params
from seg.settings.targets import check_allowed, nested

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """state_dict: of the SegmentationModel. config: resolved, as trained. data: facts of the data set it was trained on.

    epoch: counted from 1. figures: on the validation split.
    """

    state_dict: dict[str, Tensor]
    config: Params
    data: DatasetInfo
    epoch: int
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint(Checkpoint):
    """typed_config: SECTIONS as they were trained with; the others, which do not concern the network, as they are now. So are keys of
    `trainer` that were not known then.
    """

    settings: TrainedSettings


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint whole, or not at all, with DiskFullError. The same content gives the same bytes."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "state_dict": checkpoint.state_dict,
        "config": checkpoint.config,
        "data": asdict(checkpoint.data),
        "epoch": checkpoint.epoch,
        "figures": checkpoint.figures,
    }
    write_whole(path, content, "free space, then the same command goes on")


def write_whole(path: Path, content: dict[str, Any], advice: str) -> None:
    """torch.save as `whole_file` writes."""
    with whole_file(path, bytes_of(content), advice) as file:  # not its name, which torch would write into the archive
        torch.save(content, file)


def bytes_of(content: Any) -> int:
    """Of the tensors in nested dicts and sequences; a storage that several share counts once, as it is saved once."""
    sizes: dict[int, int] = {}

    def visit(value: Any) -> None:
        if isinstance(value, Tensor):
            sizes[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        elif isinstance(value, dict | list | tuple):
            for inner in value.values() if isinstance(value, dict) else value:
                visit(inner)

    visit(content)
    return sum(sizes.values())


def load(path: Path, allow: list[str]) -> LoadedCheckpoint:
    """Read a checkpoint; DataError where it is missing, not one of ours, or of settings that this version does not take.

    allow: the modules below which its `_target_`s may lie. The file's own list is not trusted.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); train first (`dvc repro` or `seg train`), or name another checkpoint: its file, "
            "or for `seg evaluate` its folder, paths.train"
        ) from None
    except Exception as error:
        raise DataError(f"{path}: is not a checkpoint of seg ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{path}: is not a checkpoint of format {FORMAT} (found {found}); train again with this version")
    facts = {f.name: content["data"][f.name] for f in fields(DatasetInfo) if f.name in content["data"]}
    facts["classes"] = [ClassInfo(c["name"], tuple(c["color"])) for c in facts["classes"]]
    facts.setdefault("settings", content["config"].get("data", {}))  # which older checkpoints tell there alone
    config, info = content["config"], DatasetInfo(**facts)
    return LoadedCheckpoint(content["state_dict"], config, info, content["epoch"], content["figures"], _settings(path, config, allow))


def _settings(path: Path, config: Params, allow: list[str]) -> TrainedSettings:
    try:
        settings = TrainedSettings.of(config | {"targets": {"allow": allow}})
    except ConfigError as error:
        raise DataError(
            f"{path}: was trained with settings that this version does not take ({error}); train again, or use the version that trained it"
        ) from None
    built = {"task.model": settings.task.model, "task.metrics": settings.task.metrics, "model.network": settings.model.network}
    for start, outer in (built | {"loss": settings.loss}).items():
        for key, target in nested(outer, start):
            check_allowed(target.target, allow, key)
    return settings


def restore(checkpoint: LoadedCheckpoint) -> SegmentationModel:
    """The model of a checkpoint, built from its own settings, in evaluation mode."""
    model = build_model(checkpoint.settings, checkpoint.data, pretrained=False)
    model.load_state_dict(checkpoint.state_dict)
    return model.eval()
