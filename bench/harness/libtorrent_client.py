"""libtorrent as a client that is told over HTTP what to do: add, status, recheck.

    libtorrent_client.py FOLDER PEER_PORT CONTROL_PORT

It looks at nothing by itself, so that all processor time is libtorrent's own.
"""

import http.server
import json
import sys
import urllib.parse

import libtorrent

folder, port, control_port = sys.argv[1:]
settings = libtorrent.high_performance_seed()
settings.update({
    "listen_interfaces": f"127.0.0.1:{port}", "enable_dht": False, "enable_lsd": False,
    "enable_upnp": False, "enable_natpmp": False, "enable_incoming_utp": False,
    "enable_outgoing_utp": False, "allow_multiple_connections_per_ip": True,
    "connections_limit": 10_000, "unchoke_slots_limit": -1, "upload_rate_limit": 0,
    "download_rate_limit": 0, "out_enc_policy": 2, "in_enc_policy": 1, "alert_mask": 0,
})
session = libtorrent.session(settings)
handles = []


class Control(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        command, _, torrent = self.path.partition("?")
        if command == "/add":
            parameters = libtorrent.add_torrent_params()
            parameters.ti = libtorrent.torrent_info(urllib.parse.unquote(torrent))
            parameters.save_path = folder
            parameters.flags &= ~(libtorrent.torrent_flags.paused | libtorrent.torrent_flags.auto_managed)
            parameters.max_connections = 10_000
            handles.append(session.add_torrent(parameters))
        elif command == "/recheck":
            for handle in handles:
                handle.force_recheck()
        # While torrents are added one after another, nobody asks what the others do.
        told = [] if command == "/add" else handles
        states = {str(handle.status().state).rsplit(".", 1)[-1] for handle in told}
        body = json.dumps({"states": sorted(states)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.HTTPServer(("127.0.0.1", int(control_port)), Control).serve_forever()
