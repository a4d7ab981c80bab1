"""`review`: the models of all folds -> labels that are suspect, ranked: a page on which they are marked, a table, and files to correct."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from pycocotools import mask as coco_mask

from seg.core.errors import plural
from seg.core.outputs import replaced_folder, write_whole
from seg.data.sample import BACKGROUND, ClassInfo, Prediction, Sample
from seg.data.store import ManifestEntry
from seg.loading.batch import Batch
from seg.loading.dataset import PreparedData
from seg.metrics.instance import instances_of
from seg.models.hardware import device_of
from seg.review.expected import Asked, ranked
from seg.review.files import write_files
from seg.review.marks import mark_of, read_marks, row_of
from seg.review.objects import asked_of_instances
from seg.review.page import Card, card_of, write_review
from seg.review.regions import asked_of_class_map, label_quality
from seg.review.settings import Review
from seg.review.suspects import Suspect
from seg.runtime.progress import track
from seg.stages import folds
from seg.stages.evaluate import Part, batches_of
from seg.tiles.network import Network


class Settings(folds.Settings):
    review: Review


def run(cfg: Settings, out: Path) -> None:
    info, checkpoints, parts = folds.parts_of(cfg)
    trained = checkpoints[0].settings
    objects, marks = trained.task.answer != "classes", read_marks(Path(cfg.paths.marks))
    asked, quality, network_of = list[Asked](), dict[str, float](), dict[str, Network]()
    on_gpu = device_of(cfg.runtime.device or trained.trainer.accelerator).type == "cuda"
    batches = batches_of(parts, cfg.evaluate.batch_size, on_gpu)
    for batch, network in track(*batches, "batches reviewed", cfg.runtime.progress):
        network_of |= dict.fromkeys(batch.image_ids, network)
        if objects:
            for index, prediction in enumerate(_predicted(network, batch.images)):
                asked += asked_of_instances(instances_of(batch, index, prediction))
        else:
            asked += _asked_of_classes(batch, network, info.classes, cfg.review.least_pixels, quality)
    places = _places(parts)
    suspects = ranked(asked)
    if marks:
        suspects = [replace(s, mark=mark_of(s, places[s.image_id][2].sha256, marks)) for s in suspects]
    open_ones = [s for s in suspects if s.mark != "right" and s.score >= cfg.review.least_score]
    listed, known_right = open_ones[: cfg.review.listed], sum(s.mark == "right" for s in suspects)
    with replaced_folder(out, ("review.html", "review.json", "images.csv", "labelme", "coco.json", "cvat.xml")) as partial:
        rows = [_row(s, places[s.image_id][2].sha256, info.classes) for s in suspects]
        write_whole(partial / "review.json", json.dumps({"suspects": rows}, indent=1) + "\n")
        _write_images(partial / "images.csv", suspects, quality, list(places))
        of_image: dict[str, list[Suspect]] = {}
        for suspect in listed:
            of_image.setdefault(suspect.image_id, []).append(suspect)
        write_files(partial, ((_sample(places, name), of_image[name]) for name in of_image), info.classes, objects)
        told = f"{plural(len(open_ones), 'suspicion')} in {plural(len(places), 'image')} of {info.name}"
        told += f"; the first {len(listed)} are shown" if len(listed) < len(open_ones) else ""
        told += f"; {known_right} more were marked right before" if known_right else ""
        cards = sorted(_cards(of_image, places, network_of, info.classes, objects), key=lambda card: card.suspect.rank)
        write_review(partial / "review.html", f"Labels of {info.name} to look at", cards, info.classes, f"{told}.")
    print(told)
    print(f"see {out / 'review.html'}; {plural(len(of_image), 'image')} to correct in {out / 'labelme'}, coco.json and cvat.xml")


def _predicted(network: Network, images: torch.Tensor) -> list[Prediction]:
    return network.facts.finished(network.predict(images))


def _asked_of_classes(
    batch: Batch, network: Network, classes: list[ClassInfo], least_pixels: int, quality: dict[str, float]
) -> Iterator[Asked]:
    """Of each image its regions; its label quality is put into `quality`."""
    background = 0 if classes[0].name == BACKGROUND else None
    for index, logits in enumerate(network.logits(batch.images)):
        height, width = batch.sizes[index]
        probabilities = logits[:, :height, :width].float().softmax(dim=0).cpu().numpy()
        labels, name = batch.semantic[index, :height, :width].numpy(), batch.image_ids[index]
        quality[name] = label_quality(labels, probabilities)
        yield from asked_of_class_map(name, labels, probabilities, background, least_pixels)


Places = dict[str, tuple[PreparedData, int, ManifestEntry]]


def _places(parts: list[Part]) -> Places:
    """Where each image is: its data, its place there, and its row in the manifest."""
    found: Places = {}
    for part in parts:
        for index, (_, entry) in enumerate(part.data.split_dataset(part.split).rows):
            found[entry.image_id] = (part.data, index, entry)
    return found


def _sample(places: Places, name: str) -> Sample:
    data, index, _ = places[name]
    return data.split_dataset("val").read(index)


def _cards(
    of_image: dict[str, list[Suspect]],
    places: Places,
    network_of: dict[str, Network],
    classes: list[ClassInfo],
    objects: bool,
) -> Iterator[Card]:
    """Image by image: each is predicted once more, for its pictures."""
    for name, suspects in of_image.items():
        sample = _sample(places, name)
        (prediction,) = _predicted(network_of[name], torch.from_numpy(sample.image).permute(2, 0, 1)[None])
        for suspect in suspects:
            yield card_of(suspect, sample, prediction, places[name][2].sha256, classes, objects)


def _row(suspect: Suspect, sha256: str, classes: list[ClassInfo]) -> dict[str, object]:
    own = row_of(suspect, sha256, classes)
    x, y, width, height = (int(v) for v in coco_mask.toBbox({"size": own["size"], "counts": own.pop("counts")}))
    masks = {side: [mask["counts"] for mask in getattr(suspect, side)] for side in ("labelled", "suggested")}
    return own | masks | {"score": suspect.score, "box": [x, y, x + width, y + height], "mark": suspect.mark}


def _write_images(path: Path, suspects: list[Suspect], quality: dict[str, float], names: list[str]) -> None:
    """A row an image, that with the most suspect label first; of class maps also with the soft minimum of its pixels."""
    counts, worst = Counter(s.image_id for s in suspects), {s.image_id: s.score for s in reversed(suspects)}
    rows = sorted((-worst.get(name, 0.0), quality.get(name, 1 - worst.get(name, 0.0)), name) for name in names)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image_id", "most_suspect", "label_quality", "suspects"])
        writer.writerows([name, f"{-score:.6f}", f"{value:.6f}", counts[name]] for score, value, name in rows)
