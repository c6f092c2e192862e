# SPDX-License-Identifier: GPL-2.0
"""Judge a run of the virtual machine by the files that it left.

usage: verdict.py exec|run|test|kunit --dir DIR --vm-end N --results DIR [--config NAME]

DIR has the files of vm.py (console.log, status, end), and N is its exit code. For `test`
and `kunit`, DIR also has test.ktap; for `kunit`, `ours`, the tests that must have run. A
missing file is an error.
"""

import argparse
import json
import re
import shutil
import time
from pathlib import Path

import harness
from harness import TOP, Problem, read, say

# The most serious code comes first: if several apply, the first one is the exit code.
# `make help` has the same list.
CODES = {
    0: "all is well",
    6: "the harness could not do its work (tools, network, disk, bad input)",
    3: "the kernel complained on its console",
    4: "the guest did not end in time",
    5: "the guest died",
    9: "the console log does not reach its end mark",
    7: "no test ran",
    8: "fewer tests ran than were planned",
    1: "a test failed (or a check of `make check`, a goal of `make bench`, or the demonstration)",
    10: "a test of ours was skipped",
    11: "a patch does not apply, or the kernel does not build",
}
LISTS = TOP / "qemu-config"
END_MARK = "exithand: end of run"
LEAK_MARK = "exithand: looked for leaks"
OURS = "proc-exithand"
# The files of a run in build/results/.
KEPT = ("console.log", "test.ktap")
# The beginning of a kernel line on the console. With console_msg_format=syslog, the
# kernel puts <N> before each line: N is eight times the facility, plus the level. Only
# the kernel has facility 0. A line that user space writes to /dev/kmsg has another one.
# A line that user space writes to the terminal has no <N>. Before the kernel has parsed
# its command line, its own lines have only a time stamp, but then there is no user
# space. Text of user space without a newline may come before the <N>.
KERNEL = re.compile(r"<[0-7]>|^(?=\[ *\d+\.\d+\])|(?=\*\* \d+ printk messages dropped \*\*)")
STAMP = re.compile(r"^\[ *\d+\.\d+\] ?")


def entries(name, fields):
    """Return the entries of one of our lists: an expression and, in a list of two fields, a reason."""
    found = []
    try:
        for line in (LISTS / name).read_text().splitlines():
            parts = line.split("\t")
            if line.strip() and not line.startswith("#"):
                if len(parts) != fields or not all(part.strip() for part in parts):
                    raise ValueError(f"an entry needs {fields} fields, the last one a reason: {parts[0]}")
                re.compile(parts[0])
                found.append(parts)
    except (OSError, re.error, ValueError) as error:
        raise Problem(f"cannot read {name}: {error}") from error
    return found


def kernel_lines(directory):
    """Return the kernel's lines on the console, without those of user space, and kmemleak's."""
    # Do not use splitlines(): a program's name may have any character but the newline.
    lines = [line[match.end():].rstrip("\r") for line in read(directory / "console.log").split("\n")
             if (match := KERNEL.search(line))]
    return lines + read(directory / "leaks").splitlines()


def splats(lines):
    """Return the indexes of the lines that are complaints of the kernel."""
    deny = re.compile("|".join(expression for expression, in entries("splat-deny", 1)))
    if not deny.pattern:
        raise Problem("splat-deny is empty")
    text = "\n".join(lines)
    for allow, reason in entries("splat-allow", 2):
        # Of an allowed report of several lines, only the first line and `Call Trace:` are
        # allowed: another CPU may have printed the others.
        text, count = re.subn(f"^.*(?:{allow})", lambda report: re.sub("^.*|Call Trace:", "", report[0]),
                              text, flags=re.MULTILINE)
        if count:
            say(f"== {count} reports on the console that are no complaints: {reason}")
    return [i for i, line in enumerate(text.split("\n")) if deny.search(line)]


def parse_ktap(lines):
    """Return (plan, results) of one level, results: [(ok, name, directive, reason, nested lines)]."""
    plan, results, nested = None, [], []
    for line in lines:
        if match := re.match(r"1\.\.(\d+)\b", line):
            if plan is None:
                plan = int(match[1])
        elif match := re.match(r"(not )?ok\b\s*(\d*)\s*(?:- )?(.*)", line):
            name, _, comment = match[3].partition("#")
            directive, _, reason = comment.strip().partition(" ")
            results.append((not match[1], name.strip(), directive.upper(), reason.strip(), nested))
            nested = []
        elif line.startswith("#"):
            nested.append(line[2:] if line.startswith("# ") else line[1:])
        elif line.strip():
            # KUnit indents nested lines, kselftest puts "# " before them.
            nested.append(line.removeprefix("    "))
    return plan, results


def outcome(ok, directive):
    if directive in ("SKIP", "XFAIL", "TODO"):
        return "skip"
    return "pass" if ok else "fail"


def judge_ktap(text):
    """Return (tests, complaints): the leaves of the output, and plans that were not fulfilled."""
    tests, short = [], []
    plan, results = parse_ktap(text.splitlines())
    if plan is None:
        short.append("the runner printed no plan")
    elif len(results) < plan:
        short.append(f"{len(results)} of {plan} test programs reported")
    for ok, name, directive, reason, lines in results:
        program = name.replace("selftests: ", "").replace(": ", ":")
        name = program.replace(":", "/")
        inner_plan, inner = parse_ktap(lines)
        if inner_plan is not None and len(inner) < inner_plan:
            short.append(f"{name}: {len(inner)} of {inner_plan} tests reported")
        inner = [(ok, f"{name}/{test}", *rest) for ok, test, *rest in inner]
        bad = [t for t in inner if outcome(t[0], t[2]) == "fail"]
        if not inner or (not ok and directive != "SKIP" and not bad):
            # The program has no tests of its own, or failed although they passed.
            inner.append((ok, name, directive, f"{directive} {reason}".strip(), lines))
        for ok, name, directive, reason, said in inner:
            tests.append({"name": name, "program": program, "result": outcome(ok, directive),
                          "reason": reason, "output": said})
    return tests, short


def show(lines, limit=14):
    for line in lines[:limit]:
        say("    " + line.rstrip())


def judge(args):
    """Return ([(exit code, text)], summary), and print the details."""
    console = read(args.dir / "console.log")
    kernel = kernel_lines(args.dir)
    status = read(args.dir / "status").strip()
    summary = {"kind": args.kind, "config": args.config, "kernel": read(args.dir / "uname").strip(),
               "guest": read(args.dir / "end").split(), "vm_end": args.vm_end,
               "status": int(status) if status.lstrip("-").isdigit() else None}
    wrong = []

    if console.strip() and not any(STAMP.match(line) for line in kernel):
        wrong.append((6, "no console line has the kernel's time stamp; set CONFIG_PRINTK_TIME=y"))
    bad = splats(kernel)
    if bad:
        wrong.append((3, "the kernel complained: " + kernel[bad[0]].strip()))
        show(kernel[bad[0]:], 20)
    if args.vm_end:
        code = args.vm_end if args.vm_end in CODES else 6
        wrong.append((code, CODES[code]))
        if not bad:
            say("    the end of its console:")
            show(console.splitlines()[-12:])
    elif summary["status"] is None:
        wrong.append((5, "the script in the guest left no exit status"))
    if END_MARK not in console:
        wrong.append((9, CODES[9]))
    elif (args.dir / "look-for-leaks").exists() and LEAK_MARK not in console:
        wrong.append((9, "the guest did not look for leaks"))

    if args.kind in ("test", "kunit"):
        tests, short = judge_ktap(read(args.dir / "test.ktap"))
        ours = read(args.dir / "ours").split()
        skipped = [t for t in tests if t["result"] == "skip"
                   and (t["name"] in ours or t["name"].startswith(f"proc/{OURS}"))]
        lost = [name for name in ours if name not in {t["name"] for t in tests}]
        if args.kind == "kunit" and lost == ours:
            wrong.append((7, f"{CODES[7]}: none of our tests in the kernel"))
        elif lost:
            wrong.append((8, f"{len(lost)} of our tests did not run: " + ", ".join(lost[:5])))
        for kind in ("pass", "fail", "skip"):
            summary[kind] = sum(t["result"] == kind for t in tests)
        summary["tests"] = tests
        for test in (t for t in tests if t["result"] == "fail"):
            say(f"FAILED: {test['name']} {test['reason']}")
            show(test["output"][-8:])
        for test in skipped:
            say(f"SKIPPED: {test['name']} {test['reason']}")
        if not tests:
            wrong.append((7, CODES[7]))
        if short:
            wrong.append((8, "; ".join(short[:3])))
        if summary["fail"]:
            wrong.append((1, f"{summary['fail']} tests failed"))
        if skipped:
            wrong.append((10, f"{len(skipped)} tests of ours were skipped"))
    elif args.kind == "run" and summary["status"]:
        wrong.append((1, f"the demonstration ended with status {summary['status']}"))
    wrong.sort(key=lambda w: list(CODES).index(w[0]))
    return wrong, summary


def publish(args, wrong, summary):
    """Replace the files of the last run in the results with those of this run."""
    # For `exec`, the status of the command is the exit code, but no complaint.
    summary["exit"] = wrong[0][0] if wrong else args.kind == "exec" and summary["status"] or 0
    summary["wrong"] = [text for _, text in wrong]
    summary["codes"] = [code for code, _ in wrong]
    summary["when"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    (args.results / "summary.json").unlink(missing_ok=True)
    for name in KEPT:
        (args.results / name).unlink(missing_ok=True)
        if (args.dir / name).exists():
            shutil.copy(args.dir / name, args.results)
    (args.results / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("kind", choices=("exec", "run", "test", "kunit"))
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--vm-end", type=int, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--config", default="")
    args = parser.parse_args()
    try:
        wrong, summary = judge(args)
    except Problem as problem:
        wrong, summary = [(6, str(problem))], {}
    publish(args, wrong, summary)
    for _, text in wrong:
        say(f"exithand: {text}")
    if wrong:
        kept = [name for name in KEPT if (args.dir / name).exists()]
        say(f"   see {', '.join([*kept, 'summary.json'])} in build/results/")
    if "pass" in summary:
        print(f"{summary['pass']} passed, {summary['fail']} failed, {summary['skip']} skipped")
    return summary["exit"]


if __name__ == "__main__":
    harness.run(main)
