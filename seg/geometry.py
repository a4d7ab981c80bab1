"""Geometric transforms of albumentations as matrices, so that several of them move an image by one warp.

Pixels are points at whole numbers, (x, y) with x to the right, as in OpenCV. A matrix (3, 3) float64 takes a pixel's place before a
transform to that after it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from seg.core.environment import prepare_environment

prepare_environment()  # albumentations looks for newer versions when it is imported

import albumentations as A  # noqa: E402
from albumentations.augmentations.geometric.functional import warp_affine  # noqa: E402

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True, slots=True)
class Border:
    """What lies around an image: a mode of OpenCV, and the value of a constant one."""

    mode: int = cv2.BORDER_REPLICATE
    fill: tuple[float, ...] | float = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What a transform does. size: the image's after it. border: what it shows beyond the image, or None. cuts: whether parts get lost."""

    matrix: np.ndarray
    size: Size
    border: Border | None = None
    cuts: bool = False


class Warp:
    """Steps that are to be applied to an image of (height, width) pixels, as one. Beyond the image labels are 0."""

    def __init__(self, size: Size) -> None:
        self.before, self.size, self.matrix = size, size, np.eye(3)
        self.border: Border | None = None
        self.cuts = False

    @property
    def is_exact(self) -> bool:
        """Whether each pixel comes to lie on one."""
        return _is_exact(self.matrix)

    def takes(self, step: Step) -> bool:
        """Whether one warp shows what the steps show one after another.

        What an earlier step cut off must not come back from beyond the frame, and a border belongs to the frame that it was drawn around.
        """
        if step.border is None:
            return True
        if self.cuts or self.border is None:
            return not self.cuts
        return self.border == step.border and step.border.mode == cv2.BORDER_CONSTANT

    def add(self, step: Step) -> None:
        """Apply it after the others."""
        self.matrix, self.size = step.matrix @ self.matrix, step.size
        self.border, self.cuts = step.border or self.border, self.cuts or step.cuts

    def apply(self, image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """An image (H, W, C) uint8, bilinear, and its plane of labels (H, W), by nearest pixels, as the steps leave them."""
        if self.size == self.before and np.array_equal(self.matrix, np.eye(3)):
            return image, labels
        window = self._window() if self.is_exact and image.shape[2] in (1, 3, 4) else None
        if window:
            return tuple(_turned(pixels[window], self.matrix) for pixels in (image, labels))  # type: ignore[return-value]
        border = self.border or Border()
        return self._warped(image, cv2.INTER_LINEAR, border), self._warped(labels, cv2.INTER_NEAREST, Border(border.mode))

    def _window(self) -> tuple[slice, slice] | None:
        """The part of the image that is seen, or None where more is."""
        (height, width), (last_x, last_y) = self.before, (self.size[1] - 1, self.size[0] - 1)
        corners = np.linalg.inv(self.matrix) @ np.array([[0, last_x], [0, last_y], [1, 1]])
        (left, right), (top, bottom) = np.rint(np.sort(corners[:2])).astype(int)
        inside = left >= 0 and top >= 0 and right < width and bottom < height
        return (slice(top, bottom + 1), slice(left, right + 1)) if inside else None

    def _warped(self, pixels: np.ndarray, interpolation: int, border: Border) -> np.ndarray:
        beside_alpha = pixels.ndim == 3 and pixels.shape[2] == 3 and np.size(border.fill) == 1
        # OpenCV interpolates four channels at once, and three one by one
        given = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA) if beside_alpha else np.ascontiguousarray(pixels)
        warped: np.ndarray = warp_affine(given, self.matrix, interpolation, border.fill, border.mode, self.size)
        return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB) if beside_alpha else warped


def _is_exact(matrix: np.ndarray) -> bool:
    """Whether each pixel comes to lie on one: flips, quarter turns and moves by whole pixels."""
    return bool((np.abs(matrix[:2, :2]).sum(0) == 1).all() and (matrix == np.rint(matrix)).all())


def _turned(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Flipped or turned by the linear part of an exact matrix. numpy turns views, and copies them pixel by pixel."""
    linear = tuple(matrix[:2, :2].astype(int).ravel().tolist())
    turn = _TURNS.get(linear)
    if turn is None:
        return np.ascontiguousarray(pixels)
    turned = turn(pixels)
    return turned if turned.ndim == pixels.ndim else turned[:, :, None]


_TURNS: dict[tuple[int, ...], Callable[[np.ndarray], np.ndarray]] = {
    (-1, 0, 0, 1): lambda p: cv2.flip(p, 1),
    (1, 0, 0, -1): lambda p: cv2.flip(p, 0),
    (-1, 0, 0, -1): lambda p: cv2.rotate(p, cv2.ROTATE_180),
    (0, 1, 1, 0): cv2.transpose,
    (0, 1, -1, 0): lambda p: cv2.rotate(p, cv2.ROTATE_90_COUNTERCLOCKWISE),
    (0, -1, 1, 0): lambda p: cv2.rotate(p, cv2.ROTATE_90_CLOCKWISE),
    (0, -1, -1, 0): lambda p: cv2.rotate(cv2.transpose(p), cv2.ROTATE_180),
}

_QUARTERS = {"e": 0, "r90": 1, "r180": 2, "r270": 3, "v": 0, "hvt": 2, "h": 0, "t": 0}


def is_geometric(transform: Any) -> bool:
    """Whether `step_of` knows the transform, with its settings."""
    linear = getattr(transform, "interpolation", cv2.INTER_LINEAR) == cv2.INTER_LINEAR
    plain = linear and not getattr(transform, "area_for_downscale", None) and not getattr(transform, "crop_border", False)
    transparent = getattr(transform, "border_mode", None) == cv2.BORDER_TRANSPARENT
    return type(transform) in _STEPS and plain and not transparent


def step_of(transform: Any, drawn: dict[str, Any]) -> Step:
    """What a transform does with the parameters it drew, "shape" (H, W, C) of the image before it among them."""
    return _STEPS[type(transform)](transform, drawn, tuple(drawn["shape"][:2]))


def _flipped(size: Size, horizontally: bool) -> Step:
    height, width = size
    matrix = np.diag([-1.0, 1, 1] if horizontally else [1.0, -1, 1])
    matrix[(0 if horizontally else 1), 2] = (width if horizontally else height) - 1
    return Step(matrix, size)


def _transposed(size: Size) -> Step:
    return Step(np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]]), size[::-1])


def _quarter_turns(size: Size, number: int) -> Step:
    """Counter-clockwise."""
    matrix = np.eye(3)
    for _ in range(number):
        matrix = np.array([[0.0, 1, 0], [-1, 0, size[1] - 1], [0, 0, 1]]) @ matrix
        size = size[::-1]
    return Step(matrix, size)


def _symmetry(element: str, size: Size) -> Step:
    turned = _quarter_turns(size, _QUARTERS[element])
    if element in ("v", "h"):
        return _flipped(size, element == "h")
    if element in ("t", "hvt"):
        after = _transposed(turned.size)
        return Step(after.matrix @ turned.matrix, after.size)
    return turned


def _affine(transform: Any, drawn: dict[str, Any], size: Size) -> Step:
    height, width = (round(float(side)) for side in drawn.get("output_shape", size))
    return Step(np.asarray(drawn["matrix"], np.float64), (height, width), Border(transform.border_mode, transform.fill), cuts=True)


def _resized(before: Size, after: Size) -> Step:
    """A pixel is a square with its place in the middle."""
    down, right = after[0] / before[0], after[1] / before[1]
    return Step(np.array([[right, 0, (right - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]]), after)


def _scaled(_: Any, drawn: dict[str, Any], size: Size) -> Step:
    return _resized(size, (int(size[0] * drawn["scale"]), int(size[1] * drawn["scale"])))


def _moved(left: int, top: int, size: Size, border: Border | None, cuts: bool) -> Step:
    return Step(np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]]), size, border, cuts)


def _padded(transform: Any, drawn: dict[str, Any], size: Size) -> Step:
    top, bottom, left, right = (int(drawn[f"pad_{side}"]) for side in ("top", "bottom", "left", "right"))
    padded = size[0] + top + bottom, size[1] + left + right
    pads = padded != size
    return _moved(left, top, padded, Border(transform.border_mode, transform.fill) if pads else None, cuts=False)


def _cropped(transform: Any, drawn: dict[str, Any], size: Size) -> Step:
    left, top, right, bottom = (int(side) for side in drawn["crop_coords"])
    padded = _padded(transform, drawn["pad_params"], size) if drawn.get("pad_params") else _moved(0, 0, size, None, False)
    cuts = (bottom - top, right - left) != padded.size
    return Step(_moved(-left, -top, size, None, cuts).matrix @ padded.matrix, (bottom - top, right - left), padded.border, cuts)


def _crop_resized(transform: Any, drawn: dict[str, Any], size: Size) -> Step:
    left, top, right, bottom = (int(side) for side in drawn["crop_coords"])
    resized = _resized((bottom - top, right - left), tuple(transform.size))
    cuts = (bottom - top, right - left) != size
    return Step(resized.matrix @ _moved(-left, -top, size, None, cuts).matrix, resized.size, None, cuts)


_STEPS: dict[type, Callable[[Any, dict[str, Any], Size], Step]] = {
    A.HorizontalFlip: lambda t, drawn, size: _flipped(size, True),
    A.VerticalFlip: lambda t, drawn, size: _flipped(size, False),
    A.Transpose: lambda t, drawn, size: _transposed(size),
    A.RandomRotate90: lambda t, drawn, size: _quarter_turns(size, drawn["factor"]),
    A.D4: lambda t, drawn, size: _symmetry(drawn["group_element"], size),
    A.SquareSymmetry: lambda t, drawn, size: _symmetry(drawn["group_element"], size),
    A.Affine: _affine,
    A.ShiftScaleRotate: _affine,
    A.SafeRotate: _affine,
    A.Rotate: _affine,
    A.RandomScale: _scaled,
    A.Resize: lambda t, drawn, size: _resized(size, (t.height, t.width)),
    A.PadIfNeeded: _padded,
    A.RandomCrop: _cropped,
    A.CenterCrop: _cropped,
    A.RandomResizedCrop: _crop_resized,
    A.RandomSizedCrop: _crop_resized,
}
