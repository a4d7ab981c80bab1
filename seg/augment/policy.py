"""Augmentation policies: albumentations applied to a Sample, image and label maps together.

The class map alone travels as a plane with class c stored as c + 1 and 255 (ignore) as 0; beside instances all label maps
follow a pixel map (see `seg.augment.adapted`). So a border that a transform fills with 0 is ignored and holds no instance,
whatever that transform calls its fill."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from seg.augment.adapted import adapt, identity, look_up, seen
from seg.augment.crop import Windows
from seg.augment.instances import Drawn, ignore_cut, paste_some
from seg.augment.overlap import Stored
from seg.augment.settings import Augment, CopyPaste, Crop, Instances
from seg.core.environment import prepare_environment
from seg.core.errors import ConfigError, DataError, InputError
from seg.data.labelmaps import areas_of
from seg.data.sample import ClassInfo, Sample
from seg.settings.section import Section
from seg.settings.targets import build

prepare_environment()  # albumentations looks for newer versions when it is imported

import albumentations as A  # noqa: E402


class Policy:
    """A compiled policy. A draw depends on the sample and the seed alone, not on the process or on earlier draws."""

    def __init__(self, compose: A.Compose, instances: Instances, copy_paste: CopyPaste, crop: Windows | None = None) -> None:
        self.compose, self.instances, self.copy_paste, self.crop = compose, instances, copy_paste, crop
        for transform in _walk(compose):
            adapt(transform)

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """A draw of one image alone."""
        changes = self.compose.transforms or self.crop
        return self._cut_ignored(self.draw(sample, seed)).sample if changes else sample

    def draw_from(self, read: Callable[[int], Sample], num_images: int, index: int, seed: int) -> Sample:
        """A draw of image `index` of those that `read` gives, with instances of another where copy-paste says so."""
        if not self.copy_paste.p:
            return self(read(index), seed)
        target = self.draw(read(index), seed)
        rng = np.random.default_rng([seed, 1])  # a stream of its own: target and policy are drawn as without copy-paste
        if num_images > 1 and rng.random() < self.copy_paste.p:
            other = (index + int(rng.integers(1, num_images))) % num_images
            source = self._cut_ignored(self.draw(read(other), int(rng.integers(1 << 32))))
            target = paste_some(target, source, rng, self.copy_paste.max_instances)
        return self._cut_ignored(target).sample

    def window(self, sample: Sample, seed: int) -> Drawn | None:
        """The part of the image that the transforms see; None: all of it."""
        return self.crop.cut(sample, np.random.default_rng([seed, 2])) if self.crop else None  # other draws do not move by it

    def draw(self, sample: Sample, seed: int) -> Drawn:
        """Image and labels as drawn; instances keep their ids, also those that are no longer in the picture."""
        if (window := self.window(sample, seed)) is None:
            return self._transform(sample, seed)
        drawn = self._transform(window.sample, seed)
        return replace(drawn, visible=drawn.visible * window.visible)

    def _transform(self, sample: Sample, seed: int) -> Drawn:
        # one stream for all: albumentations' set_random_seed gives each transform the same one, and every coin falls alike
        self.compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        count, has_layers = len(sample.categories), sample.instances.shape[2] > 0
        plane = identity(*sample.size) if has_layers else sample.semantic + np.uint8(1)  # 255 wraps to 0
        result = self.compose(image=sample.image, mask=plane, stored=(held := Stored(sample.instances if has_layers and count else None)))
        image, pixels = np.ascontiguousarray(np.atleast_3d(result["image"])), result["mask"]
        if not has_layers:
            labels = pixels - np.uint8(1), np.zeros((*pixels.shape, 0), np.int32)
            return Drawn(_labelled(sample, image, *labels), np.zeros(count, np.int64), np.zeros(count))
        areas = areas_of(sample.instances, count)
        if pixels is plane:  # nothing was moved
            return Drawn(_labelled(sample, image, sample.semantic, sample.instances), areas, np.ones(count))
        semantic, instances = look_up(pixels, sample.semantic, sample.instances)
        drawn_areas, stored = seen(pixels, instances, sample.size[1], count)
        visible = stored / np.maximum(areas, 1)
        visible[[number - 1 for number in held.gone]] = -1.0  # less than any share that an instance must have
        return Drawn(_labelled(sample, image, semantic, instances), drawn_areas, visible)

    def _cut_ignored(self, drawn: Drawn) -> Drawn:
        return ignore_cut(drawn, self.instances.min_visible, self.instances.min_area)

    def to_json(self) -> str:
        """The transforms in albumentations' own serialisation, and the settings of windows, instances and copy-paste."""
        settings: dict[str, Section] = {"instances": self.instances, "copy_paste": self.copy_paste}
        if self.crop:  # files of earlier versions have no such key
            settings["crop"] = self.crop.settings
        content = {"transforms": A.to_dict(self.compose), **{name: section.model_dump() for name, section in settings.items()}}
        return json.dumps(content, indent=1, sort_keys=True, default=_plain) + "\n"


def compile_policy(augment: Augment, allow: Sequence[str], classes: Sequence[ClassInfo] = ()) -> Policy:
    """The policy that the section `augment` describes, for a data set's classes; ConfigError where a transform refuses its arguments."""
    built = []
    for number, target in enumerate(augment.transforms):
        key = f"augment.transforms[{number}]"
        transform = build(target, allow, key, {})
        if not isinstance(transform, A.BasicTransform | A.BaseCompose):
            raise ConfigError(f"{key}._target_={target.target}: is not a transform of albumentations")
        built.append(transform)
    crop = Windows(augment.crop, classes) if augment.crop else None
    return Policy(A.Compose(built), augment.instances, augment.copy_paste, crop)


def load_policy(text: str, classes: Sequence[ClassInfo] = ()) -> Policy:
    """The policy that `Policy.to_json` wrote; DataError where the text is of another version. classes: of the data set."""
    try:
        content = json.loads(text)
        instances, copy_paste = Instances.model_validate(content["instances"]), CopyPaste.model_validate(content["copy_paste"])
        crop = Windows(Crop.model_validate(content["crop"]), classes) if "crop" in content else None
        return Policy(A.from_dict(content["transforms"]), instances, copy_paste, crop)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"policy.json: is not a policy of this version ({type(error).__name__}); run `seg augment` again") from None


def check_policy(policy: Policy, samples: Sequence[Sample], draws: int, seed: int) -> None:
    """Apply the policy to real samples; ConfigError where it fails on them or does not give an 8-bit image with its labels."""
    for sample in samples[:1]:
        window = policy.window(sample, seed)
        _refuse_channels(policy, window.sample if window else sample)
    for sample in samples:
        for draw in range(draws):
            try:
                drawn = policy(sample, seed + draw)
            except InputError:
                raise
            except Exception as error:  # each transform fails in ways of its own
                size = "x".join(map(str, sample.image.shape))
                reason = " ".join(str(error).split())
                raise ConfigError(f"augment.transforms: fails on the image {sample.image_id} ({size}): {reason}") from None
            channels, wanted = drawn.image.shape[2], sample.image.shape[2]
            if drawn.image.dtype != np.uint8 or channels != wanted:
                what = f"augment.transforms: made a {drawn.image.dtype} image of {channels} channels from {sample.image_id}, expected uint8"
                raise ConfigError(f"{what} with {wanted}; leave Normalize and ToTensorV2 out (normalisation belongs to the model)")
            if drawn.image.shape[:2] != drawn.semantic.shape:
                raise ConfigError(f"augment.transforms: image and labels of {sample.image_id} came out in different sizes")


def _refuse_channels(policy: Policy, sample: Sample) -> None:
    """Raise ConfigError for a transform that takes RGB, but not the sample's channels; by chance few draws may apply it."""
    channels = sample.image.shape[2]
    of_rgb = np.ascontiguousarray(np.resize(sample.image.transpose(2, 0, 1), (3, *sample.size)).transpose(1, 2, 0))
    for number, outer in enumerate(policy.compose.transforms):
        for transform in _walk(outer):
            if isinstance(transform, A.BasicTransform) and _fails(transform, sample.image) and not _fails(transform, of_rgb):
                name = type(transform).__name__
                what = f"augment.transforms[{number}]: {name} takes no image of {channels} channel{'s' * (channels > 1)}, as the data has"
                raise ConfigError(f"{what}; leave it out, or set augment=light or another option without {name}")


def _fails(transform: Any, image: np.ndarray) -> bool:
    try:
        result = transform(image=image, mask=np.zeros(image.shape[:2], np.uint8), force_apply=True)["image"]
    except Exception:  # each transform fails in ways of its own
        return True
    return bool(np.atleast_3d(result).shape[2] != image.shape[2])


def _labelled(sample: Sample, image: np.ndarray, semantic: np.ndarray, instances: np.ndarray) -> Sample:
    return Sample(sample.image_id, image, semantic, instances, sample.categories, sample.crowd)


def _walk(transform: Any) -> Iterator[Any]:
    yield transform
    for child in getattr(transform, "transforms", ()):
        yield from _walk(child)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise ConfigError(f"augment.transforms: the argument {value!r} cannot be written to policy.json; use plain values")
