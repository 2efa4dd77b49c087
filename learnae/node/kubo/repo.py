"""Making the repo of a swarm's daemon: private, quiet, and reachable where one asked for it."""

from __future__ import annotations

import contextlib
import copy
import errno
import json
import os
import random
import re
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnae.errors import StateError, UsageError
from learnae.node.kubo.binary import find_binary
from learnae.transports.atomic import explain
from learnae.transports.ipfs.dialling import is_dialable

__all__ = [
    "ANYWHERE",
    "LOOPBACK",
    "SWARM_KEY",
    "RepoOptions",
    "check_listen",
    "check_peers",
    "daemon_environment",
    "init_repo",
    "is_repo",
    "network_of",
]

ANYWHERE = "/ip4/0.0.0.0/tcp/0"
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
SWARM_KEY = "swarm.key"
UNFINISHED = "learnae.unfinished"
# Blocks lie in 32 folders. In Kubo's own 1,024 (".../2") a block of a new name nearly always opens
# one that takes 4 KiB, for good: 2.6 MB after 300 models had come and gone. A repo of 10 GB has
# 300 blocks of 1 MiB in each of the 32.
SHARDS = "/repo/flatfs/shard/v1/next-to-last/1"


@dataclass(frozen=True)
class RepoOptions:
    """How a swarm's daemon is set up.

    Attributes
    ----------
    swarm_key_text
        Content of the repo's ``swarm.key`` (`learnae.transports.keys.kubo_swarm_key`); None
        for a daemon in the public network.
    listen
        Multiaddrs to listen at. Port 0 becomes one free port for good: invites name it. None
        keeps what the repo has, or begins with `ANYWHERE`.
    mdns
        Whether to look for daemons in the local network.
    peers
        Multiaddrs, with peer ids, of daemons to stay connected to, beside those it has.
    storage_max
        Size at which the daemon begins to collect what nobody pins.
    """

    swarm_key_text: str | None
    listen: tuple[str, ...] | None = None
    mdns: bool = False
    peers: tuple[str, ...] = ()
    storage_max: str = "10GB"


def is_repo(repo: Path) -> bool:
    """Whether a folder holds a daemon's repo, and all of it."""
    return (repo / "config").is_file() and not (repo / UNFINISHED).exists()


def init_repo(repo: Path, options: RepoOptions) -> bool:
    """Make a repo, or bring an existing one to `options`.

    Returns
    -------
    bool
        Whether anything has changed; a daemon that runs on it does not notice by itself.

    Raises
    ------
    UsageError
        No Kubo, or the repo belongs to another network.
    StateError
        The folder cannot be written.
    """
    new = not is_repo(repo)
    try:
        repo.mkdir(parents=True, exist_ok=True, mode=0o700)
        if new:
            # Stopped half way it would be a repo without key or address, and look whole.
            (repo / UNFINISHED).touch()
            (repo / "config").unlink(missing_ok=True)
            _init(repo)
        _settle_key(repo, options.swarm_key_text, new=new)
        path = repo / "config"
        config = json.loads(path.read_text(encoding="utf-8"))
        before = copy.deepcopy(config)
        _adapt(config, options, new=new)
        if config != before:
            _write_private(path, json.dumps(config, indent=2))
        (repo / UNFINISHED).unlink(missing_ok=True)
        return bool(config != before)
    except OSError as error:
        where = os.fspath(error.filename or repo)
        raise StateError(explain(error, "make the IPFS repo", where)) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StateError(
            f"{repo / 'config'} is damaged ({error}): remove {repo}, `learnae ipfs up` makes it "
            "again"
        ) from error


def daemon_environment(repo: Path, *, private: bool) -> dict[str, str]:
    """Return the environment of commands and daemons on a repo: no telemetry, no way out."""
    environment = {**os.environ, "IPFS_PATH": str(repo.absolute()), "IPFS_TELEMETRY": "off"}
    if private:
        environment["LIBP2P_FORCE_PNET"] = "1"  # refuse to start without the key
    return environment


def _init(repo: Path) -> None:
    # The shape of the block store is settled by the configuration that a repo is made with, and
    # Kubo's command makes both at once: so one repo is made for its configuration alone.
    with tempfile.TemporaryDirectory(prefix="learnae-repo-") as model:
        _run_init(Path(model), repo, "--profile=test")
        config = json.loads((Path(model) / "config").read_text(encoding="utf-8"))
        for mount in config["Datastore"]["Spec"]["mounts"]:
            if mount["type"] == "flatfs":
                mount["shardFunc"] = SHARDS
        path = Path(model) / "changed"
        path.write_text(json.dumps(config), encoding="utf-8")
        _run_init(repo, repo, str(path))


def _run_init(where: Path, repo: Path, argument: str) -> None:
    done = subprocess.run(
        [str(find_binary()), "init", "--empty-repo", argument],
        env=daemon_environment(where, private=False),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UsageError(f"Kubo cannot make its repo in {repo}: {last}")


def _settle_key(repo: Path, text: str | None, *, new: bool) -> None:
    path = repo / SWARM_KEY
    if new:
        if text is not None:
            _write_private(path, text)
        return
    there = path.read_text(encoding="ascii") if path.exists() else None
    if there == text:
        return
    kind = "the public network" if there is None else "another private network"
    wanted = "the public network" if text is None else "this swarm's private network"
    raise UsageError(
        f"the IPFS repo {repo} belongs to {kind}, not to {wanted}: choose another with --repo, "
        "or remove it"
    )


def _adapt(config: dict[str, Any], options: RepoOptions, *, new: bool) -> None:
    private = options.swarm_key_text is not None
    listen = options.listen or ((ANYWHERE,) if new else None)
    if listen is not None:
        there = config["Addresses"]["Swarm"]
        config["Addresses"]["Swarm"] = [_with_port(address, there) for address in listen]
    config["Addresses"]["API"] = "/ip4/127.0.0.1/tcp/0"
    config["Addresses"]["Gateway"] = []
    config["Pubsub"]["Enabled"] = True
    config["Discovery"]["MDNS"]["Enabled"] = options.mdns
    config["Datastore"]["StorageMax"] = options.storage_max
    _add_peers(config, options.peers)
    if private:
        # The profile `test` has no bootstrap, no AutoConf and no NAT port mapping already.
        config["Bootstrap"] = []
        _merge(config, _PRIVATE)
    elif new:
        _merge(config, _PUBLIC)


# QUIC and what is built on it know no private networks. Nothing is looked up or provided: peers
# say in their announcements where they are.
_PRIVATE: Mapping[str, Any] = {
    "AutoConf": {"Enabled": False},
    "AutoTLS": {"Enabled": False},
    "Routing": {"Type": "none", "DelegatedRouters": []},
    "Provide": {"Enabled": False},
    "Ipns": {"DelegatedPublishers": []},
    "Swarm": {
        "DisableNatPortMap": True,
        "RelayClient": {"Enabled": False},
        "RelayService": {"Enabled": False},
        "Transports": {"Network": {"QUIC": False, "WebTransport": False, "WebRTCDirect": False}},
    },
}
_PUBLIC: Mapping[str, Any] = {
    "AutoConf": {"Enabled": True},
    "Bootstrap": ["auto"],
    "DNS": {"Resolvers": {".": "auto"}},
    "Routing": {"Type": "auto", "DelegatedRouters": ["auto"]},
    "Ipns": {"DelegatedPublishers": ["auto"]},
    "Swarm": {"DisableNatPortMap": False},
}


def _merge(config: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping):
            if not isinstance(config.get(key), dict):
                config[key] = {}
            _merge(config[key], value)
        else:
            config[key] = value


def _add_peers(config: dict[str, Any], addresses: Sequence[str]) -> None:
    known = {entry["ID"]: entry for entry in config.get("Peering", {}).get("Peers") or []}
    for address in addresses:
        place, _, peer_id = address.rpartition("/p2p/")
        entry = known.setdefault(peer_id, {"ID": peer_id, "Addrs": []})
        if place not in entry["Addrs"]:
            entry["Addrs"].append(place)
    config["Peering"] = {"Peers": list(known.values())}


# Below the ports that systems give to outgoing connections, where ours would be taken when the
# daemon starts again.
_PORTS = range(20_000, 32_000)


def _with_port(address: str, there: Sequence[str]) -> str:
    """Replace port 0 by the one it has become before, or a free one: the address is to stay."""
    if not address.endswith("/tcp/0"):
        return address
    place = address[:-1]
    for known in there:
        if known.startswith(place) and known != address:
            return known
    for port in (*random.sample(_PORTS, 20), 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return f"{place}{probe.getsockname()[1]}"
    raise OSError(errno.EADDRINUSE, "no port is free")


def _write_private(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(partial, path)


def network_of(repo: Path) -> str | None:
    """Return the text of a repo's swarm key; None in the public network, or out of our sight."""
    try:
        return (repo / SWARM_KEY).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None


def check_listen(addresses: Sequence[str]) -> tuple[str, ...]:
    """Return addresses to listen at, if they are plain TCP multiaddrs.

    Raises
    ------
    UsageError
        One is not.
    """
    for address in addresses:
        if not re.fullmatch(r"/(ip4|ip6)/[0-9a-fA-F.:]+/tcp/\d{1,5}", address):
            raise UsageError(
                f"{address!r} is not an address to listen at: write one like /ip4/0.0.0.0/tcp/4001"
            )
    return tuple(addresses)


def check_peers(addresses: Sequence[str]) -> tuple[str, ...]:
    """Return addresses of daemons, if they can be dialled.

    Raises
    ------
    UsageError
        One is not a TCP multiaddr with a peer id.
    """
    for address in addresses:
        if not is_dialable(address):
            raise UsageError(
                f"{address!r} is not a daemon's address: write one like "
                "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW... (`learnae ipfs status` prints it)"
            )
    return tuple(addresses)
