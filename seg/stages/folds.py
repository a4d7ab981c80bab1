"""`folds`: the models of all folds -> an evaluation of each image by the model that did not learn from it, and, where the data set names
its own test split, one of that split by all models together, in the folder `ensemble`."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from seg.core.errors import ConfigError, DataError
from seg.core.outputs import write_whole
from seg.core.urls import place_of
from seg.data.store import DatasetInfo, read_info
from seg.loading.dataset import OUT_OF_FOLD
from seg.models.checkpoint import LoadedCheckpoint, load
from seg.models.postprocess import NOTHING
from seg.plan.settings import PlanSettings
from seg.predict.fusion import Ensemble
from seg.predict.settings import Predict
from seg.stages import evaluate
from seg.stages.evaluate import Part, prepared_for
from seg.tiles.checkpoint import CheckpointNetwork


class Settings(evaluate.Settings):
    plan: PlanSettings
    predict: Predict


def run(cfg: Settings, out: Path) -> float:
    """Returns the figure that the trainings monitor, out of fold."""
    info, checkpoints, parts = parts_of(cfg)
    by_fold = cfg.model_copy(update={"evaluate": cfg.evaluate.model_copy(update={"groups": [*cfg.evaluate.groups, "fold"]})})
    figures = evaluate.evaluate(parts, by_fold, out, OUT_OF_FOLD, info, None)
    together = out / "ensemble"
    together.mkdir(exist_ok=True)
    write_whole(together / "models.txt", "".join(f"{checkpoint.path}\n" for checkpoint in checkpoints))
    if "test" not in info.in_folds:
        network = Ensemble(networks_of(checkpoints, cfg), [str(c.path) for c in checkpoints], cfg.predict.merge, cfg.predict.fusion_iou)
        data = prepared_for(checkpoints[0], place_of(cfg.paths.prepare), cfg)
        evaluate.evaluate([Part(checkpoints, network, data, "test")], cfg, together, "test", info, None)
        own, joint = (json.loads((folder / "metrics.json").read_text(encoding="utf-8")) for folder in (out, together))
        write_whole(out / "metrics.json", json.dumps(own | {"test": joint["test"]}, indent=2) + "\n")
    return figures[checkpoints[0].settings.task.monitor]


def parts_of(cfg: Settings) -> tuple[DatasetInfo, list[LoadedCheckpoint], list[Part]]:
    """The data set, the models of all folds, and of each fold the part that its model did not learn from. ConfigError without folds."""
    if cfg.plan.folds is None:
        raise ConfigError("plan.folds=null: there are no folds; set plan.folds=5, say, and train their models with `dvc repro folds`")
    info, checkpoints = read_info(place_of(cfg.paths.prepare)), models_of(cfg, cfg.plan.folds)
    views = [prepared_for(c, Path(cfg.paths.divide) / str(fold), cfg) for fold, c in enumerate(checkpoints, 1)]
    for checkpoint, view in zip(checkpoints, views, strict=True):
        if checkpoint.data.digest != view.info.digest:
            raise DataError(f"{checkpoint.path}: was trained on other images than {view.prepared} has now; run `dvc repro folds`")
    # what a training chose on the images that are scored here would make the figures too good
    bare = [replace(checkpoint, postprocess=NOTHING) for checkpoint in checkpoints]
    parts = [
        Part([checkpoint], network, view, "val", {"fold": str(fold)})
        for fold, (checkpoint, network, view) in enumerate(zip(checkpoints, networks_of(bare, cfg), views, strict=True), 1)
    ]
    return info, checkpoints, parts


def networks_of(checkpoints: Sequence[LoadedCheckpoint], cfg: Settings) -> list[CheckpointNetwork]:
    return [CheckpointNetwork(checkpoint, cfg.runtime.device, threads=cfg.runtime.threads) for checkpoint in checkpoints]


def models_of(cfg: Settings, folds: int) -> list[LoadedCheckpoint]:
    """The checkpoint of each fold; DataError where one is missing."""
    places = [Path(cfg.paths.fold) / str(folds) / str(fold) / f"{cfg.evaluate.checkpoint}.ckpt" for fold in range(1, folds + 1)]
    for fold, path in enumerate(places, 1):
        if not path.is_file():
            raise DataError(f"{path}: fold {fold} of {folds} has no model; train it with `dvc repro fold@{fold}`")
    return [load(path, cfg.targets.allow) for path in places]
