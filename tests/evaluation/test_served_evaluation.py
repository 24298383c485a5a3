"""Served models at a server that fails in every way: no answer is lost, none is asked twice, none is invented."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from cg_lab.data.asking import Exam
from cg_lab.data.samples import Sample
from cg_lab.endpoint_settings import ServedModel, Server
from cg_lab.errors import InterruptedByUserError, UserError
from cg_lab.evaluation.predictions import Evaluation
from cg_lab.evaluation.served_evaluation import run_served_eval
from cg_lab.evaluation.served_exam import ServedExam
from cg_lab.models.endpoint import client
from cg_lab.models.endpoint.kept_answers import opening_answers
from cg_lab.questions import LETTERS, AnswerForm, Question, Shots
from cg_lab.results import ServedFacts
from tests.evaluation.chat_server import ChatServer, serving

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-very-secret-0123456789"
MODEL = ServedModel(name="tiny", served="tiny", answer=AnswerForm.LETTER, request='{"max_tokens":8,"temperature":0}')


class Images:
    """Draws an image for each sample when it is asked for."""

    seed = 0

    def read_images(self, samples: tuple[Sample, ...]) -> list[Image.Image]:
        return [Image.new("L", (12, 8), int(sample.id) % 256) for sample in samples]


def make_exam(count: int = 12, **changes: Any) -> ServedExam:
    samples = tuple(Sample(id=str(number), subset="s", label="l", group=None) for number in range(count))
    questions = tuple(
        Question(text=f"What is seen in {number}?", options=("cyst", "mass", "no mass"), answer=number % 3)
        for number in range(count)
    )
    exam = ServedExam(
        model=MODEL, source=Images(), exam=Exam(samples=samples, questions=questions),  # type: ignore[arg-type]
        shots=None, is_blank=False, wants_log_probs=True, orders=1,
    )  # fmt: skip
    return replace(exam, **changes)


def make_server(chat: ChatServer, **changes: Any) -> Server:
    server = Server(
        model=MODEL, url=chat.url, key_variable="TEST_KEY", concurrency=4, timeout_s=5.0, retries=3,
        retry_wait_s=0.01, max_requests=None,
    )  # fmt: skip
    return replace(server, **changes)


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    with serving(ChatServer()) as chat:
        yield chat


def ask(
    chat: ChatServer, folder: Path, exam: ServedExam | None = None, **changes: Any
) -> tuple[Evaluation, ServedFacts, list[dict[str, Any]]]:
    exam = exam or make_exam()
    server = make_server(chat, model=exam.model, **changes)
    done, facts = run_served_eval(exam, server, folder / "a", folder / "p.parquet", lambda: False)
    return done, facts, pq.read_table(folder / "p.parquet").to_pylist()


def choose(chat: ChatServer, exam: ServedExam) -> list[int]:
    """Give what the server's model likes, by what it was really asked."""
    return [chat.choose(body["messages"][-1]["content"][-1]["text"]) for body in chat.bodies]


def test_letters_count_by_their_log_probabilities_and_unlisted_ones_by_their_bound(
    chat: ChatServer, tmp_path: Path
) -> None:
    done, facts, rows = ask(chat, tmp_path)
    for row in rows:
        assert sorted(row["log_probs"]) == [-2.5, -2.5, -0.1]
        assert row["log_probs"][row["choice"]] == -0.1
        assert row["written"] == [LETTERS[row["choice"]]]
    assert done.metrics["scored_share"] == 1
    assert done.metrics["unlisted_letters"] == pytest.approx(2 / 3)
    assert (facts.num_asked, facts.num_found, facts.num_scored) == (12, 0, 12)
    assert facts.reported == {"root": "weights-1", "version": "0.9", "model": "tiny-2026-01-01"}
    assert (facts.fingerprints, facts.num_read, facts.num_written) == (("fp_1",), 120, 12)


def test_an_image_travels_without_loss_in_front_of_its_question(chat: ChatServer, tmp_path: Path) -> None:
    ask(chat, tmp_path)
    sent = {}
    for body in chat.bodies:
        image, text = body["messages"][0]["content"]
        kind, _, data = image["image_url"]["url"].partition(",")
        assert kind == "data:image/png;base64"
        opened = Image.open(io.BytesIO(base64.b64decode(data)))
        sent[text["text"].split("?")[0]] = (opened.size, opened.getpixel((0, 0)))
        assert text["text"].endswith("directly.")
        assert (body["temperature"], body["max_tokens"]) == (0, 8)
    assert sent == {f"What is seen in {number}": ((12, 8), number) for number in range(12)}


def test_a_longest_side_makes_images_smaller(chat: ChatServer, tmp_path: Path) -> None:
    ask(chat, tmp_path, make_exam(2, model=replace(MODEL, longest_side=6)))
    url = chat.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]
    assert Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size == (6, 4)


def test_examples_are_turns_of_the_same_conversation(chat: ChatServer, tmp_path: Path) -> None:
    shown = Question(text="What is this?", options=("cyst", "mass"), answer=1)
    shots = Shots(questions=(shown, shown), images=(Image.new("L", (4, 4)),) * 2)
    ask(chat, tmp_path, make_exam(2, shots=shots))
    for body in chat.bodies:
        assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user", "assistant", "user"]
        assert [turn["content"] for turn in body["messages"][1::2]] == ["B", "B"]


def test_blank_images_are_all_that_a_blind_model_sees(chat: ChatServer, tmp_path: Path) -> None:
    ask(chat, tmp_path, make_exam(3, is_blank=True))
    urls = {body["messages"][0]["content"][0]["image_url"]["url"] for body in chat.bodies}
    (url,) = urls
    assert Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).getpixel((0, 0)) == 127


def test_equal_questions_are_asked_once(chat: ChatServer, tmp_path: Path) -> None:
    question = Question(text="What?", options=("cyst", "mass", "no mass"), answer=0)
    exam = make_exam(20, is_blank=True)
    exam = replace(exam, exam=replace(exam.exam, questions=(question,) * 20))
    _, facts, rows = ask(chat, tmp_path, exam)
    assert len(chat.bodies) == facts.num_asked == 1
    assert facts.num_found == 19
    assert len({row["choice"] for row in rows}) == 1


def test_all_orders_are_asked_and_averaged(chat: ChatServer, tmp_path: Path) -> None:
    done, _, rows = ask(chat, tmp_path, make_exam(4, orders=None))
    assert len(chat.bodies) == 12
    assert all(len(row["turned_log_probs"]) == len(row["written"]) == 3 for row in rows)
    assert "circular_accuracy" in done.metrics


@pytest.mark.parametrize("refuses", [True, False])
def test_without_log_probabilities_what_is_written_counts_and_that_is_said(
    chat: ChatServer, tmp_path: Path, refuses: bool
) -> None:
    """A server says that it has none (and is asked without), or silently gives none."""
    chat.refuses_log_probs, chat.gives_log_probs = refuses, False
    done, facts, rows = ask(chat, tmp_path)
    assert all(row["log_probs"] is None and row["choice"] == row["parsed"][0] for row in rows)
    assert done.metrics["scored_share"] == 0 == facts.num_scored
    assert len(chat.bodies) == 12 + refuses
    ask(chat, tmp_path)
    assert len(chat.bodies) == 12 + refuses


def test_of_texts_what_is_written_counts(chat: ChatServer, tmp_path: Path) -> None:
    chat.always = ("say", "It is a cyst.")
    done, _, rows = ask(chat, tmp_path, make_exam(model=replace(MODEL, answer=AnswerForm.TEXT), wants_log_probs=False))
    assert all(row["choice"] == 0 for row in rows)
    assert "scored_share" not in done.metrics
    assert not any("logprobs" in body for body in chat.bodies)


OPTIONS = replace(MODEL, answer=AnswerForm.TEXT, option_log_probs=True)


def put_options(count: int = 4, **changes: Any) -> ServedExam:
    return make_exam(count, model=OPTIONS, wants_log_probs=False, scores_texts=True, writes=False, **changes)


def test_each_option_is_put_as_an_answer_and_its_tokens_count(chat: ChatServer, tmp_path: Path) -> None:
    done, facts, rows = ask(chat, tmp_path, put_options())
    for row in rows:
        by_option = dict(zip(row["options"], row["log_probs"], strict=True))
        assert by_option == {"cyst": pytest.approx(-0.9), "mass": pytest.approx(-0.9), "no mass": pytest.approx(-1.1)}
        assert row["written"] is None
    assert (done.metrics["scored_share"], facts.num_scored, facts.num_asked) == (1, 4, 12)
    assert "unlisted_letters" not in done.metrics
    for body in chat.bodies:
        assert body["messages"][-1]["role"] == "assistant"
        assert (body["prompt_logprobs"], body["add_generation_prompt"], body["max_tokens"]) == (0, False, 1)
    _, again, same = ask(chat, tmp_path, put_options())
    assert (again.num_asked, again.num_found, same) == (0, 12, rows)


def test_options_are_put_beside_what_is_written_in_every_order(chat: ChatServer, tmp_path: Path) -> None:
    _, facts, rows = ask(chat, tmp_path, replace(put_options(2), writes=True, orders=None))
    assert facts.num_asked == 2 * 3 * (1 + 3)
    assert all(len(row["written"]) == len(row["turned_log_probs"]) == 3 for row in rows)


def test_a_server_that_reads_no_log_probabilities_of_prompts_is_told(chat: ChatServer, tmp_path: Path) -> None:
    chat.gives_log_probs = False
    with pytest.raises(UserError, match=r"model.option_log_probs: .*=false what it writes counts.*revision=second"):
        ask(chat, tmp_path, put_options())
    chat.gives_log_probs = True
    with pytest.raises(UserError, match=r"model.option_log_probs"):
        ask(chat, tmp_path, put_options())
    marked = replace(put_options(), model=replace(OPTIONS, revision="second"))
    done, _, _ = ask(chat, tmp_path / "second", marked)
    assert done.metrics["scored_share"] == 1


def test_a_cost_is_kept_to_over_commands_and_names_what_was_spent(chat: ChatServer, tmp_path: Path) -> None:
    prices = {"input_price": 1e5, "output_price": 1e6}  # 2 for an answer: ten tokens read, one written
    with pytest.raises(UserError, match=r"model.max_cost: .* above 9; 8.00 were spent on 4 answers, which are kept"):
        ask(chat, tmp_path, concurrency=1, max_cost=9.0, **prices)
    with pytest.raises(UserError, match=r"model.max_cost"):
        ask(chat, tmp_path, concurrency=1, max_cost=9.0, **prices)
    assert len(chat.bodies) == 4
    ask(chat, tmp_path, max_cost=24.0, **prices)
    assert len(chat.bodies) == 12


@pytest.mark.parametrize("said", ["I'm sorry, I can't help with that.", "", "A or B or C", "\x00\ud7ff?!"])
def test_refusals_and_nonsense_choose_no_option(chat: ChatServer, tmp_path: Path, said: str) -> None:
    chat.faults = {3: ("say", said)}
    done, _, rows = ask(chat, tmp_path, concurrency=1)
    assert rows[3]["choice"] is None
    assert not rows[3]["correct"]
    assert rows[3]["written"] == [said.strip()]
    assert sum(row["choice"] is None for row in rows) == 1
    assert done.metrics["parse_failures"] == 1 / 12
    assert done.num_questions == 12


def test_a_question_that_the_server_filters_has_no_answer(chat: ChatServer, tmp_path: Path) -> None:
    chat.faults = {3: ("status", 400, {}, "blocked by content_filter")}
    _, _, rows = ask(chat, tmp_path, concurrency=1)
    assert [row["choice"] is None for row in rows] == [number == 3 for number in range(12)]


PASSING = {
    "429": ("status", 429, {"Retry-After": "0"}, "slow down"),
    "500": ("status", 500, {}, "oops"),
    "502 of a proxy": ("raw", "<html>bad gateway</html>"),
    "no choices": ("raw", '{"choices": []}'),
    "half a reply": ("raw", '{"choices": [{"message"'),
    "time-out": ("hang", 0.6),
    "cut connection": ("cut",),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_faults_that_pass_cost_further_tries_and_no_answer(chat: ChatServer, tmp_path: Path, fault: Any) -> None:
    exam = make_exam()
    undisturbed = [row["choice"] for row in ask(chat, tmp_path / "before", exam)[2]]
    chat.bodies.clear()
    chat.faults = dict.fromkeys((0, 2, 3, 7), fault)
    _, facts, rows = ask(chat, tmp_path, exam, timeout_s=0.3)
    assert [row["choice"] for row in rows] == undisturbed
    assert len(chat.bodies) == facts.num_asked == 12 + 4


def test_a_server_that_says_how_long_to_wait_is_left_alone_so_long(chat: ChatServer, tmp_path: Path) -> None:
    chat.faults = {2: ("status", 429, {"Retry-After": "0.7"}, "slow down")}
    began = time.monotonic()
    ask(chat, tmp_path, concurrency=1)
    assert time.monotonic() - began > 0.7


@pytest.mark.parametrize("fault", [("status", 503, {}, "loading"), ("cut",)])
def test_faults_that_do_not_pass_end_with_one_line_and_keep_what_was_answered(
    chat: ChatServer, tmp_path: Path, fault: Any
) -> None:
    chat.faults = dict.fromkeys(range(5, 100), fault)
    with pytest.raises(UserError, match=r"did not answer in 4 tries .*; what was answered is kept") as told:
        ask(chat, tmp_path, concurrency=1)
    assert "\n" not in str(told.value)
    chat.faults.clear()
    before = len(chat.bodies)
    _, facts, rows = ask(chat, tmp_path)
    assert len(rows) == 12
    assert len(chat.bodies) - before == 7 == facts.num_asked


def test_a_server_that_is_not_there_is_told(chat: ChatServer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model.url: the server at http://127.0.0.1:9/v1 did not answer"):
        ask(chat, tmp_path, url="http://127.0.0.1:9/v1")


def test_a_quota_that_is_spent_is_not_waited_for(chat: ChatServer, tmp_path: Path) -> None:
    chat.always = ("status", 429, {}, "insufficient_quota: check your billing")
    with pytest.raises(UserError, match="insufficient_quota"):
        ask(chat, tmp_path)
    assert len(chat.bodies) == 1


def test_a_wrong_model_is_told_with_those_that_there_are(chat: ChatServer, tmp_path: Path) -> None:
    exam = make_exam(model=replace(MODEL, served="other"))
    with pytest.raises(UserError, match=r"answered 404 .*model.served is 'other', and it lists tiny"):
        ask(chat, tmp_path, exam)
    assert len(chat.bodies) == 1


def test_another_model_under_the_same_name_is_refused(chat: ChatServer, tmp_path: Path) -> None:
    ask(chat, tmp_path)
    chat.answers_as = "tiny-2026-09-09"
    with pytest.raises(UserError, match=r"model 'tiny-2026-09-09'.* reported 'tiny-2026-01-01'.*model.revision=second"):
        ask(chat, tmp_path, make_exam(14))
    chat.answers_as, chat.root = "tiny-2026-01-01", "weights-2"
    with pytest.raises(UserError, match="root 'weights-2'"):
        ask(chat, tmp_path)


def test_a_cap_is_kept_over_commands_and_tries(chat: ChatServer, tmp_path: Path) -> None:
    chat.faults = {1: ("cut",)}
    with pytest.raises(
        UserError, match=r"model.max_requests: 7 requests to 'tiny' are spent; what was answered is kept"
    ):
        ask(chat, tmp_path, max_requests=7)
    assert sum(chat.answered.values()) == 6
    with pytest.raises(UserError, match=r"model.max_requests: 7 "):
        ask(chat, tmp_path, max_requests=7)
    assert len(chat.bodies) == 7
    ask(chat, tmp_path, max_requests=13)
    assert len(chat.bodies) == 13
    assert max(chat.answered.values()) == 1


def test_no_more_requests_are_under_way_than_is_said(chat: ChatServer, tmp_path: Path) -> None:
    chat.delay_s = 0.03
    ask(chat, tmp_path, concurrency=3)
    assert chat.most_at_once == 3


def test_whoever_stops_it_gets_the_answers_that_are_under_way(chat: ChatServer, tmp_path: Path) -> None:
    chat.delay_s = 0.2
    looks = iter([False, True])
    with pytest.raises(InterruptedByUserError):
        run_served_eval(
            make_exam(40), make_server(chat), tmp_path / "a", tmp_path / "p.parquet", lambda: next(looks, True)
        )
    with opening_answers(tmp_path / "a") as kept:
        assert kept.num_answers == sum(chat.answered.values()) < 40
    assert not (tmp_path / "p.parquet").exists()


CLIENT = f"""
import sys
from pathlib import Path
from tests.evaluation.chat_server import ChatServer
from {__name__} import ask, make_exam
ask(ChatServer(url=sys.argv[1]), Path(sys.argv[2]), make_exam(60))
"""


@pytest.mark.slow
def test_a_killed_client_goes_on_where_it_was(chat: ChatServer, tmp_path: Path) -> None:
    """What was kept is not asked again; what was under way at the kill, at most as many as go at once, is."""
    chat.delay_s = 0.05
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, "-c", CLIENT, chat.url, str(tmp_path)], env=environment)
    try:
        while sum(chat.answered.values()) < 20:
            assert child.poll() is None
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    time.sleep(0.1)
    with (tmp_path / "a" / "answers.jsonl").open("ab") as file:
        file.write(b'{"request": "00ff", "reply": {"text": "B", "tops"')
    with opening_answers(tmp_path / "a") as kept:
        num_kept = kept.num_answers
    asked_before = sum(chat.answered.values())
    assert 0 < num_kept <= asked_before <= num_kept + 4
    _, facts, rows = ask(chat, tmp_path, make_exam(60))
    assert facts.num_found == num_kept
    assert sum(chat.answered.values()) - asked_before == 60 - num_kept == facts.num_asked
    liked = {json.dumps(body["messages"][-1]["content"][-1]["text"]) for body in chat.bodies}
    assert len(rows) == 60 == len(liked)
    assert all(row["choice"] is not None for row in rows)


@pytest.mark.parametrize("given", [None, "sk-wrong-9876543210"])
def test_a_missing_or_wrong_key_is_told_by_its_variable_and_never_by_itself(
    chat: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    chat.key = KEY
    monkeypatch.delenv("TEST_KEY", raising=False)
    if given:
        monkeypatch.setenv("TEST_KEY", given)
    state = "holds a key that it does not take" if given else "is not set"
    with pytest.raises(UserError, match=rf"TEST_KEY of the environment \(model.key_variable\) {state}") as told:
        ask(chat, tmp_path)
    assert "sk-wrong" not in str(told.value)
    assert len(chat.bodies) == 1


def assert_nowhere(folder: Path) -> None:
    for path in folder.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "fault",
    [
        ("status", 403, {}, f"key {KEY} has no rights"),
        ("status", 500, {}, f"Bearer {KEY}"),
        ("raw", f'{{"error": "{KEY}"}}'),
    ],
)
def test_a_key_in_an_error_reaches_no_file_and_no_message(
    chat: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    chat.key, chat.always = KEY, fault
    monkeypatch.setenv("TEST_KEY", f"{KEY}\n")
    with pytest.raises(UserError, match=r"\*\*\*") as told:
        ask(chat, tmp_path)
    assert KEY not in str(told.value)
    assert chat.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert_nowhere(tmp_path)


def test_a_key_in_an_answer_reaches_no_file(chat: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat.key, chat.always = KEY, ("say", f"Your key is {KEY}.")
    monkeypatch.setenv("TEST_KEY", KEY)
    _, _, rows = ask(chat, tmp_path)
    assert rows[0]["written"] == ["Your key is ***."]
    assert_nowhere(tmp_path)


def test_a_date_to_come_back_at_is_waited_for() -> None:
    assert 50 < client._read_wait(time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))) < 61


@pytest.mark.slow
def test_two_commands_do_not_ask_one_server_at_once(chat: ChatServer, tmp_path: Path) -> None:
    """The second one waits, and then finds what it would have asked."""
    chat.delay_s = 0.03
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    children = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").symlink_to(tmp_path / "a")
        children.append(
            subprocess.Popen([sys.executable, "-c", CLIENT, chat.url, str(tmp_path / name)], env=environment)
        )
        (tmp_path / "a").mkdir(exist_ok=True)
    assert [child.wait() for child in children] == [0, 0]
    assert set(chat.answered.values()) == {1}
    assert len(chat.answered) == 60
