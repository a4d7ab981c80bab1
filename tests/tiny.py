"""Tiny raw data sets, made with numpy and OpenCV, and what is needed to prepare them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from seg.augment.settings import Augment
from seg.core.errors import InputError
from seg.data.labelmaps import layers_from_masks, semantic_from_instances
from seg.data.sample import ClassInfo, Sample
from seg.data.store import DatasetInfo, read_annotations, read_entries, read_sample
from seg.prepare.assignment import Assignment
from seg.prepare.run import prepare
from seg.raw.record import Finding, Item, Record, Source
from seg.runtime.engine import LOCAL, Engine
from seg.sources.folders import Folders
from seg.sources.images import ImageReader
from seg.sources.settings import Split

CLASSES = [
    ClassInfo("ground", (10, 20, 30)),
    ClassInfo("house", (200, 0, 0)),
    ClassInfo("tree", (0, 150, 0)),
    ClassInfo("road", (90, 90, 250)),
]
SIZE = (24, 32)  # height, width


def picture(seed: int, size: tuple[int, int] = SIZE, channels: int = 3) -> np.ndarray:
    """A smooth random image (H, W, channels) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, channels), dtype=np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC).reshape(*size, channels)


def labels(seed: int, size: tuple[int, int] = SIZE, num_classes: int = len(CLASSES)) -> np.ndarray:
    """A class map (H, W) uint8 of three random rectangles on class 0; some pixels are 255."""
    rng = np.random.default_rng([7, seed])
    classes = np.zeros(size, np.uint8)
    for _ in range(3):
        (top, left), (height, width) = rng.integers(0, size), rng.integers(3, 12, 2)
        classes[top : top + height, left : left + width] = rng.integers(0, num_classes)
    classes[0, : rng.integers(1, 5)] = 255
    return classes


def colored(classes: np.ndarray, ignored: tuple[int, int, int] = (1, 1, 1)) -> np.ndarray:
    """A class map as its colours (H, W, 3) RGB."""
    palette = np.tile(np.array(ignored, np.uint8), (256, 1))
    palette[: len(CLASSES)] = [c.color for c in CLASSES]
    return palette[classes]


def encoded(image: np.ndarray, suffix: str) -> bytes:
    """An RGB or gray array as the bytes of a file."""
    bgr = image[..., ::-1] if image.ndim == 3 and image.shape[2] == 3 else image
    done, data = cv2.imencode(suffix, np.ascontiguousarray(bgr))
    assert done
    return data.tobytes()


def write(path: Path, image: np.ndarray) -> Path:
    """Write an RGB or gray array in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(image, path.suffix.lower()))
    return path


def write_folders(root: Path, names: Sequence[str], images: str = "images", masks: str = "masks", suffix: str = ".jpg") -> Path:
    """Images and index masks of `names`; picture and labels number i have the seed i."""
    for seed, name in enumerate(names):
        write(root / images / f"{name}{suffix}", picture(seed))
        write(root / masks / f"{name}.png", labels(seed))
    return root


def split(by: str = "ratios", **changed: object) -> Split:
    """The section data.split, by default half of the images to train."""
    values = {"ratios": {"train": 0.5, "val": 0.25, "test": 0.25}, "lists": None, "folders": None, "group": None, "table": None}
    values |= {"stratify": False, "folds": 5, "seed": 0}
    return Split.model_validate({"by": by, **values, **changed})


def folders(root: Path, section: Split | None = None, **changed: object) -> Folders:
    """The source `folders`, by default with index masks where 255 is ignored."""
    arguments = {
        "images": "images",
        "masks": "masks",
        "image_suffix": "",
        "mask_suffix": "",
        "labels": "index",
        "ignore": [255],
        "others": "refuse",
        "skip_unlabelled": False,
    }
    given = {"root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": section or split()}
    return Folders(**{**arguments, **given, **changed})


def prepare_tiny(
    source: Source,
    out: Path,
    section: Split | None = None,
    root: Path | None = None,
    workers: int = 0,
    classes: Sequence[ClassInfo] = CLASSES,
    fold: int | None = None,
    store: str = "files",
    engine: Engine = LOCAL,
) -> DatasetInfo:
    """Prepare a source of the classes CLASSES, or of others."""
    return prepare(source, "tiny", classes, Assignment(section or split(), fold), root, out, workers, "none", None, store, engine)[0]


def findings_of(source: Source, out: Path, *kinds: str) -> list[str]:
    """What preparing a source of the classes CLASSES finds of these kinds, as text."""
    found = prepare(source, "tiny", CLASSES, Assignment(split(), None), None, out, 0, "none")[1]
    return [str(finding) for finding in found if finding.kind in kinds]


def refusal(
    source: Callable[[], object],
    out: Path,
    section: Split | None = None,
    root: Path | None = None,
    classes: Sequence[ClassInfo] = CLASSES,
) -> str:
    """The message that preparing ends with; nothing may be left of it."""
    with pytest.raises(InputError) as error:
        prepare_tiny(source(), out, section, root, classes=classes)
    assert [p.name for p in out.parent.iterdir() if p.name.startswith(out.name)] == []
    return str(error.value)


def masks_of(sample: Sample) -> list[np.ndarray]:
    """The binary masks (H, W) of a sample's instances, in order; whatever layers they lie in."""
    return [(sample.instances == number).any(axis=2) for number in range(1, len(sample.categories) + 1)]


def read_all(source: Source) -> dict[str, Sample]:
    return {item.image_id: source.read(item).sample for item in source.items()}


def read_back(folder: Path) -> dict[str, Sample]:
    """Every sample of a prepared data set, by its image_id."""
    found = {}
    for part in (folder / name for name in ("train", "val", "test")):
        annotations = read_annotations(part)
        found |= {e.image_id: read_sample(part, e, 3, annotations.get(e.file, ())) for e in read_entries(part)}
    return found


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its relative name."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@dataclass(frozen=True)
class Blobs:
    """A source of random overlapping objects: three layers at least, a crowd in each scene, and one scene without any."""

    with_instances: ClassVar[bool] = True
    count: int = 12
    size: tuple[int, int] = SIZE
    findings: list[Finding] = field(default_factory=list)

    def items(self) -> list[Item]:
        return [Item(f"blobs{number}", files=(str(number),)) for number in range(self.count)]

    def masks(self, number: int) -> np.ndarray:
        """The binary masks (N, H, W) bool of a scene, the topmost last."""
        rng = np.random.default_rng([3, number])
        masks = np.zeros((0 if number == 1 else 6, *self.size), bool)
        for mask in masks:
            (top, left), (height, width) = rng.integers(0, self.size), rng.integers(1, 16, 2)
            mask[top : top + height, left : left + width] = rng.random(mask[top : top + height, left : left + width].shape) < 0.9
            mask[top, left] = True
        if len(masks):
            masks[:3, 8:12, 8:12] = True
        return masks

    def read(self, item: Item) -> Record:
        number = int(item.files[0])
        masks = self.masks(number)
        instances = layers_from_masks(masks, *self.size)
        categories = np.random.default_rng(number).integers(1, len(CLASSES), len(masks)).astype(np.int32)
        crowd = np.arange(len(masks)) == 2
        semantic = semantic_from_instances(instances, categories, crowd, 0)
        return Record(Sample(item.image_id, picture(number, self.size), semantic, instances, categories, crowd))


def augment(
    *transforms: dict[str, Any],
    min_visible: float = 0.0,
    min_area: int = 0,
    p: float = 0.0,
    most: int | None = None,
    crop: dict[str, Any] | None = None,
) -> Augment:
    """The section `augment`: transforms of albumentations, or our own by full name, always applied unless they say otherwise, and by
    default no rule."""
    names = (t["_target_"] for t in transforms)
    named = [{"p": 1.0} | t | {"_target_": n if "." in n else f"albumentations.{n}"} for t, n in zip(transforms, names, strict=True)]
    rules = {"instances": {"min_visible": min_visible, "min_area": min_area}, "copy_paste": {"p": p, "max_instances": most}}
    shown = {"preview": {"images": 1, "draws": 1}, "transforms": named, "crop": crop}
    return Augment.model_validate({"name": "by hand", "copies": 0} | shown | rules)
