# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# Functions and variables that all verbs share. Each verb sources this file first.
set -euo pipefail

# The caller's make, git, locale and compiler settings must not affect the build.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL GNUMAKEFLAGS
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
unset CROSS_COMPILE LLVM KBUILD_OUTPUT KCFLAGS KRUSTFLAGS RUSTFLAGS
export LANG=C.UTF-8 LC_ALL=C.UTF-8

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
lib=$top/scripts/lib
build=$top/build
results=$build/results
cache=${EXITHAND_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/exithand}
tools=$cache/tools
CONFIG=${CONFIG:-default}
BASE=${BASE:-}
# Only verbs set these two. scripts/verbs/mutants sets MUTANT to the mutant's name.
# scripts/verbs/each sets EACH=1.
MUTANT=${MUTANT:-}
EACH=${EACH:-}
V=${V:-}
export EXITHAND_CACHE=$cache CONFIG BASE MUTANT EACH V PYTHONPATH=$lib

# -- messages ---------------------------------------------------------------

# The guest's output goes to stdout, all messages go to stderr.
note() { printf '%s\n' "$*" >&2; }

# die PROBLEM; REMEDY: print both, exit with code 6.
die() {
	printf 'exithand: %s\n' "$*" >&2
	exit 6
}

# step NAME TEXT COMMAND...: run COMMAND and return its exit status. The output goes
# to build/logs/NAME.log, which is $log afterwards. V=1 also shows it on the terminal.
# Without V=1, a progress message appears every 20 s.
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
			# Use read -t as a timer: a killed subshell would leave a sleep process behind.
			exec {never}<> <(:)
			for ((i = 1; ; i++)); do
				read -rt 1 -u "$never" || kill -0 $$ 2>/dev/null || exit
				((i % 20)) || note "   ... $text: $i s"
			done
		) &
		beat=$!
		disown
		"$@" >"$log" 2>&1 </dev/null || status=$?
		# Use KILL: after TERM, a subshell that was just forked would run our EXIT trap.
		kill -KILL "$beat" 2>/dev/null || true
	fi
	[ "$((SECONDS - start))" -lt 5 ] || note "   took $((SECONDS - start)) s"
	return "$status"
}

# why: print the line of $log that tells why the step failed. The first expression is
# for pip: if it cannot reach its index, its last line only says "no version found".
why() {
	local reason
	reason=$(sed -n "s/.* after connection broken by '\(.*\)': .*/\1/p; s/^[EW]: //p" "$log")
	[ -n "$reason" ] || reason=$(grep ERROR "$log") || reason=$(tail -n 1 "$log")
	printf '%s' "${reason%%$'\n'*}"
}

# -- locks and limits -------------------------------------------------------

# lock FILE TEXT: lock FILE until this process ends; TEXT names the other holder.
# The scripts that this process calls inherit the lock of the clone.
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

# lock_clone: a script must hold this lock while it changes build/.
lock_clone() { lock "$build/lock" "another run in this clone"; }

# seconds NAME DEFAULT: set $limit to the user's variable NAME, or to DEFAULT.
seconds() {
	limit=${!1:-$2}
	[[ $limit =~ ^[1-9][0-9]*$ ]] || die "$1=$limit; give seconds"
}

# need_space DIR MIB: die if the file system of DIR has less free space.
need_space() {
	local free
	mkdir -p "$1"
	free=$(df --output=avail -BM "$1" | tail -n 1 | tr -dc 0-9)
	[ "$free" -ge "$2" ] ||
		die "no space: $1 has $free MiB free, but $2 are needed; free some space, or set EXITHAND_CACHE (downloads) or move the clone (build/)"
}

# -- which kernel -----------------------------------------------------------

# kgit ARGS...: git without the user's configuration.
kgit() {
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git -c safe.directory='*' "$@"
}

# work_of DIR: print the directory for the tree of KDIR=DIR, and for what is built from it.
work_of() { (cd "$1" && printf '%s/kdir-%.8s' "$build" "$(printf '%s' "$(pwd -P)" | sha256sum)"); }

# $work has the kernel tree and the files built from it: build/, or a directory below
# it for each KDIR.
KDIR=${KDIR:-}
export KDIR
if [ -n "$KDIR" ]; then
	[ -d "$KDIR" ] || die "KDIR=$KDIR is no directory; give the top of a Linux source tree"
	KDIR=$(cd "$KDIR" && pwd -P)
	work=$(work_of "$KDIR")
else
	work=$build
fi
tree=$work/linux
# $src has the sources of this kernel, $obj the objects. Because $obj is directly below
# $src, kbuild uses relative paths. So all trees share ccache's objects.
src=$tree${BASE:+-base}${MUTANT:+-mutant}${EACH:+-each}
# ARCH=arm64 becomes a part of CONFIG.
[[ ${ARCH:=x86_64} =~ ^(x86_64|arm64)$ ]] || die "ARCH=$ARCH; choose x86_64 or arm64"
[ "$ARCH" = x86_64 ] || CONFIG+=-arm64
unset ARCH
image=x86/boot/bzImage initrd=
if [[ $CONFIG = *-arm64 ]]; then image=arm64/boot/Image initrd=$cache/arm64/root.cpio; fi
obj=$src/obj-$CONFIG
jobs=${JOBS:-$(nproc)}
# The debugging kernels run several times slower.
slow=1
if [[ $CONFIG =~ ^(debug|kcsan|rt) ]]; then
	slow=10
	export MEMORY=${MEMORY:-2G}
fi

# -- tools ------------------------------------------------------------------

# With apt, use only the distribution's tools: a rustup in ~/.cargo/bin or another
# Python in the user's PATH must not affect the kernel's build.
distro=$(
	. /etc/os-release 2>/dev/null
	printf '%s-%s' "${ID:-unknown}" "${VERSION_ID:-}"
)
if command -v apt-get >/dev/null; then
	PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	[ "$distro" != debian-12 ] || PATH=/usr/lib/llvm-19/bin:$PATH
	unset RUSTUP_TOOLCHAIN
fi
PATH=$tools/bin:$PATH
export PATH

python_packages=(pytest==9.2.0 ruff==0.17.6 virtme-ng==1.42)

# venv_of PACKAGE==VERSION...: print the directory of the virtual environment for them.
venv_of() { (
	IFS=-
	printf '%s/%s' "$tools" "${*//==/-}"
); }
python=$(venv_of "${python_packages[@]}")/bin

# install_venv PACKAGE==VERSION...: create that virtual environment unless it exists.
# It contains its own path, so it cannot be renamed: the file `done` marks it complete.
install_venv() {
	local dir
	dir=$(venv_of "$@")
	[ -f "$dir/done" ] || (
		lock "$tools/lock" "another run that installs tools"
		[ ! -f "$dir/done" ] || exit 0
		rm -rf "$dir"
		# shellcheck disable=SC2016 # sh expands it
		step "${dir##*/}" "installing ${*//==/ }" \
			sh -c 'python3 -m venv "$0" && "$0/bin/pip" install -q --disable-pip-version-check "$@"' "$dir" "$@" ||
			die "cannot install ${*//==/ }: $(why); see build/logs/${dir##*/}.log"
		touch "$dir/done"
	) || exit
}

# version_at_least MINIMUM TEXT: compare with the first version number in TEXT.
version_at_least() {
	local have
	have=$(grep -oE '[0-9]+(\.[0-9]+)+' <<<"$2" | head -n 1)
	[ -n "$have" ] && printf '%s\n%s\n' "$1" "$have" | sort -CV
}

# borrow PROGRAM CHECK ELSE 'SUITE...' 'OPTIONS' PACKAGE...: unless CHECK succeeds,
# install PROGRAM, from the first PACKAGE of the Debian suites, below $tools. PROGRAM runs
# with the C library of these suites, so libc6 must be among the packages. OPTIONS come
# before the program's arguments; $own in them is the directory of the packages. ELSE tells
# the user what to do if this fails.
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
	local new=$tools/$4.new root=usr/lib/x86_64-linux-gnu deb
	rm -rf "$new" && mkdir -p "$new" "$tools/bin" || return
	"$lib/deb" "$new" "$2" "${@:4}" || return
	for deb in "$new"/*.deb; do
		dpkg-deb -x "$deb" "$new" || return
	done
	# The other programs of a package can be large.
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
}

# get_kernel DIR PACKAGE[=VERSION] SUITE...: unless DIR has it, download that linux-source
# package from the first suite that has it: DIR/linux.tar.xz is the tarball, and DIR/version
# is "PACKAGE VERSION SUITE".
get_kernel() (
	lock "$1/lock" "another run that downloads the kernel source"
	# The file version is written last: if it exists, the tarball is complete.
	if grep -qs "^${2/=/ } " "$1/version" && [ -s "$1/linux.tar.xz" ]; then exit; fi
	need_space "$1" 800
	new=$(mktemp -d "$1/tmp.XXXXXX")
	trap 'rm -rf "$new"' EXIT
	rm -f "$1/version"
	step source "getting ${2/=/ } (170 MB) from this machine's Debian mirror" download_kernel "$new" "${@:2}" ||
		die "cannot get ${2/=/ }: $(why); see build/logs/source.log; with your own tree: make run KDIR=/path/to/linux"
	mv "$new"/{linux.tar.xz,version} "$1/"
)

download_kernel() {
	local package=${2%%=*} suite deb
	for suite in "${@:3}"; do
		! "$lib/deb" "$1" "$suite" "$2" || break
	done
	deb=$(echo "$1/$package"_*.deb)
	dpkg-deb --fsys-tarfile "$deb" | tar -xO "./usr/src/$package.tar.xz" >"$1/linux.tar.xz" || return
	echo "$package $(dpkg-deb -f "$deb" Version) $suite" >"$1/version"
}

# -- build and check --------------------------------------------------------

# second_tree TEXT MIB COMMIT: unless $src exists, make it a work tree of $tree.
second_tree() {
	[ ! -d "$src" ] || return 0
	need_space "$work" "$2"
	step "${src##*/linux-}-tree" "laying out $1" \
		kgit -C "$tree" worktree add --quiet --force --detach "$src" "$3"
}

# kmake ARGS...: run the kernel's make with the harness's tools.
kmake() {
	local tool args=(LLVM=1 "CC=ccache clang")
	for tool in rustc:RUSTC rustc:HOSTRUSTC rustdoc:RUSTDOC rustfmt:RUSTFMT \
		clippy-driver:CLIPPY_DRIVER bindgen:BINDGEN; do
		args+=("${tool#*:}=$(command -v "${tool%:*}" || true)")
	done
	[[ $CONFIG != *arm64 ]] || args+=(ARCH=arm64 "CC=ccache clang --target=aarch64-linux-gnu")
	# make each judges single lines.
	[ -z "$EACH" ] || args+=(KRUSTFLAGS=--error-format=short)
	# ccache's depend mode does not see files that .incbin includes: an old kernel
	# would end up in the bzImage. The namespace excludes objects of that mode.
	CCACHE_DIR=$cache/ccache CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-5G} CCACHE_NOHASHDIR=1 \
		CCACHE_NODEPEND=1 CCACHE_NAMESPACE=whole \
		KBUILD_BUILD_TIMESTAMP='@0' KBUILD_BUILD_USER=exithand KBUILD_BUILD_HOST=exithand \
		make "${args[@]}" "$@"
}

# -- virtual machine --------------------------------------------------------

# new_run: make an empty directory $run, which the guest shares. The EXIT trap runs
# the command $at_exit and removes $run.
at_exit=:
new_run() {
	local name=$build/run.$BASHPID
	mkdir -p "$build" "$results"
	rm -f "$results"/{console.log,test.ktap,summary.json}
	run=$(mktemp -d "$name.XXXXXX")
	trap '$at_exit; rm -rf "$build/run.$BASHPID".*' EXIT
}

# vm_py LIMIT TEXT OPTION...: run vm.py on this kernel and $run.
vm_py() {
	PATH=$python:$PATH python3 "$lib/vm.py" --kernel "${boot_image:-$obj/arch/$image}" \
		--dir "$run" --limit "$1" --say "$2" ${initrd:+--initrd "$initrd"} "${@:3}"
}

# release_clone: copy the kernel into $run and release the lock, so that another run in
# this clone can build.
release_clone() {
	boot_image=$run/${image##*/}
	cp "$obj/arch/$image" "$boot_image"
	unset EXITHAND_LOCKED
	flock -u "$lock_fd"
}

# in_vm LIMIT [TEXT] [OPTION...]: run $run/cmd in the virtual machine with this kernel.
# OPTION is one of vm.py. vm.py's exit code is in $vm_end afterwards.
in_vm() {
	vm_end=0
	[ -z "${2:-}" ] || note "== $2"
	vm_py "$1" "${2:-}" "${@:3}" || vm_end=$?
	[ "$vm_end" -lt 128 ] || exit "$vm_end" # Ctrl-C
}

# selftests_cmd OPTION...: make $run/cmd run the installed selftests with these options
# of run_kselftest.sh. The terminal shows failed and skipped tests, and lines that match
# $tests_show. $tests_env has variables for the tests.
selftests_cmd() {
	local show="^(not ok|ok .*# SKIP)|^# +not ok${tests_show:+|$tests_show}"
	cat >"$run/cmd" <<-EOF
		uname -r >uname
		# The runner appends to /dev/stdout, which virtme-ng redirects.
		ln -sfn /proc/self/fd/1 /dev/stdout
		export DURATION=1 # of each case in proc-maps-race; 5 s by itself
		cd $(printf %q "$obj/tests")
		env ${tests_env:-} ./run_kselftest.sh ${*@Q} 2>&1 |
			tee "\$OLDPWD/test.ktap" | stdbuf -oL grep -E "${V:+|}$show"
		exit 0
	EOF
	# If the kernel has kmemleak, the guest scans for leaks at its end.
	! grep -q '^CONFIG_DEBUG_KMEMLEAK=y' "$obj/.config" || touch "$run/look-for-leaks"
}

# verdict KIND: print the result of the run and return its exit code. The lock is for runs
# that end at the same time.
verdict() {
	mkdir -p "$results"
	flock "$results/.lock" python3 "$lib/verdict.py" "$1" --dir "$run" --vm-end "$vm_end" \
		--results "$results" --config "$CONFIG${BASE:+-base}"
}
