# SPDX-License-Identifier: GPL-2.0
"""verdict.py and kunit.py: the files that a guest leaves, and the exit code for them."""

import re
import shutil

import pytest
from common import CONSOLE, KTAP, OOPS, TOP, kernel, write


def said_by(*lines):
    return {"console.log": CONSOLE.replace("<12>", "\n".join(lines) + "\n<12>", 1)}


def ktap(old, new):
    assert old in KTAP
    return {"test.ktap": KTAP.replace(old, new)}


SKIPPED = ktap("ok 2 global.poll_waits", "ok 2 global.poll_waits # SKIP too lazy")
# The guest did not reach its end.
CUT = {"console.log": CONSOLE[:90]}
NO_STATUS = {**CUT, "status": None}
TESTS = [
    (0, "^3 passed, 0 failed, 1 skipped\n$", {}),
    (1, "FAILED: proc/proc-exithand/global.poll_waits .*2 passed, 1 failed,",
     ktap("# ok 2 g", "# not ok 2 g")),
    # A test program failed although its tests passed.
    (1, "FAILED: proc/proc-exithand .*3 passed, 1 failed,", ktap("ok 3 s", "not ok 3 s")),
    (8, "TIMEOUT 45 seconds.*2 passed, 1 failed,", {
        "test.ktap": KTAP[:KTAP.index("# ok 2 g")] + "not ok 3 proc-exithand # TIMEOUT 45 seconds\n"}),
    (7, "no test ran", {"test.ktap": "TAP version 13\n1..0\n"}),
    (7, "no test ran", {"test.ktap": None}),
    (8, "1 of 3 test programs", {"test.ktap": "\n".join(KTAP.splitlines()[:5]) + "\n"}),
    (8, "2 of 3 tests", ktap("# 1..2", "# 1..3")),
    (8, "no plan", ktap("\n1..3", "")),
    (10, "too lazy.*2 passed, 0 failed, 2 skipped", SKIPPED),
    (10, "SKIPPED: proc/proc-exithand ", {
        "test.ktap": KTAP[:KTAP.index("# TAP")] + "# 1..0\nok 3 selftests: proc: proc-exithand # SKIP\n"}),
]
ENDS = [
    (3, "NULL pointer dereference", {"console.log": CONSOLE + OOPS}),
    # A complaint counts more than the end of the guest.
    (3, "", {"console.log": CONSOLE[:80] + "\n" + OOPS, "end": "died", "status": None, "vm_end": 5}),
    (4, "the end of its console", {**NO_STATUS, "vm_end": 4}),
    (5, "the guest died", {**NO_STATUS, "end": "died", "vm_end": 5}),
    (6, "", {"vm_end": 77, "console.log": CONSOLE + OOPS}),
    (5, "left no exit status", {"status": None}),
    (9, "end mark", CUT),
    (9, "end mark", {"console.log": None}),
    (9, "did not look for leaks", {"look-for-leaks": "", "leaks": ""}),
    (0, "", {"look-for-leaks": "", **said_by("<12>[    9.2] exithand: looked for leaks")}),
    (3, "unreferenced", {"leaks": "unreferenced object 0xffff888004a0b000\n"}),
    # The console has no priorities.
    (6, "", {"console.log": "Linux version 7.3.4-exithand\nexithand: end of run\n"}),
    (6, "", {"console.log": CONSOLE.splitlines()[3]}),
    (1, "", {"kind": "run", "status": "1"}),
    (3, "the kernel complained", {"kind": "exec", "status": "1", "console.log": CONSOLE + OOPS}),
]


@pytest.mark.parametrize("code, said, what", TESTS + ENDS)
def test_what_the_guest_leaves(judge, code, said, what):
    done = judge(**what)
    assert done.code == code and re.search(said, done.err + done.out, re.DOTALL), done.err


BUG = "<4>[    4.500001] WARNING: kernel/exit.c:901 at do_exit+0x1/0x2, CPU#1: sleep/77"


@pytest.mark.parametrize("code, line", [
    *((3, f"<4>[    8.0] {line}") for line in (
        "BUG: KASAN: slab-use-after-free in exithand_poll+0x1/0x2",
        "scheduling while atomic: cat/77/0x00000002", "watchdog: soft lockup - CPU#0 stuck for 22s!",
        "INFO: task cat:77 blocked for more than 120 seconds.",
        "rcu: rcu_preempt self-detected stall on CPU", "rcu: rcu_preempt detected stalls on CPUs/tasks:",
        "rust_kernel: panicked at fs/proc/exithand/exithand.rs:1:1:",
        "UBSAN: array-index-out-of-bounds in fs/proc/base.c:1:2",
        "kmemleak: 2 new suspected memory leaks", "refcount_t: underflow; use-after-free.",
        "ODEBUG: free active (active state 0) object: 00000000")),
    # Lines of user space.
    (0, '<14>[    4.5] virtme-ng-init: WARNING: failed to run: "ip" link set dev lo up'),
    *((0, line) for line in ("<30>[    4.5] udevd[77]: Oops", "WARNING: straight to the terminal")),
    # Lines of the kernel beside them.
    *((3, user + BUG) for user in ("no end", "<14>[    4.5] no end", "<14>[    4.5] said before\n")),
    # The name of the program has these characters. The kernel's lines end with \r\n.
    (3, "<4>[    4.5] a\x0cb\x85c\rd: page allocation failure: order:0\r"),
    # The kernel repeats a line that a message of higher priority has interrupted.
    (3, "<4>[    4.50\n** replaying previous printk message **\n" + BUG),
    (3, "** 12 printk messages dropped **"),
    # An early line, or a kernel without console_msg_format, has no <N>.
    (3, "[    4.500001] WARNING: x")])
def test_line(judge, code, line):
    assert judge(**said_by(line)).code == code


# -- lists ------------------------------------------------------------------

REPORT = ["<4>[    8.0] eater invoked oom-killer: gfp_mask=0x1", "<4>[    8.1] Call Trace:",
          "<4>[    8.2]  dump_stack+0x1/0x2", "<4>[    8.3] Out of memory and no killable processes..."]
REPORTS = "invoked oom-killer: (?s:(?!KASAN|too late|no killable).)*no killable\tasked for\n"


@pytest.mark.parametrize("code, name, text, what", [
    (0, "splat-allow", REPORTS, said_by(*REPORT, *REPORT)),
    # A line after a report, a report without an end, and other complaints in it.
    (3, "splat-allow", REPORTS, said_by(*REPORT, "<4>Call Trace:")),
    (3, "splat-allow", REPORTS, said_by(*REPORT[:3])),
    (3, "splat-allow", REPORTS, said_by(*REPORT[:2], "<4>too late", *REPORT[2:])),
    (3, "splat-allow", REPORTS, said_by(*REPORT[:2], BUG, *REPORT[2:])),
    (0, "splat-allow", "WARNING: kernel\tby design\n", said_by(BUG)),
    (3, "splat-allow", "nothing\tof that\n", said_by(BUG)),
    (6, "splat-allow", "WARNING: kernel\n", said_by(BUG)),
    *((6, *bad, {}) for bad in (
        ("splat-deny", "# nothing\n"), ("splat-deny", "(\n"), ("splat-allow", None), ("splat-allow", "a\t\n")))])
def test_list(judge, tmp_path, code, name, text, what):
    file = shutil.copytree(TOP / "qemu-config", tmp_path / "qemu-config") / name
    file.unlink()
    if text is not None:
        write(file, text)
    done = judge(top=tmp_path, **what)
    assert done.code == code and "Traceback" not in done.err, done.err
    assert code != 6 or name in done.err


def test_exit_codes_in_make_help():
    import verdict
    assert all(f"#:   {code} {text}\n" in (TOP / "Makefile").read_text()
               for code, text in verdict.CODES.items())


# -- make kunit: each test of the series must run, and rustc must reject each program

SOURCE = """\
/// ```
/// one();
/// ```
/// ```
/// two();
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
# The last doctest documents an argument of a macro.
IN_MACRO = SOURCE.replace("/// ```\n/// two", "flags!(\n/// ```\n/// two").replace("fn new", ");\nfn new")
SAYS = """\
[    0.400000] KTAP version 1
[    0.400001] 1..2
[    0.400002]     KTAP version 1
[    0.400004]     1..1
[    0.400005]     ok 1 waits
[    0.400006] ok 1 rust_queue
[    0.400007]     KTAP version 1
[    0.400009]     1..3
[    0.400010]     # rust_doctest_kernel_a_rs_0.location: rust/kernel/a.rs:1
[    0.400011]     ok 1 rust_doctest_kernel_a_rs_0
[    0.400012]     # rust_doctest_kernel_a_rs_1.location: rust/kernel/a.rs:4
[    0.400013] workqueue: something else is said
[    0.400014]     ok 2 rust_doctest_kernel_a_rs_1
[    0.400015]     ok 3 rust_doctest_kernel_b_rs_0 # SKIP no such machine
[    0.400017] ok 2 rust_doctests_kernel
"""
WRONG = "fn f() {\n    // error: E0597 `queue`\n    register(&queue);\n}\n"
ERROR = """\
/x/compile-fail/wrong.rs:3:5: error[E0597]: `queue` does not live long enough: x
error: aborting due to 1 previous error
"""


def says(old, new):
    return {"says": SAYS.replace(old, new, 1)}


def error(old, new):
    return {"error": ERROR.replace(old, new)}


@pytest.mark.parametrize("code, said, what", [
    (0, "5 passed, 0 failed, 1 skipped\n", {}),
    (1, "FAILED: rust_queue/waits", says("ok 1 waits", "not ok 1 waits")),
    (1, "FAILED: rust_doctests_kernel/rust/kernel/a.rs:4", says("ok 2 rust_d", "not ok 2 rust_d")),
    # The result line of a suite counts.
    (1, "FAILED: rust_queue ", says("] ok 1", "] not ok 1")),
    (8, "did not run: rust_doctests_kernel/rust/kernel/a.rs:4",
     {"says": SAYS.replace("1..3", "1..2").replace("    ok 2", "    2")}),
    (10, "SKIPPED: rust_queue/waits", says("1 waits", "1 waits # SKIP lazy")),
    (7, "none of our tests in the kernel", {"source": ""}),
    (7, "none of our tests in the kernel", {"says": SAYS[:SAYS.index("[    0.400002]")]}),
    # The kernel stops between two tests.
    (8, "2 of 3", {"says": SAYS[:SAYS.index("[    0.400015]")]}),
    (3, "NULL pointer", {"says": SAYS + OOPS}),
    # For an argument of a macro, rustdoc prints the number of the line before it.
    (0, "", {"source": IN_MACRO}),
    (8, "a.rs:5", {"source": IN_MACRO.replace("flags!(", "fn x() {}")}),
    # Only a doctest that the kernel cannot run may be left out.
    (0, "", {"source": SOURCE.replace("text", "ignore,compile_fail")}),
    (8, "a.rs:7", {"source": SOURCE.replace("text", "ignore")}),
    # The program builds, or fails with another error.
    (1, "it builds", {"error": "", "objects": ("right", "wrong")}),
    (1, "line 3 should give E0597 `queue`", {"error": ""}),
    (1, "unexpected: ", error("E0597", "E0599")),
    (1, "unexpected: ", error(":3:", ":4:")),
    (1, "unexpected: ", error("`queue`", "`guard`")),
    (1, "E0433", {"error": ERROR + "/x/other/wrong.rs:3:4: error[E0433]: failed to resolve\n"}),
    (1, "FAILED: negative/right", {"objects": ()}),
    (1, "FAILED: negative/right", error("/wrong.rs", "/right.rs")),
    # This error has no code.
    (0, "", {**error("[E0597]", ""), "wrong": WRONG.replace("E0597", "")})])
def test_kunit(judge, program, tmp_path_factory, tmp_path, code, said, what):
    what = {"says": SAYS, "error": ERROR, "objects": ("right",), "source": SOURCE, "wrong": WRONG, **what}
    tree = tmp_path_factory.getbasetemp() / "kunit"
    if not tree.exists():
        kernel(tree, "Linux 0.0", **{"rust/kernel/a.rs": "", "rust/kernel/untouched.rs": SOURCE})
    write(tree / "rust/kernel/a.rs", what["source"])
    write(tmp_path / "programs/right.rs", "fn f() {}\n")
    write(tmp_path / "programs/wrong.rs", what["wrong"])

    def prepare():
        assert program("lib/kunit.py", "--tree", tree, "--programs", tmp_path / "programs",
                       "--dir", tmp_path / "run").code == 0
    done = judge("kunit", prepare=prepare, **{
        "console.log": CONSOLE.replace("<14>", what["says"] + "<14>"), "negative.log": what["error"],
        **{f"negative/{name}.o": "" for name in what["objects"]}})
    assert done.code == code and said in done.err + done.out, done.err
