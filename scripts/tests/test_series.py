# SPDX-License-Identifier: GPL-2.0
"""series.py: patches/, the folders and a kernel tree."""

import pytest
from common import commit, git, write

FIRST, SECOND = "0001-proc-add-exithand.patch", "0002-rust-add-queue.patch"


class Repository:
    def __init__(self, program, top):
        self.program, self.top, self.tree = program, top, top / "build/linux"

    def __call__(self, verb, code=0):
        done = self.program("lib/series.py", verb, self.tree, top=self.top)
        assert done.code == code, done.err
        return done.err

    def write(self, name, text):
        write(self.top / name, text)

    def edit(self, name, old, new):
        text = self.read(name)
        assert old in text
        self.write(name, text.replace(old, new))

    def read(self, name):
        return (self.top / name).read_text()

    def patches(self):
        return {p.name: p.read_text() for p in (self.top / "patches").glob("*.patch")}


@pytest.fixture(name="series")
def two_patches(program, small_repository):
    return Repository(program, small_repository)


def test_commits_become_patches_and_files(series):
    """Also checks that a fold without a change changes nothing."""
    assert sorted(series.patches()) == [FIRST, SECOND]
    assert series.read("fs-proc-exithand/exithand.rs") == "// one\n// two\n// three\n"
    assert series.read("rust/kernel/queue.rs") == "// queue\n"
    assert series.read("patches/BASE").startswith("Linux 7.3.4 (linux-source-7.3 7.3.4-1)\ntree ")
    series("verify")
    before = series.patches()
    series("fold")
    assert series.patches() == before


def test_edit_in_a_folder(series):
    for name in ("fs-proc-exithand/exithand.rs", "rust/kernel/queue.rs"):
        series.write(name, series.read(name) + "// more\n")
        assert name in series("verify", 6)
    date = (series.tree / "fs/proc/base.c").stat().st_mtime_ns
    series("sync")
    assert "// more" in series.read("build/linux/fs/proc/exithand/exithand.rs")
    series("fold")
    series("verify")
    assert (series.tree / "fs/proc/base.c").stat().st_mtime_ns == date
    assert "+// more" in series.patches()[FIRST] and "+// more" in series.patches()[SECOND]
    assert git(series.tree, "status", "--porcelain") == ""


def test_new_and_deleted_files(series):
    series.write("build/linux/.git/info/exclude", "/*\n")
    series.write("fs-proc-exithand/exithand/glue.rs", "// glue\n")
    (series.top / "rust/kernel/queue.rs").unlink()
    series.write("rust/kernel/other.rs", "// other\n")
    # An editor and Python leave such files.
    series.write("rust/kernel/queue.rs~", "")
    series.write("tools-testing-selftests/__pycache__/x.pyc", "")
    said = series("verify", 6)
    assert "patches/: fs-proc-exithand/exithand/glue.rs, rust/kernel/other.rs, rust/kernel/queue.rs;" in said
    series("fold")
    series("verify")
    assert "exithand/glue.rs" in series.patches()[FIRST]
    assert "queue.rs" not in series.patches()[SECOND] and "other.rs" in series.patches()[SECOND]


@pytest.mark.parametrize("file, verb, said", [
    ("Documentation/x.rst", "fold", "belongs to no patch yet"),
    ("build/linux/fs/proc/base.c", "fold", "commit them"),
    ("rust/kernel/lib.rs", "sync", "the kernel already has")])
def test_file_in_the_wrong_place(series, file, verb, said):
    series.write(file, "x\n")
    assert said in series(verb, 6)


def test_edits_on_both_sides(series):
    series.write("fs-proc-exithand/exithand.rs", "// folder\n")
    series.write("build/linux/fs/proc/exithand/exithand.rs", "// tree\n")
    commit(series.tree, "proc: change")
    before = series.patches()
    assert "edited both" in series("sync", 6)
    assert "edited both" in series("fold", 6)
    assert series.patches() == before
    assert series.read("fs-proc-exithand/exithand.rs") == "// folder\n"


def test_tree_in_the_middle_of_something(series):
    git(series.tree, "checkout", "-q", "--detach")
    assert "not on its branch" in series("fold", 6)
    git(series.tree, "checkout", "-q", "exithand")


def test_message_edited_in_patches(series):
    series.edit(f"patches/{FIRST}", "Why.", "Because.")
    assert "other commits" in series("verify", 6)
    series("apply")
    assert "Because." in git(series.tree, "log", "--format=%B")
    series("verify")


def test_pull_brings_patches_and_folders(series):
    sides = []
    for text in ("// one\n", "// two\n", "// one\n"):
        series.write("fs-proc-exithand/exithand.rs", text)
        series("fold")
        sides.append((text, series.patches()))
    # `git pull` changes both at once, and not the tree.
    # The user edits the folder after the last pull.
    for (text, patches), edit in zip(sides[1:] + sides[:2], ("", "", "", "// edit\n")):
        series.write("fs-proc-exithand/exithand.rs", text + edit)
        for name, patch in patches.items():
            series.write(f"patches/{name}", patch)
        series("apply")
        series("sync")
        assert series.read("build/linux/fs/proc/exithand/exithand.rs") == text + edit
        assert bool(git(series.tree, "status", "--porcelain")) == bool(edit)


def test_patches_and_tree_both_changed(series):
    series.edit(f"patches/{FIRST}", "Why.", "Because.")
    series.write("build/linux/fs/proc/base.c", "other\n")
    assert "patches/ changed" in series("apply", 6)
    assert series.read("build/linux/fs/proc/base.c") == "other\n"


@pytest.mark.parametrize("old, new, parts", [
    (" line 8\n", " line eight\n", ("fs/proc/base.c", "@@ -6,6 +6,7 @@")),
    # A patch must not add a blank at the end of a line.
    ("+entry\n", "+entry \n", ("whitespace",)),
    ("+// two\n", "", ("corrupt patch",))])
def test_patch_that_does_not_apply(series, old, new, parts):
    series.edit(f"patches/{FIRST}", old, new)
    said = series("apply", 11)
    for part in (f"patches/{FIRST} does not apply to Linux 7.3.4", "rebase the series", *parts):
        assert part in said


def test_cover_letter(series):
    series.write("patches/0000-cover-letter.txt", "Subject: [PATCH 0/9] proc: exithand\n\nText.\n")
    series("fold")
    cover = series.read("patches/0000-cover-letter.txt")
    for part in ("[PATCH 0/2]", "\nText.\n", "Base: Linux 7.3.4", "rust: add queue", "3 files changed"):
        assert part in cover
    series("fold")
    assert series.read("patches/0000-cover-letter.txt") == cover


@pytest.fixture(name="three")
def three_patches(series):
    """The third patch changes a line that the first one adds."""
    commit(series.tree, "proc: change\n\n# a heading",
           **{"fs/proc/exithand/exithand.rs": "// one\n// two\n// drei\n"})
    series("fold")
    return series


def test_fold_into_one_patch(three, monkeypatch):
    monkeypatch.setenv("PATCH", "1")
    three.write("fs-proc-exithand/exithand.rs", "// ONE\n// two\n// drei\n")
    three.write("fs-proc-exithand/new.rs", "// new\n")
    three.edit("rust/kernel/queue.rs", "// queue", "// QUEUE")
    assert "queue.rs is not in that patch yet; choose a later PATCH=N" in three("fold", 6)
    three.edit("rust/kernel/queue.rs", "// QUEUE", "// queue")
    three("fold")
    first, _, third = (text for _, text in sorted(three.patches().items()))
    assert "\n+// ONE\n" in first and "\n+// new\n" in first and "\n-// three\n+// drei\n" in third
    assert "\n# a heading\n" in third


def test_fold_of_lines_that_a_later_patch_changes(three, monkeypatch):
    before = three.patches()
    three.write("fs-proc-exithand/exithand.rs", "// one\n// two\n// DREI\n")
    monkeypatch.setenv("PATCH", "1")
    assert three("fold", 6) == (
        "exithand: the change to fs/proc/exithand/exithand.rs does not fit that patch, a later one changes"
        " the same lines; rebase in build/linux instead\n")
    assert three.patches() == before
    monkeypatch.delenv("PATCH")
    three("fold")
    assert "\n-// three\n+// DREI\n" in sorted(three.patches().items())[2][1]
    # A commit that is dropped takes its patch with it.
    git(three.tree, "reset", "-q", "--hard", "HEAD^")
    three("fold")
    assert sorted(three.patches()) == [FIRST, SECOND]
