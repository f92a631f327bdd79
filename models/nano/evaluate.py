"""Evaluates a checkpoint in PyTorch, greedily: `python evaluate.py RUN [CHECKPOINT] [SET...]`.

Prints a table and writes RUN/results.json. The deciding figures come from the daemon's own engine
(`cargo xtask bench nano`), which reads the same manifests; README.md has the definitions.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from scipy.io import wavfile

import examples
import tokenizer as tokens
from model import Nano, rows

SETS = ["voices", "voices_10db", "combos", "other_engine", "text", "out_of_domain", "no_speech", "transcripts", "transcripts_other"]


def answers(model, vocabulary, folder, lines, longest=64):
    """Greedy answers to the lines of a manifest, without cache: all clips of a batch at once."""
    ends = {vocabulary.ids[token] for token in ("<turn|>", "<|tool_response>", "<eos>")}
    content = lambda line: [{"type": "audio"}] * ("audio" in line) + [{"type": "text", "text": text} for text in (line.get("text"), line["prompt"]) if text]
    batch, feature, frames = [], None, [1] * len(lines)
    if "audio" in lines[0]:
        feature, frames = examples.mels([wavfile.read(folder / line["audio"])[1].astype(np.float32) / 32768 for line in lines])
    for line, count in zip(lines, frames):
        prompt = tokens.prompt([{"role": "user", "content": content(line)}])
        ids, _, start = examples.rows(vocabulary, prompt, "", rows(int(count)))
        batch.append((ids[:-1], [False] * (len(ids) - 1), start))
    lengths = torch.tensor([len(ids) for ids, *_ in batch])
    ids = torch.from_numpy(examples.pad(batch)[0])
    if feature is None:
        x = model.text.embed_tokens(ids)
    else:
        x, _ = model.heard(torch.from_numpy(feature), torch.from_numpy(frames), ids, torch.tensor([start for *_, start in batch]))
    said, open_ = [[] for _ in lines], torch.ones(len(lines), dtype=bool)
    for _ in range(longest):
        hidden = model.text(x, ids)
        best = model.text.logits(hidden[torch.arange(len(lines)), lengths - 1]).argmax(-1)
        for at, token in enumerate(best.tolist()):
            if open_[at] and token in ends:
                open_[at] = False
            elif open_[at]:
                said[at].append(token)
        if not open_.any():
            break
        if int(lengths.max()) == ids.shape[1]:
            ids = torch.nn.functional.pad(ids, (0, 1))
            x = torch.nn.functional.pad(x, (0, 0, 0, 1))
        ids[torch.arange(len(lines)), lengths] = best
        x[torch.arange(len(lines)), lengths] = model.text.embed_tokens(best)
        lengths = lengths + 1
    return [vocabulary.decode(row) for row in said]


def words(text):
    return re.findall(r"[a-z0-9'.:]+", re.sub(r"\.(\s|$)", " ", text.lower()))


def errors(wanted, got):
    """Edit distance in words."""
    row = list(range(len(got) + 1))
    for at, word in enumerate(wanted, 1):
        last, row[0] = row[0], at
        for to, other in enumerate(got, 1):
            last, row[to] = row[to], min(row[to] + 1, row[to - 1] + 1, last + (word != other))
    return row[-1]


def figures(lines, said):
    """Of one set: exact matches, false actions, word error rate."""
    exact = sum(line["expected"] == text for line, text in zip(lines, said)) / len(lines)
    acts = sum("<|tool_call>" in text for line, text in zip(lines, said)) / len(lines)
    out = {"count": len(lines), "exact": round(exact, 4)}
    if "<|tool_call>" not in lines[0]["expected"]:
        out["false_action"] = round(acts, 4)
    if lines[0]["set"].startswith("transcripts"):
        total = sum(len(words(line["expected"])) for line in lines)
        out["wer"] = round(sum(errors(words(line["expected"]), words(text)) for line, text in zip(lines, said)) / total, 4)
    return out


def confusions(lines, said):
    """Which command was taken for which."""
    name = lambda text: "+".join(re.findall(r"call:(\w+)", text)) or "words"
    return Counter((name(line["expected"]), name(text)) for line, text in zip(lines, said) if line["expected"] != text)


def main(run, checkpoint, sets):
    torch.set_num_threads(2)
    vocabulary, model = tokens.Tokenizer.load(run / "tokenizer.json"), Nano()
    model.load_state_dict(torch.load(run / checkpoint)["model"])
    model.eval()
    results = {}
    for name in sets:
        lines, said = [json.loads(text) for text in open(run / "evaluation" / f"{name}.jsonl")], []
        order = sorted(range(len(lines)), key=lambda at: (run / "evaluation" / lines[at]["audio"]).stat().st_size if "audio" in lines[at] else 0)
        lines = [lines[at] for at in order]
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            for at in range(0, len(lines), 32):
                said += answers(model, vocabulary, run / "evaluation", lines[at : at + 32])
        results[name] = figures(lines, said) | {"confusions": [[*pair, count] for pair, count in confusions(lines, said).most_common(15)]}
        for voice in sorted({line["voice"] for line in lines if "voice" in line}):
            pairs = [(line, text) for line, text in zip(lines, said) if line.get("voice") == voice]
            results[name][voice] = figures(*zip(*pairs))["exact"]
        results[name]["wrong"] = [[line["say"] or line.get("text", ""), line["expected"], text] for line, text in zip(lines, said) if line["expected"] != text][:40]
        print(name, {key: value for key, value in results[name].items() if key not in ("confusions", "wrong")}, flush=True)
        (run / "results.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    rest = sys.argv[2:]
    checkpoint = rest.pop(0) if rest and rest[0].endswith(".pt") else "model.pt"
    main(Path(sys.argv[1]), checkpoint, rest or SETS)
