"""Lightning's own checkpoints, which an interrupted training goes on from."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from seg.core.scratch import VARIABLE
from seg.models.checkpoint import write_whole
from seg.training.private_lightning import has_stopped


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
