"""Figures of groups: those of their images alone, with intervals; columns that do not exist are refused."""

import numpy as np
import pytest

from seg.core.errors import ConfigError
from seg.evaluation.detail import check_columns, group_rows
from seg.metrics.bootstrap import intervals

VALUES = np.array([1.0, 2.0, 4.0, 9.0, 10.0])


def resampled(weights: np.ndarray, values: np.ndarray = VALUES) -> dict[str, np.ndarray]:
    mean = weights @ values / weights.sum(axis=1)
    return {"mean": mean, "double": 2 * mean}


def test_a_row_a_group_in_natural_order_with_its_images_alone() -> None:
    rows = group_rows(resampled, "scene", ["s10", "s2", "s2", "s10", "s10"], "mean", 300, 5, 0.8)
    assert [(r["column"], r["group"], r["num_images"]) for r in rows] == [("scene", "s2", 2), ("scene", "s10", 3)]
    assert [(r["mean"], r["double"]) for r in rows] == [(3, 6), pytest.approx((20 / 3, 40 / 3))]
    for row, inside in zip(rows, ([1, 2], [0, 3, 4]), strict=True):
        own = intervals(lambda weights, inside=inside: resampled(weights, VALUES[inside]), len(inside), 300, 5, 0.8)["mean"]
        assert (row["mean_low"], row["mean_high"]) == pytest.approx(own)
        assert row["mean_low"] < row["mean"] < row["mean_high"]


def test_columns_that_images_do_not_have_are_refused() -> None:
    known = [{"scanner": "a", "kind": "x"}, {"scanner": "b", "kind": "y", "more": "z"}]
    check_columns(["kind", "scanner"], known)
    check_columns([], [{}])
    with pytest.raises(ConfigError, match=r"^evaluate.groups: no column 'kinds' of the manifest; did you mean 'kind'\?"):
        check_columns(["kinds"], known)
    with pytest.raises(ConfigError, match=r"^evaluate.groups: no column 'more' of the manifest; columns: kind, scanner"):
        check_columns(["more"], known)
    with pytest.raises(ConfigError, match=r"no column 'kind' of the manifest; set data.split.table, whose columns the images then have"):
        check_columns(["kind"], [{}, {}])
