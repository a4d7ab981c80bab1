"""What an exported file says of itself: enough to use it without the checkpoint that it was made from.

Text values by key, as ONNX's metadata_props and OpenVINO's rt_info hold them; docs/exports.md lists them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seg.core.errors import DataError
from seg.models.declared import DeclaredExport, classes_of, declared
from seg.models.postprocess import Postprocess
from seg.settings.task import ANSWERS, Answer
from seg.tiles.network import Facts

FORMAT = "1"
AGAIN = "export the checkpoint again"
AS_JSON = ("classes", "channels", "stride", "data_range", "size", "minimum_size", "window", "peak", "postprocess")

Precision = Literal["float32", "bfloat16", "int8"]
Gives = Literal["scores", "classes", "instances", "maps", "boxes"]

OUTPUTS: dict[Gives, tuple[str, ...]] = {
    "scores": ("logits",),
    "classes": ("classes",),
    "instances": ("boxes", "scores", "classes", "masks"),
    "maps": ("logits", "distance"),
    "boxes": ("boxes", "scores", "classes"),
}
"""What the outputs of each kind of file are called, in order."""

MADE_OF_IT: dict[Gives, Answer] = {"scores": "classes", "classes": "classes", "instances": "masks", "maps": "masks", "boxes": "boxes"}
"""What a prediction holds that is made of them."""


@dataclass(frozen=True, slots=True)
class Description:
    """gives: class scores (B, K, H, W) float32; classes (B, H, W) uint8; or the instances of one image: boxes (N, 4) float32 xyxy half-open
    pixels, scores (N,) float32, classes (N,) int64 and masks (N, M, M) float32, the probability of each of M x M parts of a box; or boxes,
    which are the same without masks; or the maps of `model=distance`: logits (B, K, H, W) float32 of no object and of each class, and
    distances (B, H, W) float32 in 0..1.

    size: the only (height, width) that the file takes, or None for any of at least `minimum`. model, data, digest: the configuration's
    model, and the name and digest of the data set that it was trained on. version: of seg."""

    facts: Facts
    gives: Gives
    size: tuple[int, int] | None
    minimum: tuple[int, int]
    model: str
    data: str
    digest: str
    version: str
    peak: float | None = None
    """Of maps: see `seg.models.distance.DistanceModel`."""
    precision: Precision = "float32"
    """In which it computes."""
    card: str = ""
    """The text of the model card, which is written and not read."""

    def to_text(self) -> dict[str, str]:
        """The keys and values of a file."""
        facts, single = self.facts, self.gives in ("instances", "boxes")
        dynamic = ([] if single else ["batch"]) + ([] if self.size else ["height", "width"])
        return {
            "seg_format": FORMAT,
            "seg_version": self.version,
            "task": facts.task,
            "gives": self.gives,
            "classes": json.dumps([{"name": c.name, "color": list(c.color)} for c in facts.classes]),
            "channels": str(facts.channels),
            "channel_order": {1: "gray", 3: "RGB"}.get(facts.channels, "as stored"),
            "input_layout": "batch, channels, height, width",
            "input_type": "uint8",
            "input_range": json.dumps([0, 255]),
            "data_range": json.dumps(facts.data_range),
            "stride": str(facts.stride),
            "dynamic": json.dumps(dynamic),
            "size": json.dumps(self.size),
            "minimum_size": json.dumps(self.minimum),
            "window": json.dumps(facts.window),
            "peak": json.dumps(self.peak),
            "postprocess": json.dumps(facts.postprocess.to_plain()),
            "precision": self.precision,
            "model": self.model,
            "data": self.data,
            "data_digest": self.digest,
        } | ({"model_card": self.card} if self.card else {})

    @classmethod
    def of_text(cls, text: Mapping[str, str], path: Path) -> "Description":
        """What `to_text` gave; DataError where the file has no such keys, or is of another version."""
        if text.get("seg_format") != FORMAT:
            raise DataError(f"{path}: is not a file that `seg export` of this version wrote; export the checkpoint again")
        said = f"{path}: its description is damaged"
        try:
            content = {key: json.loads(value) if key in AS_JSON else value for key, value in text.items()}
        except (ValueError, RecursionError) as error:
            raise DataError(f"{said} ({type(error).__name__}: {str(error)[:100]}); {AGAIN}") from None
        found = declared(DeclaredExport, content, said, AGAIN)
        if MADE_OF_IT[found.gives] != ANSWERS[found.task] or (found.gives == "maps") != (found.peak is not None):
            raise DataError(f"{said}: is of the task {found.task}, but gives {found.gives}; {AGAIN}")
        post = declared(Postprocess, content.get("postprocess", {}), f"{said}: postprocess", AGAIN)
        classes = tuple(classes_of(found.classes))
        return cls(
            facts=Facts(found.task, classes, found.channels, found.stride, found.data_range, found.window, postprocess=post),
            gives=found.gives,
            size=found.size,
            minimum=found.minimum_size,
            model=found.model,
            data=found.data,
            digest=found.data_digest,
            version=found.seg_version,
            peak=found.peak,
            precision=found.precision,
        )
