"""The page of an evaluation: one sound file, whose figures, cells and pictures are those of the evaluation."""

import base64
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluations import SIZE, classes_of, discs, instance_evaluation, semantic_evaluation
from parsed import HOSTILE, Page, Tag, check_sound
from PIL import Image

from seg.data.sample import ClassInfo
from seg.models.postprocess import Choice, Compared
from seg.report.confusions import LISTED, confusions_of, kinds_of_errors
from seg.report.evaluation_page import write_evaluation
from seg.report.layers import VERDICTS, WRONG, layers_of
from seg.report.page_data import Evaluation, FigureTable, GalleryEntry, InTurn, Outlines
from seg.report.rendering import number


def page_of(evaluation: Evaluation, folder: Path) -> Page:
    write_evaluation(folder / "report.html", evaluation)
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    return Page(folder / "report.html")


def points_of(line: Tag) -> np.ndarray:
    """(N, 2) of a polyline."""
    return np.array([[float(n) for n in point.split(",")] for point in line.attributes["points"].split()])


@pytest.fixture(scope="module", params=[6, 150])
def evaluation(request: pytest.FixtureRequest) -> Evaluation:
    return semantic_evaluation(request.param)


def test_the_page_is_one_sound_file(evaluation: Evaluation, tmp_path: Path) -> None:
    page = page_of(evaluation, tmp_path)
    check_sound(page)
    assert len(page.all("dialog")) == 1
    sections = ["summary", "learning", "classes", "confusions", "images", "gallery", "calibration", "tables", "augmentation", "data"]
    assert page.sections == sections
    assert [tag.text for tag in page.all("h1")] == ["Evaluation of <drawn> scenes"]
    assert page.all("wall") == page.all("drawn") == [], "a name is text, whatever it holds"
    assert page_of(evaluation, tmp_path).source == page.source


def named(word: str) -> Evaluation:
    """An evaluation of which all that a user or a file names is called so."""
    evaluation = semantic_evaluation(2, 2)
    classes = [replace(info, name=f"{word}{k}") for k, info in enumerate(evaluation.classes)]
    gallery = [replace(entry, row=replace(entry.row, image_id=word), errors={word: word}) for entry in evaluation.gallery]
    return replace(
        evaluation,
        title=word,
        split=word,
        classes=classes,
        score_name=word,
        intervals=word,
        images=[entry.row for entry in gallery],
        headline=[replace(evaluation.headline[0], name=word, text=word)],
        settings={word: word},
        history=[{"epoch": 1.0, word: 1.0}, {"epoch": 2.0, word: 2.0}],
        per_class={info.name: {word: 0.5} for info in classes},
        confusion_unit=word,
        gallery=gallery,
        tables=[FigureTable(word, [{word: word}], word)],
        calibration=[{**row, word: row["pixels"]} for row in evaluation.calibration],
        calibration_unit=word,
        splits={word: evaluation.splits["test"]},
    )


def test_no_name_breaks_out_of_its_text(tmp_path: Path) -> None:
    harmless, hostile = page_of(named("x"), tmp_path), page_of(named(HOSTILE), tmp_path)
    check_sound(hostile)
    assert hostile.shape == harmless.shape
    assert hostile.all("h1")[0].text == HOSTILE
    assert json.loads(hostile.all("li", kind="entry")[0].attributes["data-errors"]) == [HOSTILE]
    assert f"{HOSTILE}0" in json.loads(hostile.all("script", id="names")[0].text)["classes"].values()
    assert [tag.text for tag in hostile.all("th", "classes")][:2] == ["class", HOSTILE]


def test_figures_stand_with_their_intervals(evaluation: Evaluation, tmp_path: Path) -> None:
    page = page_of(evaluation, tmp_path)
    summary = {row[0]: row[1:] for row in page.rows("summary")}
    assert summary["miou"] == ["0.8312", "0.8100 to 0.8500", "", "IoU of each class over all pixels, then their mean"]
    assert summary["mean_dice"][:2] == ["\N{EN DASH}", ""]
    assert summary["optimizer.lr"] == ["0.001"]
    (scale,) = page.all("span", kind="scale")  # 12.5 pixels and NaN are not between 0 and 1
    assert [tag.attributes["style"] for tag in scale.children] == ["left:81.00%;width:4.00%", "left:83.12%"]
    assert f"{len(evaluation.images)} images of the split test" in page.text


def test_cells_of_the_confusion_matrix_are_shares_of_their_rows(evaluation: Evaluation, tmp_path: Path) -> None:
    page, matrix = page_of(evaluation, tmp_path), evaluation.confusion
    assert matrix is not None
    rows = page.rows("confusions")
    grid = rows[next(i for i, row in enumerate(rows) if row[0].startswith("true")) :]
    names = [info.name for info in evaluation.classes]
    present = [k for k in range(len(names)) if matrix[k].any() or matrix[:, k].any()]
    assert [row[0] for row in grid[1:]] == grid[0][1:] == [names[k] for k in present]
    for i, row in zip(present, grid[1:], strict=True):
        for j, text in zip(present, row[1:], strict=True):
            share = 100 * matrix[i, j] / matrix[i].sum() if matrix[i].any() else 0
            assert text == ("" if share == 0 else "\N{MIDDLE DOT}" if round(share) == 0 else f"{share:.0f}")
    if absent := len(names) - len(present):
        assert f"and not listed: {absent} of {len(names)} classes" in page.text
    cells = [tag.attributes for tag in page.all("td") if "data-n" in tag.attributes]
    assert [int(cell["data-n"]) for cell in cells] == matrix[matrix > 0].tolist()
    shares = (matrix / np.maximum(1, matrix.sum(1, keepdims=True)))[matrix > 0]
    assert [float(cell["style"].removeprefix("--share:")) for cell in cells] == pytest.approx(np.sqrt(shares).tolist(), abs=0.0051)
    diagonal = np.eye(len(names), dtype=bool)[matrix > 0]
    assert [cell["class"] for cell in cells] == ["h" if own else "m" for own in diagonal]


def test_the_largest_confusions_are_told_in_words(evaluation: Evaluation, tmp_path: Path) -> None:
    page, matrix = page_of(evaluation, tmp_path), evaluation.confusion
    assert matrix is not None
    names = [info.name for info in evaluation.classes]
    pairs = [(int(matrix[i, j]), i, j) for i in range(len(names)) for j in range(len(names)) if i != j and matrix[i, j]]
    count, i, j = max(pairs, key=lambda pair: (pair[0], -pair[1], -pair[2]))
    wrong = sum(n for n, _, _ in pairs)
    space = "\N{NO-BREAK SPACE}"
    shares = [f"{100 * count / matrix[i].sum():.2f}{space}%", f"{100 * count / wrong:.2f}{space}%"]
    assert page.rows("confusions")[1] == [f"{names[i]} was called {names[j]}", f"{count:,}", *shares]
    assert f"{len(pairs) - LISTED:,} smaller ones" in page.text


def test_confusions_of_a_matrix_by_hand() -> None:
    matrix = np.array([[50, 3, 0], [9, 30, 0], [3, 0, 5]])
    assert confusions_of(matrix) == [(1, 0), (0, 1), (2, 0)]
    assert kinds_of_errors(matrix, classes_of(3), 0.05) == {"class 1 called <wall> & co": "9.00\N{NO-BREAK SPACE}%"}
    assert confusions_of(np.diag([4, 5])) == []


def test_a_perfect_prediction_and_bare_figures_make_a_page(tmp_path: Path) -> None:
    full = semantic_evaluation()
    page = page_of(replace(full, confusion=np.diag([5, 5, 0, 0, 0, 0])), tmp_path)
    assert "None: every prediction is right." in page.text
    bare = Evaluation("bare", "val", full.classes, full.headline[2:], "miou", [])
    page = page_of(bare, tmp_path)
    check_sound(page)
    assert page.sections == ["summary"]
    empty = replace(bare, confusion=np.zeros((6, 6), np.int64), images=full.images[-1:])
    assert "Nothing was counted." in page_of(empty, tmp_path).text


def test_curves_pass_through_the_numbers_of_the_history(evaluation: Evaluation, tmp_path: Path) -> None:
    page = page_of(evaluation, tmp_path)
    titles = [tag.text for tag in page.all("title", "learning") if tag.text.startswith("val_miou")]
    assert titles == [f"val_miou, epoch {n}: {1 - 1 / n:.4g}" for n in range(2, 11)], "the first is NaN"
    lines = page.all("polyline", "learning")
    assert [line.attributes["class"] for line in lines] == ["first", "first", "second", "first"], "lr; loss of train and val; miou"
    points = points_of(lines[1])
    assert len(points) == 10
    assert (np.ptp(np.diff(points[:, 0])) < 0.2).all()
    heights = points[0, 1] - points[:, 1]  # y goes downwards in a drawing, and the loss falls
    assert heights[-1] < 0
    losses = np.array([1 / n for n in range(1, 11)])
    assert heights / heights[-1] == pytest.approx((1 - losses) / (1 - losses[-1]), abs=0.002)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.5, "0.5000"), (0.00002, "2e-05"), (0.0, "0.0000"), (1234.5, "1,234.50"), (1200, "1,200"), (None, "\N{EN DASH}"), ("<a>", "<a>")],
)
def test_figures_are_written_for_people(value: float | int | str | None, shown: str) -> None:
    assert number(value) == shown


def test_the_histogram_counts_every_image_with_a_score(evaluation: Evaluation, tmp_path: Path) -> None:
    page = page_of(evaluation, tmp_path)
    bars = [tag.text.partition(": ")[2] for tag in page.all("title", "images")]
    scores = [row.score for row in evaluation.images[:-1]]
    assert bars == [f"{n} images" for n in np.histogram(scores, 20, (0, 1))[0]]
    assert "Without a score, as nothing in them counts: 1 image." in page.text
    listed = [row[0] for row in page.rows("images")[1:]]
    assert listed == [row.image_id for row in sorted(evaluation.images[:-1], key=lambda row: (row.score, row.image_id))]


def decoded(file: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(file)).convert("RGBA"))


def test_layers_are_the_maps_in_the_colours_of_their_classes(evaluation: Evaluation) -> None:
    entry, classes = evaluation.gallery[0], evaluation.classes
    truth, predicted = entry.truth, entry.predicted
    assert isinstance(truth, np.ndarray)
    assert isinstance(predicted, np.ndarray)
    image_file, *files, errors_file = layers_of(entry, classes, 10**6)
    for file, labels in zip(files, (truth, predicted), strict=True):
        picture = decoded(file)
        for index, info in enumerate(classes):
            assert (picture[labels == index] == (*info.color, 255)).all()
        assert not picture[labels == 255][:, 3].any()
    errors = decoded(errors_file)
    assert ((errors == (*WRONG, 255)).all(axis=2) == ((truth != predicted) & (truth != 255))).all()
    assert (errors[truth == 255] == (255, 255, 255, 150)).all()
    image = cv2.imdecode(np.frombuffer(image_file, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image.shape == entry.image.shape
    assert np.abs(image.astype(int) - entry.image).mean() < 6
    assert Image.open(io.BytesIO(errors_file)).mode == "P"


def test_instances_are_outlined_in_the_colour_of_what_they_were_found_to_be() -> None:
    evaluation = instance_evaluation()
    _, truth, _, errors = map(decoded, layers_of(evaluation.gallery[0], evaluation.classes, 10**6))
    factor = truth.shape[1] // SIZE[1]
    assert truth.shape == (SIZE[0] * factor, SIZE[1] * factor, 4)
    assert max(truth.shape) >= 512

    def at(picture: np.ndarray, x: int, y: int) -> list[int]:
        return picture[int((y + 0.5) * factor), int((x + 0.5) * factor)].tolist()

    assert at(truth, 15, 15) == [230, 159, 0, 90]
    assert at(truth, 45, 15) == [86, 180, 233, 90]
    assert at(truth, 30, 30)[3] == 0
    assert at(errors, 15, 15)[:3] == list(VERDICTS["found"])
    assert at(errors, 45, 15)[:3] == list(VERDICTS["missed"])
    assert at(errors, 20, 45)[:3] == list(VERDICTS["made up"])
    column = truth[int(15.5 * factor), : 16 * factor]
    assert column[column[:, 3] == 255].tolist()[-2:] == [[230, 159, 0, 255]] * 2, "the outline lies within"
    assert column[column[:, 3] == 255].tolist()[0] == [0, 0, 0, 255], "a dark pixel sets it off"


def test_scores_are_written_where_there_is_room() -> None:
    evaluation = instance_evaluation()
    entry = evaluation.gallery[0]
    assert isinstance(entry.predicted, Outlines)
    with_scores, without = (
        decoded(layers_of(replace(entry, predicted=replace(entry.predicted, scores=scores)), evaluation.classes, 10**6)[2])
        for scores in (entry.predicted.scores, None)
    )
    rows, columns = np.nonzero((with_scores != without).any(axis=2))
    factor = without.shape[1] / SIZE[1]
    inside = [(8, 24, 7, 23), (12, 28, 37, 53)]  # x1, x2, y1, y2 of the discs
    where = [(columns >= x1 * factor) & (columns < x2 * factor) & (rows >= y1 * factor) & (rows < y2 * factor) for x1, x2, y1, y2 in inside]
    assert all(place.any() for place in where)
    assert (where[0] | where[1]).all()
    assert ((with_scores == 255).all(axis=2)).any()
    tiny = replace(entry.predicted, ids=discs([(16, 15), (20, 45)], 1, SIZE))
    small = decoded(layers_of(replace(entry, predicted=tiny), evaluation.classes, 10**6)[2])
    assert not (small == 255).all(axis=2).any()


def test_the_reliability_curve_has_a_dot_for_each_bin_that_is_filled(evaluation: Evaluation, tmp_path: Path) -> None:
    page = page_of(evaluation, tmp_path)
    assert [tag.text for tag in page.all("title", "calibration")] == [
        "confidence 0.250, 0.200 right, 10 pixels",
        "confidence 0.550, 0.600 right, 400 pixels",
        "confidence 0.950, 0.900 right, 9,000 pixels",
    ]
    dots = np.array([[float(dot.attributes[key]) for key in ("cx", "cy", "r")] for dot in page.all("circle", "calibration")])
    across, up = np.polyfit([0.25, 0.55, 0.95], dots[:, 0], 1), np.polyfit([0.2, 0.6, 0.9], dots[:, 1], 1)
    assert np.polyval(across, [0.25, 0.55, 0.95]) == pytest.approx(dots[:, 0], abs=0.1)
    assert np.polyval(up, [0.2, 0.6, 0.9]) == pytest.approx(dots[:, 1], abs=0.1)
    assert across[0] > 0 > up[0]
    (line,) = page.all("polyline", "calibration")
    assert points_of(line).tolist() == dots[:, :2].tolist()
    assert (np.diff(dots[:, 2]) > 0).all()
    assert page.rows("calibration")[1:] == [
        ["0.00 to 0.25", "\N{EN DASH}", "\N{EN DASH}", "0"],
        ["0.25 to 0.50", "0.2500", "0.2000", "10"],
        ["0.50 to 0.75", "0.5500", "0.6000", "400"],
        ["0.75 to 1.00", "0.9500", "0.9000", "9,000"],
    ]


def test_classes_and_tables_stand_as_they_are(evaluation: Evaluation, tmp_path: Path) -> None:
    page = page_of(evaluation, tmp_path)
    for row, (name, figures) in zip(page.rows("classes")[1:], evaluation.per_class.items(), strict=True):
        assert row == [name, *("\N{EN DASH}" if v != v else f"{v:.4f}" if v >= 0.001 else f"{v:.3g}" for v in figures.values())]
    bars = [float(bar.children[0].attributes["style"][6:-1]) for bar in page.all("span", "classes", kind="bar")]
    assert bars == [pytest.approx(100 * v, abs=0.006) for figures in evaluation.per_class.values() for v in figures.values() if v == v]
    assert f"Without truth and prediction, and so without figures: 1 of {len(evaluation.classes)}" in page.text
    assert page.rows("tables") == [["site", "miou"], ["a", "0.5000"], ["b", "\N{EN DASH}"]]
    assert page.rows("data")[:2] == [["split", "images", "sizes (height x width)"], ["test", "12", "60x80: 12"]]


def test_each_change_that_was_tried_stands_with_its_interval(evaluation: Evaluation, tmp_path: Path) -> None:
    taken = Compared("objects of fewer than 9 <pixels>", "miou", 0.5, 0.6123, 0.05, 0.15, True)
    useless = Compared("holes in objects are filled", "miou", 0.5, 0.5, float("nan"), float("nan"), False)
    softer = Compared("probabilities at a temperature of 1.4", "negative log-likelihood", 0.7, 0.5, -0.3, -0.1, True)
    choice = Choice(20, (taken, useless), softer, (0.2, 0.05))
    text = page_of(replace(evaluation, choice=choice), tmp_path).text
    assert "What follows the network: 2 changes chosen on validation" in text
    for word in ("20 validation images", "objects of fewer than 9 <pixels>", "0.6123", "too few images", "from 0.200 to 0.050"):
        assert word in " ".join(text.split()), word
    assert "What follows the network" not in page_of(evaluation, tmp_path).text


def test_a_picture_that_costs_too_much_is_made_smaller() -> None:
    entry = semantic_evaluation(6, 1, (900, 1200), detail=300).gallery[0]
    large, small = (layers_of(entry, classes_of(6), most) for most in (10**7, 40_000))
    assert decoded(large[1]).shape[:2] == (768, 1024)
    assert sum(map(len, small)) <= 40_000
    assert decoded(small[1]).shape[:2] == cv2.imdecode(np.frombuffer(small[0], np.uint8), 1).shape[:2]


def test_the_gallery_says_what_each_image_holds(evaluation: Evaluation, tmp_path: Path) -> None:
    page = page_of(evaluation, tmp_path)
    cards = [tag.attributes for tag in page.all("li", kind="entry")]
    for card, entry in zip(cards, evaluation.gallery, strict=True):
        labels = np.concatenate([np.ravel(entry.truth), np.ravel(entry.predicted)])  # type: ignore[arg-type]
        names = [evaluation.classes[k].name for k in sorted(set(labels.tolist()) - {255})]
        expected = {"kind": [entry.kind], "classes": names, "errors": list(entry.errors)}
        assert {key: json.loads(card[f"data-{key}"]) for key in expected} == expected
    errors = Counter(error for entry in evaluation.gallery for error in entry.errors)
    options = page.all("select", data_of="errors")[0].children
    assert [(option.attributes["value"], option.text) for option in options] == [
        ("", "all"),
        *((error, f"{error} ({count})") for error, count in errors.most_common()),
    ]
    names = json.loads(page.all("script", id="names")[0].text)
    assert names["classes"][",".join(map(str, evaluation.classes[0].color))] == "<wall> & co"


def test_each_image_is_asked_for_once_and_the_files_in_the_page_are_its_layers(tmp_path: Path) -> None:
    evaluation, asked = semantic_evaluation(6, 4), list[int]()
    entry = evaluation.gallery[1]
    gallery = InTurn(lambda number: asked.append(number) or entry, range(3))  # type: ignore[func-returns-value]
    page = page_of(replace(evaluation, gallery=gallery, preview=None), tmp_path)
    assert asked == [0, 1, 2]
    found = [base64.b64decode(tag.attributes["src"].partition(",")[2]) for tag in page.all("img")]
    assert found == layers_of(entry, evaluation.classes, 10**6) * 3


def test_a_filter_that_every_image_passes_is_left_out(tmp_path: Path) -> None:
    page = page_of(instance_evaluation(), tmp_path)
    assert [tag.attributes["data-of"] for tag in page.all("select")] == ["kind"], "all images have all classes and all errors"


@pytest.mark.slow
def test_a_page_of_five_hundred_large_images_stays_below_30_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight, each again and again, whose files are made once."""
    evaluation = semantic_evaluation(20, 8, (720, 960), detail=240)
    entries = [evaluation.gallery[n % 8] for n in range(500)]
    made: dict[tuple[int, int], list[bytes]] = {}

    def once(entry: GalleryEntry, classes: Sequence[ClassInfo], most: int) -> list[bytes]:
        return made.get((id(entry), most)) or made.setdefault((id(entry), most), layers_of(entry, classes, most))

    monkeypatch.setattr("seg.report.evaluation_gallery.layers_of", once)
    write_evaluation(tmp_path / "report.html", replace(evaluation, gallery=entries))
    assert len(made) == 8
    assert (tmp_path / "report.html").stat().st_size < 30_000_000
