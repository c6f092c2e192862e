# SPDX-License-Identifier: GPL-2.0
"""Keep the three forms of the series alike: patches/, the source folders, a kernel tree.

usage: series.py apply|sync|fold|agree|verify TREE

apply   apply patches/ to the tree as commits, unless that is done
sync    copy edits in the source folders to the tree's files (not its commits)
fold    put edits in the folders and commits in the tree into patches/
agree   fail unless the folders have the files that the applied patches add
verify  also fail unless `git am` of patches/ gives the same commits and applies patches/*/

TREE is a git tree of the kernel. The tag `base` is the unpatched kernel, the tag
`applied` is patches/ applied to it, and the branch `exithand` is for the user's work.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
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
    kw = {"env": git_env(), "stdin": subprocess.DEVNULL, **kw}
    done = subprocess.run(args, capture_output=True, check=False, **kw)
    if check and done.returncode:
        raise Problem(f"`{' '.join(map(str, args))}` failed: "
                      + done.stderr.decode(errors="replace").strip())
    return done


def our_patches():
    return sorted(PATCHES.glob("[0-9]*.patch"))


def patches_digest():
    return hashlib.sha256(b"".join(p.read_bytes() for p in our_patches())).hexdigest()


def to_folder(path):
    """Return the file in our folders for the kernel's path."""
    folder, prefix = next((f, p) for f, p in FOLDERS.items() if path.startswith(p + "/"))
    return TOP / folder / path[len(prefix) + 1:]


def folder_files():
    """Return {path in the kernel: state} of all files in our folders."""
    return {f"{prefix}/{rel}": state(file)
            for folder, prefix in FOLDERS.items() for file in (TOP / folder).rglob("*")
            if file.is_file() and not JUNK.search(rel := str(file.relative_to(TOP / folder)))}


def state(file):
    """Return git's mode and hash of the file, or "" if it does not exist."""
    if not file.is_file():
        return ""
    content = file.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return f"{'100755' if os.access(file, os.X_OK) else '100644'} {blob}"


def copy(source, target):
    """Make target the same as source, which may not exist."""
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        return
    target.unlink()
    with contextlib.suppress(OSError):
        os.removedirs(target.parent)


class Tree:
    def __init__(self, path):
        self.path = Path(path).resolve()
        self.name = os.path.relpath(self.path, TOP)
        self.applied_file = self.path / ".git/exithand-applied"
        self.agreed_file = self.path / ".git/exithand-agreed"
        self.version = self.git("log", "-1", "--format=%s", "base").strip()

    def git(self, *args, check=True, **kw):
        done = run(["git", "-C", str(self.path), *args], check, **kw)
        return done.stdout.decode(errors="surrogateescape")

    def commit_id(self, name):
        return self.git("rev-parse", "-q", "--verify", name + "^{commit}", check=False).strip()

    def mark_applied(self, commit):
        self.git("update-ref", "refs/tags/applied", commit)
        self.applied_file.write_text(patches_digest())

    def files(self, commit):
        """Return {path: state} of the commit's files in FOLDERS's directories."""
        entries = self.git("ls-tree", "-rz", commit, "--", *FOLDERS.values()).split("\0")[:-1]
        return {path: f"{mode} {blob}" for mode, _, blob, path in
                (re.split("[ \t]", entry, maxsplit=3) for entry in entries)}

    def added(self, commit):
        """Return {path: state} of the files there that the series adds up to the commit."""
        base = self.files("base")
        return {path: has for path, has in self.files(commit).items() if path not in base}

    def series(self, tip="HEAD"):
        return self.git("rev-list", "--reverse", f"base..{tip}").split()

    # -- folders and work tree ------------------------------------------

    def states(self):
        """Return [(path, state in the folder, in the work tree, when the two last agreed)].

        This fails if a file was edited on both sides.
        """
        base, folders = self.files("base"), folder_files()
        text, states = harness.read(self.agreed_file), []
        agreed = json.loads(text) if text else self.added("applied")
        for path in sorted({*agreed, *folders, *self.added("HEAD")}):
            folder, work, last = folders.get(path, ""), state(self.path / path), agreed.get(path, "")
            file = to_folder(path).relative_to(TOP)
            if folder and path in base:
                raise Problem(f"{file}: the kernel already has {path};"
                              f" edit it in {self.name}, and delete this file")
            if folder != work and last not in (folder, work):
                raise Problem(f"{path} was edited both in {file} and in {self.name};"
                              " make the two files equal")
            states.append((path, folder, work, last))
        return states

    def sync(self, both_ways=False):
        """Copy edits in the folders to the work tree; with both_ways, also the other way."""
        agreed = {}
        for path, folder, work, last in self.states():
            agreed[path] = folder
            if folder != work and folder != last:
                copy(to_folder(path), self.path / path)
            elif folder != work and both_ways:
                copy(self.path / path, to_folder(path))
                agreed[path] = work
        self.agreed_file.write_text(json.dumps(agreed))

    # -- state of the tree ----------------------------------------------

    def dirty(self):
        """Return the paths with uncommitted changes that do not come from the folders."""
        ours = {path for path, folder, work, last in self.states() if work in (folder, last)}
        out = self.git("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames")
        return sorted(line[3:] for line in out.split("\0") if line and line[3:] not in ours)

    def check_on_branch(self):
        """Fail if a rebase is going on, or if the user looks at another commit."""
        if self.git("symbolic-ref", "-q", "HEAD", check=False).strip() != "refs/heads/exithand":
            raise Problem(f"{self.name} is not on its branch; finish or abort the rebase, or"
                          f" `git -C {self.name} switch exithand`")

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
                patch = patches[len(there("rev-list", "base..HEAD").stdout.split())]
                said = (done.stderr + done.stdout).decode(errors="replace")
                errors = re.findall(r"^(?:error|fatal): (.*)$", said, re.MULTILINE) or [said.strip()]
                hunk = re.fullmatch(r"patch failed: (.*):(\d+)", errors[0])
                hunk = hunk and re.search(rf"^@@ -{hunk[2]}\b.*$", patch.read_text(errors="replace"), re.MULTILINE)
                raise DoesNotApply(
                    f"{patch.parent.name}/{patch.name} does not apply to {self.version}: {errors[0]}"
                    f"{hunk and f', hunk {hunk[0]}' or ''}; rebase the series, or use a tree closer to"
                    " patches/BASE")
            return there("rev-parse", "HEAD").stdout.decode().strip()

    def apply(self):
        if self.commit_id("applied") and harness.read(self.applied_file) == patches_digest():
            return
        if self.commit_id("applied"):
            self.check_on_branch()
            if self.commit_id("HEAD") != self.commit_id("applied") or self.dirty():
                raise Problem(f"patches/ changed, and so did {self.name}; put patches/ back"
                              " (git stash) and run `make patches`, or drop the tree's changes"
                              f" (git -C {self.name} reset --hard applied)")
        new = self.am(our_patches())
        # git writes only the files that differ. sync copies edits in the folders later.
        self.git("reset", "--quiet", "--hard", new)
        self.agreed_file.unlink(missing_ok=True)
        self.mark_applied(new)
        say(f"   {len(self.series(new))} patches on {self.version}")

    def verify(self):
        fresh, applied = (self.git("log", "--reverse", "--format=%T %an %ae %at%n%B", f"base..{c}")
                          for c in (self.am(our_patches()), "applied"))
        if fresh != applied:
            raise Problem(f"`git am` of patches/ gives other commits than {self.name} has;"
                          " run `make patches`")
        self.am(sorted(PATCHES.glob("*/[0-9]*.patch")))
        self.agree()

    def agree(self):
        wrong = sorted(path for path, _ in self.added("applied").items() ^ folder_files().items())
        if wrong:
            files = ", ".join(dict.fromkeys(str(to_folder(path).relative_to(TOP)) for path in wrong))
            raise Problem(f"these files are not as in patches/: {files}; run `make patches`")

    # -- fold ------------------------------------------------------------

    def fold(self):
        self.check_on_branch()
        self.apply()
        dirty = self.dirty()
        if dirty:
            raise Problem(f"{self.name}/{dirty[0]} has uncommitted changes"
                          f" ({len(dirty)} files in all); commit them there")
        self.sync(both_ways=True)
        head = self.files("HEAD")
        changed = [path for path, _, work, _ in self.states() if work != head.get(path, "")]
        if changed:
            self.rewrite(changed, head)
        self.format()
        self.mark_applied("HEAD")

    def target(self, path, commits):
        """Return the commit that the change to path belongs to."""
        number = os.environ.get("PATCH")
        if number:
            if not (number.isdigit() and 1 <= int(number) <= len(commits)):
                raise Problem(f"PATCH={number}: the series has {len(commits)} patches")
            return commits[int(number) - 1]
        place = path
        while place and commits:
            last = self.git("rev-list", "-1", "base..HEAD", "--", place).strip()
            if last:
                return last
            place = os.path.dirname(place)
        raise Problem(f"{path} belongs to no patch yet; commit it in {self.name},"
                      " or choose a patch with PATCH=N")

    def rewrite(self, changed, head):
        """Put each changed file into its commit, with fixup commits and git rebase."""
        commits, targets = self.series(), {}
        for path in changed:
            target = self.target(path, commits)
            if path in head and path not in self.files(target):
                raise Problem(f"{path} is not in that patch yet; choose a later PATCH=N")
            targets.setdefault(target, []).append(path)
        tip = self.commit_id("HEAD")
        try:
            for target, paths in targets.items():
                # Debian's .gitignore ignores the whole top level.
                self.git("add", "--all", "--force", "--", *paths)
                self.git("commit", "--quiet", "--message", f"fixup! {target}", "--", *paths)
            with self.scratch("HEAD") as there:
                done = there("rebase", "--quiet", "--interactive", "--autosquash", "base", check=False,
                             env=dict(git_env(), GIT_SEQUENCE_EDITOR=":", GIT_EDITOR=":"))
                if done.returncode:
                    where = there("diff", "--name-only", "--diff-filter=U").stdout.decode().split("\n")
                    raise Problem(f"the change to {where[0] or changed[0]} does not fit that patch, a"
                                  f" later one changes the same lines; rebase in {self.name} instead")
                tip = there("rev-parse", "HEAD").stdout.decode().strip()
        finally:
            # The work tree stays as it is.
            self.git("reset", "--quiet", "--mixed", tip)
        for target, paths in targets.items():
            subject = self.git("log", "-1", "--format=%s", target).strip()
            for path in paths:
                say(f"   {path} -> {commits.index(target) + 1}: {subject}")

    def format(self):
        fresh = self.git("format-patch", *FORMAT, "-o", str(PATCHES), "base..HEAD").splitlines()
        for old in our_patches():
            if str(old) not in fresh:
                old.unlink()
        (PATCHES / "BASE").write_text(f"{self.version}\n"
                                      f"tree {self.git('rev-parse', 'base^{tree}').strip()}\n"
                                      f"commit {self.commit_id('base')}\n")
        if COVER.exists():
            self.refresh_cover(len(fresh))
        say(f"   patches/ holds {len(fresh)} patches on {self.version}")

    def refresh_cover(self, count):
        """Update the part below the marker, and the number of patches in the subject."""
        head = COVER.read_text().split(MARKER)[0].rstrip("\n")
        head = re.sub(r"^(Subject: \[[^]]*\b0+/)\d+\]", rf"\g<1>{count}]", head, flags=re.MULTILINE)
        log = self.git("shortlog", "--no-merges", "-w72,2,4", "base..HEAD").rstrip("\n")
        stat = self.git("diff", "--no-renames", "--stat=72", "--summary",
                        "--diff-algorithm=myers", "base..HEAD").rstrip("\n")
        COVER.write_text(f"{head}\n\n{MARKER}\n\nBase: {self.version}\n\n{log}\n\n{stat}\n")


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("apply", "sync", "fold", "agree", "verify"):
        sys.exit(__doc__)
    getattr(Tree(sys.argv[2]), sys.argv[1])()


if __name__ == "__main__":
    harness.run(main)
