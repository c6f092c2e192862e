#!/usr/bin/env python3
"""The faults of scripts/mutants/: what they are, and whether the tests catch them.

usage: mutant.py select PATTERNS [--config NAME] | configs | cmd NAME | broken NAME TEXT |
       judge NAME | sound | summary    (options: see main(); scripts/verbs/mutants calls these)

The header of scripts/mutants/NAME.patch says in words what the fault is; then:

Caught-by: PROGRAM TESTS [TEXT]   these tests (a shell pattern) run, and one fails, saying TEXT
Caught-by: console TEXT           the kernel complains, saying TEXT
Run: PROGRAM TESTS                these tests run; for what the kernel complains of, and controls
Config: NAME                      in the kernel of that configuration
Control: yes                      no fault; nothing may catch it

TEXT is a regular expression. `none` is the kernel without a fault, where all
the tests run that are to catch one. build/results/ gets mutants.txt and
mutants.json; mutants/NAME-CONFIG/ there, the logs of the build, of each test
program, and of the console.
"""

import argparse
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))
import verdict

TOP = Path(__file__).resolve().parent.parent.parent
MUTANTS = TOP / "scripts/mutants"
RESULTS = TOP / "build/results"
TIMEOUT = "Test terminated by timeout"


class Problem(Exception):
    pass


class Mutant:
    def __init__(self, name):
        self.name, self.config, self.control = name, "default", False
        self.text, self.run, self.by_test, self.by_console = [], [], [], []
        if name == "none":
            self.text, self.control = ["no fault"], True
            return
        try:
            header = re.split(r"^(?:--- |diff )", (MUTANTS / f"{name}.patch").read_text(), flags=re.M)[0]
        except OSError as error:
            raise Problem(f"scripts/mutants/{name}.patch: {error.strerror}") from error
        for line in header.splitlines():
            self.parse(line)
        if not self.text:
            raise Problem(f"{name}: the header does not say what the fault is")
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


def select(patterns, config=None):
    there = sorted(p.stem for p in MUTANTS.glob("*.patch"))
    names = set()
    for pattern in re.split(r"[,\s]+", patterns.strip()):
        found = fnmatch.filter(there, pattern)
        if not found:
            raise Problem(f"M={pattern}: no such fault; scripts/mutants/ has: {' '.join(there)}")
        names.update(found)
    chosen = [Mutant(n) for n in sorted(names)]
    # What shows the others to be sound comes first.
    return sorted((m for m in chosen if config in (None, m.config)),
                  key=lambda m: (not m.control, m.name))


def list_tests(program):
    """The names of all tests in a program; its list has one column each for their parts."""
    done = subprocess.run([program, "-l"], stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
                          stdout=subprocess.PIPE, text=True, check=False)
    names, fixture, variants, tests = [], "", [], []

    def add():
        names.extend(".".join(filter(None, (fixture, v, t)))
                     for v in variants or [""] for t in tests)

    for line in done.stdout.splitlines()[1:] + ["-"]:
        if line.startswith("-"):
            add()
            fixture, variants, tests = "", [], []
            continue
        fixture = fixture or line[:20].strip()
        variants += filter(None, [line[21:46].strip()])
        tests += filter(None, [line[47:].strip()])
    return names


def wanted(mutant, of):
    """{program: patterns} of the tests that this one runs."""
    programs = {}
    for m in ([mutant] if mutant.name != "none" else
              [m for m in of if m.config == os.environ["CONFIG"]]):
        for program, pattern in m.run:
            programs.setdefault(program, []).append(pattern)
    return programs


def command(mutant, directory, tests, of):
    lines = ["uname -r >uname", "here=$PWD", f"cd {shlex.quote(str(tests))}"]
    for program, patterns in wanted(mutant, of).items():
        if not (tests / program).is_file():
            raise Problem(f"names {program}, which is no test program")
        names = list_tests(tests / program)
        chosen = []
        for pattern in patterns:
            found = fnmatch.filter(names, pattern)
            if not found:
                raise Problem(f"names {program} {pattern}, and there is no such test")
            chosen += [n for n in found if n not in chosen]
        args = " ".join(f"-r {shlex.quote(n)}" for n in chosen)
        # What a test leaves behind by failing must not keep the next one.
        lines.append(f'./{program} {args} >"$here/{program}.ktap" 2>&1')
    (directory / "cmd").write_text("\n".join(lines + ["exit 0"]) + "\n")


def results_of(directory, programs):
    """([(program, test, result, output)], complaints about plans)"""
    tests, short = [], []
    for program in programs:
        plan, results = verdict.parse_ktap(verdict.read(directory / f"{program}.ktap").splitlines())
        if plan is None or len(results) < plan:
            short.append(f"{program}: {len(results)} of {plan or 'no'} tests reported")
        for ok, name, directive, reason, output in results:
            result = verdict.outcome(ok, directive)
            if result == "fail" and any(TIMEOUT in line for line in output):
                result = "timeout"
            tests.append((program, name, result, output + [reason]))
    return tests, short


def judge(mutant, directory, vm_end, of):
    """(exit code, how it went, tests)"""
    console = verdict.read(directory / "console.log")
    kernel = verdict.kernel_lines(directory)
    end = verdict.read(directory / "end").split("\n")[0]
    complaints = [kernel[i].strip() for i in verdict.splats(kernel)]
    tests, short = results_of(directory, wanted(mutant, of))
    caught, missing = [], []

    for text in mutant.by_console:
        hits = [line for line in kernel if re.search(text, line)]
        if hits and complaints:
            caught.append("the kernel: " + verdict.STAMP.sub("", hits[0].strip()))
        else:
            missing.append(f"console {text}")
    by_console = bool(caught)
    for program, pattern, text in mutant.by_test:
        hits = [name for p, name, result, output in tests
                if p == program and result == "fail" and fnmatch.fnmatch(name, pattern)
                and (not text or any(re.search(text, line) for line in output))]
        caught += [f"{program} {name}" for name in hits if f"{program} {name}" not in caught]
        if not hits:
            missing.append(" ".join((program, pattern, text)).strip())

    # Whatever else there is, and is not said in the header.
    other = []
    if complaints and not by_console:
        other.append((3, f"the kernel complained: {complaints[0]}"))
    if vm_end == 4:
        other.append((4, verdict.CODES[4]))
    elif not by_console:
        if vm_end or end != "ended":
            other.append((vm_end or 5, verdict.CODES[vm_end or 5]))
        elif verdict.END_MARK not in console:
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

    passed = sum(result == "pass" for _, _, result, _ in tests)
    if mutant.control:
        if other:
            return other[0][0], "; ".join(text for _, text in other), tests
        return 0, f"{passed} tests pass", tests
    if missing:
        what = "caught by something else" if other else "not caught"
        code = other[0][0] if other else 1
        how = "; ".join([f"{what}: no failure of {m}" for m in missing]
                        + [text for _, text in other] + ([f"{passed} tests passed"] if passed else []))
        return code, how, tests
    # A test of the same pattern that fails in another way is no contradiction.
    grave = [(code, text) for code, text in other if code not in (1,)]
    if grave:
        return grave[0][0], f"caught by {', '.join(caught)}, but also: {grave[0][1]}", tests
    return 0, "caught by " + ", ".join(caught), tests


def record(mutant, code, how, seconds, tests=()):
    config = os.environ["CONFIG"]
    line = (f"{'FAIL' if code else 'ok':<5} {mutant.name}"
            + (f" (CONFIG={config})" if config != "default" else "") + f": {how} ({seconds} s)")
    print(line, flush=True)
    (RESULTS / "mutants" / f"{mutant.name}-{config}.json").write_text(json.dumps({
        "name": mutant.name, "config": config, "control": mutant.control,
        "fault": " ".join(mutant.text), "exit": code, "how": how, "seconds": seconds,
        "tests": [{"name": f"{p}/{n}", "result": r} for p, n, r, _ in tests], "line": line}))


def keep(mutant, directory):
    kept = RESULTS / "mutants" / f"{mutant.name}-{os.environ['CONFIG']}"
    kept.mkdir(parents=True, exist_ok=True)
    for file in [*directory.glob("*.ktap"), *directory.glob("*.log")]:
        shutil.copy(file, kept)


def summary(of):
    done = {f.stem: json.loads(f.read_text())
            for f in sorted((RESULTS / "mutants").glob("*.json"))}
    lines, every = [], []
    for mutant in of:
        name = f"{mutant.name}-{mutant.config}"
        if name not in done:
            line = f"FAIL  {mutant.name}: not tried"
            print(line)
            done[name] = {"name": mutant.name, "config": mutant.config, "exit": 1,
                          "how": "not tried", "line": line}
    for one in done.values():
        every.append(one)
        lines.append(one.pop("line"))
    bad = [one for one in every if one["exit"]]
    order = list(verdict.CODES)
    code = min((one["exit"] for one in bad), key=order.index, default=0)
    last = f"{len(every) - len(bad)} passed, {len(bad)} failed"
    (RESULTS / "mutants.txt").write_text("\n".join(lines + [last]) + "\n")
    (RESULTS / "mutants.json").write_text(json.dumps(
        {"exit": code, "passed": len(every) - len(bad), "failed": len(bad), "mutants": every},
        indent=1) + "\n")
    print(last)
    return code


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("verb", choices=("select", "configs", "cmd", "broken", "judge", "sound",
                                         "summary"))
    parser.add_argument("what", nargs="*")
    parser.add_argument("--of", default="*", help="the names of all that are tried")
    parser.add_argument("--config")
    parser.add_argument("--dir", type=Path, help="the run's directory, shared with the guest")
    parser.add_argument("--tests", type=Path, help="where the test programs are")
    parser.add_argument("--vm-end", type=int)
    parser.add_argument("--seconds", type=int, default=0)
    args = parser.parse_args()

    if args.verb == "select":
        print("\n".join(m.name for m in select(args.what[0], args.config)))
    elif args.verb == "configs":
        # The usual kernel first.
        print("\n".join(sorted({m.config for m in select(args.of)}, key=lambda c: (c != "default", c))))
    elif args.verb == "sound":
        file = RESULTS / "mutants" / f"none-{os.environ['CONFIG']}.json"
        return json.loads(file.read_text())["exit"]
    elif args.verb == "summary":
        return summary(select(args.of))
    else:
        mutant = Mutant(args.what[0])
        if args.verb == "broken":
            record(mutant, 11, args.what[1], args.seconds)
        elif args.verb == "cmd":
            try:
                command(mutant, args.dir, args.tests, select(args.of))
            except Problem as problem:
                record(mutant, 7, f"the header {problem}", 0)
                return 1
        else:
            code, how, tests = judge(mutant, args.dir, args.vm_end, select(args.of))
            keep(mutant, args.dir)
            record(mutant, code, how, args.seconds, tests)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Problem, verdict.Unable) as problem:
        verdict.say(f"exithand: {problem}")
        sys.exit(6)
