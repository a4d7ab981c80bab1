"""Raw image files, as any source reads them: to the channels and the 8 bits that the data set is configured to have."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seg.core.errors import DataError
from seg.data.decoders import Decoded, Window
from seg.data.imagefile import decode, read_bytes, to_channels
from seg.data.sample import Range, Sample
from seg.data.windows import read_window, window_of
from seg.raw.intensity import to_8_bit
from seg.raw.record import Finding, Record

TURNS = ("mirrored", "180 degrees", "mirrored and 180 degrees", "on its side", "90 degrees", "on its side", "90 degrees")  # of tags 2 to 8


@dataclass(frozen=True, slots=True)
class RawImage:
    """An image as read.

    Attributes:
        pixels: (H, W, C) uint8.
        encoded: The bytes of the file, if `seg.data.imagefile.decode_image` gives exactly these pixels for them; else None.
        suffix: The suffix of the file, in lower case.
        spacing: Height and width of a pixel in micrometres, where the file says it.
        findings: Everything odd about the image.
        turned: The finding that the image's Orientation tag turned it to another size. Labels that name no size may not know that.
    """

    pixels: np.ndarray
    encoded: bytes | None
    suffix: str
    spacing: tuple[float, float] | None = None
    findings: tuple[Finding, ...] = ()
    turned: Finding | None = None

    def record(self, sample: Sample, findings: Iterable[Finding] = ()) -> Record:
        """The Record of a sample, whose image is `pixels`. findings: everything odd about its labels."""
        named = tuple(replace(finding, image_id=sample.image_id) for finding in (*self.findings, *findings))
        return Record(sample, self.encoded, self.suffix, named, self.spacing)

    def refuse_other_size(self, path: Path, size: Sequence[int], annotations: str) -> None:
        """DataError where the image `path` has another size than (height, width), which its annotations say."""
        (h, w), (height, width) = self.pixels.shape[:2], size
        if (h, w) != (height, width):
            turned = mend = ""
            if (w, h) == (height, width):
                turned = " (the file's EXIF orientation, which is applied on reading, may turn it)"
                seen = "; if it was annotated as it is seen and the program mixed up its sides, as Label Studio does in COCO"
                mend = f"{seen}, multiply x by {w}/{width}, y by {h}/{height} and swap width and height"
            fix = f"use the image that was annotated, or correct width, height and annotations{mend}"
            raise DataError(f"{path}: is {w}x{h} pixels{turned}, but {annotations} has it as {width}x{height}; {fix}", kind="size-mismatch")


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Reads image files of any format to the channels and the 8 bits that the data set is configured to have.

    Attributes:
        channels: 3 gives RGB, 1 gives gray, any other number gives the channels as stored.
        range: data.range, by which images deeper than 8 bit become 0 to 255.
        remedy: What to do about deeper images without a range, where data.range cannot be set.
    """

    channels: int
    range: Range = None
    remedy: str = ""

    def read(self, path: Path, window: Window | None = None) -> RawImage:
        """Read and decode a file, or the rows and columns of a window of it; DataError where it is missing or unreadable, or not as
        configured."""
        if (part := window_of(path, window)) is not None:
            made = self._made(read_window(path, part, self.channels), None, path)
            return made if window is None else replace(made, findings=tuple(f for f in made.findings if f.kind != "constant-image"))
        return self.decode(read_bytes(path), path)

    def decode(self, data: bytes, path: Path) -> RawImage:
        """Decode the bytes of a file; DataError where they are no image, or it is not as configured. path: the name for messages."""
        return self._made(decode(data, path, self.channels), data, path)

    def _made(self, decoded: Decoded, data: bytes | None, path: Path) -> RawImage:
        stored = to_channels(decoded, self.channels, path)
        pixels, findings = to_8_bit(stored, self.range, path, decoded.nodata, self.remedy)
        alpha = decoded.pixels[..., -1]
        opaque = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "ui" else 1.0
        if decoded.alpha and self.channels < decoded.pixels.shape[2] and (share := float((alpha != opaque).mean())):
            what = f"{share:.1%} of its pixels are transparent to some degree; their colours are taken as they are"
            findings.append(Finding("transparent-image", str(path), what, "set data.channels=4 to keep the alpha, or draw it on a ground"))
        turned = None
        if decoded.orientation != 1:
            turn = TURNS[decoded.orientation - 2]
            what = f"is turned upright by its Orientation tag ({turn}), and nothing tells whether its labels are, too"
            fix = "look at the labels over it; where they lie as in the file, remove the tag from the images (exiftool -Orientation= FILE)"
            turned = Finding("turned-image", str(path), what, fix)
            if decoded.orientation <= 4 or pixels.shape[0] == pixels.shape[1]:
                findings, turned = [*findings, turned], None
        unchanged = pixels is stored or (stored.dtype == np.uint8 and np.array_equal(pixels, stored))
        return RawImage(pixels, data if unchanged else None, path.suffix.lower(), decoded.spacing, tuple(findings), turned)
