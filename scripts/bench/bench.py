#!/usr/bin/env python3
"""What `make bench` makes of its samples, and whether that agrees with them.

usage: bench.py judge RAW RESULTS | plot RESULTS | publish RESULTS NEW README LETTER |
       bench.py check RESULTS README LETTER | compare JSON JSON

judge  RAW has what scripts/verbs/bench left: samples-KERNEL (a JSON object in each line, see
       scripts/bench/bench.c), what bloat-o-meter and pahole said, and the versions of the tools.
       RESULTS gets bench.json (every sample) and bench.md (tables). Exits with 1 if a goal is
       missed and it is not known why.
plot   RESULTS gets bench-*.svg. Needs matplotlib.
publish  Copy these results to NEW, which is committed, and their summary into README and into
       LETTER, the cover letter.
check  That bench.md is what bench.json gives, that the plots were made from it, and that README
       and LETTER have its summary.
compare  By how much the medians of two runs differ. Exits with 1 if that is 1 % or more.
"""

import hashlib
import json
import re
import shutil
import sys
import time
from pathlib import Path
from statistics import median

BASE, AGAIN, PATCHED, QUEUE = "base", "base-again", "patched", "one-queue"
# A sample is the mean of its rounds where each of them counts, and else their median.
MEANS = ("polling", "killer", "memory", "charged")
NUMBERS = ("n", "mean", "min", "median", "max")
NAMES = ("case", "file", "way", "own", "other", "metric")

# Goals that are missed, and why.
KNOWN = {
    "one waiter, the exit itself": "an exit wakes the pidfd's queue in any case, even if nobody waits there. "
    "exithand adds the wake-up of a second queue with its lock, about 57 instructions by the disassembly, and the "
    "hook, the call, the latch and the look at the queue.",
    "its reader has returned": "an exit wakes the pidfd's queue in any case, even if nobody waits there. exithand "
    "adds the wake-up of a second queue.",
    "one waiter, until all sleep again": "an exit wakes a second queue, and at the reaping procfs drops its inodes "
    "and directory entries of /proc/PID, as it does whenever somebody has looked at the process.",
}

FLAT = 0.01         # by so much may differ what is called the same
# Goals.
UNWATCHED = 0.001       # for a process that nobody watches
ABOVE = 80              # instructions of an exit with one waiter, above a pidfd's
SIGNAL_STRUCT = 1000    # bytes
KERNEL = 2616           # bytes more with PROC_EXITHAND=y


class Problem(Exception):
    pass


class Bench:
    """bench.json, and how to get at a figure in it."""

    def __init__(self, data):
        self.data = data
        self.index = {(kernel, *(s[n] for n in NAMES)): s
                      for kernel, samples in data["samples"].items() for s in samples}

    def all(self, kernel, case, metric, file="", way="", own=0, other=0, by=None):
        """The samples of one figure; none if it was not measured."""
        s = self.index.get((kernel, case, file, way, own, other, metric))
        return s[by or ("mean" if case in MEANS else "median")] if s else []

    def one(self, *args, **kwargs):
        samples = self.all(*args, **kwargs)
        return median(samples) if samples else None

    def must(self, kernel, case, metric, **key):
        value = self.one(kernel, case, metric, **key)
        if value is None:
            raise Problem(f"the {kernel} kernel has no samples of {case}, {metric}, {key}")
        return value

    def has(self, kernel):
        return kernel in self.data["samples"]

    def values(self, kernel, case, name):
        """What there is of an own or an other."""
        return sorted({s[name] for s in self.data["samples"].get(kernel, []) if s["case"] == case})

    def ways(self, case, **match):
        """In the order in which they were measured."""
        found = {}
        for samples in self.data["samples"].values():
            for s in samples:
                if s["case"] == case and all(s[k] == v for k, v in match.items()):
                    found[s["way"]] = 1
        return list(found)


# -- collecting --

def read_samples(file):
    """One entry for each figure, with a list of each of its numbers."""
    figures = {}
    for line in file.read_text().splitlines():
        sample = json.loads(line)
        key = tuple(sample[n] for n in NAMES)
        figure = figures.setdefault(key, dict(zip(NAMES, key)) | {n: [] for n in NUMBERS})
        for n in NUMBERS:
            value = round(sample[n], 2)
            figure[n].append(int(value) if value == int(value) else value)
    if not figures:
        raise Problem(f"{file.name} is empty; see build/results/console.log")
    return list(figures.values())


def read_bloat(file):
    """bloat-o-meter's verdict, and what changed most."""
    lines = file.read_text().splitlines()
    head = re.match(r"add/remove: (\d+)/(\d+) grow/shrink: (\d+)/(\d+) up/down: (-?\d+)/(-?\d+) \((-?\d+)\)",
                    lines[0]) if lines else None
    total = re.match(r"Total: Before=(\d+), After=(\d+)", lines[-1]) if lines else None
    if not head or not total:
        raise Problem(f"bloat-o-meter's answer in build/bench/{file.name} is not understood")
    numbers = dict(zip(("added", "removed", "grown", "shrunk", "up", "down", "change"),
                       (int(g) for g in head.groups())))
    symbols = [{"symbol": fields[0], "change": int(fields[-1])}
               for fields in (line.split() for line in lines[2:-1]) if len(fields) >= 4]
    # rustc numbers the impl blocks of a module, so one more of them, even one
    # without code, renames what is in those after it.
    renamed = 0
    for new in [s for s in symbols if s["change"] > 0]:
        for old in symbols:
            if old["change"] == -new["change"] and same_but_for_number(old["symbol"], new["symbol"]):
                symbols.remove(new)
                symbols.remove(old)
                renamed += 1
                numbers["added"] -= 1
                numbers["removed"] -= 1
                numbers["up"] -= new["change"]
                numbers["down"] += new["change"]
                break
    return numbers | {"renamed": renamed, "before": int(total[1]), "after": int(total[2]),
                      "symbols": symbols}


def same_but_for_number(one, two):
    """Are these Rust symbols the same but for which impl block of a module they are in?"""
    one, two = (re.sub(r"(?<=[MX])s[0-9A-Za-z]*_", "s_", symbol) for symbol in (one, two))
    return one == two and one.startswith("_R")


def read_layout(file):
    text = file.read_text()
    size = re.search(r"/\* size: (\d+),", text)
    if not size:
        raise Problem(f"pahole's answer in build/bench/{file.name} has no size")
    holes = re.search(r"sum holes: (\d+)", text)
    members = {m[1]: {"offset": int(m[2]), "size": int(m[3])}
               for m in re.finditer(r"\b(exithand\w*);\s*/\*\s+(\d+)\s+(\d+) \*/", text)}
    return {"size": int(size[1]), "holes": int(holes[1]) if holes else 0, "members": members}


def collect(raw):
    config = dict(re.findall(r'^CONFIG_(\w+)="?(.*?)"?$', (raw / "config").read_text(), re.M))
    samples = {name: read_samples(raw / f"samples-{name}")
               for name in (BASE, AGAIN, PATCHED, QUEUE) if (raw / f"samples-{name}").exists()}
    wall = {name: read_samples(raw / f"samples-wall-{name}")
            for name in (BASE, PATCHED) if (raw / f"samples-wall-{name}").exists()}
    lost = [name for name in (BASE, PATCHED, QUEUE) if name not in samples]
    if lost:
        raise Problem(f"no samples of the kernel {', '.join(lost)}; run make bench again")
    return {
        "when": time.strftime("%Y-%m-%d", time.gmtime()),
        "quick": not (raw / "bloat-off").exists(),
        "kernel": (raw / "kernel").read_text().strip(),
        "compilers": [config["CC_VERSION_TEXT"], config["RUSTC_VERSION_TEXT"]],
        "qemu": (raw / "qemu").read_text().strip(),
        "guest": "-icount shift=0,sleep=off -smp 1, 2 GiB; qemu-config/base.config and bench.config",
        "sizes": {f.name[6:]: read_bloat(f) for f in sorted(raw.glob("bloat-*"))},
        "layouts": {f.name: read_layout(f)
                    for f in sorted([*raw.glob("signal_struct-*"), *raw.glob("pid-*"), *raw.glob("watch-*")])},
        "cpu": (raw / "cpu").read_text().strip() if wall else None,
        "samples": samples,
        "wall": wall,
    }


# -- goals --

def slope(points):
    """Of the line through the points, by least squares."""
    x0, y0 = (sum(p[i] for p in points) / len(points) for i in (0, 1))
    return sum((x - x0) * (y - y0) for x, y in points) / sum((x - x0) ** 2 for x, _ in points)


def goals(bench):
    """[(what, figures, met: yes, no, or None if this run cannot tell)]; what is before a colon."""
    found = []

    base, patched = (bench.must(k, "watched", "exit", file="none") for k in (BASE, PATCHED))
    found.append((f"nobody watches, the exit itself: at most {UNWATCHED:+.1%}",
                  f"{base:.0f} → {patched:.0f}: {patched - base:+.0f}, {patched / base - 1:+.3%}",
                  patched / base - 1 <= UNWATCHED))

    # A difference counts only if it is larger than what the same kernel makes.
    ways = bench.ways("unwatched")
    if not ways:
        raise Problem("there are no samples of what nobody watches")
    for way in ways:
        base, patched = (bench.must(k, "unwatched", "life", file="none", way=way) for k in (BASE, PATCHED))
        ratio = patched / base - 1
        again = bench.one(AGAIN, "unwatched", "life", file="none", way=way)
        noise = abs(again / base - 1) if again else None
        text = f"{base:.0f} → {patched:.0f}, {ratio:+.3%}"
        if noise is not None:
            text += f"; the unpatched kernel once more: {again / base - 1:+.3%}"
        met = True if ratio <= UNWATCHED else None if noise is None or ratio <= noise + UNWATCHED else False
        found.append((f"nobody watches, {way}: at most {UNWATCHED:+.1%}", text, met))

    for own, metric, words, more in ((1, "exit", "one waiter, the exit itself", ABOVE),
                                     (1, "settled", "one waiter, until all sleep again", 0),
                                     (16, "reaped", "16 waiters, until it is reaped", 0)):
        for way in ("poll", "epoll"):
            pidfd, ours = (bench.must(PATCHED, "watched" if own == 1 else "own", metric, file=f, way=way, own=own)
                           for f in ("pidfd", "exithand"))
            found.append((f"{words}: at most {f'{more} above ' if more else ''}a pidfd's ({way})",
                          f"{pidfd:.0f}, {ours:.0f}: {ours - pidfd:+.0f}", ours <= pidfd + more))

    for way, peer in (("poll", "poll"), ("epoll", "epoll"), ("read", "poll")):
        pidfd, ours = (bench.must(PATCHED, "reader", "told", file=f, way=w, own=1)
                       for f, w in (("pidfd", peer), ("exithand", way)))
        found.append((f"its reader has returned: at most a pidfd's ({way}, and there {peer})",
                      f"{pidfd:.0f}, {ours:.0f}: {ours - pidfd:+.0f}", ours <= pidfd))

    for way in ("poll", "epoll"):
        few, *_, many = bench.values(PATCHED, "other", "other") or (0, 0)
        for metric in ("exit", "settled"):
            one, all_ = (bench.must(PATCHED, "other", metric, file="exithand", way=way, own=1, other=n)
                         for n in (few, many))
            found.append((f"{many} waiters of other processes: no change of {metric} ({way})",
                          f"{one:.0f} → {all_:.0f}", abs(all_ / one - 1) <= FLAT))

    for way in ("poll", "epoll"):
        points = [(n, bench.must(PATCHED, "own", "exit", file="exithand", way=way, own=n))
                  for n in bench.values(PATCHED, "own", "own")]
        if len(points) < 3:
            raise Problem("there are no samples of a process's own waiters")
        each, first = slope(points[-3:]), slope(points[:3])
        fd = slope([(n, bench.must(PATCHED, "own", "exit", file="pidfd", way=way, own=n))
                    for n, _ in points[-3:]])
        found.append((f"own waiters: linear ({way})",
                      f"{each:.0f} for each (the first ones {first:.0f}; a pidfd's {fd:.0f})",
                      abs(each / first - 1) <= 0.1))

    for what, have, limit in (
            ("struct signal_struct", bench.data["layouts"]["signal_struct-patched"]["size"], SIGNAL_STRUCT),
            ("size of the kernel, by bloat-o-meter", bench.data["sizes"]["on"]["change"], KERNEL)):
        found.append((f"{what}: at most {limit} bytes", str(have), have <= limit))

    if "off" in bench.data["sizes"]:
        off = bench.data["sizes"]["off"]
        found.append(("PROC_EXITHAND=n: the same kernel, by bloat-o-meter",
                      f"{off['change']} bytes, {off['added']} symbols added, {off['removed']} removed, "
                      f"{off['renamed']} renamed",
                      not off["up"] and not off["down"]))
    return found


# -- tables --

def number(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.1f}"


def spread(samples):
    """The median, and in brackets how far the samples go."""
    if not samples:
        return "–"
    low, middle, high = min(samples), median(samples), max(samples)
    return number(middle) if low == high else f"{number(middle)} ({number(low)}–{number(high)})"


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
            *("| " + " | ".join(str(c) for c in row) + " |" for row in rows), ""]


KERNEL_NAMES = {BASE: "unpatched", AGAIN: "unpatched, again", PATCHED: "patched", QUEUE: "one queue"}


def percent(new, old):
    if not new or not old:
        return "–"
    change = new / old - 1
    return f"{change:+.3%}" if abs(change) < 0.01 else f"{change:+.1%}"


def costs(bench):
    """Of the summary: rows that compare the kernels, and rows that compare with a pidfd."""
    rows = []
    base, patched = (bench.one(k, "watched", "exit", file="none") for k in (BASE, PATCHED))
    rows.append(("nobody watches: the exit itself", number(base), number(patched), percent(patched, base)))
    for way, words in (("vfork", "vfork, exit, wait"), ("fork", "fork, exit, wait")):
        base, patched = (bench.one(k, "unwatched", "life", file="none", way=way) for k in (BASE, PATCHED))
        rows.append((f"nobody watches: {words}", number(base), number(patched), percent(patched, base)))

    def row(words, pidfd, ours):
        rows.append((words, number(pidfd), number(ours), percent(ours, pidfd)))

    def both(case, metric, **key):
        return (bench.one(PATCHED, case, metric, file=f, **key) for f in ("pidfd", "exithand"))

    row("exit with one waiter", *both("watched", "exit", way="poll", own=1))
    row("exit, until its reader has returned from poll", *both("reader", "told", way="poll", own=1))
    many = bench.values(PATCHED, "own", "own")[-1]
    row(f"exit with {many} waiters", *both("own", "exit", way="poll", own=many))
    others = bench.values(PATCHED, "other", "other")[-1]
    row(f"exit with one waiter, {others} of other processes",
        *both("other", "exit", way="poll", own=1, other=others))
    burst = bench.values(PATCHED, "burst", "other")[-1]
    row(f"{burst} processes exit, one epoll loop", *both("burst", "total", own=1, other=burst))
    row("open and close", *both("calls", "call", way="open and close, a later one"))
    row("poll that finds nothing", *both("calls", "call", way="poll, before"))
    return rows[:3], rows[3:]


def summary(bench):
    """The table of README."""
    base, peer = costs(bench)
    return table(("", "unpatched", "patched", ""), base) + table(("", "pidfd", "exithand", ""), peer)


LETTER_HEAD = "\tinstructions"


def letter(bench):
    """The table of the cover letter."""
    base, peer = costs(bench)
    return [f"\t{words:<46}{one:>12}{two:>13}" for words, one, two, _ in
            [("instructions", "unpatched", "patched", ""), *base, ("", "pidfd", "exithand", ""), *peer]]


def tables(bench):
    data, out = bench.data, []
    repetitions = max(len(s["n"]) for samples in data["samples"].values() for s in samples)
    out += ["# What /proc/PID/exithand costs", "",
            "Made by `make bench`, from bench.json; `make check` compares them. "
            f"{data['when']}, {data['kernel']}, {data['qemu']}, {'; '.join(data['compilers'])}.",
            "" if not data["quick"] else
            "\n**Made with QUICK=1: fewer rounds; for a first look only.**\n",
            "Instructions, counted by QEMU (`-accel tcg -icount shift=0,sleep=off -smp 1`): the guest's "
            "clock advances by one nanosecond for each, and jumps when there is nothing to do. So the "
            "figures do not depend on the speed of a machine or on what else it does. They do not "
            "tell of what is not an instruction: misses in caches, branches foretold wrongly, the price "
            "of a locked instruction, and whatever two CPUs do to each other. There is one CPU, so no "
            "lock was ever contended. Kernel and processor ran without mitigations.",
            "",
            f"Each figure is the median of {repetitions} samples, in brackets the smallest and the "
            "largest; each sample is the median of its rounds, or their mean where each of them counts "
            f"({', '.join(MEANS)}). Before the first sample, one is thrown away.",
            "",
            "Kernels, of one configuration: *unpatched*; *patched*; *one queue*: patched, but all "
            "processes share one queue of waiters, as in the RFC of 2018 "
            "(scripts/mutants/one-global-queue.patch).", ""]

    out += ["## Goals", ""]
    words = {True: "met", False: "**missed**", None: "**not decided**"}
    found = goals(bench)
    out += table(("goal", "figures", ""), ((a, b, words[c]) for a, b, c in found))
    missed = {what.split(":")[0]: 1 for what, _, met in found if met is False}
    out += [f"- Why missed: *{what}*: {KNOWN.get(what, 'not known')}" for what in missed] + [""]

    out += ["## Nobody watches", "",
            "A process, or a thread, that lives and dies, until its parent has waited for it; one after "
            "the other. The median is what each of them takes. The mean has in it also what the kernel does "
            "later, for many at a time, and interrupts; so it repeats less well.", ""]
    kernels = [k for k in (BASE, AGAIN, PATCHED) if bench.has(k)]
    rows = []
    for way in bench.ways("unwatched"):
        for by in ("median", "mean"):
            key = dict(file="none", way=way, by=by)
            rows.append((way, by, *(spread(bench.all(k, "unwatched", "life", **key)) for k in kernels),
                         *(percent(bench.one(k, "unwatched", "life", **key),
                                   bench.one(BASE, "unwatched", "life", **key)) for k in kernels[1:])))
    out += table(("", "", *(KERNEL_NAMES[k] for k in kernels),
                  *(f"{KERNEL_NAMES[k]}: difference" for k in kernels[1:])), rows)
    out += ["![](bench-unwatched.svg)", ""]

    out += ["## Until its reader has returned", "",
            "From the process's last instruction until the only one who waits for it is out of its system call. "
            "Its parent, if that is not who waits, sleeps. waitpid() reaps the process, too.", ""]
    names = [(f, w) for f in ("pidfd", "waitpid", "connector", "exithand") for w in bench.ways("reader", file=f)]
    out += table(("", "unpatched", "patched", "against poll of a pidfd"),
                 ((f"{f} {w}".strip(), *(spread(bench.all(k, "reader", "told", file=f, way=w, own=1))
                                        for k in (BASE, PATCHED)),
                   percent(bench.one(PATCHED, "reader", "told", file=f, way=w, own=1),
                           bench.one(PATCHED, "reader", "told", file="pidfd", way="poll", own=1)))
                  for f, w in names))

    exits = ("*exit*: from the process's last instruction until its parent's waitid() has told of the zombie, so "
             "with all the wake-ups. *reaped*: until the parent has reaped it. *told*: until the last of its waiters has returned. *settled*: until everybody "
             "sleeps again. poll: each waiter is a thread in poll(2); epoll: each is an entry of an epoll "
             "instance, and no thread is woken. The process shares its parent's memory and files, so that "
             "what depends on the waiters is easily seen.")
    out += ["## One waiter", "", exits, ""]
    rows = []
    for kernel in (BASE, PATCHED, QUEUE):
        for file in ("none", "pidfd", "exithand"):
            for way in bench.ways("watched", file=file):
                key = dict(file=file, way=way, own=int(file != "none"))
                if bench.all(kernel, "watched", "exit", **key):
                    rows.append((KERNEL_NAMES[kernel], file, way or "–", *(
                        spread(bench.all(kernel, "watched", m, **key)) for m in ("exit", "reaped", "told", "settled"))))
    out += table(("kernel", "file", "way", "exit", "reaped", "told", "settled"), rows)

    for case, name, title in (
            ("own", "own", "Many waiters of that process"),
            ("other", "other", "One waiter, and many of other processes"),
            ("other, unwatched", "other", "No waiter, and many of other processes")):
        out += [f"## {title}", ""]
        if case == "other":
            out += ["Each of the other processes has one waiter.", ""]
        own = {"own": None, "other": 1, "other, unwatched": 0}[case]
        for metric in ("exit", "reaped", "settled"):
            columns = [(k, f, w) for w in bench.ways(case) for k, f in (
                (BASE, "pidfd"), (PATCHED, "pidfd"), (PATCHED, "exithand"), (QUEUE, "exithand"))]
            rows = []
            for n in bench.values(PATCHED, case, name):
                rows.append((n, *(spread(bench.all(
                    k, case, metric, file=f, way=w, own=n if own is None else own,
                    other=0 if own is None else n)) for k, f, w in columns)))
            out += table((f"waiters; *{metric}*", *(f"{f}, {w}, {KERNEL_NAMES[k]}" for k, f, w in columns)), rows)
        if case != "other, unwatched":
            out += [f"![](bench-{case}.svg)", ""]

    out += ["## A burst of exits", "",
            "Many processes are killed by one signal to their group, and reap themselves; one epoll loop hears of "
            "all, and closes each file. From the signal until the last was heard of. Whoever has looked into "
            "/proc/PID, as the open of an exithand file does, has made inodes that the reaping drops; "
            "so a pidfd is there with and without.", ""]
    rows = []
    for n in bench.values(PATCHED, "burst", "other"):
        for f, w in (("pidfd", ""), ("pidfd", "/proc/PID looked at"), ("connector", ""), ("exithand", "")):
            key = dict(file=f, way=w, own=1, other=n)
            rows.append((n, ", ".join(filter(None, (f, w))),
                         *(spread(bench.all(k, "burst", "total", **key)) for k in (BASE, PATCHED)),
                         percent(bench.one(PATCHED, "burst", "total", **key),
                                 bench.one(PATCHED, "burst", "total", file="pidfd", own=1, other=n))))
    out += table(("processes", "", "unpatched", "patched", "against pidfd"), rows)

    out += ["## Single calls", ""]
    columns = ((BASE, "pidfd"), (PATCHED, "pidfd"), (PATCHED, "exithand"))
    out += table(("", *(f"{f}, {KERNEL_NAMES[k]}" for k, f in columns)),
                 ((way, *(spread(bench.all(k, "calls", "call", file=f, way=way)) for k, f in columns))
                  for way in bench.ways("calls") if way in bench.ways("calls", file="exithand")))
    out += table(("what polls without a file", "unpatched", "patched"),
                 ((way, *(spread(bench.all(k, "calls", "call", way=way)) for k in (BASE, PATCHED)))
                  for way in bench.ways("calls", file="")))
    out += ["*The first* open of an exithand file comes with the look-up of /proc/PID, whose inodes and "
            "directory entries procfs makes; that of a pidfd with an inode of pidfs.", "",
            "![](bench-calls.svg)", ""]

    out += ["## Looking into /proc again and again", "",
            "Somebody waits for a process that lives for one to two seconds: the CPU time that this takes, in "
            "instructions (of the task alone: not the timer's interrupts), and how much later than the "
            "last instruction of the process it is known, in µs of that clock.", ""]
    out += table(("", "CPU, unpatched", "CPU, patched", "late, µs, unpatched", "late, µs, patched"),
                 ((way, *(spread(bench.all(k, "polling", "cpu", way=way)) for k in (BASE, PATCHED)),
                   *(spread([v / 1000 for v in bench.all(k, "polling", "late", way=way)])
                     for k in (BASE, PATCHED))) for way in bench.ways("polling")))
    out += ["![](bench-polling.svg)", ""]

    out += ["## Killing processes of a memory cgroup", "",
            "16 processes of 4 MiB each; proc-exithand-killer kills the largest until not more than a little over "
            "half of the memory is in use, for which 8 must go. It is not their parent. How many it killed; how long "
            "it took until the memory was back, in ms of a machine that runs one instruction each nanosecond; "
            "and the instructions that it used.", ""]
    out += table(("", "killed; 8 have to be", "ms", "its instructions"),
                 ((way, spread(bench.all(PATCHED, "killer", "killed", way=way)),
                   spread([v / 1e6 for v in bench.all(PATCHED, "killer", "time", way=way)]),
                   spread(bench.all(PATCHED, "killer", "cpu", way=way))) for way in bench.ways("killer")))
    out += ["![](bench-killer.svg)", ""]

    out += ["## Memory", "",
            "By pahole, of kernel/fork.o and fs/proc/exithand/exithand.o:", ""]
    layouts = data["layouts"]
    before, after, watch = (layouts[n] for n in ("signal_struct-base", "signal_struct-patched", "watch-patched"))
    out += table(("", "unpatched", "patched"),
                 [("struct signal_struct, bytes", before["size"], after["size"]),
                  ("holes in it, bytes", before["holes"], after["holes"]),
                  *((f"its member {n}", "–", f"{m['size']} bytes at {m['offset']}")
                    for n, m in sorted(after["members"].items())),
                  ("a watch, with the count of its references, bytes", "–", watch["size"]),
                  ("struct pid, bytes", layouts["pid-base"]["size"], layouts["pid-patched"]["size"]),
                  *((f"slab cache {c}: {a}", *(
                      number(bench.one(k, "memory", a, way=c)) for k in (BASE, PATCHED)))
                    for c in ("signal_cache", "pid") for a in ("object_size", "slab_size", "objs_per_slab"))])
    out += ["Objects in the slab caches, in bytes for each of 1000 open files of 1000 processes "
            "(opened for the first time, so with the inodes and directory entries of /proc/PID and the file, "
            "which the kernel can drop when it needs the memory):", ""]
    caches = sorted((set(bench.ways("memory", file="pidfd")) | set(bench.ways("memory", file="exithand")))
                    - {"all caches"})
    out += table(("cache", "pidfd", "exithand"),
                 ((cache, *(number(bench.one(PATCHED, "memory", "bytes per file", file=f, way=cache))
                            for f in ("pidfd", "exithand"))) for cache in [*caches, "all caches"]))

    out += ["Who is charged: 1000 processes of one memory cgroup are opened by a process of a second, and then by one "
            "of a third. Slab memory of each cgroup, in bytes for each process: what the first opener pays more "
            "than the later one is once for a watched process, the rest is for an open file.", ""]
    out += table(("cgroup of", "pidfd", "exithand"),
                 ((f"the {group}".replace("the watched", "the watched processes"),
                   *(spread(bench.all(PATCHED, "charged", "bytes per file", file=f, way=group))
                     for f in ("pidfd", "exithand"))) for group in bench.ways("charged")))

    out += ["## Time", "", *wall_clock(bench)]

    out += ["## Size of the kernel", "", "By bloat-o-meter, against the unpatched kernel:", ""]
    out += table(("", "symbols added, removed", "grown, shrunk", "bytes"),
                 ((f"PROC_EXITHAND={'n' if which == 'off' else 'y'}", f"{s['added']}, {s['removed']}",
                   f"{s['grown']}, {s['shrunk']}", f"{s['change']:+} of {s['before']:,}")
                  for which, s in sorted(data["sizes"].items())))
    return "\n".join(out)


def wall_clock(bench):
    """What KVM says to some of the figures, beside the instructions."""
    if not bench.data.get("wall"):
        return ["KVM does not run a guest on the machine of this run, so nothing here is in time.", ""]
    wall = Bench({"samples": bench.data["wall"]})
    rows = []

    def row(words, case, metric, **key):
        both = [spread(b.all(k, case, metric, **key)) for b in (bench, wall) for k in (BASE, PATCHED)]
        if any(text != "–" for text in both[2:]):
            rows.append((words, *both))

    for way in wall.ways("unwatched"):
        row(f"nobody watches: {way}", "unwatched", "life", file="none", way=way)
    for file in ("pidfd", "waitpid", "connector", "exithand"):
        for way in wall.ways("reader", file=file):
            row(f"until its reader has returned: {file} {way}".strip(), "reader", "told", file=file, way=way, own=1)
    for case, name in (("own", "own"), ("other", "other")):
        for n in wall.values(PATCHED, case, name)[-1:]:
            for file in ("pidfd", "exithand"):
                row(f"exit, {n} {'' if case == 'own' else 'other '}waiters in poll: {file}", case, "exit", file=file,
                    way="poll", own=n if case == "own" else 1, other=0 if case == "own" else n)
    for n in wall.values(PATCHED, "burst", "other"):
        for file in ("pidfd", "connector", "exithand"):
            row(f"{n} processes exit at once: {file}", "burst", "total", file=file, own=1, other=n)
    return [f"**Wall clock**, by KVM with one CPU, on {bench.data['cpu']}: it depends on the machine and on what else "
            "that did. Beside it what was counted.", "",
            *table(("", "instructions, unpatched", "instructions, patched", "ns, unpatched", "ns, patched"), rows)]


# -- plots --

COLOURS = {(BASE, "pidfd"): "#8a8a8a", (PATCHED, "pidfd"): "#2c6fbb",
           (PATCHED, "exithand"): "#d9480f", (QUEUE, "exithand"): "#7b2d8b"}
LABELS = {(BASE, "pidfd"): "pidfd, unpatched", (PATCHED, "pidfd"): "pidfd, patched",
          (PATCHED, "exithand"): "exithand", (QUEUE, "exithand"): "exithand, one queue for all"}
# Of different sizes, as they often lie on top of each other.
STYLES = {(BASE, "pidfd"): "-", (PATCHED, "pidfd"): "--", (PATCHED, "exithand"): "-", (QUEUE, "exithand"): ":"}
HATCHES = {(BASE, "pidfd"): "", (PATCHED, "pidfd"): "///", (PATCHED, "exithand"): "xx"}
MARKERS = {(BASE, "pidfd"): ("s", 10), (PATCHED, "pidfd"): ("o", 7),
           (PATCHED, "exithand"): ("^", 5), (QUEUE, "exithand"): ("x", 5)}


def plots(bench, results, digest):
    import matplotlib  # pylint: disable=import-outside-toplevel
    matplotlib.use("svg")
    from matplotlib import pyplot  # pylint: disable=import-outside-toplevel
    matplotlib.rcParams.update({
        "svg.fonttype": "none", "svg.hashsalt": "exithand", "font.size": 9, "font.family": "sans-serif",
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
        "grid.color": "#e6e6e6", "axes.axisbelow": True, "legend.frameon": False,
        "figure.constrained_layout.use": True})

    def save(figure, name):
        figure.savefig(results / f"bench-{name}.svg", metadata={
            "Date": None, "Description": f"bench.json {digest}"})
        pyplot.close(figure)

    def lines(axes, case, metric, way, name, own=None):
        for key, colour in COLOURS.items():
            xs, ys, low, high = [], [], [], []
            for n in bench.values(key[0], case, name):
                samples = bench.all(key[0], case, metric, file=key[1], way=way, own=n if own is None else own,
                                    other=0 if own is None else n)
                if samples:
                    xs.append(n)
                    ys.append(median(samples))
                    low.append(ys[-1] - min(samples))
                    high.append(max(samples) - ys[-1])
            axes.errorbar(xs, ys, yerr=(low, high), color=colour, marker=MARKERS[key][0],
                          markersize=MARKERS[key][1], markerfacecolor="none", linewidth=1.3,
                          linestyle=STYLES[key], label=LABELS[key], alpha=0.85, capsize=2)

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    for ax, way, title in zip(axes, ("poll", "epoll"), ("threads in poll(2)", "entries of an epoll instance")):
        lines(ax, "own", "exit", way, "own")
        ax.set(xscale="log", yscale="log", xlabel="waiters of the process that exits", title=title)
    axes[0].set_ylabel("instructions of the exit")
    axes[1].legend(loc="upper left")
    save(figure, "own")

    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.8), sharey=True)
    for ax, metric, way, title in zip(
            axes, ("exit", "settled", "exit"), ("poll", "poll", "epoll"),
            ("threads in poll(2): exit", "the same: until all sleep again", "entries of an epoll instance: exit")):
        lines(ax, "other", metric, way, "other", own=1)
        ax.set_xscale("symlog", linthresh=1)
        ax.set(yscale="log", xlabel="waiters of other processes", title=title)
        ax.set_xlim(-0.2, None)
    axes[0].set_ylabel("instructions")
    axes[0].set_ylim(bottom=3e3)
    axes[0].legend(loc="upper left")
    save(figure, "other")

    figure, ax = pyplot.subplots(figsize=(6.5, 2.8))
    ways = bench.ways("unwatched")
    for shift, kernel, colour, label in ((-0.13, AGAIN, "#8a8a8a", "unpatched, once more"),
                                         (0.13, PATCHED, "#d9480f", "patched")):
        if not bench.has(kernel):
            continue
        for i, way in enumerate(ways):
            base = bench.one(BASE, "unwatched", "life", file="none", way=way)
            ratios = [(v / base - 1) * 100 for v in bench.all(kernel, "unwatched", "life", file="none", way=way)]
            ax.plot(ratios, [i + shift] * len(ratios), "|", color=colour, markersize=9)
            ax.plot([median(ratios)], [i + shift], "o", color=colour, markersize=5, label="" if i else label)
    ax.axvline(0, color="#444444", linewidth=0.8)
    ax.axvline(UNWATCHED * 100, color="#2b8a3e", linewidth=1, linestyle="--", label="goal: at most +0.1 %")
    ax.set(yticks=range(len(ways)), yticklabels=ways, xlabel="instructions, against the unpatched kernel, %")
    ax.invert_yaxis()
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, "unwatched")

    figure, ax = pyplot.subplots(figsize=(7.5, 3.6))
    ways = bench.ways("calls", file="exithand")
    for i, key in enumerate(k for k in COLOURS if k[0] != QUEUE):
        values = [bench.one(key[0], "calls", "call", file=key[1], way=w) or 0 for w in ways]
        ax.barh([j + (i - 1) * 0.26 for j in range(len(ways))], values, 0.24, color=COLOURS[key], hatch=HATCHES[key],
                edgecolor="white", label=LABELS[key])
    ax.set(yticks=range(len(ways)), yticklabels=ways, xlabel="instructions of a call")
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    save(figure, "calls")

    figure, ax = pyplot.subplots(figsize=(7, 3.8))
    for way in bench.ways("polling"):
        late, cpu = (bench.one(PATCHED, "polling", m, way=way) for m in ("late", "cpu"))
        colour = COLOURS[PATCHED, "exithand"] if "exithand" in way else \
            COLOURS[PATCHED, "pidfd"] if "pidfd" in way else "#8a8a8a"
        ax.plot([late / 1000], [cpu], "o", color=colour)
        place = {"exithand, poll": (9, 9), "exithand, read": (9, -15), "pidfd, poll": (9, -3)}.get(way, (7, 4))
        ax.annotate(way, (late / 1000, cpu), xytext=place, textcoords="offset points", color=colour)
    ax.set(xscale="log", yscale="log", xlabel="told so late, µs (mean)",
           ylabel="instructions spent on waiting", xlim=(3, 1e7), ylim=(1e4, 3e7))
    save(figure, "polling")

    figure, axes = pyplot.subplots(1, 2, figsize=(8.5, 2.6), sharey=True)
    ways = bench.ways("killer")
    colours = [COLOURS[PATCHED, "exithand"] if "exithand" in w else "#8a8a8a" for w in ways]
    for ax, metric, label in zip(axes, ("killed", "time"), ("killed; 8 have to be", "until the memory is back, ms")):
        values = [(bench.one(PATCHED, "killer", metric, way=w) or 0) / (1e6 if metric == "time" else 1)
                  for w in ways]
        ax.barh(range(len(ways)), values, 0.6, color=colours)
        for i, value in enumerate(values):
            ax.annotate(f"{value:.3g}", (value, i), xytext=(3, 0), textcoords="offset points", va="center")
        ax.set(yticks=range(len(ways)), yticklabels=ways, xlabel=label)
        ax.margins(x=0.15)
        ax.grid(axis="y", visible=False)
    axes[1].set(xscale="log", xlim=(1, None))
    axes[0].invert_yaxis()
    save(figure, "killer")


# -- main --

def dump(data):
    """One figure in a line: to be read, and to be compared."""
    head = {k: v for k, v in data.items() if k not in ("samples", "wall")}
    text = json.dumps(head, indent=1, ensure_ascii=False)[:-2]
    for name in ("samples", "wall"):
        text += f',\n "{name}": {{\n' + ",\n".join(
            f'  {json.dumps(kernel)}: [\n' + ",\n".join("   " + json.dumps(s) for s in samples) + "\n  ]"
            for kernel, samples in data[name].items()) + "\n }"
    return text + "\n}\n"


def check_instrument(bench):
    for kernel in bench.data["samples"]:
        ticks = bench.one(kernel, "instrument", "ticks of 1000000 instructions")
        if ticks is None or abs(ticks / 1e6 - 1) > 0.001:
            raise Problem(f"the guest's clock made {ticks} ticks in 1000000 instructions, so it does not count "
                          "them; use a QEMU whose TCG has -icount")


def judge(raw, results):
    data = collect(raw)
    check_instrument(Bench(data))
    text = dump(data)
    (results / "bench.json").write_text(text)
    # Of what is in the file, and nothing else.
    bench = Bench(json.loads(text))
    (results / "bench.md").write_text(tables(bench) + "\n")
    print("\n".join(summary(bench)))
    status = 0
    for what, figures, met in goals(bench):
        why = KNOWN.get(what.split(":")[0])
        word = {True: "met", False: "missed" if why else "MISSED", None: "not decided"}[met]
        print(f"{word:12}{what}: {figures}")
        status |= word == "MISSED"
    return status


def plot(results):
    text = (results / "bench.json").read_text()
    plots(Bench(json.loads(text)), results, hashlib.sha256(text.encode()).hexdigest())
    return 0


BEGIN, END = "<!-- by `bench.py publish` -->", "<!-- to here -->"


def publish(results, new, readme, cover):
    bench = Bench(json.loads((results / "bench.json").read_text()))
    if bench.data["quick"]:
        raise Problem("these results are of a QUICK run; run make bench without it")
    text = readme.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise Problem(f"{readme} has no single place for the summary, from {BEGIN} to {END}")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for file in sorted(results.glob("bench*")):
        shutil.copy(file, new)
    (new / "bench.md").write_text(tables(bench) + "\n")
    mail = cover.read_text()
    if mail.count(LETTER_HEAD + " ") != 1:
        raise Problem(f"{cover} has no table whose first line begins with a tab and 'instructions '")
    before, rest = mail.split(LETTER_HEAD + " ")
    cover.write_text(before + "\n".join(letter(bench)) + "\n\n" + rest.partition("\n\n")[2])
    before, rest = text.split(BEGIN)
    readme.write_text(before + "\n".join([BEGIN, *summary(bench)]) + END + rest.split(END)[1])
    return 0


def check(results, readme, cover):
    text = (results / "bench.json").read_text()
    bench = Bench(json.loads(text))
    wrong = []
    if (results / "bench.md").read_text() != tables(bench) + "\n":
        wrong.append("bench.md is not what bench.json gives")
    digest = hashlib.sha256(text.encode()).hexdigest()
    svgs = sorted(results.glob("bench-*.svg"))
    named = set(re.findall(r"bench-[\w, -]+\.svg", tables(bench)))
    if {f.name for f in svgs} != named:
        wrong.append(f"the plots are not {', '.join(sorted(named))}")
    wrong += [f"{f.name} was not made from bench.json" for f in svgs if digest not in f.read_text()]
    if bench.data["quick"]:
        wrong.append("bench.json is of a QUICK run")
    between = readme.read_text().partition(BEGIN + "\n")[2].partition(END)[0].splitlines()
    wrong += [f"{readme.name} lacks: {line}" for line in summary(bench) if line and line not in between]
    wrong += [f"{readme.name} has, and bench.json does not: {line}"
              for line in between if line not in summary(bench)]
    if "\n".join(letter(bench)) + "\n\n" not in cover.read_text():
        wrong.append(f"{cover} has another table")
    for text in wrong:
        print(text)
    return 1 if wrong else 0


def compare(*files):
    """Of what is counted: what the cases of memory and of the cgroup say is not time, or in it."""
    one, two = (Bench(json.loads(file.read_text())) for file in files)
    found = []
    for key in sorted(one.index.keys() & two.index.keys()):
        by = "mean" if key[1] in MEANS else "median"
        a, b = (median(bench.index[key][by]) for bench in (one, two))
        found.append((abs(b / a - 1) if a else float(a != b), a, b, key))
    if not found:
        raise Problem("the two have no figure in common")
    found.sort(key=lambda f: f[0], reverse=True)
    far = [f for f in found if f[0] >= FLAT]
    for difference, a, b, key in far or found[:1]:
        print(f"{difference:.2%}: {a} and {b}: {', '.join(str(k) for k in key if k not in ('', 0))}")
    print(f"{len(far)} of {len(found)} medians differ by {FLAT:.0%} or more")
    return 1 if far else 0


def main():
    verbs = {("compare", 4): compare, ("judge", 4): judge, ("plot", 3): plot, ("publish", 6): publish, ("check", 5): check}
    verb = verbs.get((sys.argv[1] if len(sys.argv) > 1 else "", len(sys.argv)))
    if not verb:
        raise Problem(__doc__.split("\n\n")[1])
    return verb(*map(Path, sys.argv[2:]))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Problem, OSError, ValueError, KeyError) as problem:
        print(f"exithand: bench: {problem}", file=sys.stderr)
        sys.exit(6)
