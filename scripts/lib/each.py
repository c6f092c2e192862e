#!/usr/bin/env python3
"""What make each asks of each patch, what came of it, and the table of that.

usage: each.py gates | plan | judge NUMBER GATE | order BASE NEW | table    (options: see main();
scripts/verbs/each calls these)

gates   their names
plan    what is to be run, a line each: NUMBER COMMIT GATE; NUMBER 0 is the base
judge   keep what a gate's log and exit status say of the patch
order   fail if an entry that NEW, a MAINTAINERS, has beyond BASE is out of order
table   print it, and end with the exit code

A result that is ok is kept in build/each/, under a name made of all that it
depends on: files of the tree, tools, scripts. Patches for which that is the same
share it. One that is not ok is tried again.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import series
import verdict

TOP = Path(__file__).resolve().parent.parent.parent
KEPT = TOP / "build/each"
TABLE = TOP / "build/results/each.txt"


class Problem(Exception):
    pass


# -- the series -------------------------------------------------------------

def built(path):
    """Can a kernel depend on that file?"""
    return path != "MAINTAINERS" and not path.startswith(("Documentation/", "tools/testing/"))


def c_file(path):
    """C that a C compiler sees: what is in rust/bindings/ only bindgen does."""
    return built(path) and path.endswith((".c", ".h")) and not path.startswith("rust/bindings/")


def rust_file(path):
    return built(path) and path.endswith(".rs")


def rust_docs(path):
    return rust_file(path) and path.startswith("rust/")


def docs_file(path):
    return path.startswith("Documentation/")


def our_test(path):
    return path.startswith("tools/testing/selftests/proc/proc-exithand")


class Patch:
    """A commit of the series, or the base, which has the number 0."""

    def __init__(self, tree, number, commit):
        self.number, self.commit = number, commit
        self.subject = tree.git("log", "-1", "--format=%s", commit).strip()
        # {path: mode and contents, before and after}
        self.since_base = self.diff(tree, "base", commit)
        self.touched = self.diff(tree, f"{commit}^", commit) if number else {}

    @staticmethod
    def diff(tree, old, new):
        out = tree.git("diff-tree", "-r", "-z", "--no-renames", old, new).split("\0")
        return dict(zip(out[1::2], out[::2]))

    def touches(self, kind):
        return any(kind(path) for path in self.touched)

    def has(self, kind):
        """Is there such a file among those that the series adds or changes?"""
        return any(kind(path) and not meta.endswith("D") for path, meta in self.since_base.items())


# -- the gates --------------------------------------------------------------

class Gate:
    def __init__(self, name, applies, depends, says, against=None, warnings=True,
                 about=lambda file: True):
        self.name = name
        # Is it asked of this patch (the last one)?
        self.applies = applies
        # What it depends on, of what the series changes: a choice of files of
        # the tree, or a function of the patch.
        self.depends = depends
        self.says = says
        # What the base (or `ours`: what is in no file of the series) says does
        # not count.
        self.against = against
        self.warnings = warnings
        # Which files its complaints may be about, where one log is for several gates.
        self.about = about
        # These look at all files of the series.
        self.lint = name in ("W=1", "sparse", "clippy", "rustdoc")


def tree_files(choice):
    return lambda patch: sorted(i for i in patch.since_base.items() if choice(i[0]))


def own_files(choice):
    return lambda patch: sorted(i for i in patch.touched.items() if choice(i[0]))


def patch_file(patch):
    return [hashlib.sha256(series.our_patches()[patch.number - 1].read_bytes()).hexdigest()]


def every(patch, last):
    return True


def last_one(patch, last):
    return last


def touching(kind):
    return lambda patch, last: patch.touches(kind)


def has_option(patch):
    """From the patch on that adds the series' Kconfig option."""
    return patch.has(lambda path: path == "fs/proc/Kconfig")


KERNEL = tree_files(built)
C_KERNEL = tree_files(lambda p: built(p) and not p.endswith(".rs") and not p.startswith("rust/"))
DOCS = tree_files(lambda p: built(p) or docs_file(p))
# In the order of the table; the quick ones first.
GATES = [
    Gate("checkpatch", every, patch_file, "checkpatch.pl --strict --codespell"),
    Gate("maintainers", every, lambda p: [sorted(p.touched), p.since_base.get("MAINTAINERS")],
         "get_maintainer.pl knows someone; our entries are in order", warnings=False),
    Gate("kernel-doc", touching(c_file), own_files(c_file), "kernel-doc -Wall on the C files",
         "base"),
    Gate("rustfmt", touching(rust_file), tree_files(rust_file), "make rustfmtcheck"),
    Gate("W=1", touching(c_file), KERNEL, "make W=1 of the C files", "base",
         about=lambda file: not file.endswith(".rs")),
    Gate("sparse", touching(c_file), KERNEL, "make C=2 of the C files", "base"),
    Gate("clippy", touching(rust_file), KERNEL, "make CLIPPY=1 of the Rust files", "base",
         about=lambda file: not file.endswith((".c", ".h"))),
    Gate("rustdoc", touching(rust_docs), KERNEL, "make rustdoc", "ours"),
    Gate("default", every, KERNEL, "the kernel of make test builds"),
    Gate("boots", every, KERNEL, "and boots, and shows the demonstration, if it can",
         warnings=False),
    Gate("tests", lambda p, last: p.has(our_test),
         tree_files(lambda p: built(p) or p.startswith("tools/testing/")),
         "and passes those of our tests that are there", warnings=False),
    Gate("hand-off", lambda p, last: has_option(p), KERNEL, "PROC_EXITHAND=n builds"),
    Gate("rust-off", every, C_KERNEL, "RUST=n builds"),
    Gate("allno", last_one, C_KERNEL, "allnoconfig builds (32 bits)"),
    Gate("proc-off", last_one, KERNEL, "PROC_FS=n builds"),
    Gate("up", last_one, KERNEL, "SMP=n builds"),
    Gate("rt", last_one, KERNEL, "PREEMPT_RT=y builds"),
    Gate("arm64", last_one, KERNEL, "arm64 builds"),
    Gate("docs", lambda p, last: last or p.touches(docs_file), DOCS, "make htmldocs", "base"),
]
# Their exit status is one of the harness's own.
KERNELS = ("default", "boots", "tests", "hand-off", "rust-off", "allno", "proc-off", "up", "rt", "arm64")
BY_NAME = {gate.name: gate for gate in GATES}


class Each:
    """The series, and what is known of it."""

    def __init__(self, tree, salts, only=""):
        self.tree = series.Tree(tree)
        commits = self.tree.series("applied")
        self.base = Patch(self.tree, 0, self.tree.commit_id("base"))
        self.patches = [Patch(self.tree, i, c) for i, c in enumerate(commits, 1)]
        if not commits:
            raise Problem("there are no patches in patches/; get them back with git")
        if only and not (only.isdigit() and 1 <= int(only) <= len(commits)):
            raise Problem(f"PATCH={only}: give a number from 1 to {len(commits)}")
        self.chosen = [p for p in self.patches if not only or p.number == int(only)]
        # {gate: digest of the tools and scripts that it is made with}
        self.salts = dict(line.split() for line in Path(salts).read_text().splitlines())
        base_tree = self.tree.git("rev-parse", "base^{tree}").strip()
        self.common = [base_tree, Path(__file__).read_text()]
        self.ours = sorted({p for patch in self.patches for p in patch.touched if built(p)})

    def applies(self, gate, patch):
        return gate.applies(patch, patch is self.patches[-1])

    def key(self, gate, patch):
        what = [gate.name, self.salts[gate.name], self.common]
        # What the base says is one thing for all.
        what.append(gate.depends(patch) if patch.number else "base")
        if gate.lint:
            what.append(self.ours)
        return gate.name + "-" + hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]

    def result(self, gate, patch):
        try:
            return json.loads((KEPT / f"{self.key(gate, patch)}.json").read_text())
        except FileNotFoundError:
            return None

    def plan(self):
        """[(patch, gate)] of what has no result that is ok."""
        todo, planned = [], set()

        def add(patch, gate):
            key, known = self.key(gate, patch), self.result(gate, patch)
            if key not in planned and not (known and known["code"] == 0):
                planned.add(key)
                todo.append((patch, gate))
        for patch in self.chosen:
            for gate in GATES:
                if self.applies(gate, patch):
                    if gate.against == "base" and gate.name != "kernel-doc":
                        add(self.base, gate)
                    add(patch, gate)
        return sorted(todo, key=lambda t: (t[0].number, GATES.index(t[1])))

    def judge(self, patch, gate, status, lines, before, seconds):
        said = [d for d in diagnostics(lines) if gate.about(d["file"])]
        known = Counter()
        if gate.against == "base" and patch.number:
            if gate.name == "kernel-doc":
                known.update(d["what"] for d in diagnostics(before))
            else:
                of_base = self.result(gate, self.base)
                if not of_base or of_base["code"]:
                    return self.keep(patch, gate, 6, "what the base says is not known", [], seconds)
                known.update(of_base["said"])
        # As often as it was said before, it may be said again.
        new = []
        for one in said:
            if known[one["what"]]:
                known[one["what"]] -= 1
            else:
                new.append(one)
        if gate.against == "ours":
            new = [d for d in new if not d["file"] or d["file"] in self.ours]
        if not gate.warnings or not patch.number:
            new = [d for d in new if d["error"] and status]
        code, text = 0, ""
        if new:
            # An error counts more than the warnings before it.
            code, text = 1, next((d["line"] for d in new if d["error"] and status), new[0]["line"])
        if status:
            code = status if status in verdict.CODES and gate.name in KERNELS else 1
            text = text or last_words(lines) or f"ends with {status} and says nothing"
        return self.keep(patch, gate, code, text, sorted(d["what"] for d in said), seconds)

    def keep(self, patch, gate, code, text, said, seconds):
        KEPT.mkdir(parents=True, exist_ok=True)
        file = KEPT / f"{self.key(gate, patch)}.json"
        new = file.with_suffix(".new")
        new.write_text(json.dumps({"patch": patch.number, "gate": gate.name, "code": code,
                                   "text": text, "said": said, "seconds": seconds}) + "\n")
        new.replace(file)
        return code, text

    def cell(self, gate, patch):
        """(what the table shows, exit code, what is wrong)"""
        if not self.applies(gate, patch):
            return "-", 0, ""
        known = self.result(gate, patch)
        if not known:
            return "?", 6, "was not run"
        if known["code"]:
            return "FAIL", known["code"], known["text"]
        first = next(p for p in self.patches if self.applies(gate, p)
                     and self.key(gate, p) == self.key(gate, patch))
        return ("ok" if first is patch else f"as {first.number}"), 0, ""

    def table(self):
        """(exit code, lines)"""
        width = max(len(gate.name) for gate in GATES)
        lines = ["  ".join([" " * width] + [f"{p.number:<5}" for p in self.chosen]).rstrip()]
        count = {"ok": 0, "as": 0, "-": 0, "FAIL": 0, "?": 0}
        codes, wrong, told = [], [], set()
        for gate in GATES:
            cells = [self.cell(gate, patch) for patch in self.chosen]
            lines.append("  ".join([f"{gate.name:<{width}}"]
                                   + [f"{shown:<5}" for shown, _, _ in cells]).rstrip())
            for patch, (shown, code, text) in zip(self.chosen, cells):
                count[shown.split()[0]] += 1
                if code and self.key(gate, patch) not in told:
                    told.add(self.key(gate, patch))
                    codes.append(code)
                    wrong.append(f"{shown:<5} {patch.number} {gate.name}: {text}")
        lines += [""] + [f"{gate.name:<{width}}  {gate.says}" for gate in GATES]
        lines += [""] + [f"{patch.number:>{width}}  {patch.subject}" for patch in self.chosen]
        lines += [""] + wrong + [
            f"{count['ok']} ok, {count['as']} the same as for an earlier patch, {count['-']} do not"
            f" apply, {count['FAIL']} failed, {count['?']} not run"]
        order = list(verdict.CODES)
        return min(codes, key=order.index, default=0), lines


# -- logs -------------------------------------------------------------------

SUMMARY = re.compile(r"(warning|error): (`[^`]*`.* generated \d+|\d+ warnings? emitted"
                     r"|aborting due to|could not compile)|make.*: \*\*\* ")
PLACES = [
    # clang, sparse, Sphinx
    re.compile(r"(?P<file>[^\s:]+\.\w+):(?:\d+:)*(?:\w+:)? *"
               r"(?P<kind>(?:fatal )?error|warning|severe|critical): (?P<text>.*)", re.I),
    # kernel-doc
    re.compile(r"(?P<kind>Warning|Error): (?P<file>[^\s:]+\.\w+):\d+ (?P<text>.*)"),
    # rustc, which tells the place in one of the next lines; linkers and all others
    re.compile(r"(?P<file>)(?P<text>.*?\b(?P<kind>warning|error)(?:\[\w+\])?: .*)", re.I),
]
RUST_PLACE = re.compile(r"\s*--> (?P<file>[^\s:]+):\d+:\d+")


def plain(path):
    """A file's name in the tree, for one that is told from within an object directory."""
    return re.sub(r"^(?:.*/linux-each/)?(?:\.{1,2}/)*(?:obj-[\w-]+/)?", "", path)


def diagnostics(lines):
    """All warnings and errors: the line to show, and `what`, which stays the same
    when the lines around it move. What is in a header is often said, and counts once."""
    found, lines_said = [], set()
    for i, line in enumerate(lines):
        line = line.strip()
        if SUMMARY.match(line):
            continue
        match = next(filter(None, (place.match(line) for place in PLACES)), None)
        if not match:
            continue
        file, text, shown = plain(match["file"]), match["text"], line
        if re.match(r"(warning|error)(\[\w+\])?: ", line):
            for after in lines[i + 1:i + 8]:
                if place := RUST_PLACE.match(after):
                    file, shown = plain(place["file"]), f"{line} {after.strip()}"
                    break
        if shown in lines_said:
            continue
        lines_said.add(shown)
        kind = "warning" if match["kind"].lower() == "warning" else "error"
        what = f"{file}: {kind}: " + re.sub(r"\b0x[0-9a-f]+\b|\b\d+\b", "N", text)
        found.append({"file": file, "what": what, "error": kind == "error", "line": shown})
    return found


def last_words(lines):
    said = [line.strip() for line in lines if line.strip()]
    ours = [line for line in said if line.startswith("exithand: ")]
    return (ours or [line for line in said if not SUMMARY.match(line)] or said or [""])[-1]


# -- MAINTAINERS ------------------------------------------------------------

def sections(text):
    """[(title, lines)] in a MAINTAINERS."""
    found, title = [], ""
    for line in text.splitlines():
        if re.match(r"[A-Z]:\s", line):
            if title:
                found.append((title, []))
                title = ""
            if found:
                found[-1][1].append(line)
        else:
            title = line.strip()
    return found


def out_of_order(base, new, script):
    """What is wrong with the entries of NEW that BASE has not so."""
    before, after = sections(base.read_text()), sections(new.read_text())
    changed = [i for i, entry in enumerate(after) if entry not in before]
    wrong = []
    with tempfile.TemporaryDirectory() as tmp:
        out = Path(tmp, "sorted")
        subprocess.run(["perl", script, "--order", f"--input={new}", f"--output={out}",
                        f"--section={tmp}/section"], check=True)
        in_order = dict(sections(out.read_text()))
    for i in changed:
        title, lines = after[i]
        if title not in dict(before):
            for j in (i - 1, i):
                if 0 <= j and j + 1 < len(after) and after[j][0].upper() > after[j + 1][0].upper():
                    wrong.append(f"MAINTAINERS: {after[j][0]} stands before {after[j + 1][0]}")
        if lines != in_order.get(title):
            wrong.append(f"MAINTAINERS: {title}: its lines are not as parse-maintainers.pl"
                         f" --order puts them: " + "; ".join(in_order.get(title, ["?"])))
    return wrong


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("verb", choices=("gates", "plan", "judge", "order", "table"))
    parser.add_argument("what", nargs="*")
    parser.add_argument("--tree", type=Path)
    parser.add_argument("--salts", type=Path)
    parser.add_argument("--status", type=int)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--before", type=Path, help="the log of the same gate on the patch's parent")
    parser.add_argument("--script", type=Path, help="parse-maintainers.pl")
    parser.add_argument("--seconds", type=int, default=0)
    args = parser.parse_args()

    if args.verb == "order":
        wrong = out_of_order(Path(args.what[0]), Path(args.what[1]), args.script)
        for line in wrong:
            print(line)
        return 1 if wrong else 0
    if args.verb == "gates":
        print("\n".join(BY_NAME))
        return 0
    each = Each(args.tree, args.salts, os.environ.get("PATCH", ""))
    if args.verb == "plan":
        for patch, gate in each.plan():
            print(patch.number, patch.commit, gate.name)
    elif args.verb == "judge":
        patch = ([each.base] + each.patches)[int(args.what[0])]
        before = verdict.read(args.before).splitlines() if args.before else []
        code, text = each.judge(patch, BY_NAME[args.what[1]], args.status,
                                verdict.read(args.log).splitlines(), before, args.seconds)
        if code:
            verdict.say(f"   FAIL {patch.number or 'base'} {args.what[1]}: {text}")
        return 1 if code else 0
    else:
        code, lines = each.table()
        TABLE.parent.mkdir(parents=True, exist_ok=True)
        TABLE.write_text("\n".join(lines) + "\n")
        print("\n".join(lines))
        return code
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Problem, series.Problem) as problem:
        verdict.say(f"exithand: {problem}")
        sys.exit(6)
