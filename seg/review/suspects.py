"""Suspect labels: places where the prediction of a model that did not learn from an image contradicts the labels of the image."""

from dataclasses import dataclass

from seg.data.rle import Rle

KINDS = {
    "missed": "nobody labelled it",
    "made up": "it is labelled where nothing seems to be",
    "wrong class": "it seems to be of another class",
    "outline": "its outline seems to lie elsewhere",
    "merged": "several objects seem to be labelled as one",
    "split": "one object seems to be labelled as several",
}
"""What may be wrong with a label, and how a page says it."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """kind: of KINDS. score: 0..1, the more suspect the higher. label, likely: class indices, as labelled and as predicted; None: of no
    object. labelled, suggested: the masks that the label has, and that the prediction would have in its place. mark: what somebody said of
    it before."""

    image_id: str
    kind: str
    score: float
    label: int | None
    likely: int | None
    labelled: list[Rle]
    suggested: list[Rle]
    mark: str | None = None

    @property
    def rank(self) -> tuple[float, str, str]:
        """The most suspect is the least."""
        return -self.score, self.image_id, self.kind
