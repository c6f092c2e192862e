# SPDX-License-Identifier: GPL-2.0
"""make mutants, and the comparison of make regress."""

import json

import pytest
from common import CONSOLE, KTAP, OOPS, copy_harness, kernel, script, verb, write

CAUGHT_BY = "Caught-by: proc-exithand global.poll_* still waits\n"
RUN = "Run: proc-exithand global.*\n"
CONTROL = {"header": RUN + "Control: yes\n"}
BY_CONSOLE = {"header": RUN + "Caught-by: console NULL\n", "ktap": KTAP}
RED = KTAP.replace("# ok 2 global.poll_waits", """\
# # proc-exithand.c:99:poll_waits:poll: still waits after the exit
# # poll_waits: Test terminated by assertion
# not ok 2 global.poll_waits""").replace("\nok 3", "\nnot ok 3")


@pytest.fixture(name="judge_mutant")
def judge_fixture(tmp_path, monkeypatch, capsys, judge):
    import mutant
    monkeypatch.setattr(mutant, "MUTANTS", tmp_path / "patches")
    monkeypatch.setattr(mutant, "RESULTS", tmp_path)
    (tmp_path / "mutants").mkdir()

    def judge_mutant(header=CAUGHT_BY, ktap=RED, console=CONSOLE, vm_end=0):
        write(tmp_path / "patches/one.patch", f"What.\n\n{header}\n--- a/x\n+++ b/x\n")
        try:
            one = mutant.Mutant("one")
        except mutant.Problem as problem:
            return problem.code, str(problem)
        judge(vm_end=vm_end, **{"test.ktap": ktap, "console.log": console})
        one.record(*mutant.judge(one, tmp_path / "run"), 1)
        return mutant.summary(), capsys.readouterr().out
    return judge_mutant


@pytest.mark.parametrize("code, says, what", [
    (0, "ok    one: caught by proc-exithand global.poll_waits (1 s)\n1 passed, 0 failed\n", {}),
    (1, "FAIL  one: not caught", {"ktap": KTAP}),
    (1, "something else", {"ktap": RED.replace("still waits", "woken")}),
    (3, "something else", {"ktap": KTAP, "console": CONSOLE + OOPS}),
    (3, "but also", {"console": CONSOLE + OOPS}),
    (1, "time limit", {"ktap": RED.replace("by assertion", "by timeout")}),
    (10, "skipped", {"ktap": RED.replace("ok 1 global.read_waits", "ok 1 global.read_waits # SKIP x")}),
    (8, "1 of 2 tests", {"ktap": RED.replace("# ok 1 global.read_waits\n", "")}),
    (7, "no failure", {"ktap": ""}),
    (4, "did not end in time", {"vm_end": 4}),
    (0, "caught by the kernel: BUG: kernel NULL", {**BY_CONSOLE, "console": CONSOLE + OOPS, "vm_end": 5}),
    (1, "no failure of console NULL", {**BY_CONSOLE, "console": CONSOLE + "<6>NULL\n"}),
    (0, "3 tests passed", {**CONTROL, "ktap": KTAP}),
    (1, "poll_waits failed: proc-exithand.c:99:", CONTROL),
    (6, "not both", {"header": CAUGHT_BY + "Control: yes\n"}),
    (6, "not both", {"header": RUN}),
    (6, "unclear line", {"header": CAUGHT_BY + "Caughtby: x\n"}),
    (6, "names no tests", {"header": "Caught-by: console NULL\n"})])
def test_mutant(judge_mutant, code, says, what):
    found, said = judge_mutant(**what)
    assert found == code and says in said


BUILD = """\
. "${BASH_SOURCE[0]%/*}/lib.sh"
mkdir -p "$obj/tests/proc" "$obj/arch/x86/boot" "$build/logs"
cp "$src/kernel/fork.c" "$obj/arch/x86/boot/bzImage"
: >"$obj/.config" >"$build/logs/kernel-$CONFIG-mutant.log"
cat >"$obj/tests/proc/proc-exithand" <<END
#!/bin/sh
echo '# FIXTURE             VARIANT                   TEST'
echo 'global                                          read_waits'
echo '                                                poll_waits'
END
chmod +x "$obj/tests/proc/proc-exithand"
"""
GUEST = """\
grep -q "KSELFTEST_PROC_EXITHAND_ARGS='-r .*poll_waits'.* 'proc:proc-exithand'" $run/cmd || exit
! grep -q 'int a' $kernel || KTAP=$RED
leave
"""


def test_mutants(tmp_path):
    """One mutant is caught, one is missed, one does not apply."""
    copy_harness(tmp_path, "lib/setup", "lib/series.py", "verbs/tree")
    tree = kernel(tmp_path / "build/linux", "base", **{"kernel/fork.c": "int fork;\n"})
    write(tree / ".git/exithand-synced", "")
    script(tmp_path / "scripts/lib/build", BUILD)
    patch = "--- a/kernel/fork.c\n+++ b/kernel/fork.c\n@@ -1 +1 @@\n-int {};\n+int {};\n"
    for name, old, new in (("caught", "fork", "a"), ("missed", "fork", "b"), ("broken", "other", "c")):
        write(tmp_path / f"scripts/mutants/{name}.patch",
              f"What.\n\n{CAUGHT_BY}\n" + patch.format(old, new))
    done = verb(tmp_path, "verbs/mutants", code=1, GUEST=GUEST, RED=RED)
    lines = [line.rsplit(" (", 1)[0] for line in done.out.splitlines()]
    assert lines[0] == "ok    none: 3 tests passed", done.out + done.err
    assert lines[1].startswith("FAIL  broken: does not apply: error: patch failed")
    assert lines[2:] == ["ok    caught: caught by proc-exithand global.poll_waits",
                         f"FAIL  missed: not caught: no failure of {CAUGHT_BY[11:-1]}; 3 tests passed",
                         "2 passed, 2 failed"]
    assert (tree.parent / "linux-mutant/kernel/fork.c").read_text() == "int fork;\n"
    assert not list((tmp_path / "build").glob("run.*"))
    assert (tmp_path / "build/results/mutants/caught-default/test.ktap").exists()
    assert "no such mutant" in verb(tmp_path, "verbs/mutants", code=6, M="x*").err
    # A test that fails without a mutant proves nothing.
    done = verb(tmp_path, "verbs/mutants", code=1, M="caught", KTAP=RED)
    assert [line.split(":")[0] for line in done.out.splitlines()[:2]] == ["FAIL  none", "FAIL  caught"]


# -- regress ----------------------------------------------------------------

GOOD = {"proc/read": "pass", "proc/self/a.b": "fail", "proc/lazy": "skip", "cgroup/test_kill/tree": "pass"}


@pytest.mark.parametrize("name, result, base, patched, status", [
    *((name, result, {1}, {1}, status) for name, result, status in (
        ("proc/read", "fail", 1), ("proc/read", "skip", 1), ("proc/read", None, 1), ("proc/new", "fail", 1),
        ("proc/lazy", "fail", 1), ("proc/lazy", None, 0), ("proc/self/a.b", "pass", 0),
        ("proc/self/a.b", "fail", 0), ("proc/new", "skip", 0), ("proc/proc-exithand/x", "fail", 0),
        # No test of this program has run.
        ("cgroup/test_kill/tree", None, 6))),
    *(("proc/read", "pass", base, patched, status) for base, patched, status in (
        ({4}, {1}, 6), ({1}, {5}, 6), ({1}, {1, 3}, 6), ({7}, {1}, 6), ({3}, {3}, 0), ({}, None, 6)))])
def test_regress(program, tmp_path, name, result, base, patched, status):
    """The patched kernel has this result, and the runs ended with these codes."""
    def compare(number, good, other):
        for side, codes, tests in ("base", base, good), ("patched", patched, other):
            if codes is not None:
                write(tmp_path / f"regress-{side}-{number}.json", json.dumps({"codes": [*codes], "tests": [
                    {"name": name, "program": ":".join(name.split("/")[:2]), "result": result}
                    for name, result in tests.items() if result]}))
        done = program("lib/regress.py", tmp_path, "proc", "cgroup:test_kill")
        return done.code, (tmp_path / "regress.txt").read_text(), done.out
    code, said, again = compare(1, GOOD, {**GOOD, name: result})
    assert code == status, said
    worse = status == 1 or name[0] == "c" or patched is None
    assert (f"WORSE: {name}: " in said) == worse
    assert patched is None or again == (f"-t {':'.join(name.split('/')[:2])}\n" if worse else "")
    if status == 1 and result:
        # A test that passes when it runs again is not worse.
        assert compare(2, {}, {name if name.count("/") > 1 else f"{name}/x": "pass"})[0] == 0
