"""Runs one command and says what it cost: CPU time of its whole process tree, memory, threads."""
import ctypes
import os
import re
import signal
import subprocess
import time
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
SAMPLE_S = 0.1
PR_SET_CHILD_SUBREAPER = 36


class CpuGroup:
    """A control group for the command, where this machine lets us make one: exact CPU time of every process of the tree."""

    def __init__(self):
        self.path, self.usage_file = None, None
        for root, usage in ((Path("/sys/fs/cgroup/cpuacct"), "cpuacct.usage"), (Path("/sys/fs/cgroup"), "cpu.stat")):
            path = root / f"millrace-bench-{os.getpid()}"
            try:
                path.mkdir()
            except OSError:
                continue
            if (path / usage).exists():
                self.path, self.usage_file = path, path / usage
                return
            path.rmdir()

    def enter(self):
        """In the child, before exec."""
        if self.path:
            (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def cpu_s(self):
        if not self.path:
            return None
        text = self.usage_file.read_text()
        found = re.search(r"usage_usec (\d+)", text)
        return int(found[1]) / 1e6 if found else int(text) / 1e9

    def pids(self):
        return [int(pid) for pid in (self.path / "cgroup.procs").read_text().split()]

    def close(self):
        if self.path:
            try:
                self.path.rmdir()
            except OSError:
                pass  # something of the command outlived it; the folder is empty work for the kernel


def tree(pid):
    """The process and its descendants."""
    found, todo = [], [pid]
    while todo:
        at = todo.pop()
        found.append(at)
        for children in Path(f"/proc/{at}/task").glob("*/children"):
            try:
                todo += [int(child) for child in children.read_text().split()]
            except OSError:
                continue
    return found


def process_cpu_s(pid):
    """CPU time of a living process, to a clock tick."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def machine_busy_s():
    """CPU time of everything on this machine, to a clock tick: user, nice, system, interrupts, and what a hypervisor took."""
    fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6] + fields[7]) * TICK_S


class Sampler:
    """Memory of the tree and CPU time of its threads, looked at ten times a second."""

    def __init__(self):
        self.peak_kb, self.thread_ns = 0, {}

    def look(self, pids):
        total = 0
        for pid in pids:
            try:
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KB
                for task in Path(f"/proc/{pid}/task").iterdir():
                    name = (task / "comm").read_text().strip()
                    self.thread_ns[(pid, task.name)] = (name, int((task / "schedstat").read_text().split()[0]))
            except (OSError, IndexError, ValueError):
                continue  # it ended between two lines
        self.peak_kb = max(self.peak_kb, total)

    def by_name(self):
        """CPU seconds by thread name; numbers in a name are dropped, so that a pool is one line. Up to one sample short."""
        total = {}
        for name, ns in self.thread_ns.values():
            name = re.sub(r"[0-9#-]+", "", name).strip() or name
            total[name] = total.get(name, 0) + ns / 1e9
        return dict(sorted(total.items(), key=lambda item: -item[1])[:8])


def reap_all(pid, usage):
    """Adds the CPU time of every child that has ended; True once `pid` is among them."""
    ended, status = False, None
    while True:
        try:
            child, code, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if child == 0:
            break
        usage[0] += used.ru_utime + used.ru_stime
        usage[1] = max(usage[1], used.ru_maxrss)
        if child == pid:
            ended, status = True, os.waitstatus_to_exitcode(code)
    return ended, status


def wait(pid, group, sampler, usage, deadline):
    """Looks at the command until it ends, or ends it at the deadline. Returns its exit code and whether that was so."""
    timed_out = False
    while True:
        sampler.look(group.pids() if group.path else tree(pid))
        until = time.monotonic() + SAMPLE_S
        while time.monotonic() < until:
            ended, code = reap_all(pid, usage)
            if ended:
                return code, timed_out
            time.sleep(0.005)
        if time.monotonic() > deadline and not timed_out:
            timed_out = True
            os.killpg(pid, signal.SIGKILL)


def run(argv, env, log_path, timeout_s):
    """
    Runs argv to its end, stdout and stderr into log_path(.out/.err). Returns a dict: start (wall clock), exit, cpu_s, rss_mib,
    threads. Descendants that outlive it are ended with it.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    group, sampler, usage = CpuGroup(), Sampler(), [0.0, 0]
    with open(f"{log_path}.out", "wb") as out, open(f"{log_path}.err", "wb") as err:
        start = time.time()
        child = subprocess.Popen(argv, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                 preexec_fn=group.enter, start_new_session=True)
        try:
            code, timed_out = wait(child.pid, group, sampler, usage, time.monotonic() + timeout_s)
        except BaseException:  # Ctrl-C: the command has a session of its own and did not hear it
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            group.close()
            raise
        child.returncode = code
    end = time.time()
    rest = group.pids() if group.path else []
    for pid in rest:  # a helper process that did not notice
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    while rest and group.pids():
        reap_all(child.pid, usage)
        time.sleep(0.005)
    cpu_s = group.cpu_s()
    group.close()
    return {"start": start, "end": end, "exit": code, "timed_out": timed_out,
            "cpu_s": usage[0] if cpu_s is None else cpu_s,
            "rss_mib": max(sampler.peak_kb, usage[1] if len({pid for pid, _ in sampler.thread_ns}) <= 1 else 0) / 1024,
            "threads_s": sampler.by_name()}
