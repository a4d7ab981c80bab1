"""A page as a browser would take it: its tags, their text and the cells of its tables; and whether it is one sound file."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

HOSTILE = """</script><b onclick="x">'" onload='y' &amp; {{ 7 * 7 }} {% raw %} \\u003c</style>"""
"""A name that would break out of a page's text, attributes, scripts and templates, where one of these let it."""

VOID = {"meta", "img", "input"}


@dataclass
class Tag:
    """section: the id of the section that it lies in. text: all within it, character references resolved."""

    name: str
    attributes: dict[str, str]
    section: str
    children: list["Tag"] = field(default_factory=list)
    text: str = ""


class Page(HTMLParser):
    """tags: in their order; wrong: those that were not closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.root = Tag("", {}, "")
        self.open, self.tags, self.wrong = [self.root], list[Tag](), list[str]()
        self.source = path.read_text()
        self.feed(self.source)

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attributes}
        tag = Tag(name, values, values.get("id", "") if name == "section" else self.open[-1].section)
        self.tags.append(tag)
        self.open[-1].children.append(tag)
        if name not in VOID:
            self.open.append(tag)

    def handle_endtag(self, name: str) -> None:
        if self.open.pop().name != name:
            self.wrong.append(name)

    def handle_data(self, data: str) -> None:
        for tag in self.open:
            tag.text += data

    @property
    def text(self) -> str:
        """Without the breaks of its lines."""
        return " ".join(self.root.text.split())

    @property
    def shape(self) -> list[tuple[str, list[str]]]:
        """The tags with the names of their attributes."""
        return [(tag.name, list(tag.attributes)) for tag in self.tags]

    @property
    def sections(self) -> list[str]:
        return [tag.attributes["id"] for tag in self.all("section")]

    def all(self, tag_name: str, section: str | None = None, **attributes: str) -> list[Tag]:
        """The tags of a name, in a section or anywhere, with these attributes; `kind` is the class."""
        wanted = {{"kind": "class"}.get(key, key).replace("_", "-"): value for key, value in attributes.items()}
        return [
            tag for tag in self.tags if tag.name == tag_name and section in (None, tag.section) and wanted.items() <= tag.attributes.items()
        ]

    def rows(self, section: str) -> list[list[str]]:
        """The text of the cells of a section's tables."""
        return [[cell.text.strip() for cell in row.children] for row in self.all("tr", section)]


def check_sound(page: Page) -> None:
    """One file without network, each of whose names is there once, and in which nothing breaks out of its text."""
    assert (page.wrong, page.open) == ([], [page.root])
    counts = [len(page.all(name)) for name in ("h1", "main", "link", "iframe")]
    assert counts == [1, 1, 0, 0]
    ids = [tag.attributes["id"] for tag in page.tags if "id" in tag.attributes]
    assert len(ids) == len(set(ids))
    for tag in page.tags:
        if tag.name == "img":
            assert tag.attributes["src"].startswith("data:image/")
            assert tag.attributes["alt"]
        if tag.name == "a":
            assert tag.attributes["href"][1:] in ids
        assert not [key for key in tag.attributes if key.startswith("on")]
    assert not re.search(r"https?:|url\(|@import|\bfetch\(", page.source)
