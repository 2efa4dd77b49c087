"""The Kubo daemons that learnae runs for its user: private, one for each swarm."""

from __future__ import annotations

from learnae.node.kubo.binary import (
    KUBO_VERSION,
    MIN_VERSION,
    binary_version,
    cached_binary,
    find_binary,
)
from learnae.node.kubo.daemon import (
    Daemon,
    DaemonStatus,
    check_daemon,
    inspect_daemon,
    start_daemon,
    stop_daemon,
)
from learnae.node.kubo.repo import (
    ANYWHERE,
    LOOPBACK,
    RepoOptions,
    check_listen,
    check_peers,
    init_repo,
    is_repo,
)

__all__ = [
    "ANYWHERE",
    "KUBO_VERSION",
    "LOOPBACK",
    "MIN_VERSION",
    "Daemon",
    "DaemonStatus",
    "RepoOptions",
    "binary_version",
    "cached_binary",
    "check_daemon",
    "check_listen",
    "check_peers",
    "find_binary",
    "init_repo",
    "inspect_daemon",
    "is_repo",
    "start_daemon",
    "stop_daemon",
]
