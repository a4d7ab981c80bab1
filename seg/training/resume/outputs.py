"""From Lightning's checkpoints in the scratch folder to ours in the output folder."""

from pathlib import Path

import torch

from seg.core.outputs import replaced_files
from seg.models.checkpoint import Checkpoint, save
from seg.settings.config import Params
from seg.settings.schema import Config
from seg.training.loading.datamodule import SegmentationData
from seg.training.resume.history import History


def write_outputs(cfg: Config, data: SegmentationData, folder: Path, out: Path, history: History) -> None:
    """best.ckpt, last.ckpt and history.csv: all, or, with DiskFullError, none."""
    config = kept_settings(cfg)
    with replaced_files(out) as partial:
        for name in ("best", "last"):
            content = torch.load(folder / f"{name}.ckpt", map_location="cpu", weights_only=True)
            state = {k.removeprefix("model."): v for k, v in content["state_dict"].items()}
            epoch = int(content["epoch"]) + 1
            figures = {k: v for row in history.rows if row["epoch"] == epoch for k, v in row.items() if k.startswith("val_")}
            save(partial / f"{name}.ckpt", Checkpoint(state, config, data.info, epoch, figures))
        history.write(partial / "history.csv")


NO_EFFECT = ("runtime", "logger", "lr_finder", "sweep")
"""Sections that cannot change what training makes, and no other command reads from a checkpoint."""


def kept_settings(cfg: Config) -> Params:
    """What a checkpoint holds of the configuration: all but where the data lay, and what cannot change the model."""
    config = cfg.model_dump(mode="json", by_alias=True)
    config["data"]["root"], config["overrides"] = None, []
    return {name: value for name, value in config.items() if name not in NO_EFFECT}
