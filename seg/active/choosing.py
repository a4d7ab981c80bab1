"""How unsure models are of an image, and which images are chosen for it: greedy facility location, weighted by uncertainty."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import ceil, log
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.distance import cdist
from scipy.stats import rankdata
from torch import Tensor

from seg.data.sample import Prediction
from seg.metrics.matching import PANOPTIC, Matches, count, measure_overlaps
from seg.predict.write.coco import above
from seg.storing.duplicates import nearly_same

ONE_OF = 10  # one pixel of so many counts, since borders and odd objects would vanish in the mean over a large background
CHUNK = 1024  # images whose distances from others are in memory at once
STAND_INS = 2048  # at most so many images, spread evenly over all, count in the mean of a gain


def of_pixels(answers: Iterable[Tensor]) -> tuple[float, float]:
    """Of probabilities (K, H, W): the entropy of their mean, and their mutual information (BALD, Houlsby et al. 2011,
    https://arxiv.org/abs/1112.5745), the part of it that is disagreement. Each is the mean over the tenth of the pixels where it is
    greatest; 1 is a guess among K classes."""
    total, within, number = torch.zeros(()), torch.zeros(()), 0
    for answer in answers:
        total, within, number = total + answer.cpu(), within + torch.special.entr(answer).sum(dim=0).cpu(), number + 1
    entropy = torch.special.entr(total / number).sum(dim=0)
    both = torch.stack([entropy, entropy - within / number]).flatten(1) / log(max(2, len(total)))
    doubt, disagreement = both.topk(ceil(entropy.numel() / ONE_OF)).values.mean(dim=1).clamp(0, 1).tolist()
    return doubt, disagreement


def of_instances(answers: Sequence[Prediction], thresholds: Sequence[float]) -> tuple[float, float]:
    """Of instances that are shown from a score on: 1 - the F1 that is expected if scores are probabilities, so that scores near the
    threshold count most; and 1 - the panoptic quality of one answer with another as truth (Kirillov et al. 2019,
    https://arxiv.org/abs/1801.00868), of all classes together, the mean of all pairs. Both are 0 where there is nothing."""
    shown = [above(answer, threshold) for answer, threshold in zip(answers, thresholds, strict=True)]
    sums = [(s.scores.sum(dtype=float), len(s.scores) + a.scores.sum(dtype=float)) for s, a in zip(shown, answers, strict=True)]
    doubts = [1 - 2 * right / both if both else 0.0 for right, both in sums]
    return float(np.mean(doubts)), float(np.mean([_apart(*pair) for pair in combinations(shown, 2)] or [0.0]))


def _apart(first: Prediction, second: Prediction) -> float:
    matches = Matches()
    for category in {*first.categories.tolist(), *second.categories.tolist()}:
        masks = [[one.masks[i] for i in np.flatnonzero(one.categories == category)] for one in (first, second)]
        overlaps = measure_overlaps(masks[0], [], masks[1])
        matches += count(overlaps, overlaps.exceed(PANOPTIC))
    return 1 - matches.pq if matches != Matches() else 0.0


class Choice(NamedTuple):
    """place: of the image among all. distance: from the nearest known or chosen one before, or inf. nearer: the share of all images that
    come nearer to one of these."""

    place: int
    score: float
    distance: float
    nearer: float


def choose(
    features: np.ndarray,
    uncertainty: np.ndarray,
    small: np.ndarray,
    number: int,
    coverage: float,
    known: np.ndarray,
    seen: list[np.ndarray],
) -> list[Choice]:
    """Up to `number` images, one after another that with the greatest r^(1 - coverage) * (g / G)^coverage; of equals the first.

    r is the share of images that are no more uncertain (ranks, since entropies differ by powers of ten). g says how much nearer the images
    come to the nearest known or chosen one, in the mean, if this one is chosen: by the Euclidean distance of features, where no distance
    counts as more than 2. G is the greatest g at the start. So coverage=0 takes the most uncertain, and 1 is greedy facility location (Wei,
    Iyer, Bilmes 2015, https://proceedings.mlr.press/v37/wei15.html). What nearly is a chosen or seen image is passed over.

    Args: features (N, F), each of length 1; uncertainty (N,); small, thumbnails (N, 48, 48); known (M, F), features of what a model learned
    from; seen, thumbnails (48, 48) of all labelled images."""
    rank, nearest = rankdata(uncertainty, "max") / len(uncertainty), np.full(len(features), np.inf)
    parts, stride = [slice(i, i + CHUNK) for i in range(0, len(features), CHUNK)], ceil(len(features) / STAND_INS)
    for part in parts if len(known) else []:
        nearest[part] = cdist(features[part], known).min(axis=1)

    def gains(part: slice) -> np.ndarray:
        return np.maximum(np.minimum(nearest[::stride], 2) - cdist(features[part], features[::stride]), 0).mean(axis=1)

    def scores(part: slice) -> np.ndarray:
        return rank[part] ** (1 - coverage) * (gain[part] / greatest) ** coverage

    gain = np.concatenate([gains(part) for part in parts])
    greatest = gain.max() or 1.0
    score, measured = scores(slice(None)), np.zeros(len(features), int)  # the number of chosen images when the gain was measured
    shown, chosen = list(seen), list[Choice]()
    while len(chosen) < number and (best := score.max()) >= 0:
        own = slice(index := int(score.argmax()), index + 1)
        if measured[index] < len(chosen):  # gains never grow, so an old score is too high or right (Minoux 1978)
            gain[own], measured[own] = gains(own), len(chosen)
            score[own] = scores(own)
            continue
        score[own] = -1
        if any(nearly_same(small[index], other) for other in shown):
            continue
        distances = cdist(features, features[own])[:, 0]
        chosen.append(Choice(index, float(best), float(nearest[index]), float((distances < nearest).mean())))
        shown.append(small[index])
        nearest = np.minimum(nearest, distances)
    return chosen
