"""A file "CVAT for images 1.1" (https://docs.cvat.ai/docs/manual/advanced/xml_format), to be corrected and read by the source `cvat`."""

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from seg.data.rle import decode_crop, encode_crop, run_lengths
from seg.data.sample import ClassInfo, Prediction
from seg.predict.write.coco import CocoWriter, above


class CvatWriter(CocoWriter):
    """cvat.xml: each image with a `<mask>` of the very pixels of each instance or region, or a `<box>` where the model knows boxes alone.

    Of two that overlap the better one comes last, and so lies on top. Those that score less than `threshold`, or have fewer pixels than
    `min_area`, are left out.
    """

    def __init__(self, path: Path, classes: Sequence[ClassInfo], min_area: int, threshold: float) -> None:
        super().__init__(path, classes, min_area)
        self.threshold = threshold

    def _begin(self) -> None:
        self.file.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')

    def _write(self, prediction: Prediction) -> None:
        given, image = above(prediction, self.threshold), self.images[-1]
        name, size = quoteattr(image["file_name"]), f'width="{image["width"]}" height="{image["height"]}"'
        lines = [f'<image id="{image["id"] - 1}" name={name} {size}>']
        for category, mask, box in reversed(list(zip(given.categories.tolist(), given.masks, given.boxes.tolist(), strict=True))):
            known = f'label={quoteattr(self.classes[category].name)} source="auto" occluded="0" z_order="0"'
            crop, left, top = decode_crop(mask)
            height, width = crop.shape
            if given.boxed:
                lines.append('  <box xtl="{}" ytl="{}" xbr="{}" ybr="{}" {}/>'.format(*box, known))
            elif crop.sum() >= max(1, self.min_area):
                runs = run_lengths(encode_crop(crop.T, 0, 0, width, height), width, height)  # CVAT's run along the rows
                rle = ", ".join(map(str, runs))
                lines.append(f'  <mask rle="{rle}" left="{left}" top="{top}" width="{width}" height="{height}" {known}/>')
        self.file.write("\n".join([*lines, "</image>\n"]).encode())

    def _end(self) -> None:
        self.file.write(b"</annotations>\n")
