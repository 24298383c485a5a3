"""What every cell's proof and mixture must be, recomputed from the mixture by plain sets; from docs/designs.md."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from math import isclose, sqrt
from typing import Any

from cg_lab.arms import Arm
from cg_lab.catalog import Catalog
from cg_lab.mat import Kind
from cg_lab.planning.plan import Cell, Contrast, Plan, Training
from cg_lab.planning.proof import Coverage, Proof
from cg_lab.planning.work import EvalJob, FinetuneJob, Mixture, give_part
from cg_lab.study import Study
from tests.planning.brute_force.neighbourhood import Neighbourhood

MAIN = ("related", "multi_task")
"""Arms that a question is about; blind and sources ask their models."""
UNTOUCHED = ("zero_shot", "zero_shot_blind")
"""Arms of the untouched model."""
MERGED = ("composed", "composed_alone", "composed_unrelated")
"""Arms that ask the adapters of several fine-tunes as one."""
OPTIONAL = ("zero_shot_blind", *MERGED)
"""Arms that are planned only where a study names them."""
BUDGETED = (
    "unrelated", "partial", "related", "alone", "mismatched", "without", "all_data", "shuffled", "composed",
    "composed_unrelated",
)  # fmt: skip
NUM_SEEDS = {"unrelated": 2, "mismatched": 2, "ceiling": 1, "shuffled": 1, "composed_unrelated": 2}
"""With how many of the seeds an arm is trained by default; the others with all."""
Z_TOTAL = 1.959963984540054 + 0.8416212335729143
"""Normal quantiles of a two-sided level of 5 % and of a power of 80 %."""


class BrokenRuleError(AssertionError):
    """A plan that is not what the docs say."""


def require(holds: object, *told: object) -> None:
    """Raise where something does not hold."""
    if not holds:
        raise BrokenRuleError(" ".join(map(str, told)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """A plan with what is looked up again and again."""

    near: Neighbourhood
    study: Study
    catalog: Catalog
    plan: Plan
    finetunes: dict[str, FinetuneJob]
    evals: dict[str, EvalJob]
    filler: str | None
    """Name of what is mixed into every trained arm."""


def open_books(near: Neighbourhood, study: Study, catalog: Catalog, plan: Plan) -> Books:
    """Index the jobs of a plan."""
    return Books(
        near=near,
        study=study,
        catalog=catalog,
        plan=plan,
        finetunes={job.id: job for job in plan.finetunes},
        evals={job.id: job for job in plan.evals},
        filler=study.filler.subset if study.filler.share else None,
    )


def check_cells(books: Books) -> None:
    """Hold every cell against its mixture, and the jobs against the cells."""
    cells: dict[str, list[Cell]] = defaultdict(list)
    for cell in books.plan.cells:
        cells[cell.contrast].append(cell)
    require(set(cells) == {contrast.id for contrast in books.plan.contrasts}, "questions without cells, or the reverse")
    require(len({cell.key for cell in books.plan.cells}) == len(books.plan.cells), "two cells have one key")
    for contrast in books.plan.contrasts:
        _check_which_cells(books, contrast, cells[contrast.id])
        for cell in cells[contrast.id]:
            _check_cell(books, contrast, cell)
        _check_arms(books, contrast, cells[contrast.id])
    used = {job for cell in books.plan.cells for job in (cell.finetune_job, *cell.merged_jobs)} - {None}
    require(used == {*books.finetunes} and len(used) == len(books.plan.finetunes), "fine-tunes are not those of cells")
    asked = {cell.eval_job for cell in books.plan.cells}
    require(asked == {*books.evals} and len(asked) == len(books.plan.evals), "evaluations are not those of cells")
    reusing = {*MAIN, "blind", "sources"}
    declared = {
        (cell.contrast, "" if cell.arm in reusing else cell.arm, cell.variant, cell.seed, place)
        for cell in books.plan.cells
        for place, _ in enumerate(cell.merged_jobs or filter(None, [cell.finetune_job]))
    }
    require(books.plan.num_declared_finetunes == len(declared), "num_declared_finetunes")


def _check_which_cells(books: Books, contrast: Contrast, cells: list[Cell]) -> None:
    """Each wanted arm that the question has, for each seed; the untouched backbone once."""
    wanted = {*(books.study.arms or Arm)} - ({*OPTIONAL} if books.study.arms is None else set[str]())
    keys: Counter[tuple[Any, ...]] = Counter((cell.arm, cell.variant, cell.subset, cell.seed) for cell in cells)
    expected: Counter[tuple[Any, ...]] = Counter()
    for name in wanted.intersection(UNTOUCHED):
        expected[name, "", contrast.target, None] += 1
    num_seeds = {**NUM_SEEDS, **(books.study.arm_seeds or {})}
    for number, seed in enumerate(books.study.seeds, start=1):
        for training in contrast.trainings:
            if training.arm in wanted and number <= num_seeds.get(training.arm, number):
                expected[training.arm, training.variant, contrast.target, seed] += 1
        if contrast.main is None:
            continue
        if "blind" in wanted:
            expected["blind", "", contrast.target, seed] += 1
        mixture = _find_main_mixture(books, contrast, cells, seed)
        if contrast.asks_sources and "sources" in wanted and mixture is not None:
            for part in mixture.parts:
                if part.subset in contrast.main.subsets and books.near.is_askable(part.subset):
                    expected["sources", "", part.subset, seed] += 1
    require(keys == expected, contrast.id, "has the cells", [*(keys - expected)], "and lacks", [*(expected - keys)])


def _find_main_mixture(books: Books, contrast: Contrast, cells: list[Cell], seed: int) -> Mixture | None:
    for cell in cells:
        if cell.seed == seed and cell.arm in {*MAIN, "blind", "sources"} and cell.finetune_job:
            return books.finetunes[cell.finetune_job].mixture
    return None


def _check_cell(books: Books, contrast: Contrast, cell: Cell) -> None:
    job = books.finetunes[cell.finetune_job] if cell.finetune_job else None
    training = _find_training(contrast, cell)
    _check_evaluation(books, contrast, cell)
    require(bool(cell.merged_jobs) is (cell.arm in MERGED), cell.key, "merges", cell.merged_jobs)
    if cell.arm in MERGED and training is not None:
        expected = _prove(books, contrast, cell, training, _unite_shares(books, cell, training))
    elif job is None or training is None:
        require(cell.arm in UNTOUCHED and cell.seed is None, cell.key, "has no fine-tune")
        expected = _prove(books, contrast, cell, None, None)
    else:
        require(job.seed == job.mixture.seed == cell.seed, cell.key, "has another seed than its fine-tune")
        _check_mixture(books, contrast, cell, training, job.mixture)
        expected = _prove(books, contrast, cell, training, job.mixture)
    if cell.proof.detectable is not None and expected.detectable is not None:
        require(isclose(cell.proof.detectable, expected.detectable), cell.key, "claims another detectable gain")
        expected = replace(expected, detectable=cell.proof.detectable)
    if cell.proof != expected:
        for name in Proof.__dataclass_fields__:
            found, wanted = getattr(cell.proof, name), getattr(expected, name)
            require(found == wanted, cell.key, "proves", name, found, "where it is", wanted)


def _unite_shares(books: Books, cell: Cell, training: Training) -> Mixture:
    """Put together what adapters were trained on: one source each, its share and its own part of the filler."""
    near, counts = books.near, Counter[str]()
    mixtures = [books.finetunes[job].mixture for job in cell.merged_jobs]
    for mixture in mixtures:
        require(mixture.seed == cell.seed and mixture.labels == "true", cell.key, "merges", mixture)
        own = {part.subset: part.count for part in mixture.parts}
        filler = own.pop(books.filler, 0) if books.filler else 0
        require(len(own) == 1, cell.key, "merges adapters of several sources:", own)
        if books.filler:
            available = next(part.num_train for part in books.catalog.subsets if part.name == books.filler)
            wanted = min(round(books.study.filler.share * sum(own.values())), available)
            require(filler == wanted, cell.key, "has", filler, "filler samples, not", wanted)
        counts.update({part.subset: part.count for part in mixture.parts})
    given = Counter({name: count for name, count in counts.items() if name != books.filler})
    require({*given} == {*training.subsets} & near.filled, cell.key, "merges other sources:", {*given})
    require(sum(given.values()) == training.num_samples, cell.key, "has", sum(given.values()), "samples")
    _check_spread(near, cell, training, given)
    return replace(mixtures[0], parts=tuple(give_part(name, counts[name]) for name in sorted(counts)))


def _find_training(contrast: Contrast, cell: Cell) -> Training | None:
    """Find what an arm trains on; blind and sources ask the main arm's model."""
    if cell.arm in UNTOUCHED:
        return None
    arms = MAIN if cell.arm in {"blind", "sources"} else (cell.arm,)
    (training,) = (part for part in contrast.trainings if part.arm in arms and part.variant == cell.variant)
    return training


def _check_evaluation(books: Books, contrast: Contrast, cell: Cell) -> None:
    job, settings = books.evals[cell.eval_job], books.study.evaluation
    protocol = job.protocol
    asks_target = cell.arm != "sources"
    asked = (job.target, job.checkpoint_of, () if job.merge is None else job.merge.of)
    require(asked == (cell.subset, cell.finetune_job, cell.merged_jobs), cell.key, "asks something else")
    require(protocol.image == ("blank" if "blind" in cell.arm else "original"), cell.key, "shows the wrong image")
    require(protocol.shots == (contrast.protocol.shots if asks_target else 0), cell.key, "has other examples")
    require(
        protocol.by == (settings.untouched_by if cell.arm in UNTOUCHED else settings.by), cell.key, "is read otherwise"
    )
    expected = (contrast.protocol.ask, contrast.protocol.places, contrast.protocol.candidates)
    found = (protocol.ask, protocol.places, protocol.candidates)
    require(found == (expected if asks_target else ("finding", (), ())), cell.key, "asks otherwise")


def _check_mixture(books: Books, contrast: Contrast, cell: Cell, training: Training, mixture: Mixture) -> None:
    """Spread evenly, none beyond what it has, the target's samples and the filler apart."""
    near, counts = books.near, Counter({part.subset: part.count for part in mixture.parts})
    require([part.subset for part in mixture.parts] == sorted(counts), cell.key, "names subsets twice or in disorder")
    require(all(count > 0 for count in counts.values()), cell.key, "has parts without samples")
    filler = counts.pop(books.filler, 0) if books.filler else 0
    if books.filler:
        available = next(part.num_train for part in books.catalog.subsets if part.name == books.filler)
        wanted = round(books.study.filler.share * (training.num_samples + training.num_target))
        require(filler == min(wanted, available), cell.key, "has", filler, "filler samples, not", wanted)
    extra = counts.pop(contrast.target, 0) if training.num_target else 0
    require(extra == training.num_target, cell.key, "has", extra, "further samples of the target")
    require({*counts} <= {*training.subsets}, cell.key, "trains on others:", {*counts} - {*training.subsets})
    require(sum(counts.values()) == training.num_samples, cell.key, "has", sum(counts.values()), "samples")
    _check_spread(near, cell, training, counts)
    require(mixture.labels == ("shuffled" if cell.arm == "shuffled" else "true"), cell.key, "has the wrong labels")


def _check_spread(near: Neighbourhood, cell: Cell, training: Training, counts: Counter[str]) -> None:
    """What can't be divided evenly is one sample a subset, each time that others are exhausted."""
    exhausted = {near.subsets[name].num_train for name in counts if counts[name] == near.subsets[name].num_train}
    most = max(counts.values(), default=0)
    for name in training.subsets:
        size = near.subsets[name].num_train
        require(counts[name] <= size, cell.key, "takes more of", name, "than it has")
        is_even = counts[name] == size or counts[name] >= most - 1 - len(exhausted)
        require(is_even, cell.key, "is spread unevenly:", dict(counts))


def _prove(books: Books, contrast: Contrast, cell: Cell, training: Training | None, mixture: Mixture | None) -> Proof:
    near, target, view = books.near, contrast.target, contrast.view
    subset, asked = near.subsets[target], near.subsets[cell.subset]
    trained = {part.subset: part.count for part in mixture.parts} if mixture else {}
    num_train = sum(count for name, count in trained.items() if name != books.filler)
    others = [name for name in sorted(trained) if name not in {target, books.filler}]
    asks_target = cell.arm != "sources"
    by_elements = contrast.protocol.ask == "elements"
    places = contrast.protocol.places if by_elements else tuple(near.places)
    examples = contrast.protocol.shots * max(1, len(subset.labels)) if asks_target else 0
    shared = [len(near.shared(target, name)) for name in others]
    chance = 1 / asked.num_options if asked.num_options else 0.0
    has_chance = bool(asked.num_options)
    if by_elements and asks_target:
        chance, has_chance = 1 / len(contrast.protocol.candidates), True
    planned = training.num_samples + training.num_target if training else 0
    main = contrast.main
    return Proof(
        target_absent=not examples and target not in trained and not near.twins(target) & trained.keys(),
        target_samples=trained.get(target, 0),
        target_examples=examples,
        twins=tuple(name for name in others if near.shares_all(target, name)),
        twins_counted=tuple(name for name in others if near.is_twin(target, name)),
        only="".join(others) if len(others) == 1 else "",
        whole_in=tuple(name for name in others if all(near.shows(name, place, view[place]) for place in places)),
        coverage=tuple(
            Coverage(
                factor=near.factors[place],
                value=view[place],
                subsets=tuple(name for name in others if near.shows(name, place, view[place])),
            )
            for place in places
        ),
        shared_elements=len({place for name in others for place in near.shared(target, name)}),
        shared_by_each=(min(shared, default=0), max(shared, default=0)),
        num_train=num_train,
        budget=main.num_samples + main.num_target if cell.arm in BUDGETED and main else planned,
        num_test=asked.num_test,
        chance=chance,
        detectable=min(1 - chance, Z_TOTAL * sqrt(chance * (1 - chance) / asked.num_test)) if has_chance else None,
        labels_shared=tuple(
            sorted({*subset.labels} & {label for name in others for label in near.subsets[name].labels})
        ),
        same_options=tuple(
            name for name in others if subset.labels and {*near.subsets[name].labels} == {*subset.labels}
        ),
        same_datasets=tuple(
            sorted({*subset.datasets} & {part for name in others for part in near.subsets[name].datasets})
        ),
        overlaps=_count_overlaps(books, cell, {*trained, *([target] if examples else [])}),
    )


def _count_overlaps(books: Books, cell: Cell, seen: set[str]) -> int | None:
    if books.catalog.overlaps is None:
        return None
    return sum(part.count for part in books.catalog.overlaps if part.test == cell.subset and part.train in seen)


def _check_arms(books: Books, contrast: Contrast, cells: list[Cell]) -> None:
    """Hold what each arm is really trained on against the table of arms and the rules of docs/designs.md."""
    near = books.near
    mixtures = {
        (cell.arm, cell.variant, cell.seed): books.finetunes[cell.finetune_job].mixture
        for cell in cells
        if cell.finetune_job
    }
    sizes = {cell.proof.num_train for cell in cells if cell.arm in BUDGETED}
    require(len(sizes) <= 1, contrast.id, "has budgeted arms of several sizes:", sizes)
    for cell in cells:
        proof = cell.proof
        _check_sides(near, contrast, cell, mixtures.get((cell.arm, cell.variant, cell.seed)))
        match cell.arm:
            case "unrelated" | "composed_unrelated":
                require(proof.shared_elements == 0, cell.key, "shares an element")
            case "partial":
                require(proof.shared_by_each == (1, 1), cell.key, "shares", proof.shared_by_each)
            case "alone":
                require(proof.only == cell.variant, cell.key, "is trained on", proof.only)
            case "without" | "mismatched":
                shown = next(part for part in proof.coverage if part.factor == cell.variant)
                require(not shown.subsets, cell.key, "shows what it should do without")
            case "ceiling":
                require(proof.target_samples == proof.num_train > 0, cell.key, "is not the target alone")
            case "shuffled":
                main, parts = mixtures.get((Arm.RELATED, "", cell.seed)), mixtures[cell.arm, "", cell.seed].parts
                require(main is None or main.parts == parts, cell.key, "draws other samples than related")
                names = {part.subset for part in parts} - {books.filler}
                has_labels = all(near.subsets[name].kind is Kind.CLASSIFICATION for name in names)
                require(has_labels, cell.key, "has boxes, which have no labels to shuffle")
            case "related" | "multi_task" | "composed" | "composed_alone":
                covered = all(part.subsets for part in proof.coverage)
                require(covered or not contrast.fully_covered, cell.key, "claims to cover what it does not")
            case _:
                pass


def _check_sides(near: Neighbourhood, contrast: Contrast, cell: Cell, mixture: Mixture | None) -> None:
    """A cell asks something that is not trained on, and trains on the target or its twins only by intent."""
    proof, training = cell.proof, _find_training(contrast, cell)
    is_seen = (training is not None and (training.sees_target or training.num_target > 0)) or cell.arm == "ceiling"
    require(proof.num_test > 0, cell.key, "asks nothing")
    require(not proof.overlaps, cell.key, "trains on what it tests")
    if not is_seen:
        require(proof.target_samples == 0, cell.key, "trains on the target")
    if training is not None and mixture is not None and not training.sees_target:
        twins = near.twins(contrast.target) & {part.subset for part in mixture.parts}
        require(not twins, cell.key, "trains on twins:", twins)
