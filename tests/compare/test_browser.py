"""The page of a comparison in Chromium: what toggles, filters and enlarges does so, and nothing is logged as an error."""

from pathlib import Path
from typing import Any

import pytest
from comparisons import NAMES, instance_comparison, semantic_comparison
from report.test_evaluation_browser import PHONE, WIDE, _no_errors, browser, check_fits, every, one, press, pytestmark, show

from seg.compare.comparison import Comparison
from seg.compare.gallery import BOTH_WRONG, FIRST_RIGHT, OTHER_RIGHT
from seg.compare.page import write_comparison

__all__ = ["_no_errors", "browser", "pytestmark"]  # fixtures and marks that this file shares


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    comparison, page = semantic_comparison(3), tmp_path_factory.mktemp("three") / "compare.html"
    write_comparison(page, comparison)
    return comparison, page


def seen(browser: Any) -> list[str]:
    """The layers that are drawn over the first image."""
    layers = every(browser, ".entry:first-child .layer")
    return [layer.get_attribute("alt") for layer in layers if layer.value_of_css_property("display") != "none"]


def test_keys_choose_the_layer_and_step_in_the_close_up(browser: Any, three: tuple[Comparison, Path]) -> None:
    from selenium.webdriver import Keys

    comparison, page = three
    show(browser, page)
    for key, layer in (("2", ["truth"]), ("3", [NAMES[0]]), ("5", [NAMES[2]]), ("6", ["disagreement"]), ("1", [])):
        press(browser, key)
        assert seen(browser) == layer
        gray = one(browser, ".entry .photo").value_of_css_property("filter") != "none"
        assert gray == (layer == ["disagreement"])
    browser.execute_script("document.querySelector('.entry').scrollIntoView({block: 'center'})")
    one(browser, ".entry .stack").click()
    press(browser, "4")
    assert [pane.get_attribute("class") for pane in every(browser, ".pane")] == ["pane run1"]
    press(browser, "7")
    titles = [title.text for title in every(browser, ".framed > b")]
    assert titles == ["image", "truth", *NAMES, "disagreement"]
    drawn = [
        [layer.get_attribute("alt") for layer in pane.find_elements("css selector", ".layer") if layer.is_displayed()]
        for pane in every(browser, ".pane")
    ]
    assert drawn == [[], ["truth"], *([name] for name in NAMES), ["disagreement"]]
    press(browser, Keys.ARROW_RIGHT)
    assert one(browser, "#large-name").text == comparison.gallery[1].scores.image_id
    press(browser, Keys.ESCAPE)
    assert not one(browser, "dialog").is_displayed()


def test_pointing_at_a_pixel_names_every_runs_class(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver import ActionChains

    comparison = semantic_comparison(2)
    write_comparison(tmp_path / "compare.html", comparison)
    show(browser, tmp_path / "compare.html")
    one(browser, ".entry .stack").click()
    entry, stack = comparison.gallery[0], one(browser, ".pane .stack")
    height, width = entry.image.shape[:2]
    words = {FIRST_RIGHT: f"right in {NAMES[0]} alone", OTHER_RIGHT: f"right in {NAMES[1]} alone", BOTH_WRONG: "both wrong, but not alike"}
    assert not isinstance(entry.apart, tuple)
    for kind in (FIRST_RIGHT, OTHER_RIGHT, BOTH_WRONG, 0, 255):
        places = list(zip(*(entry.apart == kind).nonzero(), strict=True))  # type: ignore[attr-defined]
        y, x = places[len(places) // 2]
        sizes = stack.size["width"], stack.size["height"]
        across, down = round((x + 0.5) / width * sizes[0]), round((y + 0.5) / height * sizes[1])
        ActionChains(browser).move_to_element_with_offset(stack, across - sizes[0] // 2, down - sizes[1] // 2).perform()
        names = {k: info.name for k, info in enumerate(comparison.classes)} | {255: "none"}
        truth, first, other = (names[int(labels[y, x])] for labels in (entry.truth, *entry.predicted))  # type: ignore[index]
        end = f"; {words[kind]}" if kind in words else "; ignored" if kind == 255 else ""
        assert one(browser, ".pixel").text == f"truth: {truth}; {NAMES[0]}: {first}; {NAMES[1]}: {other}{end}"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_no_page_is_wider_than_its_window(browser: Any, tmp_path: Path, size: tuple[int, int], dark: bool) -> None:
    for number, comparison in enumerate((semantic_comparison(3, 150), instance_comparison())):
        write_comparison(tmp_path / f"{number}.html", comparison)
        check_fits(browser, tmp_path / f"{number}.html", size, dark)
        narrow = min(pane.size["width"] for pane in every(browser, ".pane .stack"))
        assert narrow > 60, "each is large enough to be seen"
