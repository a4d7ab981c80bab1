"""The page of a comparison: one sound file, whose figures, dots and pictures are those of the comparison."""

import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comparisons import NAMES, instance_comparison, semantic_comparison
from evaluations import SIZE
from parsed import HOSTILE, Page, check_sound
from report.test_evaluation_page import decoded

from seg.compare.comparison import Comparison, Difference, sentence, signed
from seg.compare.gallery import (
    BOTH_WRONG,
    FIRST_RIGHT,
    FOUND_BY_FIRST,
    FOUND_BY_OTHER,
    INSTANCES,
    MADE_UP_BY_FIRST,
    MADE_UP_BY_OTHER,
    OTHER_RIGHT,
    PIXELS,
    compared_layers,
)
from seg.compare.page import write_comparison
from seg.report.charts import TITLED, scatter_chart
from seg.report.layers import DARK, FIRST, laid_over


def page_of(comparison: Comparison, folder: Path) -> Page:
    write_comparison(folder / "compare.html", comparison)
    return Page(folder / "compare.html")


@pytest.mark.parametrize("comparison", [semantic_comparison(), semantic_comparison(3, 150), instance_comparison()], ids=["2", "3", "i"])
def test_the_page_is_one_sound_file(comparison: Comparison, tmp_path: Path) -> None:
    page = page_of(comparison, tmp_path)
    check_sound(page)
    assert page.all("one") == page.all("b", "settings") == [], "a name is text, whatever it holds"
    assert page.sections == ["summary", "settings", "classes", "images", "gallery"]
    assert [tag.text for tag in page.all("h1")] == [comparison.title]
    assert page_of(comparison, tmp_path).source == page.source


def test_no_name_breaks_out_of_its_text(tmp_path: Path) -> None:
    comparison = semantic_comparison()
    classes = [replace(info, name=f"{HOSTILE}{k}") for k, info in enumerate(comparison.classes)]
    renamed = replace(comparison, runs=(HOSTILE, f"{HOSTILE}2"), classes=classes, split=HOSTILE, score_name=HOSTILE)
    page = page_of(replace(renamed, settings={HOSTILE: [HOSTILE, {"a": HOSTILE}]}, images=[], per_class=[{}, {}]), tmp_path)
    check_sound(page)
    harmless = replace(comparison, runs=("x", "y"), settings={"x": ["x", "y"]}, images=[], per_class=[{}, {}])
    assert page.shape == page_of(harmless, tmp_path).shape
    assert [radio.attributes["data-word"] for radio in page.all("input", name="layer")][2:4] == [HOSTILE, f"{HOSTILE}2"]


def test_figures_stand_side_by_side_with_their_difference(tmp_path: Path) -> None:
    page = page_of(semantic_comparison(), tmp_path)
    rows = {row[0]: row[1:] for row in page.rows("summary")}
    space, dash = "\N{NO-BREAK SPACE}", "\N{EN DASH}"
    assert rows["miou"] == ["0.5000", "0.6000", "+0.1000", "+0.0600 to +0.1500", "", "yes", f"99.0{space}%"]
    assert rows["mean_dice"] == ["0.6000", "0.5800", "-0.0200", "-0.0600 to +0.0100", "", "no", f"20.0{space}%"]
    assert rows["hd95"] == ["12.50", dash, "undefined", "", "", dash, dash]
    assert rows[NAMES[1]] == ["12", "0.6000", "0.5500 to 0.6500"]
    scales = page.all("span", "summary", kind="scale around")
    # the scale reaches 0.15, the farthest end of an interval, to both sides of its middle
    for scale, (low, high, at) in zip(scales, ((0.06, 0.15, 0.1), (-0.06, 0.01, -0.02)), strict=True):
        styles = [tag.attributes.get("style") for tag in scale.children]
        band = f"left:{50 + 50 * low / 0.15:.2f}%;width:{50 * (high - low) / 0.15:.2f}%"
        assert styles == [band, None, f"left:{50 + 50 * at / 0.15:.2f}%"]
    assert f"{NAMES[1]}: miou is higher than that of {NAMES[0]} by 0.1000; the interval of the difference excludes 0." in page.text
    assert page.rows("settings") == [["key", *NAMES[:2]], ["optimizer.lr", "0.1", "0.5"], ["model.name", "unet", "<b>"]]


def test_every_further_run_is_compared_with_the_first(tmp_path: Path) -> None:
    page = page_of(semantic_comparison(3), tmp_path)
    assert [row[1:4] for row in page.rows("summary") if row[0] == "miou"] == [
        ["0.5000", "0.6000", "+0.1000"],
        ["0.5000", "0.7000", "+0.2000"],
    ]
    assert page.rows("settings")[1] == ["optimizer.lr", "0.1", "0.5", ""]
    assert len(page.all("svg")) == 2
    others = [json.loads(tag.attributes["data-other"]) for tag in page.all("li", kind="entry")]
    assert others == [[NAMES[1]]] * 4 + [[NAMES[2]]] * 4


def test_classes_are_sorted_by_their_difference(tmp_path: Path) -> None:
    comparison = semantic_comparison()
    page = page_of(comparison, tmp_path)
    first, other = ({name: row["iou"] for name, row in per_class.items()} for per_class in comparison.per_class)
    known = sorted((name for name in first if other[name] == other[name]), key=lambda name: first[name] - other[name])
    rows = page.rows("classes")[1:7]
    assert [row[0] for row in rows] == [*known, "class 5"]
    assert [row[3] for row in rows[:-1]] == [f"{other[name] - first[name]:+.4f}" for name in known]
    assert rows[-1] == ["class 5", f"{first['class 5']:.4f}", "\N{EN DASH}", "\N{EN DASH}"]
    assert page.rows("classes")[7][0] == "class", "the table of dice comes next"
    whole = page_of(instance_comparison(), tmp_path)
    assert ["cell", "1,200", "1,200", "0"] in whole.rows("classes")


def test_dots_of_the_scatter_lie_where_the_scores_are(tmp_path: Path) -> None:
    comparison = semantic_comparison(num_images=9)
    page = page_of(comparison, tmp_path)
    known = comparison.images[:-1]
    dots = page.all("circle", kind="point")
    assert [dot.text for dot in dots] == [f"folder/scene<{n}>: {i.scores[0]:.4g}, {i.scores[1]:.4g}" for n, i in enumerate(known)]
    (diagonal,) = page.all("line", kind="mark")
    x1, y1, x2, y2 = (float(diagonal.attributes[key]) for key in ("x1", "y1", "x2", "y2"))
    assert x2 - x1 == pytest.approx(y1 - y2), "the diagonal rises as much as it runs"
    placed = np.array([[float(dot.attributes[key]) for key in ("cx", "cy")] for dot in dots])
    shares = np.array([i.scores for i in known])
    line = np.polyfit(shares[:, 0], (placed[:, 0] - x1) / (x2 - x1), 1)
    upright = np.polyfit(shares[:, 1], (y1 - placed[:, 1]) / (y1 - y2), 1)
    assert line == pytest.approx(upright, abs=0.002)
    above = sum(i.scores[1] > i.scores[0] for i in known)
    assert f"is better in {above}, worse in {9 - above} and equal in 0 of 9 images" in page.text
    assert "Without a score in one of the two: 1 image." in page.text
    assert {f"miou, {NAMES[0]}", f"miou, {NAMES[1]}"} <= {tag.text for tag in page.all("text")}
    many = scatter_chart("many", "x", "y", [(0.5, 0.25, "dot")] * (TITLED + 1)).shapes
    assert [shape.attributes["d"].count("h0") for shape in many if shape.tag == "path"] == [TITLED + 1]
    assert "circle" not in {shape.tag for shape in many}


def test_layers_of_pixels_are_in_the_colours_of_what_they_mean() -> None:
    comparison = semantic_comparison(3)
    entry = comparison.gallery[-1]
    _, truth, *said, apart = compared_layers(entry, comparison.classes, 10**6)
    for file, labels in zip((truth, *said), (entry.truth, *entry.predicted), strict=True):
        for index, info in enumerate(comparison.classes):
            assert (decoded(file)[labels == index] == (*info.color, 255)).all()
    picture, first, other = decoded(apart), entry.predicted[0], entry.predicted[2]
    counted = entry.truth != 255
    assert isinstance(counted, np.ndarray)
    where = {
        FIRST_RIGHT: (first == entry.truth) & (other != entry.truth),
        OTHER_RIGHT: (first != entry.truth) & (other == entry.truth),
        BOTH_WRONG: (first != entry.truth) & (other != entry.truth) & (first != other),
    }
    for kind, pixels in where.items():
        assert ((picture == (*PIXELS[kind], 255)).all(axis=2) == (pixels & counted)).all()
        assert (pixels & counted).any()
    assert (picture[~counted] == (255, 255, 255, 150)).all()
    assert not picture[counted & (first == other)][:, 3].any()


def test_layers_of_instances_outline_what_one_run_alone_found_or_made_up() -> None:
    comparison = instance_comparison()
    _, truth, first, other, apart = map(decoded, compared_layers(comparison.gallery[0], comparison.classes, 10**6))
    factor = apart.shape[1] // SIZE[1]
    assert {p.shape for p in (truth, first, other, apart)} == {(SIZE[0] * factor, SIZE[1] * factor, 4)}

    def at(picture: np.ndarray, x: int, y: int) -> list[int]:
        return picture[int((y + 0.5) * factor), int((x + 0.5) * factor)].tolist()

    places = {FOUND_BY_FIRST: (15, 15), FOUND_BY_OTHER: (45, 15), MADE_UP_BY_FIRST: (20, 45), MADE_UP_BY_OTHER: (42, 45)}
    for verdict, place in places.items():
        assert at(apart, *place) == [*INSTANCES[verdict], 90]
    assert at(apart, 65, 45)[3] == 0
    assert at(first, 15, 10)[:3] == [200, 60, 0]
    assert at(other, 15, 10)[3] == 0
    assert at(truth, 45, 15)[:3] == [10, 90, 60]


def test_outlines_hide_what_lies_below_and_fills_show_it() -> None:
    fill, line, other_fill, other_line = FIRST, FIRST + 1, FIRST + 2, FIRST + 3
    below = np.array([0, 0, 0, fill, fill, line, line, DARK])
    above = np.array([0, other_fill, DARK, other_fill, other_line, other_fill, other_line, other_fill])
    assert laid_over(below, above).tolist() == [0, other_fill, DARK, fill, other_line, line, other_line, DARK]


def test_the_files_in_the_page_are_the_layers_of_each_image(tmp_path: Path) -> None:
    comparison = semantic_comparison(3)
    page = page_of(comparison, tmp_path)
    found = [base64.b64decode(tag.attributes["src"].partition(",")[2]) for tag in page.all("img")]
    assert found == [file for entry in comparison.gallery for file in compared_layers(entry, comparison.classes, 10**6)]
    kinds = [tag.attributes["class"] for tag in page.all("img")][:6]
    assert kinds == ["photo", "layer truth", "layer run0", "layer run1", "layer run2", "layer apart"]
    cards = [json.loads(tag.attributes["data-kind"]) for tag in page.all("li", kind="entry")]
    ways = ["better" if entry.scores.difference(entry.other) > 0 else "worse" for entry in comparison.gallery]
    assert cards == [[f"{way} than {NAMES[0]}"] for way in ways]
    names = json.loads(page.all("script", id="names")[0].text)
    assert names["errors"]["0,114,178"] == f"right in {NAMES[0]} alone"
    assert names["classes"][",".join(map(str, comparison.classes[0].color))] == "<wall> & co"


def test_a_comparison_without_differences_makes_a_page(tmp_path: Path) -> None:
    page = page_of(replace(instance_comparison(), gallery=[], images=[], per_class=[{}, {}]), tmp_path)
    check_sound(page)
    assert page.sections == ["summary", "settings"]
    assert "None: the runs have the same settings." in page.text
    assert "there are no intervals" in page.text


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ((0.5, 0.6, 0.1, 0.02, 0.2), "b: f is higher than that of a by 0.1000; the interval of the difference excludes 0"),
        ((0.6, 0.5, -0.1, -0.2, -0.02), "b: f is lower than that of a by 0.1000; the interval of the difference excludes 0"),
        ((0.5, 0.6, 0.1, -0.02, 0.2), "b: f is higher than that of a by 0.1000; the interval of the difference includes 0: these images"),
        ((0.5, 0.6, 0.1, 0.0, 0.2), "includes 0"),
        ((0.5, 0.5, 0.0, 0.0, 0.0), "b: f is the same as that of a; the interval of the difference includes 0"),
        ((0.5, 0.6, 0.1, float("nan"), float("nan")), "by 0.1000; without an interval"),
        ((0.5, float("nan"), float("nan"), float("nan"), float("nan")), "b: f is undefined in one of the two"),
    ],
)
def test_a_difference_in_words(difference: tuple[float, ...], said: str) -> None:
    assert said in sentence("b", "a", "f", Difference(*difference, above=0.5))


@pytest.mark.parametrize(
    ("value", "shown"), [(0.12345, "+0.1235"), (-0.00002, "-2.00e-05"), (0.0, "0"), (-0.0, "0"), (float("nan"), "undefined")]
)
def test_a_difference_has_its_sign(value: float, shown: str) -> None:
    assert signed(value) == shown
