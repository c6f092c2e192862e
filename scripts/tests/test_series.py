# SPDX-License-Identifier: GPL-2.0
"""series.py: patches/, the folders and a kernel tree."""

from pathlib import Path

import pytest
from common import commit, git, write

TREE = Path("build/linux")
FIRST, SECOND = Path("patches/0001-proc-add-exithand.patch"), Path("patches/0002-rust-add-queue.patch")
COVER, QUEUE = Path("patches/0000-cover-letter.txt"), Path("rust/kernel/queue.rs")
OURS, THERE = Path("fs-proc-exithand/exithand.rs"), TREE / "fs/proc/exithand/exithand.rs"
BASE_C = TREE / "fs/proc/base.c"


@pytest.fixture(name="series")
def two_patches(program, small_repository, monkeypatch):
    """Run series.py with each verb. Return what the last one says."""
    monkeypatch.chdir(small_repository)

    def run(*verbs, code=0):
        for verb in verbs:
            done = program("lib/series.py", verb, TREE, top=small_repository)
            assert done.code == code, done.err
        return done.err
    return run


def edit(file, old, new):
    text = file.read_text() if file.exists() else ""
    assert old in text
    write(file, text.replace(old, new))


def patches():
    return {file: file.read_text() for file in sorted(Path("patches").glob("0*"))}


def test_commits_become_patches_and_files(series):
    write(COVER, "Subject: [PATCH 0/9] proc: exithand\n\nText.\n")
    series("fold")
    for part in ("[PATCH 0/2]", "\nText.\n", "Base: Linux 7.3.4", "rust: add queue", "3 files changed"):
        assert part in COVER.read_text()
    assert (OURS.read_text(), QUEUE.read_text()) == ("// one\n// two\n// three\n", "// queue\n")
    assert Path("patches/BASE").read_text().startswith("Linux 7.3.4 (linux-source-7.3 7.3.4-1)\ntree ")
    before = patches()
    series("verify", "fold")
    assert patches() == before and list(before) == [COVER, FIRST, SECOND]
    # The user edits a message in patches/.
    edit(FIRST, "Why.", "Because.")
    assert "other commits" in series("verify", code=6)
    series("apply", "verify")
    assert "Because." in git(TREE, "log", "--format=%B")
    # A commit that is dropped takes its patch with it.
    git(TREE, "reset", "-q", "--hard", "HEAD^")
    series("fold")
    assert list(patches()) == [COVER, FIRST]


def test_edits_in_the_folders(series):
    write(TREE / ".git/info/exclude", "/*\n")
    edit(OURS, "three\n", "three\n// more\n")
    write(OURS.parent / "exithand/glue.rs", "// glue\n")
    QUEUE.rename("rust/kernel/other.rs")
    # An editor and Python leave such files.
    write(Path(f"{QUEUE}~"), "")
    write(Path("tools-testing-selftests/__pycache__/x.pyc"), "")
    said = series("verify", code=6)
    assert f"patches/: {OURS}, fs-proc-exithand/exithand/glue.rs, rust/kernel/other.rs, {QUEUE};" in said
    date = BASE_C.stat().st_mtime_ns
    series("sync")
    assert "// more" in THERE.read_text()
    series("fold", "verify")
    assert BASE_C.stat().st_mtime_ns == date
    assert "+// more" in FIRST.read_text() and "exithand/glue.rs" in FIRST.read_text()
    assert "queue.rs" not in SECOND.read_text() and "other.rs" in SECOND.read_text()
    assert git(TREE, "status", "--porcelain") == ""


@pytest.mark.parametrize("edits, verb, code, said", [
    ([("Documentation/x.rst", "", "x\n")], "fold", 6, "belongs to no patch yet"),
    ([(BASE_C, "entry", "x")], "fold", 6, "commit them"),
    ([("rust/kernel/lib.rs", "", "x\n")], "sync", 6, "the kernel already has"),
    *(([(OURS, "one", "this"), (THERE, "one", "that")], v, 6, "edited both") for v in ("sync", "fold")),
    ([(TREE / ".git/HEAD", "exithand", "other")], "fold", 6, "not on its branch"),
    ([(FIRST, "Why.", "Because."), (BASE_C, "entry", "x")], "apply", 6, "patches/ changed"),
    ([("patches/fixes/0001-fix.patch", "", "no patch\n")], "verify", 11, "fixes/0001-fix.patch does not apply"),
    # A patch must not add a blank at the end of a line.
    ([(FIRST, "+entry\n", "+entry \n")], "apply", 11, "whitespace"),
    ([(FIRST, "+// two\n", "")], "apply", 11, "add-exithand.patch does not apply to Linux 7.3.4 ")])
def test_refused(series, edits, verb, code, said):
    for name, old, new in edits:
        edit(Path(name), old, new)
    before = patches(), [file.read_text() for file in (OURS, THERE, BASE_C)]
    assert said in series(verb, code=code)
    assert before == (patches(), [file.read_text() for file in (OURS, THERE, BASE_C)])


def test_pull_brings_patches_and_folders(series):
    sides = []
    for text in ("// one\n", "// two\n", "// one\n"):
        write(OURS, text)
        series("fold")
        sides.append({**patches(), OURS: text})
    # `git pull` changes both at once, and not the tree. The user edits the folder after the last pull.
    for files, more in zip(sides[1:] + sides[:2], ("", "", "", "// edit\n")):
        for file, text in files.items():
            write(file, text)
        write(OURS, files[OURS] + more)
        series("apply", "sync")
        assert THERE.read_text() == files[OURS] + more
        assert bool(git(TREE, "status", "--porcelain")) == bool(more)
    # The user has commits in the tree as well.
    commit(TREE, "proc: change", **{"fs/proc/base.c": "x\n"})
    edit(FIRST, "Why.", "Because.")
    assert "patches/ changed" in series("apply", code=6)


def test_fold_into_one_patch(series, monkeypatch):
    """The third patch changes a line that the first one adds."""
    edit(THERE, "three", "drei")
    commit(TREE, "proc: change\n\n# a heading")
    series("fold")
    monkeypatch.setenv("PATCH", "1")
    edit(OURS, "one", "ONE")
    write(OURS.parent / "new.rs", "// new\n")
    edit(QUEUE, "queue", "QUEUE")
    assert "queue.rs is not in that patch yet; choose a later PATCH=N" in series("fold", code=6)
    edit(QUEUE, "QUEUE", "queue")
    series("fold")
    first, _, third = patches().values()
    assert "\n+// ONE\n" in first and "\n+// new\n" in first and "\n-// three\n+// drei\n" in third
    assert "\n# a heading\n" in third
    edit(OURS, "drei", "DREI")
    before = patches()
    assert "the change to fs/proc/exithand/exithand.rs does not fit that patch" in series("fold", code=6)
    assert patches() == before
    monkeypatch.delenv("PATCH")
    series("fold")
    assert "\n-// three\n+// DREI\n" in [*patches().values()][2]
