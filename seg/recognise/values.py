"""What the values or colours of label images mean: the classes, the labels that count nowhere, and how masks are read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seg.data.sample import BACKGROUND, IGNORE, Color, Label
from seg.recognise.guess import Guess, color, entry, is_background, is_void
from seg.recognise.listing import Listing
from seg.recognise.looks import CLEAR, Look, color_of
from seg.recognise.names import Names, names_for

MAX_VALUE = 200  # of a class, as COCO's ids have it, beside which 255 is void
MAX_CLASSES = 64  # values or colours that are listed, of more the commonest
HALF = 128  # gray value from which on a mask with soft edges is white
VOID_COLORS = ((224, 224, 192),)  # of PASCAL VOC's borders
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Counts:
    """pixels: of each value or colour, over all label images that were opened. together: for each image, what occurs in it."""

    pixels: Counter[Label]
    together: Sequence[frozenset[Label]]
    kinds: frozenset[str]
    palettes: Sequence[Mapping[int, Color]]
    clear: bool


def soft(guess: Guess, looks: Sequence[Look]) -> None:
    """Black and white masks with values in between, and JPEGs of such masks."""
    lossy = any(one.lossy for one in looks)
    guess.why.append("the label images are black and white with values in between, as JPEG and scaled masks are")
    guess.doubts.append(f"a mask's pixels are white from {HALF} on, else black (source.threshold){': JPEG changed them' if lossy else ''}")
    _black_and_white(guess)


def semantic(guess: Guess, counts: Counts, listing: Listing) -> None:
    by_index = counts.kinds == {"palette"} and _by_index(counts.palettes)
    if counts.kinds == {"gray"} or by_index:
        _gray(guess, counts, listing, by_index)
    else:
        _colors(guess, _as_colors(counts), counts, listing)


def _by_index(palettes: Sequence[Mapping[int, Color]]) -> bool:
    """Whether indices are meant: two of them have one colour, or all are grays."""
    repeated = any(len(set(one.values())) < len(one) for one in palettes)
    return repeated or all(r == g == b for one in palettes for r, g, b in one.values())


def _as_colors(counts: Counts) -> Counter[Color]:
    """Colours of all label images: indices by their palettes, grays as colours."""
    found: Counter[Color] = Counter()
    known = {index: shown for palette in counts.palettes for index, shown in palette.items()}
    for label, n in counts.pixels.items():
        if isinstance(label, tuple):
            found[label] += n
        elif label in known and counts.kinds == {"palette"}:
            found[known[int(label)]] += n
        else:
            found[(int(label),) * 3] += n
    return found


def _gray(guess: Guess, counts: Counts, listing: Listing, by_index: bool) -> None:
    pixels = {value: n for value, n in counts.pixels.items() if isinstance(value, int)}
    values, palettes = sorted(pixels), counts.palettes
    shown = ", ".join(map(str, values[:12])) + (", ..." if len(values) > 12 else "")
    what = "palette images, read by index," if by_index else "gray"
    guess.why.append(f"the label images are {what} with the values {shown}")
    guess.source["labels"] = "palette" if by_index else "index"
    one_bit = values == [0, 1, IGNORE] and not any({1, IGNORE} <= one for one in counts.together)
    ignore = [IGNORE] if values[-1] == IGNORE and len(values) > 2 and values[-2] <= MAX_VALUE and not one_bit else []
    plain = [value for value in values if value not in ignore]
    names = names_for(listing, plain)
    if names and names.values:
        ignore += _named(guess, names, plain)
    elif one_bit or len(plain) == 2:
        low, high = plain[0], plain[1:]
        guess.classes = _two([low] if plain != [0, 1] else [], high if plain != [0, 1] else [])
        _polarity(guess, low, *high)
    else:
        if len(plain) > MAX_CLASSES:
            guess.doubts.append(_many("values", len(plain), pixels))
            plain = sorted(sorted(plain, key=lambda value: -pixels[value])[:MAX_CLASSES])
        gaps = plain != list(range(len(plain)))
        shades = palettes[0] if palettes and len(set(palettes[0].values())) == len(palettes[0]) else {}
        guess.classes = [entry(f"class{v}", shades.get(v) or color(k + 1), [v] if gaps else ()) for k, v in enumerate(plain)]
        if 0 in plain:
            guess.doubts.append("0 is read as a class: where it stands for what nobody labelled, move it to source.ignore")
        guess.doubts.append("no file names the classes: give each its name")
    guess.source["ignore"] = ignore
    if ignore:
        guess.doubts.append(f"the values {ignore} are ignored: neither learned from nor counted")


def _named(guess: Guess, names: Names, plain: Sequence[int]) -> list[int]:
    """Set the classes to those that a file names; the values that it calls void."""
    guess.why.append(f"{names.file} names the values")
    void = [value for value, name in names.values.items() if is_void(name)]
    classes = [(value, name) for value, name in sorted(names.values.items()) if value not in void]
    gaps = [value for value, _ in classes] != list(range(len(classes)))
    taken = dict(zip(names.values.values(), names.colors, strict=True)) if len(names.colors) == len(names.values) else {}
    guess.classes = [
        entry(BACKGROUND if is_background(n) else n, BLACK if is_background(n) else taken.get(n) or color(max(v, k)), [v] if gaps else ())
        for k, (v, n) in enumerate(classes)
    ]
    return void


def _colors(guess: Guess, pixels: Counter[Color], counts: Counts, listing: Listing) -> None:
    what = "palette images, read by colour" if counts.kinds == {"palette"} else "colour images"
    if len(counts.kinds) > 1 and set(pixels) <= {BLACK, WHITE, (1, 1, 1)}:
        guess.why.append(f"the label images are black and white, of several kinds ({', '.join(sorted(counts.kinds))})")
        _black_and_white(guess)
        return
    guess.why.append(f"the label images are {what}, with {len(pixels)} colours")
    guess.source["labels"] = "color"
    ignore = [list(c) for c in VOID_COLORS if c in pixels]
    left = sorted((c for c in pixels if list(c) not in ignore), key=lambda c: (c != BLACK, -pixels[c]))
    if len(left) > MAX_CLASSES:
        guess.doubts.append(_many("colours", len(left), pixels))
        left = left[:MAX_CLASSES]
    names = names_for(listing, left)
    if color_of(CLEAR) in left:
        _transparent(guess, left)
    elif names:
        guess.why.append(f"{names.file} names the colours" + (", in the order of PASCAL VOC's map" if names.values else ""))
        ignore += [list(c) for c, name in names.colors.items() if is_void(name)]
        named = sorted(names.colors.items(), key=lambda item: not is_background(item[1]))
        guess.classes = [entry(BACKGROUND if is_background(n) else n, c) for c, n in named if not is_void(n)]
    elif all(green == blue == 0 for _, green, blue in left):
        guess.classes = [entry(f"class{red}", color(k), [[red, 0, 0]]) for k, (red, _, _) in enumerate(sorted(left))]
        guess.doubts.append("the values are in red alone, green and blue are 0; no file names the classes: give each its name")
    else:
        guess.classes = [entry(BACKGROUND if c == BLACK else f"class{k}", c) for k, c in enumerate(left)]
        guess.doubts.append("no file names the colours: give each class its name")
    guess.source["ignore"] = ignore
    if ignore:
        guess.doubts.append(f"the colours {ignore} are ignored: neither learned from nor counted")


def _transparent(guess: Guess, left: Sequence[Color]) -> None:
    """What is transparent is the background: black, or where black is drawn, too, a colour that nothing has."""
    shown = color_of(CLEAR) if BLACK in left else BLACK
    drawn = [c for c in left if c != color_of(CLEAR)]
    guess.source["transparent"] = list(shown)
    named = [entry("foreground", drawn[0])] if len(drawn) == 1 else [entry(f"class{k}", c) for k, c in enumerate(drawn, start=1)]
    guess.classes = [entry(BACKGROUND, shown), *named]
    guess.doubts.append("transparent pixels of the label images are read as the background, whatever colour they hide (source.transparent)")


def _black_and_white(guess: Guess) -> None:
    guess.source |= {"labels": "index", "ignore": [], "threshold": HALF}
    guess.classes = _two([0], [IGNORE])
    _polarity(guess, 0, IGNORE)


def _two(low: Sequence[int], high: Sequence[int]) -> list[dict[str, Any]]:
    return [entry(BACKGROUND, BLACK, low), entry("foreground", WHITE, high)]


def _polarity(guess: Guess, low: int, *high: int) -> None:
    shown = " and ".join(map(str, high))
    guess.doubts.append(f"{low} is taken for the background and {shown} for what is looked for; turn them round if it is the other way")


def _many(what: str, count: int, pixels: Mapping[Any, int]) -> str:
    """What to say of more values or colours than classes have; pixels: the number of each."""
    most = sum(sorted(pixels.values())[-MAX_CLASSES:]) / sum(pixels.values())
    return f"{count} {what} are many: soft borders, or ids of instances? the {MAX_CLASSES} commonest are listed, {most:.1%} of the pixels"
