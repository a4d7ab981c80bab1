"""What a data set's objects are to a network: larger than it can see, or smaller than the raster of its output."""

from collections.abc import Iterator
from pathlib import Path

from seg.data.store import DatasetInfo
from seg.plan.facts import look, objects_of


def remarks(
    prepared: Path, info: DatasetInfo, instances: bool, scale: float, field: int | None, seen: float, stride: float
) -> Iterator[str]:
    """A sentence for each mismatch.

    Args:
        prepared: The prepared data set, whose training split is looked at.
        info: Its description.
        instances: Whether the task has instances.
        scale: Pixels of the network's input for one of a stored image.
        field: The side of the theoretical receptive field in pixels of the network's input; None: the whole image.
        seen: The side of the effective one.
        stride: Of the finest features that the network has, in pixels of its input.
    """
    if instances:
        sides = objects_of(prepared, {}).side
        small, large = ({"objects": sides[key]} for key in ("p5", "p95"))
    else:
        small = look(prepared, info, with_instances=False).widths
        large = {}
    for name, side in small.items():
        if side * scale < stride:
            yield (
                f"{name}: the smallest are {side:.3g} pixels wide, {side * scale:.2g} in the network's input, and its finest features lie "
                f"{stride:g} apart; raise model.scale, or choose a network with finer features"
            )
    for name, side in large.items():
        large_one = f"{name}: the largest are {side:.3g} pixels wide"
        if field and side * scale > field:
            yield f"{large_one}, and an output sees {field / scale:.0f} at most; lower model.scale, or choose a deeper network"
        elif side * scale > seen:
            yield f"{large_one}, and an untrained network's output depends on {seen / scale:.0f} in the main"
