"""Where the tests find what they test."""

import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1]
for room in ("lib", "mutants", "bench"):
    sys.path.insert(0, str(SCRIPTS / room))
