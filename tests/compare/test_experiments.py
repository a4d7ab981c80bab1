"""An experiment beside the workspace, in a clone of the project: DVC's own diffs, and `seg compare`."""

import csv
import json
from pathlib import Path

import pytest
from project import Project

pytestmark = pytest.mark.slow
METRICS = "artifacts/evaluate/metrics.json"


def test_an_experiment_is_compared_with_the_workspace(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    project = Project.ran(tmp_path_factory, tmp_path / "project")

    def figures() -> dict[str, float]:
        return json.loads((project.folder / METRICS).read_text())["test"]

    before = figures()
    project.dvc("exp", "run", "-n", "quicker", "-S", "experiment=smoke", "-S", "optimizer.lr=0.1", "-S", "trainer.max_epochs=1")
    after = figures()
    project.run("git", "reset", "-q", "--hard")
    assert "train" not in project.repro()
    assert figures() == before != after

    shown = json.loads(project.dvc("metrics", "diff", "quicker", "workspace", "--json").stdout)
    changed = shown[METRICS]["test.miou"]
    assert (changed["old"], changed["new"]) == (after["miou"], before["miou"])
    drawn = project.dvc("plots", "diff", "quicker", "workspace")
    assert "failed" not in drawn.stdout + drawn.stderr
    page = (project.folder / "dvc_plots/index.html").read_text()
    assert page.count("quicker") > 1
    assert "workspace" in page

    printed = project.seg("compare", "quicker", "workspace").stdout
    out = project.folder / "artifacts/compare"
    with open(out / "differences.csv", newline="") as file:
        rows = {row["figure"]: row for row in csv.DictReader(file)}
    for name, row in rows.items():
        assert float(row["first"]) == pytest.approx(after[name], abs=2e-6), "the figures of the evaluation itself"
        assert float(row["value"]) == pytest.approx(before[name], abs=2e-6)
        assert float(row["low"]) <= float(row["difference"]) <= float(row["high"])
    assert f"{before['miou'] - after['miou']:+.4f}" in printed
    compared = (out / "compare.html").read_text()
    assert "<code>optimizer.lr</code></th><td>0.1</td><td>0.02</td>" in compared
    assert project.run("git", "status", "--porcelain").stdout.strip() == "", "what a comparison leaves is no part of the project"
