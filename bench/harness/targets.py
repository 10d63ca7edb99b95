"""What Ringseed is to reach, and whether a run shows that it does."""

OURS, MIO = "Ringseed", "Ringseed (mio)"


def markdown(results):
    """One line for each target that the run measured."""
    lines = [f"| {what} | {said} | {form.format(reached)} | {'yes' if holds else 'no'} |"
             for what, said, form, reached, holds in measured(results)]
    return ["| what | target | reached | |", "|---|---|--:|---|"] + lines if lines else []


def measured(results):
    def figure(row, client, key):
        figures = results.get(row, {}).get(client, {})
        return None if "failed" in figures else figures.get(key)

    def cpu(row, client=OURS):
        return figure(row, client, "cpu_seconds_per_gib")

    def over(upper, lower):
        return upper / lower if upper is not None and lower else None

    def loop(row):
        return min(filter(None, (cpu(row, f"bare loop, {way}") for way in ("sendmsg", "sendmsg_zc"))), default=None)

    def at_most(what, limit, reached, unit="", form="{:.2f}"):
        return (what, f"≤ {limit:g}{unit}", form + unit, reached, reached is not None and reached <= limit)

    def at_least(what, limit, reached, unit="", form="{:.2f}"):
        return (what, f"≥ {limit:g}{unit}", form + unit, reached, reached is not None and reached >= limit)

    seeding, downloading = "Seeding to 20 leechers", "Downloading from 10 seeds"
    found = [
        at_most(f"{seeding}: CPU, of the bare loop's", 1.4, over(cpu("seed"), loop("seed")), " ×"),
        at_least(f"{seeding}: rqbit's CPU", 2.5, over(cpu("seed", "rqbit"), cpu("seed")), " ×"),
        at_least(f"{seeding}: Transmission 4's CPU", 2.5, over(cpu("seed", "Transmission 4"), cpu("seed")), " ×"),
        at_least(f"{seeding}: libtorrent's CPU", 4, over(cpu("seed", "libtorrent"), cpu("seed")), " ×"),
        at_most("Seeding random pieces to 400: CPU, of the bare loop's", 1.6,
                over(cpu("random"), loop("random")), " ×"),
        at_most(f"{downloading}: CPU", 0.9, cpu("download"), " s/GiB"),
        at_least(f"{downloading}: rqbit's CPU", 2.5, over(cpu("download", "rqbit"), cpu("download")), " ×"),
        at_most(f"{downloading}: memory over idle", 128, figure("download", OURS, "memory_grown_mib"), " MiB", "{:.0f}"),
        at_least("Recheck on one core", 3, figure("recheck", OURS, "gib_per_second"), " GiB/s"),
        at_least("Recheck on one core, one piece at a time (SHA-NI)", 1.6,
                 figure("kernels", "recheck, single", "gib_per_second"), " GiB/s"),
        at_least("Hash lanes in memory (AVX-512)", 6, figure("kernels", "SHA-1, avx512", "gb_per_second"), " GB/s"),
        at_most("A hot block's p99 beside cold ones, of what it is alone", 2, figure("cold", OURS, "slower"), " ×"),
        at_most("3,000 idle connections: user memory of each", 4096,
                figure("idle", OURS, "client_bytes_per_connection"), " bytes", "{:.0f}"),
        at_most("3,000 idle connections: a core", 0.1, figure("idle", OURS, "cpu_percent"), " %"),
        at_most("1,000 idle torrents: a core", 0.5, figure("torrents", OURS, "cpu_percent"), " %"),
        at_most("Seeding with mio: CPU, of the io_uring driver's", 2, over(cpu("seed", MIO), cpu("seed")), " ×"),
    ]
    return [target for target in found if target[3] is not None]
