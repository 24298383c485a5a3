"""Passwords stand in no message, log or file that others read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cg_lab.cli import main
from cg_lab.passwords import PASSWORD, find_password, hide_passwords
from cg_lab.results import Failure, Layout, write_failure
from cg_lab.tracking.store import TrackingError, connecting


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+psycopg://me:hunter22@host:5432/db", "https://me:hunter22@host", "http://:hunter22@host",
        "?access_token=hunter22&x=1", "MLFLOW_TRACKING_PASSWORD=hunter22", "HF_TOKEN: hunter22",
        "Authorization: Bearer hunter22", "{'Authorization': 'Basic hunter22'}", "refused for hunter22",
    ],
)  # fmt: skip
def test_a_password_is_hidden_wherever_it_stands(text: str) -> None:
    hidden = hide_passwords(text, {"MY_PASSWORD": "hunter22"})
    assert "hunter22" not in hidden
    assert "***" in hidden


@pytest.mark.parametrize(
    "text", ["http://host:5000/path", "results/a:b@c", '{"num_token": 5, "pad_token": null}', "tokens=5", "seed: 1"]
)
def test_what_is_no_password_stays(text: str) -> None:
    assert hide_passwords(text, {"SHELL": "/bin/bash", "API_KEY": "a"}) == text


def test_a_message_of_the_command_line_has_no_password(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", f"results_dir={tmp_path}", "tracking.uri=http://me:hunter22@host", "--cfg", "job"]) == 0
    assert main(["status", f"results_dir={tmp_path}", "study=x", "tracking.url=http://me:hunter22@host"]) == 2
    printed = capsys.readouterr()
    assert "hunter22" not in printed.out + printed.err
    assert "http://me:***@host" in printed.out


def test_why_a_job_failed_is_written_without_passwords(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    said = "can't open s3://me:hunter22@bucket"
    write_failure(layout, Failure(job_id="a", kind="crash", message=said, attempts=1, host="h", when="t"))
    assert json.loads(layout.failure("a").read_text())["message"] == "can't open s3://me:***@bucket"


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("API request failed with error code 403 != 200. Response body: 'Invalid Host header - possible DNS rebinding "
         "attack detected'", "--allowed-hosts NAME"),
        ("API request failed with error code 401 != 200", "MLFLOW_TRACKING_USERNAME"),
        ("PERMISSION_DENIED: me:hunter22 may not", "tracking.experiment=NAME"),
    ],
)  # fmt: skip
def test_a_server_that_lets_nobody_in_is_explained(tmp_path: Path, said: str, advice: str) -> None:
    from mlflow.exceptions import MlflowException

    with (
        pytest.raises(TrackingError) as caught,
        connecting(Layout(tmp_path), f"sqlite:///{tmp_path}/a.db"),
    ):
        raise MlflowException(said)
    assert advice in str(caught.value)


URI = "postgresql://me:hunter%4022@host/mlflow"


def test_a_password_given_in_a_query_is_found_too() -> None:
    assert find_password("postgresql://host/mlflow?user=me&password=hunter22") == "hunter22"
    assert find_password("http://host:5000?user=me") is None


def test_a_detached_sweep_hands_the_password_to_its_last_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is started has it in its environment, and no file of the results folder has it."""
    monkeypatch.setenv(PASSWORD, "another")
    seen: list[str] = []
    monkeypatch.setattr("cg_lab.cli.sweep.start_plan", lambda *_: seen.append(os.environ[PASSWORD]) or "started")
    asked = ["targets=[ct-brain-side]", "seeds=[0]", "arms=[zero_shot,related]", f"tracking.uri={URI}"]
    assert main(["sweep", "--detach", *asked, f"results_dir={tmp_path}"]) == 0
    assert seen == ["hunter@22"]
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and b"hunter" in file.read_bytes()]
