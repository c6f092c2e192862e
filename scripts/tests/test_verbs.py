# SPDX-License-Identifier: GPL-2.0
"""The longer verbs: each, send, regress and mutants.

Small scripts replace the kernel's build, its tools and the virtual machine.
"""

import email
import email.policy
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from common import CONSOLE, OOPS, commit, copy_harness, git, kernel, script, verb, wait_for, write

KTAP = """\
TAP version 13
1..1
# selftests: proc: proc-exithand
# TAP version 13
# 1..1
# ok 1 global.read_waits
ok 1 selftests: proc: proc-exithand
"""
# In place of vm.py: runs HOOK, and leaves the files of a guest.
MACHINE = f"""\
import os, pathlib, subprocess, sys
run = pathlib.Path(sys.argv[sys.argv.index("--dir") + 1])
(run / "console.log").write_text({CONSOLE!r})
(run / "end").write_text("ended\\ntcg\\n9.0\\n")
(run / "status").write_text(os.environ.get("ENDS", "0"))
(run / "test.ktap").write_text({KTAP!r})
os.environ["run"] = str(run)
sys.exit(subprocess.call(["bash", "-c", os.environ.get("HOOK", "")]))
"""


def clone(top, *fakes):
    """Copy the harness to TOP, without sources. The scripts FAKES are replaced by empty ones."""
    if not (top / "scripts").exists():
        copy_harness(top)
    for name in ("lib/setup", "verbs/tree", *fakes):
        script(top / "scripts" / name, "")
    write(top / "scripts/lib/vm.py", MACHINE)
    return top


def run(top, name, code=0, **env):
    """Run a verb, which must end with this code (None: any). Return its stdout and stderr."""
    done = verb(top, f"verbs/{name}", **env)
    assert code in (None, done.code), done.out + done.err
    return done.out, done.err


# -- each -------------------------------------------------------------------

BUILD = """\
. "${BASH_SOURCE[0]%/*}/lib.sh"
mkdir -p "$obj/tests/proc" "$build/logs"
echo CONFIG_PROC_EXITHAND=y >"$obj/.config"
echo proc:proc-exithand >"$obj/tests/kselftest-list.txt"
echo "  CC      $CONFIG" >"$build/logs/kernel-$CONFIG-each.log"
: >"$build/logs/selftests.log"
# A compiler warns once.
[ "$CONFIG" != "${WARNS:-}" ] || [ -e "$obj/built" ] ||
	echo "kernel/fork.c:1:1: warning: $CONFIG" >>"$build/logs/kernel-$CONFIG-each.log"
touch "$obj/built"
[ "$CONFIG" != "${BREAKS:-}" ] || { echo "exithand: the kernel does not build: x" >&2; exit 11; }
eval "${AT_BUILD:-}"
"""
MAKE = """\
[ "$*" != "${*%C=2*}" ] && ! [ "${NO_SPARSE:-}" ] && echo "  CHECK   ../kernel/fork.c"
echo "  CC      kernel/fork.o"
echo "  CLIPPY L rust/kernel.o"
"""
TOOL = """\
[ "$1" = --version ] || exec cat >/dev/null
echo 1.0
"""
TEST = "tools/testing/selftests/proc/proc-exithand.c"


def series_of(tree, fork="int fork, more;\n", message="one"):
    """Two patches: C code with the option, then a selftest."""
    git(tree, "reset", "-q", "--hard", "base")
    commit(tree, message, **{"kernel/fork.c": fork, "fs/proc/Kconfig": "config PROC_EXITHAND\n"})
    commit(tree, "two", **{TEST: "int main;\n"})
    git(tree, "tag", "-f", "applied")


@pytest.fixture
def for_each(tmp_path):
    clone(tmp_path, "lib/build")
    script(tmp_path / "scripts/lib/build", BUILD)
    for name in ("clang", "ld.lld", "rustc", "rustfmt", "rustdoc", "bindgen", "sparse", "codespell",
                 "sphinx-build", "qemu-system-x86_64", "clippy-driver"):
        script(tmp_path / "cache/tools/bin" / name, TOOL)
    script(tmp_path / "cache/tools/bin/make", MAKE)
    tree = kernel(tmp_path, "base", **{
        "kernel/fork.c": "int fork;\n", "fs/proc/Kconfig": "menu\n", "scripts/checkpatch.pl": "exit 0\n",
        "MAINTAINERS": "", "scripts/checker-valid.sh": "echo 1\n",
        "scripts/get_maintainer.pl": "print 'a@localhost'\n",
        "tools/docs/kernel-doc": "\n", "tools/lib/python/kdoc": "\n"})
    series_of(tree)
    git(tree, "format-patch", "-q", "-o", tmp_path / "patches", "base")
    write(tmp_path / "tools-testing-selftests/proc/proc-exithand.c", "int main;\n")
    return tmp_path


def row(table, gate):
    return next(line for line in table.splitlines() if line.startswith(gate + " ")).split()[1:]


def test_each(for_each):
    table, _ = run(for_each, "each")
    assert row(table, "default") == ["ok", "ok"]
    assert row(table, "lint") == ["ok", "-"]
    assert row(table, "tests") == ["-", "ok"]
    assert "0 failed" in table
    assert (for_each / "build/results/each.txt").read_text() == table
    # Gates that have passed do not run again.
    again, said = run(for_each, "each")
    assert again == table and "patch" not in said
    # A gate runs again after a change of what it depends on.
    series_of(for_each / "build/linux", message="ONE")
    _, said = run(for_each, "each")
    assert "1 of 1: patch 1, checkpatch" in said
    with (for_each / "qemu-config/demo").open("a") as demo:
        demo.write("#\n")
    assert "patch 1, default" in run(for_each, "each", PATCH="1")[1]
    for number in ("0", "3", "x"):
        assert "give a number from 1 to 2" in run(for_each, "each", 6, PATCH=number)[1]


def test_each_does_not_forget_a_warning(for_each):
    for _ in range(2):
        table, _ = run(for_each, "each", 1, WARNS="default")
        assert row(table, "default")[0] == "FAIL"
        assert "1 default: kernel/fork.c:1:1: warning: default" in table
    run(for_each, "each")


@pytest.mark.parametrize("env, code, rows", [
    ({"BREAKS": "rt"}, 11, {"rt": ["-", "FAIL"], "up": ["-", "ok"], "boots": ["ok", "ok"]}),
    # The demonstration fails.
    ({"ENDS": "1"}, 1, {"boots": ["FAIL", "FAIL"]}),
    # sparse is not run.
    ({"NO_SPARSE": "1"}, 6, {"lint": ["FAIL", "-"]})])
def test_each_failures(for_each, env, code, rows):
    table, _ = run(for_each, "each", code, **env)
    assert {gate: row(table, gate) for gate in rows} == rows


def test_each_while_the_series_changes(for_each):
    """If the series changes meanwhile, the results of the old commits are not used for the new ones."""
    tree = for_each / "build/linux"
    series_of(tree, fork="does not build\n")
    new = git(tree, "rev-parse", "HEAD").strip()
    series_of(tree)
    run(for_each, "each", None, AT_BUILD=f'[ "$CONFIG" != default ] || git -C {tree} tag -f applied {new}')
    assert git(tree, "rev-parse", "applied").strip() == new
    table, said = run(for_each, "each", 11, BREAKS="default")
    assert row(table, "default") == ["FAIL", "FAIL"], table + said


def test_each_is_interrupted(for_each):
    """Ctrl-C while a guest runs leaves no directory of a run."""
    with open(for_each / "said", "w", encoding="utf-8") as said:
        each = subprocess.Popen([for_each / "scripts/verbs/each"], start_new_session=True, stdout=said,
                                stderr=said, env=os.environ | {
                                    "EXITHAND_CACHE": str(for_each / "cache"),
                                    "HOOK": f"touch {for_each}/runs; exec sleep 30"})
    wait_for(for_each / "runs", each)
    os.killpg(each.pid, signal.SIGINT)
    assert each.wait(timeout=100) in (130, -signal.SIGINT)
    assert "Traceback" not in (for_each / "said").read_text()
    assert not list((for_each / "build").glob("run.*"))


# -- send -------------------------------------------------------------------

FROM = "Ñandú, Ümit <umit@kernel.org>"
GIT = f"""\
case " $* " in
*" --exec-path "*) echo ${{0%/*}} ;;
*" send-email "*) printf '%s\\n' "$@" | sed -n 's/.*\\.patch/Dry-Sent &/p' ;;
*) exec {shutil.which("git")} "$@" ;;
esac
"""
MAINTAINER = r"""
$_ = "@ARGV ";
die unless /0001-.* .*0002-/;
print "Nobody's <it\@kernel.org>\n" unless /--no-m /;
print "\"Paul E. Ö\" <p\@kernel.org>\n" unless /--no-r /;
print "l\@kernel.org\nit\@kernel.org\n" unless /--no-l /;
"""


def own_commit(top):
    git(top, "add", ".")
    git(top, "commit", "-q", "--allow-empty", "-m", "series")


def fold(top):
    subprocess.run([sys.executable, top / "scripts/lib/series.py", "fold", top / "build/linux"], check=True)
    own_commit(top)


@pytest.fixture
def for_send(small_repository):
    top = clone(small_repository)
    tree = top / "build/linux"
    git(top, "init", "-q")
    write(top / ".gitignore", "/build/\n/cache/\n__pycache__\n")
    write(top / "patches/0000-cover-letter.txt",
          "Subject: [PATCH 0/9] proc: ä\nCc: api@kernel.org, p@kernel.org\n\nTëxt.\n")
    script(top / "cache/tools/bin/git", GIT)
    script(top / "cache/tools/bin/git-send-email", "")
    write(tree / "scripts/get_maintainer.pl", MAINTAINER)
    write(tree / "scripts/checkpatch.pl", "")
    write(tree / ".git/info/exclude", "/scripts/\n")
    own_commit(top)
    return top


def send(top, code=0, **env):
    return run(top, "send", code, **{"FROM": FROM, **env})


def mails(top):
    files = sorted((top / "build/outgoing").iterdir())
    for file in files:
        assert file.read_bytes().split(b"\n\n", 1)[0].isascii(), file
    return [email.message_from_bytes(f.read_bytes(), policy=email.policy.default) for f in files]


def refused(top, code, **env):
    """make send must fail and not change its mails. Return its last line."""
    before = sorted((top / "build").glob("outgoing/*"))
    _, said = send(top, code, **env)
    assert sorted((top / "build").glob("outgoing/*")) == before
    assert said.splitlines()[-1].startswith("exithand: "), said
    return said.splitlines()[-1]


@pytest.mark.parametrize("sender, right", [
    ("", False), ("Name <address>", False), ("Kim Doe", False), ("Kim Doe kim@kernel.org", False),
    ("Kim Doe <>", False), ("Kim Doe <kim>", False), ("Kim Doe <kim@kernel>", False),
    ("<kim@kernel.org>", False), ("kim@kernel.org <kim@kernel.org>", False), ("... <kim@kernel.org>", False),
    ("Kim Doe <kim@kernel..org>", False), ("Kim Doe <kïm@kernel.org>", False),
    ("Kim Doe <kim@kernel.org> <x@kernel.org>", False), ("Kim\nDoe <kim@kernel.org>", False),
    ("Kim Doe <kim.doe+lk@mail.kernel.org>", True), ("毛 <m@kernel.org>", True),
    ('"O\'Nobody, E." <name.less@k-1.org>', True)])
def test_send_from(monkeypatch, sender, right):
    import send as module
    monkeypatch.setenv("FROM", sender)
    if right:
        assert len(module.sender()) == 2
        return
    with pytest.raises(module.Problem, match="make send FROM="):
        module.sender()


def test_send(for_send):
    said, _ = send(for_send)
    assert f"git send-email --from='{FROM}'" in said
    cover, first, second = mails(for_send)
    for mail in (cover, first, second):
        assert [(a.display_name, a.addr_spec) for a in mail["From"].addresses] == [
            ("Ñandú, Ümit", "umit@kernel.org")]
        assert str(mail["To"]) == "Nobody's <it@kernel.org>"
        assert str(mail["Cc"]) == '"Paul E. Ö" <p@kernel.org>, l@kernel.org, api@kernel.org'
    for mail in (first, second):
        assert mail.get_content().count(f"\n\nSigned-off-by: {FROM}\n---\n") == 1
        assert mail["In-Reply-To"] == cover["Message-ID"]
    assert first["Subject"] == "[PATCH 1/2] proc: add exithand"
    assert cover["Subject"] == "[PATCH 0/2] proc: ä"
    text = "\n" + cover.get_content()
    for part in ("\nTëxt.\n\nBase: v7.3.4 (", "linux-source-7.3 7.3.4-1", "Ñandú, Ümit (2):",
                 "rust: add queue", "3 files changed"):
        assert part in text
    assert "base-commit:" not in text
    tree = for_send / "build/linux"
    git(tree, "checkout", "-q", "base")
    git(tree, "am", "-q", *sorted((for_send / "build/outgoing").glob("000[12]*")))
    assert git(tree, "diff", "applied") == ""
    assert "Signed-off" not in (for_send / "patches/0001-proc-add-exithand.patch").read_text()
    # make send does not delete a file that it did not write.
    write(for_send / "build/outgoing/letter.txt", "")
    assert "letter.txt" in refused(for_send, 6)


def test_send_complaints(for_send):
    tree = for_send / "build/linux"
    # If make send fails, the earlier mails stay.
    write(for_send / "build/outgoing/0001-old.patch", "")
    write(tree / "scripts/get_maintainer.pl", "")
    assert "finds no maintainer" in refused(for_send, 1)
    write(tree / "scripts/get_maintainer.pl", MAINTAINER)
    write(tree / "scripts/checkpatch.pl", "exit(1);")
    assert "checkpatch" in refused(for_send, 1)
    write(tree / "scripts/checkpatch.pl", "exit(grep { /no-signoff/ } @ARGV);")
    script(for_send / "cache/tools/bin/git", GIT.replace("s/.*", "s/.*0002.*"))
    assert "send-email does not take" in refused(for_send, 6)
    (for_send / "cache/tools/bin/git-send-email").unlink()
    assert "no git send-email" in refused(for_send, 6)


def test_send_sign_off_of_another(for_send):
    git(for_send / "build/linux", "commit", "-q", "--amend", "-m",
        "rust: add queue\n\nSigned-off-by: A <a@kernel.org>")
    fold(for_send)
    assert "only" in refused(for_send, 1)


def test_send_only_what_is_committed(for_send):
    write(for_send / "build/linux/fs/proc/base.c", "other\n")
    assert "not in patches/" in refused(for_send, 6)
    git(for_send / "build/linux", "checkout", "-q", ".")
    write(for_send / "patches/0000-cover-letter.txt", "Subject: x\n\nText.\n")
    assert "not committed" in refused(for_send, 6)


def test_send_versions(for_send):
    for number in ("0", "x"):
        assert "not a version" in refused(for_send, 6, VERSION=number)
    assert "no tag v1" in refused(for_send, 6, VERSION="2")
    git(for_send, "tag", "-a", "v1", "-m", "as sent")
    write(for_send / "fs-proc-exithand/exithand.rs", "// one\n// zwei\n// three\n")
    fold(for_send)
    assert "VERSION=2" in refused(for_send, 6)
    assert "Changes since v1" in refused(for_send, 6, VERSION="2")
    write(for_send / "patches/0000-cover-letter.txt", "Subject: proc: exithand\n\nText.\n\n"
          "Changes since v1\n================\n\nThat two is zwei.\n")
    own_commit(for_send)
    # V makes the output verbose. It is not the version.
    said, _ = send(for_send, VERSION="2", RFC="1", V="1")
    assert "git tag -a v2" in said
    cover, first, _ = mails(for_send)
    assert first["Subject"] == "[RFC PATCH v2 1/2] proc: add exithand"
    text = cover.get_content()
    assert "That two is zwei." in text and "Range-diff against v1:\n1:  " in text
    assert "    -+// two\n" in text and "++// zwei\n" in text
    # The range-diff does not show the sender and the sign-off.
    assert "Signed-off-by" not in text


def test_send_after_a_longer_version_that_does_not_apply(for_send):
    tree = for_send / "build/linux"
    commit(tree, "proc: more", **{"fs/proc/more.c": "more\n"})
    fold(for_send)
    last = next((for_send / "patches").glob("0003-*"))
    text = last.read_text()
    write(last, text.replace("new file mode 100644\n", "").replace("--- /dev/null", "--- a/fs/proc/more.c"))
    own_commit(for_send)
    git(for_send, "tag", "v1")
    write(last, text)
    git(tree, "reset", "-q", "--hard", "HEAD^")
    write(for_send / "patches/0000-cover-letter.txt", "Subject: proc\n\nText.\n\nChanges since v1\n====\n\nLess.\n")
    fold(for_send)
    assert "v1/0003-proc-more.patch does not apply to Linux 7.3.4" in refused(for_send, 11, VERSION="2")


# -- regress ----------------------------------------------------------------

GOOD = {"proc/read": "pass", "proc/self/a.b": "fail", "proc/lazy": "skip", "cgroup/test_kill/tree": "pass"}


@pytest.fixture
def compare(program, tmp_path):
    def run_compare(*rounds):
        """Compare rounds of {side: (codes, tests)}. Return the status, the table and the options."""
        for old in tmp_path.glob("*.json"):
            old.unlink()
        for number, sides in enumerate(rounds, 1):
            for side, (codes, tests) in sides.items():
                write(tmp_path / f"regress-{side}-{number}.json", json.dumps({"codes": codes, "tests": [
                    {"name": name, "program": ":".join(name.split("/")[:2]), "result": result}
                    for name, result in tests.items()]}))
        done = program("lib/regress.py", tmp_path, "proc", "cgroup:test_kill")
        return done.code, (tmp_path / "regress.txt").read_text(), done.out
    return run_compare


@pytest.mark.parametrize("name, result, status", [
    ("proc/read", "fail", 1), ("proc/read", "skip", 1), ("proc/read", None, 1), ("proc/new", "fail", 1),
    ("proc/lazy", "fail", 1), ("proc/lazy", None, 0), ("proc/self/a.b", "pass", 0),
    ("proc/self/a.b", "fail", 0), ("proc/new", "skip", 0), ("proc/proc-exithand/x", "fail", 0)])
def test_regress(compare, name, result, status):
    patched = {k: v for k, v in {**GOOD, name: result}.items() if v}
    both = {"base": ([1], GOOD), "patched": ([1], patched)}
    code, said, again = compare(both)
    assert code == status, said
    assert (f"WORSE: {name}: " in said) == bool(status)
    assert ("fails on both: proc/self/a.b" in said) == (patched.get("proc/self/a.b") == "fail")
    assert again == (f"-t {name.replace('/', ':')}\n" if status else "")
    if status and result:
        # A test that passes when it runs again is not worse.
        assert compare(both, {"base": ([], {}), "patched": ([], {name: "pass"})})[0] == 0


@pytest.mark.parametrize("base, patched, status", [
    ([4], [1], 6), ([1], [5], 6), ([1], [1, 3], 6), ([7], [1], 6), ([3], [3], 0), ([], None, 6)])
def test_regress_no_measure(compare, base, patched, status):
    both = {"base": (base, GOOD)} | ({"patched": (patched, GOOD)} if patched else {})
    assert compare(both)[0] == status


def test_regress_suite_that_did_not_run(compare):
    side = ([], {"proc/read": "pass"})
    code, said, _ = compare({"base": side, "patched": side})
    assert code == 6 and "no test of cgroup:test_kill ran" in said


# -- mutants ----------------------------------------------------------------

CAUGHT_BY = "Caught-by: proc-exithand global.poll_* still waits\n"
RUN = "Run: proc-exithand global.*\n"
RED = """\
TAP version 13
1..1
# selftests: proc: proc-exithand
# TAP version 13
# 1..2
# ok 1 global.read_waits
# # proc-exithand.c:99:poll_waits:poll: still waits after the exit
# # poll_waits: Test terminated by assertion
# not ok 2 global.poll_waits
not ok 1 selftests: proc: proc-exithand # exit=1
"""
GREEN = RED.replace("not ok", "ok").replace("still waits", "fine").replace(" # exit=1", "")


@pytest.fixture
def judge_mutant(tmp_path, monkeypatch, capsys, program):
    import mutant
    for name, value in (("MUTANTS", tmp_path / "patches"), ("RESULTS", tmp_path)):
        monkeypatch.setattr(mutant, name, value)
    (tmp_path / "mutants").mkdir()

    def judge(header=CAUGHT_BY, ktap=RED, console=CONSOLE, end="ended", vm_end=0):
        """Return the exit code and the line that is printed."""
        write(tmp_path / "patches/one.patch", f"What.\n\n{header}\n--- a/x\n+++ b/x\n")
        run = tmp_path / "run"
        for name, text in (("console.log", console), ("test.ktap", ktap), ("status", "0"),
                           ("end", end + "\n")):
            write(run / name, text)
        try:
            one = mutant.Mutant("one")
        except mutant.Problem as problem:
            return problem.code, str(problem)
        program("lib/verdict.py", "test", "--dir", run, "--vm-end", vm_end, "--results", run / "results")
        one.record(*mutant.judge(one, run), 1)
        code = mutant.summary()
        return code, capsys.readouterr().out
    return judge


@pytest.mark.parametrize("code, says, what", [
    (0, "ok    one: caught by proc-exithand global.poll_waits (1 s)\n1 passed, 0 failed\n", {}),
    (1, "FAIL  one: not caught", {"ktap": GREEN}),
    (1, "something else", {"ktap": RED.replace("still waits", "woken")}),
    (3, "something else", {"ktap": GREEN, "console": CONSOLE + OOPS}),
    (3, "but also", {"console": CONSOLE + OOPS}),
    (1, "time limit", {"ktap": RED.replace("by assertion", "by timeout")}),
    (10, "skipped", {"ktap": RED.replace("ok 1 global.read_waits", "ok 1 global.read_waits # SKIP x")}),
    (8, "1 of 2 tests", {"ktap": RED.replace("# ok 1 global.read_waits\n", "")}),
    (7, "no failure", {"ktap": ""}),
    (4, "did not end in time", {"vm_end": 4}),
    (0, "caught by the kernel: BUG: kernel NULL", {
        "header": RUN + "Caught-by: console NULL\n", "ktap": "", "console": CONSOLE + OOPS, "end": "died"}),
    (1, "no failure of console NULL", {"header": RUN + "Caught-by: console NULL\n", "ktap": GREEN}),
    (0, "2 tests passed", {"header": RUN + "Control: yes\n", "ktap": GREEN}),
    (1, "poll_waits failed: proc-exithand.c:99:", {"header": RUN + "Control: yes\n"}),
    (6, "not both", {"header": CAUGHT_BY + "Control: yes\n"}),
    (6, "not both", {"header": RUN}),
    (6, "unclear line", {"header": CAUGHT_BY + "Caughtby: x\n"}),
    (6, "unclear line", {"header": "Caught-by: proc-exithand\n"}),
    (6, "names no tests", {"header": "Caught-by: console NULL\n"})])
def test_mutant(judge_mutant, code, says, what):
    found, said = judge_mutant(**what)
    assert found == code and says in said


MUTANT_BUILD = """\
. "${BASH_SOURCE[0]%/*}/lib.sh"
mkdir -p "$obj/tests/proc" "$obj/arch/x86/boot" "$build/logs"
cp "$src/kernel/fork.c" "$obj/arch/x86/boot/bzImage"
: >"$obj/.config" >"$build/logs/kernel-$CONFIG-mutant.log"
cat >"$obj/tests/proc/proc-exithand" <<END
#!/bin/sh
echo '# FIXTURE             VARIANT                   TEST'
echo 'global                                          read_waits'
echo '                                                poll_waits'
END
chmod +x "$obj/tests/proc/proc-exithand"
"""


def test_mutants(tmp_path):
    """One mutant is caught, one is missed, one does not apply."""
    clone(tmp_path, "lib/build", "lib/series.py")
    tree = kernel(tmp_path, "base", **{"kernel/fork.c": "int fork;\n"})
    write(tree / ".git/exithand-synced", "")
    script(tmp_path / "scripts/lib/build", MUTANT_BUILD)
    patch = "--- a/kernel/fork.c\n+++ b/kernel/fork.c\n@@ -1 +1 @@\n-int {};\n+int {};\n"
    for name, old, new in (("caught", "fork", "a"), ("missed", "fork", "b"), ("broken", "other", "c")):
        write(tmp_path / f"scripts/mutants/{name}.patch",
              f"What.\n\n{CAUGHT_BY}\n" + patch.format(old, new))
    write(tmp_path / "green.ktap", GREEN)
    write(tmp_path / "red.ktap", RED)
    hook = f"""
        grep -q "KSELFTEST_PROC_EXITHAND_ARGS='-r .*poll_waits'.* 'proc:proc-exithand'" $run/cmd || exit
        cp {tmp_path}/green.ktap $run/test.ktap
        ! grep -q 'int a' {tmp_path}/build/linux-mutant/kernel/fork.c || cp {tmp_path}/red.ktap $run/test.ktap
        """
    table, said = run(tmp_path, "mutants", 1, HOOK=hook)
    lines = [line.rsplit(" (", 1)[0] for line in table.splitlines()]
    assert lines[0] == "ok    none: 2 tests passed", table + said
    assert lines[1].startswith("FAIL  broken: does not apply: error: patch failed")
    assert lines[2:] == ["ok    caught: caught by proc-exithand global.poll_waits",
                         f"FAIL  missed: not caught: no failure of {CAUGHT_BY[11:-1]}; 2 tests passed",
                         "2 passed, 2 failed"]
    assert (tree.parent / "linux-mutant/kernel/fork.c").read_text() == "int fork;\n"
    assert not list((tmp_path / "build").glob("run.*"))
    assert (tmp_path / "build/results/mutants/caught-default/test.ktap").exists()
    assert "no such mutant" in run(tmp_path, "mutants", 6, M="x*")[1]
