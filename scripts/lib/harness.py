# SPDX-License-Identifier: GPL-2.0
"""Functions and paths that the harness's Python programs share."""

import sys
import traceback
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
RESULTS = TOP / "build/results"


class Problem(Exception):
    """The harness cannot do its work. The text gives the reason and the remedy."""
    code = 6


def say(text=""):
    print(text, file=sys.stderr)


def read(file):
    """Return the text of a file, or "" if it cannot be read."""
    try:
        return Path(file).read_bytes().decode(errors="replace")
    except OSError:
        return ""


def run(main):
    """Exit with the return value of main(), or with the code of a Problem.

    Any other exception is a bug of the harness: exit with 6.
    """
    try:
        sys.exit(main())
    except Problem as problem:
        say(f"exithand: {problem}")
        sys.exit(problem.code)
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        say(f"exithand: {Path(sys.argv[0]).name} failed: {type(error).__name__}: {error}")
        sys.exit(6)
