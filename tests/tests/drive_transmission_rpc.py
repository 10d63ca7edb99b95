"""Calls every public method of the Python package transmission-rpc and reads every property of what it
answers. Prints what came of it as one JSON object, for comparison with what another server gave.

python transmission_rpc.py PORT FOLDER FIRST SECOND: the port of the server's RPC, a folder of its own
with the data of the first torrent in FOLDER/downloads, and two files .torrent.
"""

import datetime
import http.server
import inspect
import json
import pathlib
import sys
import threading
import time
import warnings

import transmission_rpc
from transmission_rpc import Client, TransmissionError

# Seconds; longer than anything that is waited for takes.
ENOUGH = 30

port, folder, first, second = sys.argv[1:]
downloads = f"{folder}/downloads"
# Methods that are deprecated are called too.
warnings.simplefilter("ignore")


class Pages(http.server.BaseHTTPRequestHandler):
    """A blocklist, and the second torrent."""

    def do_GET(self):
        body = b"bad:198.51.100.0-198.51.100.255\nworse:203.0.113.7-203.0.113.7\n"
        if self.path == "/torrent":
            body = pathlib.Path(second).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
threading.Thread(target=pages.serve_forever, daemon=True).start()
site = f"http://127.0.0.1:{pages.server_address[1]}"

# What of a torrent is another in each moment, or each server's own.
VARIES = ["trackers", "tracker_stats", "seconds_downloading", "seconds_seeding"]

seen = {}
called = set()


def plain(value):
    """A value as JSON has it, with the server's own folder and this script's address named."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return value.replace(folder, "{folder}").replace(site, "{site}")
    if isinstance(value, (datetime.datetime, datetime.timedelta)):
        return type(value).__name__
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    return properties(value)


def properties(thing):
    """Every property of an object of the package: its value, or what reading it raises."""
    found = {}
    for name, _ in inspect.getmembers(type(thing), lambda member: isinstance(member, property)):
        try:
            value = getattr(thing, name)
            found[name] = [type(value).__name__, plain(value)]
        except Exception as error:
            found[name] = ["raises", type(error).__name__]
    return found


def call(method, *arguments, name=None, **options):
    """Calls a method of the client and keeps its answer under a name; an error is an answer too."""
    called.add(method)
    try:
        answer = getattr(client, method)(*arguments, **options)
    except TransmissionError as error:
        seen[name or method] = ["raises", type(error).__name__]
        print(f"{name or method}: {error}", file=sys.stderr)
        return None
    seen[name or method] = plain(answer)
    return answer


def keep(name, torrent, *fields):
    """Keeps raw fields of a torrent, together with what was done."""
    try:
        answer = client.get_torrent(torrent, ["id", *fields])
    except KeyError:
        seen[name] = "no such torrent"
        return
    seen[name] = {field: plain(answer.fields.get(field, "missing")) for field in fields}


def settled(torrent):
    """Waits until nothing is checked or moved any more."""
    for _ in range(ENOUGH * 10):
        status = client.get_torrent(torrent, ["id", "status"]).status
        if status not in ("checking", "check pending"):
            return
        time.sleep(0.1)
    raise SystemExit(f"torrent {torrent} is still {status}")


def wait(what, is_so):
    """Waits until it is so, and keeps whether it became so."""
    end = time.monotonic() + ENOUGH
    while not is_so() and time.monotonic() < end:
        time.sleep(0.1)
    seen[what] = is_so()


client = Client(host="127.0.0.1", port=int(port))
client.timeout = 40
seen["timeout"] = client.timeout
del client.timeout
client.timeout = (10, 40)
with transmission_rpc.from_url(f"http://user:word@127.0.0.1:{port}/transmission/rpc") as other:
    seen["from_url"] = type(other.get_session()).__name__

# Torrents come and are told of.
added = call("add_torrent", pathlib.Path(first), download_dir=downloads, labels=["a", "größer"])
call("add_torrent", pathlib.Path(first), name="add_torrent again")
settled(1)
wait("the data is found", lambda: client.get_torrent(1).percent_done == 1)
call(
    "add_torrent",
    f"{site}/torrent",
    name="add_torrent by address",
    paused=True,
    download_dir=downloads,
    files_unwanted=[0],
    priority_high=[1],
    priority_low=[2],
    peer_limit=17,
    bandwidth_priority=1,
    cookies="a=b",
)
settled(2)
keep(
    "add_torrent's options", 2,
    "status", "wanted", "priorities", "peer-limit", "bandwidthPriority", "downloadDir", "labels",
)  # fmt: skip
call("add_torrent", b"no torrent", name="add_torrent of nonsense")
call("get_torrent", 1)
for moment in VARIES:
    seen["get_torrent"].pop(moment)
tracker = client.get_torrent(1).tracker_stats[0]
seen["tracker_stats"] = {name: kind for name, (kind, _) in properties(tracker).items()}
tracker = client.get_torrent(1).trackers[0]
seen["trackers"] = {name: kind for name, (kind, _) in properties(tracker).items()}
call("get_torrent", added.hash_string, ["id", "name"], name="get_torrent by hash")
seen["get_torrents"] = [torrent.id for torrent in call("get_torrents") or []]
active, removed = call("get_recently_active_torrents") or ([], [])
seen["get_recently_active_torrents"] = [sorted(torrent.id for torrent in active), removed]
seen["get_files"] = plain([list(file) for file in client.get_torrent(1).get_files()])

# Every option of change_torrent.
for option, value, *fields in [
    ("bandwidth_priority", -1, "bandwidthPriority"),
    ("download_limit", 111, "downloadLimit"),
    ("download_limited", True, "downloadLimited"),
    ("upload_limit", 222, "uploadLimit"),
    ("upload_limited", True, "uploadLimited"),
    # It was added without this one.
    ("files_wanted", [0], "wanted"),
    ("files_unwanted", [0], "wanted"),
    ("honors_session_limits", False, "honorsSessionLimits"),
    ("peer_limit", 33, "peer-limit", "maxConnectedPeers"),
    ("priority_high", [2], "priorities"),
    ("priority_low", [1], "priorities"),
    ("priority_normal", [2], "priorities"),
    ("queue_position", 0, "queuePosition"),
    ("seed_idle_limit", 45, "seedIdleLimit"),
    ("seed_idle_mode", 1, "seedIdleMode"),
    ("seed_ratio_limit", 1.25, "seedRatioLimit"),
    ("seed_ratio_mode", 2, "seedRatioMode"),
    ("labels", ["one", "two"], "labels"),
    ("group", "slow", "group"),
    ("tracker_add", ["http://127.0.0.1:9/added"], "trackerList"),
    ("tracker_list", [["http://127.0.0.1:9/a", "http://127.0.0.1:9/b"], ["http://127.0.0.1:9/c"]],
     "trackerList"),
]:  # fmt: skip
    call("change_torrent", 2, name=f"change_torrent {option}", **{option: value})
    keep(f"after change_torrent {option}", 2, *fields)
trackers = [tracker.id for tracker in client.get_torrent(2).trackers]
call("change_torrent", 2, name="change_torrent tracker_replace",
     tracker_replace=[trackers[0], "http://127.0.0.1:9/d"])  # fmt: skip
call("change_torrent", 2, name="change_torrent tracker_remove", tracker_remove=trackers[1:2])
keep("after change_torrent tracker_remove", 2, "trackerList")
call("change_torrent", 2, name="change_torrent of a bad file", files_wanted=[99])

# The queue.
for method in ["queue_bottom", "queue_up", "queue_down", "queue_top"]:
    call(method, 1)
    keep(f"after {method}", 1, "queuePosition")

# Places and names.
call("move_torrent_data", 1, f"{folder}/moved")
wait("moved", lambda: pathlib.Path(folder, "moved").is_dir() and client.get_torrent(1).seeding)
keep("after move_torrent_data", 1, "downloadDir", "percentDone", "error")
call("rename_torrent_path", 1, client.get_torrent(1).name, "another name")
keep("after rename_torrent_path", 1, "name", "files")
call("rename_torrent_path", 1, "not there", "x", name="rename_torrent_path of nothing")

# Life and death.
call("stop_torrent", 1)
wait("stopped", lambda: client.get_torrent(1).stopped)
call("verify_torrent", 1)
settled(1)
keep("after verify_torrent", 1, "status", "percentDone")
call("start_torrent", 1)
wait("started", lambda: client.get_torrent(1).seeding)
call("stop_torrent", [1, 2], name="stop_torrent of several")
wait("both stopped", lambda: all(torrent.stopped for torrent in client.get_torrents()))
call("start_torrent_now", 1)
wait("started now", lambda: client.get_torrent(1).seeding)
call("start_all")
wait("all started", lambda: not any(torrent.stopped for torrent in client.get_torrents()))
call("reannounce_torrent", [1, 2])

# Groups.
call("set_group", "fast", honors_session_limits=False, speed_limit_down_enabled=True,
     speed_limit_down=500, speed_limit_up_enabled=True, speed_limit_up=600)  # fmt: skip
groups = call("get_groups") or {}
seen["get_groups"] = {name: properties(groups[name]) for name in sorted(groups)}
seen["get_group"] = call("get_group", "fast") is not None

# Every option of set_session.
for option, value in [
    ("alt_speed_down", 77),
    ("alt_speed_enabled", True),
    ("alt_speed_time_begin", 90),
    ("alt_speed_time_day", 62),
    ("alt_speed_time_enabled", True),
    ("alt_speed_time_end", 1365),
    ("alt_speed_up", 33),
    ("blocklist_url", f"{site}/blocklist"),
    ("blocklist_enabled", True),
    ("cache_size_mib", 9),
    ("dht_enabled", False),
    ("default_trackers", ["http://127.0.0.1:9/default"]),
    ("download_dir", f"{folder}/other"),
    ("download_queue_enabled", True),
    ("download_queue_size", 7),
    ("encryption", "required"),
    ("idle_seeding_limit", 45),
    ("idle_seeding_limit_enabled", True),
    ("incomplete_dir", f"{folder}/incomplete"),
    ("incomplete_dir_enabled", True),
    ("lpd_enabled", False),
    ("peer_limit_global", 99),
    ("peer_limit_per_torrent", 44),
    ("peer_port", 23456),
    ("peer_port_random_on_start", True),
    ("pex_enabled", False),
    ("port_forwarding_enabled", False),
    ("queue_stalled_enabled", False),
    ("queue_stalled_minutes", 12),
    ("rename_partial_files", True),
    ("script_torrent_added_filename", f"{folder}/added"),
    ("script_torrent_added_enabled", True),
    ("script_torrent_done_filename", f"{folder}/done"),
    ("script_torrent_done_enabled", True),
    ("script_torrent_done_seeding_filename", f"{folder}/seeded"),
    ("script_torrent_done_seeding_enabled", True),
    ("seed_queue_enabled", True),
    ("seed_queue_size", 4),
    ("seed_ratio_limit", 1.25),
    ("seed_ratio_limited", True),
    ("speed_limit_down", 111),
    ("speed_limit_down_enabled", True),
    ("speed_limit_up", 222),
    ("speed_limit_up_enabled", True),
    ("start_added_torrents", False),
    ("trash_original_torrent_files", True),
    ("utp_enabled", False),
]:
    call("set_session", name=f"set_session {option}", **{option: value})
    seen[f"after set_session {option}"] = plain(getattr(client.get_session(), option))
call("set_session", name="set_session of a relative folder", download_dir="relative")
call("get_session")
call("blocklist_update")
call("session_stats")
for which in ["cumulative_stats", "current_stats"]:
    seen["session_stats"][which][1].pop("seconds_active")
    # Transmission does not count these.
    seen["session_stats"][which][1].pop("files_added")
seen["free_space"] = (call("free_space", folder) or 0) > 0
call("free_space", "/nowhere/at/all", name="free_space of nothing")
# Whether the world reaches the port depends on the machine: only what kind of answer it is matters.
seen["port_test"] = call("port_test") in (None, True, False)

# The end of a torrent.
call("remove_torrent", 2, delete_data=True)
call("remove_torrent", 1)
wait("removed", lambda: client.get_torrents() == [])
seen["removed"] = client.get_recently_active_torrents()[1]
seen["its data stays"] = pathlib.Path(folder, "moved", "another name").exists()

public = {
    name
    for name, _ in inspect.getmembers(Client, inspect.isfunction)
    if not name.startswith("_")
}
seen["methods that were not called"] = sorted(public - called)
for name, _ in inspect.getmembers(Client, lambda member: isinstance(member, property)):
    seen[f"client.{name}"] = type(getattr(client, name)).__name__
print(json.dumps(seen))
