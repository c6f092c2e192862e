# SPDX-License-Identifier: GPL-2.0
"""verdict.py: the files that a guest leaves, and the exit code for them."""

import json
import shutil
from types import SimpleNamespace

import pytest
from common import CONSOLE, CUT, OOPS, TOP, write

KTAP = """\
TAP version 13
1..3
# timeout set to 45
# selftests: proc: read
ok 1 selftests: proc: read
# timeout set to 45
# selftests: proc: proc-net-dev-lseek
# 1..0 # SKIP no network device
ok 2 selftests: proc: proc-net-dev-lseek # SKIP
# timeout set to 45
# selftests: proc: proc-exithand
# TAP version 13
# 1..2
# # Starting 2 tests from 1 test cases.
# #  RUN           global.read_waits ...
# #            OK  global.read_waits
# ok 1 global.read_waits
# #  RUN           global.poll_waits ...
# ok 2 global.poll_waits
# # PASSED: 2 / 2 tests passed.
# # Totals: pass:2 fail:0 xfail:0 xpass:0 skip:0 error:0
ok 3 selftests: proc: proc-exithand
"""
SKIPPED = KTAP.replace("ok 2 global.poll_waits", "ok 2 global.poll_waits # SKIP too lazy")
WHOLE_SKIPPED = KTAP[:KTAP.index("# TAP version")] + \
    "# 1..0 # SKIP no exithand\nok 3 selftests: proc: proc-exithand # SKIP\n"
TIMEOUT = KTAP[:KTAP.index("# ok 2 g")] + "not ok 3 selftests: proc: proc-exithand # TIMEOUT 45 seconds\n"


@pytest.fixture(name="judge")
def judge_fixture(program, tmp_path):
    def judge(kind="test", console=CONSOLE, ktap=KTAP, end="ended", status="0", vm_end=0, lists=None,
              leaks=None):
        run, top = tmp_path / "run", None
        for name, text in (("console.log", console), ("test.ktap", ktap), ("end", end + "\ntcg\n9.0\n"),
                           ("status", status), ("leaks", leaks), ("look-for-leaks", leaks and "")):
            if text is not None:
                write(run / name, text)
        if lists:
            top = tmp_path
            shutil.copytree(TOP / "qemu-config", top / "qemu-config")
            for name, text in lists.items():
                (top / "qemu-config" / name).unlink()
                if text is not None:
                    write(top / "qemu-config" / name, text)
        done = program("lib/verdict.py", kind, "--dir", run, "--vm-end", vm_end, "--results",
                       tmp_path / "results", top=top)
        summary = json.loads((tmp_path / "results/summary.json").read_text())
        assert summary["exit"] == done.code, done.err
        last = (done.out.splitlines() or [""])[-1]
        return SimpleNamespace(code=done.code, said=done.err, last=last)
    return judge


def console_with(*lines):
    return CONSOLE.replace("<12>", "\n".join(lines) + "\n<12>", 1)


@pytest.mark.parametrize("last, said, ktap, code", [
    ("3 passed, 0 failed, 1 skipped", "", KTAP, 0),
    ("2 passed, 1 failed, 1 skipped", "FAILED: proc/proc-exithand/global.poll_waits",
     KTAP.replace("# ok 2 g", "# not ok 2 g"), 1),
    # A test program failed although its tests passed.
    ("3 passed, 1 failed, 1 skipped", "FAILED: proc/proc-exithand ", KTAP.replace("ok 3 s", "not ok 3 s"), 1),
    ("2 passed, 1 failed, 1 skipped", "TIMEOUT 45 seconds", TIMEOUT, 8),
    ("0 passed, 0 failed, 0 skipped", "no test ran", "TAP version 13\n1..0\n", 7),
    ("0 passed, 0 failed, 0 skipped", "no test ran", None, 7),
    ("", "1 of 3 test programs", "\n".join(KTAP.splitlines()[:7]) + "\n", 8),
    ("", "2 of 3 tests", KTAP.replace("# 1..2", "# 1..3"), 8),
    ("", "no plan", KTAP.replace("\n1..3", ""), 8),
    ("2 passed, 0 failed, 2 skipped", "too lazy", SKIPPED, 10),
    ("1 passed, 0 failed, 2 skipped", "SKIPPED: proc/proc-exithand ", WHOLE_SKIPPED, 10)])
def test_tests(judge, last, said, ktap, code):
    done = judge(ktap=ktap)
    assert done.code == code and done.last.startswith(last) and said in done.said


def test_allowed_skip(judge):
    assert judge(ktap=SKIPPED, lists={
        "skip-allow": "proc/proc-exithand/*poll_waits\tneeds what this guest lacks\n"}).code == 0


@pytest.mark.parametrize("line", [
    "WARNING: kernel/exit.c:901 at do_exit+0x1/0x2, CPU#1: sleep/77",
    "BUG: KASAN: slab-use-after-free in exithand_poll+0x1/0x2",
    "scheduling while atomic: cat/77/0x00000002",
    "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [cat:77]",
    "INFO: task cat:77 blocked for more than 120 seconds.",
    "rcu: INFO: rcu_preempt self-detected stall on CPU",
    "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "rust_kernel: panicked at fs/proc/exithand/exithand.rs:1:1:",
    "UBSAN: array-index-out-of-bounds in fs/proc/base.c:1:2",
    "kmemleak: 2 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
    "refcount_t: underflow; use-after-free.",
    "ODEBUG: free active (active state 0) object: 00000000"])
def test_complaint_of_the_kernel(judge, line):
    done = judge(console=console_with(f"<4>[    8.000000] {line}"))
    assert done.code == 3 and f"exithand: the kernel complained: [    8.000000] {line}" in done.said


@pytest.mark.parametrize("line", [
    '<14>[    4.5] virtme-ng-init: WARNING: failed to run: "ip" link set dev lo up',
    "<12>[    4.5] BUG: of a test program",
    "<30>[    4.5] udevd[77]: Oops",
    "WARNING: straight to the terminal"])
def test_line_of_user_space(judge, line):
    assert judge(console=console_with(line)).code == 0


BUG = "<4>[    4.500001] WARNING: kernel/exit.c:901 at do_exit+0x1/0x2, CPU#1: sleep/77"


@pytest.mark.parametrize("line", [
    "no end of line" + BUG,
    "<14>[    4.5] no end of line" + BUG,
    "<14>[    4.5] said before\n" + BUG,
    BUG.replace("WARNING", "first line\n<4>[    4.500001] WARNING"),
    # The name of the program has these characters. The kernel's lines end with \r\n.
    "<4>[    4.5] a\x0cb\x85c\rd: page allocation failure: order:0\r",
    # The kernel repeats a line that a message of higher priority has interrupted.
    "<4>[    4.50\n** replaying previous printk message **\n" + BUG,
    "** 12 printk messages dropped **",
    # An early line, or a kernel without console_msg_format, has no <N>.
    "[    4.500001] WARNING: x"])
def test_line_of_the_kernel_beside_user_space(judge, line):
    assert judge(console=console_with(line)).code == 3


@pytest.mark.parametrize("console", [
    "Linux version 7.3.4-exithand\nexithand: end of run\n",
    "<6>Linux version 7.3.4-exithand\n<12>exithand: end of run\n",
    "<12>[    9.313434] exithand: end of run\n"])
def test_console_without_priorities(judge, console):
    assert judge(console=console).code == 6


# -- lists ------------------------------------------------------------------

REPORT = ["<4>[    8.0] eater invoked oom-killer: gfp_mask=0x1", "<4>[    8.1] Call Trace:",
          "<4>[    8.2]  dump_stack+0x1/0x2", "<4>[    8.3] Out of memory and no killable processes..."]


@pytest.mark.parametrize("lines, code", [
    (REPORT + REPORT, 0),
    # A line after a report, a forbidden line in it, and a report without an end are complaints.
    (REPORT + ["<4>Call Trace:"], 3), (REPORT[:3], 3),
    ([*REPORT[:2], "<4>BUG: KASAN: x", *REPORT[2:]], 3), ([*REPORT[:2], "<4>too late", *REPORT[2:]], 3)])
def test_allowed_report(judge, lines, code):
    done = judge(console=console_with(*lines), lists={
        "splat-reports": "invoked oom-killer: \tno killable\tKASAN|too late\tasked for\n"})
    assert done.code == code
    if not code:
        assert "2 reports on the console that are no complaints: asked for" in done.said


@pytest.mark.parametrize("lists, code", [
    ({"splat-allow": "WARNING: known$\tby design\n"}, 0), ({"splat-allow": "WARNING: known$\n"}, 6),
    ({"splat-allow": "nothing\tof that\n"}, 3)])
def test_allowed_complaint(judge, lists, code):
    assert judge(console=CONSOLE + "[    9.5] WARNING: known\n", lists=lists).code == code


@pytest.mark.parametrize("name, text", [
    ("splat-reports", None), ("splat-reports", "a\tb\t\td\n"), ("splat-deny", "# nothing\n"),
    ("splat-deny", "(\n"), ("splat-allow", None), ("skip-allow", "proc/*\n")])
def test_list_that_cannot_be_read(judge, name, text):
    done = judge(lists={name: text})
    assert done.code == 6 and name in done.said and "Traceback" not in done.said


def test_exit_codes_of_the_readme():
    import verdict
    readme = (TOP / "scripts/README.md").read_text()
    assert all(f"| {code} | {text} |\n" in readme for code, text in verdict.CODES.items())


# -- how it ended -----------------------------------------------------------

LOOKED = console_with("<12>[    9.2] exithand: looked for leaks")


@pytest.mark.parametrize("code, said, what", [
    (3, "NULL pointer dereference", {"console": CONSOLE + OOPS}),
    (3, "", {"console": CONSOLE[:80] + "\n" + OOPS, "end": "died", "status": None, "vm_end": 5}),
    (4, "the end of its console", {"console": CUT, "end": "hung", "status": None, "vm_end": 4}),
    (4, "", {"console": CUT, "end": "hung", "status": None}),
    (5, "the guest died", {"console": CUT, "end": "died", "status": None, "vm_end": 5}),
    (6, "", {"console": None, "end": "not started", "status": None, "vm_end": 6}),
    (6, "", {"vm_end": 77}),
    (5, "left no exit status", {"status": None}),
    (9, "end mark", {"console": CUT}), (9, "end mark", {"console": None}),
    (9, "did not look for leaks", {"leaks": ""}),
    (0, "", {"leaks": "", "console": LOOKED}),
    (3, "unreferenced", {"leaks": "unreferenced object 0xffff888004a0b000\n", "console": LOOKED})])
def test_end(judge, code, said, what):
    done = judge(**what)
    assert done.code == code and said in done.said


@pytest.mark.parametrize("kind, status, console, code", [
    ("exec", "7", CONSOLE, 7), ("exec", "1", CONSOLE + OOPS, 3), ("exec", "3", CONSOLE + OOPS, 3),
    ("exec", "0", CUT, 9), ("run", "0", CONSOLE, 0), ("run", "1", CONSOLE, 1)])
def test_exec_and_run(judge, kind, status, console, code):
    done = judge(kind, ktap=None, status=status, console=console)
    assert done.code == code
    assert ("exithand: the kernel complained: [    5.1" in done.said) == (OOPS in console)
