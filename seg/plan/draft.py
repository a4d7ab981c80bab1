"""What a rule gives: values of keys of the configuration, each with its reason in words."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from seg.plan.facts import PlanFacts
from seg.settings.planned import merged, value_at, with_value
from seg.settings.section import Params


@dataclass(frozen=True, slots=True)
class Decision:
    """key: of the configuration, such as model.scale; or a whole section, such as loss. reason: a sentence without a full stop."""

    key: str
    value: Any
    reason: str


class Draft:
    """A configuration while it is planned: values that a person set stay, and those that say `auto` are chosen one after another."""

    def __init__(self, params: Params, open_keys: Iterable[str]) -> None:
        self.params, self.open, self.chosen = params, set(open_keys), list[Decision]()

    def __getitem__(self, key: str) -> Any:
        """The value of a key as it stands; None where there is no such key."""
        return value_at(self.params, key)

    def is_open(self, key: str) -> bool:
        return key in self.open

    def take(self, choices: Iterator[Decision]) -> None:
        """Set what is open; a value that a person set stays."""
        for choice in choices:
            if choice.key in self.open:
                self.chosen.append(choice)
                self.open.discard(choice.key)
                self.params = with_value(self.params, choice.key, merged(self[choice.key], choice.value))


Rule = Callable[[PlanFacts, Draft], Iterator[Decision]]
"""Pure: from the facts and the values that are set already to further values. It yields a choice for each key that it knows of, also for
those that are not open."""
