"""`labelme`: images, and a JSON file of LabelMe for each, beside it or in a folder of their own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os.path import normpath
from pathlib import Path, PurePosixPath

from seg.core.errors import DataError
from seg.core.natural import natural_key
from seg.core.textfile import composed, is_file
from seg.data.imagefile import IMAGE_SUFFIXES
from seg.raw.findings import Finding
from seg.raw.record import Item, Record
from seg.sources.annotation_file import refuse_other_size
from seg.sources.base import Drawn
from seg.sources.images import RawImage
from seg.sources.labelme_file import LabelmeFile, read_labelme, regions_of
from seg.sources.listing import by_stem, is_picture, pictures
from seg.sources.pairing import Part, folder_below, parts_of
from seg.sources.regions import Faults, record_of

MAGIC = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg"}


@dataclass(kw_only=True, eq=False)
class Labelme(Drawn):
    """Images under `root`/`images`, JSON files of the same relative name under `root`/`annotations`; both may be one folder.

    A JSON file without an image of its name is of the one that its imagePath names, or of the one that it holds
    (imageData). skip_unlabelled: leave images without a JSON file out, do not refuse them. Shapes of one label and group_id are one
    object; holes: polygons inside others of the same object are holes. `{split}` in `images` and `annotations` stands for train, val and
    test where the split is given by folders. The other arguments are as for `Drawn`.
    """

    images: str
    annotations: str
    skip_unlabelled: bool
    holes: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        self.parts = parts_of(self.split, "{split}", images=self.images, annotations=self.annotations)

    def items(self) -> list[Item]:
        return [item for part in self.parts for item in self._part(part)]

    def read(self, item: Item) -> Record:
        image, path = item.files[0], Path(item.files[1])
        content = read_labelme(path)
        found: list[Finding] = []
        regions = regions_of(path, content.shapes, self.line_width, self.point_radius, Faults(self.rules.skip, found))
        raw = self.reader.read(Path(image)) if image else self._held(path, content)
        if content.size:
            refuse_other_size(Path(image or path), raw.pixels, content.size, str(path))
        record = record_of(item.image_id, raw, regions, str(path), self.rules, [replace(f, image_id=item.image_id) for f in found])
        name = PurePosixPath(content.image_path).stem
        if image and name and composed(name) != composed(Path(image).stem):
            what = f"names the image {content.image_path}, but is used for {Path(image).name}, whose name it has"
            other = Finding("other-image-name", str(path), what, "rename one of them, or correct imagePath", image_id=item.image_id)
            record = replace(record, findings=(*record.findings, other))
        return record

    def _part(self, part: Part) -> list[Item]:
        images = folder_below(Path(self.root), self.images, part, "data.source.images")
        folder = folder_below(Path(self.root), self.annotations, part, "data.source.annotations")
        found = pictures(images, "")
        files = by_stem(folder, (".json",))
        if not files:
            raise DataError(f"{folder}: holds no JSON files; set data.source.annotations", kind="missing-file")
        pairs = {name: found.get(name) for name in sorted(files, key=natural_key)}
        lost = []
        for name in [name for name, image in pairs.items() if image is None]:
            image, held = self._named(files[name], images)
            if image is None and not held:
                lost.append(name)
            elif image and (other := next((n for n, i in pairs.items() if i == image), None)) is not None:
                raise DataError(f"{files[name]}: is of the image {image}, and so is {files[other]}; remove one of the two")
            pairs[name] = image
        if len(lost) == len(files):
            raise DataError(
                f"{folder}: none of its {len(files)} JSON files has an image; set data.source.images, or add the images",
                kind="label-without-image",
            )
        if lost:
            what = f"{len(lost)} JSON files have no image and are left out, such as {files[lost[0]].name}"
            fix = f"add the image to {images}, or set data.source.images"
            self.findings.append(Finding("label-without-image", str(folder), what, fix))
        self._look_for_missing(images, folder, sorted(set(found.values()) - set(pairs.values())))
        return [_item(name, part.split, image, files[name], images) for name, image in pairs.items() if name not in lost]

    def _named(self, path: Path, images: Path) -> tuple[Path | None, bool]:
        """The image that a file's imagePath names, by its path or in the folder of images; and whether the file holds its own."""
        content = read_labelme(path)
        name = PurePosixPath(content.image_path)
        for place in (Path(normpath(path.parent / name)), images / name.name):
            if is_picture(place) and is_file(place) and place.resolve().is_relative_to(Path(self.root).resolve()):
                return place, False
        return None, content.encoded is not None

    def _look_for_missing(self, images: Path, folder: Path, missing: Sequence[Path]) -> None:
        if not missing:
            return
        if not self.skip_unlabelled:
            more = f" (and {len(missing) - 1} more images without one)" if len(missing) > 1 else ""
            raise DataError(
                f"{missing[0]}: has no JSON file {missing[0].stem}.json in {folder}{more}; save one with LabelMe (without shapes, if the "
                "image holds no object), or leave such images out with data.source.skip_unlabelled=true",
                kind="image-without-label",
            )
        what = f"{len(missing)} images have no JSON file and are left out, such as {missing[0].name}"
        self.findings.append(Finding("image-without-label", str(images), what))

    def _held(self, path: Path, content: LabelmeFile) -> RawImage:
        """The image that a JSON file holds."""
        data = content.encoded or b""
        own = PurePosixPath(content.image_path).suffix.lower()
        suffix = next((s for magic, s in MAGIC.items() if data.startswith(magic)), own if own in IMAGE_SUFFIXES else ".png")
        return self.reader.decode(data, path.with_suffix(suffix))


def _item(name: str, part: str | None, image: Path | None, path: Path, images: Path) -> Item:
    names = {name, path.name}
    if image is not None:
        names |= {image.name, image.stem}
        if image.is_relative_to(images):
            names.add(image.relative_to(images).as_posix())
    return Item(name, part, (str(image or ""), str(path)), tuple(sorted(names)))
