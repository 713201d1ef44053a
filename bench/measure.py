"""Measures a client from its start to its end: wall-clock time, CPU time and memory, those of the daemons that work for
it included."""

import os
import pathlib
import subprocess
import tempfile
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """What a process and its children that have ended have used so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11:15]) / TICK


def peak_memory(pid):
    """The largest resident size that the process has had, in bytes; 0 once it has ended."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


class MemoryWatch:
    """Looks at the peak again and again, because it goes with the process."""

    def __init__(self, pid):
        self.pid, self.peak = pid, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.ended.wait(0.01):
            self.peak = max(self.peak, peak_memory(self.pid))

    def stop(self):
        self.ended.set()
        self.thread.join()
        return self.peak


def run_one(argv):
    """Runs to the end; returns the CPU seconds of it and its children, and the peak memory of itself."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT)
        watch = MemoryWatch(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        peak = watch.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            raise SystemExit(f"{' '.join(map(str, argv))}\nexited with {process.returncode}:\n"
                             f"{output.read().decode(errors='replace')[-3000:]}")
    return usage.ru_utime + usage.ru_stime, peak


def run_timed(commands, daemons=()):
    """Runs the commands one after the other. Memory is the largest of theirs plus that of the daemons, which have
    done nothing else."""
    before = sum(cpu_seconds(pid) for pid in daemons)
    start = time.perf_counter()
    used = [run_one(argv) for argv in commands]
    wall = time.perf_counter() - start
    cpu = sum(seconds for seconds, _ in used) + sum(cpu_seconds(pid) for pid in daemons) - before
    daemon_memory = sum(peak_memory(pid) for pid in daemons)
    memory = max(peak for _, peak in used) + daemon_memory
    return {"wall": wall, "cpu": cpu, "memory": memory, "daemon_memory": daemon_memory}
