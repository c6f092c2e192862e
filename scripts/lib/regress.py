# SPDX-License-Identifier: GPL-2.0
"""Compare the kernel's own selftests on the unpatched and the patched kernel.

usage: regress.py RESULTS SUITE|SUITE:PROGRAM...

RESULTS has the summaries of verdict.py for round N: regress-base-N.json and
regress-patched-N.json. If there are several rounds, the best result of a test counts.
These are errors: a test that passes only on the base; a test that fails only on the
patched kernel; a complaint of the patched kernel only; a suite or program that did not
run on both. RESULTS gets regress.txt. The output is the options of run_kselftest.sh for
the tests that differ.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path

import harness
from verdict import CODES, OURS

# Runs with these exit codes cannot be compared.
FATAL = (4, 5, 6, 7, 9)
BEST = ("pass", "skip", "fail")


class Side:
    def __init__(self, results, name):
        self.name, self.tests, self.programs, self.codes = name, {}, {}, set()
        summaries = [json.loads(f.read_text()) for f in sorted(results.glob(f"regress-{name}-*.json"))]
        for summary in summaries or [{}]:
            self.codes |= set(summary.get("codes", [6]))
            seen = Counter()
            for test in summary.get("tests", []):
                # The names of some tests contain the path of a file.
                name = re.sub(r"/\S*/tests/", "", test["name"])
                seen[name] += 1
                name += f" ({seen[name]})" if seen[name] > 1 else ""
                self.tests[name] = min(test["result"], self.tests.get(name, "fail"), key=BEST.index)
                self.programs[name] = test["program"]
            # Only a program that failed as a whole has an entry of its own. Run again, it passed.
            for name in {test["program"].replace(":", "/") for test in summary.get("tests", [])} - seen.keys():
                if name in self.tests:
                    self.tests[name] = "pass"


def is_worse(name, old, new):
    if new == "fail":
        return old != "fail" and not (old is None and OURS in name)
    return old == "pass" and new != "pass"


def main():
    directory, *selected = sys.argv[1:] or [""]
    if not selected:
        sys.exit(__doc__)
    base, patched = (Side(Path(directory), name) for name in ("base", "patched"))
    programs = base.programs | patched.programs
    pairs = {name: (base.tests.get(name), patched.tests.get(name)) for name in sorted(programs)}
    worse = [name for name, pair in pairs.items() if is_worse(name, *pair)]

    wrong, lines = [], []
    for side in (base, patched):
        wrong += [f"{side.name}: {CODES[c]}" for c in FATAL if c in side.codes]
        wrong += [f"{side.name}: no test of {s} ran" for s in selected
                  if not any(f"{p}:".startswith(f"{s}:") for p in side.programs.values())]
    if 3 in patched.codes - base.codes:
        wrong.append("patched: the kernel complained; the base did not")

    lines += [f"fails on both: {name}" for name, (_, new) in pairs.items()
              if new == "fail" and name not in worse]
    lines += [f"WORSE: {text}" for text in wrong]
    for name in worse:
        old, new = (result or "missing" for result in pairs[name])
        lines.append(f"WORSE: {name}: {old} on the base, {new} here")
    count = Counter(patched.tests.values())
    lines.append(f"{len(wrong) + len(worse)} worse than on the base;"
                 f" {count['pass']} passed, {count['fail']} failed, {count['skip']} skipped")
    (Path(directory) / "regress.txt").write_text("\n".join(lines) + "\n")
    for program in sorted({programs[name] for name in worse}):
        print(f"-t {program}")
    return 6 if wrong else 1 if worse else 0


if __name__ == "__main__":
    harness.run(main)
