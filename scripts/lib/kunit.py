# SPDX-License-Identifier: GPL-2.0
"""Prepare the results of `make kunit` for verdict.py.

usage: kunit.py --tree LINUX --programs DIRECTORY --dir DIR

DIR has the console.log of a kernel with KUnit, the negative.log of the build of the
programs in DIRECTORY, and their objects in negative/. DIR gets:

test.ktap      the results of the builds, as the suite `negative`, and those of KUnit
ours           the tests of the series that KUnit must run, one per line

A comment in a program announces an error in the next line:

    // error: [CODE ][TEXT]

CODE is rustc's error code, and TEXT is a part of rustc's message. A program must have
these errors and no others. A program without this comment must build.
"""

import argparse
import re
from pathlib import Path

import harness
import series
from harness import Problem, read
from verdict import STAMP, kernel_lines

KTAP = "KTAP version 1"
# Code fences that are no doctests. The kernel cannot run `ignore,compile_fail`; the
# programs in scripts/compile-fail test these cases. A fence with only `ignore` counts
# as a doctest that did not run, so that no test of ours is skipped silently.
NO_TEST = ("text", "ignore,compile_fail")


def doctests(text):
    """Return the line numbers by which rustdoc names the doctests of a file."""
    found, fence, macro = [], None, False
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"[\w:]+!\($", line):
            macro = True
        elif line == ");":
            macro = False
        elif match := re.match(r"\s*//[/!]\s*(`{3,})(.*)", line):
            if fence is None:
                fence = match[1]
                if match[2].strip() not in NO_TEST:
                    # For a macro's argument, rustdoc gives the line before.
                    found.append(number - macro)
            elif match[1] == fence:
                fence = None
    return found


def ours(tree):
    """Return the tests in the Rust files that the series touches.

    A doctest is named by its place, a KUnit test by its suite and name.
    """
    def git(*args):
        return series.run(["git", "-C", str(tree), *args], True).stdout.decode()
    paths = (git("diff", "--no-renames", "--diff-filter=d", "--name-only", "base", "--", "*.rs")
             + git("ls-files", "--others", "--exclude-standard", "--", "*.rs"))
    found, suite = [], None
    for path in sorted(paths.splitlines()):
        text = (tree / path).read_text()
        if path.startswith("rust/kernel/"):
            found += [f"rust_doctests_kernel/{path}:{number}" for number in doctests(text)]
        for new_suite, test in re.findall(
                r"kunit_tests\((\w+)\)\]|#\[test\](?:\s*#\[.*\])*\s*(?:pub )?fn (\w+)", text):
            suite = new_suite or suite
            found += [f"{suite}/{test}"] if test else []
    return found


def kunit_lines(kernel):
    """Return KUnit's part of the kernel's lines, with a doctest's place as its name."""
    lines = [STAMP.sub("", line) for line in kernel]
    lines = lines[lines.index(KTAP):] if KTAP in lines else []
    places = dict(re.findall(r"^ *# (\S+)\.location: (\S+)$", "\n".join(lines), re.MULTILINE))
    return [re.sub(r"^( *(?:not )?ok \d+ )(\S+)", lambda m: m[1] + places.get(m[2], m[2]), line)
            for line in lines]


def judge_build(program, log, built):
    """Return the complaints about the build of a program: [] if it is as announced."""
    wanted = {number + 1: match for number, line in enumerate(program.read_text().splitlines(), 1)
              if (match := re.match(r"\s*// error: (E\d{4}\b)? *(.*)", line))}
    wrong, met = [], set()
    for line in log.splitlines():
        match = re.match(r"(?:(\S+):(\d+):\d+: )?error(?:\[(E\d{4})\])?: (?!aborting due to)(.*)", line)
        file = Path(match[1] or "") if match else None
        if not match or file.parent.name == "compile-fail" and file.stem != program.stem:
            continue
        number, code, text = int(match[2] or 0), match[3], match[4]
        if file.stem == program.stem and number in wanted and (
                wanted[number][1] == code and wanted[number][2] in text):
            met.add(number)
        else:
            wrong.append("unexpected: " + line)
    wrong += [f"line {number} should give{wanted[number][0].split(':', 1)[1]}"
              for number in wanted.keys() - met]
    if bool(wanted) == built:
        wrong.append("it builds" if built else "it does not build; build/logs/negative.log may tell why")
    return wrong


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    for name in ("tree", "programs", "dir"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    programs = sorted(args.programs.glob("*.rs"))
    if not programs:
        raise Problem("there are no programs in scripts/compile-fail; restore them with git")
    builds, log = [], read(args.dir / "negative.log")
    for number, program in enumerate(programs, 1):
        wrong = judge_build(program, log, (args.dir / f"negative/{program.stem}.o").exists())
        builds += ["    # " + text for text in wrong]
        builds.append(f"    {'not ok' if wrong else 'ok'} {number} {program.stem}")
    kunit = kunit_lines(kernel_lines(args.dir))
    plan = next((int(line[3:]) for line in kunit if re.fullmatch(r"1\.\.\d+", line)), 0)
    # verdict.py takes the first plan.
    (args.dir / "test.ktap").write_text("\n".join([
        KTAP, f"1..{1 + plan}", f"    1..{len(programs)}", *builds, "ok 1 negative", *kunit, ""]))
    (args.dir / "ours").write_text("".join(f"{name}\n" for name in ours(args.tree)))


if __name__ == "__main__":
    harness.run(main)
