# SPDX-License-Identifier: GPL-2.0
"""bench.py: tables and verdicts from samples, and how they get into the repository."""

import json
import shutil
import sys
from unittest import mock

import pytest
from common import TOP, write

BLOAT = "add/remove: 1/1 grow/shrink: {}/{} up/down: 80/-71 ({})\nFunction  old  new  delta\n"
DOCUMENTS = "README.md", "patches/0000-cover-letter.txt", "results/bench.md"
EXIT = "watched", "none", "", 0, 0, "exit"
FORK = "unwatched", "none", "fork", 0, 0, "life"
KILL = "killer", "", "waits by exithand", 0, 0, "time"
SIZE = "memory", "", "signal_cache", 0, 0, "object_size"
TICKS = "instrument", "", "", 0, 0, "ticks of 1000000 instructions"


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
    """Judge the published figures with these changes. change: {(kernel, case, file, ...): value}; raw:
    {file: text}. The value None removes the figure."""
    published = json.loads((TOP / "results/bench.json").read_text())["samples"]
    figures = {(kernel, *list(s.values())[:6]): s["median"][0]
               for kernel, samples in published.items() for s in samples}

    def judge(change, raw):
        files = {"compilers": "clang\nrustc\n", "qemu": "QEMU 7.2", "kernel": "Linux 7.3",
                 "bloat-on": BLOAT.format(1, 0, 9), "bloat-off": BLOAT.format(0, 0, 0)}
        for (kernel, *key), value in (figures | change).items():
            if value is not None:
                # The first of three rounds is an outlier.
                files[f"samples-{kernel}"] = files.get(f"samples-{kernel}", "") + "".join(
                    "\t".join(map(str, (*key, repetition, value * factor))) + "\n"
                    for repetition in range(5) for factor in (4, 1, 1))
        (tmp_path / "results").mkdir()
        for name, text in (files | raw).items():
            write(tmp_path / "raw" / name, text)
        return bench("judge", tmp_path / "raw", tmp_path / "results")
    return judge


@pytest.mark.parametrize("change, raw, said", [
    ({}, {}, ""),
    ({("patched", *FORK): 500000}, {}, ""),
    ({("base", *EXIT): 4000, ("patched", *EXIT): 4005}, {},
     "MISSED  nobody watches: the exit itself: at most 4 more: 4000, 4005: +5\n"),
    ({("patched", "other", "exithand", "poll", 1, 10000, "exit"): 7000}, {},
     "MISSED  exit with one waiter, 10000"),
    ({("patched", *SIZE): 1001}, {}, "MISSED  struct signal_struct: at most 1000 bytes: 992, 1001"),
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
def clone_fixture(tmp_path):
    """The published results, and the documents with their tables."""
    shutil.copytree(TOP / "results", tmp_path / "clone/results")
    for name in DOCUMENTS:
        write(tmp_path / "clone" / name, (TOP / name).read_text())
    return tmp_path / "clone"


def test_publish(judge, bench, clone, tmp_path):
    assert judge({("patched", *EXIT): 4600, ("patched", *KILL): 1000}, {})[0] == 1
    assert bench("publish", tmp_path / "results/bench.json", clone) == (0, "")
    assert bench("check", clone) == (0, "")
    for name in DOCUMENTS:
        old, new = ((top / name).read_text().splitlines() for top in (TOP, clone))
        assert len(old) == len(new)
        assert "4,600" in "".join(n for o, n in zip(old, new) if o != n)
    # A killer has the mean of its rounds, the exit their median.
    assert "| waits by exithand: time | 2,000 |" in new
    assert "Linux 7.3, QEMU 7.2, clang; rustc." in "".join(new)


# The command that the check prints repairs all that it reports.
@pytest.mark.parametrize("file, old, new, code", [
    ("results/bench.md", "| met |", "| MISSED |", 1),
    ("results/bench.md", "## Goals", "## Aims", 6),
    ("results/bench.json", '"when"', ' "when"', 1),
    ("patches/0000-cover-letter.txt", "one epoll loop ", "two epoll loops", 1),
    ("README.md", "<!-- to here", "| stale | 1 |\n<!-- to here", 1),
    ("README.md", "<!-- to here -->", "", 6)])
def test_check(clone, bench, file, old, new, code):
    text = (clone / file).read_text()
    assert old in text
    (clone / file).write_text(text.replace(old, new, 1))
    status, said = bench("check", clone)
    assert status == code
    if code == 1:
        assert (file.rpartition("/")[2] if "json" not in file else "bench-own.svg, bench-other.svg") in said
        assert said.endswith("; run: make bench PUBLISH=results/bench.json\n")
        assert bench("publish", clone / "results/bench.json", clone) == (0, "")
        assert bench("check", clone) == (0, "")
