# SPDX-License-Identifier: GPL-2.0
# `make VERB` runs scripts/verbs/VERB.

#: make run                 build the kernel, boot it, demonstrate /proc/PID/exithand
#: make test                run the selftests in the virtual machine
#: make kunit               run the Rust code's doctests and KUnit tests
#: make stress              watch N processes die in all ways
#: make clients             run programs there that wait in the ways of their languages
#: make exec CMD='...'      run a command in the virtual machine
#: make shell               open a shell there
#: make tree                make build/linux a kernel tree with the series as commits
#: make mutants             build the kernel with each mutant; the tests must catch it
#: make patches             fold edits (folders, commits in build/linux) into patches/
#: make check               run all checks that need no kernel build
#: make each                lint, build, boot and test each patch; print a table
#: make litmus              run the litmus tests against the kernel's memory model
#: make regress             compare the kernel's other selftests with the unpatched kernel
#: make send FROM='...'     write the series as mails to build/outgoing; send nothing
#: make bases               apply, build and test the series on other kernels
#: make bench               count the instructions that the series costs
#:
#: Each verb installs the tools that it needs. Variables:
#:   CONFIG=default|debug|kcsan|rt|off  which kernel: qemu-config/CONFIG.config
#:   ARCH=arm64                 use an arm64 kernel (run, test, exec, shell, stress)
#:   BASE=1                     use the kernel without the series (exec, shell, test)
#:   KDIR=/path/to/linux        use your own kernel tree; it is only read
#:   PATCH=N                    patches: fold edits in the folders into the Nth patch;
#:                              each: only the Nth patch
#:   T=name                     test: only this program, e.g. T=proc-exithand, or
#:                              T=pidfd:pidfd_wait for one of another suite
#:   QUICK=1                    test: without the two minutes of stress
#:   PUBLISH=file               bench: measure nothing; copy this bench.json to results/,
#:                              update the tables and plots
#:   M=name,...                 mutants: only these, e.g. M='stale-*'
#:   FROM='Name <address>'      send: the sender
#:   SERIES=pidfd-fixes         send: another series, a folder of patches/
#:   OUT=dir                    send: write to this directory
#:   VERSION=2, RFC=1           send: the second version, and so on; [RFC PATCH]
#:   BUILD=0                    bases: only apply the series
#:   ACCEL=auto|kvm|tcg         how to run the virtual machine
#:   N=100000, SEED=number      stress: the number of exits; the random seed
#:   EXITHAND_CACHE=dir         downloads and tools (default ~/.cache/exithand)
#:   JOBS=N                     parallel jobs (default: one for each CPU)
#:   MEMORY=size                the guest's memory, e.g. 2G
#:   RUN_LIMIT, TEST_LIMIT, KUNIT_LIMIT, STRESS_LIMIT, EXEC_LIMIT, BENCH_LIMIT,
#:   CLIENTS_LIMIT, MUTANT_LIMIT, REGRESS_LIMIT   seconds that the guest may take
#:   V=1                        show the full output
#:
#: build/results/ has the results, build/logs/ the logs of the builds. make exits with 2
#: after any failure. scripts/verbs/VERB exits with:
#:   0 all is well
#:   1 a test failed (or a check of `make check`, a goal of `make bench`, or the demonstration)
#:   3 the kernel complained on its console
#:   4 the guest did not end in time
#:   5 the guest died
#:   6 the harness could not do its work (tools, network, disk, bad input)
#:   7 no test ran
#:   8 fewer tests ran than were planned
#:   9 the console log does not reach its end mark
#:   10 a test of ours was skipped
#:   11 a patch does not apply, or the kernel does not build

verbs := $(notdir $(wildcard scripts/verbs/*[a-z]))
.PHONY: help $(verbs)
.NOTPARALLEL:
.DEFAULT_GOAL := help

# make must not expand a $ in CMD: it is for the guest's shell.
override export CMD := $(value CMD)

help:
	@sed -n 's/^#: \{0,1\}//p' Makefile

$(verbs):
	@scripts/verbs/$@
