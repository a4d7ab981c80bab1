"""Speed, counted by hand on a clock that the test sets, and for CUDA with events of the test's own."""

import mmap
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from seg.runtime.console import pace
from seg.runtime.speed import DeviceWaits, HostWaits, Speed


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def trainer(world_size: int = 1) -> Any:
    return SimpleNamespace(world_size=world_size, strategy=SimpleNamespace(root_device=torch.device("cpu")))


def run(steps: list[tuple[float, float]], world_size: int = 1) -> Speed:
    """An epoch of steps (seconds of waiting, seconds of computing) with two images each."""
    clock = Clock()
    speed = Speed(clock)
    speed.on_train_epoch_start(trainer(world_size))
    for waited, computed in steps:
        clock.now += waited
        speed.on_train_batch_start()
        clock.now += computed
        speed.on_train_batch_end(trainer(world_size), None, None, [0, 0], 0)  # type: ignore[arg-type]
    clock.now += 50  # validation
    return speed


def test_the_first_steps_count_as_images_but_not_as_waiting() -> None:
    speed = run([(30, 1), (1, 1), (1, 1), (1, 3), (2, 2)])
    assert speed.counted == 2
    assert speed.data_wait == pytest.approx(3 / 8)
    assert speed.images_per_second == pytest.approx(10 / 43)
    assert run([(30, 1), (1, 1), (1, 1), (1, 3), (2, 2)], world_size=2).images_per_second == pytest.approx(20 / 43)


def test_an_epoch_of_few_steps_counts_them_all() -> None:
    assert run([(3, 1), (1, 3)]).data_wait == pytest.approx(0.5)
    assert run([(3, 1), (1, 3)]).counted == 0
    assert run([]).data_wait == 0
    assert run([]).images_per_second == 0


def test_memory_is_of_this_process() -> None:
    speed = run([(1, 1)])
    before = speed.memory[0]
    with mmap.mmap(-1, 1 << 26) as block:  # not from what malloc has kept
        block.write(bytes(1 << 26))
        assert speed.memory[0] - before == pytest.approx(1 << 26, rel=0.3)
    assert speed.memory[1] > speed.memory[0]


def test_in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Speed, "memory", (3 << 29, 80 << 30))
    speed = run([(1, 3), (1, 3)])
    assert pace(speed) == ["0.5 images/s", "data 25 %", "1.5 GiB"]
    assert pace(speed, total=True)[-1] == "1.5/80 GiB"


class Event:
    """Passes when the device's own clock has come so far."""

    device, program = 0.0, 0.0

    def record(self) -> None:
        Event.device = max(Event.device, Event.program)  # an idle device begins when it is asked to
        self.at = Event.device

    def query(self) -> bool:
        return Event.program >= self.at

    def elapsed_time(self, other: "Event") -> float:
        return 1000 * (other.at - self.at)

    def synchronize(self) -> None:
        Event.program = max(Event.program, self.at)


@pytest.mark.parametrize(
    ("load", "compute", "wait"),
    [(1.0, 3.0, 0.0), (3.0, 1.0, 2.0), (2.0, 1.5, 0.5)],
    ids=["device-bound", "loader-bound", "nearly-balanced"],
)
def test_a_device_that_still_computes_does_not_wait(load: float, compute: float, wait: float) -> None:
    """The program waits `load` seconds before each step; the device takes `compute` seconds, and idles for the rest alone."""
    Event.device = Event.program = 0.0
    waits = DeviceWaits(Event)
    for _ in range(6):
        Event.program += load
        waits.arrived(load)
        Event.device = max(Event.device, Event.program) + compute
        waits.stepped()
    assert len(waits.sums) + len(waits.pending) == 7
    waits.synchronize()
    assert waits.sums[:2] == [0, load]  # nothing ran before it
    assert np.diff(waits.sums[1:]).tolist() == pytest.approx([wait] * 5)


def test_what_else_delays_the_device_is_no_wait_for_data() -> None:
    Event.device = Event.program = 0.0
    waits = DeviceWaits(Event)
    waits.arrived(0.1)
    waits.stepped()
    Event.program += 5  # a checkpoint is written, say
    waits.arrived(0.2)
    waits.synchronize()
    assert waits.sums == pytest.approx([0, 0.1, 0.3])


def test_nothing_waits_for_the_device_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    Event.device = Event.program = 0.0
    waits = DeviceWaits(Event)

    def never(self: Event) -> None:
        raise AssertionError("waited for the device")

    monkeypatch.setattr(Event, "synchronize", never)
    for _ in range(4):
        waits.arrived(0.0)
        Event.device += 10
        waits.stepped()
    assert len(waits.pending) == 3
    assert isinstance(waits, HostWaits)
