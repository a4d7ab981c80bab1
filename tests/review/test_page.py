"""The page of suspect labels: what it holds, and in Chromium how people mark."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import MARKS, PHONE, chromium, show

from seg.core.errors import DataError
from seg.data.rle import encode_crop
from seg.data.sample import ClassInfo, Prediction, Sample, no_instances
from seg.review.files import layers_of
from seg.review.marks import mark_of, read_marks
from seg.review.page import card_of, write_review
from seg.review.suspects import Suspect

CLASSES = [ClassInfo("background", (70, 70, 70)), ClassInfo("disc", (230, 159, 0)), ClassInfo("<ring>", (86, 180, 233))]
SIZE = (60, 80)
DISC = encode_crop(np.ones((12, 12), bool), 20, 10, *SIZE)
RING = encode_crop(np.ones((10, 14), bool), 50, 40, *SIZE)
WRONG = Suspect("a/1", "wrong class", 0.9, 1, 2, [DISC], [DISC])
MISSED = Suspect("a/1", "missed", 0.8, None, 2, [], [RING])


def sample() -> Sample:
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    semantic = np.zeros(SIZE, np.uint8)
    semantic[10:22, 20:32] = 1
    return Sample("a/1", image, semantic, *no_instances(*SIZE))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, predicted = tmp_path_factory.mktemp("review") / "review.html", np.zeros(SIZE, np.uint8)
    predicted[10:22, 20:32] = predicted[40:50, 50:64] = 2
    cards = [card_of(s, sample(), Prediction(semantic=predicted), "c0ffee", CLASSES, False) for s in (WRONG, MISSED)]
    write_review(path, "Labels to look at", cards, CLASSES, "2 suspect labels in 1 image.")
    return path


def test_a_card_says_what_is_suspect(page: Path) -> None:
    text = page.read_text()
    assert "labelled disc, predicted &lt;ring&gt;" in text
    assert "no label, predicted &lt;ring&gt;" in text
    assert text.count("data:image/jpeg") == 6
    assert "<ring>" not in text


def test_marks_hold_for_the_same_place_of_the_same_image(tmp_path: Path) -> None:
    assert read_marks(tmp_path / "none") == []
    own = {
        "image": "c0ffee",
        "kind": "wrong class",
        "size": SIZE,
        "counts": DISC["counts"],
        "mark": "right",
        "image_id": "b",
        "label": "disc",
    }
    (tmp_path / "a.json").write_text(json.dumps({"marks": [own]}))
    marks = read_marks(tmp_path)
    assert mark_of(WRONG, "c0ffee", marks) == "right"
    assert mark_of(WRONG, "0ther", marks) is None
    assert mark_of(MISSED, "c0ffee", marks) is None
    beside = encode_crop(np.ones((12, 12), bool), 24, 10, *SIZE)
    assert mark_of(Suspect("a/1", "wrong class", 0.5, 1, 2, [beside], [beside]), "c0ffee", marks) == "right", "an IoU of one half"
    apart = encode_crop(np.ones((12, 12), bool), 25, 10, *SIZE)
    assert mark_of(Suspect("a/1", "wrong class", 0.5, 1, 2, [apart], [apart]), "c0ffee", marks) is None
    (tmp_path / "b.json").write_text(json.dumps({"marks": [own | {"mark": "wrong"}]}))
    assert mark_of(WRONG, "c0ffee", read_marks(tmp_path)) == "wrong", "the later file counts"


@pytest.mark.parametrize("content", ["[]", "{}", '{"marks": [{"mark": "right"}]}', "no json"])
def test_files_that_are_no_marks_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "odd.json").write_text(content)
    with pytest.raises(DataError, match=r"odd\.json: is no file of marks that review\.html saved"):
        read_marks(tmp_path)


def test_a_file_to_correct_has_labels_below_and_suggestions_on_top() -> None:
    both = layers_of(sample(), [WRONG, MISSED], CLASSES, False)
    assert both.categories.tolist() == [3 + 2, 3 + 2, 1], "two suggestions of <ring>, then the label: files have the last of these first"
    assert both.boxes[1].tolist() == [50, 40, 64, 50]
    assert both.masks[2]["counts"] == DISC["counts"]
    nothing = Suspect("a/1", "made up", 0.7, 1, None, [DISC], [DISC])
    assert layers_of(sample(), [nothing], CLASSES, False).categories.tolist() == [3, 1], "of pixels `background` is suggested"
    assert layers_of(sample(), [nothing], CLASSES, True).categories.tolist() == [], "of objects nothing is"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driver:
        yield driver


@MARKS[0]
@MARKS[1]
def test_marks_are_set_by_keys_and_survive_a_reload(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    def press(keys: str) -> None:
        ActionChains(browser).send_keys(keys).perform()

    def marks() -> list[str]:
        return [card.get_attribute("data-mark") for card in browser.find_elements("css selector", ".suspect")]

    show(browser, page, PHONE)
    browser.execute_script("localStorage.clear()")
    show(browser, page, PHONE)
    press("j")
    press("1")
    assert marks() == ["right", "open"]
    press("2")
    assert marks() == ["right", "wrong"], "a mark goes on to the next card"
    saved = browser.execute_script("""
        let text; const make = URL.createObjectURL; URL.createObjectURL = (blob) => { text = blob.text(); return make(blob); };
        document.getElementById("save").click(); return text;""")
    found = json.loads(saved)["marks"]
    assert [(m["kind"], m["mark"], m["image"]) for m in found] == [("wrong class", "right", "c0ffee"), ("missed", "wrong", "c0ffee")]
    show(browser, page, PHONE)
    assert marks() == ["right", "wrong"]
    browser.execute_script(
        "const s = document.querySelector('[data-of=mark]'); s.value = 'wrong'; s.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    assert [card.is_displayed() for card in browser.find_elements("css selector", ".suspect")] == [False, True]
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than a phone"
    assert browser.get_log("browser") == []
