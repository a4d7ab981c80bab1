"""Objects followed through drawn videos, against the official figures (TrackEval) and by hand."""

from collections.abc import Sequence

import numpy as np
import pytest
from moving import Frame, figures, moving

from seg.track.tracker import Rules, Tracker


def followed(frames: Sequence[Frame], tracker: Tracker, looks: bool = True, jitter: float = 0.0) -> list[np.ndarray]:
    """The numbers of each frame's true boxes. jitter: pixels by which they are off."""
    rng = np.random.default_rng(0)
    found = []
    for frame in frames:
        boxes, count = frame.boxes + rng.normal(0, jitter, frame.boxes.shape), len(frame.boxes)
        order = rng.permutation(count)
        numbers = np.zeros(count, int)
        numbers[order] = tracker.update(boxes[order], np.full(count, 0.9), np.zeros(count, int), frame.looks[order] if looks else None)
        found.append(numbers)
    return found


def hota(frames: Sequence[Frame], found: Sequence[np.ndarray]) -> float:
    """Of tracks whose boxes are the true ones."""
    return figures(frames, [frame.boxes for frame in frames], found)[0]


@pytest.mark.parametrize("seed", range(3))
def test_true_boxes_are_followed(seed: int) -> None:
    """Ten objects that cross, and vanish behind a wall: HOTA of 0.9 or more, with how they look."""
    frames = moving(200, 10, seed)
    assert hota(frames, followed(frames, Tracker(Rules()))) >= 0.9


def test_boxes_that_are_off_by_a_pixel_are_followed_too() -> None:
    frames = moving(200, 8, 5)
    assert hota(frames, followed(frames, Tracker(Rules()), jitter=1.0)) >= 0.9


@pytest.mark.slow
def test_a_long_video_is_followed() -> None:
    """A thousand frames, in which objects are hidden for up to a hundred."""
    frames = moving(1000, 8, 0)
    assert hota(frames, followed(frames, Tracker(Rules()))) >= 0.95


def test_without_looks_objects_that_vanish_come_back_as_others() -> None:
    """What the features are for: without them the wall costs objects their numbers."""
    frames = moving(200, 10, 1)
    with_looks, without = (followed(frames, Tracker(Rules()), looks) for looks in (True, False))
    assert len(np.unique(np.concatenate(with_looks))) < len(np.unique(np.concatenate(without)))


def step(
    tracker: Tracker, *boxes: tuple[float, float, float, float], scores: Sequence[float] | None = None, kinds: Sequence[int] = ()
) -> list[int]:
    given = np.array(boxes, float).reshape(-1, 4)
    numbers = tracker.update(given, np.array(scores if scores else [0.9] * len(given)), np.array(kinds or [0] * len(given)), None)
    found: list[int] = numbers.tolist()
    return found


def test_two_that_cross_keep_their_numbers() -> None:
    """Their boxes lie on each other in the middle, but each goes on as it went."""
    tracker = Tracker(Rules())
    for x in range(0, 100, 4):
        numbers = step(tracker, (x, 10, x + 20, 30), (100 - x, 14, 120 - x, 34))
        assert numbers == [1, 2]


def test_a_low_score_goes_on_and_does_not_begin() -> None:
    tracker = Tracker(Rules(sure=0.5, unsure=0.1))
    assert step(tracker, (0, 0, 10, 10), (50, 50, 60, 60), scores=[0.9, 0.3]) == [1, 0]
    assert step(tracker, (1, 0, 11, 10), scores=[0.2]) == [1]
    assert step(tracker, (2, 0, 12, 10), scores=[0.05]) == [0]


def test_a_class_is_kept() -> None:
    tracker = Tracker(Rules())
    assert step(tracker, (0, 0, 10, 10), kinds=[1]) == [1]
    assert step(tracker, (0, 0, 10, 10), kinds=[2]) == [2]


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        # of 9 found boxes of 10, the first object's 5 are always 1; the other's are twice 2 and twice 3, each 2 of its 5
        (0, ((0.9 * (5 + 4 * 2 / 5) / 9) ** 0.5, 1 - (1 + 1) / 10, 2 * (5 + 2) / (10 + 9))),
        (1, ((0.9 * (5 + 4 * 4 / 5) / 9) ** 0.5, 1 - 1 / 10, 2 * 9 / (10 + 9))),  # the other keeps its number
    ],
)
def test_figures_by_hand(lost: int, expected: tuple[float, float, float]) -> None:
    """Two objects that rest for five frames. One is missed in the third, and with lost=0 it is another one from then on."""
    tracker, two = Tracker(Rules(lost=lost)), np.array([[0.0, 0, 20, 20], [50, 50, 70, 70]])
    frames = [Frame(np.zeros((1, 1, 3), np.uint8), two, np.arange(2), np.zeros((2, 3)))] * 5
    boxes = [two, two, two[:1], two, two]
    numbers = [tracker.update(b, np.full(len(b), 0.9), np.zeros(len(b), int), None) for b in boxes]
    assert [n.tolist() for n in numbers] == [[1, 2], [1, 2], [1], [1, 3 - lost], [1, 3 - lost]]
    assert figures(frames, boxes, numbers) == pytest.approx(expected)


def test_one_that_turns_is_known_by_its_look() -> None:
    """It comes from the left by 15 pixels a frame, and goes back at once: where it should be is another place."""
    for look, number in (([1.0, 0], 1), ([0.0, 1], 2)):
        tracker = Tracker(Rules())
        for x in (0, 15, 30, 45):
            tracker.update(np.array([[x, 0, x + 10.0, 10]]), np.array([0.9]), np.zeros(1, int), np.array([[1.0, 0]]))
        assert tracker.update(np.array([[30.0, 0, 40, 10]]), np.array([0.9]), np.zeros(1, int), np.array([look])).tolist() == [number]


@pytest.mark.parametrize(("look", "number"), [([0.8, 0.6], 1), ([-0.8, 0.6], 2)])
def test_one_that_was_hidden_is_not_taken_for_another(look: list[float], number: int) -> None:
    """Three frames later something comes out where it should be."""
    tracker = Tracker(Rules())
    for x in (0, 5, 10):
        tracker.update(np.array([[x, 0, x + 20.0, 20]]), np.array([0.9]), np.zeros(1, int), np.array([[1.0, 0]]))
    for _ in range(3):
        tracker.update(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), np.zeros((0, 2)))
    found = tracker.update(np.array([[30.0, 0, 50, 20]]), np.array([0.9]), np.zeros(1, int), np.array([look]))
    assert found.tolist() == [number]


def test_what_is_lost_for_long_is_given_up() -> None:
    tracker = Tracker(Rules(lost=2))
    for _ in range(3):
        assert step(tracker, (0, 0, 10, 10)) == [1]
    for _ in range(2):
        assert step(tracker) == []
    assert step(tracker, (0, 0, 10, 10)) == [1]  # two frames are not too long
    for _ in range(3):
        step(tracker)
    assert step(tracker, (0, 0, 10, 10)) == [2]


def test_the_filter_learns_the_speed() -> None:
    """After some frames of 5 pixels each, the box is expected 5 pixels further."""
    tracker = Tracker(Rules())
    for x in range(0, 60, 5):
        step(tracker, (x, 0, x + 20, 20))
    (track,) = tracker.tracks
    track.predict()
    assert track.box == pytest.approx([60, 0, 80, 20], abs=0.5)


def test_no_frame_has_anything() -> None:
    tracker = Tracker(Rules())
    assert step(tracker) == []
    assert tracker.tracks == []
