"""Pictures of instances: outlined in colours, with labels. RGB, uint8."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from seg.data.rle import Rle
from seg.pictures.sheets import Panel

SIDE = 512  # pixels to which smaller images are enlarged, so that outlines and scores can be told apart


@dataclass(frozen=True, slots=True)
class ColoredMasks:
    """Masks of one image, each with its colour and its label; filled: the share of its colour within."""

    masks: Sequence[Rle]
    colors: Sequence[tuple[int, int, int]]
    texts: Sequence[str]
    filled: float


def outlined(name: str, image: np.ndarray, masks: ColoredMasks) -> Panel:
    """The image (H, W, 3), enlarged where it is small, with the masks outlined over it."""
    height, width = image.shape[:2]
    factor = max(1, round(SIDE / max(height, width)))
    picture = cv2.resize(image, (width * factor, height * factor), interpolation=cv2.INTER_LINEAR)
    texts = []
    for mask, color, text in zip(masks.masks, masks.colors, masks.texts, strict=True):
        x, y, w, h = (int(v) for v in coco_mask.toBbox(mask))
        inside = coco_mask.decode(mask)[y : y + h, x : x + w]
        if not inside.size:
            continue
        large = cv2.resize(inside, (w * factor, h * factor), interpolation=cv2.INTER_NEAREST_EXACT)
        part = picture[y * factor : (y + h) * factor, x * factor : (x + w) * factor]
        mixed = (part + (np.array(color, np.float32) - part) * masks.filled).astype(np.uint8)
        part[large > 0] = mixed[large > 0]
        contours, _ = cv2.findContours(np.pad(large, 1), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        thickness = max(2, max(picture.shape[:2]) // 300)
        cv2.drawContours(picture, contours, -1, color, thickness, offset=(x * factor - 1, y * factor - 1))
        if text:
            texts.append((float((x + w / 2) * factor), float((y + h / 2) * factor), text))
    return Panel(name, picture, texts)
