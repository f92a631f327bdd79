"""From an utterance to what the model reads and must write: prompts of every kind, as rows."""

import random
from functools import lru_cache

import numpy as np

import catalogue as language
import data
import sound
import tokenizer as tokens

SYSTEMS = ["You are a helpful assistant.", "You are Nano, a voice assistant.", "Be brief.", "Answer briefly.", "Answer in one sentence.",
           "You control a home and a robot.", "You are a robot. Do what you are told.", "You are a helpful assistant. Be brief."]
PROBLEMS = ["the device is offline", "no such place", "not allowed", "the battery is empty", "something is in the way", "timeout"]


def end(answer):
    """The token that ends the model's turn: after calls it waits for their results."""
    return "<|tool_response>" if "<|tool_call>" in answer else "<turn|>"


@lru_cache(4096)
def _plain(system, text, audio, thinking):
    messages = [{"role": "system", "content": system}] if system else []
    content = ([{"type": "audio"}] if audio else []) + ([{"type": "text", "text": text}] if text else [])
    return tokens.prompt(messages + [{"role": "user", "content": content}], thinking=thinking)


class Builder:
    """Builds examples: lists of (text, whether the model writes it)."""

    def __init__(self, seed=0):
        self.rng = random.Random(seed)
        self.catalogue, self.talk = language.Catalogue(), language.Talk()
        self.valid = data.valid_sentences(self.catalogue)
        self.unheard, self.refusal = self.talk.data["unheard"], self.talk.data["refusal"]

    def utterance(self):
        return data.record(data.draw(self.catalogue, self.talk, self.valid, self.rng))

    def typed(self, line):
        """`say` as somebody types it."""
        roll, say, written = self.rng.random(), line["say"], line["written"]
        if roll < 0.35:
            return written
        if roll < 0.6:
            return say
        if roll < 0.8:
            return written[:-1].lower()
        return written[:-1] if roll < 0.9 else say[:1].upper() + say[1:] + "."

    def tools(self, answer, most=5):
        """A few declarations, and what is to be answered when only these may be called."""
        names = [part.split("{")[0] for part in answer.split("call:")[1:]]
        chosen = self.rng.sample(list(self.catalogue.commands), self.rng.randint(1, most))
        if self.rng.random() < 0.75:
            chosen = list(dict.fromkeys(chosen + names))
            self.rng.shuffle(chosen)
        if any(name not in chosen for name in names):
            answer = self.refusal
        return [self.catalogue.declaration(name) for name in chosen], answer

    def earlier(self):
        """One or two turns that came before."""
        messages = []
        for _ in range(self.rng.choice([1, 1, 2])):
            line = self.utterance()
            messages.append({"role": "user", "content": self.typed(line)})
            if "<|tool_call>" in line["answer"]:
                calls, reply = self.done(line["answer"])
                messages += calls + [{"role": "assistant", "content": reply}]
            else:
                messages.append({"role": "assistant", "content": line["answer"]})
        return messages

    def done(self, answer):
        """Messages of calls and their results, and the words that follow."""
        calls, results, reply = [], [], ""
        for part in answer.split("<|tool_call>call:")[1:]:
            name, body = part.removesuffix("<tool_call|>").split("{", 1)
            calls.append({"function": {"name": name, "arguments": body.removesuffix("}")}})
            if self.rng.random() < 0.15:
                problem = self.rng.choice(PROBLEMS)
                content, said = {"error": problem}, f"That did not work: {problem}."
            elif name.startswith("get_"):
                value = self.rng.choice([f"{self.rng.randint(0, 100)} percent", f"{self.rng.randint(0, 23)}:{self.rng.randint(0, 59):02}",
                                         f"{self.rng.randint(-10, 35)} degrees", "sunny", "rain", "cloudy", "Monday", "Friday", "snow"])
                content, said = value, f"It is {value}."
            else:
                content, said = self.rng.choice(["ok", "ok", "done"]), "Done."
            results.append({"role": "tool", "name": name, "content": content})
            reply = said if not reply or "work" in said else reply
        return [{"role": "assistant", "tool_calls": calls}] + results, reply

    def example(self, line, audio, quiet=False, more=False):
        """One example of a spoken or typed line; `quiet` sound holds no words; `more` brings tools,
        earlier turns or results of calls."""
        rng = self.rng
        roll, answer = rng.random(), self.unheard if quiet else line["answer"]
        text = "" if audio else self.typed(line)
        thinking = rng.random() < 0.02
        system = rng.choice(SYSTEMS) if roll < 0.07 else ""
        # Words are asked of commands mostly; of all English a model this small hears little.
        if audio and not more and rng.random() < (0.3 if "<|tool_call>" in answer else 0.12):
            text = rng.choice([data.ASR_PROMPT, data.ASR_PROMPT, "Transcribe."])
            return _plain(system, text, True, thinking), "" if quiet else line["written"]
        if not more:
            return _plain(system, text, audio, thinking), answer
        user = {"role": "user", "content": ([{"type": "audio"}] if audio else []) + ([{"type": "text", "text": text}] if text else [])}
        messages = [user]
        if rng.random() < 0.3:
            messages.insert(0, {"role": "system", "content": rng.choice(SYSTEMS)})
        kind = rng.random()
        if kind < 0.40:
            tools, answer = (None, answer) if quiet else self.tools(answer)
            return tokens.prompt(messages, tools, thinking), answer
        if kind < 0.70 or audio:
            return tokens.prompt(messages[:-1] + self.earlier() + [user], thinking=thinking), answer
        if "<|tool_call>" in answer:
            calls, answer = self.done(answer)
            return tokens.prompt(messages + calls, thinking=thinking), answer
        return tokens.prompt(messages, thinking=thinking), answer

    def conversation(self, turns):
        """A long one: all commands declared, many turns."""
        names = list(self.catalogue.commands)
        self.rng.shuffle(names)
        names = names[: self.rng.choice([6, 12, 18, 25, len(names)])]
        head = tokens.prompt([{"role": "system", "content": self.rng.choice(SYSTEMS + ["", ""])}], [self.catalogue.declaration(n) for n in names], generate=False)
        parts = [(head, False)]
        for _ in range(turns):
            line = self.utterance()
            answer = line["answer"]
            if any(part.split("{")[0] not in names for part in answer.split("call:")[1:]):
                answer = self.refusal
            parts += [("<|turn>user\n" + self.typed(line) + "<turn|>\n<|turn>model\n<|channel>thought\n<channel|>", False), (answer, True)]
            if "<|tool_call>" in answer:
                messages, reply = self.done(answer)
                rendered = tokens.prompt([{"role": "user", "content": ""}] + messages)
                parts += [("<|tool_response>", True), (rendered.split("<|tool_response>", 1)[1], False), (reply, True)]
            parts += [("<turn|>", True), ("\n", False)]
        return parts


def encode(vocabulary, parts):
    """Token ids and, for each, whether the model must write it."""
    ids, wanted = [], []
    for text, ours in parts:
        piece = vocabulary.encode(text)
        ids += piece
        wanted += [ours] * len(piece)
    return ids, wanted


def rows(vocabulary, prompt, answer, audio_rows):
    """Token ids (0 where sound goes), wanted flags, and the row at which sound starts (or -1)."""
    before, found, after = prompt.partition("<|audio|>")
    ids, wanted = encode(vocabulary, [(before, False)])
    start = -1
    if found:
        ids.append(vocabulary.ids["<|audio>"])
        start = len(ids)
        ids += [0] * audio_rows + [vocabulary.ids["<audio|>"]]
        wanted = [False] * len(ids)
    tail, flags = encode(vocabulary, [(after, False), (answer, True), (end(answer), True)])
    return ids + tail, wanted + flags, start


def pad(batch):
    """Lists of ids and flags as arrays: ids (rows, length), wanted (rows, length)."""
    length = max(len(ids) for ids, *_ in batch)
    ids, wanted = np.zeros((len(batch), length), np.int64), np.zeros((len(batch), length), bool)
    for at, (row, flags, *_) in enumerate(batch):
        ids[at, : len(row)], wanted[at, : len(row)] = row, flags
    return ids, wanted


def mels(sounds, rng=None, add=None):
    """Sounds as one array of log mels (clips, frames, 128) and their frame counts. With `rng` each takes
    a floor by chance, may come from a longer or shorter throat, and may lose bands and moments (SpecAugment)."""
    features = []
    for wave in sounds:
        both = rng.random() < 0.5 if rng is not None else bool(add)
        warped = rng is not None and rng.random() < 0.6
        feature = sound.mel(wave, both, sound.WARPED[rng.integers(len(sound.WARPED))] if warped else sound.FILTERS)
        if rng is not None and rng.random() < 0.5:
            for _ in range(rng.integers(1, 3)):
                band, width = rng.integers(0, 118), rng.integers(2, 14)
                feature[:, band : band + width] = feature.mean()
            for _ in range(rng.integers(0, 3)):
                at, width = rng.integers(0, max(1, len(feature) - 8)), rng.integers(2, 9)
                feature[at : at + width] = feature.mean()
        features.append(feature)
    counts = np.array([len(feature) for feature in features])
    out = np.zeros((len(features), counts.max(), sound.MELS), np.float32)
    for at, feature in enumerate(features):
        out[at, : len(feature)] = feature
    return out, counts
