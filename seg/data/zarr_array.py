"""Zarr arrays (versions 2 and 3) and OME-Zarr, of which windows are read; a folder NAME.zarr is an image.

An array is (height, width) or (height, width, channels), unless its dimensions have names. Of OME-Zarr (ngff.openmicroscopy.org, 0.1 to
0.5) the finest level is read, with the axes that its metadata names."""

from pathlib import Path
from typing import Any

import numpy as np

from seg.core.errors import ConfigError, DataError, PixelError, UnreadableError
from seg.data.decoders import ALL, Decoded, Window
from seg.data.tiff_rows import Parts


def zarr_parts(path: Path) -> Parts:
    """The image of a folder; DataError where it is unreadable, or has more axes than height, width and channels. Nothing is unpickled:
    zarr from 3.1 on refuses such arrays."""
    try:
        import zarr
    except ImportError:
        raise ConfigError(f"{path}: the package zarr is missing, which reads Zarr; pip install 'zarr>=3.1'") from None
    try:
        opened = zarr.open(zarr.storage.LocalStore(path, read_only=True), mode="r")
        array, axes = (opened, _named(opened)) if isinstance(opened, zarr.Array) else _finest(opened, path)
    except DataError:
        raise
    except Exception as error:  # of the metadata's own, and of the store
        raise UnreadableError(f"{path}: is no readable Zarr array ({' '.join(str(error).split())[:200]}); restore it") from None
    if array.dtype.kind not in "buif" or not array.size:
        raise PixelError(f"{path}: holds {array.size} values of {array.dtype}, expected numbers; save it as a numeric array")
    others = [axis for axis, length in zip(axes, array.shape, strict=False) if axis not in ("c", "y", "x") and length > 1]
    if len(axes) != array.ndim or others or not {"y", "x"} <= set(axes):
        what = f"is an array {array.shape} of the axes {', '.join(axes)}, expected height (y), width (x) and perhaps channels (c)"
        raise PixelError(f"{path}: {what}; save each image as an array of its own")
    order, chunk = sorted((i for i, axis in enumerate(axes) if axis in ("c", "y", "x")), key=lambda i: "yxc".index(axes[i])), array.chunks

    def decode(window: Window, indices: bool) -> Decoded:
        taken = dict(zip(order, (*window, ALL), strict=False))
        try:
            pixels = np.asarray(array[tuple(taken.get(i, slice(1)) for i in range(array.ndim))])
        except Exception as error:  # each codec fails in ways of its own
            raise UnreadableError(f"{path}: a chunk is unreadable ({' '.join(str(error).split())[:200]}); restore it") from None
        pixels = pixels.transpose([*order, *(i for i in range(pixels.ndim) if i not in order)])
        pixels = np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1))
        return Decoded(pixels * np.uint8(255), step=255) if pixels.dtype.kind == "b" else Decoded(pixels)

    return Parts(array.shape[order[0]], array.shape[order[1]], decode, chunk[order[0]] * chunk[order[1]])


def _named(array: Any) -> list[str]:
    """The axes of an array, by the names that Zarr 3 may give them."""
    names = [str(name).lower() for name in getattr(array.metadata, "dimension_names", None) or ()]
    return names if {"y", "x"} <= set(names) else ["y", "x", "c", *"?" * array.ndim][: array.ndim]


def _finest(group: Any, path: Path) -> tuple[Any, list[str]]:
    """The first level of a pyramid, and its axes: those of 0.1 and 0.2 have no names."""
    if not (said := group.attrs.get("ome", group.attrs).get("multiscales")):
        raise PixelError(f"{path}: is a Zarr group without OME metadata, expected an array; name the folder of one of its arrays NAME.zarr")
    array = group[said[0]["datasets"][0]["path"]]
    return array, [axis["name"] if isinstance(axis, dict) else axis for axis in said[0].get("axes", "tczyx"[-array.ndim :])]
