"""Trains a keyword on what `data.py train` has made: `python train.py KEYWORD [OUT [STEPS]]`.

A small network over 16 embeddings. It learns from as many windows of the keyword as a third of those without it;
half of the latter are taken from those that it likes best (mined anew a few times), for the rest of speech is
easily told apart. Every sixth shard is kept aside, and says where the threshold is to be: its bias is moved so
that it is at 0.5. Writes KEYWORD.onnx beside this file, and OUT/KEYWORD.log.
"""

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
from data import KEYWORDS

HERE = Path(__file__).parent
BATCH, POSITIVE = 768, 192
# False accepts an hour that are aimed at, over the speech kept aside.
AIM = {"hey_gemma": 0.4, "stop": 2.0}


def load(out, keyword, aside):
    """The embeddings and labels of a keyword's shards and of the streams; where the streams begin."""
    rows, begin = [], 0
    for name in (keyword, "streams"):
        begin = sum(len(labels) for _, labels in rows)
        for path in sorted((out / "features").glob(f"{name}-*.npz")):
            if (int(path.stem.split("-")[1]) % 6 == 0) == aside:
                with np.load(path) as file:
                    rows.append((file["embeddings"], file["labels"]))
    embeddings, labels = (np.concatenate(column) for column in zip(*rows))
    return torch.from_numpy(embeddings), torch.from_numpy(labels), begin


class Last(nn.Module):
    """The last embeddings of a window: those that a short word can be in."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def forward(self, windows):
        return windows[:, -self.count :]


def network(span):
    """16 embeddings of 96 numbers to one logit: each is squeezed to 48, and the last `span` are looked at together."""
    return nn.Sequential(
        nn.Linear(96, 48), Last(span), nn.Flatten(), nn.Dropout(0.1),
        nn.Linear(48 * span, 128), nn.LayerNorm(128), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(128, 64), nn.LayerNorm(64), nn.ReLU(), nn.Linear(64, 1),
    )


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


def runs(found, labels, patience):
    """The highest held logit of each keyword spoken: of each run of windows that have to fire."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels == 1, [0]]).astype(np.int8)))
    pairs = zip(edges[::2], edges[1::2])
    return np.array([evaluate.held(found[a:b], patience)[patience - 1 :].max(initial=-99) for a, b in pairs])


def judge(model, mean, deviation, kept, keyword):
    """(threshold, false rejects at it) by what was kept aside, and the logits that have to be told apart."""
    embeddings, labels, begin = kept
    at = torch.arange(features.WINDOW - 1, len(labels))
    found = np.full(len(labels), -99, np.float32)
    found[at] = logits(model, (embeddings - mean) / deviation, at)
    patience = evaluate.PATIENCE[keyword]
    found = np.where(labels < 0, -99, found)
    spoken = runs(found[:begin], labels[:begin].numpy(), patience)
    silent = evaluate.held(found[begin:], patience)
    hours = len(silent) * features.CHUNK / features.RATE / 3600
    steps = np.arange(-4, 12, 0.25)
    hourly = np.array([evaluate.accepts(silent, step) / hours for step in steps])
    rejects = np.array([(spoken < step).mean() for step in steps])
    few, kind = steps[hourly <= AIM[keyword]], steps[rejects <= 0.02]
    lowest = few[0] if len(few) else steps[-1]
    highest = kind[-1] if len(kind) else steps[0]
    threshold = (lowest + highest) / 2 if highest > lowest else lowest
    return float(threshold), float((spoken < threshold).mean()), float(lowest), float(highest), round(hours, 2)


def mixed(windows):
    """Windows in which the oldest embeddings are, now and then, those of another."""
    cut = torch.randint(1, 5, (len(windows), 1)) * (torch.rand(len(windows), 1) < 0.3)
    swap = torch.arange(features.WINDOW) < cut
    return torch.where(swap[:, :, None], windows[torch.randperm(len(windows))], windows)


def train(keyword, out, steps):
    """Trains, and returns the network as it takes raw embeddings."""
    torch.manual_seed(7)
    log = open(out / f"{keyword}.log", "a")
    began = time.time()
    embeddings, labels, _ = load(out, keyword, False)
    kept = load(out, keyword, True)
    mean, deviation = embeddings.float().mean(0), embeddings.float().std(0)
    embeddings = ((embeddings - mean) / deviation).half()
    ours, others = torch.where(labels == 1)[0], torch.where(labels == 0)[0]
    hard = others
    model = network(KEYWORDS[keyword]["span"])
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.995))
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps, pct_start=0.15)
    for step in range(steps + 1):
        if step and step % (steps // 6) == 0:
            found = logits(average.module, embeddings, others)
            hard = others[found.topk(min(len(others), 20000)).indices]
            threshold, rejected, lowest, highest, hours = judge(average.module, mean, deviation, kept, keyword)
            line = {"step": step, "seconds": round(time.time() - began), "loss": round(loss.item(), 4),
                    "rejected": round(rejected, 4), "threshold": threshold, "lowest": lowest, "highest": highest,
                    "aside_hours": hours}
            print(json.dumps(line), file=log, flush=True)
        if step == steps:
            break
        pick = lambda among, count: among[torch.randint(len(among), (count,))]
        at = torch.cat([pick(ours, POSITIVE), pick(hard, (BATCH - POSITIVE) // 2), pick(others, (BATCH - POSITIVE) // 2)])
        found = model(mixed(gather(embeddings, at))).squeeze(1)
        loss = F.binary_cross_entropy_with_logits(found, (labels[at] == 1).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
    model = average.module
    # The threshold becomes 0.5, and the embeddings' mean and deviation part of the first weights.
    with torch.no_grad():
        model[-1].bias -= threshold
        first = model[0]
        first.bias -= first.weight @ (mean / deviation)
        first.weight /= deviation
    return nn.Sequential(*model, nn.Sigmoid()).eval()


def export(model, keyword):
    """KEYWORD.onnx."""
    path = HERE / f"{keyword}.onnx"
    example = torch.zeros(1, features.WINDOW, 96)
    torch.onnx.export(model, example, path, input_names=["x"], output_names=["score"], opset_version=13, dynamo=False)
    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {"name": keyword, "phrase": " or ".join(KEYWORDS[keyword]["phrases"])})
    onnx.checker.check_model(graph)
    onnx.save(graph, path)
    probe = torch.randn(1, features.WINDOW, 96) * 10
    found = features.session(path).run(None, {"x": probe.numpy()})[0]
    assert np.abs(found - model(probe).detach().numpy()).max() < 1e-4


if __name__ == "__main__":
    torch.set_num_threads(1)
    keyword = sys.argv[1]
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else evaluate.OUT
    export(train(keyword, out, int(sys.argv[3]) if len(sys.argv) > 3 else 3000), keyword)
