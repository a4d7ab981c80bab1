"""Test-time augmentation: a network's mean answer to several views of an image: flips, turns by 90 degrees, scales."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from seg.core.errors import ConfigError, did_you_mean
from seg.data.rle import Rle, decode_crop, encode_crop
from seg.data.sample import Prediction
from seg.models.semantic import predictions_of
from seg.predict.fusion import fuse, mean_logits
from seg.tiles.network import Network

Size = tuple[int, int]  # height and width in pixels

SCALES = (0.1, 10.0)  # the least and the greatest scale of a view


@dataclass(frozen=True, slots=True)
class View:
    """An image that was scaled, then transposed, then flipped; each of these where it is asked for."""

    transpose: bool = False
    vflip: bool = False
    hflip: bool = False
    scale: float = 1.0

    def then(self, other: "View") -> "View":
        """`other` of this view. Scales multiply; they commute with the rest."""
        vflip, hflip = (self.hflip, self.vflip) if other.transpose else (self.vflip, self.hflip)
        return View(self.transpose != other.transpose, vflip != other.vflip, hflip != other.hflip, self.scale * other.scale)

    def scaled(self, size: Size) -> Size:
        return max(1, round(size[0] * self.scale)), max(1, round(size[1] * self.scale))

    def seen(self, size: Size) -> Size:
        """The size of an image's view."""
        height, width = self.scaled(size)
        return (width, height) if self.transpose else (height, width)

    def of(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) uint8 -> their views; scaled bilinearly, with antialiasing where they shrink."""
        size = self.scaled((images.shape[-2], images.shape[-1]))
        if size != images.shape[-2:]:
            images = _resized(images.float(), size).round_().clamp_(0, 255).to(images.dtype)
        return _flipped(images.transpose(-1, -2) if self.transpose else images, self.vflip, self.hflip)

    def logits_back(self, logits: Tensor, size: Size) -> Tensor:
        """Logits (B, K, h, w) of views -> (B, K, H, W) of images of `size`, interpolated where they were scaled."""
        logits = _flipped(logits, self.vflip, self.hflip)
        logits = logits.transpose(-1, -2) if self.transpose else logits
        return logits if logits.shape[-2:] == size else _resized(logits, size)

    def prediction_back(self, prediction: Prediction, size: Size) -> Prediction:
        """The instances of a view -> those of an image of `size`; without those that have no pixel there."""
        height, width = self.seen(size)
        boxes = prediction.boxes.astype(np.float32)
        if self.hflip:
            boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
        if self.vflip:
            boxes[:, [1, 3]] = height - boxes[:, [3, 1]]
        if self.transpose:
            boxes = boxes[:, [1, 0, 3, 2]]
        (h, w), (height, width) = self.scaled(size), size
        masks = [self._mask_back(mask, size) for mask in prediction.masks]
        kept = [i for i, mask in enumerate(masks) if mask is not None]
        return Prediction(
            scores=prediction.scores[kept],
            categories=prediction.categories[kept],
            boxes=(boxes * np.array([width / w, height / h] * 2, np.float32))[kept],
            masks=[mask for mask in masks if mask is not None],
        )

    def _mask_back(self, mask: Rle, size: Size) -> Rle | None:
        crop, left, top = decode_crop(mask)
        height, width = self.seen(size)
        if self.hflip:
            crop, left = crop[:, ::-1], width - left - crop.shape[1]
        if self.vflip:
            crop, top = crop[::-1], height - top - crop.shape[0]
        if self.transpose:
            crop, left, top = crop.T, top, left
        h, w = self.scaled(size)
        rows, top = _nearest(top, crop.shape[0], h, size[0])
        columns, left = _nearest(left, crop.shape[1], w, size[1])
        crop = crop[np.ix_(rows, columns)]
        return encode_crop(crop, left, top, *size) if crop.any() else None


VIEWS = {
    "identity": View(),
    "hflip": View(hflip=True),
    "vflip": View(vflip=True),
    "rotate_90": View(transpose=True, vflip=True),
    "rotate_180": View(vflip=True, hflip=True),
    "rotate_270": View(transpose=True, hflip=True),
    "transpose": View(transpose=True),
    "transverse": View(transpose=True, vflip=True, hflip=True),
}
"""Views by name; turns are counterclockwise; `transverse` mirrors at the other diagonal than `transpose` does."""

SETS = {
    "flips": ("identity", "hflip", "vflip", "rotate_180"),
    "rotations": ("identity", "rotate_90", "rotate_180", "rotate_270"),
    "d4": tuple(VIEWS),
}
"""Names of several views; d4 is the symmetry group of the square, all eight flips and turns."""


def views_of(names: Sequence[str]) -> list[View]:
    """Views by their names, each once: those of VIEWS and SETS, `scale_<factor>`, and several joined by `+`.

    So `flips+scale_0.75` is four views at three quarters of the size. ConfigError for a name that there is not, or none at all."""
    found: dict[View, None] = {}
    for name in names:
        for parts in product(*(_options(part, name) for part in str(name).split("+"))):
            view = View()
            for part in parts:
                view = view.then(part)
            found[view] = None
    return list(found)


class Views:
    """A network that sees each image in several views, and gives the mean of what it says of them.

    names: as `views_of` takes them. blend: `probabilities` or `logits`, which the mean is taken of (semantic); `logits` gives
    the logarithm of the mean probability, as `RunningMean.logits` says. iou_threshold: of the fusion of instances (see
    `seg.predict.fusion.fuse`). batch_size: views of one size go through the network together up to this number of images, so
    memory does not grow with the number of views; a batch that is larger by itself goes through it view by view."""

    def __init__(self, network: Network, names: Sequence[str], blend: str, iou_threshold: float, batch_size: int) -> None:
        self.network, self.facts, self.views = network, network.facts, views_of(names)
        self.blend, self.iou_threshold, self.batch_size = blend, iou_threshold, batch_size

    def logits(self, images: Tensor) -> Tensor:
        return mean_logits(self._logits(images), self.blend)

    def _logits(self, images: Tensor) -> Iterator[Tensor]:
        for views in self._together(images):
            found = self.network.logits(torch.cat([view.of(images) for view in views]))
            for view, logits in zip(views, found.split(len(images)), strict=True):
                yield view.logits_back(logits, (images.shape[-2], images.shape[-1]))

    def predict(self, images: Tensor) -> list[Prediction]:
        if self.facts.dense:
            return predictions_of(self.logits(images))
        size = (images.shape[-2], images.shape[-1])
        found: list[list[Prediction]] = [[] for _ in images]
        for views in self._together(images):
            predictions = iter(self.network.predict(torch.cat([view.of(images) for view in views])))
            for view, of_image in product(views, found):
                of_image.append(view.prediction_back(next(predictions), size))
        return [fuse(of_image, self.iou_threshold) for of_image in found]

    def _together(self, images: Tensor) -> Iterator[list[View]]:
        """Views that make one batch."""
        by_size: dict[Size, list[View]] = {}
        for view in self.views:
            by_size.setdefault(view.seen((images.shape[-2], images.shape[-1])), []).append(view)
        step = max(1, self.batch_size // len(images))
        for views in by_size.values():
            for start in range(0, len(views), step):
                yield views[start : start + step]


def _options(part: str, name: str) -> Iterable[View]:
    if part in VIEWS:
        return [VIEWS[part]]
    if part in SETS:
        return [VIEWS[one] for one in SETS[part]]
    if part.startswith("scale_"):
        low, high = SCALES
        try:
            scale = float(part.removeprefix("scale_"))
        except ValueError:
            scale = 0.0
        if not low <= scale <= high:
            raise ConfigError(f"views: {name}: expected scale_<factor> with a factor from {low:g} to {high:g}, such as scale_0.75")
        return [View(scale=scale)]
    raise ConfigError(f"views: {name}: there is no view '{part}'; {did_you_mean(part, [*VIEWS, *SETS, 'scale_<factor>'], 'views')}")


def _flipped(x: Tensor, vflip: bool, hflip: bool) -> Tensor:
    axes = [axis for axis, flip in ((-2, vflip), (-1, hflip)) if flip]
    return x.flip(axes) if axes else x


def _resized(x: Tensor, size: Size) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", antialias=True)


def _nearest(start: int, count: int, seen: int, side: int) -> tuple[np.ndarray, int]:
    """Along one axis, for a crop of `count` pixels from `start` of `seen`: which of its pixels each of the image's shows, and the
    first of these; a pixel shows the one that its centre lies in."""
    source = (2 * np.arange(side) + 1) * seen // (2 * side) - start
    within = np.flatnonzero((source >= 0) & (source < count))
    return source[within], int(within[0]) if len(within) else 0
