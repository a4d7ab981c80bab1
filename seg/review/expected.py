"""How far a contradiction between a label and a model was to be expected, from all labels of a data set.

Most labels are right. So how often labels contradict predictions of some score, size and class says how often such predictions err. A label
is the more suspect the less its contradiction was to be expected: 1 - P(label | prediction), as confident learning has it for classes
(Northcutt et al. 2021, https://arxiv.org/abs/1911.00068). So the suspects of all kinds share a scale, and a model's usual errors come last.
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


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to a label or a prediction. features, category: of the prediction, or of the label where there is none. outcome: of
    `wrong class` the labelled class, of `outline` the IoU, else whether the labels contradict the prediction. suspect: if they do.
    weight: of its score."""

    kind: str
    features: list[float]
    category: int
    outcome: float
    suspect: Suspect | None
    weight: float = 1.0


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


def _matrix(asked: Sequence[Asked]) -> sparse.csr_array:
    """(N, 1 + F + classes): a constant, the features at mean 0 and deviation 1, and the class as a column of its own."""
    features, category = np.array([one.features for one in asked]), np.array([one.category for one in asked])
    features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    of_class = sparse.coo_array((np.ones(len(asked)), (np.arange(len(asked)), category)))
    return sparse.hstack([np.ones((len(asked), 1)), features, of_class]).tocsr()


def _surprises(asked: Sequence[Asked], rows: np.ndarray) -> np.ndarray:
    """(R,) 1 - the probability of the outcome of each of the rows (R,): by a logistic regression with a ridge of 1."""
    x, (outcomes, y) = _matrix(asked), np.unique([one.outcome for one in asked], return_inverse=True)
    step = -(-len(asked) // MOST)
    seen, told, shape = x[::step], y[::step], (x.shape[1], len(outcomes))
    each = np.arange(len(told))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(shape)
        logs, free = log_softmax(seen @ weights, axis=1), weights * (np.arange(shape[0]) > 0)[:, None]  # not the constant
        off = np.exp(logs)
        off[each, told] -= 1
        return 0.5 * float((free**2).sum()) - float(logs[each, told].sum()), (seen.T @ off + free).ravel()

    weights = minimize(loss, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x.reshape(shape)
    return 1 - softmax(x[rows] @ weights, axis=1)[np.arange(len(rows)), y[rows]]


def _shortfalls(asked: Sequence[Asked], rows: np.ndarray) -> np.ndarray:
    """(R,) the share of the data set's IoUs that fall less short of what a ridge regression expects; log(1.02 - IoU) is regressed."""
    x, lost = _matrix(asked), np.log(1.02 - np.array([one.outcome for one in asked]))
    left = lost - x @ np.linalg.solve((x.T @ x).toarray() + np.eye(x.shape[1]), x.T @ lost)
    return ((rankdata(left) - 1) / len(left))[rows]
