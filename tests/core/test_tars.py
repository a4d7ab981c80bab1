"""What lies in tar files: the very members that Python's tarfile finds, whoever wrote them."""

import io
import tarfile
from pathlib import Path

import pytest

from seg.core.errors import UnreadableError
from seg.core.tars import members
from seg.core.textfile import is_file, read_file, size_of

NAMES = ["a.png", "folder/b.png", "folder/b.semantic.png", "empty", f"{'long' * 30}.png", "größe.png"]


def write_tar(path: Path, contents: dict[str, bytes], form: int = tarfile.GNU_FORMAT, mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=form) as tar:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("names", [NAMES[:4], NAMES, ["./x.png", "./y/z.png"]], ids=["plain", "all", "dot"])
def test_members_are_those_of_tarfile(form: int, names: list[str], tmp_path: Path) -> None:
    names = [name for name in names if form != tarfile.USTAR_FORMAT or len(name) < 100]
    contents = {name: name.encode() * number for number, name in enumerate(names)}
    tar = write_tar(tmp_path / "deep" / "shard.TAR", contents, form)
    found = members(str(tar))
    with tarfile.open(tar) as opened:
        assert list(found.values()) == [(m.offset_data, m.size) for m in opened if m.isreg()]
    for name, data in contents.items():
        path = tar / name.removeprefix("./")
        assert read_file(path) == data
        assert is_file(path)
        assert size_of(path) == len(data)
    assert not is_file(tar / "nowhere.png")
    with pytest.raises(UnreadableError, match=r"nowhere\.png: cannot be read \(Not a directory\)$"):
        read_file(tar / "nowhere.png")


def test_a_tar_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", {"x": b"before"})
    assert read_file(tar / "x") == b"before"
    write_tar(tar, {"x": b"afterwards", "y": b"more"})
    assert read_file(tar / "x") == b"afterwards"


@pytest.mark.parametrize("how", ["cut off", "compressed", "no tar", "empty"])
def test_a_damaged_one_is_named(how: str, tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", {"x.png": bytes(5000), "y.png": bytes(5000)}, mode="w:gz" if how == "compressed" else "w")
    if how != "compressed":
        data = tar.read_bytes()
        tar.write_bytes({"cut off": data[:7000], "no tar": b"text" * 3000, "empty": b""}[how])
    with pytest.raises(UnreadableError, match=rf"^{tar}: cannot be read as a tar file \(.+\); write it again, without compression$"):
        members(str(tar))
