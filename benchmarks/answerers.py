"""Simulated answerers: they answer a planned study's questions in the place of models, so that nothing is trained.

An answerer knows of a world of marks what its training mixture can teach: how the combinations in it are read. It looks
at the very marks that would be painted into the target's test images. What it can read it mostly gets right, the rest
is a guess; fine-tunes come out better or worse by `SPREAD`, whether they have learned anything or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from cg_lab.analysis.bootstrap import Scores
from cg_lab.catalog import PhantomData
from cg_lab.data.phantom import PhantomKey, World, draw_phantom_labels
from cg_lab.data.phantom.marks import show_labels
from cg_lab.data.phantom.readings import MarkedWorld, Reading, find_reading
from cg_lab.data.phantoms import TEST_OFFSET, open_phantoms
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob, Mixture

ABILITY = 0.92
"""Share of questions answered as read, on average over fine-tunes."""
SPREAD = 0.08
"""Standard deviation over fine-tunes of the share of questions answered right."""
HARDNESS = 0.05
"""Standard deviation over questions of the same, in all arms alike."""


class Answerer(StrEnum):
    """What an answerer makes of what it was trained on."""

    COMPOSING = "composing"
    """Takes what it learned apart: the place from one source, the look from another."""
    ONE_SOURCE = "one source"
    """Keeps each source's rule whole, and applies the one that fits best."""
    MEMORISING = "memorising"
    """Knows the very combinations that it was trained on."""
    GUESSING = "guessing"
    """Learns nothing at all."""
    TEXT_ONLY = "text only"
    """Looks at no image: what it says hangs on the question's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """The test questions of one subset."""

    reading: Reading
    labels_Q: NDArray[np.int64]
    values_QP: NDArray[np.int64]  # question, place: the label that each mark shows
    names: tuple[str, ...]

    @property
    def num_labels(self) -> int:
        """Options of each question."""
        return self.values_QP.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hall:
    """A plan in a world of marks, with what each of its evaluations asks."""

    plan: Plan
    data: PhantomData
    world: MarkedWorld
    keys: Mapping[str, PhantomKey]
    _tests: dict[str, Test] = field(default_factory=dict)

    def find_test(self, target: str) -> Test:
        """Give a subset's test questions, drawn once."""
        if target not in self._tests:
            key, data = self.keys[target], self.data
            ids = np.arange(TEST_OFFSET, TEST_OFFSET + data.test_per_subset)
            labels = draw_phantom_labels(key, ids, world=self.world, seed=data.seed)
            reading = find_reading(key, self.world, data.seed)
            values = show_labels(reading, labels)
            names = tuple(f"{target}/test/{number}" for number in range(len(ids)))
            self._tests[target] = Test(reading=reading, labels_Q=labels, values_QP=values, names=names)
        return self._tests[target]


def open_hall(plan: Plan) -> Hall:
    """Open a plan over one world of marks."""
    (catalog,) = plan.catalogs
    assert isinstance(catalog.data, PhantomData)
    world = World(catalog.data.world)
    assert world is not World.COMPOSITIONAL
    return Hall(plan=plan, data=catalog.data, world=world, keys=open_phantoms(catalog.data, catalog.subsets).keys)


def answer_study(hall: Hall, answerer: Answerer, study: int) -> dict[str, Scores]:
    """Answer every evaluation of a plan; `study` draws other fine-tunes, and the same questions."""
    return {job.id: _answer(hall, answerer, job, study) for job in hall.plan.evals}


def _answer(hall: Hall, answerer: Answerer, job: EvalJob, study: int) -> Scores:
    test = hall.find_test(job.target)
    trained = hall.plan.finetune_by_id[job.checkpoint_of] if job.checkpoint_of else None
    # What a fine-tune came out like, and what it guesses, is the same whatever it is shown.
    fate = np.random.default_rng(_hash(study, answerer, job.checkpoint_of or "", job.target))
    luck = fate.normal(0, SPREAD) if trained else 0.0
    guesses_Q = fate.integers(test.num_labels, size=len(test.labels_Q))
    draw = np.random.default_rng(_hash(study, answerer, job.id))
    said_Q = None
    if trained is not None and job.protocol.image == "original":
        said_Q = _read(answerer, hall, trained.mixture, job.target, draw)
    hard_Q = np.random.default_rng(_hash(study, job.target)).normal(0, HARDNESS, len(test.labels_Q))
    if said_Q is None:
        # A text-only answerer says the same to a blank image, word for word; so does whoever guesses.
        chance = np.clip(1 / test.num_labels + luck + hard_Q, 0.01, 0.99)
        right_Q = _tilt(guesses_Q == test.labels_Q, chance, 1 / test.num_labels, fate)
    else:
        share = np.clip(ABILITY + luck + hard_Q, 0.01, 0.99)
        slips_Q = draw.random(len(share)) > share
        wrong_Q = (said_Q + draw.integers(1, test.num_labels, size=len(share))) % test.num_labels
        right_Q = np.where(slips_Q, wrong_Q, said_Q) == test.labels_Q
    return Scores(questions=test.names, groups=test.names, correct_SQ=right_Q.astype(float)[None, :])


def _tilt(
    right_Q: NDArray[np.bool_], wanted_Q: NDArray[np.float64], chance: float, draw: np.random.Generator
) -> NDArray[np.bool_]:
    """Turn guesses that are right by `chance` into ones that are right by `wanted_Q`."""
    losing, winning = np.minimum(wanted_Q / chance, 1), np.clip((wanted_Q - chance) / (1 - chance), 0, 1)
    luck_Q = draw.random(len(right_Q))
    return np.where(right_Q, luck_Q < losing, luck_Q < winning)


def _read(
    answerer: Answerer, hall: Hall, mixture: Mixture, target: str, draw: np.random.Generator
) -> NDArray[np.int64] | None:
    """Say what an answerer reads in a target's images; None if it can but guess."""
    if mixture.labels == "shuffled" or mixture.ask != "finding":
        return None
    test = hall.find_test(target)
    task = hall.keys[target].task
    taught = [part.subset for part in mixture.parts if hall.keys[part.subset].task == task]
    rules = [find_reading(hall.keys[subset], hall.world, hall.data.seed) for subset in taught]
    match answerer:
        case Answerer.COMPOSING:
            return read_marks(test, rules, draw)
        case Answerer.ONE_SOURCE:
            # Rules that are the same in two sources are one rule, learned twice.
            told = [read_marks(test, [rule], draw) for rule in sorted(rules, key=lambda rule: rule != test.reading)]
            return next((said_Q for said_Q in told if said_Q is not None), None)
        case Answerer.MEMORISING:
            return read_marks(test, [test.reading], draw) if target in taught else None
        case Answerer.GUESSING | Answerer.TEXT_ONLY:
            return None


def read_marks(test: Test, rules: list[Reading], draw: np.random.Generator) -> NDArray[np.int64] | None:
    """Read a test's marks by rules that are taken apart: any look with any place; None if the look is none of theirs.

    Who knows the look and not the place reads any of the marks, drawn for each question.
    """
    if test.reading.look not in {rule.look for rule in rules}:
        return None
    counting = {rule.counting for rule in rules if rule.places == test.reading.places}
    places_Q = draw.choice(sorted(counting) or range(test.num_labels), size=len(test.labels_Q))
    return np.take_along_axis(test.values_QP, places_Q[:, None], axis=1)[:, 0]


def _hash(*words: str | int) -> int:
    return int.from_bytes(sha256("\x1f".join(map(str, words)).encode()).digest()[:8], "little")
