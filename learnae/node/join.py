"""`learnae.join`: three lines around anybody's own training loop."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from learnae.errors import CharterError, UsageError
from learnae.node.access import Access, open_swarm_transport, start_own_daemon
from learnae.node.home import Home
from learnae.node.node import Node, NodeSettings
from learnae.node.places import default_repo, swarm_folder
from learnae.node.status import Status
from learnae.node.swarmkey import find_swarm_key, key_path
from learnae.payload import PyTree, Schema, flatten, unflatten
from learnae.swarm import Charter, parse_charter
from learnae.swarm.trust import short
from learnae.transports import Transport

__all__ = [
    "JoinedPeer",
    "default_home",
    "default_transport",
    "join",
    "read_charter",
]

log = logging.getLogger("learnae.node")

Float32 = NDArray[np.float32]


def read_charter(path: str | os.PathLike[str]) -> Charter:
    """Read a charter file.

    Raises
    ------
    CharterError
        If the file cannot be read or is not a valid charter.
    """
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise CharterError(
            f"{os.fspath(path)}: {error.strerror}; give the path of the swarm's charter "
            "(learnae create makes one)"
        ) from None
    try:
        return parse_charter(text)
    except CharterError as error:
        raise CharterError(f"{os.fspath(path)}: {error}") from None


def default_home(charter: Charter) -> Path:
    """Return the folder of this user's peer in this swarm."""
    return swarm_folder(charter.swarm_id) / "peer"


def default_transport(charter: Charter) -> str:
    """Return the transport that all of this user's peers in this swarm share.

    It is the IPFS daemon that ``learnae ipfs up`` or an invite has made for the swarm, where
    there is one, otherwise a folder.
    """
    repo = default_repo(charter.swarm_id)
    if (repo / "config").is_file():
        return f"ipfs:{repo}"
    return f"directory:{swarm_folder(charter.swarm_id) / 'shared'}"


def join(
    charter: str | os.PathLike[str] | Charter,
    params: PyTree,
    *,
    home: str | os.PathLike[str] | None = None,
    transport: str | Transport | None = None,
    settings: NodeSettings | None = None,
    swarm_key: bytes | None = None,
) -> JoinedPeer:
    r"""Join a swarm with params of one's own; use the result as a context manager.

    Parameters
    ----------
    charter
        The swarm's charter, or the path of its file.
    params
        A pytree of JAX, NumPy or torch (CPU) arrays. Its floating-point leaves are shared;
        all peers need the same ones. If the swarm is under way its model replaces these
        values: go on from `JoinedPeer.params`.
    home
        Folder for the key and the checkpoints; one per peer. Default: one per swarm in the
        user's data folder.
    transport
        ``"directory:PATH"``, ``"ipfs:..."`` or a transport object. Default: the daemon that
        ``learnae ipfs up`` has made for the swarm, or else a folder in the user's data folder,
        which joins all peers of this user on this machine.
    settings
        How often to write status and checkpoint; most programs need none.
    swarm_key
        32 bytes, for IPFS. Default: from the file beside the charter's, ``swarm.key``.

    Returns
    -------
    JoinedPeer
        Its `params` are what to go on from. Where they are not those given, because the folder
        holds a checkpoint or the swarm is under way, one line of the log (`learnae.node`,
        a warning) says so.

    Raises
    ------
    UsageError
        One of its kinds, with a line that says what is wrong and what to do.

    Examples
    --------
    >>> import learnae, numpy as np, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> charter = learnae.parse_charter('[swarm]\nname = "demo"\n[training]\nsteps = 2')
    >>> with learnae.join(charter, {"w": np.ones(3, np.float32)}, home=folder + "/me",
    ...                   transport="directory:" + folder + "/shared") as peer:
    ...     params = peer.params
    ...     for _ in range(4):
    ...         params = {"w": params["w"] * 0.5}
    ...         params = peer.exchange(params, samples=8)
    >>> peer.round
    2
    """
    key_file = None
    if not isinstance(charter, Charter):
        key_file = key_path(charter)
        swarm_key = find_swarm_key(charter) if swarm_key is None else swarm_key
        charter = read_charter(charter)
    access = Access(charter.swarm_id, swarm_key, key_file)
    schema = Schema.of(params)
    folder = Path(home) if home is not None else default_home(charter)
    where = default_transport(charter) if transport is None else transport
    opened = Home.open(folder, swarm_id=charter.swarm_id)
    try:
        if isinstance(where, str):
            start_own_daemon(where)
            where = open_swarm_transport(where, opened.identity.peer_id, access, folder)
        try:
            node = Node(charter, schema, opened, where, flatten(schema, params), settings)
        except BaseException:
            where.close()
            raise
    except BaseException:
        opened.close()
        raise
    return JoinedPeer(node, params)


class JoinedPeer:
    """A peer inside somebody's own training loop. Made by `join`.

    Attributes
    ----------
    params
        What to start training from: the swarm's model when it is under way, one's own last
        checkpoint after a restart, otherwise what was given to `join`.
    """

    def __init__(self, node: Node, params: PyTree) -> None:
        self._node = node
        self._training = node.charter.training
        self._n_steps = self._n_samples = 0
        self._loss_sum = 0.0
        self._n_losses = 0
        self._closed = False
        try:
            node.start()
        except BaseException:
            node.close()
            raise
        self._say_where_from()
        self.params: PyTree = unflatten(node.schema, node.params, params)
        node.begin()
        self._round_began = time.monotonic()

    def _say_where_from(self) -> None:
        """Tell who started a script again that this is no new experiment."""
        status, home = self._node.status, self._node.home
        if status.resumed_round is not None:
            log.warning(
                "going on from round %d, as saved in %s; to start afresh, give another home and "
                "transport",
                status.resumed_round,
                home.path,
            )
        elif status.adopted_round is not None:
            log.warning(
                "going on from the swarm's model of round %d; to start afresh, give another "
                "transport, or make another charter",
                status.adopted_round,
            )

    @property
    def peer_id(self) -> str:
        """The peer's id: its public key in base32."""
        return self._node.home.identity.peer_id

    @property
    def round(self) -> int:
        """Rounds finished so far."""
        return self._node.round

    def status(self) -> Status:
        """Return counts of what was sent, received and merged so far."""
        return self._node.refresh_status()

    @overload
    def exchange(self, params: PyTree, *, samples: int, loss: float | None = None) -> PyTree: ...

    @overload
    def exchange(
        self, params: PyTree, *, samples: int, loss: float | None = None, state: PyTree
    ) -> tuple[PyTree, PyTree]: ...

    def exchange(
        self, params: PyTree, *, samples: int, loss: float | None = None, state: Any = None
    ) -> Any:
        """Call after every training step; publishes and merges when a round is over.

        A round is over after the charter's `steps` calls and not before its `min_seconds`.
        Until then `params` come back as they are, at the cost of a clock reading. Never waits
        for the network.

        Parameters
        ----------
        params
            The params after the step, of the same structure as given to `join`.
        samples
            Examples that the step used.
        loss
            The step's loss, if it is at hand as a Python float; only reported.
        state
            The optimiser's state, where its chain holds `learnae.learn.drift_correction`:
            the round's mean gradient is taken from it and the next shift put into it.

        Returns
        -------
        params, or (params, state) where a state was given
            Same structure, kinds of array and dtypes as what came in.

        Raises
        ------
        SchemaError
            If the params' shared leaves are not those given to `join`.
        ModelError
            If they hold NaN or infinity.
        UsageError
            If this peer has been closed: nobody would hear of the round.
        """
        if self._closed:
            raise UsageError("this peer is closed, as at the end of its `with` block: join again")
        if not self._n_steps:
            self._node.schema.require(params)  # at the round's first step, not after its last
        self._n_steps += 1
        self._n_samples += samples
        if loss is not None:
            self._loss_sum += loss
            self._n_losses += 1
        now = time.monotonic()
        seconds = now - self._round_began
        if self._n_steps >= self._training.steps and seconds >= self._training.min_seconds:
            params, state = self._finish_round(params, state, seconds)
        return params if state is None else (params, state)

    def _finish_round(self, params: PyTree, state: Any, seconds: float) -> tuple[PyTree, Any]:
        node = self._node
        flatten(node.schema, params, out=node.params)
        gradient = None
        if state is not None:
            from learnae.learn import drift

            mean = drift.read_gradient(state)  # None where optax.MultiSteps is still collecting
            gradient = None if mean is None else flatten(node.schema, mean)
        loss = self._loss_sum / self._n_losses if self._n_losses else None
        node.finish_round(gradient, self._n_samples, loss, seconds)
        if state is not None:
            shift = node.shift
            shift = None if shift is None else unflatten(node.schema, shift, params)
            state = drift.with_shift(state, shift)
        self._n_steps = self._n_samples = self._n_losses = 0
        self._loss_sum = 0.0
        self._round_began = time.monotonic()
        self.params = unflatten(node.schema, node.params, params)
        return self.params, state

    def __repr__(self) -> str:
        """Return who this is and how far it is."""
        who = f"peer {short(self.peer_id)} of {self._node.charter.name!r}"
        return f"<{who}, round {self.round}, remembers {self._node.session.n_remembered} others>"

    def close(self) -> None:
        """Publish what is pending, write a checkpoint, say farewell."""
        self._closed = True
        self._node.close()

    def __enter__(self) -> JoinedPeer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
