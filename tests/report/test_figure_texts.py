"""Every headline figure has a line that says what it is."""

import pytest

from seg.evaluation.pixels import BoundaryOptions, PixelMetrics
from seg.metrics.instance import InstanceMetrics
from seg.metrics.semantic import SemanticMetrics
from seg.report.page_of_evaluation import text_of


def test_every_figure_of_the_tasks_has_a_text() -> None:
    names = [*SemanticMetrics(["a", "b"]).figures(), *InstanceMetrics(["a", "b"], 0.5, 100).figures()]
    assert len(names) > 20
    assert [name for name in names if not text_of(name)] == []


@pytest.mark.parametrize("spacing", [None, (0.5, 0.5)])
def test_every_figure_of_pixels_has_a_text(spacing: tuple[float, float] | None) -> None:
    import numpy as np

    from seg.data.sample import Prediction

    metrics = PixelMetrics(["a", "b"], BoundaryOptions(0.02, 2), True, 5)
    labels = np.eye(8, dtype=np.uint8)
    metrics.update(labels, Prediction(labels, np.full((8, 8), 65535, np.uint16)), spacing)
    names = list(metrics.figures())
    assert [name for name in names if not text_of(name)] == []
    assert text_of("mean_hd95_um").endswith("micrometres")


def test_what_is_compared_and_what_is_unknown() -> None:
    assert text_of("mask_ap50") == "masks: average precision at IoU 0.50"
    assert text_of("box_ar").startswith("boxes: ")
    assert text_of("of_ones_own") == text_of("mask_of_ones_own") == ""
