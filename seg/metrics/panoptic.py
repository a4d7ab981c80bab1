"""Panoptic quality (Kirillov et al. 2019) of things and of stuff, as panopticapi counts it: pixels without a truth do not count."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from seg.metrics.instance import InstanceMetrics, panoptic_means, resampled_counts
from seg.metrics.matching import Tally


class PanopticMetrics(InstanceMetrics):
    """As of instances, of all classes, and without average precision: segments do not overlap, so that few scores can be compared."""

    OF_CLASS: ClassVar[Mapping[str, Sequence[str]]] = {}

    def __init__(self, class_names: Sequence[str], score_threshold: float, max_detections: int, things: Collection[int]) -> None:
        super().__init__(class_names, score_threshold, max_detections)
        self.names = dict(enumerate(class_names))
        self.tallies = dict.fromkeys(self.names, Tally())
        groups = {"things": [c for c in self.names if c in things], "stuff": [c for c in self.names if c not in things]}
        self.groups = {name: members for name, members in groups.items() if members}

    @property
    def scored(self) -> list[int]:
        return self.groups.get("things", [])

    def figures(self) -> dict[str, float]:
        found = super().figures()
        for group, members in self.groups.items():
            found |= {f"{name}_{group}": value for name, value in panoptic_means(self.tallies[c] for c in members).items()}
        return found

    def resampled(self, image_ids: Sequence[str], weights: np.ndarray) -> dict[str, np.ndarray]:
        tallies = [self.image_tallies[image_id] for image_id in image_ids]
        found = resampled_counts(tallies, list(self.names), weights)
        for group, members in self.groups.items():
            own = resampled_counts([{c: t for c, t in each.items() if c in members} for each in tallies], members, weights)
            found |= {f"{name}_{group}": own[name] for name in ("pq", "sq", "rq")}
        return found

    def tables(self) -> dict[str, list[Mapping[str, Any]]]:
        return {"matching": self._matching_rows()}
