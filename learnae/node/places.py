"""Where a user's files of a swarm are, unless told otherwise."""

from __future__ import annotations

from pathlib import Path

__all__ = ["default_repo", "swarm_folder"]


def swarm_folder(swarm_id: bytes) -> Path:
    """Return the folder of all that this user has of a swarm."""
    import platformdirs

    return platformdirs.user_data_path("learnae") / swarm_id.hex()[:16]


def default_repo(swarm_id: bytes) -> Path:
    """Return the folder of the IPFS daemon that this user runs for a swarm."""
    return swarm_folder(swarm_id) / "ipfs"
