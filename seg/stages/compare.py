"""`compare`: two or more evaluations of the same images -> compare.html, differences.csv and per_image.csv, and a table on the console."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError

from seg.compare.comparison import Comparison, extremes, paired, scores_by_image, sentence, signed
from seg.compare.gallery import StoredRuns
from seg.compare.page import write_comparison
from seg.compare.runs import PREDICTIONS, RECORD, FoundRun, find_run
from seg.configure.compose import compose
from seg.core.environment import conf_folder
from seg.core.errors import DataError, UsageError, plural
from seg.core.outputs import replaced_folder
from seg.data.store import DatasetInfo, images_of_tiles, read_info
from seg.evaluation.predictions import StoredPredictions, read_predictions
from seg.evaluation.settings import Bootstrap
from seg.loading.dataset import PreparedData, RankPlacement
from seg.metrics.base import ImageScore, metrics_of
from seg.metrics.bootstrap import few_images
from seg.report.tables import aligned, write_rows
from seg.runtime.progress import track
from seg.settings.section import explain, leaves
from seg.settings.task import Task
from seg.tiles.network import SCORE

OWN = ("compare.html", "differences.csv", "per_image.csv")


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of the command line. data: the prepared data that were evaluated. images: how many of each kind are shown."""

    runs: Sequence[str]
    out: Path = Path("artifacts/compare")
    data: Path | None = None
    images: int = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run's settings say of its figures."""

    task: Task
    bootstrap: Bootstrap
    score_threshold: float
    batch_size: int

    @classmethod
    def of(cls, found: FoundRun) -> "Settings":
        """DataError where the record is of other settings than these."""
        try:
            evaluate = found.run.settings["evaluate"]
            bootstrap, task = Bootstrap.model_validate(evaluate["bootstrap"]), Task.model_validate(found.run.settings["task"])
            given = evaluate["score_threshold"]
            return cls(task, bootstrap, SCORE if given is None else float(given), int(evaluate["batch_size"]))
        except KeyError as error:
            raise DataError(f"{found.name}: {RECORD} has no setting {error}; evaluate again") from None
        except ValidationError as error:
            raise DataError(f"{found.name}: {RECORD}: {explain(error, Task)}; evaluate again") from None


def run(project: Path, given: Arguments) -> None:
    if twice := next((name for name in given.runs if given.runs.count(name) > 1), None):
        raise UsageError(f"compare: {twice} is named twice; see seg compare --help")
    params = compose(conf_folder(project), [])[0]
    prepared = given.data or Path(params["paths"]["prepare"])
    with ExitStack() as open_folders:
        scratch = Path(open_folders.enter_context(TemporaryDirectory(prefix="seg-compare-")))
        runs = []
        for number, name in enumerate(given.runs):
            (folder := scratch / str(number)).mkdir()
            runs.append(find_run(name, project, folder))
        for other in runs[1:]:
            _refuse_others(runs[0], other)
        info = read_info(prepared)
        _refuse_other_data(next((found for found in runs if found.run.digest == info.digest), runs[0]), prepared, info)
        with replaced_folder(given.out, OWN) as partial:
            comparison = _compare(runs, prepared, params, given.images)
            write_comparison(partial / "compare.html", comparison)
            write_rows(partial / "differences.csv", difference_rows(comparison))
            write_rows(partial / "per_image.csv", image_rows(comparison))
    _print(comparison)
    print(f"see {given.out / 'compare.html'}")


def _refuse_others(first: FoundRun, other: FoundRun) -> None:
    """Raise DataError where two runs are not of the same images, classes and task."""
    a, b = first.run, other.run
    for what, one, two in (("task", a.task, b.task), ("classes", ", ".join(a.classes), ", ".join(b.classes)), ("split", a.split, b.split)):
        if one != two:
            raise DataError(f"{first.name} and {other.name}: cannot be compared: {what} {one}, and {what} {two}")
    if a.digest != b.digest and (a.labels.keys() != b.labels.keys() or not a.labels):
        what = f"evaluated on {a.data} ({a.digest[:12]}), and on {b.data} ({b.digest[:12]})"
        raise DataError(f"{first.name} and {other.name}: cannot be compared: {what}; evaluate both on one")


def _refuse_other_data(first: FoundRun, prepared: Path, info: DatasetInfo) -> None:
    """Raise DataError where the prepared data are not those that the runs were evaluated on."""
    if info.digest != first.run.digest:
        what = f"is {info.name} ({info.digest[:12]}), but the runs were evaluated on {first.run.data} ({first.run.digest[:12]})"
        raise DataError(f"{prepared}: {what}; name that data set's folder with --data, or bring it back with `dvc checkout`")


def _changed(runs: Sequence[FoundRun]) -> tuple[set[str], str]:
    """The images whose labels are not the same in all runs, by which these cannot be compared; and what to say of them."""
    if len({found.run.digest for found in runs}) == 1:
        return set(), ""
    labels = [found.run.labels.items() for found in runs if found.run.labels]
    changed = {image_id for own in labels for image_id, _ in own ^ labels[0]}
    if len(changed) == len(labels[0]):
        raise DataError(f"{runs[0].name} cannot be compared with the others: the labels of each image were changed between them")
    left = f"{plural(len(changed), 'image')} whose labels changed {'is' if len(changed) == 1 else 'are'} left out"
    return changed, f"the data were changed between the runs: {left}"


def _compare(runs: Sequence[FoundRun], prepared: Path, params: Mapping[str, Any], most: int) -> Comparison:
    """Score the stored predictions of each run, and find how they differ."""
    settings, first = [Settings.of(found) for found in runs], runs[0].run
    task, runtime = settings[0].task, params["runtime"]
    allow = params["targets"]["allow"]  # those of a run's own list are not trusted
    data = PreparedData(prepared, settings[0].batch_size, runtime["workers"], task.instances, stuff=task.stuff)
    dataset, (changed, left_out) = data.split_dataset(first.split), _changed(runs)
    listed = [entry for _, entry in dataset.rows]
    dataset.rows = [(folder, entry) for folder, entry in dataset.rows if entry.image_id not in changed]
    entries, loader = {entry.image_id: entry for _, entry in dataset.rows}, data.stored(dataset, RankPlacement())
    predictions: list[StoredPredictions] = [read_predictions(found.folder / PREDICTIONS, listed, task.answer) for found in runs]
    metrics = [metrics_of(own.task, allow, data.info, score_threshold=own.score_threshold) for own in settings]
    scores: list[dict[str, ImageScore]] = [{} for _ in runs]
    for batch in track(loader, len(loader), f"batches of {first.split} compared", runtime["progress"]):
        for own, kept, found in zip(metrics, predictions, scores, strict=True):
            answers = [kept.read(entries[image_id]) for image_id in batch.image_ids]
            found |= {score.image_id: score for score in own.update(batch, answers)}
    images, bootstrap, names = scores_by_image(scores), settings[0].bootstrap, [found.name for found in runs]
    stored_runs = StoredRuns(names, predictions, [own.score_threshold for own in settings], dataset, len(first.classes))
    shown = [(image, other) for other in range(1, len(runs)) for part in extremes(images, other, most) for image in part]
    return Comparison(
        runs=names,
        split=first.split,
        classes=data.info.classes,
        monitor=first.monitor,
        paired=paired(metrics, images_of_tiles(entries.values()), bootstrap),
        level=bootstrap.level,
        resamples=bootstrap.resamples,
        epochs=[found.run.epoch for found in runs],
        settings=differing([found.run.settings for found in runs]),
        per_class=[own.per_class() for own in metrics],
        score_name=next(iter(scores[0].values())).by,
        images=images,
        gallery=stored_runs.in_turn(shown),
        said=left_out,
    )


def differing(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The dotted keys whose values are not the same in all settings, with each one's value; None where it has none."""
    flat = [leaves(dict(own)) for own in settings]
    rows = {key: [own.get(key) for own in flat] for key in dict.fromkeys(key for own in flat for key in own)}
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}


def difference_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """differences.csv."""
    each, count = zip(comparison.runs[1:], comparison.paired.differences, strict=True), len(comparison.images)
    return [{"run": run, "figure": name, "num_images": count, **asdict(d)} for run, differences in each for name, d in differences.items()]


def image_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """per_image.csv."""
    columns = [f"{comparison.score_name}_{run}" for run in comparison.runs]
    return [
        {"image_id": image.image_id, **dict(zip(columns, image.scores, strict=True)), "largest_difference": image.largest}
        for image in comparison.images
    ]


def _print(comparison: Comparison) -> None:
    """A row a run, then what each difference says."""
    first, figure, paired_ = comparison.runs[0], comparison.monitor, comparison.paired
    share = f"{100 * comparison.level:g} %"
    rows = [["run", figure, f"its {share} interval", f"less {first}", f"paired {share} interval"]]
    for place, run in enumerate(comparison.runs):
        own = paired_.intervals[place][figure]
        row = [run, f"{own.value:.4f}", _span(f"{own.low:.4f}", f"{own.high:.4f}"), "", ""]
        if place:
            d = paired_.differences[place - 1][figure]
            row[3:] = [signed(d.difference), _span(signed(d.low), signed(d.high))]
        rows.append(row)
    print(*aligned(rows), sep="\n")
    for run, differences in zip(comparison.runs[1:], paired_.differences, strict=True):
        print(sentence(run, first, figure, differences[figure]))
    for said in filter(None, (comparison.said, few_images(len(comparison.images)))):
        print(said)


def _span(low: str, high: str) -> str:
    return "-" if "nan" in (low, high) or "undefined" in (low, high) else f"{low} to {high}"
