"""The page of findings: one valid file without network or script, whose pictures show what they should."""

import base64
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import CLASSES, Blobs, folders, labels, picture, split, write, write_folders

from seg.doctor.page import MOST_PICTURES, Page, write_doctor
from seg.doctor.pictures import SIDE, Album
from seg.pictures.draw import resized
from seg.prepare.assignment import Division
from seg.prepare.checks.check import Diagnosis
from seg.prepare.run import Examination, examine
from seg.raw.findings import Finding
from seg.raw.record import Source

VOID = {"meta", "img", "link", "br"}


class Outline(HTMLParser):
    """Tags, and those that were not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.wrong: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(source: Source, out: Path, extra: list[Finding]) -> tuple[Outline, Examination]:
    examination = examine(source, CLASSES, Division(split(), None), None, 0, "none", None)
    diagnosis = Diagnosis([*extra, *examination.diagnosis.findings], examination.diagnosis.summary)
    write_doctor(out, Page("<tiny> & co", Path("/raw"), CLASSES, diagnosis, examination.items, source))
    outline = Outline()
    outline.feed(out.read_text())
    return outline, examination


@pytest.fixture
def source(tmp_path: Path) -> Source:
    raw = write_folders(tmp_path / "raw", [f"scene{number}" for number in range(12)], suffix=".png")
    write(raw / "masks" / "scene3.png", labels(3, (24, 31)))
    (raw / "images" / "scene5.png").write_bytes(b"none")
    write(raw / "images" / "scene8.png", cv2.resize(picture(7), (64, 48)))
    write(raw / "masks" / "scene8.png", labels(7, (48, 64)))
    return folders(raw)


def test_the_page_is_one_sound_file(source: Source, tmp_path: Path) -> None:
    extra = [Finding(f"kind-{n // 5}", f"/raw/<b>{n}", "is & was <odd>", "mend 'it'", "error") for n in range(600)]
    outline, examination = page_of(source, tmp_path / "doctor.html", extra)
    assert (outline.wrong, outline.open) == ([], [])
    counts = Counter(tag for tag, _ in outline.tags)
    assert (counts["h1"], counts["main"], counts["script"], counts["link"], counts["b"]) == (1, 1, 0, 0, 0)
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in outline.tags:
        if tag == "img":
            assert attributes["src"].startswith("data:image/jpeg;base64,")
            assert attributes["alt"]
        if tag == "a":
            assert attributes["href"][1:] in ids
    assert "http" not in (tmp_path / "doctor.html").read_text()
    assert "url(" not in (tmp_path / "doctor.html").read_text()
    assert "<tiny> & co: what the doctor found" in outline.text
    assert "<b>0: is & was <odd>" not in outline.text, "files below the root are named from there"
    assert "is & was <odd>" in outline.text
    errors, warnings = 600 + len(examination.diagnosis.errors), len(examination.diagnosis.warnings)
    assert f"{errors} errors, {warnings} warnings. Training cannot start" in outline.text


def test_kinds_are_grouped_errors_first_and_shown_with_pictures(source: Source, tmp_path: Path) -> None:
    outline, examination = page_of(source, tmp_path / "doctor.html", [])
    found = Counter(f.kind for f in examination.diagnosis.findings)
    assert (found["size-mismatch"], found["unreadable-file"], found["size-outlier"]) == (1, 1, 0)
    sections = [attributes["id"] for tag, attributes in outline.tags if tag == "section" and "id" in attributes]
    assert len(sections) == len(found)
    severities = [name.rpartition("-")[2] for name in sections]
    assert severities == sorted(severities)
    assert severities[:2] == ["error", "error"]
    alt = [attributes["alt"] for tag, attributes in outline.tags if tag == "img"]
    assert "scene3, whose labels could not be read" in alt
    assert not any("scene5" in text for text in alt)


def test_many_findings_give_few_pictures(tmp_path: Path) -> None:
    source = Blobs()
    extra = [Finding(f"kind-{n // 10}", "x", "is odd", "", "warning", f"blobs{n % 12}", (2, 2, 6, 6), None) for n in range(400)]
    outline, _ = page_of(source, tmp_path / "doctor.html", extra)
    assert sum(tag == "img" for tag, _ in outline.tags) == MOST_PICTURES
    assert outline.text.count("7 more") == 40


def test_a_page_without_findings_says_so(tmp_path: Path) -> None:
    write_doctor(tmp_path / "doctor.html", Page("x", None, CLASSES, Diagnosis([], {}), {}, Blobs()))
    assert "Nothing found." in (tmp_path / "doctor.html").read_text()


def test_a_finding_is_shown_with_its_place_and_the_other_image() -> None:
    source = Blobs(3, (40, 60))
    items = {("train", item.image_id): item for item in source.items()}
    album = Album(items, source, CLASSES)
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


def test_pictures_are_the_datas(source: Source, tmp_path: Path) -> None:
    page_of(source, tmp_path / "doctor.html", [])
    data = re.findall(r"base64,([^\"]+)", (tmp_path / "doctor.html").read_text())
    decoded = [cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR_RGB) for text in data]
    assert decoded
    assert all(max(image.shape) == SIDE for image in decoded)
