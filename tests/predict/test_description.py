"""What an exported file says of itself is compared with bounds; a file of someone else's may say anything."""

import json
from pathlib import Path

import pytest

from seg.core.errors import DataError
from seg.data.sample import ClassInfo
from seg.predict.description import Description
from seg.tiles.network import Facts

CLASSES = (ClassInfo("a", (1, 2, 3)), ClassInfo("${b}", (4, 5, 6)))
GOOD = Description(Facts("semantic", CLASSES, 3, 16, [0.0, 4095.0]), "scores", (64, 96), (1, 1), "unet", "cells", "d", "1.0")


def test_what_is_written_is_read() -> None:
    assert Description.of_text(GOOD.to_text(), Path("x.onnx")) == GOOD


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("task", v) for v in ("nonsense", "instance")],
        *[("gives", v) for v in ("wishes", "instances")],
        *[("classes", v) for v in ("[" * 100_000, "[]", '[{"name": "a", "color": "x"}]', '[{"name": "a", "color": [1, 2, 3e400]}]', "{}")],
        *[("stride", v) for v in ("0", "-1", "1000000000", "1e400", "1.5", "x")],
        *[("minimum_size", v) for v in ("[1000000000, 1000000000]", "[0, 1]", "[1]", "null", "1e400", "[1e400, 1]")],
        *[("size", v) for v in ("[1000000000, 1]", "[true, 1]", "x")],
        *[("channels", v) for v in ("0", "1000000000", "9" * 5000)],
        *[("data_range", v) for v in ("[1]", "[0, NaN]", '"maximum"')],
        ("model", "x" * 10**6),
    ],
)
def test_nothing_is_believed_before_it_is_compared(key: str, value: str) -> None:
    with pytest.raises(DataError) as error:
        Description.of_text(GOOD.to_text() | {key: value}, Path("x.onnx"))
    assert str(error.value).startswith("x.onnx: its description is damaged")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    with pytest.raises(DataError, match="its description is damaged"):
        Description.of_text({k: v for k, v in GOOD.to_text().items() if k != key}, Path("x.onnx"))


def test_a_class_name_is_text_and_nothing_else() -> None:
    classes = json.dumps([{"name": "\ud83d\ude00 ${now:}", "color": [1, 2, 3]}])
    assert Description.of_text(GOOD.to_text() | {"classes": classes}, Path("x")).facts.classes[0].name == "😀 ${now:}"
