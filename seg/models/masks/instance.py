"""Mask classification for instances."""

from seg.models.masks.objects import ObjectModel


class Model(ObjectModel):
    """The objects of its queries, as instances."""
