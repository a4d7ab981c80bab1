"""What predicts, whatever it came from: one seam for models, exported files, ensembles, views and tiles of an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from seg.data.labelmaps import boxed
from seg.data.sample import ClassInfo, Prediction, Range
from seg.models.postprocess import NOTHING, Postprocess, has_background
from seg.settings.task import ANSWERS, Answer

SCORE = 0.5  # the score threshold where none was given or chosen


@dataclass(frozen=True, slots=True)
class Facts:
    """What one must know of a network to use it.

    task: a key of ANSWERS. channels: of its images, RGB where there are three. stride: of its coarsest features,
    in pixels that it sees. data_range: the values of images deeper than 8 bit that become 0 and 255, as data.range has it. window: the
    side in pixels of what it learned to see at once, None: whole images. dense: whether it gives the logits of all pixels, and not
    instances; None: as its task says. postprocess: what its predictions go through, of which it does the temperature itself. things: the
    classes whose segments are not joined, where predictions are segments."""

    task: str
    classes: tuple[ClassInfo, ...]
    channels: int
    stride: int
    data_range: Range
    window: int | None = None
    dense: bool | None = None
    postprocess: Postprocess = NOTHING
    things: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.dense is None:
            object.__setattr__(self, "dense", self.answer == "classes")

    @property
    def answer(self) -> Answer:
        return ANSWERS[self.task]

    def threshold(self, given: float | None) -> float:
        """The score from which on instances are shown: as given, else as it was chosen, else SCORE. Of segments SCORE at most, since a
        higher one was chosen for things, which the model leaves out before it makes segments."""
        chosen = self.postprocess.score_threshold
        most = SCORE if self.answer == "segments" else 1.0
        return given if given is not None else SCORE if chosen is None else min(most, chosen)

    def finished(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        """Whole images' predictions after the operations on objects."""
        background = has_background([c.name for c in self.classes])
        found = [self.postprocess.applied(prediction, background) for prediction in predictions]
        return [boxed(prediction) for prediction in found] if self.answer == "boxes" else found


class Network(Protocol):
    """Takes images (B, C, H, W) uint8 as they are stored, on any device and of any size; normalises and pads by itself."""

    @property
    def facts(self) -> Facts: ...

    def logits(self, images: Tensor) -> Tensor:
        """Of a semantic network: (B, K, H, W) float32, on its own device."""

    def predict(self, images: Tensor) -> list[Prediction]:
        """One Prediction an image, of the same size."""
