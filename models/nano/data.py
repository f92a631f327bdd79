"""Makes the training speech, and the held-out sets with their sound files and manifests.

`python data.py train OUT [UTTERANCES]` writes shards: 16-bit samples and a line of JSON for each
utterance. `python data.py evaluate OUT` writes OUT/evaluation/SET.jsonl, whose lines hold `audio`
(a WAV file) or `text`, `prompt`, `expected`, `say` and `set`. What is said, and the evaluation's sound,
is the same whenever they run; Joe draws his rhythm anew.
"""

import json
import multiprocessing
import random
import sys
from pathlib import Path

import numpy as np
from scipy.io import wavfile

import catalogue as language
import sound
import speech

ASR_PROMPT = """Transcribe the following speech segment in English into English text.

Follow these specific instructions for formatting the answer:
* Only output the transcription, with no newlines.
* When transcribing numbers, write the digits, i.e. write 1.7 and not one point seven, and write 3 instead of three."""

MIX = {"command": 0.45, "list": 0.05, "compound": 0.10, "small": 0.04, "near": 0.14, "spliced": 0.08, "other": 0.05, "read": 0.05, "cut": 0.04}


def valid_sentences(catalogue):
    """Sentences that are whole commands, so that no beginning of a longer one is taken for a piece."""
    rng = random.Random(5)
    return {catalogue.sample(rng).say for _ in range(30000)}


def draw(catalogue, talk, valid, rng, kind=None):
    """An utterance for training: nothing that is held out."""
    while True:
        chosen = kind or rng.choices(list(MIX), MIX.values())[0]
        if chosen == "command":
            utterance = language.command(catalogue, rng, 0.08)
        elif chosen == "list":
            utterance = language.listing(catalogue, rng)
        elif chosen == "compound":
            utterance = language.compound(catalogue, rng)
        elif chosen == "cut":
            utterance = language.cut_off(catalogue, rng, valid)
        elif chosen == "spliced":
            utterance = language.spliced(catalogue, talk, rng, valid)
        else:
            utterance = talk.sample(chosen, rng)
        if not catalogue.holds_out(utterance) and not language.held_out_wording(utterance):
            return utterance


def record(utterance):
    """An utterance as a line of JSON."""
    return {"say": utterance.say, "written": language.written(utterance.say), "answer": utterance.answer(),
            "kind": utterance.kind}


# Who speaks how much: those who are quick, and those who take a hundred times as long (networks).
QUICK = {"espeak": 0.60, "pico": 0.18, "flite": 0.22}
SLOW = {"joe": 0.9, "kokoro": 0.1}


class Speakers:
    """Everybody whose speech is trained on; `share` names some and how much each says."""

    def __init__(self, share):
        self.share, self.espeak = share, speech.Espeak()
        others = {"flite": speech.Flite, "pico": speech.Pico, "joe": speech.Joe, "kokoro": speech.Kokoro}
        self.others = {name: others[name]() for name in share if name in others}

    def say(self, text, rng):
        """`text` by one of them: 16 kHz samples, and the phonemes where they are known."""
        name = rng.choices(list(self.share), self.share.values())[0]
        if name == "espeak":
            voice = f"{rng.choice(speech.ACCENTS)}+{rng.choice(speech.TRAINED)}"
            return self.espeak.say(text, voice, rng.randint(125, 215), rng.randint(25, 75), rng.randint(30, 70))
        engine = self.others[name]
        if name == "joe":
            return engine.say(self.espeak.ipa(text), rng.uniform(0.8, 1.3), rng.uniform(0.3, 0.9)), []
        if name == "kokoro":
            weights = [rng.random() ** 3 for _ in engine.voices]
            return engine.say(self.espeak.ipa(text), rng.uniform(0.8, 1.3), [weight / sum(weights) for weight in weights]), []
        if name == "pico":
            return engine.say(text, rng.choice(speech.PICO), rng.randint(80, 135), rng.randint(80, 135)), []
        voice = rng.choices(list(speech.FLITE), [share for share, _ in speech.FLITE.values()])[0]
        return engine.say(text, voice, rng.uniform(0.75, 1.35), rng.uniform(0.8, 1.4)), []


class Shard:
    """Recordings in a row: 16-bit samples at a peak of 20000, and, once all are there, a line of JSON about each."""

    def __init__(self, path):
        self.path, self.offset, self.lines = path, 0, []

    def __enter__(self):
        self.samples = open(self.path.with_suffix(".i16"), "wb")
        return self

    def add(self, wave, about, **more):
        """Appends a recording; its line holds `about`, `offset`, `samples` and `more`."""
        wave = np.clip(wave / (np.abs(wave).max() + 1e-6) * 20000, -32768, 32767).astype(np.int16)
        self.samples.write(wave.tobytes())
        self.lines.append(json.dumps(about | {"offset": self.offset, "samples": len(wave)} | more) + "\n")
        self.offset += len(wave)

    def __exit__(self, kind, *_):
        self.samples.close()
        if kind is None:
            self.path.with_suffix(".jsonl").write_text("".join(self.lines))


def speak_shard(job):
    """One shard of training speech."""
    folder, number, count, share = job
    rng = random.Random(1000 + number)
    catalogue, talk = language.Catalogue(), language.Talk()
    valid = valid_sentences(catalogue)
    speakers = Speakers(share)
    with Shard(folder / f"shard-{number}") as shard:
        for _ in range(count):
            utterance = draw(catalogue, talk, valid, rng)
            wave, phonemes = speakers.say(utterance.say, rng)
            if utterance.kind == "cut":
                wave = sound.trimmed(wave)
                wave = wave[: -int(speech.RATE * rng.uniform(0.03, 0.12))]
            shard.add(wave, record(utterance), phonemes=[[round(t, 3), p] for t, p in phonemes])
    return number


def train(folder, count):
    """All training speech, an eighth of it by the networks, in 16 shards by all cores. Shards that are
    there already stay."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(folder, number, count // 16, SLOW if number < 2 else QUICK) for number in range(16)]
    jobs = [job for job in jobs if not (folder / f"shard-{job[1]}.jsonl").exists()]
    with multiprocessing.Pool() as pool:
        for number in pool.imap_unordered(speak_shard, jobs, 1):
            print("shard", number, flush=True)


def save(folder, name, at, wave):
    """A WAV file of an evaluation set; its path relative to the manifest."""
    path = f"{name}/{at:04}.wav"
    (folder / name).mkdir(exist_ok=True)
    wavfile.write(folder / path, speech.RATE, np.clip(wave * 32767, -32768, 32767).astype(np.int16))
    return path


def manifest(folder, name, lines):
    """Writes a set."""
    with open(folder / f"{name}.jsonl", "w") as file:
        for line in lines:
            file.write(json.dumps({"set": name} | line) + "\n")
    print(name, len(lines), flush=True)


def expected(utterance, path, prompt=""):
    """The line of a spoken utterance."""
    wanted = language.written(utterance.say) if prompt else utterance.answer()
    return {"audio": path, "prompt": prompt, "expected": wanted, "say": utterance.say}


def evaluate(folder):
    """The held-out sets."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, noise = random.Random(77), np.random.default_rng(77)
    catalogue, talk = language.Catalogue(), language.Talk()
    valid = valid_sentences(catalogue)
    espeak = speech.Espeak()

    def held_out_voice(utterance):
        voice = f"{rng.choice(speech.ACCENTS)}+{rng.choice(speech.HELD_OUT)}"
        wave, _ = espeak.say(utterance.say, voice, rng.randint(135, 195), rng.randint(35, 65))
        return sound.pause(wave / np.abs(wave).max() * 0.5, 0.1, 0.2)

    def commands(count, keep=lambda utterance: True):
        chosen = []
        while len(chosen) < count:
            utterance = language.compound(catalogue, rng) if rng.random() < 0.1 else language.command(catalogue, rng)
            if utterance.calls and keep(utterance):
                chosen.append(utterance)
        return chosen

    trained = lambda u: not catalogue.holds_out(u) and not language.held_out_wording(u)
    said = commands(500, trained)
    waves = [held_out_voice(utterance) for utterance in said]
    manifest(folder, "voices", [expected(u, save(folder, "voices", at, wave)) for at, (u, wave) in enumerate(zip(said, waves))])
    noisy = []
    for at, (utterance, wave) in enumerate(zip(said, waves)):
        other = sound.noise(len(wave), noise)
        if at % 2:
            other = np.resize(waves[(at + 1) % len(waves)] + np.resize(waves[(at + 7) % len(waves)], waves[(at + 1) % len(waves)].shape), len(wave))
        noisy.append(expected(utterance, save(folder, "voices_10db", at, sound.mix(wave, other, 10) * 0.5)))
    manifest(folder, "voices_10db", noisy)

    # Words of the first 300, and of as many sentences that are no commands.
    words = [expected(u, f"voices/{at:04}.wav", ASR_PROMPT if at % 2 else "Transcribe.") for at, u in enumerate(said[:300])]
    manifest(folder, "transcripts", words)
    others = [talk.sample(rng.choice(["near", "other"]), rng) for _ in range(200)]
    others += [u for u in (talk.sample("read", rng) for _ in range(4000)) if language.held_out_wording(u)][:100]
    lines = [expected(u, save(folder, "transcripts_other", at, held_out_voice(u)), ASR_PROMPT) for at, u in enumerate(others)]
    manifest(folder, "transcripts_other", lines)

    said = commands(400, lambda u: catalogue.holds_out(u) and len(u.calls) == 1)
    lines = [expected(u, save(folder, "combos", at, held_out_voice(u))) for at, u in enumerate(said)]
    manifest(folder, "combos", lines)

    said = commands(200, trained)
    lines = []
    for part, voice in enumerate(speech.FESTIVAL):
        chosen = said[part * 100 : part * 100 + 100]
        for at, (utterance, wave) in enumerate(zip(chosen, speech.festival([u.say for u in chosen], voice))):
            wave = sound.pause(wave / np.abs(wave).max() * 0.5, 0.1, 0.2)
            lines.append(expected(utterance, save(folder, "other_engine", part * 100 + at, wave)) | {"voice": voice})
    manifest(folder, "other_engine", lines)

    chosen = []
    while len(chosen) < 600:
        kind = ["near", "other", "read", "cut"][len(chosen) % 4]
        utterance = language.cut_off(catalogue, rng, valid) if kind == "cut" else talk.sample(kind, rng)
        if kind == "cut" or language.held_out_wording(utterance):
            chosen.append(utterance)
    lines = [expected(u, save(folder, "out_of_domain", at, held_out_voice(u))) | {"kind": u.kind} for at, u in enumerate(chosen)]
    manifest(folder, "out_of_domain", lines)

    silent = talk.data["unheard"]
    lines = [{"audio": save(folder, "no_speech", at, sound.nothing(noise)), "prompt": "", "expected": silent, "say": ""} for at in range(200)]
    manifest(folder, "no_speech", lines)

    texts = []
    while len(texts) < 500:
        utterance = language.command(catalogue, rng)
        if utterance.calls and language.held_out_wording(utterance) and not catalogue.holds_out(utterance):
            text = language.written(utterance.say) if rng.random() < 0.5 else utterance.say
            texts.append({"text": text, "prompt": "", "expected": utterance.answer(), "say": utterance.say})
    manifest(folder, "text", texts)


if __name__ == "__main__":
    if sys.argv[1] == "train":
        train(Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 48000)
    else:
        evaluate(Path(sys.argv[2]) / "evaluation")
