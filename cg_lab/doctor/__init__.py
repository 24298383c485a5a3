"""Look at a study's model, machine and folders before its first job, one small check each."""

from __future__ import annotations

from collections.abc import Sequence

from cg_lab.doctor.check_result import CheckResult, Status, find_worst
from cg_lab.doctor.model_files import check_model_files
from cg_lab.doctor.room import check_room, count_trained, find_devices
from cg_lab.errors import list_faults
from cg_lab.planning.work import EvalJob, FinetuneJob
from cg_lab.study import Backbone, ClusterSettings

__all__ = ["CheckResult", "Status", "check_before_jobs", "find_worst"]


def check_before_jobs(jobs: Sequence[FinetuneJob | EvalJob], cluster: ClusterSettings) -> None:
    """Check from files alone that the models of some jobs are there, and that what is trained has room.

    Raises
    ------
    UserError
        With everything that would make jobs fail, and the ways out.

    """
    checks = [
        check
        for backbone in dict.fromkeys(job.backbone for job in jobs if isinstance(job.backbone, Backbone))
        for check in check_model_files(backbone)
    ]
    devices = find_devices(cluster)
    tunes = [job for job in jobs if isinstance(job, FinetuneJob) and job.recipe.by == "cg_lab"]
    trained = dict.fromkeys((job.base, job.recipe) for job in tunes)
    checks += [check_room(count_trained(backbone, recipe), devices) for backbone, recipe in trained]
    faults = [check for check in checks if check.status is Status.FAULT]
    if faults:
        told = dict.fromkeys(f"{fault.name}: {fault.found}. {fault.way_out}" for fault in faults)
        raise list_faults("nothing was begun; python -m cg_lab doctor, with the same arguments, tells more", told)
