# SPDX-License-Identifier: GPL-2.0
"""make bases, with scripts in place of the mirror and of the selftests."""

import re

import pytest
from common import commit, git, script, verb, write

MIRROR = """\
linux-source-7.2 7.2.9-1 trixie-backports
linux-source-7.3 7.3.4-1 trixie-backports
linux-source-7.2 7.2.10-1 sid
linux-source-6.12 6.12.1-1 sid
linux-source-7.3 7.3~rc7-1~exp1 experimental
linux-source-7.4 7.4~rc1-1~exp1 experimental
"""
# version: (directory in the cache, the file `version` there)
CACHE = {"7.2": ("bases/linux-source-7.2", "linux-source-7.2 7.2.10-1 sid"),
         "7.3": ("base", "linux-source-7.3 7.3.4-1 trixie-backports"),
         "7.4": ("bases/linux-source-7.4", "linux-source-7.4 7.4~rc1-1~exp1 experimental")}
OLD, NEW = "7.2.10-1", "7.4~rc1-1~exp1"
NO_BUILD = "echo exithand: the kernel does not build: fork.c >&2; exit 11"
PASSED = ["yes", "5 passed, 0 failed, 0 skipped"]


def kernel(top, version, **files):
    """Make a tarball as the mirror has it: the small kernel without the series, with these files."""
    tree, (directory, said) = top / "build/linux", CACHE[version]
    write(top / "cache" / directory / "version", said + "\n")
    git(tree, "checkout", "-q", "--detach", "base")
    number = f"VERSION = 7\nPATCHLEVEL = {version[2]}\nSUBLEVEL = 0\n"
    commit(tree, "other", **{"Makefile": f"# x\n{number}", "Kbuild": "", **files})
    git(tree, "-c", "tar.tar.xz.command=xz -0c", "archive", "--prefix=linux-source-x/", "-o",
        top / "cache" / directory / "linux.tar.xz", "HEAD")
    git(tree, "checkout", "-q", "exithand")


@pytest.fixture(scope="module", name="plain")
def plain_kernels(template):
    for version in CACHE:
        kernel(template, version)


@pytest.fixture(name="top")
def small_kernels(plain, small_repository):
    top = small_repository
    script(top / "scripts/lib/deb", f'[ "$3" = --versions ] && echo "W: no forky" >&2 && echo -n "{MIRROR}"\n')
    return top


def bases(top, code=0, outcomes=None, **env):
    """Run make bases with these outcomes of the selftests on the kernels; "" is the one of build/linux."""
    cases = "".join(f'"{other}") {text} ;;\n' for other, text in (outcomes or {}).items())
    script(top / "scripts/verbs/test",
           f'echo ${{KDIR##*/}} >>tested\ncase "${{KDIR##*/}}" in\n{cases}*) echo {PASSED[1]} ;;\nesac\n')
    write(top / "tested", "")
    done = verb(top, "verbs/bases", code=code, **env)
    assert not done.out or (top / "build/results/bases.txt").read_text() == done.out
    rows = [line.split(None, 3) for line in done.out.split("\n\n")[0].splitlines()][1:]
    return rows, (top / "tested").read_text().splitlines(), done.out + done.err


def test_bases(top):
    rows, ran, said = bases(top)
    assert rows == [[name, "yes", *PASSED] for name in ("7.2.10", "7.3.4", "7.4-rc1")]
    assert ran == [OLD, "", NEW] and said.count("W: no forky\n") == 1
    assert not list((top / "build/bases").iterdir()) and not list((top / "build").glob("kdir-*"))
    write(top / "fs-proc-exithand/new.rs", "")
    assert "fs-proc-exithand/new.rs" in bases(top, 6)[2]
    (top / "fs-proc-exithand/new.rs").unlink()
    script(top / "scripts/lib/deb", "echo E: no mirror >&2; exit 1\n")
    assert "cannot ask this machine's Debian mirror: no mirror" in bases(top, 6)[2]


def test_does_not_apply(top):
    base = git(top / "build/linux", "show", "base:fs/proc/base.c")
    other = {"fs/proc/base.c": base.replace("line 8\n", "line eight\n")}
    kernel(top, "7.2", **other)
    kernel(top, "7.4", **{"rust/kernel/queue.rs": "// theirs\n"})
    rows, ran, said = bases(top, BUILD="0")
    assert [row[1:] for row in rows] == [["no", "-", "-"], ["yes", "-", "-"], ["no", "-", "-"]] and ran == []
    assert re.search(r"0001.*7\.2\.0 .*: patch failed: fs/proc/base.c:6, hunk @@ -6,6 \+6,7 @@", said)
    assert re.search("0002.*7.4.0 .*: rust/kernel/queue.rs: already exists in", said)
    # On the newest 7.3.y, the series must apply.
    kernel(top, "7.3", **other)
    write(top / "cache/base/version", "linux-source-7.3 7.3.5-1 sid\n")
    rows, ran, _ = bases(top, 11)
    assert [row[1] for row in rows] == ["no", "no", "no"] and ran == []


@pytest.mark.parametrize("outcomes, code, rows", [
    ({OLD: NO_BUILD, NEW: "exit 5"}, 0, [["no", "-"], PASSED, ["yes", "none ran (exit code 5)"]]),
    ({"": "echo 4 passed, 1 failed, 0 skipped; exit 1", OLD: "exit 6"}, 1,
     [["unknown", "-"], ["yes", "4 passed, 1 failed, 0 skipped (exit code 1)"], PASSED]),
    ({OLD: "exit 130"}, 130, [])])
def test_does_not_build_or_pass(top, outcomes, code, rows):
    found, _, said = bases(top, code, outcomes)
    assert [row[2:] for row in found] == rows
    assert ("fork.c" in said) == (NO_BUILD in outcomes.values())
    # The trees of failed kernels stay for the user, also in the next run.
    kept = sorted((top / "build/bases").glob("7*"))
    assert [p.name for p in kept] == sorted(filter(None, outcomes))
    write(kept[0] / "new", "")
    bases(top, code, outcomes)
    assert (kept[0] / "new").exists()
