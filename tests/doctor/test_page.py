"""The page of findings: one valid file without network or script, whose pictures show what they should."""

import base64
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from parsed import Page, check_sound
from tiny import CLASSES, Blobs, folders, labels, picture, split, write, write_folders

from seg.doctor.page import LISTED, MOST_PICTURES, SIDE, SPREAD, DoctorPage, write_doctor
from seg.pictures.draw import resized
from seg.prepare.assignment import Assignment
from seg.prepare.checks.check import Diagnosis
from seg.prepare.run import examine
from seg.raw.record import Finding, Source


def shown_of(items: dict, source: Source) -> DoctorPage:  # type: ignore[type-arg]
    """The pictures of a page without findings."""
    return DoctorPage(items, source, CLASSES, "", None, Diagnosis([], {}))


def page_of(source: Source, out: Path, extra: list[Finding]) -> tuple[Page, Diagnosis]:
    examination = examine(source, CLASSES, Assignment(split(), None), None, 0, "none", None)
    diagnosis = Diagnosis([*extra, *examination.diagnosis.findings], examination.diagnosis.summary)
    write_doctor(out, DoctorPage(examination.items, source, CLASSES, "<tiny> & co", Path("/raw"), diagnosis))
    return Page(out), diagnosis


@pytest.fixture
def source(tmp_path: Path) -> Source:
    raw = write_folders(tmp_path / "raw", [f"scene{number}" for number in range(12)], suffix=".png")
    write(raw / "masks" / "scene3.png", labels(3, (24, 31)))
    (raw / "images" / "scene5.png").write_bytes(b"none")
    write(raw / "images" / "scene8.png", cv2.resize(picture(7), (64, 48)))
    write(raw / "masks" / "scene8.png", labels(7, (48, 64)))
    return folders(raw)


def test_the_page_is_one_sound_file(source: Source, tmp_path: Path) -> None:
    extra = [Finding(f"kind-{n // 5}", f"/raw/<b>{n}", "is & was <odd>?", "mend 'it'", "error") for n in range(600)]
    page, diagnosis = page_of(source, tmp_path / "doctor.html", extra)
    check_sound(page)
    assert page.all("script") == page.all("b") == page.all("odd") == []
    assert [tag.text for tag in page.all("h1")] == ["<tiny> & co: what the doctor found"]
    first = page.all("article")[0]
    assert [tag.text for tag in first.children] == ["<b>0", "is & was <odd>?", "To do: mend 'it'."], (
        "files below the root are named from there"
    )
    assert f"{len(diagnosis.errors)} errors, {len(diagnosis.warnings)} warnings. Training cannot start" in page.text


def test_kinds_are_grouped_errors_first_and_shown_with_pictures(source: Source, tmp_path: Path) -> None:
    page, diagnosis = page_of(source, tmp_path / "doctor.html", [])
    found = Counter(f.kind for f in diagnosis.findings)
    assert (found["size-mismatch"], found["unreadable-file"], found["size-outlier"]) == (1, 1, 0)
    sections = [tag.attributes["id"] for tag in page.all("section") if "id" in tag.attributes]
    assert len(sections) == len(found)
    severities = [name.rpartition("-")[2] for name in sections]
    assert severities == sorted(severities)
    assert severities[:2] == ["error", "error"]
    alt = [tag.attributes["alt"] for tag in page.all("img")]
    assert "scene3, whose labels could not be read" in alt
    assert not any("scene5" in text for text in alt)
    files = [np.frombuffer(base64.b64decode(tag.attributes["src"].partition(",")[2]), np.uint8) for tag in page.all("img")]
    assert all(max(cv2.imdecode(file, cv2.IMREAD_COLOR_RGB).shape) == SIDE for file in files)


def test_many_findings_give_few_pictures_and_long_lists_end(tmp_path: Path) -> None:
    extra = [Finding(f"kind-{n // 10}", "x", "is odd", "", "warning", f"blobs{n % 12}", (2, 2, 6, 6), None) for n in range(400)]
    extra += [Finding("many", "x", f"is {n}", "", "warning") for n in range(LISTED + 5)]
    page, _ = page_of(Blobs(), tmp_path / "doctor.html", extra)
    assert len(page.all("img")) == MOST_PICTURES + SPREAD
    assert page.text.count(" 7 more") == 40
    assert [row.text for row in page.all("li", "many-warning")] == [f"x: is {n}" for n in range(3, LISTED)]
    assert "5 more are in doctor.json." in page.text


def test_a_page_without_findings_says_so(tmp_path: Path) -> None:
    write_doctor(tmp_path / "doctor.html", DoctorPage({}, Blobs(), CLASSES, "x", None, Diagnosis([], {})))
    page = Page(tmp_path / "doctor.html")
    check_sound(page)
    assert "Nothing found." in page.text


def test_images_are_shown_with_their_labels_whatever_was_found(source: Source) -> None:
    few = Blobs(3, (40, 60))
    items = {("train", item.image_id): item for item in few.items()}
    album = shown_of(items, few)
    shown = album.spread(6)
    assert [s.text for s in shown] == [item.image_id for item in few.items()]
    _, labelled = album.of(Finding("empty-label", "x", "y", "", "warning", shown[1].text, None, "train"))
    assert np.array_equal(shown[1].picture, labelled.picture)
    assert [s.text for s in album.spread(2)] == [shown[0].text, shown[2].text]
    examination = examine(source, CLASSES, Assignment(split(), None), None, 0, "none", None)
    every = shown_of(examination.items, source).spread(100)
    readable = {f"scene{n}" for n in range(12)} - {"scene3", "scene5"}
    assert sorted(s.text for s in every) == sorted(readable), "each once, and not the two that cannot be read"
    assert shown_of({}, source).spread(6) == []


def test_a_finding_is_shown_with_its_place_and_the_other_image() -> None:
    source = Blobs(3, (40, 60))
    items = {("train", item.image_id): item for item in source.items()}
    album = shown_of(items, source)
    finding = Finding("far-pieces", "x", "y", "", "warning", "blobs0", (10, 8, 16, 14), "train")
    whole, close = album.of(finding)
    assert whole.picture.shape == (round(SIDE * 40 / 60), SIDE, 3)
    frame = np.argwhere((whole.picture == 255).all(axis=2))
    scale = SIDE / 60
    assert frame.min(axis=0).tolist() == pytest.approx([8 * scale, 10 * scale], abs=8)
    assert frame.max(axis=0).tolist() == pytest.approx([14 * scale, 16 * scale], abs=8)
    assert close.text == "the place, larger"
    assert max(close.picture.shape) == SIDE
    plain, labelled = album.of(Finding("empty-label", "x", "y", "", "warning", "blobs0", None, "train"))
    assert np.array_equal(plain.picture, resized(source.read(items["train", "blobs0"]).sample.image, SIDE))
    assert not np.array_equal(labelled.picture, plain.picture)
    one, other = album.of(Finding("near-duplicate", "x", "y", "", "warning", "blobs0", None, "train", ("train", "blobs2")))
    assert np.array_equal(one.picture, plain.picture)
    assert np.array_equal(other.picture, resized(source.read(items["train", "blobs2"]).sample.image, SIDE))
    assert other.text == "train/blobs2, the other image"
    assert album.of(Finding("x", "x", "y", image_id="gone", split="train")) == []
    assert album.of(Finding("x", "x", "y")) == []
