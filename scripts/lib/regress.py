#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compare the kernel's own selftests on the unpatched and the patched kernel.

usage: regress.py [--again] RESULTS SUITE|SUITE:PROGRAM...

RESULTS has the summaries of verdict.py for round N: regress-base-N.json and
regress-patched-N.json. If there are several rounds, the best result of a test counts.
These are errors: a test that passes only on the base; a test that fails only on the
patched kernel; a complaint of the patched kernel only; a suite or program that did not
run on both. --again prints the options of run_kselftest.sh for the tests that differ.
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


def selected_by(program, selected):
    """Return the selected suite or program that this program belongs to."""
    return next((s for s in sorted(selected, key=len, reverse=True)
                 if program in (s, s.replace("/", ":")) or program.startswith(s + ":")), None)


def is_worse(name, old, new):
    if new == "fail":
        return old != "fail" and not (old is None and OURS in name)
    return old == "pass" and new != "pass"


def main():
    again = sys.argv[1:2] == ["--again"]
    results, *selected = sys.argv[1 + again:] or [""]
    if not selected:
        sys.exit(__doc__)
    base, patched = (Side(Path(results), name) for name in ("base", "patched"))
    programs = base.programs | patched.programs
    worse = {name: f"{old or 'not there'} on the base, {new or 'not there'} here"
             for name, old, new in ((n, base.tests.get(n), patched.tests.get(n)) for n in sorted(programs))
             if is_worse(name, old, new)}
    if again:
        print("\n".join(sorted({f"-t {programs[name]}" for name in worse})))
        return 0

    wrong = []
    for side in (base, patched):
        wrong += [f"{side.name}: {CODES[c]}" for c in FATAL if c in side.codes]
        ran = {selected_by(p, selected) for p in side.programs.values()}
        wrong += [f"{side.name}: no test of {s} ran" for s in selected if s not in ran]
    if 3 in patched.codes - base.codes:
        wrong.append("patched: the kernel complained; the base did not")

    for s in selected:
        both = Counter((base.tests.get(n), r) for n, r in patched.tests.items()
                       if selected_by(programs[n], selected) == s and OURS not in n)
        print(f"{s}: " + ", ".join(f"{count} {old or 'not there'}" + ("" if old == new else f" -> {new}")
                                   for (old, new), count in sorted(both.items(), key=str)))
    for name in sorted(n for n, r in patched.tests.items() if r == "fail" and n not in worse):
        print(f"fails on both: {name}")
    for text in wrong + [f"{name}: {text}" for name, text in worse.items()]:
        print(f"WORSE: {text}")
    count = Counter(patched.tests.values())
    print(f"{len(wrong) + len(worse)} worse than on the base;"
          f" {count['pass']} passed, {count['fail']} failed, {count['skip']} skipped")
    return 6 if wrong else 1 if worse else 0


if __name__ == "__main__":
    harness.run(main)
