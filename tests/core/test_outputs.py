"""Files are written whole or not at all, also where there is no room for them."""

import errno
import json
import math
import os
from pathlib import Path

import pytest

from seg.core.errors import DiskFullError, InputError
from seg.core.outputs import JsonList, replaced_files, replaced_folder, used_up, whole_file, write_whole


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG], ids=["disk", "quota", "limit"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "under-another"])
def test_no_room_leaves_the_old_file_and_says_what_to_do(
    tmp_path: Path, number: int, wrapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_: int) -> None:
        try:
            raise OSError(number, os.strerror(number))
        except OSError:
            if wrapped:  # as torch's writer of archives does
                raise RuntimeError("unexpected pos")  # noqa: B904
            raise

    path = tmp_path / "last.ckpt"
    path.write_bytes(b"good")
    monkeypatch.setattr(os, "fsync", fsync)
    with (
        pytest.raises(DiskFullError, match=r"last\.ckpt: cannot be written \(.+\): it needs 12\.3 MB, .* has \d+\.\d MB free; make room$"),
        whole_file(path, 12_300_000, "make room") as file,
    ):
        file.write(b"half")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"last.ckpt": b"good"}


def write_and_raise(path: Path, error: Exception) -> None:
    with whole_file(path, 0, "") as file:
        file.write(b"half")
        raise error


def replace_and_raise(folder: Path) -> None:
    with replaced_files(folder) as partial:
        (partial / "a").write_text("new")
        raise DiskFullError(f"{partial}/b: no room")


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError):
        write_and_raise(tmp_path / "a", PermissionError(errno.EACCES, "no"))
    assert list(tmp_path.iterdir()) == []


def test_a_real_device_without_room(tmp_path: Path) -> None:
    (tmp_path / "a.partial").symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match=r"a: cannot be written \(No space left on device\)"), whole_file(tmp_path / "a", 1, "") as file:
        file.write(b"x")
    assert list(tmp_path.iterdir()) == []


def test_some_files_of_a_folder_are_replaced_together(tmp_path: Path) -> None:
    for name in ("a", "b", "other"):
        (tmp_path / name).write_text("old")
    with pytest.raises(DiskFullError, match=rf"^{tmp_path}/b: no room$"):
        replace_and_raise(tmp_path)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == dict.fromkeys(("a", "b", "other"), "old")
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial/b").write_text("of a run that was killed")
    with replaced_files(tmp_path) as partial:
        (partial / "a").write_text("new")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "new", "b": "old", "other": "old"}


def fill(folder: Path, error: Exception) -> None:
    with replaced_folder(folder, ["a", "b"]) as partial:
        (partial / "a").write_text("new")
        raise error


def test_a_folder_for_which_there_is_no_room_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").write_text("old")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # of a write to an open file, which knows no name
    with pytest.raises(DiskFullError, match=r"out: cannot be written \(No space left on device\): its disk has [\d.]+ MB free; free some"):
        fill(tmp_path / "out", full)
    with pytest.raises(DiskFullError, match=rf"^{tmp_path}/out/b: no room$"):
        fill(tmp_path / "out", DiskFullError(f"{tmp_path}/out.partial/b: no room"))
    with pytest.raises(InputError, match=r"^b: wrong$"):
        fill(tmp_path / "out", InputError("b: wrong"))
    assert {p.name: [q.read_text() for q in p.iterdir()] for p in tmp_path.iterdir()} == {"out": ["old"]}


@pytest.mark.parametrize("sync", [True, False])
def test_text_is_written_whole_and_waits_for_the_disk_when_it_should(tmp_path: Path, sync: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    write_whole(tmp_path / "made/a", "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n", sync=sync)
    assert (tmp_path / "made/a").read_bytes() == b"gr\xc3\xbcn"
    assert len(synced) == sync


@pytest.mark.parametrize(
    ("lines", "count", "expected"),
    [
        (True, 0, b"[]"),
        (True, 2, b'[\n{"n": 0},\n{"n": 1}\n]'),
        (False, 0, b"[]"),
        (False, 2, b'[{"n": 0}, {"n": 1}]'),
    ],
)
def test_a_list_is_written_member_by_member(tmp_path: Path, lines: bool, count: int, expected: bytes) -> None:
    with open(tmp_path / "list.json", "wb") as file:
        members = JsonList(file, lines)
        for n in range(count):
            members.append({"n": n})
        with pytest.raises(ValueError, match="JSON"):
            members.append({"n": math.nan})
        members.close()
    assert (tmp_path / "list.json").read_bytes() == expected
    assert json.loads(expected) == [{"n": n} for n in range(count)]


def test_a_full_disk_and_a_full_memory_are_one_line_wherever_they_are_met() -> None:
    for error, said in (
        (
            OSError(errno.ENOSPC, "No space left on device", "out/a.png"),
            r"^out/a\.png: cannot be written \(No space left on device\); free",
        ),
        (MemoryError("Unable to allocate 3 GiB"), r"^the memory is used up \(Unable to allocate 3 GiB\); close other programs"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "^the memory is used up"),
    ):
        with pytest.raises(InputError, match=said), used_up():
            raise error
        over = ValueError("as a library says")
        over.__cause__ = error
        with pytest.raises(InputError, match=said.partition(r" \(Unable")[0]), used_up():
            raise over
    with pytest.raises(RuntimeError, match="a bug"), used_up():
        raise RuntimeError("a bug")
