"""`next`: trained models and images that nobody labelled -> those most worth labelling: a table, a page, and labels to correct."""

import hashlib
import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, product
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from seg.active.choosing import Choice, choose, of_instances, of_pixels
from seg.configure.read import read_group
from seg.core.errors import DataError, UsageError, plural
from seg.core.outputs import replaced_folder, used_up, write_whole
from seg.data.imagefile import decode_image
from seg.data.store import image_of, read_entries, read_info
from seg.models.checkpoint import load
from seg.pictures.draw import resized
from seg.predict.api import predictor_of
from seg.predict.devices import devices_in, devices_of
from seg.predict.fusion import refuse_others
from seg.predict.inputs import Input, images_of, inputs_of
from seg.predict.looks import encoder_maps
from seg.predict.settings import PredictSettings
from seg.predict.views import views_of
from seg.predict.write.coco import above
from seg.predict.write.writers import KINDS, Predicted, Writers
from seg.report.rendering import jpeg, percent, write_page
from seg.report.tables import write_rows
from seg.runtime.cluster import Cluster, engine_of
from seg.runtime.engine import Engine
from seg.runtime.progress import track
from seg.storing.duplicates import thumbnail
from seg.tiles.grid import read_ahead

ALONE = ("identity", "hflip")  # the views of a single model, unless predict.views says more
SIDE = 480  # pixels of a picture's longer side

Measured = tuple[float, np.ndarray, np.ndarray]
"""Of an image: its uncertainty, its features (F,) float32 of length 1, and its thumbnail (48, 48) uint8.

The uncertainty is the disagreement of several models; of one the entropy of its mean answer, or the mean of both figures of instances. The
features are the mean of the deepest ones of the first model's encoder, or, as of an exported file, the thumbnail where there are none.
"""


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of the command line. overrides: of conf/predict. count: of images. coverage: its weight in percent. data: the prepared data set."""

    models: Sequence[Path]
    inputs: Sequence[str]
    overrides: Sequence[str] = ()
    out: Path = Path("next")
    count: int = 20
    coverage: int = 30
    data: Path | None = None


def run(project: Path, given: Arguments) -> None:
    """Choose. Raises DataError at the end where an image could not be read."""
    if not given.count or given.coverage > 100:
        raise UsageError(f"next: --count {given.count} --coverage {given.coverage}: expected 1 image or more, and 0 to 100 percent")
    if (labels := given.out / "labels").exists():
        raise DataError(f"{labels}: is there already, and may have been corrected; write to another folder with --out, or remove it")
    params = read_group(project, "predict", given.overrides, "next")
    cfg, inputs = PredictSettings.of(params), inputs_of(given.inputs, given.out)
    with used_up(), engine_of(cfg.runtime.engine, cfg.runtime.address) as engine:
        known, found = _measured(engine, given, cfg, project / params["paths"]["prepare"], inputs)
        if not found:
            raise DataError("none of the images could be read; what is wrong with each is said above")
        uncertainty, features, small = (np.array(column) for column in zip(*(measured for _, measured in found), strict=True))
        near, seen = [m[1] for one, m in known if one.name.startswith("train/")], [m[2] for _, m in known]
        chosen = choose(features, uncertainty, small, given.count, given.coverage / 100, np.array(near), seen)
        rows = [_row(rank, found[c.place][0], uncertainty, c) for rank, c in enumerate(chosen, start=1)]
        _write(given, cfg, [found[c.place][0] for c in chosen], rows, len(found), len(near))
    print(f"{len(chosen)} of {plural(len(found), 'image')} chosen; see {given.out / 'next.html'}")
    if len(chosen) < min(given.count, len(found)):
        print(f"each of the others is nearly the same as one of these{' or as a labelled one' if seen else ''}")
    if bad := len(inputs) - len(found):
        raise DataError(f"{bad} of {plural(len(inputs), 'image')} could not be read; what is wrong with each is said above")


def _labelled(given: Arguments, usual: Path, cfg: PredictSettings, channels: int) -> list[Input]:
    """The images of --data, else of the project's data where the first model learned from that data set; names begin with the split."""
    folder = given.data
    if not folder and given.models[0].suffix == ".ckpt" and (usual / "dataset.json").is_file():
        folder = usual if read_info(usual).name == load(given.models[0], cfg.targets.allow).data.name else None
    if not folder:
        print("the labelled images are not known, so the choice starts from none; name their prepared data with --data")
        return []
    if (info := read_info(folder)).channels != channels:
        raise DataError(f"{folder}: has images of {info.channels} channels, but the model takes {channels}; name its own data with --data")
    named = [(f"{split}/{e.image_id}", image_of(folder / split, e)) for split in info.splits for e in read_entries(folder / split)]
    return [Input(name, stored.path, stored=stored) for name, stored in named]


def _measured(
    engine: Engine, given: Arguments, cfg: PredictSettings, usual: Path, inputs: Sequence[Input]
) -> tuple[list[tuple[Input, Measured]], list[tuple[Input, Measured]]]:
    """What is measured of each image that can be read, of the labelled ones and of the inputs; what is wrong with the others is told."""
    where = (cfg.predict.devices, cfg.predict.accelerator)
    devices = devices_in(engine, *where) if isinstance(engine, Cluster) else devices_of(*where)
    channels = predictor_of(given.models[:1], cfg, cfg.runtime.threads).network.facts.channels
    known, found = list[tuple[Input, Measured]](), list[tuple[Input, Measured]]()
    labelled = _labelled(given, usual, cfg, channels)
    tasks = [(of is labelled, part) for of in (labelled, inputs) for part in _in_parts(of, len(devices))]
    answers = engine.results(partial(Meter, given.models, cfg, given.out / "measured"), tasks, devices)
    with closing(answers):
        every = chain.from_iterable(answers)
        for is_labelled, one, measured in track(every, len(labelled) + len(inputs), "images measured", cfg.runtime.progress):
            if isinstance(measured, DataError):
                print(f"error: {measured}", file=sys.stderr, flush=True)
            else:
                (known if is_labelled else found).append((one, measured))
    return known, found


def _in_parts(inputs: Sequence[Input], workers: int) -> list[Sequence[Input]]:
    """Tasks of workers; videos are not divided further than among these, as for a frame all before it are read."""
    each = max(1, -(-len(inputs) // workers)) if any(one.frame is not None for one in inputs) else 16
    return [inputs[first : first + each] for first in range(0, len(inputs), each)]


class Meter:
    """Measures each image once: what it finds lies below a folder, named by models, settings and pixels, so that a killed run goes on."""

    def __init__(self, paths: Sequence[Path], cfg: PredictSettings, folder: Path, device: str | None) -> None:
        given = cfg.predict.model_copy(update={"accelerator": device})
        self.views = views_of(ALONE if len(paths) == 1 and given.views == ["identity"] else given.views)
        plain = cfg.model_copy(update={"predict": given.model_copy(update={"views": ["identity"]})})
        self.networks = [predictor_of([path], plain, cfg.runtime.threads).network for path in paths]
        self.facts = self.networks[0].facts
        for network, path in zip(self.networks, paths, strict=True):
            refuse_others(self.facts, str(paths[0]), network.facts, str(path))
        self.thresholds = [network.facts.threshold(given.score_threshold) for network, _ in product(self.networks, self.views)]
        matters = given.model_dump_json(include={"score_threshold", "merge", "tile", "tiling", "precision"})
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
        self.folder = folder / hashlib.sha256(json.dumps([matters, str(self.views), digests]).encode()).hexdigest()[:16]

    def __call__(self, task: tuple[bool, Sequence[Input]]) -> list[tuple[bool, Input, Measured | DataError]]:
        """Of each image whether it is labelled, the image, and what is measured, or wrong with it. Uncertainty of a labelled one is 0."""
        labelled, inputs = task
        images = read_ahead(images_of(inputs, self.facts.channels, None if labelled else self.facts.data_range))
        each = zip(inputs, images, strict=True)
        return [(labelled, one, image if isinstance(image, DataError) else self._measured(image, labelled)) for one, image in each]

    def _measured(self, image: np.ndarray, labelled: bool) -> Measured:
        name = hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest()
        path = self.folder / ("labelled" if labelled else "unlabelled") / f"{name}.npz"
        with suppress(OSError, ValueError, KeyError, BadZipFile), np.load(path) as kept:  # a power cut may leave a damaged one
            return float(kept["uncertainty"]), kept["features"], kept["thumbnail"]
        passes, small = list[Tensor](), thumbnail(image)  # of the encoder: one, or one of each batch of tiles

        def keep(_: Tensor, maps: list[Tensor]) -> None:
            passes.append(min(maps, key=lambda t: t[0, 0].numel()).float().flatten(2).mean(dim=2).cpu())

        answers = self._answers(torch.from_numpy(image).permute(2, 0, 1)[None])
        with encoder_maps(getattr(self.networks[0], "network", self.networks[0]), keep):  # of tiles, what sees each of them
            every = chain([next(answers)], answers)
        uncertainty = 0.0
        if not labelled:
            doubt, apart = of_pixels(every) if self.facts.dense else of_instances(list(every), self.thresholds)
            uncertainty = apart if len(self.networks) > 1 else doubt if self.facts.dense else (doubt + apart) / 2
        features = torch.cat(passes).mean(dim=0).numpy() if passes else small.ravel().astype(np.float32)
        features /= max(float(np.linalg.norm(features)), 1e-12)
        file = io.BytesIO()
        np.savez(file, uncertainty=uncertainty, features=features, thumbnail=small)
        write_whole(path, file.getvalue(), sync=False)
        return uncertainty, features, small

    def _answers(self, images: Tensor) -> Iterator[Any]:
        """Of one image: probabilities (K, H, W), or instances, of each model in each view."""
        size = (images.shape[-2], images.shape[-1])
        for network, view in product(self.networks, self.views):
            if self.facts.dense:
                yield view.logits_back(network.logits(view.of(images)), size)[0].softmax(dim=0)
            else:
                yield view.prediction_back(network.predict(view.of(images))[0], size)


def _row(rank: int, one: Input, uncertainty: np.ndarray, choice: Choice) -> dict[str, Any]:
    """Of next.csv."""
    own, distance = float(uncertainty[choice.place]), choice.distance if np.isfinite(choice.distance) else None
    why = f"more uncertain than {percent((uncertainty < own).sum() / max(1, len(uncertainty) - 1), 0)} of the others"
    near = f", and nearer to {percent(choice.nearer, 0)} of them than any labelled or chosen image"
    why += ", and chosen first of all" if distance is None else near
    numbers = {"score": choice.score, "uncertainty": own, "distance": distance}
    return {"rank": rank, "image": one.place, **numbers, "why": why.replace("\N{NO-BREAK SPACE}", " ")}


def _write(given: Arguments, cfg: PredictSettings, chosen: Sequence[Input], rows: list[dict[str, Any]], of: int, known: int) -> None:
    """The table, the page and the labels; the labels last, as a whole, since what has them is finished."""
    predictor, pictures = predictor_of(given.models, cfg, cfg.runtime.threads), []
    facts, settings = predictor.network.facts, cfg.predict.model_copy(update={"outputs": ["labelme", "coco", "cvat"]})
    with replaced_folder(given.out / "labels", ()) as partial:
        writers = Writers(partial, settings, facts)
        for one, image in zip(chosen, images_of(chosen, facts.channels, facts.data_range), strict=True):
            if isinstance(image, DataError):
                raise image
            predicted = Predicted(one, image, above(next(predictor.stream([image]))[0], writers.threshold))
            writers.write(predicted)
            drawn = decode_image(KINDS["overlay"].encode(predicted, partial, writers), 3, partial)
            pictures.append((jpeg(resized(image, SIDE)), jpeg(resized(drawn, SIDE))))
        writers.close()
        write_rows(given.out / "next.csv", rows)
        shown, title = list(zip(rows, pictures, strict=True)), f"{plural(len(rows), 'image')} to label next"
        write_page(given.out / "next.html", "active/next.html.j2", title=title, skip="images", shown=shown, of=of, known=known)
