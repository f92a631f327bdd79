"""Draws the learning curve: `python plot.py RUN` makes RUN/curve.svg from RUN/log.jsonl.

The same log gives the same file, so that it can be kept with the model.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams |= {
    "svg.hashsalt": "nano", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9, "axes.grid": True,
    "grid.color": "#dddddd", "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
}

import matplotlib.pyplot as plt

LOSSES = {"speech": "spoken", "text": "typed", "phoneme": "phonemes"}
EXACT = {"exact_voices": "voices", "exact_combos": "combos", "exact_transcripts": "transcripts"}


def read(path):
    """The lines by step: one that was computed again after a stop replaces the older one."""
    lines = {}
    for text in path.read_text().splitlines():
        line = json.loads(text)
        lines[line["step"]] = line
    return [lines[step] for step in sorted(lines)]


def panel(axes, lines, names, title, **style):
    """A curve for each of the names that the lines have."""
    for key, label in names.items():
        points = [(line["step"], line[key]) for line in lines if key in line]
        if points:
            axes.plot(*zip(*points), label=label, linewidth=1.2, **style)
    axes.set_title(title, loc="left")
    axes.set_xlabel("step")
    if axes.lines:
        axes.legend()


def main(run):
    lines = read(run / "log.jsonl")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), sharex=True, layout="constrained")
    panel(left, lines, LOSSES, "cross-entropy in training")
    left.set_yscale("log")
    panel(right, lines, EXACT, "exact answers to held-out sets", marker=".")
    right.set_ylim(0, 1)
    figure.savefig(run / "curve.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
