"""What the designs promise beyond being valid."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations, product

import pytest
from hypothesis import given, settings, strategies as st

from cg_lab.arms import Arm
from cg_lab.errors import UserError
from cg_lab.mat import Kind
from cg_lab.planning.designs import list_designs, load_design
from cg_lab.planning.diverging import measure_divergence, split_by_divergence
from cg_lab.planning.folding import fold
from cg_lab.planning.graph import MatGraph, find_tied
from cg_lab.planning.plan import Plan
from tests.planning.cases import DEFAULTS, STUDY, cube, make_catalog, make_subset, plan_one, with_design

FACTORS = ("modality", "area", "task")


def make_graph(cells: list[tuple[str, ...]], factors: tuple[str, ...] = FACTORS) -> MatGraph:
    subsets = tuple(sorted((make_subset(cell) for cell in cells), key=lambda subset: subset.name))
    return MatGraph(subsets, factors)


def test_every_design_has_its_settings_its_source_and_its_choice_in_conf() -> None:
    from cg_lab.config.folder import list_choices

    assert set(list_designs()) == set(DEFAULTS) == set(list_choices()["design"])
    for name in list_designs():
        module = load_design(name)
        source = f"{module.__doc__} {module.find.__doc__}"
        assert any(word in source for word in ("arXiv", "arxiv", "2511.11034")), name
        assert ">>>" in (module.find.__doc__ or ""), name


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(list(product("ABCD", "WXYZ", "KLM"))), min_size=4, max_size=30, unique=True))
def test_folds_hold_every_coverable_triplet_out_once_with_its_elements_shown(cells: list[tuple[str, str, str]]) -> None:
    graph = make_graph(cells)
    folding = fold(graph, None)
    if folding is None:
        return
    held_out = [name for names in folding.folds for name in names]
    assert sorted([*held_out, *folding.always_trained]) == sorted(graph.index)
    sizes = [len(names) for names in folding.folds]
    assert max(sizes) - min(sizes) <= 1
    for names in folding.folds:
        rest = [subset for subset in graph.subsets if subset.name not in names]
        for name in names:
            for place, value in enumerate(graph[name].own):
                assert any(value == other.own[place] for other in rest)
    for name in folding.always_trained:
        others = [subset for subset in graph.subsets if subset.name != name]
        assert any(all(value != other.own[place] for other in others) for place, value in enumerate(graph[name].own))


def brute_force_folds(graph: MatGraph) -> int:
    """The fewest balanced folds, by trying every partition of a few subsets."""
    names = list(graph.index)
    for count in range(2, len(names) + 1):
        for colours in product(range(count), repeat=len(names)):
            sizes = Counter(colours)
            if len(sizes) < count or max(sizes.values()) - min(sizes.values()) > 1:
                continue
            if all(
                any(
                    colours[other] != colours[number] and graph[names[other]].own[place] == value
                    for other in range(len(names))
                )
                for number, name in enumerate(names)
                for place, value in enumerate(graph[name].own)
            ):
                return count
    return 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(list(product("AB", "XY", "KL"))), min_size=4, max_size=6, unique=True))
def test_the_smallest_feasible_number_of_folds_is_the_smallest(cells: list[tuple[str, str, str]]) -> None:
    graph = make_graph(cells)
    folding = fold(graph, None)
    if folding is not None and not folding.always_trained:
        assert folding.smallest == brute_force_folds(graph)


def test_more_folds_than_needed_can_be_asked_for_and_fewer_are_refused() -> None:
    plan = plan_one(with_design("folds", folds=3), cube())
    assert {contrast.direction for contrast in plan.contrasts} == {f"fold {number} of 3" for number in (1, 2, 3)}
    # Three pairs of subsets, each the only ones with their element: an odd cycle, which two folds can't split.
    odd = make_graph([("A", "X"), ("A", "Y"), ("B", "Y"), ("B", "Z"), ("C", "Z"), ("C", "X")], ("one", "two"))
    assert fold(odd, None) is not None
    triangle = make_graph([("A", "X", "K"), ("A", "Y", "L"), ("B", "X", "L"), ("B", "Y", "K")])
    folding = fold(triangle, None)
    assert folding is None or folding.smallest >= 2


def test_k_fine_tunes_test_every_triplet() -> None:
    study = replace(with_design("folds"), arms=(Arm.ZERO_SHOT, Arm.RELATED), seeds=(0,))
    plan = plan_one(study, cube())
    assert len(plan.finetunes) == 2
    assert len({contrast.target for contrast in plan.contrasts}) == 27


def test_divergence_agrees_with_its_formula_and_comes_near_what_is_asked() -> None:
    first, second = Counter({"a": 3, "b": 1}), Counter({"a": 1, "c": 1})
    by_hand = 1 - (3 / 4) ** 0.1 * (1 / 2) ** 0.9
    assert measure_divergence(first, second, 0.1) == pytest.approx(by_hand)  # type: ignore[arg-type]
    graph = make_graph(list(product("ABCD", "WXYZ", "KLMN")))
    for asked in (0.0, 0.3):
        split = split_by_divergence(graph, asked, 0.2, seed=0)
        assert split.compound == pytest.approx(asked, abs=0.1)
        assert split.atom < 0.05
        train = [subset for subset in graph.subsets if subset.name not in split.test]
        counts = [
            Counter(
                (pair, tuple(subset.own[place] for place in pair))
                for subset in side
                for pair in combinations(range(3), 2)
            )
            for side in (train, [graph[name] for name in split.test])
        ]
        assert measure_divergence(counts[0], counts[1], 0.1) == pytest.approx(split.compound)  # type: ignore[arg-type]


def test_coverage_shows_every_value_k_times_in_nested_sets_at_one_budget() -> None:
    plan = plan_one(with_design("coverage", values=[3], shown=[1, 2]), cube())
    by_target: dict[str, list] = {}
    for contrast in plan.contrasts:
        by_target.setdefault(contrast.target, []).append(contrast)
    for contrasts in by_target.values():
        assert [contrast.level for contrast in contrasts] == [1, 2]
        assert set(contrasts[0].related) < set(contrasts[1].related)
        assert len({contrast.main.num_samples for contrast in contrasts}) == 1
        for contrast in contrasts:
            shown = Counter(value for name in contrast.related for value in name.split("-")[:2])
            assert set(shown.values()) == {int(contrast.level or 0)}


def test_distance_is_counted_from_the_nearest_node() -> None:
    plan = plan_one(with_design("distance", nodes=["a-x-k", "a-y-l"], per_shell=30), cube())
    for contrast in plan.contrasts:
        own = contrast.target.split("-")
        nearest = max(sum(a == b for a, b in zip(own, node.split("-"), strict=True)) for node in contrast.related)
        assert contrast.level == 3 - nearest
    assert len(plan.contrasts) == 25


def test_three_sources_show_one_element_each() -> None:
    plan = plan_one(with_design("three_source"), cube())
    for contrast in plan.contrasts:
        own = contrast.target.split("-")
        shown = sorted(
            [place for place in range(3) if name.split("-")[place] == own[place]] for name in contrast.related
        )
        assert shown == [[0], [1], [2]]


def test_values_that_occur_only_together_act_as_one_element() -> None:
    cells = [("Der", "Skin", "State"), ("Der", "Skin", "Level"), ("FP", "Fundus", "Level"), ("CT", "Lung", "Side")]
    cells += [("CT", "Brain", "Side"), ("FP", "Fundus", "Quality")]
    graph = make_graph(cells)
    assert find_tied(graph) == (("Der", "Skin"), ("FP", "Fundus"))
    plan = plan_one(
        replace(with_design("two_source", directions=["pair"]), targets=("der-skin-level",)),
        make_catalog([make_subset(cell) for cell in cells]),
    )
    assert [contrast.related for contrast in plan.contrasts] == [("der-skin-state", "fp-fundus-level")]


def test_four_factors_are_planned_as_three_are() -> None:
    cells = list(product("AB", "XY", "KL", "12"))
    catalog = make_catalog([make_subset(cell) for cell in cells], factors=("modality", "area", "task", "population"))
    for design in ("two_source", "three_source", "disrupt", "folds", "distance", "coverage"):
        more = {"two_source": {"directions": ["population"]}, "distance": {"num_nodes": 1}}.get(design, {})
        plan = plan_one(with_design(design, **more), catalog)
        assert plan.contrasts
        assert all(len(contrast.view) == 4 for contrast in plan.contrasts)
    variants = {cell.variant for cell in plan_one(with_design("disrupt"), catalog).cells if cell.arm is Arm.WITHOUT}
    assert "population" in variants


def test_a_detection_target_gets_the_same_target_data_in_both_arms() -> None:
    boxes = [
        replace(
            make_subset(cell), kind=Kind.DETECTION, num_options=0, labels=(), name=f"{'-'.join(cell).lower()}-boxes"
        )
        for cell in (("A", "X", "D"), ("B", "X", "D"), ("A", "Y", "D"))
    ]
    catalog = make_catalog([*cube().subsets, *boxes])
    plan = plan_one(replace(with_design("cross_kind"), targets=("a-x-d-boxes",)), catalog)
    assert plan.contrasts
    for contrast in plan.contrasts:
        sizes = {part.arm: (part.num_samples, part.num_target) for part in contrast.trainings}
        assert sizes[Arm.RELATED] == sizes[Arm.UNRELATED]
        assert sizes[Arm.RELATED][1] == 4
        kinds = {plan.find_subset(contrast, name).kind for name in contrast.related}
        assert kinds == {Kind.CLASSIFICATION, Kind.DETECTION}


def test_unseen_pairs_have_their_attribute_and_object_seen() -> None:
    plan = plan_one(with_design("attribute_split"), cube())
    sides = {contrast.target: (contrast.direction or "").split(",")[0] for contrast in plan.contrasts}
    seen = {tuple(name.split("-")[:2]) for name, side in sides.items() if side == "seen"}
    for name, side in sides.items():
        attribute, thing, _ = name.split("-")
        if side != "seen":
            assert attribute in {pair[0] for pair in seen}
            assert thing in {pair[1] for pair in seen}
    assert set(sides.values()) == {"seen", "validation", "test"}
    open_world = next(contrast for contrast in plan.contrasts if "open" in (contrast.direction or ""))
    assert len(open_world.protocol.candidates) == 9
    assert {cell.proof.chance for cell in plan.cells if cell.contrast == open_world.id} == {1 / 9}
    assert len(plan.finetunes) == len(STUDY.seeds)


def test_few_shot_trains_nothing_more_than_two_source_does() -> None:
    few: Plan = plan_one(with_design("few_shot"), cube())
    two = plan_one(with_design("two_source", directions=["task"], combinations=1), cube())
    assert {job.id for job in few.finetunes} == {job.id for job in two.finetunes}
    assert {job.protocol.shots for job in few.evals} == {0, 2}


def test_a_design_of_ones_own_is_found_by_its_module(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN001
    source = (cube().names[0], cube().names[-1])
    (tmp_path / "my_designs").mkdir()
    (tmp_path / "my_designs" / "__init__.py").write_text("")
    (tmp_path / "my_designs" / "one_source.py").write_text(
        "from cg_lab.planning.posing import pose\n"
        "from cg_lab.study import DesignSettings as Settings\n"
        "def find(graph, targets, settings):\n"
        "    for target in targets:\n"
        f"        if target.name != {source[0]!r}:\n"
        f"            yield pose(graph, target, ({source[0]!r},), design='one_source', label='one', max_samples=8)\n"
        "def explain_absence(settings):\n"
        "    return 'it is the source'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from cg_lab.planning.designs import parse_design

    raw = {"name": "my_designs.one_source", "kinds": ["classification"], "max_samples": 8}
    plan = plan_one(replace(STUDY, design=parse_design(raw, where="test")), cube())
    assert {contrast.related for contrast in plan.contrasts} == {(source[0],)}


@pytest.mark.parametrize(("name", "text"), [("two_sourc", "Did you mean 'two_source'"), ("no.such", "PYTHONPATH")])
def test_an_unknown_design_is_told_with_what_would_be_right(name: str, text: str) -> None:
    with pytest.raises(UserError, match=text):
        load_design(name)


def test_declared_pairs_take_the_place_of_found_ones() -> None:
    cells = [("Der", "Skin", "State"), ("Der", "Skin", "Level"), ("CT", "Lung", "Level"), ("CT", "Brain", "Level")]
    cells.append(("US", "Breast", "Side"))
    study = replace(with_design("two_source", directions=["pair"]), targets=("der-skin-level",))
    subsets = [make_subset(cell) for cell in cells]
    declared = plan_one(study, make_catalog(subsets, tied=(("Der", "Skin"), ("CT", "Lung"))))
    assert [contrast.related for contrast in declared.contrasts] == [("ct-lung-level", "der-skin-state")]
    assert declared.catalogs[0].tied == (("Der", "Skin"), ("CT", "Lung"))
    with pytest.raises(UserError, match="no valid sources"):
        plan_one(study, make_catalog(subsets))


@pytest.mark.parametrize("design", ["two_source", "size_curve", "few_shot", "cross_kind"])
def test_a_direction_that_is_no_factor_is_told_with_the_nearest(design: str) -> None:
    with pytest.raises(UserError, match=r"design.directions: no factor 'modalty'; known: .* Did you mean 'modality'"):
        plan_one(with_design(design, directions=["modalty"]), cube())


@pytest.mark.parametrize("folds", [28, 400])
def test_more_folds_than_subsets_are_refused_with_what_can_be_had(folds: int) -> None:
    with pytest.raises(UserError, match=f"design.folds={folds}: the fewest .* are 2, and 27 subsets can be held out"):
        plan_one(with_design("folds", folds=folds), cube())


def test_the_graph_for_networkx_has_the_neighbourhoods_of_the_bit_sets() -> None:
    graph = make_graph(list(product("AB", "XY", "KL"))[:6])
    for factor, value, members in graph.list_elements():
        assert set(graph.names(members)) == set(graph.incidence.neighbors((graph.factors[factor], value)))


def test_transfer_trains_once_on_a_mixture_and_asks_about_every_target_that_it_shows_nothing_of() -> None:
    study = replace(with_design("transfer", sizes=[1, 2]), seeds=(0,), arms=(Arm.ZERO_SHOT, Arm.RELATED))
    plan = plan_one(study, make_catalog([make_subset(cell) for cell in product("AB", "XY", "K")]))
    asked = {(contrast.related, contrast.target) for contrast in plan.contrasts}
    names = ("a-x-k", "a-y-k", "b-x-k", "b-y-k")
    mixtures = [(name,) for name in names] + list(combinations(names, 2))
    assert asked == {(mixture, target) for mixture in mixtures for target in names if target not in mixture}
    assert len(plan.finetunes) == len(mixtures)


def test_transfer_draws_mixtures_of_a_size_and_takes_those_that_are_named() -> None:
    study = replace(
        with_design("transfer", sizes=[2], per_size=3, mixtures=[["c-z-m", "a-x-k", "b-y-l"]]),
        seeds=(0,),
        targets=("a-y-k",),
    )
    mixtures = {contrast.related for contrast in plan_one(study, cube()).contrasts}
    assert sorted(map(len, mixtures)) in ([2, 2, 2, 3], [2, 2, 3])  # a drawn pair may hold the target
    assert ("a-x-k", "b-y-l", "c-z-m") in mixtures
    with pytest.raises(UserError, match=r"design.mixtures: no subset 'a-x-q'"):
        plan_one(replace(study, design=with_design("transfer", mixtures=[["a-x-q"]]).design), cube())


def test_what_is_recommended_is_held_against_simple_rules_at_as_many_samples() -> None:
    study = replace(with_design("recommended_mixture"), seeds=(0,), targets=("a-x-k", "b-y-l"))
    plan = plan_one(study, cube())
    (question,) = plan.contrasts
    arms = {training.arm: training for training in question.trainings}
    related = [name for name in cube().names if name != "a-x-k" and {"a", "x", "k"} & {*name.split("-")}]
    assert arms[Arm.RELATED].subsets == ("a-y-k", "b-x-k")
    assert arms[Arm.ALL_RELATED].subsets == tuple(related)
    assert arms[Arm.NEAREST_SUBSETS].subsets == ("a-x-l", "a-x-m", "a-y-k", "a-z-k", "b-x-k", "c-x-k")
    assert arms[Arm.ALL_DATA].subsets == tuple(name for name in cube().names if name != "a-x-k")
    assert arms[Arm.SINGLE].subsets == ("a-y-k",)
    assert {training.num_samples for arm, training in arms.items() if arm.traits.is_budgeted} == {40}
    assert [(part.target, "recommends nothing" in part.reason) for part in plan.skipped] == [("b-y-l", True)]
    row = [{"target": "a-x-q", "sources": ["a-y-k"]}]
    with pytest.raises(UserError, match=r"design.rows: no subset 'a-x-q'"):
        plan_one(replace(study, design=with_design("recommended_mixture", rows=row).design), cube())
