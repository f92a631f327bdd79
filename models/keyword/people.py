"""Makes of the listening corpus what keywords learn from people: `python people.py OUT [CORPUS]`.

Of the recordings that a model may be trained on, OUT holds shards in the format of `models/nano/data.py`: speech, three
times disguised as somebody else besides, and music. `data.py train` takes OUT for one of its folders of speech. CORPUS is
what `cargo xtask corpus` has made, ../../target/corpus unless said otherwise; ffmpeg reads its files.
"""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np

import data
import disguise
import sound

DISGUISES = 3


def decoded(path, rate):
    """The samples of a sound file, mono at 16 kHz; `rate` is that of a file without a header."""
    source = ["-f", "s16le", "-ar", str(rate), "-ac", "1"] if rate else []
    command = ["ffmpeg", "-v", "error", *source, "-i", path, "-f", "s16le", "-ar", str(data.RATE), "-ac", "1", "-"]
    found = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(found, np.int16).astype(np.float32) / 32768


def shard(out, name, lines, corpus):
    """Recordings, and their disguises if they are speech."""
    rng = random.Random(name)
    with data.nano.Shard(out / name) as kept:
        for line in lines:
            wave = decoded(corpus / line["path"], line.get("rate"))
            about = {"say": line.get("transcript") or "", "kind": line["kind"]}
            if line["kind"] == "music":
                kept.add(wave, about)
                continue
            wave = sound.trimmed(wave)
            kept.add(wave, about)
            if len(wave) > data.RATE // 4:
                for _ in range(DISGUISES):
                    kept.add(disguise.disguised(wave, rng)[0], about)
    print(name, len(lines), flush=True)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    corpus = Path(sys.argv[2]) if len(sys.argv) > 2 else data.HERE.parent.parent / "target" / "corpus"
    out.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in (corpus / "corpus.jsonl").open()]
    for kind in ("speech", "music"):
        shard(out, kind, [line for line in lines if line["kind"] == kind and line["split"] == "training"], corpus)
