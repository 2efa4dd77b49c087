"""The charter: what all peers of a swarm agree on, and the digest that names the swarm.

Every section is a frozen dataclass that checks itself, so a charter made in Python obeys the
same rules as one read from a file. Each field carries its rule and the comment that
`dump_charter` writes above it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar

from learnae.errors import CharterError
from learnae.swarm import dagcbor, rules
from learnae.swarm.rules import Refused, Rule
from learnae.swarm.trust import is_peer_id

__all__ = [
    "CHAINED_CODECS",
    "CODECS",
    "Charter",
    "DataSection",
    "GossipSection",
    "ModelSection",
    "TrainingSection",
    "about",
    "rule_of",
]

KEY_CODECS = ("f32", "bf16", "f16", "i8", "i8z")
#: They carry differences, most of them because they are too coarse for a model: docs/protocol.md.
CHAINED_CODECS = ("i4", "i4z", "sign", "ternary", "topk", "delta")
CODECS = (*KEY_CODECS, *CHAINED_CODECS)
_MAX_COLUMNS = 4096
_MAX_MEMBERS = 1024


def _key(default: Any, rule: Rule, comment: str) -> Any:
    metadata = {"rule": rule, "about": comment}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata, hash=False)
    return field(default=default, metadata=metadata)


def about(key: Field[Any]) -> str:
    """Return the comment that explains a key to the person who edits the file."""
    return str(key.metadata["about"])


def rule_of(key: Field[Any]) -> Rule:
    """Return the rule that a key's value obeys."""
    rule: Rule = key.metadata["rule"]
    return rule


def _shown(value: object) -> str:
    shown = " ".join(str(repr(value) if not isinstance(value, str) else f'"{value}"').split())
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _check(section: str, target: Any) -> None:
    """Bring every value of a section into its normal form, or name the one that cannot be."""
    for key in fields(target):
        if "rule" not in key.metadata:
            continue
        value = getattr(target, key.name)
        try:
            normal = rule_of(key).take(value)
        except Refused:
            raise CharterError(
                f"{section}.{key.name} is {_shown(value)}, but must be {rule_of(key).allowed}"
            ) from None
        object.__setattr__(target, key.name, normal)


def _take_peer_id(value: Any) -> str:
    if not isinstance(value, str) or not is_peer_id(value):
        raise Refused
    return value


_FACTORY = r"mlp|(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\.py:[A-Za-z_][A-Za-z0-9_]{0,99}"
_PEER_ID = Rule(_take_peer_id, "a peer id (`learnae status` prints it)")
_COLUMNS = rules.several(rules.text(64), _MAX_COLUMNS, unique=True)


@dataclass(frozen=True)
class ModelSection:
    """Which network: a built-in one, or a function in a Python file beside the charter."""

    factory: str = _key(
        "mlp",
        rules.pattern(_FACTORY, '"mlp", or "file.py:function" with the file beside the charter'),
        'built-in "mlp", or "file.py:function" with the file beside this one',
    )
    options: Mapping[str, Any] = _key({}, rules.options(), "keyword arguments of the factory")

    def __post_init__(self) -> None:
        """Check and normalise."""
        _check("model", self)


@dataclass(frozen=True)
class DataSection:
    """How a table becomes features and a class."""

    label: str | None = _key(
        None, rules.optional(rules.text(64)), "column that holds the class; without it the last one"
    )
    columns: tuple[str, ...] = _key(
        (), _COLUMNS, "feature columns, in the order of the model's inputs; empty: all the others"
    )
    classes: tuple[str, ...] = _key(
        (), _COLUMNS, "the label's values, in the order of the model's outputs; empty: 0, 1, 2 ..."
    )
    mean: tuple[float, ...] | None = _key(
        None,
        rules.optional(rules.several(rules.number(-1e30, 1e30), _MAX_COLUMNS)),
        "of each column; without mean and std every peer standardises by its own data",
    )
    std: tuple[float, ...] | None = _key(
        None,
        rules.optional(rules.several(rules.positive(1e30), _MAX_COLUMNS)),
        "standard deviation of each column",
    )

    def __post_init__(self) -> None:
        """Check and normalise, also what involves two keys."""
        _check("data", self)
        if (self.mean is None) != (self.std is None):
            raise CharterError("data.mean and data.std belong together: give both or neither")
        if self.mean is not None and self.std is not None:
            n_columns = len(self.columns) or len(self.mean)
            if not len(self.mean) == len(self.std) == n_columns > 0:
                raise CharterError(
                    f"data.mean has {len(self.mean)} and data.std {len(self.std)} entries, but "
                    f"must have one for each of the {n_columns or 'feature'} columns"
                )
        if self.label is not None and self.label in self.columns:
            raise CharterError(f"data.columns contains the label {_shown(self.label)}: remove it")


@dataclass(frozen=True)
class TrainingSection:
    """What a peer does between two merges."""

    optimizer: str = _key(
        "adam", rules.pattern(r"[a-z][a-z0-9_]{0,31}", "an optimiser's name"), "of the local steps"
    )
    learning_rate: float = _key(1e-3, rules.positive(1e3), "of the local steps")
    batch: int = _key(64, rules.integer(1, 2**20), "samples a step")
    steps: int = _key(20, rules.integer(1, 2**20), "steps a round")
    rounds: int = _key(250, rules.integer(1, 10**9), "rounds until a peer stops training")
    cooldown: float = _key(
        0.3,
        rules.number(0.0, 1.0),
        "part of the rounds, at their end, in which the learning rate falls to zero",
    )
    min_seconds: float = _key(
        0.0, rules.number(0.0, 86400.0), "a round lasts at least so long, however small the model"
    )
    drift_correction: bool = _key(
        True, rules.boolean(), "share mean gradients too, against what skewed data does"
    )

    def __post_init__(self) -> None:
        """Check and normalise."""
        _check("training", self)


@dataclass(frozen=True)
class GossipSection:
    """What a peer sends, fetches, remembers and refuses."""

    codec: str = _key("i8", rules.one_of(*CODECS), f"how params travel: {', '.join(CODECS)}")
    key_codec: str = _key(
        None,
        rules.optional(rules.one_of(*KEY_CODECS)),
        "how whole params travel where codec carries differences",
    )
    key_every: int = _key(
        10, rules.integer(1, 256), "models from one that is sent whole to the next, there"
    )
    density: float = _key(0.01, rules.positive(1.0), "part of the params that codec topk sends")
    fan_in: int = _key(2, rules.integer(1, 64), "models fetched a round")
    max_staleness: int = _key(
        0, rules.integer(0, 10**9), "rounds a model may be behind to be fetched; 0: any"
    )
    remember: int = _key(64, rules.integer(1, 2048), "peers whose last model stays in the mean")
    decay: float = _key(1.0, rules.positive(1.0), "factor on a model's weight per round of age")
    mix_rate: float = _key(
        1.0, rules.positive(1.0), "how far params move to the mean; 1: all the way"
    )
    keep: int = _key(4, rules.integer(1, 1024), "newest payloads that a peer keeps for others")
    max_elements: int = _key(
        50_000_000, rules.integer(1, 2**34), "parameters of the largest model that is accepted"
    )
    max_distance: float = _key(
        100.0,
        rules.positive(1e12),
        "a model further off than so many times one's own norm is refused",
    )
    max_clock_skew_s: float = _key(
        86400.0, rules.number(1.0, 1e9), "seconds that another peer's clock may differ"
    )

    def __post_init__(self) -> None:
        """Check and normalise."""
        _check("gossip", self)
        if self.key_codec is None:
            object.__setattr__(self, "key_codec", "f32" if self.codec == "delta" else "i8")

    @property
    def is_chained(self) -> bool:
        """Whether payloads are differences, each to the one before it."""
        return self.codec in CHAINED_CODECS

    @property
    def n_kept(self) -> int:
        """How many of its payloads a peer keeps for others.

        Whoever fetches the newest one of a chain needs what it builds on, back to the key, for
        as long as that takes: the newest two keys and all after them are there.
        """
        return max(self.keep, 2 * self.key_every) if self.is_chained else self.keep


@dataclass(frozen=True, eq=False)
class Charter:
    """All that peers must agree on; two charters are equal when they make the same swarm.

    `members` are peer ids; where it is empty the swarm is open to everybody.
    """

    SECTIONS: ClassVar[Mapping[str, type[Any]]] = {
        "model": ModelSection,
        "data": DataSection,
        "training": TrainingSection,
        "gossip": GossipSection,
    }

    name: str = field(metadata={"rule": rules.text(64), "about": "for people"})
    seed: int = _key(0, rules.integer(0, 2**32 - 1), "of the first params: same seed, same start")
    members: tuple[str, ...] = _key(
        (),
        rules.several(_PEER_ID, _MAX_MEMBERS, unique=True, ordered=False),
        "peer ids that take part; empty: anybody who has this file",
    )
    model: ModelSection = field(default_factory=ModelSection)
    data: DataSection = field(default_factory=DataSection)
    training: TrainingSection = field(default_factory=TrainingSection)
    gossip: GossipSection = field(default_factory=GossipSection)

    def __post_init__(self) -> None:
        """Check and normalise what is not in a section of its own."""
        _check("swarm", self)
        for name, section in self.SECTIONS.items():
            if not isinstance(getattr(self, name), section):
                raise TypeError(f"{name} must be a {section.__name__}")

    def content(self) -> dict[str, dict[str, Any]]:
        """Return the complete normalised content, by section, as plain values."""
        swarm = {
            key.name: getattr(self, key.name) for key in fields(self) if "rule" in key.metadata
        }
        sections = {"swarm": swarm}
        for name in self.SECTIONS:
            section = getattr(self, name)
            sections[name] = {key.name: getattr(section, key.name) for key in fields(section)}
        return sections

    @cached_property
    def swarm_id(self) -> bytes:
        """SHA-256 of the canonical DAG-CBOR of format version and content, 32 bytes."""
        return hashlib.sha256(dagcbor.encode({"charter": 1, **self.content()})).digest()

    @property
    def topic(self) -> str:
        """The pubsub topic on which this swarm announces."""
        return f"learnae/1/{self.swarm_id.hex()}"

    def admits(self, peer_id: str) -> bool:
        """Tell whether this peer may take part."""
        return not self.members or peer_id in self.members

    def __eq__(self, other: object) -> bool:
        """Compare by content, down to the difference between 1, 1.0 and true."""
        return isinstance(other, Charter) and self.swarm_id == other.swarm_id

    def __hash__(self) -> int:
        """Agree with `__eq__`."""
        return hash(self.swarm_id)
