"""Every model of conf/model as every format of `seg export` -> docs/exports.md.

    python benchmarks/exports.py                       # all; a row at a time, so it can be stopped and started again
    python benchmarks/exports.py --models unet fpn     # some

Each model is built with the settings of its file, for the classes of `shapes`, and the parameters of semantic ones are given
noise, since some start at 0 and would make any two files agree. Mask R-CNN's scores are spread as a trained one's are: while
nearly all are equal, float error decides which boxes are suppressed. Each is written and compared with PyTorch as `seg export` does it, on
one drawn image and three random batches. Mask R-CNN sees images at a share of its usual size, which changes nothing in the file
but two numbers. Measured are the largest difference of the logits (of the scores, for instances) and the size of the file.

A row that is there is not made again: delete it in outputs/benchmark_exports/exports.csv to repeat it.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
FORMATS = ("onnx", "openvino")
SPEED = "## How fast they are"  # the part of the page that `seg export format=auto` gives, which stays as it is
SMALLER = ["model.scale=[128,256]"]  # of Mask R-CNN, whose own scale makes a processor wait
SPREAD = 2.0  # standard deviation of a trained Mask R-CNN's scores before sigmoid and softmax, roughly


@dataclass(frozen=True, slots=True)
class Row:
    """One model as one format. note: why there is no file; empty where there is one. minimum: side in pixels."""

    model: str
    task: str
    format: str
    note: str
    difference: float
    span: float
    minimum: int
    mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = {path.stem: yaml.safe_load(path.read_text())["task"] for path in sorted((ROOT / "conf/model").glob("*.yaml"))}
    known = {name: tasks if isinstance(tasks, str) else tasks[0] for name, tasks in known.items()}
    parser.add_argument("--models", nargs="+", choices=known, metavar="NAME", help="options of conf/model; all if left out")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/exports.md")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from seg.core.environment import prepare_environment

    prepare_environment()
    import torch

    torch.set_num_threads(1)
    table = ROOT / "outputs/benchmark_exports/exports.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    for name in given.models or known:
        done = {row.format for row in read(table) if row.model == name}
        if wanted := [form for form in FORMATS if form not in done]:
            for row in measure(name, known[name], wanted):
                write(table, [*read(table), row])
                print(row, flush=True)
        report(given.out, [row for row in read(table) if row.model in known])


def measure(name: str, task: str, formats: list[str]) -> Iterator[Row]:
    """Build the model, and export it as each of the formats."""
    import torch

    from seg.catalogue.options import facts
    from seg.configure.compose import compose
    from seg.configure.config import checked
    from seg.core.errors import InputError
    from seg.export.check import Pixels, as_batch, compare, drawn, random_images
    from seg.export.write import Exporter
    from seg.models.build import assemble, build_network
    from seg.predict.description import Description
    from seg.predict.exported import SUFFIXES, open_exported
    from seg.stages.export import gives_of
    from seg.tiles.network import Facts

    instances = task != "semantic"
    overrides = [f"task={task}", f"model={name}", *(SMALLER if instances and not name.endswith("_small") else [])]
    config = checked(compose(ROOT / "conf", overrides)[0])
    torch.manual_seed(0)
    data = facts(config.data)
    model = assemble(config, data, build_network(config, data, None), None, data.mean, data.std).eval()
    with torch.no_grad():
        if instances:
            spread(model, random_images(data.channels, model.stride, (1, 1), None, 1)[0])
        for parameter in () if instances else model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    known = Facts(task, tuple(data.classes), data.channels, model.stride, None)
    gives = gives_of(model)
    exporter = Exporter(model, Description(known, gives, None, (1, 1), name, data.name, "", "", getattr(model, "peak", None)))
    for form in formats:
        with tempfile.TemporaryDirectory() as folder:
            path, note, nothing = Path(folder) / f"model{SUFFIXES[form]}", "", float("nan")
            try:
                exporter.write(path, form)
                batches = [as_batch(drawn(data, 0), None)]
                batches += random_images(data.channels, model.stride, exporter.described().minimum, None, 0)
                found = compare(model, open_exported(path, "cpu"), batches, config.export.check)
            except InputError as error:
                yield Row(name, task, form, str(error), nothing, nothing, 0, nothing)
                continue
            mib = sum(file.stat().st_size for file in Path(folder).iterdir()) / 2**20
            note = found.fault(config.export.check) or ""
            value, span = (found.logits or 0.0, found.span) if isinstance(found, Pixels) else (found.score, 1.0)
            yield Row(name, task, form, note, value, span, max(exporter.described().minimum), mib)


def spread(model: Any, images: Any) -> None:
    """Scale the weights of what scores boxes, so that the scores are neither nearly equal nor all 0 or 1."""
    import torch

    scoring = ("cls_logits", "cls_score", "head.object", "head.kind")
    for layer in (part for name, part in model.network.named_modules() if name.endswith(scoring)):
        seen: list[torch.Tensor] = []
        hook = layer.register_forward_hook(lambda _module, _given, scores, seen=seen: seen.append(scores.flatten()))
        model.predict(images)
        hook.remove()
        layer.weight.mul_(SPREAD / torch.cat(seen).std())


def read(table: Path) -> list[Row]:
    if not table.exists():
        return []
    kinds = {field.name: field.type for field in fields(Row)}
    with open(table, newline="") as file:
        return [Row(**{name: kinds[name](value) for name, value in row.items()}) for row in csv.DictReader(file)]


def write(table: Path, rows: list[Row]) -> None:
    """The whole table, or nothing of it."""
    beside = table.with_suffix(".partial")
    with open(beside, "w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    beside.replace(table)


def report(out: Path, rows: list[Row]) -> None:
    """The table as a page: a row a model, by task and name."""
    from importlib.metadata import version

    by_model: dict[tuple[bool, str], dict[str, Row]] = {}
    for row in rows:
        by_model.setdefault((row.task != "semantic", row.model), {})[row.format] = row
    libraries = ", ".join(
        f"{name} {version(name).partition('+')[0]}" for name in ("torch", "onnx", "onnxscript", "onnxruntime", "openvino")
    )
    lines = [
        "# Models as exported files",
        "",
        f"`python benchmarks/exports.py`, with {libraries}; every model with the settings of its file in `conf/model`, Mask R-CNN and "
        "yolo_seg at `model.scale=[128,256]`. [How to export](how-to/export.md) explains the formats.",
        "",
        "A cell holds the largest difference from PyTorch (of logits, as a share of their range; of instances, of the scores), in float32 "
        "on a CPU, and the size of the file. **Sides**: the heights and widths that the files take, in pixels.",
        "",
        "| model | sides | onnx | openvino |",
        "|---|---|---|---|",
    ]
    for (_, name), cells in sorted(by_model.items()):
        made = [row for row in cells.values() if not row.note]
        least = max((row.minimum for row in made), default=0)
        size = "-" if not made else "any" if least <= 1 else f"from {least}"
        lines.append(f"| {name} | {size} | {' | '.join(cell(cells.get(form)) for form in FORMATS)} |")
    notes = sorted({(row.model, row.format, row.note) for row in rows if row.note})
    if notes:
        lines += ["", "Not exported:", "", *(f"- {model} as {form}: {note}" for model, form, note in notes)]
    kept = out.read_text().partition(SPEED)[1:] if out.exists() else ()
    out.write_text("\n".join([*lines, "", *("".join(kept).splitlines()), ""]))


def cell(row: Row | None) -> str:
    if row is None or row.note:
        return "not measured" if row is None else "no"
    share = row.difference / row.span if row.span else 0.0
    return f"{share:.0e}, {row.mib:.1f} MiB"


if __name__ == "__main__":
    main()
