"""Greedy iterative stratification (Sechidis et al. 2011) as it is defined, image by image, however long it takes."""

from collections.abc import Mapping, Sequence

import numpy as np


def greedy(groups: Sequence[str], presence: np.ndarray | None, shares: Mapping[str, float], seed: int) -> list[str]:
    """The part of each image: as `seg.sources.splits.deal`, of which this is the definition."""
    names = sorted(set(groups))
    members = {name: [i for i, group in enumerate(groups) if group == name] for name in names}
    kinds = 0 if presence is None else presence.shape[1]
    amounts = [[len(members[n]), *(sum(bool(presence[i, k]) for i in members[n]) for k in range(kinds))] for n in names]
    wanted = [[share * sum(a[column] for a in amounts) for column in range(1 + kinds)] for share in shares.values()]
    left = sorted(np.random.default_rng(seed).permutation(len(names)).tolist(), key=lambda g: -amounts[g][0])
    chosen: dict[int, int] = {}
    while left:
        remaining = [sum(amounts[g][column] for g in left) for column in range(1 + kinds)]
        column = min((c for c in range(1, 1 + kinds) if remaining[c]), key=lambda c: remaining[c], default=0)
        for group in [g for g in left if amounts[g][column]]:
            place = max(range(len(shares)), key=lambda p: (wanted[p][column], wanted[p][0]))
            wanted[place] = [w - a for w, a in zip(wanted[place], amounts[group], strict=True)]
            chosen[group] = place
            left.remove(group)
    for place in range(len(shares)):
        counts = [sum(p == part for p in chosen.values()) for part in range(len(shares))]
        if not counts[place]:
            fullest = counts.index(max(counts))
            chosen[min((g for g in sorted(chosen) if chosen[g] == fullest), key=lambda g: amounts[g][0])] = place
    return [list(shares)[chosen[names.index(group)]] for group in groups]
