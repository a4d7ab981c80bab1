"""Two runs over CamVid's test images compared: each predicts the labels of a frame that lies so many frames ahead."""

import csv
from pathlib import Path

import numpy as np
import pytest
from camvid import NEEDED, prepared_camvid, settings
from compared import samples_of, write_evaluation
from sklearn.metrics import jaccard_score
from typed import typed

from seg.data.sample import Prediction, Sample

ROOT = Path(__file__).parents[2]

pytestmark = NEEDED


def test_the_labels_of_a_nearer_frame_are_the_better_guess(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, prepared = settings("evaluate.bootstrap.resamples=200"), prepared_camvid(tmp_path_factory)
    samples = samples_of(prepared, "val")  # one stretch of a film, in its order
    place = {sample.image_id: n for n, sample in enumerate(samples)}

    def ahead(by: int, sample: Sample) -> np.ndarray:
        labels = samples[(place[sample.image_id] + by) % len(samples)].semantic
        return np.where(labels == 255, 0, labels).astype(np.uint8)

    for name, by in (("far", 10), ("near", 1)):
        write_evaluation(tmp_path / name, prepared, config, lambda sample, by=by: Prediction(ahead(by, sample)), "val")  # type: ignore[misc]
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    monkeypatch.chdir(tmp_path)
    typed("compare", tmp_path, ["far", "near", "--data", str(prepared)])
    with open("artifacts/compare/differences.csv", newline="") as file:
        row = next(r for r in csv.DictReader(file) if r["figure"] == "miou")
    true = np.concatenate([s.semantic[s.semantic != 255] for s in samples])
    present = sorted({*true.tolist()})
    for key, by in (("first", 10), ("value", 1)):
        said = np.concatenate([ahead(by, s)[s.semantic != 255] for s in samples])
        labels = sorted({*present, *said.tolist()})
        assert float(row[key]) == pytest.approx(jaccard_score(true, said, labels=labels, average="macro", zero_division=0), abs=1e-6)
    assert 0 < float(row["low"]) < float(row["difference"]) < float(row["high"])
    assert row["above"] == "1.0"
    assert len(Path("artifacts/compare/per_image.csv").read_text().splitlines()) == 102
    assert Path("artifacts/compare/compare.html").stat().st_size < 10_000_000
