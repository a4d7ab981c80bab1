"""plan.folds in the pipeline: a stage for each fold, which no interruption of a later one undoes."""

import csv
import json
import sys
from pathlib import Path

import pytest
from project import Project, Running

pytestmark = pytest.mark.slow


def test_killed_in_the_third_fold_the_first_two_stay(tmp_path_factory: pytest.TempPathFactory) -> None:
    project = Project.ran(tmp_path_factory, tmp_path_factory.mktemp("folds"))
    project.edit("conf/config.yaml", "folds: null", "folds: 3")
    project.edit("conf/config.yaml", "least_score: 0.5", "least_score: 0.0")
    refused = project.dvc("repro", ok=False)
    assert "plan.folds=3: is recorded now, but DVC had read before which stages there are; run `dvc repro` once more" in refused.stderr
    run = Running(project, sys.executable, "-m", "dvc", "repro")
    try:
        run.wait_for("Running stage 'fold@3'")
        run.wait_for("epoch 1/2")
    finally:
        run.kill_all()
    ran = [line for line in run.text.splitlines() if line.startswith("Running stage")]
    assert ran == [f"Running stage '{name}':" for name in ("configure", "plan", "divide@3", "fold@1", "fold@2", "fold@3")], (
        "and neither prepare nor train"
    )
    kept = [f"artifacts/folds/3/{fold}/{file}" for fold in (1, 2) for file in ("best.ckpt", "last.ckpt", "history.csv")]
    before = project.bytes_of(*kept)
    assert not (project.folder / "artifacts/folds/3/3/best.ckpt").exists()
    assert project.repro("folds") == ["fold@3", "folds@3"]
    assert project.bytes_of(*kept) == before
    assert project.repro() == ["review@3"]
    shown = json.loads(project.dvc("metrics", "show", "--json").stdout)[""]["data"]
    assert shown["artifacts/out_of_fold/metrics.json"]["data"]["out_of_fold"]["num_images"] == 40
    folder = project.folder / "artifacts/review"
    suspects = json.loads((folder / "review.json").read_text())["suspects"]
    images = list(csv.DictReader((folder / "images.csv").read_text().splitlines()))
    assert (len(images), images[0]["image_id"]) == (40, suspects[0]["image_id"])
    scores = [float(image["most_suspect"]) for image in images]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= float(image["label_quality"]) < 1 for image in images), "a class map's own score of an image"
    assert {s["mark"] for s in suspects} == {None}
    assert project.repro() == [], "an unchanged review reruns nothing"
    first = suspects[0]
    row = next(r for r in json.loads(_rows(folder)) if (r["image_id"], r["kind"]) == (first["image_id"], first["kind"]))
    (project.folder / "data/marks/mine.json").write_text(json.dumps({"marks": [row | {"mark": "right"}]}))
    assert project.repro("review") == ["review@3"], "a new mark reruns it"
    again = json.loads((folder / "review.json").read_text())["suspects"]
    assert [s["mark"] for s in again].count("right") == 1
    assert row["counts"] not in _rows(folder), "what is marked right is not asked again"


def _rows(folder: Path) -> str:
    """What the page's script reads."""
    return (folder / "review.html").read_text().split('<script type="application/json" id="rows">')[1].split("</script>")[0]
