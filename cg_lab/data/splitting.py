"""Which images are tested on, which are trained on, and which on neither: nothing that is tested is seen before."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Text = Any
"""Array of texts, (n,) of objects; an element of one is no array, which type checkers can't know."""
MatchLookAlikes = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]
"""Given numbers of training and of test rows, give each row's look-alike among the latter, or -1."""

TRAIN, TEST, SPARE, MOVED = "train", "test", "spare", "moved"
"""`spare` is kept for larger training sets; `moved` would have trained, but shows what is tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the rows of one source are split."""

    seed: int
    test_share: float
    """Of each subset's rarest label."""
    max_train: int
    """Of a subset."""
    max_test: int | None
    """Of a label."""
    keeps_own: bool
    """Whether the source's own test side is kept where it has one."""


@dataclass(slots=True, kw_only=True)
class Labelled:
    """Usable rows of all sources, in columns of one length."""

    subset: Text
    label: Text
    pixels: Text
    """Hash of what is seen."""
    group: Text
    """Empty where there is none."""
    side: Text
    """The source's own, or empty."""
    id: Text
    rules: Sequence[Rules]
    rule: NDArray[np.int16]
    """Number of each row's rules."""


@dataclass(slots=True, kw_only=True)
class Sides:
    """The side of each row, and why it was moved."""

    side: Text
    letter: NDArray[np.int16]
    """Where the right option stands, counted on: its rank among rows of its subset, side and label."""
    moved_by_group: Counter[str] = field(default_factory=Counter)
    """Rows by subset that share a patient or film with a test image."""
    moved_by_look: Counter[str] = field(default_factory=Counter)
    twins: dict[int, int] = field(default_factory=dict)
    """Test row that a moved row looks like."""


def split_rows(rows: Labelled, match: MatchLookAlikes | None) -> Sides:
    """Split rows.

    Whole units are split, a unit being all rows that share a patient, slide or film, over all subsets. Tests hold
    equally many rows of every label. What remains trains, up to the cap and as evenly over labels as rows allow,
    unless it shares a unit with a test row, or looks like one.

    Parameters
    ----------
    rows
        All usable rows.
    match
        Finds look-alikes; None lets them be.

    """
    units = _find_units(rows)
    by_subset: dict[str, NDArray[np.int64]] = _group(rows.subset)
    order = np.array(
        [
            _shuffle_key(f"row/{rows.rules[rule].seed}", name)
            for rule, name in zip(rows.rule.tolist(), rows.id, strict=True)
        ],
        np.uint64,
    )
    sides = Sides(side=np.full(len(rows.id), SPARE, object), letter=np.zeros(len(rows.id), np.int16))
    keys = _name_units(rows, units)
    may_train = np.ones(len(rows.id), bool)
    for subset in sorted(by_subset):
        members = by_subset[subset]
        rules = rows.rules[int(rows.rule[members[0]])]
        is_own = rules.keeps_own and bool((rows.side[members] == TEST).any())
        test = (
            _balance(members[rows.side[members] == TEST], rows.label, order, set(rows.label[members]), rules.max_test)
            if is_own
            else _draw_test(members, rows.label, units, keys, order, rules)
        )
        sides.side[test] = TEST
        if is_own:
            may_train[members[rows.side[members] != TRAIN]] = False
    test_rows = np.flatnonzero(sides.side == TEST)
    is_tested = np.zeros(units.max(initial=-1) + 1, bool)
    is_tested[units[test_rows]] = True
    may_train[test_rows] = False
    shares = may_train & is_tested[units]
    sides.side[shares] = MOVED
    sides.moved_by_group.update(rows.subset[shares])
    may_train &= ~shares
    if match is not None:
        candidates = np.flatnonzero(may_train)
        found = match(candidates, test_rows)
        alike = candidates[found[candidates] >= 0]
        sides.side[alike] = MOVED
        sides.moved_by_look.update(rows.subset[alike])
        sides.twins = {int(row): int(found[row]) for row in alike}
        may_train[alike] = False
    for members in by_subset.values():
        rules = rows.rules[int(rows.rule[members[0]])]
        train = members[may_train[members]]
        sides.side[_cap(train, rows.label, order, rules.max_train)] = TRAIN
    _deal_letters(rows, sides, order)
    return sides


def _find_units(rows: Labelled) -> NDArray[np.int32]:
    """Give numbers to what must not stand on both sides: rows joined by a group or by equal pixels, also in steps."""
    count = len(rows.id)
    if not count:
        return np.zeros(0, np.int32)
    films = pd.factorize(rows.pixels)[0]
    grouped = np.flatnonzero(rows.group != "")
    groups = pd.factorize(rows.group[grouped])[0] + int(films.max()) + 1
    size = int(groups.max(initial=int(films.max()))) + 1
    links = coo_array((np.ones(len(grouped), bool), (films[grouped], groups)), shape=(size, size))
    return connected_components(links, directed=False)[1][films]


def _name_units(rows: Labelled, units: NDArray[np.int32]) -> dict[int, str]:
    """Name each unit by its group, or by what it shows; never by where it lies."""
    names: dict[int, str] = {}
    for unit, group, pixels in zip(units.tolist(), rows.group, rows.pixels, strict=True):
        name = f"group {group}" if group else f"pixels {pixels}"
        if unit not in names or name < names[unit]:
            names[unit] = name
    return names


def _draw_test(
    members: NDArray[np.int64],
    labels: Text,
    units: NDArray[np.int32],
    names: dict[int, str],
    order: NDArray[np.uint64],
    rules: Rules,
) -> NDArray[np.int64]:
    """Take whole units until every label has its share of the rarest one, and balance what was taken."""
    counts = Counter(labels[members])
    quota = max(1, round(rules.test_share * min(counts.values())))
    if rules.max_test is not None:
        quota = min(quota, rules.max_test)
    by_unit: dict[int, list[int]] = defaultdict(list)
    for row in members[np.argsort(order[members], kind="stable")].tolist():
        by_unit[int(units[row])].append(row)
    taken: Counter[str] = Counter()
    test: list[int] = []
    for unit in sorted(by_unit, key=lambda unit: _shuffle_key(f"unit/{rules.seed}", names[unit])):
        for row in by_unit[unit]:
            if taken[labels[row]] < quota:
                taken[labels[row]] += 1
                test.append(row)
        if sum(taken.values()) == quota * len(counts):
            break
    return _balance(np.array(test, np.int64), labels, order, set(counts), rules.max_test)


def _balance(
    members: NDArray[np.int64], label: Text, order: NDArray[np.uint64], labels: set[str], most: int | None
) -> NDArray[np.int64]:
    """Keep equally many rows of every label, and `most` at most."""
    counts = Counter(label[members])
    fewest = min((counts[name] for name in labels), default=0)
    fewest = fewest if most is None else min(fewest, most)
    kept: Counter[str] = Counter()
    chosen: list[int] = []
    for row in members[np.argsort(order[members], kind="stable")].tolist():
        if kept[label[row]] < fewest:
            kept[label[row]] += 1
            chosen.append(row)
    return np.array(chosen, np.int64)


def _cap(members: NDArray[np.int64], label: Text, order: NDArray[np.uint64], most: int) -> NDArray[np.int64]:
    """Keep at most `most` rows, as evenly over labels as they allow."""
    if len(members) <= most:
        return members
    ranks: Counter[str] = Counter()
    ranked: list[tuple[int, int, int]] = []
    for row in members[np.argsort(order[members], kind="stable")].tolist():
        ranked.append((ranks[label[row]], int(order[row]), row))
        ranks[label[row]] += 1
    ranked.sort()
    return np.array([row for _, _, row in ranked[:most]], np.int64)


def _deal_letters(rows: Labelled, sides: Sides, order: NDArray[np.uint64]) -> None:
    """Count the rows of each subset, side and label, from a start of the label's own: letters come out balanced."""
    ranks: dict[tuple[str, str, str], int] = {}
    for row in np.argsort(order, kind="stable").tolist():
        key = (rows.subset[row], sides.side[row], rows.label[row])
        if key not in ranks:
            ranks[key] = _shuffle_key(f"letter/{rows.rules[int(rows.rule[row])].seed}", "/".join(key)) % 1024
        sides.letter[row] = ranks[key]
        ranks[key] = (ranks[key] + 1) % 27720  # a multiple of every number of options up to 12


def _group(values: Text) -> dict[str, NDArray[np.int64]]:
    codes, names = pd.factorize(values, sort=True)
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(names)))
    return dict(zip(names.tolist(), np.split(order, ends[:-1]), strict=True)) if len(values) else {}


def _shuffle_key(seed: str, name: str) -> int:
    """Draw a number of 64 bits from a seed and a name alone."""
    return int.from_bytes(blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "big")
