"""Samples of instances: the classes that an instance may have, and what id maps, or maps of segments that share no pixel, make."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seg.core.errors import ConfigError, did_you_mean
from seg.data.labelmaps import semantic_from_instances
from seg.data.sample import BACKGROUND, IGNORE, ClassInfo, Sample
from seg.sources.class_map import DROP


def categories_of(classes: Sequence[ClassInfo]) -> dict[str, int]:
    """{name: class index} of the classes that an instance may have: all but `background`, which must come first."""
    names = [c.name for c in classes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"data.classes: the name {twice[0]} stands twice; each class needs its own")
    if BACKGROUND in names[1:]:
        raise ConfigError(f"data.classes: {BACKGROUND}, the class of pixels without instance, must come first, or be left out")
    return {name: index for index, name in enumerate(names) if name != BACKGROUND}


def category_index(name: str, categories: Mapping[str, int], key: str) -> int:
    """The class index of a name that a setting has; ConfigError where no instance may be of it."""
    if name not in categories:
        raise ConfigError(f"data.source.{key}={name}: no class of data.classes has this name; {did_you_mean(name, categories, 'classes')}")
    return categories[name]


def background_of(classes: Sequence[ClassInfo]) -> int:
    """The class index of pixels of no instance: 0 where the class list starts with `background`, else 255 (ignored)."""
    return 0 if classes[0].name == BACKGROUND else IGNORE


def instance_sample(
    image_id: str, image: np.ndarray, instances: np.ndarray, categories: np.ndarray, crowd: np.ndarray, background: int
) -> Sample:
    """A Sample whose class map is derived from its instances. background: as `background_of` gives it.

    image: (H, W, C) uint8. instances: (H, W, L) int32 layered id map. categories: (N,) class indices. crowd: (N,) bool.
    """
    categories, crowd = categories.astype(np.int32), crowd.astype(bool)
    return Sample(image_id, image, semantic_from_instances(instances, categories, crowd, background), instances, categories, crowd)


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
