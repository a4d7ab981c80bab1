"""Augmentation policies: albumentations applied to a Sample, image and label maps together.

The label maps travel as one stack of planes with class c stored as c + 1 and 255 (ignore) as 0, like the id maps'
"none". So a border that a transform fills with 0 is ignored, whatever that transform calls its fill.
"""

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from seg.environment import prepare_environment
from seg.errors import ConfigError, InputError
from seg.sample import Sample
from seg.schema import Target
from seg.targets import build

prepare_environment()  # albumentations looks for newer versions when it is imported

import albumentations as A  # noqa: E402


class Policy:
    """A compiled policy. A draw depends on the sample and the seed alone, not on the process or on earlier draws."""

    def __init__(self, compose: A.Compose) -> None:
        self.compose = compose
        for transform in _walk(compose):
            if getattr(transform, "fill_mask", None) is not None:
                transform.fill_mask = 0
            if hasattr(transform, "mask_interpolation"):
                transform.mask_interpolation = cv2.INTER_NEAREST

    def __call__(self, sample: Sample, seed: int) -> Sample:
        if not self.compose.transforms:
            return sample
        # one stream for all: albumentations' set_random_seed gives each transform the same one, and every coin falls alike
        self.compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        drawn = self.compose(image=sample.image, mask=_pack(sample))
        semantic, instances = _unpack(drawn["mask"])
        image = np.ascontiguousarray(drawn["image"])
        if image.ndim == 2:
            image = image[:, :, None]
        return Sample(sample.image_id, image, semantic, instances, sample.categories, sample.crowd)

    def to_json(self) -> str:
        """albumentations' own serialisation."""
        return json.dumps(A.to_dict(self.compose), indent=1, sort_keys=True, default=_plain) + "\n"


def compile_policy(transforms: Sequence[Target], allow: Sequence[str]) -> Policy:
    """The policy that `augment.transforms` describes; ConfigError where a transform refuses its arguments."""
    built = []
    for number, target in enumerate(transforms):
        key = f"augment.transforms[{number}]"
        transform = build(target, allow, key, {})
        if not isinstance(transform, A.BasicTransform | A.BaseCompose):
            raise ConfigError(f"{key}._target_={target.target}: is not a transform of albumentations")
        built.append(transform)
    return Policy(A.Compose(built))


def load_policy(text: str) -> Policy:
    """The policy that `Policy.to_json` wrote."""
    return Policy(A.from_dict(json.loads(text)))


def check_policy(policy: Policy, samples: Sequence[Sample], draws: int, seed: int) -> None:
    """Apply the policy to real samples; ConfigError where it fails on them or does not give an 8-bit image with its labels."""
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
                raise ConfigError(
                    f"augment.transforms: made a {drawn.image.dtype} image of {channels} channels from {sample.image_id}, expected uint8 "
                    f"with {wanted}; leave Normalize and ToTensorV2 out (normalisation belongs to the model)"
                )
            if drawn.image.shape[:2] != drawn.semantic.shape:
                raise ConfigError(f"augment.transforms: image and labels of {sample.image_id} came out in different sizes")


def _pack(sample: Sample) -> np.ndarray:
    """(H, W) uint8 without instances, else (H, W, 1 + L) uint16 (float32 beyond 65,535 ids), which OpenCV can warp."""
    shifted = sample.semantic + np.uint8(1)  # 255 wraps to 0
    if not sample.instances.shape[2]:
        return shifted
    kind = np.uint16 if len(sample.categories) < 1 << 16 else np.float32
    return np.dstack([shifted.astype(kind), sample.instances.astype(kind)])


def _unpack(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if planes.ndim == 2:
        return planes - np.uint8(1), np.zeros((*planes.shape, 0), np.int32)
    return planes[..., 0].astype(np.uint8) - np.uint8(1), planes[..., 1:].astype(np.int32)


def _walk(transform: Any) -> Iterator[Any]:
    yield transform
    for child in getattr(transform, "transforms", ()):
        yield from _walk(child)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise ConfigError(f"augment.transforms: the argument {value!r} cannot be written to policy.json; use plain values")
