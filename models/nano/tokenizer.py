"""A small tokenizer of Gemma 4's kind, and the prompts that the chat template makes.

Byte pair encoding over whole lines, spaces written as ▁, bytes as a last resort, all of Gemma 4's
control tokens. llama.cpp reads it as `tokenizer.ggml.model = "gemma4"` and computes the same.
"""

import json
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path

import jinja2

# In the order of their ids; the type is 3 (control) unless given: 4 is "user-defined", as in Gemma 4 files.
SPECIAL = {
    "<pad>": 3, "<eos>": 3, "<bos>": 3, "<unk>": 3, "<mask>": 3, "<|tool>": 3, "<tool|>": 3, "<|tool_call>": 4,
    "<tool_call|>": 4, "<|tool_response>": 3, "<tool_response|>": 3, '<|"|>': 4, "<|think|>": 3, "<|channel>": 4,
    "<channel|>": 4, "<|turn>": 3, "<turn|>": 3, "<|image>": 3, "<|image|>": 3, "<image|>": 3, "<|audio>": 3,
    "<|audio|>": 3, "<audio|>": 3,
}
SIZE = 1536
_SPLIT = re.compile("(" + "|".join(re.escape(token) for token in SPECIAL) + ")")
_UNIT = re.compile(r"call:\w+\{|declaration:|response:|description:|parameters:|properties:|required:|[{,]?[a-z_]+:|▁?[A-Za-z_']+|▁?\d|▁?[^\sA-Za-z0-9▁_]|▁")


class Tokenizer:
    """Vocabulary and merges."""

    def __init__(self, tokens, merges):
        self.tokens, self.merges = tokens, merges
        self.ids = {token: at for at, token in enumerate(tokens)}
        self.ranks = {tuple(merge): at for at, merge in enumerate(merges)}
        self.line = lru_cache(200000)(self._line)

    @classmethod
    def load(cls, path):
        data = json.loads(Path(path).read_text())
        return cls(data["tokens"], data["merges"])

    def save(self, path):
        Path(path).write_text(json.dumps({"tokens": self.tokens, "merges": self.merges}, ensure_ascii=False))

    @classmethod
    def train(cls, texts, prompts):
        """From `texts`, a Counter, with each line of `prompts` made one token."""
        units = Counter()
        for text, count in texts.items():
            for part in _SPLIT.split(text):
                if part not in SPECIAL:
                    for unit in _UNIT.findall(part.replace(" ", "▁")):
                        units[unit] += count
        tokens = list(SPECIAL) + [f"<0x{byte:02X}>" for byte in range(256)]
        tokens += ["\n", "▁"] + [chr(code) for code in range(33, 127)]
        known, merges = set(tokens), []
        spelled = {unit: list(unit) for unit in units}
        lines = {line.replace(" ", "▁") for prompt in prompts for line in prompt.split("\n") if line}
        while len(tokens) < SIZE:
            reserve = sum(len(cls(tokens, merges).line(line)) for line in lines) if len(tokens) % 100 == 0 else 0
            if len(tokens) + reserve > SIZE - 20 and reserve:
                break
            if len(tokens) + 190 > SIZE:
                break
            pairs = Counter()
            for unit, symbols in spelled.items():
                for pair in zip(symbols, symbols[1:]):
                    pairs[pair] += units[unit]
            if not pairs:
                break
            pair, count = pairs.most_common(1)[0]
            merges.append(list(pair))
            joined = "".join(pair)
            if joined not in known:
                known.add(joined)
                tokens.append(joined)
            for unit, symbols in spelled.items():
                if len(symbols) > 1:
                    spelled[unit] = merge(symbols, pair)
        for line in sorted(lines):
            pieces = cls(tokens, merges).pieces(line)
            while len(pieces) > 1 and len(tokens) < SIZE:
                merges.append(pieces[:2])
                tokens.append("".join(pieces[:2]))
                pieces = ["".join(pieces[:2])] + pieces[2:]
        while len(tokens) < SIZE:
            tokens.append(f"<unused{len(tokens)}>")
        return cls(tokens, merges)

    def pieces(self, line):
        """Byte pair encoding of one line: the merge of the lowest rank first, from the left."""
        symbols = list(line)
        while len(symbols) > 1:
            best = min(zip(symbols, symbols[1:]), key=lambda pair: self.ranks.get(pair, 1 << 30))
            if best not in self.ranks:
                break
            symbols = merge(symbols, best)
        return symbols

    def _line(self, line):
        ids = []
        for piece in self.pieces(line):
            if piece in self.ids:
                ids.append(self.ids[piece])
            else:
                ids += [self.ids[f"<0x{byte:02X}>"] for byte in piece.encode()]
        return ids

    def encode(self, text, special=True):
        """Token ids of a text; control tokens in it count when `special`."""
        ids = []
        for part in _SPLIT.split(text) if special else [text]:
            if part in SPECIAL:
                ids.append(self.ids[part])
            else:
                for line in re.findall(r"[^\n]+|\n", part.replace(" ", "▁")):
                    ids += self.line(line)
        return ids

    def decode(self, ids):
        """The text of token ids."""
        out = b""
        for token in (self.tokens[at] for at in ids):
            out += bytes([int(token[3:5], 16)]) if re.fullmatch(r"<0x..>", token) else token.replace("▁", " ").encode()
        return out.decode("utf-8", "replace")

    def types(self):
        """Token types of a GGUF."""
        kinds = []
        for at, token in enumerate(self.tokens):
            kinds.append(SPECIAL.get(token, 6 if at < len(SPECIAL) + 256 else 5 if token.startswith("<unused") else 1))
        return kinds


def merge(symbols, pair):
    """`symbols` with each occurrence of `pair` joined."""
    out, at = [], 0
    while at < len(symbols):
        if at + 1 < len(symbols) and symbols[at] == pair[0] and symbols[at + 1] == pair[1]:
            out.append(pair[0] + pair[1])
            at += 2
        else:
            out.append(symbols[at])
            at += 1
    return out


TEMPLATE = (Path(__file__).parent / "chat_template.jinja").read_text()
_ENVIRONMENT = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
_COMPILED = _ENVIRONMENT.from_string(TEMPLATE)


def prompt(messages, tools=None, thinking=False, generate=True):
    """The prompt of `messages`, as any runtime that renders the template makes it."""
    return _COMPILED.render(messages=messages, tools=tools, enable_thinking=thinking, add_generation_prompt=generate, bos_token="<bos>")
