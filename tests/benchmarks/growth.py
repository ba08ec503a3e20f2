"""Cost by number of files: `python tests/benchmarks/growth.py [--sizes 100 1000 10000 100000]`.

Files are tiny and nodes do nothing. It draws docs/growth.svg.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence

from rounds import ROOT, record
from surroundings import Surroundings, Used
from tiny import LIMITS, idle_surroundings, make_tiny

PLOT = ROOT / "docs" / "growth.svg"
SIZES = (100, 1_000, 10_000, 100_000)
BOUND = (100, 10_000, 100_000)  # the target applies between these sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    sizes = parser.parse_args().sizes
    with idle_surroundings() as around:
        used = {size: convert(around, size) for size in sizes}
    draw(used)
    named = {size: used[size] for size in sizes if size in BOUND}
    bound = named if len(named) > 1 else used
    record(
        "growth.py",
        what=f"peak memory per file, {in_steps(bound)} files",
        target="≤ 2.5 KB, without a jump",
        measured=in_kilobytes(bound),
        note=f"{used[sizes[0]].peak_bytes / 2**20:.0f} MB with {sizes[0]:,} files; {in_steps(used)}"
        f" files: {in_kilobytes(used)}",
    )


def convert(around: Surroundings, size: int) -> Used:
    used = around.convert(make_tiny(around.folder / f"library-{size}", size), *LIMITS)
    print(f"{size:,} files: {used}", flush=True)
    return used


def bytes_a_file(used: Mapping[int, Used]) -> Sequence[float]:
    """Return the peak memory per additional file, from each size to the next."""
    pairs = zip(list(used.items())[:-1], list(used.items())[1:], strict=True)
    return [(b.peak_bytes - a.peak_bytes) / (more - less) for (less, a), (more, b) in pairs]


def in_steps(sizes: Iterable[int]) -> str:
    return " → ".join(f"{size:,}" for size in sizes)


def in_kilobytes(used: Mapping[int, Used]) -> str:
    return ", ".join(f"{slope / 1000:.1f} KB" for slope in bytes_a_file(used))


def draw(used: Mapping[int, Used]) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter, NullFormatter

    sizes = list(used)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    curves = (
        ("wall clock, s", [u.seconds for u in used.values()]),
        ("our CPU time, s", [u.cpu_seconds for u in used.values()]),
        ("peak memory, MB", [u.peak_bytes / 2**20 for u in used.values()]),
    )
    for axis, (title, values) in zip(axes, curves, strict=True):
        axis.loglog(sizes, values, marker="o", color="#2266aa")
        axis.set(title=title, xlabel="files")
        axis.set_ylim(min(values) / 2, max(values) * 2)
        axis.margins(x=0.15)
        for scale in (axis.xaxis, axis.yaxis):
            scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            scale.set_minor_formatter(NullFormatter())
        axis.grid(visible=True, which="major", color="#dddddd")
        for size, value in zip(sizes, values, strict=True):
            label = {"textcoords": "offset points", "xytext": (-4, 5), "ha": "right"}
            axis.annotate(f"{value:,.0f}", (size, value), **label)
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT)


if __name__ == "__main__":
    main()
