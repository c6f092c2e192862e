#!/usr/bin/env python3
"""The series as mails: who sends it, to whom, as which version.

usage: send.py inputs | write TREE DIR | check TREE DIR   (scripts/verbs/send calls these)

inputs  fail unless FROM, V and RFC are what they must be
write   the mails into DIR; fail unless this repository's tags and patches/ fit V
check   fail unless the mails in DIR are in order, and give the commits of TREE
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

import series
from series import Problem, TOP, run

ODD = "surrogateescape"
USAGE = "make send FROM='Name <address>'"
# What stands in examples and in fresh settings, and is nobody's.
NOBODY = {"your name", "your full name", "name", "full name", "real name", "first last",
          "first name last name", "firstname lastname", "john doe", "jane doe", "anonymous",
          "unknown", "nobody", "noname", "root", "user", "username", "tester", "author",
          "submitter", "developer", "maintainer"}
NO_MAILBOX = re.compile(r"(your.*|name|user|username|address|you|nobody|anonymous|"
                        r".*no-?reply.*|do-?not-?reply)", re.I)
NO_DOMAIN = re.compile(r"(.*\.)?(example\.(com|net|org)|yourdomain\..*|domain\.(com|tld)|"
                       r"no-?reply\..*|(example|invalid|test|localhost|local|localdomain|"
                       r"internal|home|lan))", re.I)
ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@([a-z\d]([a-z\d-]*[a-z\d])?(\.(?!$)|$))+",
                     re.I | re.A)
# Whom get_maintainer.pl names as these is written to; all others get a copy.
MAINTAINS = {"maintainer", "supporter", "odd fixer"}


class Wrong(Problem):
    code = 1


def no_address(address):
    """Why nobody can be reached there, or None."""
    if not ADDRESS.fullmatch(address):
        return "is no mail address"
    local, domain = address.rsplit("@", 1)
    if "." not in domain:
        return "has no dot in its domain"
    if NO_DOMAIN.fullmatch(domain) or NO_MAILBOX.fullmatch(local):
        return "is a placeholder"
    return None


def sender():
    """(name, address) of FROM, if they can be somebody's."""
    given = os.environ.get("FROM", "")
    if not given.strip():
        raise Problem(f"nobody to send it as; {USAGE}")

    def refuse(why):
        raise Problem(f"FROM={given!r}: {why}; {USAGE}")

    if not given.isprintable():
        refuse("that is no printable UTF-8")
    parts = re.fullmatch(r'\s*"?([^<>"]*?)"?\s*<\s*([^<>\s]*)\s*>\s*', given)
    if not parts:
        refuse("that is no name and address")
    name, address = parts[1].strip(), parts[2]
    if not any(c.isalpha() for c in name) or "@" in name:
        refuse("there is no name in it")
    if re.sub(r"[\W_]+", " ", name).strip().casefold() in NOBODY:
        refuse(f"{name!r} is nobody's name")
    why = no_address(address)
    if why:
        refuse(f"<{address}> {why}")
    return name, address


def version():
    """V, where V=1 shows everything, as for all verbs, and is the first version."""
    given = os.environ.get("V", "") or "1"
    if not re.fullmatch(r"[1-9]\d?", given):
        raise Problem(f"V={given}: not a version; V=2 for the second, and so on")
    return int(given)


def rfc():
    given = os.environ.get("RFC", "")
    if given not in ("", "0", "1"):
        raise Problem(f"RFC={given}: give RFC=1, or leave it out")
    return given == "1"


def tagged(number):
    """{name: bytes} of the patches in this repository's tag for that version, or None.

    Whoever sends a version tags it; the tag is the one record of what was sent.
    """
    tag = f"refs/tags/v{number}"
    git = ["git", "-C", str(TOP)]
    if run(git + ["rev-parse", "-q", "--verify", tag + "^{commit}"], check=False).returncode:
        return None
    names = run(git + ["ls-tree", "-z", "--name-only", tag, "patches/"]).stdout.decode().split("\0")
    return {Path(n).name: run(git + ["show", f"{tag}:{n}"]).stdout
            for n in sorted(names) if re.fullmatch(r"patches/\d.*\.patch", n)}


def check_repository():
    number = version()
    if number > 1 and not tagged(number - 1):
        raise Problem(f"V={number}: this repository has no tag v{number - 1} to compare with;"
                      f" git tag v{number - 1} COMMIT, for the commit that was sent")
    if number > 1 and not re.search(rf"^changes (since|from) v{number - 1}\b", cover_letter()[2],
                                    re.I | re.M):
        raise Problem(f"V={number}: patches/0000-cover-letter.txt has no section \"Changes since"
                      f" v{number - 1}\"; say there what has changed, and why")
    # What is sent is what the tag will name.
    changed = run(["git", "-C", str(TOP), "status", "--porcelain", "--", "patches"]).stdout
    if changed:
        raise Problem("patches/ has changes that are not committed; commit them, so that"
                      f" the tag v{number} can name what was sent")
    sent = tagged(number)
    if sent is not None and sent != {p.name: p.read_bytes() for p in series.our_patches()}:
        raise Problem(f"tag v{number} holds another series, that was sent; make send V={number + 1}")


def cover_letter():
    """(subject, [(name, address)] of who gets a copy of all, text) of ours."""
    header, text = series.COVER.read_text().split(series.MARKER)[0].split("\n\n", 1)
    header = email.message_from_string(header)
    subject = re.sub(r"^\[[^]]*\] *", "", header["Subject"] or "")
    return subject, email.utils.getaddresses(header.get_all("Cc", [])), text.strip()


class Mails:
    """The series in TREE, as mails in DIR."""

    def __init__(self, tree, path):
        self.tree, self.path = tree, Path(path)
        name, address = sender()
        self.env = series.git_env()
        for who in ("AUTHOR", "COMMITTER"):
            self.env.update({f"GIT_{who}_NAME": name, f"GIT_{who}_EMAIL": address})
        # As git writes it: some drop a dot at the end, for one.
        self.who = tree.git("var", "GIT_AUTHOR_IDENT", env=self.env).rsplit(" ", 2)[0]

    def files(self):
        return sorted(self.path.glob("*.patch"))

    def signed(self, tip):
        """The commits base..tip again, as the sender's, signed off; the last one."""
        parent = self.tree.commit_id("base")
        for commit in self.tree.series(tip):
            date, message = self.tree.git("log", "-1", "--format=%ad%n%B", "--date=raw",
                                          commit).split("\n", 1)
            message = self.tree.git("interpret-trailers", "--no-divider", "--trailer",
                                    f"Signed-off-by: {self.who}",
                                    input=(message.rstrip("\n") + "\n").encode(errors=ODD))
            parent = self.tree.git("commit-tree", commit + "^{tree}", "-p", parent,
                                   env=dict(self.env, GIT_AUTHOR_DATE=date),
                                   input=message.encode(errors=ODD)).strip()
        return parent

    def earlier(self, number):
        """The series of that version as commits on the same base."""
        with tempfile.TemporaryDirectory(prefix="exithand-earlier.") as tmp:
            for name, patch in tagged(number).items():
                Path(tmp, name).write_bytes(patch)
            try:
                return self.signed(self.tree.am(sorted(Path(tmp).iterdir())))
            except series.DoesNotApply as problem:
                raise Problem(f"the series of tag v{number} does not apply to {self.tree.version},"
                              " so there is no range-diff; make one on its own base by hand,"
                              " and send with git format-patch") from problem

    def write(self):
        check_repository()
        number = version()
        options = ["--cover-letter", "--thread=shallow"]
        if number > 1:
            # A patch that was rewritten in large parts is the same one still.
            options += [f"-v{number}", f"--range-diff=base..{self.earlier(number - 1)}",
                        "--creation-factor=80"]
        if rfc():
            options.append("--rfc")
        self.tree.git("format-patch", "--quiet", *series.FORMAT, *options, "-o", str(self.path),
                      f"base..{self.signed('applied')}", env=self.env)
        cover, *patches = self.files()
        to, cc = {}, {}
        copies = cover_letter()[1]
        for patch in patches:
            mine = self.recipients(patch)
            mine[1].extend(c for c in copies if c[1] not in [a for _, a in mine[0] + mine[1]])
            self.add_header(patch, address_lines(*mine))
            for all_of, some in zip((to, cc), mine):
                all_of.update(dict.fromkeys(some))
        self.fill_in(cover)
        self.add_header(cover, address_lines(to, [a for a in cc if a not in to]))

    def recipients(self, patch):
        """Who is to be written to, and who gets a copy."""
        # No git: what is laid out here has no history, only us.
        said = run(["perl", "scripts/get_maintainer.pl", "--no-tree", "--no-git",
                    "--no-git-fallback", "--rolestats", str(patch)], cwd=self.tree.path,
                   env=dict(self.env, HOME=str(self.path))).stdout.decode()
        to, cc, lists = [], [], []
        for line in said.splitlines():
            found = re.match(r"(.+?) \(([a-z ]+)[:)]", line)
            if not found:
                raise Problem(f"get_maintainer.pl says what is not understood: {line}")
            one = email.utils.parseaddr(found[1])
            if found[2] in MAINTAINS:
                to.append(one)
            elif found[2].endswith("list"):
                lists.append(one)
            else:
                cc.append(one)
        if not to:
            # Nobody maintains it: the list that is about it, else the one that is about all.
            to = [l for l in lists if not l[1].startswith("linux-kernel@")] or lists
        return to, [a for a in cc + lists if a not in to]

    @staticmethod
    def add_header(mail, lines):
        header, body = mail.read_bytes().split(b"\n\n", 1)
        mail.write_bytes(header + b"".join(b"\n" + l.encode() for l in lines) + b"\n\n" + body)

    def fill_in(self, cover):
        """Our text into git's cover letter, which has the shortlog and the diffstat."""
        subject, _, text = cover_letter()
        if not subject.isascii():
            subject = email.header.Header(subject, "utf-8").encode()
        # No base-commit: the base is a distribution's package, the commit that
        # it is laid out as here is nobody else's, and that package differs from
        # the tag in files of the distribution's own. So it is said in words.
        kernel, package = re.fullmatch(r"Linux (\S+) \((.*)\)", self.tree.version).groups()
        text = (f"{text}\n\nBase: v{kernel} (as packaged by Debian, {package},\n"
                "hence no base-commit). There are no prerequisite patches.")
        mail = cover.read_text()
        # git 2.39 does not encode it here.
        sent_by = email.utils.formataddr(tuple(self.who[:-1].rsplit(" <", 1)), "utf-8")
        mail = re.sub(r"^From: .*(\n .*)*", lambda _: f"From: {sent_by}", mail, count=1, flags=re.M)
        for mark, ours in (("*** SUBJECT HERE ***", subject), ("*** BLURB HERE ***", text)):
            mail = mail.replace(mark, ours, 1)
        cover.write_text(mail)
        if not mail.isascii() and "\nContent-Type: " not in mail.split("\n\n", 1)[0]:
            self.add_header(cover, ["MIME-Version: 1.0", "Content-Type: text/plain; charset=UTF-8",
                                    "Content-Transfer-Encoding: 8bit"])

    def check(self):
        cover, *patches = self.files()
        applied, fresh = (self.tree.git("log", "--reverse", "--format=%T", f"base..{c}")
                          for c in ("applied", self.tree.am(patches)))
        wrong = [] if fresh == applied else ["git am of the mails gives other trees than patches/"]
        mails = {f.name: email.message_from_bytes(f.read_bytes(), policy=email.policy.default)
                 for f in (cover, *patches)}
        for name, mail in mails.items():
            wrong += [f"{name}: {what}" for what in self.amiss(mail, name == cover.name)]
            if name != cover.name and (mail["In-Reply-To"] or "") != mails[cover.name]["Message-ID"]:
                wrong.append(f"{name}: is no reply to the cover letter")
        if wrong:
            raise Wrong("; ".join(wrong))

    def amiss(self, mail, is_cover):
        """What is not in order in that mail."""
        if plain(mail["From"].addresses) != [self.who]:
            yield f"is from {mail['From']}, not {self.who}"
        text = mail.get_content()
        signed = re.findall(r"^Signed-off-by: (.*)$", text.split("\n---\n")[0], re.M)
        if not is_cover and signed != [self.who]:
            yield f"is signed off by {' and '.join(signed) or 'nobody'}, not {self.who}"
        if is_cover and re.search(r"\*\*\* [A-Z]+ HERE \*\*\*", mail["Subject"] + text):
            yield "is not filled in"
        to = mail["To"].addresses if mail["To"] else ()
        if not to:
            yield "is to nobody"
        for one in (*to, *(mail["Cc"].addresses if mail["Cc"] else ())):
            if no_address(one.addr_spec):
                yield f"goes to <{one.addr_spec}>, which {no_address(one.addr_spec)}"


def plain(addresses):
    return [f"{a.display_name} <{a.addr_spec}>" for a in addresses]


def address_lines(to, cc):
    """Headers, with one address a line."""
    return [f"{name}: " + ",\n ".join(email.utils.formataddr(a, "utf-8") for a in addresses)
            for name, addresses in (("To", to), ("Cc", cc)) if addresses]


def main():
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb == "inputs" and len(sys.argv) == 2:
        sender()
        version()
        rfc()
    elif verb in ("write", "check") and len(sys.argv) == 4:
        mails = Mails(series.Tree(sys.argv[2]), sys.argv[3])
        mails.write() if verb == "write" else mails.check()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main()
    except Problem as problem:
        print(f"exithand: {problem}", file=sys.stderr)
        sys.exit(problem.code)
