"""Trains the model: `python train.py RUN SPEECH [STEPS]`.

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

import numpy as np
import torch
import torch.nn.functional as F

import examples
import sound
import tokenizer as tokens
from model import Audio, Shape, Text, rows

BATCH, TEXTS, RATE, WARMUP = 28, 10, 2e-3, 250
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


def loader(folder, vocabulary, seed, first, queue):
    """A process that makes batches for ever."""
    speech, builder = Speech(folder), examples.Builder(seed)
    rng = np.random.default_rng(seed)
    step = first

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
            strength = min(1.0, 0.3 + step / 1500)
            sounds, batch, labels = [], [], []
            for at, line in enumerate(group):
                quiet = at == 0
                wave, speed, before = (sound.nothing(rng), 1.0, 0.0) if quiet else sound.augment(speech.wave(line), rng, babble, strength)
                sounds.append(wave)
                line = {"phonemes": []} if quiet else line
                count = rows(max(1, (len(wave) + 160 - 320 - 1) // 160 + 1))
                labels.append(speech.labels(line, count, speed, before))
                batch.append(examples.rows(vocabulary, *builder.example(line, True, quiet), count))
            feature, frames = examples.mels(sounds, rng)
            named = np.full((BATCH, rows(feature.shape[1])), -1)
            for at, label in enumerate(labels):
                named[at, : len(label)] = label
            texts = [examples.rows(vocabulary, *builder.example(builder.utterance(), False), 0) for _ in range(TEXTS)]
            long = [examples.encode(vocabulary, builder.conversation(8))] if step % 8 == 0 else []
            ids, wanted = examples.pad(batch)
            queue.put({"mel": feature.astype(np.float16), "frames": frames, "ids": ids, "wanted": wanted, "start": np.array([b[2] for b in batch]),
                       "named": named, "texts": [examples.pad(texts)] + ([examples.pad(long)] if long else [])})
            step += 1


class Nano(torch.nn.Module):
    """Both halves, and the helper that names phonemes in training."""

    def __init__(self):
        super().__init__()
        self.text, self.audio = Text(), Audio()
        self.names = torch.nn.Linear(Shape.audio, 96)

    def heard(self, mel, frames, ids, start):
        """Embeddings of rows with sound put in place, and the encoder's last block."""
        sound_rows, encoded = self.audio(mel, frames)
        x = self.text.embed_tokens(ids)
        counts = rows_of(frames)
        inside = torch.arange(sound_rows.shape[1])[None] < counts[:, None]
        where = start[:, None] + torch.arange(sound_rows.shape[1])[None]
        batch = torch.arange(len(ids))[:, None].expand_as(where)
        x = x.index_put((batch[inside], where[inside]), sound_rows[inside].to(x.dtype))
        return x, encoded

    def score(self, x, ids, wanted):
        """Scores of the rows the model must write, and those rows."""
        hidden = self.text(x, ids)
        here = wanted[:, 1:]
        return self.text.logits(hidden[:, :-1][here]), ids[:, 1:][here]


def rows_of(frames):
    return ((frames - 1) // 2 + 1 - 1) // 2 + 1


def check(model, batches):
    """Share of examples that greedy decoding would answer exactly: every wanted token is the best one."""
    model.eval()
    right, total = 0, 0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
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
        batches.append({"mel": torch.from_numpy(feature), "frames": torch.from_numpy(frames), "ids": torch.from_numpy(ids),
                        "wanted": torch.from_numpy(wanted), "start": torch.tensor([b[2] for b in batch])})
    return batches


def main(run, folder, total):
    os.setpgrp()
    run.mkdir(parents=True, exist_ok=True)
    (run / "train.pid").write_text(str(os.getpid()))
    torch.set_num_threads(2)
    torch.manual_seed(1)
    vocabulary = tokens.Tokenizer.load(run / "tokenizer.json")
    model = Nano()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0}], RATE, (0.9, 0.98), fused=True)
    step, finish = 0, None
    if (run / "checkpoint.pt").exists():
        saved = torch.load(run / "checkpoint.pt")
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
    queue = multiprocessing.Queue(6)
    worker = multiprocessing.Process(target=loader, args=(folder, vocabulary, 7 + step, step, queue), daemon=True)
    worker.start()
    checks = {}
    log = open(run / "log.jsonl", "a")
    sums, began, saved_at = Counter(), time.time(), time.time()

    def save(name):
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, run / (name + ".tmp"))
        os.replace(run / (name + ".tmp"), run / name)

    while step < total:
        b = queue.get()
        tensor = lambda key: torch.from_numpy(b[key])
        if finish is None and (run / "finish").exists():
            length = int((run / "finish").read_text() or 300)
            finish = (step, length, RATE * 0.5 * (1 + math.cos(math.pi * step / total)))
        if finish:
            rate = finish[2] * max(0.0, 1 - (step - finish[0]) / finish[1])
            if rate <= 0:
                break
        else:
            rate = RATE * min(1, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * step / total))
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            x, encoded = model.heard(tensor("mel").float(), tensor("frames"), tensor("ids"), tensor("start"))
            spoken, target = model.score(x, tensor("ids"), tensor("wanted"))
            named = model.names(encoded).float()
            texts = []
            for ids, wanted in b["texts"]:
                ids = torch.from_numpy(ids)
                texts.append(model.score(model.text.embed_tokens(ids), ids, torch.from_numpy(wanted)))
        speech_loss = F.cross_entropy(spoken, target)
        text_loss = sum(F.cross_entropy(*pair) for pair in texts) / len(texts)
        name_loss = F.cross_entropy(named.transpose(1, 2), tensor("named"), ignore_index=-1)
        weight = max(0.1, 1 - step / 2000)
        loss = speech_loss + 0.3 * text_loss + weight * name_loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        sums.update(speech=speech_loss.item(), text=text_loss.item(), phoneme=name_loss.item(), right=(spoken.argmax(-1) == target).float().mean().item())
        if step % 25 == 0:
            line = {"step": step, "seconds": round(time.time() - began, 1), "rate": round(rate, 6)} | {key: round(value / 25, 4) for key, value in sums.items()}
            sums.clear()
            if step % 250 == 0:
                for name in ("voices", "transcripts", "combos"):
                    if name not in checks and (run / "evaluation" / f"{name}.jsonl").exists():
                        checks[name] = held_out(run / "evaluation", vocabulary, name, 120)
                line |= {"exact_" + name: round(check(model, batches), 4) for name, batches in checks.items()}
            log.write(json.dumps(line) + "\n")
            log.flush()
            print(line, flush=True)
        if time.time() - saved_at > 240:
            save("checkpoint.pt")
            saved_at = time.time()
    save("model.pt")
    worker.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 5000)
