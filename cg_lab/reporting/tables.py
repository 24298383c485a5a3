"""effects.csv and cells.csv: the numbers of a study as rows, the same bytes for the same results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path

from cg_lab.analysis.arm_estimates import GAINS_OVER
from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.curves import GROWING
from cg_lab.analysis.effects import ContrastEffect, StudyEffects
from cg_lab.analysis.measuring import ArmEffect
from cg_lab.analysis.pairs import MEASURES
from cg_lab.analysis.synergy import Combination
from cg_lab.arms import CONTROLS, REFERENCES, Arm
from cg_lab.planning.plan import Contrast
from cg_lab.planning.work import Mixture
from cg_lab.reporting.answers import MEANINGS
from cg_lab.reporting.probabilities import Explored
from cg_lab.reporting.read import Readings
from cg_lab.serialize import replacing

Row = dict[str, str]


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write rows under the columns of the first, whole or not at all; without a row, no file."""
    left = iter(rows)
    first = next(left, None)
    if first is None:
        return
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(map(_quote, first)) + "\n")
        for row in chain([first], left):
            file.write(",".join([_write_cell(row.get(name, "")) for name in first]) + "\n")


@lru_cache(maxsize=4096)
def _write_cell(cell: str) -> str:
    return _quote(guard(cell))


def _quote(cell: str) -> str:
    """Put quotes around a cell that needs them, as `csv` does; it takes 30 times as long for lists of 1,000 names."""
    if "," in cell or '"' in cell or "\n" in cell or "\r" in cell:
        return '"' + cell.replace('"', '""') + '"'
    return cell


def guard(cell: str) -> str:
    """Put an apostrophe before what a spreadsheet would run as a formula; numbers stay.

    >>> guard("=1+1"), guard("-0.25"), guard("-inf"), guard("ct-lung")
    ("'=1+1", '-0.25', '-inf', 'ct-lung')
    """
    if not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def list_effects(effects: StudyEffects) -> Iterator[Row]:
    """Make a row for each contrast and arm; in the `sources` arm one for each source."""
    reasons: dict[tuple[str, Arm, str, str], list[str]] = {}
    by_key = {cell.cell: cell.reason for cell in effects.missing}
    for cell in effects.plan.cells:
        if cell.key in by_key:
            reasons.setdefault((cell.contrast, cell.arm, cell.variant, cell.subset), []).append(by_key[cell.key])
    factors = _list_factors(effects)
    for contrast in effects.contrasts:
        asked = _describe_contrast(effects, contrast.contrast, factors)
        for arm in contrast.arms:
            gone = reasons.get((contrast.contrast.id, arm.arm, arm.variant, arm.subset), [])
            yield asked | _describe_effect(contrast, arm, gone)


def list_summaries(effects: StudyEffects) -> list[Row]:
    """Make a row for each number over several held-out questions."""
    return [
        {
            "measure": part.measure,
            "arm": part.arm,
            "questions": part.group,
            "num_questions": str(part.num_questions),
            "method": part.method,
            **_interval("value", part.value, with_p=part.measure in {"gain", "loss_without", "slope"}),
        }
        for part in effects.summaries
    ]


def list_curves(effects: StudyEffects) -> list[Row]:
    """Make a row for each level and arm of each curve; the main arm's say what other arms need for as much."""
    rows: list[Row] = []
    main = {part.contrast.id: part.main.arm for part in effects.contrasts if part.main}
    for curve in effects.curves:
        savings = {(part.level, part.over): part for part in curve.savings}
        for place, level in enumerate(curve.levels):
            for arm, accuracies in curve.accuracies.items():
                row = {"setting": curve.setting, "design": curve.design, "curve": curve.name, "level": f"{level:g}"}
                row |= {"arm": str(arm), **_interval("accuracy", accuracies[place], with_p=False)}
                for over in GROWING:
                    saving = savings.get((level, over)) if arm is main.get(curve.contrasts[0]) else None
                    needed = (saving.needed, saving.low, saving.high) if saving else (None, None, None)
                    for end, value in zip(("", "_low", "_high"), needed, strict=True):
                        row[f"needed_by_{over}{end}"] = "" if value is None else f"{value:.1f}"
                rows.append(row)
    return rows


def list_transfers(effects: StudyEffects) -> list[Row]:
    """Make a row for each source and target of the transfer matrix."""
    return [
        {
            "setting": part.setting,
            "source": part.source,
            "target": part.target,
            "num_models": str(part.num_models),
            "num_mixtures": str(part.num_mixtures),
            **_interval("gain_over_zero_shot", part.gain),
        }
        for part in effects.transfers
    ]


def list_reliability(explored: Explored) -> list[Row]:
    """Make a row for each arm and bin of confidence."""
    return [
        {
            "arm": str(part.arm),
            "calibration_error": _number(part.error),
            "num_answers": str(group.num_answers),
            "confidence": _number(group.confidence),
            "accuracy": _number(group.accuracy),
            "accuracy_low": _number(group.low),
            "accuracy_high": _number(group.high),
        }
        for part in explored.reliabilities
        for group in part.bins
    ]


def list_splits(explored: Explored) -> list[Row]:
    """Make a row for each world and side of a design that splits pairs."""
    return [
        {
            "setting": part.setting,
            "world": part.world,
            "side": part.side,
            "num_models": str(part.num_models),
            "num_seen": str(part.num_seen),
            "num_unseen": str(part.num_unseen),
            **{key: value for name in MEASURES for key, value in _interval(name, part.get(name), with_p=False).items()},
        }
        for part in explored.splits
    ]


def list_cells(effects: StudyEffects, readings: Readings) -> Iterator[Row]:
    """Make a row for each planned cell, done or missing."""
    factors = _list_factors(effects)
    missing = {cell.cell: cell.reason for cell in effects.missing}
    names = [name for name in MEANINGS if any(name in metrics for metrics in readings.metrics.values())]
    targets = {part.id: part.target for part in effects.plan.contrasts}
    for cell in effects.plan.cells:
        metrics = readings.metrics.get(cell.eval_job, {})
        found = readings.scores.get(cell.eval_job)
        coverage = {part.factor: ";".join(part.subsets) for part in cell.proof.coverage}
        mixture = effects.plan.find_mixture(cell)
        yield (
            {
                "cell": cell.key,
                "contrast": cell.contrast,
                "target": targets[cell.contrast],
                "arm": cell.arm,
                "subset": cell.subset,
                "seed": "" if cell.seed is None else str(cell.seed),
                "variant": cell.variant,
                "trained_on": "" if mixture is None else _write_mixture(mixture),
                "num_train": str(cell.proof.num_train),
                "num_questions": str(cell.proof.num_test),
                "chance": _number(cell.proof.chance),
                "accuracy": _number(float(found.correct_SQ.mean())) if found else "",
                **{name: _number(metrics.get(name)) for name in names},
                "state": "done" if found else "missing" if cell.key in missing else "not due",
                "reason": missing.get(cell.key, ""),
                "eval_job": cell.eval_job,
                "finetune_job": ";".join(cell.finetunes),
                "target_absent": _flag(cell.proof.target_absent),
                "shared_elements": str(cell.proof.shared_elements),
                **{f"covers_{factor}": coverage.get(factor, "") for factor in factors},
                "twins": ";".join(cell.proof.twins),
                "labels_shared": ";".join(cell.proof.labels_shared),
                "same_options": ";".join(cell.proof.same_options),
                "same_datasets": ";".join(cell.proof.same_datasets),
                "overlaps": "" if cell.proof.overlaps is None else str(cell.proof.overlaps),
                "detectable_gain": _number(cell.proof.detectable),
            }
        )


def _list_factors(effects: StudyEffects) -> tuple[str, ...]:
    return tuple(dict.fromkeys(factor for catalog in effects.plan.catalogs for factor in catalog.factors))


def _describe_contrast(effects: StudyEffects, contrast: Contrast, factors: tuple[str, ...]) -> Row:
    """Give the columns that all arms of a held-out question share."""
    elements = dict(zip(effects.plan.find_catalog(contrast).factors, contrast.view, strict=True))
    return {
        "study": effects.plan.study,
        "setting": contrast.setting,
        "design": contrast.design,
        "contrast": contrast.id,
        "target": contrast.target,
        **{factor: elements.get(factor, "") for factor in factors},
        "direction": contrast.direction or "",
        "level": "" if contrast.level is None else f"{contrast.level:g}",
        "curve": contrast.curve,
        "facts": "; ".join(f"{fact.name}: {fact.value}" for fact in contrast.facts),
        "related": ";".join(contrast.related),
        "unrelated": ";".join(contrast.unrelated),
        "fully_covered": _flag(contrast.fully_covered),
    }


def _describe_effect(contrast: ContrastEffect, arm: ArmEffect, gone: list[str]) -> Row:
    is_main = contrast.main is arm
    further = contrast.further if is_main else None
    merge = next((part for part in contrast.merges if part.arm is arm.arm), None)
    return {
        "arm": arm.arm,
        "variant": arm.variant,
        "subset": arm.subset,
        "seeds": ";".join(map(str, arm.seeds)),
        "num_questions": str(arm.num_questions),
        "chance": _number(arm.chance),
        **_interval("accuracy", arm.accuracy, with_p=False),
        **{
            key: value
            for over in GAINS_OVER
            for key, value in _interval(f"gain_over_{over}", arm.gains.get(over)).items()
        },
        **{
            key: value
            for over in REFERENCES
            for key, value in _ends(f"gain_over_{over}_bootstrap", contrast.bootstrap.get(over) if is_main else None)
        },
        **_interval("recovered_share", contrast.recovered if is_main else None, with_p=False),
        **{f"mcnemar_p_over_{over}": _p_value(contrast.mcnemar.get(over) if is_main else None) for over in CONTROLS},
        "p_holm": _p_value(contrast.p_holm) if is_main else "",
        "p_composes": _p_value(contrast.decision.p_composes) if is_main else "",
        "verdict": contrast.word if is_main else "",
        "verdict_reason": contrast.reason if is_main else "",
        "check_mark": _flag(contrast.check_mark) if is_main else "",
        "exploratory": _flag(contrast.is_exploratory) if is_main else "",
        "detectable_gain_over_unrelated": _number(contrast.detectable) if is_main else "",
        "seeds_to_resolve": str(further.num_seeds or "") if further else "",
        "finetunes_to_resolve": str(further.num_finetunes) if further and further.num_seeds else "",
        **_interval(
            "share_of_gain_lost", contrast.lost.get(arm.variant) if arm.arm is Arm.WITHOUT else None, with_p=False
        ),
        **_describe_combination(contrast.combination if is_main else None),
        **_interval("share_of_gain_kept", merge.kept if merge else None, with_p=False),
        "missing": str(len(gone)),
        "missing_reasons": "; ".join(dict.fromkeys(gone)),
    }


def _describe_combination(found: Combination | None) -> Row:
    """Give what the sources do together; gains over each alone as `source gain [low, high]`."""
    alone = found.over_alone if found else {}
    return {
        **_interval("synergy", found.synergy if found else None),
        **_interval("interaction", found.interaction if found else None),
        "over_each_alone": ";".join(
            f"{source} {gain.estimate:.6f} [{gain.low:.6f}, {gain.high:.6f}] p={gain.p_value:.6g}"
            for source, gain in alone.items()
        ),
        "sufficient_source": found.sufficient if found else "",
    }


def _interval(name: str, interval: Interval | None, *, with_p: bool = True) -> Row:
    row = {
        name: _number(interval.estimate if interval else None),
        f"{name}_low": _number(interval.low if interval else None),
        f"{name}_high": _number(interval.high if interval else None),
    }
    return row | {f"{name}_p": _p_value(interval.p_value if interval else None)} if with_p else row


def _ends(name: str, interval: Interval | None) -> Iterator[tuple[str, str]]:
    yield f"{name}_low", _number(interval.low if interval else None)
    yield f"{name}_high", _number(interval.high if interval else None)


def _p_value(value: float | None) -> str:
    """Write a p-value with six digits that count, so that small ones are not taken for zero."""
    return "" if value is None else f"{value:.6g}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _flag(value: bool | None) -> str:  # noqa: FBT001
    return "" if value is None else str(value).lower()


def _write_mixture(mixture: Mixture) -> str:
    return ";".join(f"{part.subset}:{part.count}" for part in mixture.parts)
