"""The section `task`, which says what a model, its figures and its labels are."""

from seg.settings.section import Named, Target


class Task(Named):
    model: Target
    metrics: Target
    monitor: str
    instances: bool
