# SPDX-License-Identifier: GPL-2.0
"""Tables, plots and verdicts from the samples of `make bench`.

usage: bench.py judge RAW RESULTS | publish JSON TOP | check TOP

judge    Write bench.json, bench.md and bench-*.svg to RESULTS, from the samples that scripts/verbs/bench
         left in RAW. Exits with 1 if a goal is missed. Needs matplotlib.
publish  Copy JSON to results/ of the repository TOP. Write bench.md and bench-*.svg there, and the tables
         in README.md and in the cover letter, from it. Needs matplotlib.
check    Compare the files that publish writes with results/bench.json. Exits with 1 if one differs.
"""

import hashlib
import json
import re
import sys
import time
from pathlib import Path
from statistics import mean, median

BASE, PATCHED, QUEUE, THIN = "base", "patched", "one-queue", "thin"
KERNELS = {BASE: "unpatched", PATCHED: "patched", QUEUE: "one queue", THIN: "thin file"}
WAYS = "poll", "epoll"
NAMES = "case", "file", "way", "own", "other", "metric"

# The tables of costs: heads, two kernels and files, and rows. A row has the goal, which is
# the largest increase from the first column to the second, or None. The fork has none
# because it varies by 0.1 % between two runs of one kernel.
NOBODY = (
    ("nobody watches: the exit itself", 4, "watched", "exit"),
    ("nobody watches: vfork, exit, wait", 38, "unwatched", "life", "vfork"),
    ("nobody watches: fork, exit, wait", None, "unwatched", "life", "fork"))
WAITERS = (
    ("exit with one waiter", 80, "own", "exit", "poll", 1),
    ("exit, until its reader has returned from poll", 80, "reader", "told", "poll", 1),
    ("the same, but exithand by read", 0, "reader", "told", "read", 1),
    ("exit with 1000 waiters", 770, "own", "exit", "poll", 1000),
    ("exit with one waiter, 10000 of other processes", 80, "other", "exit", "poll", 1, 10000),
    ("10000 processes exit, one epoll loop", None, "burst", "total", "", 1, 10000),
    ("open and close", None, "calls", "call", "open and close, a later one"),
    ("poll that finds nothing", None, "calls", "call", "poll, before"))
COSTS = (
    (("instructions", "unpatched", "patched"), ((BASE, "none"), (PATCHED, "none")), NOBODY),
    (("", "pidfd", "exithand"), ((PATCHED, "pidfd"), (PATCHED, "exithand")), WAITERS),
    (("", "thin file", "patched"), ((THIN, "none"), (PATCHED, "none")),
     [(row, None, *key) for row, _, *key in NOBODY]),
    (("", "thin file", "exithand"), ((THIN, "exithand"), (PATCHED, "exithand")),
     [(row, None, *key) for row, _, *key in WAITERS]))
SIGNAL_STRUCT = 1000    # goal: largest size of struct signal_struct, in bytes
KERNEL = 2616           # goal: most bytes that PROC_EXITHAND=y adds to the kernel
# The rows of the last table of bench.md, which is about the patched kernel.
REST = (
    *(("killer", metric, "", way) for way in ("does not wait", "looks every 10 ms", "waits by exithand")
      for metric in ("time", "killed")),
    *(("memory", metric, "", "signal_cache") for metric in ("object_size", "objs_per_slab")))
# The two plots, and whose waiters they count.
PLOTS = {"own": "the process that exits", "other": "other processes"}
# Line, color, marker and its size. They differ because the lines often coincide.
STYLES = {(BASE, "pidfd"): ("-", "#8a8a8a", "s", 10), (PATCHED, "pidfd"): ("--", "#2c6fbb", "o", 7),
          (PATCHED, "exithand"): ("-", "#d9480f", "^", 5), (QUEUE, "exithand"): (":", "#7b2d8b", "x", 5)}


class Bench:
    """The figures of a bench.json: medians of samples, which are medians of rounds, or means for killer."""

    def __init__(self, text):
        self.data = json.loads(text)
        self.figures = {
            (kernel, *(s[n] for n in NAMES)): median(s["mean" if s["case"] == "killer" else "median"])
            for kernel, entries in self.data["samples"].items() for s in entries}

    def one(self, kernel, case, metric, file="", way="", own=0, other=0):
        key = kernel, case, file, way, own, other, metric
        if key not in self.figures:
            raise ValueError(f"no samples of {key}")
        return self.figures[key]

    def costs(self):
        """Return the tables of costs, [(heads, [(row, goal, figure, figure)])]."""
        return [(heads, [
            (row, goal, *(self.one(kernel, case, metric, file, *key) for kernel, file in columns))
            for row, goal, case, metric, *key in rows]) for heads, columns, rows in COSTS]

    def line(self, case, way, kernel, file):
        """Return [(waiters, instructions of an exit)] of the case own or other."""
        numbers = sorted({key[1 + NAMES.index(case)] for key in self.figures if key[1:4:2] == (case, way)})
        return [(n, self.one(kernel, case, "exit", file, way, *((n,) if case == "own" else (1, n))))
                for n in numbers]


def read_samples(file):
    """Return one entry for each figure. Its lists have one statistic of the rounds for each sample."""
    samples = {}
    for line in file.read_text().splitlines():
        case, path, way, own, other, metric, repetition, value = line.split("\t")
        figure = samples.setdefault((case, path, way, int(own), int(other), metric), {})
        figure.setdefault(repetition, []).append(float(value))
    return [dict(zip(NAMES, key)) | {f.__name__: [round(f(v), 2) for v in figure.values()]
                                     for f in (mean, median)} for key, figure in samples.items()]


def read_bloat(file):
    """Read the first line of bloat-o-meter's output."""
    found = re.match(r"add/remove: \S+ grow/shrink: (?P<grown>\d+)/(?P<shrunk>\d+) up/down: \S+ "
                     r"\((?P<change>-?\d+)\)\n", file.read_text())
    if not found:
        raise ValueError(f"build/bench/{file.name} is no output of bloat-o-meter that is understood")
    return {name: int(value) for name, value in found.groupdict().items()}


def collect(raw):
    return {
        "when": time.strftime("%Y-%m-%d", time.gmtime()),
        **{name: (raw / name).read_text().strip() for name in ("kernel", "qemu")},
        "compilers": (raw / "compilers").read_text().splitlines(),
        "sizes": {name: read_bloat(raw / f"bloat-{name}") for name in ("off", "on")},
        "samples": {name: read_samples(raw / f"samples-{name}") for name in KERNELS},
    }


def goals(bench):
    """Return [(goal, figures, met)]."""
    before, size = (bench.one(kernel, "memory", "object_size", "", "signal_cache")
                    for kernel in (BASE, PATCHED))
    on, off = (bench.data["sizes"][name] for name in ("on", "off"))
    return [
        *((f"{row}: at most {goal} more", f"{one:.0f}, {two:.0f}: {two - one:+.0f}", two - one <= goal)
          for _, rows in bench.costs() for row, goal, one, two in rows if goal is not None),
        (f"struct signal_struct: at most {SIGNAL_STRUCT} bytes",
         f"{before:.0f}, {size:.0f}", size <= SIGNAL_STRUCT),
        (f"size of the kernel, by bloat-o-meter: at most {KERNEL} bytes",
         on["change"], on["change"] <= KERNEL),
        ("PROC_EXITHAND=n: the same kernel, by bloat-o-meter",
         "{change} bytes, {grown} symbols grown, {shrunk} shrunk".format(**off),
         not (off["change"] or off["grown"] or off["shrunk"]))]


def number(value):
    return f"{value:,.{0 if value >= 100 or value == int(value) else 1}f}"


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
            *("| " + " | ".join(str(c) for c in row) + " |" for row in rows), ""]


def summary(costs):
    """Return tables of costs for README.md and bench.md."""
    lines = []
    for heads, rows in costs:
        changes = [two / one - 1 for _, _, one, two in rows]
        lines += table(("", *heads[1:], ""), (
            (row, number(one), number(two), f"{change:+.3%}" if abs(change) < 0.01 else f"{change:+.1%}")
            for (row, _, one, two), change in zip(rows, changes)))
    return "\n".join(lines)


def letter(bench):
    """Return the table of costs for the cover letter."""
    return "".join(f"\t{row:<46}{one:>12}{two:>13}\n" for heads, rows in bench.costs() for row, one, two in
                   [heads, *((row, number(one), number(two)) for row, _, one, two in rows)])


def waiters(bench, case):
    """Return the tables behind a plot."""
    for way in WAYS:
        lines = [bench.line(case, way, *style) for style in STYLES]
        yield from table((way, *(f"{file}, {KERNELS[kernel]}" for kernel, file in STYLES)),
                         ((cells[0][0], *(number(figure) for _, figure in cells)) for cells in zip(*lines)))


def fill(file, places):
    """Return the text of a file. {regular expression: text} replaces all but the first group of its match."""
    text = file.read_text()
    for place, new in places.items():
        text, found = re.subn(place, lambda match, new=new: match[1] + new, text,
                              flags=re.MULTILINE | re.DOTALL)
        if found != 1:
            raise ValueError(f"{file} has no single place that matches {place!r}")
    return text


def report(top, bench):
    """Return bench.md. Its sentences are those of results/bench.md."""
    data = bench.data
    tables = {
        "Goals": table(("goal", "figures", ""),
                       ((*goal, "met" if met else "MISSED") for *goal, met in goals(bench))),
        "Costs": [summary(bench.costs())],
        "Many waiters of that process": waiters(bench, "own"),
        "One waiter, and many of other processes": waiters(bench, "other"),
        "Killing, memory": table(("", "patched"), (
            (f"{key[3]}: {key[1]}", number(bench.one(PATCHED, *key))) for key in REST))}
    return fill(top / "results/bench.md", {
        r"^(Made by `make bench` from bench\.json\. )[^\n]*":
            f"{data['when']}, {data['kernel']}, {data['qemu']}, {'; '.join(data['compilers'])}.",
        # Replace what follows the first bar in the section.
        **{rf"^(## {title}\n(?:(?!\n## )[^|])*).*?(?=\n## |\Z)": "\n".join(lines)
           for title, lines in tables.items()}})


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def plot(results, text):
    from matplotlib import pyplot, rcParams
    rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "exithand", "axes.grid": True,
                     "grid.color": "#e6e6e6", "legend.frameon": False, "figure.constrained_layout.use": True})
    bench = Bench(text)
    for case, whose in PLOTS.items():
        figure, axes = pyplot.subplots(1, len(WAYS), figsize=(8, 3.8), sharey=True)
        for ax, way in zip(axes, WAYS):
            ax.set_xscale("symlog", linthresh=1)
            for (kernel, file), (line, color, marker, size) in STYLES.items():
                ax.plot(*zip(*bench.line(case, way, kernel, file)), line, color=color, marker=marker,
                        markersize=size, markerfacecolor="none", label=f"{file}, {KERNELS[kernel]}")
            ax.set(yscale="log", title=f"exit ({way})", xlabel=f"waiters of {whose}")
        axes[0].set_ylabel("instructions")
        axes[0].legend(loc="upper left")
        figure.savefig(results / f"bench-{case}.svg", metadata={
            "Date": None, "Description": f"bench.json {digest(text)}"})


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
    plot(results, text)
    print(summary(bench.costs()))
    status = 0
    for goal, figures, met in goals(bench):
        print(f"{'met' if met else 'MISSED':8}{goal}: {figures}")
        status |= not met
    return status


def documents(top, bench):
    """Return {file: text} of the files that publish writes, but for the plots."""
    return {
        top / "results/bench.md": report(top, bench),
        top / "README.md": fill(top / "README.md", {
            "(<!-- by `bench.py publish` -->\n).*?(?=<!-- to here -->)": summary(bench.costs()[:2])}),
        top / "patches/0000-cover-letter.txt": fill(top / "patches/0000-cover-letter.txt", {
            r"^()\tinstructions .*?\n(?=\n)": letter(bench)})}


def publish(file, top):
    text = file.read_text()
    for name, new in (documents(top, Bench(text)) | {top / "results/bench.json": text}).items():
        name.write_text(new)
    plot(top / "results", text)


def check(top):
    text = (top / "results/bench.json").read_text()
    wrong = [file.name for file, new in documents(top, Bench(text)).items() if file.read_text() != new]
    wrong += [name for name in (f"bench-{case}.svg" for case in PLOTS)
              if digest(text) not in (top / "results" / name).read_text()]
    if wrong:
        print(f"not what bench.json gives: {', '.join(wrong)}; run: make bench PUBLISH=results/bench.json")
    return bool(wrong)


if __name__ == "__main__":
    try:
        name, *files = sys.argv[1:]
        verb = {"judge": judge, "publish": publish, "check": check}[name]
        sys.exit(verb(*map(Path, files)))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        print(f"exithand: bench: {problem}", file=sys.stderr)
        sys.exit(6)
