"""Files that name values and colours."""

from pathlib import Path

import pytest

from seg.recognise.listing import list_folder
from seg.recognise.names import names_for


@pytest.mark.parametrize(
    ("files", "labels", "found"),
    [
        ({"codes.txt": "sky\r\n\r\nroad\n"}, [0, 1], ["sky", "road"]),
        ({"deep/classes.txt": "a\nb", "labels.txt": "c\nd"}, [0, 1], ["c", "d"]),
        ({"classes.txt": "one"}, [0], None),
        ({"classes.txt": "x" * 80 + "\nroad"}, [0, 1], None),
        ({"notes.txt": "a\nb"}, [0, 1], None),
        ({"codes.txt": "sky\nroad"}, [0, 2], None),
        ({"dataset.json": '{"labels": {"background": 0, "cyst": 2}}'}, [0, 2], ["background", "cyst"]),
        ({"dataset.json": '{"labels": {"0": "background", "1": "cyst"}}'}, [0, 1], ["background", "cyst"]),
        (
            {"labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\nCat:9,8,7::"},
            [(0, 0, 0), (9, 8, 7)],
            ["background", "Cat"],
        ),
        ({"_classes.csv": "Pixel Value, Class\n0, unlabeled\n1, roof\n"}, [0, 1], ["unlabeled", "roof"]),
        ({"class_dict.csv": "name,r,g,b\nroad,1,2,3\nsky,4,5,6\n"}, [(1, 2, 3)], ["road", "sky"]),
        ({"label_colors.txt": "64 128 64\tAnimal\n192 0 128\tArchway"}, [(64, 128, 64)], ["Animal", "Archway"]),
        ({"dataset.json": "{", "codes.txt": "a\nb"}, [0, 1], ["a", "b"]),
    ],
)
def test_a_file_of_names(tmp_path: Path, files: dict[str, str], labels: list[int | tuple[int, int, int]], found: list[str] | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    names = names_for(list_folder(tmp_path), labels)
    assert (names and list((names.values or names.colors).values())) == found
