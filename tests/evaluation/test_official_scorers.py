"""The scorers that others use find our figures in the files that an evaluation leaves."""

from pathlib import Path

import pytest
from official import cocos_figures, evaluated
from random_instances import random_scenes
from tiny import CLASSES

from seg.sources.base import Record
from seg.store import write_record, write_split

FIGURES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar")


def test_pycocotools_finds_our_figures_in_the_files(tmp_path: Path) -> None:
    """Several classes, one of them never true; crowds, images without truth or predictions, equal scores, boxes beside their masks."""
    scenes = random_scenes(2, number=30)
    split = tmp_path / "test"
    write_split(split, [write_record(split, Record(s.sample), len(CLASSES)) for s in scenes], CLASSES, True)
    predictions = {s.image_id: s.prediction for s in scenes}
    ours = evaluated(split, tmp_path / "predictions", [c.name for c in CLASSES], predictions)
    for kind in ("mask", "box"):
        official = cocos_figures(split, tmp_path / "predictions", kind)
        assert sum(0 < value < 1 for value in official.values()) == len(FIGURES), "the data tells figures apart"
        for figure in FIGURES:
            assert official[figure] == pytest.approx(ours[f"{kind}_{figure}"], abs=1e-6), (kind, figure)
