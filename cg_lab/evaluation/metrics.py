"""What answers add up to; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, pstdev

from cg_lab.boxes import Detection, compute_average_precision, overlay
from cg_lab.questions import LETTERS

NUM_BINS = 10
"""Of confidence, all equally wide: those of Guo et al. 2017, section 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A single-choice question with what a model answered."""

    num_options: int
    answer: int
    log_probs: tuple[tuple[float, ...], ...] = ()
    """For each order of the options, number `r` beginning with option `r`, the log-likelihood of each option as
    displayed; empty if likelihoods were not asked for."""
    parsed: tuple[int | None, ...] = ()
    """For each order, the place of the option that the model wrote; None where none could be parsed. Empty if nothing
    was written."""

    @property
    def choices(self) -> tuple[int | None, ...]:
        """The option chosen in each order, by likelihood where there is any."""
        shown = tuple(_find_largest(row) for row in self.log_probs) or self.parsed
        return tuple(None if place is None else (place + order) % self.num_options for order, place in enumerate(shown))

    @property
    def option_log_probs(self) -> tuple[float, ...]:
        """Log of each option's share of the likelihood, averaged over orders; of one order, the likelihoods themselves.

        Cyclic debiasing of Zheng et al. 2024, arXiv 2309.03882, section 4.
        """
        if len(self.log_probs) <= 1:
            return self.log_probs[0] if self.log_probs else ()
        shares = [_normalize(row) for row in self.log_probs]
        return tuple(
            math.log(max(fmean(row[(option - order) % self.num_options] for order, row in enumerate(shares)), 1e-300))
            for option in range(self.num_options)
        )

    @property
    def choice(self) -> int | None:
        """The answer that counts: the likeliest option, or the one written in most orders."""
        if self.log_probs:
            return _find_largest(self.option_log_probs)
        named = [choice for choice in self.choices if choice is not None]
        return max(named, key=lambda choice: (named.count(choice), -choice)) if named else None

    @property
    def is_right(self) -> bool:
        """Whether the answer that counts is right."""
        return self.choice == self.answer


def summarize_choices(answers: list[Answered]) -> dict[str, float]:
    """Compute the metrics of single-choice questions.

    `chance_corrected_accuracy`, 0 for a guess and 1 for a perfect score, whatever the number of options; `recall_A`,
    `recall_B`, ..., the share answered right of the questions whose right option stood in that place, and
    `letter_recall_spread`, the standard deviation of these (Zheng et al.). Where options were scored by likelihood,
    `calibration_error` and `brier_score` of `measure_calibration`. With several orders, `circular_accuracy`: right in
    every one of them (CircularEval, Liu et al. 2023, arXiv 2307.06281). Where the model wrote, `parse_failures` as a
    share of questions, and `written_accuracy`; where it was also scored by likelihood, `agreement` between the two.
    """
    accuracy = fmean(answer.is_right for answer in answers)
    chance = fmean(1 / answer.num_options for answer in answers)
    found = {"chance_corrected_accuracy": (accuracy - chance) / (1 - chance)}
    by_place: dict[int, list[bool]] = {}
    for answer in answers:
        for order, choice in enumerate(answer.choices):
            by_place.setdefault((answer.answer - order) % answer.num_options, []).append(choice == answer.answer)
    recalls = {place: fmean(hits) for place, hits in sorted(by_place.items())}
    found |= {f"recall_{LETTERS[place]}": recall for place, recall in recalls.items()}
    found["letter_recall_spread"] = pstdev(recalls.values())
    found |= measure_calibration([answer for answer in answers if answer.log_probs])
    if any(len(answer.choices) > 1 for answer in answers):
        found["circular_accuracy"] = fmean(
            all(choice == answer.answer for choice in answer.choices) for answer in answers
        )
    if any(answer.parsed for answer in answers):
        written = [answer.parsed[0] for answer in answers]
        found["parse_failures"] = fmean(choice is None for choice in written)
        found["written_accuracy"] = fmean(
            choice == answer.answer for choice, answer in zip(written, answers, strict=True)
        )
        if any(answer.log_probs for answer in answers):
            found["agreement"] = fmean(
                choice == answer.choices[0] for choice, answer in zip(written, answers, strict=True)
            )
    return found


def measure_calibration(scored: list[Answered]) -> dict[str, float]:
    """Measure how far the options' shares of the likelihood are from what is true; nothing if none were scored.

    `calibration_error`, the gap between mean confidence and accuracy in each of 10 equally wide bins of confidence,
    weighted by their questions: the expected calibration error of Guo et al. 2017, arXiv 1706.04599, equation 3.
    `brier_score`, the mean over questions of the squared distances of all options' shares from 1 for the right option
    and 0 for the others, between 0 and 2 (Brier 1950).

    >>> sure = Answered(num_options=2, answer=1, log_probs=((0.0, -1000.0),))
    >>> measure_calibration([sure])
    {'calibration_error': 1.0, 'brier_score': 2.0}
    """
    if not scored:
        return {}
    gaps = [0.0] * NUM_BINS
    distances: list[float] = []
    for answer in scored:
        shares = _normalize(answer.option_log_probs)
        confidence = max(shares)
        gaps[math.ceil(confidence * NUM_BINS) - 1] += confidence - answer.is_right
        distances.append(sum((share - (option == answer.answer)) ** 2 for option, share in enumerate(shares)))
    return {"calibration_error": sum(map(abs, gaps)) / len(scored), "brier_score": fmean(distances)}


def summarize_boxes(detections: list[Detection]) -> dict[str, float]:
    """Compute the metrics of boxes.

    `ciou`, all intersections over all unions (as NExT-Chat and Med-MAT print it); `map50`, average precision at an
    intersection over union of 0.5, averaged over labels; `parse_failures`, the share of images for which no box was
    written.
    """
    laid = [overlay(part.found, part.true) for part in detections]
    union = sum(part.union for part in laid)
    by_label: dict[str, list[Detection]] = {}
    for part in detections:
        by_label.setdefault(part.label, []).append(part)
    return {
        "ciou": sum(part.intersection for part in laid) / union if union else 1.0,
        "map50": fmean(compute_average_precision(group) for group in by_label.values()),
        "parse_failures": fmean(not part.found for part in detections),
    }


def _find_largest(values: tuple[float, ...]) -> int:
    return max(range(len(values)), key=lambda place: values[place])


def _normalize(row: tuple[float, ...]) -> list[float]:
    largest = max(row)
    weights = [math.exp(value - largest) for value in row]
    return [weight / sum(weights) for weight in weights]
