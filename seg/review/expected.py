"""How far a contradiction between a label and a model was to be expected, from all labels of a data set.

Most labels are right. So how often labels contradict predictions of some score, size, shape and class, and those of the same image, says
how often such predictions err. A label is the more suspect the less its contradiction was to be expected: 1 - P(label | prediction), as
confident learning has it for classes (Northcutt et al. 2021, https://arxiv.org/abs/1911.00068). So the suspects of all kinds share a scale,
and a model's usual errors come last.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from scipy.stats import rankdata

from seg.review.suspects import Suspect

MOST = 50_000  # rows from which an expectation is learned; of more, as many at equal distances
YES_OR_NO = ("made up", "missed", "merged", "split")
PRIOR = 3.0  # questions of the mean image, which count beside those of each image
FAINT = 0.3  # power of the probability of a label where the model's probabilities are known: 1 of 10,000 is more suspect than 1 of 100
EXCUSED = 0.9  # share of the images below that one whose labels contradict so often that no others are excused more


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to a label or a prediction. features, category: of the prediction, or of the label where there is none. outcome: of
    `wrong class` the labelled class, of `outline` the IoU, else whether the labels contradict the prediction. suspect: if they do.
    weight: of its score. logs: (K,) float32, the log-probability that the model gives each outcome, if it gives any."""

    image_id: str
    kind: str
    features: list[float]
    category: int
    outcome: float
    suspect: Suspect | None
    weight: float = 1.0
    logs: np.ndarray | None = None


def ranked(questions: Iterable[Asked]) -> list[Suspect]:
    """The suspects with their scores, the most suspect first; of those that are about the same label the first."""
    of_kind: dict[str, list[Asked]] = {}
    for one in questions:
        of_kind.setdefault(one.kind, []).append(one)
    found = []
    for kind, asked in of_kind.items():
        rows = np.flatnonzero([one.suspect is not None for one in asked])
        scores = (_shortfalls if kind == "outline" else _surprises)(asked, rows).tolist()
        given = zip((asked[row] for row in rows), scores, strict=True)
        found += [replace(one.suspect, score=round(one.weight * score, 6)) for one, score in given if one.suspect]
    kept, known = list[Suspect](), set[tuple[str, str]]()
    for suspect in sorted(found, key=lambda s: s.rank):
        about = {(suspect.image_id, mask["counts"]) for mask in suspect.labelled}
        if not about & known:
            kept.append(suspect)
            known |= about
    return kept


def others_of_image(asked: Sequence[Asked], values: np.ndarray) -> np.ndarray:
    """(N, 1) the mean of the values (N,) of the other questions of the same image, drawn to that of all. Models fail at some images as a
    whole, and then no single label is suspect. But labels of another image fail as a whole, too, so there is a limit to what is excused."""
    image = np.unique([one.image_id for one in asked], return_inverse=True)[1]
    sums, counts = np.bincount(image, values) + PRIOR * values.mean(), np.bincount(image) + PRIOR
    others = (sums[image] - values) / (counts[image] - 1)
    return np.minimum(others, np.quantile(sums / counts, EXCUSED))[:, None]


def _matrix(asked: Sequence[Asked], *more: np.ndarray) -> sparse.csr_array:
    """(N, 1 + F + classes): a constant, the features and more of them (N, 1) at mean 0 and deviation 1, and the class as a column of its
    own."""
    features, category = np.hstack([np.array([one.features for one in asked]), *more]), np.array([one.category for one in asked])
    features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    of_class = sparse.coo_array((np.ones(len(asked)), (np.arange(len(asked)), category)))
    return sparse.hstack([np.ones((len(asked), 1)), features, of_class]).tocsr()


def _surprises(asked: Sequence[Asked], rows: np.ndarray) -> np.ndarray:
    """(R,) 1 - the probability of the outcome of each of the rows (R,): by a logistic regression with a ridge of 1. Where the model gives
    probabilities, their logarithms are scaled, too (vector scaling; Guo et al. 2017, https://arxiv.org/abs/1706.04599)."""
    given = np.array([one.outcome for one in asked])
    x = _matrix(asked, others_of_image(asked, given)) if asked[0].kind in YES_OR_NO else _matrix(asked)
    outcomes, y = np.unique(given, return_inverse=True)
    step = -(-len(asked) // MOST)
    seen, told, shape = x[::step], y[::step], (x.shape[1], len(outcomes))
    each = np.arange(len(told))
    known = asked[0].logs is not None
    logs = np.stack([one.logs[outcomes.astype(int)] for one in asked if one.logs is not None]) if known else np.zeros((len(asked), 1))
    seen_logs = logs[::step]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, scale = flat[len(outcomes) :].reshape(shape), flat[: len(outcomes)]
        fitted = log_softmax(seen @ weights + scale * seen_logs, axis=1)
        free = weights * (np.arange(shape[0]) > 0)[:, None]  # not the constant
        off = np.exp(fitted)
        off[each, told] -= 1
        gradient = np.concatenate([(off * seen_logs).sum(axis=0), (seen.T @ off + free).ravel()])
        return 0.5 * float((free**2).sum()) - float(fitted[each, told].sum()), gradient

    found = minimize(loss, np.zeros((shape[0] + 1) * shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    scale, weights = found[: len(outcomes)], found[len(outcomes) :].reshape(shape)
    likely = softmax(x[rows] @ weights + scale * logs[rows], axis=1)[np.arange(len(rows)), y[rows]]
    return 1 - (likely**FAINT if known else likely)


def _shortfalls(asked: Sequence[Asked], rows: np.ndarray) -> np.ndarray:
    """(R,) the share of the data set's IoUs that fall less short of what a ridge regression expects; log(1.02 - IoU) is regressed."""
    lost = np.log(1.02 - np.array([one.outcome for one in asked]))
    x = _matrix(asked, others_of_image(asked, lost))
    left = lost - x @ np.linalg.solve((x.T @ x).toarray() + np.eye(x.shape[1]), x.T @ lost)
    return ((rankdata(left) - 1) / len(left))[rows]
