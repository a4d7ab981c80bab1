"""explain.html: for each image the answer, and the maps of all methods side by side, in one file that needs no network and no script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seg.explain.methods import share_inside
from seg.explain.subject import Explained
from seg.pictures.draw import borders, heat_map, resized
from seg.report.rendering import jpeg, write_page

SIDE = 360  # pixels of a picture's longer side


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of an image (H, W, C) uint8. maps, random: of each method, by the model and by its copy of random weights. alike: their likeness."""

    name: str
    image: np.ndarray
    class_name: str
    explained: Explained
    maps: Mapping[str, np.ndarray]
    random: Mapping[str, np.ndarray]
    alike: Mapping[str, float]

    @property
    def inside(self) -> dict[str, float]:
        """The share of each map that lies in the region."""
        return {name: share_inside(values, self.explained.region) for name, values in self.maps.items()}


def write_explanations(path: Path, model: str, explanations: Sequence[Explanation]) -> None:
    """Write the page, whole or not at all."""
    shown = []
    for one in explanations:
        answer = _outlined(resized(one.image, SIDE), one.explained.region)
        rows = [
            (name, NOTES.get(name, GATE), jpeg(_shown(one, values)), jpeg(_shown(one, one.random[name])), one.inside[name], one.alike[name])
            for name, values in one.maps.items()
        ]
        shown.append((one, jpeg(answer), rows))
    write_page(path, "explain/explain.html.j2", title=f"{model}: which pixels its answers rest on", skip="images", shown=shown)


NOTES = {
    "gradients": "which pixels change the answer if they change a little",
    "integrated gradients": "how much each pixel adds, on the way from an image of the mean colour to this one",
    "Grad-CAM": "where the coarsest features of the encoder speak for the answer",
    "occlusion": "how much the answer loses where a window hides the image",
}
"""What each method shows, in words."""
GATE = "what this gate of the network lets pass, whatever the answer"


def _shown(one: Explanation, values: np.ndarray) -> np.ndarray:
    """The map over the image; the highest hundredth of its values has one colour, so that single pixels do not hide the rest."""
    top = max(float(np.quantile(values, 0.99)), 1e-12)
    picture = heat_map(one.image, np.minimum(values / top, 1))
    return _outlined(resized(picture, SIDE), one.explained.region)


def _outlined(picture: np.ndarray, region: np.ndarray) -> np.ndarray:
    rows, columns = (np.arange(side) * old // side for side, old in zip(picture.shape[:2], region.shape, strict=True))
    edge = borders(region[rows[:, None], columns].astype(np.uint8))
    picture = picture.copy()
    picture[edge] = (255, 255, 255)
    return picture
