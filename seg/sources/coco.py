"""`coco`: a COCO "instances" file and a folder of images (https://cocodataset.org/#format-data); LVIS is of this form, too."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from seg.core.errors import AnnotationError
from seg.raw.record import Finding
from seg.sources.annotation_file import AnnotatedImage, AnnotationFile
from seg.sources.class_map import check_choice
from seg.sources.coco_file import Annotation, CocoFile, parts_of_segmentation, read_coco
from seg.sources.pairing import Part
from seg.sources.regions import Region

FEW_CROWDS = 0.05  # share of a file's regions: COCO's own has 1 %


class Coco(AnnotationFile):
    """The labels of regions are the names of their categories. The other arguments are as for `AnnotationFile` and `Regions`.

    crowds: what regions with iscrowd=1 are: "ignore", regions of uncounted things that count nowhere, as COCO has it; or "instances", one
    object each, as CVAT writes its brush masks. boxes: whether regions of a box alone become rectangles, or are left out ("skip"); else
    they are refused. holes: polygons inside others of the same annotation are holes; COCO adds them. Crowds lie beneath an image's
    instances in the class map."""

    holes: bool
    crowds: str = "ignore"
    boxes: bool | Literal["skip"] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("data.source.crowds", self.crowds, ("ignore", "instances"))

    def images_of(self, path: Path, part: Part) -> Iterable[AnnotatedImage]:
        content = read_coco(path, self.faults)
        self.named = {*(self.named or ()), *content.categories.values()}
        boxed: list[Annotation] = []
        for key, (name, size) in content.pictures.items():
            yield AnnotatedImage(name, size, self._regions(path, content.annotations[key], content, boxed))
        if boxed:
            kept = "become rectangles" if self.boxes is True else "are left out"
            what = f"{len(boxed)} annotations are boxes alone, such as annotation {boxed[0].annotation_id}, and {kept}"
            self.findings.append(Finding("box-alone", str(path), what))
        if self.crowds == "ignore":
            self._note_crowds(path, [a for annotations in content.annotations.values() for a in annotations])

    def _regions(self, path: Path, annotations: Sequence[Annotation], content: CocoFile, boxed: list[Annotation]) -> list[Region]:
        regions = []
        for annotation in annotations:
            where = f"{path}, annotation {annotation.annotation_id}"
            with self.faults.entry():
                if not annotation.segmentation:
                    if annotation.box is None or self.boxes is False:
                        fix = "add polygons or RLE, make a rectangle of it with data.source.boxes=true, or leave such annotations out with"
                        more = "data.source.boxes=skip; task=detection learns boxes alone"
                        raise AnnotationError(f"{where}: has no 'segmentation', and a box alone is no mask; {fix} {more}")
                    boxed.append(annotation)
                    if self.boxes == "skip":
                        continue
                parts = parts_of_segmentation(annotation)
                crowd = annotation.crowd and self.crowds == "ignore"
                regions.append(Region(f"annotation {annotation.annotation_id}", content.categories[annotation.category_id], parts, crowd))
        return regions

    def _note_crowds(self, path: Path, annotations: Sequence[Annotation]) -> None:
        crowds = [a for a in annotations if a.crowd]
        if len(crowds) <= FEW_CROWDS * len(annotations):
            return
        share = "all" if len(crowds) == len(annotations) else f"{len(crowds)} of the"
        have = f"{share} {len(annotations)} annotations have iscrowd=1, such as annotation {crowds[0].annotation_id}"
        what = f"{have}, and are ignored: neither learned nor counted"
        fix = "CVAT writes iscrowd=1 for each object that was drawn with the brush: then set data.source.crowds=instances"
        self.findings.append(Finding("many-crowds", str(path), what, fix))
