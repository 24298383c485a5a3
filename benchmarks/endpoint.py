"""Ask a server through cg_lab and by a plain async client, equally many at a time; the memory of 10,000 answers.

The server answers each request after a fixed time. Both ways draw the same images and send the same bodies.

    python benchmarks/endpoint.py [--answers 10000] [--concurrency 32] [--delay-ms 200]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import numpy as np
from aiohttp import web
from PIL import Image

from cg_lab.data.asking import Exam
from cg_lab.data.samples import Sample
from cg_lab.endpoint_settings import ServedModel, Server
from cg_lab.evaluation.served_evaluation import run_served_eval
from cg_lab.evaluation.served_exam import RequestWriter, ServedExam
from cg_lab.questions import AnswerForm, Question

FLOOR = 0.95
ROUNDS = 3
SIDE = 224
MODEL = ServedModel(name="m", served="m", answer=AnswerForm.LETTER, request='{"max_tokens":8,"temperature":0}')
TOPS = [{"token": f" token{number}", "logprob": -1.0 - number} for number in range(18)]
MESSAGE = {"message": {"role": "assistant", "content": "A"}}
LETTERS = [{"token": "A", "logprob": -0.2}, {"token": "B", "logprob": -1.9}]
REPLY = {
    "model": "m",
    "choices": [{**MESSAGE, "logprobs": {"content": [{**LETTERS[0], "top_logprobs": [*LETTERS, *TOPS]}]}}],
    "usage": {"prompt_tokens": 300, "completion_tokens": 1},
}


class Scans:
    """Draws an image for each sample when it is asked for, as smooth as a scan."""

    seed = 0

    def read_images(self, samples: tuple[Sample, ...]) -> list[Image.Image]:
        """Draw them."""
        ramp = np.linspace(0, 255, SIDE, dtype=np.uint8)
        return [Image.fromarray(np.roll(np.tile(ramp, (SIDE, 1)), int(sample.id) % SIDE, axis=1)) for sample in samples]


def make_exam(count: int) -> ServedExam:
    """Ask something else each time."""
    samples = tuple(Sample(id=str(number), subset="s", label="l", group=None) for number in range(count))
    questions = tuple(
        Question(text=f"What does image {number} show?", options=("mass", "no mass"), answer=number % 2)
        for number in range(count)
    )
    source: Any = Scans()
    return ServedExam(
        model=MODEL, source=source, exam=Exam(samples=samples, questions=questions), shots=None, is_blank=False,
        wants_log_probs=True, orders=1,
    )  # fmt: skip


def serve(delay_s: float, pipe: Connection) -> None:
    """Answer everything after a while."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(delay_s)
        return web.json_response(REPLY)

    async def run() -> None:
        application = web.Application(client_max_size=2**30)
        application.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


def ask_plainly(url: str, exam: ServedExam, concurrency: int) -> float:
    """Write the same requests, send so many at a time, read the replies, keep nothing; gives seconds."""

    async def run() -> None:
        batches = RequestWriter(exam, batch=concurrency).list_batches()
        requests = (request for batch in batches for request in batch)

        async def work(session: aiohttp.ClientSession) -> None:
            for request in requests:
                async with session.post(f"{url}/chat/completions", data=request.body) as response:
                    json.loads(await response.text())

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:
            await asyncio.gather(*(work(session) for _ in range(concurrency)))

    began = time.perf_counter()
    asyncio.run(run())
    return time.perf_counter() - began


def ask_through_cg_lab(url: str, exam: ServedExam, concurrency: int) -> float:
    """Ask as a study does, answers kept and rows written; gives seconds."""
    server = Server(
        model=MODEL, url=url, key_variable=None, concurrency=concurrency, timeout_s=60, retries=2, retry_wait_s=1,
        max_requests=None,
    )  # fmt: skip
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run_served_eval(exam, server, Path(folder), Path(folder) / "p.parquet", lambda: False)
    return time.perf_counter() - began


def measure_memory(url: str, count: int, concurrency: int, pipe: Connection) -> None:
    """Send the most memory that a process held that had so many answers, in MB."""
    ask_through_cg_lab(url, make_exam(count), concurrency)
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def in_process(url: str, count: int, concurrency: int) -> float:
    """Run `measure_memory` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    mine, other = context.Pipe()
    process = context.Process(target=measure_memory, args=(url, count, concurrency, other))
    process.start()
    found = mine.recv()
    process.join()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--delay-ms", type=float, default=200)
    given = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    mine, other = context.Pipe()
    server = context.Process(target=serve, args=(given.delay_ms / 1000, other), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{mine.recv()}/v1"
    exam = make_exam(given.answers // 5)
    count = len(exam.exam.samples)
    rounds = [
        (ask_plainly(url, exam, given.concurrency), ask_through_cg_lab(url, exam, given.concurrency))
        for _ in range(ROUNDS)
    ]
    plain, own = (median(column) for column in zip(*rounds, strict=True))
    share = median(first / second for first, second in rounds)
    print(f"{count:,} answers, {given.concurrency} at a time, {given.delay_ms:g} ms each; median of {ROUNDS}")
    print(f"plain client  {count / plain:,.0f} answers/s")
    print(f"cg_lab        {count / own:,.0f} answers/s, {share:.2f} of the plain client's (floor {FLOOR})")
    few, many = (in_process(url, number, given.concurrency) for number in (given.answers // 10, given.answers))
    print(
        f"memory        {few:.0f} MB at most with {given.answers // 10:,} answers, {many:.0f} MB with {given.answers:,}"
    )
    server.terminate()
    if share < FLOOR:
        raise SystemExit("below the floor")


if __name__ == "__main__":
    main()
