"""How often intervals cover what is true, in simulated studies with known effects.

    python benchmarks/coverage.py [--studies 2000]

A question is answered right with a probability that depends on how hard it is and on how good the seed's model came
out; both arms are asked the same questions. For each shape: coverage of the 95 % interval of the paired gain, its mean
width, and how often any of four held-out questions is said to compose after Holm's adjustment: of a true gain of zero
that is the rate of false claims where related training beats the untouched model and its blind self for sure.

Then the same for mean gains over several held-out questions, whose true gains differ: the mixed model's intervals, and
those of the two-level bootstrap.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cg_lab.analysis.bootstrap import Resampling, Scores, adjust_holm, resample_means, subtract
from cg_lab.analysis.components import estimate_mean
from cg_lab.analysis.stacking import Stack
from cg_lab.analysis.summary import bootstrap_gains, measure_gain, pool_gains

TARGETS = 4
BASE = 0.4
"""Accuracy of the arm that is compared with, at a question of middling difficulty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One kind of study."""

    seeds: int
    questions: int
    group: int
    """Questions of a patient, equally hard."""
    spread: float
    """Standard deviation of seeds in log-odds."""
    gain: float


SHAPES = tuple(
    Shape(seeds=seeds, questions=240, group=group, spread=spread, gain=gain)
    for seeds in (1, 2, 3, 5, 10)
    for spread in ((0.0,) if seeds == 1 else (0.0, 0.2, 0.4))
    for group, gain in ((1, 0.2), (1, 0.0), (6, 0.2))
)


def draw(shape: Shape, generator: np.random.Generator, share: float, hard_Q: NDArray[np.float64]) -> Scores:
    """Let the seeds of one arm answer."""
    seeds_S1 = generator.normal(0, shape.spread, (shape.seeds, 1))
    odds = np.log(share / (1 - share)) + seeds_S1 + hard_Q
    right = generator.random(odds.shape) < 1 / (1 + np.exp(-odds))
    names = tuple(map(str, range(shape.questions)))
    groups = tuple(str(number // shape.group) for number in range(shape.questions))
    return Scores(questions=names, groups=groups, correct_SQ=right.astype(float))


def find_truth(shape: Shape) -> float:
    """Give the mean gain over all seeds and questions there could be."""
    noise = np.random.default_rng(0).normal(0, np.hypot(1, shape.spread), 2_000_000)

    def accuracy(share: float) -> float:
        return float((1 / (1 + np.exp(-(np.log(share / (1 - share)) + noise)))).mean())

    return accuracy(BASE + shape.gain) - accuracy(BASE)


def simulate(shape: Shape, studies: int, first: int) -> tuple[float, float, float]:
    """Give coverage, mean width, and the share of studies that claim a gain."""
    truth = find_truth(shape)
    covered = claimed = 0
    width = 0.0
    for study in range(first, first + studies):
        generator = np.random.default_rng([study, shape.seeds, int(100 * shape.spread), int(100 * shape.gain)])
        p_values: list[float] = []
        for _ in range(TARGETS):
            hard_Q = np.repeat(generator.normal(0, 1, shape.questions // shape.group), shape.group)
            difference = subtract(
                draw(shape, generator, BASE + shape.gain, hard_Q), draw(shape, generator, BASE, hard_Q)
            )
            interval = estimate_mean(difference, 0.95)
            covered += interval.low <= truth <= interval.high
            width += interval.high - interval.low
            p_values.append(interval.p_value if interval.estimate > 0 else 1.0)
        claimed += min(adjust_holm(tuple(p_values))) <= 0.05
    return covered / (studies * TARGETS), width / (studies * TARGETS), claimed / studies


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """One kind of study with several held-out questions."""

    targets: int
    seeds: int
    between: float
    """Standard deviation of true gains over held-out questions."""


POOLED = tuple(
    Pooled(targets=targets, seeds=seeds, between=between)
    for targets in (3, 4, 8, 16)
    for seeds in (1, 3, 5)
    for between in (0.02, 0.1)
)
POOLED_SPREAD = 0.2
"""Standard deviation of seeds in log-odds, each question's apart."""
GAIN = 0.1
RESAMPLES = 400
"""Of the two-level bootstrap, whose quantiles few draws give well enough here."""


def simulate_pooled(kind: Pooled, studies: int) -> tuple[float, float, float, float]:
    """Give coverage and mean width of the mixed model, then of the two-level bootstrap."""
    covered, width = np.zeros(2), np.zeros(2)
    shape = Shape(seeds=kind.seeds, questions=240, group=1, spread=POOLED_SPREAD, gain=0.0)
    for study in range(studies):
        generator = np.random.default_rng([study, kind.targets, kind.seeds, int(1000 * kind.between)])
        resampling = Resampling(num_resamples=RESAMPLES, seed=study, confidence=0.95)
        drawn = [draw_gain(kind, shape, generator) for _ in range(kind.targets)]
        gains = [
            measure_gain(Stack(seeds=tuple(range(kind.seeds)), scores=scores), replicates_R, 0.95)
            for scores, replicates_R in zip(drawn, resample_means(drawn, resampling), strict=True)
        ]
        names = [str(number) for number in range(kind.targets)]
        for place, found in enumerate((pool_gains(gains, names, 0.95), bootstrap_gains(gains, resampling))):
            assert found is not None
            covered[place] += found.low <= GAIN <= found.high
            width[place] += found.high - found.low
    return covered[0] / studies, width[0] / studies, covered[1] / studies, width[1] / studies


def draw_gain(kind: Pooled, shape: Shape, generator: np.random.Generator) -> Scores:
    """Draw paired differences of one held-out question whose true gain is drawn around the mean gain.

    Seeds vary on the scale of accuracies here, so that the true mean is known exactly.
    """
    gain = generator.normal(GAIN, kind.between)
    seeds_S1 = generator.normal(0, 0.24 * shape.spread, (shape.seeds, 1))
    wins = np.clip((0.5 + gain + seeds_S1) / 2, 0, 0.5)
    steps = generator.random((shape.seeds, shape.questions))
    change = np.where(steps < wins, 1.0, np.where(steps > 0.5 + wins, -1.0, 0.0))
    names = tuple(map(str, range(shape.questions)))
    return Scores(questions=names, groups=names, correct_SQ=change)


def main() -> None:
    """Simulate all shapes on all cores, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    given = parser.parse_args()
    begun = time.monotonic()
    os.environ["OMP_NUM_THREADS"] = "1"
    print("| seeds | spread of seeds | questions a group | true gain | coverage | width, points | claims after Holm |")
    print("|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        jobs = [pool.submit(simulate, shape, given.studies, 0) for shape in SHAPES]
        for shape, job in zip(SHAPES, jobs, strict=True):
            coverage, width, claimed = job.result()
            print(
                f"| {shape.seeds} | {shape.spread:g} | {shape.group} | {find_truth(shape) * 100:+.1f} | "
                f"{coverage:.1%} | {width * 100:.1f} | {'no verdict' if shape.seeds == 2 else f'{claimed:.1%}'} |",
                flush=True,
            )
        print("\n| held-out questions | seeds | spread of gains | mixed model | width | two-level bootstrap | width |")
        print("|---|---|---|---|---|---|---|")
        pooled = [pool.submit(simulate_pooled, kind, given.studies) for kind in POOLED]
        for kind, job in zip(POOLED, pooled, strict=True):
            mixed, wide, drawn, narrow = job.result()
            print(
                f"| {kind.targets} | {kind.seeds} | {kind.between * 100:g} points | {mixed:.1%} | {wide * 100:.1f} | "
                f"{drawn:.1%} | {narrow * 100:.1f} |",
                flush=True,
            )
    print(f"\n{given.studies} studies of {TARGETS} held-out questions each, {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
