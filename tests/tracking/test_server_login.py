"""A server that asks who is there: its secrets are its owner's alone, and nobody comes in without a password."""

from __future__ import annotations

import configparser
import stat
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from cg_lab.cli import main
from cg_lab.errors import UserError
from cg_lab.tracking import TrackingError, prepare_login, running_server, server_login, sync_study
from tests.tracking.conftest import build_lab
from tests.tracking.test_server import find_port, needs_postgres

GIVEN = "a long enough word"


@pytest.fixture
def has_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_login, "find_spec", lambda name: object())


def test_without_the_package_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server_login, "find_spec", lambda name: None)
    assert main(["server", "--auth", f"results_dir={tmp_path}"]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert "pip install 'cg_lab[server]'" in said


@pytest.mark.usefixtures("has_package")
def test_what_is_generated_stays_and_is_its_owners_alone(tmp_path: Path) -> None:
    first, again = (prepare_login(tmp_path, {}) for _ in range(2))
    assert first == again
    assert first.password_file is not None
    assert first.environment["MLFLOW_AUTH_ADMIN_PASSWORD"] == first.password_file.read_text()
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert files == dict.fromkeys(("admin-password", "secret-key", "auth.ini", "users.db"), 0o600)


@pytest.mark.usefixtures("has_package")
def test_a_given_password_is_written_nowhere_and_stands_on_no_command_line(tmp_path: Path) -> None:
    told = {"MLFLOW_TRACKING_PASSWORD": GIVEN, "MLFLOW_TRACKING_USERNAME": "ada"}
    login = prepare_login(tmp_path, told)
    assert login.environment["MLFLOW_AUTH_ADMIN_PASSWORD"] == GIVEN
    assert login.password_file is None
    assert GIVEN not in " ".join(login.options)
    assert not any(GIVEN in path.read_text() for path in tmp_path.iterdir())
    configured = configparser.ConfigParser()
    configured.read(login.environment["MLFLOW_AUTH_CONFIG_PATH"])
    assert configured["mlflow"]["admin_username"] == "ada"


@pytest.mark.usefixtures("has_package")
def test_no_password_is_generated_beside_users_that_know_another_one(tmp_path: Path) -> None:
    prepare_login(tmp_path, {"MLFLOW_TRACKING_PASSWORD": GIVEN})
    (tmp_path / "users.db").write_bytes(b"users")
    login = prepare_login(tmp_path, {})
    assert "MLFLOW_AUTH_ADMIN_PASSWORD" not in login.environment
    assert not (tmp_path / "admin-password").exists()


@pytest.mark.usefixtures("has_package")
def test_a_password_that_mlflow_would_refuse_is_refused_without_being_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fewer than 12 characters") as refused:
        prepare_login(tmp_path, {"MLFLOW_TRACKING_PASSWORD": "shorty"})
    assert "shorty" not in str(refused.value)
    with pytest.raises(UserError, match="the path has one of"):
        prepare_login(tmp_path / "100%", {})


@needs_postgres
@pytest.mark.slow
def test_a_server_with_login_lets_in_who_has_the_password_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    lab = build_lab(tmp_path / "results", targets=("ct-brain-mass",), seeds=(0,))
    folder, port = tmp_path / "server", find_port()
    uri, login = f"http://127.0.0.1:{port}", prepare_login(folder, {})
    password = login.environment["MLFLOW_AUTH_ADMIN_PASSWORD"]
    with running_server(folder, "127.0.0.1", port, login=login) as process:
        assert password not in Path(f"/proc/{process.pid}/cmdline").read_text()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{uri}/api/2.0/mlflow/experiments/get-by-name?experiment_name=s")
        with pytest.raises(TrackingError, match="set MLFLOW_TRACKING_USERNAME"):
            sync_study(lab.layout, lab.plan.study, tracking_uri=uri)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", login.admin)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
        assert sync_study(lab.layout, lab.plan.study, tracking_uri=uri).new > 0
    assert password not in (folder / "server.log").read_text()
    assert login.environment["MLFLOW_FLASK_SERVER_SECRET_KEY"] not in (folder / "server.log").read_text()
