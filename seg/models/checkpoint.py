"""The checkpoint that leaves training: weights, and all that is needed to use them without the files they came from.

Plain data and tensors alone, so that it loads with `weights_only=True`."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seg.core.errors import ConfigError, DataError
from seg.core.outputs import whole_file
from seg.data.store import DatasetInfo
from seg.models.base import SegmentationModel
from seg.models.build import assemble, build_network
from seg.models.declared import DataRange, DeclaredData, DeclaredTraining, Side, Stride, classes_of, declared
from seg.models.known import METRICS, MODELS, NETWORKS, check_aside, check_file_target, check_plain, check_uncalled, without_hub
from seg.models.postprocess import NO_CHOICE, NOTHING, Choice, Postprocess
from seg.models.settings import TrainedSettings
from seg.models.tensor_file import bytes_of, read_tensors
from seg.settings.section import Params

FORMAT = 1
AGAIN = "obtain the file again, or train again"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """state_dict: of the SegmentationModel. config: resolved, as trained. data: facts of the data set it was trained on.

    epoch: counted from 1. figures: on the validation split. postprocess: what predictions go through. choice: how these were
    chosen."""

    state_dict: dict[str, Tensor]
    config: Params
    data: DatasetInfo
    epoch: int
    figures: dict[str, float]
    postprocess: Postprocess = NOTHING
    choice: Choice = NO_CHOICE


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCheckpoint(Checkpoint):
    """settings: what the configuration says of the network, checked. path: of the file."""

    settings: TrainedSettings
    path: Path


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint whole, or not at all, with DiskFullError. The same content gives the same bytes."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "state_dict": checkpoint.state_dict,
        "config": checkpoint.config,
        "data": asdict(checkpoint.data),
        "epoch": checkpoint.epoch,
        "figures": checkpoint.figures,
        "postprocess": checkpoint.postprocess.to_plain(),
        "choice": checkpoint.choice.to_plain(),
    }
    write_whole(path, content, "free space, then the same command goes on")


def write_whole(path: Path, content: dict[str, Any], advice: str) -> None:
    """torch.save as `whole_file` writes."""
    with whole_file(path, bytes_of(content), advice) as file:  # not its name, which torch would write into the archive
        torch.save(content, file)


def load(path: Path, allow: list[str]) -> LoadedCheckpoint:
    """Read a checkpoint; DataError where it is missing, not one of ours, or of settings that this version does not take.

    allow: the user's `targets.allow`; see `seg.models.known` for what a file may build. The file's own list is not trusted."""
    try:
        content = read_tensors(path)
    except OSError as error:
        fix = "or name another checkpoint: its file, or for `seg evaluate` its folder, paths.train"
        raise DataError(f"{path}: cannot be read ({error.strerror}); train first (`dvc repro` or `seg train`), {fix}") from None
    except DataError as error:
        raise DataError(f"{path}: is not a checkpoint of seg ({str(error).removeprefix(f'{path}: ')})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{path}: is not a checkpoint of format {FORMAT} (found {str(found)[:50]}); train again with this version")
    state, config = content.get("state_dict"), content.get("config")
    if not isinstance(state, dict) or not all(isinstance(n, str) and isinstance(t, Tensor) for n, t in state.items()):
        raise DataError(f"{path}: holds no weights; {AGAIN}")
    if not isinstance(config, dict):
        raise DataError(f"{path}: holds no settings; {AGAIN}")
    try:
        check_plain({key: value for key, value in content.items() if key != "state_dict"}, str(path))
        settings = _settings(path, config, allow)
    except ConfigError as error:
        raise ConfigError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
    facts = declared(DeclaredData, content.get("data"), f"{path}: its facts of the data are damaged", AGAIN)
    if not len(facts.mean) == len(facts.std) == facts.channels:
        raise DataError(f"{path}: has {len(facts.mean)} means and {len(facts.std)} deviations for {facts.channels} channels; {AGAIN}")
    trained_on = config.get("data")
    prepared = facts.settings or (trained_on if isinstance(trained_on, dict) else {})  # where older checkpoints tell them
    declared(DataRange, prepared.get("range"), f"{path}: its settings are damaged: data.range", AGAIN)
    info = DatasetInfo(**facts.model_dump(exclude={"classes", "settings"}), classes=classes_of(facts.classes), settings=prepared)
    training = declared(DeclaredTraining, content, f"{path}: is damaged", AGAIN)
    # files of earlier versions have neither
    post = declared(Postprocess, content.get("postprocess", {}), f"{path}: its postprocessing is damaged", AGAIN)
    choice = declared(Choice, content.get("choice", {}), f"{path}: its choices are damaged", AGAIN)
    return LoadedCheckpoint(state, config, info, training.epoch, training.figures, post, choice, settings=settings, path=path)


def _settings(path: Path, config: Params, allow: list[str]) -> TrainedSettings:
    try:
        settings = TrainedSettings.of(config | {"targets": {"allow": allow}})
    except ConfigError as error:
        what = f"{path}: was trained with settings that this version does not take ({error})"
        raise DataError(f"{what}; train again, or use the version that trained it") from None
    said = f"{path}: its settings are damaged"
    declared(Stride, settings.model.stride, f"{said}: model.stride", AGAIN)
    scale = settings.model.scale
    declared(list[Side], scale if isinstance(scale, list) else [], f"{said}: model.scale", AGAIN)
    declared(Side | None, settings.model.window, f"{said}: model.window", AGAIN)
    check_aside(settings.loss, "loss", allow)
    check_uncalled(settings.task.metrics, allow, "task.metrics", METRICS)
    check_file_target(settings.task.model, allow, "task.model", MODELS, SegmentationModel)
    if settings.model.adapter:
        check_file_target(settings.model.adapter, allow, "model.adapter", MODELS, SegmentationModel)
    check_file_target(settings.model.network, allow, "model.network", NETWORKS)
    model = settings.model.model_copy(update={"network": without_hub(settings.model.network)})
    return settings.model_copy(update={"model": model})


def restore(checkpoint: LoadedCheckpoint) -> SegmentationModel:
    """The model of a checkpoint, built from its own settings without a loss, in evaluation mode. DataError where its weights do not fit."""
    path = checkpoint.path
    state = {name: tensor for name, tensor in checkpoint.state_dict.items() if not name.startswith("loss.")}
    try:
        with suppress(ConfigError), torch.device("meta"):  # what cannot be built there is built in memory below
            _refuse_misfits(path, _model(checkpoint).state_dict(), state)
        model = _model(checkpoint)
        _refuse_misfits(path, model.state_dict(), state)
        model.load_state_dict(state)
        model.thing_score = checkpoint.postprocess.uncalibrated_threshold(model.thing_score)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except (RuntimeError, MemoryError) as error:
        raise DataError(f"{path}: its network cannot be built ({' '.join(str(error).split())[:200]}); {AGAIN}") from None
    return model.eval()


def _model(checkpoint: LoadedCheckpoint) -> SegmentationModel:
    settings, data = checkpoint.settings, checkpoint.data
    return assemble(settings, data, build_network(settings, data, None), None, data.mean, data.std)


def _refuse_misfits(path: Path, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    for name in sorted(own.keys() | given.keys()):
        shapes = [tuple(tensors[name].shape) if name in tensors else None for tensors in (own, given)]
        if shapes[0] != shapes[1]:
            needed, there = ("nothing" if shape is None else f"a tensor {shape}" for shape in shapes)
            what = f"{path}: its weights do not fit the network that it names: {name[:100]} is {there}"
            raise DataError(f"{what}, expected {needed}; {AGAIN}")
