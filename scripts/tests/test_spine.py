# SPDX-License-Identifier: GPL-2.0
"""From a verb to the build, the virtual machine and the verdict, with the real scripts."""

import argparse
import os
import shutil
import signal
import subprocess

import common
import pytest
from common import CONSOLE, OOPS, TOP, VNG, copy_harness, end, kernel, script, start, verb, wait_for, write


@pytest.fixture(name="top")
def clone(tmp_path):
    """A copy of the harness with a kernel that is built."""
    copy_harness(top := tmp_path / "clone", "lib/setup", "lib/build")
    shutil.copy(TOP / "Makefile", top)
    write(top / "build/linux/obj-default/arch/x86/boot/bzImage", "first\n")
    write(top / "build/linux/obj-default/.config", "")
    (top / "build/linux/obj-default/tests").mkdir()
    return top


# -- exit codes -------------------------------------------------------------

BOOTS = "touch $run/console.log; "
# A length of sleep marks the processes of a test.
SLEEP = f"sleep 300.{os.getpid()}"


@pytest.mark.parametrize("name, code, said, env", [
    ("exec", 7, "", {"STATUS": "7"}),
    # A complaint counts more than the command's status.
    ("exec", 3, "the kernel complained: [    5.1", {"STATUS": "3", "CONSOLE": CONSOLE + OOPS}),
    ("run", 0, "", {}),
    ("run", 1, "the demonstration", {"STATUS": "1"}),
    ("test", 0, "", {}),
    ("test", 7, "no test ran", {"KTAP": ""}),
    # A verb checks its limit before it builds a kernel.
    ("run", 6, "exithand: RUN_LIMIT=3m; give seconds\n", {"RUN_LIMIT": "3m"}),
    # The guest dies, does not start, or hangs.
    ("exec", 5, "died", {"GUEST": BOOTS + "kill -SEGV $$"}),
    ("exec", 5, "died", {"GUEST": BOOTS + "exit 0"}),
    ("exec", 6, "no QEMU here", {"GUEST": "echo no QEMU here >&2; exit 1"}),
    ("exec", 4, "did not end in time", {"GUEST": f"{BOOTS} {SLEEP} & wait", "EXEC_LIMIT": "1"}),
    # vm.py, the parent of the guest's parent, is interrupted at once.
    *[("exec", 128 + 15, "", {"GUEST": f"kill -TERM $(ps -o ppid= -p $PPID); {SLEEP} & wait"})] * 3])
def test_exit_code(top, name, code, said, env):
    script(top / "scripts/lib/build", "touch $0.ran")
    done = verb(top, f"verbs/{name}", **{"CMD": "true", **env})
    assert done.code == code and said in done.err, done.err
    assert (top / "scripts/lib/build.ran").exists() == ("RUN_LIMIT" not in env)
    assert not list((top / "build").glob("run.*"))
    assert subprocess.run(["pgrep", "-f", SLEEP], check=False).returncode == 1


def test_bug_of_verdict_is_no_failed_test(top):
    """A traceback of verdict.py is exit code 6, not 1. No files of an earlier run are left."""
    results = top / "build/results"
    for name in ("test.ktap", "console.log", "summary.json", "bench.json"):
        write(results / name, "old\n")
    done = verb(top, "verbs/run", code=6, GUEST="exit 1")
    assert sorted(p.name for p in results.iterdir() if p.name[0] != ".") == ["bench.json", "summary.json"]
    assert "see summary.json in build/results/" in done.err
    judge = top / "scripts/lib/verdict.py"
    judge.write_text(judge.read_text().replace("def judge(args):", "def judge(args):\n    boom", 1))
    done = verb(top, "verbs/exec", code=6, CMD="true")
    assert done.err.splitlines()[-1].startswith("exithand: verdict.py failed: NameError")


def test_make(top):
    """A $ reaches the guest. make ends with 2, and prints the status of the command."""
    text = "echo $$ ${x#a} \"$HOME\" $(ls) '`'"
    for arguments, env in (["exec", f"CMD={text}"], {}), (["exec"], {"CMD": text}):
        env["GUEST"] = "STATUS=7; leave; cat $run/cmd"
        done = verb(top, shutil.which("make"), *arguments, code=2, **env)
        assert done.out == text + "\n"
        assert done.err.endswith("exec] Error 7\n") and done.err.count("\n") == 1
    venv = top / "cache/tools/matplotlib-3.11.2"
    script(venv / "bin/python", 'echo "${@:2}"\n')
    write(venv / "done", "")
    assert verb(top, "verbs/bench", code=0, PUBLISH="x").out == f"publish x {top}\n"


def test_arm64(top):
    write(top / "build/linux/obj-default-arm64/arch/arm64/boot/Image", "arm\n")
    qemu = VNG.replace("--rwdir ", "=run,path=").replace("--run ", "-kernel ")
    script(top / "cache/tools/bin/qemu-system-aarch64", qemu)
    assert verb(top, "verbs/exec", "true", code=7, ARCH="arm64", GUEST="STATUS=7; cat $kernel; leave").out == "arm\n"
    assert "choose x86_64 or arm64" in verb(top, "verbs/exec", "true", code=6, ARCH="mips").err


def test_regress_without_headers(top):
    script(top / "cache/tools/bin/clang", "exit 1")
    assert "headers of libcap" in verb(top, "verbs/regress", code=6).err


# -- the virtual machine ----------------------------------------------------

def test_output_that_nobody_reads(top):
    """`make exec CMD='seq 1000000' | head -1` ends when head does, not at the limit."""
    run = start(top, "verbs/exec", CMD="true", GUEST="seq 1000000; leave", EXEC_LIMIT="60")
    assert run.stdout.readline() == "1\n"
    run.stdout.close()
    assert run.wait(50) == 128 + 13


def test_interrupted_run_leaves_nothing(top):
    for name in ("test.ktap", "console.log", "summary.json"):
        write(top / "build/results" / name, "of an earlier run\n")
    run = start(top, "verbs/exec", CMD="true", GUEST=f"touch $run/../waits; {SLEEP} & wait")
    wait_for(top / "build/waits", run)
    os.killpg(run.pid, signal.SIGINT)
    assert end(run).code == 128 + 2
    assert not list((top / "build").glob("run.*")) and not list((top / "build/results").glob("*.*"))


@pytest.mark.parametrize("guest, found, known", [
    ("leave", "kvm", "kvm"),
    ("exit 1", "tcg", "tcg"),
    ("STATUS=1; leave", "kvm", None),
    ('echo "$CONSOLE" >$run/console.log; sleep 60', "kvm", None)])
def test_kernel_that_dies_under_kvm(top, monkeypatch, guest, found, known):
    """An oops in the probe does not make vm.py remember that KVM does not work."""
    import vm
    monkeypatch.setattr(vm, "TOP", top)
    monkeypatch.setattr(vm.os, "access", lambda *_: True)
    monkeypatch.setattr(vm, "PROBE_SECONDS", 3)
    for name, value in (("PATH", f"{top}/cache/tools/bin:{os.environ['PATH']}"), ("GUEST", guest),
                        ("CONSOLE", CONSOLE), ("ACCEL", "auto")):
        monkeypatch.setenv(name, value)
    args = argparse.Namespace(kernel="bzImage", dir=top / "build/run.1")
    assert vm.accelerator(args) == found
    memo = top / "build/accel"
    assert (memo.read_text().split()[0] if memo.exists() else None) == known


def test_virtual_cpus_share_no_cpu(monkeypatch):
    """On one CPU, the two sides of a race test would hardly ever meet."""
    import vm
    sets = {}
    monkeypatch.setattr(vm.os, "sched_getaffinity", lambda _: {1, 2, 5})
    monkeypatch.setattr(vm.os, "sched_setaffinity", sets.__setitem__)
    thread = "(echo CPU $i/TCG >/proc/self/comm; echo; read) <&0 &"
    child = subprocess.Popen(["bash", "-c", f"for i in 0 1; do {thread} done; wait"], start_new_session=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.read(2) == b"\n\n"
    args = argparse.Namespace(kernel="", dir="", initrd="", count=False, shell=False, limit=1, say="")
    assert not vm.wait(child, args)
    vm.kill_session(child)
    for command in vm.vng_command(args, "tcg"), vm.arm64_command(args):
        assert "-name debug-threads=on" in " ".join(command)
    assert sorted(sets.values()) == [[1, 5], [2]]


def test_process_that_cannot_be_killed(monkeypatch, capfd):
    """vm.py gives up without a busy loop."""
    import vm
    child = subprocess.Popen(["true"])
    child.wait()
    tries = []
    monkeypatch.setattr(vm.subprocess, "run",
                        lambda *_, **__: tries.append(1) or subprocess.CompletedProcess([], 0))
    monkeypatch.setattr(vm, "GIVE_UP_SECONDS", 1)
    vm.kill_session(child)
    assert len(tries) < 20 and "cannot be killed" in capfd.readouterr().err


# -- one at a time ----------------------------------------------------------

@pytest.mark.parametrize("name", ["verbs/exec", "on-a-terminal"])
def test_a_build_does_not_replace_the_kernel_of_a_run(top, name):
    """A build during a run changes only the kernel of the next run, which does not wait."""
    script(top / "scripts/on-a-terminal", "exec script -qec scripts/verbs/shell /dev/null")
    wait = "touch $run/../waits; until [ -e $run/../go ]; do sleep 0.1; done"
    run = start(top, name, CMD="true", EXEC_LIMIT="150",
                GUEST=f"cat $kernel; {wait}; cat $kernel; leave")
    wait_for(top / "build/waits", run)
    script(top / "scripts/lib/build", f"echo second >{top}/build/linux/obj-default/arch/x86/boot/bzImage")
    assert verb(top, "verbs/exec", CMD="true", GUEST="cat $kernel; leave").out == "second\n"
    (top / "build/go").touch()
    assert end(run).out.split() == ["first", "first"]


def test_results_are_of_one_run(top):
    """Of two runs that end at the same time, one waits to write its results."""
    (top / "build/results").mkdir()
    with (top / "build/results/.lock").open("w") as lock:
        subprocess.run(["flock", "-x", str(lock.fileno())], check=True, pass_fds=[lock.fileno()])
        run = start(top, "verbs/exec", CMD="true", GUEST="leave; touch $run/../ends")
        wait_for(top / "build/ends", run)
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(3)
        assert not (top / "build/results/summary.json").exists()
    assert end(run).code == 0


def test_verbs_wait_for_the_lock_of_the_clone(top):
    (top / "patches").mkdir()
    with (top / "build/lock").open("w") as lock:
        subprocess.run(["flock", "-x", str(lock.fileno())], check=True, pass_fds=[lock.fileno()])
        runs = {name: start(top, f"verbs/{name}", CMD="true")
                for name in ("tree", "patches", "run", "test", "exec", "check", "each")}
        said = {name: run.stderr.readline() for name, run in runs.items()}
        for run in runs.values():
            os.killpg(run.pid, signal.SIGKILL)
            run.communicate()
    assert said == dict.fromkeys(runs, "== waiting for another run in this clone\n")


# -- the kernel tree --------------------------------------------------------

@pytest.mark.parametrize("git", [False, True])
def test_kdir(top, tmp_path, git):
    """make tree copies only sources. It notices a removed file, and a new one with an old date."""
    kdir = tmp_path / "kdir"
    write(top / "scripts/lib/series.py", "")

    def lay_out(**files):
        for name, text in files.items():
            write(kdir / name, text)
            os.utime(kdir / name, (1e9, 1e9))
        if git:
            common.git(kdir, "init", "-q")
            common.git(kdir, "add", "Makefile", "fs", "Kbuild")
        verb(top, "verbs/tree", code=0, KDIR=str(kdir))
        tree = next((top / "build").glob("kdir-*/linux"))
        return tree, common.git(tree, "ls-files").split()
    tree, files = lay_out(**{"Makefile": "# x\nVERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\n", "Kbuild": "",
                             "fs/.gitignore": "*.o\n", "fs/proc/base.c": "old\n", "fs/proc/old.c": "old\n"})
    assert files == ["Kbuild", "Makefile", "fs/.gitignore", "fs/proc/base.c", "fs/proc/old.c"]
    (tree / "mark").touch()
    assert (lay_out()[0] / "mark").exists()
    (kdir / "fs/proc/old.c").unlink()
    made = ("vmlinux", "fs/proc/base.o", ".config", "arch/x/include/generated/x.h", "include/config/X")
    _, files = lay_out(**dict.fromkeys(made, "made by a build\n"))
    assert files == ["Kbuild", "Makefile", "fs/.gitignore", "fs/proc/base.c"]
    tree, _ = lay_out(**{"fs/proc/base.c": "new\n"})
    assert (tree / "fs/proc/base.c").read_text() == "new\n"
    assert (kdir / ".git").is_dir() == git


def test_base_that_the_series_was_not_made_on(top):
    """A newer 7.3.y than the series was made on is mentioned."""
    write(top / "scripts/lib/series.py", "")
    kernel(top / "build/linux", "Linux 7.3.4", Makefile="")
    for made_on in "7.3.3", "7.3.4":
        write(top / "patches/BASE", f"Linux {made_on}\ntree x\n")
        said = verb(top, "verbs/tree", code=0).err
        assert ("   patches/ was made on Linux 7.3.3; this is Linux 7.3.4\n" in said) == (made_on == "7.3.3")
