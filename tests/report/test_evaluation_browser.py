"""The page of an evaluation in Chromium: what toggles, filters, sorts and enlarges does so, and nothing is logged as an error."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import MARKS, PHONE, WIDE, chromium, show
from evaluations import instance_evaluation, semantic_evaluation

from seg.report.evaluation_page import write_evaluation
from seg.report.page_data import Evaluation

pytestmark = MARKS


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driver:
        yield driver


@pytest.fixture(autouse=True)
def _no_errors(browser: Any) -> Iterator[None]:
    yield
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert browser.get_log("browser") == []


@pytest.fixture(scope="module")
def semantic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Path]:
    evaluation, page = semantic_evaluation(6, 12), tmp_path_factory.mktemp("semantic") / "report.html"
    write_evaluation(page, evaluation)
    return evaluation, page


def one(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def every(browser: Any, selector: str) -> list[Any]:
    return list(browser.find_elements("css selector", selector))


def seen(browser: Any) -> set[str]:
    """The layers that are drawn over the first image."""
    return {
        layer.get_attribute("alt")
        for layer in every(browser, ".entry:first-child .layer")
        if layer.value_of_css_property("display") != "none"
    }


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


@pytest.mark.parametrize("script", [True, False])
def test_layers_toggle_with_a_script_and_without(browser: Any, semantic: tuple[Evaluation, Path], script: bool) -> None:
    show(browser, semantic[1], script=script)
    assert seen(browser) == {"prediction"}
    for value, layers in (("truth", {"truth"}), ("errors", {"errors"}), ("image", set()), ("predicted", {"prediction"})):
        one(browser, f".controls [value={value}]").click()
        assert seen(browser) == layers
    assert one(browser, ".filters").is_displayed() == script


def test_filters_leave_the_images_that_have_all_that_is_chosen(browser: Any, semantic: tuple[Evaluation, Path]) -> None:
    from selenium.webdriver.support.ui import Select

    evaluation, page = semantic
    show(browser, page)

    def left() -> list[str]:
        return [card.text for card in every(browser, ".entry .id") if card.is_displayed()]

    assert left() == [entry.row.image_id for entry in evaluation.gallery]
    error = next(iter(evaluation.gallery[0].errors))
    Select(one(browser, "[data-of=errors]")).select_by_value(error)
    wanted = [entry for entry in evaluation.gallery if error in entry.errors]
    assert left() == [entry.row.image_id for entry in wanted]
    assert Select(one(browser, "[data-of=errors]")).first_selected_option.text == f"{error} ({len(wanted)})"
    assert 0 < len(wanted) < 12
    Select(one(browser, "[data-of=kind]")).select_by_value("worst")
    wanted = [entry for entry in wanted if entry.kind == "worst"]
    assert left() == [entry.row.image_id for entry in wanted]
    assert one(browser, "#shown").text == f"{len(wanted)} of 12 images"
    Select(one(browser, "[data-of=errors]")).select_by_value("")
    Select(one(browser, "[data-of=kind]")).select_by_value("")
    Select(one(browser, "[data-of=classes]")).select_by_value("class 3")
    wanted = [entry for entry in evaluation.gallery if 3 in entry.truth or 3 in entry.predicted]  # type: ignore[operator]
    assert left() == [entry.row.image_id for entry in wanted]


def test_the_close_up_shows_zooms_steps_and_closes(browser: Any, semantic: tuple[Evaluation, Path]) -> None:
    from selenium.webdriver import Keys

    evaluation, page = semantic
    show(browser, page)
    one(browser, ".entry .stack").click()
    assert one(browser, "#large-name").text == evaluation.gallery[0].row.image_id
    width = one(browser, ".pane .stack").size["width"]
    press(browser, "+")
    assert one(browser, ".pane .stack").size["width"] == pytest.approx(1.25 * width, abs=2)
    one(browser, "[data-step='1']").click()
    assert one(browser, ".pane .stack").size["width"] == pytest.approx(width, abs=2), "another image is shown whole"
    press(browser, Keys.ARROW_LEFT, Keys.ARROW_RIGHT)
    assert one(browser, "#large-name").text == evaluation.gallery[1].row.image_id
    press(browser, "2")
    assert [pane.get_attribute("class") for pane in every(browser, ".pane")] == ["pane truth"]
    one(browser, "[data-layer=all]").click()
    panes = every(browser, ".pane")
    assert len(panes) == 4
    drawn = [
        [layer.get_attribute("alt") for layer in pane.find_elements("css selector", ".layer") if layer.is_displayed()] for pane in panes
    ]
    assert drawn == [[], ["truth"], ["prediction"], ["errors"]]
    one(browser, "[aria-label=larger]").click()
    browser.execute_script("arguments[0].scrollTop = 40", panes[0])
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    assert [pane.get_property("scrollTop") for pane in panes] == [40] * 4, "all panes scroll together"
    press(browser, Keys.ESCAPE)
    assert not one(browser, "dialog").is_displayed()
    assert browser.switch_to.active_element == every(browser, ".entry .stack")[1]


def test_pointing_at_a_pixel_names_its_classes(browser: Any, semantic: tuple[Evaluation, Path]) -> None:
    from selenium.webdriver import ActionChains

    evaluation, page = semantic
    show(browser, page)
    one(browser, ".entry .stack").click()
    entry, stack = evaluation.gallery[0], one(browser, ".pane .stack")
    height, width = entry.image.shape[:2]
    wrong = [(y, x) for y, x in zip(*(entry.truth != entry.predicted).nonzero(), strict=True) if entry.truth[y, x] != 255]  # type: ignore
    for y, x in ((0, 0), (height - 1, width // 2), wrong[len(wrong) // 2]):
        across, down = (
            round((n + 0.5) / of * size) for n, of, size in ((x, width, stack.size["width"]), (y, height, stack.size["height"]))
        )
        middle = stack.size["width"] // 2, stack.size["height"] // 2
        ActionChains(browser).move_to_element_with_offset(stack, across - middle[0], down - middle[1]).perform()
        truth, predicted = int(entry.truth[y, x]), int(entry.predicted[y, x])  # type: ignore[index]
        names = {k: info.name for k, info in enumerate(evaluation.classes)} | {255: "none"}
        verdict = "; ignored" if truth == 255 else "; wrong" if truth != predicted else ""
        assert one(browser, ".pixel").text == f"truth: {names[truth]}; prediction: {names[predicted]}{verdict}"


def test_the_confusion_matrix_is_read_by_keyboard(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver import Keys

    evaluation = semantic_evaluation(150, 12)
    write_evaluation(tmp_path / "report.html", evaluation)
    show(browser, tmp_path / "report.html")
    matrix = evaluation.confusion
    assert matrix is not None
    present = [k for k in range(150) if matrix[k].any() or matrix[:, k].any()]
    box = one(browser, ".matrix")
    browser.execute_script("arguments[0].focus()", box)
    box.send_keys(*[Keys.ARROW_DOWN] * 40, *[Keys.ARROW_RIGHT] * 45, *[Keys.ARROW_LEFT] * 5)
    truth = present[40]
    count, total = matrix[truth, truth], matrix[truth].sum()
    name = evaluation.classes[truth].name
    assert one(browser, ".cell").text.startswith(f"{name} called {name}: ")
    assert one(browser, ".cell").text.endswith(f"({count:,} of {total:,} pixels)")
    cell, frame = one(browser, ".matrix .on").rect, box.rect
    assert frame["x"] <= cell["x"] <= frame["x"] + frame["width"]
    assert frame["y"] <= cell["y"] <= frame["y"] + frame["height"]
    heads = [one(browser, ".matrix thead th.named").rect, one(browser, ".matrix tbody th.named").rect]
    assert heads[0]["y"] == pytest.approx(frame["y"], abs=3), "the column's name stays in sight"
    assert heads[1]["x"] == pytest.approx(frame["x"], abs=3)


def test_tables_sort_by_a_column_and_leave_the_undefined_last(browser: Any, semantic: tuple[Evaluation, Path]) -> None:
    evaluation, page = semantic
    show(browser, page)
    values = sorted(f"{row['iou']:.4f}" for row in evaluation.per_class.values() if row["iou"] == row["iou"])

    def column() -> list[str]:
        return [cell.text for cell in every(browser, "#classes tbody td:nth-child(2)")]

    button = one(browser, "#classes thead th:nth-child(2) button")
    button.click()
    assert column() == [*values, "\N{EN DASH}"]
    button.click()
    assert column() == [*reversed(values), "\N{EN DASH}"]


def check_fits(browser: Any, page: Path, size: tuple[int, int], dark: bool) -> None:
    """The page, and its close-up of all layers, are no wider than the window, in the colours that the reader asks for."""
    fits = "return document.documentElement.scrollWidth <= innerWidth"
    show(browser, page, size, dark=dark)
    assert browser.execute_script(fits)
    light = browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light != dark
    one(browser, ".entry .stack").click()
    one(browser, ".large [data-layer=all]").click()
    assert browser.execute_script(fits)
    assert one(browser, "[data-close]").is_displayed()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_no_page_is_wider_than_its_window(browser: Any, tmp_path: Path, size: tuple[int, int], dark: bool) -> None:
    for number, evaluation in enumerate((semantic_evaluation(150, 4), instance_evaluation())):
        write_evaluation(tmp_path / f"{number}.html", evaluation)
        check_fits(browser, tmp_path / f"{number}.html", size, dark)
