#!/usr/bin/env python3
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
import re
import sys
from pathlib import Path

import series
from verdict import STAMP, kernel_lines, read

KTAP = "KTAP version 1"
DOCTESTS = "rust_doctests_kernel"
NO_TEST = ("text", "ignore,compile_fail")
LOCATION = re.compile(r" *# (\S+)\.location: (\S+)$")


def git(tree, *args):
    return series.run(["git", "-C", str(tree), *args]).stdout.decode(errors="surrogateescape")


def added_lines(tree):
    """{path: numbers of the lines} that the series adds to the kernel's Rust code."""
    added, path = {}, None
    for line in git(tree, "diff", "--no-renames", "--unified=0", "base", "--", "*.rs").splitlines():
        if line.startswith("+++ "):
            path = line.removeprefix("+++ b/")
        elif match := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            start, count = int(match[1]), int(match[2] or 1)
            added.setdefault(path, set()).update(range(start, start + count))
    for path in git(tree, "ls-files", "--others", "--exclude-standard", "--", "*.rs").splitlines():
        added[path] = set(range(1, len((Path(tree) / path).read_text().splitlines()) + 1))
    return added


def tests_in(path, text, added):
    """The tests at the added lines of a file: doctests by place, KUnit's by suite and name.

    Only a fence with `text` is none, or one with `ignore,compile_fail`: the kernel
    cannot try that, and the programs can. One with `ignore` alone, say, counts: it
    will be missed, as no test of ours may be left out in silence.
    """
    found, suite, fence, test, macro = [], None, None, False, False
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"[\w:]+!\($", line):
            macro = True
        elif line == ");":
            macro = False
        line = line.strip()
        if match := re.match(r"//[/!]\s*(`{3,})(.*)", line):
            if fence is None:
                fence = match[1]
                if (number in added and match[2].strip() not in NO_TEST
                        and path.startswith("rust/kernel/")):
                    # Of what is passed to a macro, rustdoc tells the line before.
                    found.append(f"{DOCTESTS}/{path}:{number - macro}")
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
    found = []
    for path, added in sorted(added_lines(tree).items()):
        found += tests_in(path, (Path(tree) / path).read_text(), added)
    return found


def ktap(said):
    """KUnit's part of what the kernel said. The name of a doctest becomes its place."""
    lines = [STAMP.sub("", line) for line in said]
    if KTAP not in lines:
        return ""
    lines = lines[lines.index(KTAP):]
    plan = next((int(line[3:]) for line in lines if re.fullmatch(r"1\.\.\d+", line)), 0)
    places = dict(match.groups() for line in lines if (match := LOCATION.match(line)))
    found = []
    for line in lines:
        match = re.match(r"( *)((?:not )?ok \d+ )(\S+)(.*)", line)
        if match and match[3] in places:
            line = match[1] + match[2] + places[match[3]] + match[4]
        found.append(line)
        plan -= bool(match and not match[1])
        if match and plan == 0:
            break
    return "\n".join(found) + "\n"


def marks(source):
    """[(line, code or None, text)]: the errors that a program must have."""
    found = []
    for number, line in enumerate(source.splitlines(), 1):
        if match := re.match(r"\s*// error: (E\d{4}\b)?\s*(.*)", line):
            found.append((number + 1, match[1], match[2].strip()))
    return found


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
    wanted = marks(source)

    def is_meant(error, mark):
        return error[1:3] == mark[:2] and mark[2] in error[3]

    wrong = [f"line {mark[0]} should give {mark[1] or 'an error'} {mark[2]}".rstrip()
             for mark in wanted if not any(is_meant(error, mark) for error in errors)]
    wrong += ["unexpected: " + error[4] for error in errors
              if not any(is_meant(error, mark) for mark in wanted)]
    if wanted and built:
        wrong.append("it builds")
    if not wanted and not built:
        wrong.append("it does not build; build/logs/negative.log may tell why")
    return wrong


def negative(programs, log, objects):
    """(KTAP, names) of the builds."""
    sources = sorted(programs.glob("*.rs"))
    errors = errors_in(log)
    lines = [KTAP, "1..1", "    # Subtest: negative", f"    1..{len(sources)}"]
    bad = 0
    for number, file in enumerate(sources, 1):
        wrong = judge_build(file.read_text(), [e for e in errors if e[0] in (file.stem, None)],
                            (objects / f"{file.stem}.o").exists())
        lines += ["    # " + text for text in wrong]
        lines.append(f"    {'not ok' if wrong else 'ok'} {number} {file.stem}")
        bad += bool(wrong)
    lines.append(f"{'not ok' if bad else 'ok'} 1 negative")
    return "\n".join(lines) + "\n", [f"negative/{file.stem}" for file in sources]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--tree", type=Path, required=True)
    parser.add_argument("--programs", type=Path, required=True)
    parser.add_argument("--dir", type=Path, required=True)
    args = parser.parse_args()
    (args.dir / "test.ktap").write_text(ktap(kernel_lines(args.dir)))
    text, names = negative(args.programs, read(args.dir / "negative.log"), args.dir / "negative")
    (args.dir / "negative.ktap").write_text(text)
    (args.dir / "ours").write_text("".join(f"{n}\n" for n in ours(args.tree) + names))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except series.Problem as problem:
        print(f"exithand: {problem}", file=sys.stderr)
        sys.exit(problem.code)
