"""The longer verbs, with something else in place of the kernel, its tools and the machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "scripts/lib"))

CONSOLE = """\
[    0.000000] Linux version 7.3.4-exithand
<6>[    0.100000] Kernel command line: console_msg_format=syslog
<14>[    1.402337] virtme-ng-init: starting script
<12>[    9.313434] exithand: end of run
<0>[    9.383237] reboot: Power down
"""
KTAP = """\
TAP version 13
1..1
# selftests: proc: proc-exithand
# TAP version 13
# 1..1
# ok 1 global.read_waits
ok 1 selftests: proc: proc-exithand
"""
# vm.py: leaves what a guest does, after HOOK.
MACHINE = f"""\
import os, pathlib, subprocess, sys
run = pathlib.Path(sys.argv[sys.argv.index("--dir") + 1])
(run / "console.log").write_text({CONSOLE!r})
(run / "end").write_text("ended\\ntcg\\n9.0\\n")
(run / "status").write_text(os.environ.get("ENDS", "0"))
(run / "test.ktap").write_text({KTAP!r})
sys.exit(subprocess.call(["bash", "-c", os.environ.get("HOOK", "")]))
"""
ENV = {name: "" for name in ("KDIR", "BASE", "CONFIG", "OTHER", "MUTANT", "PATCH", "V", "VERSION", "RFC",
                             "OUT", "BUILD", "M", "N", "SEED")}


def write(file, text, mode=0o644):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


def script(file, text):
    write(file, "#!/bin/bash\n" + text, 0o755)


def git(tree, *args):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return subprocess.run(["git", "-C", tree, "-c", "user.name=T", "-c", "user.email=t@localhost", *args],
                          check=True, capture_output=True, env=env, text=True).stdout


def commit(tree, subject, **files):
    for name, text in files.items():
        write(tree / name, text)
    git(tree, "add", "--force", ".")
    git(tree, "commit", "-q", "-m", subject)


def clone(top, *fakes):
    """A clone of this repository without sources, and with these scripts doing nothing."""
    shutil.copytree(TOP / "scripts", top / "scripts", ignore=shutil.ignore_patterns(
        "*.patch", "__pycache__", "tests", "compile-fail", "*.litmus"))
    shutil.copytree(TOP / "qemu-config", top / "qemu-config")
    for name in ("lib/setup", "verbs/tree", *fakes):
        script(top / "scripts" / name, "")
    write(top / "scripts/lib/vm.py", MACHINE)
    # Nothing here takes the room that the real thing does.
    script(top / "cache/tools/bin/df", "echo 99999M\n")
    return top


def run(top, verb, code=0, **env):
    """What `verb` says on its stdout and stderr; fails unless it ends with that code."""
    done = subprocess.run([top / "scripts/verbs" / verb], capture_output=True, text=True, cwd=top, check=False,
                          env=dict(os.environ, EXITHAND_CACHE=str(top / "cache"), **{**ENV, **env}))
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


# -- each -------------------------------------------------------------------

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
eval "${AT_BUILD:-}"
"""
MAKE = """\
[ "$*" != "${*%C=2*}" ] && ! [ "${NO_SPARSE:-}" ] && echo "  CHECK   ../kernel/fork.c"
echo "  CC      kernel/fork.o"
echo "  CLIPPY L rust/kernel.o"
"""
TEST = "tools/testing/selftests/proc/proc-exithand.c"


def series_of(tree, fork="int fork, more;\n", message="one"):
    """The series: C with the option, then a test of ours."""
    git(tree, "reset", "-q", "--hard", "base")
    commit(tree, message, **{"kernel/fork.c": fork, "fs/proc/Kconfig": "config PROC_EXITHAND\n"})
    commit(tree, "two", **{TEST: "int main;\n"})
    git(tree, "tag", "-f", "applied")


@pytest.fixture
def for_each(tmp_path):
    clone(tmp_path, "lib/build")
    script(tmp_path / "scripts/lib/build", BUILD)
    for name in ("clang", "ld.lld", "rustc", "rustfmt", "rustdoc", "bindgen", "sparse", "codespell",
                 "sphinx-build", "qemu-system-x86_64", "clippy-driver", "make"):
        script(tmp_path / "cache/tools/bin" / name, MAKE if name == "make" else "echo 1.0\n")
    tree = tmp_path / "build/linux"
    tree.mkdir(parents=True)
    git(tree, "init", "-q", "-b", "exithand")
    commit(tree, "base", **{
        "kernel/fork.c": "int fork;\n", "fs/proc/Kconfig": "menu\n", "scripts/checkpatch.pl": "exit 0\n",
        "MAINTAINERS": "", "scripts/checker-valid.sh": "echo 1\n",
        "scripts/get_maintainer.pl": "print 'a@localhost'\n",
        "scripts/parse-maintainers.pl": "exit(system('cp', map { /put=(.*)/ } @ARGV) != 0)\n",
        "tools/docs/kernel-doc": "\n", "tools/lib/python/kdoc": "\n"})
    git(tree, "tag", "base")
    series_of(tree)
    git(tree, "format-patch", "-q", "-o", tmp_path / "patches", "base")
    write(tmp_path / "tools-testing-selftests/proc/proc-exithand.c", "int main;\n")
    return tmp_path


def row(table, gate):
    return next(line for line in table.splitlines() if line.startswith(gate + " ")).split()[1:]


def test_each(for_each):
    table, _ = run(for_each, "each")
    assert row(table, "default") == ["ok", "ok"]
    assert row(table, "sparse") == ["ok", "-"]
    assert row(table, "tests") == ["-", "ok"]
    assert "0 failed, 0 not run" in table
    assert (for_each / "build/results/each.txt").read_text() == table
    # What is known to be ok is not run again.
    again, said = run(for_each, "each")
    assert again == table and "patch" not in said


def test_each_what_changes_runs_again(for_each):
    run(for_each, "each")
    series_of(for_each / "build/linux", message="ONE")
    _, said = run(for_each, "each")
    assert "1 of 1: patch 1, checkpatch" in said
    series_of(for_each / "build/linux", message="ONE", fork="int fork, other;\n")
    _, said = run(for_each, "each")
    assert "patch 1, rt" not in said and "patch 2, rt" in said and "patch 1, default" in said
    with (for_each / "qemu-config/demo").open("a") as demo:
        demo.write("#\n")
    assert "patch 1, default" in run(for_each, "each")[1]


def test_each_one_patch(for_each):
    table, said = run(for_each, "each", PATCH="1")
    assert row(table, "default") == ["ok"] and "patch 2" not in said
    for number in ("0", "3", "x"):
        assert "give a number from 1 to 2" in run(for_each, "each", 6, PATCH=number)[1]


def test_each_does_not_forget_a_warning(for_each):
    for _ in range(2):
        table, _ = run(for_each, "each", 1, WARNS="default")
        assert row(table, "default")[0] == "FAIL"
        assert "1 default: kernel/fork.c:1:1: warning: default" in table
    run(for_each, "each")


def test_each_failures(for_each):
    table, _ = run(for_each, "each", 11, BREAKS="rt")
    assert row(table, "rt") == ["-", "FAIL"] and row(table, "up") == ["-", "ok"]
    assert row(table, "boots") == ["ok", "ok"]


def test_each_demonstration_fails(for_each):
    table, _ = run(for_each, "each", 1, ENDS="1")
    assert row(table, "boots") == ["FAIL", "FAIL"]


def test_each_sparse_does_not_look(for_each):
    table, _ = run(for_each, "each", 6, NO_SPARSE="1")
    assert row(table, "sparse") == ["FAIL", "-"]


def test_each_while_the_series_changes(for_each):
    """make patches in the middle: what was found of the old commits says nothing of the new."""
    tree = for_each / "build/linux"
    series_of(tree, fork="does not build\n")
    new = git(tree, "rev-parse", "HEAD").strip()
    series_of(tree)
    done = subprocess.run(
        [for_each / "scripts/verbs/each"], capture_output=True, text=True, check=False,
        env=dict(os.environ, EXITHAND_CACHE=str(for_each / "cache"), **{
            **ENV, "AT_BUILD": f'[ "$CONFIG" != default ] || git -C {tree} tag -f applied {new}'}))
    assert git(tree, "rev-parse", "applied").strip() == new, done.stderr
    table, said = run(for_each, "each", 11, BREAKS="default")
    assert row(table, "default") == ["FAIL", "FAIL"], table + said


def test_each_is_interrupted(for_each):
    """Ctrl-C while a guest runs: no run's directory stays."""
    each = subprocess.Popen([for_each / "scripts/verbs/each"], start_new_session=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(
                                os.environ, EXITHAND_CACHE=str(for_each / "cache"),
                                **{**ENV, "HOOK": f"touch {for_each}/runs; exec sleep 30"}))
    while not (for_each / "runs").exists() and each.poll() is None:
        time.sleep(0.05)
    os.killpg(each.pid, signal.SIGINT)
    said, _ = each.communicate(timeout=20)
    assert each.returncode in (130, -signal.SIGINT), said
    assert "Traceback" not in said
    assert not list((for_each / "build").glob("run.*"))
