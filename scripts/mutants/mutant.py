#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Read the mutants of scripts/mutants/ and judge whether the tests catch them.

usage: mutant.py select [CONFIG] | configs | cmd NAME TESTS DIR | broken NAME TEXT |
       judge NAME DIR VM_END SECONDS | summary    (scripts/verbs/mutants calls these)

The variable M has the names of the mutants to try, or shell patterns. CONFIG is the
configuration of the kernel. TESTS is the directory of the test programs, DIR the one that
the guest shares. VM_END is the exit code of vm.py.

The header of scripts/mutants/NAME.patch describes the bug. After that come these lines:

Caught-by: PROGRAM TESTS [TEXT]   runs TESTS (a shell pattern); one must fail and print TEXT
Caught-by: console TEXT           the kernel must complain and print TEXT
Run: PROGRAM TESTS                runs TESTS, for a `Caught-by: console` or a control
Config: NAME                      builds the kernel with that configuration
Control: yes                      this is no bug, and no test may fail

TEXT is a regular expression. `none` is the kernel without a mutant. It runs the tests
of all mutants. build/results/ gets mutants.txt and mutants.json. The logs of the build,
of each test program and of the console go to build/results/mutants/NAME-CONFIG/.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import harness
import verdict
from harness import Problem, RESULTS, TOP, read

MUTANTS = TOP / "scripts/mutants"
CONFIG = os.environ.get("CONFIG") or "default"
TIMEOUT = "Test terminated by timeout"


class Mutant:
    def __init__(self, name):
        self.name, self.config, self.control = name, "default", False
        self.text, self.run, self.by_test, self.by_console = [], [], [], []
        if name == "none":
            self.text, self.config, self.control = ["no mutant"], CONFIG, True
            self.run = [run for other in select(CONFIG) for run in other.run]
            return
        try:
            header = re.split(r"^(?:--- |diff )", (MUTANTS / f"{name}.patch").read_text(), flags=re.M)[0]
        except OSError as error:
            raise Problem(f"scripts/mutants/{name}.patch: {error.strerror}") from error
        for line in header.splitlines():
            self.parse(line)
        if not self.text:
            raise Problem(f"{name}: the header does not describe the bug")
        if self.control == bool(self.by_test or self.by_console):
            raise Problem(f"{name}: the header needs `Caught-by:`, or `Control: yes`, not both")
        if not self.run:
            raise Problem(f"{name}: the header names no tests to run")

    def parse(self, line):
        field, _, value = line.partition(": ")
        words = value.split(None, 2)
        if field == "Caught-by" and words[:1] == ["console"] and len(words) > 1:
            self.by_console.append(value.split(None, 1)[1])
        elif field == "Caught-by" and len(words) > 1:
            self.by_test.append((*words[:2], words[2] if len(words) > 2 else ""))
            self.run.append(tuple(words[:2]))
        elif field == "Run" and len(words) == 2:
            self.run.append(tuple(words))
        elif field == "Config" and len(words) == 1:
            self.config = value
        elif field == "Control" and value == "yes":
            self.control = True
        elif re.match(r"[A-Z][A-Za-z-]*:", line):
            raise Problem(f"{self.name}: unclear line in the header: {line}")
        elif line.strip():
            self.text.append(line)

    def programs(self):
        """Return {program: patterns} of the tests to run."""
        found = {}
        for program, pattern in self.run:
            found.setdefault(program, []).append(pattern)
        return found

    def record(self, code, how, seconds=0, tests=()):
        config = f" (CONFIG={self.config})" if self.config != "default" else ""
        line = f"{'FAIL' if code else 'ok':<5} {self.name}{config}: {how} ({seconds} s)"
        print(line, flush=True)
        result_of(self).write_text(json.dumps({
            "name": self.name, "config": self.config, "control": self.control,
            "mutant": " ".join(self.text), "exit": code, "how": how, "seconds": seconds,
            "tests": [{"name": f"{p}/{n}", "result": r} for p, n, r, _ in tests], "line": line}))


def result_of(mutant):
    return RESULTS / "mutants" / f"{mutant.name}-{mutant.config}.json"


def select(config=None):
    there = sorted(p.stem for p in MUTANTS.glob("*.patch"))
    names = set()
    for pattern in re.split(r"[,\s]+", os.environ.get("M", "").strip() or "*"):
        found = fnmatch.filter(there, pattern)
        if not found:
            raise Problem(f"M={pattern}: no such mutant; scripts/mutants/ has: {' '.join(there)}")
        names.update(found)
    # The controls come first: if one fails, the other results mean nothing.
    found = sorted((m for m in map(Mutant, names) if config in (None, m.config)),
                   key=lambda m: (not m.control, m.name))
    if not found:
        raise Problem(f"there is no mutant with Config: {config}")
    return found


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


def command(mutant, tests, directory):
    """Write the guest's command. Return an error text if the header names no such test."""
    lines = ["uname -r >uname", "here=$PWD", f"cd {shlex.quote(str(tests))}"]
    for program, patterns in mutant.programs().items():
        if not (tests / program).is_file():
            return f"the header names {program}, which is no test program"
        names, chosen = list_tests(tests / program), {}
        for pattern in patterns:
            found = fnmatch.filter(names, pattern)
            if not found:
                return f"the header names {program} {pattern}, and there is no such test"
            chosen.update(dict.fromkeys(found))
        args = " ".join(f"-r {shlex.quote(n)}" for n in chosen)
        # If a program fails, the next one still runs.
        lines.append(f'./{program} {args} >"$here/{program}.ktap" 2>&1')
    (directory / "cmd").write_text("\n".join(lines + ["exit 0"]) + "\n")
    return None


def results_of(directory, programs):
    """Return [(program, test, result, output)], and an error text for each incomplete program."""
    tests, short = [], []
    for program in programs:
        plan, results = verdict.parse_ktap(read(directory / f"{program}.ktap").splitlines())
        if plan is None or len(results) < plan:
            short.append(f"{program}: {len(results)} of {plan or 'no'} tests reported")
        for ok, name, directive, reason, output in results:
            result = verdict.outcome(ok, directive)
            if result == "fail" and any(TIMEOUT in line for line in output):
                result = "timeout"
            tests.append((program, name, result, output + [reason]))
    return tests, short


def judge(mutant, directory, vm_end):
    """Return the exit code, a text for the result line, and the tests."""
    kernel = verdict.kernel_lines(directory)
    complaints = [kernel[i].strip() for i in verdict.splats(kernel)]
    tests, short = results_of(directory, mutant.programs())
    caught, missing = {}, []

    for text in mutant.by_console:
        hits = [line for line in kernel if re.search(text, line)]
        if hits and complaints:
            caught["the kernel: " + verdict.STAMP.sub("", hits[0].strip())] = True
        else:
            missing.append(f"console {text}")
    by_console = bool(caught)
    for program, pattern, text in mutant.by_test:
        hits = [f"{program} {name}" for p, name, result, output in tests
                if p == program and result == "fail" and fnmatch.fnmatch(name, pattern)
                and (not text or any(re.search(text, line) for line in output))]
        caught.update(dict.fromkeys(hits))
        if not hits:
            missing.append(" ".join((program, pattern, text)).strip())

    # Failures that the header does not announce: (exit code, text).
    other = []
    if complaints and not by_console:
        other.append((3, f"the kernel complained: {complaints[0]}"))
    if vm_end == 4:
        other.append((4, verdict.CODES[4]))
    elif not by_console:
        if vm_end or read(directory / "end").split("\n")[0] != "ended":
            other.append((vm_end or 5, verdict.CODES[vm_end or 5]))
        elif verdict.END_MARK not in read(directory / "console.log"):
            other.append((9, verdict.CODES[9]))
        if not tests:
            other.append((7, verdict.CODES[7]))
        elif short:
            other.append((8, "; ".join(short)))
    for program, name, result, output in tests:
        if result == "timeout":
            other.append((1, f"{program} {name} ran into its time limit"))
        elif result == "skip":
            other.append((10, f"{program} {name} was skipped: {output[-1]}"))
        elif result == "fail" and f"{program} {name}" not in caught and not by_console:
            said = next((line for line in output if re.match(r"\s*\S+\.c:\d+:", line)), "")
            other.append((1, f"{program} {name} failed: {said.strip()}".rstrip(": ")))

    passed = f"{sum(result == 'pass' for _, _, result, _ in tests)} tests passed"
    if mutant.control:
        if other:
            return other[0][0], "; ".join(text for _, text in other), tests
        return 0, passed, tests
    if missing:
        what = "caught by something else" if other else "not caught"
        return other[0][0] if other else 1, "; ".join(
            [f"{what}: no failure of {m}" for m in missing] + [text for _, text in other] + [passed]), tests
    how = "caught by " + ", ".join(caught)
    # Another failed test (code 1) does not contradict the catch.
    for code, text in other:
        if code != 1:
            return code, f"{how}, but also: {text}", tests
    return 0, how, tests


def summary():
    for mutant in select():
        if not result_of(mutant).exists():
            mutant.record(1, "not tried")
    every = [json.loads(f.read_text()) for f in sorted((RESULTS / "mutants").glob("*.json"))]
    lines = [one.pop("line") for one in every]
    bad = [one["exit"] for one in every if one["exit"]]
    lines.append(f"{len(every) - len(bad)} passed, {len(bad)} failed")
    code = min(bad, key=list(verdict.CODES).index, default=0)
    (RESULTS / "mutants.txt").write_text("\n".join(lines) + "\n")
    (RESULTS / "mutants.json").write_text(json.dumps(
        {"exit": code, "passed": len(every) - len(bad), "failed": len(bad), "mutants": every},
        indent=1) + "\n")
    print(lines[-1])
    return code


def main():
    match sys.argv[1:]:
        case ["select"]:
            print("\n".join(m.name for m in select()))
        case ["select", config]:
            print("\n".join(m.name for m in select(config)))
        case ["configs"]:
            # The default kernel comes first.
            print("\n".join(sorted({m.config for m in select()}, key=lambda c: (c != "default", c))))
        case ["cmd", name, tests, directory]:
            if wrong := command(Mutant(name), Path(tests), Path(directory)):
                Mutant(name).record(7, wrong)
                return 1
        case ["broken", name, text]:
            Mutant(name).record(11, text)
        case ["judge", name, directory, vm_end, seconds]:
            mutant, directory = Mutant(name), Path(directory)
            code, how, tests = judge(mutant, directory, int(vm_end))
            mutant.record(code, how, int(seconds), tests)
            kept = result_of(mutant).with_suffix("")
            kept.mkdir(exist_ok=True)
            for file in [*directory.glob("*.ktap"), *directory.glob("*.log")]:
                shutil.copy(file, kept)
        case ["summary"]:
            return summary()
        case _:
            sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    harness.run(main)
