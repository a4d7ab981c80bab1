"""The page on own parts is true: its files and its commands, in a new project."""

import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from project import ROOT, Project

PAGE = (ROOT / "docs/how-to/extend.md").read_text()
TITLED = re.findall(r'```\w+ title="(.+?)"\n(.*?)```', PAGE, re.DOTALL)
ALLOW = re.search(r"```yaml\n(targets:.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def draw(folder: Path) -> None:
    """24 images with a bright disc each."""
    folder.mkdir()
    rows = []
    for number in range(24):
        rng = np.random.default_rng(number)
        x, y = (int(value) for value in rng.integers(16, 48, 2))
        image = np.full((64, 64, 3), 60, np.uint8)
        cv2.circle(image, (x, y), 10, (200, 180, 40), -1)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.add(image, rng.integers(0, 9, image.shape, np.uint8)))
        rows.append({"image": f"{number}.png", "x": x, "y": y, "radius": 10})
    with (folder / "discs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "x", "y", "radius"])
        writer.writeheader()
        writer.writerows(rows)


def test_every_file_of_the_page_is_valid() -> None:
    assert len(TITLED) == 12
    for name, text in TITLED:
        compile(text, name, "exec") if name.endswith(".py") else yaml.safe_load(text)


@pytest.mark.slow
def test_own_parts_as_the_page_has_them(tmp_path: Path) -> None:
    Project(tmp_path).seg("new", "demo")
    project = Project(tmp_path / "demo")
    project.edit("conf/config.yaml", "minutes: auto", "minutes: 0.1")
    for name, text in TITLED:
        path = project.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    project.edit("conf/config.yaml", "lightning.pytorch]", "lightning.pytorch, mykit]")
    assert ALLOW
    assert yaml.safe_load(ALLOW[1])["targets"] == yaml.safe_load((project.folder / "conf/config.yaml").read_text())["targets"]
    pipeline = yaml.safe_load((project.folder / "dvc.yaml").read_text())
    for stage in ("prepare", "train", "evaluate"):
        pipeline["stages"][stage]["deps"].append("mykit")
    (project.folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    draw(project.folder / "discs")
    project.commit("own parts")
    assert COMMANDS[0].startswith("python -m seg doctor")
    for command in COMMANDS:
        project.run(*command.replace("python ", f"{project.python} ", 1).replace("dvc ", f"{project.python} -m dvc ", 1).split())
        if command == "dvc repro":
            figures = json.loads((project.folder / "artifacts/evaluate/metrics.json").read_text())["test"]
            settings = yaml.safe_load((project.folder / "params.yaml").read_text())
            assert 0 <= figures[settings["task"]["monitor"]] <= figures["miou"] <= 1
    assert settings["task"]["name"] == "sigmoids"
    load = "import cv2, seg; print(seg.load('artifacts/train/best.ckpt').predict(cv2.imread('discs/0.png')).semantic.shape)"
    (project.folder / "load.py").write_text(load)
    assert project.run(str(project.python), "load.py").stdout.strip() == "(64, 64)"
