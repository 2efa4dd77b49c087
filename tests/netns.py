"""Hosts on one machine: a network namespace each, and a bad network between them.

::

    with Network(["a", "b"], Link(rate_bps=20e6, delay_s=0.04, loss=0.01)) as network:
        network["a"].run(["learnae", "--version"])
        daemon = network["b"].start(["ipfs", "daemon"], log=path)
        network.cut("b")
        network["b"].kill(daemon)

Nothing is left behind, whatever happens, and nothing needs to be swept: a host is also a process
namespace whose first process ends when this process does (its standard input closes), and with
it the kernel kills every process in it, daemons that left their parents included; the namespaces
have no names and the devices belong to a process that ends in the same way. So also after
kill -9 of the tests.

A default route leads to an address where nobody is, so that whatever a host tries to send to the
rest of the world is seen on the wire (`Network.flows`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil
from require import need
from wire import Link

__all__ = ["Host", "Link", "Network", "need_namespaces"]

NETWORK = "10.77.0"
NOBODY = f"{NETWORK}.254"
TOOLS = {"ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux"}
UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
# Reaps orphans (an ignored SIGCHLD survives exec) and ends with its standard input.
INIT = ["sh", "-c", "trap '' CHLD; echo ready; exec cat >/dev/null"]
START_DEADLINE_S = 20.0


@functools.cache
def _obstacle() -> str | None:
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            return f"no {tool} (Debian: apt install {package})"
    if not os.path.exists("/dev/net/tun"):
        return "no /dev/net/tun"
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        return f"this user may not make namespaces ({tried.stderr.strip()})"
    return None


def need_namespaces() -> None:
    """Skip the test, with the reason, where hosts cannot be made."""
    obstacle = _obstacle()
    need(obstacle is None, f"no network namespaces: {obstacle}")


class Host:
    """A host: its own interfaces, ports and processes, and the machine's files."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.address = f"{NETWORK}.{number}"
        self.mac = bytes([2, 0, 0, 0, 0, number])
        self._init = subprocess.Popen(
            [*UNSHARE, *INIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._init.stdout is not None
        assert self._init.stdout.readline() == b"ready\n", f"host {name} does not start"
        (child,) = psutil.Process(self._init.pid).children()
        self.pid = child.pid
        self._started: list[subprocess.Popen[bytes]] = []
        self._enter = ["nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", "--"]
        # Files are the machine's, and the working directory is that of who asks.
        self._enter.insert(1, f"--wdns={os.getcwd()}")

    def configure(self) -> None:
        """Set up the interfaces, once the wire has made the device."""
        script = f"""
            echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 || true
            ip link set lo up
            ip link set eth0 address {self.mac.hex(":")}
            ip address add {self.address}/24 dev eth0
            ip link set eth0 up
            ip route add default via {NOBODY}
        """
        self.run(["sh", "-ec", script])

    def command(self, command: Sequence[str | Path], cwd: str | Path | None = None) -> list[str]:
        """Return `command` as it is to be started from outside."""
        enter = list(self._enter)
        if cwd is not None:
            enter[1] = f"--wdns={os.fspath(cwd)}"
        return [*enter, *map(os.fspath, command)]

    def run(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        timeout_s: float = 60.0,
        check: bool = True,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; with `check`, its output is in the failure."""
        done = subprocess.run(
            self.command(command, cwd),
            env=_environment(env),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            input=input,
        )
        if check:
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def start(
        self,
        command: Sequence[str | Path],
        *,
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command; what it prints goes to the end of the file `log`."""
        with contextlib.ExitStack() as stack:
            output: int | IO[bytes] = subprocess.DEVNULL
            if log is not None:
                output = stack.enter_context(log.open("ab"))
            process = subprocess.Popen(
                self.command(command, cwd),
                env=_environment(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._started.append(process)
        return process

    def signal(self, process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        """Send a signal to what `start` started: the child of nsenter, which waits for it."""
        for child in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(number)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill -9 and wait."""
        self.signal(process, signal.SIGKILL)
        process.wait(START_DEADLINE_S)

    def stop(self, process: subprocess.Popen[bytes], timeout_s: float = 30.0) -> int:
        """Send SIGTERM, wait, and return the exit code."""
        self.signal(process, signal.SIGTERM)
        return process.wait(timeout_s)

    def processes(self) -> Iterator[psutil.Process]:
        """Yield what runs on the host, its first process left out."""
        space = os.readlink(f"/proc/{self.pid}/ns/pid")
        for process in psutil.process_iter():
            with contextlib.suppress(OSError):
                if process.pid != self.pid and os.readlink(f"/proc/{process.pid}/ns/pid") == space:
                    yield process

    def listening(self) -> list[str]:
        """Return the local addresses, such as ``127.0.0.1:5001``, at which sockets wait."""
        lines = self.run(["ss", "-Hlntu"]).stdout.splitlines()
        return sorted({line.split()[4] for line in lines})

    def close(self) -> None:
        """End the host and everything on it."""
        assert self._init.stdin is not None and self._init.stdout is not None
        self._init.stdin.close()
        self._init.stdout.close()
        try:
            self._init.wait(START_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._init.kill()  # and, by --kill-child, the host
            self._init.wait()
        for process in self._started:
            process.wait(START_DEADLINE_S)


def _environment(env: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if env is None else {**os.environ, **env}


class Network:
    """Hosts by name, and the wire between them.

    Parameters
    ----------
    names
        Of the hosts.
    link
        How bad each host's link is; `links` overrules it for single hosts.
    seed
        Decides which frames are lost.
    """

    def __init__(
        self,
        names: Sequence[str],
        link: Link | None = None,
        *,
        links: Mapping[str, Link] | None = None,
        seed: int = 0,
    ) -> None:
        need_namespaces()
        self._link, self._links, self._seed = link or Link(), links or {}, seed
        self.hosts: dict[str, Host] = {}
        self._wire: subprocess.Popen[str] | None = None
        try:
            for number, name in enumerate(names, 1):
                self.hosts[name] = Host(name, number)
            self._start_wire()
            for host in self.hosts.values():
                host.configure()
        except BaseException:
            self.close()
            raise

    def _start_wire(self) -> None:
        hosts = [
            {
                "name": host.name,
                "pid": host.pid,
                "mac": host.mac.hex(),
                "link": dataclasses.asdict(self._links.get(host.name, self._link)),
            }
            for host in self.hosts.values()
        ]
        script = str(Path(__file__).with_name("wire.py"))
        self._wire = subprocess.Popen(
            [sys.executable, script, json.dumps(self._seed), *map(json.dumps, hosts)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def _answer(self) -> object:
        assert self._wire is not None and self._wire.stdout is not None
        line = self._wire.stdout.readline()
        assert line, "the wire broke"
        return json.loads(line)

    def _order(self, **order: object) -> object:
        assert self._wire is not None and self._wire.stdin is not None
        self._wire.stdin.write(json.dumps(order) + "\n")
        self._wire.stdin.flush()
        return self._answer()

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def cut(self, name: str) -> None:
        """Pull a host's plug: from now on nothing leaves or reaches it."""
        self._order(host=name, up=False)

    def mend(self, name: str) -> None:
        """Put the plug in again."""
        self._order(host=name, up=True)

    def flows(self) -> dict[str, int]:
        """Return how many packets hosts sent to where: ``tcp ADDRESS:PORT``, ``arp ADDRESS``.

        Of a packet's two ports the lower one is named.
        """
        answer = self._order(flows=True)
        assert isinstance(answer, dict)
        return answer

    def dropped(self) -> dict[str, int]:
        """Return how many packets were lost at each host's end of the wire."""
        answer = self._order(dropped=True)
        assert isinstance(answer, dict)
        return answer

    def close(self) -> None:
        """End hosts and wire; may be called again."""
        for host in self.hosts.values():
            host.close()
        self.hosts = {}
        if self._wire is not None:
            assert self._wire.stdin is not None and self._wire.stdout is not None
            self._wire.stdin.close()
            self._wire.wait(START_DEADLINE_S)
            self._wire.stdout.close()
            self._wire = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
