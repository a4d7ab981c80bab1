"""What tracking writes: MOTChallenge's text, COCO's format for video instances, and the video with its objects drawn in."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from seg.core.errors import DataError
from seg.core.outputs import JsonList
from seg.data.rle import decode_crop
from seg.data.sample import ClassInfo, Prediction
from seg.pictures.draw import INSTANCE_COLORS, rgb

TRAIL = 30  # frames that the line behind an object shows


def mot_lines(frame: int, given: Prediction, numbers: np.ndarray) -> str:
    """A line an object: frame and object from 1, box as left, top, width, height, score, class from 1, visibility (1)."""
    lines = []
    for (x1, y1, x2, y2), score, category, number in zip(given.boxes, given.scores, given.categories, numbers, strict=True):
        if number:
            lines.append(f"{frame + 1},{number},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},{score:.4f},{category + 1},1\n")
    return "".join(lines)


class CocoVideo:
    """A file like COCO's for instances, whose annotations name their video and their object (`track_id`), written as it goes."""

    def __init__(self, file: IO[bytes], name: str, classes: Sequence[ClassInfo]) -> None:
        self.file, self.images = file, list[dict[str, Any]]()
        self.head = {"videos": [{"id": 1, "name": name}], "categories": [{"id": i + 1, "name": c.name} for i, c in enumerate(classes)]}
        file.write(b'{"annotations": ')
        self.rows = JsonList(file)

    def add(self, frame: int, size: tuple[int, int], given: Prediction, numbers: np.ndarray) -> None:
        """The objects of a frame."""
        self.images.append({"id": frame + 1, "video_id": 1, "frame_id": frame, "height": size[0], "width": size[1]})
        for index in np.flatnonzero(numbers):
            x1, y1, x2, y2 = (round(float(v), 2) for v in given.boxes[index])
            row: dict[str, Any] = {
                "id": self.rows.count + 1,
                "image_id": frame + 1,
                "video_id": 1,
                "track_id": int(numbers[index]),
                "category_id": int(given.categories[index]) + 1,
                "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
                "score": round(float(given.scores[index]), 4),
                "iscrowd": 0,
            }
            if given.masks and not given.boxed:
                counts = given.masks[index]["counts"]
                row["segmentation"] = {"size": [*size], "counts": counts.decode() if isinstance(counts, bytes) else counts}
            self.rows.append(row)

    def close(self) -> None:
        """End the file's content."""
        self.rows.close()
        self.file.write(f', "images": {json.dumps(self.images)}, "videos": {json.dumps(self.head["videos"])}, '.encode())
        self.file.write(f'"categories": {json.dumps(self.head["categories"])}}}\n'.encode())


class Film:
    """The video with its objects drawn in. An object keeps its colour, and a line shows where it came from."""

    def __init__(self, path: Path, size: tuple[int, int], rate: float, classes: Sequence[ClassInfo]) -> None:
        self.classes, self.trails = classes, dict[int, list[tuple[int, int]]]()
        self.writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (size[1], size[0]))
        if not self.writer.isOpened():
            raise DataError(f"{path}: this machine's OpenCV cannot write a video; leave it out with --no-film")

    def add(self, image: np.ndarray, given: Prediction, numbers: np.ndarray) -> None:
        """A frame (H, W, C) uint8."""
        picture = rgb(image).copy()
        for index in np.flatnonzero(numbers):
            number, (x1, y1, x2, y2) = int(numbers[index]), (round(float(v)) for v in given.boxes[index])
            color = INSTANCE_COLORS[(number - 1) % len(INSTANCE_COLORS)]
            if given.masks and not given.boxed:
                crop, left, top = decode_crop(given.masks[index])
                outline, _ = cv2.findContours(crop.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top))
                cv2.drawContours(picture, outline, -1, color, 2)
            else:
                cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), color, 2)
            trail = self.trails.setdefault(number, [])
            trail.append(((x1 + x2) // 2, (y1 + y2) // 2))
            del trail[:-TRAIL]
            cv2.polylines(picture, [np.array(trail, np.int32)], False, color, 1)
            text = f"{number} {self.classes[int(given.categories[index])].name}"
            for thickness, shade in ((3, (0, 0, 0)), (1, (255, 255, 255))):
                cv2.putText(picture, text, (x1, max(10, y1 - 4)), cv2.FONT_HERSHEY_SIMPLEX, 0.4, shade, thickness, cv2.LINE_AA)
        self.writer.write(picture[..., ::-1])

    def close(self) -> None:
        self.writer.release()
