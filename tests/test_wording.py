"""Numbers and their nouns, in the messages and lines that have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from learnae.cli.join import describe
from learnae.cli.statusfile import read_status
from learnae.wording import count


@pytest.mark.parametrize(
    ("n", "words"),
    [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1,200 rows")],
)
def test_a_number_and_its_noun(n: int, words: str) -> None:
    assert count(n, "row") == words


@pytest.mark.parametrize(
    ("n", "words"),
    [(1, "1 peer remembered, 1 model in"), (2, "2 peers remembered, 2 models in")],
)
def test_a_peers_line(tmp_path: Path, n: int, words: str) -> None:
    said = (
        f'{{"state": "training", "role": "trainer", "round": 3, "n_peers": {n}, "n_merged": {n}}}'
    )
    (tmp_path / "status.json").write_text(said)
    status = read_status(tmp_path)
    assert status is not None and words in describe(status)
