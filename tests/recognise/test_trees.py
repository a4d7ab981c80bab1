"""Folder trees as real data sets have them: all of it is taken, or the question lists what there is."""

import re
from pathlib import Path

import numpy as np
import pytest
import trees
from recognised import faults, names, splits, taken

from seg.core.errors import DataError
from seg.recognise.listing import list_folder
from seg.recognise.table import nothing_found


def numbers(root: Path, **arguments: str) -> dict[str, int]:
    """The number of images of each split."""
    return {split: len(found) for split, found in splits(taken(root, **arguments), root).items()}


def test_a_folder_a_site_within_a_split(tmp_path: Path) -> None:
    trees.sites(tmp_path)
    trial = taken(tmp_path)
    assert (trial.guess.source["images"], trial.guess.source["masks"]) == ("{split}/{folder}/images", "{split}/{folder}/masks")
    found = splits(trial, tmp_path)
    assert {split: len(items) for split, items in found.items()} == {"unsplit": 12, "test": 12}, "val is cut from train"
    assert found["test"][:2] == ["A/0001", "A/0002"]
    assert (len(trial.guess.classes or ()), trial.guess.source["mask_suffix"]) == (3, "_gt")


def test_folders_and_endings_that_are_not_called_alike(tmp_path: Path) -> None:
    trees.uneven(tmp_path)
    trial = taken(tmp_path)
    places = [trial.guess.source[key] for key in ("images", "masks", "image_suffix", "mask_suffix")]
    assert places == ["{split}/images", "{split}/label*", "_*", "_manual1"]
    assert splits(trial, tmp_path) == {"unsplit": [f"{21 + n}" for n in range(6)], "test": [f"{n + 1:02}" for n in range(6)]}


def test_of_four_folders_of_masks_the_one_from_which_the_others_follow(tmp_path: Path) -> None:
    trees.several(tmp_path)
    trial = taken(tmp_path)
    assert trial.guess.source["masks"] == "masks_multiclass"
    assert {seen.place for seen in trial.guess.seen} == {"masks_multiclass", "masks_crown", "masks_root", "masks_combined"}
    assert {split: len(found) for split, found in splits(trial, tmp_path).items()} == {"train": 6, "val": 2, "test": 2}
    assert taken(tmp_path, labels="masks_root").guess.source["masks"] == "masks_root"


def test_of_masks_that_do_not_follow_from_each_other_none_is_chosen(tmp_path: Path) -> None:
    trees.several(tmp_path)
    for folder in ("masks_multiclass", "masks_combined"):
        for file in (tmp_path / folder).iterdir():
            file.unlink()
    with pytest.raises(DataError, match=r"2 readings fit alike.*--labels masks_(crown|root) .* or --labels masks_(root|crown) "):
        taken(tmp_path)


def test_a_palette_that_is_a_ramp_of_grays_is_read_by_index(tmp_path: Path) -> None:
    trees.ramp(tmp_path)
    trial = taken(tmp_path)
    assert (trial.guess.source["labels"], [c["labels"] for c in trial.guess.classes or ()]) == ("palette", [[0], [255]])


def test_a_file_of_boxes_alone_does_not_hide_masks(tmp_path: Path) -> None:
    trees.boxes_beside(tmp_path)
    trial = taken(tmp_path)
    assert (trial.guess.option, trial.guess.source["masks"]) == ("folders", "masks/{split}")
    assert [c["labels"] for c in trial.guess.classes or ()] == [[0], [127], [254]]


@pytest.mark.parametrize("parts", [True, False])
def test_yolo_with_parts_of_train_beside_each_other(tmp_path: Path, parts: bool) -> None:
    trees.years(tmp_path, parts)
    trial = taken(tmp_path)
    assert trial.guess.source["annotations"] == ("{split}/labels{folder}" if parts else "{split}/labels")
    assert {split: len(found) for split, found in splits(trial, tmp_path).items()} == {"train": 12 if parts else 4, "val": 4, "test": 4}


def test_two_pairs_of_folders_of_the_same_names_are_a_question(tmp_path: Path) -> None:
    trees.prepared(tmp_path)
    with pytest.raises(DataError, match=r"--images train .*--images data/images"):
        taken(tmp_path)
    trial = taken(tmp_path, images="train")
    assert (trial.guess.source["masks"], names(trial)) == ("mask_prep", ["background", "foreground"])


def test_via_counts_what_it_reads(tmp_path: Path) -> None:
    trees.via(tmp_path)
    trial = taken(tmp_path)
    assert trial.guess.source["annotations"] == "{split}_via_project.json"
    assert (len(trial.items), names(trial)) == (12, ["background", "kind_0", "kind_1"])
    assert trial.guess.why[0].endswith("12 images, 12 regions")
    other = taken(tmp_path, labels="other_a")
    assert (len(other.items), names(other)) == (6, ["background", "state_0", "state_1"])


def test_images_that_lie_deeper_than_coco_says(tmp_path: Path) -> None:
    trees.elsewhere(tmp_path)
    trial = taken(tmp_path)
    assert (len(trial.items), names(trial)) == (10, ["background", "cell"]), "Roboflow's heading is no class"
    assert any("2 images do not lie where it says" in str(finding) for finding in trial.findings)


def test_views_of_one_thing_and_lists_of_folds_are_told(tmp_path: Path) -> None:
    trees.views(tmp_path)
    told = " ".join(taken(tmp_path).guess.doubts)
    (pattern,) = re.findall(r"split.group: '([^']+)'", told)
    groups = {re.search(pattern, f"{view}_3").group(1) for view in ("front", "side")}  # type: ignore[union-attr]
    assert groups == {"3"}
    assert "folds/fold_0.txt, folds/fold_1.txt" in told


def test_masks_without_images(tmp_path: Path) -> None:
    trees.no_images(tmp_path)
    assert nothing_found(list_folder(tmp_path)).startswith("all images that were looked at are labels (black and white)")


def test_a_folder_a_patient_is_taken_whole_and_kept_together(tmp_path: Path) -> None:
    for patient in range(5):
        for number in range(1, 4):
            trees.save(tmp_path / f"all/P_{patient}/P_{patient}_{number}.tif", trees.photo())
            trees.save(tmp_path / f"all/P_{patient}/P_{patient}_{number}_mask.tif", trees.shapes(number, (255,)))
    trial = taken(tmp_path)
    assert (len(trial.items), trial.guess.split) == (15, {"group": "^(.+)/"})


def test_a_field_of_view_is_no_label(tmp_path: Path) -> None:
    for number in range(6):
        trees.save(tmp_path / f"images/{number}.png", trees.photo())
        trees.save(tmp_path / f"mask/{number}_mask.png", trees.field())
        trees.save(tmp_path / f"1st_manual/{number}_manual1.png", trees.shapes(number, (255,)))
    trial = taken(tmp_path)
    assert trial.guess.source["masks"] == "1st_manual"
    assert {seen.place: seen.what.partition(":")[0] for seen in trial.guess.seen}["mask"] == "a field of view"


def test_masks_of_one_structure_are_never_the_images(tmp_path: Path) -> None:
    """Beside four folders of labels that share all names with the pictures."""
    for number in range(6):
        drawn = trees.shapes(number, (1, 2, 3))
        trees.save(tmp_path / f"raw_sections/{number}.png", trees.photo())
        for value, name in enumerate(("nuclei", "cytoplasm", "wall"), start=1):
            trees.save(tmp_path / f"{name}/{number}.png", (drawn == value).astype(np.uint8) * 255)
        trees.save(tmp_path / f"all_labels/{number}.png", drawn)
    trial = taken(tmp_path)
    assert (trial.guess.source["images"], trial.guess.source["masks"]) == ("raw_sections", "all_labels")


@pytest.mark.parametrize("kind", ["case", "unicode", "whole name"])
def test_names_that_only_look_alike(tmp_path: Path, kind: str) -> None:
    pairs = {
        "case": ("Scene_{}.PNG", "scene_{}.png"),
        "unicode": ("Gru\u0308n{}.png", "Gr\u00fcn{}.png"),
        "whole name": ("a{}.jpg", "a{}.jpg.png"),
    }
    image, mask = pairs[kind]
    for number in range(4):
        trees.save(tmp_path / "images" / image.format(number), trees.photo())
        trees.save(tmp_path / "masks" / mask.format(number), trees.shapes(number, (255,)))
    assert len(taken(tmp_path).items) == 4


def test_a_second_mask_of_an_image_is_joined(tmp_path: Path) -> None:
    for number in range(6):
        trees.save(tmp_path / f"x ({number}).png", trees.photo())
        trees.save(tmp_path / f"x ({number})_mask.png", trees.shapes(number, (255,)))
    trees.save(tmp_path / "x (3)_mask_1.png", np.rot90(trees.shapes(0, (255,)), 2).copy())
    trial = taken(tmp_path)
    assert (trial.guess.source["join"], len(trial.items)) == (True, 6)
    assert [len(item.files) for item in trial.items] == [2, 2, 2, 3, 2, 2]


def test_few_numbers_of_one_piece_each_are_a_question(tmp_path: Path) -> None:
    for number in range(6):
        trees.save(tmp_path / f"images/{number}.png", trees.photo())
        trees.save(tmp_path / f"masks/{number}_mask.png", trees.shapes(number, tuple(range(1, 2 + number % 3))))
    with pytest.raises(DataError, match=r"--as folders .* or --as id_maps "):
        taken(tmp_path)
    assert taken(tmp_path, option="id_maps").guess.task == "instance"


@pytest.mark.parametrize("black", [True, False])
def test_transparent_pixels_are_the_background(tmp_path: Path, black: bool) -> None:
    """What is drawn in black is a class beside them."""
    for number in range(6):
        drawn = trees.shapes(number, (1, 2))
        color = np.array([[200, 30, 30], [200, 30, 30], [0, 0, 0] if black else [200, 30, 30]], np.uint8)[drawn]
        trees.save(tmp_path / f"images/{number}.png", trees.photo())
        trees.save(tmp_path / f"masks/{number}.png", np.dstack([color, (drawn > 0).astype(np.uint8) * 255]))
    trial = taken(tmp_path)
    assert names(trial) == (["background", "class1", "class2"] if black else ["background", "foreground"])


def test_a_split_that_data_yaml_states_is_kept(tmp_path: Path) -> None:
    for year in (2023, 2024):
        for number in range(4):
            trees.save(tmp_path / f"images/field_{year}/{year}_{number}.jpg", trees.photo())
            trees.text(tmp_path / f"labels/field_{year}/{year}_{number}.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5")
    trees.text(tmp_path / "data.yaml", "path: ../datasets/fields", "train: images/field_2023", "val: images/field_2024", "names: {0: weed}")
    assert taken(tmp_path).guess.split["folders"] == {"train": "field_2023", "val": "field_2024", "test": None}
    lists = {
        "train": [f"./images/field_2023/2023_{n}.jpg" for n in range(4)],
        "val": [f"./images/field_2024/2024_{n}.jpg" for n in range(4)],
    }
    for split, lines in lists.items():
        trees.text(tmp_path / f"{split}.txt", *lines)
    trees.text(tmp_path / "data.yaml", "train: train.txt", "val: val.txt", "names: {0: weed}")
    assert splits(taken(tmp_path), tmp_path)["val"] == [f"field_2024/2024_{n}" for n in range(4)]


def test_a_proposal_is_tried_before_it_is_made(tmp_path: Path) -> None:
    for number in range(6):
        trees.save(tmp_path / f"images/{number}.jpg", trees.photo())
        trees.text(tmp_path / f"labels/{number}.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5", "0 0.5 0.5 0.2 0.2")
    trees.text(tmp_path / "data.yaml", "names: [cat]")
    with pytest.raises(DataError, match=r"is a box alone.* --set source.boxes=true or --set source.boxes=skip works here"):
        taken(tmp_path)
    assert len(taken(tmp_path, settings=("source.boxes=true",)).items) == 6


def test_nothing_found_names_the_nearest_pair_and_why_it_fell(tmp_path: Path) -> None:
    for number in range(4):
        trees.save(tmp_path / f"images/{number}.jpg", trees.photo())
        trees.save(tmp_path / f"masks/{number}.png", trees.shapes(number)[:20].copy())
    assert "images/0.jpg and masks/0.png, but the one has 64x48 pixels and the other 64x20" in nothing_found(list_folder(tmp_path))


@pytest.mark.parametrize("name", ["sites", "uneven", "several", "ramp", "boxes beside", "years", "via", "elsewhere", "views"])
def test_the_doctor_takes_what_init_wrote(tmp_path: Path, name: str) -> None:
    trees.TREES[name](tmp_path)
    assert faults(taken(tmp_path), tmp_path) == []


def test_label_images_of_few_of_the_images_are_not_taken_for_those_of_all(tmp_path: Path) -> None:
    for number in range(10):
        both = trees.shapes(number, (1, 2))
        trees.save(tmp_path / f"images/{number}.jpg", trees.photo())
        trees.save(tmp_path / f"masks/{number}.png", (both > 0).astype(np.uint8) * 255)
        if number < 3:
            trees.save(tmp_path / f"masks_fine/{number}.png", both)
    trial = taken(tmp_path)
    assert (trial.guess.source["masks"], len(trial.items)) == ("masks", 10)


def test_two_sets_of_images_are_a_question(tmp_path: Path) -> None:
    """Of which one has an annotation file, and the other masks."""
    file = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cup"}]}  # type: ignore[var-annotated]
    for number in range(8):
        trees.save(tmp_path / f"a/images/a{number}.jpg", trees.photo())
        file["images"].append({"id": number, "file_name": f"a{number}.jpg", "height": trees.HEIGHT, "width": trees.WIDTH})
        file["annotations"].append({"id": number, "image_id": number, "category_id": 1, "segmentation": [[2, 2, 20, 2, 20, 20]]})
        trees.save(tmp_path / f"b/images/b{number}.jpg", trees.photo())
        trees.save(tmp_path / f"b/masks/b{number}.png", trees.shapes(number, (255,)))
    trees.content(tmp_path / "a/all.json", file)
    with pytest.raises(DataError, match=r"holds 2 sets of images, .*--labels a/all.json.*--images b/images --labels b/masks"):
        taken(tmp_path)
