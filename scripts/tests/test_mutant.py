# SPDX-License-Identifier: GPL-2.0
"""mutant.py: headers of mutants that say nothing. (All else: test_verbs.py.)"""

import mutant
import pytest
from common import write

CAUGHT_BY = "Caught-by: proc-exithand global.poll_* still waits\n"


@pytest.mark.parametrize("header", [
    "", "Run: proc-exithand global.*\n", "Control: yes\n", "Caught-by: proc-exithand\n", "Caught-by: console Oops\n",
    "Caught-By: proc-exithand x\n" + CAUGHT_BY, "Control: yes\n" + CAUGHT_BY, "Config: \n" + CAUGHT_BY])
def test_header(tmp_path, monkeypatch, header):
    monkeypatch.setattr(mutant, "MUTANTS", tmp_path)
    write(tmp_path / "one.patch", f"What.\n\n{header}\n--- a/x\n+++ b/x\n")
    with pytest.raises(mutant.Problem, match="one"):
        mutant.Mutant("one")
