"""Drawn objects that move, with exact truth: they bounce off the edges, cross each other, and vanish behind a wall for a while."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from seg.track.tracker import iou_of

SIDE = 200


@dataclass(frozen=True, slots=True)
class Frame:
    """image: (H, W, 3) uint8. boxes: (N, 4) float xyxy of the objects that are seen. numbers: (N,) which ones, from 0. looks: (N, 3), the
    colour without the mean one."""

    image: np.ndarray
    boxes: np.ndarray
    numbers: np.ndarray
    looks: np.ndarray


def moving(frames: int, objects: int, seed: int, wall: bool = True) -> list[Frame]:
    """wall: whether a gray bar in the middle hides what is behind it."""
    rng = np.random.default_rng(seed)
    radius = rng.uniform(7, 13, objects)
    at = rng.uniform(15, SIDE - 15, (objects, 2))
    speed = rng.uniform(-3.5, 3.5, (objects, 2))
    colors = rng.integers(60, 256, (objects, 3))
    ground = rng.normal(40, 4, (SIDE, SIDE, 3))
    found = []
    for _ in range(frames):
        at = at + speed
        for axis in (0, 1):
            out = (at[:, axis] < radius) | (at[:, axis] > SIDE - radius)
            speed[out, axis] *= -1
            at[out, axis] += 2 * speed[out, axis]
        image = ground.copy()
        for index in range(objects):
            center = (round(float(at[index, 0])), round(float(at[index, 1])))
            cv2.circle(image, center, round(float(radius[index])), tuple(map(int, colors[index])), -1)
        seen = np.ones(objects, bool)
        if wall:
            image[:, 90:110] = 120
            seen = (at[:, 0] < 90) | (at[:, 0] > 110)
        boxes = np.concatenate([at - radius[:, None], at + radius[:, None]], axis=1)[seen]
        found.append(Frame(image.clip(0, 255).astype(np.uint8), boxes, np.flatnonzero(seen), colors[seen] / 255.0 - 0.6))
    return found


def figures(frames: Sequence[Frame], boxes: Sequence[np.ndarray], numbers: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """HOTA, MOTA and IDF1 of boxes with their objects' numbers, 0 for none, by the code of HOTA's authors (Luiten et al. 2021)."""
    trackeval = pytest.importorskip("trackeval", reason="pip install --no-deps trackeval (it asks for another OpenCV)")
    kept = [n > 0 for n in numbers]
    ids = {number: index for index, number in enumerate(sorted({int(n) for found in numbers for n in found if n}))}
    data = {
        "gt_ids": [frame.numbers for frame in frames],
        "tracker_ids": [np.array([ids[int(n)] for n in found[k]], int) for found, k in zip(numbers, kept, strict=True)],
        "similarity_scores": [iou_of(frame.boxes, own[k]) for frame, own, k in zip(frames, boxes, kept, strict=True)],
        "num_gt_dets": sum(len(frame.boxes) for frame in frames),
        "num_tracker_dets": sum(int(k.sum()) for k in kept),
        "num_gt_ids": 1 + max(int(frame.numbers.max(initial=0)) for frame in frames),
        "num_tracker_ids": len(ids),
        "num_timesteps": len(frames),
    }
    hota = float(np.mean(trackeval.metrics.HOTA().eval_sequence(data)["HOTA"]))
    mota = float(trackeval.metrics.CLEAR({"PRINT_CONFIG": False}).eval_sequence(data)["MOTA"])
    return hota, mota, float(trackeval.metrics.Identity({"PRINT_CONFIG": False}).eval_sequence(data)["IDF1"])
