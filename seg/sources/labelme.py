"""`labelme`: images, and a JSON file of LabelMe for each, beside it or in a folder of their own."""

from collections.abc import Sequence
from dataclasses import replace
from os.path import normpath
from pathlib import Path, PurePosixPath

from seg.core.errors import DataError
from seg.core.natural import natural_key
from seg.data.imagefile import IMAGE_SUFFIXES
from seg.data.sample import ClassInfo
from seg.raw.findings import Finding
from seg.raw.record import Item, Record
from seg.sources.annotation_file import refuse_other_size
from seg.sources.images import ImageReader, RawImage
from seg.sources.labelme_file import LabelmeFile, read_labelme, regions_of
from seg.sources.outlines import refuse_no_width
from seg.sources.pairing import Part, folder_below, is_picture, parts_of, pictures
from seg.sources.regions import record_of, rules_of
from seg.sources.settings import Split

MAGIC = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg"}


class Labelme:
    """Images under `root`/`images`, JSON files of the same relative name under `root`/`annotations`; both may be one folder.

    A JSON file without an image of its name is of the one that its imagePath names, or of the one that it holds
    (imageData). skip_unlabelled: leave images without a JSON file out, do not refuse them. line_width, point_radius: pixels
    of lines, and around points. Shapes of one label and group_id are one object; holes: polygons inside others of the same
    object are holes. `{split}` in `images` and `annotations` stands for train, val and test where the split is given by
    folders.
    """

    with_instances = True

    def __init__(
        self,
        root: str,
        images: str,
        annotations: str,
        skip_unlabelled: bool,
        line_width: float,
        point_radius: float,
        holes: bool,
        ignore: list[str],
        drop: list[str],
        others: str,
        classes: Sequence[ClassInfo],
        reader: ImageReader,
        split: Split,
    ) -> None:
        refuse_no_width(line_width=line_width, point_radius=point_radius)
        self.findings: list[Finding] = []
        self.root, self.images, self.annotations, self.skip_unlabelled = Path(root), images, annotations, skip_unlabelled
        self.parts = parts_of(split, "{split}", images=images, annotations=annotations)
        self.line_width, self.point_radius = line_width, point_radius
        self.rules, self.reader = rules_of(classes, ignore, drop, others, holes), reader

    def items(self) -> list[Item]:
        return [item for part in self.parts for item in self._part(part)]

    def read(self, item: Item) -> Record:
        image, path = item.files[0], Path(item.files[1])
        content = read_labelme(path)
        regions = regions_of(path, content.shapes, self.line_width, self.point_radius)
        raw = self.reader.read(Path(image)) if image else self._held(path, content)
        if content.size:
            refuse_other_size(Path(image or path), raw.pixels, content.size, str(path))
        record = record_of(item.image_id, raw, regions, str(path), self.rules)
        name = PurePosixPath(content.image_path).stem
        if image and name and name != Path(image).stem:
            what = f"names the image {content.image_path}, but is used for {Path(image).name}, whose name it has"
            found = Finding("other-image-name", str(path), what, "rename one of them, or correct imagePath", image_id=item.image_id)
            record = replace(record, findings=(*record.findings, found))
        return record

    def _part(self, part: Part) -> list[Item]:
        images = folder_below(self.root, self.images, part, "data.source.images")
        folder = folder_below(self.root, self.annotations, part, "data.source.annotations")
        found = pictures(images, "")
        files = {p.relative_to(folder).with_suffix("").as_posix(): p for p in sorted(folder.rglob("*.json")) if p.name[0] != "."}
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
            if is_picture(place) and place.is_file() and place.resolve().is_relative_to(self.root.resolve()):
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
