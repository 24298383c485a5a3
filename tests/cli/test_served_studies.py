"""A study of a served model by the command line: sweep, report, doctor, and going on after a fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cg_lab.cli import main
from tests.evaluation.chat_server import ChatServer, serving

SMALL = (
    "study=s", "model=endpoint", "model.served=tiny", "arms=[zero_shot,zero_shot_blind]", "targets=[us-breast-mass]",
    "data.train_per_subset=24", "data.test_per_subset=24", "tracking=none", "cluster.slots=1", "rule.resamples=100",
    "model.retries=1", "model.retry_wait_s=0.01", "model.key_variable=TEST_KEY",
)  # fmt: skip
KEY = "sk-very-secret-0123456789"


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("TEST_KEY", KEY)
    with serving(ChatServer(key=KEY)) as chat:
        yield chat


def run(verb: str, chat: ChatServer, root: Path, *more: str) -> int:
    return main([verb, *SMALL, *more, f"results_dir={root}", f"model.url={chat.url}"])


@pytest.mark.slow
def test_a_sweep_that_failed_goes_on_and_reports_without_the_key(
    chat: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chat.faults = {number: ("status", 500, {}, f"broken, {KEY}") for number in range(9, 1000)}
    assert run("sweep", chat, tmp_path, "model.concurrency=1") == 1
    chat.faults.clear()
    assert run("sweep", chat, tmp_path) == 0
    assert sum(chat.answered.values()) == len({json.dumps(body) for body in chat.bodies})
    report = (tmp_path / "studies" / "s" / "report.md").read_text(encoding="utf-8")
    assert "100 % of the answers count by the log-probabilities that it gives to the options' letters" in report
    assert "zero-shot blind" in report
    results = [json.loads(path.read_bytes()) for path in tmp_path.glob("jobs/*/result.json")]
    assert [result["served"]["num_scored"] for result in results] == [24, 24]
    printed = capsys.readouterr()
    assert KEY not in printed.out + printed.err
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_adapters_that_a_server_has_are_arms_by_its_names_for_them(
    chat: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chat.adapters = ("tiny-1", "tiny-two")
    table = tmp_path / "trained.csv"
    table.write_text(
        "target,arm,served,trained_on\n"
        "us-breast-mass,related,tiny-1,us-lung-mass:8;xray-breast-mass:8\n"
        "us-breast-mass,unrelated,tiny-two,ct-brain-side:16\n"
    )
    more = (f"checkpoints={table}", "arms=[zero_shot,unrelated,related]")
    assert run("sweep", chat, tmp_path, *more) == 0
    results = [json.loads(path.read_bytes()) for path in tmp_path.glob("jobs/*/result.json")]
    asked = [result for result in results if result.get("served")]
    assert len(asked) == 3
    assert all(result["num_questions"] == 24 for result in asked)
    assert {body["model"] for body in chat.bodies} == {"tiny", "tiny-1", "tiny-two"}
    assert [sum(body["model"] == name for body in chat.bodies) for name in chat.adapters] == [24, 24]
    report = (tmp_path / "studies" / "s" / "report.md").read_text(encoding="utf-8")
    assert "declared in" in report
    capsys.readouterr()
    table.write_text(table.read_text().replace("tiny-two", "tiny-three"))
    assert run("sweep", chat, tmp_path / "other", *more) == 1
    printed = capsys.readouterr()
    assert "model.served is 'tiny-three', and it lists tiny, tiny-1, tiny-two" in " ".join(printed.out.split())


def test_the_doctor_asks_one_question(chat: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", chat, tmp_path) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "answers as 'tiny' and reports model tiny-2026-01-01, root weights-1, version 0.9" in printed
    assert "counts by the log-probabilities of letters" in printed
    assert len(chat.bodies) == 1
    assert not (tmp_path / "answers").exists()


def test_the_doctor_says_what_is_wrong_with_a_server(
    chat: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_KEY")
    assert run("doctor", chat, tmp_path) == 1
    assert "TEST_KEY" in capsys.readouterr().out
