"""CSV files with a header: the columns asked for, and what is wrong with a file, by its line."""

from pathlib import Path

import pytest

from seg.core.errors import DataError
from seg.sources.content import read_rows


def table(folder: Path, content: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_rows_have_the_columns_asked_for_and_their_lines(tmp_path: Path) -> None:
    path = table(tmp_path, '\ufeffname , size,kind\r\na.png,3, fluo \r\n"b, c.png",4,"his\ntology"\r\n\r\nd.png,5,fluo\r\n')
    assert read_rows(path, ["kind", "name"]) == [
        (2, {"name": "a.png", "size": "3", "kind": "fluo"}),
        (4, {"name": "b, c.png", "size": "4", "kind": "his\ntology"}),
        (6, {"name": "d.png", "size": "5", "kind": "fluo"}),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,kinds\na,x\n", "has no column 'kind' in its first line; did you mean 'kinds'? (columns: kinds, name)"),
        ("name;kind\na;x\n", "has no column 'name' in its first line; did you mean 'name;kind'? (columns: name;kind)"),
        ("", "has no column 'name' in its first line; columns: none"),
        (b"name,kind\n\xff\xfe,x\n", "is no text in UTF-8 ("),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = table(tmp_path, content)
    with pytest.raises(DataError) as error:
        read_rows(path, ["name", "kind"])
    assert str(error.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("line", ["b", "b,", "b, "])
def test_a_row_without_a_value_is_refused(tmp_path: Path, line: str) -> None:
    path = table(tmp_path, f"name,kind\na,x\n{line}\n")
    with pytest.raises(DataError) as error:
        read_rows(path, ["name", "kind"])
    assert str(error.value) == f"{path}, line 3: has no value in the column 'kind'; fill it in, or remove the line"


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"table.csv: cannot be read \(No such file or directory\)"):
        read_rows(tmp_path / "table.csv", ["name"])
