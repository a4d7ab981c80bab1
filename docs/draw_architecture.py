"""Draw docs/images/architecture.svg: the rooms (folders of seg/) floor by floor, and which room imports which.

python docs/draw_architecture.py

The floors and the imports come from tests/test_architecture.py, so the picture shows what that test checks.
"""

import sys
from html import escape
from math import fsum
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs/images/architecture.svg"
WIDTH, ROW, BOX, LABELS = 1120, 92, 34, 24
STYLE = (
    "text{font:15px system-ui,sans-serif;fill:#16324f;text-anchor:middle}"
    "rect.floor{fill:#f4f7fa}rect.room{fill:#fff;stroke:#2f6690;stroke-width:1.5;rx:6}"
    "path{fill:none;stroke:#7d98ad;stroke-width:1.2;marker-end:url(#head)}"
)


def arrows() -> dict[str, set[str]]:
    """{room: the rooms that its modules import}."""
    sys.path.insert(0, str(ROOT / "tests"))
    from test_architecture import imports_of, modules, room

    found: dict[str, set[str]] = {}
    for name in modules().keys() - {"seg"}:
        found.setdefault(room(name), set()).update(room(other) for other in imports_of(name))
    return {name: others - {name} for name, others in found.items()}


def direct(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """Only the arrows that no longer way stands for: a -> c is left out where a -> b and b -> ... -> c."""

    def below(name: str) -> set[str]:
        return imports[name] | {deeper for other in imports[name] for deeper in below(other)}

    return {name: {o for o in others if not any(o in below(b) for b in others - {o})} for name, others in imports.items()}


def places(floors: list[list[str]], shown: dict[str, set[str]]) -> dict[str, tuple[float, int]]:
    """{room: (x, y) of its middle}: floors from the ground up, each room as near to the rooms of its arrows as the order allows."""
    neighbours = {name: {other for a, others in shown.items() for other in others | {a} if name in others | {a}} - {name} for name in shown}
    at = {name: (i + 0.5) / len(rooms) for rooms in floors for i, name in enumerate(rooms)}
    for _ in range(20):
        for rooms in floors:
            rooms.sort(key=lambda name: (fsum(at[o] for o in neighbours[name]) / max(1, len(neighbours[name])), name))
            at |= {name: (i + 0.5) / len(rooms) for i, name in enumerate(rooms)}
    height = len(floors) * ROW
    return {name: (at[name] * WIDTH, height - int((level + 0.5) * ROW)) for level, rooms in enumerate(floors) for name in rooms}


def picture() -> str:
    """The text of the SVG file."""
    from_code = arrows()  # before the import below: it puts tests/ on the path
    from test_architecture import FLOORS

    shown = direct(from_code)
    floors = [sorted(rooms & from_code.keys()) for rooms in FLOORS]
    at = places(floors, shown)
    height = len(floors) * ROW
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>The rooms of seg/ and their imports</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" style="fill:#7d98ad;stroke:none;marker-end:none"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for level in range(len(floors)):
        lines.append(f'<rect class="floor" x="8" y="{height - (level + 1) * ROW + 16}" width="{WIDTH - 16}" height="{ROW - 32}" rx="8"/>')
    for name in sorted(shown):
        for other in sorted(shown[name]):
            (x, y), (to_x, to_y) = at[name], at[other]
            top, bottom = y + BOX / 2, to_y - BOX / 2
            lean = min(60, (bottom - top) / 2)
            lines.append(
                f'<path d="M{x:.0f} {top:.0f}C{x:.0f} {top + lean:.0f} {to_x:.0f} {bottom - lean:.0f} {to_x:.0f} {bottom:.0f}">'
                f"<title>{escape(name)} imports {escape(other)}</title></path>"
            )
    for name, (x, y) in sorted(at.items()):
        wide = LABELS + 8.4 * len(name)
        lines.append(f'<g><rect class="room" x="{x - wide / 2:.0f}" y="{y - BOX / 2:.0f}" width="{wide:.0f}" height="{BOX}"/>')
        imported = ", ".join(sorted(from_code[name])) or "no other room"
        lines.append(f'<text x="{x:.0f}" y="{y + 5}">{escape(name)}</text><title>{escape(name)} imports {escape(imported)}</title></g>')
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(), encoding="utf-8")
