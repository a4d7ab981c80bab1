"""explain.html: for each image the answer, and the maps of all methods side by side, in one file that needs no network and no script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

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
    shown, said = [], WORDS["methods"]
    for one in explanations:
        image, region = one.image, one.explained.region
        rows = [
            (m, said.get(m, said["attention"]), heat(image, found, region), heat(image, one.random[m], region), one.inside[m], one.alike[m])
            for m, found in one.maps.items()
        ]
        shown.append((one, answer(image, region), rows))
    write_page(path, "explain/explain.html.j2", title=f"{model}: which pixels its answers rest on", skip="images", shown=shown)


WORDS: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))


def answer(image: np.ndarray, region: np.ndarray) -> bytes:
    """A JPEG file of the image (H, W, C) uint8 with the outline of a region (H, W) bool."""
    return jpeg(_outlined(resized(image, SIDE), region))


def heat(image: np.ndarray, values: np.ndarray, region: np.ndarray) -> bytes:
    """A JPEG file of the map over the image, with the outline of a region; the highest hundredth of the map's values has one colour, so
    that single pixels do not hide the rest."""
    top = max(float(np.quantile(values, 0.99)), 1e-12)
    return jpeg(_outlined(resized(heat_map(image, np.minimum(values / top, 1)), SIDE), region))


def _outlined(picture: np.ndarray, region: np.ndarray) -> np.ndarray:
    shown = cv2.resize(region.astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    picture = np.where(borders(shown, 5)[..., None], np.uint8(0), picture)
    return np.where(borders(shown)[..., None], np.uint8(255), picture)
