from __future__ import annotations

import sys
from pathlib import Path

# Lets the tests of this folder import choices.py beside them.
sys.path.insert(0, str(Path(__file__).parent))
