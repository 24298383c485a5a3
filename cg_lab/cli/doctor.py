"""`doctor`: one page on a study's model, machine and folders, before its first job."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

from cg_lab.cli.arguments import Arguments
from cg_lab.cli.json_output import print_json
from cg_lab.cli.reading import ReadingProgress
from cg_lab.config import NamedStudy
from cg_lab.doctor.check_result import CheckResult, Status, find_worst
from cg_lab.doctor.machine import check_devices, check_versions
from cg_lab.doctor.model_files import check_beside_weights, check_model_files, find_files
from cg_lab.doctor.places import check_disk, check_mlflow, check_results, check_slurm
from cg_lab.doctor.room import check_room, count_trained, find_devices
from cg_lab.doctor.trainer import UNKNOWN_MEMORY, check_trainer
from cg_lab.doctor.training_data import Lesson, find_lesson
from cg_lab.due_seeds import find_due
from cg_lab.endpoint_settings import EndpointSettings
from cg_lab.errors import UserError
from cg_lab.execution.packs import find_pending
from cg_lab.models.identity import describe_server, identify_backbone, identify_served
from cg_lab.results import Layout
from cg_lab.study import Backbone, Study

SCHEMA = 1
"""Of what `--json` prints."""
WIDTH = 80
STATUS_WIDTH, NAME_WIDTH = 9, 14
QUESTION_LINES = 12
"""Of a prompt, at most."""


def run_doctor(studies: tuple[NamedStudy, ...], arguments: Arguments) -> int:
    """Check the first of some configurations, and print what was found.

    Returns
    -------
    Exit status: 0, or 1 if there is a fault.

    """
    began = time.monotonic()
    found: list[CheckResult] = []
    for check in list_checks(studies[0].study, quick=arguments.quick):
        found.append(check)
        if not arguments.json:
            print("\n".join(tell(check)), flush=True)
    worst = find_worst(found)
    if arguments.json:
        checks = [
            {
                "name": check.name,
                "status": check.status.word,
                "found": check.found,
                "way_out": check.way_out,
                "details": list(check.details),
            }
            for check in found
        ]
        print_json({"schema": SCHEMA, "status": worst.word, "checks": checks})
    else:
        counted = [sum(check.status is status for check in found) for status in (Status.FAULT, Status.WARNING)]
        print(f"\nfaults: {counted[0]}, warnings: {counted[1]}; took {time.monotonic() - began:.0f} s")
    return 1 if worst is Status.FAULT else 0


def list_checks(study: Study, *, quick: bool) -> Iterator[CheckResult]:
    """Check one thing after the other, what takes longest last."""
    layout = Layout(Path(study.results_dir))
    devices = find_devices(study.cluster)
    yield check_versions()
    yield check_devices(devices)
    yield check_results(layout)
    yield check_mlflow(study.tracking, layout)
    yield check_slurm(study.cluster)
    study, trainer = check_trainer(study)
    if trainer is not None:
        yield trainer
    if isinstance(study.model, EndpointSettings):
        yield from _list_served(study, study.model, layout, quick=quick)
        return
    backbone: Backbone | None = None
    try:
        backbone = identify_backbone(study.model)
    except UserError as error:
        yield CheckResult(name="model", status=Status.FAULT, found=str(error), way_out="get all files of a checkpoint")
    files = check_model_files(backbone) if backbone else check_beside_weights(study.model.path)
    yield from files
    folder = find_files(backbone) if backbone else None
    lesson = find_lesson(study, backbone, layout, ReadingProgress())
    yield lesson.check
    pending = find_pending(find_due(layout, lesson.plan), layout).finetunes if lesson.plan else ()
    yield check_disk(study, lesson.plan, pending, layout)
    if folder is None or backbone is None or find_worst(files) is Status.FAULT:
        return
    is_ours = study.finetune.by == "cg_lab"
    room = check_room(count_trained(backbone, study.finetune), devices) if is_ours else UNKNOWN_MEMORY
    yield room
    if not quick:
        yield from _list_loaded(study, backbone, folder, lesson, room)


def _list_served(study: Study, model: EndpointSettings, layout: Layout, *, quick: bool) -> Iterator[CheckResult]:
    """Check what a study of a served model needs."""
    from cg_lab.doctor.served_model import check_server

    lesson = find_lesson(study, identify_served(model), layout, ReadingProgress())
    yield lesson.check
    if lesson.plan and not quick:
        yield check_server(describe_server(model), lesson.plan, layout)


def _list_loaded(
    study: Study, backbone: Backbone, folder: Path, lesson: Lesson, room: CheckResult
) -> Iterator[CheckResult]:
    """Check what takes torch: what the model is, how it is asked, and how fast it is trained."""
    from cg_lab.doctor.model_in_memory import check_architecture, check_frame, check_step, silence

    silence()
    architecture = check_architecture(folder, backbone.attention)
    yield architecture
    frame = check_frame(backbone, folder, lesson.question)
    yield frame
    if find_worst((architecture, frame)) is not Status.OK or study.finetune.by != "cg_lab":
        return
    if room.status is not Status.OK or not lesson.questions:
        why = "training has no room here" if lesson.questions else "there are no images to train on"
        yield CheckResult(name="step", status=Status.WARNING, found=f"not measured, since {why}")
        return
    yield check_step(study, backbone, lesson)


def tell(check: CheckResult) -> list[str]:
    """Write a check as lines of a page."""
    indent = " " * (STATUS_WIDTH + NAME_WIDTH)
    lines = _wrap(check.found, indent)
    lines[0] = f"{check.status.word:<{STATUS_WIDTH}}{check.name:<{NAME_WIDTH}}{lines[0].strip()}"
    for number, line in enumerate(check.details):
        if number == QUESTION_LINES:
            lines.append(f"{indent}  ... {len(check.details) - number} more lines; --json has all")
            break
        lines += _wrap(line, f"{indent}  ") or [""]
    if check.way_out:
        lines += _wrap(f"-> {check.way_out}", indent)
    return lines


def _wrap(text: str, indent: str) -> list[str]:
    """Break a text; words such as paths are never broken, so that they can be copied."""
    return wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
