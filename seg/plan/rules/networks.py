"""Networks that a plan may choose, from small to large, and what goes with them: what Mask R-CNN expects of objects, their sizes, their
shapes, and how many there are; and where pretrained weights of an encoder can be had: a file of the project, or a hub that answers within
seconds."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from seg.plan.facts import Decision, Draft, PlanFacts
from seg.plan.rules.families import family, like
from seg.plan.rules.view import seen_share
from seg.settings.inputs import WEIGHT_SUFFIXES

COCO = 100  # detections an image in COCO's protocol
ROOM = 3  # times the largest count that is found an image may have: a new image may hold more, as 313 nuclei where training has 151
NAMES = ("p5", "p25", "p50", "p75", "p95")
FOLDER = "weights"
SECONDS = 5.0
FILES = ("model.safetensors", "pytorch_model.bin")


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


def _for_distances(unet: Candidate) -> Candidate:
    return replace(unet, name=f"{unet.name}, for distances", key=unet.key.replace("unet", "distance"))


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


KINDS: dict[str, dict[str, Callable[[Candidate], Candidate]]] = {
    "unet": {"semantic": lambda unet: unet, "distance": _for_distances},
    "mask_rcnn": {"instance": lambda rcnn: rcnn, "detection": _faster_rcnn, "panoptic": _panoptic_fpn},
}
CANDIDATES = {
    (task, device): tuple(map(make, networks))
    for kind, made in KINDS.items()
    for device, networks in _candidates(kind).items()
    for task, make in made.items()
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
    reason = f"height over width of the boxes is {objects.ratio['p10']:.2f} to {objects.ratio['p90']:.2f} (10th to 90th percentile)"
    yield Decision("model.network.aspect_ratios", ratios, reason)


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


def find(encoder: str, project: Path, hub: bool) -> tuple[str | None, str]:
    """Weights for an encoder by its name in `model.network.encoder_name`.

    A file of the project, weights/<encoder>.pt or another suffix, comes before a hub. hub: whether one may be asked. Only the head of one
    file is asked for: the training downloads it."""
    for suffix in WEIGHT_SUFFIXES:
        path = Path(FOLDER) / f"{encoder}{suffix}"
        if (project / path).is_file():
            return path.as_posix(), f"{path} holds weights of this encoder"
    if not hub:
        return None, "from scratch: plan.pretrained=false"
    if (source := hub_file(encoder)) is None:
        return None, f"from scratch: no hub has weights of {encoder} under the name imagenet"
    if (failed := _refusal(*source)) is None:
        return "imagenet", f"huggingface.co/{source[0]} has weights that were trained on ImageNet"
    return None, f"from scratch: huggingface.co/{source[0]} {failed}"


def hub_file(encoder: str) -> tuple[str, str | None, tuple[str, ...]] | None:
    """Where ImageNet weights of an encoder of smp or (with the prefix tu-) of timm lie: the hub's repository, its revision (None: the
    newest), and the names that their file may have."""
    import segmentation_models_pytorch as smp
    import timm

    if encoder.startswith("tu-"):
        try:
            config = timm.get_pretrained_cfg(encoder.removeprefix("tu-"))
        except RuntimeError:  # it has no weights of the name behind the dot
            return None
        repository = getattr(config, "hf_hub_id", None)
        return (repository, None, FILES) if repository else None
    settings: Mapping[str, Any] = smp.encoders.encoders.get(encoder, {}).get("pretrained_settings", {}).get("imagenet", {})
    return (settings["repo_id"], settings.get("revision"), FILES[:1]) if "repo_id" in settings else None


def _refusal(repository: str, revision: str | None, files: tuple[str, ...]) -> str | None:
    """Why none of the files can be had; None where one can."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    if any(isinstance(try_to_load_from_cache(repository, name, revision=revision), str) for name in files):
        return None
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return "is not asked, as HF_HUB_OFFLINE is set"
    reason = "does not answer"
    for name in files:
        try:
            get_hf_file_metadata(hf_hub_url(repository, name, revision=revision), timeout=SECONDS)
        except Exception as error:  # of the client, of its HTTP library, of the network: each in a way of its own
            reason = f"cannot be reached ({type(error).__name__})"
            if type(error).__name__ not in ("EntryNotFoundError", "RemoteEntryNotFoundError"):
                break
        else:
            return None
    return reason
