"""What the console shows: a bar with the time left in a terminal, plain lines elsewhere; and tables."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")
WIDE = 300  # columns where the output is no terminal, so that no row is broken


def style_of(progress: str) -> str:
    """`bar`, `lines` or `none`, from the setting `runtime.progress`, where auto looks whether anybody watches."""
    if progress != "auto":
        return progress
    return "bar" if sys.stdout.isatty() else "lines"


def track(things: Iterable[T], total: int, what: str, progress: str) -> Iterator[T]:
    """Yield the things while showing how many are done; one closing line where there is no terminal."""
    with meter(total, what, progress) as show:
        for done, thing in enumerate(things, 1):
            yield thing
            show(done)


@contextmanager
def meter(total: int, what: str, progress: str) -> Iterator[Callable[[float], None]]:
    """As `track`, for what is done in parts: gives a function that is to be told how many are done, such as 2.5."""
    start = time.monotonic()
    style = style_of(progress)
    if style == "bar":
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, transient=True) as bar:  # it vanishes at its end
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)
    else:
        yield lambda _: None
    if style != "none":
        print(f"{what}: {total} in {duration(time.monotonic() - start)}", flush=True)


def step_bar() -> "Progress":
    """A training's bar, which vanishes at its end; a task's fields `step` and `speed` are shown as they are."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    before, after = TextColumn("{task.description}  {task.fields[step]}"), TextColumn("{task.fields[speed]}")
    return Progress(before, BarColumn(), TimeRemainingColumn(), after, transient=True)


def duration(seconds: float) -> str:
    """45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def show(columns: Sequence[str], rows: Sequence[tuple[str, ...]], numbers: Sequence[str] = ()) -> None:
    """An aligned table; as wide as it has to be where no terminal shows it. numbers: the columns that are set to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
