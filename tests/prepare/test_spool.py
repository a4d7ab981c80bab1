"""Bytes put aside: they come back as they were, and no file is ever seen."""

from pathlib import Path

from seg.prepare.run import Spool


def test_pieces_come_back_in_any_order_and_between_additions(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    first, second = spool.add(b"one"), spool.add(b"")
    assert first() == b"one"
    third = spool.add(b"three" * 1000)
    assert [piece() for piece in (third, second, first)] == [b"three" * 1000, b"", b"one"]


def test_its_file_has_no_name(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    piece = spool.add(bytes(1 << 20))
    assert list(tmp_path.iterdir()) == []
    assert len(piece()) == 1 << 20
