# SPDX-License-Identifier: GPL-2.0
"""From a verb to the build, the virtual machine and the verdict.

The tests run the real scripts in a copy of the harness. Small scripts replace the kernel's
build, its tools and virtme-ng.
"""

import json
import os
import shutil
import signal
import subprocess
import time

import common
import pytest
from common import CONSOLE, TOP, copy_harness, kernel, script, verb, wait_for, write

# The guest in place of virtme-ng leaves a console log and a status.
GUEST = 'echo "$CONSOLE" >$run/console.log; echo ${STATUS:-0} >$run/status'


@pytest.fixture(name="top")
def clone(tmp_path, monkeypatch):
    """A copy of the harness with a kernel that is built."""
    top = tmp_path / "clone"
    copy_harness(top, "lib/setup", "lib/build")
    shutil.copy(TOP / "Makefile", top)
    write(top / "build/linux/obj-default/arch/x86/boot/bzImage", "first\n")
    write(top / "build/linux/obj-default/.config", "")
    monkeypatch.setenv("EXITHAND_CACHE", str(top / "cache"))
    monkeypatch.setenv("ACCEL", "tcg")
    monkeypatch.setenv("CONSOLE", CONSOLE)
    vng(top, GUEST)
    return top


def vng(top, text):
    """Replace virtme-ng by TEXT, in which $run is the guest's directory and $kernel its kernel."""
    script(top / "cache/tools/bin/vng",
           'for word; do [[ $last != --rwdir ]] || run=$word; [[ $last != --run ]] || kernel=$word\n'
           f'last=$word; done\n{text}\n')


def summary(top):
    return json.loads((top / "build/results/summary.json").read_text())


# -- exit codes: make and scripts/verbs/VERB --------------------------------

def make(top, *args, **env):
    return subprocess.run(["make", *args], cwd=top, text=True, check=False, capture_output=True,
                          env=os.environ | env)


def test_make_ends_with_2_and_prints_the_status_of_the_command(top):
    done = make(top, "exec", "CMD=exit 7", STATUS="7")
    assert done.returncode == 2
    assert not list((top / "build").glob("run.*"))
    assert done.stderr.endswith("exec] Error 7\n") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [
    ["make", "exec"], ["make", "exec", "CMD"], ["scripts/verbs/exec"]])
def test_a_dollar_reaches_the_guest(top, command):
    text = "echo $$ ${x#a} \"$HOME\" $(ls) '`'"
    vng(top, f"cat $run/cmd; {GUEST}")
    if command[-1] == "CMD":
        command = ["make", "exec", f"CMD={text}"]
    assert subprocess.run(command, cwd=top, text=True, check=True, stdout=subprocess.PIPE,
                          env=os.environ | {"CMD": text}).stdout == text + "\n"


# -- what the guest leaves --------------------------------------------------

def test_limit_that_is_no_number(top):
    """A verb checks its limit before it builds a kernel."""
    script(top / "scripts/lib/build", "echo built >&2")
    done = verb(top, "verbs/run", RUN_LIMIT="3m")
    assert (done.code, done.err) == (6, "exithand: RUN_LIMIT=3m; give seconds\n")


def test_bug_of_verdict_is_no_failed_test(top):
    """A traceback of verdict.py is exit code 6, not 1."""
    judge = top / "scripts/lib/verdict.py"
    judge.write_text(judge.read_text().replace("def judge(args):", "def judge(args):\n    boom", 1))
    done = verb(top, "verbs/exec", CMD="true")
    assert done.code == 6
    assert done.err.splitlines()[-1].startswith("exithand: verdict.py failed: NameError")


def test_files_of_an_earlier_run_are_removed(top):
    """The last message must not name files of an earlier run."""
    results = top / "build/results"
    for name in ("test.ktap", "console.log", "summary.json", "bench.json"):
        write(results / name, "old\n")
    vng(top, "exit 1")
    done = verb(top, "verbs/run")
    assert done.code == 6
    assert sorted(p.name for p in results.iterdir() if p.name[0] != ".") == ["bench.json", "summary.json"]
    assert "see summary.json in build/results/" in done.err
    assert summary(top)["exit"] == 6


# -- the virtual machine ----------------------------------------------------

def test_output_that_nobody_reads(top):
    """`make exec CMD='seq 1000000' | head -1` ends when head does, not at the limit."""
    vng(top, f"seq 1000000; {GUEST}")
    began = time.monotonic()
    with subprocess.Popen([top / "scripts/verbs/exec"], stdout=subprocess.PIPE,
                          env=os.environ | {"CMD": "seq"}) as run:
        assert run.stdout.readline() == b"1\n"
        run.stdout.close()
        try:
            assert run.wait(20) == 128 + 13
        finally:
            run.terminate()
    assert time.monotonic() - began < 15


def test_interrupted_run_leaves_nothing(top):
    vng(top, "touch $run/../waits; sleep 60 & wait")
    with subprocess.Popen([top / "scripts/verbs/exec", "true"], start_new_session=True) as run:
        wait_for(top / "build/waits", run)
        os.killpg(run.pid, signal.SIGINT)
        assert run.wait(20) == 128 + 2
    assert not list((top / "build").glob("run.*"))


@pytest.fixture(name="vm")
def vm_module(top, monkeypatch):
    """vm.py, in that clone, on a machine that has /dev/kvm."""
    import vm
    monkeypatch.setattr(vm, "TOP", top)
    monkeypatch.setattr(vm, "opens", lambda device: True, raising=False)
    monkeypatch.setattr(vm, "PROBE_SECONDS", 2)
    monkeypatch.setenv("ACCEL", "auto")
    monkeypatch.setenv("PATH", f"{top}/cache/tools/bin:{os.environ['PATH']}")
    return vm


@pytest.mark.parametrize("guest, found, known", [
    (GUEST, "kvm", "kvm"),
    ("exit 1", "tcg", "tcg"),
    ("sleep 60", "tcg", "tcg"),
    ('echo "$CONSOLE" >$run/console.log; exit 1', "kvm", None),
    ('echo "$CONSOLE" >$run/console.log; sleep 60', "kvm", None)])
def test_kernel_that_dies_under_kvm(top, vm, guest, found, known):
    """An oops in the probe does not make vm.py remember that KVM does not work."""
    vng(top, guest)
    write(top / "build/run.1/cmd", "exit 0\n")
    args = vm.argparse.Namespace(kernel="bzImage", dir=top / "build/run.1")
    assert vm.accelerator(args) == found
    memo = top / "build/accel"
    assert (memo.read_text().split()[0] if memo.exists() else None) == known


def test_process_that_cannot_be_killed(vm, monkeypatch, capfd):
    """vm.py gives up without a busy loop."""
    child = subprocess.Popen(["true"])
    child.wait()
    monkeypatch.setattr(vm.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    monkeypatch.setattr(vm, "GIVE_UP_SECONDS", 1)
    cpu, began = time.process_time(), time.monotonic()
    vm.kill_session(child)
    assert time.monotonic() - began < 5
    assert time.process_time() - cpu < 0.5
    assert "cannot be killed" in capfd.readouterr().err


# -- one at a time ----------------------------------------------------------

def test_a_build_does_not_replace_the_kernel_of_a_run(top):
    """A build during a run changes only the kernel of the next run."""
    vng(top, "cat $kernel; touch $run/../waits; for i in {1..99}; do [ -e $run/../go ] || sleep 0.1; done\n"
             "cat $kernel; " + GUEST)
    with subprocess.Popen([top / "scripts/verbs/exec"], text=True, stdout=subprocess.PIPE,
                          env=os.environ | {"CMD": "true"}) as run:
        wait_for(top / "build/waits", run)
        # The second run does not wait for the first one either.
        script(top / "scripts/lib/build", f"echo second >{top}/build/linux/obj-default/arch/x86/boot/bzImage")
        (top / "build/go").touch()
        assert verb(top, "verbs/exec", CMD="true").out == "second\nsecond\n"
        assert run.communicate()[0] == "first\nfirst\n"


def test_results_are_of_one_run(top):
    """The results of simultaneous runs do not mix."""
    ready = "$(ls $run/../run.*/ready | wc -l)"
    vng(top, f"touch $run/ready; for i in {{1..99}}; do [ {ready} = 8 ] || sleep 0.1; done; {GUEST}")
    runs = [subprocess.Popen([top / "scripts/verbs/exec"], env=os.environ | {
        "CMD": "true", "CONSOLE": CONSOLE + f"status {n}\n" * 9999, "STATUS": str(n)})
        for n in range(10, 18)]
    assert [run.wait() for run in runs] == list(range(10, 18))
    console = (top / "build/results/console.log").read_text()
    assert console.count(f"status {summary(top)['status']}\n") == 9999


@pytest.mark.parametrize("name", ["tree", "patches", "run", "test", "exec", "check"])
def test_verb_waits_for_the_lock_of_the_clone(top, name):
    write(top / "build/lock", "")
    (top / "patches").mkdir(exist_ok=True)
    with open(top / "build/lock", encoding="utf-8") as lock:
        subprocess.run(["flock", "-x", str(lock.fileno())], check=True, pass_fds=[lock.fileno()])
        done = subprocess.Popen([top / "scripts/verbs" / name], stderr=subprocess.PIPE, text=True,
                                env=os.environ | {"CMD": "true"}, start_new_session=True)
        try:
            assert done.stderr.readline() == "== waiting for another run in this clone\n"
        finally:
            os.killpg(done.pid, 9)
            done.wait()


# -- the kernel tree --------------------------------------------------------

@pytest.mark.parametrize("git", [False, True])
def test_kdir(top, tmp_path, git):
    """make tree copies only sources. It notices a removed file, and a new one with an old date."""
    kdir = tmp_path / "kdir"
    write(top / "scripts/lib/series.py", "")
    write(kdir / "Makefile", "# x\nVERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n")
    for name in ("Kbuild", "fs/proc/base.c", "fs/proc/old.c"):
        write(kdir / name, "old\n")
    write(kdir / "fs/.gitignore", "*.o\n")
    os.utime(kdir / "fs/proc/base.c", (1e9, 1e9))

    def lay_out():
        if git:
            common.git(kdir, "init", "-q")
            common.git(kdir, "add", "Makefile", "fs", "Kbuild")
        assert verb(top, "verbs/tree", KDIR=str(kdir)).code == 0
        tree = next((top / "build").glob("kdir-*/linux"))
        return tree, common.git(tree, "ls-files").split()
    tree, files = lay_out()
    assert files == ["Kbuild", "Makefile", "fs/.gitignore", "fs/proc/base.c", "fs/proc/old.c"]
    (tree / "mark").touch()
    assert (lay_out()[0] / "mark").exists()
    (kdir / "fs/proc/old.c").unlink()
    for name in ("vmlinux", "fs/proc/base.o", ".config", "arch/x/include/generated/x.h", "include/config/X"):
        write(kdir / name, "made by a build\n")
    assert lay_out()[1] == ["Kbuild", "Makefile", "fs/.gitignore", "fs/proc/base.c"]
    write(kdir / "fs/proc/base.c", "new\n")
    os.utime(kdir / "fs/proc/base.c", (1e9, 1e9))
    assert (lay_out()[0] / "fs/proc/base.c").read_text() == "new\n"
    assert (kdir / ".git").is_dir() == git


@pytest.mark.parametrize("made_on", ["7.3.4", "7.3.3"])
def test_base_that_the_series_was_not_made_on(top, made_on):
    """A newer 7.3.y than the series was made on is mentioned."""
    write(top / "patches/BASE", f"Linux {made_on}\ntree x\n")
    write(top / "scripts/lib/series.py", "")
    kernel(top, "Linux 7.3.4", Makefile="")
    done = verb(top, "verbs/tree")
    said = "   patches/ was made on Linux 7.3.3; this is Linux 7.3.4\n"
    assert (done.code, done.err) == (0, "" if made_on == "7.3.4" else said)
