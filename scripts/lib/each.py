# SPDX-License-Identifier: GPL-2.0
"""Run the gates on the patches of TREE, and print the table.

usage: each.py TREE    (scripts/verbs/each calls this; PATCH=N picks a patch)

The gates are in scripts/lib/gates. Results are kept in build/each/. The name of a result
is a hash of the trees before and after the patch, its message, and build/each/made-with.
That file describes the harness and the tools. A gate that failed runs again.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import series
import verdict
from harness import RESULTS, TOP, Problem, read, run, say

KEPT = TOP / "build/each"
LOGS = TOP / "build/logs"

# A gate runs on a patch that touches a matching file. The gates `option` and `test` run
# if the series up to that patch has a matching file.
FILES = {
    "every": r"",
    "last": r"$",
    "code": r"(?!Documentation/|tools/testing/).*\.(c|h|rs)$",
    "option": r"fs/proc/Kconfig$",
    "test": r"tools/testing/selftests/proc/proc-exithand",
}


class Gate(NamedTuple):
    """A line of scripts/lib/gates, which explains the fields."""
    name: str
    patches: str
    config: str
    counts: str
    says: str

    def applies(self, patch):
        files = patch.series if self.patches in ("option", "test") else patch.touched
        return (patch.is_last and self.patches == "last"
                or any(re.match(FILES[self.patches], file) for file in files))


class Patch:
    """A commit of the series, or the base, with the number 0."""

    def __init__(self, tree, number, commit, tip):
        self.number, self.commit, self.is_last = number, commit, commit == tip
        self.name = f"patch {number}" if number else "the base"
        self.subject, self.message = tree.git("log", "-1", "--format=%s%n%B", commit).split("\n", 1)
        before = f"{commit}^" if number else tip
        self.trees = tree.git("rev-parse", f"{before}^{{tree}}", f"{commit}^{{tree}}").split()
        self.touched = self.changed(tree, before, commit) if number else []
        # Files that the series has added or changed up to this patch.
        self.series = self.changed(tree, "--diff-filter=d", "base", commit)

    @staticmethod
    def changed(tree, *args):
        return tree.git("diff", "--no-renames", "--name-only", *args).splitlines()


class Each:
    """The series at the start, and the known results."""

    def __init__(self, tree, gates, only=""):
        tree = series.Tree(tree)
        self.sources = Path(f"{tree.path}-each")
        # Do not use `applied` below: make patches may move it meanwhile.
        self.tip = tree.commit_id("applied")
        commits = tree.series(self.tip)
        if not commits:
            raise Problem("there are no patches in patches/; restore them with git")
        self.base = Patch(tree, 0, tree.commit_id("base"), self.tip)
        self.chosen = [Patch(tree, i, c, self.tip) for i, c in enumerate(commits, 1) if only in ("", str(i))]
        if not self.chosen:
            raise Problem(f"PATCH={only}: give a number from 1 to {len(commits)}")
        self.gates, self.harness = gates, read(KEPT / "made-with")

    def file(self, gate, patch):
        what = [gate.name, self.harness, *patch.trees, patch.message if gate.name == "checkpatch" else ""]
        return KEPT / f"{gate.name}-{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]}.json"

    def result(self, gate, patch):
        return json.loads(read(self.file(gate, patch)) or '{"code": 6, "text": "was not run"}')

    def keep(self, patch, gate, code, text, said=()):
        new = KEPT / "new"
        new.write_text(json.dumps({"code": code, "text": text, "said": said}))
        new.replace(self.file(gate, patch))

    def plan(self):
        """Return [(patch, gate)] without a good result."""
        def wanted(patch, gate):
            if patch.number:
                return gate.applies(patch)
            return gate.counts == "new" and any(map(gate.applies, self.chosen))
        return [(patch, gate) for patch in (self.base, *self.chosen) for gate in self.gates
                if wanted(patch, gate) and self.result(gate, patch)["code"]]

    def run(self):
        todo = self.plan()
        for i, (patch, gate) in enumerate(todo, 1):
            status = subprocess.call(
                [TOP / "scripts/lib/gates", gate.name, f"{i} of {len(todo)}: {patch.name}, {gate.name}"],
                env=dict(os.environ, commit=patch.commit, number=str(patch.number), tip=self.tip))
            if status < 0 or status >= 128:  # Ctrl-C
                sys.exit(status if status > 0 else 128 - status)
            lines = read(LOGS / f"each-{patch.number}-{gate.name}.log").splitlines()
            code, text, said = self.judge(patch, gate, status, lines)
            self.keep(patch, gate, code, text, said)
            if code:
                say(f"   FAIL {patch.number or 'base'} {gate.name}: {text}")
            else:
                (self.sources / f"obj-{gate.name}/unjudged").unlink(missing_ok=True)

    def judge(self, patch, gate, status, lines):
        """Return (exit code, the complaint to show, all complaints) of a gate's log and status."""
        found = complaints(lines)
        said = [plain(line) for line in found]
        if gate.counts == "new" and patch.number:
            of_base = self.result(gate, self.base)
            if of_base["code"]:
                return 6, "this gate failed on the base", []
            # A complaint is new if it is more frequent than on the base.
            new = Counter(said) - Counter(of_base["said"])
            found = [line for line in found if plain(line) in new]
        errors = [line for line in found if status and not re.search("warning: ", line, re.IGNORECASE)]
        if gate.counts == "none" or not patch.number:
            found = errors
        # Show an error rather than the warnings before it.
        text = (errors or found or [""])[0]
        if status:
            has_code = gate.config not in ("none", "lint") and status in verdict.CODES
            return (status if has_code else 1,
                    text or last_words(lines) or f"ends with {status} and says nothing", said)
        return int(bool(found)), text, said

    def table(self):
        """Return (exit code, lines)."""
        def row(name, cells):
            return f"{name:<11}  {'  '.join(f'{cell:<4}' for cell in cells)}".rstrip()
        lines, wrong, codes, count = [row("", [p.number for p in self.chosen])], [], set(), Counter()
        for gate in self.gates:
            cells = []
            for patch in self.chosen:
                known = self.result(gate, patch)
                cells.append("-" if not gate.applies(patch) else "FAIL" if known["code"] else "ok")
                if cells[-1] == "FAIL":
                    codes.add(known["code"])
                    wrong.append(f"FAIL  {patch.number} {gate.name}: {known['text']}")
            lines.append(row(gate.name, cells))
            count.update(cells)
        lines += ["", *(row(gate.name, [gate.says]) for gate in self.gates)]
        lines += ["", *(f"{patch.number:>11}  {patch.subject}" for patch in self.chosen)]
        lines += ["", *wrong, f"{count['ok']} ok, {count['-']} do not apply, {count['FAIL']} failed"]
        return min(codes, key=list(verdict.CODES).index, default=0), lines


# -- logs -------------------------------------------------------------------

COMPLAINT = re.compile(r"\b(warning|error|severe|critical)(\[\w+\])?: ", re.IGNORECASE)
SUMMARY = re.compile(r"(warning|error): (`[^`]*`.* generated \d+|\d+ warnings? emitted"
                     r"|aborting due to|could not compile)|make.*: \*\*\* ")


def complaints(lines):
    """Return all warnings and errors. Compilers repeat a warning in a header; it counts once."""
    return list(dict.fromkeys(line.strip() for line in lines
                              if COMPLAINT.search(line) and not SUMMARY.match(line.strip())))


def plain(line):
    """Return the line without numbers, so that it does not depend on the lines around it."""
    return re.sub(r"\b0x[0-9a-f]+\b|\b\d+\b", "N", line)


def last_words(lines):
    said = [line.strip() for line in lines if line.strip() and not SUMMARY.match(line.strip())]
    return ([line for line in said if line.startswith("exithand: ")] or said or [""])[-1]


def main():
    # Ctrl-C stops the gate; run() then exits, because of the gate's status.
    signal.signal(signal.SIGINT, lambda *_: None)
    listed = subprocess.run([TOP / "scripts/lib/gates"], stdout=subprocess.PIPE, text=True, check=True)
    each = Each(sys.argv[1], [Gate(*line.split("\t")) for line in listed.stdout.splitlines()],
                os.environ.get("PATCH", ""))
    each.run()
    code, lines = each.table()
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "each.txt").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    run(main)
