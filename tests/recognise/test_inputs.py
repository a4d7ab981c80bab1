"""Small inputs as programs export them, drawn: taken without a word from the user, and read back as they were drawn."""

import base64
import json
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import trees
from annotations import square, write_labelme
from PIL import Image
from recognised import built, faults, names, splits, taken

from seg.core.errors import DataError
from seg.prepare.assignment import planned
from seg.recognise.formats import trials_of
from seg.recognise.guess import Wanted
from seg.recognise.listing import list_folder
from seg.recognise.table import nothing_found, table

COUNT = 10
Truth = dict[str, np.ndarray]
"""Of each image, what its class map must be."""
COLORS = np.array([[0, 0, 0], [48, 112, 32], [176, 112, 32]], np.uint8)


def photos(root: Path, pattern: str) -> None:
    for number in range(COUNT):
        trees.save(root / pattern.format(number), trees.photo())


def drawn(number: int, *values: int) -> np.ndarray:
    return trees.shapes(number, values or (1,))


def truth(pattern: str, *values: int) -> Truth:
    return {pattern.format(number): drawn(number, *values) for number in range(COUNT)}


def box(number: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a rectangle."""
    return 5 + number, 4 + number % 7, 25 + number, 22 + number % 5


def boxes(pattern: str, value: int = 1) -> Truth:
    found = {}
    for number in range(COUNT):
        left, top, right, bottom = box(number)
        found[pattern.format(number)] = np.zeros((trees.HEIGHT, trees.WIDTH), np.uint8)
        found[pattern.format(number)][top:bottom, left:right] = value
    return found


def corners(number: int) -> list[tuple[int, int]]:
    left, top, right, bottom = box(number)
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def png(pixels: np.ndarray) -> bytes:
    data = BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def tiff(path: Path, pixels: np.ndarray, nodata: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, extratags=[(42113, "s", 0, nodata, True)])


def cvat_masks(root: Path) -> Truth:
    photos(root, "JPEGImages/f{}.jpg")
    for number in range(COUNT):
        for folder in ("SegmentationClass", "SegmentationObject"):
            trees.save(root / folder / f"f{number}.png", COLORS[drawn(number, 1, 2)])
    trees.text(root / "labelmap.txt", "# label:color_rgb:parts:actions", "Cat:48,112,32::", "background:0,0,0::", "Dog:176,112,32::")
    return truth("f{}", 1, 2)


def nnunet(root: Path) -> Truth:
    home = root / "Dataset111_Nodule"
    photos(home, "imagesTr/n_{}_0000.png")
    photos(home, "imagesTs/t_{}_0000.png")
    for number in range(COUNT):
        trees.save(home / f"labelsTr/n_{number}.png", drawn(number, 1, 2))
    trees.content(home / "dataset.json", {"labels": {"background": 0, "nodule": 1, "cyst": 2}, "file_ending": ".png"})
    return truth("n_{}", 1, 2)


def superpixels(root: Path) -> Truth:
    photos(root, "Data/I{}.jpg")
    y, x = np.mgrid[: trees.HEIGHT, : trees.WIDTH]
    for number in range(COUNT):
        trees.save(root / f"Data/I{number}_superpixels.png", (y // 8 * 8 + x // 8).astype(np.uint8))
        trees.save(root / f"GroundTruth/I{number}_segmentation.png", drawn(number, 255))
    return truth("I{}")


def gifs(root: Path) -> Truth:
    photos(root, "training/images/{}_training.tif")
    for number in range(COUNT):
        white = [0, 0, 0, 255, 255, 255]
        trees.save(root / f"training/1st_manual/{number}_manual1.gif", drawn(number), white)
        trees.save(root / f"training/mask/{number}_training_mask.gif", (trees.field() > 0).astype(np.uint8), white)
    return truth("{}")


def train_ids(root: Path) -> Truth:
    found = {}
    for number in range(COUNT):
        place = ("train", "aachen") if number < 7 else ("val", "munster")
        stem = f"{place[1]}_{number:06}_000019"
        trees.save(root / f"leftImg8bit/{'/'.join(place)}/{stem}_leftImg8bit.png", trees.photo())
        trees.save(root / f"gtFine/{'/'.join(place)}/{stem}_gtFine_labelTrainIds.png", drawn(number, 8, 13))
        found[f"{place[1]}/{stem}"] = drawn(number, 8, 13)
    return found


def run_lengths(root: Path) -> Truth:
    """Down the columns, from 1."""
    photos(root, "train/{}.jpg")
    rows = ["ImageId,EncodedPixels"]
    for number in range(COUNT):
        left, top, right, bottom = box(number)
        runs = " ".join(f"{x * trees.HEIGHT + top + 1} {bottom - top}" for x in range(left, right))
        rows.append(f"{number}.jpg,{runs}")
    trees.text(root / "train.csv", *rows)
    return boxes("{}")


def run_lengths_along_rows(root: Path) -> Truth:
    photos(root, "train/{}.png")
    rows = ["id,annotation,width,height,cell_type"]
    for number in range(COUNT):
        left, top, right, bottom = box(number)
        runs = " ".join(f"{y * trees.WIDTH + left + 1} {right - left}" for y in range(top, bottom))
        rows.append(f"{number},{runs},64,48,{'astro' if number % 2 else 'cort'}")
    trees.text(root / "train.csv", *rows)
    return {name: found * (1 if int(name) % 2 else 2) for name, found in boxes("{}").items()}


def file_a_class(root: Path) -> Truth:
    photos(root, "images/{}.jpg")
    for number in range(COUNT):
        for value, name in ((1, "chair"), (2, "dining table")):
            trees.save(root / f"masks/{number}_class_{name}.png", (drawn(number, 1, 2) == value).astype(np.uint8) * 255)
    return truth("{}", 1, 2)


def kitti(root: Path) -> Truth:
    photos(root, "training/image_2/{}_10.png")
    for number in range(COUNT):
        classes = drawn(number, 7, 26)
        trees.save(root / f"training/semantic/{number}_10.png", classes)
        trees.save(root / f"training/semantic_rgb/{number}_10.png", COLORS[np.searchsorted([0, 7, 26], classes)])
        ids = classes.astype(np.uint16) * 256 + (classes == 26) * (1 + number % 3)
        cv2.imwrite(str(_made(root / f"training/instance/{number}_10.png")), ids.astype(np.uint16))
    return {name: np.searchsorted([0, 7, 26], found) for name, found in truth("{}_10", 7, 26).items()}


def supervisely(root: Path) -> Truth:
    found = {}
    for number in range(COUNT):
        place = "train" if number < 7 else "val"
        left, top, right, bottom = box(number)
        trees.save(root / f"{place}/img/{number}.jpg", trees.photo())
        pixels = np.full((bottom - top, right - left), 255, np.uint8)
        bitmap = {"data": base64.b64encode(zlib.compress(png(pixels))).decode(), "origin": [left, top]}
        entry = {"classTitle": "crack", "geometryType": "bitmap", "bitmap": bitmap}
        size = {"height": trees.HEIGHT, "width": trees.WIDTH}
        trees.content(root / f"{place}/ann/{number}.jpg.json", {"size": size, "objects": [entry]})
        found[f"{place}/{number}"] = boxes("{}")[str(number)]
    return {name.partition("/")[2]: pixels for name, pixels in found.items()}


def coco(root: Path, segmentation: Callable[[int], Any], folder: str = "images", **named: str) -> Truth:
    """named: what stands for file_name, with {} for the image's own."""
    photos(root, f"{folder}/{{}}.png")
    (key, name), *_ = named.items() or (("file_name", "{}"),)
    images = [{"id": n, key: name.format(f"{n}.png"), "height": trees.HEIGHT, "width": trees.WIDTH} for n in range(COUNT)]
    regions = [{"id": n, "image_id": n, "category_id": 1, "segmentation": segmentation(n)} for n in range(COUNT)]
    trees.content(root / "all.json", {"images": images, "annotations": regions, "categories": [{"id": 1, "name": "cup"}]})
    return boxes("{}")


def named_points(root: Path) -> Truth:
    return coco(root, lambda number: [{"x": x, "y": y} for x, y in corners(number)])


def addresses(root: Path) -> Truth:
    """As LVIS has them."""
    polygons = coco(root, lambda n: [[value for corner in corners(n) for value in corner]], "val2017", coco_url="http://a.org/val2017/{}")
    return {f"val2017/{name}": found for name, found in polygons.items()}


def subsets(root: Path) -> Truth:
    """CVAT: images lie in folders of their subsets, but are not called so."""
    elements, found = [], {}
    for number in range(COUNT):
        subset = "Train" if number < 7 else "Validation"
        trees.save(root / f"images/{subset}/{number}.png", trees.photo())
        points = ";".join(f"{x},{y}" for x, y in corners(number))
        polygon = f'<polygon label="cup" points="{points}" z_order="0"/>'
        elements.append(f'<image id="{number}" name="{number}.png" subset="{subset}" width="64" height="48">{polygon}</image>')
        found[f"{subset}/{number}"] = boxes("{}")[str(number)]
    trees.text(root / "annotations.xml", f"<annotations>{''.join(elements)}</annotations>")
    return found


def further(first: str, second: str, images: str = "images/{}.png", labels: str = "labels/{}.png") -> Callable[[Path], Truth]:
    """A second mask of two images. first, second: how the masks end."""

    def draw(root: Path) -> Truth:
        found = truth("{}", 255)
        photos(root, images)
        for number in range(COUNT):
            trees.save(root / labels.format(f"{number}{first}"), drawn(number, 255))
            if number in (3, 5):
                other = np.zeros((trees.HEIGHT, trees.WIDTH), np.uint8)
                other[40:46, 50:60] = 255
                trees.save(root / labels.format(f"{number}{second}"), other)
                found[str(number)] = np.maximum(drawn(number, 255), other)
        return {name: pixels // 255 for name, pixels in found.items()}

    return draw


def masks(write: Callable[[Path, int], None], expected: Truth, suffix: str = ".png") -> Callable[[Path], Truth]:
    """Images beside label images that `write` makes of a path and a number."""

    def draw(root: Path) -> Truth:
        photos(root, "images/{}.png")
        for number in range(COUNT):
            write(_made(root / f"masks/{number}{suffix}"), number)
        return expected

    return draw


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _without_top(value: int) -> Truth:
    found = truth("{}")
    for pixels in found.values():
        pixels[:3] = value
    return found


def spread(path: Path, number: int) -> None:
    cv2.imwrite(str(path), drawn(number).astype(np.uint16) * 65535)


def thousands(path: Path, number: int) -> None:
    cv2.imwrite(str(path), drawn(number, 1, 2).astype(np.uint16) * 1000)


def nothing_measured(path: Path, number: int) -> None:
    tiff(path, _without_top(99)[str(number)], "99")


def nothing_measured_float(path: Path, number: int) -> None:
    pixels = drawn(number).astype(np.float32)
    pixels[:3] = np.nan
    tiff(path, pixels, "nan")


def black_palette(path: Path, number: int) -> None:
    trees.save(path, drawn(number, 1, 2), [0] * 768)


def repeated_palette(path: Path, number: int) -> None:
    trees.save(path, drawn(number, 1, 2), [0, 0, 0, 255, 0, 0, 255, 0, 0])


def gray_and_alpha(path: Path, number: int) -> None:
    shown = drawn(number, 255)
    Image.fromarray(np.dstack([np.full_like(shown, 255), shown]), "LA").save(path)


def lossy_webp(path: Path, number: int) -> None:
    Image.fromarray(drawn(number, 255)).save(path, quality=90)


def of_one_and_eight_bits(path: Path, number: int) -> None:
    """The white of the first is 1, and of the others 255."""
    image = Image.fromarray(drawn(number, 255))
    (image.convert("1") if number % 2 else image).save(path)


def of_several_kinds(path: Path, number: int) -> None:
    Image.fromarray(drawn(number, 255)).convert(("L", "RGB", "RGBA", "1", "P")[number % 5]).save(path)


def halved(root: Path) -> Truth:
    """Resized to half their sides, with 64, 128 and 191 along the borders: white where 2 of 4 pixels were."""
    photos(root, "images/{}.png")
    found = {}
    for number in range(COUNT):
        large = np.roll(np.kron(drawn(number), np.ones((2, 2), np.uint8)), 1, axis=(0, 1))
        pixels = cv2.resize(large * 255, (trees.WIDTH, trees.HEIGHT), interpolation=cv2.INTER_AREA)
        trees.save(root / f"masks/{number}.png", pixels)
        found[str(number)] = large.reshape(trees.HEIGHT, 2, trees.WIDTH, 2).sum(axis=(1, 3)) >= 2
    return found


def in_red(path: Path, number: int) -> None:
    """As CARLA has them: the class in red, nothing in green and blue."""
    shown = drawn(number, 7, 10)
    Image.fromarray(np.dstack([shown, np.zeros_like(shown), np.zeros_like(shown)])).save(path)


def cellpose(root: Path) -> Truth:
    """Ids beside the program's own files."""
    photos(root, "img_{}.tif")
    found = {}
    for number in range(COUNT):
        ids = np.zeros((trees.HEIGHT, trees.WIDTH), np.uint16)
        for k in range(5 + number % 4):
            ids[2 + k // 4 * 20 : 15 + k // 4 * 20, 3 + k % 4 * 15 : 14 + k % 4 * 15] = k + 1
        cv2.imwrite(str(root / f"img_{number}_masks.tif"), ids)
        trees.save(root / f"img_{number}_flows.tif", trees.photo())
        np.save(root / f"img_{number}_seg.npy", np.array({"masks": ids}), allow_pickle=True)
        found[f"img_{number}"] = (ids > 0).astype(np.uint8)
    return found


def copies_of_jupyter(root: Path) -> Truth:
    """LabelMe's files, and what Jupyter keeps of them in a hidden folder."""
    for number in range(COUNT):
        for name in (f"{number}", f".ipynb_checkpoints/{number}-checkpoint"):
            trees.save(root / f"{name}.png", trees.photo())
            size = {"imageHeight": trees.HEIGHT, "imageWidth": trees.WIDTH}
            write_labelme(root / f"{name}.json", [square("cup", *box(number))], f"{number}.png", **size)
    return boxes("{}")


def own_voc(root: Path) -> Truth:
    """VOC's layout and colours, with classes of its own."""
    photos(root, "JPEGImages/{}.jpg")
    for number in range(COUNT):
        trees.save(root / f"SegmentationClass/{number}.png", drawn(number, 1, 2), [0, 0, 0, 128, 0, 0, 0, 128, 0])
    trees.text(root / "labels.txt", "__ignore__", "_background_", "cat", "dog")
    return truth("{}", 1, 2)


def dataset_folders(root: Path) -> Truth:
    """LabelMe's own: a folder an image, of files that are called alike, one of which shows the labels upon the image."""
    for number in range(COUNT):
        home = root / f"s{number}_json"
        for name in ("img", "label_viz"):
            trees.save(home / f"{name}.png", trees.photo())
        trees.save(home / "label.png", drawn(number, 1, 2), [0, 0, 0, 128, 0, 0, 0, 128, 0])
        trees.text(home / "label_names.txt", "_background_", "cat", "dog")
    return truth("s{}_json", 1, 2)


def colored_objects(root: Path) -> Truth:
    """Colours of objects beside those of classes."""
    photos(root, "images/{}.png")
    for number in range(COUNT):
        classes = drawn(number, 1, 2)
        ids = np.zeros((*classes.shape, 3), np.uint8)
        ids[classes == 1], ids[classes == 2] = (number + 1, 3, 9), (9, number + 1, 70)
        trees.save(root / f"Instance_masks/{number}_id.png", ids)
        trees.save(root / f"Semantic_masks/{number}_color.png", COLORS[classes])
    return truth("{}", 1, 2)


def unlike_panoptic(root: Path) -> Truth:
    """Label images of far more colours than classes, from which those of classes follow."""
    photos(root, "images/{}.png")
    for number in range(COUNT):
        classes = drawn(number, 1, 2)
        codes = np.random.default_rng(number).integers(0, 256, (200, 3), dtype=np.uint8)
        codes[0] = 0
        y, x = np.mgrid[: classes.shape[0], : classes.shape[1]]
        trees.save(root / f"panoptic/{number}.png", codes[np.where(classes > 0, 1 + (classes - 1) * 90 + y // 6 * 6 + x // 12, 0)])
        trees.save(root / f"semantic/{number}.png", classes)
    return truth("{}", 1, 2)


TWO, THREE, CARLA = ["background", "foreground"], ["class0", "class1", "class2"], ["class0", "class7", "class10"]
INPUTS: dict[str, tuple[Callable[[Path], Truth], str, list[str]]] = {
    "CVAT's masks": (cvat_masks, "cvat_masks", ["background", "Cat", "Dog"]),
    "nnU-Net": (nnunet, "folders", ["background", "nodule", "cyst"]),
    "superpixels beside images": (superpixels, "folders", TWO),
    "GIF": (gifs, "folders", TWO),
    "Kaggle's run lengths": (run_lengths, "rle_csv", ["background", "object"]),
    "run lengths along rows": (run_lengths_along_rows, "rle_csv", ["background", "astro", "cort"]),
    "RectLabel": (file_a_class, "class_files", ["background", "chair", "dining table"]),
    "KITTI": (kitti, "folders", ["class0", "class7", "class26"]),
    "Supervisely": (supervisely, "supervisely", ["background", "crack"]),
    "points with names": (named_points, "coco", ["background", "cup"]),
    "LVIS": (addresses, "coco", ["background", "cup"]),
    "CVAT's subsets": (subsets, "cvat", ["background", "cup"]),
    "a second mask, of the first's name": (further("_seg", "_seg_2"), "folders", TWO),
    "masks that are numbered from 0": (further("_mask_0", "_mask_1", "{}.png", "{}.png"), "folders", TWO),
    "16 bit, two levels": (masks(spread, truth("{}")), "folders", TWO),
    "16 bit, spread": (masks(thousands, truth("{}", 1, 2)), "folders", ["class0", "class1000", "class2000"]),
    "no measurement": (masks(nothing_measured, _without_top(255), ".tif"), "folders", TWO),
    "no measurement in floats": (masks(nothing_measured_float, _without_top(255), ".tif"), "folders", TWO),
    "BMP with a black palette": (masks(black_palette, truth("{}", 1, 2), ".bmp"), "folders", THREE),
    "a palette that repeats a colour": (masks(repeated_palette, truth("{}", 1, 2)), "folders", THREE),
    "TIFF with a black palette": (masks(black_palette, truth("{}", 1, 2), ".tif"), "folders", THREE),
    "white of one and eight bits": (masks(of_one_and_eight_bits, truth("{}")), "folders", TWO),
    "black and white of several kinds": (masks(of_several_kinds, truth("{}")), "folders", TWO),
    "halved": (halved, "folders", TWO),
    "CARLA": (masks(in_red, {k: np.searchsorted([0, 7, 10], v) for k, v in truth("{}", 7, 10).items()}), "folders", CARLA),
    "Cellpose": (cellpose, "id_maps", ["background", "object"]),
    "Jupyter's copies": (copies_of_jupyter, "labelme", ["background", "cup"]),
    "lossy WebP": (masks(lossy_webp, truth("{}"), ".webp"), "folders", TWO),
    "VOC's layout": (own_voc, "folders", ["background", "cat", "dog"]),
    "labels in alpha": (masks(gray_and_alpha, truth("{}")), "folders", TWO),
    "LabelMe's folders": (dataset_folders, "folders", ["background", "cat", "dog"]),
    "colours of objects beside classes": (colored_objects, "folders", ["background", "class1", "class2"]),
    "colours that are no classes": (unlike_panoptic, "folders", THREE),
}


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_is_read_as_it_was_drawn(tmp_path: Path, name: str) -> None:
    draw, option, classes = INPUTS[name]
    expected = draw(tmp_path)
    trial = taken(tmp_path)
    assert (trial.guess.option, names(trial)) == (option, classes)
    source, division, root = built(tmp_path)(trial.guess)
    found = {item.image_id: source.read(item).sample.semantic for item in planned(source, division, root).items}
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if not np.array_equal(found[name], expected[name])] == []
    assert faults(trial, tmp_path) == []


def test_train_ids_of_cityscapes(tmp_path: Path) -> None:
    """Their numbers are other classes than those of the ids; folders say the split where cities are missing."""
    expected = train_ids(tmp_path)
    trial = taken(tmp_path)
    assert (trial.guess.option, names(trial)) == ("cityscapes_trainids", [])  # the option's own classes
    assert {split: len(found) for split, found in splits(trial, tmp_path).items()} == {"unsplit": 7, "val": 3}
    source, division, root = built(tmp_path)(trial.guess)
    for item in planned(source, division, root).items:
        assert np.array_equal(source.read(item).sample.semantic, expected[item.image_id])


def test_ids_of_cityscapes_without_all_its_cities(tmp_path: Path) -> None:
    """Beside maps in colours; the table counts what is read alone."""
    train_ids(tmp_path)
    for file in sorted(tmp_path.rglob("*TrainIds.png")):
        trees.save(file.with_name(file.name.replace("labelTrainIds", "color")), COLORS[np.minimum(np.array(Image.open(file)), 2)])
        file.rename(file.with_name(file.name.replace("labelTrainIds", "labelIds")))
    trial = taken(tmp_path)
    assert (trial.guess.option, {split: len(found) for split, found in splits(trial, tmp_path).items()}) == (
        "cityscapes",
        {"unsplit": 7, "val": 3},
    )
    lines = table(list_folder(tmp_path), trial, [], set())
    assert [line.split("  ")[2] for line in lines if line.startswith("  chosen")] == ["gtFine/{split}/*_gtFine_labelIds (10 files)"]


def test_objects_of_cityscapes_without_all_its_cities(tmp_path: Path) -> None:
    """Ids of objects beside the classes: init names them with the option that reads them, and their folders say the split."""
    train_ids(tmp_path)
    for file in sorted(tmp_path.rglob("*TrainIds.png")):
        ids = np.where(np.array(Image.open(file)) == 13, 26001, 7).astype(np.uint16)
        cv2.imwrite(str(file.with_name(file.name.replace("labelTrainIds", "instanceIds"))), ids)
        file.rename(file.with_name(file.name.replace("labelTrainIds", "labelIds")))
    listing = list_folder(tmp_path)
    _, trials = trials_of(listing, Wanted(), (), built(tmp_path), lambda guess: None)
    lines = table(listing, taken(tmp_path), [trial for trial in trials if trial.guess.option != "cityscapes"], set())
    assert [line.strip().split("  ")[-1] for line in lines if "instanceIds" in line] == [
        "labels as cityscapes_instances has them; --as cityscapes_instances"
    ]
    for named in ({"option": "cityscapes_instances"}, {"labels": "gtFine/{split}/*_gtFine_instanceIds"}):
        trial = taken(tmp_path, **named)
        assert trial.guess.option == "cityscapes_instances"
        assert {split: len(found) for split, found in splits(trial, tmp_path).items()} == {"unsplit": 7, "val": 3}


def test_folders_of_a_project_say_the_split(tmp_path: Path) -> None:
    supervisely(tmp_path)
    assert {split: len(found) for split, found in splits(taken(tmp_path), tmp_path).items()} == {"unsplit": 7, "val": 3}


def test_images_of_a_file_that_lie_in_folders_of_patients_are_kept_together(tmp_path: Path) -> None:
    coco(tmp_path, lambda n: [[value for corner in corners(n) for value in corner]], file_name="{}")
    content = json.loads((tmp_path / "all.json").read_text())
    for number, entry in enumerate(content["images"]):
        name = f"pat{number % 4}/{number}.png"
        (tmp_path / "images" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "images" / entry["file_name"]).rename(tmp_path / "images" / name)
        entry["file_name"] = name
    trees.content(tmp_path / "all.json", content)
    assert taken(tmp_path).guess.split == {"group": "^(.+)/"}


def test_a_threshold_is_not_proposed_for_masks_of_three_levels(tmp_path: Path) -> None:
    masks(lambda path, number: Image.fromarray(drawn(number, 127, 255)).save(path, quality=95), {}, ".jpg")(tmp_path)
    with pytest.raises(DataError, match="JPEG") as raised:
        taken(tmp_path)
    assert "works here" not in str(raised.value)


def test_names_that_say_a_split_are_told(tmp_path: Path) -> None:
    for split in ("train", "test"):
        photos(tmp_path, f"{split}_{{}}.bmp")
        for number in range(COUNT):
            trees.save(tmp_path / f"{split}_{number}_anno.bmp", drawn(number, 255))
    told = [doubt for doubt in taken(tmp_path).guess.doubts if "split" in doubt]
    assert told == ["files are named after test and train, which is not used: lists of their names would keep it (data.split.lists)"]


def test_objects_in_colours_are_objects(tmp_path: Path) -> None:
    colored_objects(tmp_path)
    trial = taken(tmp_path, labels="Instance_masks")
    assert (trial.guess.option, trial.guess.source["ids"]) == ("id_maps", "rgb")
    source, division, root = built(tmp_path)(trial.guess)
    assert [len(source.read(item).sample.categories) for item in planned(source, division, root).items] == [2] * COUNT


def test_lists_that_are_used_are_not_called_unused(tmp_path: Path) -> None:
    photos(tmp_path, "images/{}.jpg")
    for number in range(COUNT):
        trees.text(tmp_path / f"labels/{number}.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5")
    for split, numbers in (("train", range(6)), ("val", range(6, COUNT))):
        trees.text(tmp_path / f"{split}_list.txt", *(f"./images/{number}.jpg" for number in numbers))
    trees.text(tmp_path / "data.yaml", "train: train_list.txt", "val: val_list.txt", "names: [weed]")
    trial = taken(tmp_path)
    assert trial.guess.split["lists"] == {"train": "train_list.txt", "val": "val_list.txt", "test": None}
    assert not any("not used" in doubt for doubt in trial.guess.doubts)


def test_one_bad_region_is_told_with_the_way_to_leave_it_out(tmp_path: Path) -> None:
    coco(tmp_path, lambda n: [[value for corner in corners(n)[: 2 if n == 3 else 4] for value in corner]])
    with pytest.raises(DataError) as raised:
        taken(tmp_path)
    assert "annotation 3: its polygon has 2 points" in str(raised.value)
    assert "--set source.invalid=skip works here" in str(raised.value)
    assert len(taken(tmp_path, settings=("source.invalid=skip",)).items) == COUNT


def test_regions_that_are_all_crowds_are_told_with_the_way_to_objects(tmp_path: Path) -> None:
    """As CVAT writes what is drawn with the brush."""
    expected = coco(tmp_path, lambda n: [[value for corner in corners(n) for value in corner]])
    content = json.loads((tmp_path / "all.json").read_text())
    for region in content["annotations"]:
        region["iscrowd"] = 1
    trees.content(tmp_path / "all.json", content)
    with pytest.raises(DataError, match=r"all 10 annotations have iscrowd=1, .*--set source.crowds=instances works here"):
        taken(tmp_path)
    trial = taken(tmp_path, settings=("source.crowds=instances",))
    source, division, root = built(tmp_path)(trial.guess)
    found = {item.image_id: source.read(item).sample.semantic for item in planned(source, division, root).items}
    assert [name for name in expected if not np.array_equal(found[name], expected[name])] == []


def test_the_table_names_each_folder_of_labels_with_its_own_files(tmp_path: Path) -> None:
    cvat_masks(tmp_path)
    lines = table(list_folder(tmp_path), taken(tmp_path), [], set())
    assert [line.split("  ")[2].strip() for line in lines if line.startswith("  chosen")] == [
        "SegmentationClass (10 files)",
        "SegmentationObject (10 files)",
    ]


def test_the_table_folds_folders_of_which_the_same_is_left_over(tmp_path: Path) -> None:
    dataset_folders(tmp_path)
    trial = taken(tmp_path)
    known = set(trial.guess.labels)
    assert "  10  left over  */ (10 folders): none of the chosen labels has this name" in table(list_folder(tmp_path), trial, [], known)


@pytest.mark.parametrize("kind", ["pickled", "DICOM", "NIfTI", "boxes"])
def test_what_is_not_read_is_named_with_the_way_out(tmp_path: Path, kind: str) -> None:
    if kind == "pickled":
        photos(tmp_path, "{}.tif")
        for number in range(COUNT):
            np.save(tmp_path / f"{number}_seg.npy", np.array({"masks": drawn(number)}), allow_pickle=True)
    elif kind == "boxes":
        photos(tmp_path, "{}.png")
        trees.text(tmp_path / "0.xml", "<annotation><object><bndbox><xmin>1</xmin></bndbox></object></annotation>")
    elif kind == "NIfTI":
        trees.text(tmp_path / "imagesTr/case_0000.nii.gz")
        trees.text(tmp_path / "labelsTr/case.nii.gz")
    else:
        (tmp_path / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(50))
    said = nothing_found(list_folder(tmp_path))
    ways = {
        "pickled": "_seg.npy the entry 'masks'",
        "DICOM": "SimpleITK.ReadImage('IM0001')",
        "boxes": "hold boxes alone",
        "NIfTI": "nibabel.load",
    }
    assert ways[kind] in said


def test_a_split_that_folders_and_data_yaml_say_alike_is_no_doubt(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        photos(tmp_path, f"{split}/images/{split}{{}}.jpg")
        for number in range(COUNT):
            trees.text(tmp_path / f"{split}/labels/{split}{number}.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5")
    trees.text(tmp_path / "data.yaml", "train: ../train/images", "val: ../valid/images", "names: [leaf]")
    trial = taken(tmp_path)
    assert trial.guess.split["folders"] == {"train": "train", "val": "valid", "test": None}
    assert not any("data.yaml" in doubt for doubt in trial.guess.doubts)
