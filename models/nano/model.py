"""The architectures of Gemma 4's small models in PyTorch, exactly as llama.cpp computes them.

`Text` is `gemma4` (src/models/gemma4.cpp), `Audio` is `gemma4a` (tools/mtmd/models/gemma4a.cpp), both
with per-layer embeddings, shared KV and chunked attention, at a hundredth of the width.
"""

import math
import os

import torch
import torch.nn.functional as F
from torch import nn

EPS = 1e-6


class Shape:
    """Sizes; what is not here follows from the architecture."""

    vocabulary = 1536
    hidden, ffn, heads, ple = 160, 512, 4, 32
    # Sliding or full attention. The last two layers use the KV of layers 1 and 2.
    sliding = [True, True, False, True, False]
    own_kv = 3
    head = {True: 32, False: 64}
    base = {True: 1e4, False: 1e6}
    window, softcap = 512, 30.0
    audio, audio_layers, audio_heads, audio_ffn = 128, 6, 4, 512
    channels = (32, 16)
    mels = 128


# While training, matrices are 16 bits wide, as autocast has it, on a processor that computes with those; all else has 32.
WIDTH = torch.bfloat16 if os.environ.get("NANO_TRAIN") and torch.cpu._is_avx512_bf16_supported() else torch.float32


def fused(function):
    """Compiled into one loop while training; plain PyTorch elsewhere."""
    return torch.compile(function, dynamic=True) if os.environ.get("NANO_TRAIN") == "fused" else function


def _norm(x, weight):
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * weight


@fused
def norm(x, weight):
    """RMS norm, for a matrix to follow."""
    return _norm(x, weight).to(WIDTH)


@fused
def add_norm(x, update, weight, scale: float):
    """A residual connection with a norm on the update."""
    return x + scale * _norm(update, weight)


@fused
def gated(gate, up):
    """GELU of `gate` times `up`."""
    return (F.gelu(gate.float(), approximate="tanh") * up.float()).to(WIDTH)


@fused
def turned(x, weight, cos, sin):
    """Norm and rotary position of heads: (..., length, dim)."""
    a, b = _norm(x, weight).chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(WIDTH)


@fused
def swish(x):
    return F.silu(x.float()).to(WIDTH)


@fused
def filtered(x, taps, weight):
    """The middle of the convolution module; `x` is (batch, 4 + length, 2 * width), padded in front."""
    a, gate = x.float().chunk(2, -1)
    a = a * torch.sigmoid(gate)
    length = a.shape[1] - 4
    a = (a[:, :length] * taps[:, 0] + a[:, 1 : length + 1] * taps[:, 1] + a[:, 2 : length + 2] * taps[:, 2]
         + a[:, 3 : length + 3] * taps[:, 3] + a[:, 4:] * taps[:, 4])
    return F.silu(_norm(a, weight)).to(WIDTH)


@fused
def weighed(scores, seen):
    """Scores to weights."""
    return torch.softmax(torch.where(seen, scores.float(), -1e9), -1).to(WIDTH)


@fused
def attended(scores, near, seen):
    """Softcapped scores to weights."""
    scores = torch.tanh((scores.float() + near.float()) / 50) * 50
    return torch.softmax(torch.where(seen, scores, -1e9), -1).to(WIDTH)


def gain(size, value=1.0):
    return nn.Parameter(torch.full((size,), value))


def linear(inputs, outputs, scale=1.0):
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=scale / math.sqrt(inputs))
    return layer


class TextLayer(nn.Module):
    """One block of the text model."""

    def __init__(self, s, sliding, own_kv):
        super().__init__()
        self.sliding, self.own_kv, self.heads, self.dim = sliding, own_kv, s.heads, s.head[sliding]
        start = 1.2 * self.dim**-0.25  # the attention scale is 1, so the norms carry it
        self.q, self.out = linear(s.hidden, s.heads * self.dim), linear(s.heads * self.dim, s.hidden)
        self.q_norm = gain(self.dim, start)
        if own_kv:
            self.k, self.v, self.k_norm = linear(s.hidden, self.dim), linear(s.hidden, self.dim), gain(self.dim, start)
            self.register_buffer("one", torch.ones(self.dim), False)  # the values' norm has no weight
        self.attn_norm, self.attn_post, self.ffn_norm, self.ffn_post = gain(s.hidden), gain(s.hidden, 0.5), gain(s.hidden), gain(s.hidden, 0.5)
        self.gate, self.up, self.down = linear(s.hidden, s.ffn), linear(s.hidden, s.ffn), linear(s.ffn, s.hidden)
        self.ple_gate, self.ple_out, self.ple_post = linear(s.hidden, s.ple), linear(s.ple, s.hidden), gain(s.hidden, 0.3)
        self.scale = gain(1)

    def forward(self, x, ple, rotary, mask, kv):
        batch, length, _ = x.shape
        h = norm(x, self.attn_norm)
        q = turned(self.q(h).view(batch, length, self.heads, self.dim).transpose(1, 2), self.q_norm, *rotary)
        if self.own_kv:
            kv = (turned(self.k(h), self.k_norm, *rotary), norm(self.v(h), self.one))
        k, v = kv
        if length < 512:
            # All heads share the keys, so they are rows of one product; PyTorch's own attention is slower at this size.
            a = weighed((q.reshape(batch, -1, self.dim) @ k.transpose(1, 2)).view(batch, -1, length, length), mask)
            a = (a.view(batch, -1, length) @ v).view(batch, self.heads, length, self.dim)
        else:
            k, v = (t[:, None].expand(-1, self.heads, -1, -1) for t in kv)
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)
        x = add_norm(x, self.out(a.transpose(1, 2).reshape(batch, length, -1)), self.attn_post, 1.0)
        h = norm(x, self.ffn_norm)
        x = add_norm(x, self.down(gated(self.gate(h), self.up(h))), self.ffn_post, 1.0)
        x = add_norm(x, self.ple_out(gated(self.ple_gate(x), ple)), self.ple_post, 1.0)
        return x * self.scale, kv


class Text(nn.Module):
    """Embeddings in, hidden states out; `logits` turns those into scores."""

    def __init__(self, s=Shape):
        super().__init__()
        self.s, layers = s, len(s.sliding)
        self.embed = nn.Embedding(s.vocabulary, s.hidden)
        self.ple = nn.Embedding(s.vocabulary, s.ple * layers)
        nn.init.normal_(self.embed.weight, std=s.hidden**-0.5)
        nn.init.normal_(self.ple.weight, std=s.ple**-0.5)
        self.ple_proj, self.ple_norm = linear(s.hidden, s.ple * layers), gain(s.ple)
        self.layers = nn.ModuleList(TextLayer(s, sliding, at < s.own_kv) for at, sliding in enumerate(s.sliding))
        self.final = gain(s.hidden)

    def rotary(self, length, sliding):
        half = self.s.head[sliding] // 2
        device = self.final.device
        rate = self.s.base[sliding] ** (-torch.arange(half, device=device) / half)
        if not sliding:
            rate[half // 4 :] = 0  # full layers turn a quarter of their pairs
        angle = torch.arange(length, device=device)[:, None] * rate
        return angle.cos(), angle.sin()

    def embed_tokens(self, tokens):
        return self.embed(tokens) * math.sqrt(self.s.hidden)

    def forward(self, x, tokens):
        """`x` (batch, length, hidden) embeddings; `tokens` has 0 where a row is not a token."""
        s, (batch, length, _) = self.s, x.shape
        projected = _norm((self.ple_proj(x) / math.sqrt(s.hidden)).view(batch, length, len(self.layers), s.ple), self.ple_norm)
        ple = (projected + (self.ple(tokens) * math.sqrt(s.ple)).view_as(projected)) / math.sqrt(2)
        at = torch.arange(length, device=x.device)
        ago = at[:, None] - at
        seen = {True: (ago >= 0) & (ago < s.window), False: ago >= 0}
        rotary = {sliding: self.rotary(length, sliding) for sliding in (True, False)}
        kept = {}
        for at, layer in enumerate(self.layers):
            x, kv = layer(x, ple[:, :, at], rotary[layer.sliding], seen[layer.sliding], kept.get(layer.sliding))
            kept[layer.sliding] = kv
        return norm(x, self.final)

    def logits(self, hidden):
        scores = F.linear(hidden, self.embed.weight).float()
        return torch.tanh(scores / self.s.softcap) * self.s.softcap


class Feed(nn.Module):
    """Half-step feed-forward of a conformer block."""

    def __init__(self, s):
        super().__init__()
        self.norm, self.post = gain(s.audio), gain(s.audio)
        self.up, self.down = linear(s.audio, s.audio_ffn), linear(s.audio_ffn, s.audio)

    def forward(self, x):
        return add_norm(x, self.down(swish(self.up(norm(x, self.norm)))), self.post, 0.5)


class LocalAttention(nn.Module):
    """Attention to oneself and the eleven frames before, with relative positions."""

    CHUNK, PAST = 12, 12

    def __init__(self, s):
        super().__init__()
        self.heads, self.dim = s.audio_heads, s.audio // s.audio_heads
        self.pre, self.post = gain(s.audio), gain(s.audio, 0.5)
        self.q, self.k, self.v, self.out, self.rel = (linear(s.audio, s.audio) for _ in range(5))
        self.per_dim = nn.Parameter(torch.zeros(self.dim))
        half = s.audio // 2
        rate = torch.exp(-torch.arange(half) * (math.log(10000) / (half - 1)))
        angle = torch.arange(self.PAST + 1)[:, None] * rate
        self.register_buffer("positions", torch.cat([angle.sin(), angle.cos()], 1), False)  # row d: d frames ago
        q, k = torch.arange(self.CHUNK)[:, None], torch.arange(self.CHUNK + self.PAST)
        ago = q + self.PAST - k
        self.register_buffer("ago", ago.clamp(0, self.PAST), False)
        self.register_buffer("seen", (ago >= 0) & (ago < self.PAST), False)

    def forward(self, x):
        batch, length, width = x.shape
        chunks = -(-length // self.CHUNK)
        h = norm(x, self.pre)
        q = self.q(h).view(batch, length, self.heads, self.dim)
        q = q * (F.softplus(self.per_dim) * (self.dim**-0.5 / math.log(2))).to(q.dtype)
        k = self.k(h).view(batch, length, self.heads, self.dim) * (math.log(1 + math.e) / math.log(2))
        v = self.v(h).view(batch, length, self.heads, self.dim)
        pad = chunks * self.CHUNK - length
        q = F.pad(q, (0, 0, 0, 0, 0, pad)).view(batch, chunks, self.CHUNK, self.heads, self.dim).permute(0, 1, 3, 2, 4)
        window = lambda t: F.pad(t, (0, 0, 0, 0, self.PAST, pad)).unfold(1, self.CHUNK + self.PAST, self.CHUNK)
        k, v = window(k), window(v)  # (batch, chunks, heads, dim, context)
        rel = self.rel(self.positions).view(-1, self.heads, self.dim).permute(1, 2, 0).to(q.dtype)
        near = (q @ rel).gather(-1, self.ago.expand(batch, chunks, self.heads, -1, -1))
        start = torch.arange(chunks, device=x.device)[:, None, None] * self.CHUNK - self.PAST
        seen = self.seen & (start + torch.arange(self.CHUNK + self.PAST, device=x.device) >= 0)
        a = attended(q @ k, near, seen[:, None]) @ v.transpose(-1, -2)
        a = a.permute(0, 1, 3, 2, 4).reshape(batch, chunks * self.CHUNK, width)[:, :length]
        return add_norm(x, self.out(a), self.post, 1.0)


class Convolution(nn.Module):
    """Causal depthwise convolution over five frames."""

    def __init__(self, s):
        super().__init__()
        self.norm, self.mid = gain(s.audio), gain(s.audio)
        self.in_, self.out = linear(s.audio, 2 * s.audio), linear(s.audio, s.audio, 0.5)
        self.taps = nn.Parameter(torch.randn(s.audio, 5) * 5**-0.5)

    def forward(self, x):
        padded = F.pad(self.in_(norm(x, self.norm)), (0, 0, 4, 0))
        return x + self.out(filtered(padded, self.taps, self.mid))


class AudioLayer(nn.Module):
    """One conformer block."""

    def __init__(self, s):
        super().__init__()
        self.feed1, self.attention, self.convolution, self.feed2 = Feed(s), LocalAttention(s), Convolution(s), Feed(s)
        self.norm = gain(s.audio)

    def forward(self, x):
        return _norm(self.feed2(self.convolution(self.attention(self.feed1(x)))), self.norm)


class Audio(nn.Module):
    """Mel frames in, rows of the text model's width out, one for four frames."""

    def __init__(self, s=Shape):
        super().__init__()
        first, second = s.channels
        self.conv1 = nn.Conv2d(1, first, 3, 2, 1, bias=False)
        self.conv2 = nn.Conv2d(first, second, 3, 2, 1, bias=False)
        self.norm1, self.norm2 = gain(first), gain(second)
        self.in_ = linear(second * s.mels // 4, s.audio)
        self.layers = nn.ModuleList(AudioLayer(s) for _ in range(s.audio_layers))
        self.out = nn.Linear(s.audio, s.hidden)
        self.project = linear(s.hidden, s.hidden)
        self.register_buffer("one", torch.ones(s.hidden), False)

    def forward(self, mel, frames):
        """`mel` (batch, frames, 128), zero after each clip's `frames`. Also gives the last block's output."""
        x = self.stage(mel[:, None].to(memory_format=torch.channels_last), self.conv1, self.norm1)
        counts = (frames - 1) // 2 + 1
        x = x * (torch.arange(x.shape[2], device=x.device)[None] < counts[:, None])[:, None, :, None]
        x = self.stage(x, self.conv2, self.norm2)
        x = self.in_(x.permute(0, 2, 3, 1).flatten(2))
        for layer in self.layers:
            x = layer(x)
        return self.project(norm(self.out(x), self.one)), x

    @staticmethod
    def stage(x, conv, weight):
        x = conv(x).permute(0, 2, 3, 1)
        return F.relu(F.layer_norm(x.float(), (x.shape[-1],), weight, None, EPS)).permute(0, 3, 1, 2)


def rows(frames):
    """Rows that so many mel frames make."""
    for _ in range(2):
        frames = (frames - 1) // 2 + 1
    return frames


def frames_of(samples):
    """Mel frames that so many samples make."""
    return max(1, (samples + 160 - 320 - 1) // 160 + 1)


class Nano(nn.Module):
    """Both halves, and the helper that names phonemes in training."""

    def __init__(self):
        super().__init__()
        self.text, self.audio = Text(), Audio()
        self.names = nn.Linear(Shape.audio, 96)

    def heard(self, mel, frames, ids, start):
        """Embeddings of rows with sound put in place, and the encoder's last block."""
        sound_rows, encoded = self.audio(mel, frames)
        x = self.text.embed_tokens(ids)
        counts = rows(frames)
        at = torch.arange(sound_rows.shape[1], device=x.device)[None]
        inside, where = at < counts[:, None], start[:, None] + at
        batch = torch.arange(len(ids), device=x.device)[:, None].expand_as(where)
        x = x.index_put((batch[inside], where[inside]), sound_rows[inside].to(x.dtype))
        return x, encoded

    def score(self, x, ids, wanted):
        """Scores of the rows the model must write, and those rows."""
        hidden = self.text(x, ids)
        here = wanted[:, 1:]
        return self.text.logits(hidden[:, :-1][here]), ids[:, 1:][here]
