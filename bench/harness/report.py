"""The results as Markdown tables and as bar charts in SVG."""

import html
import os

import rows
import targets

BEGIN, END = "<!-- compare: begin -->", "<!-- compare: end -->"


def of_runs(count):
    return "one run" if count == 1 else f"the median of {count} runs, the clients taking turns"


def markdown(run, charts):
    """The whole run: the machine, the versions, one table and one chart for each row."""
    machine = run["machine"]
    lines = [
        f"Measured {run['date']} on {machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, "
        f"over loopback: the client on one core, the load on another, {run['size_gib']:g} GiB of data in "
        "pieces of 1 MiB. CPU s/GiB is user and system time of the client's process. Ratios are to the "
        f"better of the two bare loops in the same run. Figures that vary are of {of_runs(run['repeat'])}. "
        "Before each run what others wrote is flushed and as much memory as is about to be used is touched: a virtual machine's first use of memory that it has given back to its "
        "host costs several times more.", "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in run["versions"].items()) + ".",
    ]
    reached = targets.markdown(run["rows"])
    if reached:
        lines += ["", "### What Ringseed is to reach", ""] + reached
    for row in rows.ALL:
        if row.key not in run["rows"]:
            continue
        lines += ["", f"### {row.title}", ""] + table(row, run["rows"][row.key])
        if row.key in charts:
            lines += ["", f"![{row.title}]({charts[row.key]})"]
    return "\n".join(lines) + "\n"


def table(row, results):
    ratio = "cpu_seconds_per_gib" in (key for key, _, _ in row.figures) and floor_of(results)
    heads = ["client"] + [title for _, title, _ in row.figures] + (["× the floor"] if ratio else [])
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    for name, figures in results.items():
        if "failed" in figures:
            lines.append(f"| {name} | failed: {' '.join(figures['failed'].split())}" + " |" * (len(heads) - 1))
            continue
        cells = [name] + [form.format(figures[key]) for key, _, form in row.figures]
        if ratio:
            cells.append(f"{figures['cpu_seconds_per_gib'] / ratio:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def floor_of(results):
    """CPU s/GiB of the better bare loop, if one ran."""
    loops = [figures["cpu_seconds_per_gib"] for name, figures in results.items()
             if name.startswith("bare loop") and "failed" not in figures]
    return min(loops, default=None)


def chart(row, results):
    """Horizontal bars of the row's first figure; none if fewer than two clients have it."""
    key, unit, form = row.figures[0]
    bars = [(name, figures[key]) for name, figures in results.items() if "failed" not in figures]
    if len(bars) < 2:
        return None
    most = max(value for _, value in bars) or 1
    better = "more" if row.more else "less"
    left, width, step = 190, 420, 28
    height = 56 + step * len(bars)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="720" height="{height}" fill="#fff"/>',
        f'<text x="16" y="24" font-size="15" font-weight="bold">{html.escape(row.title)}</text>',
        f'<text x="704" y="24" text-anchor="end" fill="#666">{html.escape(unit)}, {better} is better</text>',
    ]
    for number, (name, value) in enumerate(bars):
        y = 42 + step * number
        colour = "#1a7f5a" if name.startswith("Ringseed") else "#b9c2c9" if "loop" in name else "#6b8cae"
        length = max(1.0, width * value / most)
        out += [
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{html.escape(name)}</text>',
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="18" rx="2" fill="{colour}"/>',
            f'<text x="{left + length + 6:.1f}" y="{y + 14}">{form.format(value)}</text>',
        ]
    return "\n".join(out + ["</svg>"]) + "\n"


def save(run, page, text_of=markdown):
    """Writes the charts beside the page and replaces what is between the page's markers."""
    folder = os.path.join(os.path.dirname(page), "benchmarks")
    os.makedirs(folder, exist_ok=True)
    charts = {}
    for row in rows.ALL:
        drawn = chart(row, run["rows"][row.key]) if row.key in run["rows"] else None
        if drawn:
            charts[row.key] = f"benchmarks/{row.key}.svg"
            with open(os.path.join(folder, f"{row.key}.svg"), "w") as out:
                out.write(drawn)
    text = "# Benchmarks\n\nMade by `./bench/compare`; run it to compare on your own machine.\n\n"
    text += f"{BEGIN}\n{END}\n"
    if os.path.exists(page):
        with open(page) as old:
            text = old.read()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    with open(page, "w") as out:
        out.write(f"{before}{BEGIN}\n{text_of(run, charts)}{END}{after or chr(10)}")
