"""`seg compare` as a user runs it, on evaluations that were made without a network: what it leaves, prints and refuses."""

import csv
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from compared import blurred, moved, samples_of, write_evaluation
from conftest import MakeConfig
from parsed import Page
from sklearn.metrics import jaccard_score
from tiny import Blobs, prepare_tiny, tree

from seg import cli
from seg.data.store import read_entries, read_info
from seg.loading.dataset import PreparedData
from seg.prepare.pieces import cut
from seg.raw.record import Item, Record, Source

ROOT = Path(__file__).parents[2]
K = 6

Compare = Callable[..., str]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, prepared: Path, make_config: MakeConfig) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    config = make_config("evaluate.bootstrap.resamples=40")
    write_evaluation(folder / "old", prepared, config, blurred(0.3, 1, K))
    write_evaluation(folder / "new/artifacts/evaluate", prepared, make_config("optimizer.lr=0.5"), blurred(0.1, 1, K), epoch=7)
    return folder


@pytest.fixture
def project(tmp_path: Path, prepared: Path, evaluated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with prepared data and two evaluations, in which the test stands."""
    folder = tmp_path / "project"
    shutil.copytree(evaluated, folder)
    (folder / "conf").symlink_to(ROOT / "conf")
    (folder / "data").mkdir()
    (folder / "data/prepared").symlink_to(prepared)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Compare:
    """(arguments, code=0): what `seg compare` prints; with another exit code, its one line of error."""

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["seg", "compare", *arguments])
        capsys.readouterr()
        if code == 0:
            cli.main()
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        assert ended.value.code == code, shown.err
        assert shown.err.count("\n") == 1
        return shown.err

    return run


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_two_runs_leave_a_page_and_tables(project: Path, compare: Compare) -> None:
    printed = compare("old", "new")
    out = project / "artifacts/compare"
    assert sorted(tree(out)) == ["compare.html", "differences.csv", "per_image.csv"]
    rows = rows_of(out / "differences.csv")
    assert [row["figure"] for row in rows] == ["miou", "mean_dice", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"]
    assert list(rows[0]) == ["run", "figure", "num_images", "first", "value", "difference", "low", "high", "above"]
    for row in rows:
        first, value, difference, low, high = (float(row[key]) for key in ("first", "value", "difference", "low", "high"))
        assert row["run"] == "new"
        assert value - first == pytest.approx(difference, abs=2e-6)
        assert low < difference < high
        assert difference > 0
        assert row["above"] == "1.0"
    images = rows_of(out / "per_image.csv")
    assert list(images[0]) == ["image_id", "miou_old", "miou_new", "largest_difference"]
    for row in images:
        assert float(row["largest_difference"]) == pytest.approx(float(row["miou_new"]) - float(row["miou_old"]), abs=2e-6)
    *lines, few, last = printed.splitlines()[-6:]
    assert lines[0].split("  ")[0] == "run"
    assert lines[1].startswith(f"old  {float(rows[0]['first']):.4f}  ")
    assert f"{float(rows[0]['difference']):+.4f}" in lines[2]
    assert f"{float(rows[0]['low']):+.4f} to {float(rows[0]['high']):+.4f}" in lines[2]
    said = "excludes 0" if float(rows[0]["low"]) > 0 else "includes 0: these images do not tell the two apart"
    assert lines[3] == f"new: miou is higher than that of old by {float(rows[0]['difference']):.4f}; the interval of the difference {said}"
    assert few == f"from {len(images)} images: the figures are rough, and an interval is wide and itself uncertain"
    assert {row["num_images"] for row in rows} == {str(len(images))}
    assert last == "see artifacts/compare/compare.html"
    page = Page(out / "compare.html")
    assert f"F{few[1:]}." in page.text
    assert ["optimizer.lr", "0.25", "0.5"] in page.rows("settings")
    assert "7" in [row[1] for row in page.rows("summary")]
    first_bytes = tree(out)
    compare("old", "new")
    assert tree(out) == first_bytes, "the same runs give the same bytes"
    assert not list(Path("artifacts").glob("compare.*"))


def test_a_run_and_its_copy_are_the_same(project: Path, compare: Compare) -> None:
    shutil.copytree("old", "copy")
    printed = compare("old", "copy", "--out", "same", "--images", "3")
    for row in rows_of(Path("same/differences.csv")):
        assert [float(row[key]) for key in ("difference", "low", "high", "above")] == [0, 0, 0, 0]
    assert {row["largest_difference"] for row in rows_of(Path("same/per_image.csv"))} == {"0.0"}
    assert "copy: miou is the same as that of old; the interval of the difference includes 0" in printed
    page = Page(Path("same/compare.html"))
    assert "gallery" not in page.sections, "there is no image on which they differ"
    assert "the runs have the same settings" in page.text


def test_the_workspace_is_a_run_and_more_than_two_compare_with_the_first(
    project: Path, prepared: Path, compare: Compare, make_config: MakeConfig
) -> None:
    write_evaluation(project / "artifacts/evaluate", prepared, make_config(), blurred(0.6, 2, K))
    printed = compare("old", "workspace", "new", "--images", "1")
    rows = rows_of(Path("artifacts/compare/differences.csv"))
    assert [row["run"] for row in rows] == ["workspace"] * 5 + ["new"] * 5
    assert float(rows[0]["difference"]) < 0 < float(rows[5]["difference"])
    assert "workspace: miou is lower than that of old" in printed
    assert list(rows_of(Path("artifacts/compare/per_image.csv"))[0])[1:] == ["miou_old", "miou_workspace", "miou_new", "largest_difference"]
    cards = Page(Path("artifacts/compare/compare.html")).all("li", kind="entry")
    assert {card.attributes["data-other"] for card in cards} == {'["workspace"]', '["new"]'}


def test_instances_are_compared_too(tmp_path: Path, project: Path, compare: Compare, make_config: MakeConfig) -> None:
    prepare_tiny(Blobs(), tmp_path / "blobs")
    config = make_config("task=instance", "evaluate.bootstrap.resamples=20")
    for name, share in (("a", 0.1), ("b", 0.6)):
        write_evaluation(project / name, tmp_path / "blobs", config, moved(share, 1))
    compare("a", "b", "--data", str(tmp_path / "blobs"))
    rows = {row["figure"]: row for row in rows_of(Path("artifacts/compare/differences.csv"))}
    assert {"mask_ap", "box_ap50", "pq", "aji"} <= set(rows)
    assert float(rows["recall_50"]["difference"]) < 0
    assert "found by a alone" in Path("artifacts/compare/compare.html").read_text()


def test_a_run_that_cannot_be_had_is_said(project: Path, compare: Compare) -> None:
    (project / "empty").mkdir()
    assert "error: empty: no folder with evaluation.json, and" in compare("old", "empty", code=1)
    shutil.rmtree("old/predictions")
    assert "old/predictions: there are no predictions to compare; evaluate again" in compare("old", "new", code=1)
    assert "artifacts/evaluate/evaluation.json: there is no evaluation" in compare("workspace", "new", code=1)
    assert "error: compare: old is named twice" in compare("old", "new", "old", code=2)
    assert not Path("artifacts").exists()


def test_a_prediction_that_is_missing_is_named(project: Path, compare: Compare) -> None:
    missing = sorted(Path("old/predictions").glob("*.png"))[0]
    missing.unlink()
    assert f"{missing.name}" in compare("old", "new", code=1)
    assert not list(Path("artifacts").glob("*")), "nothing half-written"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"task": "instance"}, "old and other: cannot be compared: task semantic, and task instance"),
        ({"classes": ["a", "b"]}, "old and other: cannot be compared: classes background, disc"),
        ({"split": "val"}, "old and other: cannot be compared: split test, and split val"),
        ({"digest": "f" * 64, "data": "moons"}, "old and other: cannot be compared: evaluated on shapes ("),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_runs_of_other_things_are_refused(
    project: Path, prepared: Path, compare: Compare, make_config: MakeConfig, changed: dict[str, object], said: str
) -> None:
    facts = {key: value for key, value in changed.items() if key != "split"}
    write_evaluation(project / "other", prepared, make_config(), blurred(0.1, 1, K), str(changed.get("split", "test")), **facts)
    assert said in compare("old", "other", code=1)
    assert said.replace("old and other", "other and old").partition(":")[0] in compare("other", "old", code=1)
    assert not Path("artifacts").exists()


@dataclass(frozen=True)
class Corrected:
    """A source, of which some images have other labels."""

    source: Source
    corrected: Sequence[str]

    def __getattr__(self, name: str) -> object:
        return getattr(self.source, name)

    def read(self, item: Item) -> Record:
        record = self.source.read(item)
        if item.image_id not in self.corrected:
            return record
        sample = record.sample
        turned = replace(sample, semantic=np.roll(sample.semantic, 9, 1), instances=np.roll(sample.instances, 9, 1))
        return replace(record, sample=cut(turned, np.s_[:, :], item.image_id))


@pytest.mark.parametrize("task", ["semantic", "instance"])
def test_images_whose_labels_were_corrected_are_left_out(
    tmp_path: Path, project: Path, compare: Compare, make_config: MakeConfig, task: str
) -> None:
    """And by the others the figures are those that counting pixels gives; whichever of the two data sets is still there."""
    config, seeds = make_config(f"task={task}", "evaluate.bootstrap.resamples=20"), ("before", "after", "train", "every")
    guesses = {name: blurred(0.3, seed, 4) if task == "semantic" else moved(0.3, seed) for seed, name in enumerate(seeds)}
    prepare_tiny(Blobs(20), tmp_path / "before")
    ids = {split: [e.image_id for e in read_entries(tmp_path / "before" / split)] for split in ("train", "test")}
    for name, changed in (("after", ids["test"][1:3]), ("train", ids["train"]), ("every", ids["test"])):
        prepare_tiny(Corrected(Blobs(20), changed), tmp_path / name)  # type: ignore[arg-type]
    for name, guess in guesses.items():
        digests = PreparedData(tmp_path / name, 1, 0, task == "instance").split_dataset("test").label_digests()
        write_evaluation(project / name, tmp_path / name, config, guess, labels=digests)
    for kept, place in (("before", "a"), ("after", "b")):
        printed = compare("before", "after", "--data", str(tmp_path / kept), "--out", place)
        assert "the data were changed between the runs: 2 images whose labels changed are left out\n" in printed
    assert Path("a/differences.csv").read_bytes() == Path("b/differences.csv").read_bytes()
    assert sorted(row["image_id"] for row in rows_of(Path("b/per_image.csv"))) == sorted(set(ids["test"]) - set(ids["test"][1:3]))
    assert "2 images whose labels changed are left out." in Page(Path("b/compare.html")).text
    if task == "semantic":
        others = [sample for sample in samples_of(tmp_path / "after") if sample.image_id not in ids["test"][1:3]]
        pairs = [(s.semantic[s.semantic != 255], guesses["after"](s).semantic[s.semantic != 255]) for s in others]  # type: ignore[index]
        truth, said = (np.concatenate(side) for side in zip(*pairs, strict=True))
        measured = float(rows_of(Path("b/differences.csv"))[0]["value"])
        assert measured == pytest.approx(jaccard_score(truth, said, average="macro"), abs=1e-6)
    assert "between the runs: 0 images whose labels changed are left out\n" in compare("before", "train", "--data", str(tmp_path / "train"))
    assert "before cannot be compared with the others: the" in compare("before", "every", "--data", str(tmp_path / "every"), code=1)
    assert "but the runs were evaluated on" in compare("before", "after", "--data", str(tmp_path / "train"), code=1)


def test_data_that_were_not_evaluated_are_refused(project: Path, tmp_path: Path, compare: Compare) -> None:
    prepare_tiny(Blobs(), tmp_path / "blobs")
    digests = [read_info(folder).digest[:12] for folder in (tmp_path / "blobs", project / "data/prepared")]
    said = compare("old", "new", "--data", str(tmp_path / "blobs"), code=1)
    assert f"blobs: is tiny ({digests[0]}), but the runs were evaluated on shapes ({digests[1]}); name that data set's" in said
    assert "nowhere/dataset.json: there is no prepared data set" in compare("old", "new", "--data", "nowhere", code=1)


def test_settings_that_name_what_may_not_be_called_are_refused(
    project: Path, prepared: Path, compare: Compare, make_config: MakeConfig
) -> None:
    settings = make_config().model_dump(mode="json", by_alias=True)
    settings["task"]["metrics"] = {"_target_": "os.system", "command": "touch called"}
    settings["targets"]["allow"] = ["os"]
    write_evaluation(project / "evil", prepared, make_config(), blurred(0.1, 1, K), settings=settings)
    assert "task.metrics._target_=os.system: is not in an allowed module" in compare("evil", "new", code=1)
    assert not Path("called").exists()
    del settings["evaluate"]["bootstrap"]
    write_evaluation(project / "old2", prepared, make_config(), blurred(0.1, 1, K), settings=settings)
    assert "old2: evaluation.json has no setting 'bootstrap'; evaluate again" in compare("old2", "new", code=1)


def test_help_names_every_option(project: Path, compare: Compare) -> None:
    shown = compare("--help")
    assert all(option in shown for option in ("RUN RUN", "--out", "--data", "--images", "workspace"))


def test_a_folder_with_other_files_is_not_replaced(project: Path, compare: Compare) -> None:
    Path("mine").mkdir()
    Path("mine/precious").write_text("kept")
    assert "mine: holds precious, which is not this command's" in compare("old", "new", "--out", "mine", code=1)
    assert Path("mine/precious").read_text() == "kept"
