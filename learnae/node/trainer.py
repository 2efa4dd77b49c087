"""The peer behind ``learnae join``: local data, compiled rounds, and the swarm."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from learnae.errors import DataError
from learnae.learn import tabular
from learnae.learn.models import Model, load_model
from learnae.learn.schedule import cooldown_rate
from learnae.node.access import access_of, open_swarm_transport, start_own_daemon
from learnae.node.background import keep_freed_memory
from learnae.node.home import Home
from learnae.node.join import read_charter
from learnae.node.node import Node, NodeSettings
from learnae.node.relay import serve_as_relay
from learnae.node.status import Status
from learnae.payload import Schema, flatten
from learnae.swarm import Charter

if TYPE_CHECKING:
    from learnae.learn.batches import BatchSource
    from learnae.learn.rounds import RoundFns

__all__ = ["TrainerSettings", "charter_model", "default_cache", "run"]

log = logging.getLogger("learnae.node")


@dataclass(frozen=True)
class TrainerSettings:
    """What one machine brings to a swarm.

    Attributes
    ----------
    charter, data, home
        Charter file, this peer's rows (None for a relay), and its folder.
    transport
        Such as ``"directory:PATH"`` or ``"ipfs:REPO"``.
    test
        Held-out rows to report accuracy on, every `test_every` rounds; never trained on.
    rounds
        Rounds to train; None for the charter's number.
    linger_s
        How long to go on serving after the last round, in seconds; None until stopped.
    checkpoint_s
        Seconds between checkpoints.
    role
        "trainer", or "relay" for a peer that stores, merges and re-serves without data.
    cache
        JAX compilation cache; None for the user's cache folder.
    public, unsealed
        Over IPFS: accept a daemon in the public network; do not seal what is published.
    """

    charter: Path
    data: Path | None
    home: Path
    transport: str
    test: Path | None = None
    test_every: int = 10
    rounds: int | None = None
    linger_s: float | None = None
    checkpoint_s: float = 2.0
    role: Literal["trainer", "relay"] = "trainer"
    cache: Path | None = None
    public: bool = False
    unsealed: bool = False


def charter_model(charter: Charter, folder: Path) -> Model:
    """Return the charter's model; `folder` is where the charter file is."""
    data = charter.data
    return load_model(
        charter.model,
        folder,
        features=len(data.columns) or None,
        classes=len(data.classes) or None,
    )


def run(settings: TrainerSettings, stop: threading.Event) -> Status:
    """Join a swarm and train; return when done, or soon after `stop` is set.

    Everything that this machine's user could have got wrong is checked before the first
    announcement.

    Raises
    ------
    UsageError
        One of its kinds, with one line for the user.
    """
    charter = read_charter(settings.charter)
    model = charter_model(charter, settings.charter.parent)
    genesis = model.init(charter.seed)
    schema = Schema.of(genesis)
    if settings.role == "trainer":
        train: Callable[[Node, threading.Event], None] = _trainer(settings, charter, model, genesis)
    else:
        train = serve_as_relay
    home = Home.open(settings.home, swarm_id=charter.swarm_id)
    try:
        access = access_of(
            settings.charter, charter, public=settings.public, unsealed=settings.unsealed
        )
        start_own_daemon(settings.transport)
        name = home.identity.peer_id
        transport = open_swarm_transport(settings.transport, name, access, home.path)
        node_settings = NodeSettings(role=settings.role, checkpoint_s=settings.checkpoint_s)
        try:
            node = Node(charter, schema, home, transport, flatten(schema, genesis), node_settings)
        except BaseException:
            transport.close()
            raise
    except BaseException:
        home.close()
        raise
    node.status.rounds = _n_rounds(settings, charter)
    node.write_status()
    with node:
        train(node, stop)
    return node.status


def _n_rounds(settings: TrainerSettings, charter: Charter) -> int:
    return charter.training.rounds if settings.rounds is None else settings.rounds


def _trainer(
    settings: TrainerSettings, charter: Charter, model: Model, genesis: Any
) -> Callable[[Node, threading.Event], None]:
    """Read the data and make the compiled functions; return the loop over rounds."""
    if settings.data is None:
        raise DataError("a trainer needs data; give it, or join as a relay")
    table, test = _read_tables(settings, charter)
    from learnae.learn.optimizers import make_optimizer, require_jax, use_compilation_cache

    keep_freed_memory()  # before JAX has threads
    require_jax()
    use_compilation_cache(settings.cache or default_cache())
    from learnae.learn.rounds import make_round

    training = charter.training
    optimizer = make_optimizer(training.optimizer, training.learning_rate)
    fns = make_round(model, optimizer, genesis, training.drift_correction)
    n_rounds = _n_rounds(settings, charter)
    return lambda node, stop: _Rounds(node, fns, table, test, settings).run(n_rounds, stop)


def _read_tables(
    settings: TrainerSettings, charter: Charter
) -> tuple[tabular.Table, tabular.Table | None]:
    assert settings.data is not None
    choice = charter.data
    table = tabular.read_table(settings.data, choice)
    scaled, note = tabular.standardise(table, choice)
    if note is not None:
        log.info("%s", note)
    if settings.test is None:
        return scaled, None
    test = tabular.read_table(settings.test, choice)
    if choice.mean is None:
        # Held-out rows are scaled as the training rows are, not by statistics of their own.
        moments = tabular.Moments.of(table.x)
        mean, std = tuple(map(float, moments.mean)), tuple(map(float, moments.std))
        choice = dataclasses.replace(choice, mean=mean, std=std)
    return scaled, tabular.standardise(test, choice)[0]


def default_cache() -> Path:
    """Return the folder where compiled rounds of this user are kept."""
    import platformdirs

    return platformdirs.user_cache_path("learnae") / "jax"


class _Rounds:
    """The loop over rounds of one trainer: batches, compiled round, pace, evaluation."""

    def __init__(
        self,
        node: Node,
        fns: RoundFns,
        table: tabular.Table,
        test: tabular.Table | None,
        settings: TrainerSettings,
    ) -> None:
        self._node, self._fns, self._table, self._test = node, fns, table, test
        self._settings = settings
        self._training = node.charter.training
        self._state: Any = None

    def run(self, n_rounds: int, stop: threading.Event) -> None:
        """Train `n_rounds` rounds (those before a restart included), then serve."""
        from learnae.learn.rounds import load_state

        node, fns = self._node, self._fns
        node.start()
        # After start(), since a late joiner or a restart goes on from a later round.
        source = self._batches()
        state = fns.start()
        saved = {k: v for k, v in node.extra.items() if not k.startswith("learnae.")}
        if saved:  # not by a relay, which has the same folder
            state = load_state(state, saved)
        self._warm_up(state)
        self._state = self._own(state)
        node.dump_extra = self._dump_state
        node.begin()
        if node.status.adopted_round is not None and node.round >= n_rounds:
            log.warning(
                "the swarm has done its %d rounds, so this peer's data adds nothing to its model; "
                "for longer ones make a new charter with more --rounds or a longer --min-seconds",
                n_rounds,
            )
        while node.round < n_rounds and not stop.is_set():
            began = time.monotonic()
            rate = cooldown_rate(node.round, n_rounds, self._training.cooldown)
            state, self._state = self._state, None  # its memory is the round's from here on
            result = fns.run(node.params, state, node.shift, source.next(), rate)
            self._state = result.state
            node.params[:] = result.params
            if self._wait(began, stop):
                break
            node.finish_round(
                result.gradient,
                len(self._table),
                result.loss,
                time.monotonic() - began,
                self._measure if self._test_due(node.round + 1, n_rounds) else None,
            )
        if node.round >= n_rounds:
            node.serve(stop, self._settings.linger_s, len(self._table))
        node.status.accuracy = self._measure()

    def _batches(self) -> BatchSource:
        from learnae.learn.batches import BatchSource

        # The order of the rows is the peer's own: peers in lockstep would repeat each other.
        key = hashlib.sha256(self._node.home.identity.peer_id.encode()).digest()
        own = int.from_bytes(key[:8], "big")
        seed = [self._node.charter.seed, own, self._node.round]
        return BatchSource(self._table, self._training.batch, self._training.steps, seed)

    def _warm_up(self, state: Any) -> None:
        """Compile before the first round, so that no round of the swarm waits for it."""
        scratch = self._batches()
        params = self._node.params
        self._fns.run(params, self._own(state), self._node.shift, scratch.next())
        self._node.status.accuracy = self._measure()

    def _dump_state(self) -> dict[str, np.ndarray[Any, Any]]:
        from learnae.learn.rounds import dump_state

        return {} if self._state is None else dump_state(self._state)

    @staticmethod
    def _own(state: Any) -> Any:
        """Copy an optimiser state: a round takes over the memory of what it is given."""
        import jax

        return jax.tree.map(np.array, state)

    def _wait(self, began: float, stop: threading.Event) -> bool:
        """Wait until the round has lasted `min_seconds`; True if the peer shall stop."""
        left = began + self._training.min_seconds - time.monotonic()
        return stop.wait(left) if left > 0 else stop.is_set()

    def _test_due(self, number: int, n_rounds: int) -> bool:
        return number % self._settings.test_every == 0 or number >= n_rounds

    def _measure(self) -> float | None:
        """Return the accuracy of the node's params on the held-out rows, if there are any."""
        if self._test is None:
            return None
        from learnae.learn.evaluation import evaluate

        return evaluate(self._fns, self._node.params, self._test).get("accuracy")
