"""A report over HTTP: what is served to whom, and nothing else."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cg_lab.cli import main
from cg_lab.errors import UserError
from cg_lab.reporting.page_server import serving
from cg_lab.results import Layout
from tests.reporting.answering import plan_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a study's folder that holds more than a report."""
    root = tmp_path_factory.mktemp("results") / "studies" / "s"
    for name in ("report.html", "effects.csv", "config.yaml", ".reported.json", "answers/index.html", "answers/p-0.js"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"this is {name}", encoding="utf-8")
    (root / "packs" / "logs").mkdir(parents=True)
    (root / "packs" / "order.json").write_text("secret", encoding="utf-8")
    (root.parent / "outside.html").write_text("secret", encoding="utf-8")
    (root / "link.html").symlink_to(root.parent / "outside.html")
    return root


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    with serving(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def get(port: int, path: str, host: str | None = None) -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.headers


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("report.html", "text/html; charset=utf-8"),
        ("answers/index.html?x=1", "text/html; charset=utf-8"),
        ("answers/p-0.js", "text/javascript; charset=utf-8"),
        ("effects.csv", "text/csv; charset=utf-8"),
    ],
)
def test_what_a_report_is_made_of_is_served_and_kept_nowhere(port: int, name: str, kind: str) -> None:
    status, text, headers = get(port, f"/{name}")
    assert (status, text) == (200, f"this is {name.partition('?')[0]}")
    assert (headers["Content-Type"], headers["Cache-Control"]) == (kind, "no-store")


@pytest.mark.parametrize(
    "path",
    [
        "/config.yaml", "/.reported.json", "/packs/order.json", "/packs/", "/answers/", "/answers", "/outside.html",
        "/../outside.html", "/%2e%2e/outside.html", "/answers/../../outside.html", "/answers/..%2f..%2foutside.html",
        "/..%5coutside.html", "/link.html", "//etc/passwd", "/report.html%00", "/report.html/",
    ],
)  # fmt: skip
def test_nothing_else_of_a_disk_is_served_and_no_folder_listed(port: int, path: str) -> None:
    status, text, _ = get(port, path)
    assert status == 404
    assert "secret" not in text


def test_the_first_address_leads_to_the_report(port: int) -> None:
    status, _, headers = get(port, "/")
    assert (status, headers["Location"]) == (302, "/report.html")


def test_another_name_for_this_machine_is_refused(port: int) -> None:
    assert get(port, "/report.html", "evil.example:80")[0] == 403
    assert get(port, "/report.html", f"localhost:{port}")[0] == 200


def test_it_listens_to_this_machine_alone_and_a_taken_port_is_told(folder: Path, port: int) -> None:
    with serving(folder, 0) as server:
        assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(UserError, match=f"--port: {port} can't be had"), serving(folder, port):
        pass
    with pytest.raises(UserError, match=r"--port: 70000 can't be had .*give another"), serving(folder, 70_000):
        pass


def test_what_can_not_be_viewed_is_one_line_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_study(Layout(tmp_path), "targets=[ct-brain-mass]", "arms=[zero_shot]")
    where = f"results_dir={tmp_path}"
    assert main(["view", "s", where]) == 2
    told = f"error: view: 's' has no report yet; write it: python -m cg_lab report study=s {where}\n"
    assert capsys.readouterr().err == told
    assert main(["view", "t", where]) == 2
    assert "no study 't'" in capsys.readouterr().err
    assert main(["view", "s", "t", where]) == 2
    assert "one study" in capsys.readouterr().err


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_verb_says_where_it_is_and_ends_well(tmp_path: Path, sign: signal.Signals) -> None:
    plan_study(Layout(tmp_path), "targets=[ct-brain-mass]", "arms=[zero_shot]")
    page = Layout(tmp_path).study("s") / "report.html"
    page.write_text("the report", encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "cg_lab", "view", f"results_dir={tmp_path}", "study=s", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == f"report   http://127.0.0.1:{port}/report.html\n"
        assert process.stdout.readline() == "for this machine alone; Ctrl-C ends it\n"
        assert get(port, "/report.html")[:2] == (200, "the report")
        process.send_signal(sign)
        assert process.wait(20) == 0
        assert process.stderr
        assert process.stderr.read() == ""
