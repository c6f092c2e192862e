# SPDX-License-Identifier: GPL-2.0
"""Boot a kernel in virtme-ng and run a script in it.

usage: vm.py --kernel IMAGE --dir DIR [--limit SECONDS] [--say TEXT] [--shell] [--count]
             [--initrd CPIO]

DIR/cmd is the script. The guest can write to DIR, and can only read the host's other
files. The script's output goes to stdout and stderr. DIR gets:

console.log   the kernel's console
status        the script's exit status, if the script ended
end           `ended`, `hung` (out of time) or `died`; the accelerator; the seconds

With --count, the guest has one CPU, and its clock advances by one nanosecond per
instruction. While the guest is idle, its clock jumps to the next timer.

With --initrd, the kernel is for arm64, and CPIO has the guest's programs.

The exit code is 0 if the script ended, 4 if the guest hung, 5 if it died, 6 if the
virtual machine could not be started. ACCEL is auto, kvm or tcg.
"""

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import harness
from harness import TOP, Problem, read, say

PROBE_SECONDS = 20
GIVE_UP_SECONDS = 10
ENDED, HUNG, DIED, FAILED = 0, 4, 5, 6
END = {ENDED: "ended", HUNG: "hung", DIED: "died", FAILED: "not started"}


def vng_command(args, accel):
    command = [
        "vng", "--run", str(args.kernel), "--force-9p", "--cpus", "1" if args.count else "2",
        "--memory", os.environ.get("MEMORY", "1G"), "--rwdir", str(args.dir),
        "--qemu-opts", f"-serial file:{args.dir}/console.log -name debug-threads=on"
        + (" -icount shift=0,sleep=off" if args.count else ""),
    ]
    # The console has a serial port of its own. With console_msg_format=syslog,
    # verdict.py can tell lines of the kernel from lines of user space. root= is
    # needed because a kernel without block devices does not guess it. On a busy host,
    # the kernel's test of its timer would fail. The guest may cache the host's files,
    # because they do not change.
    command += ["--append", "root=/dev/root console=ttyS1 earlycon=uart8250,io,0x2f8,115200 panic=-1"
                " oops=panic console_msg_format=syslog no_timer_check "
                + ("loglevel=5" if args.shell else "ignore_loglevel")
                + " rootflags=version=9p2000.L,trans=virtio,access=any,msize=512000,cache=loose"]
    if accel == "tcg":
        command.append("--disable-kvm")
    if not args.shell:
        command += ["--exec", f"bash {TOP}/qemu-config/guest {args.dir}"]
    return command


def arm64_command(args):
    """Return QEMU's command. In the guest, qemu-config/init-arm64 does the work of virtme-ng."""
    init = (f"mkdir -p {TOP}; mount -t 9p -o trans=virtio,access=any,cache=loose,msize=512000 top {TOP};"
            f" exec bash {TOP}/qemu-config/init-arm64 {args.dir}")
    share = "-virtfs local,security_model=none,multidevs=remap,mount_tag="
    port = "-chardev file,id=fd{0},path=/proc/self/fd/{0} -device virtserialport,chardev=fd{0} "
    terminal = "-chardev stdio,id=tty,mux=on,signal=off -mon tty -device virtconsole,chardev=tty"
    return [*(f"qemu-system-aarch64 -M virt -cpu cortex-a57 -smp 2 -m {os.environ.get('MEMORY', '1G')}"
              f" -display none -nic none -no-reboot -kernel {args.kernel} -initrd {args.initrd}"
              f" -name debug-threads=on -serial file:{args.dir}/console.log {share}top,path={TOP},readonly=on"
              f" {share}run,path={args.dir} -device virtio-serial-pci "
              + (terminal if args.shell else port.format(1) + port.format(2))).split(), "-append",
            "console=ttyAMA0 earlycon=pl011,0x9000000 panic=-1 oops=panic console_msg_format=syslog "
            + ("loglevel=5" if args.shell else "ignore_loglevel") + f' rdinit=/bin/bash -- -c "{init}"']


def pump(source, target):
    """Copy virtme-ng's output from a pipe: it corrupts output that goes to a file.

    If the target is a pipe without a reader, stop the guest, as SIGPIPE would.
    """
    try:
        while data := os.read(source.fileno(), 65536):
            target.buffer.write(data)
            target.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())
        stop(signal.SIGPIPE, None)


def boot(args, accel, quiet=False):
    """Run the guest; return ENDED, HUNG, DIED or FAILED."""
    command = arm64_command(args) if args.initrd else vng_command(args, accel)
    if os.environ.get("V") == "1" and not quiet:
        say("== " + " ".join(command))
    # If this process is killed with SIGKILL, the kernel terminates the child.
    guarded = ["setpriv", "--pdeathsig", "TERM"]
    if args.shell:
        return ENDED if subprocess.run(guarded + command, check=False).returncode == 0 else FAILED
    guarded += ["timeout", "--kill-after=5", str(args.limit + 5), *command]
    start = time.monotonic()
    vng = subprocess.Popen(guarded, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, start_new_session=True)
    out, err = (sys.stdout, sys.stderr) if not quiet else (open(os.devnull, "w"),) * 2  # noqa: SIM115
    pumps = [threading.Thread(target=pump, args=a, daemon=True)
             for a in ((vng.stdout, out), (vng.stderr, err))]
    for thread in pumps:
        thread.start()
    try:
        hung = not wait(vng, args)
    finally:
        kill_session(vng)
    for thread in pumps:
        thread.join(5)
    if stopped:
        sys.exit(128 + stopped)
    end = HUNG if hung else ENDED if read_status(args.dir) is not None else DIED
    if end == DIED and not (args.dir / "console.log").exists():
        end = FAILED
    (args.dir / "end").write_text(f"{END[end]}\n{accel}\n{time.monotonic() - start:.1f}\n")
    return end


# The signal that stopped us. The handler only sets this variable: an exception could
# also come between the start of QEMU and the `try` in boot().
stopped = 0


def stop(number, _):
    global stopped
    stopped = number


def part_cpus(session):
    """Let the two virtual CPUs never share a CPU, for the race tests need both at once.

    On a busy host, Linux may run both on one. Return False if they do not exist yet.
    """
    cpus = sorted(os.sched_getaffinity(0))
    threads = subprocess.run(["ps", "-Ls", str(session), "-o", "lwp=,comm="], text=True,
                             stdout=subprocess.PIPE, check=False).stdout
    found = re.findall(r"(\d+) CPU (\d)/", threads)
    for thread, number in found:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(thread), cpus[int(number)::2] or cpus)
    return len(found) == 2


def wait(child, args):
    """Wait for the child, and part its CPUs. Print progress; return False after the limit."""
    start, said, parted = time.monotonic(), 0, args.count
    while child.poll() is None and not stopped:
        time.sleep(0.1)
        seconds = time.monotonic() - start
        parted = parted or seconds > PROBE_SECONDS or part_cpus(child.pid)
        if seconds >= args.limit:
            return False
        if args.say and seconds >= said + 20:
            said += 20
            say(f"   ... {args.say}: {said} s")
    return True


def kill_session(child):
    """Kill all processes of the child's session, so that no QEMU outlives us.

    Repeat, because a process may fork meanwhile, but only for GIVE_UP_SECONDS: a
    process that is blocked in a driver cannot be killed.
    """
    kill = ["pkill", "-KILL", "--session", str(child.pid), "--runstates", "D,R,S,T,t"]
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while subprocess.run(kill, check=False).returncode == 0:
        if time.monotonic() > deadline:
            say("   a process of the virtual machine cannot be killed and keeps running")
            return
        time.sleep(0.1)
    child.wait()


def read_status(directory):
    try:
        return int((directory / "status").read_text())
    except (OSError, ValueError):
        return None


def accelerator(args):
    """Return `kvm` or `tcg`, as ACCEL says. For `auto`, boot a guest to find out.

    On some machines, /dev/kvm can be opened but runs no guest. If the probe's kernel
    prints its version, KVM works. The result is kept until the next boot of the host,
    unless the guest printed its version and then failed: that may be the kernel's bug.
    """
    want = os.environ.get("ACCEL") or "auto"
    if want in ("kvm", "tcg"):
        return want
    if want != "auto":
        raise Problem(f"ACCEL={want}; use auto, kvm or tcg")
    memo = TOP / "build/accel"
    this_boot = read("/proc/sys/kernel/random/boot_id").strip()
    known = read(memo).split()
    if known[1:] == [this_boot]:
        return known[0]
    works = os.access("/dev/kvm", os.R_OK | os.W_OK)
    if works:
        with tempfile.TemporaryDirectory(dir=args.dir.parent, prefix="probe.") as tmp:
            (Path(tmp) / "cmd").write_text("exit 0\n")
            probe = argparse.Namespace(kernel=args.kernel, dir=Path(tmp),
                                       limit=PROBE_SECONDS, say="", shell=False, count=False, initrd=None)
            works = boot(probe, "kvm", quiet=True) == ENDED and read_status(probe.dir) == 0
            if not works and "Linux version" in read(probe.dir / "console.log"):
                return "kvm"
    found = "kvm" if works else "tcg"
    say(f"== virtual machine: {found}" + ("" if works else " (no usable /dev/kvm: slower)"))
    memo.write_text(f"{found} {this_boot}\n")
    return found


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    for name in ("kernel", "dir"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--initrd", type=Path)
    parser.add_argument("--limit", type=int, default=120)
    parser.add_argument("--say", default="")
    for name in ("shell", "count"):
        parser.add_argument(f"--{name}", action="store_true")
    args = parser.parse_args()
    args.dir = args.dir.resolve()
    if not args.shell:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, stop)
    return boot(args, "tcg" if args.count or args.initrd else accelerator(args))


if __name__ == "__main__":
    harness.run(main)
