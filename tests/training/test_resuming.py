"""A training that ends at an exact moment goes on there, and gives the bytes of one that did not."""

import signal
from pathlib import Path
from typing import Any

import killed
import pytest
from conftest import MakeConfig

from seg.schema import Config
from seg.stages import augment

STEPS, EPOCHS = 4, 3
NETWORK = {"_target_": "seg.models.unet.UNet", "depth": 1, "width": 2, "padding": "same", "batch_norm": True, "dropout": 0.5}
SETTINGS = ["loss=ce_dice", "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.batch_size=2", f"trainer.max_epochs={EPOCHS}"]
FILES = ("best.ckpt", "last.ckpt", "history.csv")
EVERY_STEP = "runtime.save_minutes=0"
AT_EPOCHS = "runtime.save_minutes=null"


@pytest.fixture(scope="module")
def configure(prepared: Path, tmp_path_factory: pytest.TempPathFactory, make_config: MakeConfig) -> Any:
    """(*overrides) -> the configuration of a training of 3 epochs with 4 steps, dropout and a loss of two terms."""
    augmented = tmp_path_factory.mktemp("augmented")
    paths = [f"paths.prepare={prepared}", f"paths.augment={augmented}", "runtime.workers=0", "runtime.progress=lines"]

    def make(*overrides: str) -> Config:
        return make_config(*SETTINGS, *paths, *overrides, network=NETWORK)

    augment.run(make(), augmented)
    return make


@pytest.fixture(scope="module")
def unbroken(configure: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The outputs of a training that ran at once, and kept nothing within its epochs."""
    return outputs_of(configure(AT_EPOCHS), tmp_path_factory.mktemp("unbroken"))


def outputs_of(config: Config, folder: Path) -> dict[str, bytes]:
    assert killed.train(config, folder) == 0, (folder / "said.txt").read_text()
    assert list((folder / "scratch/train").iterdir()) == [], "the scratch folder is removed on success"
    return {name: (folder / "out" / name).read_bytes() for name in FILES}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "count", "goes_on"),
    [
        ("step", 2, "epoch 1, after step 1"),
        ("step", 7, "epoch 2, after step 2"),
        ("validation step", 1, "epoch 1, after step 4"),
        ("validation step", 2, "epoch 2, after step 4"),
        ("validation's end", 3, "epoch 3, after step 4"),
        ("file being written", 9, "epoch 2, after step 2"),
        ("file written, not in place", 9, "epoch 2, after step 2"),
        ("outputs", 1, "epoch 4, after step 0"),
        ("outputs being put in place", 2, "epoch 4, after step 0"),
        ("outputs written", 1, "epoch 4, after step 0"),
    ],
)
def test_killed_and_resumed(unbroken: dict[str, bytes], configure: Any, tmp_path: Path, moment: str, count: int, goes_on: str) -> None:
    assert killed.train(configure(EVERY_STEP), tmp_path, (moment, count)) == -signal.SIGKILL
    assert outputs_of(configure(EVERY_STEP), tmp_path) == unbroken
    assert goes_on in (tmp_path / "said.txt").read_text()
