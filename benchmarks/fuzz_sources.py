"""Spoils small data sets of five formats at random, and counts how reading each ends: right, told, refused, or wrong.

    python benchmarks/fuzz_sources.py --count 300        # a reader; about two minutes

right: the labels are those of the sound data set. told: they are others, or images are left out, and a finding says so. refused: one
error of one line. Anything else is wrong, and is listed with its seed: another exception, a hang, other labels without a finding.
A change that makes another sound data set (a point moved, an object removed) is none of those that are drawn.
"""

import argparse
import copy
import json
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unicodedata import normalize

import cv2
import numpy as np
import tifffile
from PIL import Image

from seg.core.errors import InputError
from seg.data.sample import ClassInfo
from seg.raw.record import Source
from seg.sources.coco import Coco
from seg.sources.cvat import Cvat
from seg.sources.folders import Folders
from seg.sources.images import ImageReader
from seg.sources.labelme import Labelme
from seg.sources.settings import Split
from seg.sources.yolo import Yolo

HEIGHT, WIDTH = 40, 48
NAMES = ("a", "über", "c 3", "d.front")
CLASSES = [ClassInfo("background", (0, 0, 0)), ClassInfo("cat", (250, 0, 0)), ClassInfo("dog", (0, 250, 0))]
SECONDS = 20  # after which reading hangs
LONGEST = 900  # characters of a clear error
SPLIT = {"by": "ratios", "ratios": {"train": 0.5, "val": 0.25, "test": 0.25}, "lists": None, "folders": None, "group": None}
SPLIT |= {"table": None, "stratify": False, "folds": 5, "seed": 0}
REGIONS = {"ignore": [], "drop": [], "others": "refuse"}
DRAWN = {**REGIONS, "line_width": 4, "point_radius": 3, "holes": False}
Spoil = Callable[[Path, random.Random], None]


def boxes(number: int) -> list[tuple[str, int, int, int, int]]:
    return [("cat", 3 + number, 4, 15, 20), ("dog", 20, 10 + number, 40, 30)]


def common(root: Path) -> dict[str, Any]:
    return {"root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": Split.model_validate(SPLIT)}


def write_image(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)).save(path)


def corners(box: tuple[str, int, int, int, int]) -> list[int]:
    _, left, top, right, bottom = box
    return [left, top, right, top, right, bottom, left, bottom]


def make_coco(root: Path) -> None:
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}
    for number, name in enumerate(NAMES):
        write_image(root / "images" / f"{name}.png", number)
        content["images"].append({"id": number, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH})
        for box in boxes(number):
            entry = {"id": len(content["annotations"]) + 1, "image_id": number, "category_id": 1 + (box[0] == "dog"), "iscrowd": 0}
            bbox = [box[1], box[2], box[3] - box[1], box[4] - box[2]]
            content["annotations"].append({**entry, "bbox": bbox, "area": bbox[2] * bbox[3], "segmentation": [corners(box)]})
    (root / "annotations.json").write_text(json.dumps(content))


def coco(root: Path) -> Source:
    return Coco(**common(root), **REGIONS, annotations="annotations.json", images="images", holes=False)


def make_labelme(root: Path) -> None:
    for number, name in enumerate(NAMES):
        write_image(root / f"{name}.png", number)
        shapes = [
            {"label": box[0], "points": [corners(box)[i : i + 2] for i in (0, 2, 4, 6)], "group_id": None, "shape_type": "polygon"}
            for box in boxes(number)
        ]
        shapes[0] |= {"points": [list(boxes(number)[0][1:3]), list(boxes(number)[0][3:])], "shape_type": "rectangle"}
        content = {"version": "5.4.1", "shapes": shapes, "imagePath": f"{name}.png", "imageData": None}
        (root / f"{name}.json").write_text(json.dumps({**content, "imageHeight": HEIGHT, "imageWidth": WIDTH}))


def labelme(root: Path) -> Source:
    return Labelme(**common(root), **DRAWN, images=".", annotations=".", skip_unlabelled=False)


def make_yolo(root: Path) -> None:
    (root / "labels").mkdir(parents=True)
    (root / "data.yaml").write_text("names: [cat, dog]\n")
    for number, name in enumerate(NAMES):
        write_image(root / "images" / f"{name}.png", number)
        lines = []
        for box in boxes(number):
            shares = [f"{value / (HEIGHT if i % 2 else WIDTH):.6f}" for i, value in enumerate(corners(box))]
            lines.append(" ".join([str(int(box[0] == "dog")), *shares]))
        (root / "labels" / f"{name}.txt").write_text("\n".join(lines) + "\n")


def yolo(root: Path) -> Source:
    return Yolo(**common(root), **REGIONS, images="images", annotations="labels", names=None, boxes=False)


def make_cvat(root: Path) -> None:
    images = []
    for number, name in enumerate(NAMES):
        write_image(root / "images" / f"{name}.png", number)
        first, second = boxes(number)
        points = ";".join(f"{x}.00,{y}.00" for x, y in zip(corners(first)[::2], corners(first)[1::2], strict=True))
        sides = f'xtl="{second[1]}" ytl="{second[2]}" xbr="{second[3]}" ybr="{second[4]}"'
        shapes = f'<polygon label="cat" points="{points}" z_order="0"></polygon><box label="dog" {sides} rotation="0" z_order="0"></box>'
        images.append(f'<image id="{number}" name="{name}.png" width="{WIDTH}" height="{HEIGHT}">{shapes}</image>')
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{"".join(images)}</annotations>'
    (root / "annotations.xml").write_text(text)


def cvat(root: Path) -> Source:
    return Cvat(**common(root), **DRAWN, annotations="annotations.xml", images="images")


def make_masks(root: Path) -> None:
    (root / "masks").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        write_image(root / "images" / f"{name}.png", number)
        classes = np.zeros((HEIGHT, WIDTH), np.uint8)
        for label, left, top, right, bottom in boxes(number):
            classes[top:bottom, left:right] = 1 + (label == "dog")
        Image.fromarray(classes).save(root / "masks" / f"{name}.png")


def masks(root: Path) -> Source:
    suffixes = {"image_suffix": "", "mask_suffix": "", "skip_unlabelled": False}
    return Folders(**common(root), images="images", masks="masks", **suffixes, labels="index", ignore=[255], others="refuse")


WRONG = (None, "", "x", "5", True, [], {}, [[]], -1, 1e30, float("nan"), float("inf"), "../../x.png", [None], 10**30)


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from nodes(child, (*path, key))


def spoil_json(path: Path, draw: random.Random) -> None:
    content = json.loads(path.read_text())
    for _ in range(draw.choice((1, 1, 2))):
        place = draw.choice(list(nodes(content)))
        parent = content
        for key in place[:-1]:
            parent = parent[key]
        key, kind = place[-1], draw.randrange(5)
        if kind == 0 and isinstance(parent, dict):
            del parent[key]
        elif kind == 1:
            parent[key] = [parent[key]]
        elif kind == 2 and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif kind == 3 and isinstance(parent[key], int | float):
            parent[key] = str(parent[key])
        elif key not in ("group_id", "shapes", "annotations"):  # of those a null, or an empty list, is sound
            parent[key] = draw.choice(WRONG)
    path.write_text(json.dumps(content))


def spoil_text(path: Path, draw: random.Random) -> None:
    """Bytes and encodings of a text file."""
    data, kind = path.read_bytes(), draw.randrange(8)
    if kind == 0:
        data = data[: draw.randrange(len(data))] if path.suffix != ".txt" else data[: draw.randrange(1, 4)]
    elif kind == 1:
        data = b"\xef\xbb\xbf" + data
    elif kind == 2:
        data = data.decode().encode("utf-16")
    elif kind == 3:
        data = data.replace(b"\n", b"\r\n")
    elif kind == 4:
        place = draw.randrange(len(data))
        data = data[:place] + bytes([draw.choice((0, 255, 128, 60, 123))]) + data[place:]
    elif kind == 5 and path.suffix != ".txt":  # of YOLO an empty file is sound: it holds no object
        data = b""
    elif kind == 6:
        data = draw.randbytes(200)
    else:
        data = normalize("NFD", data.decode()).encode()
    path.write_bytes(data)


def spoil_lines(path: Path, draw: random.Random) -> None:
    lines = path.read_text().splitlines()
    number = draw.randrange(len(lines))
    words = lines[number].split()
    place = draw.randrange(len(words))
    kind = draw.randrange(4)
    if kind == 0:
        words[place] = draw.choice(("nan", "inf", "x", "1e9", "-7", "0,5", "9", "--1", "0x1", "1e400", "٣"))
    elif kind == 1:
        del words[place]
    elif kind == 2:
        words[1:] = [f"{float(word) * 640:.1f}" for word in words[1:]]
    else:
        words = [words[0], *words[1:5]] if draw.random() < 0.5 else words[:1]
    lines[number] = draw.choice((" ", "\t", "  ")).join(words)
    path.write_text("\n".join(lines) + draw.choice(("", "\n", "\n\n # \n"[:2])))


def spoil_xml(path: Path, draw: random.Random) -> None:
    text = path.read_text()
    quoted = text.split('"')
    kind = draw.randrange(4)
    if kind == 0:  # a value of an attribute
        place = draw.choice([i for i in range(3, len(quoted), 2) if not quoted[i - 1].endswith((" label=", " name="))])
        sound = quoted[place - 1].endswith((" rotation=", " z_order=", "tl=", "br="))  # with any number
        quoted[place] = draw.choice(("", "x", "nan", "inf", "1,2", "1;2", "1,2,3;4,5", "None", *(() if sound else ("-1", "1e30", "2.5"))))
        text = '"'.join(quoted)
    elif kind == 1:  # the name of one
        place = draw.randrange(4, len(quoted) - 1, 2)
        quoted[place] = quoted[place].replace("=", "_=")
        text = '"'.join(quoted)
    elif kind == 2:
        old, new = draw.choice(
            (("<polygon", "<cuboid"), ("annotations>", "data>"), ("</box>", ""), ("<image ", "<track "), ('label="dog"', 'label=""'))
        )
        text = text.replace(old, new, draw.choice((1, 9)))
    else:
        text = text.replace("<annotations>", '<!DOCTYPE a [<!ENTITY b "c">]><annotations>', 1)
    path.write_text(text)


def spoil_name(path: Path, draw: random.Random) -> None:
    """The file's name, or its place."""
    kind = draw.randrange(5)
    if kind == 0:
        path.rename(path.with_name(normalize("NFD", path.name)))
    elif kind == 1:
        path.rename(path.with_suffix(path.suffix.upper()))
    elif kind == 2:
        path.unlink()
    elif kind == 3:
        (path.parent / ".ipynb_checkpoints").mkdir(exist_ok=True)
        shutil.copy(path, path.parent / ".ipynb_checkpoints" / f"{path.stem}-checkpoint{path.suffix}")
    else:
        shutil.copy(path, path.with_name(f"{path.stem}_1{path.suffix}"))


def spoil_image(path: Path, draw: random.Random) -> None:
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    kind = draw.randrange(8)
    if kind == 0:
        path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])
    elif kind == 1:
        path.write_bytes(draw.randbytes(300))
    elif kind == 2:
        image.resize((draw.randrange(1, 60), HEIGHT)).save(path)
    elif kind == 3:
        exif = Image.Exif()
        exif[274] = draw.choice((3, 6, 8, 0, 99))
        image.save(path, exif=exif)
    elif kind == 4:
        image.convert(draw.choice(("L", "RGBA", "P", "LA"))).save(path)
    elif kind == 5:
        path.unlink()
        path.mkdir()
    elif kind == 6:
        path.write_bytes(b"")
    else:
        Image.fromarray(np.asarray(image).transpose(1, 0, 2).copy()).save(path)


def spoil_pixels(path: Path, draw: random.Random) -> None:
    """As `spoil_image`, but the size stays: annotations in shares of the image fit any."""
    size = Image.open(path).size
    sound = path.read_bytes()
    while True:
        spoil_image(path, draw)
        try:
            with Image.open(path) as image:
                if image.size == size:
                    return
        except (OSError, SyntaxError):
            return
        path.write_bytes(sound)


def spoil_mask(path: Path, draw: random.Random) -> None:
    with Image.open(path) as opened:
        values = np.asarray(opened).copy()
    kinds: list[Callable[[], object]] = [
        lambda: Image.fromarray(np.dstack([values] * 3)).save(path),
        lambda: Image.fromarray(np.dstack([values, values, values, np.full_like(values, draw.choice((255, 0, 90)))])).save(path),
        lambda: Image.fromarray(np.dstack([values, np.where(values == 1, 0, 255).astype(np.uint8)]), mode="LA").save(path),
        lambda: Image.fromarray(values.astype(np.uint16)).save(path),
        lambda: Image.fromarray(values).save(path, format="JPEG"),
        lambda: Image.fromarray(values).convert("P").save(path),
        lambda: Image.fromarray(np.where(values == 1, 77, values).astype(np.uint8)).save(path),
        lambda: Image.fromarray(values.T.copy()).save(path),
        lambda: [tifffile.imwrite(path.with_suffix(".tif"), values.astype(np.float32)), path.unlink()],
        lambda: [tifffile.imwrite(path.with_suffix(".tif"), values.astype(np.float32) + 0.25), path.unlink()],
        lambda: [tifffile.imwrite(path.with_suffix(".tif"), np.stack([values, values])), path.unlink()],
        lambda: [tifffile.imwrite(path.with_suffix(".tif"), values, extratags=[(42113, 2, 0, "2", False)]), path.unlink()],
        lambda: [tifffile.imwrite(path.with_suffix(".tif"), 255 - values, photometric="miniswhite"), path.unlink()],
        lambda: [np.save(path.with_suffix(".npy"), values), path.unlink()],
        lambda: [np.save(path.with_suffix(".npy"), values.astype(object), allow_pickle=True), path.unlink()],
        lambda: [Image.fromarray(values).save(path.with_suffix(".gif")), path.unlink()],
        lambda: [Image.fromarray(values).save(path.with_suffix(".bmp")), path.unlink()],
        lambda: [Image.fromarray(values).save(path.with_suffix(".tif")), None],
    ]
    draw.choice(kinds)()


READERS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Source], dict[str, list[Spoil]]]] = {
    "coco": (make_coco, coco, {"annotations.json": [spoil_json] * 6 + [spoil_text], "images/*": [spoil_image, spoil_name]}),
    "yolo": (
        make_yolo,
        yolo,
        {"labels/*": [spoil_lines] * 4 + [spoil_text, spoil_name], "data.yaml": [spoil_text], "images/*": [spoil_pixels, spoil_name]},
    ),
    "cvat": (make_cvat, cvat, {"annotations.xml": [spoil_xml] * 5 + [spoil_text], "images/*": [spoil_image, spoil_name]}),
    "labelme": (make_labelme, labelme, {"*.json": [spoil_json] * 5 + [spoil_text, spoil_name], "*.png": [spoil_image, spoil_name]}),
    "masks": (make_masks, masks, {"masks/*": [spoil_mask] * 4 + [spoil_image, spoil_name], "images/*": [spoil_image, spoil_name]}),
}


@contextmanager
def limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"no end after {SECONDS} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def labels_of(source: Source) -> tuple[dict[str, bytes], set[str], list[str]]:
    """The class map and the instances of each image, the kinds of findings, and errors among them."""
    found, kinds, errors = {}, set(), []
    for item in source.items():
        record = source.read(item)
        sample = record.sample
        found[normalize("NFC", item.image_id)] = sample.semantic.tobytes() + sample.categories.tobytes() + sample.instances.tobytes()
        kinds |= {f.kind for f in record.findings}
        errors += [str(f) for f in record.findings if f.severity == "error"]
    return found, kinds | {f.kind for f in source.findings}, errors + [str(f) for f in source.findings if f.severity == "error"]


def outcome(source: Callable[[], Source], expected: dict[str, bytes], usual: set[str]) -> tuple[str, str]:
    """How reading ends, and what there is to say of it."""
    try:
        with limited():
            found, kinds, errors = labels_of(source())
    except InputError as error:
        text = str(error)
        return ("refused", "") if "\n" not in text and len(text) < LONGEST else ("wrong", f"an unclear error: {text}")
    except Exception as error:
        return "wrong", f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-3)}"
    if errors:
        return "refused", ""
    if found == expected:
        return "right", ""
    if kinds - usual:
        return "told", ""
    return "wrong", f"other labels of {sorted(n for n in expected | found if expected.get(n) != found.get(n))} without a finding"


def run(name: str, count: int, seed: int) -> int:
    """Spoil the data set of a reader `count` times; the number of those that end wrong."""
    make, source, spoils = READERS[name]
    totals: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound"
        make(sound)
        expected, usual, _ = labels_of(source(sound))
        for number in range(count):
            draw = random.Random(f"{name} {seed} {number}")
            root = Path(folder) / "spoiled"
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(sound, root)
            pattern, spoil = draw.choice([(pattern, spoil) for pattern, all_ in spoils.items() for spoil in all_])
            path = draw.choice(sorted(root.glob(pattern)))
            spoil(path, draw)
            end, what = outcome(lambda root=root: source(root), expected, usual)  # type: ignore[misc]
            totals[end] += 1
            if end == "wrong":
                print(f"{name} --seed {seed}, number {number}, {spoil.__name__} of {path.name}: {what}", file=sys.stderr)
    print(f"{name:8} {count:5}: " + ", ".join(f"{totals[end]} {end}" for end in ("right", "told", "refused", "wrong")))
    return totals["wrong"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="of spoiled data sets a reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", choices=READERS, action="append", help="only this one; may be given several times")
    given = parser.parse_args()
    sys.exit(1 if sum(run(name, given.count, given.seed) for name in given.reader or READERS) else 0)


if __name__ == "__main__":
    main()
