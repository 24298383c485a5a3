"""Whether verdicts from areas under the curve hold their level where nothing composes, beside those from accuracy.

    python benchmarks/second_outcome.py [--studies 100]

Simulated answerers score the options of a planned study's questions. A fine-tune's scores lean towards some options by
a shift of its own, so that its accuracy hangs on where its threshold lies and its area (Hand and Till 2001) does not.
Areas become one value for each question by placements (DeLong et al. 1988), and are judged as accuracies are.
Prints the share of studies with any positive or negative word, and of questions with "composes".
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import permutations, product

import numpy as np
from answerers import Answerer, Hall, answer_study
from instrument import plan_world
from numpy.typing import NDArray

from cg_lab.analysis.arm_estimates import estimate_arms
from cg_lab.analysis.bootstrap import Scores
from cg_lab.analysis.evidence import gather_evidence
from cg_lab.analysis.measuring import stack_contrasts
from cg_lab.analysis.verdict import Rules, Verdict, decide
from cg_lab.planning.plan import Cell

CASES = (*product(("redundant", "entangled"), ("one source", "memorising", "guessing")), ("factored", "composing"))
SHIFTS = (0.0, 1.5)
"""Standard deviation of a fine-tune's leaning towards an option, in standard deviations of its scores."""
STRENGTH = 2.0
"""By how much the option that an answerer means stands above the others."""
CLAIMS = (Verdict.COMPOSES, Verdict.TRANSFERS, Verdict.HARMS)
Floats = NDArray[np.float64]


def place_questions(scores_QO: Floats, labels_Q: NDArray[np.int64]) -> Floats:
    """Give each question a value, whose mean is Hand and Till's area and whose spread is that of its placements."""
    kinds = np.unique(labels_Q)
    pairs = list(permutations(kinds, 2))
    area, values_Q = 0.0, np.zeros(len(labels_Q))
    for one, other in pairs:
        is_one, is_other = labels_Q == one, labels_Q == other
        own, against = scores_QO[is_one, one], scores_QO[is_other, one]
        wins = (own[:, None] > against) + (own[:, None] == against) / 2
        area += wins.mean() / len(pairs)
        values_Q[is_one] += (wins.mean(axis=1) - wins.mean()) * len(labels_Q) / is_one.sum() / len(pairs)
        values_Q[is_other] += (wins.mean(axis=0) - wins.mean()) * len(labels_Q) / is_other.sum() / len(pairs)
    return area + values_Q


def score_options(hall: Hall, answerer: Answerer, study: int, shift: float) -> Iterator[tuple[str, Floats, Floats]]:
    """Give each evaluation's right and wrong answers, and its questions' placements."""
    right = answer_study(hall, answerer, study)
    for number, job in enumerate(hall.plan.evals):
        labels_Q = hall.find_test(job.target).labels_Q
        num_options = hall.find_test(job.target).num_labels
        fate = np.random.default_rng([study, *(job.checkpoint_of or "").encode()])
        leaning_O = fate.normal(0, shift, num_options) if job.checkpoint_of else np.zeros(num_options)
        draw = np.random.default_rng([study, number])
        wrong_Q = (labels_Q + draw.integers(1, num_options, len(labels_Q))) % num_options
        meant_Q = np.where(right[job.id].correct_SQ[0] == 1, labels_Q, wrong_Q)
        scores_QO = draw.normal(size=(len(labels_Q), num_options)) + leaning_O
        scores_QO[np.arange(len(labels_Q)), meant_Q] += STRENGTH
        correct_Q = (scores_QO.argmax(axis=1) == labels_Q).astype(float)
        yield job.id, correct_Q, place_questions(scores_QO, labels_Q)


def run_studies(world: str, name: str, shift: float, studies: range) -> NDArray[np.int64]:
    """Count, for accuracy and area, studies with any claim and questions with `composes`."""
    hall, answerer = plan_world(world, ()), Answerer(name)
    cells: dict[str, list[Cell]] = {}
    for cell in hall.plan.cells:
        cells.setdefault(cell.contrast, []).append(cell)
    counted = np.zeros((2, 2), dtype=np.int64)
    complete = [True] * len(hall.plan.contrasts)
    for study in studies:
        answers = list(score_options(hall, answerer, study, shift))
        names = {job.id: hall.find_test(job.target).names for job in hall.plan.evals}
        for outcome in (0, 1):
            scores = {
                job: Scores(questions=names[job], groups=names[job], correct_SQ=values[outcome][None])
                for job, *values in answers
            }
            stacked = stack_contrasts(hall.plan, cells, scores)
            arms = estimate_arms(stacked, hall.plan.rule.confidence)
            evidence = gather_evidence(hall.plan, arms, complete=complete, counted=complete)
            words = [decision.verdict for decision in decide([evidence], Rules(level=0.05))]
            counted[outcome] += any(word in CLAIMS for word in words), words.count(Verdict.COMPOSES)
    return counted


def main() -> None:
    """Run all cases on all cores, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=100)
    count = parser.parse_args().studies
    os.environ["OMP_NUM_THREADS"] = "1"
    print("| world | answerer | shift | any claim, accuracy | any claim, area | composes, accuracy | composes, area |")
    print("|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        jobs = {
            (world, name, shift): [pool.submit(run_studies, world, name, shift, range(n, min(n + 10, count)))
                                   for n in range(0, count, 10)]
            for (world, name), shift in product(CASES, SHIFTS)
        }  # fmt: skip
        for (world, name, shift), parts in jobs.items():
            counted = np.sum([part.result() for part in parts], axis=0) / [count, 4 * count]
            told = " | ".join(f"{share:.1%}" for share in counted.T.ravel())
            print(f"| {world} | {name} | {shift:g} | {told} |", flush=True)


if __name__ == "__main__":
    main()
