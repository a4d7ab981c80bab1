"""`track`: a model and a video -> its objects, followed from frame to frame: tables, COCO's format for videos, and a video."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from seg.core.errors import ConfigError, DataError, UsageError, plural
from seg.core.outputs import whole_file, write_whole
from seg.predict.api import Predictor, predictor_of, settings_of
from seg.predict.inputs import Input, images_of, inputs_of
from seg.predict.looks import looks_of
from seg.predict.write.coco import above
from seg.runtime.progress import track as progress
from seg.track.files import CocoVideo, Film, mot_lines
from seg.track.tracker import Rules, Tracker

RATE = 25.0  # frames a second of a video that is made of images


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of the command line. inputs: a video, or the images of one. overrides: of conf/predict. lost: frames. plain: without a film."""

    model: Path
    inputs: Sequence[str]
    overrides: Sequence[str] = ()
    out: Path = Path("tracked")
    lost: int = 120
    plain: bool = False


def run(project: Path, given: Arguments) -> None:
    """Follow the objects of a video. What was followed is written also where it is interrupted."""
    inputs = inputs_of(given.inputs, given.out)
    if len({one.path for one in inputs if one.frame is not None}) > 1 or len({one.frame is None for one in inputs}) > 1:
        raise UsageError("track: name one video, or the images of one; objects of another video are other objects")
    cfg = settings_of(["predict.batch_size=1", *given.overrides], project)
    predictor = predictor_of([given.model], cfg, cfg.runtime.threads)
    if predictor.network.facts.answer not in ("masks", "boxes"):
        raise ConfigError(
            f"{given.model}: says a class of each pixel, and tracking needs objects; train with task=instance, or task=detection"
        )
    name = inputs[0].path.stem if inputs[0].frame is not None else "images"
    threshold = predictor.network.facts.threshold(predictor.settings.score_threshold)
    tracker = Tracker(Rules(sure=threshold, unsure=min(0.1, threshold), lost=given.lost))
    given.out.mkdir(parents=True, exist_ok=True)
    rows, frames, done = Counter[tuple[int, int]](), list[str](), 0
    film_file = given.out / f"{name}.partial.mp4"
    with whole_file(given.out / f"{name}.json") as json_file, ExitStack() as stack:
        coco = CocoVideo(json_file, name, predictor.classes)
        looks = stack.enter_context(looks_of(predictor.network))
        stack.callback(film_file.unlink, missing_ok=True)
        film, stopped = None, None
        try:
            for image in progress(_frames(inputs, predictor), len(inputs), "frames", cfg.runtime.progress):
                (prediction, _), size = next(predictor.stream([image])), (image.shape[0], image.shape[1])
                prediction = above(prediction, tracker.rules.unsure)
                numbers = tracker.update(prediction.boxes, prediction.scores, prediction.categories, looks.of(prediction.boxes, size))
                frames.append(mot_lines(done, prediction, numbers))
                coco.add(done, size, prediction, numbers)
                rows.update((int(n), int(c)) for n, c in zip(numbers, prediction.categories, strict=True) if n)
                if not given.plain:
                    film = film or Film(film_file, size, _rate(inputs[0]), predictor.classes)
                    film.add(image, prediction, numbers)
                done += 1
        except KeyboardInterrupt as interrupt:
            stopped = interrupt
        coco.close()
        if film:
            film.close()
            film_file.replace(given.out / f"{name}.mp4")
    write_whole(given.out / f"{name}.txt", "".join(frames))
    write_whole(given.out / f"{name}_objects.csv", _objects(rows, predictor))
    counts = Counter(category for _, category in rows)
    told = ", ".join(f"{predictor.classes[category].name} {count}" for category, count in sorted(counts.items())) or "none"
    print(f"{plural(done, 'frame')}, {plural(len({n for n, _ in rows}), 'object')} ({told}); see {given.out}")
    if stopped:
        raise stopped


def _frames(inputs: Sequence[Input], predictor: Predictor) -> Iterator[np.ndarray]:
    """The pixels of each frame; DataError for one that cannot be read, since without it objects would be lost."""
    facts, size = predictor.network.facts, None
    for one, image in zip(inputs, images_of(inputs, facts.channels, facts.data_range), strict=True):
        if isinstance(image, DataError):
            raise image
        if size not in (None, image.shape[:2]):
            raise DataError(f"{one.place}: has {image.shape[1]} x {image.shape[0]} pixels, and the frames before {size[1]} x {size[0]}")
        size = image.shape[:2]
        yield image


def _rate(first: Input) -> float:
    """Frames a second of a video."""
    if first.frame is None:
        return RATE
    capture = cv2.VideoCapture(str(first.path))
    try:
        return capture.get(cv2.CAP_PROP_FPS) or RATE
    finally:
        capture.release()


def _objects(rows: "Counter[tuple[int, int]]", predictor: Predictor) -> str:
    """A row an object: its number, class and frames."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("object", "class", "frames"))
    writer.writerows((number, predictor.classes[category].name, count) for (number, category), count in sorted(rows.items()))
    return text.getvalue()
