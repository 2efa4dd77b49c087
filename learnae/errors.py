"""Every exception that learnae raises on purpose.

::

    LearnaeError
    +-- UsageError             what this machine's user asked for cannot be done
    |   +-- CharterError       swarm.toml is not a valid charter, or another swarm's
    |   +-- InviteError        an invite that is damaged, or of another version
    |   +-- DataError          the training data cannot be read as the charter says
    |   +-- ModelError         the model factory is missing, or raised
    |   +-- SchemaError        these params are not the swarm's params
    |   +-- IdentityError      the key file is missing, broken or readable by others
    |   +-- StateError         the peer's folder is unusable: permission, disk, damage
    |   +-- ClockError         this machine's clock cannot be right
    |   +-- BackendError       neither the compiled core nor numba can be used
    +-- TransportError         the store or pubsub failed; trying later may help
    |   +-- NotFound           no object with this CID within reach
    |   +-- WrongObject        what has this CID cannot be what it was announced as
    |   +-- Unavailable        our own daemon is away, or does not answer in time
    +-- HostileBytes           bytes from outside were not what they claim to be
        +-- PayloadError       not a payload, damaged, or not acceptable
        +-- AnnouncementError  not an announcement, or not its sender's
        +-- CheckpointError    not a checkpoint

A message is one line that names the cause and, where there is one, the cure: it is shown to
the user as it is. `HostileBytes` never means that our own program is wrong, and `UsageError`
never that a remote peer is.
"""

from __future__ import annotations

__all__ = [
    "AnnouncementError",
    "BackendError",
    "CharterError",
    "CheckpointError",
    "ClockError",
    "DataError",
    "HostileBytes",
    "IdentityError",
    "InviteError",
    "LearnaeError",
    "ModelError",
    "NotFound",
    "PayloadError",
    "SchemaError",
    "StateError",
    "TransportError",
    "Unavailable",
    "UsageError",
    "WrongObject",
]


class LearnaeError(Exception):
    """Any failure that learnae reports on purpose."""


class UsageError(LearnaeError):
    """The user of this machine can mend it; the message says how."""


class CharterError(UsageError):
    """A charter that is not valid, or that belongs to another swarm."""


class InviteError(UsageError):
    """An invite that is damaged, cut short, or of a version that is not known."""


class DataError(UsageError):
    """Training data that cannot be read as the charter describes it."""


class ModelError(UsageError):
    """A model factory that is missing, raised, or returned the wrong thing."""


class SchemaError(UsageError):
    """Params whose leaves are not the ones this swarm shares."""


class IdentityError(UsageError):
    """A key file that is missing, broken, or readable by other users."""


class StateError(UsageError):
    """A peer folder that cannot be used: permission, full disk, damage, or in use."""


class ClockError(UsageError):
    """A system clock that cannot be right."""


class BackendError(UsageError):
    """Neither the compiled core nor numba can be used."""


class TransportError(LearnaeError):
    """The store or pubsub failed this time."""


class NotFound(TransportError):
    """No object with this CID is within reach."""


class WrongObject(TransportError):
    """What is stored under this CID is too large, or not sealed by the swarm, or damaged."""


class Unavailable(TransportError):
    """What stands between us and the network does not answer; that is no other peer's fault."""


class HostileBytes(LearnaeError):
    """Bytes from outside that are not what they claim to be."""


class PayloadError(HostileBytes):
    """Bytes that are not a valid payload, or not one that may be merged."""


class AnnouncementError(HostileBytes):
    """Bytes that are not a valid announcement."""


class CheckpointError(HostileBytes):
    """Bytes that are not a valid checkpoint."""
