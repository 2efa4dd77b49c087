"""The learning side: models, the local round, drift correction, and data.

Importing this package imports nothing else. The data modules (`tabular`, `csvtext`, `hepmass`,
`magic`, `partition`, `batches`) need NumPy only; `rounds`, `drift`, `optimizers`,
`evaluation` and `baseline` need JAX and optax (``pip install 'learnae[train]'``).
"""

from __future__ import annotations

__all__: list[str] = []
