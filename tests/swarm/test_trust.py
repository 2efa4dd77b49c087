"""Identities, signatures and the pseudo-random choice."""

from __future__ import annotations

from collections import Counter

import pytest
from swarm.actors import identity

from learnae.errors import IdentityError
from learnae.swarm.topology import choose
from learnae.swarm.trust import Identity, is_peer_id, peer_id_of, public_key_of, short, verify


def test_the_key_of_rfc_8032() -> None:
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    signature = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
        "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    me = Identity.from_private_bytes(secret)
    assert public_key_of(me.peer_id) == public and peer_id_of(public) == me.peer_id
    assert me.sign(b"") == signature and verify(me.peer_id, b"", signature)
    assert me.private_bytes() == secret


def test_a_peer_id_has_one_spelling() -> None:
    peer_id = identity(0).peer_id
    assert len(peer_id) == 52 and peer_id.islower() and is_peer_id(peer_id)
    assert peer_id.startswith(short(peer_id)) and len(short(peer_id)) == 8
    last = "abcdefghijklmnopqrstuvwxyz234567"
    spellings = [peer_id[:-1] + end for end in last if is_peer_id(peer_id[:-1] + end)]
    assert len(spellings) == 2  # the last character carries one bit, its other four are zero
    for wrong in (peer_id.upper(), peer_id + "=", peer_id[:-1], "", "ü" * 52, "1" * 52):
        assert not is_peer_id(wrong)
    with pytest.raises(ValueError, match="is not a peer id"):
        public_key_of("x" * 100_000)


def test_signatures_hold_for_one_key_and_one_message() -> None:
    signature = identity(0).sign(b"message")
    assert verify(identity(0).peer_id, b"message", signature)
    assert not verify(identity(1).peer_id, b"message", signature)
    assert not verify(identity(0).peer_id, b"massage", signature)
    assert not verify(identity(0).peer_id, b"message", signature[:-1])
    assert not verify("nobody", b"message", signature)


def test_identities_are_new_and_keep_their_secret() -> None:
    a, b = Identity.generate(), Identity.generate()
    assert a.peer_id != b.peer_id
    assert repr(a) == f"Identity({a.peer_id})"
    assert Identity.from_private_bytes(a.private_bytes()).peer_id == a.peer_id
    with pytest.raises(IdentityError, match="has 32 bytes, this one has 31: restore"):
        Identity.from_private_bytes(bytes(31))


def test_the_choice_depends_on_who_and_when_and_nothing_else() -> None:
    candidates = [f"peer {i}" for i in range(9)]
    first = choose("me", 1, candidates, 3)
    assert first == choose("me", 1, reversed(candidates), 3) == choose("me", 1, candidates * 2, 3)
    assert len(set(first)) == 3
    assert choose("me", 1, candidates, 100)[:3] == first
    assert first != choose("me", 2, candidates, 3) and first != choose("you", 1, candidates, 3)
    assert choose("me", 1, candidates, 0) == choose("me", 1, candidates, -1) == []


def test_the_choice_is_fair() -> None:
    candidates = [f"peer {i}" for i in range(10)]
    counts = Counter(c for r in range(2000) for c in choose("me", r, candidates, 2))
    assert min(counts.values()) > 340 and max(counts.values()) < 460  # 400 expected, sigma 18
