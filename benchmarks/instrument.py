"""Whether verdicts mean what they say: simulated answerers in known worlds, through plan, analysis and verdict.

    python benchmarks/instrument.py [--studies 200] [OVERRIDE ...]

Each answerer takes the place of the models in a planned study of each world; nothing is trained. Prints, for each
answerer in each world, the share of held-out questions that got each word, and the share of studies with any of them.
Overrides are those of `python -m cg_lab plan`, such as `seeds=[0,1,2,3,4]` or `design=three_source`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import product

from answerers import Answerer, Hall, answer_study, open_hall

from cg_lab.analysis.effects import compute_effects
from cg_lab.analysis.family import RegisteredFamily
from cg_lab.analysis.verdict import Verdict
from cg_lab.config import read_study
from cg_lab.data.phantom import World
from cg_lab.data.sources import read_catalog
from cg_lab.models.identity import identify_model
from cg_lab.planning.build import Run, build_plan

WORLDS = tuple(world for world in World if world is not World.COMPOSITIONAL)
RESAMPLES = 100
"""Bootstrap draws; verdicts do without them."""
CHUNK = 10
"""Studies of one task of a process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How often each word was said."""

    questions: Counter[str]
    studies: Counter[str]
    """In which it was said at least once."""
    num_studies: int
    num_questions: int

    def __add__(self, other: Tally) -> Tally:
        """Put two tallies together."""
        return Tally(
            questions=self.questions + other.questions,
            studies=self.studies + other.studies,
            num_studies=self.num_studies + other.num_studies,
            num_questions=self.num_questions + other.num_questions,
        )


@cache
def plan_world(world: str, overrides: tuple[str, ...]) -> Hall:
    """Plan the default study, as far as overrides do not say otherwise, in a world of marks."""
    study = read_study([f"data.world={world}", f"rule.resamples={RESAMPLES}", *overrides])
    backbone = identify_model(study.model)
    return open_hall(build_plan([Run(name="", study=study, catalog=read_catalog(study.data), backbone=backbone)]))


def run_studies(world: str, answerer: Answerer, studies: range, overrides: tuple[str, ...]) -> Tally:
    """Let an answerer take a number of studies, and count the words of their verdicts."""
    hall = plan_world(world, overrides)
    registered = RegisteredFamily(contrasts=[contrast.id for contrast in hall.plan.contrasts])
    tally = Tally(questions=Counter(), studies=Counter(), num_studies=0, num_questions=0)
    for study in studies:
        effects = compute_effects(hall.plan, answer_study(hall, answerer, study), {}, registered)
        words = [str(effect.verdict) for effect in effects.contrasts]
        tally += Tally(questions=Counter(words), studies=Counter(set(words)), num_studies=1, num_questions=len(words))
    return tally


def write_table(found: dict[tuple[str, str], Tally]) -> Iterator[str]:
    """Write a row for each answerer in each world: of questions, then of studies."""
    words = [str(word) for word in Verdict]
    yield f"| world | answerer | {' | '.join(words)} |"
    yield f"|---|---|{'---|' * len(words)}"
    for (world, answerer), tally in found.items():
        shares = [
            f"{tally.questions[word] / tally.num_questions:.1%}, {tally.studies[word] / tally.num_studies:.1%}"
            for word in words
        ]
        yield f"| {world} | {answerer} | {' | '.join(shares)} |"


def main() -> None:
    """Run all answerers in all worlds on all cores, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    began = time.monotonic()
    os.environ["OMP_NUM_THREADS"] = "1"
    overrides = tuple(given.overrides)
    chunks = [range(first, min(first + CHUNK, given.studies)) for first in range(0, given.studies, CHUNK)]
    found: dict[tuple[str, str], Tally] = {}
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        jobs = {
            (world, answerer): [pool.submit(run_studies, world, answerer, chunk, overrides) for chunk in chunks]
            for world, answerer in product(WORLDS, Answerer)
        }
        for case, parts in jobs.items():
            first, *others = (part.result() for part in parts)
            found[case] = sum(others, start=first)
    print("\n".join(write_table(found)))
    num_questions = next(iter(found.values())).num_questions // given.studies
    print(
        f"\nShare of questions with each word, then of studies with any; {given.studies} studies of {num_questions} "
        f"held-out questions each, {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
