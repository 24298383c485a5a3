"""What the terminal shows of images: what they are like, and how far they are prepared."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape

from cg_lab.catalog import Catalog
from cg_lab.cli.runs import PlannedRun
from cg_lab.cli.show import open_table, print_table
from cg_lab.data.checking import SubsetCheck, check_subsets
from cg_lab.data.samples import DataSource
from cg_lab.data.sources import open_source
from cg_lab.endpoint_settings import ServedModel
from cg_lab.percentages import percent
from cg_lab.planning.build import describe
from cg_lab.planning.plan import Plan
from cg_lab.planning.training_length import foretell_steps
from cg_lab.results import Layout
from cg_lab.study import Study

SPEAK_EVERY_S = 5.0
COUNTED = (
    "labels", "train", "test", "spare", "moved", "a label", "groups", "alike", "elsewhere", "words", "probe"
)  # fmt: skip
"""What is counted of each subset."""


def check_images(runs: Sequence[PlannedRun], layout: Layout) -> None:
    """Print what the images of each catalogue are like."""
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    for catalog, source in _open_all(runs, layout):
        table = open_table("subset", *COUNTED, right=COUNTED)
        checks = list(check_subsets(source, catalog.subsets))
        for check in checks:
            table.add_row(*_list_cells(check))
        print_table(console, table)
        total = {
            side: sum(check.counts.get(side, 0) for check in checks) for side in ("train", "test", "spare", "moved")
        }
        console.print(
            f"{len(checks)} subsets, {sum(total.values()):,} images in use: "
            + ", ".join(f"{count:,} {side}" for side, count in total.items())
        )
        console.print(
            "spare: beyond max_train; moved: shows what is tested; a label: fewest to most training samples of one; "
            "alike, elsewhere: images with a look-alike in the subset, in another one; words: of a question, mean and "
            "most; probe: accuracy of a linear model that sees size, brightness, border and file alone, over chance",
            style="dim",
        )
        for line in dict.fromkeys(line for run in runs for line in _foretell(run, catalog)):
            console.print(escape(line), style="yellow" if line.startswith("note") else None, soft_wrap=True)
        for note in catalog.notes:
            examples = escape("; ".join(note.examples[:3]))
            text = escape(f"note: {note.subject}: {note.count:,} x {note.reason}") + (
                f"; {examples}" if examples else ""
            )
            console.print(text, style="yellow", soft_wrap=True)


def _foretell(run: PlannedRun, catalog: Catalog) -> Iterator[str]:
    """Say how long a run's fine-tunes on a catalogue will be, if it trains any."""
    if run.catalog == catalog and not isinstance(run.backbone, ServedModel):
        yield from foretell_steps(run.study, catalog.subsets)


def _list_cells(check: SubsetCheck) -> list[str]:
    spread = f"{check.fewest:,}" if check.fewest == check.most else f"{check.fewest:,}-{check.most:,}"
    mean, most = check.words
    probe = "-"
    if check.shortcut is not None:
        probe = f"{percent(check.shortcut.accuracy)} / {percent(check.shortcut.chance)}" + (
            " !" if check.shortcut.warns else "  "
        )
    counts = [f"{check.counts.get(side, 0):,}" for side in ("train", "test", "spare", "moved")]
    return [
        escape(check.subset.name), str(len(check.subset.labels)), *counts, spread, f"{check.num_groups:,}",
        f"{check.within:,}", f"{check.between:,}", f"{mean:.0f}, {most}", probe,
    ]  # fmt: skip


def preview_images(runs: Sequence[PlannedRun], layout: Layout, each: int) -> None:
    """Write a page that shows samples of every subset with their questions."""
    from cg_lab.reporting.preview import write_preview

    for number, (catalog, source) in enumerate(_open_all(runs, layout)):
        name = runs[0].study.data.name + (f"-{number + 1}" if number else "")
        path = layout.data / f"preview-{name}.html"
        write_preview(path, catalog, source, each)
        print(f"preview  {path}")


def prepare(plan: Plan, study: Study, layout: Layout) -> None:
    """Prepare a plan's images for its models, with progress."""
    from cg_lab.execution.preparing import prepare_images

    begun = time.monotonic()
    spoken_at = begun - SPEAK_EVERY_S
    last = (0, 0)

    def tell(done: int, total: int) -> None:
        nonlocal spoken_at, last
        last = (done, total)
        if time.monotonic() - spoken_at >= SPEAK_EVERY_S:
            spoken_at = time.monotonic()
            print(f"{done}/{total} parts prepared", file=sys.stderr, flush=True)

    lost = prepare_images(plan, layout, study.cluster, study.cache_gb, tell)
    done, total = last
    if not total:
        print("nothing to prepare: phantoms are drawn as fast as files are read")
        return
    size = sum(file.stat().st_size for file in layout.prepared.glob("*.safetensors")) / 1e9
    print(
        f"{done - lost}/{total} parts prepared in {time.monotonic() - begun:.1f} s, {size:.2f} GB in {layout.prepared}"
    )
    if lost:
        print(f"{lost} parts are read by each job anew: no room within cache_gb={study.cache_gb:g}, or images that the "
              "model reads only with their questions")  # fmt: skip


def _open_all(runs: Sequence[PlannedRun], layout: Layout) -> Iterator[tuple[Catalog, DataSource]]:
    """Open each catalogue once."""
    seen: list[Catalog] = []
    for run in runs:
        assert run.catalog is not None
        if run.catalog not in seen:
            seen.append(run.catalog)
            yield run.catalog, open_source(describe(run.catalog), layout.data)
