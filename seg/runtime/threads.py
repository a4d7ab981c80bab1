"""How many threads torch computes with on a CPU: chosen by timed steps, and chosen again where these become slow.

All threads of a computation wait for the slowest. Beside a program that keeps one core busy, a step of as many threads as there are cores
can take five times as long as before, where one of fewer threads keeps its pace."""

import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from types import MappingProxyType
from typing import Any

import psutil
import torch

from seg.core.environment import num_cores, own_cores
from seg.core.errors import plural

WARM_UP, TIMED = 1, 3  # steps after a change of the number that count for nothing, then those that it is judged by
WINDOW = 5  # latest steps that are watched
BETTER, SLOWER, GIVEN_UP = 0.95, 1.25, 2.0
"""Times the seconds of before: up to which another number is better; from which the number is chosen again; from which a single step ends
a trial, and two steps are enough for choosing again."""
UNDISTURBED = 0.8  # as BETTER, for fewer threads on a quiet machine: few steps are short, and chance makes some of them quicker
REST, COST = 10.0, 0.01
"""At least so many seconds lie between two trials of more threads, and so many that trials lose no more than this share of the time."""
SLACK = 0.3  # of a core: what all the small programs of a quiet machine take together
Timed = tuple[float, float]
tell = partial(print, flush=True)


class Neighbours:
    """What other programs leave of the machine, from one look to the next. Ranks look at nothing: they would take each other for it."""

    def __init__(self, seconds: float = 0.1) -> None:
        self.cores = psutil.cpu_count() or 1
        self.last, self.left = self._look(), float(self.cores)
        time.sleep(seconds)
        self.free(0.0)

    def free(self, least: float = 0.5) -> float:
        """Cores that were left to this program since the last look, if that is at least some seconds ago; else what it found."""
        now = self._look()
        idle, own, total = (max(0.0, after - before) for after, before in zip(now, self.last, strict=True))
        if total > least * self.cores:
            self.last, self.left = now, min(1.0, (idle + own) / total) * self.cores
        return self.left

    @staticmethod
    def _look() -> tuple[float, float, float]:
        """Seconds of all cores: idle, of this program with its loading processes, and all."""
        system, own = psutil.cpu_times(), 0.0
        process = psutil.Process()
        for one in (process, *process.children(recursive=True)):
            try:
                times = one.cpu_times()
            except psutil.Error:  # it has just ended
                continue
            own += times.user + times.system
        guests = sum(getattr(system, name, 0.0) for name in ("guest", "guest_nice"))  # they are part of `user` and `nice`
        return system.idle + getattr(system, "iowait", 0.0), own, sum(system) - guests


class Threads:
    """The number of threads of work that is done in steps. One object a network: each has a pace of its own.

    numbers: to choose from, ascending; where there is one, nothing is timed. free: cores that other programs leave.
    step: what a step is called. say: is told each change in a line. apply: sets the number. state: of a run that goes on, which starts
    with the number that it had, if that may still be chosen."""

    def __init__(
        self,
        numbers: Sequence[int],
        free: Callable[[], float],
        step: str = "step",
        say: Callable[[str], None] = print,
        apply: Callable[[int], None] = torch.set_num_threads,
        state: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.numbers, self.free, self.step, self.say, self.apply = numbers, free, step, say, apply
        known = state.get("number") in numbers
        self.number = self.chosen = state["number"] if known else max((n for n in numbers if n <= free() + SLACK), default=numbers[0])
        self.rate: float | None = state["rate"] if known else None  # seconds of a unit of work since the number was chosen
        self.work, self.elapsed, self.wait, self.useless = 1.0, 0.0, REST, False
        self._spent = self._done = 0.0  # seconds and work of trials
        apply(self.number)
        self._life = self._choose()
        next(self._life)

    @contextmanager
    def timed(self, work: float) -> Iterator[None]:
        """Around a step. work: its size, such as its pixels."""
        self.apply(self.number)
        start = time.perf_counter()
        yield
        self.took(time.perf_counter() - start, work)

    def took(self, seconds: float, work: float) -> None:
        """A step took so long. What follows depends on what is told here and on `free` alone."""
        if len(self.numbers) > 1:
            self._life.send((seconds, work))

    @property
    def choosing(self) -> bool:
        return len(self.numbers) > 1 and self.rate is None

    def _choose(self) -> Generator[None, Timed, None]:
        if self.rate is None:
            if self.number < self.numbers[-1]:
                self.say(f"{plural(self.number, 'thread')}, as other programs use cores; more are tried when these are free")
            yield from self._step()
            rate = yield from self._measure(self.number)
            yield from self._climb(rate, (-1, 1))
        while True:
            rate, directions = yield from self._watch()
            yield from self._climb(rate, directions)

    def _step(self) -> Generator[None, Timed, float]:
        """The seconds of a unit of work in the next step."""
        seconds, self.work = yield
        self.elapsed += seconds
        return seconds / self.work

    def _measure(self, number: int, best: float = float("inf")) -> Generator[None, Timed, float]:
        """Try a number. best: of those that were tried before it."""
        self.number = number
        self.apply(number)
        for _ in range(WARM_UP):
            self._spent, self._done = self._spent + (yield from self._step()) * self.work, self._done + self.work
        rates: list[float] = []
        while len(rates) < TIMED:
            rates.append((yield from self._step()))
            self._spent, self._done = self._spent + rates[-1] * self.work, self._done + self.work
            if rates[-1] > GIVEN_UP * best:
                break
        return statistics.median(rates)

    def _climb(self, rate: float, directions: Sequence[int]) -> Generator[None, Timed, None]:
        """Try fewer (-1) or more threads (1), on and on while these are faster, and keep the best."""
        at = before = self.number
        best, self._spent, self._done = rate, 0.0, 0.0
        for direction in directions:
            for other in self.numbers[self.numbers.index(at) + 1 :] if direction > 0 else self.numbers[: self.numbers.index(at)][::-1]:
                if direction > 0 and self.free() + SLACK < other:
                    break
                found = yield from self._measure(other, best)
                if found > best * (UNDISTURBED if direction < 0 and self.free() + SLACK >= at else BETTER):
                    break
                at, best = other, found
            if at != before:
                break
        self.number = self.chosen = at
        self.apply(at)
        loss = self._spent - best * self._done
        self.useless = self.rate is not None and directions[0] < 0 and at == before
        self.rate, self.elapsed, self.wait = best, 0.0, max(REST, loss / COST)
        if at != before:
            cause = "the cores are free again" if at > before else "another program uses the cores" if self.free() + SLACK < before else ""
            took = f"{plural(before, 'thread')} -> {at}: a {self.step} takes {best * self.work:.2g} s where {rate * self.work:.2g} s before"
            self.say("; ".join(filter(None, (took, cause))))

    def _watch(self) -> Generator[None, Timed, tuple[float, Sequence[int]]]:
        """Until the steps become slow, or more threads are to be tried: the present rate, and what to try."""
        recent: deque[float] = deque(maxlen=WINDOW)
        settled = False
        while True:
            recent.append((yield from self._step()))
            now, rested = statistics.median(recent), self.elapsed >= self.wait
            assert self.rate is not None
            sudden = len(recent) > 1 and min(recent[-1], recent[-2]) > GIVEN_UP * self.rate
            if (sudden or (len(recent) == WINDOW and now > SLOWER * self.rate)) and (rested or not self.useless):
                return min(recent[-1], recent[-2]) if sudden else now, (-1, 1)
            if len(recent) < WINDOW:
                continue
            if not settled and now <= SLOWER * self.rate:
                self.rate, settled = now, True
            if rested and self.number < self.numbers[-1]:
                if self.free() + SLACK >= self.numbers[self.numbers.index(self.number) + 1]:
                    return now, (1,)
                self.elapsed = self.wait - REST

    def state_dict(self) -> dict[str, Any]:
        """The number that was chosen last, and its rate."""
        return {"number": self.chosen, "rate": self.rate}


def numbers_of(setting: int | str, ranks: int = 1) -> list[int]:
    """What `runtime.threads` leaves to choose from, ascending. ranks: training processes that share this machine's cores. auto: all cores,
    one less, and halves of them; or the number in OMP_NUM_THREADS, where it is set."""
    if setting != "auto":
        return [int(setting)]
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if given.strip().isdigit():
        return [max(1, int(given))]
    most = min(own_cores(ranks), _of_torch())
    halves = {most >> i for i in range(most.bit_length())}
    return sorted({n for n in (*halves, most - 1 if most > 3 else most) if n})


@cache
def _of_torch() -> int:
    """What torch takes by itself: on processors that run two threads a core, a thread a core."""
    return torch.get_num_threads()


def threads_of(setting: int | str, step: str = "batch", say: Callable[[str], None] = tell) -> Threads:
    """Of a process that computes alone."""
    numbers = numbers_of(setting)
    return Threads(numbers, Neighbours().free if len(numbers) > 1 else num_cores, step, say)
