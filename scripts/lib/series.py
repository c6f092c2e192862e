#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Keep the three forms of the series alike: patches/, the source folders, a kernel tree.

usage: series.py apply|sync|fold|verify TREE, or series.py agree

apply   apply patches/ to the tree as commits, unless that is done
sync    copy edits in the source folders to the tree's files (not its commits)
fold    put edits in the folders and commits in the tree into patches/
verify  fail unless `git am` of patches/ gives the tree's commits, without whitespace errors
agree   fail unless patches/ and the folders have the same added files

TREE is a git tree of the kernel. The tag `base` is the unpatched kernel, the tag
`applied` is patches/ applied to it, and the branch `exithand` is for the user's work.
"""

import contextlib
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
from harness import TOP, Problem, say

PATCHES = TOP / "patches"
COVER = PATCHES / "0000-cover-letter.txt"
MARKER = "<!-- below: written by `make patches` -->"
# {folder: directory of the kernel}: the folder has the files that the series adds there.
FOLDERS = {
    "rust": "rust",
    "fs-proc-exithand": "fs/proc/exithand",
    "include": "include",
    "Documentation": "Documentation",
    "tools-testing-selftests": "tools/testing/selftests",
}
JUNK = re.compile(r"(^|/)(\.#.*|#.*#|.*~|.*\.(swp|orig|rej|pyc)|__pycache__)(/|$)")
# With git_env(), the output does not depend on the user's git configuration.
FORMAT = ["--zero-commit", "--no-signature", "--abbrev=12", "--numbered", "--no-renames", "--stat=72"]


class DoesNotApply(Problem):
    code = 11


def git_env():
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    env.update(GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1", LC_ALL="C",
               GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*")
    return env


def run(args, check=True, **kw):
    kw = {"env": git_env(), "input": b"", **kw}
    done = subprocess.run(args, capture_output=True, check=False, **kw)
    if check and done.returncode:
        raise Problem(f"`{' '.join(map(str, args))}` failed: "
                      + done.stderr.decode(errors="replace").strip())
    return done


def our_patches():
    return sorted(PATCHES.glob("[0-9]*.patch"))


def patches_digest():
    h = hashlib.sha256()
    for p in our_patches():
        h.update(p.name.encode() + b"\0" + p.read_bytes() + b"\0")
    return h.hexdigest()


def to_folder(path):
    """Return the file in our folders for the kernel's path, or None."""
    for folder, prefix in FOLDERS.items():
        if path.startswith(prefix + "/"):
            return TOP / folder / path[len(prefix) + 1:]
    return None


def folder_files():
    """Return {path in the kernel: (mode, bytes)} of all files in our folders."""
    return {f"{prefix}/{rel}": read(file)
            for folder, prefix in FOLDERS.items() for file in (TOP / folder).rglob("*")
            if file.is_file() and not JUNK.search(rel := str(file.relative_to(TOP / folder)))}


def read(file):
    """Return (mode, bytes), or None if the file does not exist."""
    if not file.is_file():
        return None
    return ("100755" if os.access(file, os.X_OK) else "100644"), file.read_bytes()


def write(file, content):
    """Write the content to the file, or remove it (None). An equal file keeps its date."""
    if read(file) == content:
        return
    if content is None:
        file.unlink()
        while not any(file.parent.iterdir()) and file.parent != TOP:
            file = file.parent
            file.rmdir()
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content[1])
    file.chmod(int(content[0][-3:], 8))


def digest(content):
    return hashlib.sha256(b"%s %s" % (content[0].encode(), content[1])).hexdigest() \
        if content else "-"


class Tree:
    def __init__(self, path):
        self.path = Path(path).resolve()
        self.name = os.path.relpath(self.path, TOP)
        self.applied_file = self.path / ".git/exithand-applied"
        self.synced_file = self.path / ".git/exithand-synced"
        self.version = self.git("log", "-1", "--format=%s", "base").strip()

    def git(self, *args, check=True, **kw):
        done = run(["git", "-C", str(self.path), *args], check, **kw)
        return done.stdout.decode(errors="surrogateescape")

    def commit_id(self, name):
        return self.git("rev-parse", "-q", "--verify", name + "^{commit}", check=False).strip()

    def mark_applied(self, commit):
        self.git("update-ref", "refs/tags/applied", commit)
        self.applied_file.write_text(patches_digest())

    def blob(self, commit, path):
        """Return (mode, bytes) of path in the commit, or None."""
        line = self.git("ls-tree", "-z", commit, "--", path)
        if not line:
            return None
        mode, _, blob = line.split("\t")[0].split()
        return mode, run(["git", "-C", str(self.path), "cat-file", "blob", blob]).stdout

    def paths(self, *args):
        """Return the paths that this git command prints for the directories of FOLDERS."""
        return {p for p in self.git(*args, "-z", "--", *FOLDERS.values()).split("\0") if p}

    def added(self, commit):
        """Return the paths in FOLDERS's directories that the series adds up to the commit."""
        return self.paths("diff", "--no-renames", "--name-only", "--diff-filter=A", "base", commit)

    def series(self, tip="HEAD"):
        return self.git("rev-list", "--reverse", f"base..{tip}").split()

    # -- folders and work tree ------------------------------------------

    def synced(self):
        """Return {path: digest} as of the last time when folders and work tree agreed."""
        if not self.synced_file.exists():
            return {p: digest(self.blob("applied", p)) for p in self.added("applied")}
        lines = self.synced_file.read_text().splitlines()
        return {path: d for d, path in (line.split(" ", 1) for line in lines)}

    def pairs(self):
        """Yield (path, folder's content, work tree's content, last agreed digest)."""
        synced, folders = self.synced(), folder_files()
        for path in sorted(synced.keys() | folders.keys() | self.added("HEAD")):
            yield path, folders.get(path), read(self.path / path), synced.get(path, "-")

    def settle(self, both_ways):
        """Make folders and work tree agree; return {path: content}.

        An edit in a folder is copied to the work tree. With both_ways, an edit in the
        work tree is copied to the folder; otherwise it stays in the work tree.
        """
        base = self.paths("ls-tree", "-r", "--name-only", "base")
        pairs = list(self.pairs())
        for path, folder, _, _ in pairs:
            if folder and path in base:
                raise Problem(f"{to_folder(path).relative_to(TOP)}: the kernel already has {path};"
                              f" edit it in {self.name}, and delete this file")
        clash = [p for p, folder, work, last in pairs
                 if folder != work and last not in (digest(folder), digest(work))]
        if clash:
            raise Problem(f"{clash[0]} was edited both in {to_folder(clash[0]).relative_to(TOP)}"
                          f" and in {self.name}; make the two files equal")
        now, agreed = {}, self.synced()
        for path, folder, work, last in pairs:
            if folder != work and last == digest(folder):
                if not both_ways:
                    continue
                write(to_folder(path), work)
                folder = work
            write(self.path / path, folder)
            now[path] = folder
            agreed[path] = digest(folder)
        self.synced_file.write_text("".join(
            f"{d} {p}\n" for p, d in sorted(agreed.items()) if d != "-"))
        return now

    # -- state of the tree ----------------------------------------------

    def dirty(self):
        """Return the paths with uncommitted changes that do not come from the folders."""
        ours = {path for path, folder, work, last in self.pairs()
                if work == folder or last == digest(work)}
        out = self.git("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames")
        return sorted(line[3:] for line in out.split("\0") if line and line[3:] not in ours)

    def check_on_branch(self):
        for state in ("rebase-merge", "rebase-apply", "MERGE_HEAD", "CHERRY_PICK_HEAD"):
            if (self.path / ".git" / state).exists():
                raise Problem(f"{self.name} is in the middle of a git operation; finish or abort it")
        if self.git("symbolic-ref", "-q", "HEAD", check=False).strip() != "refs/heads/exithand":
            raise Problem(f"{self.name} is not on its branch; `git -C {self.name} switch exithand`")

    def move_to(self, commit):
        """Make the commit the branch's tip, without touching the work tree."""
        self.git("update-ref", "-m", "exithand: series", "refs/heads/exithand", commit)
        self.git("symbolic-ref", "HEAD", "refs/heads/exithand")
        self.git("reset", "--quiet", "--mixed", commit)

    # -- apply -----------------------------------------------------------

    @contextlib.contextmanager
    def scratch(self, commit):
        """Yield git in a second work tree at that commit, without files.

        So git does not touch the dates of the tree's files.
        """
        with tempfile.TemporaryDirectory(prefix="exithand.") as tmp:
            path = Path(tmp, "tree")
            self.git("worktree", "add", "--quiet", "--detach", "--no-checkout", str(path), commit)

            def there(*args, check=True, **kw):
                return run(["git", "-C", str(path), "-c", "core.sparseCheckout=true", "-c",
                            "commit.cleanup=whitespace", *args], check, **kw)
            try:
                info = Path(there("rev-parse", "--absolute-git-dir").stdout.decode().strip(), "info")
                info.mkdir(exist_ok=True)
                (info / "sparse-checkout").write_text("/no-file-at-all\n")
                there("read-tree", "-m", "-u", "HEAD")
                yield there
            finally:
                self.git("worktree", "remove", "--force", str(path), check=False)

    def am(self, patches):
        """Return the commit that `git am` of these patches on the base gives."""
        with self.scratch("base") as there:
            done = there("am", "--quiet", "--no-3way", "--whitespace=error-all",
                         "--committer-date-is-author-date", *map(str, patches), check=False) \
                if patches else None
            if done and done.returncode:
                raise DoesNotApply(self.explain_am(done, there, patches))
            return there("rev-parse", "HEAD").stdout.decode().strip()

    def explain_am(self, done, there, patches):
        said = (done.stderr + done.stdout).decode(errors="replace")
        count = len(there("rev-list", "base..HEAD").stdout.split())
        patch = patches[count]
        what = f"patches/{patch.name} does not apply to {self.version}: "
        where = re.search(r"^error: patch failed: (.*):(\d+)$", said, re.M)
        if where:
            hunk = re.search(rf"^@@ -{where[2]}\b.*$", patch.read_text(errors="replace"), re.M)
            what += f"{where[1]}, hunk {hunk[0] if hunk else where[2]}"
        else:
            errors = re.findall(r"^(?:error|fatal): (.*)$", said, re.M) or said.splitlines()[:1]
            what += errors[0] if errors else "git am gave no reason"
        return what + "; rebase the series, or use a tree closer to patches/BASE"

    def apply(self):
        if self.commit_id("applied") and harness.read(self.applied_file) == patches_digest():
            return
        if self.commit_id("applied"):
            self.check_on_branch()
            if self.commit_id("HEAD") != self.commit_id("applied") or self.dirty():
                raise Problem(f"patches/ changed, and so did {self.name}; put patches/ back"
                              " (git stash) and run `make patches`, or drop the tree's changes"
                              f" (git -C {self.name} reset --hard applied)")
        old, new = self.commit_id("HEAD"), self.am(our_patches())
        wrong = self.git("diff", "--no-renames", "--name-only", "-z", old, new).split("\0")[:-1]
        self.move_to(new)
        # sync copies edits in the folders later.
        for path in wrong:
            write(self.path / path, self.blob(new, path))
        self.synced_file.unlink(missing_ok=True)
        self.git("update-index", "-q", "--refresh", check=False)
        self.mark_applied(new)
        say(f"   {len(self.series(new))} patches on {self.version}")

    def verify(self):
        fresh, applied = (self.git("log", "--reverse", "--format=%T %an %ae %at%n%B", f"base..{c}")
                          for c in (self.am(our_patches()), "applied"))
        if fresh != applied:
            raise Problem(f"`git am` of patches/ gives other commits than {self.name} has;"
                          " run `make patches`")

    # -- fold ------------------------------------------------------------

    def fold(self, number):
        self.check_on_branch()
        self.apply()
        dirty = self.dirty()
        if dirty:
            raise Problem(f"{self.name}/{dirty[0]} has uncommitted changes"
                          f" ({len(dirty)} files in all); commit them there")
        now = self.settle(both_ways=True)
        change = {p: c for p, c in now.items() if c != self.blob("HEAD", p)}
        if change:
            self.rewrite(change, number)
        self.format()
        self.mark_applied("HEAD")

    def target(self, path, commits, number):
        """Return the commit that the change to path belongs to."""
        if number:
            if not 1 <= number <= len(commits):
                raise Problem(f"PATCH={number}: the series has {len(commits)} patches")
            return commits[number - 1]
        place = path
        while place and commits:
            last = self.git("rev-list", "-1", "base..HEAD", "--", place).strip()
            if last:
                return last
            place = os.path.dirname(place)
        raise Problem(f"{path} belongs to no patch yet; commit it in {self.name},"
                      " or choose a patch with PATCH=N")

    def rewrite(self, change, number):
        """Put each changed file into its commit, with fixup commits and git rebase."""
        commits, targets = self.series(), {}
        for path in sorted(change):
            target = self.target(path, commits, number)
            if self.blob("HEAD", path) and not self.blob(target, path):
                raise Problem(f"{path} is not in that patch yet; choose a later PATCH=N")
            targets.setdefault(target, []).append(path)
        with self.scratch("HEAD") as there:
            for target, paths in targets.items():
                for path in paths:
                    if change[path] is None:
                        there("update-index", "--force-remove", "--", path)
                        continue
                    blob = self.git("hash-object", "-w", "--stdin", input=change[path][1]).strip()
                    there("update-index", "--add", "--cacheinfo", f"{change[path][0]},{blob},{path}")
                    there("update-index", "--skip-worktree", "--", path)
                there("commit", "--quiet", "--message", f"fixup! {target}")
            done = there("rebase", "--quiet", "--interactive", "--autosquash", "base", check=False,
                         env=dict(git_env(), GIT_SEQUENCE_EDITOR=":", GIT_EDITOR=":"))
            if done.returncode:
                where = there("diff", "--name-only", "--diff-filter=U").stdout.decode().split("\n")
                raise Problem(f"the change to {where[0] or sorted(change)[0]} does not fit that patch,"
                              f" a later one changes the same lines; rebase in {self.name} instead")
            self.move_to(there("rev-parse", "HEAD").stdout.decode().strip())
        for target, paths in targets.items():
            for path in paths:
                say(f"   {path} -> {commits.index(target) + 1}: "
                    + self.git("log", "-1", "--format=%s", target).strip())

    def format(self):
        PATCHES.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="exithand-format.") as tmp:
            self.git("format-patch", "--quiet", *FORMAT, "-o", tmp, "base..HEAD")
            fresh = sorted(Path(tmp).iterdir())
            for old in our_patches():
                if old.name not in {f.name for f in fresh}:
                    old.unlink()
            for new in fresh:
                write(PATCHES / new.name, ("100644", new.read_bytes()))
        write(PATCHES / "BASE", ("100644", (
            f"{self.version}\n"
            f"tree {self.git('rev-parse', 'base^{tree}').strip()}\n"
            f"commit {self.commit_id('base')}\n").encode()))
        if COVER.exists():
            self.refresh_cover(len(fresh))
        say(f"   patches/ holds {len(fresh)} patches on {self.version}")

    def refresh_cover(self, count):
        """Update the part below the marker, and the number of patches in the subject."""
        head = COVER.read_text().split(MARKER)[0].rstrip("\n")
        head = re.sub(r"^(Subject: \[[^]]*\b0+/)\d+\]", rf"\g<1>{count}]", head, flags=re.M)
        log = self.git("shortlog", "--no-merges", "-w72,2,4", "base..HEAD").rstrip("\n")
        stat = self.git("diff", "--no-renames", "--stat=72", "--summary",
                        "--diff-algorithm=myers", "base..HEAD").rstrip("\n")
        write(COVER, ("100644", f"{head}\n\n{MARKER}\n\nBase: {self.version}\n\n{log}\n\n{stat}\n"
                      .encode(errors="surrogateescape")))


def agree():
    """Compare the files that the patches add with the folders. This needs no kernel tree."""
    with tempfile.TemporaryDirectory(prefix="exithand-agree.") as tmp:
        run(["git", "init", "--quiet", tmp])
        added = []
        for patch in our_patches():
            summary = run(["git", "-C", tmp, "apply", "--summary", str(patch)]).stdout.decode()
            added += [p for p in re.findall(r"^ create mode \d+ (.*)$", summary, re.M) if to_folder(p)]
            run(["git", "-C", tmp, "apply", "--whitespace=nowarn", *(f"--include={p}" for p in added),
                 "--exclude=*", str(patch)])
        series = {p: c for p in added if (c := read(Path(tmp, p)))}
    folders = folder_files()
    wrong = sorted(p for p in series.keys() | folders.keys() if series.get(p) != folders.get(p))
    for path in wrong:
        how = "is not in patches/" if path not in series else \
            "is only in patches/" if path not in folders else "differs from patches/"
        say(f"{to_folder(path).relative_to(TOP)} {how}")
    if wrong:
        raise Problem(f"patches/ and the folders differ in {len(wrong)} files; run `make patches`")


def main():
    verb, path = (sys.argv[1:] + ["", ""])[:2]
    if verb == "agree":
        return agree()
    if verb not in ("apply", "sync", "fold", "verify") or not path:
        sys.exit(__doc__)
    number = os.environ.get("PATCH") or "0"
    if verb == "fold" and not number.isdigit():
        raise Problem(f"PATCH={number}: not a number")
    tree = Tree(path)
    return {"apply": tree.apply, "verify": tree.verify, "sync": lambda: tree.settle(both_ways=False),
            "fold": lambda: tree.fold(int(number))}[verb]() and None


if __name__ == "__main__":
    harness.run(main)
