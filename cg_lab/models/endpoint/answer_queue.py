"""Many requests to one server, so many under way at a time: what is kept is not asked, what is equal asked once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cg_lab.errors import InterruptedByUserError
from cg_lab.models.endpoint.client import Client, EndingError
from cg_lab.models.endpoint.formats import Reply
from cg_lab.models.endpoint.kept_answers import KeptAnswers, hash_request

LOOK_S = 0.5
"""Between two looks whether to stop, each of which is a sign of life."""
STOP_S = 20.0
"""That requests under way have to end once somebody asked to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question as it is put to a server."""

    number: int
    """By which its answer is handed over."""
    body: bytes


class AnswerQueue:
    """Has requests answered.

    Whatever ends it early, requests that are under way end first and their answers are kept, since they are paid.
    """

    def __init__(self, client: Client, kept: KeptAnswers, take: Callable[[int, Reply], None]) -> None:
        self._client = client
        self._kept = kept
        self._take = take
        self._path = client.format.PATH
        self._waiting: dict[str, list[int]] = {}
        """Numbers by request that is under way or waits for its turn."""
        self._queue: asyncio.Queue[Request | None] = asyncio.Queue(maxsize=client.server.concurrency)
        self._fault: Exception | None = None
        self.num_found = 0
        """Questions whose answers were kept already, or are those of an equal one."""

    async def run(self, batches: Iterator[list[Request]], is_stopping: Callable[[], bool]) -> None:
        """Answer all; `batches` is read in a thread, a little ahead of the server.

        Raises
        ------
        UserError
            If the server can't or may not be asked any further.
        InterruptedByUserError
            If `is_stopping` says so.

        """
        self._client.ending.clear()
        feeder = asyncio.create_task(self._feed(batches))
        workers = [asyncio.create_task(self._work()) for _ in range(self._client.server.concurrency)]
        watcher = asyncio.create_task(self._watch(is_stopping, workers))
        try:
            await asyncio.wait(workers)
        finally:
            for task in (feeder, watcher, *workers):
                task.cancel()
            await asyncio.gather(feeder, watcher, *workers, return_exceptions=True)
        if self._fault is not None:
            raise self._fault

    async def _feed(self, batches: Iterator[list[Request]]) -> None:
        try:
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                for request in batch:
                    if not self._has_answer(request):
                        await self._queue.put(request)
            for _ in range(self._client.server.concurrency):
                await self._queue.put(None)
        except Exception as error:  # noqa: BLE001 - told by `run`
            self._end(error)

    def _has_answer(self, request: Request) -> bool:
        """Hand over an answer that is kept, or that an equal request is going to get."""
        name = hash_request(self._path, request.body)
        reply = self._kept.find(name)
        if reply is not None:
            self._take(request.number, reply)
        elif name in self._waiting:
            self._waiting[name].append(request.number)
        else:
            self._waiting[name] = [request.number]
            return False
        self.num_found += 1
        return True

    async def _work(self) -> None:
        while (request := await self._queue.get()) is not None:
            name = hash_request(self._path, request.body)
            try:
                reply = await self._client.ask(name, request.body)
                for number in self._waiting.pop(name):
                    self._take(number, reply)
            except EndingError:
                return
            except Exception as error:  # noqa: BLE001 - told by `run`
                self._end(error)
                return

    async def _watch(self, is_stopping: Callable[[], bool], workers: list[asyncio.Task[None]]) -> None:
        while not is_stopping():
            await asyncio.sleep(LOOK_S)
        self._end(InterruptedByUserError())
        await asyncio.sleep(STOP_S)
        for worker in workers:
            worker.cancel()

    def _end(self, fault: Exception) -> None:
        """Let nothing further begin; workers that wait for a request go home."""
        self._fault = self._fault or fault
        self._client.ending.set()
        while not self._queue.empty():
            self._queue.get_nowait()
        for _ in range(self._queue.maxsize):
            self._queue.put_nowait(None)
