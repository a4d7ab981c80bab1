"""`explain`: a checkpoint and images -> which pixels its answers rest on: a page, a picture of each map, and figures."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from seg.core.errors import DataError, UsageError, plural
from seg.core.outputs import write_whole
from seg.data.imagefile import encode_png
from seg.explain.subject import check_captum, chosen, in_window
from seg.models.base import SegmentationModel
from seg.models.checkpoint import load, restore
from seg.predict.api import Predictor, predictor_of, settings_of
from seg.predict.inputs import images_of, inputs_of
from seg.predict.settings import PredictSettings
from seg.runtime.progress import track

if TYPE_CHECKING:
    from seg.explain.page import Explanation


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of the command line. name: of a class. at: x, y of a pixel. overrides: of conf/predict."""

    model: Path
    inputs: Sequence[str]
    overrides: Sequence[str] = ()
    name: str | None = None
    at: tuple[int, int] | None = None
    out: Path = Path("explained")


def run(project: Path, given: Arguments) -> None:
    """Explain an answer for each image. Raises DataError at the end where an image could not be read."""
    check_captum("seg explain")
    if given.model.suffix != ".ckpt":
        raise UsageError(f"explain: {given.model}: name a checkpoint of training; an exported file gives no derivatives")
    from seg.explain.page import Explanation, write_explanations

    cfg = settings_of(given.overrides, project)
    inputs = inputs_of(given.inputs, given.out)
    predictor, (model, twin) = predictor_of([given.model], cfg), _models(given.model, cfg)
    facts, explanations, bad = predictor.network.facts, list[Explanation](), 0
    pixels = images_of(inputs, facts.channels, facts.data_range)
    for one, image in zip(track(inputs, len(inputs), "images explained", cfg.runtime.progress), pixels, strict=True):
        if isinstance(image, DataError):
            print(f"error: {image}", file=sys.stderr, flush=True)
            bad += 1
            continue
        explanations.append(_explained(one.name, image, predictor, model, twin, given))
    for found in explanations:
        for method, values in found.maps.items():
            picture = np.round(255 * values / max(float(values.max()), 1e-12)).astype(np.uint8)
            write_whole(given.out / f"{found.name}_{method.replace(' ', '_')}.png", encode_png(picture))
    rows = {
        found.name: {
            "class": found.class_name,
            "score": found.explained.score,
            "pixels": int(found.explained.region.sum()),
            "methods": {m: {"share_inside": i if i == i else None, "likeness_to_random": found.alike[m]} for m, i in found.inside.items()},
        }
        for found in explanations
    }
    write_whole(given.out / "explain.json", json.dumps(rows, indent=1) + "\n")
    write_explanations(given.out / "explain.html", given.model.name, explanations)
    print(f"{plural(len(explanations), 'image')} explained; see {given.out / 'explain.html'}")
    if bad:
        raise DataError(f"{bad} of {plural(len(inputs), 'image')} could not be read; what is wrong with each is said above")


def _models(path: Path, cfg: PredictSettings) -> tuple[SegmentationModel, SegmentationModel]:
    """The model in float32, and its copy with random weights."""
    from seg.explain.methods import randomised
    from seg.models.hardware import device_of

    checkpoint = load(path, cfg.targets.allow)
    model = restore(checkpoint).to(device_of(cfg.predict.accelerator or checkpoint.settings.trainer.accelerator)).eval()
    return model, randomised(model).eval()


def _explained(
    name: str, image: np.ndarray, predictor: Predictor, model: SegmentationModel, twin: SegmentationModel, given: Arguments
) -> "Explanation":
    """Of one image; of one that is larger than the model's window, the window about the answer."""
    from seg.explain.methods import likeness, maps_of, question
    from seg.explain.page import Explanation

    try:
        explained = chosen(predictor.predict(image), predictor.classes, given.name, given.at)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None
    image, explained = in_window(image, explained, model.seen_at_once((image.shape[0], image.shape[1])), given.at)
    size = (image.shape[0], image.shape[1])
    images = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(model.mean.device)
    maps = maps_of(question(model, images, explained), size)
    random = maps_of(question(twin, images, explained), size)
    for network, found in ((model, maps), (twin, random)):
        found |= {f"attention at {place}": values[0].cpu().numpy() for place, values in network.attention_maps(images).items()}
    alike = {method: likeness(values, random[method]) for method, values in maps.items()}
    return Explanation(name, image, predictor.classes[explained.category].name, explained, maps, random, alike)
