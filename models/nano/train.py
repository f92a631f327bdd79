"""Trains the model: `python train.py RUN SPEECH [STEPS [RATE]] [--text]`, with `--text` only its language half.

RUN gets train.pid (this process group), log.jsonl (the learning curve), checkpoint.pt (every few
minutes; starting again goes on from it), and model.pt at the end. A file RUN/finish holding a number
N lets the learning rate run out over the next N steps. Time is counted in steps, so the process may be
stopped and continued at will.
"""

import json
import math
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

# Must be set before torch is loaded: loops are compiled in this process.
os.environ |= {"TORCHINDUCTOR_COMPILE_THREADS": "1", "TORCHINDUCTOR_VEC_ISA_OK": "1", "TORCH_DISABLE_ADDR2LINE": "1"}

import numpy as np
import torch
import torch._dynamo
import torch.nn.functional as F
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ.setdefault("NANO_TRAIN", "fused")  # before `model` is loaded: 16-bit matrices, compiled loops

import examples
import sound
import tokenizer as tokens
from model import WIDTH, Nano, frames_of, rows

# A GPU learns alone, from sound that all cores prepare; a CPU in two processes that add their gradients.
LEARNERS, BATCH, TEXTS = (1, 224, 64) if DEVICE == "cuda" else (2, 14, 7)  # and rows of one of them
RATE, WARMUP = 2e-3, 250
DELAY = 0.06  # the encoder hears no future, so a sound is named 60 ms after it began


class Speech:
    """The utterances on disk."""

    def __init__(self, folder):
        self.lines, self.sounds = [], []
        for path in sorted(Path(folder).glob("shard-*.jsonl")):
            self.sounds.append(np.memmap(path.with_suffix(".i16"), np.int16, "r"))
            for text in path.open():
                self.lines.append(json.loads(text) | {"shard": len(self.sounds) - 1})
        counts = Counter(name for line in self.lines for _, name in line["phonemes"])
        self.phonemes = {name: at for at, (name, _) in enumerate(counts.most_common(95), 1)}

    def wave(self, line):
        start = line["offset"]
        return self.sounds[line["shard"]][start : start + line["samples"]].astype(np.float32) / 32768

    def labels(self, line, count, speed, before):
        """The phoneme of each of `count` rows; -1 where it is not known."""
        if not line["phonemes"]:
            return np.full(count, -1)
        times = np.array([t for t, _ in line["phonemes"]]) / speed + before
        names = np.array([0] + [self.phonemes.get(name, 0) for _, name in line["phonemes"]])
        return names[np.searchsorted(times, np.arange(count) * 0.04 + 0.02 - DELAY, side="right")]


def batches(speech, vocabulary, seed, step):
    """Batches for ever: sound in all, plain text in all, the longer kinds of prompts now and then."""
    builder, rng = examples.Builder(seed), np.random.default_rng(seed)

    def babble(count, rng):
        out = np.zeros(count, np.float32)
        for _ in range(rng.integers(1, 4)):
            out += np.resize(speech.wave(speech.lines[rng.integers(len(speech.lines))]), count)
        return out

    while True:
        pool = [speech.lines[at] for at in rng.integers(0, len(speech.lines), BATCH * 16)]
        pool.sort(key=lambda line: line["samples"])
        groups = [pool[at : at + BATCH] for at in range(0, len(pool), BATCH)]
        random.Random(int(rng.integers(1 << 30))).shuffle(groups)
        for group in groups:
            more = step % 8 == 5
            group = group[: BATCH // 2] if more else group
            longest = max(line["samples"] for line in group)
            quiet_one = rng.integers(0, BATCH * 3 // 4)
            sounds, batch, labels = [], [], []
            for at, line in enumerate(group):
                quiet = at == quiet_one
                if quiet:
                    wave, speed, before = sound.nothing(rng)[:longest], 1.0, 0.0
                    line = {"phonemes": []}
                else:
                    wave, speed, before = sound.augment(speech.wave(line), rng, babble, min(1.0, 0.3 + step / 1200))
                sounds.append(wave)
                count = rows(frames_of(len(wave)))
                labels.append(speech.labels(line, count, speed, before))
                batch.append(examples.rows(vocabulary, *builder.example(line, True, quiet, more), count))
            feature, frames = examples.mels(sounds, rng)
            named = np.full((len(group), rows(feature.shape[1])), -1)
            for at, label in enumerate(labels):
                named[at, : len(label)] = label
            texts = [[examples.rows(vocabulary, *builder.example(builder.utterance(), False), 0) for _ in range(TEXTS)]]
            if step % 4 == 1:
                texts.append([examples.rows(vocabulary, *builder.example(builder.utterance(), False, more=True), 0) for _ in range(3)])
            if step % 16 == 7:
                texts.append([examples.encode(vocabulary, builder.conversation(6))])
            tensors = [feature, frames, *examples.pad(batch), np.array([b[2] for b in batch]), named]
            yield [torch.from_numpy(t) for t in tensors], [[torch.from_numpy(t) for t in examples.pad(b)] for b in texts]
            step += 1


class Feed(IterableDataset):
    """The batches of as many processes as make them."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __iter__(self):
        worker = get_worker_info()
        speech, vocabulary, seed, step = self.arguments
        torch.set_num_threads(1)
        return batches(speech, vocabulary, seed + worker.id, step + worker.id)


def feed(*arguments):
    """`batches`, made in this process or, for a GPU, in all cores but two."""
    if DEVICE == "cpu":
        return batches(*arguments)
    return iter(DataLoader(Feed(*arguments), None, num_workers=max(1, os.cpu_count() - 2), prefetch_factor=4, pin_memory=True))


def placed(batch):
    """A batch, or any part of one, where it is learned from."""
    if isinstance(batch, torch.Tensor):
        return batch.to(DEVICE, non_blocking=True)
    return [placed(part) for part in batch]


def autocast():
    """16-bit matrices, where the processor has them."""
    return torch.autocast("cpu", torch.bfloat16, enabled=WIDTH == torch.bfloat16)


def check(model, batches):
    """Share of examples that greedy decoding would answer exactly: every wanted token is the best one."""
    model.eval()
    right, total = 0, 0
    with torch.no_grad(), autocast():
        for b in batches:
            x, _ = model.heard(b["mel"], b["frames"], b["ids"], b["start"])
            hidden = model.text(x, b["ids"])
            best = model.text.logits(hidden[:, :-1]).argmax(-1)
            wrong = (best != b["ids"][:, 1:]) & b["wanted"][:, 1:]
            right += int((~wrong.any(1)).sum())
            total += len(wrong)
    model.train()
    return right / total


def held_out(folder, vocabulary, name, count, size=20):
    """Batches of an evaluation set."""
    from scipy.io import wavfile

    lines = [json.loads(text) for text in open(folder / f"{name}.jsonl")][:count]
    batches = []
    for at in range(0, len(lines), size):
        part = lines[at : at + size]
        feature, frames = examples.mels([wavfile.read(folder / line["audio"])[1].astype(np.float32) / 32768 for line in part])
        content = lambda line: [{"type": "audio"}] + ([{"type": "text", "text": line["prompt"]}] if line["prompt"] else [])
        batch = [examples.rows(vocabulary, tokens.prompt([{"role": "user", "content": content(line)}]), line["expected"], rows(int(n))) for line, n in zip(part, frames)]
        ids, wanted = examples.pad(batch)
        tensors = {"mel": torch.from_numpy(feature), "frames": torch.from_numpy(frames), "ids": torch.from_numpy(ids),
                   "wanted": torch.from_numpy(wanted), "start": torch.tensor([b[2] for b in batch])}
        batches.append({name: placed(tensor) for name, tensor in tensors.items()})
    return batches


class Sum:
    """Means the gradients of the processes that learn, which share memory."""

    def __init__(self, parameters):
        size = sum(p.numel() for p in parameters)
        self.slots = torch.zeros(LEARNERS, size).share_memory_()
        self.finish = torch.zeros(1).share_memory_()  # steps left once the end is asked for
        self.barrier = multiprocessing.get_context("fork").Barrier(LEARNERS)

    def __call__(self, rank, parameters):
        if LEARNERS == 1:
            return
        torch.cat([p.grad.flatten() for p in parameters], out=self.slots[rank])
        self.barrier.wait()
        total, at = self.slots.mean(0), 0
        for p in parameters:
            p.grad.copy_(total[at : at + p.numel()].view_as(p))
            at += p.numel()
        self.barrier.wait()


def learned(model):
    """The parameters that are trained."""
    return [p for p in model.parameters() if p.requires_grad]


def losses(model, sounds, texts):
    """Cross-entropies of spoken answers, typed ones, phonemes; and the share of right tokens."""
    mel, frames, ids, wanted, start, named = sounds
    with autocast():
        x, encoded = model.heard(mel, frames, ids, start)
        scores, target = model.score(x, ids, wanted)
        names = model.names(encoded).float()
        typed = [model.score(model.text.embed_tokens(ids), ids, wanted) for ids, wanted in texts]
    spoken = F.cross_entropy(scores, target)
    typed = sum(F.cross_entropy(*pair) for pair in typed) / len(typed)
    named = F.cross_entropy(names.transpose(1, 2), named, ignore_index=-1)
    return spoken, typed, torch.nan_to_num(named), (scores.argmax(-1) == target).float().mean()


def learn(rank, model, add, run, folder, total, highest):
    """One of the processes that learn; all hold the same weights all the time."""
    torch.set_num_threads(1)
    vocabulary, speech = tokens.Tokenizer.load(run / "tokenizer.json"), Speech(folder)
    parameters = learned(model)
    groups = [{"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.02}, {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, highest, (0.9, 0.98), fused=True)
    first, step, finish = 0, 0, None
    if (run / "checkpoint.pt").exists():
        saved = torch.load(run / "checkpoint.pt", map_location=DEVICE)
        model.load_state_dict(saved["model"])
        if "optimizer" in saved:
            optimizer.load_state_dict(saved["optimizer"])
        step, first = saved["step"], saved["first"]
    stream = feed(speech, vocabulary, 1000 * (step + 1) + rank, step)
    rate_at = lambda step: highest * schedule(step - first, total - first)
    checks, sums, began, saved_at = {}, Counter(), time.time(), time.time()
    log = open(run / "log.jsonl", "a")

    def save(name):
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "first": first}, run / (name + ".tmp"))
        os.replace(run / (name + ".tmp"), run / name)

    if rank:
        add.barrier.wait()  # the other process compiles first; this one finds the results
    else:
        sum(losses(model, *placed(next(stream)))[:3]).backward()
        add.barrier.wait()
    while step < total:
        if step % 10 == 0:
            if rank == 0 and (run / "finish").exists():
                add.finish[0] = int((run / "finish").read_text() or 300)
            add.barrier.wait()
            if add.finish[0] and finish is None:
                finish = (step, int(add.finish[0]), rate_at(step))
        rate = rate_at(step) if finish is None else finish[2] * (1 - (step - finish[0]) / finish[1])
        if rate <= 0 and step:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate
        spoken, typed, named, right = losses(model, *placed(next(stream)))
        optimizer.zero_grad(set_to_none=False)
        (spoken + 0.3 * typed + max(0, 1 - step / 4000) * named).backward()
        add(rank, parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        sums.update(speech=spoken.item(), text=typed.item(), phoneme=named.item(), right=right.item())
        if rank == 0 and step % 25 == 0:
            line = {"step": step, "seconds": round(time.time() - began, 1), "cpu": round(time.process_time(), 1), "rate": round(rate, 6)}
            line |= {key: round(value / 25, 4) for key, value in sums.items()}
            if step % 250 == 0:
                for name in ("voices", "transcripts", "combos"):
                    if name not in checks and (run / "evaluation" / f"{name}.jsonl").exists():
                        checks[name] = held_out(run / "evaluation", vocabulary, name, 120)
                line |= {"exact_" + name: round(check(model, sets), 4) for name, sets in checks.items()}
            sums.clear()
            print(json.dumps(line), file=log, flush=True)
            print(line, flush=True)
        if rank == 0 and time.time() - saved_at > 240:
            save("checkpoint.pt")
            saved_at = time.time()
    if rank == 0:
        save("model.pt")


def schedule(step, total):
    """The learning rate's share of the highest: a warm-up, then a cosine."""
    return min(1, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * step / total))


def main(run, folder, total=5000, highest=RATE, text_only=False):
    """The highest learning rate is RATE, or less for a model that was trained already."""
    if os.getpgrp() != os.getpid():
        os.setpgrp()
    run.mkdir(parents=True, exist_ok=True)
    (run / "train.pid").write_text(str(os.getpid()))
    torch.set_num_threads(1)
    torch.manual_seed(1)
    torch._dynamo.config.recompile_limit = 64
    torch.set_float32_matmul_precision("high")
    model = Nano().to(DEVICE)
    if text_only:
        model.audio.requires_grad_(False)
        model.names.requires_grad_(False)
    parameters = learned(model)
    for p in parameters:
        p.grad = torch.zeros_like(p)
    add = Sum(parameters)
    learner = lambda rank: multiprocessing.get_context("fork").Process(target=learn, args=(rank, model, add, run, folder, total, highest))
    others = [learner(rank) for rank in range(1, LEARNERS)]
    for other in others:
        other.start()
    learn(0, model, add, run, folder, total, highest)
    for other in others:
        other.join()


if __name__ == "__main__":
    numbers = [float(argument) for argument in sys.argv[3:] if argument != "--text"]
    main(Path(sys.argv[1]), Path(sys.argv[2]), *numbers, text_only="--text" in sys.argv)
