"""What an exported file says of itself: enough to use it without the checkpoint that it was made from.

Text values by key, as ONNX's metadata_props, torch.export's extra_files and OpenVINO's rt_info hold them; docs/exports.md lists them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seg.core.errors import DataError
from seg.data.sample import ClassInfo
from seg.predict.network import Facts

FORMAT = "1"

Gives = Literal["scores", "classes", "instances"]

OUTPUTS: dict[Gives, tuple[str, ...]] = {
    "scores": ("logits",),
    "classes": ("classes",),
    "instances": ("boxes", "scores", "classes", "masks"),
}
"""What the outputs of each kind of file are called, in order."""


@dataclass(frozen=True, slots=True)
class Description:
    """gives: class scores (B, K, H, W) float32; classes (B, H, W) uint8; or the instances of one image: boxes (N, 4) float32 xyxy half-open
    pixels, scores (N,) float32, classes (N,) int64 and masks (N, M, M) float32, the probability of each of M x M parts of a box.

    size: the only (height, width) that the file takes, or None for any of at least `minimum`. model, data, digest: the configuration's
    model, and the name and digest of the data set that it was trained on. version: of seg.
    """

    facts: Facts
    gives: Gives
    size: tuple[int, int] | None
    minimum: tuple[int, int]
    model: str
    data: str
    digest: str
    version: str

    def to_text(self) -> dict[str, str]:
        """The keys and values of a file."""
        facts, single = self.facts, self.gives == "instances"
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
            "model": self.model,
            "data": self.data,
            "data_digest": self.digest,
        }

    @classmethod
    def of_text(cls, text: Mapping[str, str], path: Path) -> "Description":
        """What `to_text` gave; DataError where the file has no such keys, or is of another version."""
        if text.get("seg_format") != FORMAT:
            raise DataError(f"{path}: is not a file that `seg export` of this version wrote; export the checkpoint again")
        try:
            classes = tuple(ClassInfo(c["name"], tuple(c["color"])) for c in json.loads(text["classes"]))
            size, minimum = json.loads(text["size"]), json.loads(text["minimum_size"])
            gives = text["gives"]
            if gives not in OUTPUTS:
                raise ValueError(gives)
            return cls(
                facts=Facts(text["task"], classes, int(text["channels"]), int(text["stride"]), json.loads(text["data_range"])),
                gives=gives,
                size=(int(size[0]), int(size[1])) if size else None,
                minimum=(int(minimum[0]), int(minimum[1])),
                model=text["model"],
                data=text["data"],
                digest=text["data_digest"],
                version=text["seg_version"],
            )
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise DataError(f"{path}: its description is damaged ({type(error).__name__}: {error}); export the checkpoint again") from None
