#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Prepare the results of `make kunit` for verdict.py.

usage: kunit.py --tree LINUX --programs DIRECTORY --dir DIR

DIR has the console.log of a kernel with KUnit, the negative.log of the build of the
programs in DIRECTORY, and their objects in negative/. DIR gets:

test.ktap      KUnit's output on the console
negative.ktap  the results of the builds of the programs
ours           the tests that must be in these two, one per line

A comment in a program announces an error in the next line:

    // error: [CODE ][TEXT]

CODE is rustc's error code, and TEXT is a part of rustc's message. A program must have
these errors and no others. A program without this comment must build.
"""

import argparse
import difflib
import re
from pathlib import Path

import harness
import series
from harness import read
from verdict import STAMP, kernel_lines

KTAP = "KTAP version 1"
# Code fences that are no doctests. The kernel cannot run `ignore,compile_fail`; the
# programs in scripts/compile-fail test these cases. A fence with only `ignore` counts
# as a doctest that did not run, so that no test of ours is skipped silently.
NO_TEST = ("text", "ignore,compile_fail")


def tests_in(path, old, new):
    """Return the tests in the lines of `new` that `old` lacks.

    A doctest is named by its place, a KUnit test by its suite and name.
    """
    added = {n for tag, _, _, first, end in difflib.SequenceMatcher(None, old, new, False).get_opcodes()
             if tag != "equal" for n in range(first + 1, end + 1)}
    found, suite, fence, test, macro = [], None, None, False, False
    for number, line in enumerate(new, 1):
        macro = line != ");" and (macro or bool(re.match(r"[\w:]+!\($", line)))
        line = line.strip()
        if match := re.match(r"//[/!]\s*(`{3,})(.*)", line):
            if fence is None:
                fence = match[1]
                if number in added and match[2].strip() not in NO_TEST and path.startswith("rust/kernel/"):
                    # For a macro's argument, rustdoc gives the line before.
                    found.append(f"rust_doctests_kernel/{path}:{number - macro}")
            elif match[1] == fence:
                fence = None
        elif match := re.match(r"#\[(?:\w*::)*kunit_tests\((\w+)\)\]", line):
            suite = match[1]
        elif line == "#[test]":
            test = number in added
        elif test and (match := re.match(r"(?:pub )?fn (\w+)", line)):
            found.append(f"{suite}/{match[1]}")
            test = False
    return found


def ours(tree):
    """Return the tests that the series adds to the kernel's Rust code."""
    def git(*args, check=True):
        return series.run(["git", "-C", str(tree), *args], check).stdout.decode(errors="surrogateescape")
    paths = (git("diff", "--no-renames", "--diff-filter=d", "--name-only", "base", "--", "*.rs")
             + git("ls-files", "--others", "--exclude-standard", "--", "*.rs"))
    return [test for path in sorted(paths.splitlines())
            for test in tests_in(path, git("show", f"base:{path}", check=False).splitlines(),
                                 (tree / path).read_text().splitlines())]


def ktap(said):
    """Return KUnit's part of the kernel's lines, with a doctest's place as its name."""
    lines = [STAMP.sub("", line) for line in said]
    if KTAP not in lines:
        return ""
    lines = lines[lines.index(KTAP):]
    plan = next((int(line[3:]) for line in lines if re.fullmatch(r"1\.\.\d+", line)), 0)
    places = dict(re.findall(r"^ *# (\S+)\.location: (\S+)$", "\n".join(lines), re.M))
    found = []
    for line in lines:
        match = re.match(r"( *)((?:not )?ok \d+ )(\S+)(.*)", line)
        if match:
            line = "".join((match[1], match[2], places.get(match[3], match[3]), match[4]))
        found.append(line)
        plan -= bool(match and not match[1])
        if match and plan == 0:
            break
    return "\n".join(found) + "\n"


def errors_in(log):
    """Return [(program, line, code, text, full line)]; outside a program, the first two are None."""
    found = []
    for line in log.splitlines():
        match = re.match(r"(?:(\S+):(\d+):\d+: )?error(?:\[(E\d{4})\])?: (.*)", line)
        if match and not match[4].startswith("aborting due to"):
            file = Path(match[1] or "")
            found.append((file.stem, int(match[2]), *match.groups()[2:], line)
                         if file.parent.name == "compile-fail" else (None, None, None, "", line))
    return found


def judge_build(source, errors, built):
    """Return the complaints about the build of a program: [] if it is as announced."""
    wanted = [(number + 1, match[1], match[2].strip()) for number, line in enumerate(source.splitlines(), 1)
              if (match := re.match(r"\s*// error: (E\d{4}\b)?\s*(.*)", line))]

    def is_meant(error, mark):
        return error[1:3] == mark[:2] and mark[2] in error[3]

    wrong = [f"line {mark[0]} should give {mark[1] or 'an error'} {mark[2]}".rstrip()
             for mark in wanted if not any(is_meant(error, mark) for error in errors)]
    wrong += ["unexpected: " + error[4] for error in errors
              if not any(is_meant(error, mark) for mark in wanted)]
    if bool(wanted) == built:
        wrong.append("it builds" if built else "it does not build; build/logs/negative.log may tell why")
    return wrong


def negative(sources, log, objects):
    """Return the results of the builds as KTAP."""
    errors = errors_in(log)
    lines = []
    for number, file in enumerate(sources, 1):
        wrong = judge_build(file.read_text(), [e for e in errors if e[0] in (file.stem, None)],
                            (objects / f"{file.stem}.o").exists())
        lines += ["    # " + text for text in wrong]
        lines.append(f"    {'not ok' if wrong else 'ok'} {number} {file.stem}")
    bad = any("    not ok" in line for line in lines)
    return "\n".join([KTAP, "1..1", "    # Subtest: negative", f"    1..{len(sources)}", *lines,
                      f"{'not ok' if bad else 'ok'} 1 negative", ""])


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    for name in ("tree", "programs", "dir"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    programs = sorted(args.programs.glob("*.rs"))
    (args.dir / "test.ktap").write_text(ktap(kernel_lines(args.dir)))
    (args.dir / "negative.ktap").write_text(
        negative(programs, read(args.dir / "negative.log"), args.dir / "negative"))
    (args.dir / "ours").write_text("".join(
        f"{name}\n" for name in ours(args.tree) + [f"negative/{file.stem}" for file in programs]))


if __name__ == "__main__":
    harness.run(main)
