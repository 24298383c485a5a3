"""A page in a headless Chromium, driven through Chrome's DevTools protocol over a pipe."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
PATIENCE_S = 60.0
"""For a page on a machine that is busy."""


class Page:
    """One tab."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = to, back
        self._count = 0
        self._rest = b""
        self._session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the browser for something and wait for its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._count:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._back], [], [], PATIENCE_S)[0], "the browser does not answer"
            part = os.read(self._back, 1 << 20)
            assert part, "the browser has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def resize(self, width: int, height: int) -> None:
        """Show so many pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, address: str) -> None:
        """Open an address."""
        self.call("Page.navigate", url=address)

    def evaluate(self, script: str) -> Any:
        """Give the value of an expression in the page: of an element, that it is there; None if it fails."""
        script = f"(value => value instanceof Node ? true : value)({script})"
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def wait(self, script: str, meanwhile: Callable[[], None] | None = None) -> Any:
        """Wait until an expression is true, doing something again and again, and give its value."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := self.evaluate(script)):
            assert time.monotonic() < deadline, f"never true: {script}\n{self.text[:2000]}"
            if meanwhile:
                meanwhile()
            time.sleep(0.3)
        return value

    def click(self, element: str) -> None:
        """Click into the middle of what an expression gives, once it is there and no longer moves."""
        place = (
            f"(() => {{ const e = {element}; e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect(); return b.width && [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        before = None
        while (at := self.wait(place)) != before:
            before = at
            time.sleep(0.3)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)

    def write(self, text: str) -> None:
        """Type into the field that was clicked, over what it holds."""
        self.evaluate("document.activeElement.select()")
        self.call("Input.insertText", text=text)

    def press_enter(self) -> None:
        """Press Enter."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", text="\r", windowsVirtualKeyCode=13)

    @property
    def text(self) -> str:
        """What the page says."""
        return self.evaluate("document.body.innerText") or ""

    def settle(self) -> None:
        """Let what moves come to rest, and take the mouse away."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
        time.sleep(2)

    def photograph(self) -> bytes:
        """Take a PNG of what is visible."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


@contextmanager
def browsing(folder: Path) -> Iterator[Page]:
    """Open a browser with a profile of its own, which ends with the block."""
    assert CHROMIUM
    ours, theirs = os.pipe(), os.pipe()  # what we read, what it reads
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs[0], ours[1])]  # away from 3 and 4, which it uses
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"]
    with subprocess.Popen(
        ["bash", "-c", f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}', "bash", *command],
        pass_fds=ends,
        stderr=subprocess.DEVNULL,
    ) as process:
        for end in (*ends, theirs[0], ours[1]):
            os.close(end)
        try:
            yield Page(theirs[1], ours[0])
        finally:
            process.kill()
            os.close(theirs[1])
            os.close(ours[0])
