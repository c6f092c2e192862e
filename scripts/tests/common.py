# SPDX-License-Identifier: GPL-2.0
"""Helpers of the tests, and the files that a guest leaves when every test has passed."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
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
# The console of a guest that did not reach its end.
CUT = CONSOLE[:90]
OOPS = """\
<1>[    5.100000] BUG: kernel NULL pointer dereference, address: 0000000000000008
<4>[    5.100001] Oops: Oops: 0000 [#1] SMP
<0>[    5.100002] Kernel panic - not syncing: Fatal exception
"""


def write(file, text, mode=0o644):
    file.parent.mkdir(parents=True, exist_ok=True)
    # Keep carriage returns: the kernel's console has them.
    file.write_text(text, newline="")
    file.chmod(mode)


def script(file, text):
    write(file, "#!/bin/bash\n" + text, 0o755)


def copy_harness(top, *fakes):
    """Copy the harness's scripts to TOP. The scripts FAKES are replaced by empty ones."""
    shutil.copytree(TOP / "scripts", top / "scripts", dirs_exist_ok=True, ignore=shutil.ignore_patterns(
        "*.patch", "__pycache__", "tests", "compile-fail", "*.litmus"))
    shutil.copytree(TOP / "qemu-config", top / "qemu-config")
    # need_space() in lib.sh asks df for room that these tests do not need.
    script(top / "cache/tools/bin/df", "echo 99999M\n")
    for name in fakes:
        script(top / "scripts" / name, "")


def verb(top, name, *args, **env):
    """Run a script of the copy of the harness in TOP."""
    done = subprocess.run([top / "scripts" / name, *args], text=True, capture_output=True, check=False,
                          cwd=top, env=os.environ | {"EXITHAND_CACHE": str(top / "cache"), **env})
    return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)


def wait_for(file, process):
    """Wait until PROCESS has made FILE."""
    while not file.exists():
        assert process.poll() is None
        time.sleep(0.01)


def git(tree, *args):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return subprocess.run(["git", "-C", tree, "-c", "user.name=Tester", "-c", "user.email=tester@localhost",
                           *args], check=True, capture_output=True, text=True, env=env).stdout


def commit(tree, subject, **files):
    for name, text in files.items():
        write(tree / name, text)
    git(tree, "add", "--force", ".")
    git(tree, "commit", "-q", "-m", subject + "\n\nWhy.")


def kernel(top, subject, **files):
    """Make a kernel tree of these files, with the tag base."""
    tree = top / "build/linux"
    tree.mkdir(parents=True, exist_ok=True)
    git(tree, "init", "-q", "-b", "exithand")
    git(tree, "config", "user.name", "Tester")
    git(tree, "config", "user.email", "tester@localhost")
    commit(tree, subject, **files)
    git(tree, "tag", "base")
    return tree


def repository(top):
    """Copy the harness to TOP, with a kernel of two files and a series of two patches."""
    base = [f"line {i}\n" for i in range(40)]
    copy_harness(top, "lib/setup")
    tree = kernel(top, "Linux 7.3.4 (linux-source-7.3 7.3.4-1)",
                  **{"fs/proc/base.c": "".join(base), "rust/kernel/lib.rs": "//\n"})
    series = [sys.executable, top / "scripts/lib/series.py"]
    subprocess.run([*series, "apply", tree], check=True)
    commit(tree, "proc: add exithand", **{
        "fs/proc/exithand/exithand.rs": "// one\n// two\n// three\n",
        "fs/proc/base.c": "".join(base[:8] + ["entry\n"] + base[8:])})
    commit(tree, "rust: add queue", **{"rust/kernel/queue.rs": "// queue\n"})
    subprocess.run([*series, "fold", tree], check=True)
