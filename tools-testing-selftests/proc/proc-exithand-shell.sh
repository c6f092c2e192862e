#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# /proc/<pid>/exithand in a shell. What stands between "example" and "end" is
# what Documentation/filesystems/exithand.rst shows, and here it is run; as are
# the examples in C, proc-exithand-wait and proc-exithand-killer.

# A reader that nobody tells must not hold up everything.
if [ -z "$EXITHAND_BOUNDED" ] && command -v timeout >/dev/null; then
	EXITHAND_BOUNDED=1 exec timeout 300 "$0"
fi

dir=$(dirname "$(readlink -f "$0")")
have_timeout=$(command -v timeout)
. "$dir"/../kselftest/ktap_helpers.sh

# Waits for $pid.
wait_for()
{
	# example: wait
	cat "/proc/$pid/exithand"
	# end
}

# Stops $pid.
stop()
(
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

# Prints how the process of descriptor 3 has ended.
status()
{
	# example: status
	awk '/^ExitStatus:/ { print $2 % 128 ? 128 + $2 % 128 : $2 / 256 }' /proc/self/fdinfo/3
	# end
}

# Nobody here needs the ten seconds.
timeout()
{
	command timeout "$limit" cat
}

# begin COMMAND...: runs it as $pid; it has a file that it touches when it is
# ready, $ready.
ready=$(mktemp)
begin()
{
	rm -f "$ready"
	"$@" &
	pid=$!
	eventually test -e "$ready"
}

eventually()
{
	tries=100
	while ! "$@"; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return
		sleep 0.1
	done
}

sleeper()
{
	exec sh -c "$1 touch $ready; while :; do sleep 0.1; done"
}

# Neither running nor ready to run.
asleep()
{
	grep -q '^State:.S' "/proc/$1/status"
}

check()
{
	if "$1"; then
		ktap_test_pass "$1"
	else
		ktap_test_fail "$1"
	fi
}

# is WHAT EXPECTED: says so if it is not.
is()
{
	[ "$1" = "$2" ] || {
		ktap_print_msg "expected '$2', saw '$1'"
		return 1
	}
}

cat_waits()
{
	begin sleeper || return
	wait_for &
	cat=$!
	eventually asleep "$cat" && sleep 0.2 && asleep "$cat" || return
	kill -KILL "$pid"
	wait "$cat" && ! grep -q '^State:.[^Z]' "/proc/$pid/status" 2>/dev/null
}

stop_of_who_obeys()
{
	limit=10
	begin sleeper || return
	stop && wait "$pid"
	is $? 143
}

stop_of_who_does_not()
{
	limit=1
	begin sleeper "trap '' TERM;" || return
	stop && wait "$pid"
	is $? 137
}

stop_of_nobody()
{
	pid=0
	! stop 2>/dev/null
}

# The exit code, or 128 and the signal.
status_is()
{
	is "$(
		exec 3< "/proc/$pid/exithand"
		status
		kill "-$1" "$pid"
		cat <&3
		status
	)" "$2"
}

status_of_exit()
{
	for code in 0 7 255; do
		begin sleeper "trap 'exit $code' TERM;" || return
		status_is TERM "$code" || return
		wait "$pid"
		is $? "$code" || return
	done
}

status_of_signal()
{
	begin sleeper || return
	status_is KILL 137
}

# wait_program EXPECTED OUTPUT ARGUMENT...: the example in C.
wait_program()
{
	expected=$1 output=$2
	shift 2
	said=$("$dir"/proc-exithand-wait "$@" 2>/dev/null)
	is "$?" "$expected" && is "$said" "$output"
}

c_example_waits()
{
	begin sleeper || return
	wait_program 1 "$pid: still running" "$pid" 100 || return
	(sleep 0.5; kill -KILL "$pid") &
	wait_program 0 "$pid: exited" "$pid"
}

c_example_refuses()
{
	wait_program 2 "" && wait_program 2 "" 0 && wait_program 2 "" 1x &&
		wait_program 2 "" 1 -1 && wait_program 2 "" 1 2 3
}

c_example_knows_who_is_gone()
{
	begin sleeper || return
	kill -KILL "$pid"
	wait "$pid"
	wait_program 2 "" "$pid"
}

# hog: holds 4 MiB when it is ready. It forks nothing after that: until a child
# has called exec(), it is as large as the hog, and the killer may choose it. The
# hog waits for the exit of this script.
hog()
{
	echo 0 > "$group/cgroup.procs" &&
		memory=$(head -c 4194304 /dev/zero | tr '\0' x) && [ "$memory" ] && touch "$ready"
	read -r memory < "/proc/$$/exithand"
}

# killer EXPECTED OUTPUT ARGUMENT...: the last line of what it says.
killer()
{
	expected=$1 output=$2
	shift 2
	said=$("$dir"/proc-exithand-killer "$@" 2>/dev/null)
	is "$?" "$expected" && is "$(echo "$said" | sed -n '$s/,.*//p')" "$output"
}

# Two have to go of three that are of about the same size. Who does not wait for
# the first to be gone takes the third, too.
killer_of_hogs()
{
	begin hog && begin hog && begin hog || return
	memory=$(cat "$group/memory.current")
	killer 0 "2 killed" "$group" $((memory - 6291456)) &&
		killer 0 "0 killed" "$group" "$memory" || return
	"$dir"/proc-exithand-killer "$group" 0 >/dev/null 2>&1
	is $? 1
}

example_killer()
{
	group=/sys/fs/cgroup/exithand-$$
	control=/sys/fs/cgroup/cgroup.subtree_control
	was_on=$(grep -w memory "$control")
	{ echo +memory > "$control" && mkdir "$group"; } 2>/dev/null || {
		ktap_test_skip "example_killer: no memory cgroup of our own"
		return
	}
	check killer_of_hogs
	echo 1 > "$group/cgroup.kill"
	eventually rmdir "$group" 2>/dev/null
	[ "$was_on" ] || echo -memory > "$control"
}

killer_refuses()
{
	killer 2 "" && killer 2 "" -p 0 "$dir" 1 && killer 2 "" "$dir" 1x &&
		killer 2 "" "$dir" 1
}

ktap_print_header
if ! [ -e /proc/self/exithand ]; then
	ktap_skip_all "no /proc/self/exithand"
	exit "$KSFT_SKIP"
fi
if ! command -v awk >/dev/null || [ -z "$have_timeout" ]; then
	ktap_skip_all "no awk or timeout"
	exit "$KSFT_SKIP"
fi

ktap_set_plan 11
check cat_waits
check stop_of_who_obeys
check stop_of_who_does_not
check stop_of_nobody
check status_of_exit
check status_of_signal
check c_example_waits
check c_example_refuses
check c_example_knows_who_is_gone
example_killer
check killer_refuses
rm -f "$ready"
ktap_finished
