"""Trains a keyword on what `data.py train` has made: `python train.py KEYWORD [OUT [STEPS [ONNX]]]`, from nothing or on
from what another training has written.

Two small networks over 16 embeddings, asked together. They learn from keywords spoken and, in three equal parts, from
windows of the clips that are none, of the streams, and of those of the streams that they like best (mined anew a few
times). Every sixth shard is kept aside, and says where the threshold is to be: the bias is moved so that it is at 0.5.
Writes KEYWORD.onnx beside this file, and OUT/KEYWORD.log.
"""

import copy
import json
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import evaluate
import features
from keywords import KEYWORDS

HERE = Path(__file__).parent
# Keywords spoken, and windows without one, of a step.
SPOKEN, OTHERS = 64, 576
# So many windows without a keyword, those that the network once liked best of all, are looked through again and again,
# with a third as many others; so many that it likes best are learned from more than others.
MINED, HARDEST = 600000, 20000
# How many embeddings the networks that are asked together squeeze at a time.
WIDTHS = (1, 3)
# How much the best windows of a keyword count, against all of them.
BEST = 0.6


def load(out, keyword, aside):
    """The embeddings and labels of a keyword's shards and of the streams; where the streams begin."""
    rows, begin = [], 0
    for name in (keyword.name, "streams"):
        begin = sum(len(labels) for _, labels in rows)
        for path in sorted((out / "features").glob(f"{name}-*.npz")):
            if (int(path.stem.split("-")[1]) % 6 == 0) == aside:
                with np.load(path) as file:
                    rows.append((file["embeddings"], file["labels"]))
    embeddings, labels = (np.concatenate(column) for column in zip(*rows))
    return torch.from_numpy(embeddings), torch.from_numpy(labels), begin


class Scaled(nn.Module):
    """Embeddings of mean 0 and deviation 1."""

    def __init__(self, embeddings):
        super().__init__()
        self.register_buffer("mean", embeddings.float().mean(0))
        self.register_buffer("deviation", embeddings.float().std(0))

    def forward(self, windows):
        return (windows - self.mean) / self.deviation


class Beside(nn.Module):
    """The last embeddings of a window (those that a short word can be in), each together with those beside it."""

    def __init__(self, span, size, width):
        super().__init__()
        self.begin, self.count = features.WINDOW - span, span - width + 1
        self.parts = nn.ModuleList(nn.Linear(96, size, bias=not part) for part in range(width))

    def forward(self, windows):
        return sum(
            part(windows[:, self.begin + at : self.begin + at + self.count]) for at, part in enumerate(self.parts)
        )


def network(span, width):
    """16 embeddings of 96 numbers to one logit: `width` of them at a time are squeezed to 64, and all are looked at together."""
    beside = Beside(span, 64, width)
    return nn.Sequential(
        beside, *[nn.ReLU()] * (width > 1), nn.Flatten(), nn.Dropout(0.1),
        nn.Linear(64 * beside.count, 160), nn.LayerNorm(160), nn.ReLU(), nn.Dropout(0.1),
        nn.Linear(160, 64), nn.LayerNorm(64), nn.ReLU(), nn.Linear(64, 1),
    )


class Panel(nn.Module):
    """Networks that are asked together: the mean of their logits counts."""

    def __init__(self, span, widths):
        super().__init__()
        self.members = nn.ModuleList(network(span, width) for width in widths)

    def each(self, windows):
        """(windows, members)."""
        return torch.cat([member(windows) for member in self.members], 1)

    def forward(self, windows):
        return sum(member(windows) for member in self.members) / len(self.members)


BACK = torch.arange(-features.WINDOW + 1, 1)


def gather(embeddings, at):
    """The windows that end with the embeddings `at`."""
    return embeddings[at[:, None] + BACK].float()


@torch.no_grad()
def logits(model, embeddings, at):
    """The logit of each window."""
    model.eval()
    found = torch.cat([model(gather(embeddings, part)).squeeze(1) for part in at.split(4096)])
    model.train()
    return found


def liked(model, embeddings, at, count):
    """Those of the windows `at` that the model takes most for a keyword."""
    return at[logits(model, embeddings, at).topk(min(len(at), count)).indices]


def edges(labels):
    """Where each keyword's windows begin, and how many they are: each run of windows that have to fire."""
    found = torch.diff(F.pad((labels == 1).int(), (1, 1)))
    begin = torch.where(found == 1)[0]
    return begin, torch.where(found == -1)[0] - begin


def judge(model, kept, keyword):
    """What was kept aside says: the threshold, the false rejects at it, those at some false accepts an hour, and the hours."""
    embeddings, labels, first = kept
    at = torch.arange(features.WINDOW - 1, len(labels))
    found = np.full(len(labels), -99, np.float32)
    found[at] = logits(model, embeddings, at)
    found = np.where(labels < 0, -99, found)
    patience = keyword.patience
    pairs = [(begin, begin + count) for begin, count in zip(*(part.tolist() for part in edges(labels[:first])))]
    spoken = np.array([evaluate.held(found[a:b], patience)[patience - 1 :].max(initial=-99) for a, b in pairs])
    silent = evaluate.held(found[first:], patience)
    hours = len(silent) * features.CHUNK / features.RATE / 3600
    steps = np.arange(-4, 12, 0.1)
    hourly = np.array([evaluate.accepts(silent, step) / hours for step in steps])
    lowest = lambda aim: float(steps[hourly <= aim].min(initial=steps[-1]))
    rejected = lambda threshold: round(float((spoken < threshold).mean()), 4)
    threshold = lowest(keyword.aim)
    at_aims = {aim: rejected(lowest(aim)) for aim in (0.25, 0.5, 1, 2, 5)}
    return threshold, {"rejected": rejected(threshold), "at": at_aims, "threshold": round(threshold, 2), "hours": round(hours, 2)}


def mixed(windows):
    """Windows in which the oldest embeddings are, now and then, those of another."""
    cut = torch.randint(1, 5, (len(windows), 1)) * (torch.rand(len(windows), 1) < 0.3)
    swap = torch.arange(features.WINDOW) < cut
    return torch.where(swap[:, :, None], windows[torch.randperm(len(windows))], windows)


def restore(model, path):
    """Gives `Sequential(Scaled, Panel)` the weights that a training has written."""
    found = {tensor.name: torch.tensor(onnx.numpy_helper.to_array(tensor)) for tensor in onnx.load(path).graph.initializer}
    # Those that are multiplied with many windows at once are there in the model's order, but without their names.
    nameless = iter([tensor.T for name, tensor in found.items() if "MatMul" in name])
    model.load_state_dict({name: found["0." + name] if "0." + name in found else next(nameless) for name in model.state_dict()})


def train(keyword, out, steps, path=None, progress=lambda step: None):
    """Trains, and returns the network as it takes raw embeddings. From `path` it goes on: what comes out is half way
    between there and where it gets to, which generalises better than either (Wortsman et al. 2022). `progress` is
    told each step."""
    torch.manual_seed(7)
    log = open(out / f"{keyword.name}.log", "a")
    began, patience = time.time(), keyword.patience
    embeddings, labels, first = load(out, keyword, False)
    kept = load(out, keyword, True)
    begins, counts = edges(labels)
    others = torch.where(labels == 0)[0]
    near, streams = others[others < first], others[others >= first]
    hard, likely, steps_of = streams, None, torch.arange(int(counts.max()))
    scaled, model = Scaled(embeddings), Panel(keyword.span, WIDTHS)
    if path:
        restore(nn.Sequential(scaled, model), path)
    begun = copy.deepcopy(model)
    whole = lambda: nn.Sequential(scaled, average.module)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.995))
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3 if path else 3e-3, steps, pct_start=0.15)
    pick = lambda among, count: torch.randint(len(among), (count,))
    for step in range(steps + 1):
        progress(step)
        is_due = step % (steps // 6) == 0
        if step and is_due:
            threshold, figures = judge(whole(), kept, keyword)
            line = {"step": step, "seconds": round(time.time() - began), "loss": round(loss.item(), 4)} | figures
            print(json.dumps(line), file=log, flush=True)
        if step == steps:
            break
        if is_due and (step or path):
            if likely is None:
                likely = liked(whole(), embeddings, streams, MINED)
            some = torch.cat([likely, streams[pick(streams, MINED // 3)]])
            hard = liked(whole(), embeddings, some, HARDEST)
        spoken = pick(begins, SPOKEN)
        ours = begins[spoken][:, None] + torch.minimum(steps_of, counts[spoken][:, None] - 1)
        rest = torch.cat([among[pick(among, OTHERS // 3)] for among in (near, streams, hard)])
        found = model.each(mixed(scaled(gather(embeddings, torch.cat([ours.flatten(), rest])))))
        ours, rest = found[: ours.numel()].view(SPOKEN, -1, len(WIDTHS)), found[ours.numel() :]
        # Of a keyword it is enough that those windows in a row fire that like it best.
        best = ours.unfold(1, patience, 1).amin(-1).amax(1)
        loss = 0.25 * (BEST * F.softplus(-best).mean() + (1 - BEST) * F.softplus(-ours).mean()) + 0.75 * F.softplus(rest).mean()
        optimizer.zero_grad()
        (loss * len(WIDTHS)).backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
    if path:
        with torch.no_grad():
            for ours, theirs in zip(average.module.parameters(), begun.parameters()):
                ours.lerp_(theirs, 0.5)
        threshold, figures = judge(whole(), kept, keyword)
        print(json.dumps({"half way": figures}), file=log, flush=True)
    # The threshold becomes 0.5.
    with torch.no_grad():
        for member in average.module.members:
            member[-1].bias -= threshold
    return nn.Sequential(whole(), nn.Sigmoid()).eval()


def export(model, keyword, path):
    """The network as `path`, an ONNX file."""
    example = torch.zeros(1, features.WINDOW, 96)
    torch.onnx.export(model, example, path, input_names=["x"], output_names=["score"], opset_version=13, dynamo=False)
    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {"name": keyword.name, "phrase": " or ".join(keyword.phrases)})
    onnx.checker.check_model(graph)
    onnx.save(graph, path)
    probe = torch.randn(1, features.WINDOW, 96) * 10
    found = features.session(path).run(None, {"x": probe.numpy()})[0]
    assert np.abs(found - model(probe).detach().numpy()).max() < 1e-4


if __name__ == "__main__":
    torch.set_num_threads(1)
    keyword = KEYWORDS[sys.argv[1]]
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else evaluate.OUT
    steps = int(sys.argv[3]) if len(sys.argv) > 3 else 3000
    export(train(keyword, out, steps, *sys.argv[4:]), keyword, HERE / f"{keyword.name}.onnx")
