# SPDX-License-Identifier: GPL-2.0
"""make litmus, with a script in place of herd7."""

import pytest
from common import copy_harness, script, verb, write

# test: (the result that its file states, the commands that replace herd7)
HERD = 'echo "Observation $name Never 0 3"'
GOOD = {"a-never": (" * Result: Never\n", HERD),
        "b-sometimes": (" * Result: Sometimes\n", HERD.replace("Never 0", "Sometimes 1"))}
BAD = {
    "other": (" * Result: Sometimes\n", HERD),
    "says-nothing": ("", HERD),
    "says-two": (" * Result: Never\n * Result: Sometimes\n", HERD),
    "silent": (" * Result: Never\n", ":"),
    "dies-late": (" * Result: Never\n", HERD + "; exit 2"),
    "warns": (" * Result: Never\n", HERD + "; echo Warning >&2"),
    "races": (" * Result: Never\n", HERD + "; echo Flag data-race"),
    "impossible": (" * Result: Never\n", HERD.replace(" 0 3", " 0 0")),
    "no-count": (" * Result: Never\n", HERD.replace(" 0 3", "")),
    "another-test": (" * Result: Never\n", HERD.replace("$name", "b")),
}


@pytest.mark.parametrize("code, tests, last", [
    (0, GOOD, "2 passed, 0 failed"), (1, {**GOOD, **BAD}, f"2 passed, {len(BAD)} failed"),
    (7, {}, "0 passed, 0 failed")])
def test_litmus(tmp_path, code, tests, last):
    copy_harness(tmp_path, "lib/setup", "verbs/tree")
    cases = "".join(f"{name}) {herd} ;;\n" for name, (_, herd) in tests.items())
    script(tmp_path / "cache/tools/bin/herd7", '[ "$1" != -version ] || exec echo 7.58\n'
           f'name=$(basename "$3" .litmus)\ncase $name in\n{cases}esac\n')
    write(tmp_path / "build/linux/tools/memory-model/linux-kernel.cfg", "\n")
    for name, (result, _) in tests.items():
        write(tmp_path / f"scripts/litmus/{name}.litmus", f"C {name}\n\n(*\n{result} *)\n")
    done = verb(tmp_path, "verbs/litmus")
    assert done.code == code, done.out + done.err
    assert (tmp_path / "build/results/litmus.txt").read_text() == done.out
    lines = done.out.splitlines()
    assert lines[-1] == last
    found = {line.split()[1].rstrip(":"): line.split()[0] for line in lines[:-1]}
    assert found == {name: "FAIL" if name in BAD else "ok" for name in tests}
    assert not tests or "ok    a-never: Never 0 3" in lines
