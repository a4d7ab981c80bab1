"""What all sources of instances share: the classes that an instance may have, and the Sample that id maps make."""

from collections.abc import Sequence

import numpy as np

from seg.core.errors import ConfigError
from seg.data.labelmaps import semantic_from_instances
from seg.data.sample import BACKGROUND, IGNORE, ClassInfo, Sample


def categories_of(classes: Sequence[ClassInfo]) -> dict[str, int]:
    """{name: class index} of the classes that an instance may have: all but `background`, which must come first."""
    names = [c.name for c in classes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"data.classes: the name {twice[0]} stands twice; each class needs its own")
    if BACKGROUND in names[1:]:
        raise ConfigError(f"data.classes: {BACKGROUND}, the class of pixels without instance, must come first, or be left out")
    return {name: index for index, name in enumerate(names) if name != BACKGROUND}


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
