"""The gallery of a comparison: the images on which runs differ most, with every run's prediction and where two disagree."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

from seg.compare.layers import INSTANCES, PIXELS, compared_layers
from seg.compare.page_data import ComparedImage, Comparison, signed
from seg.data.sample import Color
from seg.pictures.draw import IGNORED_GRAY
from seg.report.gallery import classes_in, names_of_colors
from seg.report.gallery_code import layer_style
from seg.report.gallery_frame import (
    IMAGE,
    NAMED,
    TRUTH,
    Gallery,
    Layer,
    bytes_of_an_entry,
    card,
    color_key,
    gallery_html,
    items,
    keys_hint,
    legend,
    select,
    stack,
)
from seg.report.html import class_name
from seg.report.page_data import Outlines

APART = Layer("apart", "Disagreement", "disagreement", "errors")


def layers_of_runs(runs: Sequence[str]) -> list[Layer]:
    """A layer for each run's prediction."""
    return [Layer(f"run{place}", name, name) for place, name in enumerate(runs)]


def gallery_style(runs: Sequence[str]) -> str:
    """The rules of the layers that a gallery of an evaluation has not."""
    return layer_style([*(layer.key for layer in layers_of_runs(runs)), APART.key], APART.key, APART.key)


def compared_gallery(comparison: Comparison) -> str:
    """Each entry of the gallery is asked for once, and let go before the next."""
    layers = [IMAGE, TRUTH, *layers_of_runs(comparison.runs), APART]
    most = bytes_of_an_entry(len(comparison.gallery))
    cards, present, pairs, kinds = [], Counter[int](), Counter[int](), Counter[str]()
    outlined = False
    for index in range(len(comparison.gallery)):
        entry = comparison.gallery[index]
        outlined = isinstance(entry.truth, Outlines)
        classes = classes_in(entry.truth, *entry.predicted)
        present.update(classes)
        pairs[entry.other] += 1
        kinds[_kind(entry)] += 1
        cards.append(_card(comparison, entry, layers, classes, most))
    first = comparison.runs[0]
    words = {"gain": f"better than {first}", "loss": f"worse than {first}"}
    selects = (
        select("other", "of the run", {str(k): (comparison.runs[k], n) for k, n in sorted(pairs.items())}) if len(pairs) > 1 else "",
        select("kind", "images", {kind: (word, kinds[kind]) for kind, word in words.items() if kinds[kind]}),
        select("classes", "with the class", {str(c): (comparison.classes[c].name, n) for c, n in sorted(present.items())}),
    )
    above = _intro(comparison, layers, outlined) + _legend(comparison, sorted(present), outlined)
    return gallery_html(Gallery(layers, APART.key, above, selects, cards, _names(comparison, sorted(present), outlined), outlined))


def _kind(entry: ComparedImage) -> str:
    return "gain" if entry.scores.difference(entry.other) > 0 else "loss"


def _intro(comparison: Comparison, layers: Sequence[Layer], outlined: bool) -> str:
    first, name = escape(comparison.runs[0]), escape(comparison.score_name)
    run = escape(comparison.runs[1]) if len(comparison.runs) == 2 else "each further run"
    shares = "" if outlined else " Percentages beside an image are shares of the pixels that count."
    return f"<p>The images in which the {name} of {run} is farthest above and below that of {first}.{shares} {keys_hint(layers)}</p>"


def _card(comparison: Comparison, entry: ComparedImage, layers: Sequence[Layer], classes: Sequence[int], most: int) -> str:
    image, *maps = compared_layers(entry, comparison.classes, most)
    image_id, apart = entry.scores.image_id, entry.scores.difference(entry.other)
    pictures = stack(image, list(zip(layers[1:], maps, strict=True)), image_id, (entry.image.shape[0], entry.image.shape[1]))
    scores = [f"{escape(run)} {score:.4g}" for run, score in zip(comparison.runs, entry.scores.scores, strict=True)]
    lists = (
        items("facts", scores),
        items("facts", [f"{escape(kind)}: {escape(text)}" for kind, text in entry.kinds.items()]),
        items("facts", [class_name(comparison.classes[c].name, comparison.classes[c].color) for c in classes], NAMED),
    )
    why = f"{comparison.runs[entry.other]} {'better' if apart > 0 else 'worse'}: {signed(apart)}"
    return card({"kind": [_kind(entry)], "classes": classes, "other": [entry.other]}, pictures, why, image_id, lists)


def words_of(first: str, other: str, outlined: bool) -> dict[str, Color]:
    """What a disagreement is called, and its colour."""
    if outlined:
        texts = (f"found by {first} alone", f"found by {other} alone", f"made up by {first} alone", f"made up by {other} alone")
        return dict(zip(texts, INSTANCES.values(), strict=True))
    ways = (f"right in {first} alone", f"right in {other} alone", "both wrong, but not alike")
    return dict(zip(ways, PIXELS.values(), strict=True))


def _words(comparison: Comparison, outlined: bool) -> dict[str, Color]:
    """For all pairs of runs together."""
    other = comparison.runs[1] if len(comparison.runs) == 2 else "the run that is compared"
    return words_of(comparison.runs[0], other, outlined)


def _legend(comparison: Comparison, present: Sequence[int], outlined: bool) -> str:
    of_classes = [class_name(comparison.classes[c].name, comparison.classes[c].color) for c in present]
    words = [class_name(word, color) for word, color in _words(comparison, outlined).items()]
    if outlined:
        text = (
            "Truth and predictions outline each object in the colour of its class; the disagreement outlines what one of two runs alone"
            " found, and the predictions of one alone that match nothing."
        )
        of_classes.append(class_name("hatched: a crowd, which is not counted", (IGNORED_GRAY,) * 3))
    else:
        text = (
            "Truth and predictions lay each class over the image in its colour; the disagreement shows the pixels in which two runs differ."
        )
        words.append(class_name("ignored", (255, 255, 255)))
    return legend(text, of_classes, items("facts", words))


def _names(comparison: Comparison, present: Sequence[int], outlined: bool) -> Mapping[str, Mapping[str, str]]:
    errors = {color_key(color): word for word, color in _words(comparison, outlined).items()}
    classes = names_of_colors(comparison.classes, present)
    if outlined:
        return {"classes": classes | {color_key((IGNORED_GRAY,) * 3): "ignored"}, "errors": errors}
    return {"classes": classes, "errors": errors | {color_key((255, 255, 255)): "ignored"}}
