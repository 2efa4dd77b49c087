"""Content identifiers, against a real Kubo and against an encoder that shares no code."""

from __future__ import annotations

import hashlib
import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.transports.cid import (
    CHUNK_NBYTES,
    blocks_of,
    cid_from_text,
    cid_of,
    cid_text,
    is_cid,
    leaf_of,
)

# Printed by Kubo 0.43.0 for a file with the first n bytes of SHAKE-256("learnae"):
#   ipfs add -Q --only-hash --cid-version=1 --raw-leaves --chunker=size-<chunk> <file>
# Chunks of 64 bytes make trees of two and three levels without objects of 174 MiB and 30 GiB.
KUBO = [
    (0, 1048576, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
    (1, 1048576, "bafkreid4w7cfi7hsmu2zbv5jvttazrrd2jiurlp3zcfitlvq56enu6bzxi"),
    (1048575, 1048576, "bafkreigpsu532khzqda6tueig3umof2kl77ph66kbkp3c6j2nhml5gvnqy"),
    (1048576, 1048576, "bafkreid6xuqzhhcjjweujvidhl5ctsvpeuy7uthzkqa445jcsqnvswxnwq"),
    (1048577, 1048576, "bafybeiequuw4tq7542nyom7csemol6rot25akw63aqjko2xoavgxydgoma"),
    (2097152, 1048576, "bafybeiaosfqyjczai7y7s5pyheupalri37bokfsgziqk67a374hufiozpu"),
    (5255225, 1048576, "bafybeidbk4jxrqlx7fkctno4mhtmeg4cfkyqvhafiuhnvjai3sskkbhiiq"),
    (64, 64, "bafkreia4hsmwcxpaajuchvhi4ckfuddfbkzzfmaz372ebkuogrsa3rn4wi"),
    (65, 64, "bafybeif236wihsjtbnl4prmo24ybucf3lobf73wifll63jw6nvugbau7q4"),
    (128, 64, "bafybeigbe3uyydzc3l2s5dg76uw5gne7qha2gkqptmag5l4c2j6e4bjohm"),
    (174 * 64, 64, "bafybeifh7sswvtlnzjtqjptyk3ejvyjuzoq45frfenilk3zbxu3yy6bhle"),
    (174 * 64 + 1, 64, "bafybeign4fa3wjpy6ckn62ykx5k5d5pqqmzhzbcy7t7dlm3m3d4zdsyfvi"),
    (175 * 64, 64, "bafybeieu2azgocygaauod4iuoumgexetw76zp6uvixfohlvt45n7nxrbae"),
    (348 * 64, 64, "bafybeid3nnudskbkqvpg7zfbnrdwapsijtcvbt5b3n7wfmvdr6oal2aj4i"),
    (348 * 64 + 1, 64, "bafybeih3xesoyz5ctf7mxmk37ghuozpf2fbcbynosumj6dzhqo25sgq7fi"),
    (174 * 174 * 64, 64, "bafybeidkxewv2bq3cj77jrbu34oonhvtcph3ookfph6yuwsqzvxmtm5p7m"),
    (174 * 174 * 64 + 1, 64, "bafybeihfo7lj2rfste3dzfs3sywm3d2yp2qv34oqoasnw2gnsqofbk43em"),
    ((174 * 174 + 175) * 64, 64, "bafybeictcn43eq4kuvdchytj3amn57ik5f74c46a322lyqxxtjxe6rjiiy"),
]
HELLO = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"  # widely published


def sample(n: int) -> bytes:
    return hashlib.shake_256(b"learnae").digest(n)


@pytest.mark.parametrize(("n", "chunk", "expected"), KUBO)
def test_as_kubo(n: int, chunk: int, expected: str) -> None:
    assert cid_text(cid_of(sample(n), chunk_nbytes=chunk)) == expected


def test_the_blocks_of_an_object() -> None:
    """Leaves, then the nodes over them, level by level: 175 chunks need two nodes and a root."""
    data, chunk = sample(175 * 64), 64
    leaves = [leaf_of(memoryview(data)[i : i + chunk]) for i in range(0, len(data), chunk)]
    blocks = blocks_of(leaves)
    assert len(blocks) == len(set(blocks)) == 175 + 2 + 1
    assert blocks[:175] == [leaf.cid for leaf in leaves]
    assert blocks[-1] == cid_of(data, chunk_nbytes=chunk)
    assert blocks[175] == cid_of(data[: 174 * chunk], chunk_nbytes=chunk)
    assert blocks[176][:2] == b"\x01\x70", "a node, though there is but one leaf below it"
    assert blocks_of(leaves[:1]) == [leaves[0].cid]


def test_published_cid() -> None:
    assert cid_text(cid_of(b"hello world")) == HELLO
    assert cid_from_text(HELLO)[4:] == hashlib.sha256(b"hello world").digest()


def _protobuf(*fields: tuple[int, int | bytes]) -> bytes:
    """Write a message the slow way: every varint digit by digit in base 128."""

    def varint(n: int) -> list[int]:
        digits = [n % 128]
        while n := n // 128:
            digits.append(n % 128)
        return [d + 128 for d in digits[:-1]] + digits[-1:]

    out: list[int] = []
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number * 8) + varint(value)
        else:
            out += varint(number * 8 + 2) + varint(len(value)) + list(value)
    return bytes(out)


def test_as_written_down_by_hand() -> None:
    a, b = sample(CHUNK_NBYTES + 300)[:CHUNK_NBYTES], sample(CHUNK_NBYTES + 300)[CHUNK_NBYTES:]
    links = [
        (2, _protobuf((1, b"\x01\x55\x12\x20" + hashlib.sha256(part).digest()), (2, b""), (3, n)))
        for part, n in ((a, 1048576), (b, 300))
    ]
    node = _protobuf(*links, (1, _protobuf((1, 2), (3, 1048876), (4, 1048576), (4, 300))))
    assert cid_of(a + b) == b"\x01\x70\x12\x20" + hashlib.sha256(node).digest()


def test_any_buffer_gives_the_same_and_is_released() -> None:
    data = sample(CHUNK_NBYTES + 5)
    mapped = mmap.mmap(-1, len(data))
    mapped[:] = data
    array = bytearray(data)
    for buffer in (data, array, memoryview(data), memoryview(array).cast("B"), mapped):
        assert cid_of(buffer) == cid_of(data)
    array.append(0)  # raises BufferError while anything still looks at it
    mapped.close()


@given(st.binary(max_size=600), st.integers(1, 70), st.integers(2, 5))
def test_one_bit_changes_it(data: bytes, chunk: int, links: int) -> None:
    cid = cid_of(data, chunk_nbytes=chunk, n_links=links)
    assert is_cid(cid)
    assert cid_from_text(cid_text(cid)) == cid
    if data:
        other = bytearray(data)
        other[len(data) // 2] ^= 1
        assert cid_of(other, chunk_nbytes=chunk, n_links=links) != cid
    assert cid_of(data + b"\0", chunk_nbytes=chunk, n_links=links) != cid


@given(st.text() | st.text(alphabet="abcdefghijklmnopqrstuvwxyz234567", min_size=58, max_size=60))
def test_any_text_is_a_cid_or_a_value_error(text: str) -> None:
    for candidate in (text, "b" + text, "bafkrei" + text[:52]):
        try:
            cid = cid_from_text(candidate)
        except ValueError as error:
            assert "\n" not in str(error)
        else:
            assert cid_text(cid) == candidate


@pytest.mark.parametrize(
    "text",
    [
        "",
        HELLO.upper(),
        HELLO[:-1],
        HELLO + "a",
        HELLO[:-1] + "f",  # differs only in bits that the last character does not use
        "z" + HELLO[1:],
        "Qm" + "a" * 44,
        "../../etc/passwd",
        HELLO.replace("bafkrei", "bafkrmi"),  # another hash function
        HELLO[:30] + "\n" + HELLO[31:],
        HELLO[:30] + "ſ" + HELLO[31:],  # noqa: RUF001 - upper() makes an S of it
    ],
)
def test_not_a_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not a CID"):
        cid_from_text(text)
