"""The fine-tunes that trainings need: one for each seed, one for each source where adapters are merged, or none."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from cg_lab.catalog import Catalog
from cg_lab.endpoint_settings import ServedModel
from cg_lab.errors import UserError, suggest
from cg_lab.mat import Kind, Subset
from cg_lab.planning.jobs import JobFactory
from cg_lab.planning.mixture import Spreader
from cg_lab.planning.plan import Training
from cg_lab.planning.work import FinetuneJob, Mixture, MixturePart
from cg_lab.study import AnyBackbone, Study


class FinetuneJobs:
    """Makes the fine-tunes of one run; equal trainings share theirs.

    Parameters
    ----------
    study, catalog, backbone
        Of the run.
    jobs
        Makes jobs and their ids.
    spreader
        Spreads samples over the subsets that may be trained on.

    Raises
    ------
    UserError
        If the catalogue has no such filler.

    """

    def __init__(
        self, study: Study, catalog: Catalog, backbone: AnyBackbone, jobs: JobFactory, spreader: Spreader
    ) -> None:
        self._backbone = backbone
        self._jobs = jobs
        self._spreader = spreader
        self._filler = _find_filler(study, catalog)
        self._filler_share = study.filler.share
        self._known: defaultdict[tuple[object, ...], dict[int, tuple[FinetuneJob, ...]]] = defaultdict(dict)
        """By all that a training is but its seed, and by seed."""

    @property
    def filler(self) -> str:
        """Name of the subset that is mixed into all of them; empty for none."""
        return "" if self._filler is None else self._filler.name

    def find(self, training: Training, target: Subset) -> dict[int, tuple[FinetuneJob, ...]]:
        """Give the fine-tunes of a training by seed, which are the same for all questions that train so."""
        return self._known[
            training.arm.traits.model == "merged",
            training.subsets,
            training.num_samples,
            training.num_target and (target.name, training.num_target),
            training.labels,
            training.ask,
            training.places,
            training.candidates,
            training.given,
        ]

    def make(self, training: Training, target: Subset, seed: int) -> tuple[FinetuneJob, ...]:
        """Make the fine-tune of a training, or one for each of its subsets if their adapters are merged."""
        given = next((part for part in training.given if part.seed == seed), None)
        if given is not None:
            mixture = Mixture(parts=given.parts, seed=seed, labels=training.labels)
            return (self._jobs.make_finetune(mixture, seed, given.weights),)
        if isinstance(self._backbone, ServedModel):
            raise UserError(
                f"model=endpoint: '{self._backbone.served}' is asked, not trained, and the arm {training.arm} would "
                "train it; take arms=[zero_shot,zero_shot_blind], or a model whose weights you have"
            )
        mixture = self._spreader.build_mixture(
            training.subsets,
            training.num_samples,
            seed,
            further=self._list_further(training, target),
            labels=training.labels,
        )
        if training.ask == "elements":
            mixture = replace(mixture, ask=training.ask, places=training.places, candidates=training.candidates)
        if training.arm.traits.model != "merged":
            return (self._jobs.make_finetune(mixture, seed),)
        shares = [part for part in mixture.parts if part.subset != self.filler]
        return tuple(
            self._jobs.make_finetune(
                self._spreader.build_mixture(
                    (part.subset,), part.count, seed, further=self._list_filler(part.count), labels=training.labels
                ),
                seed,
            )
            for part in shares
        )

    def _list_further(self, training: Training, target: Subset) -> tuple[MixturePart, ...]:
        further: list[MixturePart] = []
        if training.num_target:
            further.append(MixturePart(subset=target.name, count=training.num_target))
        return (*further, *self._list_filler(training.num_samples + training.num_target))

    def _list_filler(self, num_samples: int) -> tuple[MixturePart, ...]:
        """Give what is mixed into so many samples."""
        if self._filler is None:
            return ()
        count = min(round(self._filler_share * num_samples), self._filler.num_train)
        return (MixturePart(subset=self._filler.name, count=count),) if count else ()


def _find_filler(study: Study, catalog: Catalog) -> Subset | None:
    if study.filler.subset is None or not study.filler.share:
        return None
    fillers = {subset.name: subset for subset in catalog.subsets if subset.kind is Kind.FILLER}
    if study.filler.subset not in fillers:
        raise UserError(
            f"filler.subset: no subset of kind filler named '{study.filler.subset}' in the catalogue; "
            f"{suggest(study.filler.subset, fillers) if fillers else 'it has none'}"
        )
    return fillers[study.filler.subset]
