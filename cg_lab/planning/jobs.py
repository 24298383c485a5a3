"""Make jobs of equal backbone, data and recipe fast: what they share is written once, ids are hashes of short texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256

from cg_lab.catalog import DataRef
from cg_lab.planning.members import pick
from cg_lab.planning.plan import Plan
from cg_lab.planning.schedule import fit_floor
from cg_lab.planning.work import (
    JOB_SCHEMA,
    AdapterMerge,
    EvalJob,
    FinetuneJob,
    Mixture,
    MixturePart,
    PartGroups,
    Parts,
    Protocol,
    mark_changes,
)
from cg_lab.recipe import Recipe
from cg_lab.serialize import ID_LENGTH, canonical_json, omit_defaults
from cg_lab.study import AnyBackbone, Backbone


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What fine-tunes of equally many samples share."""

    recipe: Recipe
    head: str
    tail: str
    """Of the text of their ids, before and after the mixture."""


class JobFactory:
    """Makes jobs and their ids.

    An id is the SHA-256 of canonical JSON; that text is put together here from parts that are written once, which is
    some thirty times as fast as writing it whole (a test compares the two).
    """

    def __init__(self, data: DataRef, backbone: AnyBackbone, recipe: Recipe) -> None:
        self._data, self._backbone, self._recipe = data, backbone, recipe
        shared = [canonical_json(omit_defaults(part)) for part in (backbone, data)]
        self._tune_head = f'{{"kind":"finetune","schema":{JOB_SCHEMA},"value":{{'
        self._tune_shared = f'"backbone":{shared[0]},"data":{shared[1]},'
        self._eval_head = f'{{"kind":"eval","schema":{JOB_SCHEMA},"value":{{"backbone":{shared[0]},"checkpoint_of":'
        self._eval_data = f',"data":{shared[1]},'
        self._texts: dict[int, str] = {}
        self._tables: dict[tuple[int, int], tuple[tuple[str, ...], tuple[str, ...]]] = {}
        """By identity of the names, which are held so that nothing else gets it, and number of samples."""
        self._kept: list[MixturePart] = []
        self._kinds: dict[int, _Kind] = {}
        """Of fine-tunes by their number of samples, the only thing of theirs that recipe and marks depend on here."""
        self._evals: dict[tuple[str, str | None, Protocol, AdapterMerge | None], EvalJob] = {}

    def make_finetune(self, mixture: Mixture, seed: int, weights: str = "") -> FinetuneJob:
        """Make a fine-tune whose id is known."""
        if weights:
            return FinetuneJob(
                data=self._data,
                backbone=self._backbone,
                mixture=mixture,
                recipe=self._recipe,
                seed=seed,
                weights=weights,
            )
        assert isinstance(self._backbone, Backbone)
        num_samples = mixture.num_samples
        kind = self._kinds.get(num_samples)
        recipe = fit_floor(self._recipe, num_samples) if kind is None else kind.recipe
        job = FinetuneJob(data=self._data, backbone=self._backbone, mixture=mixture, recipe=recipe, seed=seed)
        if kind is None:
            kind = self._kinds[num_samples] = self._find_kind(job)
        written = _write_mixture(mixture, self._write_parts(mixture.parts))
        job.__dict__["id"] = _hash(f"{kind.head}{written}{kind.tail}{seed}}}}}")
        return job

    def _find_kind(self, job: FinetuneJob) -> _Kind:
        marks = {key: f'"{key}":"{mark}",' for key, mark in mark_changes(job).items()}
        return _Kind(
            recipe=job.recipe,
            head=f"{self._tune_head}{marks.get('answers', '')}{self._tune_shared}{marks.get('epochs', '')}",
            tail=f',"recipe":{canonical_json(omit_defaults(job.recipe))},"seed":',
        )

    def _write_parts(self, parts: Parts) -> str:
        """Write the parts of a mixture; the text of one that came before is found by its identity."""
        if not isinstance(parts, tuple):
            return ",".join(self._list_texts(parts))
        try:
            return ",".join([self._texts[id(part)] for part in parts])
        except KeyError:
            for part in parts:
                if id(part) not in self._texts:
                    self._texts[id(part)] = _write_part(part.subset, part.count)
                    self._kept.append(part)  # no other object gets its identity
            return self._write_parts(parts)

    def _list_texts(self, parts: PartGroups) -> Iterable[str]:
        written = [(self._give_texts(parts.names, count), members) for count, members in parts.groups]
        if len(written) == 1:
            return pick(*written[0])
        texts = {place: text for table, members in written for place, text in pick(tuple(enumerate(table)), members)}
        return [texts[place] for place in sorted(texts)]

    def _give_texts(self, names: tuple[str, ...], count: int) -> tuple[str, ...]:
        """Give the texts of parts of so many samples, one for each subset that there is."""
        key = (id(names), count)
        if key not in self._tables:
            self._tables[key] = names, tuple(_write_part(name, count) for name in names)
        return self._tables[key][1]

    def make_eval(
        self, target: str, checkpoint_of: str | None, protocol: Protocol, merge: AdapterMerge | None = None
    ) -> EvalJob:
        """Make an evaluation whose id is known."""
        key = (target, checkpoint_of, protocol, merge)
        found = self._evals.get(key)
        if found is not None:
            return found
        job = EvalJob(
            data=self._data,
            backbone=self._backbone,
            target=target,
            checkpoint_of=checkpoint_of,
            protocol=protocol,
            merge=merge,
        )
        checkpoint = "null" if checkpoint_of is None else f'"{checkpoint_of}"'
        merged = "" if merge is None else f'"merge":{canonical_json(omit_defaults(merge))},'
        job.__dict__["id"] = _hash(
            f"{self._eval_head}{checkpoint}{self._eval_data}{merged}"
            f'"protocol":{_write_protocol(protocol)},"target":{_quote(target)}}}}}'
        )
        self._evals[key] = job
        return job


def share_parts(plan: Plan) -> Plan:
    """Give a plan that was read from a file what a made one has: jobs that share equal parts and know their ids."""
    factories: dict[tuple[DataRef, AnyBackbone, Recipe], JobFactory] = {}

    def find_factory(data: DataRef, backbone: AnyBackbone, recipe: Recipe) -> JobFactory:
        key = (data, backbone, recipe)
        if key not in factories:
            factories[key] = JobFactory(*key)
        return factories[key]

    recipe = plan.settings[0].recipe  # evaluations have none
    return replace(
        plan,
        finetunes=tuple(
            find_factory(job.data, job.backbone, job.recipe).make_finetune(job.mixture, job.seed, job.weights)
            for job in plan.finetunes
        ),
        evals=tuple(
            find_factory(job.data, job.backbone, recipe).make_eval(
                job.target, job.checkpoint_of, job.protocol, job.merge
            )
            for job in plan.evals
        ),
    )


def replace_data(plan: Plan, names: Mapping[DataRef, DataRef]) -> Plan:
    """Give a plan whose data have other names, and with them its jobs other ids."""
    tunes = [(job.id, replace(job, data=names.get(job.data, job.data))) for job in plan.finetunes]
    new = {old: job.id for old, job in tunes}
    asks = [
        (
            job.id,
            replace(
                job,
                data=names.get(job.data, job.data),
                checkpoint_of=None if job.checkpoint_of is None else new[job.checkpoint_of],
                merge=job.merge and replace(job.merge, of=tuple(new[tune] for tune in job.merge.of)),
            ),
        )
        for job in plan.evals
    ]
    new |= {old: job.id for old, job in asks}
    return replace(
        plan,
        catalogs=tuple(replace(part, data=names.get(part.data, part.data)) for part in plan.catalogs),
        cells=tuple(
            replace(
                cell,
                eval_job=new[cell.eval_job],
                finetune_job=None if cell.finetune_job is None else new[cell.finetune_job],
                merged_jobs=tuple(new[tune] for tune in cell.merged_jobs),
            )
            for cell in plan.cells
        ),
        finetunes=tuple(sorted((job for _, job in tunes), key=lambda job: job.id)),
        evals=tuple(sorted((job for _, job in asks), key=lambda job: job.id)),
    )


def _write_mixture(mixture: Mixture, parts: str) -> str:
    ask = '"ask":"elements",' if mixture.ask == "elements" else ""
    candidates = f'"candidates":[{",".join(map(_quote, mixture.candidates))}],' if mixture.candidates else ""
    labels = '"labels":"shuffled",' if mixture.labels == "shuffled" else ""
    places = f'"places":{list(mixture.places)},'.replace(" ", "") if mixture.places else ""
    return f'"mixture":{{{ask}{candidates}{labels}"parts":[{parts}],{places}"seed":{mixture.seed}}}'


def _write_part(subset: str, count: int) -> str:
    return f'{{"count":{count},"subset":{_quote(subset)}}}'


@cache
def _write_protocol(protocol: Protocol) -> str:
    return canonical_json(omit_defaults(protocol))


@cache
def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:ID_LENGTH]
