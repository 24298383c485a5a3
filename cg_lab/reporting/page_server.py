"""A study's report over HTTP, for this machine alone."""

from __future__ import annotations

import re
import signal
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from cg_lab.errors import UserError

HOST = "127.0.0.1"
PAGE = "report.html"
ANSWERS = "answers/index.html"
SERVED = re.compile(
    r"(?:(?:answers|figures|tables)/)?[A-Za-z0-9][A-Za-z0-9_.-]*\.(?:html|md|csv|svg|js|pdf|tex|parquet)"
)
"""Below a study's folder: what a report is made of, and no settings, logs or folders."""


class _Handler(SimpleHTTPRequestHandler):
    """Serves the files of a report, to who asks for this machine by its own name."""

    extensions_map = {  # noqa: RUF012 - as the base class has it
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".md": "text/plain; charset=utf-8",
        ".csv": "text/csv; charset=utf-8",
        ".svg": "image/svg+xml",
        ".pdf": "application/pdf",
        "": "application/octet-stream",
    }

    def send_head(self) -> IO[bytes] | None:  # type: ignore[override]
        """Answer only for what a report is made of."""
        name = unquote(urlsplit(self.path).path).removeprefix("/")
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in {HOST, "localhost"}:  # a page elsewhere may have its name lead here
            self.send_error(HTTPStatus.FORBIDDEN)
            return None
        if not name:
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", f"/{PAGE}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        folder = Path(self.directory).resolve()
        if not SERVED.fullmatch(name) or not (folder / name).resolve().is_relative_to(folder):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def end_headers(self) -> None:
        """Let nothing be kept: a later report has other pieces of the same names."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""


@contextmanager
def serving(folder: Path, port: int) -> Iterator[ThreadingHTTPServer]:
    """Listen as long as the context lasts; who has it serves.

    Parameters
    ----------
    folder
        Of a study that has a report.
    port
        0 takes a free one.

    Raises
    ------
    UserError
        If the port can't be had.

    """
    try:
        server = ThreadingHTTPServer((HOST, port), partial(_Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"--port: {port} can't be had ({reason}); give another, or none for a free one") from None
    with server:
        yield server


def run_view(folder: Path, *, port: int, opens: bool, tell: Callable[[str], None]) -> int:
    """Serve a report until Ctrl-C or SIGTERM.

    Parameters
    ----------
    folder
        Of a study that has a report.
    port
        0 takes a free one.
    opens
        Whether a browser is opened.
    tell
        Takes lines for the user.

    Returns
    -------
    Exit status: 0, however it is ended.

    """
    with serving(folder, port) as server:
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # which a shell's background jobs ignore
            signal.signal(sign, signal.default_int_handler)
        address = f"http://{HOST}:{server.server_port}"
        tell(f"report   {address}/{PAGE}")
        if (folder / ANSWERS).exists():
            tell(f"answers  {address}/{ANSWERS}")
        tell("for this machine alone; Ctrl-C ends it")
        try:
            if opens:
                webbrowser.open(f"{address}/{PAGE}")
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
