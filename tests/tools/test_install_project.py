"""What pip is set to holds for uv too, and pip does what uv can't."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import install_project
from tools.install_project import install, read_settings, translate

ROOT = Path(__file__).resolve().parents[2]
FAKE = """#!{python}
import json, os, pathlib, sys
if "--version" not in sys.argv:
    kept = {{name: value for name, value in os.environ.items() if name.startswith(("UV_", "SSL_"))}}
    pathlib.Path(__file__).with_name("asked.json").write_text(json.dumps([sys.argv[1:], kept]))
    print("warning: slow\\nerror: no such package", file=sys.stderr)
    sys.exit({status})
"""


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set pip by a file and by its environment, and nothing else."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_", "SSL_")):
            monkeypatch.delenv(name)
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex_url = file:///one\nextra_index_url =\n  file:///two\n  file:///three\ncert = old.pem\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_CERT", "new.pem")
    monkeypatch.setenv("PIP_FIND_LINKS", "wheels more")
    return file


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """Put an uv on the path that ends as the test says, and keeps what it was asked."""
    uv = tmp_path / "uv"
    uv.write_text(FAKE.format(python=sys.executable, status=getattr(request, "param", 0)))
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "asked.json"


def test_uv_is_given_the_indexes_folders_and_certificate_that_pip_is_set_to(asked: Path) -> None:
    assert install(["-e", "."]) == 0
    told = asked.read_text()
    assert '"-e", "."' in told
    assert sys.executable in told
    for said in (
        '"UV_DEFAULT_INDEX": "file:///one"', '"UV_INDEX": "file:///two file:///three"',
        '"UV_FIND_LINKS": "wheels,more"', '"SSL_CERT_FILE": "new.pem"', '"UV_INDEX_STRATEGY": "unsafe-best-match"',
    ):  # fmt: skip
        assert said in told


def test_it_says_which_settings_go_on_and_none_of_their_values(asked: Path, capfd: pytest.CaptureFixture[str]) -> None:
    install(["-e", "."])
    printed = capfd.readouterr().out.splitlines()
    assert all(name in printed[0] for name in ("index_url", "extra_index_url", "find_links", "cert"))
    assert "file:" not in printed[0]
    assert printed[1].startswith("installed in ")
    assert len(printed) == 2


def test_what_is_set_for_uv_itself_stays() -> None:
    environment = {"UV_DEFAULT_INDEX": "mine", "UV_INDEX_STRATEGY": "first-index"}
    assert translate({"index_url": ["pips"], "no_index": ["true"]}, environment) == {"UV_NO_INDEX": "true"}


def test_settings_of_other_verbs_of_pip_are_left() -> None:
    assert read_settings("download.find-links='a'\nfreeze.timeout='9'\nglobal.timeout='3'") == {"timeout": ["3"]}


@pytest.mark.parametrize("asked", [1], indirect=True)
def test_what_uv_can_not_install_pip_does(
    asked: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pip = tmp_path / "pip"
    pip.write_text(f"#!{sys.executable}\nimport sys\nprint('pip does', *sys.argv[1:])\n")
    pip.chmod(0o755)
    monkeypatch.setattr(install_project, "PIP", (str(pip),))
    assert install(["-e", "."]) == 0
    printed = capfd.readouterr().out
    assert "uv can't: error: no such package" in printed
    assert "pip does install --quiet -e ." in printed


def test_a_sweep_installs_no_tools_of_tests(tmp_path: Path) -> None:
    def list_steps(target: str) -> str:
        made = subprocess.run(
            ["make", "--dry-run", "--always-make", target], capture_output=True, text=True, check=True, cwd=ROOT
        )
        return made.stdout

    assert "-e '.' -c" in list_steps("sweep")
    assert "[dev]" not in list_steps("sweep")
    assert "-e '.[dev]' -c" in list_steps("test-fast")
