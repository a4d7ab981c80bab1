"""How images are changed in training: flips and turns, size, light and colour, pasted objects."""

from collections.abc import Iterator
from typing import Any

from seg.plan.facts import Decision, Draft, PlanFacts

MANY, FEW = 1000, 200  # images of the training split from which on augmentation is light, and below which it is strong
STEADY, VARIED = 2.0, 4.0
"""Ratio of large to small objects (95th to 5th percentile of their sides): up to STEADY sizes are the same in all images, as under a
microscope, and little scaling is taken; from VARIED on much."""
FEW_OBJECTS = 1000
PASTED = 0.5
"""Share of the images that receive objects of another where there are few (Ghiasi et al. 2021, "Simple copy-paste")."""


def transforms(facts: PlanFacts, draft: Draft) -> Iterator[Decision]:
    """Flips and quarter turns where the set has no such direction; the rest by the number of images (Shorten and Khoshgoftaar 2019)."""
    strength = "light" if facts.images >= MANY else "medium" if facts.images >= FEW else "strong"
    found, flips = _flips(facts, draft)
    reasons = [flips]
    if strength != "light":
        found.append(_affine(facts, strength))
        low, high = found[-1]["scale"]
        ratio = _size_ratio(facts)
        why = "" if ratio is None else f", as large objects have {ratio:.1f} times the side of small ones"
        reasons.append(f"sizes change by {low:g} to {high:g}{why}")
    found += _light(facts, strength)
    gray = ", as they are gray" if facts.channels in (1, 3) and not facts.colour else ""
    reasons.append("light and colour change" if facts.colour and strength != "light" else f"light changes, not colour{gray}")
    yield Decision("augment.transforms", found, f"{facts.images} training images: {strength}; {'; '.join(reasons)}")


def copy_paste(facts: PlanFacts, draft: Draft) -> Iterator[Decision]:
    """Objects are pasted from one image into another where there are few of them."""
    if not facts.objects:
        yield Decision("augment.copy_paste.p", 0.0, "the task is about pixels, not about objects")
    elif facts.objects.count < FEW_OBJECTS and facts.images > 1:
        reason = f"{facts.objects.count} objects are few: half of the images receive some of another image"
        yield Decision("augment.copy_paste.p", PASTED, reason)
    else:
        yield Decision("augment.copy_paste.p", 0.0, f"{facts.objects.count} objects are enough")


def _flips(facts: PlanFacts, draft: Draft) -> tuple[list[dict[str, Any]], str]:
    free = {name: not direction.differs for name, direction in facts.directions.items()}
    crop = draft["augment.crop"]
    square = crop["size"][0] == crop["size"][1] if crop else facts.height == facts.width
    if not all(d.known for d in facts.directions.values()):
        flips = [_t("HorizontalFlip", p=0.5)] if free["left_right"] else []
        how = "mirrored alone" if flips else "not flipped, as left and right differ"
        return flips, f"too few different images to tell whether they have an up and a down, so they are {how}"
    effect, turned = f"(effect {facts.directions['up_down'].effect:.2f} of 1)", all(free.values()) and square
    harmless = {"HorizontalFlip": free["left_right"], "VerticalFlip": free["up_down"], "RandomRotate90": turned}
    found = [_t(name, p=0.75 if name == "RandomRotate90" else 0.5) for name, fits in harmless.items() if fits]
    if free["up_down"]:
        return found, f"upside down, images look as usual {effect}, so they are flipped{' and turned' if turned else ''}"
    mirrored = "they are mirrored alone" if free["left_right"] else "they are not flipped, as left and right differ, too"
    return found, f"upside down, images would look unusual {effect}: {mirrored}"


def _affine(facts: PlanFacts, strength: str) -> dict[str, Any]:
    low, high = {"medium": (0.8, 1.35), "strong": (0.7, 1.5)}[strength]
    ratio = _size_ratio(facts)
    if ratio and ratio <= STEADY:
        low, high = 0.9, 1.1
    elif ratio and ratio < VARIED:
        low, high = max(low, 0.8), min(high, 1.25)
    upright = any(not d.known or (d.differs and name != "left_right") for name, d in facts.directions.items())
    turn = {"medium": 7, "strong": 10}[strength] if upright else {"medium": 20, "strong": 45}[strength]
    return _t("Affine", scale=[low, high], translate_percent=[-0.1, 0.1], rotate=[-turn, turn], balanced_scale=True, p=0.7)


def _light(facts: PlanFacts, strength: str) -> list[dict[str, Any]]:
    limit = {"light": 0.15, "medium": 0.2, "strong": 0.25}[strength]
    found = [_t("RandomBrightnessContrast", brightness_limit=limit, contrast_limit=limit, p=0.5)]
    if strength != "light" and facts.colour:
        found.append(_t("HueSaturationValue", hue_shift_limit=8, sat_shift_limit=20, val_shift_limit=0, p=0.3))
    if strength == "strong":
        found.append(_t("RandomGamma", gamma_limit=[75, 135], p=0.3))
        found.append(_t("GaussNoise", std_range=[0.01, 0.05], p=0.2))
    return found


def _size_ratio(facts: PlanFacts) -> float | None:
    if not facts.objects or not facts.objects.count:
        return None
    return facts.objects.side["p95"] / max(1.0, facts.objects.side["p5"])


def _t(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": f"albumentations.{name}", **arguments}
