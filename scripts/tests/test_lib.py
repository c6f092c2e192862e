# SPDX-License-Identifier: GPL-2.0
"""lib.sh and setup, which all verbs use, and make litmus."""

import os
import re
import shutil

import pytest
from common import copy_harness, script, verb, write


def test_step_that_ends_at_once(tmp_path):
    """The background clock of step() must not run the EXIT trap of the script."""
    copy_harness(tmp_path)
    script(tmp_path / "scripts/many", '. "${0%/*}/lib/lib.sh"\ntrap "echo end" EXIT\n'
           "for ((k = 0; k < 100; k++)); do step name text true; done\n")
    assert verb(tmp_path, "many").out == "end\n"


def test_compiler_cache_sees_a_file_inside_an_assembler_file(tmp_path):
    copy_harness(tmp_path)
    script(tmp_path / "scripts/compile", '. "${0%/*}/lib/lib.sh"\nkmake -C "$top"\n')
    write(tmp_path / "Makefile", "a.o: FORCE\n\t$(CC) -Wp,-MMD,a.d -D__ASSEMBLY__ -c -o a.o a.S\nFORCE:\n")
    write(tmp_path / "a.S", '.section .rodata\n.incbin "data"\n')
    # The second compilation could come from the cache.
    for data in ("first", "first", "later"):
        write(tmp_path / "data", data)
        verb(tmp_path, "compile", code=0)
        assert data.encode() in (tmp_path / "a.o").read_bytes()


# -- setup ------------------------------------------------------------------

RETRY = ("WARNING: Retrying (Retry(total=4, connect=None, read=None, redirect=None, status=None)) after"
         " connection broken by 'SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))':"
         " /simple/virtme-ng/\n")
NO_VERSION = ("ERROR: Could not find a version that satisfies the requirement virtme-ng==1.42\n"
              "ERROR: No matching distribution found for virtme-ng==1.42\n")
PYTHON = """\
mkdir -p $3/bin
printf '#!/bin/sh\\ncat <<END\\n%sEND\\nexit 1\\n' "$SAYS" >$3/bin/pip
chmod +x $3/bin/pip
"""
NO_ROOT = {"id": "echo 1000", "apt-get": "echo no; exit 1",
           "dpkg-query": "printf 'installed %s\\n' git perl"}


@pytest.mark.parametrize("path, tools, says, error", [
    ("", {"python3": PYTHON}, RETRY + NO_VERSION, r"virtme-ng 1.42: SSLError\(SSLCertVerificationError\(1, "),
    # Without apt, one line names all missing commands before setup does anything.
    ("bash dirname cat mkdir git sha256sum nproc", {"rustc": "", "clang": ""}, "",
     "^exithand: these commands are missing: (?!.*(rustc|clang|git) ).* file .*ip .*python3 .*ld.lld .*\n$"),
    # With apt but without root, one line names all missing packages.
    ("", NO_ROOT, "",
     "^exithand: these packages are missing: .* file .* iproute2 .* python3 .*as root:.*\n$")])
def test_setup(tmp_path, path, tools, says, error):
    """Run setup with these tools in the cache. If `path` is given, no other program is in PATH."""
    copy_harness(tmp_path)
    for name, text in {"bindgen": "echo bindgen 0.72.1", **tools}.items():
        write(tmp_path / "cache/tools/bin" / name, f"#!{shutil.which('bash')}\n{text}\n", 0o755)
    (tmp_path / "bin").mkdir()
    for name in path.split():
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    done = verb(tmp_path, "lib/setup", code=6, SAYS=says,
                PATH=str(tmp_path / "bin") if path else os.environ["PATH"])
    assert re.search(error, done.err), done.err
    assert says or not list((tmp_path / "cache/tools").glob("*virtme*"))


HERD = 'echo "Observation $name Never 0 3"'
# test: (the result that its file states, the commands that replace herd7)
LITMUS = {
    "a-never": ("Result: Never", HERD),
    "b-sometimes": ("Result: Sometimes", HERD.replace("Never 0", "Sometimes 1")),
    "other": ("Result: Sometimes", HERD),
    "says-nothing": ("", HERD), "silent": ("Result: Never", ":"),
    "says-two": ("Result: Never\n * Result: Sometimes", HERD),
    "dies-late": ("Result: Never", HERD + "; exit 2"),
    "warns": ("Result: Never", HERD + "; echo Warning >&2"),
    "races": ("Result: Never", HERD + "; echo Flag data-race"),
    "impossible": ("Result: Never", HERD.replace(" 0 3", " 0 0")),
    "another-test": ("Result: Never", HERD.replace("$name", "b")),
}


@pytest.mark.parametrize("code, number, last", [
    (0, 2, "2 passed, 0 failed"), (1, 11, "2 passed, 9 failed"), (7, 0, "0 passed, 0 failed")])
def test_litmus(tmp_path, code, number, last):
    copy_harness(tmp_path, "lib/setup", "verbs/tree")
    tests = dict([*LITMUS.items()][:number])
    cases = "".join(f"{name}) {herd} ;;\n" for name, (_, herd) in tests.items())
    script(tmp_path / "cache/tools/bin/herd7", '[ "$1" != -version ] || exec echo 7.58\n'
           f'name=$(basename "$3" .litmus)\ncase $name in\n{cases}esac\n')
    write(tmp_path / "build/linux/tools/memory-model/linux-kernel.cfg", "\n")
    for name, (result, _) in tests.items():
        write(tmp_path / f"scripts/litmus/{name}.litmus", f"C {name}\n\n(*\n * {result}\n *)\n")
    done = verb(tmp_path, "verbs/litmus", code=code)
    assert (tmp_path / "build/results/litmus.txt").read_text() == done.out
    lines = done.out.splitlines()
    assert lines[-1] == last
    assert [line.split()[:2] for line in lines[:-1]] == [
        ["ok" if name in ("a-never", "b-sometimes") else "FAIL", f"{name}:"] for name in sorted(tests)]
