"""The section `task`, which says what a model, its figures and its labels are."""

from typing import Literal

from seg.settings.section import Named, Target

Answer = Literal["classes", "masks"]
"""What a prediction holds: a class map, or instances with masks."""

ANSWERS: dict[str, Answer] = {"semantic": "classes", "instance": "masks"}
"""The answer of each kind of task."""


class Task(Named):
    model: Target
    metrics: Target
    monitor: str
    instances: bool

    @property
    def kind(self) -> str:
        """The key of ANSWERS that it is like, whatever its name."""
        return "instance" if self.instances else "semantic"

    @property
    def answer(self) -> Answer:
        return ANSWERS[self.kind]
