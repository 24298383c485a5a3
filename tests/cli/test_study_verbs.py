"""`studies`, `gc`, `bundle`, `open` and `merge`: what they say of a results folder, and do to it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tarfile
import time
import zipfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cg_lab.cli import main
from cg_lab.locks import holding
from cg_lab.registration import freeze_plan, read_registration
from cg_lab.reporting.registered_family import find_earlier
from cg_lab.results import Layout, read_plan, write_result
from cg_lab.serialize import read_json, write_json, write_text
from cg_lab.studies import job_pool
from tests.cli.small_study import BRAIN, BREAST, run
from tests.cli.test_looks import Trainer, make_result

JOB = "0123456789abcdef"


def do(root: Path, *words: str) -> int:
    return main([*words, f"results_dir={root}", "tracking=none"])


def tell(root: Path, capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    done = do(root, *words)
    printed = capsys.readouterr()
    assert done == status, printed.err
    return " ".join((printed.out + printed.err).split())


def make_stray(root: Path) -> Path:
    """Leave a job that no plan names."""
    layout = Layout(root)
    layout.weights(JOB).mkdir(parents=True)
    (layout.weights(JOB) / "model.safetensors").write_bytes(b"0" * 5_000_000)
    layout.result(JOB).write_text("{}")
    return layout.job(JOB)


def list_files(root: Path) -> dict[Path, bytes]:
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# studies ------------------------------------------------------------------------------------------------------------


def test_studies_lists_question_state_verdicts_and_size(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = tell(root, capsys, "studies")
    assert "s finished two_source: us-breast-mass 1 " in said
    assert " 5/5 " in said


def test_a_study_is_planned_stopped_failed_or_running(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = Layout(root)

    def read_state() -> str:
        capsys.readouterr()
        do(root, "studies", "--json")
        return json.loads(capsys.readouterr().out)["studies"][0]["state"]

    gone, *others = [job.id for job in read_plan(layout.plan("s")).evals]
    layout.result(gone).unlink()
    assert read_state() == "stopped"
    write_json(layout.failure(gone), {})
    assert read_state() == "failed"
    with holding(layout.driver_lock("s")):
        assert read_state() == "running"
    shutil.rmtree(layout.jobs)
    shutil.rmtree(layout.packs("s"), ignore_errors=True)
    assert read_state() == "planned"
    assert others


def test_a_study_is_shown_from_near(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = tell(root, capsys, "studies", "show", "s")
    assert "targets us-breast-mass" in said
    assert f"plan {read_plan(Layout(root).plan('s')).id}, registered" in said
    assert "known: s" in tell(root, capsys, "studies", "show", "t", status=2)


def test_looking_at_studies_changes_nothing(root: Path) -> None:
    make_stray(root)
    before = list_files(root)
    for words in (("studies",), ("studies", "show", "s"), ("gc", "--dry-run"), ("gc", "--dry-run", "--weights")):
        assert do(root, *words) == 0
    assert list_files(root) == before


def test_a_removed_study_leaves_its_results_and_its_registration(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(root)
    registered, jobs = layout.study("s") / "registered.json", layout.list_done()
    frozen, plan = registered.read_bytes(), read_plan(layout.plan("s")).id
    assert "its results stay" in tell(root, capsys, "studies", "rm", "s")
    assert not layout.study("s").exists()
    assert layout.list_done() == jobs
    assert (layout.removed / f"s.{plan}/registered.json").read_bytes() == frozen


def test_questions_picked_from_a_removed_study_are_judged_in_its_family(root: Path, trainer: Trainer) -> None:
    layout = Layout(root)
    assert run("sweep", root, BRAIN) == 0
    assert trainer.turns
    assert do(root, "studies", "rm", "s") == 0
    assert run("plan", root, BREAST, "study=t") == 0
    plan, registration = read_plan(layout.plan("t")), read_registration(layout, "t")
    assert registration is not None
    earlier = find_earlier(layout, plan, registration)
    assert earlier is not None
    assert earlier[0].study == "s"


@pytest.mark.parametrize("words", [("studies", "rm", "s"), ("studies", "rename", "s", "t")])
def test_a_study_that_is_driven_is_neither_removed_nor_renamed(
    root: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    layout = Layout(root)
    for lock in (layout.driver_lock("s"), layout.packs("s") / "00001.0.lock"):
        with holding(lock):
            assert "works on 's'" in tell(root, capsys, *words, status=2)
    assert layout.plan("s").exists()


def test_a_renamed_study_says_its_new_name_everywhere_and_runs_nothing_again(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(root)
    frozen = read_registration(layout, "s")
    assert "s is t now" in tell(root, capsys, "studies", "rename", "s", "t")
    assert not layout.study("s").exists()
    plan, registration = read_plan(layout.plan("t")), read_registration(layout, "t")
    assert plan.study == "t"
    assert registration is not None
    assert frozen is not None
    assert registration == replace(frozen, plan=plan.id)
    assert "\nt," in (layout.study("t") / "effects.csv").read_text()
    assert do(root, "status", "study=t") == 0


def test_a_name_that_is_taken_or_none_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is a study 's'" in tell(root, capsys, "studies", "rename", "s", "s", status=2)
    assert "is no name" in tell(root, capsys, "studies", "rename", "s", "../x", status=2)


# gc -----------------------------------------------------------------------------------------------------------------


def test_what_a_killed_process_left_half_written_goes_after_a_day(root: Path) -> None:
    old, young = (root / "studies" / "s" / f".cells.csv.{number}.new" for number in (1, 2))
    for path in (old, young):
        path.write_text("half")
    a_day_ago = time.time() - 86_401
    os.utime(old, (a_day_ago, a_day_ago))
    assert do(root, "gc", "--dry-run") == 0
    assert old.exists()
    assert do(root, "gc") == 0
    assert (old.exists(), young.exists()) == (False, True)


def test_what_no_plan_names_is_said_and_then_removed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stray, jobs = make_stray(root), Layout(root).list_done()
    assert f"no plan names 1 jobs, 5 MB: {JOB}" in tell(root, capsys, "gc", "--dry-run")
    assert stray.exists()
    assert "removed: 5 MB" in tell(root, capsys, "gc")
    assert not stray.exists()
    assert Layout(root).list_done() == jobs - {JOB}
    assert not (root / ".removed").exists()


@pytest.mark.parametrize("name", ["draft.json", "plan.0000.json", "packs/plan.json"])
def test_results_of_drafts_replaced_and_submitted_plans_stay(root: Path, name: str) -> None:
    layout = Layout(root)
    jobs = layout.list_done()
    path = layout.study("s") / name
    path.parent.mkdir(exist_ok=True)
    layout.plan("s").rename(path)
    if name != "draft.json":  # a study is one with a plan or a draft
        empty = replace(read_plan(path), contrasts=(), cells=(), finetunes=(), evals=())
        layout.draft("s").write_text(empty.text)
    assert do(root, "gc") == 0
    assert layout.list_done() == jobs


def test_a_job_that_a_process_holds_stays(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stray = make_stray(root)
    with holding(Layout(root).lock(JOB)):
        assert f"1 jobs that a process works on: {JOB}" in tell(root, capsys, "gc")
    assert stray.exists()


def test_a_job_that_a_plan_comes_to_name_meanwhile_is_put_back(root: Path) -> None:
    layout, stray = Layout(root), make_stray(root)
    use = job_pool.measure_pool(layout, job_pool.find_needs(layout, frozenset()))
    assert use.unnamed == (JOB,)
    now = replace(job_pool.find_needs(layout, frozenset()), named=frozenset({JOB}))
    assert job_pool.remove_unneeded(layout, use, lambda: now, weights=False) == 0
    assert (stray / "result.json").exists()


def test_with_a_plan_that_nobody_can_read_nothing_is_removed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stray = make_stray(root)
    write_text(root / "studies/other/plan.json", "{")
    assert "nothing was done" in tell(root, capsys, "gc", status=2)
    assert stray.exists()


def test_weights_that_no_open_evaluation_needs_go_only_if_asked(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = Layout(root)
    first, second = [job.id for job in read_plan(layout.plan("s")).finetunes]
    for job_id in (first, second):
        (layout.weights(job_id) / "model.safetensors").write_bytes(b"0")
    layout.result(next(job.id for job in read_plan(layout.plan("s")).evals if job.checkpoint_of == first)).unlink()
    assert "spare weights 1 fine-tunes" in tell(root, capsys, "gc")
    assert layout.weights(second).is_dir()
    assert do(root, "gc", "--weights") == 0
    assert layout.weights(first).is_dir()
    assert not layout.weights(second).exists()
    assert layout.result(second).exists()


def test_results_that_runs_in_mlflow_show_stay(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_stray(root)
    owner = read_json(Layout(root).stamp)["id"]
    with closing(sqlite3.connect(root / "mlflow.db")) as base, base:
        base.executescript(f"""
            CREATE TABLE experiments (experiment_id, name, lifecycle_stage);
            CREATE TABLE experiment_tags (experiment_id, key, value);
            CREATE TABLE runs (run_uuid, experiment_id, lifecycle_stage);
            CREATE TABLE tags (run_uuid, key, value);
            INSERT INTO experiments VALUES (1, 'gone', 'active');
            INSERT INTO experiment_tags VALUES (1, 'cg_lab.owner', '{owner}/gone');
            INSERT INTO runs VALUES ('a', 1, 'active');
            INSERT INTO tags VALUES ('a', 'finetune_job', '{JOB}');
        """)
    assert main(["gc", f"results_dir={root}"]) == 0
    assert f"1 jobs that runs in MLflow show: {JOB}" in " ".join(capsys.readouterr().out.split())
    assert Layout(root).job(JOB).exists()
    assert do(root, "gc") == 0  # tracking=none
    assert not Layout(root).job(JOB).exists()


# bundle and open ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["b.zip", "b.tar", "b.tar.gz", "b"])
def test_a_bundle_opens_elsewhere_as_the_same_study(root: Path, tmp_path: Path, name: str) -> None:
    there = tmp_path / "there"
    assert do(root, "bundle", "s", str(tmp_path / name)) == 0
    assert do(there, "open", str(tmp_path / name)) == 0
    assert Layout(there).list_done() == Layout(root).list_done()
    assert (there / "studies/s/effects.csv").read_bytes() == (root / "studies/s/effects.csv").read_bytes()
    assert (there / "studies/s/plan.json").read_bytes() == (root / "studies/s/plan.json").read_bytes()
    assert (there / "studies/s/answers/index.html").exists()
    assert not list(there.rglob("model"))
    assert not (there / ".opened").exists()
    if name == "b.zip":  # and says the same when it is reported there
        assert do(there, "report", "study=s") == 0
        assert (there / "studies/s/effects.csv").read_bytes() == (root / "studies/s/effects.csv").read_bytes()


def test_a_bundle_shows_no_image_and_no_password_and_has_weights_only_if_asked(root: Path, tmp_path: Path) -> None:
    assert "data:image" in (root / "studies/s/report.html").read_text()
    write_text(root / "studies/s/config.yaml", "tracking:\n  uri: http://me:hunter22@host\n")
    assert do(root, "bundle", "s", str(tmp_path / "b")) == 0
    assert "data:image" not in (tmp_path / "b/studies/s/report.html").read_text()
    assert list((tmp_path / "b/studies/s/answers").glob("piece-*.js"))
    assert not any(b"data:image" in content for content in list_files(tmp_path / "b").values())
    assert not any(b"hunter22" in content for content in list_files(tmp_path / "b").values())
    assert not list((tmp_path / "b").rglob("model"))
    weights = Layout(root).weights(read_plan(Layout(root).plan("s")).finetunes[0].id)
    (weights / "model.safetensors").write_bytes(b"0")
    assert do(root, "bundle", "s", str(tmp_path / "c.zip"), "--weights") == 0
    assert do(tmp_path / "there", "open", str(tmp_path / "c.zip")) == 0
    assert len(list((tmp_path / "there").rglob("model.safetensors"))) == 1


def test_a_bundle_never_replaces_a_file(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.zip").write_text("mine")
    assert "is there already" in tell(root, capsys, "bundle", "s", str(tmp_path / "b.zip"), status=2)
    assert (tmp_path / "b.zip").read_text() == "mine"


def test_a_hostile_archive_writes_only_what_a_bundle_has(tmp_path: Path) -> None:
    job = "f" * 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("../evil", "/tmp/evil", f"jobs/{job}/../../evil", "studies/s/packs/logs/1_submitted.pkl",
                     f"jobs/{job}/model/run.py", f"jobs/{job}/model/x.bin", "mlflow.db"):  # fmt: skip
            archive.writestr(name, "evil")
        archive.writestr(f"jobs/{job}/failure.json", "{}")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (
            (f"jobs/{job}/result.json", tarfile.SYMTYPE),
            (f"jobs/{job}/journal.jsonl", tarfile.LNKTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        archive.addfile(tarfile.TarInfo(f"jobs/{job}/failure.json"))
    for name in ("a.zip", "a.tar"):
        there = tmp_path / name.replace(".", "_")
        assert do(there, "open", str(tmp_path / name)) == 0
        found = {str(path.relative_to(there)) for path in there.rglob("*") if path.is_file()}
        assert found <= {"schema.json", f"jobs/{job}/failure.json", f"jobs/{job}/lock"}
    assert not (tmp_path / "evil").exists()


def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cg_lab.data.archives.MAX_TOTAL_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"jobs/{'f' * 16}/journal.jsonl", "0" * 100_000)
    assert "unpacks to more than" in tell(tmp_path / "there", capsys, "open", str(tmp_path / "a.zip"), status=2)
    assert not list((tmp_path / "there").rglob("journal.jsonl"))


def test_a_result_of_other_work_than_its_name_says_does_not_come_in(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(root)
    job_id = read_plan(layout.plan("s")).evals[0].id
    layout.job(job_id).rename(layout.job(JOB))
    said = tell(tmp_path / "there", capsys, "merge", str(root), status=1)
    assert f"not the same: {JOB}: its result is of job {job_id}" in said
    assert not Layout(tmp_path / "there").result(JOB).exists()


# merge --------------------------------------------------------------------------------------------------------------


def test_results_of_two_machines_become_one_study(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(root, other)
    whole = Layout(root).list_done()
    jobs = [job.id for job in read_plan(Layout(root).plan("s")).evals]
    shutil.rmtree(Layout(root).job(jobs[0]))
    shutil.rmtree(Layout(other).job(jobs[1]))
    assert do(root, "merge", str(other)) == 0
    assert Layout(root).list_done() == whole
    assert do(root, "merge", str(other)) == 0


def test_equal_ids_with_other_contents_are_named_and_never_written_over(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(root, other)
    plan = read_plan(Layout(root).plan("s"))
    job = plan.evals[0].id
    path = Layout(other).result(job)
    write_json(path, read_json(path) | {"accuracy": 0.123, "seconds": 99.0, "host": "elsewhere"})
    before = Layout(root).result(job).read_bytes()
    said = tell(root, capsys, "merge", str(other), status=1)
    assert f"not the same: {job}: accuracy is" in said
    assert "0.123 there; the one that was here stays" in said
    assert Layout(root).result(job).read_bytes() == before


def test_answers_of_other_weights_than_those_here_stay_out(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(root, other)
    plan = read_plan(Layout(root).plan("s"))
    tuned = plan.finetunes[0]
    write_result(Layout(other), replace(make_result(tuned), loss_last=0.7))
    asked = next(job.id for job in plan.evals if job.checkpoint_of == tuned.id)
    shutil.rmtree(Layout(root).job(asked))
    assert f"left out: 1 evaluations of such weights: {asked}" in tell(root, capsys, "merge", str(other), status=1)
    assert not Layout(root).result(asked).exists()


def test_a_merged_plan_has_what_either_had_and_a_contradicting_one_is_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Layout(tmp_path / "other")
    assert run("plan", other.root, "targets=[ct-brain-mass]") == 0
    assert "study s has more in it now" in tell(root, capsys, "merge", str(other.root))
    targets = [part.target for part in read_plan(Layout(root).plan("s")).contrasts]
    assert targets == ["us-breast-mass", "ct-brain-mass"]
    plan = read_plan(other.plan("s"))
    recipe = replace(plan.settings[0].recipe, learning_rate=0.5)
    freeze_plan(other, replace(plan, settings=(replace(plan.settings[0], recipe=recipe),)))
    assert "not the same: s: recipe.learning_rate" in tell(root, capsys, "merge", str(other.root), status=1)


def test_a_job_that_is_worked_on_here_is_left_alone(root: Path, tmp_path: Path) -> None:
    here = Layout(tmp_path / "here")
    job = read_plan(Layout(root).plan("s")).evals[0].id
    with holding(here.lock(job)):
        assert do(here.root, "merge", str(root)) == 1
    assert not here.result(job).exists()
    assert do(here.root, "merge", str(root)) == 0
    assert here.result(job).exists()


def test_what_is_no_results_folder_is_refused(root: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "empty").mkdir()
    assert "is no results folder" in tell(root, capsys, "merge", str(tmp_path / "empty"), status=2)
