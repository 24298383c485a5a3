"""Locks that die with their process, and who holds one."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import socket
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from cg_lab.errors import UserError
from cg_lab.locks import Holder, find_holder, holding


def hold_until(path: Path, taken: threading.Event, leave: threading.Event) -> None:
    with holding(path):
        taken.set()
        leave.wait(20)


def test_a_lock_goes_to_one_at_a_time_and_names_its_process(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "lock"
    assert find_holder(path) is None
    with holding(path) as is_held:
        assert is_held
        with holding(path) as again:
            assert not again
        assert find_holder(path) == Holder(pid=os.getpid(), host=socket.gethostname())
    assert find_holder(path) is None
    with holding(path) as is_held:
        assert is_held


def test_a_lock_that_is_refused_leaves_the_holders_name(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(
        "a name that is much longer than any process could have on any machine whatsoever", encoding="utf-8"
    )
    with holding(path), holding(path):
        assert path.read_text(encoding="utf-8") == f"{os.getpid()} {socket.gethostname()}"


def test_who_waits_gets_the_lock_once_it_is_free(tmp_path: Path) -> None:
    path, got = tmp_path / "lock", threading.Event()

    def wait() -> None:
        with holding(path, wait=True) as is_held:
            if is_held:
                got.set()

    with holding(path):
        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        assert not got.wait(0.2)
    assert got.wait(10)
    waiting.join(10)


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    path, taken, leave = tmp_path / "lock", fork.Event(), fork.Event()
    process = fork.Process(target=hold_until, args=(path, taken, leave))
    process.start()
    assert taken.wait(20)
    assert find_holder(path) == Holder(pid=process.pid or 0, host=socket.gethostname())
    process.kill()
    process.join(20)
    assert find_holder(path) is None


def test_a_holder_that_has_not_said_who_it_is_has_no_number(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holding(path):
        path.write_text("", encoding="utf-8")
        assert find_holder(path) == Holder(pid=0, host="")
        path.write_text("x here", encoding="utf-8")
        assert find_holder(path) == Holder(pid=0, host="here")


def test_a_holders_machine_is_all_that_follows_its_number(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holding(path):
        path.write_text("7 here or there", encoding="utf-8")
        assert find_holder(path) == Holder(pid=7, host="here or there")


def test_a_file_system_without_locks_is_told_with_what_can_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(UserError) as caught, holding(tmp_path / "lock"):
        pass
    assert str(caught.value) == (
        f"results_dir: the file system of {tmp_path} has no locks (flock: No locks available), without which two "
        "processes would do the same work; have it mounted with them (Lustre: -o flock), or give another folder: "
        "results_dir=PATH"
    )


def test_a_holder_is_here_if_its_machine_is_this_one_and_its_number_is_known() -> None:
    here = socket.gethostname()
    assert Holder(pid=1, host=here).is_here
    assert not Holder(pid=0, host=here).is_here
    assert not Holder(pid=1, host=f"{here}x").is_here
    assert str(Holder(pid=7, host="a")) == "process 7 on a"
