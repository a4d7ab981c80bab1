"""Which kind of model a plan is about."""

from dataclasses import replace
from typing import Any

import pytest
import yaml
from conftest import ROOT
from planned_facts import chosen, draft, facts, objects, reason, spread

from seg.plan.rules import learning, length, networks, view
from seg.plan.rules.families import DISTANCE, adapter, family, like, monitor

KEY = "model.adapter"
SMALL = (8, 9, 10, 12, 15, 20, 22, 25)
BOTTOM_UP = {"_target_": DISTANCE, "peak": 0.15}
HOUR = {"plan__minutes": 60.0, "plan__folds": None}


def given(median: float = 20, side: tuple[float, ...] = SMALL, **contact: float) -> Any:
    """Objects in images of 256 x 256."""
    return facts(task="instance", objects=replace(objects(most=40, side=side), median=median, **contact))


@pytest.mark.parametrize(
    ("changed", "bottom_up"),
    [
        ({}, True),
        ({"touching": 0.9}, True),
        ({"median": 8}, True),
        ({"median": 7.5}, False),
        ({"side": (20, 25, 30, 38.4, 55, 70, 80, 95)}, True),  # 0.15 of 256
        ({"side": (20, 25, 30, 38.5, 55, 70, 80, 95)}, False),
        ({"overlapping": 0.05}, True),
        ({"overlapping": 0.06}, False),
        ({"broken": 0.1}, True),
        ({"broken": 0.11}, False),
    ],
    ids=str,
)
def test_many_small_objects_that_do_not_overlap_are_found_by_distances(changed: dict[str, Any], bottom_up: bool) -> None:
    assert chosen(adapter, given(**changed), draft(**HOUR)) == {KEY: BOTTOM_UP if bottom_up else None}


@pytest.mark.parametrize(
    ("changed", "minutes", "folds", "bottom_up"),
    [
        ({"median": 2, "side": (60, 70, 80, 90, 100, 110, 120, 130), "overlapping": 0.6}, 30, None, True),
        ({"overlapping": 0.6}, 31, None, False),
        ({"overlapping": 0.6}, 60, 2, True),  # minutes of each fold
        ({"broken": 0.11}, 5, None, False),
    ],
    ids=str,
)
def test_a_cpu_has_no_time_for_mask_rcnn(changed: dict[str, Any], minutes: float, folds: int | None, bottom_up: bool) -> None:
    one = draft(plan__minutes=minutes, plan__folds=folds)
    assert chosen(adapter, given(**changed), one) == {KEY: BOTTOM_UP if bottom_up else None}
    assert chosen(adapter, replace(given(overlapping=0.6), device="cuda"), one) == {KEY: None}


def test_pixels_and_a_network_that_is_set_have_no_other() -> None:
    assert chosen(adapter, facts(), draft()) == {KEY: None}
    assert chosen(adapter, given(), draft(["model.adapter"], model__network={"_target_": "x"})) == {KEY: None}


def test_reasons_name_what_decided() -> None:
    assert "20 objects in the median, whose side is 5%" in reason(adapter, KEY, given(touching=0.4), draft())
    assert "40% touch another and 0% overlap one: each pixel's distance" in reason(adapter, KEY, given(touching=0.4), draft())
    assert "20% overlap one: Mask R-CNN" in reason(adapter, KEY, given(overlapping=0.2), draft(**HOUR))
    short = draft(plan__minutes=7.0, plan__folds=None)
    assert "20% overlap one: 7 minutes on a CPU suffice to learn each pixel's distance" in reason(
        adapter, KEY, given(overlapping=0.2), short
    )
    assert "30% are in several parts: Mask R-CNN" in reason(adapter, KEY, given(broken=0.3), draft(**HOUR))


def test_boxes_are_found_by_a_detector_whatever_the_objects() -> None:
    boxes = replace(given(), task="detection")
    assert chosen(adapter, boxes, draft()) == {KEY: None}
    assert (family(boxes, draft()), like(boxes, draft())) == ("detection", "instance")
    assert chosen(learning.loss, boxes, draft())["loss"]["name"] == "detection"
    (network,) = networks.candidates(boxes, draft())
    assert (network.key, network.network["_target_"]) == ("faster_rcnn_resnet18", "seg.models.detectors.faster_rcnn")
    assert "mask_head_channels" not in network.network
    assert "model.network.anchor_sizes" in chosen(networks.anchors, boxes, draft(model__scale=1.0))


def test_segments_are_found_by_mask_rcnn_with_a_branch_for_stuff() -> None:
    segments = replace(given(), task="panoptic")
    assert chosen(adapter, segments, draft()) == {KEY: None}
    assert (family(segments, draft()), like(segments, draft())) == ("panoptic", "instance")
    assert chosen(learning.loss, segments, draft())["loss"]["semantic"] == 1
    (network,) = networks.candidates(segments, draft())
    assert (network.key, network.network["semantic_channels"]) == ("panoptic_fpn_resnet18", 64)


def test_each_kind_has_its_rows_in_the_other_rules() -> None:
    known, one = given(), draft(model__adapter=BOTTOM_UP)
    assert family(known, one) == "distance"
    assert family(known, draft()) == "instance"
    assert family(facts(), draft()) == "semantic"
    assert chosen(learning.loss, known, one)["loss"]["_target_"] == "seg.models.losses.DistanceLoss"
    assert chosen(monitor, known, one) == {"task.monitor": "pq"}
    assert chosen(monitor, known, draft()) == {"task.monitor": "mask_ap"}
    assert chosen(monitor, facts(), draft()) == {}
    assert chosen(length.batch, known, one)["trainer.batch_size"] == 8
    assert {c.key for c in networks.candidates(known, one)} == {"distance_resnet10t", "distance_resnet18"}
    assert list(chosen(networks.counts, known, one)) == ["task.metrics.max_detections"]
    assert chosen(networks.anchors, known, draft(model__scale=1.0, model__adapter=BOTTOM_UP)) == {}
    large = replace(known, height=spread(700), width=spread(700))
    assert chosen(view.crop, large, draft(model__scale=1.0, model__adapter=BOTTOM_UP))["augment.crop"]["size"] == [256, 256]
    kinds = {kind for kind, _ in networks.CANDIDATES}
    assert {"semantic", "instance"} < kinds
    assert {"semantic", "instance"} == set(view.SIDES) == {kind for kind, _ in length.IMAGES} == set(learning.REFERENCE)


def test_mask_classification_has_a_loss_and_an_optimizer_of_its_own() -> None:
    adamw = {"_target_": "torch.optim.AdamW"}
    one = draft(model__adapter={"_target_": "seg.models.masks.instance.Model"}, optimizer=adamw)
    for kind, alike in ((given(), "semantic"), (facts(), "semantic")):
        assert (family(kind, one), like(kind, one)) == ("masks", alike)
        assert chosen(learning.loss, kind, one)["loss"]["name"] == "masks"
        found = chosen(learning.optimizer, kind, one)
        assert (found["optimizer"]["name"], found["optimizer.lr"]) == ("adamw", 1e-3)


def test_boxes_with_masks_of_prototypes_have_a_loss_of_their_own_and_are_else_as_mask_rcnn() -> None:
    one = draft(model__adapter={"_target_": "seg.models.prototypes.PrototypeModel"})
    assert (family(facts(), one), like(facts(), one)) == ("prototypes", "instance")
    planned, file = chosen(learning.loss, facts(), one)["loss"], yaml.safe_load((ROOT / "conf/loss/prototypes.yaml").read_text())
    assert planned == file
    assert planned["mask"] == 6.125
