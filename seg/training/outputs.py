"""From Lightning's checkpoints in the scratch folder to ours in the output folder."""

from pathlib import Path

import torch

from seg.checkpoint import Checkpoint, save
from seg.config import Params
from seg.datamodule import SegmentationData
from seg.schema import Config
from seg.training.history import History


def write_outputs(cfg: Config, data: SegmentationData, folder: Path, out: Path, history: History) -> None:
    """best.ckpt, last.ckpt and history.csv."""
    out.mkdir(parents=True, exist_ok=True)
    config = kept_settings(cfg)
    for name in ("best", "last"):
        content = torch.load(folder / f"{name}.ckpt", map_location="cpu", weights_only=True)
        state = {k.removeprefix("model."): v for k, v in content["state_dict"].items()}
        epoch = int(content["epoch"]) + 1
        figures = {k: v for row in history.rows if row["epoch"] == epoch for k, v in row.items() if k.startswith("val_")}
        save(out / f"{name}.ckpt", Checkpoint(state, config, data.info, epoch, figures))
    history.write(out / "history.csv")


def kept_settings(cfg: Config) -> Params:
    """What a checkpoint holds of the configuration: all but where the data lay, which does not belong to the model."""
    config = cfg.model_dump(mode="json", by_alias=True)
    config["data"]["root"], config["overrides"] = None, []
    return config
