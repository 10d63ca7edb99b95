"""Starting, watching and ending the programs that are measured."""

import os
import signal
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A client did not do what was asked of it; the others are still measured."""


def start(command, core, log, env=None, stdin=None):
    """Starts a program on one core; its output goes to a file."""
    with open(log, "ab") as out:
        return subprocess.Popen(
            ["taskset", "-c", str(core), *map(str, command)],
            stdout=out, stderr=out, stdin=stdin or subprocess.DEVNULL,
            env={**os.environ, **(env or {})}, start_new_session=True,
        )


def stop(process, patience=20):
    """Ends a program and waits until it is gone."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_seconds(pid):
    """Processor time of all threads of a process so far."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def other_cpu_seconds(pid, prefix):
    """Processor time so far of the threads whose names do not begin so."""
    ticks = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/stat") as stat:
                name, _, rest = stat.read().partition("(")[2].rpartition(")")
        except FileNotFoundError:
            continue
        if not name.startswith(prefix):
            fields = rest.split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def anonymous_kib(pid):
    """Memory that is a process's own."""
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["RssAnon"].split()[0])


def wait_for(condition, seconds, what, interval=0.1):
    """Waits until a condition holds; errors of a program that is still starting do not count."""
    deadline = time.monotonic() + seconds
    problem = None
    while time.monotonic() < deadline:
        try:
            result = condition()
            if result:
                return result
            problem = None
        except OSError as error:
            problem = error
        time.sleep(interval)
    raise Failed(f"{what}: not within {seconds} s" + (f" ({problem})" if problem else ""))
