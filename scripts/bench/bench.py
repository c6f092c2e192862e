#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tables, plots and verdicts from the samples of `make bench`.

usage: bench.py judge RAW RESULTS | plot RESULTS | publish JSON TOP | check TOP

judge    Write bench.json and bench.md to RESULTS, from the samples that scripts/verbs/bench left in RAW.
         Exits with 1 if a goal is missed and KNOWN has no reason for it.
plot     Draw bench-*.svg into RESULTS, from its bench.json. Needs matplotlib.
publish  Copy JSON to results/ of the repository TOP. Write bench.md and the tables in README.md and
         in the cover letter from it.
check    Compare the files that publish and plot write with results/bench.json. Exits with 1 if one differs.
"""

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
FLAT = 0.01             # goal: largest change by waiters of other processes
# Goals that are missed, with the reason.
KNOWN = {
    "its reader has returned":
        "the exit wakes a second wait queue besides the pidfd's.",
    "one waiter, until all sleep again":
        "the exit wakes a second wait queue. The reaping drops the inodes and directory entries of /proc/PID, "
        "as it does after any access to the process in /proc.",
}


class Bench:
    """The figures of a bench.json."""

    def __init__(self, text):
        self.data = json.loads(text)
        self.index = {(kernel, *(s[n] for n in NAMES)): s["mean" if s["case"] in MEANS else "median"]
                      for kernel, samples in self.data["samples"].items()
                      for s in sorted(samples, key=lambda s: (s["own"], s["other"]))}

    def one(self, kernel, case, metric, file="", way="", own=0, other=0):
        """Return the median of the samples."""
        key = kernel, case, file, way, own, other, metric
        if key not in self.index:
            raise ValueError(f"no samples of {key}")
        return median(self.index[key])

    def values(self, case, name):
        """Return the ways, or the numbers of waiters, of a case."""
        found = list({key[1 + NAMES.index(name)]: 1 for key in self.index if key[1] == case})
        if not found:
            raise ValueError(f"no samples of {case}")
        return found


# -- collecting --

def read_samples(file):
    """Return one entry for each figure. Its lists have one statistic of the rounds for each sample."""
    samples = {}
    for line in file.read_text().splitlines():
        case, path, way, own, other, metric, repetition, value = line.split("\t")
        figure = samples.setdefault((case, path, way, int(own), int(other), metric), {})
        figure.setdefault(repetition, []).append(float(value))
    return [dict(zip(NAMES, key)) | {f.__name__.replace("len", "n"): [round(f(v), 2) for v in figure.values()]
                                     for f in (len, mean, min, median, max)} for key, figure in samples.items()]


def read_bloat(file):
    """Read bloat-o-meter's output: a line for each symbol, after two lines and before the total."""
    lines = file.read_text().splitlines()
    old, new = Counter(), Counter()
    for name, before, after, _ in map(str.split, lines[2:-1]):
        # rustc numbers the impl blocks of a module. A new block, even without code,
        # renames the symbols of the later blocks.
        name = re.sub(r"(?<=[MX])s[0-9A-Za-z]*_", "s_", name) if name.startswith("_R") else name
        old[name] += int(before.strip("-") or 0)
        new[name] += int(after.strip("-") or 0)
    changes = {name: new[name] - old[name] for name in old}
    kinds = Counter("renamed" if not change else "added" if not old[name] else "removed" if not new[name]
                    else "grown" if change > 0 else "shrunk" for name, change in changes.items())
    total = re.match(r"Total: Before=(\d+), After=(\d+)", "".join(lines[-1:]))
    if not total or int(total[2]) - int(total[1]) != sum(changes.values()):
        raise ValueError(f"build/bench/{file.name} is no output of bloat-o-meter that is understood")
    return {kind: kinds[kind] for kind in ("added", "removed", "grown", "shrunk", "renamed")} | {
        "up": sum(c for c in changes.values() if c > 0), "down": sum(c for c in changes.values() if c < 0),
        "change": sum(changes.values()), "before": int(total[1]), "after": int(total[2])}


def collect(raw):
    config = dict(re.findall(r'^CONFIG_(\w+)="?(.*?)"?$', (raw / "config").read_text(), re.MULTILINE))
    return {
        "when": time.strftime("%Y-%m-%d", time.gmtime()),
        "quick": not (raw / "bloat-off").exists(),
        **{name: (raw / name).read_text().strip() for name in ("kernel", "qemu")},
        "compilers": [config["CC_VERSION_TEXT"], config["RUSTC_VERSION_TEXT"]],
        "sizes": {f.name[6:]: read_bloat(f) for f in sorted(raw.glob("bloat-*"))},
        "samples": {name: read_samples(raw / f"samples-{name}") for name in KERNELS
                    if name != AGAIN or (raw / f"samples-{name}").exists()},
    }


# -- goals --

def goals(bench):
    """Return [(goal, figures, met)]. The subject of a goal is before its colon.

    If this run cannot tell, met is None.
    """
    found = []

    base, patched = (bench.one(k, "watched", "exit", "none") for k in (BASE, PATCHED))
    found.append((f"nobody watches, the exit itself: at most {UNWATCHED:+.1%}",
                  f"{base:.0f} → {patched:.0f}: {patched - base:+.0f}, {patched / base - 1:+.3%}",
                  patched / base - 1 <= UNWATCHED))
    # A difference counts only if it exceeds the difference of two runs of one kernel.
    for way in bench.values("unwatched", "way"):
        base, patched = (bench.one(k, "unwatched", "life", "none", way) for k in (BASE, PATCHED))
        ratio = patched / base - 1
        text, met = f"{base:.0f} → {patched:.0f}, {ratio:+.3%}", True if ratio <= UNWATCHED else None
        if AGAIN in bench.data["samples"]:
            again = bench.one(AGAIN, "unwatched", "life", "none", way) / base - 1
            text += f"; the unpatched kernel once more: {again:+.3%}"
            met = met or (None if ratio <= abs(again) + UNWATCHED else False)
        found.append((f"nobody watches, {way}: at most {UNWATCHED:+.1%}", text, met))

    for words, case, metric, own, more in (
            (f"one waiter, the exit itself: at most {ABOVE} above", "watched", "exit", 1, ABOVE),
            ("one waiter, until all sleep again: at most", "watched", "settled", 1, 0),
            ("16 waiters, until it is reaped: at most", "own", "reaped", 16, 0),
            ("its reader has returned: at most", "reader", "told", 1, 0)):
        for way in ("poll", "epoll", "read") if case == "reader" else ("poll", "epoll"):
            peer = "poll" if way == "read" else way
            pidfd, ours = (bench.one(PATCHED, case, metric, *key, own) for key in zip(FILES, (peer, way)))
            found.append((f"{words} a pidfd's ({way}{f', and there {peer}' if case == 'reader' else ''})",
                          f"{pidfd:.0f}, {ours:.0f}: {ours - pidfd:+.0f}", ours <= pidfd + more))

    others = bench.values("other", "other")
    for way in ("poll", "epoll"):
        for metric in ("exit", "settled"):
            few, many = (bench.one(PATCHED, "other", metric, "exithand", way, 1, others[i]) for i in (0, -1))
            found.append((f"{others[-1]} waiters of other processes: no change of {metric} ({way})",
                          f"{few:.0f} → {many:.0f}", abs(many / few - 1) <= FLAT))
    for way in ("poll", "epoll"):
        pidfd, ours = ([(n, bench.one(PATCHED, "own", "exit", f, way, n)) for n in bench.values("own", "own")]
                       for f in FILES)
        each, first, peer = (linear_regression(*zip(*p)).slope for p in (ours[-3:], ours[:3], pidfd[-3:]))
        found.append((f"own waiters: linear ({way})",
                      f"{each:.0f} for each (the first ones {first:.0f}; a pidfd's {peer:.0f})",
                      abs(each / first - 1) <= 0.1))

    sizes = bench.data["sizes"]
    for what, have, limit in (
            ("struct signal_struct", bench.one(PATCHED, "memory", "object_size", "", "signal_cache"),
             SIGNAL_STRUCT),
            ("size of the kernel, by bloat-o-meter", sizes["on"]["change"], KERNEL)):
        found.append((f"{what}: at most {limit} bytes", f"{have:.0f}", have <= limit))
    if off := sizes.get("off"):
        found.append(("PROC_EXITHAND=n: the same kernel, by bloat-o-meter",
                      "{change} bytes, {added} symbols added, {removed} removed, {renamed} renamed".format(**off),
                      not off["up"] and not off["down"]))
    return found


# -- tables --

def number(value):
    return f"{value:,.{0 if abs(value) >= 100 or value == int(value) else 1}f}"


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
        change = two / one - 1
        found[columns].append((words, number(one), number(two),
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


# The sections of bench.md: title, case, and three fields or tuples of fields. Each value of the first one
# has a table, each value of the second one a row, and each value of the third one a column.
SECTIONS = (
    ("Nobody watches", "unwatched", "", ("way",), ("kernel",)),
    ("Until its reader has returned", "reader", "", ("file", "way"), ("kernel",)),
    ("One waiter", "watched", "", ("kernel", "file", "way"), ("metric",)),
    ("Many waiters of that process", "own", "metric", ("own",), ("file", "way", "kernel")),
    ("One waiter, and many of other processes", "other", "metric", ("other",), ("file", "way", "kernel")),
    ("A burst of exits", "burst", "", ("other", "file", "way"), ("kernel",)),
    ("Single calls", "calls", "", ("way",), ("file", "kernel")),
    ("Polling /proc", "polling", "", ("way",), ("metric", "kernel")),
    ("Killing processes of a memory cgroup", "killer", "", ("way",), ("metric", "kernel")),
    ("Memory", "memory", "metric", ("way",), ("file", "kernel")))
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


def fill(file, places):
    """Return the text of a file. {regular expression: text} replaces all but the first group of its match."""
    text = file.read_text()
    for place, new in places.items():
        text, found = re.subn(place, lambda match, new=new: match[1] + new, text, flags=re.MULTILINE | re.DOTALL)
        if found != 1:
            raise ValueError(f"{file} has no single place that matches {place!r}")
    return text


def report(top, bench):
    """Return bench.md. Its sentences are those of results/bench.md."""
    data, found = bench.data, goals(bench)
    words = {True: "met", False: "**missed**", None: "**not decided**"}
    tables = {title: pivot(bench, *fields) for title, *fields in SECTIONS} | {"Goals": (
        *table(("goal", "figures", ""), ((a, b, words[c]) for a, b, c in found)),
        *(f"- Why missed: *{what}*: {KNOWN.get(what, 'not known')}"
          for what in {what.split(":")[0]: 1 for what, _, met in found if met is False}), "")}
    return fill(top / "results/bench.md", {
        r"^(Made by `make bench` from bench\.json\. )[^\n]*":
            f"{data['when']}, {data['kernel']}, {data['qemu']}, {'; '.join(data['compilers'])}."
            + " **Made with QUICK=1. Use these figures only as a first look.**" * data["quick"],
        r"^(Each figure is the median of )\d+": str(max(map(len, bench.index.values()))),
        # Replace what follows the first bar in the section.
        **{rf"^(## {title}\n(?:(?!\n## )[^|])*).*?(?=\n## |\Z)": "\n".join(lines)
           for title, lines in tables.items()}})


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
    text = json.dumps(data, ensure_ascii=False).replace(' {"case"', '\n{"case"') + "\n"
    bench = Bench(text)
    for kernel in data["samples"]:
        ticks = bench.one(kernel, "instrument", "ticks of 1000000 instructions")
        if abs(ticks / 1e6 - 1) > 0.001:
            raise ValueError(f"the guest's clock made {ticks} ticks in 1000000 instructions, so it does not "
                             "count instructions; use a QEMU whose TCG has -icount")
    (results / "bench.json").write_text(text)
    (results / "bench.md").write_text(report(Path(__file__).parents[2], bench))
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
        raise ValueError("these results are of a QUICK run; run make bench without QUICK")
    return {
        top / "results/bench.md": report(top, bench),
        top / "README.md": fill(top / "README.md", {
            "(<!-- by `bench.py publish` -->\n).*?(?=<!-- to here -->)": summary(bench)}),
        top / "patches/0000-cover-letter.txt": fill(top / "patches/0000-cover-letter.txt", {
            r"^()\tinstructions .*?\n(?=\n)": letter(bench)})}


def publish(file, top):
    text = file.read_text()
    for name, new in (documents(top, Bench(text)) | {top / "results/bench.json": text}).items():
        name.write_text(new)
    return 0


def check(top):
    text = (top / "results/bench.json").read_text()
    wrong = [file.name for file, new in documents(top, Bench(text)).items() if file.read_text() != new]
    digest = hashlib.sha256(text.encode()).hexdigest()
    wrong += [name for name in (f"bench-{case}.svg" for case in PLOTS)
              if digest not in (top / "results" / name).read_text()]
    if wrong:
        print(f"not what bench.json gives: {', '.join(wrong)}; run: make bench PUBLISH=results/bench.json")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        name, *files = sys.argv[1:]
        verb = {"judge": judge, "plot": plot, "publish": publish, "check": check}[name]
        sys.exit(verb(*map(Path, files)))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        print(f"exithand: bench: {problem}", file=sys.stderr)
        sys.exit(6)
