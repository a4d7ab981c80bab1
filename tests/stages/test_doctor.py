"""`seg doctor` and the warnings of `prepare`, as a user runs them; and the reference's list of the kinds of findings."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
from composed import composed
from tiny import folders as folders_source
from tiny import prepare_tiny, split, write, write_folders

from seg.configure.config import Config, checked
from seg.core.errors import DataError
from seg.stages import doctor, prepare

ROOT = Path(__file__).parents[2]
CLASSES = "[{name: a, color: [0,0,0]}, {name: b, color: [9,0,0]}, {name: c, color: [0,9,0]}, {name: d, color: [0,0,9]}]"


def config(raw: Path, *overrides: str) -> Config:
    settings = ["data=folders", f"data.root={raw}", f"data.classes={CLASSES}", "runtime.progress=none", "data.split.stratify=false"]
    return checked(composed(*settings, *overrides))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "raw", [f"scene{number}" for number in range(12)])


def test_the_doctor_lists_every_error_and_writes_no_data_set(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (2, 4):
        (raw / "images" / f"scene{number}.jpg").write_bytes(b"")
    (raw / "masks" / "scene6.png").write_bytes(b"none")
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"^3 errors \(unreadable-file 3\): see .*doctor.html$"):
        doctor.run(config(raw), out)
    assert sorted(p.name for p in out.iterdir()) == ["doctor.html", "doctor.json"]
    shown = capsys.readouterr().out
    assert f"error: unreadable-file, 3 times, such as {raw}/images/scene2.jpg: is an empty file; restore it" in shown
    content = json.loads((out / "doctor.json").read_text())
    errors = [f for f in content["findings"] if f["severity"] == "error"]
    assert [f["file"] for f in errors] == ["images/scene2.jpg", "images/scene4.jpg", "masks/scene6.png"]
    assert content["counts"]["unreadable-file"] == 3
    assert sum(counts["num_images"] for counts in content["splits"].values()) == 9


def test_the_doctor_tells_of_a_layout_that_gives_no_images(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^1 error \(missing-file 1\)"):
        doctor.run(config(raw, "data.source.masks=labels"), tmp_path / "out")
    assert "there is no such folder" in (tmp_path / "out" / "doctor.html").read_text()


def test_prepare_tells_of_each_kind_once_and_keeps_all(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2, 3):
        write(raw / "masks" / f"alone{number}.png", np.zeros((4, 4), np.uint8))
    prepare.run(config(raw), tmp_path / "out")
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    kinds = [line.split()[1].strip(",:") for line in shown]
    assert len(kinds) == len(set(kinds))
    assert any(line.startswith(f"warning: label-without-image: {raw}/masks: 3 masks have no image") for line in shown)
    content = json.loads((tmp_path / "out" / "doctor.json").read_text())
    assert set(content["counts"]) == set(kinds)
    assert str(tmp_path) not in (tmp_path / "out" / "doctor.json").read_text(), "the same wherever the data set lies"


def test_both_find_the_same(raw: Path, tmp_path: Path) -> None:
    prepare.run(config(raw), tmp_path / "out")
    doctor.run(config(raw), tmp_path / "doctor")
    assert (tmp_path / "doctor" / "doctor.json").read_bytes() == (tmp_path / "out" / "doctor.json").read_bytes()


def test_folds_on_disk(raw: Path, tmp_path: Path) -> None:
    """Each image but those of test is in val once; a column of a table groups them."""
    table = "\n".join(["image,patient", *(f"scene{number},p{number // 2}" for number in range(12))])
    (raw / "index.csv").write_text(table)
    section = split(folds=2, group={"column": "patient"}, table={"file": "index.csv", "id": "image"})
    seen = []
    for fold in (0, 1):
        out = tmp_path / f"fold{fold}"
        info = prepare_tiny(folders_source(raw), out, section, raw, fold=fold)
        assert sum(counts["num_images"] for counts in info.splits.values()) == 12
        names = {s: {p.stem for p in (out / s / "images").iterdir()} for s in ("train", "val", "test")}
        assert {s: {p.stem for p in (out / s / "semantic").iterdir()} for s in names} == names
        for members in names.values():
            assert all(f"scene{int(name[5:]) ^ 1}" in members for name in members), "a patient's two images are together"
        seen.append(names)
    assert seen[0]["test"] == seen[1]["test"]
    assert seen[0]["val"] == seen[1]["train"]
    assert seen[0]["train"] == seen[1]["val"]


def kinds_raised() -> set[str]:
    """The kinds that stand in the code: every text that is written as one, where data is read and checked."""
    read = [path for room in ("sources", "prepare", "data", "core", "raw") for path in (ROOT / "seg" / room).rglob("*.py")]
    texts = [n.value for path in read for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)]
    return {text for text in texts if isinstance(text, str) and re.fullmatch(r"[a-z]+(-[a-z]+)+", text)} - {"utf-sig"}


def test_the_reference_lists_every_kind_of_finding_and_no_other() -> None:
    text = (ROOT / "docs/reference.md").read_text().partition("## Findings")[2].partition("\n## ")[0]
    listed = {kind for cell in re.findall(r"^\|([^|]*`[^|]*)\|", text, re.MULTILINE) for kind in re.findall(r"`([a-z-]+)`", cell)}
    assert listed == kinds_raised()
