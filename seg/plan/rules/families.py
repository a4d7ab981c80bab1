"""Which kind of model a plan is about: each has a row of its own in the tables of the other rules."""

from collections.abc import Iterator
from typing import Any

from seg.plan.facts import Decision, Draft, PlanFacts, budget_of
from seg.settings.task import ANSWERS

MANY = 8.0  # objects of the median image from which on they are many
SMALL = 0.15  # share of the image's shorter side that the side of the median object has at most, where objects are small
OVERLAPPING, BROKEN = 0.05, 0.1
"""Shares of the objects that may overlap another, or be in several parts: a pixel belongs to one object, and a part becomes an object."""
SHORT = 30.0
"""Minutes on a CPU, up to which Mask R-CNN from scratch has not learned its boxes: of `shapes`, in which 63 % of the objects overlap
another, distances found more at equal minutes, of small objects and of large ones; docs/performance.md has the figures."""
MASKS = "seg.models.masks."
DISTANCE = "seg.models.distance.DistanceModel"
PROTOTYPES = "seg.models.prototypes.PrototypeModel"


def adapter(facts: PlanFacts, draft: Draft) -> Iterator[Decision]:
    """Many small objects that hardly overlap are found from the bottom up, by their distances (Bai and Urtasun 2017), and in a few minutes
    on a CPU others, too; else Mask R-CNN (He et al. 2017) finds few, large, or overlapping ones, since it looks at each by itself."""
    objects = facts.objects
    if not objects:
        yield Decision("model.adapter", None, "the task is about pixels, of which the network's outputs are the classes")
        return
    if ANSWERS[facts.task] in ("boxes", "segments"):
        yield Decision("model.adapter", None, f"that of the task, whose predictions are {ANSWERS[facts.task]}")
        return
    if not draft.is_open("model.network"):
        yield Decision("model.adapter", None, "that of the task, since model.network is set")
        return
    share = objects.side["p50"] / min(facts.height["median"], facts.width["median"])
    many, small = objects.median >= MANY, share <= SMALL
    apart, whole = objects.overlapping <= OVERLAPPING, objects.broken <= BROKEN
    found = f"an image has {objects.median:g} objects in the median, whose side is {share:.0%} of the image's"
    contact = f"{objects.touching:.0%} touch another and {objects.overlapping:.0%} overlap one"
    distance: dict[str, Any] = {"_target_": DISTANCE, "peak": 0.15}
    if many and small and apart and whole:
        yield Decision("model.adapter", distance, f"{found}; {contact}: each pixel's distance to its object's edge tells them apart")
        return
    if whole and facts.device == "cpu" and budget_of(draft) <= SHORT:
        enough = "suffice to learn each pixel's distance to its object's edge, and not for Mask R-CNN"
        yield Decision("model.adapter", distance, f"{found}; {contact}: {budget_of(draft):.3g} minutes on a CPU {enough}")
        return
    why = contact if not apart else f"{objects.broken:.0%} are in several parts" if not whole else contact
    yield Decision("model.adapter", None, f"{found}; {why}: Mask R-CNN, which looks at each object by itself")


def monitor(facts: PlanFacts, draft: Draft) -> Iterator[Decision]:
    """The figure by which the best checkpoint is chosen: panoptic quality (Kirillov et al. 2019) for distances. Average precision ranks
    objects by their scores, which differ little where each is a mean over an object's pixels; on nuclei it chose an epoch of the middle,
    which found fewer objects than the last one."""
    if family(facts, draft) == "distance":
        reason = "panoptic quality counts objects by how well they are found, whatever the order of their scores"
        yield Decision("task.monitor", "pq", reason)
    elif ANSWERS[facts.task] == "masks":
        yield Decision("task.monitor", "mask_ap", "average precision ranks objects by their scores, as Mask R-CNN learns them")


def like(facts: PlanFacts, draft: Draft) -> str:
    """The family whose sizes, steps and rates are this one's, too: detectors of boxes and panoptic networks do what Mask R-CNN does, or
    nearly; networks of distances and mask classification see images as those of classes do."""
    own = family(facts, draft)
    alike = {"distance": "semantic", "masks": "semantic"} | dict.fromkeys(("detection", "panoptic", "prototypes"), "instance")
    return alike.get(own, own)


def is_example(facts: PlanFacts, draft: Draft) -> bool:
    """Whether classes of the drawn shapes are learned: the README's first command, whose few minutes have rules of their own."""
    return facts.drawn and family(facts, draft) == "semantic"


def family(facts: PlanFacts, draft: Draft) -> str:
    """semantic, instance (Mask R-CNN), detection, panoptic, distance, prototypes (YOLACT), or masks (mask classification)."""
    target = (draft["model.adapter"] or {}).get("_target_") if isinstance(draft["model.adapter"], dict) else None
    named = {DISTANCE: "distance", PROTOTYPES: "prototypes"}
    return "masks" if str(target).startswith(MASKS) else named.get(str(target), facts.task)
