"""Label maps whose segments share no pixel, and what each segment is -> a Sample."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seg.data.sample import IGNORE, ClassInfo, Sample
from seg.sources.class_map import DROP
from seg.sources.instance_sample import background_of, categories_of


@dataclass(frozen=True, slots=True)
class Segment:
    """What the pixels of a segment are. index: a class's, IGNORE or DROP. thing: one object, or a crowd of them; else stuff."""

    index: int
    thing: bool
    crowd: bool = False


class SegmentClasses:
    """Makes Samples of segments for a class list.

    The class map has each segment's class, crowds included; the class `background`, or 255 without one, where a segment is
    dropped. Things are instances, but for those of the class `background`; one that is ignored is a crowd (of the first class
    that an instance may have), so that it counts neither as found nor as missed. Crowds have the lowest ids, then segments
    in their order.
    """

    def __init__(self, classes: Sequence[ClassInfo]) -> None:
        self.categories, self.background = categories_of(classes), background_of(classes)
        self.first = min(self.categories.values())
        self.nothing = Segment(self.background, thing=False)
        """What unlabelled pixels are."""

    def sample(self, image_id: str, image: np.ndarray, places: np.ndarray, segments: Sequence[Segment]) -> Sample:
        """image: (H, W, C) uint8. places: (H, W) int32, which of the segments a pixel is of."""
        index = np.array([self.background if s.index == DROP else s.index for s in segments], np.uint8)
        counted = [
            number for number, s in enumerate(segments) if s.thing and s.index != DROP and not (s.index == 0 and self.background == 0)
        ]
        crowds = {number for number in counted if segments[number].crowd or segments[number].index == IGNORE}
        ordered = sorted(counted, key=lambda number: number not in crowds)
        ids = np.zeros(len(segments), np.int32)
        ids[ordered] = np.arange(1, len(ordered) + 1)
        categories = np.array([self.first if segments[n].index == IGNORE else segments[n].index for n in ordered], np.int32)
        crowd = np.array([number in crowds for number in ordered], bool)
        return Sample(image_id, image, index[places], ids[places][:, :, None], categories, crowd)
