"""The methods section of a report, written from the plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from types import MappingProxyType

from cg_lab.catalog import UNGROUPED
from cg_lab.endpoint_settings import ServedModel
from cg_lab.mat import Kind
from cg_lab.percentages import percent
from cg_lab.planning.plan import Plan, Setting
from cg_lab.recipe import Recipe
from cg_lab.results import AnswerSource
from cg_lab.study import Backbone

MOST_FILES = 12
"""Of imported answers that are named."""
MOST_SETTINGS = 24
"""That are described one by one; of more, the first stands for all."""


def explain_methods(
    plan: Plan,
    metrics: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
    imported: Mapping[str, tuple[AnswerSource, ...]] = MappingProxyType({}),
) -> tuple[str, ...]:
    """Write the methods section of a report from its plan, a paragraph each.

    Parameters
    ----------
    plan
        What was done.
    metrics
        By id of the evaluation; they say how a served model's answers could be read.
    imported
        By id of the evaluation, the files that its answers come from.

    """
    seeds = sorted({cell.seed for cell in plan.cells if cell.seed is not None})
    trained = sorted({contrast.main.num_samples for contrast in plan.contrasts if contrast.main})
    size = "" if not trained else f" ({trained[0]})" if len(trained) == 1 else f" ({trained[0]} to {trained[-1]})"
    counts = Counter(fact for contrast in plan.contrasts for fact in contrast.facts)
    facts = [f"{fact.name}: {fact.value}" for fact, count in counts.items() if count == len(plan.contrasts)]
    paragraphs = [
        f"Design: {', '.join(plan.designs)}. {len(plan.contrasts)} held-out questions over {len(plan.catalogs[0].subsets)} subsets. "
        f"Related and unrelated arms of a question train on equally many samples{size}, spread evenly over subsets and labels; no "
        f"training set but the ceiling's holds a subset with the target's elements, unless said. "
        f"Seeds {', '.join(map(str, seeds))} draw the samples and their order."
        + (f" Found by the planner: {'; '.join(facts)}." if facts else "")
    ]
    for setting in plan.settings if len(plan.settings) <= MOST_SETTINGS else plan.settings[:1]:
        recipe, backbone = setting.recipe, setting.backbone
        form = "the option's letter" if backbone.answer == "letter" else "the option's text"
        name = f"Model ({setting.name})" if setting.name else "Model"
        if isinstance(backbone, ServedModel):
            read = [metrics[job.id] for job in plan.evals if job.backbone == backbone and job.id in metrics]
            told = f" {_tell_declared(setting)}" if recipe.by == "elsewhere" else ""
            paragraphs.append(f"{name}: {_tell_served(backbone, form, read)}{told}")
            continue
        if recipe.by == "elsewhere":
            paragraphs.append(
                f"{name}: {backbone.name} (weights {backbone.revision}), fine-tuned elsewhere. {_tell_declared(setting)} Their weights were seen to be of "
                f"this model and not to equal it. Questions are single-choice with up to four options in random order; the model answers with {form}."
            )
            continue
        if backbone.is_elsewhere:
            paragraphs.append(f"{name}: {_tell_elsewhere(plan, backbone, form, imported)}")
            continue
        paragraphs.append(
            f"{name}: {backbone.name} (weights {backbone.revision}), {_tell_trained(recipe)} fine-tuned {_tell_trainer(recipe)}, learning rate "
            f"{recipe.learning_rate:g} with cosine decay, {recipe.epochs:g} epoch{'s' if recipe.epochs != 1 else ''}{_tell_floor(recipe)}, {recipe.batch_size} samples a step; {_tell_loss(recipe)}. Questions are single-choice with up to four options in random order; the model answers with {form}."
        )
    paragraphs += filter(None, [_tell_merges(plan)])
    paragraphs += _tell_groups(plan)
    paragraphs += filter(None, [_tell_reading(plan)])
    if plan.comparisons:
        paragraphs.append(f"Compared: {'; '.join(plan.comparisons)}. All else is exploratory.")
    paragraphs.append(
        f"Statistics: {percent(plan.rule.confidence)} intervals from the variance over seeds, which is moderated over held-out questions, and over "
        f"questions (patients or look-alike groups as wholes, where known), with Satterthwaite's degrees of freedom; of one seed's accuracy Wilson's. "
        f"Gains are paired on identical questions; seeds of different arms are independent. Pooled gains are over targets like these; paired bootstrap "
        f"intervals in effects.csv from {plan.rule.resamples:,} draws."
    )
    return tuple(paragraphs)


def _tell_declared(setting: Setting) -> str:
    return f"What each checkpoint was trained on is declared in {setting.design.get('table')}, which the proofs rest on and nothing here can confirm."


def _tell_merges(plan: Plan) -> str:
    """Say how adapters were merged; empty if none were."""
    merges = [job.merge for job in plan.evals if job.merge]
    ways = {
        f"{merge.method}, weights {' and '.join(f'{weight:.3g}' for weight in merge.weights)}"
        + ("" if merge.density is None else f", density {merge.density:g}")
        for merge in merges
    }
    return f"Merged adapters: by peft's add_weighted_adapter ({'; '.join(sorted(ways))})." if ways else ""


def _tell_floor(recipe: Recipe) -> str:
    return f" and at least {recipe.min_steps} steps, for which few samples are gone through again" * bool(
        recipe.min_steps
    )


def _tell_served(model: ServedModel, form: str, read: Sequence[Mapping[str, float]]) -> str:
    """Say how a served model was asked, and by what its answers count."""
    size = "as they are" if model.longest_side is None else f"with at most {model.longest_side} pixels a side"
    mark = f" ({model.revision})" if model.revision else ""
    shares = [found["scored_share"] for found in read if "scored_share" in found]
    unlisted = [found["unlisted_letters"] for found in read if "unlisted_letters" in found]
    counted = "all answers count as written and parsed."
    if any(shares) and model.option_log_probs:
        counted = "each option counts by the log-probabilities that it gives to the option's tokens and the turn's end, where the option is put as the answer."
    elif any(shares):
        counted = (
            f"{percent(fmean(shares))} of the answers count by the log-probabilities that it gives to the options' letters among its likeliest tokens, "
            f"the others as written and parsed; {percent(fmean(unlisted))} of these letters were not among them and have the least log-probability listed, "
            f"which theirs can't exceed."
        )
    return (
        f"{model.name}, asked at a server as '{model.served}'{mark}, never trained here; each request says {model.request}, and images travel {size}, "
        f"without loss. Questions are single-choice with options in random order; the model answers with {form}; {counted}"
    )


def _tell_elsewhere(plan: Plan, model: Backbone, form: str, imported: Mapping[str, tuple[AnswerSource, ...]]) -> str:
    """Say from which files the answers come of a model that other tools trained and asked."""
    asked = [job.id for job in plan.evals if job.backbone == model]
    files = dict.fromkeys(source for job in asked for source in imported.get(job, ()))
    shown = [
        f"{source.name} by {source.tool}{f' of {source.model}' if source.model else ''} (SHA-256 {source.sha256[:16]})"
        for source in files
    ]
    more = f" and {len(shown) - MOST_FILES} more" if len(shown) > MOST_FILES else ""
    mark = f" ({model.revision})" if model.revision else ""
    return (
        f"{model.name}{mark}, trained and asked by other tools: that it was trained on this plan's mixtures, and asked its questions about its images, is declared and was not seen. "
        f"{sum(job in imported for job in asked)} of {len(asked)} evaluations are imported, from {', '.join(shown[:MOST_FILES]) or 'no file yet'}{more}. "
        f"Questions are single-choice with options in random order; the model was to answer with {form}; what it wrote was parsed, and what names no option counts as wrong."
    )


def _tell_groups(plan: Plan) -> list[str]:
    """Say how images were grouped, and how many of them have no group."""
    notes = [note for catalog in plan.catalogs for note in catalog.notes if note.reason.startswith(UNGROUPED)]
    if not notes:
        return []
    told = [
        f"{note.subject}: {note.count:,} without a group {note.reason.removeprefix(UNGROUPED).strip()}"
        for note in dict.fromkeys(notes)
    ]
    return [f"Images of one group (patient, study, series or file) stand on one side. {'; '.join(told)}."]


def _tell_reading(plan: Plan) -> str:
    """Say how answers become scores."""
    said: list[str] = []
    asked = [job for job in plan.evals if isinstance(job.backbone, Backbone) and not job.backbone.is_elsewhere]
    tuned = [job.protocol for job in asked if job.needs] or [job.protocol for job in asked]
    untouched = [job.protocol for job in asked if not job.needs]
    written = "what the model writes is parsed, and what names no option counts as wrong"
    if any(protocol.by == "generation" for protocol in tuned):
        said.append(f"Answers: {written}.")
    elif tuned:
        said.append("Answers: the option with the highest likelihood counts.")
    if any(protocol.by == "both" for protocol in (*tuned, *untouched)):
        whose = "all models" if any(protocol.by == "both" for protocol in tuned) else "the untouched model"
        said.append(f"Of {whose} it was also recorded what it writes.")
    if any(job.protocol.rotations == "all" for job in plan.evals):
        said.append(
            "Each question is asked with its options in every cyclic order, and an option's share of the likelihood is averaged."
        )
    if any(subset.kind is Kind.DETECTION for catalog in plan.catalogs for subset in catalog.subsets):
        said.append(
            "Boxes are written as text; a question's score, called accuracy here, is the intersection over union of the areas under "
            "the boxes found and the true ones."
        )
    return " ".join(said)


def _tell_trainer(recipe: Recipe) -> str:
    if recipe.by == "cg_lab":
        return "with AdamW"
    further = "" if recipe.settings == "{}" else f", with {recipe.settings}"
    return f"by {recipe.version} ({recipe.command}; {recipe.files}{further}), which was told AdamW"


def _tell_loss(recipe: Recipe) -> str:
    if recipe.by == "cg_lab":
        return "the loss is taken at the answer"
    return "what the trainer made of that, its loss and the order of samples were its own"


def _tell_trained(recipe: Recipe) -> str:
    if recipe.lora is None:
        return f"{recipe.trainable} weights"
    lora = recipe.lora
    layers = "every linear layer" if lora.targets is None else f"the layers {', '.join(lora.targets)}"
    part = "the model" if recipe.trainable == "all" else recipe.trainable.replace("_", " ")
    return f"low-rank adapters (rank {lora.rank}, alpha {lora.alpha}, dropout {lora.dropout:g}) on {layers} of {part}"
