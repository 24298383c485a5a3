"""What a sweep shows while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cg_lab.cli.show import tell_time
from cg_lab.execution.drive import Snapshot
from cg_lab.journal import read_events
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout

SPEAK_EVERY_S = 15.0
"""Between two lines where the output is no terminal."""
MOST_TIMED = 64
"""Running jobs whose speed is looked up."""


class Display:
    """A progress bar in a terminal, a line now and then elsewhere."""

    def __init__(self, plan: Plan, layout: Layout) -> None:
        self._layout = layout
        self._job_ids = [job.id for job in (*plan.finetunes, *plan.evals)]
        self._console = Console(highlight=False)
        self._spoken_at = -SPEAK_EVERY_S
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[facts]}"),
            console=self._console,
        )
        self._bar = self._progress.add_task("jobs", total=len(self._job_ids), facts="starting")

    def show(self, snapshot: Snapshot) -> None:
        """Show how far a sweep is."""
        self._progress.update(self._bar, total=snapshot.num_jobs)
        self._show(snapshot.num_done, lambda: _describe(snapshot, self._layout))

    def look_on(self, driver: str) -> None:
        """Show how far a sweep is that another process drives."""
        done = self._layout.list_done()
        num_done = sum(job_id in done for job_id in self._job_ids)
        self._show(
            num_done, lambda: f"{num_done}/{len(self._job_ids)} jobs done; {driver} sweeps this study, waiting for it"
        )

    def rest(self) -> None:
        """Take the bar away, so that other lines can be printed."""
        self._progress.stop()

    def _show(self, num_done: int, tell: Callable[[], str]) -> None:
        if self._console.is_terminal:
            self._progress.start()
            self._progress.update(self._bar, completed=num_done, facts=tell())
        elif time.monotonic() - self._spoken_at >= SPEAK_EVERY_S:
            self._spoken_at = time.monotonic()
            print(tell(), flush=True)


@contextmanager
def displaying(plan: Plan, layout: Layout) -> Iterator[Display]:
    """Show how far a sweep is until the context ends."""
    display = Display(plan, layout)
    try:
        yield display
    finally:
        display.rest()


def _describe(snapshot: Snapshot, layout: Layout) -> str:
    speed = _measure_speed(snapshot.running, layout)
    parts = [f"{snapshot.num_done}/{snapshot.num_jobs} jobs done", f"{len(snapshot.running)} running"]
    parts += [f"{snapshot.num_waiting} tasks waiting"] if snapshot.num_waiting else []
    parts += [f"{snapshot.num_failed} failed"] if snapshot.num_failed else []
    parts += [f"{speed:.0f} samples/s"] if speed else []
    remaining_s = snapshot.remaining_s or 0.0
    parts += [f"about {tell_time(remaining_s)} left"] if remaining_s >= 1 else []
    return ", ".join(parts) + (f"; {snapshot.trouble}" if snapshot.trouble else "")


def _measure_speed(running: tuple[str, ...], layout: Layout) -> float:
    """Add up the training speed of running jobs, in samples a second."""
    speeds: list[float] = []
    for job_id in running[:MOST_TIMED]:
        events = read_events(layout.journal(job_id))
        speeds += [event["samples_per_s"] for event in events[-1:] if "samples_per_s" in event]
    return sum(speeds) * len(running) / min(len(running), MOST_TIMED) if speeds else 0.0
