# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What all verbs share: where things are, how to speak, how to wait. A verb
# sources it first, and then is in Bash's strict mode.
set -euo pipefail

# The caller's make must not steer the kernel's make, nor his git, locale or
# compiler cache settings what we make.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL GNUMAKEFLAGS
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
unset ARCH CROSS_COMPILE LLVM KBUILD_OUTPUT KCFLAGS KRUSTFLAGS RUSTFLAGS
export LC_ALL=C.UTF-8

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
lib=$top/scripts/lib
build=$top/build
results=$build/results
cache=${EXITHAND_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/exithand}
tools=$cache/tools
CONFIG=${CONFIG:-default}
BASE=${BASE:-}
# Not the user's to set: scripts/verbs/mutants names a mutant here, and
# scripts/verbs/bases a kernel that it has laid out.
MUTANT=${MUTANT:-}
OTHER=${OTHER:-}
# And scripts/verbs/each says that it is it.
EACH=${EACH:-}
V=${V:-}
export EXITHAND_CACHE=$cache CONFIG BASE MUTANT OTHER EACH V PYTHONPATH=$lib

# -- speak ------------------------------------------------------------------

# Everything but the guest's own output goes to stderr.
note() { printf '%s\n' "$*" >&2; }

# die WHAT-IS-WRONG; WHAT-TO-DO
die() {
	printf 'exithand: %s\n' "$*" >&2
	exit 6
}

# step NAME TEXT COMMAND...: run COMMAND with its output in $log, which is
# build/logs/NAME.log (V=1: also on the terminal), and say every 20 s that it is
# still at it.
step() {
	local name=$1 text=$2 start=$SECONDS status=0 beat
	shift 2
	mkdir -p "$build/logs"
	log=$build/logs/$name.log
	if [ "$V" = 1 ]; then
		note "== $text: $*"
		"$@" 2>&1 </dev/null | tee "$log" >&2 || status=$?
	else
		note "== $text"
		(
			# A read that never comes leaves no stray sleep behind.
			exec {never}<> <(:)
			for ((i = 1; ; i++)); do
				read -rt 1 -u "$never" || kill -0 $$ 2>/dev/null || exit
				((i % 20)) || note "   ... $text: $i s"
			done
		) &
		beat=$!
		disown
		"$@" >"$log" 2>&1 </dev/null || status=$?
		# Not TERM: one that has only just been forked would still run our EXIT trap.
		kill -KILL "$beat" 2>/dev/null || true
	fi
	if [ "$((SECONDS - start))" -ge 5 ]; then
		note "   took $((SECONDS - start)) s"
	fi
	return "$status"
}

# why: the reason why the step of $log failed, in its own words. pip tries again
# and again where it cannot reach its index, and its last word is then that it
# found no version.
why() {
	local reason
	reason=$(sed -n "s/.* after connection broken by '\(.*\)': .*/\1/p; s/^[EW]: //p" "$log")
	[ -n "$reason" ] || reason=$(grep ERROR "$log") || reason=$(tail -n 1 "$log")
	printf '%s' "${reason%%$'\n'*}"
}

# -- wait -------------------------------------------------------------------

# lock FILE TEXT: hold FILE until this process ends. The scripts that it calls need
# not wait for this clone's lock again.
lock() {
	[ "$1" != "${EXITHAND_LOCKED:-}" ] || return 0
	mkdir -p "$(dirname "$1")"
	exec {lock_fd}>>"$1"
	if ! flock -n "$lock_fd"; then
		note "== waiting for $2"
		flock "$lock_fd"
	fi
	[ "$1" != "$build/lock" ] || export EXITHAND_LOCKED=$1
}

# lock_clone: no script changes build/ without it.
lock_clone() { lock "$build/lock" "another run in this clone"; }

# seconds NAME DEFAULT: set $limit to the user's variable of that name, if there
# is one.
seconds() {
	limit=${!1:-$2}
	[[ $limit =~ ^[1-9][0-9]*$ ]] || die "$1=$limit; give seconds"
}

# need_space DIR MIB: before something large is written below DIR.
need_space() {
	local free
	mkdir -p "$1"
	free=$(df --output=avail -BM "$1" | tail -n 1 | tr -dc 0-9)
	if [ "$free" -lt "$2" ]; then
		die "no space: $1 has $free MiB free, this needs $2; free some, or set EXITHAND_CACHE (downloads) or move the clone (build/)"
	fi
}

# -- which kernel -----------------------------------------------------------

# kgit ARGS...: git, the same whatever the user has set up.
kgit() {
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git -c safe.directory='*' "$@"
}

# Where the kernel tree and what is built from it live: in build/, or for a
# tree of the user's own in a directory of its own below it.
KDIR=${KDIR:-}
export KDIR
if [ -n "$KDIR" ]; then
	[ -d "$KDIR" ] || die "KDIR=$KDIR is no directory; give the top of a Linux source tree"
	KDIR=$(cd "$KDIR" && pwd -P)
	work=$build/kdir-$(printf '%s' "$KDIR" | sha256sum | cut -c1-8)
elif [ -n "$OTHER" ]; then
	work=$build/bases/$OTHER
	[ -d "$work/linux" ] || die "OTHER=$OTHER: no such kernel here; make bases lays them out, and keeps those that fail"
else
	work=$build
fi
tree=$work/linux
# The sources of this kernel, and what is built from them. An object directory
# just below the sources makes all paths relative, so that the unpatched and
# the patched kernel share ccache's objects.
src=$tree${BASE:+-base}${MUTANT:+-mutant}${EACH:+-each}
obj=$src/obj-$CONFIG
# shellcheck disable=SC2034 # used by the scripts that source this
jobs=${JOBS:-$(nproc)}
# With checkers in the kernel all takes longer.
# shellcheck disable=SC2034 # used by the scripts that source this
slow=1
if [[ $CONFIG = debug || $CONFIG = kcsan ]]; then
	# shellcheck disable=SC2034
	slow=10
	export MEMORY=${MEMORY:-2G}
fi

# -- tools ------------------------------------------------------------------

# The tools, all of one set, whatever else the user has in PATH: a rustup in
# ~/.cargo/bin or another Python must not leak into the kernel's build.
distro=$(. /etc/os-release 2>/dev/null; printf '%s-%s' "${ID:-unknown}" "${VERSION_ID:-}")
if command -v apt-get >/dev/null; then
	PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	[ "$distro" != debian-12 ] || PATH=/usr/lib/llvm-19/bin:$PATH
	unset RUSTUP_TOOLCHAIN
fi
PATH=$tools/bin:$PATH
export PATH

# What the harness itself takes from pip.
python_packages=(pytest==9.2.0 virtme-ng==1.42)

# venv_of PACKAGE==VERSION...: the directory of the virtual environment that has these.
venv_of() { (IFS=-; printf '%s/%s' "$tools" "${*//==/-}"); }
python=$(venv_of "${python_packages[@]}")/bin

# install_venv PACKAGE==VERSION...: have it. A virtual environment knows its own
# path, so it is made in place, and marked when done.
install_venv() {
	local dir
	dir=$(venv_of "$@")
	[ -f "$dir/done" ] || (
		lock "$tools/lock" "another run that installs tools"
		[ ! -f "$dir/done" ] || exit 0
		rm -rf "$dir"
		step "${dir##*/}" "installing ${*//==/ }" fill_venv "$dir" "$@" ||
			die "cannot install ${*//==/ }: $(why); see build/logs/${dir##*/}.log"
		touch "$dir/done"
	) || exit
}

fill_venv() {
	python3 -m venv "$1" &&
		"$1/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
}

# version_at_least MINIMUM TEXT: is the first version number in TEXT enough?
version_at_least() {
	local have
	have=$(grep -oE '[0-9]+(\.[0-9]+)+' <<<"$2" | head -n 1)
	[ -n "$have" ] && printf '%s\n%s\n' "$1" "$have" | sort -CV
}

# borrow PROGRAM CHECK ELSE 'SUITE...' 'OPTIONS' PACKAGE...: unless CHECK succeeds,
# take PROGRAM from the first PACKAGE of the first of these Debian suites that has
# them. It runs with that suite's C library, which has to be among the packages.
# OPTIONS are put before the program's own; in them, $own is where the packages are.
# ELSE tells what the user can do where that fails.
borrow() {
	"$2" || (
		lock "$tools/lock" "another run that installs tools"
		! "$2" || exit 0
		need_space "$tools" 400
		{ step "$1" "getting a newer $1 than this machine has, from its Debian mirror" \
			get_borrowed "$1" "$4" "$5" "${@:6}" && "$2"; } ||
			die "cannot get $1: $(why); see build/logs/$1.log, or $3"
	) || exit
}

get_borrowed() {
	local new=$tools/$4.new root=usr/lib/x86_64-linux-gnu suite deb
	for suite in $2; do
		rm -rf "$new" && mkdir -p "$new" "$tools/bin" || return
		"$lib/deb" "$new" "$suite" "${@:4}" || continue
		for deb in "$new"/*.deb; do
			dpkg-deb -x "$deb" "$new" || return
		done
		# Other programs of a package can be large.
		find "$new/usr/bin" -type f ! -name "$1" -delete || return
		rm -rf "$new"/*.deb "$tools/${4:?}"
		mv "$new" "$tools/$4" || return
		cat >"$tools/bin/$1.new" <<-EOT
			#!/bin/sh
			own=\$(dirname "\$0")/../$4
			exec "\$own/$root/ld-linux-x86-64.so.2" --library-path "\$own/$root" "\$own/usr/bin/$1" $3 "\$@"
		EOT
		chmod +x "$tools/bin/$1.new"
		mv "$tools/bin/$1.new" "$tools/bin/$1"
		return
	done
	return 1
}

# kernel_source DIR SUITE PACKAGE[=VERSION]: download that linux-source package; its
# tarball is DIR/linux.tar.xz, and DIR/version says: PACKAGE VERSION SUITE.
kernel_source() {
	local package=${3%%=*} deb
	"$lib/deb" "$1" "$2" "$3" || return
	deb=$(echo "$1/$package"_*.deb)
	dpkg-deb --fsys-tarfile "$deb" | tar -xO "./usr/src/$package.tar.xz" >"$1/linux.tar.xz" || return
	echo "$package $(dpkg-deb -f "$deb" Version) $2" >"$1/version" || return
	rm "$deb"
}

# -- build and check --------------------------------------------------------

# kmake ARGS...: the kernel's make, with our tools.
kmake() {
	local tool args=(LLVM=1 "CC=ccache clang")
	for tool in rustc:RUSTC rustc:HOSTRUSTC rustdoc:RUSTDOC rustfmt:RUSTFMT \
		clippy-driver:CLIPPY_DRIVER bindgen:BINDGEN; do
		args+=("${tool#*:}=$(command -v "${tool%:*}" || true)")
	done
	[ "$CONFIG" != arm64 ] || args+=(ARCH=arm64)
	# Not in ccache's depend mode, which does not see that an assembler file has
	# another in it (.incbin): an earlier kernel would be in the bzImage. The
	# namespace keeps out what an earlier version of this line has put there.
	CCACHE_DIR=$cache/ccache CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-5G} CCACHE_NOHASHDIR=1 \
		CCACHE_NODEPEND=1 CCACHE_NAMESPACE=whole \
		KBUILD_BUILD_TIMESTAMP='@0' KBUILD_BUILD_USER=exithand KBUILD_BUILD_HOST=exithand \
		make "${args[@]}" "$@"
}

# knows_maintainer TREE FILE: does MAINTAINERS there? For a new file the list for
# all is not enough.
knows_maintainer() {
	local all=linux-kernel@
	! kgit -C "$tree" cat-file -e "base:$2" 2>/dev/null || all=
	(cd "$1" && perl scripts/get_maintainer.pl --no-tree --no-git --no-git-fallback \
		--no-rolestats -f "$2") 2>/dev/null | grep -v "${all:-^$}" | grep -q . || {
		echo "MAINTAINERS knows nobody for $2"
		return 1
	}
}

# -- run --------------------------------------------------------------------

# new_run: a fresh directory $run that the guest shares; gone when we end. $at_exit
# is a command for then.
at_exit=:
new_run() {
	local name=$build/run.$BASHPID
	mkdir -p "$build" "$results"
	rm -f "$results"/{console.log,test.ktap,negative.ktap,summary.json}
	run=$(mktemp -d "$name.XXXXXX")
	trap '$at_exit; rm -rf "$build/run.$BASHPID".*' EXIT
}

# vm_py LIMIT TEXT OPTION...: vm.py on this kernel and $run.
vm_py() {
	PATH=$python:$PATH python3 "$lib/vm.py" --kernel "${boot_image:-$obj/arch/x86/boot/bzImage}" \
		--dir "$run" --limit "$1" --say "$2" "${@:3}"
}

# release_clone: keep the kernel that was built for this run, and let others build.
release_clone() {
	boot_image=$run/bzImage
	cp "$obj/arch/x86/boot/bzImage" "$boot_image"
	unset EXITHAND_LOCKED
	flock -u "$lock_fd"
}

# in_vm LIMIT [TEXT] [OPTION...]: run $run/cmd in this kernel's virtual machine.
# vm_end tells how the guest ended. The options are vm.py's.
in_vm() {
	vm_end=0
	[ -z "${2:-}" ] || note "== $2"
	vm_py "$1" "${2:-}" "${@:3}" || vm_end=$?
	[ "$vm_end" -lt 128 ] || exit "$vm_end" # Ctrl-C
}

# look_for_leaks: have the guest do so in the end, if its kernel can.
look_for_leaks() {
	! grep -q '^CONFIG_DEBUG_KMEMLEAK=y' "$obj/.config" || touch "$run/look-for-leaks"
}

# selftests_cmd SELECTION...: have $run/cmd run these of the installed selftests
# (options of the kernel's run_kselftest.sh), and show what fails or is skipped, and
# lines that match $tests_show. $tests_env has variables for the tests.
selftests_cmd() {
	local show="^(not ok|ok .*# SKIP)|^# +not ok${tests_show:+|$tests_show}"
	cat >"$run/cmd" <<-EOF
		uname -r >uname
		# The runner appends to /dev/stdout, which virtme-ng points elsewhere.
		ln -sfn /proc/self/fd/1 /dev/stdout
		export DURATION=1 # of each case in proc-maps-race; 5 s by itself
		cd $(printf %q "$obj/tests")
		env ${tests_env:-} ./run_kselftest.sh ${*@Q} 2>&1 |
			tee "\$OLDPWD/test.ktap" | stdbuf -oL grep -E "${V:+|}$show"
		exit 0
	EOF
	look_for_leaks
}

# verdict KIND: say how it went, and end with the exit code for it.
verdict() {
	python3 "$lib/verdict.py" "$1" --dir "$run" --vm-end "$vm_end" \
		--results "$results" --config "$CONFIG${BASE:+-base}"
}

# For scripts that have not been adapted yet.
unlock() { flock -u "$lock_fd"; }
why_pip_failed() { why; }
# shellcheck disable=SC2034
vng=$python
