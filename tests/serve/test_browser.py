"""The page of the service in Chromium: an image is seen, filtered, corrected and saved, by mouse, by keyboard, and on a phone."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browsing import MARKS, PHONE, chromium, show
from serving import Served, serving
from tiny import write
from untrained import CONVOLUTION, untrained

pytestmark = MARKS


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium() as driver:
        driver.saved = tmp_path_factory.mktemp("saved")
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(driver.saved)})
        yield driver


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: Any) -> Iterator[Served]:
    monkeypatch.setenv("SEG_MAX_PIXELS", "1")
    untrained(tmp_path / "best.ckpt", network=CONVOLUTION)
    image = np.full((60, 90, 3), 40, np.uint8)
    cv2.circle(image, (30, 30), 18, (240, 220, 60), -1)
    cv2.rectangle(image, (60, 10), (80, 40), (30, 90, 250), -1)
    write(tmp_path / "scans/cells.png", image)
    with serving(tmp_path / "best.ckpt", samples=str(tmp_path / "scans")) as found:
        yield found
    assert [entry for entry in browser.get_log("browser") if "401" not in entry["message"]] == []


def wait(true: Callable[[], Any]) -> Any:
    end = time.monotonic() + 30
    while not (found := true()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)
    return found


def every(browser: Any, selector: str) -> list[Any]:
    return list(browser.find_elements("css selector", selector))


def one(browser: Any, selector: str) -> Any:
    return wait(lambda: every(browser, selector))[0]


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def opened(browser: Any, served: Served, **shown: Any) -> list[str]:
    """The page with its sample predicted; the objects that it lists."""
    show(browser, f"http://127.0.0.1:{served.port}/", **shown)
    one(browser, "#samples button").click()
    wait(lambda: "pixels" in one(browser, "#said").text)
    return listed(browser)


def listed(browser: Any) -> list[str]:
    return [button.text for button in every(browser, "#objects button")]


def slide(browser: Any, name: str, value: float) -> None:
    change = "const e = document.getElementById(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('input'))"
    browser.execute_script(change, name, value)


def saved(browser: Any, kind: str, name: str) -> bytes:
    one(browser, f"[data-save={kind}]").click()
    path = browser.saved / name
    wait(path.exists)
    content: bytes = path.read_bytes()
    path.unlink()
    return content


def sides(browser: Any) -> bool:
    """Whether the page is wider than the window."""
    return bool(browser.execute_script("return document.documentElement.scrollWidth > innerWidth"))


@pytest.mark.parametrize("dark", [False, True])
def test_an_image_is_seen_and_filtered(browser: Any, served: Served, dark: bool) -> None:
    objects = opened(browser, served, dark=dark)
    assert objects
    assert len(every(browser, "#drawn path.object")) == len(objects)
    assert browser.execute_script("return document.getElementById('photo').naturalWidth") == 90
    first = objects[0].split()[0]
    one(browser, f"#classes input[value={first}]").click()
    assert listed(browser) == [text for text in objects if not text.startswith(first)]
    one(browser, f"#classes input[value={first}]").click()
    middle = sorted(float(text.split()[1]) for text in objects)[len(objects) // 2]
    slide(browser, "score", middle)
    assert len(listed(browser)) <= len([text for text in objects if float(text.split()[1]) >= middle])
    slide(browser, "opacity", 0.2)
    assert {path.get_attribute("fill-opacity") for path in every(browser, "#drawn path.object")} <= {"0.2"}
    before = one(browser, "#layers").size["width"]
    slide(browser, "zoom", 1)
    assert abs(one(browser, "#layers").size["width"] - 2 * before) <= 2


def test_what_is_saved_is_what_predict_writes_and_the_corrections(browser: Any, served: Served) -> None:
    from selenium.webdriver import ActionChains

    data = served.ask("GET", "/samples/0")[2]
    opened(browser, served)
    assert saved(browser, "png", "cells.png") == served.predict(data, "cells.png", "?as=png")[2]
    assert saved(browser, "coco", "cells.coco.json") == served.predict(data, "cells.png", "?as=coco")[2]
    predicted = json.loads(served.predict(data, "cells.png", "?as=labelme")[2])
    assert json.loads(saved(browser, "labelme", "cells.json")) == predicted
    one(browser, "#objects button").click()
    point = one(browser, "#drawn circle.corner")
    at = [float(point.get_attribute(key)) for key in ("cx", "cy")]
    point.click()
    press(browser, "\ue014")
    ActionChains(browser).key_down("\ue008").send_keys("\ue015").key_up("\ue008").perform()  # ten down with Shift
    one(browser, "[data-do=add]").click()
    corrected = json.loads(saved(browser, "labelme", "cells.json"))
    shape, before = corrected["shapes"][0], predicted["shapes"][0]
    assert shape["points"][0] == [at[0] + 1, min(at[1] + 10, 60)]
    assert len(shape["points"]) == len(before["points"]) + 1
    assert shape["points"][2:] == before["points"][1:]
    assert corrected["imagePath"] == "cells.png"
    for _ in range(3):
        one(browser, "[data-do=undo]").click()
    assert json.loads(saved(browser, "labelme", "cells.json")) == predicted
    one(browser, "[data-do=drop]").click()
    rings = [shape for shape in predicted["shapes"] if before["group_id"] and shape["group_id"] == before["group_id"]] or [before]
    left = [shape for shape in predicted["shapes"] if shape not in rings]
    assert json.loads(saved(browser, "labelme", "cells.json"))["shapes"] == left


def test_the_mouse_drags_a_corner(browser: Any, served: Served) -> None:
    from selenium.webdriver import ActionChains

    opened(browser, served)
    one(browser, "#objects button").click()
    point = one(browser, "#drawn circle.corner")
    x, scale = float(point.get_attribute("cx")), one(browser, "#layers").size["width"] / 90
    ActionChains(browser).drag_and_drop_by_offset(point, round(5 * scale), 0).perform()
    assert abs(float(one(browser, "#drawn circle.corner").get_attribute("cx")) - (x + 5)) < 0.5


def test_the_keyboard_alone_suffices(browser: Any, served: Served) -> None:
    show(browser, f"http://127.0.0.1:{served.port}/")
    one(browser, "#samples button")

    def tab_to(selector: str) -> None:
        for _ in range(200):
            if browser.execute_script("return document.activeElement.matches(arguments[0])", selector):
                return
            press(browser, "\ue004")
        raise AssertionError(f"Tab does not lead to {selector}")

    tab_to("#samples button")
    press(browser, "\ue007")
    wait(lambda: "pixels" in one(browser, "#said").text)
    tab_to("#objects button")
    press(browser, "\ue007")
    assert browser.execute_script("return document.activeElement.getAttribute('aria-pressed')") == "true"
    browser.execute_script("document.getElementById('image').focus()")
    tab_to("circle.corner")
    x = float(browser.switch_to.active_element.get_attribute("cx"))
    press(browser, "\ue014" if x < 90 else "\ue012")
    assert abs(float(browser.switch_to.active_element.get_attribute("cx")) - x) == 1


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_phone_shows_the_whole_width(browser: Any, served: Served, path: str) -> None:
    if path == "/":
        opened(browser, served, size=PHONE)
        one(browser, "#objects button").click()
    else:
        show(browser, f"http://127.0.0.1:{served.port}{path}", size=PHONE)
    assert not sides(browser)


def test_a_mistake_is_told_and_a_token_asked_for(browser: Any, served: Served, tmp_path: Path) -> None:
    show(browser, f"http://127.0.0.1:{served.port}/")
    one(browser, "#samples button")
    (tmp_path / "a.tif").write_bytes(b"no image")
    one(browser, "#file").send_keys(str(tmp_path / "a.tif"))
    wait(lambda: "a.tif: is no PNG" in one(browser, "#said.wrong").text)
    browser.get_log("browser")  # the 422, and the picture that is none
    with serving(tmp_path / "best.ckpt", token="much of a secret") as guarded:
        show(browser, f"http://127.0.0.1:{guarded.port}/")
        wait(lambda: one(browser, "#token-form").is_displayed())
        one(browser, "#token").send_keys("much of a secret")
        one(browser, "#token-form button").click()
        wait(lambda: not one(browser, "#token-form").is_displayed())
