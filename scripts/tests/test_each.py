# SPDX-License-Identifier: GPL-2.0
"""each.py: which gates a series of Rust, C and tests has, and its table. (All else: test_verbs.py.)"""

import subprocess
from types import SimpleNamespace

import pytest
from common import TOP, commit, git


@pytest.fixture(scope="session", name="tree")
def three_patches(tmp_path_factory):
    """A series of Rust, then C with the option, then a test."""
    tree = tmp_path_factory.mktemp("each")
    git(tree, "init", "-q", "-b", "exithand")
    commit(tree, "base", **{"kernel/fork.c": "int fork;\n", "rust/kernel/lib.rs": "//\n", "fs/proc/Kconfig": "menu\n"})
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
    assert found == [
        ["kernel-doc", "W=1", "sparse", "clippy", "docs"],
        ["checkpatch", "maintainers", "rustfmt", "clippy", "rustdoc", "default", "boots", "rust-off"],
        ["checkpatch", "maintainers", "kernel-doc", "W=1", "sparse", "default", "boots", "hand-off", "rust-off"],
        ["checkpatch", "maintainers", "default", "boots", "tests", "hand-off", "rust-off", "allno", "proc-off",
         "up", "rt", "arm64", "docs"]]


def test_table(each):
    code, lines = each.table()
    assert code == 6 and "?     3 tests: was not run" in lines
    for patch, gate in each.plan():
        each.keep(patch, gate, {"code": 0, "text": "", "said": []})
    code, lines = each.table()
    assert code == 0 and each.plan() == [] and lines[-1].endswith(" 0 failed, 0 not run")
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:lines.index("")]}
    assert [rows[gate] for gate in ("default", "hand-off", "tests")] == [
        ["ok", "ok", "ok"], ["-", "ok", "ok"], ["-", "-", "ok"]]
    # The gravest code counts, and what failed runs again.
    each.judge(2, "default", "x.c:1:9: error: y", 11, keep=True)
    each.judge(3, "checkpatch", "WARNING: x", keep=True)
    code, lines = each.table()
    assert code == 1 and "FAIL  2 default: x.c:1:9: error: y" in lines
    assert [(patch.number, gate.name) for patch, gate in each.plan()] == [(2, "default"), (3, "checkpatch")]


LOG = "  CC      kernel/fork.o\n../kernel/fork.c:1:9: error: expected ';'\nmake: *** [x] Error 2\n"


@pytest.mark.parametrize("gate, log, status, code, text", [
    # An error counts more than the warnings before it.
    ("default", "a.c:1:1: warning: b\n" + LOG, 11, 11, "../kernel/fork.c:1:9: error: expected ';'"),
    ("boots", "said\nexithand: the guest died\nsaid\n", 5, 5, "exithand: the guest died"),
    ("maintainers", "knows nobody\nmake: *** x\n", 1, 1, "knows nobody"),
    # The selftests' output is for verdict.py.
    ("tests", "a.c:1:2: warning: x", 0, 0, "")])
def test_which_line_tells_of_a_failure(each, gate, log, status, code, text):
    done = each.judge(3, gate, log, status)
    assert (done.code, done.text) == (code, text)
