"""A source of raw data -> the prepared data set: read in parallel, split, checked, counted, written whole or not at all."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

import cv2
import numpy as np

from seg.core.errors import DataError, InputError
from seg.core.outputs import replaced_folder
from seg.data.sample import ClassInfo
from seg.data.store import DatasetInfo, ManifestEntry
from seg.prepare.assignment import UNSPLIT, Assignment, divided, planned
from seg.prepare.checks.check import Diagnosis, check, write_diagnosis
from seg.prepare.checks.facts import Examined, RecordFacts, facts_of
from seg.prepare.pieces import in_tiles, largest, tiled
from seg.raw.record import Finding, Item, Source, counted, finding_of
from seg.runtime.engine import LOCAL, Engine
from seg.runtime.progress import track
from seg.sources.splits import SPLITS
from seg.storing.shards import MANY, ShardWriter
from seg.storing.statistics import Counts, background_index
from seg.storing.write import StoredRecord, measure_record, packed, write_info, write_record, write_split

SEE_ALL = "to see all, run `seg doctor` with the same settings (in the pipeline: `seg doctor -cn pipeline`)"

Job = tuple[Item, str]  # and the place below the folder where it is stored
Result = tuple[StoredRecord, RecordFacts] | list[Finding]  # of a bad image, what is wrong with it


@dataclass(frozen=True, slots=True)
class Examination:
    """What was read of a source. examined: the images that are sound, in order; items: of each image, by split and image_id."""

    examined: list[Examined]
    diagnosis: Diagnosis
    items: dict[tuple[str | None, str], Item]


def prepare(
    source: Source,
    name: str,
    classes: Sequence[ClassInfo],
    assignment: Assignment,
    root: Path | None,
    out: Path,
    workers: int | str,
    progress: str,
    settings: Mapping[str, Any] | None = None,
    store: str = "files",
    engine: Engine = LOCAL,
) -> tuple[DatasetInfo, list[Finding]]:
    """Write the prepared data set of `source` to the folder `out`, which is replaced as a whole; and what the doctor says of it.

    settings: the section `data`, which dataset.json records. store: as `data.store` has it. engine: whose workers read. Raises DataError
    (naming the file and the fix) for anything unsound; then `out` is left as it was."""
    with replaced_folder(out, (*SPLITS, "dataset.json", "doctor.json")) as unfinished:
        examination = examine(source, classes, assignment, root, workers, progress, unfinished, store, engine)
        refuse(examination.diagnosis.errors)
        stored: dict[str, list[StoredRecord]] = {s: [e.stored for e in examination.examined if e.split == s] for s in SPLITS}
        with_instances = any(e.stored.entry.num_instances for e in examination.examined)
        for split in ("train", "val"):  # test images stay whole: each has figures as one image
            stored[split] = tiled(unfinished / split, stored[split], (len(classes), background_index(classes)), largest(source))
        for split, members in stored.items():
            if members and any(e.stored.entry.stored_at for e in examination.examined):
                members[:] = packed(unfinished / split, members)
            write_split(unfinished / split, members, classes, with_instances)
        shutil.rmtree(unfinished / UNSPLIT, ignore_errors=True)
        write_diagnosis(unfinished / "doctor.json", examination.diagnosis, classes, root)
        return write_info(unfinished, name, classes, stored, settings), examination.diagnosis.findings


def refuse(errors: Sequence[Finding]) -> None:
    """Raise DataError where there are any: the first, and how many there are of each kind."""
    if errors:
        more = f"\n  of {len(errors)} errors ({counted(errors)}); {SEE_ALL}" if len(errors) > 1 else ""
        raise DataError(f"{errors[0]}{more}", kind=errors[0].kind)


def examine(
    source: Source,
    classes: Sequence[ClassInfo],
    assignment: Assignment,
    root: Path | None,
    workers: int | str,
    progress: str,
    folder: Path | None,
    store: str = "files",
    engine: Engine = LOCAL,
) -> Examination:
    """Read, divide and check every image; those that are sound are stored in `folder`, by their split or, where `store` says shards, in
    shards of UNSPLIT, or nowhere. What is wrong with a file or with the splits becomes a finding; a layout or settings that give no images
    are raised."""
    plan = in_tiles(planned(source, assignment, root), source)
    jobs, what = list(zip(plan.items, plan.places, strict=True)), "images read" if folder is None else "images prepared"
    spool = Spool(folder or Path(tempfile.gettempdir()))
    sharded = store == "shards" or (store == "auto" and len(jobs) > MANY)
    with closing(_results(jobs, workers, partial(_Worker, source, folder, classes, sharded), engine)) as read:
        each = track(read, len(jobs), what, progress)
        results = [result if isinstance(result, list) else (SpooledRecord(result[0], spool), result[1]) for result in each]
    sound = [index for index, result in enumerate(results) if not isinstance(result, list)]
    found = [result for result in results if not isinstance(result, list)]
    findings = [finding for result in results if isinstance(result, list) for finding in result]
    places, complete = [plan.places[index] for index in sound], bool(sound)
    try:
        if sound:
            places = divided(plan, sound, [stored for stored, _ in found], assignment, len(classes))
    except DataError as error:
        findings.append(finding_of(error))
        complete = UNSPLIT not in places
    names = [item.files[0] if item.files and "/" in item.files[0] else item.image_id for item in plan.items]  # some sources draw images
    examined = [Examined(place, names[i], stored, facts) for i, place, (stored, facts) in zip(sound, places, found, strict=True)]
    if folder is not None:
        _move(folder, [(image.stored.entry, plan.places[index], image.split) for index, image in zip(sound, examined, strict=True)])
    diagnosis = check(examined, classes, source.with_instances, complete)
    findings += [*plan.findings, *source.findings]
    findings += [replace(f, split=image.split, image_id=image.stored.entry.image_id) for image in examined for f in image.stored.findings]
    items = {(item.split, item.image_id): item for item in plan.items}
    items |= {(image.split, image.stored.entry.image_id): plan.items[index] for index, image in zip(sound, examined, strict=True)}
    all_findings = sorted([*findings, *diagnosis.findings], key=lambda f: f.severity)  # errors first
    return Examination(examined, Diagnosis(all_findings, diagnosis.summary), items)


def _results(jobs: Sequence[Job], workers: int | str, make: Callable[..., "_Worker"], engine: Engine) -> Generator[Result, None, None]:
    """Read, and perhaps store, every item."""
    count = 1 if len(jobs) < engine.alone_below else engine.cores() if workers == "auto" else max(1, int(workers))
    size = 1 if count == 1 else max(1, min(32, len(jobs) // (4 * count)))
    tasks = [jobs[first : first + size] for first in range(0, len(jobs), size)]
    with closing(engine.results(make, tasks, [None] * count)) as answers:
        yield from chain.from_iterable(answers)


class Spool:
    """Bytes put aside on the disk of `folder`."""

    def __init__(self, folder: Path) -> None:
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as what reads it does

    def add(self, data: bytes) -> Callable[[], bytes]:
        """Put bytes aside; what comes back reads them."""
        start, length = self.file.seek(0, os.SEEK_END), len(data)
        self.file.write(data)

        def read() -> bytes:
            self.file.seek(start)
            return self.file.read(length)

        return read


class SpooledRecord(StoredRecord):
    """A StoredRecord whose counts and annotations lie in a Spool, so that memory does not grow with them."""

    _rows: Callable[[], bytes]
    _annotations: Callable[[], bytes] | None

    def __init__(self, stored: StoredRecord, spool: Spool) -> None:
        counts = stored.counts
        light = {name: getattr(stored, name) for name in ("entry", "labels_sha256", "thumbnail", "findings", "spacing", "dealt_by")}
        rows = np.concatenate([counts.class_pixels[None], counts.histogram, counts.foreground])
        regions = spool.add(json.dumps(stored.annotations).encode()) if stored.annotations else None
        kept = {"_rows": spool.add(rows.astype(np.uint32).tobytes()), "_annotations": regions}  # an image has fewer pixels than 2**32
        for name, value in (light | kept).items():
            object.__setattr__(self, name, value)

    @property
    def counts(self) -> Counts:
        rows = np.frombuffer(self._rows(), np.uint32).reshape(-1, 256).astype(np.int64)
        channels = len(rows) // 2
        return Counts(rows[0], rows[1 : 1 + channels], rows[1 + channels :])

    @property
    def annotations(self) -> list[dict[str, Any]]:
        return json.loads(self._annotations()) if self._annotations else []


class _Worker:
    """In each process that prepares: reads, and perhaps stores, items."""

    def __init__(self, source: Source, folder: Path | None, classes: Sequence[ClassInfo], sharded: bool, _: str | None) -> None:
        cv2.setNumThreads(1)
        self.source, self.folder, self.facts = source, folder, (len(classes), background_index(classes))
        place = f"{(folder or Path()).absolute()}/{UNSPLIT}/{uuid4().hex}-"  # of this worker alone; `packed` puts them in order
        self.shards = ShardWriter(folder, place) if folder and sharded else None

    def __call__(self, jobs: Sequence[Job]) -> list[Result]:
        return [self._store(*job) for job in jobs]

    def _store(self, item: Item, place: str) -> Result:
        folder, facts = self.folder, self.facts
        try:
            record = self.source.read(item)
            if errors := [finding for finding in record.findings if finding.severity == "error"]:
                return [replace(error, image_id=item.image_id, split=item.split) for error in errors]
            stored = measure_record(record, *facts) if folder is None else write_record(folder / place, record, *facts, shards=self.shards)
            return replace(stored, entry=replace(stored.entry, columns=dict(item.columns))), facts_of(record.sample, stored)
        except InputError as error:
            return [finding_of(error, item.files, item.image_id, item.split)]


def _move(folder: Path, moves: Iterable[tuple[ManifestEntry, str, str]]) -> None:
    """Bring the files of each entry from the place where they were stored to their split."""
    made: set[str] = set()
    for entry, origin, split in moves:
        for part, file in (("images", entry.file), ("semantic", f"{entry.image_id}.png")):
            if origin != split and not entry.stored_at:
                target = f"{folder}/{split}/{part}/{file}"  # no Path, of which there would be six an image
                if (parent := os.path.dirname(target)) not in made:
                    os.makedirs(parent, exist_ok=True)
                    made.add(parent)
                os.replace(f"{folder}/{origin}/{part}/{file}", target)
