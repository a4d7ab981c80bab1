"""A semantic network's prediction of an image of any size, in bands of finished rows: memory does not depend on the image's height."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seg.data.sample import CERTAIN, Prediction
from seg.models.semantic import most_probable
from seg.tiles.batches import Rows, batches, read_ahead
from seg.tiles.grid import Grid, Tiling, grid
from seg.tiles.network import Network

AT_ONCE = 1 << 22  # values whose classes are decided at once


@dataclass(frozen=True, slots=True)
class Band:
    """Finished rows of an image of width W, from row `top` on.

    classes: (h, W) uint8. confidence: (h, W) uint16, the probability of the class in 1/65535. values: (K, h, W) float32, what was
    blended: logits or probabilities; None where it was not asked for.
    """

    top: int
    classes: np.ndarray
    confidence: np.ndarray
    values: np.ndarray | None


def predict_bands(network: Network, rows: Rows, tiling: Tiling, batch_size: int, blend: str, keep_values: bool = False) -> Iterator[Band]:
    """The image's rows from the top to the bottom, each once.

    blend: "logits" or "probabilities", of which overlapping tiles are averaged, weighed as `tiling` says: the mean of logits is, up to a
    factor, the geometric mean of probabilities. keep_values: whether bands have
    them. ArgumentError, at the first band, where `tiling` does not go with the network's stride.
    """
    height, width, _ = rows.shape
    tiles = grid(tiling, height, width, network.facts.stride)
    ring: _Ring | None = None
    for places, images in read_ahead(batches(rows, tiles, tiling.padding, batch_size)):
        logits = network.logits(images)
        if ring is None:
            ring = _Ring(tiles, logits.shape[1], logits.device, blend == "probabilities")
        for (row, column), values in zip(places, logits, strict=True):
            if tiles.rows.starts[row] > ring.top:
                yield ring.finish(tiles.rows.starts[row], keep_values)
            ring.add(values, row, column)
        del logits, values  # before the network needs as much again
    if ring is not None:
        yield ring.finish(height, keep_values)


def joined(bands: Iterable[Band], height: int, width: int) -> Prediction:
    """The bands of an image of (height, width) pixels as one Prediction."""
    classes, confidence = np.empty((height, width), np.uint8), np.empty((height, width), np.uint16)
    for band in bands:
        rows = slice(band.top, band.top + len(band.classes))
        classes[rows], confidence[rows] = band.classes, band.confidence
    return Prediction(semantic=classes, confidence=confidence)


class _Ring:
    """Sums of weighted tiles, over as many rows as a tile has: row y of the image lies in row y % tile. All is on the network's device."""

    def __init__(self, tiles: Grid, num_classes: int, device: torch.device, as_probabilities: bool) -> None:
        self.tiles, self.as_probabilities, self.top = tiles, as_probabilities, 0
        self.sums = torch.zeros(num_classes, tiles.rows.tile, tiles.columns.length, device=device)
        self.row_weights, self.column_weights = (
            [torch.from_numpy(w).to(device) for w in side.weights] for side in (tiles.rows, tiles.columns)
        )

    @torch.inference_mode()
    def add(self, values: Tensor, row: int, column: int) -> None:
        """The logits (K, h, w) of a tile."""
        if self.as_probabilities:
            values = values.softmax(dim=0)
        top, left = self.tiles.rows.starts[row], self.tiles.columns.starts[column]
        weights = torch.outer(self.row_weights[row], self.column_weights[column])
        for start, stop in self._parts(top, top + self.tiles.rows.tile):
            ours = self.sums[:, self._place(start) : self._place(start) + stop - start, left : left + self.tiles.columns.tile]
            ours.addcmul_(values[:, start - top : stop - top], weights[start - top : stop - top])

    @torch.inference_mode()
    def finish(self, until: int, keep_values: bool) -> Band:
        """The rows before `until`, whose place is free then."""
        top, height, width = self.top, until - self.top, self.tiles.width
        classes, confidence = np.empty((height, width), np.uint8), np.empty((height, width), np.uint16)
        kept = np.empty((len(self.sums), height, width), np.float32) if keep_values else None
        at_once = max(1, AT_ONCE // self.sums[:, 0].numel())
        for first, last in self._parts(top, until):
            for start in range(first, last, at_once):
                stop = min(start + at_once, last)
                sums = self.sums[:, self._place(start) : self._place(start) + stop - start]
                ours, rows = sums[None, :, :, :width], slice(start - top, stop - top)
                decided = _highest(ours) if self.as_probabilities else most_probable(ours)
                classes[rows], confidence[rows] = (part[0].cpu().numpy() for part in decided)
                if kept is not None:
                    kept[:, rows] = ours[0].cpu().numpy()
                sums.zero_()
        self.top = until
        return Band(top, classes, confidence, kept)

    def _place(self, y: int) -> int:
        return y % self.tiles.rows.tile

    def _parts(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Rows of the image, cut where the ring begins anew."""
        turn = -(-stop // self.tiles.rows.tile) * self.tiles.rows.tile - self.tiles.rows.tile
        return [(start, turn), (turn, stop)] if start < turn else [(start, stop)]


def _highest(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """As `most_probable`, of probabilities (B, K, H, W)."""
    highest, classes = probabilities.max(dim=1)
    return classes.to(torch.uint8), highest.mul(CERTAIN).nan_to_num_(0).round_().clamp_(0, CERTAIN).to(torch.int32)
