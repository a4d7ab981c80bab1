"""Text with and without byte order marks, names in either Unicode form, and their natural order."""

import random
from pathlib import Path
from unicodedata import normalize

import pytest

from seg.core.errors import DataError
from seg.core.textfile import composed, natural_key, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_of_any_program(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Übersicht 1\n", encoding)
    assert read_text(path) == "Übersicht 1\n"


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc\xff")
    with pytest.raises(DataError, match=r"a.txt: is no text in UTF-8 \(invalid start byte at byte 3\)"):
        read_text(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"b.txt: cannot be read"):
        read_text(tmp_path / "b.txt")


def test_names_that_look_alike_are_one() -> None:
    assert composed(normalize("NFD", "Übersicht")) == normalize("NFC", "Übersicht") == composed("Übersicht")


def test_numbers_in_names_count_as_numbers_wherever_they_stand() -> None:
    ordered = ["0", "1", "2", "9", "10", "a", "a1b2", "a1b10", "a02", "a2", "a10", "b10/1", "b/2", "b/10"]
    mixed = random.Random(0).sample(ordered, len(ordered))
    assert mixed != ordered
    assert sorted(mixed, key=natural_key) == ordered
