"""How well `seg track` follows drawn objects: with their true boxes, and with those of a trained model; and the memory of a long video.

    python benchmarks/track.py
    python benchmarks/track.py --model artifacts/train/best.ckpt --frames 1000

Needs TrackEval (`pip install --no-deps trackeval`, by the authors of HOTA; it asks for another OpenCV). The objects are discs that bounce
off the edges of 200 x 200 pixels, cross each other, and vanish behind a wall for some frames. A model of the drawn shapes finds discs, and
would find the wall, which its video lacks.
"""

import argparse
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import trackeval

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from moving import Frame, moving

import seg
from seg.track.looks import looks_of
from seg.track.tracker import Rules, Tracker, iou_of


def figures(frames: Sequence[Frame], boxes: Sequence[np.ndarray], numbers: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """HOTA, MOTA and IDF1 of boxes with their objects' numbers, 0 for none."""
    kept = [n > 0 for n in numbers]
    ids = {number: index for index, number in enumerate(sorted({int(n) for found in numbers for n in found if n}))}
    data = {
        "gt_ids": [frame.numbers for frame in frames],
        "tracker_ids": [np.array([ids[int(n)] for n in found[k]], int) for found, k in zip(numbers, kept, strict=True)],
        "similarity_scores": [iou_of(frame.boxes, own[k]) for frame, own, k in zip(frames, boxes, kept, strict=True)],
        "num_gt_dets": sum(len(frame.boxes) for frame in frames),
        "num_tracker_dets": sum(int(k.sum()) for k in kept),
        "num_gt_ids": 1 + max(int(frame.numbers.max(initial=0)) for frame in frames),
        "num_tracker_ids": len(ids),
        "num_timesteps": len(frames),
    }
    hota = float(np.mean(trackeval.metrics.HOTA().eval_sequence(data)["HOTA"]))
    mota = float(trackeval.metrics.CLEAR({"PRINT_CONFIG": False}).eval_sequence(data)["MOTA"])
    return hota, mota, float(trackeval.metrics.Identity({"PRINT_CONFIG": False}).eval_sequence(data)["IDF1"])


def main() -> None:
    """Print a row a kind of boxes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a checkpoint of instances or boxes")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--objects", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    print("| boxes | HOTA | MOTA | IDF1 |\n|---|---:|---:|---:|")
    for kind in ("true", "true, without looks", *(["of the model"] if given.model else [])):
        rows = []
        for seed in given.seeds if kind != "of the model" else given.seeds[:1]:
            frames = moving(given.frames, given.objects, seed, wall=kind != "of the model")
            if kind == "of the model":
                rows.append(figures(frames, *predicted(frames, given.model)))
                continue
            tracker = Tracker(Rules())
            looks = [None if "without" in kind else frame.looks for frame in frames]
            numbers = [
                tracker.update(f.boxes, np.full(len(f.boxes), 0.9), np.zeros(len(f.boxes), int), look)
                for f, look in zip(frames, looks, strict=True)
            ]
            rows.append(figures(frames, [frame.boxes for frame in frames], numbers))
        print(f"| {kind} | {' | '.join(f'{mean(column):.3f}' for column in zip(*rows, strict=True))} |", flush=True)


def predicted(frames: Sequence[Frame], path: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Boxes and numbers of each frame by a model; says how the memory of the process grew between a tenth of the frames and all."""
    predictor = seg.load(path, batch_size=1)
    threshold = predictor.network.facts.threshold(None)
    tracker, boxes, numbers, early = Tracker(Rules(sure=threshold, unsure=min(0.1, threshold))), [], [], 0
    with looks_of(predictor.network) as looks:
        for index, frame in enumerate(frames):
            found = predictor.predict(frame.image)
            seen = looks.of(found.boxes, frame.image.shape[:2])
            numbers.append(tracker.update(found.boxes, found.scores, np.zeros(len(found.scores), int), seen))
            boxes.append(found.boxes)
            if index == len(frames) // 10:
                early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - early) / 1024
    print(f"memory after a tenth of {len(frames)} frames {early / 1024:.0f} MiB, then {grown:.0f} MiB more", file=sys.stderr)
    return boxes, numbers


if __name__ == "__main__":
    main()
