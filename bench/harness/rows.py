"""The rows of the comparison: what each client is put through, and what is measured meanwhile."""

import hashlib
import itertools
import json
import mmap
import os
import shutil
import socket
import subprocess
import time

from process import Failed, anonymous_kib, cpu_seconds, wait_for

GIB = 1 << 30


# Below the range of the load's own ports (ip_local_port_range), above what services use.
PORTS = itertools.count(21_000)


def free_port():
    """A port that nothing uses on any address; never the same one twice."""
    for port in PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
                return port
            except OSError:
                continue


class Row:
    """One measurement. `needs` is what a client must be able to do; `figures` are its columns.

    `once`: the figures do not vary enough to be measured again. `fresh`: bytes of memory that are
    about to be used, for each byte of data. `more`: whether more of the first figure is better.
    """

    def __init__(self, key, title, needs, action, figures, once=False, fresh=0.0, more=False):
        self.key, self.title, self.needs = key, title, needs
        self.action, self.figures = action, figures
        self.once, self.fresh, self.more = once, fresh, more

    def measure(self, kind, setup):
        """Starts a fresh client, measures it, ends it and removes what it wrote."""
        folder = os.path.join(setup.folder, f"{self.key}-{kind.name}".replace(" ", "-"))
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        client = kind(setup)
        # Nobody pays for writing what another client left.
        os.sync()
        touch(int(setup.size * self.fresh) + GIB // 2)
        try:
            result = self.action(client, folder, setup)
        except (Failed, OSError, KeyError, subprocess.SubprocessError) as error:
            return {"failed": str(error), "log": log_tail(folder)}
        finally:
            client.stop()
            shutil.rmtree(os.path.join(folder, "download"), ignore_errors=True)
        os.sync()
        return result


def touch(size):
    """Uses memory and frees it. A virtual machine may have given its free memory back to the host;
    the next use then costs several times more, and whoever came first would pay for all."""
    mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def log_tail(folder):
    try:
        with open(os.path.join(folder, "log"), errors="replace") as log:
            return log.read()[-500:]
    except OSError:
        return ""


def warm(setup):
    """Brings the data into the page cache."""
    with open(setup.data, "rb") as data:
        while data.read(1 << 22):
            pass


def launch(client, folder, data, add=True):
    port = free_port()
    client.launch(folder, data, port, free_port())
    if add:
        client.add()
    return port


def load(setup, *arguments):
    """Runs the load generator on its own core; its figures."""
    command = ["taskset", "-c", str(setup.load_core), setup.load, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600,
                          env={**os.environ, "RUST_BACKTRACE": "0"})
    if done.returncode != 0:
        raise Failed(done.stderr.strip().removeprefix("Error: ") or f"the load ended with {done.returncode}")
    return json.loads(done.stdout)


def pull(client, folder, setup, *arguments):
    warm(setup)
    port = launch(client, folder, os.path.dirname(setup.data))
    wait_for(client.complete, 120, "it seeds")
    time.sleep(0.5)
    return load(setup, "leech", "--target", f"127.0.0.1:{port}", "--torrent", setup.torrent,
                "--data", setup.data, "--client-pid", client.process.pid, *arguments)


def seed(client, folder, setup):
    return pull(client, folder, setup, "--connections", 20, "--requests", 64,
                "--bytes", setup.seed_bytes, "--warm-up", GIB // 4, "--seconds", setup.seconds)


def seed_random(client, folder, setup):
    return pull(client, folder, setup, "--connections", 400, "--requests", 16, "--random-pieces",
                "--bytes", setup.seed_bytes, "--warm-up", GIB // 4, "--seconds", setup.seconds)


def idle(client, folder, setup):
    figures = pull(client, folder, setup, "--connections", 3000, "--requests", 0,
                   "--seconds", setup.idle_seconds, "--unchoke-within", 20)
    if figures["closed"] == figures["connections"]:
        raise Failed("it dropped every idle connection")
    return figures


def download(client, folder, setup):
    warm(setup)
    target = os.path.join(folder, "download")
    os.makedirs(target)
    port = launch(client, folder, target)
    time.sleep(1)
    figures = load(setup, "seed", "--target", f"127.0.0.1:{port}", "--torrent", setup.torrent,
                   "--data", setup.data, "--seeds", 10, "--client-pid", client.process.pid,
                   "--seconds", setup.download_seconds)
    if not figures["complete"]:
        raise Failed(f"only {figures['bytes'] / GIB:.2f} GiB in {setup.download_seconds} s, "
                     f"{figures['cpu_seconds_per_gib']:.2f} CPU s/GiB")
    wait_for(client.complete, 60, "it has all data")
    client.stop()
    with open(os.path.join(target, "data"), "rb") as data:
        if hashlib.file_digest(data, "sha1").hexdigest() != setup.sha1:
            raise Failed("what it wrote is not what the seeds have")
    return figures


def cold(client, folder, setup):
    torrent, data = setup.cold()
    warm(setup)
    port = launch(client, folder, os.path.dirname(setup.data))
    client.add(torrent)
    wait_for(client.complete, 300, "it seeds both torrents")
    time.sleep(0.5)
    warm(setup)
    figures = load(setup, "cold", "--target", f"127.0.0.1:{port}", "--hot-torrent", setup.torrent,
                   "--hot-data", setup.data, "--cold-torrent", torrent, "--cold-data", data,
                   "--seconds", 5, "--client-pid", client.process.pid)
    alone, beside = figures["hot_alone"]["p99_ms"], figures["hot_beside"]["p99_ms"]
    return figures | {"alone_p99": alone, "beside_p99": beside, "slower": beside / alone,
                      "cold_p99": figures["cold"]["p99_ms"]}


def many(client, folder, setup):
    """A thousand small torrents that nobody asks for."""
    torrents = setup.many()
    launch(client, folder, os.path.dirname(torrents[0]), add=False)
    pid = client.process.pid
    time.sleep(1)
    before = anonymous_kib(pid)
    for torrent in torrents:
        client.add(torrent)
    wait_for(client.complete, 300, f"it seeds {len(torrents)} torrents", 1)
    # Until what is left of adding them is done.
    time.sleep(10)
    cpu, begun = cpu_seconds(pid), time.monotonic()
    time.sleep(setup.idle_seconds)
    used, seconds = cpu_seconds(pid) - cpu, time.monotonic() - begun
    memory = anonymous_kib(pid)
    return {"cpu_percent": 100 * used / seconds, "memory_mib": memory / 1024, "torrents": len(torrents),
            "kib_per_torrent": (memory - before) / len(torrents)}


def recheck(client, folder, setup):
    warm(setup)
    launch(client, folder, os.path.dirname(setup.data), add=False)
    pid = client.process.pid
    time.sleep(0.5)
    cpu, begun = cpu_seconds(pid), time.monotonic()
    client.add()
    ended, used = until_quiet(client, pid, cpu)
    cpu, again = cpu_seconds(pid), time.monotonic()
    if client.recheck():
        begun = again
        wait_for(client.checking, 10, "a check begins", 0.01)
        ended, used = until_quiet(client, pid, cpu)
    seconds = ended - begun
    return {"seconds": seconds, "cpu_seconds": used, "gib_per_second": setup.size / seconds / GIB,
            "cpu_seconds_per_gib": used * GIB / setup.size}


def until_quiet(client, pid, cpu):
    """Waits until a check is over: when it ended, and the processor time it took since `cpu`.

    The client is asked only when it seems to rest, for answering costs it time too.
    """
    history = []
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        history.append((time.monotonic(), cpu_seconds(pid) - cpu))
        history = history[-80:]
        if len(history) == 80 and history[-1][1] - history[0][1] <= 0.02:
            if client.complete() and not client.checking():
                return history[0]
            history = []
        time.sleep(0.005)
    raise Failed("the check does not end")


RATES = [("cpu_seconds_per_gib", "CPU s/GiB", "{:.2f}"), ("mib_per_second", "MiB/s", "{:.0f}")]
MEMORY = ("memory_mib", "anonymous MiB", "{:.0f}")

ALL = [
    Row("seed", "Seeding to 20 leechers, 64 requests each", "seed", seed,
        RATES + [("latency_p99", "p99 ms", "{:.1f}"), MEMORY]),
    Row("random", "Seeding random pieces to 400 leechers, 16 requests each", "seed", seed_random,
        RATES + [("latency_p99", "p99 ms", "{:.1f}"), ("unchoked", "served", "{:.0f}"), MEMORY]),
    Row("download", "Downloading from 10 seeds to disk, checked", "download", download,
        RATES + [("memory_grown_mib", "anonymous MiB over idle", "{:.0f}")], fresh=1.5),
    Row("recheck", "Rechecking, data in the page cache", "recheck", recheck,
        [RATES[0], ("gib_per_second", "GiB/s", "{:.2f}")]),
    Row("cold", "A hot block's latency beside 10 leechers of cold random pieces", "many", cold,
        [("slower", "p99, × alone", "{:.2f}"), ("alone_p99", "p99 ms alone", "{:.2f}"),
         ("beside_p99", "p99 ms beside", "{:.2f}"),
         ("hot_beside_mib_per_second", "hot MiB/s beside", "{:.0f}"),
         ("cold_mib_per_second", "cold MiB/s", "{:.0f}"), ("cold_p99", "cold p99 ms", "{:.0f}")]),
    Row("idle", "Holding 3,000 idle connections", "idle", idle,
        [("cpu_percent", "% of a core", "{:.2f}"),
         ("client_bytes_per_connection", "bytes a connection", "{:.0f}"), MEMORY,
         ("held", "held", "{:.0f}")], once=True),
    Row("torrents", "Seeding 1,000 torrents that nobody asks for", "many", many,
        [("cpu_percent", "% of a core", "{:.2f}"), ("kib_per_torrent", "KiB a torrent", "{:.1f}"),
         MEMORY], once=True),
    Row("kernels", "Hashing on one core: 16 pieces in memory, and a recheck, by backend", None, None,
        [("gb_per_second", "GB/s", "{:.2f}"), ("gib_per_second", "GiB/s", "{:.2f}")], more=True),
]


def derive(figures):
    """Adds the columns that are computed from others."""
    if "memory_most" in figures:
        most = figures["memory_most"]["anonymous_kib"]
        figures["memory_mib"] = most / 1024
        idle_memory = figures.get("memory_idle", figures["memory_before"])
        figures["memory_grown_mib"] = (most - idle_memory["anonymous_kib"]) / 1024
    if "latency" in figures:
        figures["latency_p99"] = figures["latency"]["p99_ms"]
        figures["cpu_percent"] = 100 * figures["cpu_seconds"] / figures["seconds"]
        figures["held"] = figures["connections"] - figures["closed"]
    return figures
