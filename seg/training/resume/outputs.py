"""From Lightning's checkpoints in the scratch folder to ours in the output folder."""

from pathlib import Path

import torch

from seg.core.errors import plural
from seg.core.outputs import replaced_files
from seg.models.checkpoint import Checkpoint, save
from seg.settings.section import Params
from seg.training.choosing.choose import Choose, Chosen
from seg.training.loading.datamodule import SegmentationData
from seg.training.resume.history import History
from seg.training.settings import TrainingSettings


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


NO_EFFECT = ("runtime", "logger", "lr_finder", "describe", "sweep")
"""Sections that cannot change what training makes, and no other command reads from a checkpoint."""


def kept_settings(cfg: TrainingSettings) -> Params:
    """What a checkpoint holds of the configuration: all but where the data lay, and what cannot change the model."""
    config = cfg.dump() | {"overrides": []}
    config["data"] = config["data"] | {"root": None}
    return {name: value for name, value in config.items() if name not in NO_EFFECT}
