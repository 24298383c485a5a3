"""Other people's file systems: a colleague who may only read, and folders without locks; one line each."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cg_lab.cli import main, sweep as sweeping
from cg_lab.locks import find_holder, holding
from tests.cli.test_looks import Trainer
from tests.cli.test_studies import BREAST, run

NOBODY = 65_534


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """Leave a finished study in a folder that everybody may read."""
    root = Path(tempfile.mkdtemp())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "run_plan", Trainer().run)
        assert run("sweep", root, BREAST) == 0
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    yield root
    shutil.rmtree(root)


@pytest.fixture
def colleague() -> Iterator[None]:
    """Be somebody else for a while."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else for a while")
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


@pytest.mark.usefixtures("colleague")
@pytest.mark.parametrize("verb", ["status", "explain", "report", "sweep", "plan"])
def test_a_colleague_who_may_only_read_gets_an_answer_or_one_line(
    shared: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["us-breast-mass"] if verb == "explain" else []
    status = main([verb, *arguments, f"results_dir={shared}", "study=s", "data.train_per_subset=96",
                   "data.test_per_subset=24", "seeds=[0]"])  # fmt: skip
    said = capsys.readouterr()
    if verb in {"status", "explain"}:
        assert (status, said.err) == (0, "")
    else:
        assert status in {1, 2}
        assert len(said.err.strip().splitlines()) == 1
        assert "ermission denied" in said.err


def fail(number: int) -> None:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_named(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: fail(number))
    monkeypatch.setattr(sweeping, "run_plan", Trainer().run)
    assert run("sweep", tmp_path, BREAST) == 2
    said = capsys.readouterr().err
    assert f"has no locks (flock: {os.strerror(number)})" in said
    assert "-o flock" in said
    assert run("plan", tmp_path, BREAST) == 0
    assert run("status", tmp_path) == 0


def test_who_holds_a_lock_is_known_to_those_who_may_only_read(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert find_holder(path) is None
    with holding(path):
        path.chmod(0o444)
        holder = find_holder(path)
        assert holder is not None
        assert holder.pid == os.getpid()
    assert find_holder(path) is None
