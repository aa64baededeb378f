"""The plan as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from load_tests.simulation.mix import ADAPTER, BEST_STATIC, DEAREST, SMALLER
from load_tests.simulation.plan import Need, Served

COLOURS = {ADAPTER: "#00796b", SMALLER: "#4db6ac", BEST_STATIC: "#ef6c00", DEAREST: "#5e35b1"}


def draw_plan(served: Sequence[Served], needs: Sequence[Need], currency: str, path: Path) -> None:
    """Money a month against cameras, by machine and policy; beside it, cameras that one node serves."""
    import matplotlib  # takes a second

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    machines = list(dict.fromkeys(need.machine for need in needs))
    figure, (money, nodes) = plt.subplots(1, 2, figsize=(12, 4.8), gridspec_kw={"width_ratios": (3, 2)})
    for machine, line in zip(machines, ("-", "--", ":", "-."), strict=False):
        for policy, colour in COLOURS.items():
            own = [need for need in needs if (need.machine, need.policy) == (machine, policy)]
            if own:
                money.plot(
                    [need.cameras for need in own],
                    [need.month_following for need in own],
                    line,
                    color=colour,
                    marker="o",
                    markersize=4,
                    label=f"{policy}, {machine}",
                )
    money.set(xscale="log", yscale="log", xlabel="cameras", ylabel=f"{currency} a month")
    money.set_title("What a fleet costs; nodes follow the day")
    money.grid(alpha=0.3)
    money.legend(fontsize=8)
    width = 0.8 / len(COLOURS)
    for offset, (policy, colour) in enumerate(COLOURS.items()):
        found = {one.machine: one for one in served if one.policy == policy}
        places = [place + offset * width for place in range(len(machines))]
        heights = [found[machine].cameras_a_node if machine in found else 0 for machine in machines]
        bars = nodes.bar(places, heights, width, color=colour, label=policy)
        failing = [f"{found[m].failure_rate:.0%} fail" if m in found else "" for m in machines]
        nodes.bar_label(bars, failing, fontsize=7, padding=2)
    nodes.set_xticks([place + 1.5 * width for place in range(len(machines))], machines)
    nodes.set(ylabel="cameras a node of variants")
    nodes.set_title("What one node serves")
    nodes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
