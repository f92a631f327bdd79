"""Judges the keywords of this folder by the held-out sets: `python evaluate.py [OUT [KEYWORD...]]`.

Prints JSON and draws roc.svg. A keyword is accepted when its score is at the threshold or above for
`patience` windows in a row (80 ms each); that is a false reject if it does not happen between 0.2 s before
and 0.6 s after the phrase's end, and false accepts are counted once a second at most.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy.io import wavfile

import features
from keywords import KEYWORDS

HERE = Path(__file__).parent
OUT = HERE.parent.parent / "target" / "keyword"
SECOND = round(features.RATE / features.CHUNK)


def held(scores, patience):
    """At each window, the lowest of the last `patience` scores: at or above a threshold, the keyword fires."""
    view = np.lib.stride_tricks.sliding_window_view(np.pad(scores, (patience - 1, 0)), patience)
    return view.min(1)


def accepts(scores, threshold):
    """How often `scores` (already held) fire, once a second at most."""
    count, after = 0, 0
    for at in np.flatnonzero(scores >= threshold):
        if at >= after:
            count, after = count + 1, at + SECOND
    return count


def heard(folder, name, front):
    """The lines of a set and their embeddings."""
    lines = [json.loads(line) for line in (folder / f"{name}.jsonl").open()]
    cache = folder / f"{name}.npz"
    if not cache.exists() or cache.stat().st_mtime < (folder / f"{name}.jsonl").stat().st_mtime:
        sounds = (wavfile.read(folder / line["audio"])[1] / 32767 for line in lines)
        part = cache.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, *[front(sound.astype(np.float32)) for sound in sounds])
        part.rename(cache)
    with np.load(cache) as arrays:
        return lines, [arrays[f"arr_{at}"] for at in range(len(lines))]


def scores_of(model, embeddings):
    """The scores of all windows; the classifier takes one at a time."""
    windows = np.ascontiguousarray(features.windows(embeddings))
    return np.array([model.run(None, {"x": window[None]})[0][0, 0] for window in windows])


def judge(folder, keyword, model, front, axes=None):
    """The figures of `model` (a path) for one keyword, by the sets in `folder`; draws its curve on `axes`."""
    model, patience = features.session(model), keyword.patience
    spoken, near_misses = keyword.name, f"near_{keyword.name}"
    sets = {}
    for name in (spoken, near_misses, "negative"):
        lines, embeddings = heard(folder, name, front)
        sets[name] = lines, [scores_of(model, one) for one in embeddings], [features.ends(one) for one in embeddings]
    hours = sum(line["seconds"] for line in sets["negative"][0]) / 3600

    def peaks(patience):
        near = [(at >= line["end"] - 0.2) & (at <= line["end"] + 0.6) for line, at in zip(sets[spoken][0], sets[spoken][2])]
        return np.array([held(scores, patience)[kept].max() for scores, kept in zip(sets[spoken][1], near)])

    def hourly(patience, threshold, kind=None):
        lines, scores, _ = sets["negative"]
        chosen = [one for line, one in zip(lines, scores) if kind in (None, line["kind"])]
        share = sum(line["seconds"] for line in lines if kind in (None, line["kind"])) / 3600
        return round(sum(accepts(held(one, patience), threshold) for one in chosen) / share, 2)

    def draw():
        thresholds = sorted({*np.linspace(0.02, 0.98, 49).round(2), 0.99, 0.995})
        for count in (1, 2, 3):
            rejects = [(peaks(count) < threshold).mean() * 100 for threshold in thresholds]
            axes.plot([hourly(count, threshold) for threshold in thresholds], rejects, label=f"{keyword.name}, patience {count}")
        axes.plot(hourly(patience, 0.5), (peaks(patience) < 0.5).mean() * 100, "ko")

    def group(key):
        names = sorted({line[key] for line in sets[spoken][0]})
        rejected = peaks(patience) < 0.5
        return {name: round(float(rejected[[line[key] == name for line in sets[spoken][0]]].mean()), 3) for name in names}

    if axes:
        draw()
    late = []
    for line, scores, at in zip(*sets[spoken]):
        fires = at[(held(scores, patience) >= 0.5) & (at >= line["end"] - 0.2) & (at <= line["end"] + 0.6)]
        late += [fires[0] - line["end"]] if len(fires) else []
    lateness = dict(zip(("5%", "50%", "95%"), np.quantile(late, [0.05, 0.5, 0.95]).round(2).tolist())) if late else {}
    mistaken = [held(one, patience).max() >= 0.5 for one in sets[near_misses][1]]
    words = [line["say"] for line, wrong in zip(sets[near_misses][0], mistaken) if wrong]
    return {
        "patience": patience, "positives": len(sets[spoken][0]), "hours": round(hours, 2),
        "false_rejects": round(float((peaks(patience) < 0.5).mean()), 3),
        "by_condition": group("condition"), "by_voice": group("voice"), "by_phrase": group("say"),
        "false_accepts_per_hour": hourly(patience, 0.5),
        "by_kind": {kind: hourly(patience, 0.5, kind) for kind in ("talk", "tv", "wordless")},
        "near_misses_accepted": round(float(np.mean(mistaken)), 3), "of_these": sorted(set(words)),
        "seconds_after_end": lateness,
        "at": {f"threshold {threshold}, patience {count}":
               [round(float((peaks(count) < threshold).mean()), 3), hourly(count, threshold)]
               for count in (1, 2, 3) for threshold in (0.2, 0.35, 0.5, 0.65, 0.8, 0.9)},
    }


if __name__ == "__main__":
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plot

    folder = (Path(sys.argv[1]) if len(sys.argv) > 1 else OUT) / "evaluation"
    figure, axes = plot.subplots(figsize=(7, 4))
    front = features.Frontend()
    names = sys.argv[2:] or KEYWORDS
    results = {name: judge(folder, KEYWORDS[name], HERE / f"{name}.onnx", front, axes) for name in names}
    axes.set(xlabel="false accepts per hour", ylabel="false rejects, percent", xscale="symlog", ylim=(0, 30), xlim=(0, 100))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    plot.rcParams["svg.hashsalt"] = "keyword"
    figure.savefig(HERE / "roc.svg", metadata={"Date": None})
    print(json.dumps(results, indent=1))
