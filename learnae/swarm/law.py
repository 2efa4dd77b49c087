"""What is wrong with a message, row by row, in the order of docs/protocol.md ("What is heard").

Rows are tried in order and the first that applies names the reason. They come in three groups,
because between them a peer verifies the signature (expensive) and looks at the time (which
feeds the clock watch).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from learnae.swarm.announcement import Opened
from learnae.swarm.charter import Charter
from learnae.swarm.events import Reason
from learnae.swarm.state import Known

__all__ = ["CHEAP", "EARLIER", "SIGNED", "TIMELY", "Case", "Row", "objection"]


@dataclass(frozen=True)
class Case:
    """A message, and all that a row may look at; `last` is what is known of its sender."""

    opened: Opened
    last: Known | None
    charter: Charter
    own_id: str
    own_sequence: int
    schema_digest: bytes

    @property
    def is_own(self) -> bool:
        """Whether it names us as its sender."""
        return self.opened.announcement.peer_id == self.own_id


Row = tuple[Reason, Callable[[Case], bool]]


def _is_of_other_swarm(case: Case) -> bool:
    return case.opened.announcement.swarm_id != case.charter.swarm_id


def _is_own_and_used(case: Case) -> bool:
    return case.is_own and case.opened.announcement.sequence <= case.own_sequence


def _is_not_admitted(case: Case) -> bool:
    return not case.is_own and not case.charter.admits(case.opened.announcement.peer_id)


def _is_replay(case: Case) -> bool:
    if case.last is None:
        return False
    earlier = case.opened.announcement.sequence < case.last.sequence
    return earlier or case.opened.cid == case.last.cid


def _is_equivocation(case: Case) -> bool:
    return case.last is not None and case.opened.announcement.sequence == case.last.sequence


def _breaks_chain(case: Case) -> bool:
    if case.last is None:
        return False
    announcement = case.opened.announcement
    follows = announcement.sequence == case.last.sequence + 1
    return follows and announcement.previous != case.last.cid


def _has_other_schema(case: Case) -> bool:
    return case.opened.announcement.schema_digest != case.schema_digest


def _is_not_earlier(case: Case) -> bool:
    return case.last is None or case.opened.announcement.sequence >= case.last.sequence


CHEAP: tuple[Row, ...] = (
    (Reason.OTHER_SWARM, _is_of_other_swarm),
    (Reason.OWN_MESSAGE, _is_own_and_used),
    (Reason.NOT_A_MEMBER, _is_not_admitted),
    (Reason.REPLAY, _is_replay),
)
SIGNED: tuple[Row, ...] = ((Reason.EQUIVOCATION, _is_equivocation),)
TIMELY: tuple[Row, ...] = (
    (Reason.BROKEN_CHAIN, _breaks_chain),
    (Reason.OTHER_SCHEMA, _has_other_schema),
)


EARLIER: tuple[Row, ...] = (
    (Reason.OTHER_SWARM, _is_of_other_swarm),
    (Reason.OWN_MESSAGE, lambda case: case.is_own),
    (Reason.NOT_A_MEMBER, _is_not_admitted),
    (Reason.REPLAY, _is_not_earlier),
    (Reason.OTHER_SCHEMA, _has_other_schema),
)


def objection(rows: tuple[Row, ...], case: Case) -> Reason | None:
    """Return the reason of the first row that applies, or None where none does."""
    return next((reason for reason, applies in rows if applies(case)), None)
