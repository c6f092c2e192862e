# SPDX-License-Identifier: GPL-2.0
"""bench.py: tables and verdicts from samples, and how they get into the repository."""

import sys
from unittest import mock

import pytest
from common import TOP, write

BLOAT = "add/remove: 1/1 grow/shrink: {}/{} up/down: 80/-71 ({})\nFunction  old  new  delta\n"
FILES = {"base": ("pidfd",), "patched": ("pidfd", "exithand"), "one-queue": ("exithand",)}
FORK = "unwatched", "none", "fork", 0, 0, "life"
EXIT = "watched", "none", "", 0, 0, "exit"
SIZE = "memory", "", "signal_cache", 0, 0, "object_size"
TICKS = "instrument", "", "", 0, 0, "ticks of 1000000 instructions"


def figures(kernel):
    """Return {(case, file, way, own, other, metric): instructions} that meet all goals."""
    found = {TICKS: 1000005, EXIT: 4000, SIZE: 1000, FORK: 40000, (*FORK[:2], "vfork", *FORK[3:]): 40000,
             ("polling", "", "stat every 10 ms", 0, 0, "late"): 5000, ("polling", "", "exithand, read", 0, 0, "late"): 5,
             (*SIZE[:5], "objs_per_slab"): 8, ("memory", "exithand", "kmalloc-cg-16", 0, 0, "bytes per file"): 16}
    found |= {("killer", "", way, 0, 0, metric): 8 for metric in ("time", "killed")
              for way in ("does not wait", "looks every 10 ms", "waits by exithand")}
    for file in FILES[kernel]:
        for way in ("poll", "epoll"):
            found |= {("other", file, way, 1, n, "exit"): 6000 for n in (0, 10, 10000)}
            found |= {("own", file, way, n, 0, "exit"): 6000 + 100 * n for n in (1, 16, 1000)}
        found |= {("reader", file, "poll", 1, 0, "told"): 4000, ("burst", file, "", 1, 10000, "total"): 80000000}
        found |= {("calls", file, way, 0, 0, "call"): 1000 for way in ("open and close, a later one", "poll, before")}
    return found


@pytest.fixture(name="bench")
def bench_fixture(program, monkeypatch):
    """Run bench.py. A plot has only the text that names its bench.json."""
    library = mock.MagicMock()
    figure = mock.Mock(savefig=lambda file, metadata: file.write_text(metadata["Description"]))
    library.pyplot.subplots.return_value = figure, [mock.Mock(), mock.Mock()]
    monkeypatch.setitem(sys.modules, "matplotlib", library)

    def run(*args):
        done = program("bench/bench.py", *args)
        return done.code, done.out + done.err
    return run


@pytest.fixture(name="judge")
def judge_fixture(bench, tmp_path):
    """change: {(kernel, case, file, ...): value}; raw: {file: text}. The value None removes the figure."""
    files = {"compilers": "clang\nrustc\n", "qemu": "QEMU 7.2", "kernel": "Linux 7.3",
             "bloat-on": BLOAT.format(1, 0, 9), "bloat-off": BLOAT.format(0, 0, 0)}

    def judge(change, raw):
        for kernel in FILES:
            found = figures(kernel) | {tuple(key): v for (k, *key), v in change.items() if k == kernel}
            # The first round of a sample is an outlier.
            files[f"samples-{kernel}"] = "".join(
                "\t".join(map(str, (*key, repetition, value * (1 if n else 9)))) + "\n"
                for key, value in found.items() if value for repetition in range(5) for n in range(3))
        (tmp_path / "results").mkdir()
        for name, text in (files | raw).items():
            write(tmp_path / "raw" / name, text)
        return bench("judge", tmp_path / "raw", tmp_path / "results")
    return judge


@pytest.mark.parametrize("change, raw, said", [
    ({}, {}, ""),
    ({("patched", *FORK): 50000}, {}, ""),
    ({("patched", *EXIT): 4005}, {}, "MISSED  nobody watches: the exit itself: at most 4 more: 4000, 4005: +5\n"),
    ({("patched", "own", "exithand", "poll", 1, 0, "exit"): 6181}, {}, "MISSED  exit with one waiter: "),
    ({("patched", "other", "exithand", "poll", 1, 10000, "exit"): 6081}, {}, "MISSED  exit with one waiter, 10000"),
    ({("patched", *SIZE): 1001}, {}, "MISSED  struct signal_struct: at most 1000 bytes: 1000, 1001"),
    ({}, {"bloat-on": BLOAT.format(1, 0, 2617)}, "MISSED  size of the kernel, by bloat-o-meter: at most "),
    *(({}, {"bloat-off": BLOAT.format(*numbers)}, "MISSED  PROC_EXITHAND=n")
      for numbers in ((1, 0, 0), (0, 1, 0), (0, 0, -1)))])
def test_goals(judge, change, raw, said):
    code, text = judge(change, raw)
    assert code == ("MISSED" in said)
    assert said in text
    assert text.count("MISSED") == said.count("MISSED")


@pytest.mark.parametrize("change, raw, words", [
    ({("patched", *FORK): None}, {}, "no samples of ('patched', 'unwatched', 'none', 'fork'"),
    ({("patched", *TICKS): 2600000}, {}, "TCG has -icount"), ({}, {"samples-base": ""}, "no samples"),
    ({}, {"samples-base": "cut"}, "not enough values"), ({}, {"bloat-on": "nm: no symbols\n"}, "bloat-on")])
def test_bad_samples(judge, change, raw, words):
    code, said = judge(change, raw)
    assert code == 6
    assert said.startswith("exithand: bench: ") and words in said


@pytest.fixture(name="clone")
def published(judge, bench, tmp_path):
    """A repository with results."""
    clone = tmp_path / "clone"
    write(clone / "README.md", "before\n<!-- by `bench.py publish` -->\nold\n<!-- to here -->\nafter\n")
    write(clone / "patches/0000-cover-letter.txt", "Costs:\n\n\tinstructions 1\n\told 2\n\nEnd.\n")
    write(clone / "results/bench.md", (TOP / "results/bench.md").read_text())
    judge({}, {})
    assert bench("publish", tmp_path / "results/bench.json", clone) == (0, "")
    return clone


def test_published(clone, bench):
    letter, readme = (clone / "patches/0000-cover-letter.txt").read_text(), (clone / "README.md").read_text()
    assert letter.startswith("Costs:\n\n\tinstructions   ") and letter.endswith("1,000        1,000\n\nEnd.\n")
    assert [len(line) for line in letter.splitlines()[2:-2]] == [72] * 12
    assert readme.startswith("before\n<!-- by `bench.py publish` -->\n|")
    assert readme.endswith("|\n<!-- to here -->\nafter\n")
    report = (clone / "results/bench.md").read_text()
    assert "Linux 7.3, QEMU 7.2, clang; rustc.\n" in report
    # The late program has the mean, others have the median.
    assert "\n| exithand, read: late | 18.3 |\n" in report and "\n| 16 | 7,600 | 7,600 | 7,600 | 7,600 |\n" in report
    assert bench("check", clone) == (0, "")


# The command that the check prints repairs all that it reports.
@pytest.mark.parametrize("file, old, new, code", [
    ("results/bench.md", "6,000", "5,000", 1),
    ("results/bench.md", "## Goals", "## Aims", 6),
    ("results/bench.json", '"median": [6000', '"median": [5000', 1),
    ("patches/0000-cover-letter.txt", "4,000", "5,000", 1),
    ("README.md", "<!-- to here", "| stale | 1 |\n<!-- to here", 1),
    ("README.md", "<!-- to here -->", "", 6)])
def test_check(clone, bench, file, old, new, code):
    file = clone / file
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    status, said = bench("check", clone)
    assert status == code
    if code == 1:
        assert (file.name if file.suffix != ".json" else "bench-own.svg, bench-other.svg") in said
        assert said.endswith("; run: make bench PUBLISH=results/bench.json\n")
        assert bench("publish", clone / "results/bench.json", clone) == (0, "")
        assert bench("check", clone) == (0, "")
