"""The charter: strict reading, one line for each mistake, one digest for equal content."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from libipld import encode_dag_cbor
from swarm.actors import identity

from learnae.errors import CharterError
from learnae.swarm.charter import (
    CODECS,
    MAX_CHARTER_NBYTES,
    Charter,
    DataSection,
    GossipSection,
    ModelSection,
    TrainingSection,
    dump_charter,
    parse_charter,
)

DOC = Path(__file__).parents[2] / "docs" / "protocol.md"
GOLDEN = "457780646c14d21d338bf939b4e5ba33ec8dae92f966a8330dedd1580b558524"
MINIMAL = '[swarm]\nname = "test"\n'

names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=16)
name_lists = st.lists(names, max_size=4, unique=True)
scalars = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
values = scalars | st.lists(scalars | st.lists(scalars, max_size=2), max_size=3)
option_names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


@st.composite
def charters(draw: st.DrawFn) -> Charter:
    columns = draw(name_lists)
    scaled = bool(columns) and draw(st.booleans())
    numbers = st.floats(-1e6, 1e6)
    return Charter(
        name=draw(names),
        seed=draw(st.integers(0, 2**32 - 1)),
        members=tuple(identity(i).peer_id for i in draw(st.sets(st.integers(0, 4)))),
        model=ModelSection(
            draw(st.sampled_from(["mlp", "net.py:make", "a-b.c.py:_f2"])),
            draw(st.dictionaries(option_names, values, max_size=4)),
        ),
        data=DataSection(
            label=draw(st.none() | names.filter(lambda name: name not in columns)),
            columns=tuple(columns),
            classes=tuple(draw(name_lists)),
            mean=tuple(draw(numbers) for _ in columns) if scaled else None,
            std=tuple(draw(st.floats(1e-6, 1e6)) for _ in columns) if scaled else None,
        ),
        training=TrainingSection(
            learning_rate=draw(st.floats(1e-9, 1e3)),
            steps=draw(st.integers(1, 2**20)),
            cooldown=draw(st.floats(0, 1)),
            min_seconds=draw(st.integers(0, 86400) | st.floats(0, 86400)),
            drift_correction=draw(st.booleans()),
        ),
        gossip=GossipSection(
            codec=draw(st.sampled_from(CODECS)),
            decay=draw(st.floats(0, 1, exclude_min=True)),
            max_clock_skew_s=draw(st.floats(1, 1e9)),
        ),
    )


@given(charters())
@settings(max_examples=200)
def test_what_is_dumped_is_parsed(charter: Charter) -> None:
    text = dump_charter(charter)
    again = parse_charter(text)
    assert again == charter and hash(again) == hash(charter)
    assert again.content() == charter.content()
    assert parse_charter(text.encode()) == charter
    assert dump_charter(again) == text


@given(charters(), charters())
@settings(max_examples=40)
def test_equal_swarms_have_equal_content(a: Charter, b: Charter) -> None:
    assert (a.swarm_id == b.swarm_id) == (dump_charter(a) == dump_charter(b))


def test_defaults_are_those_of_the_document() -> None:
    charter = parse_charter(MINIMAL)
    assert charter == Charter(name="test")
    rows = re.findall(r"^\| `(\w+)\.(\w+)` \|[^|]*\|[^|]*\| ([^|]*) \|", DOC.read_text(), re.M)
    content = charter.content()
    assert [(s, k) for s, k, _ in rows] == [(s, k) for s in content for k in content[s]]
    for section, key, default in rows:
        value = content[section][key]
        written = default.strip().strip("`")
        if written == "-":
            continue
        if written in ("absent", "empty"):
            assert value is None or value == {}
        elif isinstance(value, str):
            assert value == written
        else:
            found = tomllib.loads(f"v = {written}")["v"]
            assert (tuple(found) if isinstance(found, list) else found) == value
            assert type(found) is not int or type(value) is int


def test_the_digest_is_that_of_the_document() -> None:
    content: dict[str, Any] = {"charter": 1, **Charter(name="test").content()}
    for section in ("swarm", "data"):
        content[section] = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in content[section].items()
        }
    expected = hashlib.sha256(encode_dag_cbor(content)).digest()
    assert Charter(name="test").swarm_id == expected
    # A golden value: were it to change, every existing swarm would fall apart.
    assert expected.hex() == GOLDEN
    assert Charter(name="test").topic == f"learnae/1/{expected.hex()}"


def test_what_does_not_make_another_swarm() -> None:
    a, b = sorted((identity(0).peer_id, identity(1).peer_id))
    plain = f'[swarm]\nname = "x"\nmembers = ["{a}", "{b}"]\n[training]\nmin_seconds = 1\n'
    other = (
        f"\ufeff# a comment\n[training]\r\nmin_seconds=1.0 # another\n\n[gossip]\nfan_in = 0x2\n"
        f'[swarm]\nmembers = ["{b}",\n"{a}"]\n  name = \'x\'\nseed = 0\n'
    )
    assert parse_charter(plain) == parse_charter(other)
    assert parse_charter(plain) != parse_charter(plain + "steps = 21")
    assert parse_charter(plain) != "x"


def test_equality_tells_types_apart() -> None:
    def with_option(value: object) -> Charter:
        return Charter(name="x", model=ModelSection("mlp", {"a": value}))

    assert len({with_option(1), with_option(1.0), with_option(True), with_option("1")}) == 4
    assert with_option(0.0) == with_option(-0.0)
    assert with_option([1, [2]]) == with_option((1, (2,)))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", r'swarm\.name is missing: write name = "\.\.\." under \[swarm\]'),
        (MINIMAL + "[gosip]", r"unknown section \[gosip\]: did you mean \[gossip\]\?"),
        (MINIMAL + "[qqqqqq]", r"unknown section \[qqqqqq\]: known are \[swarm\], \[model\]"),
        (MINIMAL + "sede = 1", r"unknown key swarm\.sede: did you mean seed\?"),
        (MINIMAL + "[training]\nlearningrate = 1", r"did you mean learning_rate\?"),
        (MINIMAL + "[data]\nzz = 1", r"unknown key data\.zz: known are label, columns"),
        ("swarm = 3", r"swarm must be a section: write \[swarm\]"),
        (MINIMAL + "[[gossip]]\nfan_in = 1", r"gossip must be a section"),
        (MINIMAL + 'seed = "1"', r'swarm\.seed is "1", but must be an integer from 0 to'),
        (MINIMAL + "seed = 1.0", r"swarm\.seed is 1\.0, but must be an integer"),
        (MINIMAL + "seed = true", r"swarm\.seed is True, but must be an integer"),
        (MINIMAL + "seed = -1", r"swarm\.seed is -1, but must be an integer from 0 to 4,294"),
        (MINIMAL + 'members = ["me"]', r"swarm\.members .*each once, every one a peer id"),
        (MINIMAL + "members = [1]", r"swarm\.members is \[1\], but must be a list"),
        (MINIMAL + "[training]\nbatch = 0", r"training\.batch is 0, but must be an integer from 1"),
        (MINIMAL + "[training]\nlearning_rate = 0", r"must be a number above 0, at most 1000"),
        (MINIMAL + "[training]\nlearning_rate = nan", r"learning_rate is nan, but must be"),
        (MINIMAL + "[training]\nmin_seconds = inf", r"min_seconds is inf, but must be"),
        (MINIMAL + "[training]\ndrift_correction = 1", r"is 1, but must be true or false"),
        (MINIMAL + "[training]\noptimizer = 'A B'", r'optimizer is "A B", but must be'),
        (MINIMAL + "[gossip]\ncodec = 'i5'", r'codec is "i5", but must be one of "f32", "bf16"'),
        (MINIMAL + "[gossip]\ndecay = 1.5", r"decay is 1\.5, but must be a number above 0"),
        (MINIMAL + "[gossip]\nfan_in = 9999999999999999999999", r"gossip\.fan_in is 99999"),
        (MINIMAL + "[gossip]\nmix_rate = 9" + "9" * 400, r"gossip\.mix_rate is 999.*\.\.\."),
        (MINIMAL + "[model]\nfactory = 'os.system'", r"model\.factory .*beside the charter"),
        (MINIMAL + "[model]\nfactory = '../m.py:f'", r"model\.factory .*beside the charter"),
        (MINIMAL + "[model]\nfactory = '/tmp/m.py:f'", r"model\.factory .*beside the charter"),
        (MINIMAL + "[model]\nfactory = 'a..b.py:f'", r"model\.factory .*beside the charter"),
        (MINIMAL + "[model]\nfactory = 'C:m.py:f'", r"model\.factory .*beside the charter"),
        (MINIMAL + "[model]\nfactory = 'm.py:f.g'", r"model\.factory .*beside the charter"),
        (MINIMAL + '[model]\nfactory = "m.py:f\\n"', r"model\.factory .*beside the charter"),
        (MINIMAL + "[model.options]\na-b = 1", r"model\.options .*keyword arguments"),
        (MINIMAL + "[model.options]\nwhen = 2020-01-01", r"model\.options .*keyword arguments"),
        (MINIMAL + "[model.options]\na = {b = 1}", r"model\.options .*keyword arguments"),
        (MINIMAL + "[model.options]\na = [[[[[1]]]]]", r"model\.options .*keyword arguments"),
        (MINIMAL + "[data]\ncolumns = ['a', 'a']", r"data\.columns .*each once"),
        (MINIMAL + "[data]\ncolumns = ['a', '']", r"data\.columns .*printable"),
        (MINIMAL + "[data]\nlabel = 'a'\ncolumns = ['a']", r'contains the label "a": remove it'),
        (MINIMAL + "[data]\nmean = [1.0]", r"data\.mean and data\.std belong together"),
        (MINIMAL + "[data]\nmean = []\nstd = []", r"data\.mean has 0 and data\.std 0 entries"),
        (
            MINIMAL + "[data]\ncolumns = ['a']\nmean = [1, 2]\nstd = [1, 2]",
            r"data\.mean has 2 and data\.std 2 entries, but must have one for each of the 1",
        ),
        (MINIMAL + "[data]\nmean = [1]\nstd = [0]", r"data\.std is \[0\], but must be"),
        (MINIMAL + "name = 'twice'", r"not valid TOML: Cannot overwrite a value"),
        ("[swarm\n", r"not valid TOML: .*line 1"),
        ('[swarm]\nname = "a\\u0000b"', r"swarm\.name .*printable"),
        ('[swarm]\nname = " "', r"swarm\.name .*printable"),
        (f'[swarm]\nname = "{"é" * 33}"', r"swarm\.name .*1 to 64 printable bytes"),
        (b"[swarm]\nname = '\xff'", r"the charter is not UTF-8 text \(byte 16\)"),
        ("é" * (MAX_CHARTER_NBYTES // 2 + 1), r"the charter has 262,146 bytes"),
        ("#" * (MAX_CHARTER_NBYTES + 1), r"the charter has 262,145 bytes, at most 262,144"),
    ],
)
def test_a_mistake_gives_one_line(text: str | bytes, line: str) -> None:
    with pytest.raises(CharterError, match=line) as caught:
        parse_charter(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_the_same_rules_hold_in_python() -> None:
    with pytest.raises(CharterError, match=r"gossip.fan_in is 0, but must be"):
        GossipSection(fan_in=0)
    with pytest.raises(CharterError, match=r"swarm.name"):
        Charter(name="\ud800")
    with pytest.raises(CharterError, match=r"training.steps"):
        replace(TrainingSection(), steps=-1)
    with pytest.raises(CharterError, match=r"model.options"):
        ModelSection("mlp", {"f": print})
    with pytest.raises(TypeError, match="gossip must be a GossipSection"):
        Charter(name="x", gossip=None)  # type: ignore[arg-type]


def test_every_key_explains_itself() -> None:
    text = dump_charter(Charter(name="x"))
    for section in (Charter, *Charter.SECTIONS.values()):
        for key in fields(section):
            if "about" in key.metadata:
                assert f"# {key.metadata['about']}" in text or key.metadata["about"] in text
    assert text.count("# ") > 25


def test_a_charter_too_large_to_read_is_not_written() -> None:
    columns = tuple(f"{i:04}" + '"' * 60 for i in range(4096))
    with pytest.raises(CharterError, match="would have more than 262,144 bytes: name fewer"):
        dump_charter(Charter(name="x", data=DataSection(columns=columns)))


def test_only_members_are_admitted() -> None:
    charter = Charter(name="x", members=(identity(1).peer_id,))
    assert charter.admits(identity(1).peer_id)
    assert not charter.admits(identity(2).peer_id)
    assert Charter(name="x").admits(identity(2).peer_id)
