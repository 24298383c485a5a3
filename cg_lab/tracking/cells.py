"""The records of cells: what each number of a study means, with its gains and its interval."""

from __future__ import annotations

from cg_lab.arms import CONTROLS
from cg_lab.planning.plan import Cell, Plan, Setting
from cg_lab.results import EvalResult, Layout
from cg_lab.tracking.jobs import JobState
from cg_lab.tracking.record import (
    Record,
    TrainedModel,
    identify_catalogs,
    make_input,
    name_sources,
    round_metrics,
    tell_failure,
    tell_recipe,
)
from cg_lab.tracking.run_names import count_questions, name_cell_group, name_cell_run
from cg_lab.wilson import wilson_interval


class CellRecorder:
    """Makes the records of cells, whose gains need each other's results."""

    def __init__(
        self,
        *,
        plan: Plan,
        layout: Layout,
        shared: dict[str, str],
        results: dict[str, EvalResult | None],
        states: dict[str, JobState],
        models: dict[str, TrainedModel],
    ) -> None:
        self.layout = layout
        self.shared = shared
        self.results = results
        self.states = states
        self.models = models
        self.data = {job.id: job.data for job in plan.evals}
        self.contrasts = {contrast.id: contrast for contrast in plan.contrasts}
        self.num_contrasts = count_questions(plan)
        self.plan = plan
        self.catalogs = identify_catalogs(plan)
        self.accuracies = {
            (cell.contrast, cell.arm, cell.seed): result.accuracy
            for cell in plan.cells
            if cell.arm.traits.asks_target and not cell.variant and (result := results[cell.eval_job])
        }

    def record(self, cell: Cell) -> Record:
        """Make one cell's record."""
        state = self.states[cell.eval_job]
        predictions = self.layout.predictions(cell.eval_job)
        facts = self._describe(cell)
        return Record(
            key=f"cell:{cell.key}",
            job_id=cell.eval_job,
            name=name_cell_run(self.plan, cell, self.num_contrasts),
            status=state.status,
            tags={
                "kind": "cell",
                **self.shared,
                **facts,
                "catalog": self.catalogs[self.data[cell.eval_job]],
                "eval_job": cell.eval_job,
                "finetune_job": cell.finetune_job or "",
                "merged_jobs": ";".join(cell.merged_jobs),
                "seeds_of": name_cell_group(self.plan, cell, self.num_contrasts),
                **self._tell_recipe(cell),
                "host": state.host,
                **tell_failure(state.failure),
            },
            params={**facts, "backbone": self._setting(cell).backbone.name, "num_train": str(cell.proof.num_train)},
            metrics=round_metrics(self._measure(cell)),
            artifacts=(predictions,) if state.status == "FINISHED" and predictions.exists() else (),
            inputs=(make_input(self.data[cell.eval_job], cell.subset, "testing", cell.proof.num_test),),
            asked=self.models.get(cell.finetune_job or ""),
            start_ms=state.start_ms,
            end_ms=state.end_ms,
        )

    def _setting(self, cell: Cell) -> Setting:
        return self.plan.setting_by_name[self.contrasts[cell.contrast].setting]

    def _tell_recipe(self, cell: Cell) -> dict[str, str]:
        """Give tags, since parameters that the untouched backbone lacks would crowd the page that compares runs."""
        if not cell.finetunes:
            return {}
        recipe = tell_recipe(self.plan.finetune_by_id[cell.finetunes[0]].recipe)
        return {f"recipe.{name}": value for name, value in recipe.items()}

    def _describe(self, cell: Cell) -> dict[str, str]:
        contrast = self.contrasts[cell.contrast]
        elements = dict(zip(self.plan.find_catalog(contrast).factors, contrast.view, strict=True))
        return {
            "design": contrast.design,
            "contrast": contrast.id,
            "arm": str(cell.arm),
            "target": contrast.target,
            "subset": cell.subset,
            **elements,
            "setting": contrast.setting,
            "variant": cell.variant,
            "direction": contrast.direction or "",
            "level": "" if contrast.level is None else f"{contrast.level:g}",
            "sources": name_sources(self.plan.find_mixture(cell)),
            "seed": "" if cell.seed is None else str(cell.seed),
            "fully_covered": str(contrast.fully_covered).lower(),
        }

    def _measure(self, cell: Cell) -> dict[str, float]:
        """Compute a cell's metrics; gains are within the contrast, and within the seed where the other arm has one."""
        result = self.results[cell.eval_job]
        if result is None:
            return {}
        accuracy, chance = result.accuracy, cell.proof.chance
        metrics = {
            "accuracy": accuracy,
            "chance": chance,
            "chance_corrected_accuracy": (accuracy - chance) / (1 - chance),
            **result.metrics,
            "num_questions": float(result.num_questions),
            "seconds": result.seconds,
            **self._bound(cell, result),
        }
        for over in CONTROLS if cell.arm.traits.asks_target else ():
            other = self.accuracies.get((cell.contrast, over, None if over.traits.model == "untouched" else cell.seed))
            if other is not None and cell.arm is not over:
                metrics[f"gain_over_{over}"] = accuracy - other
        return metrics

    def _bound(self, cell: Cell, result: EvalResult) -> dict[str, float]:
        """Give the interval of a cell's accuracy over its questions; none for boxes, which are not right or wrong."""
        if cell.proof.detectable is None:
            return {}
        num_right = round(result.accuracy * result.num_questions)
        low, high = wilson_interval(num_right, result.num_questions, self.plan.rule.confidence)
        return {"accuracy_low": low, "accuracy_high": high}
