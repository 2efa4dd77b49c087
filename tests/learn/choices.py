"""The parts of a charter that the learning side reads, without a charter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Data", "ModelName", "Training"]


@dataclass(frozen=True)
class Data:
    label: str | None = "kind"
    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ("g", "h")
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class ModelName:
    factory: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    optimizer: str = "adam"
    learning_rate: float = 1e-2
    cooldown: float = 0.0
    batch: int = 16
    steps: int = 5
