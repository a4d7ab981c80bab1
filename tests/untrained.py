"""Checkpoints of models that have learned nothing, whose parameters are noise so that no two of them say the same."""

import os
from pathlib import Path
from typing import Any

import torch
from plans import settled

from seg.configure.config import checked
from seg.data.sample import ClassInfo
from seg.data.store import DatasetInfo
from seg.models.build import build_model
from seg.models.checkpoint import Checkpoint, LoadedCheckpoint, load, save

ROOT = Path(__file__).parents[1]
CLASSES = [ClassInfo("background", (0, 0, 0)), ClassInfo("cell", (200, 30, 5)), ClassInfo("edge", (1, 2, 3))]
CONVOLUTION = {"_target_": "torch.nn.Conv2d", "kernel_size": 3, "padding": 1, "stride": 2}


def untrained(path: Path, *overrides: str, network: dict[str, Any] | None = None, channels: int = 3) -> LoadedCheckpoint:
    """Write a checkpoint and load it. `network` takes the place of model.network."""
    params = settled(*overrides)
    if network is not None:
        params["model"]["network"] = network
    config = checked(params)
    data = DatasetInfo(
        name="by hand",
        task=config.task.name,
        classes=CLASSES,
        channels=channels,
        mean=[100.0, 110.0, 120.0, 130.0, 140.0][:channels],
        std=[50.0, 55.0, 60.0, 65.0, 70.0][:channels],
        splits={"train": {"class_pixels": [100, 200, 300]}},
        digest="d" * 64,
    )
    torch.manual_seed(0)
    model = build_model(config, data, pretrained=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    save(path, Checkpoint(model.state_dict(), config.model_dump(mode="json", by_alias=True), data, 3, {}))
    return load(path, config.targets.allow)


class Code:
    """Unpickling this makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)
