# SPDX-License-Identifier: GPL-2.0
"""Read the mutants of scripts/mutants/ and judge whether the tests catch them.

usage: mutant.py select [CONFIG] | configs | tests NAME DIR | record NAME CODE TEXT |
       judge NAME RUN SECONDS | summary      (scripts/verbs/mutants calls these)

The variable M has the names of the mutants to try, or shell patterns. CONFIG is the
configuration of the kernel. DIR has the test programs. RUN is the directory that the guest
shared; RUN/results has the verdict on the tests.

The header of scripts/mutants/NAME.patch describes the bug. After that come these lines:

Caught-by: PROGRAM TESTS [TEXT]   runs TESTS (a shell pattern); one must fail and print TEXT
Caught-by: console TEXT           the kernel must complain and print TEXT
Run: PROGRAM TESTS                runs TESTS, for a `Caught-by: console` or a control
Config: NAME                      builds the kernel with that configuration
Control: yes                      this is no bug, and no test may fail

TEXT is a regular expression. `none` is the kernel without a mutant. It runs the tests
of all mutants. build/results/ gets mutants.txt. The logs of the build, the tests and the
console go to build/results/mutants/NAME-CONFIG/.
"""

import fnmatch
import json
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import harness
import verdict
from harness import RESULTS, TOP, Problem, read

MUTANTS = TOP / "scripts/mutants"
CONFIG = os.environ.get("CONFIG") or "default"
TIMEOUT = "Test terminated by timeout"


class Mutant:
    def __init__(self, name):
        self.name, self.config, self.control, described = name, "default", False, False
        self.run, self.by_test, self.by_console = [], [], []
        if name == "none":
            self.config, self.control = CONFIG, True
            self.run = [run for other in select(CONFIG) for run in other.run]
            return
        try:
            header = re.split(r"^(?:--- |diff )", (MUTANTS / f"{name}.patch").read_text(), flags=re.MULTILINE)[0]
        except OSError as error:
            raise Problem(f"scripts/mutants/{name}.patch: {error.strerror}") from error
        for line in header.splitlines():
            match line.split(None, 3):
                case ["Caught-by:", "console", *text] if text:
                    self.by_console.append(" ".join(text))
                case ["Caught-by:", program, tests, *text]:
                    self.by_test.append((program, tests, *text))
                    self.run.append((program, tests))
                case ["Run:", program, tests]:
                    self.run.append((program, tests))
                case ["Config:", config]:
                    self.config = config
                case ["Control:", "yes"]:
                    self.control = True
                case [field, *_] if re.match(r"[A-Z][A-Za-z-]*:", field):
                    raise Problem(f"{name}: unclear line in the header: {line}")
                case [_, *_]:
                    described = True
        if not described:
            raise Problem(f"{name}: the header does not describe the bug")
        if self.control == bool(self.by_test or self.by_console):
            raise Problem(f"{name}: the header needs `Caught-by:`, or `Control: yes`, not both")
        if not self.run:
            raise Problem(f"{name}: the header names no tests to run")

    def record(self, code, how, seconds=0):
        config = f" (CONFIG={self.config})" if self.config != "default" else ""
        line = f"{'FAIL' if code else 'ok':<5} {self.name}{config}: {how} ({seconds} s)"
        print(line, flush=True)
        result_of(self).write_text(f"{code} {line}\n")


def result_of(mutant):
    return RESULTS / "mutants" / f"{mutant.name}-{mutant.config}.txt"


def select(config=None):
    there = sorted(p.stem for p in MUTANTS.glob("*.patch"))
    names = set()
    for pattern in re.split(r"[,\s]+", os.environ.get("M", "").strip() or "*"):
        found = fnmatch.filter(there, pattern)
        if not found:
            raise Problem(f"M={pattern}: no such mutant; scripts/mutants/ has: {' '.join(there)}")
        names.update(found)
    # The controls come first: if one fails, the other results mean nothing.
    return sorted((m for m in map(Mutant, names) if config in (None, m.config)),
                  key=lambda m: (not m.control, m.name))


def list_tests(program):
    """Return the names of all tests of a program. `PROGRAM -l` has a column for each part of a name."""
    done = subprocess.run([program, "-l"], stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
                          stdout=subprocess.PIPE, text=True, check=False)
    names, fixture, variants, tests = [], "", [], []
    for line in done.stdout.splitlines()[1:] + ["-"]:
        if line.startswith("-"):
            names += [".".join(filter(None, (fixture, v, t))) for v in variants or [""] for t in tests]
            fixture, variants, tests = "", [], []
            continue
        fixture = fixture or line[:20].strip()
        variants += filter(None, [line[21:46].strip()])
        tests += filter(None, [line[47:].strip()])
    return names


def tests(mutant, directory):
    """Return {program: names of the tests to run}, or an error text for the result line."""
    found = {}
    for program, pattern in mutant.run:
        if not (directory / program).is_file():
            return f"the header names {program}, which is no test program"
        names = fnmatch.filter(list_tests(directory / program), pattern)
        if not names:
            return f"the header names {program} {pattern}, and there is no such test"
        found.setdefault(program, {}).update(dict.fromkeys(names))
    return found


def judge(mutant, directory):
    """Return the exit code and a text for the result line."""
    summary = json.loads(read(directory / "results/summary.json"))
    kernel = verdict.kernel_lines(directory)
    caught, missing = [], []

    for text in mutant.by_console:
        hits = [line for line in kernel if re.search(text, line)]
        if hits and 3 in summary["codes"]:
            caught.append("the kernel: " + verdict.STAMP.sub("", hits[0].strip()))
        else:
            missing.append(f"console {text}")
    # After such a complaint, the guest may die, and tests may fail or be missing.
    by_console = bool(caught)

    # Results that the header does not announce: (exit code, text).
    other = [(code, text) for code, text in zip(summary["codes"], summary["wrong"])
             if code != 1 and not (by_console and code in (3, 5, 7, 8, 9))]
    failed = {test["name"].removeprefix("proc/").replace("/", " ", 1): "\n".join(test["output"])
              for test in summary.get("tests", []) if test["result"] == "fail"}
    in_time = {name: output for name, output in failed.items() if TIMEOUT not in output}
    for program, pattern, *text in mutant.by_test:
        hits = [name for name, output in in_time.items()
                if fnmatch.fnmatch(name, f"{program} {pattern}") and re.search("".join(text), output)]
        caught += [name for name in hits if name not in caught]
        if not hits:
            missing.append(" ".join((program, pattern, *text)))
    for name, output in failed.items():
        if name not in in_time:
            other.append((1, f"{name} ran into its time limit"))
        elif name not in caught and not by_console:
            said = re.search(r"^\s*(\S+\.c:\d+:.*)", output, re.MULTILINE)
            other.append((1, f"{name} failed: {said[1] if said else ''}".rstrip(": ")))

    passed = f"{summary.get('pass', 0)} tests passed"
    if mutant.control:
        return (other[0][0], "; ".join(text for _, text in other)) if other else (0, passed)
    if missing:
        what = "caught by something else" if other else "not caught"
        return other[0][0] if other else 1, "; ".join(
            [f"{what}: no failure of {m}" for m in missing] + [text for _, text in other] + [passed])
    how = "caught by " + ", ".join(caught)
    # Another failed test (code 1) does not contradict the catch.
    for code, text in other:
        if code != 1:
            return code, f"{how}, but also: {text}"
    return 0, how


def summary():
    for mutant in select():
        if not result_of(mutant).exists():
            mutant.record(1, "not tried: `none` failed")
    results = [read(file).split(" ", 1) for file in sorted((RESULTS / "mutants").glob("*.txt"))]
    bad = [int(code) for code, _ in results if code != "0"]
    count = f"{len(results) - len(bad)} passed, {len(bad)} failed\n"
    (RESULTS / "mutants.txt").write_text("".join(line for _, line in results) + count)
    print(count, end="")
    return min(bad, key=list(verdict.CODES).index, default=0)


def main():
    match sys.argv[1:]:
        case ["select", *config]:
            print("\n".join(m.name for m in select(*config)))
        case ["configs"]:
            # The default kernel comes first.
            print("\n".join(sorted({m.config for m in select()}, key=lambda c: (c != "default", c))))
        case ["tests", name, directory]:
            found = tests(Mutant(name), Path(directory))
            if isinstance(found, str):
                Mutant(name).record(7, found)
                return 1
            for program, names in found.items():
                print(program, *(f"-r {name}" for name in names))
        case ["record", name, code, text]:
            Mutant(name).record(int(code), text)
        case ["judge", name, directory, seconds]:
            Mutant(name).record(*judge(Mutant(name), Path(directory)), int(seconds))
        case ["summary"]:
            return summary()
        case _:
            sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    harness.run(main)
