"""What was trained elsewhere, taken over as what a fine-tune leaves: weights that were checked, or a server's name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cg_lab.errors import UserError
from cg_lab.execution.trainer_run import find_base
from cg_lab.models.identity import hash_weights
from cg_lab.planning.work import SERVED, FinetuneJob
from cg_lab.results import Layout
from cg_lab.serialize import write_text

if TYPE_CHECKING:
    from cg_lab.execution.bench import Conduct
    from cg_lab.models.backbone import LoadedBackbone


def take_given(job: FinetuneJob, backbone: LoadedBackbone, layout: Layout, conduct: Conduct, plan: str) -> None:
    """Check a checkpoint, and put links to its weights where those of a fine-tune are.

    Parameters
    ----------
    job
        Names the checkpoint.
    backbone
        The untouched model that it is to be of.
    layout, conduct, plan
        Where it goes, how the attempt is told, and name and id of the plan.

    Raises
    ------
    UserError, UnreadableCheckpointError, NotFiniteError
        If it is not what the study was planned with, of another model, or untrained.

    """
    from cg_lab.training.left_checkpoint import check_left, take_over
    from cg_lab.training.model_card import complete_checkpoint

    path, _, known = job.weights.rpartition("@")
    folder, base = Path(path), Path(find_base(job))
    try:
        found = hash_weights(folder)
    except FileNotFoundError as error:
        raise UserError(f"checkpoints: {error}") from None
    if found != known:
        raise UserError(
            f"checkpoints: {folder} has other weights ({found}) than when it was planned ({known}); plan anew"
        )
    conduct.event("checked", **check_left(folder, job, backbone, base, said=f"checkpoints: {folder} has"))
    weights = layout.weights(job.id)
    take_over(folder, weights, base, links=True)
    complete_checkpoint(weights, job, plan)


def note_served(job: FinetuneJob, layout: Layout) -> None:
    """Note how a server calls some adapters, where weights of a fine-tune are.

    Whether the server has them is seen when they are asked.
    """
    layout.weights(job.id).mkdir(parents=True, exist_ok=True)
    write_text(layout.weights(job.id) / "README.md", f"At a server, as {job.weights.removeprefix(SERVED)}.\n")
