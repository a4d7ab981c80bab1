"""Which images of an evaluation are shown."""

from collections.abc import Sequence

import numpy as np

from seg.metrics.base import ImageScore

Chosen = list[tuple[str, ImageScore]]
"""What an image is an example of (worst, median, best or random), and its score."""


def choose(scores: Sequence[ImageScore], count: int, seed: int | None = None) -> Chosen:
    """The worst, median and best images and, with a seed, some drawn from the others: `count` of each, none twice."""
    ordered = sorted((s for s in scores if s.score == s.score), key=lambda s: (s.score, s.image_id))
    middle = max(0, len(ordered) // 2 - count // 2)
    picked = [("worst", s) for s in ordered[:count]] + [("median", s) for s in ordered[middle : middle + count]]
    picked += [("best", s) for s in reversed(ordered[max(0, len(ordered) - count) :])]
    first = {s.image_id: kind for kind, s in reversed(picked)}
    kept = [(kind, s) for kind, s in picked if first[s.image_id] == kind]
    if seed is not None:
        others = [s for s in ordered if s.image_id not in first]
        drawn = np.random.default_rng(seed).permutation(len(others))[:count]
        kept += [("random", others[i]) for i in drawn]
    return kept
