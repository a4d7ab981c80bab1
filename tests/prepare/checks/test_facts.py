"""What is found out of one image for the checks."""

import numpy as np

from seg.data.sample import Sample
from seg.prepare.checks.facts import facts_of
from seg.raw.record import Record
from seg.storing.write import measure_record


def test_an_instance_without_a_pixel_is_in_one_piece_at_most() -> None:
    instances = np.zeros((8, 9, 1), np.int32)
    instances[1, 1], instances[6, 7] = 2, 2  # two far pieces of the second; the first has no pixel
    sample = Sample(
        "a", np.zeros((8, 9, 3), np.uint8), np.zeros((8, 9), np.uint8), instances, np.array([1, 1], np.int32), np.zeros(2, bool)
    )
    facts = facts_of(sample, measure_record(Record(sample), 2))
    assert facts.areas.tolist() == [0, 2]
    assert [(apart.instance, apart.box) for apart in facts.apart] in ([(1, (7, 6, 8, 7))], [(1, (1, 1, 2, 2))])
