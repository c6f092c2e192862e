# SPDX-License-Identifier: GPL-2.0
"""vm.py, with a script in place of virtme-ng."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from common import TOP, script

ENDS = "touch $run/console.log; echo 0 >$run/status"


def processes(mark):
    return subprocess.run(["pgrep", "-f", mark], capture_output=True, check=False).stdout


@pytest.fixture(name="mark")
def something_to_wait_for():
    """A length of sleep marks the processes of a test. None may be left at its end."""
    mark = f"300.{os.getpid()}{time.monotonic_ns()}"
    yield mark
    assert processes(mark) == b""


@pytest.fixture(name="boot")
def boot_fixture(tmp_path):
    def boot(vng, *options, limit=2):
        run = tmp_path / "run"
        run.mkdir(exist_ok=True)
        script(tmp_path / "vng", f"run={run}\n{vng}\n")
        done = subprocess.run(
            [sys.executable, TOP / "scripts/lib/vm.py", "--kernel", "bzImage", "--dir", run, "--limit",
             str(limit), *options], capture_output=True, text=True, check=False, timeout=15,
            env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ACCEL": "tcg"})
        end = (run / "end").read_text().split()[0] if (run / "end").exists() else None
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr, end=end)
    return boot


@pytest.mark.parametrize("vng, code, end", [
    (ENDS.replace("0", "7"), 0, "ended"),
    ("touch $run/console.log; kill -SEGV $$", 5, "died"),
    ("echo no QEMU here; exit 1", 6, "not"),
    ("touch $run/console.log; exit 0", 5, "died")])
def test_end_of_the_guest(boot, vng, code, end):
    done = boot("echo out; echo err >&2; " + vng)
    assert (done.code, done.end) == (code, end)
    assert done.out.startswith("out\n") and "err\n" in done.err


def test_nothing_of_an_earlier_run_counts(boot):
    boot(ENDS)
    assert boot("exit 1").code == 6


def test_command_line(boot):
    done = boot(f"echo $*; {ENDS}", "--count")
    for option in ("--cpus 1", "--disable-kvm", "-icount shift=0,sleep=off", "console_msg_format=syslog"):
        assert f" {option} " in done.out
    assert "icount" not in boot(f"echo $*; {ENDS}").out


def test_hangs(boot, mark):
    done = boot(f"touch $run/console.log; sleep {mark} & wait", limit=1)
    assert (done.code, done.end) == (4, "hung")


def test_is_interrupted_at_the_start(boot, mark):
    # The guest signals vm.py, the parent of its parent, at once.
    for _ in range(5):
        assert boot(f"kill -TERM $(ps -o ppid= -p $PPID); sleep {mark} & wait", limit=20).code == 128 + 15
        assert processes(mark) == b""
