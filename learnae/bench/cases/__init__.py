"""Every kernel that is measured. A new one is one `Kernel` in the list of its family."""

from __future__ import annotations

from learnae.bench.cases.averaging import AVERAGING
from learnae.bench.cases.differences import DIFFERENCES
from learnae.bench.cases.entry import Inputs, Kernel, Prepared
from learnae.bench.cases.merging import MERGING
from learnae.bench.cases.packing import PACKING
from learnae.bench.cases.payloads import PAYLOADS
from learnae.bench.cases.robust import ROBUST

__all__ = ["KERNELS", "Inputs", "Kernel", "Prepared"]

KERNELS: tuple[Kernel, ...] = (
    *AVERAGING,
    *MERGING,
    *PAYLOADS,
    *PACKING,
    *DIFFERENCES,
    *ROBUST,
)
