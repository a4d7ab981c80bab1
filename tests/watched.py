"""Trainings of seconds, of a single convolution on drawn scenes, by the stage itself."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeConfig

from seg.augment.policy import compile_policy
from seg.configure.config import Config, check_signatures
from seg.data.store import read_info

CONVOLUTION = {"_target_": "torch.nn.Conv2d", "kernel_size": 3, "padding": 1}


def small(make_config: MakeConfig, prepared: Path, folder: Path, *overrides: str, network: dict[str, Any] | None = None) -> Config:
    """The configuration of a training on one CPU, two epochs of two steps; what `augment` leaves is written into the folder."""
    base = ["augment=none", f"paths.prepare={prepared}", f"paths.augment={folder / 'augmented'}", f"paths.train={folder / 'artifacts'}"]
    base += [f"logger.folder={folder / 'logs'}", "runtime.progress=lines", "runtime.data_wait=1.0", "trainer.accelerator=cpu"]
    base += ["trainer.precision=32-true", "trainer.batch_size=4", "trainer.max_epochs=2", "optimizer.lr=0.05"]
    cfg = make_config(*base, *overrides, network=network or CONVOLUTION)
    check_signatures(cfg)  # imports what is built, as the name of the scratch folder depends on what is loaded
    augmented = folder / "augmented"
    augmented.mkdir(exist_ok=True)
    (augmented / "policy.json").write_text(compile_policy(cfg.augment, cfg.targets.allow).to_json())
    (augmented / "augmented.json").write_text(json.dumps({"prepared": read_info(prepared).digest, "digest": ""}))
    return cfg


def own_scratch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Interrupted trainings keep their state below the folder, not in the project."""
    monkeypatch.setenv("SEG_SCRATCH", str(folder / "scratch"))
    return folder / "scratch"
