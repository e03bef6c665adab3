"""A picture of what a turn costs, by the length of the conversation: a panel a database, a line a system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.plan import CONVO, FLOOR
from benchmarks.report import NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    FLOOR: "#000000",
    CONVO: "#d62728",
    "langchain": "#2a8c4a",
    "openai-agents": "#1f77b4",
    "openai-agents-limit": "#4f9bd0",
    "adk": "#8c5fb8",
    "adk-limit": "#a883cf",
    "llama-index": "#e08a1e",
}
EMPHASISED = (FLOOR, CONVO)
DOTTED, DASHED = ":", "--"
GAP = 0.052
"""Between two labels at least, of the height of a panel."""


def draw(figures: dict[str, Any], file: Path) -> None:
    """Draw the figures of the turns into a PNG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.family": "sans-serif", "font.size": 10, "axes.titlesize": 12})
    shape, panels = plt.subplots(1, len(figures), figsize=(7 * len(figures), 5.4), sharey=True, squeeze=False)
    for panel, (database, by_size) in zip(panels[0], figures.items(), strict=True):
        _draw_panel(panel, NAMES[database], by_size)
    panels[0][0].set_ylabel("median ms a turn, without the model's time")
    shape.tight_layout(w_pad=13)
    # With all lines drawn the shared axis is known, and with it how far apart labels have to be.
    for panel, by_size in zip(panels[0], figures.values(), strict=True):
        _label_ends(panel, by_size)
    shape.savefig(file, dpi=160, bbox_inches="tight", pad_inches=0.15)
    plt.close(shape)


def _line(by_size: dict[str, Any], name: str) -> tuple[list[int], list[float]]:
    """Return sizes and times of a system, where it was measured."""
    points = [
        (int(size), each[name]["median_ms"]) for size, each in by_size.items() if "median_ms" in each.get(name, {})
    ]
    return [size for size, _ in points], [time for _, time in points]


def _draw_panel(panel: Axes, title: str, by_size: dict[str, Any]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    for name, colour in COLOURS.items():
        sizes, times = _line(by_size, name)
        if sizes:
            is_emphasised = name in EMPHASISED
            panel.plot(
                sizes,
                times,
                color=colour,
                linewidth=3 if is_emphasised else 1.6,
                marker="o",
                markersize=6 if is_emphasised else 4,
                linestyle=DOTTED if name == FLOOR else DASHED if name.endswith("-limit") else "-",
                zorder=3 if is_emphasised else 2,
            )
    panel.set(xscale="log", yscale="log", title=title, xlabel="messages in the conversation")
    plain = FuncFormatter(lambda value, _: f"{value / 1e6:g} M" if value >= 1e6 else f"{value:,g}")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(plain)
        axis.set_minor_formatter(NullFormatter())
    sizes = [int(each) for each in by_size]
    panel.set_xlim(min(sizes) * 0.7, max(sizes) * 1.3)
    panel.grid(visible=True, which="major", color="#dddddd", linewidth=0.8)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _label_ends(panel: Axes, by_size: dict[str, Any]) -> None:
    """Write each system's name beside the panel, with a thin line to the end of its own."""
    ends: list[tuple[float, float, str]] = []
    for name in COLOURS:
        sizes, times = _line(by_size, name)
        if sizes:
            x, y = panel.transAxes.inverted().transform(panel.transData.transform((sizes[-1], times[-1])))
            ends.append((y, x, name))
    ends.sort()
    for (y, x, name), height in zip(ends, apart([y for y, _, _ in ends], GAP), strict=True):
        panel.annotate(
            name,
            xy=(x, y),
            xytext=(1.03, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=COLOURS[name],
            fontweight="bold" if name in EMPHASISED else "normal",
            verticalalignment="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": COLOURS[name], "linewidth": 0.7, "alpha": 0.55, "shrinkA": 2},
        )


def apart(heights: list[float], gap: float) -> list[float]:
    """Return heights, which ascend, moved as little as it takes to be a gap apart from each other."""
    moved = list(heights)
    for _ in range(100):
        for lower in range(len(moved) - 1):
            lacking = gap - (moved[lower + 1] - moved[lower])
            if lacking > 0:
                moved[lower] -= lacking / 2
                moved[lower + 1] += lacking / 2
    return moved
