"""`run_served_eval`: what a served model answers to every question, by log-probabilities or as written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from cg_lab.endpoint_settings import Server
from cg_lab.errors import InterruptedByUserError, UserError
from cg_lab.evaluation.predictions import Asked, Evaluation, Row, tabulate_choices, write_predictions
from cg_lab.evaluation.served_exam import RequestWriter, ServedExam
from cg_lab.locks import holding
from cg_lab.models.endpoint.answer_queue import LOOK_S, AnswerQueue, Request
from cg_lab.models.endpoint.client import Client, RefusedError
from cg_lab.models.endpoint.formats import Reply
from cg_lab.models.endpoint.kept_answers import KeptAnswers, opening_answers
from cg_lab.models.endpoint.option_scores import LetterScores, score_letters, score_texts
from cg_lab.models.endpoint.server_record import ServerRecord, ask_report, read_record, update_record, write_record
from cg_lab.questions import Question
from cg_lab.results import ServedFacts

MAY_REFUSE_LOG_PROBS = (400, 422, 501)
"""Statuses with which servers refuse a request for log-probabilities."""


@dataclass(slots=True, kw_only=True)
class _Taken:
    """Answers as they come."""

    texts: dict[tuple[int, int], str] = field(default_factory=dict)
    """By place of the question and order."""
    scores: dict[tuple[int, int], LetterScores] = field(default_factory=dict)
    put: dict[tuple[int, int], dict[int, Reply]] = field(default_factory=dict)
    """Replies to options that were put as answers, until there is one to each."""
    text_scores: dict[tuple[int, int], tuple[float, ...]] = field(default_factory=dict)
    fingerprints: set[str] = field(default_factory=set)
    num_read: int = 0
    num_written: int = 0


def run_served_eval(
    exam: ServedExam, server: Server, folder: Path, predictions: Path, is_stopping: Callable[[], bool]
) -> tuple[Evaluation, ServedFacts]:
    """Let a served model answer questions and write predictions.parquet, whole or not at all.

    Parameters
    ----------
    exam
        The questions.
    server
        How the model is reached.
    folder
        Of the model's answers, which one process at a time asks for: others wait.
    predictions
        The file to write.
    is_stopping
        Asked twice a second.

    Raises
    ------
    UserError
        If the server can't or may not be asked any further; what it answered is kept.
    InterruptedByUserError
        If it was to stop.

    """
    began = time.perf_counter()
    taken = _Taken()
    with _waiting_for(folder / "lock", is_stopping), opening_answers(folder) as kept:
        session = _Session(exam, server, folder, kept, taken)
        asyncio.run(session.run(is_stopping))
    rows, metrics, num_scored = _tabulate(exam, taken)
    facts = ServedFacts(
        reported=session.record.reported,
        fingerprints=tuple(sorted(taken.fingerprints)),
        num_scored=num_scored,
        num_asked=session.num_tries,
        num_found=session.num_found,
        num_read=taken.num_read,
        num_written=taken.num_written,
    )
    return write_predictions(predictions, rows, metrics, time.perf_counter() - began), facts


def _tabulate(exam: ServedExam, taken: _Taken) -> tuple[list[Row], dict[str, float], int]:
    """Give rows, metrics, and how many questions count by log-probabilities: those whose every order was scored."""
    asked: list[Asked] = []
    scores: list[tuple[tuple[float, ...], ...]] = []
    texts: list[tuple[str, ...]] = []
    num_letters = 0
    for place, (sample, question) in enumerate(zip(exam.exam.samples, exam.exam.questions, strict=True)):
        turned = [(place, order) for order in range(len(exam.list_turned(place)))]
        found = [taken.scores[turn].log_probs for turn in turned if turn in taken.scores]
        found += [taken.text_scores[turn] for turn in turned if turn in taken.text_scores]
        asked.append(
            Asked(id=sample.id, subset=sample.subset, group=sample.group, label=sample.label, question=question)
        )
        scores.append(tuple(found) if len(found) == len(turned) else ())
        texts.append(tuple(taken.texts[turn] for turn in turned if turn in taken.texts))
        num_letters += sum(len(taken.scores[turn].log_probs) for turn in turned if turn in taken.scores)
    rows, metrics = tabulate_choices(asked, scores, texts, exam.model.answer)
    num_scored = sum(map(bool, scores))
    if exam.wants_log_probs or exam.scores_texts:
        metrics["scored_share"] = num_scored / len(rows)
    if num_letters:
        metrics["unlisted_letters"] = sum(score.num_unlisted for score in taken.scores.values()) / num_letters
    return rows, metrics, num_scored


class _Session:
    """One exam at one server."""

    def __init__(self, exam: ServedExam, server: Server, folder: Path, kept: KeptAnswers, taken: _Taken) -> None:
        self._server = server
        self._folder = folder
        self._kept = kept
        self._taken = taken
        self._exam = exam
        self._writer = RequestWriter(exam, batch=max(8, server.concurrency))
        self.record: ServerRecord = read_record(folder, exam.model)
        self.num_tries = 0
        self.num_found = 0

    async def run(self, is_stopping: Callable[[], bool]) -> None:
        """Have all questions answered."""
        async with Client(self._server, self._kept) as client:
            try:
                self._update(await ask_report(client))
                if self._exam.wants_log_probs:
                    await self._settle_log_probs(client, is_stopping)
                queue = AnswerQueue(client, self._kept, self._take)
                await queue.run(self._writer.list_batches(), is_stopping)
                self.num_found += queue.num_found
            finally:
                self.num_tries = client.num_tries

    async def _settle_log_probs(self, client: Client, is_stopping: Callable[[], bool]) -> None:
        """Ask the first question with log-probabilities, and without where the server does not take that."""
        if self.record.takes_log_probs is None:
            try:
                await self._try_first(client, is_stopping, with_log_probs=True)
                takes = True
            except RefusedError as error:
                if error.status not in MAY_REFUSE_LOG_PROBS:
                    raise
                await self._try_first(client, is_stopping, with_log_probs=False)
                takes = False
            self.record = replace(self.record, takes_log_probs=takes)
            write_record(self._folder, self.record)
        self._writer.with_log_probs = self.record.takes_log_probs is True

    async def _try_first(self, client: Client, is_stopping: Callable[[], bool], *, with_log_probs: bool) -> None:
        body = self._writer.write_first(with_log_probs=with_log_probs)
        queue = AnswerQueue(client, self._kept, lambda *_: None)
        await queue.run(iter([[Request(number=0, body=body)]]), is_stopping)
        self.num_found -= 1 - queue.num_found  # it is kept when its turn comes

    def _take(self, number: int, reply: Reply) -> None:
        *turn, option = self._writer.places[number]
        place = (turn[0], turn[1])
        if reply.model and self.record.reported.get("model") != reply.model:
            self._update({"model": reply.model})
        question = self._exam.exam.questions[place[0]]
        assert isinstance(question, Question)
        if option is not None:
            self._take_option(place, option, reply, len(question.options))
        else:
            self._taken.texts[place] = reply.text.strip()
            if self._exam.wants_log_probs and (found := score_letters(reply.tops, len(question.options))):
                self._taken.scores[place] = found
        if reply.fingerprint:
            self._taken.fingerprints.add(reply.fingerprint)
        self._taken.num_read += reply.num_read
        self._taken.num_written += reply.num_written

    def _take_option(self, place: tuple[int, int], option: int, reply: Reply, num_options: int) -> None:
        put = self._taken.put.setdefault(place, {})
        put[option] = reply
        if len(put) < num_options:
            return
        scores = score_texts([put[number] for number in range(num_options)])
        if scores is None:
            raise UserError(
                f"model.option_log_probs: the server at {self._server.url} gives no log-probabilities of a prompt's "
                "tokens, as vLLM does; with model.option_log_probs=false what it writes counts. Its replies are kept: "
                "another server of the model is asked anew with a mark, such as model.revision=second"
            )
        self._taken.text_scores[place] = scores
        del self._taken.put[place]

    def _update(self, said: dict[str, str]) -> None:
        updated = update_record(self.record, said, self._folder)
        if updated != self.record:
            self.record = updated
            write_record(self._folder, updated)


@contextmanager
def _waiting_for(path: Path, is_stopping: Callable[[], bool]) -> Iterator[None]:
    """Hold a lock as soon as it is free."""
    while True:
        with holding(path) as held:
            if held:
                yield
                return
        if is_stopping():
            raise InterruptedByUserError
        time.sleep(LOOK_S)
