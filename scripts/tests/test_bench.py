# SPDX-License-Identifier: GPL-2.0
"""bench.py: tables and verdicts from samples, and how they get into the repository."""

import json
import shutil
import subprocess
import sys

import pytest
from common import TOP, script, verb, write

BLOAT = """\
add/remove: {0}/0 grow/shrink: 0/0 up/down: {0}/0 ({0})
Function                                     old     new   delta
Total: Before=1000, After={1}, chg +0.00%
"""
RENAMED = """\
add/remove: 1/1 grow/shrink: 0/0 up/down: 71/-71 (0)
Function                                     old     new   delta
_RNvMs4_NtCsl7_6kernel4poll3new                -      71     +71
{}      71       -     -71
Total: Before=1000, After=1000, chg +0.00%
"""
FILES = {"base": ("pidfd",), "base-again": (), "patched": ("pidfd", "exithand"), "one-queue": ("exithand",)}
FORK = "unwatched", "none", "fork", 0, 0, "life"


def figures(kernel):
    """Return {(case, file, way, own, other, metric): instructions} that meet all goals."""
    found = {("instrument", "", "", 0, 0, "ticks of 1000000 instructions"): 1000005,
             ("watched", "none", "", 0, 0, "exit"): 4000, FORK: 40000, (*FORK[:2], "vfork", *FORK[3:]): 40000,
             ("memory", "", "signal_cache", 0, 0, "object_size"): 1000}
    for file in FILES[kernel]:
        for way in ("poll", "epoll"):
            for metric in ("exit", "reaped", "settled"):
                found["watched", file, way, 1, 0, metric] = 6000
                found |= {("other", file, way, 1, n, metric): 6000 for n in (0, 10, 1000)}
                found |= {("own", file, way, n, 0, metric): 6000 + 100 * n for n in (1, 16, 256, 2, 64, 1000)}
            found["reader", file, way, 1, 0, "told"] = 4000
        found["burst", file, "", 1, 10000, "total"] = 80000000
        found |= {("calls", file, way, 0, 0, "call"): 1000 for way in ("open and close, a later one", "poll, before")}
        if file == "exithand":
            found["reader", file, "read", 1, 0, "told"] = 4000
    return found


@pytest.fixture(name="bench")
def bench_fixture(program):
    def run(*args):
        done = program("bench/bench.py", *args)
        return done.code, done.out + done.err
    return run


@pytest.fixture(name="judge")
def judge_fixture(bench, tmp_path):
    """change: {(kernel, case, file, ...): value}; raw: {file: text}. None removes a value or a file."""
    files = {"config": 'CONFIG_CC_VERSION_TEXT="clang"\nCONFIG_RUSTC_VERSION_TEXT="rustc"\n', "qemu": "QEMU 7.2",
             "kernel": "Linux 7.3", "bloat-on": BLOAT.format(9, 1009), "bloat-off": BLOAT.format(0, 1000)}

    def judge(change, raw):
        for kernel in FILES:
            found = figures(kernel) | {tuple(key): v for (k, *key), v in change.items() if k == kernel}
            files[f"samples-{kernel}"] = "".join(
                "\t".join(map(str, (*key, repetition, value))) + "\n"
                for key, value in found.items() if value for repetition in range(5))
        (tmp_path / "results").mkdir()
        for name, text in (files | raw).items():
            if text is not None:
                write(tmp_path / "raw" / name, text)
        return bench("judge", tmp_path / "raw", tmp_path / "results")
    return judge


OURS = "patched", "own", "exithand", "poll"


@pytest.mark.parametrize("change, raw, said", [
    ({}, {}, ""),
    ({("patched", "watched", "none", "", 0, 0, "exit"): 4005}, {}, "MISSED      nobody watches, the exit itself"),
    ({("patched", *FORK): 40060}, {}, "MISSED      nobody watches, fork"),
    ({("patched", *FORK): 40060, ("base-again", *FORK): 40050}, {}, "not decided nobody watches, fork"),
    ({(*OURS, 16, 0, "reaped"): 7601}, {}, "MISSED      16 waiters, until it is reaped: at most a pidfd's (poll)"),
    ({(*OURS, 1000, 0, "exit"): 200000}, {}, "MISSED      own waiters: linear (poll)"),
    ({("patched", "other", "exithand", "epoll", 1, 1000, "settled"): 7000}, {},
     "MISSED      1000 waiters of other processes: no change of settled (epoll)"),
    ({("patched", "watched", "exithand", "poll", 1, 0, "exit"): 6081}, {},
     "missed      one waiter, the exit itself: at most 80 above a pidfd's (poll): 6000, 6081: +81\n"),
    *(({("patched", "reader", "exithand", way, 1, 0, "told"): 4001}, {},
       f"missed      its reader has returned: at most a pidfd's ({way}, and there ") for way in ("poll", "epoll", "read")),
    ({("patched", "memory", "", "signal_cache", 0, 0, "object_size"): 1001}, {},
     "MISSED      struct signal_struct: at most 1000 bytes: 1001"),
    ({}, {"bloat-on": BLOAT.format(2617, 9999)}, "MISSED      size of the kernel, by bloat-o-meter: at most 2616"),
    ({}, {"bloat-off": BLOAT.format(8, 1008)}, "MISSED      PROC_EXITHAND=n"),
    ({}, {"bloat-off": RENAMED.format("_RNvMs3_NtCsl7_6kernel4poll3old")}, "MISSED      PROC_EXITHAND=n"),
    ({}, {"bloat-off": RENAMED.format("_RNvMs3_NtCsl7_6kernel4poll3new")}, "")])
def test_goals(judge, change, raw, said):
    code, text = judge(change, raw)
    assert code == ("MISSED" in said)
    assert said in text
    assert text.lower().count("missed") == said.lower().count("missed")
    assert ("decided" in text) == ("decided" in said)


@pytest.mark.parametrize("change, raw, words", [
    *(({("patched", *key): None for key in figures("patched") if key[0] == case}, {}, f"no samples of {case}")
      for case in ("unwatched", "watched", "reader", "own", "other", "memory")),
    ({("patched", "instrument", "", "", 0, 0, "ticks of 1000000 instructions"): 2600000}, {}, "TCG has -icount"),
    ({}, {"samples-base": ""}, "samples-base is empty"),
    ({}, {"samples-one-queue": None}, "no samples of the kernel one-queue"),
    ({}, {"bloat-on": "nm: vmlinux: no symbols\n"}, "bloat-on has no output"),
    ({}, {"bloat-on": ""}, "bloat-on has no output"),
    ({}, {"config": ""}, "CC_VERSION_TEXT"), ({}, {"qemu": None}, "qemu")])
def test_bad_samples(judge, change, raw, words):
    code, said = judge(change, raw)
    assert code == 6
    assert said.startswith("exithand: bench: ") and words in said


@pytest.fixture(name="clone")
def published(judge, tmp_path):
    """A repository with results. A script in place of matplotlib's Python writes the plots."""
    clone = tmp_path / "clone"
    for name in ("scripts/verbs/bench", "scripts/lib/lib.sh", "scripts/bench/bench.py"):
        (clone / name).parent.mkdir(parents=True)
        shutil.copy(TOP / name, clone / name)
    python = clone / "cache/tools/matplotlib-3.11.2/bin/python"
    script(python, 'for p in own other; do sha256sum "$3/bench.json" >"$3/bench-$p.svg"; done\n')
    write(python.parents[1] / "done", "")
    (clone / "results").mkdir()
    write(clone / "README.md", "before\n<!-- by `bench.py publish` -->\nold\n<!-- to here -->\nafter\n")
    write(clone / "patches/0000-cover-letter.txt", "Costs:\n\n\tinstructions 1\n\told 2\n\nEnd.\n")
    judge({}, {})
    assert publish(clone, tmp_path / "results/bench.json") == (0, "")
    return clone


def publish(clone, file, **more):
    done = verb(clone, "verbs/bench", PUBLISH=str(file), **more)
    return done.code, done.out + done.err


def test_published(clone, bench):
    letter, readme = (clone / "patches/0000-cover-letter.txt").read_text(), (clone / "README.md").read_text()
    assert letter.startswith("Costs:\n\n\tinstructions   ") and letter.endswith("1,000        1,000\n\nEnd.\n")
    assert [len(line) for line in letter.splitlines()[2:-2]] == [72] * 12
    assert readme.startswith("before\n<!-- by `bench.py publish` -->\n|")
    assert readme.endswith("|\n<!-- to here -->\nafter\n")
    assert bench("check", clone) == (0, "")


def test_changed_sentence(clone):
    """The check names the command that makes the results again, and that command works."""
    program = clone / "scripts/bench/bench.py"
    write(program, program.read_text().replace("Made by `make bench`", "Another sentence"))

    def check():
        done = subprocess.run([sys.executable, program, "check", clone], capture_output=True, text=True,
                              check=False)
        return done.returncode, done.stdout + done.stderr
    code, said = check()
    assert code == 1
    assert "bench.md is not what bench.json gives" in said and "+Another sentence" in said
    assert "make bench PUBLISH=results/bench.json" in said
    assert publish(clone, clone / "results/bench.json") == (0, "")
    assert check() == (0, "")


@pytest.mark.parametrize("file, old, new, words", [
    ("results/bench.md", "6,000", "5,000", "bench.md is not what bench.json gives"),
    ("results/bench.json", '"mean": [6000', '"mean": [5000', "the plots are not those of bench.json"),
    ("results/bench-own.svg", "", None, "the plots are not those of bench.json"),
    ("results/bench.md", "", None, "No such file"),
    ("results/bench.json", "", None, "No such file"),
    ("results/bench.json", '"quick": false', '"quick": true', "of a QUICK run"),
    ("patches/0000-cover-letter.txt", "4,000", "5,000", "0000-cover-letter.txt is not what bench.json gives"),
    ("patches/0000-cover-letter.txt", "\tinstructions", "\tcycles", "0000-cover-letter.txt has no table"),
    ("README.md", "4,000", "5,000", "README.md is not what bench.json gives"),
    ("README.md", "<!-- to here", "| stale | 1 |\n<!-- to here", "README.md is not what bench.json gives"),
    ("README.md", "<!-- to here -->", "", "README.md has no single place for the summary")])
def test_check(clone, bench, file, old, new, words):
    file = clone / file
    text = file.read_text()
    assert old in text
    if new is None:
        file.unlink()
    else:
        file.write_text(text.replace(old, new, 1))
    code, said = bench("check", clone)
    assert code == (6 if "No such file" in words else 1)
    assert words in said


def test_bad_input(clone, bench):
    quick = clone.parent / "quick.json"
    quick.write_text((clone / "results/bench.json").read_text().replace('"quick": false', '"quick": true'))
    for args, words in (
            ((quick, {}), "of a QUICK run"), ((clone / "nothing", {}), "No such file"),
            (("", {"QUICK": "2"}), "QUICK=2"), (("", {"KDIR": "."}), "leave KDIR out"),
            (("", {"BENCH_LIMIT": "1h"}), "BENCH_LIMIT=1h")):
        code, said = publish(clone, args[0], **args[1])
        assert code == 6
        assert said.startswith("exithand: ") and words in said and said.count("\n") == 1
    assert bench("check", clone) == (0, "")


@pytest.mark.parametrize("value, code", [(1000, 0), (1009, 0), (1011, 1), (989, 1)])
def test_compare(bench, tmp_path, value, code):
    for name, v in (("one", 1000), ("two", value)):
        figure = {"case": "own", "file": "pidfd", "way": "poll", "own": 1, "other": 0, "metric": "exit", "median": [v]}
        (tmp_path / name).write_text(json.dumps({"samples": {"base": [figure]}}))
    (tmp_path / "three").write_text(json.dumps({"samples": {"patched": [figure]}}))
    status, said = bench("compare", tmp_path / "one", tmp_path / "two")
    assert status == code
    assert f"%: 1000 and {value}: base, own, pidfd, poll, 1, exit\n{code} of 1 medians" in said
    assert bench("compare", tmp_path / "one", tmp_path / "three")[0] == 6
