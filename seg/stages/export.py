"""`export`: a checkpoint -> a file that holds the way from stored pixels to the network's outputs, compared with the checkpoint."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from seg.configure.read import read_group
from seg.configure.template import own_version
from seg.core.errors import ConfigError, DiskFullError, InputError
from seg.core.textfile import read_text
from seg.export.check import Instances, Pixels
from seg.export.forms import PRECISIONS, Form, Forms, Written
from seg.export.settings import Export, ExportSettings
from seg.export.write import Exporter
from seg.models.base import SegmentationModel
from seg.models.checkpoint import LoadedCheckpoint, load, restore
from seg.models.detection import DetectionModel
from seg.models.distance import DistanceModel
from seg.models.instance import InstanceModel
from seg.models.prototypes import PrototypeModel
from seg.models.semantic import SemanticModel
from seg.predict.description import Description, Gives
from seg.predict.exported import SUFFIXES
from seg.tiles.checkpoint import facts_of

GIVES: dict[type, Gives] = {SemanticModel: "scores", InstanceModel: "instances", PrototypeModel: "instances", DistanceModel: "maps"}
GIVES |= {DetectionModel: "boxes"}
"""What the file of each kind of model gives."""


def gives_of(model: SegmentationModel) -> Gives | None:
    """What the file of a model gives; None for a kind that no file holds."""
    return next((gives for kind, gives in GIVES.items() if isinstance(model, kind)), None)


AS_THEY_ARE = ("out", "images", "card", "size")  # keys whose values are text, whatever they look like


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of the command line. overrides: KEY=VALUE, keys of `export`, or paths.prepare."""

    checkpoint: Path
    overrides: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the file, its description, how it differs from the checkpoint, and its size in bytes."""

    path: Path
    description: Description
    found: Pixels | Instances
    weight: int


def run(project: Path, given: Arguments) -> Exported:
    """Write the file and compare it; with format=auto several files, of which the fastest stays. Raises InputError where it cannot be."""
    path, cfg = given.checkpoint, ExportSettings.of(read_group(project, "export", [_override(o) for o in given.overrides], "export"))
    settings = cfg.export
    forms, out = _forms(path, settings)
    size = _size(settings.size)
    card = read_text(Path(settings.card)) if settings.card else ""
    checkpoint = load(path, cfg.targets.allow)
    model = restore(checkpoint)
    network = gives_of(model)
    if network is None:
        kind = f"{type(model).__module__}.{type(model).__name__}"
        fix = f"exported files hold models of the kinds {', '.join(kind.__name__ for kind in GIVES)} alone; use the checkpoint"
        raise ConfigError(f"{path}: is of the task {checkpoint.settings.task.name}, whose model {kind} is of a kind of its own; {fix}")
    gives: Gives = "classes" if settings.argmax else network
    _refuse(settings, checkpoint.settings.task.name, network)
    described = replace(_description(checkpoint, gives, size), peak=getattr(model, "peak", None), card=card)
    work = Forms(cfg, path, checkpoint, Exporter(model, described), out)
    made, notes = dict[Form, Written](), dict[Form, str]()
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        for form in forms:
            try:
                made[form] = work.written(form)
                notes[form] = made[form].note
            except InputError as error:
                if settings.format != "auto" or isinstance(error, DiskFullError):
                    raise
                notes[form] = str(error).removeprefix(f"{path}: ")
        if not made:
            raise ConfigError(f"{path}: no format could be written: {next(iter(notes.values()))}")
        chosen = work.fastest(made, notes) if settings.format == "auto" else forms[0]
        target = work.target(chosen)
        for ending in _endings(target):
            work.beside(chosen).with_suffix(ending).replace(target.with_suffix(ending))
    finally:
        for form in forms:
            for ending in _endings(work.beside(form)):
                work.beside(form).with_suffix(ending).unlink(missing_ok=True)
    one = made[chosen]
    weight = sum(target.with_suffix(ending).stat().st_size for ending in _endings(target))
    print(f"{target}: {weight / 1e6:.1f} MB, {chosen.precision}, {_takes(one.description)}")
    print(f"compared with PyTorch on {len(work.images)} {work.kind} and {one.batches - len(work.images)} random batches:")
    print(f"  {one.found.line()}")
    if chosen.precision != "float32":
        print(f"  {one.note}")
    return Exported(target, one.description, one.found, weight)


def _override(argument: str) -> str:
    """KEY=VALUE as an override of the section `export`, whose name may be left out."""
    key, _, value = argument.partition("=")
    key = key if key.partition(".")[0] in ("export", "paths", "targets") else f"export.{key}"
    return f'{key}="{value}"' if key.removeprefix("export.") in AS_THEY_ARE else f"{key}={value}"


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise ConfigError(f"size={text}: expected HEIGHTxWIDTH in pixels, as in size=360x480")
    return int(found[1]), int(found[2])


def _forms(checkpoint: Path, settings: Export) -> tuple[list[Form], Path]:
    """Those that may be written, and the path without its suffix."""
    if settings.format != "auto":
        suffix, known = SUFFIXES[settings.format], PRECISIONS[settings.format]
        if settings.precision not in known:
            raise ConfigError(f"precision={settings.precision}: files of format={settings.format} compute in {' or '.join(known)}")
        if settings.out and Path(settings.out).suffix != suffix:
            fix = f"set out={Path(settings.out).with_suffix(suffix)}"
            raise ConfigError(f"out={settings.out}: a file of format={settings.format} ends in {suffix}; {fix}")
        forms = [Form(settings.format, settings.precision)]
    else:  # of those, what `out` and `precision` leave
        asked = [form for form, suffix in SUFFIXES.items() if settings.out and Path(settings.out).suffix == suffix] or list(SUFFIXES)
        forms = [Form(form, p) for form, known in PRECISIONS.items() for p in known if form in asked]
        forms = [form for form in forms if settings.precision in ("float32", form.precision)]
        if not forms:
            raise ConfigError(f"precision={settings.precision}: no format of out={settings.out} computes in it; leave out one of the two")
    out = Path(settings.out) if settings.out else checkpoint.with_suffix("")
    return forms, out.with_suffix("") if out.suffix in SUFFIXES.values() else out


def _endings(out: Path) -> tuple[str, ...]:
    return (".xml", ".bin") if out.suffix == ".xml" else (out.suffix,)


def _refuse(settings: Export, task: str, gives: Gives) -> None:
    if settings.argmax and gives != "scores":
        raise ConfigError(f"argmax=true: is for classes of pixels, but the checkpoint's task is {task}; leave it out")


def _description(checkpoint: LoadedCheckpoint, gives: Gives, size: tuple[int, int] | None) -> Description:
    trained, data = checkpoint.settings, checkpoint.data
    window = trained.model.window
    if gives == "classes" or size not in (None, (window, window)):
        window = None  # tiles have no scores that could be averaged, or another size than the file takes
    return Description(
        facts=replace(facts_of(checkpoint), window=window),
        gives=gives,
        size=size,
        minimum=size or (1, 1),
        model=trained.model.name,
        data=data.name,
        digest=data.digest,
        version=own_version(),
    )


def _takes(description: Description) -> str:
    """Which images the file takes, in words."""
    least = description.minimum
    size = "x".join(map(str, description.size)) + " pixels" if description.size else "any size"
    if not description.size and least != (1, 1):
        size = f"any size from {least[0]}x{least[1]} pixels"
    return f"for images of {size}, " + ("one at a time" if description.gives in ("instances", "boxes") else "in batches of any size")
