"""`label_studio`: Label Studio's own JSON export, and a folder of images (https://labelstud.io/guide/task_format)."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from math import cos, radians, sin
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np

from seg.core.errors import AnnotationError, DataError
from seg.raw.record import Finding
from seg.sources.annotation_file import AnnotatedImage, AnnotationFile
from seg.sources.base import Drawn
from seg.sources.content import number_of, points_of, read_json
from seg.sources.pairing import Part
from seg.sources.part_rle import Part as Shape
from seg.sources.part_rle import ellipse, runs_of
from seg.sources.regions import Region


class LabelStudio(AnnotationFile, Drawn):
    """A list of tasks. The arguments are as for `AnnotationFile` and `Drawn`. image_key: what a task's data call its image. Polygons,
    rectangles, ellipses, key points and brush masks are read; of several annotations of a task the one that is marked as ground truth, or
    else the first that was not cancelled."""

    image_key: str

    def images_of(self, path: Path, part: Part) -> Iterable[AnnotatedImage]:
        content = read_json(path)
        if not isinstance(content, list) or not all(isinstance(task, dict) and isinstance(task.get("data"), dict) for task in content):
            raise AnnotationError(f"{path}: is no list of tasks with data; export the project as JSON (not JSON-MIN)")
        several: list[str] = []
        images = [self._image(path, number, task, several) for number, task in enumerate(content)]
        if several:
            what = f"{len(several)} tasks have several annotations, such as that of {several[0]}, of which one is read"
            self.findings.append(Finding("several-annotations", str(path), what, "mark the right one as ground truth in Label Studio"))
        return images

    def _image(self, path: Path, number: int, task: Mapping[str, Any], several: list[str]) -> AnnotatedImage:
        where = f"{path}, task {task.get('id', number)}"
        given = task["data"].get(self.image_key)
        if not isinstance(given, str) or not given:
            fix = "set data.source.image_key"
            raise AnnotationError(f"{where}: its data have no '{self.image_key}' ({', '.join(map(str, task['data']))}); {fix}")
        _, local, below = given.partition("?d=")  # as in /data/local-files/?d=shots/a.png; others are /data/upload/1/ab12cd34-a.png
        name = unquote(below if local else urlparse(given).path).lstrip("/")
        given_by = _list(task.get("annotations", task.get("completions")), "annotations", where)
        found = [a for a in given_by if isinstance(a, dict) and not a.get("was_cancelled")]
        if len(found) > 1:
            several.append(name)
        chosen = next((a for a in found if a.get("ground_truth")), found[0] if found else {})
        sizes: set[tuple[int, int]] = set()

        def region(place: int, result: Any) -> Region | None:
            at = f"task {task.get('id', number)}, region {result.get('id', place) if isinstance(result, dict) else place}"
            shape = _shape(result, f"{path}, {at}", self.line_width, self.point_radius)
            sizes.update([shape[1]] if shape else [])
            return Region(at, shape[0], [shape[2]]) if shape else None

        regions = self.faults.each(enumerate(_list(chosen.get("result"), "result", where)), region)
        return AnnotatedImage(name, next(iter(sizes)) if len(sizes) == 1 else None, regions)


def _list(value: Any, key: str, where: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise AnnotationError(f"{where}: has {key}={str(value)[:60]}, expected a list; export the project again")
    return value or []


def _shape(result: Any, where: str, line_width: float, point_radius: float) -> tuple[str, tuple[int, int], Shape] | None:
    """Label, the image's (height, width), and outline of a region; None of what is no region, such as a choice or a text."""
    value = result.get("value") if isinstance(result, dict) else None
    if not isinstance(value, dict) or not ({"points", "rle", "x"} & value.keys()):
        return None
    label = next((v[0] for key, v in value.items() if key.endswith("labels") and isinstance(v, list) and v and isinstance(v[0], str)), "")
    if not label:
        raise DataError(f"{where}: has no label; give it one in Label Studio, or remove it", kind="image-without-label")
    if result.get("image_rotation"):
        raise AnnotationError(f"{where}: was drawn on an image that was turned in Label Studio; turn the image itself")
    width, height = (int(number_of(result, f"original_{side}", where)) for side in ("width", "height"))
    if "rle" in value:
        runs = runs_of(brush_mask(value["rle"], height, width, where))
        return label, (height, width), {"left": 0, "top": 0, "width": width, "height": height, "runs": runs}
    return label, (height, width), _outline(value, where, width / 100, height / 100, line_width, point_radius)


def _outline(value: Mapping[str, Any], where: str, sx: float, sy: float, line_width: float, point_radius: float) -> Shape:
    """An outline in pixels; positions are in percent of the image's sides, of which sx and sy are a hundredth."""
    number = partial(number_of, value, where=where)
    if "points" in value:
        flat = [v for x, y in points_of(value["points"], where) for v in (x * sx, y * sy)]
        return flat if value.get("closed", True) else {"line": flat, "width": line_width}
    x, y = number("x") * sx, number("y") * sy
    turn = number("rotation") if value.get("rotation") else 0.0
    if "radiusX" in value:
        return ellipse(x, y, number("radiusX") * sx, number("radiusY") * sy, turn)
    if "height" not in value:
        return ellipse(x, y, point_radius, point_radius)
    width, height = number("width") * sx, number("height") * sy
    c, s = cos(radians(turn)), sin(radians(turn))  # around the corner at x, y
    corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
    return [v for dx, dy in corners for v in (x + dx * c - dy * s, y + dx * s + dy * c)]


def brush_mask(data: Sequence[int], height: int, width: int, where: str) -> np.ndarray:
    """A brush's run lengths -> its mask (height, width) bool: where the alpha of an RGBA image is not 0. They are a stream of bits: the
    number of values (32), bits of a value less 1 (5), bits of a length less 1 for each of four kinds of lengths (4 each); then parts, each
    a flag (1), a kind (2), a length less 1, and one value for all of it, or a value for each."""
    wrong = AnnotationError(f"{where}: its brush mask does not fill {height}x{width} pixels; export it again")
    if not isinstance(data, list) or not all(isinstance(v, int) and 0 <= v < 256 for v in data):
        raise wrong
    stream, position = "".join(f"{byte:08b}" for byte in data), 0

    def take(bits: int) -> int:
        nonlocal position
        position += bits
        if position > len(stream):
            raise wrong
        return int(stream[position - bits : position], 2)

    if take(32) != 4 * height * width:
        raise wrong
    bits = take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values, filled = np.zeros(4 * height * width, np.int64), 0
    while filled < len(values):
        same, length = take(1), take(sizes[take(2)]) + 1
        if filled + length > len(values):
            raise wrong
        values[filled : filled + length] = take(bits) if same else [take(bits) for _ in range(length)]
        filled += length
    return values.reshape(height, width, 4)[..., 3] > 0
