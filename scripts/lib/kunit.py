#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What `make kunit` has to judge, for verdict.py.

usage: kunit.py --tree LINUX --programs DIRECTORY --dir DIR

DIR has the console.log of a kernel with KUnit, the negative.log of the build of
the programs in DIRECTORY, and in negative/ the objects made from them. It gets:

test.ktap      what KUnit said on the console
negative.ktap  how the builds of the programs went
ours           the tests that must be in there, one a line

A program tells in a comment what must be wrong with its next line:

    // error: [CODE ][TEXT]

CODE is rustc's, TEXT must be in rustc's message. A program must have these
errors and no others; one without such a comment must build.
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
# Of doctests, only a fence with `text` is none, or one with `ignore,compile_fail`: the
# kernel cannot try that, and the programs can. One with `ignore` alone, say, counts: it
# will be missed, as no test of ours may be left out in silence.
NO_TEST = ("text", "ignore,compile_fail")


def tests_in(path, old, new):
    """The tests at the lines of a file that are not old: doctests by place, KUnit's by suite
    and name."""
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
                    # Of what is passed to a macro, rustdoc tells the line before.
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
    """The tests that the series adds to the kernel's Rust code."""
    def git(*args, check=True):
        return series.run(["git", "-C", str(tree), *args], check).stdout.decode(errors="surrogateescape")
    paths = (git("diff", "--no-renames", "--diff-filter=d", "--name-only", "base", "--", "*.rs")
             + git("ls-files", "--others", "--exclude-standard", "--", "*.rs"))
    return [test for path in sorted(paths.splitlines())
            for test in tests_in(path, git("show", f"base:{path}", check=False).splitlines(),
                                 (tree / path).read_text().splitlines())]


def ktap(said):
    """KUnit's part of what the kernel said. The name of a doctest becomes its place."""
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
    """[(program, line, code, text, all of it)]: the errors, the first two None if elsewhere."""
    found = []
    for line in log.splitlines():
        match = re.match(r"(?:(\S+):(\d+):\d+: )?error(?:\[(E\d{4})\])?: (.*)", line)
        if match and not match[4].startswith("aborting due to"):
            file = Path(match[1] or "")
            found.append((file.stem, int(match[2]), *match.groups()[2:], line)
                         if file.parent.name == "compile-fail" else (None, None, None, "", line))
    return found


def judge_build(source, errors, built):
    """What is wrong with the outcome of the build of a program: [] if nothing."""
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
    """KTAP of the builds."""
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
