"""Which weights stay on disk once nothing of a study needs them, and what is trained anew if something does again."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Mapping

from cg_lab.journal import append_event
from cg_lab.results import ADAPTER_CONFIG, Layout
from cg_lab.study import Keep


class Keeper:
    """Removes weights when their last evaluation is done, as the study says."""

    def __init__(self, layout: Layout, keep: Keep, needs: Mapping[str, tuple[str, ...]], done: Collection[str]) -> None:
        """Find out which evaluations are still to come.

        Parameters
        ----------
        layout, keep
            Where weights lie, and which of them stay.
        needs
            For each evaluation of fine-tuned weights, their fine-tunes.
        done
            Jobs with a result.

        """
        self._layout = layout
        self._keep = keep
        self._needs = needs
        self._open = {job_id for job_id in needs if job_id not in done}
        self._left = Counter(needed for job_id in self._open for needed in needs[job_id])
        for needed in {needed for tunes in needs.values() for needed in tunes} & set(done) - set(self._left):
            self._remove(needed)

    def note(self, job_id: str) -> None:
        """Take up that an evaluation is done; several packs may say so of one."""
        if job_id not in self._open:
            return
        self._open.remove(job_id)
        for needed in self._needs[job_id]:
            self._left[needed] -= 1
            if not self._left[needed]:
                self._remove(needed)

    def _remove(self, job_id: str) -> None:
        if self._keep == "full":
            return
        weights = self._layout.weights(job_id)
        gone = weights.with_name(f".{weights.name}.removed")  # half a folder must never look like a whole one
        shutil.rmtree(gone, ignore_errors=True)  # that an earlier driver could not finish
        if not weights.is_dir() or (self._keep == "adapter" and (weights / ADAPTER_CONFIG).exists()):
            return
        weights.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def find_lost(layout: Layout, needs: Mapping[str, tuple[str, ...]], done: Collection[str]) -> frozenset[str]:
    """Find fine-tunes that are done, whose weights are gone, and which an evaluation still needs."""
    wanted = {needed for job_id, tunes in needs.items() if job_id not in done for needed in tunes} & set(done)
    return frozenset(job_id for job_id in wanted if not layout.weights(job_id).is_dir())


def reopen_lost(layout: Layout, needs: Mapping[str, tuple[str, ...]]) -> None:
    """Let fine-tunes run again whose weights an evaluation needs; they end with the same ones."""
    for job_id in find_lost(layout, needs, layout.list_done()):
        layout.result(job_id).unlink()
        append_event(layout.journal(job_id), "retried", reason="its weights were not kept, and are needed again")
