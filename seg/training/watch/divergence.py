"""Whether losses have diverged: not a number, or far above what they were."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from seg.settings.schema import Divergence


@dataclass(frozen=True, slots=True)
class Verdict:
    """index: of the loss among those that were looked at. reason: what is wrong with it."""

    index: int
    reason: str


class LossWatch:
    """Looks at losses in their order.

    A loss is high if it exceeds `factor` times the reference: the running median of the last `window` losses that were not high, or the
    median of the run's first `window` ones, whichever is larger. So a loss that had come down to almost nothing may rise to where it
    began. `steps` high losses in a row are a divergence; a single spike is none. A loss that is not finite is one at once.
    """

    def __init__(self, settings: Divergence) -> None:
        self.settings = settings
        self.recent: deque[float] = deque(maxlen=settings.window)
        self.first: list[float] = []
        self.high = 0

    def look(self, losses: Sequence[float]) -> Verdict | None:
        """The first divergence among the next losses, None where there is none."""
        for index, loss in enumerate(losses):
            if not math.isfinite(loss):
                return Verdict(index, f"is {loss}")
            reference = self.reference()
            self.high = self.high + 1 if reference > 0 and loss > self.settings.factor * reference else 0
            if self.high >= self.settings.steps:
                times = f"{self.settings.factor:g} times its running median of {reference:.3g}"
                return Verdict(index, f"is {loss:.3g}, for {self.high} steps more than {times}")
            if not self.high:
                self.recent.append(loss)
                if len(self.first) < self.settings.window:
                    self.first.append(loss)
        return None

    def reference(self) -> float:
        """What a loss is compared with; 0 before the first few, by which nothing is judged."""
        if len(self.recent) < min(self.settings.window, FEW):
            return 0.0
        return max(median(self.recent), median(self.first))


FEW = 10
"""Losses that a median needs."""
