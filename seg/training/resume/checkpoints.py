"""Lightning's own checkpoints, which an interrupted training goes on from, and what becomes of them: ours in the output folder."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from seg.choosing.choose import Chosen
from seg.core.errors import plural
from seg.core.outputs import replaced_files
from seg.core.scratch import VARIABLE
from seg.models.checkpoint import Checkpoint, save, write_whole
from seg.settings.section import Params
from seg.training.choice import Choose
from seg.training.loading.datamodule import SegmentationData
from seg.training.private_lightning import has_stopped
from seg.training.resume.history import History
from seg.training.settings import TrainingSettings


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's own writes to the folder for temporary files first, which may be another disk, and then copies.

    root: the scratch folder, which can be moved to another disk.
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.advice = (
            f"free space, or move {root} to another disk and set {VARIABLE} to where it lies then; the same command goes on from the "
            "last whole checkpoint"
        )

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(path), checkpoint, self.advice)


class Keep(ModelCheckpoint):
    """A ModelCheckpoint that knows its best file again where the project's folder was moved before an interrupted run went on."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(_moved(state_dict, str(state_dict["dirpath"]), str(self.dirpath)))


class Patience(EarlyStopping):
    """An EarlyStopping that stays stopped where a run is resumed after it stopped, and before its outputs were written."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if has_stopped(self):
            trainer.should_stop = True


def _moved(value: Any, old: str, new: str) -> Any:
    """The paths in a checkpoint's state, keys too, below the new folder."""
    if isinstance(value, dict):
        return {_moved(k, old, new): _moved(v, old, new) for k, v in value.items()}
    return new + value[len(old) :] if isinstance(value, str) and (value == old or value.startswith(f"{old}/")) else value


def write_outputs(cfg: TrainingSettings, data: SegmentationData, folder: Path, out: Path, history: History, choose: Choose) -> None:
    """best.ckpt, last.ckpt and history.csv: all, or, with DiskFullError, none."""
    config, found = kept_settings(cfg), dict[int, Chosen]()
    with replaced_files(out) as partial:
        for name in ("best", "last"):
            content = torch.load(folder / f"{name}.ckpt", map_location="cpu", weights_only=True)
            state = {k.removeprefix("model."): v for k, v in content["state_dict"].items()}
            epoch = int(content["epoch"]) + 1
            if epoch not in found:
                found[epoch] = choose(state)
                for line in (choice := found[epoch].choice).lines():
                    print(f"{name}.ckpt, chosen on {plural(choice.images, 'validation image')}: {line}")
            figures = {k: v for row in history.rows if row["epoch"] == epoch for k, v in row.items() if k.startswith("val_")}
            its = found[epoch]
            save(partial / f"{name}.ckpt", Checkpoint(state, config, data.info, epoch, figures, its.postprocess, its.choice))
        history.write(partial / "history.csv")


NO_EFFECT = ("runtime", "logger", "lr_finder", "sweep")
"""Sections that cannot change what training makes, and no other command reads from a checkpoint."""


def kept_settings(cfg: TrainingSettings) -> Params:
    """What a checkpoint holds of the configuration: all but where the data lay, and what cannot change the model."""
    config = cfg.dump() | {"overrides": []}
    config["data"] = config["data"] | {"root": None}
    return {name: value for name, value in config.items() if name not in NO_EFFECT}
