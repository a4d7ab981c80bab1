"""Class maps of images that no memory holds: read by rows, predicted in tiles, written band by band."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from seg.predict.tiles.band_tiff import BandTiff, georeference
from seg.predict.tiles.bands import predict_bands
from seg.predict.tiles.network import Tiled
from seg.predict.tiles.rows import open_rows
from seg.sources.images import ImageReader


def stream_class_map(network: Tiled, image: Path, target: Path) -> Iterator[float]:
    """Write the class map of the image in a file to a tiled TIFF, georeferenced like the image; yields the share that is done.

    Raises DataError where the image cannot be read, or the file not be written; then nothing is left of it.
    """
    with open_rows(image, ImageReader(network.facts.channels, network.facts.data_range)) as rows:
        height, width, _ = rows.shape
        target.parent.mkdir(parents=True, exist_ok=True)
        with BandTiff(target, height, width, np.uint8, georeference(image)) as out:
            for band in predict_bands(network.network, rows, network.tiling, network.batch_size, network.blend):
                out.write(band.classes)
                yield (band.top + len(band.classes)) / height
