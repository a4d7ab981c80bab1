"""Images of several requests, predicted together."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread

import numpy as np

from seg.data.sample import Prediction
from seg.predict.api import Predictor

Found = tuple[Prediction, np.ndarray | None]


@dataclass(eq=False, slots=True)
class Waiting:
    """An image (H, W, C) uint8 in the queue. probabilities: whether they are asked for. future: what is predicted."""

    image: np.ndarray
    probabilities: bool
    future: "Future[Found]" = field(default_factory=Future)

    def alike(self, other: "Waiting") -> bool:
        return self.image.shape == other.image.shape and self.probabilities == other.probabilities


class Pool:
    """A thread that predicts what waits: the longest waiting image, and with it those of its size, `size` at most.

    Nobody waits for a batch to fill. seen: is told how many images each batch has."""

    def __init__(self, predictor: Predictor, size: int, seen: Callable[[int], None]) -> None:
        self.predictor, self.size, self.seen = predictor, size, seen
        self.queue: deque[Waiting] = deque()
        self.there = Condition()
        Thread(target=self._run, daemon=True).start()

    async def predict(self, image: np.ndarray, probabilities: bool) -> Found:
        """As `Predictor.stream` gives it. What is cancelled before its turn is left out."""
        waiting = Waiting(image, probabilities)
        with self.there:
            self.queue.append(waiting)
            self.there.notify()
        return await asyncio.wrap_future(waiting.future)

    def _run(self) -> None:
        while True:
            with self.there:
                self.there.wait_for(lambda: self.queue)
                first = self.queue[0]
                batch = [one for one in self.queue if one.alike(first)][: self.size]
                for one in batch:
                    self.queue.remove(one)
            if batch := [one for one in batch if one.future.set_running_or_notify_cancel()]:
                self._answer(batch)

    def _answer(self, batch: list[Waiting]) -> None:
        """Where a batch fails, as for want of memory, its images are predicted one by one: each has its own error, or none."""
        try:
            found = list(self.predictor.stream([one.image for one in batch], batch[0].probabilities))
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for one in batch:
                self._answer([one])
        else:
            self.seen(len(batch))
            for one, each in zip(batch, found, strict=True):
                one.future.set_result(each)
