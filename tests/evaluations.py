"""Evaluations as the page takes them, made up of drawn images: of classes, and of instances."""

from collections.abc import Sequence

import cv2
import numpy as np

from seg.data.sample import ClassInfo
from seg.report.confusions import kinds_of_errors
from seg.report.page_data import KINDS, Evaluation, Figure, FigureTable, GalleryEntry, ImageRow, Outlines

SIZE = (60, 80)


def classes_of(count: int) -> list[ClassInfo]:
    """Classes with colours of their own; one is named so that it must be escaped."""
    rng = np.random.default_rng(count)
    colors = rng.choice(256**3, count, replace=False)
    names = ["<wall> & co", *(f"class {k}" for k in range(1, count))]
    return [ClassInfo(name, (int(c) >> 16, int(c) >> 8 & 255, int(c) & 255)) for name, c in zip(names, colors, strict=True)]


def class_map(rng: np.random.Generator, num_classes: int, size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8: eight rectangles on class 0, a corner ignored."""
    labels = np.zeros(size, np.uint8)
    for _ in range(8):
        top, left = rng.integers(0, size)
        labels[top : top + size[0] // 3, left : left + size[1] // 3] = rng.integers(0, num_classes)
    labels[:4, :6] = 255
    return labels


def photo(rng: np.random.Generator, size: tuple[int, int], detail: int = 12) -> np.ndarray:
    """(H, W, 3) uint8, smooth; the larger `detail`, the finer."""
    return cv2.resize(rng.integers(0, 256, (detail, detail, 3), dtype=np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)


def confusion(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """(K, K) int64, counted pixel by pixel."""
    counted = truth != 255
    matrix = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(matrix, (truth[counted], predicted[counted]), 1)
    return matrix


def semantic_evaluation(num_classes: int = 6, num_images: int = 12, size: tuple[int, int] = SIZE, detail: int = 12) -> Evaluation:
    """Predictions are the truth moved by some pixels."""
    rng, classes = np.random.default_rng(0), classes_of(num_classes)
    total, gallery, rows = np.zeros((num_classes, num_classes), np.int64), [], []
    for number in range(num_images):
        truth = class_map(rng, num_classes, size)
        predicted = np.roll(np.where(truth == 255, 0, truth), int(rng.integers(0, 6)), axis=1)
        matrix = confusion(truth, predicted, num_classes)
        total += matrix
        row = ImageRow(f"folder/scene<{number}>", float(np.trace(matrix) / matrix.sum()), {"pixel_accuracy": 0.5})
        rows.append(row)
        errors = kinds_of_errors(matrix, classes, 0.005)
        gallery.append(GalleryEntry(KINDS[number % 4], row, photo(rng, size, detail), truth, predicted, errors))
    per_class = {c.name: {"iou": float(rng.random()), "dice": float(rng.random())} for c in classes}
    per_class[classes[-1].name] = {"iou": float("nan"), "dice": float("nan")}
    headline = [
        Figure("miou", 0.8312, 0.81, 0.85, "IoU of each class over all pixels, then their mean"),
        Figure("hd95", 12.5, 10.0, 15.0, "pixels"),
        Figure("mean_dice", float("nan")),
    ]
    confidence, accuracy = np.array([np.nan, 0.25, 0.55, 0.95]), np.array([np.nan, 0.2, 0.6, 0.9])
    bins = zip((0.0, 0.25, 0.5, 0.75), (0.25, 0.5, 0.75, 1.0), (0, 10, 400, 9000), accuracy, confidence, strict=True)
    calibration = [dict(zip(("low", "high", "pixels", "accuracy", "confidence"), row, strict=True)) for row in bins]
    pixels = total.sum(1).tolist()
    counts = {"num_images": num_images, "num_instances": 0, "sizes": {"60x80": num_images}, "class_pixels": pixels, "class_images": pixels}
    return Evaluation(
        title="Evaluation of <drawn> scenes",
        split="test",
        classes=classes,
        headline=headline,
        score_name="miou",
        images=[*rows, ImageRow("empty", float("nan"), {"pixel_accuracy": float("nan")})],
        intervals="95 % percentile bootstrap over images",
        settings={"model.name": "unet", "optimizer.lr": 0.001},
        history=history(10),
        best_epoch=9,
        per_class=per_class,
        confusion=total,
        gallery=gallery,
        tables=[FigureTable("By site", [{"site": "a", "miou": 0.5}, {"site": "b", "miou": float("nan")}], "Figures by the column site.")],
        calibration=calibration,
        calibration_error=0.05,
        preview=bytes(cv2.imencode(".png", photo(rng, (40, 60)))[1]),
        splits={"test": counts},
    )


def history(epochs: int) -> list[dict[str, float]]:
    """Losses of both parts, a figure of validation alone that starts late, and the learning rate."""
    return [
        {
            "epoch": float(n),
            "lr": 0.1 / n,
            "train_loss": 1 / n,
            "val_loss": 1.2 / n,
            "val_miou": float("nan") if n == 1 else 1 - 1 / n,
        }
        for n in range(1, epochs + 1)
    ]


def discs(centres: Sequence[tuple[int, int]], radius: int, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 1) int32 id map."""
    ids = np.zeros(size, np.int32)
    for number, centre in enumerate(centres, start=1):
        cv2.circle(ids, centre, radius, number, -1)
    return ids[..., None]


def instance_evaluation(num_images: int = 8) -> Evaluation:
    """In each image of three discs one is found, one missed, one a crowd; one more is made up."""
    rng = np.random.default_rng(1)
    classes = [ClassInfo("background", (70, 70, 70)), ClassInfo("cell", (230, 159, 0)), ClassInfo("nucleus", (86, 180, 233))]
    gallery = []
    for number in range(num_images):
        truth = Outlines(
            discs([(15, 15), (45, 15), (65, 45)], 9, SIZE),
            np.array([1, 2, 1]),
            np.array([False, False, True]),
            ["found", "missed", "crowd"],
        )
        said = Outlines(
            discs([(16, 15), (20, 45)], 8, SIZE),
            np.array([1, 2]),
            np.zeros(2, bool),
            ["found", "made up"],
            np.array([0.9, 0.6], np.float32),
        )
        row = ImageRow(f"slide{number}", number / num_images, {"f1_50": 0.5, "num_truth": 2})
        gallery.append(GalleryEntry(KINDS[number % 4], row, photo(rng, SIZE), truth, said, {"missed": "1", "made up": "1"}))
    return Evaluation(
        title="Evaluation of cells",
        split="val",
        classes=classes,
        headline=[Figure("mask_ap", 0.31, 0.28, 0.34), Figure("pq", 0.4)],
        score_name="pq",
        images=[entry.row for entry in gallery],
        per_class={"cell": {"mask_ap": 0.3, "num_truth": 1200}, "nucleus": {"mask_ap": 0.32, "num_truth": 8}},
        gallery=gallery,
    )
