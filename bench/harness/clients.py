"""The clients that are compared: how each is started, told to seed, download and recheck.

All get the same conditions: one core, no limit on connections, uploads or rates, TCP only, neither
DHT nor peer exchange nor local discovery. A client is used for one measurement and then ended.
"""

import base64
import json
import os
import re
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
import uuid

from process import Failed, start, stop, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
UNLIMITED = 10_000


def http(url, body=None, headers=None):
    request = urllib.request.Request(url, data=body, headers=headers or {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


class Client:
    """One client. Subclasses say how; `port` and `control_port` are free for it to listen on."""

    name = ""
    program = ""
    can = frozenset({"seed", "download", "recheck", "idle", "many"})

    def __init__(self, setup):
        self.setup = setup
        self.process = None
        self.added = 0

    def installed(self):
        return os.access(self.path(), os.X_OK)

    def path(self):
        return os.path.join(self.setup.peers, "bin", self.program)

    def version(self):
        command = [self.path(), "--version"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20)
        found = re.search(r"\d+\.\d+[\w.]*", answer.stdout + answer.stderr)
        return found[0] if found else "unknown"

    def launch(self, folder, data, port, control_port):
        """Starts the program; nothing is added yet."""
        raise NotImplementedError

    def add(self, torrent=None):
        """Adds a torrent, its data in the folder given at launch."""
        self.added += 1
        self.add_file(torrent or self.setup.torrent)

    def add_file(self, torrent):
        raise NotImplementedError

    def complete(self):
        """Whether all data of all torrents is there and checked, and they are active."""
        raise NotImplementedError

    def recheck(self):
        """Starts a full check; False where only adding the torrent checks."""
        return False

    def checking(self):
        """Whether a check is under way or queued."""
        return False

    def run(self, folder, command, env=None, stdin=None):
        log = os.path.join(folder, "log")
        self.process = start(command, self.setup.client_core, log, env, stdin)

    def alive(self):
        if self.process.poll() is not None:
            raise Failed(f"it ended with status {self.process.returncode}")
        return True

    def stop(self):
        if self.process:
            stop(self.process)


class TransmissionRpc(Client):
    """What Transmission and Ringseed have in common: the same calls control both."""

    def call(self, method, **arguments):
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        url = f"http://127.0.0.1:{self.control_port}/transmission/rpc"
        for _ in range(2):
            headers = {"X-Transmission-Session-Id": getattr(self, "session", "")}
            try:
                answer = json.loads(http(url, body, headers))
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
                self.session = error.headers["X-Transmission-Session-Id"]
                continue
            if answer["result"] != "success":
                raise Failed(f"{method}: {answer['result']}")
            return answer["arguments"]
        raise Failed(f"{method}: the session id was refused")

    def wait_for_control(self):
        wait_for(lambda: self.alive() and self.call("session-get"), 30, "its RPC answers")

    def add_file(self, torrent):
        with open(torrent, "rb") as file:
            metainfo = base64.b64encode(file.read()).decode()
        self.call("torrent-add", metainfo=metainfo, **{"download-dir": self.data})

    def torrents(self):
        fields = ["status", "percentDone", "recheckProgress", "errorString", "leftUntilDone"]
        torrents = self.call("torrent-get", fields=fields)["torrents"]
        if not torrents:
            raise Failed("the torrent is not in its list")
        for torrent in torrents:
            if torrent["errorString"]:
                raise Failed(torrent["errorString"])
        return torrents

    def complete(self):
        torrents = self.torrents()
        return len(torrents) == self.added and all(
            torrent["status"] == 6 and torrent["leftUntilDone"] == 0 for torrent in torrents)

    def checking(self):
        return any(torrent["status"] in (1, 2) for torrent in self.torrents())

    def recheck(self):
        self.call("torrent-verify")
        return True


class Transmission(TransmissionRpc):
    def launch(self, folder, data, port, control_port):
        self.data, self.control_port = data, control_port
        settings = {
            "peer-port": port, "rpc-port": control_port, "rpc-bind-address": "127.0.0.1",
            "rpc-whitelist-enabled": False, "rpc-host-whitelist-enabled": False,
            "peer-limit-global": UNLIMITED, "peer-limit-per-torrent": UNLIMITED,
            "upload-slots-per-torrent": UNLIMITED, "dht-enabled": False, "lpd-enabled": False,
            "pex-enabled": False, "utp-enabled": False, "port-forwarding-enabled": False,
            "speed-limit-up-enabled": False, "speed-limit-down-enabled": False,
            "ratio-limit-enabled": False, "idle-seeding-limit-enabled": False,
            "download-dir": data, "incomplete-dir-enabled": False, "preallocation": 1,
            "preferred_transports": ["tcp"], "peer_limit_global": UNLIMITED,
        }
        config = os.path.join(folder, "config")
        os.makedirs(config)
        with open(os.path.join(config, "settings.json"), "w") as out:
            json.dump(settings, out)
        web = os.path.join(self.setup.peers, "share", "transmission-web")
        self.run(folder, [self.path(), "-f", "--config-dir", config],
                 {"TRANSMISSION_WEB_HOME": web, "HOME": folder})
        self.wait_for_control()


class Transmission4(Transmission):
    name, program = "Transmission 4", "transmission-daemon-4"


class Transmission3(Transmission):
    name, program = "Transmission 3", "transmission-daemon-3"
    # It takes no more than 1,024 files, sockets included.
    can = frozenset({"seed", "download", "recheck", "many"})


class Ringseed(TransmissionRpc):
    """Ringseed on one shard, with the driver that is asked for."""

    driver = ""

    def path(self):
        return self.setup.ringseed

    def launch(self, folder, data, port, control_port):
        self.data, self.control_port = data, control_port
        config = os.path.join(folder, "config")
        os.makedirs(config)
        self.run(folder, [
            self.path(), "daemon", "--config-dir", config, "--download-dir", data,
            "--rpc-bind", f"127.0.0.1:{control_port}", "--peer-port", port,
            "--cores", 1, "--driver", self.driver, "--peer-limit-global", UNLIMITED,
            "--peer-limit-per-torrent", UNLIMITED, "--upload-slots-per-torrent", 0,
        ], {"RINGSEED_DRIVER": self.driver})
        self.wait_for_control()


class RingseedUring(Ringseed):
    name, driver = "Ringseed", "uring"


class RingseedMio(Ringseed):
    name, driver = "Ringseed (mio)", "mio"


class QBittorrent(Client):
    name, program = "qBittorrent", "qbittorrent-nox"

    def launch(self, folder, data, port, control_port):
        self.data, self.control_port = data, control_port
        config = os.path.join(folder, "qBittorrent", "config")
        os.makedirs(config)
        session = {
            "Port": port, "DHTEnabled": "false", "LSDEnabled": "false", "PeXEnabled": "false",
            "MaxConnections": -1, "MaxConnectionsPerTorrent": -1, "MaxUploads": -1,
            "MaxUploadsPerTorrent": -1, "MultiConnectionsPerIp": "true", "BTProtocol": "TCP",
            "QueueingSystemEnabled": "false", "UseOSCache": "true",
        }
        preferences = {
            r"WebUI\Address": "127.0.0.1", r"WebUI\Port": control_port,
            r"WebUI\LocalHostAuth": "false", r"WebUI\CSRFProtection": "false",
            r"WebUI\HostHeaderValidation": "false", r"Connection\UPnP": "false",
        }
        lines = ["[LegalNotice]", "Accepted=true", "[BitTorrent]"]
        lines += [rf"Session\{key}={value}" for key, value in session.items()]
        lines += ["[Preferences]"] + [f"{key}={value}" for key, value in preferences.items()]
        with open(os.path.join(config, "qBittorrent.conf"), "w") as out:
            out.write("\n".join(lines) + "\n")
        self.run(folder, [self.path(), f"--profile={folder}"],
                 {"HOME": folder, "QT_QPA_PLATFORM": "offscreen"})
        wait_for(lambda: self.alive() and self.call("app/version"), 30, "its web API answers")

    def call(self, method, body=None, content="application/x-www-form-urlencoded"):
        headers = {"Content-Type": content} if body is not None else {}
        return http(f"http://127.0.0.1:{self.control_port}/api/v2/{method}", body, headers)

    def add_file(self, torrent):
        boundary = uuid.uuid4().hex
        with open(torrent, "rb") as file:
            content = file.read()
        fields = {"savepath": self.data, "autoTMM": "false", "contentLayout": "Original"}
        body = b"".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in fields.items())
        body += (f'--{boundary}\r\nContent-Disposition: form-data; name="torrents"; filename="t.torrent"'
                 "\r\nContent-Type: application/x-bittorrent\r\n\r\n").encode() + content
        body += f"\r\n--{boundary}--\r\n".encode()
        self.call("torrents/add", body, f"multipart/form-data; boundary={boundary}")
        if self.added == 1:
            wait_for(self.torrents, 20, "the torrent is in its list")

    def torrents(self):
        return json.loads(self.call("torrents/info"))

    def complete(self):
        torrents = self.torrents()
        return len(torrents) == self.added and all(
            torrent["state"] in ("uploading", "stalledUP", "forcedUP") and torrent["amount_left"] == 0
            for torrent in torrents)

    def checking(self):
        return any(torrent["state"].startswith("checking") for torrent in self.torrents())

    def recheck(self):
        body = urllib.parse.urlencode({"hashes": self.torrents()[0]["hash"]}).encode()
        self.call("torrents/recheck", body)
        return True


class Libtorrent(Client):
    name, program = "libtorrent", "python-libtorrent"

    def version(self):
        command = [self.path(), "-c", "import libtorrent; print(libtorrent.__version__)"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()

    def launch(self, folder, data, port, control_port):
        script = os.path.join(HERE, "libtorrent_client.py")
        arguments = [data, str(port), str(control_port)]
        self.control_port = control_port
        self.run(folder, [self.path(), script, *arguments])
        wait_for(lambda: self.alive() and self.call("status"), 30, "its script answers")

    def call(self, method):
        return json.loads(http(f"http://127.0.0.1:{self.control_port}/{method}"))

    def add_file(self, torrent):
        self.call("add?" + urllib.parse.quote(torrent))

    def complete(self):
        return self.call("status")["states"] == ["seeding"]

    def checking(self):
        return any(state.startswith("checking") for state in self.call("status")["states"])

    def recheck(self):
        self.call("recheck")
        return True


class Rqbit(Client):
    name, program = "rqbit", "rqbit"

    def launch(self, folder, data, port, control_port):
        self.data, self.control_port = data, control_port
        self.run(folder, [
            self.path(), "--http-api-listen-addr", f"127.0.0.1:{control_port}", "--disable-dht",
            "--disable-lsd", "--disable-trackers", "--disable-upnp-port-forward", "--ipv4-only",
            "--listen-port", port, "--peer-limit", UNLIMITED,
            # By default it drops who has been silent for ten seconds.
            "--peer-read-write-timeout", "300s",
            "server", "start", "--disable-persistence", data,
        ], {"HOME": folder})
        wait_for(lambda: self.alive() and self.call("torrents"), 30, "its HTTP API answers")

    def call(self, method, body=None):
        return json.loads(http(f"http://127.0.0.1:{self.control_port}/{method}", body))

    def add_file(self, torrent):
        with open(torrent, "rb") as file:
            query = urllib.parse.urlencode({"overwrite": "true", "output_folder": self.data})
            self.call(f"torrents?{query}", file.read())

    def complete(self):
        for stats in (torrent["stats"] for torrent in self.call("torrents?with_stats=true")["torrents"]):
            if stats["state"] == "error":
                raise Failed(str(stats.get("error")))
            if stats["state"] != "live" or not stats["finished"]:
                return False
        return True


class Aria2(Client):
    name, program = "aria2", "aria2c"
    # It accepts some hundred connections and then hardly any more: minutes for 3,000.
    can = frozenset({"seed", "download", "recheck", "many"})

    def launch(self, folder, data, port, control_port):
        self.data, self.control_port = data, control_port
        self.run(folder, [
            self.path(), "--no-conf", "--enable-rpc", f"--rpc-listen-port={control_port}",
            "--rpc-max-request-size=32M", f"--listen-port={port}", "--disable-ipv6=true",
            "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false",
            "--enable-peer-exchange=false", "--seed-ratio=0.0", "--check-integrity=true",
            "--file-allocation=none", "--bt-max-peers=0", "--bt-max-open-files=1000",
            f"--max-concurrent-downloads={UNLIMITED}",
        ], {"HOME": folder})
        wait_for(lambda: self.alive() and self.call("getVersion"), 30, "its RPC answers")

    def call(self, method, *params):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": f"aria2.{method}", "params": params})
        return json.loads(http(f"http://127.0.0.1:{self.control_port}/jsonrpc", body.encode()))["result"]

    def add_file(self, torrent):
        with open(torrent, "rb") as file:
            self.call("addTorrent", base64.b64encode(file.read()).decode(), [], {"dir": self.data})

    def complete(self):
        for torrent in self.call("tellStopped", 0, 1000, ["errorMessage"]):
            raise Failed(torrent["errorMessage"])
        keys = ["seeder", "completedLength", "totalLength"]
        active = self.call("tellActive", keys)
        return len(active) == self.added and all(
            torrent["seeder"] == "true" and torrent["completedLength"] == torrent["totalLength"]
            for torrent in active)


class Floor(Client):
    """The bare loop; it seeds one torrent and nothing else."""

    can = frozenset({"seed", "idle"})
    zero_copy = ""

    def path(self):
        return self.setup.load

    def version(self):
        return "this repository"

    def launch(self, folder, data, port, control_port):
        self.run(folder, [
            self.path(), "floor", "--listen", f"127.0.0.1:{port}", "--torrent", self.setup.torrent,
            "--data", os.path.join(data, "data"), "--zero-copy", self.zero_copy,
        ])

        self.port = port

    def add_file(self, torrent):
        def listens():
            socket.create_connection(("127.0.0.1", self.port)).close()
            return True

        wait_for(listens, 60, "it listens")

    def complete(self):
        return self.alive()


class FloorCopying(Floor):
    name, zero_copy = "bare loop, sendmsg", "off"


class FloorZeroCopy(Floor):
    name, zero_copy = "bare loop, sendmsg_zc", "on"


ALL = {
    "floor": FloorCopying, "floor-zc": FloorZeroCopy, "ringseed": RingseedUring,
    "ringseed-mio": RingseedMio, "rqbit": Rqbit, "transmission4": Transmission4,
    "libtorrent": Libtorrent, "qbittorrent": QBittorrent, "transmission3": Transmission3,
    "aria2": Aria2,
}
