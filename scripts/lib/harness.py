# SPDX-License-Identifier: GPL-2.0
"""What the harness's Python shares: where things are, how to speak, how to fail."""

import sys
import traceback
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
RESULTS = TOP / "build/results"


class Problem(Exception):
    """The work cannot be done; the text says why, and what to do."""
    code = 6


def say(text=""):
    print(text, file=sys.stderr)


def read(file):
    """The text of a file, which is nothing if there is none."""
    try:
        return Path(file).read_bytes().decode(errors="replace")
    except OSError:
        return ""


def run(main):
    """End the program as main() tells; with the code of a Problem, or with 6 after a
    bug of ours, as no other status than the one meant may come of that."""
    try:
        sys.exit(main())
    except Problem as problem:
        say(f"exithand: {problem}")
        sys.exit(problem.code)
    except Exception as error:  # pylint: disable=broad-except
        traceback.print_exc()
        say(f"exithand: {Path(sys.argv[0]).name} failed: {type(error).__name__}: {error}")
        sys.exit(6)
