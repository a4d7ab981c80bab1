"""Random windows of stored images: what training draws where it sees a part of an image at once."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from seg.augment.instances import Drawn
from seg.augment.settings import Crop
from seg.data.labelmaps import areas_of, mask_of, measure
from seg.data.sample import BACKGROUND, IGNORE, ClassInfo, Sample

Place = tuple[int, int]  # row and column of a pixel
PART = 1 << 16  # pixels that are looked at together: a mask of all would be a copy of the image


class Windows:
    """Windows of one size. A share `foreground` of them holds a random pixel of an instance, or, without instances, of a class: each that
    the image shows is as likely, the background left aside. The others lie anywhere. classes: of the data set. One that is called
    `background` is the background."""

    def __init__(self, settings: Crop, classes: Sequence[ClassInfo]) -> None:
        self.settings, self.size = settings, (settings.size[0], settings.size[1])
        self.background = [index for index, c in enumerate(classes) if c.name.lower() == BACKGROUND]

    def cut(self, sample: Sample, rng: np.random.Generator) -> Drawn:
        """A window of the sample, whose instances keep their ids. Where the image is smaller, it is whole, and followed at the right and
        bottom by ignored pixels that show its reflection."""
        count = len(sample.categories)
        areas, boxes = measure(sample.instances, count)
        top, left = self._corner(sample, areas, boxes, rng)
        window = np.s_[top : top + self.size[0], left : left + self.size[1]]
        image, semantic, instances = (np.ascontiguousarray(m[window]) for m in (sample.image, sample.semantic, sample.instances))
        seen = areas_of(instances, count)
        found = replace(sample, image=image, semantic=semantic, instances=instances)
        return self._padded(Drawn(found, seen, seen / np.maximum(areas, 1)))

    def _padded(self, drawn: Drawn) -> Drawn:
        """A window of whole size. Beside instances, what follows the image is a crowd: else objects in it would be called background."""
        sample, (height, width) = drawn.sample, drawn.sample.size
        beyond = [(0, self.size[0] - height), (0, self.size[1] - width)]
        if (height, width) == self.size:
            return drawn
        image = np.pad(sample.image, [*beyond, (0, 0)], mode="reflect")
        semantic = np.pad(sample.semantic, beyond, constant_values=IGNORE)
        instances = np.pad(sample.instances, [*beyond, (0, 0)])
        if not instances.size or not len(sample.categories):
            return replace(drawn, sample=replace(sample, image=image, semantic=semantic, instances=instances))
        categories, crowd = np.append(sample.categories, sample.categories[:1]), np.append(sample.crowd, True)
        instances[height:, :, 0] = instances[:, width:, 0] = len(categories)
        areas = np.append(drawn.areas, self.size[0] * self.size[1] - height * width)
        return Drawn(Sample(sample.image_id, image, semantic, instances, categories, crowd), areas, np.append(drawn.visible, 1.0))

    def _corner(self, sample: Sample, areas: np.ndarray, boxes: np.ndarray, rng: np.random.Generator) -> Place:
        most = [max(0, there - ours) for there, ours in zip(sample.size, self.size, strict=True)]
        least = [0, 0]
        if not any(most):
            return 0, 0
        held = self._held(sample, areas, boxes, rng) if rng.random() < self.settings.foreground else None
        if held:
            least = [min(m, max(0, at - ours + 1)) for m, at, ours in zip(most, held, self.size, strict=True)]
            most = [min(m, at) for m, at in zip(most, held, strict=True)]
        top, left = rng.integers(least, most, endpoint=True).tolist()
        return top, left

    def _held(self, sample: Sample, areas: np.ndarray, boxes: np.ndarray, rng: np.random.Generator) -> Place | None:
        """A random pixel that the window is to hold; None where the image shows nothing to choose from."""
        if len(areas):
            candidates = np.flatnonzero((areas > 0) & ~sample.crowd)
            if not len(candidates):
                return None
            chosen = int(rng.choice(candidates))
            x1, y1, x2, y2 = boxes[chosen].tolist()
            pixels = np.flatnonzero(mask_of(sample.instances[y1:y2, x1:x2], chosen + 1))
            y, x = divmod(int(rng.choice(pixels)), x2 - x1)
            return y1 + y, x1 + x
        labels = np.ascontiguousarray(sample.semantic)
        shown = cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel() > 0
        shown[[IGNORE, *self.background]] = False
        classes = np.flatnonzero(shown)
        if not len(classes):
            return None
        chosen = int(rng.choice(classes))
        parts = [labels.reshape(-1)[start : start + PART] for start in range(0, labels.size, PART)]
        up_to = np.cumsum([np.count_nonzero(part == chosen) for part in parts])
        number = int(rng.integers(up_to[-1]))
        index = int(np.searchsorted(up_to, number, side="right"))
        place = np.flatnonzero(parts[index] == chosen)[number - up_to[index]]  # counted from the part's end
        y, x = divmod(index * PART + int(place), sample.size[1])
        return y, x
