"""Which object of a frame is which object of the frames before.

A Kalman filter says where each object should be (SORT, Bewley et al. 2016, https://arxiv.org/abs/1602.00763), and how it looks says
whether it is the same one (DeepSORT, Wojke et al. 2017, https://arxiv.org/abs/1703.07402). Detections of low score join objects that no
other one fits (ByteTrack, Zhang et al. 2022, https://arxiv.org/abs/2110.06864)."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torchvision.ops import box_iou

POSITION, VELOCITY = 1 / 20, 1 / 80
"""Of an object's size: how uncertain a detected box is, as in DeepSORT, and how much its speed changes in a frame, twice as in DeepSORT."""
FAR = 4.0  # sizes of itself a frame that an object which was lost may have moved
MEMORY = 0.9  # weight of the past in how an object looks


@dataclass(frozen=True, slots=True)
class Rules:
    """sure: the score from which a detection may start an object. unsure: from which it may go on with one. least_iou: of a detection with
    where its object should be. lost: frames after which an object that was not seen is given up. seen: frames in which an object must
    have been seen before it counts. alike: the least cosine of two looks of one object that is recognised by them alone; one that was not
    seen in the frame before is not recognised elsewhere by a cosine below 0."""

    sure: float = 0.5
    unsure: float = 0.1
    least_iou: float = 0.1
    lost: int = 120
    seen: int = 2
    alike: float = 0.7


@dataclass(slots=True)
class Track:
    """An object. state: centre x, y, width, height, and the change of each in a frame; spread: their covariance (8, 8)."""

    number: int
    category: int
    state: np.ndarray
    spread: np.ndarray
    look: np.ndarray | None
    hits: int = 1
    missed: int = 0

    @property
    def box(self) -> np.ndarray:
        """(4,) float64 xyxy where it should be."""
        x, y, width, height = self.state[:4]
        width, height = max(width, 1.0), max(height, 1.0)
        return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])

    def predict(self) -> None:
        """Go on by a frame."""
        move = np.eye(8)
        move[:4, 4:] = np.eye(4)
        noise = np.r_[np.full(4, POSITION), np.full(4, VELOCITY)] * max(self.state[2], self.state[3], 1.0)
        self.state = move @ self.state
        self.spread = move @ self.spread @ move.T + np.diag(noise**2)

    def update(self, box: np.ndarray, look: np.ndarray | None) -> None:
        """Take a detection for where the object is."""
        noise = np.eye(4) * (POSITION * max(box[2] - box[0], box[3] - box[1], 1.0)) ** 2
        gain = np.linalg.solve(self.spread[:4, :4] + noise, self.spread[:4]).T
        self.state = self.state + gain @ (_centred(box) - self.state[:4])
        self.spread = self.spread - gain @ self.spread[:4]
        self.hits, self.missed = self.hits + 1, 0
        if look is not None:
            self.look = look if self.look is None else _unit(MEMORY * self.look + (1 - MEMORY) * look)


class Tracker:
    """Follows the objects of one video."""

    def __init__(self, rules: Rules) -> None:
        self.rules, self.tracks, self.numbers = rules, list[Track](), 0

    def update(self, boxes: np.ndarray, scores: np.ndarray, categories: np.ndarray, looks: np.ndarray | None) -> np.ndarray:
        """The number of the object of each detection in the next frame, (N,) int from 1; 0 where it is of none.

        boxes: (N, 4) float xyxy in pixels. scores: (N,) float in 0..1. categories: (N,) int. looks: (N, F) float, how each looks; None
        where it is not known."""
        rules, found = self.rules, np.zeros(len(boxes), int)
        units = None if looks is None else looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-12)
        for track in self.tracks:
            track.predict()
        sure, unsure = np.flatnonzero(scores >= rules.sure), np.flatnonzero((scores >= rules.unsure) & (scores < rules.sure))
        free = list(self.tracks)
        for chosen, near in ((sure, True), (unsure, True), (sure, False)):
            chosen = chosen[found[chosen] == 0]
            wanted = free if near else [track for track in free if track.look is not None and units is not None]
            for track, index in self._paired(wanted, chosen, boxes, categories, units, near):
                track.update(boxes[index], None if units is None else units[index])
                found[index] = track.number
                free = [other for other in free if other is not track]
        for track in free:
            track.missed += 1
        self.tracks = [t for t in self.tracks if t.missed <= (rules.lost if t.hits >= rules.seen else 0)]
        for index in sure[found[sure] == 0]:
            self.numbers += 1
            found[index] = self.numbers
            self.tracks.append(self._new(boxes[index], int(categories[index]), None if units is None else units[index]))
        return found

    def _new(self, box: np.ndarray, category: int, look: np.ndarray | None) -> Track:
        size = max(box[2] - box[0], box[3] - box[1], 1.0)
        spread = np.diag((np.r_[np.full(4, 2 * POSITION), np.full(4, 10 * VELOCITY)] * size) ** 2)
        return Track(self.numbers, category, np.r_[_centred(box), np.zeros(4)], spread, look)

    def _paired(
        self, tracks: list[Track], chosen: np.ndarray, boxes: np.ndarray, categories: np.ndarray, looks: np.ndarray | None, near: bool
    ) -> list[tuple[Track, int]]:
        """The best pairs of objects and detections. near: by where they should be, and how they look; else by how they look alone."""
        if not tracks or not len(chosen):
            return []
        there = np.stack([track.box for track in tracks])
        same = np.array([track.category for track in tracks])[:, None] == categories[chosen][None]
        cosine = np.zeros(same.shape)
        if looks is not None:
            for row, track in enumerate(tracks):
                cosine[row] = 0 if track.look is None else looks[chosen] @ track.look
        if near:
            iou = iou_of(there, boxes[chosen])
            hidden = np.array([track.missed > 0 for track in tracks])[:, None]  # another one may come out where it went
            value, allowed = iou + 0.5 * cosine, same & (iou >= self.rules.least_iou) & ~(hidden & (cosine < 0))
        else:
            middle = (there[:, :2] + there[:, 2:]) / 2
            distance = np.linalg.norm(middle[:, None] - (boxes[chosen, :2] + boxes[chosen, 2:])[None] / 2, axis=2)
            reach = [FAR * (track.missed + 1) * max(track.state[2], track.state[3], 1.0) for track in tracks]
            value, allowed = cosine, same & (cosine >= self.rules.alike) & (distance <= np.array(reach)[:, None])
        rows, columns = linear_sum_assignment(np.where(allowed, value, -1.0), maximize=True)
        return [(tracks[row], int(chosen[column])) for row, column in zip(rows, columns, strict=True) if allowed[row, column]]


def _centred(box: np.ndarray) -> np.ndarray:
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]], float)


def _unit(vector: np.ndarray) -> np.ndarray:
    found: np.ndarray = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return found


def iou_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, M) of boxes (N, 4) and (M, 4) xyxy."""
    found: np.ndarray = box_iou(torch.from_numpy(np.asarray(first, float)), torch.from_numpy(np.asarray(second, float))).numpy()
    return found
