"""libtorrent as a client that is told what to do by JSON over HTTP.

    client.py PEER_ADDRESS CONTROL_PORT
"""
import base64
import http.server
import json
import sys

import libtorrent as lt

session = lt.session({
    "listen_interfaces": sys.argv[1],
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "enable_incoming_utp": False, "enable_outgoing_utp": False,
    "allow_multiple_connections_per_ip": True, "out_enc_policy": 2, "in_enc_policy": 1,
    "min_reconnect_time": 1, "ssrf_mitigation": False, "alert_mask": 0,
    "unchoke_interval": 1, "optimistic_unchoke_interval": 1, "unchoke_slots_limit": 100,
})
handles = {}


def add(command):
    parameters = lt.load_torrent_buffer(base64.b64decode(command["torrent"]))
    parameters.save_path = command["folder"]
    parameters.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    handles[str(parameters.ti.info_hashes().v1)] = session.add_torrent(parameters)
    return {}


def state(command):
    status = handles[command["hash"]].status()
    return {
        "seeding": status.state == lt.torrent_status.seeding,
        # Pieces that just failed or are being written make it fall below zero for a moment.
        "left": max(0, status.total_wanted - status.total_wanted_done),
        "uploaded": status.total_payload_upload,
        "downloaded": status.total_payload_download,
        "error": status.errc.message() if status.errc.value() else "",
    }


def connect(command):
    handles[command["hash"]].connect_peer((command["ip"], command["port"]))
    return {}


def limit(command):
    session.apply_settings({"upload_rate_limit": command["rate"]})
    return {}


COMMANDS = {
    "nothing": lambda command: {}, "add": add, "state": state, "connect": connect, "limit": limit,
}


class Control(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        command = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            status, answer = 200, json.dumps(COMMANDS[command["do"]](command))
        except Exception as error:
            status, answer = 500, repr(error)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer.encode())))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass


http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Control).serve_forever()
