"""`class_files`: for each image a black and white mask file a class."""

import json
import re
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import field
from pathlib import Path

import numpy as np

from seg.core.errors import ConfigError, DataError
from seg.data.imagefile import IMAGE_SUFFIXES
from seg.data.sample import IGNORE, Sample, no_instances
from seg.raw.record import Finding, Item, Record, of_several
from seg.sources.base import Named
from seg.sources.class_map import DROP, background_of, check_choice
from seg.sources.listing import by_stem
from seg.sources.masks import binary_mask
from seg.sources.pairing import Layout, Part, folder_below, image_item, images_of, leave_out, parts_of, refuse_other_size

EXAMPLE = "masks/{class}/{image}, masks/{image}/{class} or masks/{image}_{class}"


class ClassFiles(Named):
    """Images under `root`/`images`, masks where `root`/`masks` says: black, and one other value where the class is. A file that is not
    there means that the image has nothing of the class. Where overlap=last, ignored labels come after all classes."""

    images: str
    masks: str
    image_suffix: str
    overlap: str
    skip_unlabelled: bool
    threshold: int | None = None

    with_instances: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        masks = self.masks
        if masks.count("{image}") != 1 or masks.count("{class}") != 1:
            raise ConfigError(f"data.source.masks={masks}: expected {{image}} and {{class}} in it, once each, as in {EXAMPLE}")
        check_choice("data.source.overlap", self.overlap, ("refuse", "last"))
        self.parts = parts_of(self.split, "{split}/images", images=self.images, masks=masks)
        # the folder that all masks lie below, and the rest of their names
        fixed = masks[: min(masks.index("{image}"), masks.index("{class}"))]
        folder, self.slash, _ = fixed.rpartition("/")
        self.pattern = masks.removeprefix(folder + self.slash)
        self.layout = Layout(Path(self.root), self.images, folder or ".", self.image_suffix, "", self.skip_unlabelled)
        self.class_map = self.named_classes()
        self.background = background_of(self.classes)

    def read(self, item: Item) -> Record:
        path = Path(item.files[0])
        raw = self.reader.read(path)
        height, width = raw.pixels.shape[:2]
        semantic = np.full((height, width), self.background, np.uint8)
        claimed = np.zeros(semantic.shape, bool)
        by_class: dict[int, list[str]] = {}
        for index, name in zip(json.loads(item.labels), item.files[1:], strict=True):
            by_class.setdefault(index, []).append(name)
        by_class.pop(DROP, None)
        for index, files in sorted(by_class.items()):
            mask = np.zeros(semantic.shape, bool)
            for file in map(Path, files):
                drawn = binary_mask(file, self.threshold)
                refuse_other_size(file, drawn.shape, path, semantic.shape)
                mask |= drawn
            if self.overlap == "refuse" and (both := mask & claimed).any():
                raise DataError(f"{files[0]}: {self._claims(both, semantic, index)}")
            semantic[mask] = index
            claimed |= mask
        return raw.record(Sample(item.image_id, raw.pixels, semantic, *no_instances(height, width)))

    def _claims(self, both: np.ndarray, semantic: np.ndarray, index: int) -> str:
        name = {IGNORE: "data.source.ignore"} | {number: c.name for number, c in enumerate(self.classes)}
        rivals = Counter(semantic[both].tolist()).most_common()
        told = ", ".join(f"{count} by {name[rival]}" for rival, count in rivals)
        claims = f"{int(both.sum())} pixels that it has as {name[index]} are claimed by other classes too ({told})"
        return f"{claims}; correct the masks, or let the later class of data.classes win with data.source.overlap=last"

    def _part(self, part: Part) -> list[Item]:
        layout = self.layout
        images, masks = images_of(layout, part), folder_below(layout.root, layout.masks, part, "data.source.masks")
        folder = folder_below(layout.root, layout.images, part, "data.source.images")
        labels: dict[str, list[tuple[int, str]]] = {name: [] for name in images}
        unknown, unused = dict[str, Path](), list[str]()
        own = set(images.values())
        for name, path in by_stem(masks, IMAGE_SUFFIXES).items():
            if path in own:
                continue
            if (parsed := self._parsed(name, images)) is None:
                unused.append(path.name)
                continue
            image, label = parsed
            if (index := self.class_map.get(label)) is None:
                unknown.setdefault(label, path)
            else:
                labels[image].append((index, str(path)))
        if unknown:
            raise self.class_map.unknown(next(iter(unknown.values())), list(unknown))
        missing = [images[name] for name, files in labels.items() if not files]
        place = self.pattern.replace("{image}", next((name for name, files in labels.items() if not files), ""))
        fix = "add one (all black, if it holds no class), set data.source.masks"
        leave_out(self.findings, folder, missing, layout.skip_unlabelled, "mask", f"mask {masks / place}.*", fix)
        self.findings += of_several("label-without-image", masks, unused, "masks have no image and are left out")
        self._note_absent(masks, [{index for index, _ in files} for files in labels.values() if files])
        return [
            image_item(name, part, folder, images[name], [path for _, path in files], json.dumps([index for index, _ in files]))
            for name, files in labels.items()
            if files
        ]

    def _parsed(self, name: str, images: Container[str]) -> tuple[str, str] | None:
        """Of which image and class a file is by its name; a known class is preferred, then the longest name of an image."""
        before, first, between, _, after = re.split(r"\{(image|class)\}", self.pattern)
        if not (name.startswith(before) and name.endswith(after)):
            return None
        inner = name[len(before) : len(name) - len(after)]
        halves = [(inner[:i], inner[i + len(between) :]) for i in range(len(inner)) if inner.startswith(between, i)]
        pairs = [(left, right) if first == "image" else (right, left) for left, right in halves]
        possible = [(image, label) for image, label in pairs if image in images and label]
        return max(possible, key=lambda pair: (pair[1] in self.class_map.lookup, len(pair[0])), default=None)

    def _note_absent(self, masks: Path, present: Sequence[set[int]]) -> None:
        for index, info in enumerate(self.classes):
            absent = sum(index not in classes for classes in present)
            if absent and not (index == 0 and self.background == 0):
                what = f"{absent} of {len(present)} images have no file of the class {info.name}, which counts as absent there"
                self.findings.append(Finding("absent-class-file", str(masks), what))
