"""What an evaluation shows of a network's attention."""

from pathlib import Path

import cv2
import torch
from conftest import MakeConfig
from models.test_contract import SMALLER

from seg.checkpoint import Checkpoint, save
from seg.models.build import build_model
from seg.stages.evaluate import run
from seg.store import read_info


def test_overlays_show_the_gates_of_an_attention_unet(prepared: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    torch.manual_seed(0)
    overrides = [
        "model=attention_unet",
        *SMALLER["attention_unet"],
        f"paths.prepare={prepared}",
        f"paths.train={tmp_path}",
        "evaluate.num_overlays=1",
    ]
    config, info = make_config(*overrides, "runtime.workers=0", "runtime.progress=none"), read_info(prepared)
    state = build_model(config, info).state_dict()
    save(tmp_path / "best.ckpt", Checkpoint(state, config.model_dump(mode="json", by_alias=True), info, 1, {}))
    run(config, tmp_path / "out")
    pictures = [cv2.imread(str(path)) for path in (tmp_path / "out/overlays").glob("*.png")]
    assert pictures
    inches = 2 * 3.4 + 0.8 + 2 * 0.3  # two rows: four panels of any network, and four gates
    assert all(picture.shape[0] == round(110 * inches) for picture in pictures)
