"""The control rows: what it costs to add, list, poll and restart ten thousand torrents."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import selectors
import socket
import statistics
import threading
import time

from process import Failed, cpu_seconds

TORRENTS = 10_000
PIECE = 1 << 15
PATH = "/transmission/rpc"
NATIVE = "/rpc/v1"

# What remotes ask for to show a list.
FIELDS = ["id", "name", "status", "hashString", "totalSize", "sizeWhenDone", "leftUntilDone", "percentDone",
          "rateDownload", "rateUpload", "uploadedEver", "downloadedEver", "uploadRatio", "eta", "error",
          "errorString", "addedDate", "downloadDir"]


def make(folder, count=TORRENTS):
    """So many torrents of 64 KiB with their data; the paths of the .torrents."""
    names = [f"a torrent with a name of usual length, number {number:06}" for number in range(count)]
    if not os.path.exists(folder):
        os.makedirs(folder)
        for name in names:
            data = os.urandom(2 * PIECE)
            pieces = b"".join(hashlib.sha1(data[at:at + PIECE]).digest() for at in (0, PIECE))
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)
            encoded = name.encode()
            with open(os.path.join(folder, f"{name}.torrent"), "wb") as file:
                file.write(b"d4:infod6:lengthi%de4:name%d:%s12:piece lengthi%de6:pieces40:%see"
                           % (2 * PIECE, len(encoded), encoded, PIECE, pieces))
    return [os.path.join(folder, f"{name}.torrent") for name in names]


def request(body, session, path=PATH, more=""):
    """The bytes of a call, kept alive; with more header lines."""
    head = (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{more}"
            f"X-Transmission-Session-Id: {session}\r\nContent-Length: {len(body)}\r\n\r\n")
    return head.encode() + body


SCRATCH = bytearray(8 << 20)


class Line:
    """A kept-alive connection that has one call under way at a time."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()

    def send(self, call):
        self.buffer.clear()
        self.expected = None
        self.socket.sendall(call)

    def receive(self, most=1 << 20):
        """Reads what there is, up to so many bytes; the answer's body once it is whole."""
        data = self.socket.recv(most)
        if not data:
            raise Failed("the connection was closed")
        self.buffer += data
        if self.expected is None:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = bytes(self.buffer[:end]).lower()
            if not head.startswith(b"http/1.1 200"):
                raise Failed(head.split(b"\r\n", 1)[0].decode())
            self.begin = end + 4
            length = head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
            self.expected = self.begin + int(length)
        return bytes(memoryview(self.buffer)[self.begin:]) if len(self.buffer) >= self.expected else None

    def pass_over(self):
        """As receive, but drops the body: whether it has come whole. Who measures many answers at
        once must not be the one who is slow."""
        if self.expected is None:
            if self.receive(4096) is not None:
                return True
            if self.expected is None:
                return False
            self.left = self.expected - len(self.buffer)
        else:
            # To TCP the flag means to throw away what is read.
            self.left -= self.socket.recv_into(SCRATCH, 0, socket.MSG_TRUNC)
        return self.left <= 0

    def call(self, call):
        """Seconds to the first byte and to the last, and the body."""
        begun = time.perf_counter()
        self.send(call)
        body = self.receive()
        first = time.perf_counter()
        while body is None:
            body = self.receive()
        return first - begun, time.perf_counter() - begun, body

    def close(self):
        self.socket.close()


def session_of(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", PATH, b"{}")
    answer = connection.getresponse()
    answer.read()
    return answer.getheader("X-Transmission-Session-Id", "")


def call_of(port, method, more="", **arguments):
    return request(json.dumps({"method": method, "arguments": arguments}).encode(), session_of(port), more=more)


def add_all(port, torrents, folder, connections=8, trusted=False):
    """Adds all torrents over a few connections; the seconds until the last answer. Without a check
    of their data (`trusted`) by Ringseed's native call."""
    session = session_of(port)
    calls = []
    for path in torrents:
        with open(path, "rb") as file:
            metainfo = base64.b64encode(file.read()).decode()
        if trusted:
            params = {"metainfo": metainfo, "download_dir": folder, "trust_files": True}
            call = {"jsonrpc": "2.0", "id": 1, "method": "torrent.add", "params": params}
        else:
            call = {"method": "torrent-add", "arguments": {"metainfo": metainfo, "download-dir": folder}}
        calls.append(request(json.dumps(call).encode(), session, NATIVE if trusted else PATH))
    calls.reverse()
    selector = selectors.DefaultSelector()
    lines = [Line(port) for _ in range(connections)]
    begun = time.perf_counter()
    for line in lines:
        selector.register(line.socket, selectors.EVENT_READ, line)
        line.send(calls.pop())
    busy = len(lines)
    while busy:
        for key, _ in selector.select(60):
            body = key.data.receive()
            if body is None:
                continue
            if b'"success"' not in body and b'"info_hash"' not in body:
                raise Failed(body[:200].decode())
            if calls:
                key.data.send(calls.pop())
            else:
                busy -= 1
                selector.unregister(key.fileobj)
    seconds = time.perf_counter() - begun
    for line in lines:
        line.close()
    return seconds


def listing(port, pid, change):
    """What a list of all torrents costs: the first of its kind, the fields each time in an order in
    which nobody asked for them, and one again, when a torrent has changed since."""
    line = Line(port)
    orders = [FIELDS[turn:] + FIELDS[:turn] for turn in range(len(FIELDS))]
    calls = [call_of(port, "torrent-get", fields=order) for order in orders]
    body = line.call(calls[0])[2]
    # Answers that are kept for others who ask the same are forgotten.
    time.sleep(8)
    before = peak_reset(pid)
    line.call(calls[1])
    grown = max(0, peak_kib(pid) - before) * 1024
    new = [line.call(call) for call in calls[2:]]
    again = []
    for turn in range(40):
        change([1 + turn])
        again.append(1000 * line.call(calls[0])[1])
    line.close()
    firsts, wholes, _ = zip(*new)
    return {"first_byte_ms": 1000 * statistics.median(firsts), "whole_ms": 1000 * statistics.median(wholes),
            "again_ms": statistics.median(again), "extra_memory": grown / len(body)}


def recently_active(port, change):
    """An answer about what changed when ten torrents have."""
    line = Line(port)
    call = call_of(port, "torrent-get", fields=FIELDS, ids="recently-active")
    times = []
    for turn in range(50):
        change(range(10 * turn + 1, 10 * turn + 11))
        times.append(1000 * line.call(call)[0])
    line.close()
    return statistics.median(times)


def calls(port, torrent):
    """The 99th percentile of calls that remotes make, in milliseconds; one of them about this
    torrent's files and peers. The list of all torrents has a row of its own."""
    line = Line(port)
    made = [
        call_of(port, "torrent-get", fields=["files", "peers", "trackerStats", "errorString"], ids=[torrent]),
        call_of(port, "torrent-get", fields=FIELDS, ids="recently-active"),
        call_of(port, "torrent-set", ids=[torrent], labels=["stalled"]),
        call_of(port, "torrent-reannounce", ids=[torrent]),
        call_of(port, "session-get"),
        call_of(port, "session-stats"),
        call_of(port, "free-space", path="/"),
    ]
    times = sorted(1000 * line.call(made[turn % len(made)])[1] for turn in range(100 * len(made)))
    line.close()
    return times[int(0.99 * len(times))]


class Pollers:
    """So many clients that ask for all torrents every second, spread over it. They take gzip, as
    transmission-remote does, browsers, and the HTTP libraries of Python, Go and .NET."""

    def __init__(self, port, clients):
        self.port, self.clients = port, clients
        self.times, self.failed = [], []
        self.ending = threading.Event()

    def run(self):
        call = call_of(self.port, "torrent-get", more="Accept-Encoding: gzip\r\n", fields=FIELDS)
        with contextlib.suppress(OSError):
            # What is measured is the daemon, not the wait for the load's core.
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        selector = selectors.DefaultSelector()
        lines = [Line(self.port) for _ in range(self.clients)]
        begun = time.perf_counter()
        due = [begun + number / self.clients for number in range(self.clients)]
        sent = [None] * self.clients
        for number, line in enumerate(lines):
            selector.register(line.socket, selectors.EVENT_READ, number)
        while not self.ending.is_set():
            now = time.perf_counter()
            for number, line in enumerate(lines):
                if sent[number] is None and due[number] <= now:
                    line.send(call)
                    sent[number] = now
                    due[number] += 1
            for key, _ in selector.select(0.002):
                if lines[key.data].pass_over():
                    self.times.append(1000 * (time.perf_counter() - sent[key.data]))
                    sent[key.data] = None
        for line in lines:
            line.close()

    @contextlib.contextmanager
    def polling(self):
        def run():
            try:
                self.run()
            except (Failed, OSError) as error:
                self.failed.append(error)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield self
        finally:
            self.ending.set()
            thread.join()

    def percentile(self, share):
        if self.failed or not self.times:
            raise Failed(f"the pollers failed: {self.failed}")
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def peak_reset(pid):
    """Forgets the peak of resident memory; KiB resident now."""
    with open(f"/proc/{pid}/clear_refs", "w") as file:
        file.write("5")
    return status_kib(pid, "VmRSS")


def peak_kib(pid):
    return status_kib(pid, "VmHWM")


def status_kib(pid, field):
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields[field].split()[0])
