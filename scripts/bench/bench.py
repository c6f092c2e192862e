#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tables, plots and verdicts from the samples of `make bench`.

usage: bench.py judge RAW RESULTS | plot RESULTS | publish JSON TOP | check TOP | compare JSON JSON

judge    Write bench.json and bench.md to RESULTS, from the samples that scripts/verbs/bench left in RAW.
         Exits with 1 if a goal is missed and KNOWN has no reason for it.
plot     Draw bench-*.svg into RESULTS, from its bench.json. Needs matplotlib.
publish  Copy JSON to results/ of the repository TOP. Write bench.md and the tables in README.md and
         in the cover letter from it.
check    Compare the files that publish and plot write with results/bench.json. Exits with 1 if one differs.
compare  Print how much the medians of two runs differ. Exits with 1 if one differs by 1 % or more.
"""

import difflib
import hashlib
import json
import re
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import linear_regression, mean, median

BASE, AGAIN, PATCHED, QUEUE = "base", "base-again", "patched", "one-queue"
KERNELS = {BASE: "unpatched", AGAIN: "unpatched, again", PATCHED: "patched", QUEUE: "one queue"}
FILES = "pidfd", "exithand"
NAMES = "case", "file", "way", "own", "other", "metric"
# A sample is the mean of its rounds in these cases. In the other cases it is their median.
MEANS = "polling", "killer", "memory"

UNWATCHED = 0.001       # goal: largest increase for a process that nobody watches
ABOVE = 80              # goal: most instructions above a pidfd's, with one waiter
SIGNAL_STRUCT = 1000    # goal: largest size of struct signal_struct, in bytes
KERNEL = 2616           # goal: most bytes that PROC_EXITHAND=y adds to the kernel
FLAT = 0.01             # figures that differ by less count as equal
# Goals that are missed, with the reason.
KNOWN = {
    "one waiter, the exit itself":
        "the exit wakes a second wait queue besides the pidfd's, which takes 57 instructions with its lock. "
        "The hook, the call, the latch and the check of the queue add to that.",
    "its reader has returned":
        "the exit wakes a second wait queue besides the pidfd's.",
    "one waiter, until all sleep again":
        "the exit wakes a second wait queue. The reaping drops the inodes and directory entries of /proc/PID, "
        "as it does after any access to the process in /proc.",
}


class Problem(Exception):
    pass


class Bench:
    """The figures of a bench.json."""

    def __init__(self, text):
        self.data = json.loads(text)
        self.index = {(kernel, *(s[n] for n in NAMES)): s["mean" if s["case"] in MEANS else "median"]
                      for kernel, samples in self.data["samples"].items()
                      for s in sorted(samples, key=lambda s: (s["own"], s["other"]))}

    def one(self, kernel, case, metric, file="", way="", own=0, other=0):
        """Return the median of the samples, or None if there are none."""
        samples = self.index.get((kernel, case, file, way, own, other, metric))
        return median(samples) if samples else None

    def must(self, kernel, case, metric, *key):
        value = self.one(kernel, case, metric, *key)
        if value is None:
            raise Problem(f"the {kernel} kernel has no samples of {case}, {metric}, {key}")
        return value

    def values(self, case, name):
        """Return the ways, or the numbers of waiters, of a case."""
        found = list({key[1 + NAMES.index(name)]: 1 for key in self.index if key[1] == case})
        if not found:
            raise Problem(f"there are no samples of {case}")
        return found


# -- collecting --

def read_samples(file):
    """Return one entry for each figure. Its lists have one statistic of the rounds for each sample."""
    samples = {}
    for line in file.read_text().splitlines():
        case, path, way, own, other, metric, repetition, value = line.split("\t")
        figure = samples.setdefault((case, path, way, int(own), int(other), metric), {})
        figure.setdefault(repetition, []).append(float(value))
    if not samples:
        raise Problem(f"{file.name} is empty; see build/results/console.log")
    return [dict(zip(NAMES, key)) | {f.__name__.replace("len", "n"): [round(f(v), 2) for v in figure.values()]
                                     for f in (len, mean, min, median, max)} for key, figure in samples.items()]


def read_bloat(file):
    lines = file.read_text().splitlines() or [""]
    head = re.match(r"add/remove: (\d+)/(\d+) grow/shrink: (\d+)/(\d+) up/down: (-?\d+)/(-?\d+) \((-?\d+)\)", lines[0])
    total = re.match(r"Total: Before=(\d+), After=(\d+)", lines[-1])
    if not head or not total:
        raise Problem(f"build/bench/{file.name} has no output of bloat-o-meter that is understood")
    found = dict(zip(("added", "removed", "grown", "shrunk", "up", "down", "change", "renamed", "before", "after"),
                     map(int, (*head.groups(), 0, *total.groups()))))
    # rustc numbers the impl blocks of a module. A new block, even without code,
    # renames the symbols of the later blocks.
    symbols = Counter((re.sub(r"(?<=[MX])s[0-9A-Za-z]*_", "s_", fields[0]), int(fields[-1]))
                      for fields in map(str.split, lines[2:-1]) if len(fields) >= 4)
    for (symbol, change), n in symbols.items():
        if symbol.startswith("_R") and change > 0:
            n = min(n, symbols[symbol, -change])
            for name, by in ("renamed", n), ("added", -n), ("removed", -n), ("up", -n * change), ("down", n * change):
                found[name] += by
    return found


def collect(raw):
    config = dict(re.findall(r'^CONFIG_(\w+)="?(.*?)"?$', (raw / "config").read_text(), re.M))
    samples = {name: read_samples(raw / f"samples-{name}") for name in KERNELS if (raw / f"samples-{name}").exists()}
    lost = {BASE, PATCHED, QUEUE} - samples.keys()
    if lost:
        raise Problem(f"no samples of the kernel {', '.join(sorted(lost))}; run make bench again")
    return {
        "when": time.strftime("%Y-%m-%d", time.gmtime()),
        "quick": not (raw / "bloat-off").exists(),
        **{name: (raw / name).read_text().strip() for name in ("kernel", "qemu")},
        "compilers": [config["CC_VERSION_TEXT"], config["RUSTC_VERSION_TEXT"]],
        "sizes": {f.name[6:]: read_bloat(f) for f in sorted(raw.glob("bloat-*"))},
        "samples": samples,
    }


# -- goals --

def goals(bench):
    """Return [(goal, figures, met)]. The subject of a goal is before its colon.

    If this run cannot tell, met is None.
    """
    found = []

    def peers(what, case, metric, keys, more=0):
        pidfd, ours = (bench.must(PATCHED, case, metric, f, *key) for f, key in zip(FILES, keys))
        found.append((what, f"{pidfd:.0f}, {ours:.0f}: {ours - pidfd:+.0f}", ours <= pidfd + more))

    base, patched = (bench.must(k, "watched", "exit", "none") for k in (BASE, PATCHED))
    found.append((f"nobody watches, the exit itself: at most {UNWATCHED:+.1%}",
                  f"{base:.0f} → {patched:.0f}: {patched - base:+.0f}, {patched / base - 1:+.3%}",
                  patched / base - 1 <= UNWATCHED))
    # A difference counts only if it exceeds the difference of two runs of one kernel.
    for way in bench.values("unwatched", "way"):
        base, patched = (bench.must(k, "unwatched", "life", "none", way) for k in (BASE, PATCHED))
        again, ratio = bench.one(AGAIN, "unwatched", "life", "none", way), patched / base - 1
        text, met = f"{base:.0f} → {patched:.0f}, {ratio:+.3%}", True if ratio <= UNWATCHED else None
        if again:
            text += f"; the unpatched kernel once more: {again / base - 1:+.3%}"
            met = met or (None if ratio <= abs(again / base - 1) + UNWATCHED else False)
        found.append((f"nobody watches, {way}: at most {UNWATCHED:+.1%}", text, met))

    for case, own, metric, words, more in (("watched", 1, "exit", "one waiter, the exit itself", ABOVE),
                                           ("watched", 1, "settled", "one waiter, until all sleep again", 0),
                                           ("own", 16, "reaped", "16 waiters, until it is reaped", 0)):
        for way in ("poll", "epoll"):
            peers(f"{words}: at most {f'{more} above ' if more else ''}a pidfd's ({way})", case, metric,
                  ((way, own), (way, own)), more)
    for way, peer in (("poll", "poll"), ("epoll", "epoll"), ("read", "poll")):
        peers(f"its reader has returned: at most a pidfd's ({way}, and there {peer})", "reader", "told",
              ((peer, 1), (way, 1)))

    others = bench.values("other", "other")
    for way in ("poll", "epoll"):
        for metric in ("exit", "settled"):
            few, many = (bench.must(PATCHED, "other", metric, "exithand", way, 1, others[i]) for i in (0, -1))
            found.append((f"{others[-1]} waiters of other processes: no change of {metric} ({way})",
                          f"{few:.0f} → {many:.0f}", abs(many / few - 1) <= FLAT))
    for way in ("poll", "epoll"):
        pidfd, ours = ([(n, bench.must(PATCHED, "own", "exit", f, way, n)) for n in bench.values("own", "own")]
                       for f in FILES)
        each, first, peer = (linear_regression(*zip(*p)).slope for p in (ours[-3:], ours[:3], pidfd[-3:]))
        found.append((f"own waiters: linear ({way})",
                      f"{each:.0f} for each (the first ones {first:.0f}; a pidfd's {peer:.0f})",
                      abs(each / first - 1) <= 0.1))

    sizes = bench.data["sizes"]
    for what, have, limit in (
            ("struct signal_struct", bench.must(PATCHED, "memory", "object_size", "", "signal_cache"), SIGNAL_STRUCT),
            ("size of the kernel, by bloat-o-meter", sizes["on"]["change"], KERNEL)):
        found.append((f"{what}: at most {limit} bytes", f"{have:.0f}", have <= limit))
    if off := sizes.get("off"):
        found.append(("PROC_EXITHAND=n: the same kernel, by bloat-o-meter",
                      "{change} bytes, {added} symbols added, {removed} removed, {renamed} renamed".format(**off),
                      not off["up"] and not off["down"]))
    return found


# -- tables --

def number(value):
    return "–" if value is None else f"{value:,.{0 if abs(value) >= 100 or value == int(value) else 1}f}"


def spread(samples):
    """Return the median, with the range of the samples in brackets."""
    low, middle, high = map(number, (min(samples), median(samples), max(samples)))
    return middle if low == high else f"{middle} ({low}–{high})"


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
            *("| " + " | ".join(str(c) for c in row) + " |" for row in rows), ""]


def costs(bench):
    """Return the rows that compare the kernels, and the rows that compare exithand with a pidfd."""
    own, other, burst = (bench.values(*c)[-1] for c in (("own", "own"), ("other", "other"), ("burst", "other")))
    kernels, peers = ((BASE, "none"), (PATCHED, "none")), ((PATCHED, FILES[0]), (PATCHED, FILES[1]))
    found = {kernels: [], peers: []}
    for columns, words, case, metric, *key in (
            (kernels, "nobody watches: the exit itself", "watched", "exit"),
            (kernels, "nobody watches: vfork, exit, wait", "unwatched", "life", "vfork"),
            (kernels, "nobody watches: fork, exit, wait", "unwatched", "life", "fork"),
            (peers, "exit with one waiter", "watched", "exit", "poll", 1),
            (peers, "exit, until its reader has returned from poll", "reader", "told", "poll", 1),
            (peers, f"exit with {own} waiters", "own", "exit", "poll", own),
            (peers, f"exit with one waiter, {other} of other processes", "other", "exit", "poll", 1, other),
            (peers, f"{burst} processes exit, one epoll loop", "burst", "total", "", 1, burst),
            (peers, "open and close", "calls", "call", "open and close, a later one"),
            (peers, "poll that finds nothing", "calls", "call", "poll, before")):
        one, two = (bench.one(kernel, case, metric, file, *key) for kernel, file in columns)
        change = two / one - 1 if one and two else None
        found[columns].append((words, number(one), number(two), "–" if change is None else
                               f"{change:+.3%}" if abs(change) < 0.01 else f"{change:+.1%}"))
    return found.values()


def summary(bench):
    """Return the table of README.md."""
    kernels, peers = costs(bench)
    return "\n".join(table(("", "unpatched", "patched", ""), kernels) + table(("", *FILES, ""), peers))


def letter(bench):
    """Return the table of the cover letter."""
    kernels, peers = costs(bench)
    return "".join(f"\t{words:<46}{one:>12}{two:>13}\n" for words, one, two, _ in
                   [("instructions", "unpatched", "patched", ""), *kernels, ("", *FILES, ""), *peers])


# Case, title, text, and three fields or tuples of fields. Each value of the first one has a table,
# each value of the second one a row, and each value of the third one a column.
SECTIONS = (
    ("unwatched", "Nobody watches",
     "These figures count from the creation of a process or thread until its creator has reaped or joined it.",
     "", ("way",), ("kernel",)),
    ("reader", "Until its reader has returned",
     "These figures count from the last instruction of the process until its only waiter has returned from its "
     "system call.",
     "", ("file", "way"), ("kernel",)),
    ("watched", "One waiter",
     "These figures count from the last instruction of the process. *exit*: until waitid() in its parent has "
     "reported the zombie. *reaped*: until the parent has reaped it. *settled*: until all tasks sleep again. "
     "With poll, each waiter is a thread. With epoll, each waiter is an entry of one epoll instance, and no "
     "thread wakes up.",
     "", ("kernel", "file", "way"), ("metric",)),
    ("own", "Many waiters of that process", "![](bench-own.svg)",
     "metric", ("own",), ("file", "way", "kernel")),
    ("other", "One waiter, and many of other processes", "![](bench-other.svg)",
     "metric", ("other",), ("file", "way", "kernel")),
    ("burst", "A burst of exits",
     "One signal kills many processes, which are autoreaped. These figures count from the signal until one "
     "epoll loop has learned of all exits.",
     "", ("other", "file", "way"), ("kernel",)),
    ("calls", "Single calls",
     "The first open of an exithand file makes inodes and directory entries of /proc/PID. The first open of a "
     "pidfd makes an inode of pidfs.",
     "", ("way",), ("file", "kernel")),
    ("polling", "Polling /proc",
     "A program waits for a process that lives for one to two seconds. The table shows the CPU time of the "
     "program, without timer interrupts, and its delay in learning of the exit.",
     "", ("way",), ("metric", "kernel")),
    ("killer", "Killing processes of a memory cgroup",
     "A program kills some of 16 processes of 4 MiB each until little more than half of their memory is in use. "
     "It must kill 8.",
     "", ("way",), ("metric", "kernel")),
    ("memory", "Memory",
     "The tables show the slab cache of struct signal_struct, and the bytes in slab caches for each open file.",
     "metric", ("way",), ("file", "kernel")),
)
# Metrics with another name or unit in the tables: name and divisor.
UNITS = {"cpu": ("CPU", 1), "late": ("late, µs", 1e3), "time": ("ms", 1e6)}


def pivot(bench, case, split, *fields):
    figures = {}
    for (kernel, *values), samples in bench.index.items():
        if values[0] == case:
            key = dict(zip(NAMES, values)) | {"kernel": KERNELS[kernel], "": ""}
            key["metric"], divisor = UNITS.get(key["metric"], (key["metric"], 1))
            row, column = (", ".join(str(key[name]) for name in names if key[name] != "") or "–" for names in fields)
            figures.setdefault(key[split], {})[row, column] = spread([v / divisor for v in samples])
    for which, cells in figures.items():
        rows, columns = ({key[i]: 1 for key in cells} for i in (0, 1))
        yield from table((which, *columns), ((row, *(cells.get((row, c), "–") for c in columns)) for row in rows))


def tables(bench):
    """Return the text of bench.md."""
    data, found = bench.data, goals(bench)
    words = {True: "met", False: "**missed**", None: "**not decided**"}
    out = ["# The cost of /proc/PID/exithand", "",
           f"Made by `make bench` from bench.json. {data['when']}, {data['kernel']}, {data['qemu']}, "
           f"{'; '.join(data['compilers'])}.", "",
           *(["**Made with QUICK=1, which runs fewer rounds. Use these figures only as a first look.**", ""]
             if data["quick"] else []),
           "QEMU counts instructions, so the speed and the load of the host do not matter. Each instruction "
           "advances the guest's clock by one nanosecond. The clock jumps while the guest is idle. Cache misses, "
           "mispredicted branches, the cost of locked instructions, lock contention (there is one CPU) and "
           "mitigations are not measured.", "",
           f"Each figure is the median of {max(map(len, bench.index.values()))} samples, with the range in "
           f"brackets. A sample is the median of its rounds; in the cases {', '.join(MEANS[:-1])} and {MEANS[-1]}, "
           "it is their mean.", "",
           "Three kernels of the same configuration are compared: *unpatched*, *patched* and *one queue*. In the "
           "last one, which is patched, all processes share one wait queue, as in the RFC of 2018 "
           "(scripts/mutants/one-global-queue.patch).", "",
           "## Goals", "", *table(("goal", "figures", ""), ((a, b, words[c]) for a, b, c in found)),
           *(f"- Why missed: *{what}*: {KNOWN.get(what, 'not known')}"
             for what in {what.split(":")[0]: 1 for what, _, met in found if met is False}), ""]
    for case, title, text, *fields in SECTIONS:
        out += [f"## {title}", "", text, "", *pivot(bench, case, *fields)]
    return "\n".join(out)


# -- plots --

PLOTS = {"own": ("the process that exits", ("exit", "poll"), ("exit", "epoll")),
         "other": ("other processes", ("exit", "poll"), ("settled", "poll"), ("exit", "epoll"))}
# Line, color, marker and its size. They differ because the lines often coincide.
STYLES = {(BASE, "pidfd"): ("-", "#8a8a8a", "s", 10), (PATCHED, "pidfd"): ("--", "#2c6fbb", "o", 7),
          (PATCHED, "exithand"): ("-", "#d9480f", "^", 5), (QUEUE, "exithand"): (":", "#7b2d8b", "x", 5)}


def plot(results):
    from matplotlib import pyplot, rcParams
    rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "exithand", "axes.grid": True, "grid.color": "#e6e6e6",
                     "legend.frameon": False, "figure.constrained_layout.use": True})
    text = (results / "bench.json").read_text()
    bench = Bench(text)
    for old in results.glob("bench-*.svg"):
        old.unlink()
    for case, (whose, *panels) in PLOTS.items():
        figure, axes = pyplot.subplots(1, len(panels), figsize=(1 + 3.5 * len(panels), 3.8), sharey=True)
        for ax, (metric, way) in zip(axes, panels):
            ax.set_xscale("symlog", linthresh=1)
            for (kernel, file), (line, color, marker, size) in STYLES.items():
                points = [(n, bench.one(kernel, case, metric, file, way, *((n,) if case == "own" else (1, n))))
                          for n in bench.values(case, case)]
                ax.plot(*zip(*points), line, color=color, marker=marker, markersize=size, markerfacecolor="none",
                        label=f"{file}, {KERNELS[kernel]}")
            ax.set(yscale="log", title=f"{metric} ({way})", xlabel=f"waiters of {whose}")
        axes[0].set_ylabel("instructions")
        axes[0].legend(loc="upper left")
        figure.savefig(results / f"bench-{case}.svg", metadata={
            "Date": None, "Description": f"bench.json {hashlib.sha256(text.encode()).hexdigest()}"})
    return 0


# -- main --

def judge(raw, results):
    data = collect(raw)
    # One figure a line makes the file readable for people and for diff.
    text = json.dumps({k: v for k, v in data.items() if k != "samples"}, indent=1, ensure_ascii=False)[:-2]
    text += ',\n "samples": {\n' + ",\n".join(
        f'  "{kernel}": [\n' + ",\n".join("   " + json.dumps(s) for s in samples) + "\n  ]"
        for kernel, samples in data["samples"].items()) + "\n }\n}\n"
    bench = Bench(text)
    for kernel in data["samples"]:
        ticks = bench.one(kernel, "instrument", "ticks of 1000000 instructions")
        if ticks is None or abs(ticks / 1e6 - 1) > 0.001:
            raise Problem(f"the guest's clock made {ticks} ticks in 1000000 instructions, so it does not count "
                          "instructions; use a QEMU whose TCG has -icount")
    (results / "bench.json").write_text(text)
    (results / "bench.md").write_text(tables(bench))
    print(summary(bench))
    status = 0
    for what, figures, met in goals(bench):
        word = {True: "met", False: "missed" if what.split(":")[0] in KNOWN else "MISSED", None: "not decided"}[met]
        print(f"{word:12}{what}: {figures}")
        status |= word == "MISSED"
    return status


def documents(top, bench):
    """Return {file: text} of the files that publish writes."""
    if bench.data["quick"]:
        raise Problem("these results are of a QUICK run; run make bench without QUICK")
    begin, end = "<!-- by `bench.py publish` -->\n", "<!-- to here -->"
    found = {top / "results/bench.md": tables(bench)}
    for file, place, new, words in (
            (top / "README.md", f"{begin}.*?{end}", begin + summary(bench) + end,
             f"single place for the summary, from {begin.strip()} to {end}"),
            (top / "patches/0000-cover-letter.txt", "^\tinstructions .*?\n\n", letter(bench) + "\n",
             "table whose first line begins with a tab and 'instructions '")):
        found[file], places = re.subn(place, lambda _, new=new: new, file.read_text(), flags=re.M | re.S)
        if places != 1:
            raise Problem(f"{file} has no {words}")
    return found


def publish(file, top):
    text = file.read_text()
    for name, new in (documents(top, Bench(text)) | {top / "results/bench.json": text}).items():
        name.write_text(new)
    return 0


def check(top):
    text, wrong = (top / "results/bench.json").read_text(), []
    try:
        for file, new in documents(top, Bench(text)).items():
            diff = list(difflib.unified_diff(file.read_text().splitlines(), new.splitlines(), lineterm="", n=0))[2:]
            wrong += [f"{file.name} is not what bench.json gives:", *diff] if diff else []
    except Problem as problem:
        wrong.append(str(problem))
    digest = hashlib.sha256(text.encode()).hexdigest()
    svgs = {f.name: digest in f.read_text() for f in (top / "results").glob("bench-*.svg")}
    if svgs != {f"bench-{name}.svg": True for name in PLOTS}:
        wrong.append(f"the plots are not those of bench.json: {', '.join(PLOTS)}")
    if wrong:
        print(*wrong, "to make these files again, run: make bench PUBLISH=results/bench.json", sep="\n")
    return 1 if wrong else 0


def compare(*files):
    one, two = (Bench(file.read_text()).index for file in files)
    found = []
    for key in one.keys() & two.keys():
        a, b = median(one[key]), median(two[key])
        found.append((abs(b - a) / (a or 1), f"{a} and {b}: {', '.join(str(k) for k in key if k not in ('', 0))}"))
    if not found:
        raise Problem("the two files have no figure in common")
    far = [f for f in found if f[0] >= FLAT]
    for difference, text in sorted(far or [max(found)], reverse=True):
        print(f"{difference:.2%}: {text}")
    print(f"{len(far)} of {len(found)} medians differ by {FLAT:.0%} or more")
    return 1 if far else 0


if __name__ == "__main__":
    try:
        verb = {("judge", 2): judge, ("plot", 1): plot, ("publish", 2): publish, ("check", 1): check,
                ("compare", 2): compare}.get(("".join(sys.argv[1:2]), len(sys.argv) - 2))
        if not verb:
            raise Problem(__doc__.split("\n\n")[1])
        sys.exit(verb(*map(Path, sys.argv[2:])))
    except (Problem, OSError, ValueError, KeyError) as problem:
        print(f"exithand: bench: {problem}", file=sys.stderr)
        sys.exit(6)
