"""What Slurm is asked: the scripts that sbatch gets, and what is made of squeue's and sacct's answers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cg_lab.config import read_study
from cg_lab.errors import UserError
from cg_lab.execution.clusters import NoAnswerError, NoRoomError
from cg_lab.execution.packs import Submission, write_submission
from cg_lab.execution.slurm import SlurmCluster, name_tasks
from cg_lab.execution.slurm_commands import check_commands, tell_foreign
from cg_lab.results import Layout
from cg_lab.study import SlurmSettings

Answer = Callable[..., None]


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Put scripts in the place of Slurm's commands; each notes how it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def put(**commands: str) -> None:
        for name, body in commands.items():
            script = folder / name
            script.write_text(f'#!/bin/bash\necho "$0 $@" >> {folder}/calls\n{body}\n')
            script.chmod(0o755)

    put(sbatch='cp "$1" "$0.script"; echo "Submitted batch job 77"', srun="", scancel="", squeue="", sacct="",
        sinfo="echo gpu:a100:8", scontrol="echo 'MaxArraySize = 20'; echo 'MaxJobCount = 300'")  # fmt: skip
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return put


def open_cluster(layout: Layout, *overrides: str) -> SlurmCluster:
    settings = read_study(["cluster=slurm", *overrides]).cluster
    assert isinstance(settings, SlurmSettings)
    return SlurmCluster(settings, layout, "s")


def submit(tmp_path: Path, *overrides: str, num_packs: int = 2, stage: Any = "finetune", after: Any = None) -> str:
    """Submit packs; give the script that sbatch got."""
    cluster = open_cluster(Layout(tmp_path), *overrides)
    sent = make(tmp_path, num_packs, stage=stage)
    assert cluster.submit(sent, after, 2) == "77"
    return (tmp_path / "bin" / "sbatch.script").read_text()


def make(tmp_path: Path, num_packs: int = 2, *, stage: Any = "finetune", task: str | None = None) -> Submission:
    sent = Submission(
        id="00003", study="s", stage=stage, results_dir=str(tmp_path), packs=(("a",),) * num_packs, threads=1,
        after=None, task=task, is_over=False, created="t",
    )  # fmt: skip
    write_submission(Layout(tmp_path), sent)
    return sent


def list_options(script: str) -> set[str]:
    return {line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")}


@pytest.mark.usefixtures("answer")
def test_every_setting_reaches_sbatch(tmp_path: Path) -> None:
    script = submit(
        tmp_path, "cluster.nodes=2", "cluster.gpus=4", "cluster.cpus=6", "cluster.memory_gb=64",
        "cluster.timeout_min=90",
        "cluster.partition=gpu", "cluster.account=lab", "cluster.qos=long", "cluster.constraint=a100",
        "cluster.nodelist=n1", "cluster.setup=[module load cuda]", "cluster.environment={HF_HOME: /x y}",
        "cluster.container=apptainer exec --nv image.sif", "cluster.warn_s=60",
    )  # fmt: skip
    name = name_tasks(Layout(tmp_path), "s")
    assert list_options(script) >= {
        "nodes=2", "gpus-per-node=4", "ntasks-per-node=4", "cpus-per-task=6", "mem=64GB", "time=90", "partition=gpu",
        "account=lab", "qos=long", "constraint=a100", "nodelist=n1", f"job-name={name}", "comment=00003",
        "array=0-1%2", "requeue", "signal=USR2@60",
    }  # fmt: skip
    lines = script.splitlines()
    assert "module load cuda" in lines
    assert "export HF_HOME='/x y'" in lines
    (run,) = (line for line in lines if line.startswith("srun"))
    assert "--kill-on-bad-exit=1" in run
    assert "apptainer exec --nv image.sif " in run


@pytest.mark.usefixtures("answer")
def test_each_stage_asks_for_its_own(tmp_path: Path) -> None:
    own = ("cluster.evaluation.partition=small", "cluster.evaluation.gpus=0", "cluster.gpus=2", "cluster.partition=big")
    assert list_options(submit(tmp_path, *own)) >= {"partition=big", "gpus-per-node=2", "ntasks-per-node=2"}
    options = list_options(submit(tmp_path, *own, stage="evaluation"))
    assert options >= {"partition=small", "ntasks-per-node=1"}
    assert not any(option.startswith("gpus") for option in options)


@pytest.mark.usefixtures("answer")
def test_a_gpu_is_asked_for_where_nodes_have_any(tmp_path: Path, answer: Answer) -> None:
    assert "gpus-per-node=1" in list_options(submit(tmp_path))
    answer(sinfo="echo '(null)'")
    assert not any(option.startswith("gpus") for option in list_options(submit(tmp_path)))


@pytest.mark.usefixtures("answer")
def test_evaluations_depend_on_their_fine_tunes_task_by_task(tmp_path: Path) -> None:
    many, one = make(tmp_path, 2, task="70"), make(tmp_path, 1, task="71")
    assert "dependency=aftercorr:70" in list_options(submit(tmp_path, stage="evaluation", after=many))
    assert "dependency=afterok:71" in list_options(submit(tmp_path, stage="evaluation", after=one, num_packs=1))


@pytest.mark.usefixtures("answer")
def test_the_last_task_waits_for_all_however_they_end(tmp_path: Path) -> None:
    cluster = open_cluster(Layout(tmp_path))
    assert cluster.submit_last(print, [make(tmp_path, task="70"), make(tmp_path, task="71")]) == "77"
    options = list_options((tmp_path / "bin" / "sbatch.script").read_text())
    assert options >= {"dependency=afterany:70:71", "comment=last", "time=60", "cpus-per-task=1"}
    assert not any(option.startswith("array") for option in options)


@pytest.mark.usefixtures("answer")
def test_limits_are_the_clusters_unless_they_are_set(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert open_cluster(layout).split(1e9, 4, 0) == (150, 20)
    assert open_cluster(layout, "cluster.max_array_size=7", "cluster.max_tasks=30").split(1e9, 4, 10) == (20, 7)
    assert open_cluster(layout, "cluster.task_min=60").split(4 * 3600, 2, 0) == (4, 20)
    assert open_cluster(layout, "cluster.task_min=60").split(60, 2, 0) == (2, 20)


def test_refusals_are_told_apart(tmp_path: Path, answer: Answer) -> None:
    """Silence may be tried again, a full queue later, anything else is the user's to mend."""
    for words, error in {
        "Unable to contact slurm controller (connect failure)": NoAnswerError,
        "Batch job submission failed: Socket timed out on send/recv operation": NoAnswerError,
        "QOSMaxSubmitJobPerUserLimit": NoRoomError,
        "invalid partition specified: nowhere": UserError,
    }.items():
        answer(sbatch=f'echo "sbatch: error: {words}" >&2; exit 1')
        with pytest.raises(error, match=words.split("(")[0]):
            open_cluster(Layout(tmp_path)).submit(make(tmp_path), None, 1)


def test_one_look_tells_tasks_orphans_and_what_can_never_run(tmp_path: Path, answer: Answer) -> None:
    rows = ["70|0|RUNNING|None|00003", "70|1|PENDING|Resources|00003", "71|N/A|PENDING|DependencyNeverSatisfied|00004",
            "72|0|RUNNING|None|00005", "99|0|RUNNING|None|something else"]  # fmt: skip
    answer(squeue="\n".join(f'echo "{row}"' for row in rows))
    noted = make(tmp_path, task="70")
    hopeless = replace(noted, id="00004", task="71", packs=(("b",),))
    orphan = replace(noted, id="00005", task=None)
    cluster = open_cluster(Layout(tmp_path))
    look = cluster.look([noted, hopeless, orphan])
    assert look
    assert {key: (task.state, task.reason) for key, task in look.tasks.items()} == {
        ("00003", 0): ("running", ""),
        ("00003", 1): ("waiting", "Resources"),
        ("00005", 0): ("running", ""),
    }
    assert look.adopted == {"00005": "72"}
    assert look.hopeless == {("00004", 0): "71_0"}
    cluster.drop(list(look.hopeless.values()))
    calls = (tmp_path / "bin" / "calls").read_text()
    assert calls.count("squeue") == 1
    assert "scancel 71_0" in calls


def test_an_orphan_gets_what_it_is_to_run(tmp_path: Path, answer: Answer) -> None:
    """submitit hands it over after sbatch has answered, which a killed driver did not live to see."""
    cluster = open_cluster(Layout(tmp_path))
    cluster.adopt(make(tmp_path, task="72"))
    names = {path.name for path in (tmp_path / "studies/s/packs/logs").glob("*_submitted.pkl")}
    assert names == {"72_0_submitted.pkl", "72_1_submitted.pkl"}


def test_accounting_tells_how_tasks_ended_and_may_be_absent(tmp_path: Path, answer: Answer) -> None:
    packs = [(make(tmp_path, task="70"), number) for number in range(2)]
    cluster = open_cluster(Layout(tmp_path))
    answer(sacct='echo "70_0|OUT_OF_MEMORY"; echo "70_1|CANCELLED by 0"')
    ends = cluster.find_ends(packs)
    assert {number: end.kind for (_, number), end in ends.items()} == {0: "out_of_memory", 1: "lost"}
    assert "CANCELLED by 0" in ends["00003", 1].message
    answer(sacct="echo 'error: Slurm accounting storage is disabled' >&2; exit 1")
    assert cluster.find_ends(packs) == {}


def test_a_queue_that_does_not_answer_says_nothing(tmp_path: Path, answer: Answer) -> None:
    answer(squeue="exit 1")
    assert open_cluster(Layout(tmp_path)).look([make(tmp_path, task="70")]) is None


def test_a_machine_without_slurm_is_told_where_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="no sbatch and no squeue .* on this machine; use a login node"):
        check_commands()


def test_the_same_study_in_two_results_folders_has_two_names(tmp_path: Path) -> None:
    first, second = (name_tasks(Layout(tmp_path / folder), "mine") for folder in ("a", "b"))
    assert first != second
    assert first == name_tasks(Layout(tmp_path / "b" / ".." / "a"), "mine")


HOSTILE = {
    "SQUEUE_STATES": "RUNNING", "SQUEUE_PARTITION": "high", "SQUEUE_FORMAT": "%i", "SACCT_FORMAT": "User",
    "SBATCH_JOB_NAME": "mine", "SBATCH_TIMELIMIT": "7", "SCANCEL_STATE": "RUNNING", "SLURM_JOB_ID": "12",
    "SLURM_MEM_PER_CPU": "100",
}  # fmt: skip


def test_no_command_sees_the_options_that_the_environment_has(
    tmp_path: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**HOSTILE, "SLURM_CONF": "/etc/slurm/slurm.conf"}.items():
        monkeypatch.setenv(name, value)
    seen = tmp_path / "bin" / "seen"
    told = f"env | grep -E '^(SQUEUE|SACCT|SBATCH|SCANCEL|SLURM)_' >> {seen}"
    answer(sbatch=f'{told}; cp "$1" "$0.script"; echo "Submitted batch job 77"',
           **dict.fromkeys(("squeue", "sacct", "scancel", "scontrol", "sinfo"), told))  # fmt: skip
    cluster = open_cluster(Layout(tmp_path))
    sent = make(tmp_path)
    cluster.submit(sent, None, 2)
    cluster.look([replace(sent, task="77")])
    cluster.look_back([replace(sent, task="77")])
    cluster.find_ends([(replace(sent, task="77"), 0)])
    cluster.drop(["77_0"])
    assert set(seen.read_text().split()) == {"SLURM_CONF=/etc/slurm/slurm.conf"}
    assert os.environ["SBATCH_TIMELIMIT"] == "7"  # the user's own


def test_what_a_site_sets_for_accounts_stands_where_the_study_says_nothing(
    tmp_path: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_ACCOUNT", "lab")
    monkeypatch.setenv("SBATCH_PARTITION", "high")
    script = submit(tmp_path, "cluster.partition=main")
    assert "--account=lab" in script
    assert "--partition=main" in script
    assert "high" not in script
    said = tell_foreign({"SBATCH_ACCOUNT": "lab", "SBATCH_TIMELIMIT": "7", "PATH": "/bin"}, ["account", "qos"])
    assert said == (
        "cluster=slurm: SBATCH_ACCOUNT=lab is used, SBATCH_TIMELIMIT=7 is set aside; cluster.* says what tasks ask for"
    )
    assert tell_foreign({"PATH": "/bin", "SLURM_JOB_ID": "3"}, ["account"]) == ""


@pytest.mark.parametrize("name", ["SLURM_CLUSTERS", "SBATCH_CLUSTERS"])
@pytest.mark.usefixtures("answer")
def test_another_cluster_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "far")
    with pytest.raises(UserError, match=f"{name}=far asks for another cluster"):
        open_cluster(Layout(tmp_path))


BY_NAME = """if [[ "$*" == *--name=* ]]; then {by_name}; else {by_number}; fi"""


def test_a_task_that_the_list_lacks_is_asked_for_by_its_number(tmp_path: Path, answer: Answer) -> None:
    """A filter may hide it; only Slurm's word about that very task says that it is over."""
    sent = make(tmp_path, task="70")
    row = 'echo "70|0|RUNNING|None|00003"'
    cluster = open_cluster(Layout(tmp_path))
    waiting = 'echo "70|1|PENDING|Resources|x"'
    answer(squeue=BY_NAME.format(by_name=row, by_number=f"{row}; {waiting}"))
    look = cluster.look([sent])
    assert look
    assert {number: task.state for (_, number), task in look.tasks.items()} == {0: "running", 1: "waiting"}
    answer(squeue=BY_NAME.format(by_name="true", by_number="exit 1"))
    assert cluster.look([sent]) is None  # no answer is no end
    gone = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
    answer(squeue=BY_NAME.format(by_name="true", by_number=gone))
    ended = cluster.look([sent])
    assert ended
    assert ended.tasks == {}
    answer(squeue=BY_NAME.format(by_name="true", by_number='echo "70|0|COMPLETED|None|x"; echo "70|1|FAILED|None|x"'))
    assert open_cluster(Layout(tmp_path)).look([sent]).tasks == {}  # type: ignore[union-attr]


def test_what_was_said_to_be_over_is_not_asked_about_again(tmp_path: Path, answer: Answer) -> None:
    cluster = open_cluster(Layout(tmp_path))
    answer(squeue=BY_NAME.format(by_name='echo "70|0|RUNNING|None|00003"', by_number="true"))
    for _ in range(3):
        cluster.look([make(tmp_path, task="70")])
    calls = (tmp_path / "bin" / "calls").read_text()
    assert calls.count("--jobs=70") == 1
