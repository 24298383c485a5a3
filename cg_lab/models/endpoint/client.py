"""One request at a time with patience: tries, waits and words of a server's faults, never its key."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from cg_lab.endpoint_settings import Server
from cg_lab.errors import UserError
from cg_lab.models.endpoint.formats import Reply, load_format
from cg_lab.models.endpoint.kept_answers import KeptAnswers
from cg_lab.passwords import HIDDEN, LEAST_CHARACTERS, hide_passwords

MOST_WAIT_S = 120.0
"""Between two tries, unless the server says how long."""
MOST_TOLD_WAIT_S = 3600.0
"""That a server may ask for; after more one gives the command again."""
PASSING = frozenset({408, 409, 425, 429})
"""Statuses beside 5xx after which the same request may well be answered."""
NEVER_PASSING = ("insufficient_quota", "billing")
"""In a reply of status 429: what no waiting helps."""
KEPT_FROM_ANSWERING = ("content_filter", "content_policy", "ResponsibleAI")
"""In a reply of status 400: the server does not let the model answer this question."""
REPORT_TIMEOUT = aiohttp.ClientTimeout(total=10)
"""Of what a server says of itself."""
GO_ON = "what was answered is kept, give the same command again once it is well"
MOST_WORDS = 300
"""Characters of a server's words that are shown."""


class RefusedError(UserError):
    """The server does not take the request as it is."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class EndingError(Exception):
    """No further try is begun, since the others have come to an end."""


class Client:
    """Puts requests to one server."""

    def __init__(self, server: Server, kept: KeptAnswers) -> None:
        self.server = server
        self.format = load_format(server.model.format)
        self.num_tries = 0
        self.ending = asyncio.Event()
        """Set when no further try is to be begun."""
        self._kept = kept
        self._key = _read_key(server)
        self._open_at = 0.0
        """When requests may be sent again, on the clock of `time.monotonic`."""
        self._under_way = 0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=aiohttp.ClientTimeout(total=self.server.timeout_s),
            connector=aiohttp.TCPConnector(limit=self.server.concurrency),
            proxy=_find_proxy(self.server.url),  # `trust_env` would look for it, and for .netrc, with each request
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def ask(self, request: str, body: bytes) -> Reply:
        """Put a request, again after faults that pass; its answer is kept before it is given.

        Raises
        ------
        RefusedError
            If the server does not take it.
        UserError
            If faults do not pass, or no more may be paid.
        EndingError
            If others have come to an end meanwhile.

        """
        fault: Reply | str = ""
        for number in range(self.server.retries + 1):
            await self._wait(self._open_at - time.monotonic())
            if self.ending.is_set():
                raise EndingError
            self._check_cap()
            fault, told_wait = await self._try(request, body)
            if isinstance(fault, Reply):
                self._kept.keep(request, fault)
                return fault
            wait = min(MOST_WAIT_S, self.server.retry_wait_s * 2**number) * random.uniform(0.5, 1)
            if told_wait > MOST_TOLD_WAIT_S:
                raise UserError(f"{self._place} asks to wait {told_wait / 60:.0f} min ({fault}); {GO_ON}")
            if told_wait:
                self._open_at = max(self._open_at, time.monotonic() + told_wait)
            if number < self.server.retries:
                await self._wait(max(wait, told_wait))
        raise UserError(f"{self._place} did not answer in {self.server.retries + 1} tries ({fault}); {GO_ON}")

    async def _try(self, request: str, body: bytes) -> tuple[Reply | str, float]:
        """Make one try; gives the answer, or a fault that may pass and the seconds that the server says to wait."""
        assert self._session is not None
        self.num_tries += 1
        self._under_way += 1
        try:
            async with self._session.post(
                self.server.url + self.format.PATH,
                data=body,
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
            ) as response:
                text = self.redact(await response.text(errors="replace"))
                status, wait = response.status, _read_wait(response.headers.get("Retry-After"))
        except aiohttp.ClientConnectorError as error:
            return self.redact(str(error)), 0.0
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._kept.note_lost(request)
            is_late = isinstance(error, TimeoutError)
            return (
                f"no answer in {self.server.timeout_s:g} s"
                if is_late
                else f"connection cut: {self.redact(str(error))}",
                0.0,
            )
        finally:
            self._under_way -= 1
        if status == 200:
            try:
                return self.format.read_reply(json.loads(text)), 0.0
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                self._kept.note_lost(request)
                return f"no reply of its form, {error!r}: {_shorten(text)}", 0.0
        if status == 400 and any(word in text for word in KEPT_FROM_ANSWERING):
            return Reply(text=""), 0.0
        if (status in PASSING or status >= 500) and not any(word in text for word in NEVER_PASSING):
            return f"status {status}: {_shorten(text)}", wait
        raise RefusedError(await self._explain(status, text), status)

    async def read_json(self, url: str) -> Any:
        """Read what a server says of itself; None if it does not."""
        assert self._session is not None
        with suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
            async with self._session.get(url, allow_redirects=False, timeout=REPORT_TIMEOUT) as response:
                if response.status == 200:
                    return json.loads(self.redact(await response.text(errors="replace")))
        return None

    async def list_models(self) -> list[dict[str, Any]]:
        """List the models that a server names; empty if it names none."""
        listed = await self.read_json(f"{self.server.url}/models")
        models = listed.get("data") if isinstance(listed, dict) else None
        return [model for model in models or () if isinstance(model, dict) and isinstance(model.get("id"), str)]

    def redact(self, text: str) -> str:
        """Take the key out of a text; shorter ones than six characters are no secrets."""
        if len(self._key) >= LEAST_CHARACTERS:
            text = text.replace(self._key, HIDDEN)
        return text

    @property
    def _place(self) -> str:
        return f"model.url: the server at {self.server.url}"

    def _check_cap(self) -> None:
        most = self.server.max_requests
        if most is not None and self._kept.num_requests + self._under_way >= most:
            raise UserError(
                f"model.max_requests: {most} requests to '{self.server.model.served}' are spent; what "
                "was answered is kept, give the same command with a larger number to go on"
            )
        if self.server.max_cost is None:
            return
        # What is under way, or was lost, is taken to cost what an answer does.
        spent = self.server.price(self._kept.num_read, self._kept.num_written)
        each = spent / max(1, self._kept.num_replies)
        if each * (self._kept.num_requests + self._under_way + 1) > self.server.max_cost:
            raise UserError(
                f"model.max_cost: another request to '{self.server.model.served}' would be above "
                f"{self.server.max_cost:g}; {spent:.2f} were spent on {self._kept.num_replies} answers, which are "
                "kept: give the same command with a larger sum to go on"
            )

    async def _explain(self, status: int, text: str) -> str:
        """Say what is wrong with a request that is refused, and what would be right."""
        variable, served = self.server.key_variable, self.server.model.served
        said = f"{self._place} answered {status} ({_shorten(text)})"
        if status in {401, 403}:
            if variable is None:
                return f"{said}; model.key_variable names no variable that holds a key"
            state = "holds a key that it does not take" if self._key else "is not set"
            return f"{said}; the variable {variable} of the environment (model.key_variable) {state}"
        if status in {400, 404}:
            names = [model["id"] for model in await self.list_models()]
            if names and served not in names:
                return f"{said}; model.served is '{served}', and it lists {', '.join(names[:20])}"
        if status in {404, 405}:
            return f"{said}; model.url goes up to /v1, and model.served='{served}' has to be a model that it has"
        return said

    async def _wait(self, seconds: float) -> None:
        """Wait, but no longer than until the end."""
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), seconds)


def _find_proxy(url: str) -> str | None:
    """Find the proxy that the environment names for a server."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def _read_key(server: Server) -> str:
    """Read the key; empty for none."""
    key = os.environ.get(server.key_variable, "").strip() if server.key_variable else ""
    if not key.isascii() or not key.isprintable():
        raise UserError(f"model.key_variable: {server.key_variable} holds characters that no key has")
    return key


def _read_wait(given: str | None) -> float:
    """Read a header Retry-After, in seconds or as a date; 0 if there is none.

    >>> _read_wait("2"), _read_wait(None), _read_wait("soon")
    (2.0, 0.0, 0.0)
    """
    if given is None:
        return 0.0
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(given).timestamp() - time.time())
    except ValueError:
        return 0.0


def _shorten(text: str) -> str:
    """Put a server's words on one line, without passwords."""
    told = " ".join(hide_passwords(text).split()) or "without a word"
    return told if len(told) <= MOST_WORDS else f"{told[:MOST_WORDS]}..."
