"""The command `describe` on configurations of all kinds."""

import csv
import json
from pathlib import Path

import cv2
import pytest
from composed import composed
from plans import settled

from seg.core.errors import ConfigError
from seg.stages.describe import Settings, run


def described(out: Path, *overrides: str) -> dict[str, object]:
    run(Settings.of(settled(f"paths.plan={out}", *overrides)), out)
    content: dict[str, object] = json.loads((out / "describe.json").read_text())
    return content


def test_figures_and_files(prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = described(tmp_path, f"paths.prepare={prepared}")
    rows = list(csv.DictReader((tmp_path / "layers.csv").open()))
    for name in ("parameters", "multiply_adds", "activations"):
        assert sum(int(row[name]) for row in rows) == found[name]
    assert found["size"] == [48, 48]
    assert cv2.imread(str(tmp_path / "receptive_field.png")).shape[1] > 500
    printed = capsys.readouterr().out
    assert "unet_small, for images of 48 x 48 pixels (the median of the training images)" in printed
    assert f"parameters that learn: {found['parameters_that_learn']:,}" in printed
    memory = found["memory"]
    assert isinstance(memory, dict)
    for figures in memory.values():
        assert 0 < figures["predicted"] < 2e9
        assert 0 < figures["measured"] < 2e9


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("task=instance",),
        ("task=instance", "model=distance"),
        ("model=segformer",),
        ("model=deeplabv3plus",),
    ],
)
def test_each_kind_of_network_is_described(overrides: tuple[str, ...], tmp_path: Path) -> None:
    found = described(tmp_path, "describe.size=[96,128]", f"paths.prepare={tmp_path / 'nothing'}", *overrides)
    assert found["size"] == [96, 128]
    fields = found["receptive_fields"]
    assert isinstance(fields, list)
    assert all(one["size"] is None or one["size"] > 100 for one in fields)


def test_objects_that_the_network_cannot_see_are_told(prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At a twentieth of their size the shapes are smaller than a pixel; and a network of one small convolution sees less than they are."""
    described(tmp_path / "small", f"paths.prepare={prepared}", "model.scale=0.05")
    assert "in the network's input, and its finest features lie 1 apart; raise model.scale" in capsys.readouterr().out
    params = settled(f"paths.prepare={prepared}", f"paths.plan={tmp_path}", "task=instance", "model=distance")
    params["model"]["network"] = {"_target_": "torch.nn.Conv2d", "kernel_size": 3, "padding": 1}
    run(Settings.of(params), tmp_path / "large")
    assert "pixels wide, and an output sees 3 at most; lower model.scale" in capsys.readouterr().out


def test_an_open_network_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^model.network=auto: is not planned yet for task=semantic; run `seg plan task=semantic`"):
        run(Settings.of(composed(f"paths.plan={tmp_path}")), tmp_path)
