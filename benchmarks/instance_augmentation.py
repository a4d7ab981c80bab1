"""What instances add to augmentation: one draw of conf/augment/medium.yaml from an image with 100 discs.

    python benchmarks/instance_augmentation.py --rounds 200

Timed are the image alone; ours: image, class map and id map, visible shares, new ids, boxes and areas; and albumentations'
usual way: 100 binary masks as `masks=`, and a box derived from each. All run shuffled in one process with one thread, a round
with one seed for all of them, with freed memory kept as in training; processor time is taken, so that neighbours count
little. The image alone is timed twice (A/A): the ratio of the two says how far the other ratios can be trusted. A ratio is
the median over the rounds of (variant's time / the image's in the same round); in brackets the middle half of them. As
rounds draw different transforms, the last column gives the ratio of the sums over all rounds, too.
"""

import argparse
import os
import random

os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Callable
from pathlib import Path
from time import process_time_ns

import cv2
import numpy as np

from seg.augment.policy import Policy, compile_policy
from seg.configure.compose import compose
from seg.configure.config import checked
from seg.core.environment import keep_freed_memory
from seg.data.labelmaps import layers_from_masks, measure, semantic_from_instances
from seg.data.sample import Sample

Variant = Callable[[int], object]
"""A call that makes the draw of one seed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="height and width in pixels")
    parser.add_argument("--instances", type=int, default=100)
    parser.add_argument("--policy", default="medium", help="an option of conf/augment")
    parser.add_argument("--rounds", type=int, default=200)
    given = parser.parse_args()
    keep_freed_memory()
    cv2.setNumThreads(1)
    config = checked(compose(Path(__file__).resolve().parents[1] / "conf", [f"augment={given.policy}"])[0])
    policy, sample = compile_policy(config.augment, config.targets.allow), discs(given.size, given.instances)
    times = measure_times(make_variants(policy, sample), given.rounds)
    layers = sample.instances.shape[2]
    print(
        f"policy {given.policy}, {given.size}x{given.size} pixels, {given.instances} instances in {layers} layer(s), {given.rounds} rounds"
    )
    print(f"{'':<36}{'median':>10}{'ratio to the image alone':>34}{'of sums':>10}")
    for name, spent in times.items():
        low, middle, high = np.quantile(spent / times["image alone"], [0.25, 0.5, 0.75])
        total = spent.sum() / times["image alone"].sum()
        print(f"{name:<36}{np.median(spent) / 1e6:>7.2f} ms{f'{middle:.2f} ({low:.2f}..{high:.2f})':>34}{total:>10.2f}")


def discs(size: int, count: int) -> Sample:
    """An image of soft colours with `count` discs on a grid, which cover about a third of it and hardly overlap."""
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(256, size=(32, 32, 3), dtype=np.uint8), (size, size))
    side = int(np.ceil(count**0.5))
    masks = np.zeros((count, size, size), np.uint8)
    for number, mask in enumerate(masks):
        centre = [int((place + 0.5) * size / side) for place in divmod(number, side)]
        cv2.circle(mask, centre, int(rng.uniform(0.2, 0.45) * size / side), 1, -1)
    instances = layers_from_masks(masks, size, size)
    categories, crowd = np.ones(count, np.int32), np.zeros(count, bool)
    return Sample("discs", image, semantic_from_instances(instances, categories, crowd, 0), instances, categories, crowd)


def make_variants(policy: Policy, sample: Sample) -> dict[str, Variant]:
    masks = [np.ascontiguousarray((sample.instances == i + 1).any(axis=2), np.uint8) for i in range(len(sample.categories))]

    def image_alone(seed: int) -> object:
        policy.compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        return policy.compose(image=sample.image)

    def ours(seed: int) -> object:
        drawn = policy(sample, seed)
        return drawn, measure(drawn.instances, len(drawn.categories))

    def mask_stack(seed: int) -> object:
        policy.compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        drawn = policy.compose(image=sample.image, masks=masks)
        return drawn, [box_and_area(mask) for mask in drawn["masks"]]

    return {"image alone": image_alone, "image alone again (A/A)": image_alone, "ours": ours, "albumentations, masks=": mask_stack}


def box_and_area(mask: np.ndarray) -> tuple[int, int, int, int, int]:
    """(x, y, width, height, area) of a binary mask, by OpenCV, the fastest way known for one mask."""
    x, y, width, height = cv2.boundingRect(mask)
    return x, y, width, height, cv2.countNonZero(mask)


def measure_times(variants: dict[str, Variant], rounds: int) -> dict[str, np.ndarray]:
    """Nanoseconds of processor time of each variant in each round, after five rounds to warm up."""
    times: dict[str, list[int]] = {name: [] for name in variants}
    rng, names = np.random.default_rng(0), list(variants)
    for number in range(rounds + 5):
        for index in rng.permutation(len(names)):
            start = process_time_ns()
            variants[names[index]](number)
            if number >= 5:
                times[names[index]].append(process_time_ns() - start)
    return {name: np.array(spent, float) for name, spent in times.items()}


if __name__ == "__main__":
    main()
