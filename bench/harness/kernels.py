"""The Criterion benches that stand for a row of the comparison: hashing without a client around it."""

import glob
import json
import os
import subprocess

GIB = 1 << 30


def measure(root, core):
    """Bytes a second of each hash backend: of SHA-1 over 16 pieces in memory, and of a recheck of
    one file in the page cache; all on one core."""
    results = {}
    for package, only in (("ringseed-hash", "sha1 update 1024 KiB/.*/16"),
                          ("ringseed-storage", "recheck/one file, .*, one core")):
        command = ["taskset", "-c", str(core), "cargo", "bench", "--quiet", "--package", package, "--", only]
        subprocess.run(["cargo", "bench", "--quiet", "--package", package, "--no-run"], cwd=root, check=True)
        subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(root, "target")
    for path in glob.glob(os.path.join(target, "criterion", "*", "**", "new", "benchmark.json"), recursive=True):
        with open(path) as file:
            bench = json.load(file)
        parts = bench["full_id"].split("/")
        if parts[0] == "sha1 update 1024 KiB" and parts[-1] == "16":
            name = f"SHA-1, {parts[1]}"
        elif parts[0] == "recheck" and parts[1].startswith("one file") and parts[1].endswith("one core"):
            name = f"recheck, {parts[1].split(', ')[1]}"
        else:
            continue
        with open(os.path.join(os.path.dirname(path), "estimates.json")) as file:
            seconds = json.load(file)["median"]["point_estimate"] / 1e9
        rate = bench["throughput"]["Bytes"] / seconds
        results[name] = {"gb_per_second": rate / 1e9, "gib_per_second": rate / GIB}
    return dict(sorted(results.items()))
