"""What Mask R-CNN expects of objects: their sizes, their shapes, and how many there are."""

from collections.abc import Iterator

from seg.plan.facts import Decision, Draft, PlanFacts
from seg.plan.rules.families import like
from seg.plan.rules.view import seen_share

LEVELS = 5  # of the feature pyramid, with an anchor size each (Lin et al. 2017)
COCO = 100  # detections an image in COCO's protocol
ROOM = 3  # times the largest count that is found an image may have: a new image may hold more, as 313 nuclei where training has 151
NAMES = ("p5", "p25", "p50", "p75", "p95")


def anchors(facts: PlanFacts, draft: Draft) -> Iterator[Decision]:
    """Anchor sizes from the sides of objects as the network sees them, and ratios from their boxes: both from the data, as in Redmon and
    Farhadi 2017."""
    objects = facts.objects
    if not objects or not objects.count or like(facts, draft) != "instance":
        return
    sides = [objects.side[name] * seen_share(facts, draft) for name in NAMES]
    sizes: list[list[int]] = []
    for side in sides:
        size = max(4, round(side / 0.9))  # of a box: an object fills most of its own
        sizes.append([max(size, sizes[-1][0] + 2 if sizes else size)])
    shown = ", ".join(f"{side:.0f}" for side in sides)
    reason = f"the sides of objects are {shown} pixels that the network sees (5th, 25th, 50th, 75th, 95th percentile)"
    yield Decision("model.network.anchor_sizes", sizes, reason)
    low, high = min(0.8, max(0.2, objects.ratio["p10"])), max(1.25, min(5.0, objects.ratio["p90"]))
    ratios = [round(low, 2), 1.0, round(high, 2)]
    yield Decision(
        "model.network.aspect_ratios",
        ratios,
        f"height over width of the boxes is {objects.ratio['p10']:.2f} to {objects.ratio['p90']:.2f} (10th to 90th percentile)",
    )


def counts(facts: PlanFacts, draft: Draft) -> Iterator[Decision]:
    """How many detections and proposals an image may have, from its largest count."""
    if not facts.objects:
        return
    most = max(COCO, -(-facts.objects.most * ROOM // 50) * 50)
    reason = f"an image of the training split holds up to {facts.objects.most} objects, and a new image may hold more"
    yield Decision("task.metrics.max_detections", most, reason)
    if like(facts, draft) != "instance":
        return
    yield Decision("model.network.box_detections_per_img", most, reason)
    many = most > COCO
    yield Decision("model.network.rpn_pre_nms_top_n", [1000, max(2000, most)] if many else [500, 300], reason)
    yield Decision("model.network.rpn_post_nms_top_n", [500, max(1000, most)] if many else [300, 150], reason)
