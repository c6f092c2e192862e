# SPDX-License-Identifier: GPL-2.0
"""lib.sh and setup, which all verbs use."""

import os
import re
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from common import TOP, copy_harness, script, verb, write


def test_step_that_ends_at_once(tmp_path):
    """The background clock of step() must not run the EXIT trap of the script."""
    copy_harness(tmp_path)
    script(tmp_path / "scripts/many", '. "${0%/*}/lib/lib.sh"\ntrap "echo end" EXIT\n'
           "for ((k = 0; k < 100; k++)); do step name text true; done\n")
    assert verb(tmp_path, "many").out == "end\n"


def test_compiler_cache_sees_a_file_inside_an_assembler_file(tmp_path):
    script(tmp_path / "cache/tools/bin/bindgen", "")
    write(tmp_path / "Makefile", "a.o: FORCE\n\t$(CC) -Wp,-MMD,a.d -D__ASSEMBLY__ -c -o a.o a.S\nFORCE:\n")
    write(tmp_path / "a.S", '.section .rodata\n.incbin "data"\n')
    for data in ("first", "later"):
        write(tmp_path / "data", data)
        # The second compilation could come from the cache.
        for _ in range(2):
            done = subprocess.run(["bash", "-c", '. scripts/lib/lib.sh; kmake -C "$0"', tmp_path], cwd=TOP,
                                  env=os.environ | {"EXITHAND_CACHE": str(tmp_path / "cache")},
                                  capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            assert data.encode() in (tmp_path / "a.o").read_bytes()


# -- setup ------------------------------------------------------------------

@pytest.fixture(name="setup")
def setup_fixture(tmp_path):
    """Run setup with these tools in the cache. If `path` is given, no other program is in PATH."""
    def setup(path="", **tools):
        copy_harness(tmp_path)
        for name, text in {"bindgen": "echo bindgen 0.72.1", **tools}.items():
            write(tmp_path / "cache/tools/bin" / name, f"#!{shutil.which('bash')}\n{text}\n", 0o755)
        env = {}
        if path:
            (tmp_path / "bin").mkdir()
            for name in path.split():
                (tmp_path / "bin" / name).symlink_to(shutil.which(name))
            env["PATH"] = str(tmp_path / "bin")
        done = verb(tmp_path, "lib/setup", **env)
        assert done.code == 6, done.err
        return SimpleNamespace(said=done.err, downloaded=list((tmp_path / "cache/tools").glob("*virtme*")))
    return setup


RETRY = ("WARNING: Retrying (Retry(total=4, connect=None, read=None, redirect=None, status=None)) after"
         " connection broken by 'SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))':"
         " /simple/virtme-ng/\n")
NO_VERSION = """\
ERROR: Could not find a version that satisfies the requirement virtme-ng==1.42 (from versions: none)
ERROR: No matching distribution found for virtme-ng==1.42
"""


@pytest.mark.parametrize("said, why", [
    (NO_VERSION, "virtme-ng 1.42: ERROR: Could not find a version"),
    (RETRY * 2 + NO_VERSION, "virtme-ng 1.42: SSLError(SSLCertVerificationError(1, '[SSL: CERT")])
def test_error_of_pip(setup, said, why):
    pip = f"#!/bin/sh\ncat <<'END'\n{said}END\nexit 1\n"
    done = setup(python3=f"mkdir -p $3/bin; cat >$3/bin/pip <<'EOF'\n{pip}EOF\nchmod +x $3/bin/pip")
    assert why in done.said.splitlines()[-1]


def test_tools_are_missing(setup):
    """Without apt, one line names all missing commands before setup does anything."""
    done = setup("bash dirname cat mkdir git sha256sum nproc", rustc="", clang="")
    assert done.said.count("\n") == 1 and not done.downloaded
    for name in ("python3", "qemu-system-x86_64", "ip", "file", "ld.lld"):
        assert re.search(rf"commands are missing: .*\b{name}\b", done.said)
    assert not re.search(r"\b(rustc|clang|git|bindgen)\b", done.said)


def test_packages_are_missing(setup):
    """With apt but without root, one line names all missing packages."""
    done = setup(id="echo 1000", **{"apt-get": "echo no; exit 1",
                                    "dpkg-query": "printf 'installed %s\\n' git perl"})
    assert done.said.count("\n") == 1 and not done.downloaded
    assert re.search("packages are missing: .* file .* iproute2 .* python3 .*as root:", done.said)
