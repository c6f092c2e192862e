# SPDX-License-Identifier: GPL-2.0
"""The spine: from a verb to the build, the virtual machine and the verdict.

Scripts run as they are, in a directory of their own, with something small in place of
the kernel, its tools and virtme-ng.
"""

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
CONSOLE = """\
<6>[    0.100000] Linux version 7.3.4-exithand
<12>[    9.313434] exithand: end of run
"""
SPLAT = "<1>[    5.100000] BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
# What stands for virtme-ng: as the guest, it leaves a console, a status, and output.
GUEST = 'echo "$CONSOLE" >$run/console.log; echo ${STATUS:-0} >$run/status'


def write(file, text, mode=0o644):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


def script(file, text):
    write(file, "#!/bin/bash\n" + text, 0o755)


@pytest.fixture(autouse=True)
def time_limit():
    """A test that hangs has failed."""
    def stop(*_):
        raise TimeoutError
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(40)
    yield
    signal.alarm(0)


@pytest.fixture(name="top")
def clone(tmp_path, monkeypatch):
    """A clone with the harness in it, and nothing to build."""
    top = tmp_path / "clone"
    for room in ("verbs", "lib"):
        shutil.copytree(TOP / "scripts" / room, top / "scripts" / room)
    for room in ("qemu-config", "Makefile", "scripts/README.md"):
        copy = shutil.copytree if (TOP / room).is_dir() else shutil.copy
        copy(TOP / room, top / room)
    script(top / "scripts/lib/setup", "")
    script(top / "scripts/lib/build", "")
    write(top / "build/linux/obj-default/arch/x86/boot/bzImage", "first\n")
    write(top / "build/linux/obj-default/.config", "")
    for name in ("KDIR", "CONFIG", "BASE", "MUTANT", "OTHER", "EACH", "V", "CMD", "T", "QUICK",
                 "RUN_LIMIT", "EXEC_LIMIT", "TEST_LIMIT", "MAKEFLAGS", "MFLAGS", "MAKELEVEL",
                 "EXITHAND_LOCKED", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EXITHAND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ACCEL", "tcg")
    monkeypatch.setenv("CONSOLE", CONSOLE)
    vng(top, GUEST)
    return top


def vng(top, text):
    """Put TEXT in virtme-ng's place; $run is the guest's directory, $kernel its kernel."""
    script(top.parent / "cache/tools/bin/vng",
           'for word; do [[ $last != --rwdir ]] || run=$word; [[ $last != --run ]] || kernel=$word\n'
           f'last=$word; done\n{text}\n')


def verb(top, *args, **env):
    return subprocess.run([top / "scripts/verbs" / args[0], *args[1:]], text=True, check=False,
                          capture_output=True, timeout=60, env=os.environ | env)


def summary(top):
    return json.loads((top / "build/results/summary.json").read_text())


# -- exit codes: make and scripts/verbs/VERB --------------------------------

def test_exec_ends_with_the_status_of_its_command(top):
    done = verb(top, "exec", "exit 7", STATUS="7")
    assert (done.returncode, done.stderr) == (7, "")
    assert not list((top / "build").glob("run.*"))


def test_make_ends_with_2_and_says_the_status(top):
    done = subprocess.run(["make", "exec", "CMD=exit 7"], cwd=top, text=True, check=False,
                          capture_output=True, env=os.environ | {"STATUS": "7"})
    assert done.returncode == 2
    assert done.stderr.endswith("exec] Error 7\n") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("where", ["make's command line", "environment", "arguments"])
def test_a_dollar_reaches_the_guest(top, where):
    command = "echo $$ ${x#a} \"$HOME\" $(ls) '`'"
    vng(top, f"cat $run/cmd; {GUEST}")
    if where == "arguments":
        done = verb(top, "exec", command)
    else:
        words = [f"CMD={command}"] if where != "environment" else []
        done = subprocess.run(["make", "exec", *words], cwd=top, text=True, check=True,
                              capture_output=True, env=os.environ | {"CMD": command})
    assert done.stdout == command + "\n"


def test_every_verb_has_a_line_in_help_and_runs(top):
    help_text = subprocess.run(["make", "help"], cwd=top, text=True, check=True,
                               capture_output=True).stdout
    for file in (top / "scripts/verbs").iterdir():
        assert f"\nmake {file.name} " in "\n" + help_text
        assert os.access(file, os.X_OK)


# -- what the guest leaves --------------------------------------------------

def test_complaint_is_told_whatever_the_status(top):
    """H7: the command's status hid a complaint of the kernel with the same number."""
    for status in ("0", "1", "3"):
        done = verb(top, "exec", CMD="true", STATUS=status, CONSOLE=SPLAT + CONSOLE)
        assert done.returncode == 3
        assert "exithand: the kernel complained: [    5.1" in done.stderr


@pytest.mark.parametrize("name, of", [("RUN_LIMIT", "run"), ("EXEC_LIMIT", "exec"), ("TEST_LIMIT", "test")])
def test_limit_that_is_no_number(top, name, of):
    """H7: `RUN_LIMIT=3m make run` built a kernel, and ended with 9."""
    script(top / "scripts/lib/build", "echo built >&2")
    done = verb(top, of, CMD="true", **{name: "3m"})
    assert (done.returncode, done.stderr) == (6, f"exithand: {name}=3m; give seconds\n")


def test_bug_of_the_judge_is_no_failed_test(top):
    """H7: a traceback of verdict.py ended with 1."""
    judge = top / "scripts/lib/verdict.py"
    judge.write_text(judge.read_text().replace("def judge(args):", "def judge(args):\n    boom", 1))
    done = verb(top, "exec", CMD="true")
    assert done.returncode == 6
    assert done.stderr.splitlines()[-1].startswith("exithand: verdict.py failed: NameError")


def test_files_of_an_earlier_run_go(top):
    """H6: the user was told to read them."""
    results = top / "build/results"
    for name in ("test.ktap", "negative.ktap", "console.log", "summary.json", "bench.json"):
        write(results / name, "old\n")
    vng(top, "exit 1")
    done = verb(top, "run")
    assert done.returncode == 6
    assert sorted(p.name for p in results.iterdir() if p.name[0] != ".") == ["bench.json", "summary.json"]
    assert "see summary.json in build/results/" in done.stderr
    assert summary(top)["exit"] == 6


# -- the virtual machine ----------------------------------------------------

def test_output_that_nobody_reads(top):
    """H3: `make exec CMD='seq 1000000' | head -1` hung until the limit."""
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
        while not (top / "build/waits").exists():
            assert run.poll() is None
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGINT)
        assert run.wait(20) == 128 + 2
    assert not list((top / "build").glob("run.*"))


@pytest.fixture(name="vm")
def vm_module(top, monkeypatch):
    """vm.py, in that clone, on a machine with a /dev/kvm."""
    import vm
    monkeypatch.setattr(vm, "TOP", top)
    monkeypatch.setattr(vm, "opens", lambda device: True, raising=False)
    monkeypatch.setattr(vm, "PROBE_SECONDS", 2)
    monkeypatch.setenv("ACCEL", "auto")
    monkeypatch.setenv("PATH", f"{top.parent}/cache/tools/bin:{os.environ['PATH']}")
    return vm


@pytest.mark.parametrize("guest, found, known", [
    (GUEST, "kvm", "kvm"),
    ("exit 1", "tcg", "tcg"),
    ("sleep 60", "tcg", "tcg"),
    ('echo "$CONSOLE" >$run/console.log; exit 1', "kvm", None),
    ('echo "$CONSOLE" >$run/console.log; sleep 60', "kvm", None),
])
def test_a_kernel_that_dies_is_not_taken_for_a_useless_kvm(top, vm, guest, found, known):
    """H4: the oops of a bug that only KVM shows was remembered as "no KVM here"."""
    vng(top, guest)
    write(top / "build/run.1/cmd", "exit 0\n")
    args = vm.argparse.Namespace(kernel="bzImage", dir=top / "build/run.1")
    assert vm.accelerator(args) == found
    memo = top / "build/accel"
    assert (memo.read_text().split()[0] if memo.exists() else None) == known


def test_process_that_cannot_be_killed(vm, monkeypatch, capfd):
    """H10: vm.py span for ever."""
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    real = subprocess.run
    monkeypatch.setattr(vm.os, "kill", lambda pid, sig: None)
    monkeypatch.setattr(subprocess, "run", lambda args, **kw: real(
        ["true" if args[0] == "pkill" else args[0], *args[1:]], **kw))
    cpu, began = time.process_time(), time.monotonic()
    try:
        vm.GIVE_UP_SECONDS = 1
        vm.kill_session(child)
        assert time.monotonic() - began < 5
        assert time.process_time() - cpu < 0.5
        assert "cannot be killed" in capfd.readouterr().err
    finally:
        monkeypatch.undo()
        child.kill()
        child.wait()


# -- one at a time ----------------------------------------------------------

def test_a_build_does_not_replace_the_kernel_of_a_run(top):
    """H9: exec let others build before it had booted."""
    vng(top, f"cat $kernel; touch $run/../waits; for i in {{1..99}}; do [ -e $run/../go ] || sleep 0.1; done\n"
             f"cat $kernel; {GUEST}")
    with subprocess.Popen([top / "scripts/verbs/exec"], text=True, stdout=subprocess.PIPE,
                          env=os.environ | {"CMD": "true"}) as run:
        while not (top / "build/waits").exists():
            assert run.poll() is None
            time.sleep(0.05)
        # Nobody needs to wait for that run, either.
        script(top / "scripts/lib/build", f"echo second >{top}/build/linux/obj-default/arch/x86/boot/bzImage")
        (top / "build/go").touch()
        assert verb(top, "exec", CMD="true").stdout == "second\nsecond\n"
        assert run.communicate()[0] == "first\nfirst\n"


def test_results_are_of_one_run(top):
    """H9: two runs at the same time left a mixture."""
    ready = "$(ls $run/../run.*/ready | wc -l)"
    vng(top, f"touch $run/ready; for i in {{1..99}}; do [ {ready} = 8 ] || sleep 0.1; done; {GUEST}")
    runs = [subprocess.Popen([top / "scripts/verbs/exec"], env=os.environ | {
        "CMD": "true", "CONSOLE": CONSOLE + f"status {n}\n" * 9999, "STATUS": str(n)})
        for n in range(10, 18)]
    assert [run.wait() for run in runs] == list(range(10, 18))
    console = (top / "build/results/console.log").read_text()
    assert console.count(f"status {summary(top)['status']}\n") == 9999


@pytest.mark.parametrize("name", ["tree", "patches", "run", "test", "exec", "check"])
def test_what_changes_the_clone_waits(top, name):
    """H9: `tree` took no lock."""
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

@pytest.fixture(name="kdir")
def users_tree(tmp_path):
    kdir = tmp_path / "kdir"
    write(kdir / "Makefile", "# x\nVERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n")
    for name in ("Kbuild", "fs/proc/base.c", "fs/proc/old.c"):
        write(kdir / name, "old\n")
    for file in kdir.rglob("*"):
        os.utime(file, (1e9, 1e9))
    return kdir


def lay_out(top, kdir):
    """The text of each file below fs/ in the tree that `make tree KDIR=` lays out."""
    write(top / "scripts/lib/series.py", "")
    script(top.parent / "cache/tools/bin/df", "echo 99999M\n")
    verb(top, "tree", KDIR=str(kdir)).check_returncode()
    tree = next((top / "build").glob("kdir-*/linux"))
    return {file.name: file.read_text() for file in (tree / "fs").rglob("*.c")}


@pytest.mark.parametrize("git", [False, True])
def test_kdir_is_copied_again_when_it_changed(top, kdir, git):
    """H5: files that were removed, or copied in with old dates, were not seen."""
    def add():
        if git:
            subprocess.run("git init -q; git add .", shell=True, check=True, cwd=kdir)
    add()
    assert lay_out(top, kdir) == {"base.c": "old\n", "old.c": "old\n"}
    mark = next((top / "build").glob("kdir-*/linux")) / "mark"
    mark.touch()
    lay_out(top, kdir)
    assert mark.exists()
    (kdir / "fs/proc/old.c").unlink()
    assert lay_out(top, kdir) == {"base.c": "old\n"}
    write(kdir / "other", "copied\n")
    os.utime(kdir / "other", (1e9, 1e9))
    shutil.copy2(kdir / "other", kdir / "fs/proc/base.c")
    add()
    assert lay_out(top, kdir) == {"base.c": "copied\n"}


@pytest.mark.parametrize("git, expected", [
    ([], [".gitignore", "Makefile", "fs/proc/.gitignore", "fs/proc/base.c"]),
    (["Makefile", ".gitignore", "fs/proc/base.c"], [".gitignore", "Makefile", "fs/proc/base.c"]),
])
def test_what_of_kdir_is_copied(top, tmp_path, git, expected):
    for name in ("Makefile", ".gitignore", "fs/proc/.gitignore", "fs/proc/base.c", "vmlinux",
                 "fs/proc/base.o", ".config", "arch/x86/include/generated/x.h", "include/config/X"):
        write(tmp_path / "tree" / name, "*.o\n")
    if git:
        subprocess.run(["git", "-C", tmp_path / "tree", "init", "-q"], check=True)
        subprocess.run(["git", "-C", tmp_path / "tree", "add", *git], check=True)
    subprocess.run([top / "scripts/lib/layout", tmp_path / "new", "Linux 0.0"], check=True,
                   env=os.environ | {"KDIR": str(tmp_path / "tree")})
    listed = subprocess.run(["git", "-C", tmp_path / "new", "ls-files"], check=True, text=True,
                            capture_output=True).stdout.split()
    assert listed == expected
    assert (tmp_path / "tree/.git").is_dir() == bool(git)


@pytest.mark.parametrize("base, said", [
    ("Linux 7.3.4 (linux-source-7.3 7.3.4-1)", ""),
    ("Linux 7.3.3 (linux-source-7.3 7.3.3-2)", "   patches/ was made on Linux 7.3.3 (linux-source-7.3"
     " 7.3.3-2); this is Linux 7.3.4 (linux-source-7.3 7.3.4-1)\n"),
])
def test_base_that_the_series_was_not_made_on(top, base, said):
    """H11: the newest 7.3.y was taken without a word."""
    write(top / "patches/BASE", base + "\ntree x\n")
    write(top / "scripts/lib/series.py", "")
    tree = top / "build/linux"
    for args in (["init", "-q"], ["-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "-q",
                                  "--allow-empty", "-m", "Linux 7.3.4 (linux-source-7.3 7.3.4-1)"],
                 ["tag", "base"]):
        subprocess.run(["git", "-C", tree, *args], check=True)
    done = verb(top, "tree")
    assert (done.returncode, done.stderr) == (0, said)


# -- fold -------------------------------------------------------------------

@pytest.fixture(name="series")
def small_series(top):
    """A kernel tree with three patches on it, folded into patches/."""
    tree = top / "build/linux"

    def git(*args):
        return subprocess.run(["git", "-C", tree, *args], check=True, text=True, capture_output=True).stdout

    def commit(subject, **files):
        for name, text in files.items():
            write(tree / name.replace("__", "/") , text)
        git("add", "--force", ".", ":!obj-default")
        git("commit", "-q", "-m", f"{subject}\n\n# a heading\nWhy.")

    def fold(**env):
        return subprocess.run([sys.executable, top / "scripts/lib/series.py", "fold", tree], text=True,
                              check=False, capture_output=True, env=os.environ | env)
    git("init", "-q", "-b", "exithand")
    git("config", "user.name", "Tester")
    git("config", "user.email", "tester@localhost")
    write(tree / ".git/info/exclude", "/obj-*/\n")
    commit("Linux 0.0", rust__lib="//\n")
    git("tag", "base")
    subprocess.run([sys.executable, top / "scripts/lib/series.py", "apply", tree], check=True)
    commit("one", rust__a="1\n2\n3\n4\n5\n6\n7\n8\n9\n", rust__b="b\n")
    commit("two", rust__a="1\n2\n3\n4\n5\n6\n7\n8\nnine\n")
    commit("three", rust__c="c\n")
    assert fold().returncode == 0
    return fold


def patch(top, number):
    return next((top / "patches").glob(f"000{number}-*.patch")).read_text()


def test_fold_into_the_patch_that_has_it(top, series):
    write(top / "rust/a", "one\n2\n3\n4\n5\n6\n7\n8\nnine\n")
    write(top / "rust/b", "B\n")
    (top / "rust/c").unlink()
    write(top / "rust/d", "d\n")
    done = series(PATCH="1")
    assert done.returncode == 6 and "rust/c is not in that patch yet; choose a later PATCH=N" in done.stderr
    (top / "rust/d").unlink()
    write(top / "rust/c", "c\n")
    assert series(PATCH="1").returncode == 0
    assert "\n+one\n" in patch(top, 1) and "\n+B\n" in patch(top, 1) and "\n-9\n+nine\n" in patch(top, 2)
    assert all("\n# a heading\nWhy.\n" in patch(top, n) for n in (1, 2, 3))


def test_fold_of_what_a_later_patch_changes(top, series):
    before = [patch(top, n) for n in (1, 2, 3)]
    write(top / "rust/a", "1\n2\n3\n4\n5\n6\n7\n8\nNINE\n")
    done = series(PATCH="1")
    assert done.returncode == 6
    assert done.stderr == ("exithand: the change to rust/a does not fit that patch, a later one changes"
                           " the same lines; rebase in build/linux instead\n")
    assert before == [patch(top, n) for n in (1, 2, 3)]
    assert series().returncode == 0
    assert "\n-9\n+NINE\n" in patch(top, 2)
