"""How the postprocessing of a checkpoint was chosen, as the file holds it and the report shows it."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field

from seg.models.declared import Text, declared


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure before and after a change, over the same images.

    what: the change, in words. figure: which of the figures is compared. low, high: of the difference, after less before; NaN where the
    images are too few for an interval. taken: whether the change was made.
    """

    what: Text
    figure: Text
    before: float
    after: float
    low: float
    high: float
    taken: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """images: of validation, by which it was made. tried: every change. calibration: of the likelihood by the temperature, and errors: the
    expected calibration errors without it and with it; None where there was no probability to calibrate.
    """

    images: int = 0
    tried: Annotated[tuple[Compared, ...], Field(max_length=10_000)] = ()
    calibration: Compared | None = None
    errors: tuple[float, float] | None = None

    @classmethod
    def of(cls, content: Any, said: str, fix: str) -> "Choice":
        """What `to_plain` gave, or nothing where a file of an earlier version has none; DataError as `declared`."""
        return declared(cls, {} if content is None else content, said, fix)

    def to_plain(self) -> dict[str, Any]:
        return asdict(self) | {"tried": [asdict(row) for row in self.tried], "errors": list(self.errors) if self.errors else None}

    def lines(self) -> list[str]:
        """What is told of a change that was made, with the figure that it changed."""
        rows = [f"{row.what}: {row.figure} {row.before:.3f} -> {row.after:.3f}" for row in self.tried if row.taken]
        if self.calibration and self.calibration.taken and self.errors:
            rows.insert(0, f"{self.calibration.what}: calibration error {self.errors[0]:.3f} -> {self.errors[1]:.3f}")
        return rows


NO_CHOICE = Choice()
