# SPDX-License-Identifier: GPL-2.0
"""make bases, with scripts in place of the mirror and of the selftests."""

import io
import re
import subprocess
import tarfile
from types import SimpleNamespace

import pytest
from common import git, script, verb, write

SUITES = {"trixie-backports": "linux-source-7.2 7.2.9-1\nlinux-source-7.3 7.3.4-1\n",
          "sid": "linux-source-7.2 7.2.10-1\nlinux-source-6.12 6.12.1-1\n", "forky": "",
          "experimental": "linux-source-7.3 7.3~rc7-1~exp1\nlinux-source-7.4 7.4~rc1-1~exp1\n"}
TARBALLS = {"7.2": "bases/linux-source-7.2_7.2.10-1.tar.xz", "7.3": "base/linux-7.3.tar.xz",
            "7.4": "bases/linux-source-7.4_7.4~rc1-1~exp1.tar.xz"}
GOOD = "echo 5 passed, 0 failed, 0 skipped"
FAILS = "echo 4 passed, 1 failed, 0 skipped; exit 1"
NO_BUILD = "echo exithand: the kernel does not build: fork.c >&2; exit 11"
PASSED = ["yes", "5 passed, 0 failed, 0 skipped"]
FAILED = ["yes", "4 passed, 1 failed, 0 skipped (exit code 1)"]


def kernel(top, version, **files):
    """Make a tarball as the mirror has it: the small kernel without the series, with these files."""
    plain = subprocess.run(["git", "-C", top / "build/linux", "archive", "--prefix=linux-source-x/", "base"],
                           check=True, capture_output=True).stdout
    file = top / "cache" / TARBALLS[version]
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(plain)) as old, tarfile.open(file, "w:xz", preset=0) as new:
        texts = {m.name: old.extractfile(m).read() for m in old if m.isfile()}
        texts |= {f"linux-source-x/{name}": text.encode() for name, text in files.items()}
        new.addfile(old.getmember("linux-source-x"))
        for name, text in texts.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            new.addfile(member, io.BytesIO(text))


@pytest.fixture(scope="module", name="plain")
def plain_kernels(template):
    """Make the tarballs once. A test that needs another one makes it."""
    for version in TARBALLS:
        kernel(template, version)


@pytest.fixture(name="top")
def small_kernels(plain, small_repository):
    top = small_repository
    script(top / "scripts/lib/deb", '[ "$3" = --versions ] && cat "$0.$2"\n')
    for suite, has in SUITES.items():
        write(top / f"scripts/lib/deb.{suite}", has)
    write(top / "cache/base/version", "linux-source-7.3 7.3.4-1 trixie-backports\n")
    outcomes(top, {})
    return top


def outcomes(top, of):
    """Set the outcome of the selftests on each kernel; "" is the one of build/linux."""
    cases = "".join(f'"{other}") {text} ;;\n' for other, text in of.items())
    script(top / "scripts/verbs/test", f'echo "$OTHER" >>tested\ncase "$OTHER" in\n{cases}*) {GOOD} ;;\nesac\n')


@pytest.fixture(name="bases")
def bases_fixture(top):
    def bases(code=0, **env):
        (top / "tested").unlink(missing_ok=True)
        done = verb(top, "verbs/bases", **env)
        assert done.code == code, done.err
        assert not done.out or (top / "build/results/bases.txt").read_text() == done.out
        ran = (top / "tested").read_text().splitlines() if (top / "tested").exists() else []
        rows = [line.split(None, 3) for line in done.out.split("\n\n")[0].splitlines()][1:]
        return SimpleNamespace(rows=rows, said=done.out, err=done.err, ran=ran)
    return bases


def test_bases(top, bases):
    done = bases()
    assert done.rows == [[name, "yes", *PASSED] for name in ("7.2.10", "7.3.4", "7.4-rc1")]
    assert done.ran == ["7.2.10", "", "7.4-rc1"]
    assert not list((top / "build/bases").iterdir())


def test_suites_that_cannot_be_asked(top, bases):
    (top / "scripts/lib/deb.forky").unlink()
    done = bases(BUILD="0")
    assert done.rows == [[name, "yes", "-", "-"] for name in ("7.2.10", "7.3.4", "7.4-rc1")] and done.ran == []
    assert re.search("Not asked.*: forky\n", done.said)
    for suite in SUITES:
        (top / f"scripts/lib/deb.{suite}").unlink(missing_ok=True)
    assert "cannot ask" in bases(6, BUILD="0").err


def test_does_not_apply(top, bases):
    base = git(top / "build/linux", "show", "base:fs/proc/base.c")
    other = {"fs/proc/base.c": base.replace("line 8\n", "line eight\n")}
    kernel(top, "7.2", **other)
    kernel(top, "7.4", **{"rust/kernel/queue.rs": "// theirs\n"})
    done = bases()
    assert [row[1] for row in done.rows] == ["no", "yes", "no"] and done.ran == [""]
    for reason in ("patches/0001-proc-add-exithand.patch does not apply to Linux 7.2.10 ",
                   "patch failed: fs/proc/base.c:6, hunk @@ -6,6 +6,7 @@",
                   "patches/0002-rust-add-queue.patch does not apply to Linux 7.4-rc1 ",
                   ": rust/kernel/queue.rs: already exists in"):
        assert reason in done.said
    # On the newest 7.3.y, the series must apply.
    kernel(top, "7.3", **other)
    for suite in SUITES:
        write(top / f"scripts/lib/deb.{suite}", "linux-source-7.3 7.3.4-1\n")
    done = bases(11)
    assert [row[1] for row in done.rows] == ["no"] and done.ran == []


@pytest.mark.parametrize("of, code, rows", [
    ({"7.2.10": NO_BUILD, "7.4-rc1": "exit 5"}, 0, [["no", "-"], PASSED, ["yes", "none ran (exit code 5)"]]),
    ({"": FAILS, "7.2.10": "exit 6"}, 1, [["unknown", "-"], FAILED, PASSED]),
    ({"7.2.10": "exit 130"}, 130, [])])
def test_does_not_build_or_pass(top, bases, of, code, rows):
    outcomes(top, of)
    done = bases(code)
    assert [row[2:] for row in done.rows] == rows
    assert ("fork.c" in done.said) == (NO_BUILD in of.values())
    # The trees of failed kernels stay for the user.
    assert sorted(p.name for p in (top / "build/bases").glob("7*")) == sorted(filter(None, of))
