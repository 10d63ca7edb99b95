"""Makes odd .torrent files and prints what libtorrent makes of each, one a line:

    hex of the file, "error" or "ok", v1 hash, v2 hash, name, bytes, pieces, then path:length:pad ...

Run by differential.rs; the seed is the first argument, the number of random files the second.
"""
import hashlib
import random
import sys

import libtorrent as lt

BLOCK = 16384


class Raw(bytes):
    """Bytes that stand for themselves."""


def encode(value):
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, bool) or isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:" % len(value) + value
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    if isinstance(value, tuple):
        return b"d" + b"".join(encode(k) + encode(v) for k, v in value) + b"e"
    named = {k.encode() if isinstance(k, str) else k: v for k, v in value.items()}
    return encode(tuple(sorted(named.items())))


def verdict(torrent):
    try:
        params = lt.load_torrent_buffer(torrent)
    except RuntimeError as error:
        return ["error", str(error).replace("\t", " ").replace("\n", " ")]
    files = params.ti.layout() if hasattr(params.ti, "layout") else params.ti.files()
    renamed = dict(params.renamed_files)
    hashes = params.info_hashes
    fields = [
        "ok",
        str(hashes.v1) if hashes.has_v1() else "-",
        str(hashes.v2) if hashes.has_v2() else "-",
        files.name().encode("utf-8", "surrogateescape").hex(),
        str(files.total_size()),
        str(files.num_pieces()),
    ]
    for index in range(files.num_files()):
        path = renamed.get(index, files.file_path(index)).encode("utf-8", "surrogateescape").hex()
        pad = int(bool(files.file_flags(index) & lt.file_flags_t.flag_pad_file))
        fields.append(f"{path}:{files.file_size(index)}:{pad}")
    return fields


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def tree(length, piece_length, salt):
    """Root and piece layer of a file whose blocks have made-up hashes."""
    blocks = [sha256(salt, b"%d" % n) for n in range(-(-length // BLOCK))]
    if not blocks:
        return None, []
    per_piece = piece_length // BLOCK
    width = 1
    while width < len(blocks):
        width *= 2
    level = blocks + [bytes(32)] * (width - len(blocks))
    size = 1
    layer = []
    while True:
        if size == per_piece and len(blocks) > per_piece:
            layer = level[: -(-len(blocks) // per_piece)]
        if len(level) == 1:
            return level[0], layer
        level = [sha256(level[n], level[n + 1]) for n in range(0, len(level), 2)]
        size *= 2


ODD_NAMES = [
    b"a", b"b", b"c", b"A", b"a.txt", b"A.TXT", b"a.1.txt", b"..", b".", b"", b"...", b"/", b"\\", b"a/b", b"../../x",
    b"\0", b"a\0b", b"\xff", b"\xc3(", b"a\xe2\x82", b"\xed\xa0\x80", b"a\x01", b"a\x7f", "\u202egpj".encode(),
    "é".encode(), "日本".encode(), "a\u200bb\ufeff".encode(), "\u2028\x85".encode(), b"\xfbABCDEF", b"\xf5AB", b"\xfcAB", b"CON", b" x ", b"x.", b"y" * 300, b"y" * 300 + b".mkv", b".pads",
    b"_____padding_file_0_x", b"%2e%2e", b"~", b"-rf", b"a:b", b"C:\\x", b"\xf0\x9f\x98\x80",
]
ODD_VALUES = [0, -1, 1, 2**31, 2**44, 2**63 - 1, 10**25, b"", b"x", [], {}, [b"x"], [[]], [1], {b"": b""}]


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def name(self):
        pick = self.random
        return pick.choice(ODD_NAMES) if pick.random() < 0.5 else pick.choice([b"a", b"b", b"c", b"d.bin", b"e.x"])

    def length(self):
        pick = self.random
        return pick.choice([0, 1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 40000, 100000, pick.randrange(200000)])

    def paths(self):
        pick = self.random
        return [[self.name() for _ in range(pick.choice([1, 1, 1, 2, 2, 3]))] for _ in range(pick.randrange(1, 7))]

    def v1_info(self):
        pick = self.random
        piece_length = pick.choice([BLOCK, 2 * BLOCK, 4 * BLOCK, 1000])
        info = {"name": self.name(), "piece length": piece_length}
        if pick.random() < 0.3:
            info["length"] = total = self.length()
        else:
            files = []
            for path in self.paths():
                file = {"length": self.length(), "path": path}
                if pick.random() < 0.3:
                    file["attr"] = pick.choice(["p", "x", "h", "l", "pl", "xh", "?"])
                if pick.random() < 0.1:
                    file["symlink path"] = pick.choice(self.paths())
                if pick.random() < 0.1:
                    file["path.utf-8"] = pick.choice(self.paths())
                files.append(file)
            info["files"] = files
            total = sum(0 if "l" in f.get("attr", "") else f["length"] for f in files)
        info["pieces"] = bytes(20 * -(-total // piece_length))
        return info, {}

    def tree_files(self):
        """Paths without conflict and lengths, in the order of a file tree."""
        pick = self.random
        chosen = {}
        for path in self.paths():
            clean = tuple(part for part in path if part) or (b"z",)
            if not any(clean[: len(p)] == p or p[: len(clean)] == clean for p in chosen):
                chosen[clean] = self.length() if pick.random() < 0.9 else 0
        return sorted(chosen.items())

    def v2_info(self, hybrid):
        pick = self.random
        piece_length = pick.choice([BLOCK, 2 * BLOCK, 4 * BLOCK])
        files = self.tree_files()
        single = pick.random() < 0.3
        if single:
            files = [((self.name() or b"q",), self.length())]
        root, layers = {}, {}
        for path, length in files:
            node = root
            for part in path:
                node = node.setdefault(part, {})
            digest, layer = tree(length, piece_length, b"/".join(path))
            node[b""] = {"length": length, **({"pieces root": digest} if digest else {})}
            if layer:
                layers[digest] = b"".join(layer)
        info = {"name": files[0][0][0] if single else self.name(), "piece length": piece_length, "meta version": 2, "file tree": root}
        if hybrid:
            if single:
                info["length"] = total = files[0][1]
            else:
                total, listed = 0, []
                for path, length in files:
                    if length and total % piece_length:
                        pad = piece_length - total % piece_length
                        listed.append({"length": pad, "path": [".pad", str(pad)], "attr": "p"})
                        total += pad
                    listed.append({"length": length, "path": list(path)})
                    total += length
                if pick.random() < 0.3 and total % piece_length:
                    pad = piece_length - total % piece_length
                    listed.append({"length": pad, "path": [".pad", str(pad)], "attr": "p"})
                    total += pad
                info["files"] = listed
            info["pieces"] = bytes(20 * -(-total // piece_length))
        return info, layers

    def damaged(self, value, depth=0):
        """The value with something in it changed."""
        pick = self.random
        if isinstance(value, dict) and value and pick.random() < 0.85:
            value = dict(value)
            key = pick.choice(list(value))
            action = pick.random()
            if action < 0.15:
                del value[key]
            elif action < 0.2:
                value[pick.choice([b"attr", b"length", b"path", b"x", b"", b"meta version", b"files"])] = pick.choice(ODD_VALUES)
            else:
                value[key] = self.damaged(value[key], depth + 1)
            return value
        if isinstance(value, list) and value and pick.random() < 0.85:
            value = list(value)
            at = pick.randrange(len(value))
            action = pick.random()
            if action < 0.1:
                del value[at]
            elif action < 0.2:
                value.insert(at, value[at])
            else:
                value[at] = self.damaged(value[at], depth + 1)
            return value
        if isinstance(value, int) and pick.random() < 0.6:
            return value + pick.choice([-1, 1, BLOCK, -BLOCK])
        if isinstance(value, bytes) and value and pick.random() < 0.6:
            at = pick.randrange(len(value))
            return value[:at] + pick.choice([b"", b"\0", b"/", b"\xff", b"zz"]) + value[at + 1:]
        return pick.choice(ODD_VALUES)

    def torrent(self):
        pick = self.random
        kind = pick.random()
        info, layers = self.v1_info() if kind < 0.5 else self.v2_info(hybrid=kind < 0.8)
        whole = {"info": info, "announce": "http://t/a"}
        if layers:
            whole["piece layers"] = layers
        for _ in range(pick.choice([0, 0, 1, 1, 2])):
            whole["info"] = self.damaged(whole["info"]) if pick.random() < 0.8 else whole["info"]
            if pick.random() < 0.2:
                whole = self.damaged(whole)
            if not isinstance(whole, dict) or not isinstance(whole.get("info"), dict):
                break
        if pick.random() < 0.05 and isinstance(whole, dict) and isinstance(whole.get("info"), dict):
            named = [(k.encode() if isinstance(k, str) else k, v) for k, v in whole["info"].items()]
            pick.shuffle(named)
            whole = {**whole, "info": tuple(named + named[: pick.choice([0, 1])])}
        out = encode(whole)
        if pick.random() < 0.05:
            number = pick.choice([b"i5e", b"i0e", b"i16384e", b"4:name", b"1:a"])
            out = out.replace(number, number.replace(b"i", b"i0", 1) if number[:1] == b"i" else b"0" + number)
        if pick.random() < 0.1:
            at = pick.randrange(len(out) + 1)
            out = pick.choice([out[:at], out + b"junk", out[:at] + bytes([pick.randrange(256)]) + out[at + 1:]])
        return out


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    maker = Maker(seed)
    for _ in range(count):
        torrent = maker.torrent()
        print("\t".join([torrent.hex()] + verdict(torrent)))


main()
