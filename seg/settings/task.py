"""The section `task`, which says what a model, its figures and its labels are."""

from typing import Literal

from seg.settings.section import Named, Target

Answer = Literal["classes", "masks", "boxes", "segments"]
"""What a prediction holds: a class map, instances with masks, boxes alone, or segments of things and stuff."""

ANSWERS: dict[str, Answer] = {"semantic": "classes", "instance": "masks", "detection": "boxes", "panoptic": "segments"}


class Task(Named):
    model: Target
    metrics: Target
    monitor: str
    instances: bool
    boxes: bool = False  # checkpoints of earlier versions have neither
    stuff: bool = False

    @property
    def kind(self) -> str:
        """The key of ANSWERS that it is like, whatever its name."""
        if self.stuff:
            return "panoptic"
        return "detection" if self.boxes else "instance" if self.instances else "semantic"

    @property
    def answer(self) -> Answer:
        return ANSWERS[self.kind]
