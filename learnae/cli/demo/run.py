"""The run itself: start peers, let one come late, kill one, wait until all have done.

The peers know nothing of this: what happens is decided here from what they write about
themselves into their folders, and done to them from outside with the means of any user.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from learnae.cli.demo.plan import Plan
from learnae.cli.demo.processes import Peers, total_pss_nbytes
from learnae.cli.statusfile import PeerStatus, read_status
from learnae.errors import LearnaeError

__all__ = ["Course", "Killed", "Late", "Row", "Snapshot", "Watch", "run_swarm"]

LOOK_EVERY_S = 0.25
# Reading smaps_rollup walks the page tables of all processes: milliseconds, so not at each look.
WEIGH_EVERY_S = 2.0
# The longest silence that is not a fault: importing and compiling on a machine under load.
STALL_S = 120.0
STATES_AT_WORK = ("training", "serving")


@dataclass
class Killed:
    """The peer that was killed. Times are Unix times, as in the peers' own logs.

    `before` is the last it said before it was killed, `after` the first it said when it trained
    again; its counts begin anew with its process.
    """

    peer: str
    before: PeerStatus
    killed_at: float
    restarted_at: float | None = None
    back_at: float | None = None
    after: PeerStatus | None = None


@dataclass
class Late:
    """The peer that came late; rounds are the swarm's median."""

    peer: str
    started_at_round: int
    started_at: float
    trained_at: float | None = None
    swarm_round: int | None = None


@dataclass
class Course:
    """What happened in one run."""

    started_at: float
    training_at: float | None = None
    ended_at: float | None = None
    killed: Killed | None = None
    late: Late | None = None
    pss_nbytes: int | None = None
    final: dict[str, PeerStatus] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One peer as the live table shows it; `status` is None until it has said something."""

    name: str
    state: str
    alive: bool
    samples: int
    status: PeerStatus | None


@dataclass(frozen=True)
class Snapshot:
    """The whole swarm at one moment.

    `seconds` count from the start of the first peers, their start-up included; `median_round`
    is that of the peers that train.
    """

    seconds: float
    median_round: int
    rounds: int
    rows: tuple[Row, ...]


def run_swarm(plan: Plan, show: Callable[[Snapshot], None]) -> Course:
    """Run the swarm of `plan` to its end and return what happened; `show` sees every look.

    Raises
    ------
    LearnaeError
        If a peer ends that nobody has told to, or the swarm makes no progress.
    """
    course = Course(started_at=time.time())
    with Peers(plan) as peers:
        for peer in plan.peers:
            if not peer.late:
                peers.start(peer.name)
        watch = Watch(plan, course, peers)
        while not watch.look(show):
            time.sleep(LOOK_EVERY_S)
        course.ended_at = time.time()
        peers.stop()
    course.final = {
        peer.name: status for peer in plan.peers if (status := read_status(peer.home)) is not None
    }
    return course


class Watch:
    """Looks at the swarm again and again, and does to it what the plan says."""

    def __init__(self, plan: Plan, course: Course, peers: Peers) -> None:
        self._plan = plan
        self._course = course
        self._peers = peers
        self._weighed_at = 0.0
        self._progress = 0
        self._progress_at = time.monotonic()

    def look(self, show: Callable[[Snapshot], None]) -> bool:
        """Look once; return True when every peer has done its rounds."""
        alive = self._peers.alive()
        seen = {peer.name: read_status(peer.home) for peer in self._plan.peers}
        # A folder still holds the words of a process that was killed: only those of the
        # running process count.
        said = {
            name: status
            for name, status in seen.items()
            if status is not None and status.pid == alive.get(name)
        }
        median = self._median_round(said)
        self._record(said, median)
        self._act(said, median)
        self._weigh(alive)
        self._require_progress(said)
        show(self._snapshot(alive, seen, said, median))
        return len(said) == len(self._plan.peers) and all(
            status.state == "serving" for status in said.values()
        )

    def _median_round(self, said: Mapping[str, PeerStatus]) -> int:
        rounds = [
            said[peer.name].round
            for peer in self._plan.peers
            if peer.name in said and not peer.late
        ]
        return int(statistics.median(rounds)) if rounds else 0

    def _record(self, said: Mapping[str, PeerStatus], median: int) -> None:
        """Write down what has become true since the last look."""
        course, now = self._course, time.time()
        training = {name for name, status in said.items() if status.state in STATES_AT_WORK}
        first = {peer.name for peer in self._plan.peers if not peer.late}
        if course.training_at is None and first <= training:
            course.training_at = now
        killed, late = course.killed, course.late
        if killed and killed.restarted_at and not killed.back_at and killed.peer in training:
            killed.back_at = now
            killed.after = said[killed.peer]
        if late and not late.trained_at and late.peer in training:
            late.trained_at = now
            late.swarm_round = median

    def _act(self, said: Mapping[str, PeerStatus], median: int) -> None:
        """Start the late peer, kill the victim, start it again: each when its round has come."""
        plan, course, now = self._plan, self._course, time.time()
        if plan.victim is None or course.training_at is None:
            return
        if course.late is None and median >= plan.start_late_at:
            name = next(peer.name for peer in plan.peers if peer.late)
            self._peers.start(name)
            course.late = Late(peer=name, started_at_round=median, started_at=now)
        if course.killed is None:
            if median >= plan.kill_at and plan.victim in said:
                victim = said[plan.victim]
                self._peers.kill(plan.victim)
                course.killed = Killed(plan.victim, victim, time.time())
        elif course.killed.restarted_at is None and median >= plan.restart_at:
            self._peers.start(plan.victim)
            course.killed.restarted_at = now

    def _weigh(self, alive: Mapping[str, int]) -> None:
        """Remember the largest sum of proportional set sizes."""
        if time.monotonic() - self._weighed_at < WEIGH_EVERY_S:
            return
        self._weighed_at = time.monotonic()
        total = total_pss_nbytes(list(alive.values()))
        if total is not None:
            self._course.pss_nbytes = max(total, self._course.pss_nbytes or 0)

    def _require_progress(self, said: Mapping[str, PeerStatus]) -> None:
        """Raise if no peer has changed its round or state for a long time."""
        progress = hash(tuple((name, said[name].state, said[name].round) for name in sorted(said)))
        if progress != self._progress:
            self._progress, self._progress_at = progress, time.monotonic()
        elif time.monotonic() - self._progress_at > STALL_S:
            raise LearnaeError(
                f"no peer has made progress for {STALL_S:.0f} s; their logs are in "
                f"{self._plan.peers[0].log.parent}"
            )

    def _snapshot(
        self,
        alive: Mapping[str, int],
        seen: Mapping[str, PeerStatus | None],
        said: Mapping[str, PeerStatus],
        median: int,
    ) -> Snapshot:
        rows = []
        for peer in self._plan.peers:
            if peer.name in said:
                state = said[peer.name].state
            elif peer.name in alive:
                state = "starting"
            elif self._course.killed and self._course.killed.peer == peer.name:
                state = "killed"
            else:
                state = "not yet here"
            row = Row(peer.name, state, peer.name in alive, peer.samples, seen[peer.name])
            rows.append(row)
        seconds = time.time() - self._course.started_at
        return Snapshot(seconds, median, self._plan.options.rounds, tuple(rows))
