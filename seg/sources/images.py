"""Raw image files, as any source reads them: to the channels that the data set is configured to have."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seg.imagefile import decode_image, read_bytes


@dataclass(frozen=True, slots=True)
class RawImage:
    """An image as read. pixels: (H, W, C) uint8. encoded: the file's bytes, where they decode to exactly these; else None."""

    pixels: np.ndarray
    encoded: bytes | None
    suffix: str


@dataclass(frozen=True, slots=True)
class ImageReader:
    """How raw images become a sample's: RGB for 3 channels, gray for 1."""

    channels: int

    def read(self, path: Path) -> RawImage:
        """Decode a file; DataError where it is unreadable, or is not as configured."""
        return self.decode(read_bytes(path), path)

    def decode(self, data: bytes, path: Path) -> RawImage:
        """The same of a file's bytes, of which `path` is the name."""
        return RawImage(decode_image(data, self.channels, path), data, path.suffix.lower())
