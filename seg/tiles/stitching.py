"""Instances of overlapping tiles as those of the whole image: what tiles saw of one object becomes one mask.

Masks are run lengths of the whole image throughout, so that an object costs what its outline does, however large it is."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from seg.data.rle import Rle, encode_crop, moved
from seg.data.sample import Prediction
from seg.tiles.grid import Grid, Place, Rows, Side, Tiling, batches, grid, read_ahead
from seg.tiles.network import Network

CONTAINED = 0.75  # of a cut view's pixels in a whole one, from which on they are of one object
NEEDLESS = 0.9  # of a view's pixels in better ones of its object, from which on it adds nothing but its errors


@dataclass(frozen=True, slots=True)
class TileInstance:
    """What one tile shows of an object. box: (x1, y1, x2, y2) half-open pixels of the image. cut: whether it reaches an inner side of its
    tile, so that there may be more."""

    place: Place
    category: int
    score: float
    mask: Rle
    area: int
    box: tuple[int, int, int, int]
    cut: bool


def predict_instances(network: Network, rows: Rows, tiling: Tiling, batch_size: int, min_iou: float) -> Prediction:
    """The instances of an image of any size, best first; tiles and margin as `stitch` takes them."""
    height, width, _ = rows.shape
    tiles = grid(tiling, height, width, network.facts.stride)
    views: list[TileInstance] = []
    for places, images in read_ahead(batches(rows, tiles, tiling.padding, batch_size)):
        for place, prediction in zip(places, network.predict(images), strict=True):
            views += views_of(prediction, place, tiles, tiling.margin)
    return stitch(views, tiles, min_iou)


def views_of(prediction: Prediction, place: Place, tiles: Grid, margin: int) -> Iterator[TileInstance]:
    """The instances of a tile's prediction, where they lie in the image. margin: pixels from an inner side that count as reaching it."""
    top, left = tiles.rows.starts[place[0]], tiles.columns.starts[place[1]]
    inner = _inner(tiles.columns, place[1]), _inner(tiles.rows, place[0])
    for category, score, rle in zip(prediction.categories.tolist(), prediction.scores.tolist(), prediction.masks, strict=True):
        mask = moved(rle, left, top, tiles.height, tiles.width)
        if area := int(coco_mask.area(mask)):
            x1, y1, x2, y2 = box = _box(mask)
            sides = (left, left + tiles.columns.tile, x1, x2), (top, top + tiles.rows.tile, y1, y2)
            cut = any(
                (before and low - start <= margin) or (after and stop - high <= margin)
                for (before, after), (start, stop, low, high) in zip(inner, sides, strict=True)
            )
            yield TileInstance(place, category, score, mask, area, box, cut)


def stitch(views: Sequence[TileInstance], tiles: Grid, min_iou: float) -> Prediction:
    """The objects that the views are of, best first.

    Views of one class from two tiles are of one object where their masks, within what the tiles have in common, have an IoU of `min_iou`
    or more; or where one is cut and lies in the other, which is whole. An object's mask is the union of its views without those that
    better ones make needless: the best of the whole ones is kept, and what lies beside it. Its score is the highest of the views that
    are kept: a detector is less sure of an object that is cut, which says nothing about the object."""
    groups = _groups(len(views), _matches(views, tiles, min_iou))
    kept = [_needed([views[i] for i in group]) for group in groups]
    scores = np.array([max(view.score for view in group) for group in kept], np.float32)
    order = np.argsort(-scores, kind="stable").tolist()
    categories = np.array([kept[i][0].category for i in order], np.int32)
    masks = [_united([view.mask for view in kept[i]]) for i in order]
    boxes = np.array([_box(mask) for mask in masks], np.float32).reshape(-1, 4)
    return Prediction(None, None, scores[order], categories, boxes, masks)


def _matches(views: Sequence[TileInstance], tiles: Grid, min_iou: float) -> Iterator[tuple[int, int]]:
    of_tile: dict[Place, list[int]] = {}
    for number, view in enumerate(views):
        of_tile.setdefault(view.place, []).append(number)
    boxes = np.array([view.box for view in views]).reshape(-1, 4)
    categories = np.array([view.category for view in views])
    for one, other in _neighbours(of_tile, tiles):
        ours, theirs = np.array(of_tile[one])[:, None], np.array(of_tile[other])[None]
        a, b = boxes[ours], boxes[theirs]
        meet = (np.maximum(a[..., :2], b[..., :2]) < np.minimum(a[..., 2:], b[..., 2:])).all(axis=2)
        found = np.argwhere(meet & (categories[ours] == categories[theirs]))
        common = _common(tiles, one, other) if len(found) else None
        for i, j in found.tolist():
            first, second = views[ours[i, 0]], views[theirs[0, j]]
            if common and _are_one(first, second, common, min_iou):
                yield int(ours[i, 0]), int(theirs[0, j])


def _neighbours(places: Iterable[Place], tiles: Grid) -> Iterator[tuple[Place, Place]]:
    """Pairs of those tiles that overlap, each once."""
    there = set(places)
    down, across = (_reach(side) for side in (tiles.rows, tiles.columns))
    for row, column in sorted(there):
        for i in range(row, down[row] + 1):
            for j in range(0 if i > row else column + 1, across[column] + 1):
                if (i, j) in there and across[j] >= column:
                    yield (row, column), (i, j)


def _reach(side: Side) -> list[int]:
    """Of each tile along a side the last one that overlaps it."""
    return [max(j for j, other in enumerate(side.starts) if other < start + side.tile) for start in side.starts]


def _common(tiles: Grid, one: Place, other: Place) -> Rle:
    top, bottom = _shared(tiles.rows, one[0], other[0], tiles.height)
    left, right = _shared(tiles.columns, one[1], other[1], tiles.width)
    return encode_crop(np.ones((bottom - top, right - left), bool), left, top, tiles.height, tiles.width)


def _shared(side: Side, one: int, other: int, length: int) -> tuple[int, int]:
    first, last = sorted((side.starts[one], side.starts[other]))
    return last, min(first + side.tile, length)


def _are_one(a: TileInstance, b: TileInstance, common: Rle, min_iou: float) -> bool:
    both = _intersection(a.mask, b.mask)
    if not both:
        return False
    if (a.cut and not b.cut and both >= CONTAINED * a.area) or (b.cut and not a.cut and both >= CONTAINED * b.area):
        return True
    return both >= min_iou * (_intersection(a.mask, common) + _intersection(b.mask, common) - both)


def _groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Numbers below `count` that are linked by pairs, each group and the groups in rising order."""
    if not count:
        return []
    rows, columns = np.array(list(pairs), np.int64).reshape(-1, 2).T
    _, labels = connected_components(coo_matrix((np.ones(len(rows)), (rows, columns)), (count, count)), directed=False)
    order = np.argsort(labels, kind="stable")
    return [group.tolist() for group in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)]


def _needed(views: list[TileInstance]) -> list[TileInstance]:
    """The views whose union is the object: those that are whole, and what they do not cover."""
    whole: list[TileInstance] = []
    for view in sorted((v for v in views if not v.cut), key=lambda v: (-v.score, -v.area)):
        if not _is_covered(view, whole):
            whole.append(view)
    return whole + [view for view in views if view.cut and not _is_covered(view, whole)]


def _is_covered(view: TileInstance, others: list[TileInstance]) -> bool:
    return bool(others) and _intersection(view.mask, _united([other.mask for other in others])) >= NEEDLESS * view.area


def _intersection(a: Rle, b: Rle) -> int:
    return int(coco_mask.area(coco_mask.merge([a, b], intersect=True)))


def _united(masks: list[Rle]) -> Rle:
    if len(masks) == 1:
        return masks[0]
    merged: Rle = coco_mask.merge(masks)
    return {"size": merged["size"], "counts": merged["counts"].decode("ascii")}


def _box(mask: Rle) -> tuple[int, int, int, int]:
    x, y, w, h = coco_mask.toBbox(mask).astype(int).tolist()
    return x, y, x + w, y + h


def _inner(side: Side, number: int) -> tuple[bool, bool]:
    """Whether a tile's first and last side are not the image's own."""
    start = side.starts[number]
    return start > 0, start + side.tile < side.length
