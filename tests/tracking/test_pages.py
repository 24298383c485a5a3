"""MLflow's UI as a browser shows it, clicked through as a person would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browsing import CHROMIUM, Page, browsing
from tests.tracking.clicking import compare, filter_runs, list_axes, list_rows, open_cells, serving, tick
from tests.tracking.conftest import build_lab

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; make test installs it"),
]


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Finish a study and serve it."""
    lab = build_lab(tmp_path_factory.mktemp("pages"), targets=("ct-brain-mass",), seeds=(0,))
    lab.finish()
    lab.sync()
    with serving(lab.layout, lab.plan.study) as link:
        yield link


@pytest.fixture
def cells(link: str, tmp_path: Path) -> Iterator[Page]:
    """Open the table of cells."""
    with browsing(tmp_path) as page:
        open_cells(page, link)
        yield page


def test_a_filter_leaves_the_runs_of_an_arm_and_a_modality(cells: Page) -> None:
    assert len(list_rows(cells)) == 7

    filter_runs(cells, "tags.arm = 'related' and tags.modality = 'CT'", 1)

    (row,) = list_rows(cells)
    assert {"ct-brain-mass", "related", "0.75", "0.25", "0.2"} <= set(row)
    filter_runs(cells, "tags.arm = 'related' and tags.modality = 'US'", 0)
    assert list_rows(cells) == []


def test_related_and_unrelated_are_compared_by_accuracy(cells: Page) -> None:
    for arm in ("related", "unrelated"):
        tick(cells, f"ct-brain-mass {arm} s0")
    compare(cells)

    cells.wait("document.body.innerText.includes('accuracy_high')")
    assert "Comparing 2 Runs from 1 Experiment" in cells.text
    assert all(f"ct-brain-mass {arm} s0" in cells.text for arm in ("related", "unrelated"))
    measured = cells.text.rpartition("\nMetrics\n")[2].split()
    assert {"accuracy", "0.75", "0.55"} <= set(measured)


def test_parallel_coordinates_join_arms_with_accuracies(cells: Page) -> None:
    for arm in ("related", "unrelated"):
        tick(cells, f"ct-brain-mass {arm} s0")
    compare(cells)

    axes = list_axes(cells)
    assert {"related", "unrelated"} <= set(axes["arm"])
    assert {"0.75000", "0.55000"} <= set(axes["accuracy"])


def test_means_have_names_that_are_whole_and_gains_are_on_the_screen(link: str, cells: Page) -> None:
    open_cells(cells, link.replace("=cells", "=means"))
    cells.resize(1400, 800)
    cells.wait("document.body.innerText.includes('Group: ct-brain-mass related')")
    head = "document.querySelector('[col-id=\"metrics.`gain_over_unrelated`\"].ag-header-cell')"
    assert cells.evaluate(f"{head}.getBoundingClientRect().right") < 1400
    name = "[...document.querySelectorAll('span, div')].findLast(e => e.innerText == 'Group: ct-brain-mass related')"
    assert cells.evaluate(f"{name}.scrollWidth <= {name}.clientWidth")


def test_losses_are_drawn_by_arm(link: str, cells: Page) -> None:
    cells.open(link.replace("=cells", "=losses&compareRunsMode=CHART"))
    cells.wait("document.querySelector('.js-plotly-plot .scatterlayer .trace')")
    cells.wait("document.body.innerText.includes('related')")
    assert "Group by: arms" in cells.text
