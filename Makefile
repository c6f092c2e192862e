# SPDX-License-Identifier: GPL-2.0
# A verb is a script of that name in scripts/verbs/.

#: make run                 build the kernel, boot it, show /proc/PID/exithand at work
#: make test                run the selftests in the virtual machine
#: make kunit               run the Rust code's own tests in the virtual machine
#: make stress              watch processes die in all ways, N of them
#: make exec CMD='...'      any command in the virtual machine
#: make shell               a shell there
#: make tree                lay out the kernel, with the series as commits, in build/linux
#: make mutants             plant bugs in the kernel: do the tests catch each?
#: make patches             fold edits (folders, commits in build/linux) into patches/
#: make check               all checks that need no kernel build
#: make each                each patch alone: tools, builds, boots, tests; a table
#: make litmus              the litmus tests against the kernel's memory model
#: make regress             the kernel's other selftests around exit: base against patched
#: make send FROM='...'     the series as mails, checked, in build/outgoing; sends nothing
#: make bases               on which other kernels the series applies, builds, passes
#: make bench               what the series costs, in instructions; tables and plots
#:
#: Each sets up what it needs. Variables:
#:   CONFIG=default|debug|kcsan|off   which kernel: qemu-config/CONFIG.config
#:   BASE=1                     the kernel without the series (exec, shell, test)
#:   KDIR=/path/to/linux        your own kernel tree; it is only read
#:   PATCH=N                    patches: fold edits in the folders into the Nth patch;
#:                              each: only that one
#:   T=name                     test: only this program, e.g. T=proc-exithand
#:   QUICK=1                    test: without the two minutes of stress; bench: fewer
#:                              rounds, for a first look
#:   PUBLISH=file               bench: measure nothing; put this bench.json, and all that
#:                              is made from it, into results/, README and cover letter
#:   M=name,...                 mutants: only these, e.g. M='stale-*'
#:   FROM='Name <address>'      send: who sends it; OUT=dir: to there
#:   VERSION=2, RFC=1           send: the second version, and so on; [RFC PATCH]
#:   BUILD=0                    bases: only whether it applies
#:   ACCEL=auto|kvm|tcg         how to run the virtual machine
#:   N=100000, SEED=number      stress: how many exits; which choices (printed if not given)
#:   EXITHAND_CACHE=dir         downloads and tools (default ~/.cache/exithand)
#:   RUN_LIMIT, TEST_LIMIT, KUNIT_LIMIT, STRESS_LIMIT, EXEC_LIMIT, BENCH_LIMIT
#:                              seconds that the guest may take
#:   V=1                        show everything
#:
#: Results are in build/results/, logs of the builds in build/logs/. make ends with 2
#: whatever fails; scripts/verbs/VERB, which is all that make VERB runs, ends with:

verbs := $(notdir $(wildcard scripts/verbs/*[a-z]))
.PHONY: help $(verbs)
.NOTPARALLEL:
.DEFAULT_GOAL := help

# As the user wrote it: a $ in CMD is the guest's, not make's.
override export CMD := $(value CMD)

help:
	@sed -n 's/^#: \{0,1\}//p' Makefile; \
	sed -n 's/^| \([0-9][0-9]*\) | \(.*\) |$$/  \1 \2/p' scripts/README.md

$(verbs):
	@scripts/verbs/$@
