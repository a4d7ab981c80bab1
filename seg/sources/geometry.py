"""What is odd with the geometry of a region, found with shapely (GEOS), for the list of findings."""

from collections.abc import Sequence
from functools import cache
from math import ceil, floor

import numpy as np
import shapely

from seg.raw.record import Finding, Severity
from seg.sources.part_rle import Part, flat, is_polygon

ROUNDING = 0.5  # pixels that a point may lie outside of an image before it is said: nothing is lost by so little
FEW_PARTS, FEW_POINTS = 8, 1000  # of a region whose polygons are looked at one by one, and of a polygon that is looked at with others
MOST_POINTS = 200_000  # of a polygon that is searched for crossings, which takes seconds beyond
MOST_TURNS = 5000  # of such a polygon, in sides of its box: an outline that goes to and fro as often crosses itself everywhere
MOST_PARTS = 10_000  # of a region whose polygons are compared with each other
NO_AREA = 1e-6  # square pixels


def examine(parts: Sequence[Part], height: int, width: int, file: str, holes: bool) -> list[Finding]:
    """Findings on the parts (see `seg.sources.part_rle`) of one region. file: the annotation file, and which region there.

    Errors: nan-coordinate, too-few-points. Warnings: outside-image (what lies there is cut off), zero-area,
    self-intersecting (filled by the even-odd rule, as pycocotools does), and unless `holes`, polygon-in-polygon. Parts that
    are malformed otherwise are left to rasterising."""
    found: list[Finding] = []
    sound = _sound(parts, height, width) if len(parts) > FEW_PARTS else {}
    whole: list[np.ndarray] = []  # the polygons that have an area

    @cache
    def box() -> tuple[int, int, int, int] | None:  # once: there may be as many findings as parts
        return box_of(parts, height, width)

    def tell(kind: str, what: str, fix: str, severity: Severity = "warning") -> None:
        found.append(Finding(kind, file, what, fix, severity, box=box()))

    for number, part in enumerate(parts):
        if number in sound:
            whole.append(sound[number])
            continue
        points, fewest = points_of(part)
        if points is None:
            continue
        noun = "polygon" if isinstance(part, list) or "rings" in part else "line" if "line" in part else "mask"
        name = f"its {noun} {number}" if len(parts) > 1 else f"its {noun}"
        if not np.isfinite(points).all():
            tell("nan-coordinate", f"{name} has a coordinate that is no number", "correct or remove it", "error")
            continue
        if len(points) < fewest:
            tell("too-few-points", f"{name} has {len(points)} points, expected at least {fewest}", "correct or remove it", "error")
            continue
        beyond = np.maximum(-points, points - (width, height)).max(axis=1)
        if outside := int((beyond > ROUNDING).sum()):
            what = f"{name} has {outside} of its {len(points)} points outside of the image, by up to {beyond.max():.4g} pixels"
            tell("outside-image", what, f"what lies beyond {width}x{height} is cut off; correct it if that is not meant")
        polygon = shapely.polygons(points) if noun == "polygon" else None
        if polygon is not None and polygon.area < NO_AREA and polygon.convex_hull.area < NO_AREA:
            tell("zero-area", f"{name} has no area", "it covers no pixel and is left out; remove or redraw it")
        elif polygon is not None:
            whole.append(points)
            length = np.abs(np.diff(points, axis=0)).max(axis=1).sum()  # the more edges lie over each other, the longer the search takes
            if not 3 < len(points) <= MOST_POINTS or length > MOST_TURNS * np.ptp(points, axis=0).max():
                continue
            reason = shapely.is_valid_reason(polygon)
            if reason.startswith("Self-intersection"):
                x, y = (float(v) for v in reason.partition("[")[2].rstrip("]").split())
                what = f"{name} crosses itself at ({x:.1f}, {y:.1f})"
                tell("self-intersecting", what, "what it encloses twice counts as outside; redraw it if that is not meant")
        elif noun == "line" and not np.ptp(points, axis=0).any():
            tell("zero-area", f"{name} has no length", "it covers no pixel and is left out; remove or redraw it")
    if not holes and (inner := _inside_another(whole)):
        what = f"{inner} of its {len(whole)} polygons lie inside another and are added to it"
        tell("polygon-in-polygon", what, "if they are holes, set data.source.holes=true where the format has this key")
    return found


def _sound(parts: Sequence[Part], height: int, width: int) -> dict[int, np.ndarray]:
    """The points (N, 2) of polygons of which nothing is to be told, by their number. All are looked at together, as they may be many."""
    numbers = [number for number, part in enumerate(parts) if is_polygon(part) and len(part) <= 2 * FEW_POINTS]
    if (every := flat([parts[number] for number in numbers])) is None:  # type: ignore[misc]
        return {}
    points, ends = every.points, np.append(every.starts[1:], len(every.points))
    inside = (np.maximum(-points, points - (width, height)) <= ROUNDING).all(axis=1)
    good = every.per_polygon(np.logical_and, inside)
    with np.errstate(invalid="ignore"):  # of numbers that are none, which are not good
        from_first = points - np.repeat(points[every.starts], ends - every.starts, axis=0)
        x, y = (every.following() - points + from_first).T
        good &= np.abs(every.per_polygon(np.add, from_first[:, 0] * y - from_first[:, 1] * x)) / 2 >= NO_AREA
    several = good & (ends - every.starts > 3)
    kept = np.repeat(several, ends - every.starts)
    rings = np.repeat(np.arange(several.sum()), (ends - every.starts)[several])
    good[several] = shapely.is_valid(shapely.polygons(shapely.linearrings(points[kept], indices=rings)))
    return {numbers[i]: points[every.starts[i] : ends[i]] for i in np.flatnonzero(good)}


def points_of(part: Part) -> tuple[np.ndarray | None, int]:
    """A part's points (N, 2) float64, a mask's corners, and how many there must be; None where it has none, or is malformed."""
    if isinstance(part, dict) and "runs" in part:
        x, y = part["left"], part["top"]
        return np.array([(x, y), (x + part["width"], y + part["height"])], float), 2
    points = part.get("line", (part.get("rings") or [None])[0]) if isinstance(part, dict) else part
    if not is_polygon(points, 0):
        return None, 0
    try:
        found = np.array(points, float).reshape(-1, 2)
    except OverflowError:
        return None, 0
    return found, 3 if isinstance(part, list) or "rings" in part else 2


def box_of(parts: Sequence[Part], height: int, width: int) -> tuple[int, int, int, int] | None:
    """Where parts that have points lie in an image, xyxy half-open pixels, cut off at its border; None where nowhere."""
    polygons = [part for part in parts if is_polygon(part, 1)]
    every = flat(polygons)  # type: ignore[arg-type]
    each = [every.points] if every and np.isfinite(every.points).all() else [points_of(part)[0] for part in polygons]
    each += [points_of(part)[0] for part in parts if not is_polygon(part, 1)]
    given = [points for points in each if points is not None and np.isfinite(points).all() and len(points)]
    if not given:
        return None
    points = np.concatenate(given).clip((0, 0), (width, height))
    (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
    left, top = min(floor(x1), width - 1), min(floor(y1), height - 1)
    return left, top, max(ceil(x2), left + 1), max(ceil(y2), top + 1)


def _inside_another(polygons: Sequence[np.ndarray]) -> int:
    """How many polygons lie within another one; of two alike the second."""
    if not 2 <= len(polygons) <= MOST_PARTS:
        return 0
    areas = [shapely.make_valid(shapely.polygons(points)) for points in polygons]
    outer, inner = shapely.STRtree(areas).query(areas, predicate="covers")
    alike = (shapely.area(areas)[outer] == shapely.area(areas)[inner]) & (outer >= inner)
    return len(set(inner[(outer != inner) & ~alike].tolist()))
