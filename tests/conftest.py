"""Rules for the suite: seeds that can be repeated, a deadline for each test, no silent skip."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest
from require import require_all

if TYPE_CHECKING:
    from kubo import Kubos

DEADLINE_S = 180.0
_STDERR = pytest.StashKey[int]()

hypothesis.settings.register_profile("dev", deadline=None, print_blob=True)
# The same cases in every run: a failure there can be repeated here.
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
hypothesis.settings.load_profile("ci" if require_all() else "dev")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real stderr: at the deadline a test's own is captured, and lost with it."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        config.stash[_STDERR] = os.dup(2)
        return
    with capture.global_and_fixture_disabled():
        config.stash[_STDERR] = os.dup(2)


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_STDERR])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End the whole run, with every thread's traceback, when one test hangs."""
    marker = item.get_closest_marker("deadline")
    seconds = DEADLINE_S if marker is None else float(marker.args[0])
    faulthandler.dump_traceback_later(seconds, exit=True, file=item.config.stash[_STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let children know SIGINT, which a background job of a shell would pass on as ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def kubos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubos]:
    """Real daemons by name, started when they are first asked for; a module's own."""
    from kubo import Kubos

    made = Kubos(tmp_path_factory.mktemp("kubos"))
    yield made
    made.close()


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not (require_all() and report.skipped) or hasattr(report, "wasxfail"):
        return
    longrepr = report.longrepr
    reason = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    report.outcome = "failed"
    report.longrepr = f"LEARNAE_REQUIRE_ALL=1 forbids to skip: {reason}"
