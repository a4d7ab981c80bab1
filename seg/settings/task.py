"""The section `task`, which says what a model, its figures and its labels are."""

from typing import Literal

from seg.settings.section import Named, Target

Answer = Literal["classes", "masks", "boxes"]  # what a prediction holds: a class map, instances with masks, or boxes alone

ANSWERS: dict[str, Answer] = {"semantic": "classes", "instance": "masks", "detection": "boxes"}  # the answer of each kind of task


class Task(Named):
    model: Target
    metrics: Target
    monitor: str
    instances: bool
    boxes: bool = False  # checkpoints of earlier versions have none

    @property
    def kind(self) -> str:
        """The key of ANSWERS that it is like, whatever its name."""
        return "detection" if self.boxes else "instance" if self.instances else "semantic"

    @property
    def answer(self) -> Answer:
        return ANSWERS[self.kind]
