# SPDX-License-Identifier: GPL-2.0
"""make each, with small scripts in place of the kernel's build and its tools."""

import os
import signal
from types import SimpleNamespace

import pytest
from common import commit, copy_harness, end, git, kernel, script, start, verb, wait_for, write

BUILD = """\
. "${BASH_SOURCE[0]%/*}/lib.sh"
mkdir -p "$obj/tests/proc" "$obj/arch/x86/boot" "$build/logs"
touch "$obj/arch/x86/boot/bzImage"
echo CONFIG_PROC_EXITHAND=y >"$obj/.config"
echo proc:proc-exithand >"$obj/tests/kselftest-list.txt"
echo "  CC      $CONFIG" >"$build/logs/kernel-$CONFIG-each.log"
: >"$build/logs/selftests.log"
flock -n "$build/lock" true && exit 99 # each holds the lock
# A compiler warns once.
[ "$CONFIG" != "${WARNS:-}" ] || [ -e "$obj/built" ] ||
	echo "kernel/fork.c:1:1: warning: $CONFIG" >>"$build/logs/kernel-$CONFIG-each.log"
touch "$obj/built"
[ "$CONFIG" != "${BREAKS:-}" ] || { echo "exithand: the kernel does not build: x" >&2; exit 11; }
eval "${AT_BUILD:-}"
"""
MAKE = """\
[ "$*" != "${*%C=2*}" ] && ! [ "${NO_SPARSE:-}" ] && echo "  CHECK   ../kernel/fork.c"
echo "  CC      kernel/fork.o"
echo "  CLIPPY L rust/kernel.o"
"""


def series_of(tree, fork="int fork, more;\n", message="one"):
    """Two patches: C code with the option, then a selftest."""
    git(tree, "reset", "-q", "--hard", "base")
    commit(tree, message, **{"kernel/fork.c": fork, "fs/proc/Kconfig": "config PROC_EXITHAND\n"})
    commit(tree, "two", **{"tools/testing/selftests/proc/proc-exithand.c": "int main;\n"})
    git(tree, "tag", "-f", "applied")


@pytest.fixture(name="top")
def small_series(tmp_path):
    copy_harness(tmp_path, "lib/setup", "verbs/tree")
    script(tmp_path / "scripts/lib/build", BUILD)
    for name in ("clang", "ld.lld", "rustc", "rustfmt", "rustdoc", "bindgen", "sparse", "codespell",
                 "sphinx-build", "qemu-system-x86_64", "clippy-driver"):
        script(tmp_path / "cache/tools/bin" / name, '[ "$1" = --version ] || exec cat >/dev/null\necho 1.0\n')
    script(tmp_path / "cache/tools/bin/make", MAKE)
    tree = kernel(tmp_path / "build/linux", "base", **{
        "kernel/fork.c": "int fork;\n", "fs/proc/Kconfig": "menu\n", "scripts/checkpatch.pl": "exit 0\n",
        "scripts/checker-valid.sh": "echo 1\n", "scripts/get_maintainer.pl": "print 'a@localhost'\n"})
    series_of(tree)
    write(tmp_path / "tools-testing-selftests/proc/proc-exithand.c", "int main;\n")
    return tmp_path


def run(top, code, **env):
    """Run make each. Return {gate: its row of the table}, the table, and what it says meanwhile."""
    done = verb(top, "verbs/each", code=code, **env)
    rows = {line.split()[0]: line.split()[1:] for line in done.out.split("\n\n")[0].splitlines()}
    return rows, done.out, done.err


def test_each(top):
    # The options of run_kselftest.sh and their arguments are words of their own.
    words = "leave; ! grep run_kselftest $run/cmd || grep \"'-t' 'proc:\" $run/cmd || rm $run/test.ktap"
    rows, table, _ = run(top, 0, GUEST=words)
    assert [rows[gate] for gate in ("default", "hand-off", "lint", "tests", "arm64", "docs")] == [
        ["ok", "ok"], ["ok", "ok"], ["ok", "-"], ["-", "ok"], ["-", "ok"], ["-", "ok"]]
    assert table.endswith(" 0 failed\n") and (top / "build/results/each.txt").read_text() == table
    # Gates that have passed do not run again.
    _, again, said = run(top, 0)
    assert again == table and "patch" not in said
    # A gate runs again after a change of what it depends on.
    series_of(top / "build/linux", message="ONE")
    assert "1 of 1: patch 1, checkpatch" in run(top, 0)[2]
    with (top / "qemu-config/demo").open("a") as demo:
        demo.write("#\n")
    assert "patch 1, default" in run(top, 0, PATCH="1")[2]
    assert "give a number from 1 to 2" in run(top, 6, PATCH="3")[2]
    script(top / "cache/tools/bin/sphinx-build", "exit 1")
    assert "cannot run one of the tools" in run(top, 6)[2]


@pytest.mark.parametrize("env, code, rows, said", [
    ({"PATCH": "2", "BREAKS": "up", "KTAP": ""}, 7, {"up": "FAIL", "allno": "ok", "tests": "FAIL"},
     "FAIL  2 up: exithand: the kernel does not build"),
    ({"PATCH": "1", "STATUS": "1"}, 1, {"boots": "FAIL", "default": "ok"}, "FAIL  1 boots: exithand: "),
    ({"PATCH": "1", "NO_SPARSE": "1"}, 6, {"lint": "FAIL"}, "FAIL  1 lint: this gate failed on the base"),
    ({"PATCH": "1", "WARNS": "rust-off"}, 1, {"rust-off": "FAIL"}, "FAIL  1 rust-off: kernel/fork.c:1:1: ")])
def test_failures(top, env, code, rows, said):
    found, table, _ = run(top, code, **env)
    assert {gate: found[gate] for gate in rows} == {gate: [cell] for gate, cell in rows.items()}, table
    assert said in table
    if code == 1:
        # A gate that failed runs again. It does not forget a warning.
        assert run(top, code, **env)[1] == table
        assert run(top, 0, PATCH="1")[1].endswith(" 0 failed\n")


def test_the_series_changes_meanwhile(top):
    """If the series changes meanwhile, the results of the old commits are not used for the new ones."""
    tree = top / "build/linux"
    series_of(tree, fork="does not build\n")
    new = git(tree, "rev-parse", "HEAD").strip()
    series_of(tree)
    change = f'[ "$CONFIG" != default ] || git -C {tree} tag -f applied {new}'
    run(top, None, AT_BUILD=change, PATCH="1")
    assert git(tree, "rev-parse", "applied").strip() == new
    assert run(top, 11, BREAKS="default", PATCH="1")[0]["default"] == ["FAIL"]


def test_ctrl_c(top):
    """Ctrl-C while a guest runs leaves no directory of a run."""
    each = start(top, "verbs/each", PATCH="2", GUEST=f"touch {top}/runs; exec sleep 30")
    wait_for(top / "runs", each)
    os.killpg(each.pid, signal.SIGINT)
    done = end(each)
    assert done.code in (130, -signal.SIGINT) and "Traceback" not in done.err
    assert not list((top / "build").glob("run.*"))


# -- the verdict on the log of a gate ---------------------------------------

def judge(log, status=0, config="default", counts="all", number=1, base=None):
    """Judge the log and the status of a gate. BASE is the result of the gate on the base."""
    import each
    gate = each.Gate("gate", "every", config, counts, "")
    base = base or {"code": 6}
    series, patch = SimpleNamespace(base=None, result=lambda *_: base), SimpleNamespace(number=number)
    return each.Each.judge(series, patch, gate, status, log.splitlines())


ERROR = "../kernel/fork.c:1:9: error: expected ';'"


@pytest.mark.parametrize("log, status, gate, code, text", [
    # The table shows the error, not the warning before it.
    (f"a.c:1:1: warning: b\n{ERROR}\nmake: *** [x] Error 2\n", 11, {}, 11, ERROR),
    ("said\nexithand: the guest died\nsaid\n", 5, {"counts": "none"}, 5, "exithand: the guest died"),
    ("lacks x\nmake: *** x\n", 1, {"config": "none", "counts": "none"}, 1, "lacks x"),
    *(("", status, {"config": config}, code, f"ends with {status} and says nothing")
      for status, config, code in ((4, "default", 4), (4, "none", 1), (99, "default", 1))),
    ("a.c:1:2: warning: x", 0, {"counts": "none"}, 0, ""),
    *((f"  CC x.o\n{log}\n", 0, {}, 1, log.replace("\n", "")) for log in (
        "fs/proc/base.c:1:2: warning: unused [-Wunused]", "fs/a.rs:1:2: warning: unused",
        "ld.lld: warning: x", "vmlinux.o: warning: objtool: x", "WARNING: modpost: x",
        ".config:1:warning: symbol x", "x.c:1:2: error: not status 0")),
    *((log, 0, {}, 0, "") for log in (
        "  CC      lib/warning.o", "warning: `kernel` (lib) generated 2 warnings", "  cc -Wno-warning"))])
def test_log(log, status, gate, code, text):
    assert judge(log, status, **gate)[:2] == (code, text)


OLD = "../kernel/fork.c:7:1: warning: no `x` at 0x10"
DOC = "Warning: kernel/fork.c:8 no x"


@pytest.mark.parametrize("old, log, new", [
    (OLD, OLD.replace(":7:", ":12:").replace("0x10", "0x20"), ""), (DOC, DOC.replace("8", "9"), ""),
    *((OLD, OLD, OLD.replace(old, new)) for old, new in (
        ("`x`", "`y`"), ("fork", "exit"), ("warning", "error"),
        # A second warning of the same text counts; the table shows the first. A repeated line does not.
        (":7:", ":9:"))),
    (OLD, f"{OLD}\n{OLD}", ""), (DOC, "", DOC.replace("x", "y"))])
def test_only_new_warnings_count(old, log, new):
    log = f"{log}\n{new}"
    assert judge(log, counts="new")[0] == 6  # the base is not known
    code, _, said = judge(old, counts="new", number=0)
    code, text, _ = judge(log, counts="new", base={"code": code, "said": said})
    assert code == bool(new) and text in (new, new.replace(":9:", ":7:"))
