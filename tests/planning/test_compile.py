"""Which parts of a question the study wants, and what it costs and shows, by which questions are chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cg_lab.arms import Arm
from cg_lab.mat import Subset
from cg_lab.planning.budget import Candidate, Cost
from cg_lab.planning.compile import Compiler
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Training
from cg_lab.planning.proof import Prover
from cg_lab.planning.study_power import FEWEST_TARGETS, Allocation, foresee_gain
from cg_lab.study import Study
from tests.planning.cases import BACKBONE, STUDY, make_catalog, make_subset

TARGET = make_subset(("CT", "Lung", "Mass"))
BRAIN = make_subset(("CT", "Brain", "Mass"))
MRI = make_subset(("MRI", "Lung", "Mass"))
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
