"""How well `seg track` follows drawn objects: with their true boxes, and with those of a trained model; and the memory of a long video.

    python benchmarks/track.py
    python benchmarks/track.py --model artifacts/train/best.ckpt --frames 1000
    python benchmarks/track.py --others

Needs TrackEval (`pip install --no-deps trackeval`, by the authors of HOTA; it asks for another OpenCV). The objects are discs that bounce
off the edges of 200 x 200 pixels, cross each other, and vanish behind a wall for some frames. A model of the drawn shapes finds discs, and
would find the wall, which its video lacks. --others follows the true boxes with trackers of Roboflow's package trackers, too (Apache-2.0;
`pip install --no-deps trackers supervision pydeprecate`), which know no looks.
"""

import argparse
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from moving import Frame, figures, moving

import seg
from seg.predict.looks import looks_of
from seg.track.tracker import Rules, Tracker


def main() -> None:
    """Print a row a kind of boxes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a checkpoint of instances or boxes")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--objects", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--lost", type=int, default=Rules().lost, help="frames after which an object that is not seen is given up")
    parser.add_argument("--others", action="store_true", help="compare the trackers of the package trackers")
    given = parser.parse_args()
    print("| boxes | HOTA | MOTA | IDF1 |\n|---|---:|---:|---:|")
    kinds = ["true", "true, without looks", *(OTHERS if given.others else []), *(["of the model"] if given.model else [])]
    for kind in kinds:
        rows = []
        for seed in given.seeds if kind != "of the model" else given.seeds[:1]:
            frames = moving(given.frames, given.objects, seed, wall=kind != "of the model")
            if kind == "of the model":
                rows.append(figures(frames, *predicted(frames, given.model, given.lost)))
                continue
            if kind in OTHERS:
                rows.append(figures(frames, [frame.boxes for frame in frames], by_others(frames, OTHERS[kind], given.lost)))
                continue
            tracker = Tracker(Rules(lost=given.lost))
            looks = [None if "without" in kind else frame.looks for frame in frames]
            numbers = [
                tracker.update(f.boxes, np.full(len(f.boxes), 0.9), np.zeros(len(f.boxes), int), look)
                for f, look in zip(frames, looks, strict=True)
            ]
            rows.append(figures(frames, [frame.boxes for frame in frames], numbers))
        print(f"| {kind} | {' | '.join(f'{mean(column):.3f}' for column in zip(*rows, strict=True))} |", flush=True)


OTHERS = {
    "true, ByteTrack of trackers": "ByteTrackTracker",
    "true, OC-SORT of trackers": "OCSORTTracker",
    "true, BoT-SORT of trackers": "BoTSORTTracker",
}


def by_others(frames: Sequence[Frame], name: str, lost: int) -> list[np.ndarray]:
    """The numbers of each frame's true boxes by a tracker of another package, which is told to number an object from its first frame on."""
    import supervision
    import trackers

    tracker = getattr(trackers, name)(
        lost_track_buffer=lost, minimum_consecutive_frames=1, **({"enable_cmc": False} if "BoT" in name else {})
    )
    found = []
    for frame in frames:
        count = len(frame.boxes)
        seen = supervision.Detections(
            frame.boxes.astype(np.float32), confidence=np.full(count, 0.9), class_id=np.zeros(count, int), data={"row": np.arange(count)}
        )
        given, numbers = tracker.update(seen), np.zeros(count, int)
        if len(given):
            numbers[given.data["row"]] = given.tracker_id + 1
        found.append(numbers)
    return found


def predicted(frames: Sequence[Frame], path: Path, lost: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Boxes and numbers of each frame by a model; says how the memory of the process grew between a tenth of the frames and all."""
    predictor = seg.load(path, batch_size=1)
    threshold = predictor.network.facts.threshold(None)
    tracker, boxes, numbers, early = Tracker(Rules(sure=threshold, unsure=min(0.1, threshold), lost=lost)), [], [], 0
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
