#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Run the examples of Documentation/filesystems/exithand.rst, which includes the
# lines between "example" and "end", and the examples in C.

dir=$(dirname "$(readlink -f "$0")")
. "$dir/../kselftest/ktap_helpers.sh"

# Bound every wait below, without the kselftest runner as well.
if [ -z "$1" ] && command -v timeout >/dev/null; then
	exec timeout 120 "$dir/proc-exithand-shell.sh" bounded
fi

wait_for_exit()
{
	cat() { exec cat "$@"; }
	# example: wait
	cat "/proc/$pid/exithand"
	# end
}

stop()
(
	timeout() { command timeout "$limit" cat; }
	# example: stop
	exec 3< "/proc/$pid/exithand" || exit 1
	kill "$pid"
	if ! timeout 10 cat <&3; then
		kill -KILL "$pid"
		cat <&3
	fi
	exec 3<&-
	# end
)

status()
{
	# example: status
	awk '/^ExitStatus:/ { print $2 % 128 ? 128 + $2 % 128 : $2 / 256 }' /proc/self/fdinfo/3
	# end
}

check()
{
	eval "$2"
	case $? in
	0) ktap_test_pass "$1" ;;
	"$KSFT_SKIP") ktap_test_skip "$1" ;;
	*) ktap_test_fail "$1" ;;
	esac
}

# is PATTERN VALUE
is()
{
	case $2 in
	$1) ;;
	*) ! ktap_print_msg "expected '$1', saw '$2'" ;;
	esac
}

# says PATTERN COMMAND...: the pattern is for its exit code and its output.
says()
{
	expected=$1
	shift
	output=$("$@" 2>/dev/null)
	is "$expected" "$? $output"
}

eventually()
{
	timeout 10 sh -c 'until "$@" 2>/dev/null; do sleep 0.1; done' sh "$@"
}

# Clean up when this script has exited, whatever ended it.
cleanup()
{
	trap '' HUP INT TERM
	timeout 130 cat "/proc/$$/exithand"
	if [ -d "$group" ]; then
		echo 1 > "$group/cgroup.kill"
		eventually rmdir "$group"
		[ "$had_memory" ] || echo -memory > "$control"
	fi
	rm -r "$tmp"
}

# begin [COMMANDS]: $pid runs them and then, without a child, waits for this script.
begin()
{
	sh -c "$1 echo > $tmp/ready; read -r line < /proc/$$/exithand" >/dev/null &
	pid=$!
	timeout 10 cat "$tmp/ready" >/dev/null
}

# sleeps_in COMMAND...: it sleeps until the process exits.
sleeps_in()
{
	"$@" > "$tmp/output" &
	eventually grep -q '^State:.S' "/proc/$!/status" && kill -KILL "$pid" &&
		wait $! && ! grep -q '^State:.[^Z]' "/proc/$pid/status" 2>/dev/null
}

# status_is STATUS SIGNAL [COMMANDS]: the signal ends the process with the status.
status_is()
{
	begin "$3" && is "$1" "$(
		exec 3< "/proc/$pid/exithand"
		status
		kill "-$2" "$pid"
		cat <&3
		status
	)" && { wait "$pid"; is "$1" $?; }
}

# dd fills a buffer of 16 MiB and blocks, because only one byte of it is read.  It
# has no child, which would be as large until it executes a program.
hog()
{
	sh -c 'echo 0 > "$0/cgroup.procs" && exec dd if=/dev/zero bs=16M count=1' "$group" |
		{ head -c 1 > "$tmp/ready"; read -r line < "/proc/$$/exithand"; } >/dev/null &
	timeout 10 cat "$tmp/ready" >/dev/null
}

# Two of four hogs have to go, or three if something else looks at one of them in
# /proc and so keeps its memory for a moment.  All run on one CPU, with real-time
# priority for the killer: without a wait, it would kill all before the first exits.
kills_half()
{
	[ -e "$control" ] && mkdir "$group" && echo +memory > "$control" || return "$KSFT_SKIP"
	taskset -cp "$(taskset -cp $$ | sed 's/.*[^0-9]//')" $$ >/dev/null
	chrt -f 1 true 2>/dev/null && first="chrt -f 1"
	hog && hog && hog && hog || return
	goal=$(($(cat "$group/memory.current") * 5 / 8))
	is "[23]" "$($first "$killer" "$group" "$goal" | wc -l)" &&
		says "0 " "$killer" "$group" "$goal" && says "1 *" "$killer" "$group" 0
}

ktap_print_header
if ! [ -e /proc/self/exithand ] || ! command -v awk >/dev/null || [ -z "$1" ]; then
	ktap_skip_all "no /proc/self/exithand, awk or timeout"
	exit "$KSFT_SKIP"
fi
wait=$dir/proc-exithand-wait
killer=$dir/proc-exithand-killer
control=/sys/fs/cgroup/cgroup.subtree_control
group=/sys/fs/cgroup/exithand-$$
tmp=$(mktemp -d)
had_memory=$(grep -sw memory "$control")
cleanup &
mkfifo "$tmp/ready"

ktap_set_plan 12
check cat_waits 'begin && sleeps_in wait_for_exit'
check stop_by_term 'limit=10; begin && stop && wait "$pid"; is 143 $?'
check stop_by_kill 'limit=1; begin "trap \"\" TERM;" && stop && wait "$pid"; is 137 $?'
check stop_finds_no_process 'pid=0; ! stop 2>/dev/null'
check status_of_exit '(for code in 0 7 255; do
	status_is "$code" TERM "trap \"exit $code\" TERM;" || exit; done)'
check status_of_signal 'status_is 137 KILL'
check wait_sleeps 'begin && sleeps_in "$wait" "$pid" && is "$pid: exited" "$(cat "$tmp/output")"'
check wait_reaches_limit 'begin && says "1 $pid: still running" "$wait" "$pid" 100'
check wait_finds_no_process 'begin && kill -KILL "$pid"; wait "$pid"; says "2 " "$wait" "$pid"'
check wait_refuses 'says "2 " "$wait" && says "2 " "$wait" 0 && says "2 " "$wait" 1x &&
	says "2 " "$wait" 1 -1 && says "2 " "$wait" 1 2 3'
check killer_waits kills_half
check killer_refuses 'says "2 " "$killer" && says "2 " "$killer" "$group" 1x &&
	says "2 " "$killer" "$group" "" && says "2 " "$killer" "$dir" 1'
ktap_finished
