"""Networks that a plan may choose, from small to large, and what goes with them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from seg.plan.facts import Decision, Draft, PlanFacts
from seg.plan.rules.families import family


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network with its stride. key: its name in files. least_steps, least_passes: the steps of a training, and how often it sees each
    image, from which on its size pays."""

    key: str
    name: str
    network: dict[str, Any]
    stride: int
    least_steps: int
    least_passes: int


def _candidates(kind: str) -> dict[str, tuple[Candidate, ...]]:
    """Those of networks.yaml, by device."""
    given = yaml.safe_load(Path(__file__).with_name("networks.yaml").read_text(encoding="utf-8"))[kind]
    return {device: tuple(_candidate(kind, given["network"], **own) for own in given[device]) for device in ("cpu", "cuda")}


def _candidate(kind: str, base: dict[str, Any], name: str, network: dict[str, Any], least_steps: int, least_passes: int) -> Candidate:
    whole = base | network
    key = f"{kind}_{whole['encoder_name'].removeprefix('tu-')}"
    return Candidate(key, name, whole, 2 ** whole.get("encoder_depth", 5), least_steps, least_passes)


def _faster_rcnn(mask_rcnn: Candidate) -> Candidate:
    """The same without masks."""
    network = {key: value for key, value in mask_rcnn.network.items() if key != "mask_head_channels"}
    network |= {"_target_": "seg.models.detectors.faster_rcnn"}
    return replace(mask_rcnn, network=network, key=mask_rcnn.key.replace("mask", "faster"), name=mask_rcnn.name.replace("Mask", "Faster"))


def _panoptic_fpn(mask_rcnn: Candidate) -> Candidate:
    """The same with a branch for the class of each pixel."""
    network = {**mask_rcnn.network, "semantic_channels": mask_rcnn.network["fpn_channels"]}
    key, name = mask_rcnn.key.replace("mask_rcnn", "panoptic_fpn"), mask_rcnn.name.replace("Mask R-CNN", "Panoptic FPN")
    return replace(mask_rcnn, network=network, key=key, name=name)


UNETS, MASK_RCNNS = _candidates("unet"), _candidates("mask_rcnn")
CANDIDATES = {
    **{("semantic", device): unets for device, unets in UNETS.items()},
    **{
        ("distance", device): tuple(replace(u, name=f"{u.name}, for distances", key=u.key.replace("unet", "distance")) for u in unets)
        for device, unets in UNETS.items()
    },
    **{("instance", device): networks for device, networks in MASK_RCNNS.items()},
    **{("detection", device): tuple(map(_faster_rcnn, networks)) for device, networks in MASK_RCNNS.items()},
    **{("panoptic", device): tuple(map(_panoptic_fpn, networks)) for device, networks in MASK_RCNNS.items()},
}
"""Those of networks.yaml, and what is made of them: Faster R-CNN (Ren et al. 2015) and Panoptic FPN (Kirillov et al. 2019)."""


def candidates(facts: PlanFacts, draft: Draft) -> tuple[Candidate, ...]:
    """Those for the kind of model and device, from small to large."""
    return CANDIDATES[family(facts, draft), "cpu" if facts.device == "cpu" else "cuda"]


def network(facts: PlanFacts, draft: Draft, candidate: Candidate, reason: str) -> Iterator[Decision]:
    """A candidate's own keys."""
    yield Decision("model.network", candidate.network, reason)
    yield Decision("model.name", candidate.key, "named after its encoder")
    yield Decision("model.stride", candidate.stride, f"{candidate.name} halves its features {candidate.stride.bit_length() - 1} times")
