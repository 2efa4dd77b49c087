"""The invite: one string that is all another machine needs to find and join a swarm.

``learnae1_`` followed by base64url (RFC 4648, without padding) of

    canonical DAG-CBOR {"addresses", "charter", "key", "swarm"}  +  4 bytes of its SHA-256

so it has no character that a shell, a URL or a double click treats specially. Whoever has it
can read all that the swarm publishes: it is as secret as the key in it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field

from learnae.errors import InviteError
from learnae.swarm import dagcbor
from learnae.swarm.fields import fit_addresses, is_digest, is_payload_cid

__all__ = ["Invite", "decode_invite", "encode_invite", "looks_like_invite"]

_PREFIX = "learnae1_"
_ANY_VERSION = re.compile(r"learnae(\d+)_")
_CHECK_NBYTES = 4
# Everything but the addresses is below 200 bytes, the addresses are at most 561: 1,100 letters.
_MAX_LENGTH = 1200
_KEYS = frozenset({"addresses", "charter", "key", "swarm"})
_AGAIN = "copy all of it again, or ask for a new one (learnae invite)"


@dataclass(frozen=True)
class Invite:
    """What an invite says.

    Attributes
    ----------
    swarm_id
        32 bytes; the charter's digest, which its text is checked against.
    charter
        Binary CID of the charter's text, sealed with the key.
    key
        The swarm key, 32 bytes.
    addresses
        Multiaddrs of members' daemons, best first; as many as an announcement may have.
    """

    swarm_id: bytes
    charter: bytes
    key: bytes = field(repr=False)
    addresses: tuple[str, ...]


def looks_like_invite(text: str) -> bool:
    """Tell whether somebody means an invite by this text, of whatever version, whole or not."""
    return _ANY_VERSION.match(text.strip()) is not None


def encode_invite(invite: Invite) -> str:
    """Write an invite; addresses for which there is no room are left out.

    Raises
    ------
    ValueError
        A field is not what `Invite` says.
    """
    if not (is_digest(invite.swarm_id) and is_digest(invite.key)):
        raise ValueError("an invite's swarm id and key have 32 bytes each")
    if not is_payload_cid(invite.charter):
        raise ValueError("an invite's charter is the CID of an object")
    content = {
        "addresses": list(fit_addresses(invite.addresses)),
        "charter": dagcbor.Link(invite.charter),
        "key": invite.key,
        "swarm": invite.swarm_id,
    }
    data = dagcbor.encode(content)
    text = base64.urlsafe_b64encode(data + _check(data)).decode("ascii")
    return _PREFIX + text.rstrip("=")


def decode_invite(text: str) -> Invite:
    """Read an invite; white space anywhere in it (a mail's line ends) is ignored.

    Raises
    ------
    InviteError
        For any other text, in one line that says what to do.
    """
    compact = "".join(text.split())
    version = _ANY_VERSION.match(compact)
    if version is None:
        raise InviteError(f"this is not an invite (learnae1_...): {_AGAIN}")
    if not compact.startswith(_PREFIX):
        raise InviteError(
            f"this invite is of version {version[1][:8]}, this learnae reads version 1: "
            "install the version that made it"
        )
    if len(compact) > _MAX_LENGTH:
        raise InviteError(f"this invite has {len(compact):,} letters, too many: {_AGAIN}")
    data = _checked(compact[len(_PREFIX) :])
    try:
        invite = _from_content(dagcbor.decode(data))
        if encode_invite(invite) == compact:
            return invite
    except ValueError:
        pass
    raise InviteError("this invite is whole, but not one that learnae makes")


def _check(data: bytes) -> bytes:
    return hashlib.sha256(b"learnae/invite/1\n" + data).digest()[:_CHECK_NBYTES]


def _checked(letters: str) -> bytes:
    try:
        raw = base64.b64decode(letters + "=" * (-len(letters) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InviteError(f"this invite is damaged or cut short: {_AGAIN}") from error
    data, check = raw[:-_CHECK_NBYTES], raw[-_CHECK_NBYTES:]
    if _check(data) != check:
        raise InviteError(f"this invite is damaged or cut short: {_AGAIN}")
    return data


def _from_content(content: object) -> Invite:
    if not isinstance(content, dict) or content.keys() != _KEYS:
        raise ValueError("not an invite's keys")
    addresses = content["addresses"]
    if not isinstance(addresses, list) or not all(isinstance(a, str) for a in addresses):
        raise ValueError("addresses are not texts")
    return Invite(content["swarm"], content["charter"], content["key"], tuple(addresses))
