# SPDX-License-Identifier: GPL-2.0
"""Helpers of the tests, and the stand-ins for virtme-ng and for the kernel."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen
from types import SimpleNamespace

TOP = Path(__file__).resolve().parents[2]

# The kernel writes <N> only after it has read its command line.
CONSOLE = """\
[    0.000000] Linux version 7.3.4-exithand
<6>[    0.100000] Kernel command line: console_msg_format=syslog
<14>[    1.402337] virtme-ng-init: starting script
<12>[    9.313434] exithand: end of run
<0>[    9.383237] reboot: Power down
"""
OOPS = """\
<1>[    5.100000] BUG: kernel NULL pointer dereference, address: 0000000000000008
<4>[    5.100001] Oops: Oops: 0000 [#1] SMP
<0>[    5.100002] Kernel panic - not syncing: Fatal exception
"""
KTAP = """\
TAP version 13
1..3
# timeout set to 45
# selftests: proc: read
ok 1 selftests: proc: read
# selftests: proc: proc-net-dev-lseek
# 1..0 # SKIP no network device
ok 2 selftests: proc: proc-net-dev-lseek # SKIP
# selftests: proc: proc-exithand
# TAP version 13
# 1..2
# #  RUN           global.read_waits ...
# ok 1 global.read_waits
# ok 2 global.poll_waits
# # Totals: pass:2 fail:0 xfail:0 xpass:0 skip:0 error:0
ok 3 selftests: proc: proc-exithand
"""
# In place of virtme-ng: runs the commands $GUEST, in which $run is the guest's directory
# and $kernel its kernel. `leave` leaves the files of a guest.
VNG = """\
words=$*
run=${words#*--rwdir } kernel=${words#*--run }
run=${run%% *} kernel=${kernel%% *}
leave() {
	printf %s "$CONSOLE" >$run/console.log
	printf %s "$KTAP" >$run/test.ktap
	echo ${STATUS:-0} >$run/status
}
eval "${GUEST:-leave}"
"""


def write(file, text, mode=0o644):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, newline="")  # keeps the carriage returns of the console
    file.chmod(mode)


def script(file, text):
    write(file, "#!/bin/bash\n" + text, 0o755)


def copy_harness(top, *fakes):
    """Copy the harness's scripts to TOP. The scripts FAKES are replaced by empty ones."""
    shutil.copytree(TOP / "scripts", top / "scripts", dirs_exist_ok=True, ignore=shutil.ignore_patterns(
        "*.patch", "__pycache__", "tests", "compile-fail", "*.litmus"))
    shutil.copytree(TOP / "qemu-config", top / "qemu-config")
    script(top / "cache/tools/bin/vng", VNG)
    # need_space() in lib.sh asks df for room that these tests do not need.
    script(top / "cache/tools/bin/df", "echo 99999M\n")
    for name in fakes:
        script(top / "scripts" / name, "")


def start(top, name, *args, **env):
    """Start a script of the copy of the harness in TOP, in a session of its own."""
    env = {"EXITHAND_CACHE": str(top / "cache"), "ACCEL": "tcg", "CONSOLE": CONSOLE, "KTAP": KTAP, **env}
    return Popen([top / "scripts" / name, *args], text=True, cwd=top, env=os.environ | env,
                 start_new_session=True, stdout=PIPE, stderr=PIPE)


def end(run):
    try:
        out, err = run.communicate(timeout=100)
    finally:
        if run.returncode is None:
            os.killpg(run.pid, signal.SIGKILL)
    return SimpleNamespace(code=run.returncode, out=out, err=err)


def verb(top, name, *args, code=None, **env):
    """Run a script. It must end with this code, if one is given."""
    done = end(start(top, name, *args, **env))
    assert code in (None, done.code), done.out + done.err
    return done


def wait_for(file, process):
    while not file.exists():
        assert process.poll() is None
        time.sleep(0.01)


def git(tree, *args):
    return subprocess.run(["git", "-C", tree, "-c", "user.name=Tester", "-c", "user.email=tester@localhost",
                           *args], check=True, capture_output=True, text=True).stdout


def commit(tree, subject, **files):
    for name, text in files.items():
        write(tree / name, text)
    git(tree, "add", "--force", ".")
    git(tree, "commit", "-q", "-m", subject + "\n\nWhy.")


def kernel(tree, subject, **files):
    """Make a kernel tree of these files, with the tag base."""
    tree.mkdir(parents=True, exist_ok=True)
    git(tree, "init", "-q", "-b", "exithand")
    git(tree, "config", "user.name", "Tester")
    git(tree, "config", "user.email", "tester@localhost")
    commit(tree, subject, **files)
    git(tree, "tag", "base")
    return tree


def series(top, name):
    subprocess.run([sys.executable, top / "scripts/lib/series.py", name, top / "build/linux"], check=True)


def repository(top):
    """Copy the harness to TOP, with a kernel of two files and a series of two patches."""
    base = "".join(f"line {i}\n" for i in range(40))
    copy_harness(top, "lib/setup")
    tree = kernel(top / "build/linux", "Linux 7.3.4 (linux-source-7.3 7.3.4-1)",
                  **{"fs/proc/base.c": base, "rust/kernel/lib.rs": "//\n"})
    series(top, "apply")
    commit(tree, "proc: add exithand", **{
        "fs/proc/exithand/exithand.rs": "// one\n// two\n// three\n",
        "fs/proc/base.c": base.replace("line 8\n", "entry\nline 8\n")})
    commit(tree, "rust: add queue", **{"rust/kernel/queue.rs": "// queue\n"})
    series(top, "fold")
    return top
