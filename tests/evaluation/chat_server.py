"""A server of chat completions that answers as it is told to: the boundary at which faults are made."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cg_lab.questions import LETTERS

Fault = tuple[Any, ...]
"""`("status", 429, {"Retry-After": "1"}, "words")`, `("cut",)`, `("hang", seconds)` or `("say", text)`."""


@dataclass
class ChatServer:
    """What it does, and what it was asked."""

    faults: dict[int, Fault] = field(default_factory=dict)
    """By number of the request, from 0 on."""
    always: Fault | None = None
    gives_log_probs: bool = True
    refuses_log_probs: bool = False
    served: str = "tiny"
    answers_as: str = "tiny-2026-01-01"
    adapters: tuple[str, ...] = ()
    """Names of further models, which answer otherwise."""
    key: str = ""
    delay_s: float = 0.0
    root: str = "weights-1"
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    """By the question's text."""
    most_at_once: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def choose(self, text: str) -> int:
        """Give the option that the model likes."""
        return sum(text.encode()) % 3

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        if "prompt_logprobs" in body:
            return self.score_last_turn(body)
        text = body["messages"][-1]["content"][-1]["text"]
        letter = LETTERS[(self.choose(text) + len(body["model"]) - len(self.served)) % 3]
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": letter}, "finish_reason": "stop"}
        if self.gives_log_probs and body.get("logprobs"):
            tops = [{"token": letter, "logprob": -0.1}, {"token": " Z", "logprob": -2.5}]
            choice["logprobs"] = {"content": [{"token": letter, "logprob": -0.1, "top_logprobs": tops}]}
        return {
            "model": self.answers_as,
            "system_fingerprint": "fp_1",
            "choices": [choice],
            "usage": {"prompt_tokens": 10, "completion_tokens": 1},
        }

    def score_last_turn(self, body: dict[str, Any]) -> dict[str, Any]:
        """Read a prompt as vLLM does: 300 tokens of an image, one a word, the turn's end; short ones are likely."""
        *_, question, answer = body["messages"]
        words = [*question["content"][-1]["text"].split(), *answer["content"].split(), "<end>"]
        read = [{word: {"logprob": -0.1 * len(word), "rank": 1, "decoded_token": word}} for word in words]
        choice = {"message": {"role": "assistant", "content": "I"}, "finish_reason": "length"}
        return {
            "model": self.answers_as,
            "choices": [choice],
            "prompt_logprobs": [None, *[{"7": {"logprob": -9.0}}] * 300, *read] if self.gives_log_probs else None,
            "usage": {"prompt_tokens": 300 + len(words), "completion_tokens": 1},
        }

    @contextmanager
    def counting(self) -> Iterator[None]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def find_fault(self, body: dict[str, Any], headers: dict[str, str]) -> Fault | None:
        with self._lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.headers.append(headers)
        if self.key and headers.get("Authorization") != f"Bearer {self.key}":
            return ("status", 401, {}, f"Incorrect API key provided: {headers.get('Authorization')}")
        if body["model"] not in {self.served, *self.adapters}:
            return ("status", 404, {}, f"The model `{body['model']}` does not exist.")
        if self.refuses_log_probs and "logprobs" in body:
            return ("status", 400, {}, "logprobs are not supported")
        return self.faults.get(number, self.always)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        chat: ChatServer = self.server.chat
        if self.path == "/v1/models":
            self.send(
                200,
                {"object": "list", "data": [{"id": name, "root": chat.root} for name in (chat.served, *chat.adapters)]},
            )
        elif self.path == "/version":
            self.send(200, {"version": "0.9"})
        else:
            self.send(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        chat: ChatServer = self.server.chat
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with chat.counting():
            match chat.find_fault(body, dict(self.headers)):
                case ("status", status, headers, words):
                    self.send(status, {"error": {"message": words}}, headers)
                    return
                case ("cut",):
                    self.close_connection = True
                    self.connection.shutdown(2)
                    return
                case ("hang", seconds):
                    time.sleep(seconds)
                case ("say", text):
                    reply = chat.reply(body)
                    reply["choices"][0] = {"message": {"role": "assistant", "content": text}}
                    self.send(200, reply)
                    return
                case ("raw", text):
                    self.send_text(200, text)
                    return
            time.sleep(chat.delay_s)
            with chat._lock:
                chat.answered[str([turn["content"] for turn in body["messages"]][-1])] += 1
            self.send(200, chat.reply(body))

    def send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self.send_text(status, json.dumps(content), headers)

    def send_text(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        try:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())
        except OSError:
            pass  # who asked is gone

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(chat: ChatServer) -> Iterator[ChatServer]:
    """Let it listen in a thread."""
    listener: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    listener.daemon_threads = True
    listener.chat = chat
    chat.url = f"http://127.0.0.1:{listener.server_address[1]}/v1"
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield chat
    finally:
        listener.shutdown()
        listener.server_close()
