"""Building the programs that are measured, and the data they are measured with."""

import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def build(package, binary):
    """Builds a program for release; its path, or None if it does not build."""
    command = ["cargo", "build", "--release", "--quiet", "--package", package, "--bin", binary]
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        return None
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
    return os.path.join(target, "release", binary)


def make_data(load, out, size):
    """Makes random data and its .torrent; the paths of both."""
    subprocess.run([load, "make-data", "--size", str(size), "--out", out], check=True)
    return os.path.join(out, "data"), os.path.join(out, "data.torrent")
