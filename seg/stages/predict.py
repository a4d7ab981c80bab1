"""`predict`: a model and images that nobody labelled -> class maps or instances, as files."""

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seg.core.environment import num_cores
from seg.core.errors import DataError, DiskFullError, UsageError, plural
from seg.core.outputs import ADVICE, is_memory_error, used_up
from seg.core.tars import within
from seg.core.urls import existing, is_elsewhere, resolved
from seg.predict.api import Predictor, predictor_of, settings_of
from seg.predict.band_tiff import stream_class_map
from seg.predict.devices import devices_in, devices_of
from seg.predict.inputs import Input, images_of, inputs_of, too_large
from seg.predict.settings import PredictSettings
from seg.predict.write.writers import STREAMED, CocoRows, Predicted, Writers
from seg.runtime.cluster import Cluster, engine_of
from seg.runtime.engine import LOCAL, Engine
from seg.runtime.progress import meter
from seg.tiles.grid import read_ahead
from seg.tiles.tiled import Tiled

AHEAD = 4  # images that are read before they are predicted, and as many that wait to be written


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of the command line. inputs: files, folders, patterns. overrides: of conf/predict. force: replace outputs. skip: leave them."""

    models: Sequence[Path]
    inputs: Sequence[str]
    overrides: Sequence[str] = ()
    out: Path = Path("predictions")
    force: bool = False
    skip: bool = False


def run(project: Path, given: Arguments) -> None:
    """Predict. Raises DataError at the end where an image could not be read."""
    cfg = settings_of(given.overrides, project)
    if not is_elsewhere(given.out) and given.out.exists() and not given.out.is_dir():
        raise UsageError(f"predict: --out {given.out}: is a file; name a folder, which is made where it is missing")
    inputs = inputs_of(given.inputs, given.out)
    with engine_of(cfg.runtime.engine, cfg.runtime.address) as engine:
        where = (cfg.predict.devices, cfg.predict.accelerator)
        devices = devices_in(engine, *where) if isinstance(engine, Cluster) else devices_of(*where)
        several = len(devices) > 1 or engine is not LOCAL
        predictor = predictor_of(given.models, _with(cfg, accelerator="cpu", compile=False) if several else cfg, cfg.runtime.threads)
        writers = Writers(given.out, cfg.predict, predictor.network.facts)
        if writers.streamed and (is_elsewhere(given.out) or any(is_elsewhere(one.path) or within(one.path) for one in inputs)):
            what = f"predict.outputs=[{STREAMED}]: reads and writes parts of files"
            raise UsageError(f"{what}, so these lie on a disk, not at a URL or in a tar file; copy or unpack them")
        _refuse_links(inputs, writers)
        todo = _not_there(inputs, writers, given.force, given.skip)
        try:
            with used_up():
                alone = (predictor, todo, writers, cfg.runtime.progress)
                bad = _share_out(engine, devices, given, cfg, todo, writers) if several else _predict(*alone)
        except DiskFullError as error:  # what is written is whole
            raise DiskFullError(str(error).replace(ADVICE, f"{ADVICE} with --skip, which goes on")) from None
    if skipped := len(inputs) - len(todo):
        print(f"left out, as their outputs are there: {plural(skipped, 'image')}")
    print(f"{plural(len(todo) - bad, 'image')} in {given.out}: {', '.join(writers.names)}")
    if bad:
        raise DataError(f"{bad} of {plural(len(todo), 'image')} could not be predicted; what is wrong with each is said above")


def _refuse_links(inputs: Sequence[Input], writers: Writers) -> None:
    """DataError where an output would be written over an input, as where a folder of the outputs is a link to the inputs."""
    taken = {resolved(given.path) for given in inputs}
    folders: dict[Path, Path] = {}
    for given in inputs:
        for path in writers.paths(given.name):
            if path.parent not in folders:
                folders[path.parent] = resolved(path.parent)
            if (place := folders[path.parent] / path.name) in taken or (path.is_symlink() and path.resolve() in taken):
                fix = "write to another folder with --out"
                raise DataError(f"{path}: is {place}, one of the images to predict, which it would replace; {fix}")


def _not_there(inputs: Sequence[Input], writers: Writers, force: bool, skip: bool) -> list[Input]:
    """The inputs that are to be predicted; DataError where files would be overwritten that nobody gave up."""
    if force:
        return list(inputs)
    exists = existing(writers.out)
    if taken := [path for path in writers.shared() if exists(path)]:
        raise DataError(f"{taken[0]}: is there already; predict to another folder with --out, or replace it with --force")
    done = {given.name: found for given in inputs if (found := [path for path in writers.paths(given.name) if exists(path)])}
    if skip:
        return [given for given in inputs if len(done.get(given.name, ())) < max(1, len(writers.paths(given.name)))]
    if done:
        first = next(iter(done.values()))[0]
        more = f" (and outputs of {len(done) - 1} more images)" if len(done) > 1 else ""
        fix = "predict to another folder with --out, replace with --force, or leave out with --skip"
        raise DataError(f"{first}: is there already{more}; {fix}")
    return list(inputs)


def _share_out(
    engine: Engine, devices: Sequence[str | None], given: Arguments, cfg: PredictSettings, inputs: Sequence[Input], writers: Writers
) -> int:
    """Predict on several devices, in the batches of one; returns how many images could not be predicted."""
    size = 1 if writers.streamed else cfg.predict.batch_size
    batches = -(-len(inputs) // size)
    frames = any(one.frame is not None for one in inputs)  # for one of a video, all before are read
    each = -(-batches // len(devices)) if frames else max(1, min(8, batches // (4 * len(devices))))
    tasks = [inputs[first : first + each * size] for first in range(0, len(inputs), each * size)]
    print(f"{len(devices)} {engine.workers} predict side by side, on {', '.join(map(str, devices))}", flush=True)
    bad = done = 0
    answers = engine.results(
        partial(_Worker, given, cfg), tasks, devices, "what is written is whole, and the same command with --skip goes on"
    )
    with meter(len(inputs), "images predicted", cfg.runtime.progress) as show, closing(answers):
        for task, (failed, said, rows) in zip(tasks, answers, strict=True):
            print(said, end="", file=sys.stderr, flush=True)
            for row in rows:
                writers.add(*row)
            bad, done = bad + failed, done + len(task)
            show(done)
    writers.close()
    return bad


class _Worker:
    """In the process of one of several devices: predicts images. Returns how many could not be, what it said, and rows of coco.json."""

    def __init__(self, given: Arguments, cfg: PredictSettings, device: str | None) -> None:
        torch.set_num_threads(min(num_cores(), torch.get_num_threads()))
        self.predictor = predictor_of(given.models, _with(cfg, accelerator=device), cfg.runtime.threads)
        self.writers = Writers(given.out, cfg.predict, self.predictor.network.facts)

    def __call__(self, inputs: Sequence[Input]) -> tuple[int, str, list[Any]]:
        rows = CocoRows()
        self.writers.together = [rows] if self.writers.together else []
        with used_up(), redirect_stderr(io.StringIO()) as said, redirect_stdout(said):
            bad = _predict(self.predictor, inputs, self.writers, "none")
        return bad, said.getvalue(), rows.rows


def _with(cfg: PredictSettings, **values: Any) -> PredictSettings:
    return cfg.model_copy(update={"predict": cfg.predict.model_copy(update=values)})


def _stream(predictor: Predictor, inputs: Sequence[Input], writers: Writers, progress: str) -> int:
    """Class maps of images that no memory holds, one after another; returns how many images could not be predicted."""
    network, bad = predictor.network, 0
    assert isinstance(network, Tiled)
    if network.facts.postprocess.changes_objects:
        print("predict.outputs=[tiff]: the operations on objects that the model brings are left out, since they need the whole class map")
    with meter(len(inputs), "images predicted", progress) as show:
        for done, given in enumerate(inputs):
            try:
                if given.frame is not None:
                    raise DataError(f"{given.place}: frames of a video are written as other outputs, such as predict.outputs=[classes]")
                stream_class_map(network, given.path, writers.paths(given.name)[0], show, done)
            except DataError as error:
                print(f"error: {error}", file=sys.stderr, flush=True)
                bad += 1
    return bad


def _predict(predictor: Predictor, inputs: Sequence[Input], writers: Writers, progress: str) -> int:
    """Read, predict and write beside each other; returns how many images could not be predicted.

    A batch is of images among `predict.batch_size` inputs in a row, so that it does not depend on who predicts the others."""
    if writers.streamed:
        return _stream(predictor, inputs, writers, progress)
    facts, bad = predictor.network.facts, 0
    read: list[tuple[Input, np.ndarray]] = []  # that are on their way through the network

    def tell(error: DataError) -> None:
        nonlocal bad
        print(f"error: {error}", file=sys.stderr, flush=True)
        bad += 1

    pixels = read_ahead(images_of(inputs, facts.channels, facts.data_range), AHEAD)
    stream, size = predictor.stream, predictor.settings.batch_size

    def images(first: int, show: Callable[[float], None]) -> Iterator[np.ndarray]:
        for done, given in enumerate(inputs[first : first + size], start=first):
            show(done)
            image = next(pixels)
            if isinstance(image, DataError):
                tell(image)
            else:
                read.append((given, image))
                yield image

    def predicted(source: Iterator[np.ndarray]) -> Iterator[Predicted]:
        """Each image's prediction. Where the memory does not suffice for a batch, its images are taken one by one."""
        while True:
            try:
                for prediction, probabilities in stream(source, writers.probabilities):
                    yield Predicted(*read.pop(0), prediction, probabilities)
                return
            except Exception as error:
                if not is_memory_error(error):
                    raise
            while read:
                given, image = read.pop(0)
                try:
                    prediction, probabilities = next(stream([image], writers.probabilities))
                except Exception as error:
                    if not is_memory_error(error):
                        raise
                    tell(too_large(given))
                else:
                    yield Predicted(given, image, prediction, probabilities)

    with ThreadPoolExecutor(1) as pool, meter(len(inputs), "images predicted", progress) as show:
        waiting: list[Future[None]] = []
        for first in range(0, len(inputs), size):
            for one in predicted(images(first, show)):
                waiting.append(pool.submit(writers.write, one))
                while len(waiting) > AHEAD:
                    waiting.pop(0).result()
        for written in waiting:
            written.result()
    writers.close()
    return bad
