"""The processes of this machine that share out tasks: answers in order, an error of one ends all."""

from contextlib import closing
from multiprocessing.process import BaseProcess

import pytest
from shared_tasks import doubled, dying, refusing

from seg.core.errors import DataError
from seg.runtime.engine import LOCAL


def test_answers_come_in_order_and_an_error_of_one_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[BaseProcess] = []
    monkeypatch.setattr(BaseProcess, "terminate", ended.append)
    with closing(LOCAL.results(doubled, range(40), ["cpu", "cpu"])) as answers:
        assert list(answers) == list(range(0, 80, 2))
    assert ended == [], "those that are done end by themselves, and say nothing"
    monkeypatch.undo()
    for start, said in ((refusing, r"^three\.png: is refused$"), (dying, r"was killed .*; take fewer$")):
        with closing(LOCAL.results(start, range(1000), ["cpu", "cpu"], "take fewer")) as answers, pytest.raises(DataError, match=said):
            list(answers)
