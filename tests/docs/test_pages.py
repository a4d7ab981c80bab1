"""The pages: links lead somewhere, pictures are small, and the picture of the architecture is what the code gives."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify
from project import ROOT

PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Of the headings, as mkdocs and GitHub write them."""
    return {slugify(re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading), "-") for heading in HEADING.findall(prose(page))}


def broken(page: Path) -> list[str]:
    """The links within the project that lead nowhere."""
    found = []
    for link in LINK.findall(prose(page)):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if "://" in link or link.startswith("mailto:"):
            continue
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Here and `there`\n```\n# no heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text("[a](other.md#here-and-there) [b](other.md#no-heading) [c](none.md) [d](#e) [f](https://x.org/y)\n")
    assert broken(page) == ["other.md#no-heading", "none.md", "#e"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lists_and_tables_begin_after_a_blank_line(page: Path) -> None:
    """Else the site shows them as running text."""
    assert re.findall(r"^(?![-|#\n]|  ).+\n(?:- |\|).*", prose(page), re.MULTILINE) == []


def test_every_page_stands_in_the_contents() -> None:
    contents = (ROOT / "mkdocs.yml").read_text()
    listed = re.findall(r": ([\w/-]+\.md)$", contents, re.MULTILINE)
    assert sorted(listed) == [page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.is_relative_to(ROOT / "docs")]


def test_modules_that_pages_name_are_there() -> None:
    named = {name for page in PAGES for name in re.findall(r"`(seg/[\w/.]+|tests/[\w/.]+|benchmarks/[\w/.]+)`", page.read_text())}
    assert len(named) > 30
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_pictures_are_small_and_used() -> None:
    text = "".join(page.read_text() for page in PAGES)
    for picture in (ROOT / "docs/images").iterdir():
        assert picture.stat().st_size < (300_000 if picture.stem == "overview" else 200_000), picture.name
        assert f"images/{picture.name}" in text, f"no page shows {picture.name}"


def test_the_picture_of_the_architecture_is_what_the_code_gives() -> None:
    given = subprocess.run(
        [sys.executable, "-c", "from draw_architecture import picture; print(picture(), end='')"],
        cwd=ROOT / "docs", capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert given == (ROOT / "docs/images/architecture.svg").read_text(), "python docs/draw_architecture.py draws it anew"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "-d", tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "api/index.html").read_text().count("seg.load") > 1
