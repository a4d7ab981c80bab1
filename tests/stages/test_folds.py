"""Each image is scored by the model of its fold, as that model's own evaluation scores it; all of them are then one split."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeConfig
from stages.test_divide import divided, with_a_named_test
from stages.test_evaluate import FEW_OBJECTS, rows_of, untrained, with_postprocess

from seg.core.errors import ConfigError, DataError
from seg.data.store import read_entries
from seg.evaluation.record import read_run
from seg.models.postprocess import Postprocess
from seg.stages import evaluate, folds

QUICK = ("evaluate.num_overlays=0", "evaluate.bootstrap.resamples=20", "evaluate.gallery.images=1", "runtime.workers=0")


def confusion(folder: Path) -> np.ndarray:
    with open(folder / "tables/confusion.csv", newline="") as file:
        counts: dict[tuple[str, str], float] = {(r["actual"], r["predicted"]): float(r["pixels"]) for r in csv.DictReader(file)}
    return np.array([counts[key] for key in sorted(counts)])


@pytest.mark.parametrize("task", ["semantic", "instance"])
def test_each_image_is_scored_by_the_model_of_its_fold(prepared: Path, tmp_path: Path, make_config: MakeConfig, task: str) -> None:
    source = with_a_named_test(prepared, tmp_path / "prepared")
    views, models, rows, counts = divided(source, tmp_path, make_config), tmp_path / "models", {}, []
    own = (f"task={task}", "plan.folds=3", *QUICK, *(FEW_OBJECTS if task == "instance" else ()))
    for fold in (1, 2, 3):
        place = models / f"3/{fold}"
        place.mkdir(parents=True)
        alone = untrained(views / str(fold), place, make_config, *own, "evaluate.split=val", seed=fold)
        evaluate.run(alone, tmp_path / f"alone{fold}")
        rows |= {row["image_id"]: row | {"fold": str(fold)} for row in rows_of(tmp_path / f"alone{fold}/per_image.csv")}
        counts.append(confusion(tmp_path / f"alone{fold}") if task == "semantic" else 0)
        with_postprocess(place / "best.ckpt", alone, Postprocess(3.0, 0.01, 200))  # chosen on these images, so it counts nowhere below
    paths = [f"paths.{name}={folder}" for name, folder in (("prepare", source), ("divide", views), ("fold", models))]
    config, out = make_config(*own, *paths, "runtime.progress=none", f"evaluate.explained={int(task == 'semantic')}"), tmp_path / "out"
    folds.run(config, out)
    found = rows_of(out / "per_image.csv")
    assert [row["image_id"] for row in found] == sorted(rows), "all images but those of test, which the data set names"
    assert all(row == {key: rows[row["image_id"]][key] for key in row} for row in found)
    if task == "semantic":
        assert confusion(out).tolist() == sum(counts).tolist()
    sizes = {row["group"]: int(row["num_images"]) for row in rows_of(out / "tables/groups.csv")}
    assert sizes == {fold: sum(row["fold"] == fold for row in rows.values()) for fold in "123"}
    told = json.loads((out / "metrics.json").read_text())
    assert told["out_of_fold"]["num_images"] == len(rows)
    assert told["test"]["num_images"] == len(read_entries(source / "test"))
    assert read_run(out / "evaluation.json").split == "out_of_fold"
    assert f"{len(rows)} images, each predicted by the model of its fold" in (out / "report.html").read_text()
    assert ", 3 models together" in (out / "ensemble/report.html").read_text()
    explained = ['id="mistakes"' in (folder / "report.html").read_text() for folder in (out, out / "ensemble")]
    assert explained == [task == "semantic", False], "of an image that several models predict there is no one network to ask"
    (models / "3/2/best.ckpt").replace(models / "3/3/best.ckpt")
    with pytest.raises(DataError, match=r"3/2/best.ckpt: fold 2 of 3 has no model; train it with `dvc repro fold@2`$"):
        folds.run(config, out)
    (models / "3/2/best.ckpt").write_bytes((models / "3/3/best.ckpt").read_bytes())
    with pytest.raises(DataError, match=r"3/3/best.ckpt: was trained on other images than .*folds/3 has now; run `dvc repro folds`$"):
        folds.run(config, out)


def test_there_must_be_folds(make_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^plan.folds=null: there are no folds; set plan.folds=5, say"):
        folds.run(make_config(), tmp_path)
