"""The list of what there is to choose from."""

import re
import shutil
from pathlib import Path

import pytest
from typed import typed

from seg.core.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """conf/ with two models of its own, one of them broken, and few others."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    models = tmp_path / "conf/model"
    for path in models.glob("*.yaml"):
        if path.stem not in ("auto", "unet", "unet_small", "mask_rcnn_small", "ssd_small", "panoptic_fpn_small"):
            path.unlink()
    own = "# {}\nname: {}\ntask: semantic\nnetwork: {}\nstride: 1\nscale: 1.0\nnormalization: dataset\nweights: null\n"
    (models / "pixel.yaml").write_text(own.format("A linear classifier", "pixel", "{_target_: torch.nn.Conv2d, kernel_size: 1}"))
    (models / "wrong.yaml").write_text(own.format("Nothing", "wrong", "{_target_: torch.nn.Conv9d, kernel_size: 1}"))
    return tmp_path


def test_models_and_losses_of_conf_are_listed_with_their_size(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed("models", project, [])
    shown = capsys.readouterr().out
    rows = {line.split()[0]: re.split(r"  +", line) for line in shown.splitlines() if line}
    assert rows["pixel"] == ["pixel", "semantic", "24", "A linear classifier"], "3 channels and a bias for each of 6 classes"
    unet = (ROOT / "conf/model/unet.yaml").read_text().splitlines()[0]
    assert rows["unet"] == ["unet", "semantic", "12,461,734", unet.removeprefix("# ")]
    assert rows["mask_rcnn_small"][1] == "instance"
    assert re.search(r"^auto +any +-  ", shown, re.M)
    assert [name for name, row in rows.items() if "cannot be built" in row[-1]] == ["wrong"]
    assert (rows["ssd_small"][1], rows["panoptic_fpn_small"][1]) == ("detection", "panoptic")
    assert rows["wrong"][2] == "-"
    assert "cannot be built: model.network._target_=torch.nn.Conv9d" in rows["wrong"][3]
    assert rows["ce"][1].startswith("class_weights, label_smoothing")
    assert not any(line != line.rstrip() for line in shown.splitlines())


def test_encoders_are_found_by_a_part_of_the_name_or_a_pattern(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed("models", project, ["--encoders", "squeezenet1"])
    rows = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines()[3:]]
    assert [row[0] for row in rows] == ["tv-squeezenet1_0", "tv-squeezenet1_1"]
    assert rows[1] == ["tv-squeezenet1_1", "722,496", "2 4 8 16"]  # torchvision: 1,235,496 with a last convolution of 512 x 1000 + 1000
    typed("models", project, ["--encoders", "tu-resnet10*"])
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()[3:]} >= {"tu-resnet10t"}


def test_outside_of_a_project_it_says_where_to_stand(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="change into the project's folder first"):
        typed("models", tmp_path, [])
