# SPDX-License-Identifier: GPL-2.0
"""Write the series in TREE as mails into DIR, and check that they give its commits.

usage: send.py TREE DIR   (scripts/verbs/send calls this)

FROM is the sender. SERIES, VERSION and RFC are as in `make help`.
"""

import email
import email.policy
import email.utils
import os
import re
import sys
import tempfile
from pathlib import Path

import harness
import series
from harness import TOP, Problem

# Another series is a folder of patches/, on the base. Its tags begin with its name.
SERIES = os.environ.get("SERIES", "")
TAG = f"{SERIES}-v".removeprefix("-")
ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@([a-z\d-]+\.)+[a-z\d-]+", re.IGNORECASE | re.ASCII)


class Wrong(Problem):
    code = 1


def sender():
    """Return (name, address) of FROM."""
    given = os.environ.get("FROM", "").strip()
    parts = re.fullmatch(r'"?([^<>"@]*[^\W\d_][^<>"@]*?)"? *<([^<>\s]+)>', given)
    if not parts or not given.isprintable() or not ADDRESS.fullmatch(parts[2]):
        raise Problem((f"FROM={given!r}: not a name and an address" if given
                       else "FROM, the sender, is missing") + "; make send FROM='Name <address>'")
    return parts[1], parts[2]


def version():
    given = os.environ.get("VERSION", "") or "1"
    if not re.fullmatch(r"[1-9]\d?", given):
        raise Problem(f"VERSION={given}: not a version; VERSION=2 for the second, and so on")
    return int(given)


def own_git(*args, check=True):
    return series.run(["git", "-C", str(TOP), *args], check).stdout


def tagged(number):
    """Return {name: bytes} of the patches in the tag of that version.

    The sender tags each version. The tag is the only record of a sent version.
    """
    tag, folder = f"refs/tags/{TAG}{number}", f"{series.PATCHES.relative_to(TOP)}/"
    names = own_git("ls-tree", "--name-only", tag, folder, check=False).decode()
    return {Path(n).name: own_git("show", f"{tag}:{n}")
            for n in names.splitlines() if n.endswith(".patch")}


def check_inputs():
    number = version()
    if number > 1 and not tagged(number - 1):
        raise Problem(f"VERSION={number}: this repository has no tag {TAG}{number - 1} to compare with;"
                      f" git tag {TAG}{number - 1} COMMIT, with the commit that was sent")
    if number > 1 and not re.search(rf"^changes (since|from) v{number - 1}\b", cover_letter()[2],
                                    re.IGNORECASE | re.MULTILINE):
        raise Problem(f"VERSION={number}: {series.COVER.relative_to(TOP)} has no section \"Changes"
                      f" since v{number - 1}\"; list the changes and the reasons there")
    # The tag must name exactly the patches that are sent.
    if own_git("status", "--porcelain", "--", "patches"):
        raise Problem("patches/ has changes that are not committed; commit them, so that"
                      f" the tag {TAG}{number} can name what was sent")
    if tagged(number) not in ({}, {p.name: p.read_bytes() for p in series.our_patches()}):
        raise Problem(f"tag {TAG}{number} holds another series, which was already sent;"
                      f" make send VERSION={number + 1}")


def cover_letter():
    """Return (subject, [(name, address)] of Cc:, text) of the cover letter."""
    header, text = series.COVER.read_text().split(series.MARKER)[0].split("\n\n", 1)
    header = email.message_from_string(header)
    subject = re.sub(r"^\[[^]]*\] *", "", header["Subject"] or "")
    return subject, email.utils.getaddresses(header.get_all("Cc", [])), text.strip()


class Mails:
    """The series in TREE, as mails in DIR."""

    def __init__(self, tree, path):
        self.tree, self.path = series.Tree(tree), path
        self.env = series.git_env()
        self.env["GIT_COMMITTER_NAME"], self.env["GIT_COMMITTER_EMAIL"] = sender()
        # git normalizes the name; for example, it drops a dot at the end.
        self.who = self.tree.git("var", "GIT_COMMITTER_IDENT", env=self.env).rsplit(" ", 2)[0]

    def commits(self, patches, name):
        """Apply {file: patch} to the base with the sender as author; return the last commit.

        The name of the patches is for error messages.
        """
        with tempfile.TemporaryDirectory(prefix="exithand-send.") as tmp:
            files = [Path(tmp, name, file) for file in sorted(patches)]
            Path(tmp, name).mkdir()
            for file in files:
                header, body = re.split(rb"^From: .*\n(?: .*\n)*", patches[file.name], maxsplit=1, flags=re.MULTILINE)
                file.write_bytes(header + f"From: {self.who}\n".encode() + body)
            return self.tree.am(files)

    def write(self):
        number = version()
        options = ["--cover-letter", "--thread=shallow", "--signoff"]
        if os.environ.get("RFC", "0") not in ("", "0"):
            options.append("--rfc")
        if number > 1:
            earlier = self.commits(tagged(number - 1), f"v{number - 1}")
            # With this factor, range-diff still pairs patches that were largely rewritten.
            options += [f"-v{number}", f"--range-diff=base..{earlier}", "--creation-factor=80"]
        tip = self.commits({p.name: p.read_bytes() for p in series.our_patches()}, series.PATCHES.name)
        names = self.tree.git("format-patch", *series.FORMAT, *options, *self.recipients(),
                              "-o", self.path, f"base..{tip}", env=self.env)
        cover, *patches = map(Path, names.splitlines())
        self.fill_in(cover)
        self.check(patches)

    def recipients(self):
        """Return format-patch's options: To: the maintainers, Cc: reviewers, lists, the letter's Cc:."""
        def ask(*options):
            # No git: the history of the tree has only our commits.
            said = series.run(["perl", "scripts/get_maintainer.pl", "--no-tree", "--no-git",
                               "--no-git-fallback", "--no-rolestats", *options, *series.our_patches()],
                              cwd=self.tree.path, env=dict(self.env, HOME=self.path)).stdout.decode()
            return email.utils.getaddresses(said.splitlines())
        to, options = ask("--no-r", "--no-l"), {}
        if not to:
            raise Wrong("get_maintainer.pl finds no maintainer; add an entry to MAINTAINERS")
        for field, some in ("to", to), ("cc", ask("--no-m") + cover_letter()[1]):
            for name, address in some:
                options.setdefault(address, f"--{field}={email.utils.formataddr((name, address))}")
        return options.values()

    def fill_in(self, cover):
        """Complete format-patch's cover letter, which has the shortlog and the diffstat."""
        subject, _, text = cover_letter()
        # No base-commit: the base is a distribution's package, and its commit exists
        # only in this tree. The package also has files that the kernel's tag lacks.
        kernel, package = re.fullmatch(r"Linux (\S+) \((.*)\)", self.tree.version).groups()
        text += (f"\n\nBase: v{kernel} (as packaged by Debian, {package},\n"
                 "hence no base-commit). There are no prerequisite patches.")
        mail = email.message_from_bytes(cover.read_bytes(), policy=email.policy.default)
        body = mail.get_payload(decode=True).decode()
        mail.set_content(body.replace("*** BLURB HERE ***", text), cte="8bit")
        mail.replace_header("Subject", mail["Subject"].replace("*** SUBJECT HERE ***", subject))
        # git 2.39 does not encode this header.
        mail.replace_header("From", email.utils.formataddr(self.who[:-1].rsplit(" <", 1)))
        cover.write_bytes(mail.as_bytes(unixfrom=True))

    def check(self, patches):
        """Fail unless git am of the mails gives the series, with the sender's sign-off only."""
        applied = self.tree.git("log", "--format=%T", f"base..{self.tree.am(series.our_patches())}").splitlines()
        mailed = self.tree.git("log", "--format=%T %(trailers:key=Signed-off-by,valueonly,separator=%x2C)",
                               f"base..{self.tree.am(patches)}").splitlines()
        if mailed != [f"{tree} {self.who}" for tree in applied]:
            raise Wrong(f"git am of the mails does not give patches/, signed off by {self.who} only")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    mails = Mails(*sys.argv[1:])
    mails.tree.verify()
    series.PATCHES /= SERIES
    series.COVER = series.PATCHES / series.COVER.name
    if not series.COVER.exists():
        raise Problem(f"SERIES={SERIES}: there is no patches/{SERIES}/{series.COVER.name}")
    check_inputs()
    # get_maintainer.pl and the range-diff would see edits that are missing in patches/.
    if mails.tree.git("diff", "--no-renames", "--name-only", "applied"):
        raise Problem(f"{mails.tree.name} has changes that are not in patches/; run make patches")
    mails.write()


if __name__ == "__main__":
    harness.run(main)
