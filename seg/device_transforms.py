"""Transforms of albumentations that a batch goes through on its device: one warp, and then the photometric ones, which leave the labels
alone. What they draw is drawn with the sample; a `Deferred` says what is to be done.

They agree with albumentations within a level or two of 255, where rounding differs; noise has the same distribution, but is another.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seg.data.sample import IGNORE
from seg.deferred import WARP, Deferred, warp_values

Size = tuple[int, int]
"""(height, width) in pixels."""

Drawn = Sequence[np.ndarray]
"""The `values` of one transform, for each image of a batch (B, C, H, W)."""


def apply(
    images: Tensor, semantic: Tensor, sizes: Sequence[Size], deferred: Sequence[Sequence[Deferred]]
) -> tuple[Tensor, Tensor, list[Size]]:
    """Images (B, C, H, W) uint8, labels (B, H, W) uint8 and their sizes before padding, after what was deferred for each."""
    with torch.autocast(images.device.type, enabled=False):
        return _apply(images, semantic, sizes, deferred)


def _apply(
    images: Tensor, semantic: Tensor, sizes: Sequence[Size], deferred: Sequence[Sequence[Deferred]]
) -> tuple[Tensor, Tensor, list[Size]]:
    warps = [next((step.values for step in steps if step.kind == WARP), None) for steps in deferred]
    if any(values is not None for values in warps):
        images, semantic, sizes = _warped(images, semantic, sizes, warps)
    else:
        images = images.clone()
    for place in sorted({step.place for steps in deferred for step in steps if step.kind != WARP}):
        members = [(i, step) for i, steps in enumerate(deferred) for step in steps if step.place == place]
        where = torch.tensor([i for i, _ in members], device=images.device)
        change = _KINDS[members[0][1].kind]
        images[where] = change(images[where], [step.values for _, step in members], [sizes[i] for i, _ in members])
    if any(size != tuple(images.shape[2:]) for size in sizes):
        images *= _inside(sizes, images)[:, None]
    return images, semantic, list(sizes)


def _warped(
    images: Tensor, semantic: Tensor, sizes: Sequence[Size], warps: Sequence[np.ndarray | None]
) -> tuple[Tensor, Tensor, list[Size]]:
    """Images bilinear, as by OpenCV's warpAffine; labels by nearest pixels, 255 beyond the image."""
    device, (count, channels, height, width) = images.device, images.shape
    values = [v if v is not None else warp_values(np.eye(3), size, None) for v, size in zip(warps, sizes, strict=True)]
    after = [(int(v[6]), int(v[7])) for v in values]
    rows, columns = (max(size[axis] for size in after) for axis in (0, 1))
    inverse = torch.tensor(np.stack([v[:6] for v in values]), dtype=torch.float32, device=device)[:, None, None, :]
    y, x = torch.arange(rows, device=device)[:, None], torch.arange(columns, device=device)[None]
    left, top = (inverse[..., i] * x + inverse[..., i + 1] * y + inverse[..., i + 2] for i in (0, 3))
    right_most, lowest = (torch.tensor([s[axis] - 1.0 for s in sizes], device=device)[:, None, None] for axis in (1, 0))
    constant = torch.tensor([len(v) > 8 for v in values], device=device)[:, None, None]
    fills = torch.tensor(np.stack([v[8:] if len(v) > 8 else np.zeros(channels) for v in values]), dtype=torch.float32, device=device)[
        ..., None, None
    ]
    left = torch.where(constant, left, torch.minimum(left.clamp(min=0), right_most))
    top = torch.where(constant, top, torch.minimum(top.clamp(min=0), lowest))

    within = _inside(sizes, images)[:, None]
    grid = torch.stack([(2 * left + 1) / width - 1, (2 * top + 1) / height - 1], -1)
    # what lies beyond is 0 for grid_sample, and blends in at the edge
    shown = F.grid_sample((images - fills) * within, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + fills
    column, row = (left + 0.5).floor(), (top + 0.5).floor()
    seen = (column >= 0) & (column <= right_most) & (row >= 0) & (row <= lowest)
    places = (row * width + column).where(seen, 0).long()
    labels = semantic.reshape(count, -1).gather(1, places.reshape(count, -1)).reshape(count, rows, columns)
    drawn = _inside(after, shown)
    return shown.round().clamp(0, 255).to(torch.uint8), labels.where(seen & drawn, IGNORE), after


def _inside(sizes: Sequence[Size], images: Tensor) -> Tensor:
    """Which pixels (B, H, W) lie in images of these sizes, and not in what was added to bring them to one."""
    heights, widths = (torch.tensor([size[axis] for size in sizes], device=images.device)[:, None, None] for axis in (0, 1))
    height, width = images.shape[2:]
    return (torch.arange(height, device=images.device)[:, None] < heights) & (torch.arange(width, device=images.device) < widths)


def _bytes(values: Tensor) -> Tensor:
    """As numpy converts: what follows the point is cut off."""
    return values.clamp(0, 255).to(torch.uint8)


def _table(images: Tensor, values: Drawn, _: Sequence[Size]) -> Tensor:
    tables = torch.from_numpy(np.stack(values).astype(np.uint8)).to(images.device)
    first = 256 * torch.arange(len(images), dtype=torch.int32, device=images.device)[:, None, None, None]
    return tables.reshape(-1)[images.to(torch.int32) + first]


def _hsv(images: Tensor, values: Drawn, _: Sequence[Size]) -> Tensor:
    """OpenCV keeps hue, of 180, and saturation as whole numbers; the way there is its own, the way back in floats, cut off."""
    shifts = torch.tensor(np.stack(values), dtype=torch.float32, device=images.device)
    hue_shift, saturation_shift, value_shift = shifts.T[..., None, None]
    if images.shape[1] == 1:  # gray has neither hue nor saturation
        return _bytes(images + value_shift[:, None].trunc())
    hues, saturations = torch.from_numpy(_PARTS).to(images.device)
    red, green, blue = images.to(torch.int32).unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    span = value - torch.minimum(torch.minimum(red, green), blue)
    of_others = torch.where(value == green, blue - red + 2 * span, red - green + 4 * span)
    hue = (torch.where(value == red, green - blue, of_others) * hues[span] + 2048) >> 12
    saturation = (span * saturations[value] + 2048) >> 12
    hue = (hue + hue_shift).remainder(180).floor() / 30
    saturation = torch.where(saturation == 0, 0, (saturation + saturation_shift.trunc()).clamp(0, 255)) / 255
    value = (value + value_shift.trunc()).clamp(0, 255)
    channels = []
    for first in (5, 3, 1):
        sector = (first + hue) % 6
        share = torch.minimum(sector, 4 - sector).clamp(0, 1)
        channels.append(value * (1 - saturation * share) + 1e-3)  # what is a whole number stays one
    return _bytes(torch.stack(channels, 1))


_PARTS = np.array([[0, *(round(whole * 4096 / i) for i in range(1, 256))] for whole in (30, 255)], np.int32)
"""Of hue and saturation, in 1/4096: what each of 1 to 255 levels is a part of."""


def _noise(images: Tensor, values: Drawn, sizes: Sequence[Size]) -> Tensor:
    for image, (mean, deviation, per_channel, seed), (height, width) in zip(images, values, sizes, strict=True):
        generator = torch.Generator(images.device).manual_seed(int(seed))
        shape = (image.shape[0] if per_channel else 1, height, width)
        noise = torch.randn(shape, generator=generator, device=images.device) * float(deviation) + float(mean)
        image[:, :height, :width] = _bytes(image[:, :height, :width] + noise)
    return images


def _blur(images: Tensor, values: Drawn, sizes: Sequence[Size]) -> Tensor:
    for image, kernel, (height, width) in zip(images, values, sizes, strict=True):
        weights, reach = torch.from_numpy(kernel.astype(np.float32)).to(images.device), len(kernel) // 2
        padded = F.pad(image[:, None, :height, :width].float(), (reach, reach, reach, reach), mode="reflect")
        rows = F.conv2d(padded, weights[None, None, None])
        image[:, :height, :width] = _bytes(F.conv2d(rows, weights[None, None, :, None])[:, 0].round())
    return images


def _holes(images: Tensor, values: Drawn, _: Sequence[Size]) -> Tensor:
    for image, (level, *sides) in zip(images, values, strict=True):
        for left, top, right, bottom in np.reshape(sides, (-1, 4)).astype(int).tolist():
            image[:, top:bottom, left:right] = int(level)
    return images


_KINDS: dict[str, Callable[[Tensor, Drawn, Sequence[Size]], Tensor]] = {
    "table": _table,
    "hsv": _hsv,
    "noise": _noise,
    "blur": _blur,
    "holes": _holes,
}
"""(the images (B, C, H, W) uint8, which it may change; values; sizes before padding) -> the changed images."""
