"""Random catalogues and studies: everything that a planner may be given, from a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from random import Random
from typing import Any, TypeVar, cast

from cg_lab.arms import Arm
from cg_lab.catalog import Catalog, Overlap, build_catalog
from cg_lab.mat import Kind, Subset
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.designs import parse_design
from cg_lab.planning.plan import Plan
from cg_lab.recipe import Lora
from cg_lab.study import Study
from tests.planning.cases import BACKBONE, DATA, STUDY

T = TypeVar("T")
FACTORS = ("modality", "area", "task", "population", "view")
VALUES = (
    ("CT", "MRI", "US", "Der"), ("Lung", "Brain", "Breast", "Lung Lung"), ("Mass", "Lung Mass", "State", "covid"),
    ("adult", "child", "old", "female"), ("front", "side", "top", "back"),
)  # fmt: skip
LABELS: tuple[tuple[str, ...], ...] = (("no", "yes"), ("a", "b", "c"), ("no", "perhaps", "yes"), ("1", "2", "3", "4"))
COUNTS = (0, 1, 2, 7, 40, 1000)
CONTROLS = [
    arm for arm in Arm if arm not in {"zero_shot", "zero_shot_blind", "related", "multi_task", "blind", "sources"}
]
"""Arms that are trained beside the one that a question is about."""
DESIGNS = (
    "two_source", "three_source", "all_related", "disrupt", "multi_task", "size_curve", "target_curve", "backbones",
    "few_shot", "cross_kind", "crossmed", "coverage", "divergence", "distance", "folds", "attribute_split",
    "transfer",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A study over a catalogue."""

    seed: int
    study: Study
    catalog: Catalog


def make_case(seed: int) -> Case:
    """Make the case of a number; the designs take turns."""
    random = Random(f"case/{seed}")
    catalog = _make_catalog(random)
    return Case(seed=seed, study=_make_study(random, DESIGNS[seed % len(DESIGNS)], catalog), catalog=catalog)


def _some(random: Random, items: Sequence[T], most: int | None = None) -> list[T]:
    """Pick one item or more, each once, in any order."""
    return random.sample(items, random.randint(1, min(len(items), most or len(items))))


def _make_catalog(random: Random) -> Catalog:
    factors = FACTORS[: random.choice((2, 3, 3, 3, 3, 4, 5))]
    widest = {2: 4, 3: 3, 4: 3, 5: 2}[len(factors)]
    values = [list(part[: random.choice((2, widest, widest))]) for part in VALUES[: len(factors)]]
    tag_share, twin_share, box_share = (random.choice((0, 0, 0.1, 0.3)) for _ in range(3))
    counts = random.choice((COUNTS, COUNTS[1:], COUNTS[2:], COUNTS[3:], (40,), (1, 2)))
    ties = dict(zip(values[0], values[1], strict=False)) if random.random() < 0.2 else {}
    size = random.choice((random.randint(2, 8), *(random.randint(10, 20) for _ in range(4))))
    names = random.sample([f"s{number:02}" for number in range(40)], size)
    subsets: list[Subset] = []
    grid = random.sample(list(product(*values)), prod(len(part) for part in values)) if random.random() < 0.6 else []
    for name in names:
        own = list(grid.pop()) if grid else [random.choice(part) for part in values]
        if own[0] in ties and random.random() < 0.8:
            own[1] = ties[own[0]]
        elements = tuple(_add_tags(random, value, part, tag_share) for value, part in zip(own, values, strict=True))
        if subsets and random.random() < twin_share / 2:
            elements = tuple(tuple(random.sample(part, len(part))) for part in random.choice(subsets).elements)
        subsets.append(_make_subset(random, name, elements, counts, is_box=random.random() < box_share))
    if random.random() < 0.2:
        filler = Subset(
            name=random.choice(("aa", "filler", "zz")),
            elements=((),) * len(factors),
            num_options=4,
            num_train=random.choice((1, 30, 500)),
            num_test=random.choice((0, 10)),
            kind=Kind.FILLER,
        )
        subsets.append(filler)
    tied = [(random.choice(values[0]), random.choice(values[1])) for _ in range(random.randint(0, 2))]
    return build_catalog(
        DATA,
        subsets,
        factors=factors,
        tied=tuple(tied) if random.random() < 0.2 else None,
        overlaps=_make_overlaps(random, [subset.name for subset in subsets]),
    )


def _add_tags(random: Random, value: str, known: list[str], share: float) -> tuple[str, ...]:
    return tuple(dict.fromkeys([value, *(random.choice(known) for _ in range(2) if random.random() < share)]))


def _make_subset(
    random: Random, name: str, elements: tuple[tuple[str, ...], ...], counts: tuple[int, ...], *, is_box: bool
) -> Subset:
    labels = random.choice(LABELS)
    return Subset(
        name=name,
        elements=elements,
        labels=() if is_box or random.random() < 0.05 else labels,
        num_options=0 if is_box else len(labels),
        num_train=random.choice(counts),
        num_test=random.choice((0, 10, 10, 10, 10, 10, 25)),
        kind=Kind.DETECTION if is_box else Kind.CLASSIFICATION,
        split=random.choice((None, None, "in_distribution", "out_of_distribution")),
        datasets=tuple(random.sample("12345", random.choice((0, 0, 1, 2)))),
    )


def _make_overlaps(random: Random, names: list[str]) -> tuple[Overlap, ...] | None:
    chance = random.random()
    if chance < 0.1:
        return None
    return tuple(
        Overlap(train=random.choice(names), test=random.choice(names), count=random.randint(0, 3), what="groups")
        for _ in range(random.randint(1, 3) if chance > 0.85 else 0)
    )


def _make_study(random: Random, design: str, catalog: Catalog) -> Study:
    kinds = ["classification", "detection"] if random.random() < 0.5 or design == "cross_kind" else ["classification"]
    if random.random() < 0.05:
        kinds.append("filler")
    raw: dict[str, Any] = {
        "name": design,
        "kinds": kinds,
        "max_samples": random.choice((1, 2, 5, 16, 64, 64, 500, 5000)),
        **_make_settings(random, design, catalog, kinds),
    }
    names = list(catalog.names)
    is_large = len(names) > 12 or len(catalog.factors) > 3
    targets = tuple(random.sample(names, min(len(names), 6))) if random.random() < (0.7 if is_large else 0.2) else None
    arms = tuple(_some(random, list(Arm))) if random.random() < 0.3 else None
    fillers = [subset.name for subset in catalog.subsets if subset.kind is Kind.FILLER]
    filler = replace(
        STUDY.filler,
        subset=random.choice([*fillers, None]),
        share=random.choice((0.0, 0.05, 0.3, 0.99)),
    )
    budgets = [replace(STUDY.budget, samples=most) for most in (20, 300, 5000)]
    budgets += [replace(STUDY.budget, finetunes=most) for most in (1, 4, 20)]
    return replace(
        STUDY,
        finetune=replace(STUDY.finetune, lora=Lora(rank=4, alpha=8, dropout=0.0)),
        design=parse_design(raw, where="brute force"),
        targets=targets,
        seeds=random.choice(((0,), (0,), (1, 0), (7, 3, 5))),
        arms=arms,
        twins=random.choice(("shared", "equal")),
        filler=filler,
        budget=random.choice(budgets) if random.random() < 0.1 else STUDY.budget,
        arm_seeds={arm: random.randint(1, 3) for arm in _some(random, CONTROLS)} if random.random() < 0.5 else None,
    )


def _make_settings(random: Random, design: str, catalog: Catalog, kinds: list[str]) -> dict[str, Any]:  # noqa: PLR0911, C901
    names, factors = list(catalog.names), list(catalog.factors)
    directions = _some(random, [*factors, "pair"])
    combinations = random.choice((None, None, 1, 2, 3))
    has_rows = random.random() < 0.2
    match design:
        case "two_source" | "cross_kind" | "few_shot" | "backbones" | "three_source":
            rows = _make_rows(random, names, directions) if has_rows else None
            chosen = {
                "two_source": {"directions": directions, "combinations": combinations},
                "three_source": {"combinations": combinations},
                "cross_kind": {"directions": directions, "combinations": combinations,
                               "target_samples": random.choice((0, 1, 4, 50))},
                "few_shot": {"directions": directions[:2], "combinations": combinations or 3,
                             "shots": random.choice(([0], [0, 2], [3, 1], [0, 20]))},
                "backbones": {"directions": directions, "per_direction": random.randint(1, 3),
                              "seed": random.randint(0, 9)},
            }  # fmt: skip
            prefer = {"prefer": random.choice(("sharing", "hash"))} if "combinations" in chosen[design] else {}
            return {**chosen[design], "rows": rows, **({} if design == "three_source" else prefer)}
        case "size_curve" | "target_curve":
            directions = _some(random, [*factors, "pair", "all_related"], 3)
            key = "sizes" if design == "size_curve" else "target_samples"
            amounts = _some(random, [1, 2, 3, 8, 30, 100, 2000] if design == "size_curve" else [0, 1, 2, 8, 100])
            prefer = random.choice(("sharing", "hash"))
            return {"directions": directions, "combinations": combinations, "prefer": prefer, key: amounts}
        case "all_related":
            return {"asks_sources": random.random() < 0.5}
        case "disrupt":
            return {"leave_out": random.choice(("own", "any"))}
        case "multi_task":
            named = _some(random, names) if random.random() < 0.3 else None
            return {"in_distribution": named, "tests_in_distribution": random.random() < 0.7}
        case "coverage":
            return {
                "factors": random.sample(factors, 2),
                "values": _some(random, [2, 3]),
                "shown": _some(random, [1, 2]),
            }
        case "divergence":
            return {
                "divergences": _some(random, [0.0, 0.2, 0.5, 1.0], 2),
                "test_share": random.choice((0.1, 0.2, 0.5, 0.9)),
                "seed": random.randint(0, 3),
            }
        case "distance":
            nodes = _some(random, names, 3) if random.random() < 0.3 else None
            return {
                "nodes": nodes,
                "num_nodes": random.randint(1, 3),
                "num_sets": random.randint(1, 3),
                "per_shell": random.randint(1, 4),
            }
        case "attribute_split":
            attribute, thing = random.sample(factors, 2)
            return {
                "attribute": attribute,
                "object": thing,
                "validation_share": random.choice((0, 0.2, 0.5)),
                "test_share": random.choice((0.1, 0.3, 0.6)),
                "worlds": random.choice((["closed"], ["open"], ["closed", "open"])),
            }
        case "transfer":
            filled = [
                part.name for part in catalog.subsets if part.num_train and part.kind in kinds and part.kind != "filler"
            ]
            return {
                "sizes": random.choice(([1], [2], [1, 2], [])),
                "per_size": None,
                "mixtures": [_some(random, filled, 4)] if filled and random.random() < 0.5 else [],
            }
        case "folds":
            return {"folds": random.choice((None, None, 2, 3))}
    return {}


def _make_rows(random: Random, names: list[str], directions: list[str]) -> list[dict[str, Any]]:
    """Name combinations: any subset with any others, but for the target itself."""
    return [
        {
            "target": target,
            "sources": _some(random, [name for name in names if name != target], 3),
            "direction": random.choice((None, *directions)),
        }
        for target in random.choices(names, k=random.randint(1, 5))
    ]


def plan_cases(*cases: Case) -> Plan:
    """Plan one case, or several as the settings of a multirun."""
    names = [case.study.design.name if len(cases) > 1 else "" for case in cases]
    return build_plan(
        [
            Run(name=name, study=case.study, catalog=case.catalog, backbone=BACKBONE)
            for name, case in zip(names, cases, strict=True)
        ]
    )


def lift_budget(case: Case) -> Case:
    """Let the study cost what it will."""
    return replace(case, study=replace(case.study, budget=STUDY.budget))


def rename(case: Case) -> tuple[Case, dict[str, str]]:
    """Give every subset another name, in the same order."""
    names = {name: f"n{number:02}-{name}" for number, name in enumerate(case.catalog.names)}
    catalog = replace(
        case.catalog,
        subsets=tuple(replace(subset, name=names[subset.name]) for subset in case.catalog.subsets),
        overlaps=case.catalog.overlaps
        and tuple(replace(part, train=names[part.train], test=names[part.test]) for part in case.catalog.overlaps),
    )
    study = case.study
    filler = replace(study.filler, subset=study.filler.subset and names[study.filler.subset])
    targets = study.targets and tuple(names[name] for name in study.targets)
    return replace(case, catalog=catalog, study=replace(study, filler=filler, targets=targets)), names


def shuffle(case: Case) -> Case:
    """Put the lines of the catalogue in another order."""
    random = Random(case.seed)
    subsets = list(case.catalog.subsets)
    random.shuffle(subsets)
    catalog = case.catalog
    return replace(
        case,
        catalog=build_catalog(
            catalog.data, subsets, factors=catalog.factors, tied=catalog.tied, overlaps=catalog.overlaps
        ),
    )


def put_beside(case: Case) -> Case:
    """Give another study over the same catalogue."""
    name = "two_source" if case.study.design.name == "all_related" else "all_related"
    further = {"two_source": {"directions": [FACTORS[0]], "combinations": 1}, "all_related": {"asks_sources": True}}[
        name
    ]
    raw = {"name": name, "kinds": list(case.study.design.kinds), "max_samples": 16, **further}
    return replace(case, study=replace(case.study, design=parse_design(raw, where="brute force")))


def drop(case: Case, name: str) -> Case | None:
    """Take one subset out; None if the study needs it."""
    design = cast("Any", case.study.design)
    named = [*(getattr(design, "nodes", None) or ()), *(getattr(design, "in_distribution", None) or ())]
    named += [name for mixture in getattr(design, "mixtures", ()) for name in mixture]
    named += [part for row in getattr(design, "rows", None) or () for part in (row.target, *row.sources)]
    if name in named or case.study.filler.subset == name:
        return None
    targets = case.study.targets and tuple(part for part in case.study.targets if part != name)
    if targets == () or len(case.catalog.subsets) == 1:
        return None
    overlaps = case.catalog.overlaps and tuple(
        part for part in case.catalog.overlaps if name not in {part.train, part.test}
    )
    subsets = tuple(part for part in case.catalog.subsets if part.name != name)
    return replace(
        case,
        study=replace(case.study, targets=targets),
        catalog=replace(case.catalog, subsets=subsets, overlaps=overlaps),
    )
