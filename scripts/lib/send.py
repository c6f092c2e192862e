#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Write and check the series as mails.

usage: send.py inputs | write TREE DIR | check TREE DIR   (scripts/verbs/send calls these)

inputs  fail unless FROM, VERSION and RFC are valid, and this repository has that version
        of the series
write   write the mails into DIR
check   fail unless the mails in DIR are correct and give the commits of TREE
"""

import email
import email.header
import email.policy
import email.utils
import os
import re
import sys
import tempfile
from pathlib import Path

import harness
import series
from harness import Problem, TOP

ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@([a-z\d-]+\.)+[a-z\d-]+", re.I | re.A)
# Recipients with these roles in get_maintainer.pl's output go to To:, all others to Cc:.
MAINTAINS = ("maintainer", "supporter", "odd fixer")


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


def rfc():
    given = os.environ.get("RFC", "")
    if given not in ("", "0", "1"):
        raise Problem(f"RFC={given}: give RFC=1, or leave it out")
    return ["--rfc"] * (given == "1")


def own_git(*args, check=True):
    return series.run(["git", "-C", str(TOP), *args], check).stdout


def tagged(number):
    """Return {name: bytes} of the patches in the tag of that version, or None.

    The sender tags each version. The tag is the only record of a sent version.
    """
    tag = f"refs/tags/v{number}"
    if not own_git("rev-parse", "-q", "--verify", tag + "^{commit}", check=False):
        return None
    names = own_git("ls-tree", "-z", "--name-only", tag, "patches/").decode().split("\0")
    return {Path(n).name: own_git("show", f"{tag}:{n}")
            for n in sorted(names) if re.fullmatch(r"patches/\d.*\.patch", n)}


def check_inputs():
    sender()
    rfc()
    number = version()
    if number > 1 and not tagged(number - 1):
        raise Problem(f"VERSION={number}: this repository has no tag v{number - 1} to compare with;"
                      f" git tag v{number - 1} COMMIT, with the commit that was sent")
    if number > 1 and not re.search(rf"^changes (since|from) v{number - 1}\b", cover_letter()[2],
                                    re.I | re.M):
        raise Problem(f"VERSION={number}: patches/0000-cover-letter.txt has no section \"Changes"
                      f" since v{number - 1}\"; list the changes and the reasons there")
    # The tag must name exactly the patches that are sent.
    if own_git("status", "--porcelain", "--", "patches"):
        raise Problem("patches/ has changes that are not committed; commit them, so that"
                      f" the tag v{number} can name what was sent")
    if tagged(number) not in (None, {p.name: p.read_bytes() for p in series.our_patches()}):
        raise Problem(f"tag v{number} holds another series, which was already sent;"
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
        self.tree, self.path = series.Tree(tree), Path(path)
        self.env = series.git_env()
        self.env["GIT_COMMITTER_NAME"], self.env["GIT_COMMITTER_EMAIL"] = sender()
        # git normalizes the name; for example, it drops a dot at the end.
        self.who = self.tree.git("var", "GIT_COMMITTER_IDENT", env=self.env).rsplit(" ", 2)[0]

    def files(self):
        return sorted(self.path.glob("*.patch"))

    def commits(self, patches):
        """Apply {name: patch} to the base with the sender as author; return the last commit."""
        with tempfile.TemporaryDirectory(prefix="exithand-send.") as tmp:
            for name, patch in patches.items():
                header, body = re.split(rb"^From: .*\n(?: .*\n)*", patch, maxsplit=1, flags=re.M)
                Path(tmp, name).write_bytes(header + f"From: {self.who}\n".encode() + body)
            return self.tree.am(sorted(Path(tmp).iterdir()))

    def write(self):
        number = version()
        options = ["--cover-letter", "--thread=shallow", "--signoff", *rfc()]
        if number > 1:
            try:
                earlier = self.commits(tagged(number - 1))
            except series.DoesNotApply as problem:
                raise Problem(f"the series of tag v{number - 1} does not apply to {self.tree.version},"
                              " so there is no range-diff; make one on its own base by hand,"
                              " and send with git format-patch") from problem
            # With this factor, range-diff still pairs patches that were largely rewritten.
            options += [f"-v{number}", f"--range-diff=base..{earlier}", "--creation-factor=80"]
        tip = self.commits({p.name: p.read_bytes() for p in series.our_patches()})
        self.tree.git("format-patch", "--quiet", *series.FORMAT, *options, "-o", str(self.path),
                      f"base..{tip}", env=self.env)
        cover, *patches = self.files()
        self.fill_in(cover)
        to, cc, copies = [], [], cover_letter()[1]
        for patch in patches:
            mine = self.recipients(patch)
            self.address(patch, mine[0], mine[1] + copies)
            to, cc = to + mine[0], cc + mine[1] + copies
        self.address(cover, to, cc)

    def recipients(self, patch):
        """Return ([(name, address)] for To:, the same for Cc:)."""
        # No git: the history of the tree has only our commits.
        said = series.run(["perl", "scripts/get_maintainer.pl", "--no-tree", "--no-git",
                           "--no-git-fallback", "--rolestats", str(patch)], cwd=self.tree.path,
                          env=dict(self.env, HOME=str(self.path))).stdout.decode()
        to, cc, lists = [], [], []
        for line in said.splitlines():
            found = re.match(r"(.+?) \(([a-z ]+)[:)]", line)
            if not found:
                raise Problem(f"a line of get_maintainer.pl is not understood: {line}")
            group = to if found[2] in MAINTAINS else lists if found[2].endswith("list") else cc
            group.append(email.utils.parseaddr(found[1]))
        # Without a maintainer, write to the subsystem's lists, else to linux-kernel.
        return to or [l for l in lists if "linux-kernel@" not in l[1]] or lists, cc + lists

    @staticmethod
    def address(mail, to, cc):
        """Add the recipients to a mail's header, each once and on a separate line."""
        to = dict.fromkeys(to)
        cc = [one for one in dict.fromkeys(cc) if one not in to and one[1] not in [a for _, a in to]]
        # If an address is there both with and without a name, keep the one with a name.
        cc = [one for one in cc if one[0] or one[1] not in [a for n, a in cc if n]]
        header, body = mail.read_bytes().split(b"\n\n", 1)
        for name, some in (("To", to), ("Cc", cc)):
            if some:
                header += f"\n{name}: ".encode() + ",\n ".join(map(email.utils.formataddr, some)).encode()
        mail.write_bytes(header + b"\n\n" + body)

    def fill_in(self, cover):
        """Put our text into git's cover letter, which has the shortlog and the diffstat."""
        subject, _, text = cover_letter()
        # No base-commit: the base is a distribution's package, and its commit exists
        # only in this tree. The package also has files that the kernel's tag lacks.
        kernel, package = re.fullmatch(r"Linux (\S+) \((.*)\)", self.tree.version).groups()
        text += (f"\n\nBase: v{kernel} (as packaged by Debian, {package},\n"
                 "hence no base-commit). There are no prerequisite patches.")
        header, body = cover.read_text().split("\n\n", 1)
        # git 2.39 does not encode these two headers.
        name, address = self.who[:-1].rsplit(" <", 1)
        header = re.sub(r"^From: .*(\n .*)*", lambda _: "From: " + email.utils.formataddr((name, address)),
                        header, flags=re.M)
        subject = subject if subject.isascii() else email.header.Header(subject, "utf-8").encode()
        header = header.replace("*** SUBJECT HERE ***", subject)
        body = body.replace("*** BLURB HERE ***", text)
        if "Content-Type: " not in header:
            header += ("\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8"
                       "\nContent-Transfer-Encoding: 8bit")
        cover.write_text(f"{header}\n\n{body}")

    def check(self):
        """Fail unless git am gives the series, and each mail has a sign-off and recipients.

        (checkpatch tests that the author and the sign-off are the same.)
        """
        cover, *patches = self.files()
        applied, fresh = (self.tree.git("log", "--reverse", "--format=%T", f"base..{c}")
                          for c in ("applied", self.tree.am(patches)))
        wrong = [] if fresh == applied else ["git am of the mails gives other trees than patches/"]
        for file in (cover, *patches):
            mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
            signed = re.findall(r"^Signed-off-by: (.*)$", mail.get_content().split("\n---\n")[0], re.M)
            if file is not cover and signed != [self.who]:
                wrong.append(f"{file.name}: is signed off by {' and '.join(signed) or 'nobody'},"
                             f" not {self.who}")
            if not mail["To"]:
                wrong.append(f"{file.name}: is to nobody")
            wrong += [f"{file.name}: goes to <{one.addr_spec}>, which is no mail address"
                      for field in (mail["To"], mail["Cc"]) if field for one in field.addresses
                      if not ADDRESS.fullmatch(one.addr_spec)]
        if wrong:
            raise Wrong("; ".join(wrong))


def main():
    if sys.argv[1:] == ["inputs"]:
        check_inputs()
    elif sys.argv[1:2] in (["write"], ["check"]) and len(sys.argv) == 4:
        mails = Mails(*sys.argv[2:])
        mails.write() if sys.argv[1] == "write" else mails.check()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    harness.run(main)
