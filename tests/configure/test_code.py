"""Digests of each stage's code: which stages an edit, or another version of the package, runs again."""

import shutil
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from seg.configure import template
from seg.configure.template import PACKAGE

FOLDS = {"divide", "fold", "folds", "review"}
STAGES = {"configure", "prepare", "plan", "augment", "train", "evaluate"} | FOLDS


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, whose modules a test may edit."""
    copy = tmp_path / "seg"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    monkeypatch.setattr(template, "PACKAGE", copy)
    return copy


@pytest.mark.parametrize(
    ("edited", "stages"),
    [
        ("runtime/console.py", set()),
        ("cli.py", set()),
        ("predict/inputs.py", {"review"}),
        ("compare/page.py", set()),
        ("training/module.py", {"train", "fold"}),
        ("report/templates/evaluation.html.j2", {"evaluate", "folds", "review"}),
        ("augment/policy.py", {"augment", "train", "fold"}),
        ("sources/coco.py", {"prepare"}),
        ("models/unet.py", {"train", "evaluate", "fold", "folds", "review"}),
        ("stages/evaluate.py", {"evaluate", "folds", "review"}),
        ("export/settings.py", {"configure"}),
        ("core/errors.py", STAGES - {"plan"}),
        ("plan/rules/view.py", {"plan"}),
    ],
)
def test_an_edit_changes_the_digests_of_the_stages_that_run_it(package: Path, edited: str, stages: set[str]) -> None:
    before = template.digests()
    path = package / edited
    path.write_text(path.read_text() + "\n")
    after = template.digests()
    assert {name for name in before if before[name] != after[name]} == stages


def test_a_compiled_file_is_no_code(package: Path) -> None:
    before = template.digests()
    (package / "core/__pycache__").mkdir()
    for name in ("errors.cpython-311.pyc", "semantic.count-1.py311.nbi"):
        (package / "core/__pycache__" / name).write_bytes(b"compiled")
    assert template.digests() == before


def test_a_projects_pipeline_depends_on_digests_in_place_of_folders(tmp_path: Path) -> None:
    pipeline = template.for_projects(yaml.safe_load((ROOT / "dvc.yaml").read_text()))
    stages = pipeline["stages"]
    assert stages.keys() == STAGES
    assert not [d for stage in stages.values() for d in template.body(stage)["deps"] if d.startswith("seg/")]
    assert stages["fold"]["do"]["params"][-1] == "code.fold"
    assert stages["train"]["params"][-1] == "code.train"
    assert stages["train"]["deps"] == ["data/weights", "data/prepared", "data/augmented"]
    assert stages["configure"]["always_changed"] is True
    assert not template.tracks_code(ROOT)
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    assert template.tracks_code(tmp_path)
