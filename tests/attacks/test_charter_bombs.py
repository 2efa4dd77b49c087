"""Attack: hand over a charter that hangs or blows up its reader.

A charter comes from somebody else, by mail or from a web page. TOML readers have their own
weaknesses: the standard library's needs time quadratic in the parts of a dotted key (minutes
for 256 KiB), and recursion for nested arrays. Each of these ends at once, in one line.
"""

from __future__ import annotations

import time

import pytest

from learnae.errors import CharterError
from learnae.swarm.charter import MAX_CHARTER_NBYTES, parse_charter

N = MAX_CHARTER_NBYTES
BOMBS = {
    "dotted key": "a." * (N // 2 - 8) + "a=1",
    "dotted header": "[" + "a." * (N // 2 - 8) + "a]",
    "dotted key with blanks": "a . " * (N // 4 - 8) + "a=1",
    "dotted key with tabs": "a\t.\t" * (N // 4 - 8) + "a=1",
    "quoted dotted key": '"a".' * (N // 4 - 8) + "a=1",
    "quoted dotted key with equal signs": '"=".' * (N // 4 - 8) + "a=1",
    "literal dotted key with commas": "','." * (N // 4 - 8) + "a=1",
    "mixed dotted key": "a.'='." * (N // 6 - 8) + "a=1",
    "dotted key in a table": "x={" + "a." * (N // 2 - 8) + "a=1}",
    "many dotted keys": "\n".join("a." * 30 + f"k{i}=1" for i in range(N // 72)),
    "many dotted headers": "\n".join("[" + "a." * 30 + f"k{i}]" for i in range(N // 72)),
    "nested arrays": "a=" + "[" * (N - 2),
    "nested arrays, closed": "a=" + "[" * (N // 2 - 2) + "]" * (N // 2 - 2),
    "nested tables": "a=" + "{a=" * (N // 3 - 1),
    "long integer": "a=" + "9" * (N - 2),
    "long hexadecimal": "a=0x" + "f" * (N - 4),
    "long float": "a=1." + "9" * (N - 4),
    "large exponent": "[swarm]\nname='x'\nseed=1e999999999",
    "escapes": 'a="' + "\\u0041" * (N // 6 - 2) + '"',
    "open text": 'a="""' + "x" * (N - 6),
    "blanks": " " * N,
    "blank words": "a " * (N // 2),
    "carriage returns": "\r" * N,
    "comments": "#\n" * (N // 2),
    "dots": "# " + "." * (N - 3),
    "sections": "".join(f"[a{i}]\n" for i in range(N // 10)),
    "arrays of tables": "[[a]]\n" * (N // 6),
    "a long unknown key": "[swarm]\n" + "n" * (N - 20) + "=1",
    "a long unknown section": "[" + "g" * (N - 20) + "]",
    "a long list": "[swarm]\nname='x'\nmembers=[" + "1," * (N // 2 - 20) + "]",
    "many options": "[swarm]\nname='x'\n[model.options]\n"
    + "".join(f"a{i}=1\n" for i in range(N // 10)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_it_ends_at_once_in_one_line(name: str) -> None:
    text = BOMBS[name]
    assert len(text) <= N
    start = time.process_time()
    with pytest.raises(CharterError) as caught:
        parse_charter(text)
    assert time.process_time() - start < 5.0  # measured: below 0.5 s; without the guard minutes
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_more_than_the_cap_is_not_looked_at() -> None:
    with pytest.raises(CharterError, match="at most 262,144"):
        parse_charter(b"\xff" * (N + 1))


def test_the_guard_lets_honest_files_pass() -> None:
    numbers = ", ".join(f"{i / 7:.6f}" for i in range(1000))
    parse_charter(
        '[swarm]\nname = "v1.2.3.4.5.6.7.8.9"\n'
        "# .................................................................\n"
        "# See sections 1.2. and 3.4. of the notes. They explain it. Or do they. Yes.\n"
        f"[data]\nmean = [{numbers}]\nstd = [{numbers.replace('0.000000', '1.0')}]\n"
        '[model.options]\nhost = "a.b.c.d.e.f.g.h.i.j"\n'
    )
