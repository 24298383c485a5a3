"""Drive a study to its end: deal open jobs to packs, follow them, and deal again what a process left behind."""

from __future__ import annotations

import socket
import time as clock
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from cg_lab.errors import UserError
from cg_lab.execution.attempts import MEANING, decide, read_attempts
from cg_lab.execution.clusters import Cluster, End, Key, Look, NoAnswerError, NoRoomError
from cg_lab.execution.dealing import Packs, deal, follow_up, part_stages
from cg_lab.execution.following import FollowedPack, follow_packs
from cg_lab.execution.heartbeat import find_patience
from cg_lab.execution.keeping import Keeper
from cg_lab.execution.packs import (
    Order,
    Submission,
    Work,
    path_of,
    read_submissions,
    trace_of,
    write_submission,
)
from cg_lab.journal import append_event, now, read_events
from cg_lab.locks import holding
from cg_lab.results import Failure, FailureKind, Layout, read_failure, write_failure

NO_ROOM_S = 30.0
"""Wait after the cluster took no more tasks."""
MOST_FALSE_STARTS = 3
"""How often a job is dealt to processes that end before they begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """How far a sweep is."""

    num_done: int
    num_jobs: int
    num_failed: int
    num_waiting: int
    """Packs that wait in the cluster's queue."""
    running: tuple[str, ...]
    """Ids of the jobs that are being worked on."""
    elapsed_s: float
    remaining_s: float | None
    """None until a twentieth is done."""
    trouble: str
    """Why nothing moves, if nothing does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a sweep ended."""

    num_done: int
    num_failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Time, so that a simulation can have its own."""

    time: Callable[[], float] = clock.monotonic
    sleep: Callable[[float], None] = clock.sleep


Watch = Callable[[Snapshot], None]


@dataclass(kw_only=True)
class Driver:
    """Brings jobs to their end on a cluster; one at a time for a study."""

    work: Work
    order: Order
    layout: Layout
    cluster: Cluster
    wanted: Collection[str] | None = None
    """Ids of the only jobs to run; None for all."""
    watch: Watch = lambda _: None
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        """Find out what is done."""
        self._began = self._answered = self.clock.time()
        self._packs: dict[Key, FollowedPack] = {}
        self._submissions: dict[str, Submission] = {}
        self._doubtful: set[str] = set()
        self._silent: dict[Key, End] = {}
        self._false_starts: Counter[str] = Counter()
        self._suspects: set[str] = set()
        self._failed: set[str] = set()
        self._deals_from = self._began
        self._may_orphan = False
        self._trouble = ""
        self._next_id = 1
        done = self.layout.list_done()
        self._keeper = Keeper(self.layout, self.order.keep, self.work.needs, done)
        self._wanted = frozenset(self.work.seconds if self.wanted is None else self.wanted)
        self._open = {job_id: None for job_id in self.work.seconds if job_id in self._wanted and job_id not in done}
        self._seconds_left = self._seconds_at_start = sum(self.work.seconds[job_id] for job_id in self._open)

    def ask_anew(self) -> None:
        """Forget why jobs were given up, so that they are tried again."""
        tried = self.layout.list_tried()
        for job_id in self._open:
            if job_id in tried:
                self.layout.failure(job_id).unlink(missing_ok=True)
                append_event(self.layout.journal(job_id), "retried")

    def attach(self) -> None:
        """Take up what an earlier driver left in the cluster's queue."""
        for submission in read_submissions(self.layout, self.order.study):
            self._next_id = int(submission.id) + 1
            if not submission.is_over:
                self._hold(submission)

    def run(self) -> Outcome:
        """Bring every job to a result or a failure.

        Raises
        ------
        UserError
            If the cluster refuses, or is silent for too long; what was submitted goes on.
        InterruptedByUserError
            After Ctrl-C.

        """
        while self.step():
            self.watch(self.snapshot())
            self.clock.sleep(self.cluster.poll_s)
        self.watch(self.snapshot())
        return self.outcome()

    def step(self) -> bool:
        """Look once and deal what can be dealt; false when nothing is left to do."""
        self._look()
        self._fail_orphans()
        if not self._open and not self._packs:
            return False
        self._deal()
        return True

    # Following ------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        if not self._packs and not self._doubtful:
            return
        look = self.cluster.look(tuple(self._submissions.values()))
        for pack in list(self._packs.values()):
            self._follow(pack)
        if look is None:
            self._trouble = "the cluster's queue does not answer; what was submitted goes on"
            if self.clock.time() - self._answered > self.cluster.patience_s:
                raise UserError(
                    f"cluster={self.order.cluster.name}: its queue has not answered for "
                    f"{self.cluster.patience_s / 60:g} minutes; what was submitted goes on, and the same command "
                    "attaches to it again"
                )
            return
        self._trouble = ""
        self._answered = self.clock.time()
        self._settle_doubts(look)
        if look.hopeless:
            self.cluster.drop(tuple(look.hopeless.values()))
        ended = [pack for key, pack in self._packs.items() if key not in look.tasks]
        if ended:
            known = self.cluster.find_ends([(pack.submission, pack.number) for pack in ended if pack.open])
            for pack in ended:
                end = self._silent.pop(pack.key, None) or known.get(pack.key)
                self._close(pack, end, is_hopeless=pack.key in look.hopeless)
        waiting = {task.reason for task in look.tasks.values() if task.state == "waiting" and task.reason}
        for key, pack in self._packs.items():
            pack.is_waiting = look.tasks[key].state == "waiting"
            self._listen(pack)
        if waiting and all(pack.is_waiting for pack in self._packs.values()):
            self._trouble = f"waiting in the queue ({', '.join(sorted(waiting))})"

    def _listen(self, pack: FollowedPack) -> None:
        """Take a pack away that is silent for longer than its steps explain; then its jobs are dealt again."""
        trace = trace_of(path_of(self.layout, pack.submission), pack.number)
        silence = pack.pulse.listen(trace, self.clock.time(), is_running=not pack.is_waiting)
        job_id = pack.running
        declared = 0.0 if job_id is None or self.work.is_finetune(job_id) else self.work.seconds.get(job_id, 0.0)
        patience = find_patience(self.order, declared, pack.pulse.longest_gap_s)
        if patience is None or silence <= patience or pack.key in self._silent:
            return
        said = f"its process gave no sign for {silence / 60:.0f} minutes and was taken away (cluster.silence_min)"
        self._silent[pack.key] = End(kind="silent", message=said)
        self.cluster.take_away(pack.submission, pack.number)

    def _follow(self, pack: FollowedPack) -> None:
        for job_id, is_done in pack.follow(self.layout):
            self._count(job_id, is_done=is_done)

    def _count(self, job_id: str, *, is_done: bool) -> None:
        if is_done:
            self._keeper.note(job_id)
        if job_id not in self._wanted:
            return
        self._seconds_left -= self.work.seconds[job_id]
        if not is_done:
            self._failed.add(job_id)
            self._may_orphan = True

    def _settle_doubts(self, look: Look) -> None:
        """Note the names of submissions that the cluster has; those that it has not were never taken."""
        for submission_id in list(self._doubtful):
            submission = self._submissions[submission_id]
            self._doubtful.discard(submission_id)
            if submission_id in look.adopted:
                submission = replace(submission, task=look.adopted[submission_id])
                self._note(submission)
                self.cluster.adopt(submission)

    def _note(self, submission: Submission) -> None:
        self._submissions[submission.id] = submission
        for pack in self._packs.values():
            if pack.submission.id == submission.id:
                pack.submission = submission
        write_submission(self.layout, submission)

    def _close(self, pack: FollowedPack, end: End | None, *, is_hopeless: bool) -> None:
        """Take a pack that has ended apart: what it left is open again, or given up."""
        self._follow(pack)
        del self._packs[pack.key]
        for job_id in sorted(pack.open):
            if job_id not in self._wanted:
                continue
            if self.layout.result(job_id).exists():
                self._count(job_id, is_done=True)
            elif read_failure(self.layout, job_id):
                self._count(job_id, is_done=False)
            else:
                self._judge(job_id, pack, end, is_hopeless=is_hopeless)
        if not any(key[0] == pack.submission.id for key in self._packs):
            write_submission(self.layout, replace(pack.submission, is_over=True))
            del self._submissions[pack.submission.id]

    def _judge(self, job_id: str, pack: FollowedPack, end: End | None, *, is_hopeless: bool) -> None:
        """Open a job again that a pack left, or give it up."""
        journal = self.layout.journal(job_id)
        attempts = read_attempts(read_events(journal))
        if attempts and attempts[-1].how is None:
            with holding(self.layout.lock(job_id)) as held:
                if held:
                    append_event(
                        journal,
                        "died",
                        kind=end.kind if end else "died",
                        message=end.message if end else "its process ended without a word",
                    )
            attempts = read_attempts(read_events(journal))
            if end is None or end.kind == "silent":
                self._suspects.add(job_id)
        if is_hopeless:
            append_event(journal, "released", message="its task waited for one that ended without success; dealt anew")
        elif pack.is_blank_about(job_id) and pack.submission.task is not None and not (end and end.kind == "lost"):
            self._false_starts[job_id] += 1
        next_ = decide(attempts, self.work.batches.get(job_id, self.order.eval_batch_size))
        if next_.give_up:
            last = attempts[-1]
            self._give_up(job_id, next_.give_up, last.message or next_.reason, len(attempts))
        elif self._false_starts[job_id] >= MOST_FALSE_STARTS:
            logs = self.layout.packs(self.order.study) / "logs"
            said = f"it said last: {pack.read_last_words(self.layout)} (logs: {logs})"
            what = f"its process ended {MOST_FALSE_STARTS} times before it came to it; {said}"
            self._give_up(job_id, "died", what, MOST_FALSE_STARTS)
        else:
            self._open[job_id] = None
            self._may_orphan = bool(self._failed)

    def _give_up(self, job_id: str, kind: FailureKind, message: str, attempts: int) -> None:
        write_failure(
            self.layout,
            Failure(
                job_id=job_id, kind=kind, message=message, attempts=attempts, host=socket.gethostname(), when=now()
            ),
        )
        self._open.pop(job_id, None)
        self._count(job_id, is_done=False)

    def _fail_orphans(self) -> None:
        """Give up evaluations whose fine-tune was given up."""
        if not self._may_orphan:
            return
        self._may_orphan = False
        for job_id in list(self._open):
            needed = self.work.find_leader(job_id, self._failed)
            if needed is None:
                continue
            failure = read_failure(self.layout, needed)
            why = failure.message if failure else MEANING["no_weights"]
            self._give_up(job_id, "no_weights", f"its fine-tune {needed} was given up: {why}", 0)

    # Dealing --------------------------------------------------------------------------------------------------------

    def _deal(self) -> None:
        free = self.cluster.slots - len(self._packs)
        if free <= 0 or self._doubtful or not self._open or self.clock.time() < self._deals_from:
            return
        held = {job_id for pack in self._packs.values() for job_id in pack.open}
        ready = [job_id for job_id in self._open if job_id not in held and self._is_ready(job_id, held)]
        if not ready:
            return
        if not self.cluster.is_separate:
            self._submit(*self._pack(ready, free), free)
            return
        tuned, loose, followers = part_stages(self.work, ready)
        if tuned:
            packs, size = self._pack(tuned, free)
            self._submit(packs, size, free, followed_by=follow_up(packs, followers))
        if loose and (free := self.cluster.slots - len(self._packs)) > 0:
            self._submit(*self._pack(loose, free), free)

    def _is_ready(self, job_id: str, held: Collection[str]) -> bool:
        """Tell whether a job can be dealt: with the fine-tune that it needs, or when all of several are over."""
        needs = self.work.needs.get(job_id, ())
        return not any(needed in held or (len(needs) > 1 and needed in self._open) for needed in needs)

    def _pack(self, ready: Sequence[str], free: int) -> tuple[Packs, int]:
        num_live = len(self._packs)
        return deal(
            self.work,
            ready,
            free,
            self._suspects,
            lambda seconds, num_free: self.cluster.split(seconds, num_free, num_live),
        )

    def _submit(
        self,
        packs: Packs,
        size: int,
        free: int,
        followed_by: Packs = (),
    ) -> None:
        """Submit packs in chunks that the cluster takes, and share slots among them; what finds none stays open."""
        place, unshared = 0, free
        while place < len(packs) and unshared and not self._doubtful:
            chunk = slice(place, place + size)
            parallel = max(1, free * len(packs[chunk]) // len(packs))
            try:
                first = self._send(packs[chunk], None, parallel)
            except NoRoomError as error:
                if len(packs[chunk]) > 1:
                    size = max(1, len(packs[chunk]) // 2)
                    continue
                self._wait_for_room(error)
                return
            if any(followed_by[chunk]) and not self._doubtful:
                try:
                    self._send(followed_by[chunk], first, parallel)
                except NoRoomError as error:  # its evaluations stay open until their fine-tunes are done
                    self._wait_for_room(error)
                    return
            place += size
            unshared -= min(parallel, unshared)

    def _wait_for_room(self, error: NoRoomError) -> None:
        if not self._packs:
            raise UserError(
                f"cluster={self.order.cluster.name}: it takes not even one task: {error}; set cluster.max_tasks lower"
            )
        self._trouble = f"the cluster takes no more tasks for now ({error})"
        self._deals_from = self.clock.time() + NO_ROOM_S

    def _send(self, packs: Packs, after: Submission | None, parallel: int) -> Submission:
        """Write an intent, submit, and note the cluster's name."""
        is_tuning = any(self.work.is_finetune(job_id) for pack in packs for job_id in pack)
        submission = Submission(
            id=f"{self._next_id:05}",
            study=self.order.study,
            stage="finetune" if is_tuning else "evaluation",
            results_dir=str(self.layout.root.resolve()),
            packs=packs,
            threads=self.cluster.threads,
            after=after.id if after else None,
            task=None,
            is_over=False,
            created=now(),
        )
        self._next_id += 1
        write_submission(self.layout, submission)
        try:
            submission = replace(submission, task=self.cluster.submit(submission, after, parallel))
            write_submission(self.layout, submission)
        except (NoRoomError, UserError):
            path_of(self.layout, submission).unlink()
            raise
        except NoAnswerError as error:
            self._trouble = f"the cluster does not answer ({error})"
        self._hold(submission)
        return submission

    def _hold(self, submission: Submission) -> None:
        """Follow a submission's packs from now on."""
        self._submissions[submission.id] = submission
        if submission.task is None:
            self._doubtful.add(submission.id)
        for pack in follow_packs(self.layout, submission, set(self._open)):
            self._packs[pack.key] = pack
        for job_ids in submission.packs:
            for job_id in job_ids:
                self._open.pop(job_id, None)

    # Telling --------------------------------------------------------------------------------------------------------

    @property
    def submissions(self) -> tuple[Submission, ...]:
        """What the cluster still has."""
        return tuple(self._submissions.values())

    @property
    def is_doubtful(self) -> bool:
        """Whether the cluster has not said yet if it took a submission."""
        return bool(self._doubtful)

    def stop(self) -> None:
        """End everything that the cluster still has."""
        self.cluster.stop(self.submissions)

    def snapshot(self) -> Snapshot:
        """Say how far the sweep is."""
        left = len(self._open) + sum(len(pack.open) for pack in self._packs.values())
        elapsed = self.clock.time() - self._began
        done_s = self._seconds_at_start - self._seconds_left
        is_telling = done_s > 0.05 * self._seconds_at_start
        return Snapshot(
            num_done=len(self._wanted) - left - len(self._failed),
            num_jobs=len(self._wanted),
            num_failed=len(self._failed),
            num_waiting=sum(pack.is_waiting for pack in self._packs.values()),
            running=tuple(pack.running for pack in self._packs.values() if pack.running),
            elapsed_s=elapsed,
            remaining_s=self._seconds_left / done_s * elapsed if is_telling else None,
            trouble=self._trouble,
        )

    def outcome(self) -> Outcome:
        """Count what has a result, of the jobs that were asked for."""
        done = self.layout.list_done()
        num_done = sum(job_id in done for job_id in self._wanted)
        return Outcome(num_done=num_done, num_failed=len(self._wanted) - num_done)
