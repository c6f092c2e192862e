# SPDX-License-Identifier: GPL-2.0
"""bench.py: tables and verdicts from samples, and how they get into the repository."""

import shutil

import pytest
from common import TOP, script, verb, write

BLOAT = """\
add/remove: 1/1 grow/shrink: 0/0 up/down: 71/-71 (0)
Function                                     old     new   delta
{new}                -      {size}     +{size}
{old}      71       -     -71
Total: Before=1000, After={after}, chg +0.00%
"""
OLD, NEW = "_RNvMs3_NtCsl7_6kernel4poll3new", "_RNvMs4_NtCsl7_6kernel4poll3new"
FILES = {"base": ("pidfd",), "base-again": (), "patched": ("pidfd", "exithand"), "one-queue": ("exithand",)}
FORK = "unwatched", "none", "fork", 0, 0, "life"
OURS = "patched", "own", "exithand", "poll"
SIZE = "memory", "", "signal_cache", 0, 0, "object_size"
TICKS = "instrument", "", "", 0, 0, "ticks of 1000000 instructions"


def bloat(old="same", new="same", size=71):
    return BLOAT.format(old=old, new=new, size=size, after=929 + size)


def figures(kernel):
    """Return {(case, file, way, own, other, metric): instructions} that meet all goals."""
    found = {TICKS: 1000005, ("watched", "none", "", 0, 0, "exit"): 4000, SIZE: 1000,
             FORK: 40000, (*FORK[:2], "vfork", *FORK[3:]): 40000}
    for file in FILES[kernel]:
        for way in ("poll", "epoll"):
            for metric in ("exit", "reaped", "settled"):
                found["watched", file, way, 1, 0, metric] = 6000
                found |= {("other", file, way, 1, n, metric): 6000 for n in (0, 10, 1000)}
                found |= {("own", file, way, n, 0, metric): 6000 + 100 * n for n in (1, 16, 256, 2, 64, 1000)}
        found |= {("reader", file, way, 1, 0, "told"): 4000 for way in ("poll", "epoll", "read")}
        found["burst", file, "", 1, 10000, "total"] = 80000000
        found |= {("calls", file, way, 0, 0, "call"): 1000
                  for way in ("open and close, a later one", "poll, before")}
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
             "kernel": "Linux 7.3", "bloat-on": bloat(size=80), "bloat-off": bloat()}

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
     "MISSED      one waiter, the exit itself: at most 80 above a pidfd's (poll): 6000, 6081: +81\n"),
    ({("patched", "reader", "exithand", "read", 1, 0, "told"): 4001}, {},
     "missed      its reader has returned: at most a pidfd's (read, and there poll)"),
    ({("patched", *SIZE): 1001}, {}, "MISSED      struct signal_struct: at most 1000 bytes: 1001"),
    ({}, {"bloat-on": bloat(size=71 + 2617)}, "MISSED      size of the kernel, by bloat-o-meter: at most "),
    ({}, {"bloat-off": bloat("lost", "gained")}, "MISSED      PROC_EXITHAND=n"),
    ({}, {"bloat-off": bloat(OLD, NEW.replace("new", "old"))}, "MISSED      PROC_EXITHAND=n"),
    ({}, {"bloat-off": bloat(OLD, NEW)}, "")])
def test_goals(judge, change, raw, said):
    code, text = judge(change, raw)
    assert code == ("MISSED" in said)
    assert said in text
    assert text.lower().count("missed") == said.lower().count("missed")
    assert ("decided" in text) == ("decided" in said)


@pytest.mark.parametrize("change, raw, words", [
    *(({("patched", *key): None for key in figures("patched") if key[0] == case}, {}, f"'{case}'")
      for case in ("unwatched", "reader")),
    ({(k, *key): None for k in FILES for key in figures(k) if key[0] == "burst"}, {}, "no samples of burst"),
    ({("patched", *TICKS): 2600000}, {}, "TCG has -icount"), ({("base", *TICKS): None}, {}, "'instrument'"),
    ({}, {"samples-base": ""}, "no samples"), ({}, {"samples-one-queue": None}, "samples-one-queue"),
    ({}, {"bloat-on": "nm: vmlinux: no symbols\n"}, "bloat-on"), ({}, {"bloat-on": ""}, "bloat-on"),
    ({}, {"bloat-on": bloat(size=80).replace("1009", "1010")}, "bloat-on"),
    ({}, {"config": ""}, "CC_VERSION_TEXT")])
def test_bad_samples(judge, change, raw, words):
    code, said = judge(change, raw)
    assert code == 6
    assert said.startswith("exithand: bench: ") and words in said


@pytest.fixture(name="clone")
def published(judge, tmp_path):
    """A repository with results. A script in place of matplotlib's Python writes the plots."""
    clone = tmp_path / "clone"
    for name in ("scripts/verbs/bench", "scripts/lib/lib.sh", "scripts/bench/bench.py", "results/bench.md"):
        (clone / name).parent.mkdir(parents=True)
        shutil.copy(TOP / name, clone / name)
    python = clone / "cache/tools/matplotlib-3.11.2/bin/python"
    script(python, 'for p in own other; do sha256sum "$3/bench.json" >"$3/bench-$p.svg"; done\n')
    write(python.parents[1] / "done", "")
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
    report = (clone / "results/bench.md").read_text()
    assert "\n| exithand, read | – | 4,000 | 4,000 |\n\n## One waiter\n" in report
    assert "json. 20" in report and "Linux 7.3, QEMU 7.2, clang; rustc.\n" in report
    assert bench("check", clone) == (0, "")


# The command that the check prints repairs all that it reports.
@pytest.mark.parametrize("file, old, new, code", [
    ("results/bench.md", "6,000", "5,000", 1),
    ("results/bench.md", "median of 5 samples", "median of 9 samples", 1),
    ("results/bench.md", "## Goals", "## Aims", 6),
    ("results/bench.json", '"mean": [6000', '"mean": [5000', 1),
    ("results/bench.json", '"quick": false', '"quick": true', 6),
    ("results/bench.json", "", None, 6),
    ("results/bench-own.svg", "", None, 6),
    ("patches/0000-cover-letter.txt", "4,000", "5,000", 1),
    ("patches/0000-cover-letter.txt", "\tinstructions", "\tcycles", 6),
    ("README.md", "<!-- to here", "| stale | 1 |\n<!-- to here", 1),
    ("README.md", "<!-- to here -->", "", 6)])
def test_check(clone, bench, file, old, new, code):
    file = clone / file
    text = file.read_text()
    assert old in text
    if new is None:
        file.unlink()
    else:
        file.write_text(text.replace(old, new, 1))
    status, said = bench("check", clone)
    assert status == code
    if code == 1:
        assert (file.name if file.suffix != ".json" else "bench-own.svg, bench-other.svg") in said
        assert said.endswith("; run: make bench PUBLISH=results/bench.json\n")
        assert publish(clone, clone / "results/bench.json") == (0, "")
        assert bench("check", clone) == (0, "")


def test_bad_input(clone, bench):
    quick = clone.parent / "quick.json"
    quick.write_text((clone / "results/bench.json").read_text().replace('"quick": false', '"quick": true'))
    for file, more, words in ((quick, {}, "of a QUICK run"), (clone / "nothing", {}, "No such file"),
                              ("", {"KDIR": "."}, "leave KDIR out"),
                              ("", {"BENCH_LIMIT": "1h"}, "BENCH_LIMIT=1h")):
        code, said = publish(clone, file, **more)
        assert code == 6
        assert said.startswith("exithand: ") and words in said and said.count("\n") == 1
    assert bench("check", clone) == (0, "")
