"""Which parts of a question the study wants, and what it costs and shows, by which questions are chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cg_lab.arms import Arm
from cg_lab.catalog import Overlap
from cg_lab.errors import UserError
from cg_lab.mat import Kind, Subset
from cg_lab.planning.budget import Candidate, Cost
from cg_lab.planning.compile import Compiler, Draft
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Training
from cg_lab.planning.proof import Prover
from cg_lab.planning.study_power import FEWEST_TARGETS, Allocation, foresee_gain
from cg_lab.planning.work import Protocol
from cg_lab.study import Study
from tests.planning.cases import BACKBONE, STUDY, make_catalog, make_subset

TARGET = make_subset(("CT", "Lung", "Mass"))
BRAIN = make_subset(("CT", "Brain", "Mass"))
MRI = make_subset(("MRI", "Lung", "Mass"))
WIKI = Subset(name="wiki", elements=((), (), ()), num_options=4, num_train=50, num_test=0, kind=Kind.FILLER)
TRAINED = replace(
    STUDY,
    seeds=(0,),
    finetune=replace(STUDY.finetune, epochs=3.0),
    model=replace(STUDY.model, train_samples_per_s=2.0),
)


def make_compiler(study: Study, target: Subset = TARGET) -> Compiler:
    catalog = make_catalog([target, BRAIN, MRI])
    graph = MatGraph(catalog.subsets, catalog.factors)
    return Compiler(study, catalog, graph, Prover(catalog, graph), BACKBONE)


def ask(direction: str = "", *, asks_sources: bool = False) -> Contrast:
    related = Training(arm=Arm.RELATED, subsets=(BRAIN.name, MRI.name), num_samples=40)
    return Contrast(
        id="q", design="test", target=TARGET.name, trainings=(related,), unrelated=(), view=TARGET.own,
        fully_covered=True, direction=direction, asks_sources=asks_sources,
    )  # fmt: skip


def weigh(study: Study = TRAINED, target: Subset = TARGET, direction: str = "") -> Candidate:
    compiler, contrast = make_compiler(study, target), ask(direction)
    return compiler.weigh(contrast, list(compiler.compile(contrast)))


def test_sources_are_asked_about_where_the_design_and_the_study_both_want_it() -> None:
    everything, related = make_compiler(STUDY), make_compiler(replace(STUDY, arms=(Arm.RELATED,)))
    assert everything.restrict(ask(asks_sources=True)).asks_sources
    assert not everything.restrict(ask(asks_sources=False)).asks_sources
    assert not related.restrict(ask(asks_sources=True)).asks_sources


def test_a_fine_tune_costs_its_samples_in_all_epochs_and_the_hours_that_they_take() -> None:
    (cost,) = weigh().finetunes.values()
    assert cost == Cost(samples=120, hours=60 / 3600)


def test_hours_are_those_of_one_gpu_where_rates_are_of_several() -> None:
    (cost,) = weigh(replace(TRAINED, model=replace(TRAINED.model, rate_gpus=4))).finetunes.values()
    assert cost == Cost(samples=120, hours=4 * 60 / 3600)


def test_each_seed_is_a_fine_tune_of_its_own_and_the_untouched_backbone_is_none() -> None:
    assert len(weigh(replace(TRAINED, seeds=(0, 1))).finetunes) == 2
    assert not weigh(replace(TRAINED, arms=(Arm.ZERO_SHOT,))).finetunes


@pytest.mark.parametrize("direction", ["", "task"])
def test_a_question_shows_its_elements_and_its_direction_if_it_has_one(direction: str) -> None:
    elements = {"modality CT", "area Lung", "task Mass"}
    assert weigh(direction=direction).shows == elements | ({"direction task"} if direction else set())


def test_a_question_counts_with_the_gain_that_it_shows() -> None:
    """Over unrelated training, among several questions: less, the more seeds and test questions there are."""
    planned = Allocation(num_targets=FEWEST_TARGETS, num_questions=10, main_seeds=1, control_seeds=2)
    assert weigh().detectable == foresee_gain(planned, 0.05)
    assert weigh(replace(TRAINED, seeds=(0, 1, 2))).detectable < weigh().detectable
    assert weigh(target=replace(TARGET, num_test=40)).detectable < weigh().detectable


def test_questions_about_sources_alone_come_last_among_equals() -> None:
    assert weigh(replace(TRAINED, arms=(Arm.SOURCES,))).detectable == 1.0


def compile_one(
    *trainings: Training, study: Study = TRAINED, further: tuple[Subset, ...] = (), copies: str = "", **more: Any
) -> dict[Arm, Draft]:
    """Compile a question over the three subsets, and further ones, by arm; `copies` names whose samples are tests."""
    overlaps = (Overlap(train=copies, test=TARGET.name, count=1, what="groups"),) if copies else ()
    catalog = make_catalog([TARGET, BRAIN, MRI, WIKI, *further], overlaps=overlaps)
    graph = MatGraph(tuple(part for part in catalog.subsets if part.kind is not Kind.FILLER), catalog.factors)
    contrast = replace(ask(), trainings=trainings, **more)
    compiler = Compiler(study, catalog, graph, Prover(catalog, graph), BACKBONE)
    return {draft.cell.arm: draft for draft in compiler.compile(contrast)}


def relate(num_samples: int = 40, **more: Any) -> Training:
    return Training(arm=Arm.RELATED, subsets=(BRAIN.name, MRI.name), num_samples=num_samples, **more)


def mix_in(name: str | None, share: float) -> Study:
    return replace(TRAINED, filler=replace(TRAINED.filler, subset=name, share=share))


def test_a_training_that_asks_for_elements_has_them_in_its_mixture() -> None:
    candidates = ("CT Brain", "CT Lung", "MRI Lung")
    asked = compile_one(relate(ask="elements", places=(0, 1), candidates=candidates))[Arm.RELATED].finetunes[0]
    plain = compile_one(relate())[Arm.RELATED].finetunes[0]
    assert (asked.mixture.ask, asked.mixture.places, asked.mixture.candidates) == ("elements", (0, 1), candidates)
    assert (plain.mixture.ask, plain.mixture.places, plain.mixture.candidates) == ("finding", (), ())


def test_candidates_count_as_options_only_where_elements_are_asked_for() -> None:
    options = Protocol(image="original", candidates=("CT", "MRI", "US"))
    assert compile_one(relate(), protocol=options)[Arm.RELATED].cell.proof.chance == 1 / 2
    elements = replace(options, ask="elements", places=(0,))
    assert compile_one(relate(), protocol=elements)[Arm.RELATED].cell.proof.chance == 1 / 3


def test_each_arm_is_asked_in_its_way_with_its_image() -> None:
    study = replace(
        TRAINED, evaluation=replace(TRAINED.evaluation, by="generation", untouched_by="both", rotations="all")
    )
    drafts = compile_one(relate(), study=study, asks_sources=True)
    found = {arm: (draft.evaluation.protocol.image, draft.evaluation.protocol.by) for arm, draft in drafts.items()}
    assert found == {
        Arm.ZERO_SHOT: ("original", "both"), Arm.RELATED: ("original", "generation"),
        Arm.BLIND: ("blank", "generation"), Arm.SOURCES: ("original", "generation"),
    }  # fmt: skip
    assert {draft.evaluation.protocol.rotations for draft in drafts.values()} == {"all"}


def test_an_arm_without_a_budget_of_the_question_has_what_its_own_training_plans() -> None:
    ceiling = Training(arm=Arm.CEILING, subsets=(TARGET.name,), num_samples=20)
    drafts = compile_one(relate(30, num_target=10), ceiling)
    assert {arm: draft.cell.proof.budget for arm, draft in drafts.items()} == {
        Arm.ZERO_SHOT: 0, Arm.RELATED: 40, Arm.BLIND: 40, Arm.CEILING: 20,
    }  # fmt: skip


def test_a_question_without_a_main_arm_has_no_budget() -> None:
    assert set(compile_one(Training(arm=Arm.CEILING, subsets=(TARGET.name,), num_samples=20))) == {
        Arm.ZERO_SHOT, Arm.CEILING,
    }  # fmt: skip
    with pytest.raises(UserError, match="20 training samples where 0 were planned"):
        compile_one(Training(arm=Arm.ALONE, subsets=(MRI.name,), num_samples=20, variant=MRI.name))


def test_a_filler_is_a_share_of_all_other_samples() -> None:
    finetune = compile_one(relate(30, num_target=10), study=mix_in("wiki", 0.5))[Arm.RELATED].finetunes[0]
    assert finetune.mixture.count("wiki") == 20


def test_a_filler_of_less_than_half_a_sample_is_not_mixed_in_whatever_copies_it_has() -> None:
    finetune = compile_one(relate(), study=mix_in("wiki", 0.01), copies="wiki")[Arm.RELATED].finetunes[0]
    assert [part.subset for part in finetune.mixture.parts] == [BRAIN.name, MRI.name]


@pytest.mark.parametrize(("name", "share"), [("absent", 0.0), (None, 0.5)])
def test_a_filler_without_a_name_or_a_share_is_none(name: str | None, share: float) -> None:
    drafts = compile_one(relate(), study=mix_in(name, share))
    assert drafts[Arm.RELATED].finetunes == compile_one(relate())[Arm.RELATED].finetunes


def test_a_mixture_of_many_subsets_shows_what_they_show() -> None:
    many = tuple(make_subset(("CT", f"Organ {number}", "Mass")) for number in range(70))
    training = Training(arm=Arm.RELATED, subsets=(*(part.name for part in many), MRI.name), num_samples=71)
    proof = compile_one(training, further=many)[Arm.RELATED].cell.proof
    assert [len(part.subsets) for part in proof.coverage] == [70, 1, 71]


def test_a_cell_about_a_source_is_named_by_it() -> None:
    leak = replace(relate(), subsets=(BRAIN.name, TARGET.name, MRI.name))
    with pytest.raises(UserError, match="cell q/sources/ct-brain-mass is not valid:\n  - target absent"):
        compile_one(leak, study=replace(TRAINED, arms=(Arm.SOURCES,)), asks_sources=True)
