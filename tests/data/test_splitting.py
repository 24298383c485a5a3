"""Who trains, who is tested, who does neither: rows given by hand, and properties of any rows."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from cg_lab.data.splitting import MOVED, SPARE, TEST, TRAIN, Labelled, MatchLookAlikes, Rules, Sides, split_rows

RULES = Rules(seed=0, test_share=0.25, max_train=1000, max_test=None, keeps_own=False)


def objects(values: list[str]) -> NDArray[np.object_]:
    column = np.empty(len(values), object)
    column[:] = values
    return column


def lay_out(rows: list[tuple[str, str, str, str, str]], *rules: Rules, rule: list[int] | None = None) -> Labelled:
    """Make columns of rows that say subset, label, pixels, group and the source's own side."""
    subset, label, pixels, group, side = (objects(list(column)) for column in zip(*rows, strict=True))
    return Labelled(
        subset=subset, label=label, pixels=pixels, group=group, side=side,
        id=objects([f"id-{n}" for n in range(len(rows))]), rules=rules or (RULES,),
        rule=np.array(rule or [0] * len(rows), np.int16),
    )  # fmt: skip


def make(counts: dict[str, int], subset: str = "s", own: dict[str, str] | None = None) -> list[tuple[str, ...]]:
    return [
        (subset, label, f"{subset}-{label}-{number}", "", (own or {}).get(label, ""))
        for label, count in counts.items()
        for number in range(count)
    ]


def count(rows: Labelled, sides: Sides, side: str, subset: str = "s") -> dict[str, int]:
    return dict(Counter(rows.label[(rows.subset == subset) & (sides.side == side)].tolist()))


def split(rows: list[tuple[str, ...]], *rules: Rules, match: MatchLookAlikes | None = None) -> tuple[Labelled, Sides]:
    laid = lay_out(rows, *rules)  # type: ignore[arg-type]
    return laid, split_rows(laid, match)


def change(**parts: object) -> Rules:
    from dataclasses import replace

    return replace(RULES, **parts)  # type: ignore[arg-type]


def test_every_label_is_tested_with_its_share_of_the_rarest_and_the_rest_trains() -> None:
    rows, sides = split(make({"cyst": 20, "mass": 60}))
    assert count(rows, sides, TEST) == {"cyst": 5, "mass": 5}
    assert count(rows, sides, TRAIN) == {"cyst": 15, "mass": 55}
    assert not {SPARE, MOVED} & set(sides.side)


def test_one_of_each_label_is_tested_however_small_the_share() -> None:
    rows, sides = split(make({"cyst": 3, "mass": 4}), change(test_share=0.01))
    assert count(rows, sides, TEST) == {"cyst": 1, "mass": 1}


def test_tests_and_training_sets_are_capped_and_what_is_over_is_kept_aside() -> None:
    rows, sides = split(make({"cyst": 40, "mass": 80}), change(max_test=3, max_train=21))
    assert count(rows, sides, TEST) == {"cyst": 3, "mass": 3}
    assert sorted(count(rows, sides, TRAIN).values()) == [10, 11]
    assert count(rows, sides, SPARE) == {
        label: total - 3 - count(rows, sides, TRAIN)[label] for label, total in (("cyst", 40), ("mass", 80))
    }


def test_a_label_that_has_few_trains_with_all_and_others_make_up_for_it() -> None:
    rows, sides = split(make({"cyst": 8, "mass": 80}), change(max_train=30))
    assert count(rows, sides, TRAIN) == {"cyst": 6, "mass": 24}


def test_larger_caps_add_rows_and_take_none_away() -> None:
    few, more = (split(make({"cyst": 40, "mass": 80}), change(max_train=most))[1] for most in (20, 50))
    assert set(np.flatnonzero(few.side == TRAIN)) < set(np.flatnonzero(more.side == TRAIN))
    assert (few.side == TEST).tolist() == (more.side == TEST).tolist()


def test_a_patient_with_a_test_image_trains_in_no_subset() -> None:
    """Patients have three images in one subset and one in the other; of the three, the last may be one too many."""
    patients = [
        ("a" if n % 4 else "b", ("cyst", "mass")[n // 4 % 2], f"p{n}", f"patient-{n // 4}", "") for n in range(128)
    ]
    rows, sides = split(patients, change(test_share=0.1))
    tested = set(rows.group[sides.side == TEST])
    assert tested
    assert not tested & set(rows.group[sides.side == TRAIN])
    moved = sides.side == MOVED
    assert set(rows.group[moved]) <= tested
    assert sides.moved_by_group == Counter(rows.subset[moved].tolist())
    assert sides.moved_by_group.total() == moved.sum() > 0
    assert not sides.moved_by_look
    for subset in "ab":
        assert len(set(count(rows, sides, TEST, subset).values())) == 1


def test_one_film_under_two_names_never_trains_and_tests() -> None:
    films = [("a", "cyst" if n % 2 else "mass", f"film-{n}", "", "") for n in range(40)]
    films += [("b", "left" if n % 3 else "right", f"film-{n}", "", "") for n in range(40)]
    rows, sides = split(films)
    assert not set(rows.pixels[sides.side == TEST]) & set(rows.pixels[sides.side == TRAIN])


def test_rows_that_are_joined_in_steps_stand_together() -> None:
    """Patient 1 has film x, patient 2 has films x and y, film y is also without a patient."""
    chain = [
        ("a", "cyst", "x", "1", ""),
        ("a", "mass", "x", "2", ""),
        ("b", "cyst", "y", "2", ""),
        ("b", "mass", "y", "", ""),
    ]
    for seed in range(12):
        others = [
            (s, label, f"{s}{label}{n}", f"o{s}{label}{n}", "")
            for s in "ab"
            for label in ("cyst", "mass")
            for n in range(6)
        ]
        _, sides = split([*chain, *others], change(seed=seed))
        assert len({TRAIN, TEST} & set(sides.side[:4])) == 1, seed


def test_the_sources_own_test_side_is_kept_balanced_and_only_its_training_side_trains() -> None:
    rows = [
        *(("s", label, f"{label}{n}", "", "train") for label in ("cyst", "mass") for n in range(10)),
        *(("s", "cyst", f"c{n}", "", "test") for n in range(7)),
        *(("s", "mass", f"m{n}", "", "test") for n in range(4)),
        *(("s", "mass", f"v{n}", "", "val") for n in range(5)),
    ]
    keeps = change(keeps_own=True)
    laid, sides = split(rows, keeps)
    assert count(laid, sides, TEST) == {"cyst": 4, "mass": 4}
    assert set(laid.side[sides.side == TEST]) == {"test"}
    assert count(laid, sides, TRAIN) == {"cyst": 10, "mass": 10}
    assert Counter(laid.side[sides.side == SPARE]) == {"test": 3, "val": 5}
    assert count(laid, split(rows, change(keeps_own=True, max_test=2))[1], TEST) == {"cyst": 2, "mass": 2}
    drawn = split(rows)[1]
    assert {"train", "val"} & set(laid.side[drawn.side == TEST])
    assert SPARE not in drawn.side


def test_a_label_that_the_own_test_side_lacks_leaves_no_test() -> None:
    rows = [
        *make({"cyst": 4, "mass": 4}, own={"cyst": "train", "mass": "train"}),
        *make({"node": 4}, own={"node": "test"}),
    ]
    laid, sides = split(rows, change(keeps_own=True))
    assert count(laid, sides, TEST) == {}


def test_subsets_go_by_the_rules_of_their_own_source() -> None:
    rows = [*make({"cyst": 40, "mass": 40}, "a"), *make({"cyst": 40, "mass": 40}, "b")]
    laid = lay_out(rows, RULES, change(max_test=2, max_train=6), rule=[0] * 80 + [1] * 80)  # type: ignore[arg-type]
    sides = split_rows(laid, None)
    assert [count(laid, sides, TEST, name) for name in "ab"] == [{"cyst": 10, "mass": 10}, {"cyst": 2, "mass": 2}]
    assert [sum(count(laid, sides, TRAIN, name).values()) for name in "ab"] == [60, 6]


def test_a_look_alike_of_a_test_row_is_moved_and_its_twin_is_told() -> None:
    asked: list[tuple[list[int], list[int]]] = []
    rows = [*make({"cyst": 8, "mass": 8}, "a"), *make({"left": 8, "right": 8}, "b")]

    def match(candidates: NDArray[np.int64], tested: NDArray[np.int64]) -> NDArray[np.int64]:
        asked.append((candidates.tolist(), tested.tolist()))
        found = np.full(len(rows), -1, np.int64)
        found[candidates[0]] = tested[0]
        found[candidates[5]] = tested[1]
        found[tested] = 0  # what is tested stays
        return found

    laid, sides = split(rows, match=match)
    ((candidates, tested),) = asked
    assert tested == np.flatnonzero(sides.side == TEST).tolist()
    assert sorted([*candidates, *tested]) == list(range(32))
    moved = np.flatnonzero(sides.side == MOVED).tolist()
    assert moved == [candidates[0], candidates[5]]
    assert sides.twins == {candidates[0]: tested[0], candidates[5]: tested[1]}
    assert sides.moved_by_look == Counter(laid.subset[moved].tolist())
    assert not sides.moved_by_group
    assert split(rows)[1].twins == {}


def draw_key(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def test_units_are_taken_in_an_order_drawn_from_the_seed_and_their_pixels() -> None:
    rows, sides = split(make({"cyst": 20, "mass": 20}), change(seed=3))
    for label in ("cyst", "mass"):
        films = sorted(rows.pixels[rows.label == label], key=lambda film: draw_key(f"unit/3/pixels {film}"))
        assert set(rows.pixels[(rows.label == label) & (sides.side == TEST)]) == set(films[:5])


def test_patients_are_taken_in_an_order_drawn_from_their_names_however_their_images_are_stored() -> None:
    rows = [("s", "cyst" if n % 2 else "mass", f"p{n}", f"g{n // 2}", "") for n in range(40)]
    laid, sides = split(rows, change(seed=3))
    groups = sorted(set(laid.group), key=lambda group: draw_key(f"unit/3/group {group}"))
    assert set(laid.group[sides.side == TEST]) == set(groups[:5])
    again = split(
        [(subset, label, f"{pixels}.jpg", group, own) for subset, label, pixels, group, own in rows], change(seed=3)
    )
    assert again[1].side.tolist() == sides.side.tolist()


def test_rows_of_the_own_test_side_are_kept_in_an_order_drawn_from_the_seed_and_their_ids() -> None:
    rows = make({"cyst": 20, "mass": 20}, own={"cyst": "test", "mass": "test"})
    laid, sides = split(rows, change(seed=3, keeps_own=True, max_test=4))
    for label in ("cyst", "mass"):
        names = sorted(laid.id[laid.label == label], key=lambda name: draw_key(f"row/3/{name}"))
        assert set(laid.id[(laid.label == label) & (sides.side == TEST)]) == set(names[:4])


def test_a_source_without_sides_is_drawn_also_where_own_sides_are_kept() -> None:
    rows, sides = split(make({"cyst": 20, "mass": 20}), change(keeps_own=True))
    assert count(rows, sides, TEST) == {"cyst": 5, "mass": 5}
    assert count(rows, sides, TRAIN) == {"cyst": 15, "mass": 15}


def test_nothing_trains_where_nothing_may() -> None:
    assert TRAIN not in split(make({"cyst": 20, "mass": 20}), change(max_train=0))[1].side


def test_the_order_of_rows_changes_nothing() -> None:
    rows = [("s", "cyst" if n % 3 else "mass", f"p{n}", f"g{n // 2}" if n % 4 else "", "") for n in range(60)]
    laid, sides = split(rows, change(max_train=20))
    turned = np.random.default_rng(0).permutation(60)
    mixed = Labelled(
        **{name: getattr(laid, name)[turned] for name in ("subset", "label", "pixels", "group", "side", "id", "rule")},
        rules=laid.rules,
    )
    again = split_rows(mixed, None)
    assert again.side.tolist() == sides.side[turned].tolist()
    assert again.letter.tolist() == sides.letter[turned].tolist()


def test_seeds_split_apart() -> None:
    sides = [split(make({"cyst": 20, "mass": 20}), change(seed=seed))[1] for seed in (0, 0, 1)]
    assert sides[0].side.tolist() == sides[1].side.tolist() != sides[2].side.tolist()
    assert sides[0].letter.tolist() == sides[1].letter.tolist() != sides[2].letter.tolist()


def test_letters_count_on_within_each_subset_side_and_label() -> None:
    rows, sides = split(
        [*make({"cyst": 30, "mass": 41}, "a"), *make({"cyst": 30, "mass": 30}, "b")], change(max_train=23)
    )
    starts: list[int] = []
    for subset in "ab":
        for side in (TRAIN, TEST, SPARE):
            for label in ("cyst", "mass"):
                letters = sorted(
                    sides.letter[(rows.subset == subset) & (sides.side == side) & (rows.label == label)].tolist()
                )
                assert letters == list(range(letters[0], letters[0] + len(letters)))
                text = f"letter/0/{subset}/{side}/{label}"
                start = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") % 1024
                assert letters[0] == start
                starts.append(start)
    assert len(set(starts)) == 12


def test_letters_begin_anew_where_every_number_of_options_ends() -> None:
    _, sides = split(make({"cyst": 28_000}), change(max_train=100_000, test_share=0.0001))
    letters = sides.letter[sides.side == TRAIN]
    assert letters.min() == 0
    assert letters.max() == 27_719
    assert np.lcm.reduce(range(1, 13)) == 27_720


def test_no_rows_make_no_sides() -> None:
    empty = objects([])
    laid = Labelled(
        subset=empty, label=empty, pixels=empty, group=empty, side=empty, id=empty, rules=(), rule=np.zeros(0, np.int16)
    )
    assert split_rows(laid, None).side.tolist() == []


ROWS = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.sampled_from(["cyst", "mass"]), st.sampled_from([f"film-{n}" for n in range(30)]),
        st.sampled_from(["", *(f"patient-{n}" for n in range(15))]), st.sampled_from(["", "train", "test"]),
    ),
    min_size=1, max_size=40,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, keeps_own=st.booleans(), seed=st.integers(0, 3))
def test_nothing_that_is_tested_is_seen_before(rows: list[tuple[str, ...]], keeps_own: bool, seed: int) -> None:
    laid, sides = split(rows, change(keeps_own=keeps_own, seed=seed))
    trains, tests = sides.side == TRAIN, sides.side == TEST
    for column in (laid.pixels, laid.group):
        assert not (set(column[trains]) & set(column[tests])) - {""}
    for subset in set(laid.subset):
        assert len(set(count(laid, sides, TEST, subset).values())) <= 1


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_whole_patients_are_taken_until_the_share_is_full(share: float) -> None:
    rows = [("s", "cyst" if n % 2 else "mass", f"p{n}", f"g{n // 4}", "") for n in range(80)]
    laid, sides = split(rows, change(test_share=share))
    assert count(laid, sides, TEST) == dict.fromkeys(("cyst", "mass"), round(share * 40))
    # Patients that were begun when the share was full have rows that do neither.
    assert (sides.side == MOVED).sum() < 4
