"""A table on the console."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

WIDE = 300  # columns where the output is no terminal, so that no row is broken


def show(columns: Sequence[str], rows: Sequence[tuple[str, ...]], numbers: Sequence[str] = ()) -> None:
    """An aligned table; as wide as it has to be where no terminal shows it. numbers: the columns that are set to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
