# SPDX-License-Identifier: GPL-2.0
"""each.py: the gates of each patch, the verdict on their logs, and the table. (The verb: test_verbs.py.)"""

import subprocess
from types import SimpleNamespace

import pytest
from common import TOP, commit, git


@pytest.fixture(scope="session", name="tree")
def three_patches(tmp_path_factory):
    """Three patches: Rust code, C code with the option, a selftest."""
    tree = tmp_path_factory.mktemp("each")
    git(tree, "init", "-q", "-b", "exithand")
    commit(tree, "base", **{
        "kernel/fork.c": "int fork;\n", "rust/kernel/lib.rs": "//\n", "fs/proc/Kconfig": "menu\n"})
    git(tree, "tag", "base")
    commit(tree, "one", **{"rust/kernel/queue.rs": "// queue\n", "rust/bindings/helper.h": "//\n"})
    commit(tree, "two", **{"kernel/fork.c": "int fork, more;\n", "fs/proc/Kconfig": "config\n"})
    commit(tree, "three", **{"tools/testing/selftests/proc/proc-exithand.c": "int main;\n"})
    git(tree, "tag", "applied")
    return tree


@pytest.fixture(scope="session", name="gates")
def all_gates():
    listed = subprocess.run([TOP / "scripts/lib/gates"], check=True, capture_output=True, text=True).stdout
    return [line.split("\t") for line in listed.splitlines()]


@pytest.fixture(name="each")
def each_fixture(tree, gates, tmp_path, monkeypatch):
    import each as module
    monkeypatch.setattr(module, "KEPT", tmp_path)
    each = module.Each(tree, [module.Gate(*words) for words in gates])
    each.patch = [each.base, *each.chosen]

    def judge(number, gate, log, status=0, keep=False):
        gate = next(g for g in each.gates if g.name == gate)
        code, text, said = module.Each.judge(each, each.patch[number], gate, status, log.splitlines())
        if keep:
            each.keep(each.patch[number], gate, {"code": code, "text": text, "said": said})
        return SimpleNamespace(code=code, text=text)
    each.judge = judge
    return each


def test_plan(each):
    plan = [(patch.number, gate.name) for patch, gate in each.plan()]
    assert plan == sorted(plan, key=lambda p: p[0])
    found = [[gate for n, gate in plan if n == number] for number in range(4)]
    code = ["checkpatch", "maintainers", "kernel-doc", "rustfmt", "lint", "rustdoc", "default", "boots"]
    assert found == [
        ["kernel-doc", "lint", "rustdoc", "docs"], [*code, "rust-off"], [*code, "hand-off", "rust-off"],
        ["checkpatch", "maintainers", "default", "boots", "tests", "hand-off", "rust-off", "allno", "proc-off",
         "up", "rt", "arm64", "docs"]]


def test_table(each):
    code, lines = each.table()
    assert code == 6 and "FAIL  3 tests: was not run" in lines
    for patch, gate in each.plan():
        each.keep(patch, gate, {"code": 0, "text": "", "said": []})
    code, lines = each.table()
    assert code == 0 and each.plan() == [] and lines[-1].endswith(" 0 failed")
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:lines.index("")]}
    assert [rows[gate] for gate in ("default", "hand-off", "tests")] == [
        ["ok", "ok", "ok"], ["-", "ok", "ok"], ["-", "-", "ok"]]
    # The gravest code counts. Failed gates run again.
    each.judge(2, "default", "x.c:1:9: error: y", 11, keep=True)
    each.judge(3, "checkpatch", "WARNING: x", keep=True)
    code, lines = each.table()
    assert code == 1 and "FAIL  2 default: x.c:1:9: error: y" in lines
    assert [(patch.number, gate.name) for patch, gate in each.plan()] == [(2, "default"), (3, "checkpatch")]


LOG = "  CC      kernel/fork.o\n../kernel/fork.c:1:9: error: expected ';'\nmake: *** [x] Error 2\n"


@pytest.mark.parametrize("gate, log, status, code, text", [
    # The table shows the error, not the warning before it.
    ("default", "a.c:1:1: warning: b\n" + LOG, 11, 11, "../kernel/fork.c:1:9: error: expected ';'"),
    ("boots", "said\nexithand: the guest died\nsaid\n", 5, 5, "exithand: the guest died"),
    ("maintainers", "knows nobody\nmake: *** x\n", 1, 1, "knows nobody"),
    *((gate, "", status, code, f"ends with {status} and says nothing")
      for gate, status, code in (("boots", 4, 4), ("checkpatch", 4, 1), ("tests", 99, 1))),
    # verdict.py judges the output of the selftests.
    ("tests", "a.c:1:2: warning: x", 0, 0, "")])
def test_line_of_a_failure(each, gate, log, status, code, text):
    done = each.judge(3, gate, log, status)
    assert (done.code, done.text) == (code, text)


@pytest.mark.parametrize("line, code", [
    *((line, 1) for line in (
        "fs/proc/base.c:1:2: warning: unused [-Wunused]", "warning: unused\n --> fs/a.rs:1:2", "ld.lld: warning: x",
        "vmlinux.o: warning: objtool: x", "WARNING: modpost: x", ".config:1:warning: symbol x",
        "x.c:1:2: error: not status 0")),
    *((line, 0) for line in (
        "  CC      lib/warning.o", "warning: `kernel` (lib) generated 2 warnings", "  cc -Wno-warning -Werror"))])
def test_warning_is_a_failure(each, line, code):
    done = each.judge(2, "default", f"  CC x.o\n{line}\n")
    assert done.code == code and (not code or line.splitlines()[0] in done.text)


OLD = "../kernel/fork.c:7:1: warning: no `x` at 0x10"


@pytest.mark.parametrize("gate, old, log, text", [
    ("lint", OLD, OLD.replace(":7:", ":12:").replace("0x10", "0x20"), ""),
    *(("lint", OLD, f"{OLD}\n{new}", new) for new in (
        "../kernel/fork.c:7:1: warning: no `y`", "../kernel/exit.c:7:1: warning: no `x`",
        "../kernel/fork.c:7:1: error: no `x` at 0x10")),
    # A second warning of the same text counts, a repeated line does not.
    ("lint", OLD, f"{OLD}\n{OLD.replace(':7:', ':9:')}", OLD.replace(":7:", ":9:")),
    ("lint", OLD, f"{OLD}\n{OLD}", ""),
    *(("kernel-doc", "Warning: kernel/fork.c:8 no x", f"Warning: kernel/fork.c:9 no {what}", text)
      for what, text in (("x", ""), ("y", "Warning: kernel/fork.c:9 no y")))])
def test_only_new_warnings_count(each, gate, old, log, text):
    assert each.judge(2, gate, log).code == 6  # the base is not known
    each.judge(0, gate, old, keep=True)
    done = each.judge(2, gate, log)
    assert (done.code, done.text) == (int(bool(text)), text)
