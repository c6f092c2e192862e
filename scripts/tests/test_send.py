# SPDX-License-Identifier: GPL-2.0
"""make send, with scripts in place of the kernel's tools."""

import email
import email.policy

import pytest
from common import git, script, series, verb, write

FROM = "Ñandú, Ümit <umit@kernel.org>"
MAINTAINER = r"""
$_ = "@ARGV ";
die unless /0001-.* .*0002-/;
print "Nobody's <it\@kernel.org>\n" unless /--no-m /;
print "\"Paul E. Ö\" <p\@kernel.org>\n" unless /--no-r /;
print "l\@kernel.org\nit\@kernel.org\n" unless /--no-l /;
"""
COVER = "Subject: [PATCH 0/9] proc: ä\nCc: api@kernel.org, p@kernel.org\n\nTëxt.\n"


def fold(top):
    series(top, "fold")
    git(top, "add", ".")
    git(top, "commit", "-q", "--allow-empty", "-m", "series")


@pytest.fixture(name="top")
def sent_repository(small_repository):
    top = small_repository
    script(top / "scripts/verbs/tree", "")
    git(top, "init", "-q")
    write(top / ".gitignore", "/build/\n/cache/\n__pycache__\n")
    write(top / "patches/0000-cover-letter.txt", COVER)
    write(top / "build/linux/scripts/get_maintainer.pl", MAINTAINER)
    write(top / "build/linux/scripts/checkpatch.pl", "")
    write(top / "build/linux/.git/info/exclude", "/scripts/\n")
    fold(top)
    return top


def send(top, **env):
    """Run make send. Return what it says, and the mails."""
    done = verb(top, "verbs/send", code=0, **{"FROM": FROM, **env})
    mails = [file.read_bytes() for file in sorted((top / "build/outgoing").iterdir())]
    assert all(mail.split(b"\n\n", 1)[0].isascii() for mail in mails)
    return done.out, [email.message_from_bytes(mail, policy=email.policy.default) for mail in mails]


def refused(top, code, **env):
    """make send must fail and not change its mails. Return its last line."""
    before = sorted((top / "build").glob("outgoing/*"))
    said = verb(top, "verbs/send", code=code, **{"FROM": FROM, **env}).err
    assert sorted((top / "build").glob("outgoing/*")) == before
    assert said.splitlines()[-1].startswith("exithand: "), said
    return said.splitlines()[-1]


@pytest.mark.parametrize("sender", [
    "", "Name <address>", "Kim Doe", "Kim Doe <kim@kernel>", "<kim@kernel.org>", "... <kim@kernel.org>",
    "Kim Doe <kim@kernel..org>", "Kim Doe <kim@kernel.org> <x@kernel.org>", "Kim\nDoe <kim@kernel.org>"])
def test_wrong_sender(monkeypatch, sender):
    import send as module
    monkeypatch.setenv("FROM", sender)
    with pytest.raises(module.Problem, match="make send FROM="):
        module.sender()
    monkeypatch.setenv("FROM", '"O\'Nobody, 毛" <name.less+lk@k-1.kernel.org>')
    assert module.sender() == ("O'Nobody, 毛", "name.less+lk@k-1.kernel.org")


def test_send(top):
    said, (cover, first, second) = send(top)
    assert f"git send-email --from='{FROM}'" in said
    for mail in (cover, first, second):
        assert str(mail["From"]) == '"Ñandú, Ümit" <umit@kernel.org>'
        assert str(mail["To"]) == "Nobody's <it@kernel.org>"
        assert str(mail["Cc"]) == '"Paul E. Ö" <p@kernel.org>, l@kernel.org, api@kernel.org'
    for mail in (first, second):
        assert mail.get_content().count(f"\n\nSigned-off-by: {FROM}\n---\n") == 1
        assert mail["In-Reply-To"] == cover["Message-ID"]
    assert (first["Subject"], cover["Subject"]) == ("[PATCH 1/2] proc: add exithand", "[PATCH 0/2] proc: ä")
    text = "\n" + cover.get_content()
    for part in ("\nTëxt.\n\nBase: v7.3.4 (", "linux-source-7.3 7.3.4-1", "Ñandú, Ümit (2):",
                 "rust: add queue", "3 files changed"):
        assert part in text
    tree = top / "build/linux"
    git(tree, "checkout", "-q", "base")
    git(tree, "am", "-q", *sorted((top / "build/outgoing").glob("000[12]*")))
    assert git(tree, "diff", "applied") == ""
    assert "Signed-off" not in (top / "patches/0001-proc-add-exithand.patch").read_text()
    # make send does not delete a file that it did not write.
    write(top / "build/outgoing/letter.txt", "")
    assert "letter.txt" in refused(top, 6)


def test_another_series(top):
    for patch in list((top / "patches").glob("0*")):
        write(top / "patches/fixes" / patch.name, patch.read_text().replace("proc: add", "proc: fix"))
    fold(top)
    said, (_, first, _) = send(top, SERIES="fixes", OUT=str(top / "build/outgoing"))
    assert first["Subject"] == "[PATCH 1/2] proc: fix exithand"
    assert "git tag -a fixes-v1" in said
    assert "there is no patches/other/" in refused(top, 6, SERIES="other")


def test_complaints(top):
    tree = top / "build/linux"
    # If make send fails, the earlier mails stay.
    write(top / "build/outgoing/0001-old.patch", "")
    for name, text, code, said in (
            ("build/linux/scripts/get_maintainer.pl", "", 1, "finds no maintainer"),
            ("build/linux/scripts/checkpatch.pl", "exit(1);", 1, "checkpatch"),
            ("build/linux/fs/proc/base.c", "other\n", 6, "not in patches/"),
            ("patches/0000-cover-letter.txt", "Subject: x\n\nText.\n", 6, "not committed")):
        before, mode = (top / name).read_text(), (top / name).stat().st_mode
        write(top / name, text, mode)
        assert said in refused(top, code)
        write(top / name, before, mode)
    git(tree, "commit", "-q", "--amend", "-m", "rust: add queue\n\nSigned-off-by: A <a@kernel.org>")
    fold(top)
    assert "only" in refused(top, 1)


def test_versions(top):
    assert "not a version" in refused(top, 6, VERSION="0")
    assert "no tag v1" in refused(top, 6, VERSION="2")
    # The first version has a third patch, which does not apply.
    patch = (top / "patches/0002-rust-add-queue.patch").read_text()
    third = top / "patches/0003-rust-more.patch"
    write(third, patch.replace("new file mode 100644\n", "").replace("/dev/null", "a/rust/kernel/queue.rs"))
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "as sent")
    git(top, "tag", "-a", "v1", "-m", "as sent")
    third.unlink()
    write(top / "fs-proc-exithand/exithand.rs", "// one\n// zwei\n// three\n")
    fold(top)
    assert "VERSION=2" in refused(top, 6)
    assert "Changes since v1" in refused(top, 6, VERSION="2")
    write(top / "patches/0000-cover-letter.txt",
          COVER + "\nChanges since v1\n================\n\nThat two is zwei.\n")
    fold(top)
    assert "v1/0003-rust-more.patch does not apply to Linux 7.3.4" in refused(top, 11, VERSION="2")
    git(top, "tag", "-f", "v1", "HEAD~3")
    # V makes the output verbose. It is not the version.
    _, (cover, first, _) = send(top, VERSION="2", RFC="1", V="1")
    assert first["Subject"] == "[RFC PATCH v2 1/2] proc: add exithand"
    text = cover.get_content()
    for part in ("That two is zwei.", "Range-diff against v1:\n1:  ", "    -+// two\n", "++// zwei\n"):
        assert part in text
    # The range-diff does not show the sender and the sign-off.
    assert "Signed-off-by" not in text
