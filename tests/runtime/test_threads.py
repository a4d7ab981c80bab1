"""The number of threads by pretended steps: chosen, kept, chosen again beside a neighbour, tried again when it is gone."""

import os
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from seg.core import environment
from seg.runtime import threads as module
from seg.runtime.threads import COST, REST, TIMED, WARM_UP, WINDOW, Neighbours, Threads, numbers_of, threads_of

Times = namedtuple("Times", "user idle iowait guest")
ROOT = Path(__file__).parents[2]
QUIET = {1: 0.2, 2: 0.15}
BUSY = {1: 0.2, 2: 1.0}
"""Seconds of a step by the number of threads, on two cores: alone, and beside a program that keeps a core busy."""


class Machine:
    """Two cores, or more, on which steps take pretended times."""

    def __init__(self, pace: dict[int, float], free: float, numbers: Sequence[int] = (1, 2), **state: Any) -> None:
        self.pace, self.left, self.set, self.said, self.seconds = pace, free, [0], list[str](), 0.0
        self.threads = Threads(numbers, lambda: self.left, say=self.said.append, apply=self.set.append, state=state)

    def steps(self, count: int, work: Callable[[int], float] = lambda _: 1.0) -> list[int]:
        """The number of threads of each step."""
        numbers = []
        for i in range(count):
            numbers.append(self.set[-1])
            assert numbers[-1] == self.threads.number
            self.seconds += self.pace[numbers[-1]] * work(i)
            self.threads.took(self.pace[numbers[-1]] * work(i), work(i))
        return numbers


FIRST = 1 + WARM_UP + TIMED


def test_a_quiet_machine_keeps_all_threads_after_a_look_at_fewer() -> None:
    machine = Machine(QUIET, 2.0)
    assert machine.threads.choosing
    assert machine.steps(FIRST + WARM_UP + TIMED) == [2] * FIRST + [1] * (WARM_UP + TIMED)
    assert not machine.threads.choosing
    assert set(machine.steps(2000)) == {2}, "nothing more is tried, so equal trainings have equal numbers"
    assert machine.said == []


def test_chance_takes_no_thread_from_a_quiet_machine() -> None:
    machine = Machine({1: 0.18, 2: 0.2}, 2.0)
    machine.steps(300)
    assert machine.set[-1] == 2
    beside = Machine({1: 0.18, 2: 0.2}, 1.75)
    beside.left = 1.2
    beside.steps(300)
    assert beside.set[-1] == 1, "a program uses the other core"


def test_fewer_threads_where_these_are_faster() -> None:
    machine = Machine({1: 0.01, 2: 0.02}, 2.0)
    machine.steps(FIRST + WARM_UP + TIMED)
    assert machine.set[-1] == 1
    assert machine.said == ["2 threads -> 1: a step takes 0.01 s where 0.02 s before"]


def test_beside_a_neighbour_it_starts_with_what_is_left() -> None:
    machine = Machine(BUSY, 1.05)
    assert set(machine.steps(300)) == {1}, "more are not even tried"
    machine.left = 1.6
    assert set(machine.steps(300)) == {1}
    assert machine.said == ["1 thread, as other programs use cores; more are tried when these are free"]
    machine.left, machine.pace = 1.95, QUIET
    assert machine.steps(int(REST / 0.2) + 10)[-1] == 2
    assert machine.said[1:] == ["1 thread -> 2: a step takes 0.15 s where 0.2 s before; the cores are free again"]


def test_a_neighbour_that_comes_is_noticed_within_some_steps() -> None:
    machine = Machine(QUIET, 2.0)
    machine.steps(100)
    machine.pace, machine.left = BUSY, 1.0
    assert machine.steps(WINDOW + WARM_UP + TIMED)[-4:] == [1] * 4
    assert machine.said == ["2 threads -> 1: a step takes 0.2 s where 1 s before; another program uses the cores"]
    assert set(machine.steps(500)) == {1}


def test_trials_that_fail_cost_little_where_nobody_knows_of_the_neighbour() -> None:
    """As in containers whose figures of the machine are wrong."""
    machine = Machine(QUIET, 2.0)
    machine.steps(50)
    machine.pace = BUSY
    machine.steps(20)
    before, steps = machine.seconds, 20_000
    numbers = machine.steps(steps)
    assert 2 in numbers, "it is tried"
    assert machine.seconds - before < steps * 0.2 * (1 + 2 * COST)
    assert all(numbers[i : i + WARM_UP + 2] == [2] * (WARM_UP + 1) + [1] for i in range(1, steps) if numbers[i - 1 : i + 1] == [1, 2])
    assert len(machine.said) == 1


def test_a_wavering_neighbour_is_not_answered_each_time() -> None:
    """Where the same number is the best however slow the steps are."""
    machine = Machine(QUIET, 2.0)
    machine.steps(50)
    tried = 0
    for _ in range(10):
        for pace in ({1: 2.0, 2: 1.5}, {1: 9.0, 2: 6.0}):
            machine.pace = pace
            tried += sum(a > b for a, b in pairwise(machine.steps(8)))
    assert 1 <= tried <= 5


def test_a_machine_that_is_slow_with_any_number_is_left_alone() -> None:
    machine = Machine(QUIET, 2.0)
    machine.steps(50)
    machine.pace = {1: 2.0, 2: 1.5}
    machine.steps(30)
    assert machine.set[-1] == 2
    assert set(machine.steps(200)) == {2}, "1.5 s a step is what is usual now"
    assert machine.said == []


def test_larger_images_are_no_slower_steps() -> None:
    machine = Machine(QUIET, 2.0)
    machine.steps(50)
    assert set(machine.steps(50, lambda i: 1.0 + 3 * (i % 7))) == {2}


@pytest.mark.parametrize(("free", "best"), [(8.0, 4), (7.0, 7), (8.0, 8), (3.0, 1)])
def test_of_many_cores_the_fastest_number_is_found(free: float, best: int) -> None:
    """Where times rise to both sides of it."""
    numbers = [1, 2, 4, 7, 8]
    machine = Machine({n: 0.1 * (1 + abs(numbers.index(n) - numbers.index(best))) for n in numbers}, free, numbers)
    machine.steps(60)
    assert machine.threads.chosen == best


def test_a_resumed_run_starts_with_the_number_that_it_had_and_knows_its_pace() -> None:
    first = Machine(QUIET, 2.0)
    first.steps(50)
    first.pace, first.left = BUSY, 1.0
    first.steps(20)
    second = Machine(BUSY, 2.0, **first.threads.state_dict())
    assert set(second.steps(20)) == {1}
    third = Machine(BUSY, 1.0, number=2, rate=0.15)
    assert third.steps(3) == [2, 2, 1], "slower than before the interruption"
    assert Machine(QUIET, 2.0, number=16, rate=0.1).threads.choosing, "this machine has no such number"


def test_a_trial_that_was_interrupted_is_not_what_was_chosen() -> None:
    machine = Machine(QUIET, 2.0)
    machine.steps(FIRST + 1)
    assert machine.threads.number == 1
    assert machine.threads.state_dict() == {"number": 2, "rate": None}


def test_a_single_number_is_kept_and_nothing_is_timed() -> None:
    machine = Machine({3: 1.0}, 1.0, [3], number=1, rate=0.1)
    machine.steps(5)
    machine.pace = {3: 100.0}
    assert set(machine.steps(50)) == {3}
    assert not machine.threads.choosing
    assert machine.said == []


def test_a_step_that_fails_is_not_counted() -> None:
    machine = Machine(QUIET, 2.0)
    with pytest.raises(MemoryError), machine.threads.timed(1.0):
        raise MemoryError
    assert machine.threads.elapsed == 0.0
    with machine.threads.timed(2.0):
        pass
    assert 0 < machine.threads.elapsed < 1
    assert machine.threads.work == 2.0


@pytest.mark.parametrize(
    ("cores", "of_torch", "ranks", "expected"),
    [(1, 1, 1, [1]), (2, 2, 1, [1, 2]), (16, 16, 1, [1, 2, 4, 8, 15, 16]), (16, 8, 1, [1, 2, 4, 7, 8]), (6, 6, 2, [1, 3]), (2, 2, 4, [1])],
)
def test_what_there_is_to_choose_from(monkeypatch: pytest.MonkeyPatch, cores: int, of_torch: int, ranks: int, expected: list[int]) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(environment, "num_cores", lambda: cores)
    monkeypatch.setattr(module, "_of_torch", lambda: of_torch)
    assert numbers_of("auto", ranks) == expected
    assert numbers_of(3, ranks) == [3]
    monkeypatch.setenv("OMP_NUM_THREADS", "5,2")
    assert numbers_of("auto", ranks) == [5], "what the user set stays"
    assert numbers_of(3, ranks) == [3]


def test_torch_has_the_number() -> None:
    before = torch.get_num_threads()
    threads = threads_of(before + 2)
    assert torch.get_num_threads() == before + 2
    torch.set_num_threads(before)
    with threads.timed(1.0):
        assert torch.get_num_threads() == before + 2, "another network's may have been set meanwhile"
    torch.set_num_threads(before)


def test_neighbours_are_what_neither_idles_nor_is_this_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4 cores in 10 s: 12 core seconds idle, 2 waiting for a disk, 20 of this program and its children, 6 of others."""
    looks = iter([(0.0,) * 4, (26.0, 12.0, 2.0, 4.0)])  # user, with a guest's part of it; idle; iowait; guest
    own = iter([0.0, 0.0, 13.0, 7.0])

    class Process:
        def children(self, recursive: bool) -> list["Process"]:
            return [Process(), Gone()]

        def cpu_times(self) -> SimpleNamespace:
            return SimpleNamespace(user=next(own), system=0.0)

    class Gone(Process):
        def cpu_times(self) -> SimpleNamespace:
            raise psutil.NoSuchProcess(1)

    monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
    monkeypatch.setattr(psutil, "cpu_times", lambda: Times(*next(looks)))
    monkeypatch.setattr(psutil, "Process", Process)
    found = Neighbours(0.0)
    assert found.left == pytest.approx((12 + 2 + 20) / 40 * 4)
    monkeypatch.setattr(Neighbours, "_look", lambda _: found.last)
    assert found.free() == found.left, "no time has passed since"


@contextmanager
def neighbour() -> Iterator[None]:
    """A program that keeps a core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


PROGRAM = """
import json, sys, time
import torch
from seg.runtime.threads import threads_of
setting = sys.argv[1] if sys.argv[1] == "auto" else int(sys.argv[1])
threads = threads_of(setting, "step")
net = torch.nn.Sequential(*[torch.nn.Conv2d(16, 16, 3, padding=1) for _ in range(12)])
images, end, done = torch.rand(8, 16, 64, 64), time.monotonic() + 12, 0
while time.monotonic() < end:
    with threads.timed(1.0):
        net(images).sum().backward()
    done += 1
print(done)
"""


@pytest.mark.slow
@pytest.mark.skipif(environment.num_cores() < 2, reason="a single core leaves nothing to choose")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" in os.environ, reason="compares paces, which needs the machine for itself: pytest -n 0 -m slow")
def test_beside_a_real_neighbour_it_keeps_the_pace_of_the_best_number() -> None:
    cores = environment.num_cores()
    variables = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = {}
    for setting in ("auto", "1", str(cores)):
        with neighbour():
            output = subprocess.run(
                [sys.executable, "-c", PROGRAM, setting], capture_output=True, text=True, check=True, cwd=ROOT, env=variables
            )
        done[setting] = int(output.stdout.splitlines()[-1])
    assert done["auto"] >= 0.7 * max(done["1"], done[str(cores)]), done
