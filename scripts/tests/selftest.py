#!/usr/bin/env python3
"""The harness's own tests: whatever goes wrong in a run must come out red.

Canned logs for verdict.py, a fake virtme-ng for vm.py, a small git tree for
series.py. No kernel, no virtual machine; part of `make check`.
"""

import email
import email.policy
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent


def install(top, *names):
    """Copy these of scripts/ to TOP/scripts/."""
    for name in names:
        (top / "scripts" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / "scripts" / name, top / "scripts" / name)


# Before the kernel has read its command line, its lines have no <N>.
CONSOLE = """\
[    0.000000] Linux version 7.3.4-exithand
<6>[    0.100000] Kernel command line: console_msg_format=syslog
<14>[    1.402337] virtme-ng-init: starting script
<12>[    9.313434] exithand: end of run
<0>[    9.383237] reboot: Power down
"""
OOPS = """\
<1>[    5.100000] BUG: kernel NULL pointer dereference, address: 0000000000000008
<4>[    5.100001] Oops: Oops: 0000 [#1] SMP
<0>[    5.100002] Kernel panic - not syncing: Fatal exception
"""
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


class Verdict(unittest.TestCase):
    """What the guest left, and the exit code that it must give."""

    def judge(self, kind="test", console=CONSOLE, ktap=KTAP, end="ended", status="0",
              vm_end=0, lists=None, leaks=None):
        with tempfile.TemporaryDirectory() as tmp:
            tmp = Path(tmp)
            run = tmp / "run"
            run.mkdir()
            for name, text in (("console.log", console), ("test.ktap", ktap), ("leaks", leaks),
                               ("end", end + "\ntcg\n9.0\n"), ("status", status)):
                if text is not None:
                    (run / name).write_text(text, newline="")
            if leaks is not None:
                (run / "look-for-leaks").touch()
            shutil.copytree(TOP / "qemu-config", tmp / "qemu-config")
            install(tmp, "lib/verdict.py")
            for name, text in (lists or {}).items():
                if text is None:
                    (tmp / "qemu-config" / name).unlink()
                else:
                    (tmp / "qemu-config" / name).write_text(text)
            done = subprocess.run(
                [sys.executable, tmp / "scripts/lib/verdict.py", kind, "--dir", run, "--vm-end",
                 str(vm_end), "--results", tmp / "results"],
                capture_output=True, text=True, check=False)
            self.said, self.last = done.stderr, (done.stdout.splitlines() or [""])[-1]
            self.summary = json.loads((tmp / "results/summary.json").read_text())
            self.assertEqual(self.summary["exit"], done.returncode, self.said)
            self.assertEqual(self.summary["verdict"] == "pass", done.returncode == 0)
            return done.returncode

    def test_all_is_well(self):
        self.assertEqual(self.judge(), 0, getattr(self, "said", ""))
        self.assertEqual(self.last, "3 passed, 0 failed, 1 skipped")

    def test_a_test_failed(self):
        self.assertEqual(self.judge(ktap=KTAP.replace("# ok 2 g", "# not ok 2 g")), 1)
        self.assertEqual(self.last, "2 passed, 1 failed, 1 skipped")
        self.assertIn("FAILED: proc/proc-exithand/global.poll_waits", self.said)

    def test_a_program_failed_beside_its_tests(self):
        self.assertEqual(self.judge(ktap=KTAP.replace("ok 3 s", "not ok 3 s")), 1)
        self.assertEqual(self.last, "3 passed, 1 failed, 1 skipped")

    def test_a_program_ran_out_of_time(self):
        cut = KTAP[:KTAP.index("# ok 2 g")] + \
            "not ok 3 selftests: proc: proc-exithand # TIMEOUT 45 seconds\n"
        self.assertEqual(self.judge(ktap=cut), 8)
        self.assertIn("1 failed", self.last)

    def test_oops(self):
        self.assertEqual(self.judge(console=CONSOLE + OOPS), 3)
        self.assertIn("NULL pointer dereference", self.said)

    def test_oops_that_ended_the_guest(self):
        self.assertEqual(self.judge(console=CONSOLE[:80] + "\n" + OOPS, end="died",
                                    status=None, vm_end=5), 3)

    def test_every_kind_of_complaint(self):
        for line in ("WARNING: CPU: 1 PID: 77 at kernel/exit.c:901 do_exit+0x1/0x2",
                     "WARNING: kernel/exit.c:901 at do_exit+0x1/0x2, CPU#1: sleep/77",
                     "WARNING: possible circular locking dependency detected",
                     "WARNING: suspicious RCU usage",
                     "BUG: KASAN: slab-use-after-free in exithand_poll+0x1/0x2",
                     "BUG: sleeping function called from invalid context at mm/slab.h:1",
                     "BUG: scheduling while atomic: cat/77/0x00000002",
                     "BUG: workqueue lockup - pool cpus=0",
                     "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [cat:77]",
                     "INFO: task cat:77 blocked for more than 120 seconds.",
                     "rcu: INFO: rcu_preempt self-detected stall on CPU",
                     "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
                     "rust_kernel: panicked at fs/proc/exithand/exithand.rs:1:1:",
                     "UBSAN: array-index-out-of-bounds in fs/proc/base.c:1:2",
                     "BUG: KCSAN: data-race in do_exit / exithand_read",
                     "kmemleak: 2 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
                     "unreferenced object 0xffff888004a0b000 (size 192):",
                     "refcount_t: underflow; use-after-free.",
                     "list_add corruption. next->prev should be prev",
                     "ODEBUG: free active (active state 0) object: 00000000"):
            self.assertEqual(self.judge(console=self.say(f"<4>[    8.000000] {line}")), 3, line)

    def say(self, line):
        return CONSOLE.replace("<12>", line + "\n<12>", 1)

    def test_user_space_speaks_on_the_console(self):
        for line in ('<14>[    4.5] virtme-ng-init: WARNING: failed to run: "ip" link set dev lo up',
                     "<12>[    4.5] BUG: of a test program",
                     "<30>[    4.5] udevd[77]: Oops",
                     "WARNING: straight to the terminal"):
            self.assertEqual(self.judge(console=self.say(line)), 0, line)

    def test_kernel_speaks_beside_user_space(self):
        bug = "<4>[    4.500001] WARNING: kernel/exit.c:901 at do_exit+0x1/0x2, CPU#1: sleep/77"
        for line in ("no end of line" + bug,
                     "<14>[    4.5] no end of line" + bug,
                     "<14>[    4.5] said before\n" + bug,
                     bug.replace("WARNING", "first line\n<4>[    4.500001] WARNING"),
                     # Of one program's name: the kernel's lines end with \r\n.
                     "<4>[    4.5] a\x0cb\x85c\rd: page allocation failure: order:0\r",
                     # A line that a higher priority has cut short is said again.
                     "<4>[    4.50\n** replaying previous printk message **\n" + bug,
                     "** 12 printk messages dropped **",
                     # An early one; and a kernel that does not know of <N>.
                     "[    4.500001] WARNING: x"):
            self.assertEqual(self.judge(console=self.say(line)), 3, line)

    def test_nobody_can_tell_who_speaks(self):
        for console in ("Linux version 7.3.4-exithand\nexithand: end of run\n",
                        "<6>Linux version 7.3.4-exithand\n<12>exithand: end of run\n",
                        "<12>[    9.313434] exithand: end of run\n"):
            self.assertEqual(self.judge(console=console), 6, console)

    def test_complaint_with_a_reason(self):
        console = CONSOLE + "[    9.5] WARNING: known\n"
        self.assertEqual(self.judge(console=console,
                                    lists={"splat-allow": "WARNING: known$\tby design\n"}), 0)
        self.assertEqual(self.judge(console=console,
                                    lists={"splat-allow": "WARNING: known$\n"}), 6)

    def test_report_that_is_no_complaint(self):
        report = ["[    8.0] eater invoked oom-killer: gfp_mask=0x1", "[    8.1] Call Trace:",
                  "[    8.2]  dump_stack+0x1/0x2", "[    8.3] Out of memory and no killable processes..."]
        lists = {"splat-reports": "invoked oom-killer: \tno killable\tKASAN\tasked for\n"}

        def exit_with(lines):
            return self.judge(console=self.say("\n".join("<4>" + line for line in lines)), lists=lists)

        self.assertEqual(exit_with(report), 0)
        self.assertIn("1 reports on the console that are no complaints: asked for", self.said)
        self.assertEqual(exit_with(report + report), 0)
        # What comes after it, is in it, or has no end is one.
        self.assertEqual(exit_with(report + ["Call Trace:"]), 3)
        self.assertEqual(exit_with([*report[:2], "BUG: KASAN: x", *report[2:]]), 3)
        for other in ("INFO: task cat:77 blocked for more than 120 seconds.",
                      "rcu: INFO: rcu_preempt self-detected stall on CPU"):
            self.assertEqual(exit_with([*report[:2], other, *report[2:]]), 3, other)
        self.assertEqual(exit_with(report[:3]), 3)

    def test_scan_that_cannot_run(self):
        for text in (None, "a\tb\tc\n", "(\tb\tc\td\n", "a\tb\t\td\n"):
            self.assertEqual(self.judge(lists={"splat-reports": text}), 6, text)
        for lists in ({"splat-deny": None}, {"splat-deny": "# nothing\n"},
                      {"splat-deny": "(\n"}, {"splat-allow": None}, {"skip-allow": None}):
            self.assertEqual(self.judge(lists=lists), 6, lists)

    def test_hang(self):
        self.assertEqual(self.judge(console=CONSOLE[:90], end="hung", status=None, vm_end=4), 4)
        self.assertIn("the end of its console", self.said)

    def test_guest_dies(self):
        self.assertEqual(self.judge(console=CONSOLE[:90], end="died", status=None, vm_end=5), 5)

    def test_no_machine(self):
        self.assertEqual(self.judge(console=None, end="not started", status=None, vm_end=6), 6)

    def test_no_status(self):
        self.assertEqual(self.judge(status=None), 5)

    def test_truncated_console(self):
        self.assertEqual(self.judge(console=CONSOLE[:90]), 9)
        self.assertEqual(self.judge(console=None), 9)

    def test_leaks_not_looked_for(self):
        self.assertEqual(self.judge(leaks=""), 9)
        looked = self.say("<12>[    9.2] exithand: looked for leaks")
        self.assertEqual(self.judge(leaks="", console=looked), 0)
        self.assertEqual(self.judge(leaks="unreferenced object 0xffff888004a0b000 (size 192):\n",
                                    console=looked), 3)

    def test_plan_without_tests(self):
        self.assertEqual(self.judge(ktap="TAP version 13\n1..0\n"), 7)
        self.assertEqual(self.judge(ktap=None), 7)

    def test_plan_not_kept(self):
        cut = "\n".join(KTAP.splitlines()[:7]) + "\n"
        self.assertEqual(self.judge(ktap=cut), 8)
        self.assertEqual(self.judge(ktap=KTAP.replace("# 1..2", "# 1..3")), 8)
        self.assertEqual(self.judge(ktap=KTAP.replace("\n1..3", "")), 8)

    def test_own_test_skipped(self):
        ktap = KTAP.replace("ok 2 global.poll_waits", "ok 2 global.poll_waits # SKIP too lazy")
        self.assertEqual(self.judge(ktap=ktap), 10)
        self.assertIn("too lazy", self.said)
        self.assertEqual(self.judge(ktap=ktap, lists={
            "skip-allow": "proc/proc-exithand/*poll_waits\tneeds what this guest lacks\n"}), 0)
        whole = KTAP[:KTAP.index("# TAP version")] + \
            "# 1..0 # SKIP no exithand\nok 3 selftests: proc: proc-exithand # SKIP\n"
        self.assertEqual(self.judge(ktap=whole), 10)

    def test_exec(self):
        self.assertEqual(self.judge("exec", ktap=None), 0)
        self.assertEqual(self.judge("exec", ktap=None, status="7"), 7)
        self.assertEqual(self.judge("exec", ktap=None, console=CONSOLE + OOPS), 3)
        self.assertEqual(self.judge("exec", ktap=None, console=CONSOLE[:90]), 9)

    def test_demonstration_failed(self):
        self.assertEqual(self.judge("run", ktap=None, status="1"), 1)


class Kunit(unittest.TestCase):
    """kunit.py and verdict.py: each test of the series must have run, each program be rejected."""

    SOURCE = """\
//! ```
//! old();
//! ```
"""
    ADDED = """\
/// ```
/// new();
/// ```
/// ```text
/// no code
/// ```
fn new() {}

#[cfg(CONFIG_RUST_QUEUE_KUNIT_TEST)]
#[macros::kunit_tests(rust_queue)]
mod tests {
    fn helper() {}
    #[test]
    fn waits() -> Result {
"""
    CONSOLE = """\
[    0.400000] KTAP version 1
[    0.400001] 1..2
[    0.400002]     KTAP version 1
[    0.400003]     # Subtest: rust_queue
[    0.400004]     1..1
[    0.400005]     ok 1 waits
[    0.400006] ok 1 rust_queue
[    0.400007]     KTAP version 1
[    0.400008]     # Subtest: rust_doctests_kernel
[    0.400009]     1..3
[    0.400010]     # rust_doctest_kernel_a_rs_0.location: rust/kernel/a.rs:1
[    0.400011]     ok 1 rust_doctest_kernel_a_rs_0
[    0.400012]     # rust_doctest_kernel_a_rs_1.location: rust/kernel/a.rs:4
[    0.400013] workqueue: something else is said
[    0.400014]     ok 2 rust_doctest_kernel_a_rs_1
[    0.400015]     ok 3 rust_doctest_kernel_b_rs_0 # SKIP no such machine
[    0.400016] # rust_doctests_kernel: pass:2 fail:0 skip:1 total:3
[    0.400017] ok 2 rust_doctests_kernel
"""
    WRONG = "fn f() {\n    // error: E0597 `queue`\n    register(&queue);\n}\n"
    ERROR = "/x/compile-fail/wrong.rs:3:5: error[E0597]: `queue` does not live long enough: x\n" \
        "error: aborting due to 1 previous error\n"

    def judge(self, console=CONSOLE, error=ERROR, objects=("right",), source=SOURCE + ADDED,
              wrong=WRONG):
        with tempfile.TemporaryDirectory() as tmp:
            tmp = Path(tmp)
            file = tmp / "linux/rust/kernel/a.rs"
            file.parent.mkdir(parents=True)
            file.write_text(self.SOURCE)
            for command in (("init", "-q"), ("add", "."), ("tag", "base")):
                git = ["git", "-c", "user.name=Tester", "-c", "user.email=tester@localhost",
                       "-C", tmp / "linux"]
                if command[0] == "tag":
                    subprocess.run([*git, "commit", "-q", "-m", "Linux 0.0"], check=True)
                subprocess.run([*git, *command], check=True)
            file.write_text(source)
            for name, text in (("programs/right.rs", "fn f() {}\n"), ("programs/wrong.rs", wrong),
                               ("run/negative.log", error),
                               ("run/end", "ended\ntcg\n9.0\n"), ("run/status", "0\n"),
                               ("run/console.log", CONSOLE.replace("<14>", console + "<14>")),
                               *((f"run/negative/{name}.o", "") for name in objects)):
                if text is not None:
                    (tmp / name).parent.mkdir(parents=True, exist_ok=True)
                    (tmp / name).write_text(text)
            subprocess.run([sys.executable, TOP / "scripts/lib/kunit.py", "--tree", tmp / "linux",
                            "--programs", tmp / "programs", "--dir", tmp / "run"], check=True)
            done = subprocess.run([sys.executable, TOP / "scripts/lib/verdict.py", "kunit", "--dir",
                                   tmp / "run", "--vm-end", "0", "--results", tmp / "results"],
                                  capture_output=True, text=True, check=False)
            self.said, self.last = done.stderr, (done.stdout.splitlines() or [""])[-1]
            return done.returncode

    def test_all_is_well(self):
        self.assertEqual(self.judge(), 0, getattr(self, "said", ""))
        self.assertEqual(self.last, "5 passed, 0 failed, 1 skipped")

    def test_a_test_failed(self):
        for name in ("1 waits", "2 rust_doctest_kernel_a_rs_1", "1 rust_doctest_kernel_a_rs_0"):
            self.assertEqual(self.judge(self.CONSOLE.replace(f"ok {name}", f"not ok {name}")), 1)
            self.assertIn("FAILED: ", self.said)
        self.assertEqual(self.judge(self.CONSOLE.replace("] ok 1", "] not ok 1")), 1)

    def test_own_test_missing(self):
        console = self.CONSOLE.replace("1..3", "1..2").replace("    ok 2", "    2")
        self.assertEqual(self.judge(console), 8)
        self.assertIn("rust/kernel/a.rs:4", self.said)
        self.assertEqual(self.judge(self.CONSOLE.replace("1 waits", "1 other")), 8)
        self.assertIn("rust_queue/waits", self.said)

    def test_own_test_skipped(self):
        self.assertEqual(self.judge(self.CONSOLE.replace("1 waits", "1 waits # SKIP lazy")), 10)

    def test_none_of_ours(self):
        self.assertEqual(self.judge(source=self.SOURCE), 7)
        self.assertEqual(self.judge(self.CONSOLE[:self.CONSOLE.index("[    0.400002")]), 7)
        self.assertEqual(self.judge(""), 7)

    def test_doctest_in_a_macro(self):
        moved = "\n" + self.ADDED.replace("fn new() {}\n", ");\n/// ```\n/// outside();\n/// ```\nfn new() {}\n")
        inside = self.SOURCE + "flags!(" + moved
        self.assertEqual(self.judge(
            self.CONSOLE.replace("a.rs:4", "a.rs:4").replace("b_rs_0 # SKIP no such machine", "a_rs_2")
            .replace("[    0.400015]", "[    0.400014]     # rust_doctest_kernel_a_rs_2.location:"
                     " rust/kernel/a.rs:12\n[    0.400015]"), source=inside), 0, self.said)

    def test_doctest_that_is_not_run(self):
        refused = self.ADDED.replace("```text", "```ignore,compile_fail")
        self.assertEqual(self.judge(source=self.SOURCE + refused), 0)
        ignored = self.ADDED.replace("```text", "```ignore")
        self.assertEqual(self.judge(source=self.SOURCE + ignored), 8)

    def test_kernel_stops_in_between(self):
        self.assertEqual(self.judge(self.CONSOLE[:self.CONSOLE.index("[    0.400015")]), 8)

    def test_complaint(self):
        self.assertEqual(self.judge(self.CONSOLE + OOPS), 3)

    def test_wrong_program_builds(self):
        self.assertEqual(self.judge(error="", objects=("right", "wrong")), 1)
        self.assertIn("it builds", self.said)

    def test_wrong_program_fails_otherwise(self):
        for text in ("[E0599]", ":4:5: error[E0597]", "`guard` does"):
            error = self.ERROR.replace({"[": "[E0597]", ":": ":3:5: error[E0597]",
                                        "`": "`queue` does"}[text[0]], text)
            self.assertNotEqual(error, self.ERROR)
            self.assertEqual(self.judge(error=error), 1, error)
        for error in (None, "", self.ERROR.replace("/wrong.rs", "/right.rs"),
                      self.ERROR + "error[E0514]: incompatible version of rustc\n",
                      self.ERROR + "/x/compile-fail/wrong.rs:1:4: error[E0433]: failed to resolve\n"):
            self.assertEqual(self.judge(error=error), 1, error)

    def test_right_program_does_not_build(self):
        self.assertEqual(self.judge(objects=()), 1)

    def test_error_without_a_code(self):
        error = "/x/compile-fail/wrong.rs:3:5: error: lifetime may not live long enough\n"
        wrong = self.WRONG.replace("E0597 `queue`", "lifetime may not")
        self.assertEqual(self.judge(error=error, wrong=wrong), 0, getattr(self, "said", ""))
        self.assertEqual(self.judge(error=error.replace("lifetime", "type"), wrong=wrong), 1)


class Mutants(unittest.TestCase):
    """A fault, what its run left, and whether that counts as caught."""

    TEST = "Caught-by: proc-exithand global.poll_* still waits\n"
    KTAP = """\
TAP version 13
1..2
#  RUN           global.read_waits ...
#            OK  global.read_waits
ok 1 global.read_waits
#  RUN           global.poll_waits ...
# proc-exithand.c:99:poll_waits:poll: still waits after the exit
# poll_waits: Test terminated by assertion
not ok 2 global.poll_waits
"""
    GREEN = KTAP.replace("not ok", "ok").replace("still waits", "fine")

    def judge(self, header=TEST, ktap=KTAP, console=CONSOLE, end="ended", vm_end=0, code=0):
        with tempfile.TemporaryDirectory() as tmp:
            tmp = Path(tmp)
            shutil.copytree(TOP / "qemu-config", tmp / "qemu-config")
            for name in ("run", "build/results/mutants"):
                (tmp / name).mkdir(parents=True)
            install(tmp, "mutants/mutant.py", "lib/verdict.py")
            (tmp / "scripts/mutants/fault.patch").write_text(f"What.\n\n{header}\n--- a/x\n+++ b/x\n")
            for name, text in (("console.log", console), ("proc-exithand.ktap", ktap),
                               ("end", end + "\ntcg\n9.0\n")):
                if text is not None:
                    (tmp / "run" / name).write_text(text)

            def call(*args):
                return subprocess.run([sys.executable, tmp / "scripts/mutants/mutant.py", *args],
                                      env=dict(os.environ, CONFIG="default"), check=False,
                                      capture_output=True, text=True)
            done = call("judge", "fault", "--dir", tmp / "run", "--vm-end", str(vm_end))
            self.said = done.stdout + done.stderr
            if done.returncode:
                return done.returncode
            done = call("summary")
            self.assertIn("0 failed" if not done.returncode else "0 passed", done.stdout)
            return done.returncode

    def test_caught(self):
        self.assertEqual(self.judge(), 0, getattr(self, "said", ""))
        self.assertIn("ok    fault: caught by proc-exithand global.poll_waits", self.said)

    def test_not_caught(self):
        self.assertEqual(self.judge(ktap=self.GREEN), 1)
        self.assertIn("FAIL  fault: not caught", self.said)

    def test_caught_by_something_else(self):
        self.assertEqual(self.judge(ktap=self.KTAP.replace("still waits", "woken")), 1)
        self.assertIn("something else", self.said)
        self.assertEqual(self.judge(ktap=self.GREEN, console=CONSOLE + OOPS), 3)
        self.assertEqual(self.judge(console=CONSOLE + OOPS), 3)

    def test_time_limit_is_no_catch(self):
        self.assertEqual(self.judge(ktap=self.KTAP.replace("by assertion", "by timeout")), 1)
        self.assertEqual(self.judge(end="hung", vm_end=4), 4)
        self.assertEqual(self.judge(ktap=None, end="hung", vm_end=4), 4)

    def test_caught_by_the_console(self):
        header = "Run: proc-exithand global.*\nCaught-by: console NULL pointer\n"
        self.assertEqual(self.judge(header, None, CONSOLE[:90] + OOPS, "died", 5), 0)
        self.assertEqual(self.judge(header.replace("NULL", "wild"), None, CONSOLE[:90] + OOPS,
                                    "died", 5), 3)
        self.assertEqual(self.judge(header, self.GREEN), 1)

    def test_no_test_ran(self):
        self.assertEqual(self.judge(ktap=None), 7)
        self.assertEqual(self.judge(ktap="TAP version 13\n1..0\n"), 7)
        cut = self.GREEN.replace("ok 2 global.poll_waits", "# gone")
        self.assertEqual(self.judge(ktap=cut), 8)
        self.assertEqual(self.judge(ktap=self.GREEN.replace("poll_waits\n", "poll_waits # SKIP\n")), 10)

    def test_guest_dies(self):
        self.assertEqual(self.judge(ktap=None, end="died", vm_end=5), 5)
        self.assertEqual(self.judge(console=CONSOLE[:90]), 9)

    def test_control(self):
        header = "Control: yes\nRun: proc-exithand global.*\n"
        self.assertEqual(self.judge(header, self.GREEN), 0)
        self.assertEqual(self.judge(header, self.KTAP), 1)
        self.assertEqual(self.judge(header, self.GREEN, CONSOLE + OOPS), 3)
        self.assertEqual(self.judge(header, None), 7)

    def test_headers_that_say_nothing(self):
        for header in ("", "Run: proc-exithand global.*\n", "Control: yes\n",
                       "Caught-by: proc-exithand\n", "Caught-by: console Oops\n",
                       "Caught-By: proc-exithand x\n" + self.TEST,
                       "Control: yes\n" + self.TEST, "Config: \n" + self.TEST):
            self.assertEqual(self.judge(header), 6, header)


class Machine(unittest.TestCase):
    """vm.py with something else in virtme-ng's place."""

    def boot(self, vng, limit=2, options=()):
        with tempfile.TemporaryDirectory() as tmp:
            tmp = Path(tmp)
            run = tmp / "run"
            run.mkdir()
            fake = tmp / "vng"
            fake.write_text(f"#!/bin/bash\nrun={run}\n{vng}\n")
            fake.chmod(0o755)
            self.began = time.monotonic()
            with subprocess.Popen(
                    [sys.executable, TOP / "scripts/lib/vm.py", "--kernel", "bzImage", "--dir", run,
                     "--limit", str(limit), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    env=dict(os.environ, PATH=f"{tmp}:{os.environ['PATH']}", ACCEL="tcg"),
                    text=True) as vm:
                self.during(vm)
                self.out, self.err = vm.communicate()
            end = run / "end"
            self.end = end.read_text().split()[0] if end.exists() else None
            return vm.returncode

    def during(self, vm):
        pass

    def left_over(self, mark):
        return subprocess.run(["pgrep", "-f", mark], capture_output=True, check=False).stdout

    def test_ends(self):
        self.assertEqual(self.boot("echo out; echo err >&2; touch $run/console.log;"
                                   " echo 7 >$run/status"), 0)
        self.assertEqual((self.out, self.err, self.end), ("out\n", "err\n", "ended"))

    def test_counts(self):
        told = "echo $*; touch $run/console.log; echo 0 >$run/status"
        self.boot(told)
        self.assertNotIn("-icount", self.out)
        self.assertIn(" console_msg_format=syslog ", self.out)
        self.assertEqual(self.boot(told, options=["--count"]), 0)
        self.assertIn("--cpus 1 ", self.out)
        self.assertIn(" -icount shift=0,sleep=off ", self.out)

    def test_one_cpu(self):
        told = "echo $*; touch $run/console.log; echo 0 >$run/status"
        self.boot(told)
        self.assertIn("--cpus 2 ", self.out)
        self.boot(told, options=["--cpus=1"])
        self.assertIn("--cpus 1 ", self.out)
        self.assertNotIn("-icount", self.out)

    def test_which_accelerator(self):
        self.assertEqual(self.boot("exit 1", options=["--accel"]), 0)
        self.assertEqual((self.out, self.end), ("tcg\n", None))

    def test_hangs(self):
        mark = f"300.{os.getpid()}1"
        self.assertEqual(self.boot(f"touch $run/console.log; sleep {mark} & wait"), 4)
        self.assertLess(time.monotonic() - self.began, 10)
        self.assertEqual(self.left_over(mark), b"")

    def test_dies(self):
        self.assertEqual(self.boot("touch $run/console.log; kill -SEGV $$"), 5)

    def test_does_not_start(self):
        self.assertEqual(self.boot("echo no QEMU here >&2; exit 1"), 6)

    def test_is_interrupted(self):
        mark = f"300.{os.getpid()}2"

        def interrupt(vm):
            while not self.left_over(mark):
                time.sleep(0.05)
            vm.terminate()
        self.during = interrupt
        self.assertEqual(self.boot(f"sleep {mark} & wait", limit=60), 128 + 15)
        self.assertEqual(self.left_over(mark), b"")

    def test_is_interrupted_at_the_start(self):
        mark = f"300.{os.getpid()}3"
        # What is started here signals vm.py, its parent's parent, at once.
        for _ in range(5):
            self.assertEqual(self.boot("kill -TERM $(ps -o ppid= -p $PPID);"
                                       f" sleep {mark} & wait", limit=20), 128 + 15)
            self.assertLess(time.monotonic() - self.began, 10)
            self.assertEqual(self.left_over(mark), b"")


class Cache(unittest.TestCase):
    """What the compiler cache may give back."""

    def test_a_file_inside_an_assembler_file(self):
        with tempfile.TemporaryDirectory() as tmp:
            tmp = Path(tmp)
            (tmp / "Makefile").write_text(
                "a.o: FORCE\n\t$(CC) -Wp,-MMD,a.d -D__ASSEMBLY__ -c -o a.o a.S\nFORCE:\n")
            (tmp / "a.S").write_text('.section .rodata\n.incbin "data"\n')
            for data in (b"first", b"later"):
                (tmp / "data").write_bytes(data)
                # Twice: the second one could come from the cache.
                for _ in range(2):
                    done = subprocess.run(
                        ["bash", "-c", '. scripts/lib/lib.sh; kmake -C "$0"', str(tmp)],
                        cwd=TOP, env=os.environ | {"EXITHAND_CACHE": str(tmp / "cache")},
                        capture_output=True, text=True, check=False)
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                    self.assertIn(data, (tmp / "a.o").read_bytes())


class Litmus(unittest.TestCase):
    """scripts/verbs/litmus with something else in herd7's place."""

    HERD = 'echo "States 3"; echo "Observation $name Never 0 3"'

    def litmus(self, herd=HERD, **tests):
        with tempfile.TemporaryDirectory() as tmp:
            tmp = Path(tmp)
            for folder in ("cache/tools/bin", "build/linux/tools/memory-model",
                           "scripts/litmus"):
                (tmp / folder).mkdir(parents=True)
            install(tmp, "verbs/litmus", "lib/lib.sh")
            for name, text in (("scripts/lib/setup", ""), ("scripts/verbs/tree", ""),
                               ("cache/tools/bin/herd7", '[ "$1" != -version ] || exec echo 7.58'
                                f'\nname=$(basename "$3" .litmus)\n{herd}\n')):
                (tmp / name).write_text("#!/bin/bash\n" + text)
                (tmp / name).chmod(0o755)
            for kind in ("cfg", "bell", "cat", "def"):
                (tmp / f"build/linux/tools/memory-model/linux-kernel.{kind}").write_text("\n")
            for name, result in tests.items():
                (tmp / f"scripts/litmus/{name}.litmus").write_text(
                    f"C {name}\n\n(*\n{result} *)\n")
            done = subprocess.run([tmp / "scripts/verbs/litmus"], capture_output=True, text=True,
                                  check=False, env=dict(os.environ, EXITHAND_CACHE=tmp / "cache",
                                                        KDIR="", BASE=""))
            self.said = done.stdout
            self.assertEqual((tmp / "build/results/litmus.txt").read_text(), done.stdout)
            return done.returncode

    def test_as_it_says(self):
        self.assertEqual(self.litmus(a=" * Result: Never\n"), 0)
        self.assertEqual(self.said, "ok    a: Never, 3 states\n1 passed, 0 failed\n")

    def test_not_as_it_says(self):
        self.assertEqual(self.litmus(a=" * Result: Never\n", b=" * Result: Sometimes\n"), 1)
        self.assertIn("FAIL  b: Never, 3 states, but it says Sometimes\n1 passed, 1 f", self.said)

    def test_says_nothing(self):
        for result in ("", " * Result: Perhaps\n", " * Result: Never\n * Result: Sometimes\n"):
            self.assertEqual(self.litmus(a=result), 1, result)

    def test_no_outcome(self):
        for herd in (":", "exit 2", self.HERD + "; exit 2", self.HERD + "; echo Warning >&2",
                     self.HERD + "; echo Flag data-race", self.HERD.replace(" 0 3", " 0 0"),
                     self.HERD.replace(" 0 3", ""), self.HERD.replace("$name", "b"),
                     self.HERD.replace("States 3", "")):
            self.assertEqual(self.litmus(herd, a=" * Result: Never\n"), 1, herd)
            self.assertIn("FAIL  a: ", self.said)

    def test_no_tests(self):
        self.assertEqual(self.litmus(), 7)


class Step(unittest.TestCase):
    """lib.sh's step."""

    def test_that_ends_at_once(self):
        with tempfile.TemporaryDirectory() as tmp:
            install(Path(tmp), "lib/lib.sh")
            done = subprocess.run(
                ["bash", "-c", "set -euo pipefail; . scripts/lib/lib.sh; trap 'echo end' EXIT\n"
                 "for ((k = 0; k < 100; k++)); do step name text true; done"],
                cwd=tmp, capture_output=True, text=True, check=True,
                env=dict(os.environ, V="", KDIR=""))
            self.assertEqual(done.stdout, "end\n")


class Setup(unittest.TestCase):
    """scripts/lib/setup, with other tools in the cache than the machine has."""

    def setup(self, path="", **tools):
        """Run it; PATH is only `path` if given, and the cache's tools."""
        with tempfile.TemporaryDirectory() as tmp:
            tmp = Path(tmp)
            install(tmp, "lib/lib.sh", "lib/setup")
            (tmp / "cache/tools/bin").mkdir(parents=True)
            for name, text in {"bindgen": "echo bindgen 0.72.1", **tools}.items():
                (tmp / "cache/tools/bin" / name).write_text(f"#!/bin/bash\n{text}\n")
                (tmp / "cache/tools/bin" / name).chmod(0o755)
            if path:
                (tmp / "bin").mkdir()
                for name in path.split():
                    (tmp / "bin" / name).symlink_to(shutil.which(name))
            done = subprocess.run(
                [shutil.which("bash"), tmp / "scripts/lib/setup"], capture_output=True, text=True,
                check=False, env=dict(os.environ, EXITHAND_CACHE=str(tmp / "cache"), V="", KDIR="",
                                      **({"PATH": str(tmp / "bin")} if path else {})))
            self.said = done.stderr
            self.downloaded = (tmp / "cache/tools/virtme-ng-1.42").exists()
            return done.returncode

    def pip(self, said):
        """What it says if pip says that."""
        self.assertEqual(self.setup(python3=f"mkdir -p $3/bin; cat >$3/bin/pip <<'EOF'\n"
                                    f"#!/bin/sh\ncat <<'END'\n{said}\nEND\nexit 1\nEOF\n"
                                    "chmod +x $3/bin/pip"), 6)
        return self.said.splitlines()[-1]

    def test_pip_says_why(self):
        retry = "WARNING: Retrying (Retry(total={}, connect=None, read=None, redirect=None," \
            " status=None)) after connection broken by '{}': /simple/virtme-ng/"
        last = "ERROR: Could not find a version that satisfies the requirement virtme-ng==1.42" \
            " (from versions: none)\nERROR: No matching distribution found for virtme-ng==1.42"
        for why in ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]"
                    " certificate verify failed: self-signed certificate in certificate chain'))",
                    "NewConnectionError('<pip._vendor.urllib3.connection.HTTPConnection object at"
                    " 0x7f280bab0c10>: Failed to establish a new connection: [Errno 111] refused')"):
            said = self.pip("\n".join((retry.format(4, why), retry.format(3, why), last)))
            self.assertIn(why, said)
            self.assertNotIn("Could not find", said)
        self.assertIn("Could not find a version", self.pip(last))
        self.assertIn("ERROR: invalid path", self.pip("ERROR: invalid path"))

    def test_tools_are_missing(self):
        """Without apt, and without most else: all in one line, before anything else."""
        tools = {"rustc": "", "clang": ""}
        self.assertEqual(self.setup("dirname cat mkdir git sha256sum nproc", **tools), 6)
        self.assertEqual(self.said.count("\n"), 1, self.said)
        for name in ("python3", "qemu-system-x86_64", "ip", "file", "ld.lld"):
            self.assertRegex(self.said, rf"commands are missing: .*\b{name}\b")
        self.assertNotRegex(self.said, r"\b(rustc|clang|git|bindgen)\b")
        self.assertFalse(self.downloaded)

    def test_packages_are_missing(self):
        """With apt, but not as root."""
        self.assertEqual(self.setup(id="echo 1000", **{
            "apt-get": "echo no; exit 1",
            "dpkg-query": "printf 'installed %s\\n' git perl"}), 6)
        self.assertEqual(self.said.count("\n"), 1, self.said)
        self.assertRegex(self.said, "packages are missing: .* file .* iproute2 .* python3 .*as root:")
        self.assertFalse(self.downloaded)


class Regress(unittest.TestCase):
    """The outcomes of two kernels, compared."""

    def compare(self, rounds, *again):
        with tempfile.TemporaryDirectory() as tmp:
            for number, sides in enumerate(rounds, 1):
                for side, (codes, tests) in sides.items():
                    Path(tmp, f"regress-{side}-{number}.json").write_text(json.dumps({
                        "codes": codes, "tests": [
                            {"name": name, "program": ":".join(name.split("/")[:2]),
                             "result": result} for name, result in tests.items()]}))
            done = subprocess.run([sys.executable, TOP / "scripts/lib/regress.py", *again, tmp,
                                   "proc", "cgroup:test_kill"],
                                  capture_output=True, text=True, check=False)
            self.said = done.stdout
            return done.returncode

    GOOD = {"proc/read": "pass", "proc/self/a.b": "fail", "cgroup/test_kill/tree": "pass"}

    def test_the_same(self):
        self.assertEqual(self.compare([{"base": ([1], self.GOOD), "patched": ([1], self.GOOD)}]), 0)
        self.assertIn("fails on both: proc/self/a.b", self.said)

    def test_worse(self):
        for bad in ({"proc/read": "fail"}, {"proc/read": "skip"}, {"proc/new": "fail"}):
            patched = dict(self.GOOD, **bad)
            rounds = [{"base": ([1], self.GOOD), "patched": ([1], patched)}]
            self.assertEqual(self.compare(rounds), 1, bad)
            self.assertIn(f"WORSE: {list(bad)[0]}: ", self.said)
            self.compare(rounds, "--again")
            self.assertEqual(self.said, f"-t {list(bad)[0].replace('/', ':')}\n")
            # Luck: it passes when it runs once more.
            once_more = {"base": ([], {}), "patched": ([], {list(bad)[0]: "pass"})}
            self.assertEqual(self.compare(rounds + [once_more]), 0)
        gone = {k: v for k, v in self.GOOD.items() if k != "proc/read"}
        self.assertEqual(self.compare([{"base": ([1], self.GOOD), "patched": ([1], gone)}]), 1)

    def test_better_and_new(self):
        patched = dict(self.GOOD, **{"proc/self/a.b": "pass", "proc/proc-exithand/x": "fail"})
        self.assertEqual(self.compare([{"base": ([1], self.GOOD), "patched": ([1], patched)}]), 0)

    def test_no_measure(self):
        for base, patched in (([4], [1]), ([1], [5]), ([1], [1, 3]), ([7], [1])):
            self.assertEqual(self.compare([{"base": (base, self.GOOD),
                                            "patched": (patched, self.GOOD)}]), 6, (base, patched))
        self.assertEqual(self.compare([{"base": ([3], self.GOOD), "patched": ([3], self.GOOD)}]), 0)
        self.assertEqual(self.compare([{"base": ([], self.GOOD)}]), 6)
        self.assertEqual(self.compare([{"base": ([], {"proc/read": "pass"}),
                                        "patched": ([], {"proc/read": "pass"})}]), 6)


class Each(unittest.TestCase):
    """What make each has to run, and its table, for a series of three patches."""

    MAINTAINERS = """\
List of maintainers
===================

ALPHA
M:	A <a@localhost>
S:	Maintained
F:	alpha/

GAMMA
S:	Maintained
F:	gamma/
"""

    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.top = Path(self.tmp.name)
        self.tree = self.top / "build/linux"
        for folder in ("patches", "build/linux"):
            (self.top / folder).mkdir(parents=True)
        install(self.top, "lib/each.py", "lib/series.py", "lib/verdict.py")
        self.git("init", "-q", "-b", "exithand")
        self.git("config", "user.name", "Tester")
        self.git("config", "user.email", "tester@localhost")
        self.commit("base", **{"kernel/fork.c": "int fork;\n", "rust/kernel/lib.rs": "//\n",
                               "fs/proc/Kconfig": "menu\n"})
        self.git("tag", "base")
        self.gates = self.each("gates").split()
        self.salts(**{})
        self.build()

    def tearDown(self):
        self.tmp.cleanup()

    def git(self, *args):
        env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        subprocess.run(["git", "-C", self.tree, *args], check=True, capture_output=True, env=env)

    def commit(self, subject, **files):
        for name, text in files.items():
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / name).write_text(text)
        self.git("add", "--force", ".")
        self.git("commit", "-q", "-m", subject)

    def build(self, fork="int fork, more;\n", test="int main;\n", message="one"):
        """The series: Rust, then C with the option, then a test."""
        self.git("reset", "-q", "--hard", "base")
        self.commit("one", **{"rust/kernel/queue.rs": "// queue\n"})
        self.commit("two", **{"kernel/fork.c": fork, "fs/proc/Kconfig": "config\n"})
        self.commit("three", **{"tools/testing/selftests/proc/proc-exithand.c": test})
        self.git("tag", "-f", "applied")
        for number, text in enumerate((message, "two", "three"), 1):
            (self.top / f"patches/000{number}-x.patch").write_text(text)

    def salts(self, **other):
        (self.top / "salts").write_text("".join(
            f"{gate} {other.get(gate, 'salt')}\n" for gate in self.gates))

    def each(self, *args, code=0, patch=""):
        done = subprocess.run(
            [sys.executable, self.top / "scripts/lib/each.py", *args, "--tree", self.tree, "--salts",
             self.top / "salts"], text=True, capture_output=True, check=False,
            env=dict(os.environ, PATCH=patch))
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.said = done.stdout + done.stderr
        return done.stdout

    def plan(self, **kw):
        return [(int(n), gate) for n, _, gate in map(str.split, self.each("plan", **kw).splitlines())]

    def judge(self, number, gate, log="", status=0, code=0, before=None):
        (self.top / "log").write_text(log)
        more = []
        if before is not None:
            (self.top / "before").write_text(before)
            more = ["--before", self.top / "before"]
        self.each("judge", str(number), gate, "--log", self.top / "log", "--status", str(status),
                  *more, code=code)

    def all_ok(self):
        subprocess.run([sys.executable, "-c", '''
import each
all = each.Each("build/linux", "salts")
for patch, gate in all.plan():
    all.keep(patch, gate, 0, "", [], 0)
'''], cwd=self.top, check=True, env=dict(os.environ, PYTHONPATH="scripts/lib", PYTHONDONTWRITEBYTECODE="1"))

    def row(self, gate, **kw):
        table = self.each("table", **kw).splitlines()
        return next(line for line in table if line.startswith(gate + " "))[len("maintainers"):].split()

    def test_plan(self):
        plan = self.plan()
        self.assertEqual([gate for n, gate in plan if n == 0], ["W=1", "sparse", "clippy", "docs"])
        self.assertEqual([gate for n, gate in plan if n == 1],
                         ["checkpatch", "maintainers", "rustfmt", "clippy", "rustdoc", "default",
                          "boots", "rust-off"])
        self.assertEqual([gate for n, gate in plan if n == 2],
                         ["checkpatch", "maintainers", "kernel-doc", "W=1", "sparse", "default",
                          "boots", "hand-off", "rust-off"])
        self.assertEqual([gate for n, gate in plan if n == 3],
                         ["checkpatch", "maintainers", "tests", "allno", "proc-off", "up", "rt",
                          "arm64", "docs"])
        self.assertEqual(plan, sorted(plan, key=lambda p: p[0]))

    def test_all_is_well(self):
        self.all_ok()
        self.assertEqual(self.plan(), [])
        self.assertEqual(self.row("default"), ["ok", "ok", "as", "2"])
        self.assertEqual(self.row("hand-off"), ["-", "ok", "as", "2"])
        self.assertEqual(self.row("tests"), ["-", "-", "ok"])
        self.assertEqual(self.row("allno"), ["-", "-", "ok"])
        self.assertIn("0 failed, 0 not run", self.said)
        self.assertEqual((self.top / "build/results/each.txt").read_text(), self.said)

    def test_not_run(self):
        self.assertEqual(self.row("tests", code=6), ["-", "-", "?"])
        self.assertIn("?     3 tests: was not run", self.said)
        self.all_ok()
        next((self.top / "build/each").glob("arm64-*.json")).unlink()
        self.assertEqual(self.row("arm64", code=6), ["-", "-", "?"])

    def test_what_changes_runs_again(self):
        self.all_ok()
        self.build(message="ONE")
        self.assertEqual(self.plan(), [(1, "checkpatch")])
        self.all_ok()
        self.build(message="ONE", test="int main();\n")
        self.assertEqual(self.plan(), [(3, "tests")])
        self.all_ok()
        self.salts(rt="other")
        self.assertEqual(self.plan(), [(3, "rt")])
        self.all_ok()
        self.build(message="ONE", test="int main();\n", fork="int fork, other;\n")
        self.assertEqual({n for n, _ in self.plan()}, {2, 3})
        self.assertNotIn((3, "default"), self.plan())
        with (self.top / "scripts/lib/each.py").open("a") as script:
            script.write("#\n")
        self.assertIn((1, "default"), self.plan())

    def test_failure(self):
        self.all_ok()
        self.build(fork="int fork\n")
        log = "  CC      kernel/fork.o\n../kernel/fork.c:1:9: error: expected ';'\nmake: *** [x] Error 2\n"
        self.judge(2, "default", log + "exithand: the kernel does not build\n", 11, code=1)
        self.all_ok()
        self.judge(2, "default", log, 11, code=1)
        self.assertEqual(self.row("default", code=11), ["ok", "FAIL", "FAIL"])
        self.assertEqual(self.said.count("FAIL  2 default: ../kernel/fork.c:1:9: error: expected ';'"), 1)
        # It is tried again.
        self.assertEqual(self.plan(), [(2, "default")])

    def test_failure_that_says_nothing(self):
        for gate, status, code in (("boots", 4, 4), ("checkpatch", 4, 1), ("tests", 99, 1)):
            self.all_ok()
            self.judge(3, gate, status=status, code=1)
            self.row(gate, code=code)
            self.assertIn(f"{gate}: ends with {status} and says nothing", self.said)

    def test_warning_is_a_failure(self):
        for line in ("fs/proc/base.c:1:2: warning: unused [-Wunused]", "warning: unused\n --> fs/a.rs:1:2",
                     "ld.lld: warning: x", "vmlinux.o: warning: objtool: x", "WARNING: modpost: x",
                     ".config:1:warning: symbol x", "x.c:1:2: error: not status 0"):
            self.judge(1, "default", f"  CC x.o\n{line}\n", code=1)
            self.assertIn(line.splitlines()[0], self.said)
        for line in ("  CC      lib/warning.o", "warning: `kernel` (lib) generated 2 warnings",
                     "  cc -Wno-warning -Werror"):
            self.judge(1, "default", line + "\n")

    def test_only_what_is_new_counts(self):
        old = "../kernel/fork.c:7:1: warning: no `x` at 0x10"
        self.judge(2, "W=1", code=1)
        self.assertIn("what the base says is not known", self.said)
        self.judge(0, "W=1", old)
        self.judge(2, "W=1", old.replace(":7:", ":12:").replace("0x10", "0x20"))
        for new in ("../kernel/fork.c:7:1: warning: no `y`", "../kernel/exit.c:7:1: warning: no `x`",
                    "../kernel/fork.c:7:1: error: no `x` at 0x10"):
            self.judge(2, "W=1", f"{old}\n{new}\n", code=1)
            self.assertIn(new, self.said)
        # One more of the same; but not the same line again.
        self.judge(2, "W=1", f"{old}\n{old.replace(':7:', ':9:')}\n", code=1)
        self.judge(2, "W=1", f"{old}\n{old}\n")
        # Another gate's, of the same log.
        self.judge(2, "W=1", "warning: unused\n   --> ../fs/proc/exithand/exithand.rs:1:2\n")
        self.judge(2, "kernel-doc", "Warning: kernel/fork.c:9 no x\n", code=1, before="")
        self.judge(2, "kernel-doc", "Warning: kernel/fork.c:9 no x\n",
                   before="Warning: kernel/fork.c:8 no x\n")

    def test_only_our_files_count(self):
        self.judge(1, "rustdoc", "warning: unresolved\n   --> ../rust/kernel/lib.rs:1:1\n")
        self.judge(1, "rustdoc", "warning: unresolved\n   --> ../rust/kernel/queue.rs:1:1\n", code=1)
        self.judge(1, "rustdoc", "warning: srctree/ link to x does not exist\n", code=1)

    def test_one_patch(self):
        self.assertEqual({n for n, _ in self.plan(patch="2")}, {0, 2})
        self.assertIn((3, "default"), self.plan(patch="3"))
        for number, gate in self.plan(patch="2"):
            self.judge(number, gate)
        self.assertEqual(self.row("default", patch="2"), ["ok"])
        self.row("default", code=6)
        for patch in ("0", "4", "x"):
            self.each("plan", patch=patch, code=6)

    def test_maintainers_in_order(self):
        script = TOP / "build/linux/scripts/parse-maintainers.pl"
        if not script.exists():
            self.fail("no kernel tree in build/linux")
        entry = "BETA\nL:\tb@localhost\nS:\tMaintained\nF:\tbeta/\nF:\tgamma/b\n\n"

        def order(text, place="GAMMA", code=0):
            (self.top / "old").write_text(self.MAINTAINERS)
            (self.top / "new").write_text(self.MAINTAINERS.replace(place + "\n", text + place + "\n"))
            self.each("order", self.top / "old", self.top / "new", "--script", script, code=code)
        order("")
        order(entry)
        order(entry, "ALPHA", code=1)
        self.assertIn("BETA stands before ALPHA", self.said)
        order(entry.replace("L:\tb@localhost\nS:\tMaintained\n", "S:\tMaintained\nL:\tb@localhost\n"),
              code=1)
        self.assertIn("BETA: its lines", self.said)
        order(entry.replace("F:\tbeta/\nF:\tgamma/b\n", "F:\tgamma/b\nF:\tbeta/\n"), code=1)


class EachRun(unittest.TestCase):
    """scripts/verbs/each with something else in place of the kernel, its tools and the machine."""

    BUILD = """\
. "${BASH_SOURCE[0]%/*}/lib.sh"
mkdir -p "$obj/tests/proc" "$build/logs"
echo CONFIG_PROC_EXITHAND=y >"$obj/.config"
echo proc:proc-exithand >"$obj/tests/kselftest-list.txt"
echo "  CC      $CONFIG" >"$build/logs/kernel-$CONFIG-each.log"
: >"$build/logs/selftests.log"
# A compiler warns once.
[ "$CONFIG" != "${WARNS:-}" ] || [ -e "$obj/built" ] ||
	echo "kernel/fork.c:1:1: warning: $CONFIG" >>"$build/logs/kernel-$CONFIG-each.log"
touch "$obj/built"
[ "$CONFIG" != "${BREAKS:-}" ] || { echo "exithand: the kernel does not build: x" >&2; exit 11; }
"""
    MAKE = """\
[ "$*" != "${*%C=2*}" ] && ! [ "${NO_SPARSE:-}" ] && echo "  CHECK   ../kernel/fork.c"
echo "  CC      kernel/fork.o"
echo "  CLIPPY L rust/kernel.o"
"""
    MACHINE = """\
import os, pathlib, sys
run = pathlib.Path(sys.argv[sys.argv.index("--dir") + 1])
(run / "console.log").write_text(CONSOLE)
(run / "end").write_text("ended\\ntcg\\n9.0\\n")
(run / "status").write_text(os.environ.get("ENDS", "0"))
(run / "test.ktap").write_text(KTAP)
"""

    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.top = Path(self.tmp.name)
        tree = self.top / "build/linux"
        for name, text in {
                "MAINTAINERS": Each.MAINTAINERS, "kernel/fork.c": "int fork;\n",
                "fs/proc/Kconfig": "menu\n", "scripts/checkpatch.pl": "exit 0\n",
                "scripts/checker-valid.sh": "echo 1\n",
                "scripts/get_maintainer.pl": "print 'a@localhost'\n",
                "scripts/parse-maintainers.pl": "exit(system('cp', map { /put=(.*)/ } @ARGV) != 0)\n",
                "tools/docs/kernel-doc": "\n", "tools/lib/python/kdoc": "\n"}.items():
            self.write(tree / name, text)
        shutil.copytree(TOP / "qemu-config", self.top / "qemu-config")
        install(self.top, "verbs/each", "lib/each.py", "lib/checkpatch", "lib/lib.sh",
                "lib/series.py", "lib/verdict.py")
        for name, text in (("lib/setup", ""), ("verbs/tree", ""), ("lib/build", self.BUILD)):
            self.write(self.top / "scripts" / name, "#!/bin/bash\n" + text, 0o755)
        self.write(self.top / "scripts/lib/vm.py", f"CONSOLE, KTAP = {CONSOLE!r}, {KTAP!r}\n" + self.MACHINE)
        for name in ("clang", "ld.lld", "rustc", "rustfmt", "rustdoc", "bindgen", "sparse", "codespell",
                     "sphinx-build", "qemu-system-x86_64", "clippy-driver", "make"):
            self.write(self.top / "cache/tools/bin" / name,
                       "#!/bin/bash\n" + (self.MAKE if name == "make" else "echo 1.0\n"), 0o755)
        # Nothing here takes the room that the real thing does.
        self.write(self.top / "cache/tools/bin/df", "#!/bin/bash\necho 99999M\n", 0o755)
        test = "tools/testing/selftests/proc/proc-exithand.c"
        self.git("init", "-q", "-b", "exithand")
        for subject, files in (("base", {}), ("one", {"kernel/fork.c": "int fork, more;\n",
                                                      "fs/proc/Kconfig": "config PROC_EXITHAND\n"}),
                               ("two", {test: "int main;\n"})):
            for name, text in files.items():
                self.write(tree / name, text)
            self.git("add", "--force", ".")
            self.git("-c", "user.name=Tester", "-c", "user.email=tester@localhost", "commit", "-q",
                     "-m", subject)
            self.git("tag", {"base": "base"}.get(subject, "applied"), "-f")
        self.git("format-patch", "-q", "-o", self.top / "patches", "base")
        self.write(self.top / "tools-testing-selftests/proc/proc-exithand.c", "int main;\n")

    def tearDown(self):
        self.tmp.cleanup()

    @staticmethod
    def write(file, text, mode=0o644):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def git(self, *args):
        env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        subprocess.run(["git", "-C", self.top / "build/linux", *args], check=True,
                       capture_output=True, env=env)

    def run_each(self, code, **env):
        done = subprocess.run(
            [self.top / "scripts/verbs/each"], text=True, capture_output=True, check=False,
            env=dict(os.environ, EXITHAND_CACHE=str(self.top / "cache"), KDIR="", BASE="",
                     CONFIG="", PATCH="", V="", **env))
        self.said, self.table = done.stderr, done.stdout
        self.assertEqual(done.returncode, code, self.said + self.table)

    def row(self, gate):
        return next(line for line in self.table.splitlines()
                    if line.startswith(gate + " "))[len("maintainers"):].split()

    def test_all_is_well(self):
        self.run_each(0)
        self.assertEqual(self.row("default"), ["ok", "as", "1"])
        self.assertEqual(self.row("sparse"), ["ok", "-"])
        self.assertEqual(self.row("tests"), ["-", "ok"])
        self.assertIn("0 failed, 0 not run", self.table)
        self.run_each(0)
        self.assertNotIn("patch", self.said)

    def test_warning_is_not_forgotten(self):
        for _ in range(2):
            self.run_each(1, WARNS="default")
            self.assertEqual(self.row("default"), ["FAIL", "FAIL"])
            self.assertIn("FAIL  1 default: kernel/fork.c:1:1: warning: default", self.table)
        self.run_each(0)

    def test_failures(self):
        self.run_each(11, BREAKS="rt")
        self.assertEqual(self.row("rt"), ["-", "FAIL"])
        self.assertEqual(self.row("up"), ["-", "ok"])

    def test_demonstration_fails(self):
        self.run_each(1, ENDS="1")
        self.assertEqual(self.row("boots"), ["FAIL", "FAIL"])

    def test_sparse_does_not_look(self):
        self.run_each(6, NO_SPARSE="1")
        self.assertEqual(self.row("sparse"), ["FAIL", "-"])


class Import(unittest.TestCase):
    """A tree of the user's own, KDIR, that is copied."""

    def lay_out(self, tmp):
        new = Path(tmp, "new")
        new.mkdir()
        subprocess.run([TOP / "scripts/verbs/tree", "--lay-out", new, "import_kdir", "Linux 0.0"],
                       env=dict(os.environ, KDIR=f"{tmp}/kdir", EXITHAND_CACHE=f"{tmp}/cache"),
                       check=True, capture_output=True)
        return subprocess.run(["git", "-C", new, "ls-files"], check=True, text=True,
                              capture_output=True).stdout.split()

    def tree(self, tmp):
        kdir = Path(tmp, "kdir")
        (kdir / "fs/proc").mkdir(parents=True)
        for name in ("Makefile", ".gitignore", "fs/proc/.gitignore", "fs/proc/base.c", "vmlinux",
                     "fs/proc/base.o", ".config"):
            (kdir / name).write_text("*.o\n")
        return kdir

    def test_plain_tree(self):
        with tempfile.TemporaryDirectory() as tmp:
            self.tree(tmp)
            self.assertEqual(self.lay_out(tmp), [
                ".gitignore", "Makefile", "fs/proc/.gitignore", "fs/proc/base.c"])

    def test_git_tree(self):
        with tempfile.TemporaryDirectory() as tmp:
            kdir = self.tree(tmp)
            for args in (["init", "-q"], ["add", "Makefile", ".gitignore", "fs/proc/base.c"]):
                subprocess.run(["git", "-C", kdir, *args], check=True)
            self.assertEqual(self.lay_out(tmp), [".gitignore", "Makefile", "fs/proc/base.c"])
            self.assertTrue((kdir / ".git").is_dir())


class SmallTree:
    """A (very small) kernel tree, and what of the harness works on it."""

    VERSION = "Linux 0.0"

    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.top = Path(self.tmp.name)
        self.tree = self.top / "build/linux"
        install(self.top, "lib/series.py")
        self.write("build/linux/fs/proc/base.c", "".join(f"line {i}\n" for i in range(40)))
        self.write("build/linux/rust/kernel/lib.rs", "//\n")
        self.git("init", "-q", "-b", "exithand")
        self.git("config", "user.name", "Tester")
        self.git("config", "user.email", "tester@localhost")
        self.commit(self.VERSION)
        self.git("tag", "base")
        self.series("apply")

    def tearDown(self):
        self.tmp.cleanup()

    def write(self, name, text):
        file = self.top / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def script(self, name, text):
        self.write(name, text)
        (self.top / name).chmod(0o755)

    def read(self, name):
        return (self.top / name).read_text()

    def git(self, *args):
        env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        return subprocess.run(["git", "-C", self.tree, *args], check=True, text=True,
                              capture_output=True, env=env).stdout

    def commit(self, subject):
        self.git("add", "--force", ".")
        self.git("commit", "-q", "-m", subject + "\n\nWhy.")

    def series(self, verb, code=0, **env):
        args = [] if verb == "agree" else [self.tree]
        done = subprocess.run([sys.executable, self.top / "scripts/lib/series.py", verb, *args],
                              text=True, capture_output=True, check=False,
                              env=dict(os.environ, **env))
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def patches(self):
        return {p.name: p.read_text() for p in (self.top / "patches").glob("*.patch")}

    def two_patches(self):
        self.write("build/linux/fs/proc/exithand/exithand.rs", "// one\n// two\n// three\n")
        base = self.read("build/linux/fs/proc/base.c")
        self.write("build/linux/fs/proc/base.c", base.replace("line 7\n", "line 7\nentry\n"))
        self.commit("proc: add exithand")
        self.write("build/linux/rust/kernel/queue.rs", "// queue\n")
        self.commit("rust: add queue")
        self.series("fold")


class Series(SmallTree, unittest.TestCase):
    """patches/, the folders and a kernel tree."""

    def test_commits_become_patches_and_files(self):
        self.two_patches()
        self.assertEqual(sorted(self.patches()),
                         ["0001-proc-add-exithand.patch", "0002-rust-add-queue.patch"])
        self.assertEqual(self.read("fs-proc-exithand/exithand.rs"), "// one\n// two\n// three\n")
        self.assertEqual(self.read("rust/kernel/queue.rs"), "// queue\n")
        self.series("agree")
        before = self.patches()
        self.series("fold")
        self.assertEqual(self.patches(), before)

    def test_edit_in_a_folder(self):
        self.two_patches()
        for name in ("fs-proc-exithand/exithand.rs", "rust/kernel/queue.rs"):
            self.write(name, self.read(name) + "// more\n")
            self.assertIn(name, self.series("agree", 6))
        date = (self.tree / "fs/proc/base.c").stat().st_mtime_ns
        self.series("sync")
        self.assertIn("// more", self.read("build/linux/fs/proc/exithand/exithand.rs"))
        self.series("fold")
        self.series("agree")
        self.assertEqual(date, (self.tree / "fs/proc/base.c").stat().st_mtime_ns)
        self.assertIn("+// more", self.patches()["0001-proc-add-exithand.patch"])
        self.assertIn("+// more", self.patches()["0002-rust-add-queue.patch"])
        self.assertEqual(self.git("status", "--porcelain"), "")

    def test_new_and_deleted_files(self):
        self.two_patches()
        self.write("fs-proc-exithand/exithand/glue.rs", "// glue\n")
        (self.top / "rust/kernel/queue.rs").unlink()
        self.write("rust/kernel/other.rs", "// other\n")
        self.series("agree", 6)
        self.series("fold")
        self.series("agree")
        self.assertIn("exithand/glue.rs", self.patches()["0001-proc-add-exithand.patch"])
        self.assertNotIn("queue.rs", self.patches()["0002-rust-add-queue.patch"])

    def test_edit_for_an_earlier_patch(self):
        self.two_patches()
        self.write("build/linux/fs/proc/exithand/exithand.rs", "// one\n// two\n// three\n// late\n")
        self.commit("proc: more exithand")
        self.series("fold")
        self.write("fs-proc-exithand/exithand.rs", "// ONE\n// two\n// three\n// late\n")
        self.series("fold", PATCH="1")
        self.assertIn("+// ONE", self.patches()["0001-proc-add-exithand.patch"])
        self.assertNotIn("ONE", self.patches()["0003-proc-more-exithand.patch"].split("@@")[0])
        self.series("agree")

    def test_edits_on_both_sides(self):
        self.two_patches()
        self.write("fs-proc-exithand/exithand.rs", "// folder\n")
        self.write("build/linux/fs/proc/exithand/exithand.rs", "// tree\n")
        self.commit("proc: change")
        before = self.patches()
        self.assertIn("edited both", self.series("sync", 6))
        self.assertIn("edited both", self.series("fold", 6))
        self.assertEqual(self.patches(), before)
        self.assertEqual(self.read("fs-proc-exithand/exithand.rs"), "// folder\n")

    def test_changes_that_are_not_committed(self):
        self.two_patches()
        self.write("build/linux/fs/proc/base.c", "other\n")
        self.assertIn("commit them", self.series("fold", 6))

    def test_message_edited_in_patches(self):
        self.two_patches()
        name = "patches/0001-proc-add-exithand.patch"
        self.write(name, self.read(name).replace("Why.", "Because."))
        self.series("apply")
        self.assertIn("Because.", self.git("log", "--format=%B"))
        before = self.patches()
        self.series("fold")
        self.assertEqual(self.patches(), before)

    def test_pull_brings_patches_and_folders(self):
        self.two_patches()
        sides = []
        for text in ("// one\n", "// two\n", "// one\n"):
            self.write("fs-proc-exithand/exithand.rs", text)
            self.series("fold")
            sides.append((text, self.patches()))
        # As `git pull` does: both at once, behind the tree's back.
        for text, patches in sides[1:] + sides[:2]:
            self.write("fs-proc-exithand/exithand.rs", text)
            for name, patch in patches.items():
                self.write(f"patches/{name}", patch)
            for verb in ("apply", "sync"):
                self.series(verb)
            self.assertEqual(self.read("build/linux/fs/proc/exithand/exithand.rs"), text)
            self.assertEqual(self.git("status", "--porcelain"), "")

    def test_patches_and_tree_both_changed(self):
        self.two_patches()
        name = "patches/0001-proc-add-exithand.patch"
        self.write(name, self.read(name).replace("Why.", "Because."))
        self.write("build/linux/fs/proc/base.c", "other\n")
        self.assertIn("patches/ changed", self.series("apply", 6))
        self.assertEqual(self.read("build/linux/fs/proc/base.c"), "other\n")

    def test_patch_that_does_not_apply(self):
        self.two_patches()
        name = "patches/0001-proc-add-exithand.patch"
        self.write(name, self.read(name).replace(" line 8\n", " line eight\n"))
        said = self.series("apply", 11)
        for part in ("0001-proc-add-exithand.patch", "fs/proc/base.c", "@@ -6,6 +6,7 @@"):
            self.assertIn(part, said)

    def test_folder_file_that_the_kernel_has(self):
        self.two_patches()
        self.write("rust/kernel/lib.rs", "mine\n")
        self.assertIn("the kernel already has", self.series("sync", 6))

    def test_cover_letter(self):
        self.write("patches/0000-cover-letter.txt", "Subject: [PATCH 0/9] proc: exithand\n\nText.\n")
        self.two_patches()
        cover = self.read("patches/0000-cover-letter.txt")
        for part in ("[PATCH 0/2]", "\nText.\n", "Base: Linux 0.0", "rust: add queue",
                     "3 files changed"):
            self.assertIn(part, cover)
        self.series("fold")
        self.assertEqual(self.read("patches/0000-cover-letter.txt"), cover)


class Send(SmallTree, unittest.TestCase):
    """The series as mails, with something else in place of the kernel's scripts."""

    VERSION = "Linux 0.0 (linux-source-0.0 0.0-1)"
    FROM = "Ñandú, Ümit <umit@kernel.org>"
    GIT = """#!/bin/bash
        case " $* " in
        *" --exec-path "*) echo ${0%/*} ;;
        *" send-email "*) printf '%s\\n' "$@" | sed -n 's/.*\\.patch/Dry-Sent &/p' ;;
        *) exec REAL "$@" ;;
        esac
        """
    MAINTAINER = """
        my ($patch) = grep { /patch$/ } @ARGV;
        print "Nobody's <it\\@kernel.org> (maintainer:ALL (IT))\\n" if $patch =~ /0001/;
        print "\\"Paul E. Ö\\" <p\\@kernel.org> (reviewer:ALL)\\nl\\@kernel.org (open list:IT)\\n";
        print "linux-kernel\\@vger.kernel.org (open list)\\n";
        """

    def setUp(self):
        super().setUp()
        self.two_patches()
        self.write("patches/0000-cover-letter.txt", "Subject: [PATCH 0/9] proc: exithand\n"
                   "Cc: api@kernel.org, p@kernel.org\n\nText.\n")
        install(self.top, "verbs/send", "lib/send.py", "lib/lib.sh", "lib/checkpatch")
        self.script("scripts/lib/setup", "#!/bin/bash\n")
        self.script("scripts/verbs/tree", "#!/bin/bash\n")
        self.script("cache/tools/bin/git", self.GIT.replace("REAL", shutil.which("git")))
        self.script("cache/tools/bin/git-send-email", "")
        self.script("build/linux/scripts/get_maintainer.pl", self.MAINTAINER)
        self.script("build/linux/scripts/checkpatch.pl", "")
        self.write("build/linux/.git/info/exclude", "/scripts/\n")
        self.write(".gitignore", "/build/\n/cache/\n")
        self.own_git("init", "-q")
        self.own_commit()
        self.out = self.top / "build/outgoing"

    def own_git(self, *args):
        env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        subprocess.run(["git", "-C", self.top, "-c", "user.name=T", "-c", "user.email=t@localhost",
                        *args], check=True, capture_output=True, env=env)

    def own_commit(self):
        self.own_git("add", ".")
        self.own_git("commit", "-q", "-m", "series")

    def send(self, code=0, script="verbs/send", args=(), **env):
        env = dict({"FROM": self.FROM, "V": "", "RFC": "", "OUT": "", "KDIR": "", "BASE": "",
                    "EXITHAND_CACHE": str(self.top / "cache")}, **env)
        command = [sys.executable] if script.endswith(".py") else []
        done = subprocess.run([*command, self.top / "scripts" / script, *args], text=True,
                              cwd=self.top, capture_output=True, check=False,
                              env=dict(os.environ, **env))
        self.assertEqual(done.returncode, code, done.stderr)
        self.said = done.stdout
        return done.stderr

    def mails(self):
        for file in self.out.glob("*"):
            self.assertTrue(file.read_bytes().split(b"\n\n", 1)[0].isascii(), file)
        return {f.name: email.message_from_bytes(f.read_bytes(), policy=email.policy.default)
                for f in self.out.glob("*")}

    def refused(self, code, **env):
        """It fails with one line, and leaves no mail."""
        last = self.send(code, **env).splitlines()[-1]
        self.assertTrue(last.startswith("exithand: "), last)
        self.assertEqual(list(self.out.glob("*")), [])
        return last

    def test_nobody(self):
        for who in ("", " ", "Name <address>", "Your Name <you@kernel.org>", "Kim Doe",
                    "Kim Doe kim@kernel.org", "Kim Doe <>", "Kim Doe <kim>", "Kim Doe <kim@kernel>",
                    "<kim@kernel.org>", "kim@kernel.org <kim@kernel.org>", "... <kim@kernel.org>",
                    "Kim Doe <kim@example.com>", "Kim Doe <kim@mail.example.org>",
                    "Kim Doe <kim@kernel.invalid>", "Kim Doe <kim@kim.localhost>",
                    "Kim Doe <kim@x.example>", "Kim Doe <your.name@kernel.org>",
                    "Kim Doe <7+kim@users.noreply.kernel.org>", "Kim Doe <noreply@kernel.org>",
                    "Kim Doe <kim@kernel..org>", "Kim Doe <kim@kernel.org.>",
                    "Kim Doe <kïm@kernel.org>", "Kim Doe <kim@kernel.org> <x@kernel.org>",
                    "Kim\nDoe <kim@kernel.org>", "Kim Doe <kim@@kernel.org>", "nobody <a@kernel.org>",
                    "Firstname  Lastname <a@kernel.org>", "John-Doe <a@kernel.org>"):
            with self.subTest(who):
                said = self.send(6, "lib/send.py", ["inputs"], FROM=who)
                self.assertEqual(said.count("\n"), 1)
                self.assertTrue(said.startswith("exithand: ") and "make send FROM=" in said, said)
        self.refused(6, FROM="Name <address>")

    def test_somebody(self):
        for who in ("Kim Doe <kim.doe+lk@mail.kernel.org>", "Ümit Ñandú <u@kernel.org>",
                    "毛 <m@kernel.org>", "Examplia O'Nobody <name.less@k-1.org>",
                    "Test Testermann <test@kernel.org>"):
            with self.subTest(who):
                self.send(0, "lib/send.py", ["inputs"], FROM=who)

    def test_mails(self):
        self.send()
        mails = self.mails()
        cover, first, second = (mails[name] for name in (
            "0000-cover-letter.patch", "0001-proc-add-exithand.patch", "0002-rust-add-queue.patch"))
        who = "Ñandú, Ümit"
        for mail in mails.values():
            self.assertEqual([(a.display_name, a.addr_spec) for a in mail["From"].addresses],
                             [(who, "umit@kernel.org")])
        for mail in (first, second):
            self.assertEqual(mail.get_content().count(
                f"\n\nSigned-off-by: {who} <umit@kernel.org>\n---\n"), 1)
            self.assertEqual(mail["In-Reply-To"], cover["Message-ID"])
        self.assertEqual(first["Subject"], "[PATCH 1/2] proc: add exithand")
        self.assertEqual([str(a) for a in first["To"].addresses], ["Nobody's <it@kernel.org>"])
        self.assertEqual([str(a) for a in first["Cc"].addresses],
                         ['"Paul E. Ö" <p@kernel.org>', "l@kernel.org",
                          "linux-kernel@vger.kernel.org", "api@kernel.org"])
        self.assertEqual([str(a) for a in second["To"].addresses], ["l@kernel.org"])
        self.assertEqual([str(a) for a in cover["To"].addresses],
                         ["Nobody's <it@kernel.org>", "l@kernel.org"])
        self.assertEqual([str(a) for a in cover["Cc"].addresses],
                         ['"Paul E. Ö" <p@kernel.org>', "linux-kernel@vger.kernel.org",
                          "api@kernel.org"])
        self.assertEqual(cover["Subject"], "[PATCH 0/2] proc: exithand")
        for part in ("\nText.\n\nBase: v0.0 (", "linux-source-0.0 0.0-1", f"{who} (2):",
                     "rust: add queue", "3 files changed"):
            self.assertIn(part, "\n" + cover.get_content())
        self.assertNotIn("base-commit:", cover.get_content())
        self.assertIn("git send-email --from='Ñandú, Ümit <umit@kernel.org>'", self.said)
        self.git("checkout", "-q", "base")
        self.git("am", "-q", *sorted(self.out.glob("000[12]*")))
        self.assertEqual(self.git("diff", "applied"), "")
        self.assertEqual(self.read("patches/0001-proc-add-exithand.patch").count("Signed-off"), 0)

    def test_english_only(self):
        self.write("patches/0000-cover-letter.txt", "Subject: [PATCH 0/9] proc: ä\n\nTëxt.\n")
        self.own_commit()
        self.send(FROM="Kim Doe <kim@kernel.org>")
        cover = self.mails()["0000-cover-letter.patch"]
        self.assertEqual(cover["Subject"], "[PATCH 0/2] proc: ä")
        self.assertIn("Tëxt.", cover.get_content())

    def test_mails_that_are_not_in_order(self):
        self.out.mkdir()
        self.send(0, "lib/send.py", ["write", self.tree, self.out])
        self.send(0, "lib/send.py", ["check", self.tree, self.out])
        for name, old, new, said in (
                ("0002-rust-add-queue", "+// queue", "+// other", "other trees"),
                ("0002-rust-add-queue", "In-Reply-To:", "X-Reply-To:", "no reply to the cover"),
                ("0002-rust-add-queue", "\nFrom: ", "\nFrom: A <a@kernel.org>\nX: ", "is from"),
                ("0002-rust-add-queue", "Signed-off-by:", "Acked-by:", "by nobody"),
                ("0002-rust-add-queue", "l@kernel.org", "l@localhost", "no dot"),
                ("0000-cover-letter", "Text.", "*** BLURB HERE ***", "not filled in")):
            with self.subTest(said):
                file = self.out / f"{name}.patch"
                text = file.read_text()
                self.assertIn(old, text)
                file.write_text(text.replace(old, new, 1))
                self.assertIn(said, self.send(1, "lib/send.py", ["check", self.tree, self.out]))
                file.write_text(text)

    def test_whom_nobody_can_reach(self):
        for said in ("", 'print "x <x\\@localhost> (maintainer:ALL)\\n";'):
            self.script("build/linux/scripts/get_maintainer.pl", said)
            self.assertIn("0002-rust-add-queue.patch: ", self.refused(1))
        self.script("build/linux/scripts/get_maintainer.pl", 'print "What?\\n";')
        self.refused(6)

    def test_complaints(self):
        self.script("build/linux/scripts/checkpatch.pl", "print qq(WARNING: x\\n);")
        self.assertIn("checkpatch", self.refused(1))
        self.script("build/linux/scripts/checkpatch.pl", "exit(grep { /no-signoff/ } @ARGV);")
        self.send()
        self.script("cache/tools/bin/git", self.GIT.replace("REAL", shutil.which("git"))
                    .replace("s/.*", "s/.*0002.*"))
        self.assertIn("send-email", self.refused(6))

    def test_sign_off_of_another(self):
        self.git("commit", "-q", "--amend", "-m", "rust: add queue\n\nSigned-off-by: A <a@kernel.org>")
        self.series("fold")
        self.own_commit()
        self.assertIn("signed off by A <a@kernel.org> and Ñandú", self.refused(1))

    def test_what_is_sent_is_committed(self):
        self.write("fs-proc-exithand/exithand.rs", "// one\n")
        self.refused(6)
        self.series("fold")
        self.assertIn("not committed", self.refused(6))
        self.own_commit()
        self.send()
        self.write("build/linux/fs/proc/base.c", "other\n")
        self.assertIn("not in patches/", self.refused(6))

    def test_versions(self):
        for number in ("0", "x", "-1"):
            self.assertIn("not a version", self.refused(6, V=number))
        self.assertIn("no tag v1", self.refused(6, V="2"))
        self.own_git("tag", "-a", "v1", "-m", "as sent")
        self.send(V="1")
        self.write("fs-proc-exithand/exithand.rs", "// one\n// zwei\n// three\n")
        self.series("fold")
        self.own_commit()
        self.assertIn("V=2", self.refused(6))
        self.assertIn("Changes since v1", self.refused(6, V="2"))
        self.write("patches/0000-cover-letter.txt", "Subject: proc: exithand\n\nText.\n\n"
                   "Changes since v1\n================\n\nThat two is zwei.\n")
        self.own_commit()
        self.send(V="2", RFC="1")
        mails = self.mails()
        self.assertEqual(mails["v2-0001-proc-add-exithand.patch"]["Subject"],
                         "[RFC PATCH v2 1/2] proc: add exithand")
        text = mails["v2-0000-cover-letter.patch"].get_content()
        self.assertIn("That two is zwei.", text)
        self.assertIn("Range-diff against v1:\n1:  ", text)
        self.assertRegex(text, r"(?m)^ +-\+// two\n +\++// zwei$")
        # Who sends it, and that it is signed off now, is no change.
        self.assertNotIn("Signed-off-by", text)
        self.assertIn("git tag -a v2", self.said)

    def test_another_directory(self):
        self.out = self.top / "other"
        self.write("other/0001-old.patch", "")
        self.send(OUT=str(self.out))
        self.assertNotIn("0001-old.patch", self.mails())
        self.write("other/letter.txt", "")
        self.assertIn("letter.txt", self.send(6, OUT=str(self.out)))
        self.assertEqual(len(self.mails()), 4)


class Bases(SmallTree, unittest.TestCase):
    """The series on other kernels, with something else in place of the mirror and the tests."""

    VERSION = "Linux 7.3.4 (linux-source-7.3 7.3.4-1)"
    SUITES = {"trixie-backports": "linux-source-7.2 7.2.9-1\nlinux-source-7.3 7.3.4-1\n",
              "sid": "linux-source-7.2 7.2.10-1\nlinux-source-6.12 6.12.1-1\n", "forky": "",
              "experimental": "linux-source-7.3 7.3~rc7-1~exp1\nlinux-source-7.4 7.4~rc1-1~exp1\n"}
    KERNELS = {"linux-source-7.2": "7.2.10-1", "linux-source-7.4": "7.4~rc1-1~exp1"}

    def setUp(self):
        super().setUp()
        self.two_patches()
        install(self.top, "verbs/bases", "verbs/tree", "lib/lib.sh")
        self.script("scripts/lib/setup", "#!/bin/bash\n")
        self.script("scripts/lib/deb", '#!/bin/bash\n[ "$3" = --versions ] && cat "$0.$2"\n')
        for suite, has in self.SUITES.items():
            self.write(f"scripts/lib/deb.{suite}", has)
        self.script("cache/tools/bin/df", "#!/bin/bash\necho 99999M\n")
        self.outcomes()
        self.write("cache/base/version", "linux-source-7.3 7.3.4-1 trixie-backports\n")
        for package, version in self.KERNELS.items():
            self.kernel(f"cache/bases/{package}_{version}.tar.xz")
        self.kernel("cache/base/linux-7.3.tar.xz")

    def outcomes(self, other="echo 5 passed, 0 failed, 0 skipped", must=None):
        """What comes of the selftests on the others, and on 7.3.4."""
        self.script("scripts/verbs/test", "#!/bin/bash\necho \"$OTHER\" >>tested\n[ -n \"$OTHER\" ] || "
                    f"{{ {must or other}; exit; }}\n{other}\n")

    def kernel(self, name, **files):
        """The unpatched small tree, with these files in place of its own."""
        with tempfile.TemporaryDirectory() as tmp:
            subprocess.run(f"git archive --prefix=linux-source-x/ base | tar -x -C {tmp}",
                           shell=True, check=True, cwd=self.tree)
            for file, text in files.items():
                Path(tmp, "linux-source-x", *file.split("__")).write_text(text)
            (self.top / name).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["tar", "-cJf", self.top / name, "-C", tmp, "linux-source-x"], check=True)

    def bases(self, code=0, **env):
        env = dict({"BUILD": "", "KDIR": "", "BASE": "", "CONFIG": "", "OTHER": "",
                    "EXITHAND_CACHE": str(self.top / "cache")}, **env)
        done = subprocess.run([self.top / "scripts/verbs/bases"], text=True, cwd=self.top,
                              capture_output=True, check=False, env=dict(os.environ, **env))
        self.assertEqual(done.returncode, code, done.stderr)
        if done.stdout:
            self.assertEqual(self.read("build/results/bases.txt"), done.stdout)
        self.said = done.stdout
        self.rows = [line.split(None, 3) for line in done.stdout.split("\n\n")[0].splitlines()][1:]
        return done.stderr

    def ran(self):
        file = self.top / "tested"
        return file.read_text().splitlines() if file.exists() else []

    def test_all_is_well(self):
        self.bases()
        good = ["yes", "yes", "5 passed, 0 failed, 0 skipped"]
        self.assertEqual(self.rows, [["7.2.10", *good], ["7.3.4", *good], ["7.4-rc1", *good]])
        self.assertEqual(self.ran(), ["7.2.10", "", "7.4-rc1"])
        self.assertEqual(list((self.top / "build/bases").iterdir()), [])

    def test_only_whether_it_applies(self):
        self.bases(BUILD="0")
        self.assertEqual(self.rows, [[k, "yes", "-", "-"] for k in ("7.2.10", "7.3.4", "7.4-rc1")])
        self.assertEqual(self.ran(), [])
        self.bases(6, BUILD="2")

    def test_does_not_apply(self):
        base = self.read("build/linux/fs/proc/base.c").replace("entry\n", "")
        other = base.replace("line 8\n", "line eight\n")
        self.assertNotEqual(base, other)
        self.kernel("cache/bases/linux-source-7.2_7.2.10-1.tar.xz", **{"fs__proc__base.c": other})
        self.bases()
        self.assertEqual([row[1] for row in self.rows], ["no", "yes", "yes"])
        self.assertEqual(self.ran(), ["", "7.4-rc1"])
        hunk = self.said[self.said.index("patches/0001-proc-add-exithand.patch: fs/proc/base.c\n"):]
        self.assertIn("@@ -6,6 +6,7 @@ line 4\n line 5\n line 6\n line 7\n+entry\n line 8\n", hunk)
        self.assertEqual(hunk.count("@@ -"), 1)
        # There it must.
        self.kernel("cache/base/linux-7.3.tar.xz", **{"fs__proc__base.c": other})
        self.bases(11)
        self.assertEqual([row[1] for row in self.rows], ["no", "no", "yes"])

    def test_file_that_another_kernel_has(self):
        self.kernel("cache/bases/linux-source-7.4_7.4~rc1-1~exp1.tar.xz",
                    **{"rust__kernel__queue.rs": "// theirs\n"})
        self.bases()
        self.assertEqual([row[1] for row in self.rows], ["yes", "yes", "no"])
        self.assertIn("patches/0002-rust-add-queue.patch: rust/kernel/queue.rs: already exists",
                      self.said)

    def test_does_not_build_or_pass(self):
        self.write("scripts/lib/deb.trixie-backports", "linux-source-7.3 7.3.4-1\n")
        self.write("scripts/lib/deb.sid", "")
        good, fails = "echo 5 passed, 0 failed, 0 skipped", "echo 4 passed, 1 failed, 0 skipped; exit 1"
        no_build = "echo exithand: the kernel does not build: fork.c >&2; exit 11"
        passed = ["yes", "5 passed, 0 failed, 0 skipped"]
        failed = ["yes", "4 passed, 1 failed, 0 skipped (exit code 1)"]
        for must, other, code, rows in (
                (good, no_build, 0, [passed, ["no", "-"]]),
                (no_build, good, 11, [["no", "-"], passed]),
                (good, fails, 0, [passed, failed]),
                (fails, good, 1, [failed, passed]),
                ("exit 5", good, 5, [["yes", "none ran (exit code 5)"], passed]),
                (good, "exit 6", 0, [passed, ["unknown", "-"]]),
                ("exit 6", good, 6, [["unknown", "-"], passed]),
                (good, "exit 130", 130, None)):
            with self.subTest(other=other, must=must):
                self.outcomes(other, must)
                self.bases(code)
                if rows is None:
                    continue
                self.assertEqual([row[2:] for row in self.rows], rows)
                self.assertEqual("fork.c" in self.said, no_build in (other, must))
                # What failed stays, to be looked at.
                self.assertEqual((self.top / "build/bases/7.4-rc1/linux").exists(), other != good)

    def test_mirror(self):
        (self.top / "scripts/lib/deb.forky").unlink()
        self.bases(BUILD="0")
        self.assertRegex(self.said, "Not asked.*: forky\n")
        for suite in self.SUITES:
            (self.top / f"scripts/lib/deb.{suite}").unlink(missing_ok=True)
        self.assertIn("cannot ask", self.bases(6, BUILD="0"))


if __name__ == "__main__":
    unittest.main()
