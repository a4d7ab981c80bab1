"""explain.html: for each image the answer, and the maps of all methods side by side, in one file that needs no network and no script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from seg.explain.methods import share_inside
from seg.explain.subject import Explained
from seg.pictures.draw import heat_map, lined, resized
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
        image, region = one.image, one.explained.region
        rows = [(method, drawn(image, region, found), drawn(image, region, one.random[method])) for method, found in one.maps.items()]
        shown.append((one, drawn(image, region), rows))
    title = f"{model}: which pixels its answers rest on"
    write_page(path, "explain/explain.html.j2", title=title, skip="images", shown=shown, said=WORDS["methods"])


WORDS: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))


def drawn(image: np.ndarray, region: np.ndarray, values: np.ndarray | None = None) -> bytes:
    """A JPEG file of an image (H, W, C) uint8, perhaps under a map (H, W), with the outline of a region (H, W) bool; the highest hundredth
    of the map's values has one colour, so that single pixels do not hide the rest."""
    if values is not None:
        image = heat_map(image, np.minimum(values / max(float(np.quantile(values, 0.99)), 1e-12), 1))
    return jpeg(lined(resized(image, SIDE), region))
