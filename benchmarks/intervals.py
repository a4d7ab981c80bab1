"""How often intervals of figures hold the truth, and how often a comparison of two equally good networks decides between them.

    python benchmarks/intervals.py --sets 1000

Images are drawn from a large population of which the figures are known, and two networks see them that are as good as each other: an
image that is hard for one is hard for the other, too. Of each set of images an interval of 95 % is made as `seg evaluate` does, and one of
the difference as `seg compare` does. "holds": the share of the sets whose interval holds the population's figure. "decides": the share
in which the interval of the difference excludes 0, wrongly. In brackets the same of the percentiles of the same draws.
"""

import argparse
from collections.abc import Callable

import numpy as np

from seg.metrics.bootstrap import Resampled, limits_of, moved, percentiles
from seg.metrics.coco import THRESHOLDS, _curves
from seg.metrics.semantic import mean_iou, pixel_accuracy

LEVEL, DRAWS, POPULATION = 0.95, 400, 40_000
Figure = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Places of images in the population (N,) and weights (R, N) -> the figure in each draw (R,)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, nargs="+", default=[5, 10, 20, 30])
    parser.add_argument("--figures", nargs="+", default=list(POPULATIONS), choices=list(POPULATIONS), metavar="FIGURE")
    given = parser.parse_args()
    print("| figure |" + "".join(f" holds, {n} images |" for n in given.images) + "".join(f" decides, {n} images |" for n in given.images))
    print("|---|" + "---:|" * (2 * len(given.images)))
    for name in given.figures:
        rng = np.random.default_rng(given.seed)
        pair = POPULATIONS[name](rng)
        held, decided = zip(*(shares(pair, n, given.sets, rng) for n in given.images), strict=True)
        print(f"| {name} | {' | '.join(held)} | {' | '.join(decided)} |", flush=True)


def shares(pair: tuple[Figure, Figure], num_images: int, sets: int, rng: np.random.Generator) -> tuple[str, str]:
    """The cells of a table: how many sets hold the truth, and how many decide."""
    truth = float(pair[0](np.arange(POPULATION), np.ones((1, POPULATION)))[0])
    counts = np.zeros(4)
    for number in range(sets):
        places = rng.integers(0, POPULATION, num_images)
        one, other = (moved(drawn_by(own, places), num_images, DRAWS, number)[""] for own in pair)
        apart = other.less(one)
        low, high = limits_of({"": one}, num_images, number, LEVEL)[""]
        below, above = limits_of({"": apart}, num_images, number, LEVEL, differences=True)[""]
        narrow, decides = percentiles(one.draws, LEVEL), percentiles(apart.draws, LEVEL)
        counts += [low <= truth <= high, narrow[0] <= truth <= narrow[1], below > 0 or above < 0, decides[0] > 0 or decides[1] < 0]
    held, narrow_held, decided, narrow_decided = counts / sets
    return f"{held:.3f} ({narrow_held:.3f})", f"{decided:.3f} ({narrow_decided:.3f})"


def drawn_by(figure: Figure, places: np.ndarray) -> Resampled:
    return lambda weights: {"": figure(places, weights)}


def skills(rng: np.random.Generator, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Of two networks, how well each does in each image (N, ...): half of the variance is the image's own difficulty."""
    easy = rng.normal(size=(POPULATION, *(1 for _ in shape)))
    return [np.sqrt(0.5) * (easy + rng.normal(size=(POPULATION, *shape))) for _ in range(2)]


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def class_maps(figure: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator, rare: float) -> tuple[Figure, Figure]:
    """Of 10,000 pixels of four classes of unequal size, the last of which is in the share `rare` of the images."""
    shares = rng.dirichlet([6, 3, 1.5, 0.6], POPULATION)
    shares[:, 3] *= rng.random(POPULATION) < rare
    true = 10_000 * shares / shares.sum(axis=1, keepdims=True)
    networks = []
    for skill in skills(rng, (4,)):
        right = true * logistic(np.array([2.5, 1.8, 1.2, 0.8]) + 0.9 * skill)
        wrong = true - right
        predicted = right + sum(wrong[:, [k]] * _others(true, k) for k in range(4))
        counts = np.stack([right, true, predicted], axis=1)
        networks.append(lambda places, weights, counts=counts: figure(np.tensordot(weights, counts[places], 1)))
    return networks[0], networks[1]


def _others(true: np.ndarray, k: int) -> np.ndarray:
    """Each class's share (N, 4) of the pixels that are not of class k."""
    others = true.copy()
    others[:, k] = 0
    return others / np.maximum(others.sum(axis=1, keepdims=True), 1e-9)


def objects(rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """How many objects (N,), and of each network the skill, the hits and the false alarms (N,). Few images have most of the objects."""
    count = 1 + np.minimum(rng.negative_binomial(1.2, 0.15, POPULATION), 40)
    skill = skills(rng, ())
    hits = [rng.binomial(count, logistic(1.2 + 0.8 * s)) for s in skill]
    return count, skill, hits, [rng.poisson(0.25 * count * np.exp(-0.5 * s)) for s in skill]


def f1(rng: np.random.Generator) -> tuple[Figure, Figure]:
    count, _, hits, alarms = objects(rng)

    def of(tp: np.ndarray, fp: np.ndarray) -> Figure:
        return lambda places, weights: 2 * (weights @ tp[places]) / (weights @ (tp + fp + count)[places])

    first, second = (of(tp, fp) for tp, fp in zip(hits, alarms, strict=True))
    return first, second


def average_precision(rng: np.random.Generator) -> tuple[Figure, Figure]:
    """COCO's, of detections whose scores and overlaps depend on how well a network does in the image."""
    count, skill, hits, alarms = objects(rng)

    def of(s: np.ndarray, tp: np.ndarray, fp: np.ndarray) -> Figure:
        images = np.repeat(np.arange(POPULATION), tp + fp)
        right = np.concatenate([np.arange(n) < k for k, n in zip(tp, tp + fp, strict=True)])
        scores = 0.8 * s[images] + rng.normal(size=len(images)) + np.where(right, 1, -0.5)
        overlaps = np.where(right, 0.5 + 0.5 * logistic(0.5 + 0.6 * s[images] + 0.8 * rng.normal(size=len(images))), 0)
        ends = np.cumsum(tp + fp)

        def figure(places: np.ndarray, weights: np.ndarray) -> np.ndarray:
            kept = np.concatenate([np.arange(ends[p] - tp[p] - fp[p], ends[p]) for p in places])
            own = np.repeat(np.arange(len(places)), (tp + fp)[places])
            best = np.argsort(-scores[kept], kind="stable")
            found = np.ascontiguousarray(overlaps[kept][best] >= THRESHOLDS[:, None])
            truth, rows = count[places].astype(float), np.ascontiguousarray(weights)
            return _curves(own[best], found, np.ones_like(found), truth, rows)[0].mean(axis=1)

        return figure

    first, second = (of(*own) for own in zip(skill, hits, alarms, strict=True))
    return first, second


POPULATIONS: dict[str, Callable[[np.random.Generator], tuple[Figure, Figure]]] = {
    "mIoU": lambda rng: class_maps(mean_iou, rng, 1),
    "mIoU, a class is in 40 % of the images": lambda rng: class_maps(mean_iou, rng, 0.4),
    "pixel accuracy": lambda rng: class_maps(pixel_accuracy, rng, 1),
    "F1 of objects": f1,
    "mask AP": average_precision,
}


if __name__ == "__main__":
    main()
