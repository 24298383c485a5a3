"""How a study is run, as kept beside its plan: without a password."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cg_lab.execution.packs import read_order
from cg_lab.execution.run import freeze
from cg_lab.passwords import PASSWORD, find_password
from cg_lab.study import TrackingSettings
from cg_lab.tracking.store import TrackingError, connecting, find_uri
from tests.pretend import Lab

URI = "postgresql://me:hunter%4022@host/mlflow"


def test_no_file_of_a_sweep_has_the_password_of_the_tracking_uri(lab: Lab) -> None:
    freeze(lab.plan, replace(lab.order, tracking=TrackingSettings(name="mlflow", uri=URI)), lab.layout)
    files = [file for file in lab.layout.root.rglob("*") if file.is_file()]
    assert any(file.name == "order.json" for file in files)
    assert not [file for file in files if b"hunter" in file.read_bytes()]


def test_what_reads_a_sweeps_files_takes_the_password_from_the_environment(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(lab.plan, replace(lab.order, tracking=TrackingSettings(name="mlflow", uri=URI)), lab.layout)
    kept = read_order(lab.layout, lab.plan.study).tracking.uri
    monkeypatch.delenv(PASSWORD, raising=False)
    with pytest.raises(TrackingError, match=PASSWORD), connecting(lab.layout, kept):
        pass
    monkeypatch.setenv(PASSWORD, find_password(URI) or "")
    assert find_uri(lab.layout, kept) == URI
