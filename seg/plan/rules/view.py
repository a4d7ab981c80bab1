"""What the network sees of an image: all of it at a scale, or a crop."""

from collections.abc import Iterator
from math import ceil, lcm, sqrt

import numpy as np

from seg.plan.facts import Decision, Draft, PlanFacts
from seg.plan.rules.families import like

SCALES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125)
SIDES = {"semantic": {"cpu": 256, "mps": 384, "cuda": 512}, "instance": {"cpu": 320, "mps": 512, "cuda": 800}}
"""Of the square that the network sees of an image in a step. A step on a CPU then takes about a second; on a GPU it is nnU-Net's 512 x 512
(Isensee et al. 2021, supplement: patches of 2D configurations) and Mask R-CNN's shorter side of 800 (He et al. 2017)."""
LEAST_WIDTH = 1.5
"""Pixels that the network sees: narrower regions vanish between its pixels (two samples a period, Nyquist; the half leaves a margin)."""
NARROW_CLASSES = 10.0  # percentile of the classes' widths that must reach LEAST_WIDTH: of ten classes or more one may be narrower
LEAST_SIDE = 8.0  # pixels of an object's side that the network sees: two cells of Mask R-CNN's finest features, which have a stride of 4
CROPPED = 2.0  # times these least sizes that stay where crops are taken: then a smaller scale saves no time, it only shows more around them
MOST_PIXELS = 2.0  # times that square that the largest image may have before crops are taken
FORCED = 0.33  # share of the crops that hold a pixel of a class drawn at random (Isensee et al. 2021: a third)
GRID = 32  # of the sides of crops in stored pixels: a multiple of each candidate's stride


def scale(facts: PlanFacts, draft: Draft) -> Iterator[Decision]:
    """The largest scale at which the median image fits SIDES, unless regions or objects would become too small to be seen."""
    if facts.objects:
        narrow = facts.objects.side["p10"] if facts.objects.count else LEAST_SIDE
        least, thing = LEAST_SIDE, "the side of the smaller objects (10th percentile)"
    else:
        narrow = float(np.percentile(list(facts.widths.values()), NARROW_CLASSES)) if facts.widths else LEAST_WIDTH
        least, thing = LEAST_WIDTH, "the width of narrow regions"
    allowed = [s for s in SCALES if narrow * s >= least] or [1.0]
    pixels = SIDES[like(facts, draft)][facts.device] ** 2
    whole = [s for s in allowed if facts.median_pixels * s * s <= pixels]
    chosen = max(whole) if whole else min([s for s in allowed if narrow * s >= CROPPED * least] or [1.0])
    size = f"images are {facts.height['median']:g} x {facts.width['median']:g} in the median"
    if chosen == 1.0:
        reason = f"{size}, and {thing} is {narrow:.1f} pixels: nothing is scaled down"
    else:
        seen = f"{facts.height['median'] * chosen:.0f} x {facts.width['median'] * chosen:.0f}"
        gain = "a step stays short" if whole else "a crop shows more of the image"
        reason = f"{size}; at {seen} {thing} is still {narrow * chosen:.1f} pixels, and {gain}"
    yield Decision("model.scale", chosen, reason)


def crop(facts: PlanFacts, draft: Draft) -> Iterator[Decision]:
    """Crops of SIDES where the images are larger than the network can see in a step; else whole images."""
    factor = draft["model.scale"]
    pixels, whole = SIDES[like(facts, draft)][facts.device] ** 2, ""
    if isinstance(factor, list):  # a person has set the shorter and the longer side
        whole = "model.scale brings all images to one size"
    elif facts.height["max"] * facts.width["max"] * factor**2 <= MOST_PIXELS * pixels:
        seen = f"{facts.height['max'] * factor:.0f} x {facts.width['max'] * factor:.0f}"
        whole = f"the largest image is seen as {seen}: the network takes it whole"
    if whole:
        yield from (Decision(key, None, whole) for key in ("augment.crop", "model.window"))
        return
    step = lcm(GRID, draft["model.stride"]) if isinstance(draft["model.stride"], int) else GRID
    sides = _crop_sides(facts, pixels, factor, step)
    share = f"a third of them hold a pixel of a {'random object' if facts.objects else 'class that is drawn first'}"
    shown = f"{sides[0]} x {sides[1]}"
    most = f"{facts.height['max']:g} x {facts.width['max']:g}"
    yield Decision("augment.crop", {"size": sides, "foreground": FORCED}, f"images have up to {most} pixels: crops of {shown}; {share}")
    window = max(2 * step, max(sides) * (2 if facts.objects else 1))
    also = ", twice as large, so that fewer objects are cut" if facts.objects else ", as in training"
    yield Decision("model.window", window, f"larger images are predicted in overlapping tiles of {window} x {window} pixels{also}")


def seen_share(facts: PlanFacts, draft: Draft) -> float:
    """What the network sees a pixel of the median image as, where model.scale is set: a factor, or the shorter and the longer side."""
    found = draft["model.scale"]
    if not isinstance(found, list):
        return float(found)
    sides = facts.height["median"], facts.width["median"]
    return min(found[0] / min(sides), found[1] / max(sides))


def _crop_sides(facts: PlanFacts, pixels: int, factor: float, step: int) -> list[int]:
    """Height and width in stored pixels, multiples of `step`: a square, or narrower where the images are."""
    side = int(sqrt(pixels) / factor // step) * step
    return [max(step, min(side, ceil(spread["median"] / step) * step)) for spread in (facts.height, facts.width)]
