"""Makes the speech that keywords are trained on and judged with.

`python data.py train [OUT [CLIPS [SPEECH...]]]` writes OUT/speech (each keyword, and what sounds like it,
spoken alone), OUT/others (more sentences by more people than nano has) and OUT/features (embeddings of scenes made of
these clips, and of long streams without a keyword). SPEECH are folders that `models/nano/data.py train` has filled:
what else people say. Files that are there already stay. `python data.py evaluate [OUT]` writes OUT/evaluation: WAV
files and their manifests, by voices and with sentences of their own. OUT is ../../target/keyword unless said otherwise.
"""

import importlib.util
import json
import random
import re
import sys
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from scipy.io import wavfile

HERE = Path(__file__).parent
NANO = HERE.parent / "nano"
sys.path.append(str(NANO))

import catalogue as language
import features
import sound
import speech
from keywords import ENDING, KEYWORDS

# Nano's own data.py, which has this file's name.
_spec = importlib.util.spec_from_file_location("nano_data", NANO / "data.py")
nano = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(nano)

RATE = speech.RATE
WORDNET = Path("/usr/share/wordnet")
# Words of other languages, as Debian's packages have them, and who of espeak-ng's says them.
WORDS = Path("/usr/share/dict")
LANGUAGES = {
    "bokmaal": "gmq/nb", "bulgarian": "zls/bg", "catalan": "roa/ca", "danish": "gmq/da", "dutch": "gmw/nl", "french": "roa/fr",
    "italian": "roa/it", "ngerman": "gmw/de", "polish": "zlw/pl", "portuguese": "roa/pt", "spanish": "roa/es", "swedish": "gmq/sv",
    "ukrainian": "zle/uk",
}
OUT = HERE.parent.parent / "target" / "keyword"
# Who says how much. The two networks learned from people, and are slow.
SHARE = {"espeak": 0.34, "pico": 0.12, "flite": 0.20, "rhvoice": 0.26, "joe": 0.07, "kokoro": 0.01}
# How many clips somebody else is made of.
DISGUISED = 0.45
# Shards of a thousand sentences that others say.
SHARDS = 24
# Variants of espeak-ng that speak in every sixth shard of clips, which is kept aside, and in no other.
ASIDE = ["Andy", "Mr", "Storm", "f2", "klatt5", "m7", "quincy", "steph2"]
OTHERS = [name for name in speech.TRAINED if name not in ASIDE]
SHARE_ASIDE = {"espeak": 0.75, "flite": 0.25}


def bounds(wave):
    """Where speech begins and ends in a clip, in samples: 10 ms pieces within 35 dB of the loudest."""
    power = (wave[: len(wave) // 160 * 160].reshape(-1, 160) ** 2).mean(1)
    loud = np.flatnonzero(power > power.max() * 10**-3.5)
    return loud[0] * 160, (loud[-1] + 1) * 160


def before_pause(phonemes):
    """The phonemes up to the first pause."""
    return next((at for at, (_, name) in enumerate(phonemes) if name.startswith("_")), len(phonemes))


def with_command(say, phrase, tail):
    """The phrase and, without a pause, a sentence; and the sample at which the phrase ends, by espeak's
    phonemes. `say` speaks a text always alike."""
    count = before_pause(say(phrase)[1])
    wave, phonemes = say(f"{phrase} {tail}")
    return wave, int(phonemes[min(count, len(phonemes) - 1)][0] * RATE)


class Voices:
    """Whoever speaks a shard: those that are trained on, or those that are kept aside. `share` names the synthesisers
    and how much each says."""

    def __init__(self, aside, share):
        self.variants, self.share = ASIDE if aside else OTHERS, share
        self.nano = nano.Speakers(share)

    def espeak(self, rng, accents=speech.ACCENTS):
        """Says texts with one of espeak-ng's voices, always alike: samples and phonemes."""
        voice = f"{rng.choice(accents)}+{rng.choice(self.variants)}"
        manner = rng.randint(125, 215), rng.randint(20, 80), rng.randint(25, 75)
        return lambda text: self.nano.espeak.say(text, voice, *manner)

    def say(self, text, rng):
        """`text` by anyone."""
        name = rng.choices(list(self.share), self.share.values())[0]
        if name == "espeak":
            return self.espeak(rng)(text)[0]
        if name == "rhvoice":
            return speech.rhvoice(text, rng.choice(speech.RHVOICE), rng.randint(75, 140), rng.randint(75, 130))
        self.nano.share = {name: 1}
        return self.nano.say(text, rng)[0]


def speak(studio, keyword, number, count):
    """A shard of clips: half the keyword, half what sounds like it. A line of JSON holds `say`, `offset`,
    `samples` and `end`: the sample at which the keyword ends, 0 where there is none."""
    path = studio.out / "speech" / f"{keyword.name}-{number}"
    if path.with_suffix(".jsonl").exists():
        return
    rng = random.Random(f"{keyword.name} {number}")
    commands, voices = language.Catalogue(), studio.voices(is_aside(number))
    with nano.Shard(path) as shard:
        for at in range(count):
            tail, end = "", 0
            text = rng.choices(list(keyword.phrases), keyword.phrases.values())[0] if at % 2 == 0 else rng.choice(keyword.near)
            if rng.random() < 0.2:
                tail = language.command(commands, rng).say
            if at % 2 == 0 and tail and not keyword.avoid.search(tail):
                wave, end = with_command(voices.espeak(rng), text, tail)
                begin, last = bounds(wave)
            else:
                mark = rng.choice(["", "", "!", "?", "."])
                wave = voices.say(f"{text} {tail}" if tail and at % 2 else text + mark, rng)
                begin, last = bounds(wave)
                end = last if at % 2 == 0 else 0
            wave, end = wave[begin : last + 320], max(0, int(end - begin))
            if not is_aside(number) and rng.random() < DISGUISED:
                wave, end = studio.disguised(wave, rng, end)
            shard.add(wave, {"say": text}, end=end)
    print(path.name, flush=True)


@cache
def wordnet():
    """What WordNet's authors wrote to show how its words are used: some forty thousand sentences, none where it is not
    installed."""
    files = sorted(WORDNET.glob("data.*"))
    quoted = [text for path in files for text in re.findall(r'"([^"]{12,120})"', path.read_text(errors="replace"))]
    return sorted({text for text in quoted if not re.search(r"[^A-Za-z' ,;.!?-]", text)})


def others(studio, number, count=1000):
    """A shard of what else people say, by all voices: WordNet's sentences, and more of those like nano's."""
    path = studio.others / f"shard-{number}"
    if path.with_suffix(".jsonl").exists():
        return
    rng, voices, book = random.Random(f"others {number}"), studio.voices(False), wordnet()
    commands, chatter = language.Catalogue(), language.Talk()
    valid = nano.valid_sentences(commands)
    with nano.Shard(path) as shard:
        for _ in range(count):
            kind = rng.choice(["command", "near", "other", "read", "read", "small"])
            say = rng.choice(book) if book and rng.random() < 0.6 else nano.draw(commands, chatter, valid, rng, kind).say
            wave = voices.say(say, rng)
            if rng.random() < 0.3:
                wave, _ = studio.disguised(wave, rng)
            shard.add(sound.trimmed(wave), {"say": say})
    print(path.name, flush=True)


@cache
def dictionary(name):
    """The words of one of LANGUAGES; none where its package is not installed."""
    path = WORDS / name
    return [word for word in path.read_text(errors="replace").split() if word.isalpha()] if path.exists() else []


def foreign(studio, number, count=1000):
    """A shard of words of other languages, a few in a row: sounds that English has not, and words that end as it does
    not."""
    path = studio.others / f"foreign-{number}"
    names = [name for name in LANGUAGES if dictionary(name)]
    if path.with_suffix(".jsonl").exists() or not names:
        return
    rng, voices = random.Random(f"foreign {number}"), studio.voices(False)
    with nano.Shard(path) as shard:
        for _ in range(count):
            name = rng.choice(names)
            say = " ".join(rng.choices(dictionary(name), k=rng.randint(1, 8)))
            wave, _ = voices.espeak(rng, [LANGUAGES[name]])(say)
            if rng.random() < 0.3:
                wave, _ = studio.disguised(wave, rng)
            shard.add(sound.trimmed(wave), {"say": say})
    print(path.name, flush=True)


class Recordings:
    """Spoken sentences of nano's training and of people, without those that hold what is to be avoided; and music."""

    def __init__(self, folders, avoid=ENDING):
        self.lines, self.people, self.pieces, self.tunes = [], [], [], []
        for path in sorted(path for folder in folders for path in Path(folder).glob("*.jsonl")):
            samples = np.memmap(path.with_suffix(".i16"), np.int16, "r")
            for line in map(json.loads, path.open()):
                kind, where = line.get("kind"), (samples, line["offset"], line["samples"])
                if not avoid.search(line["say"]):
                    (self.pieces if kind == "music" else self.lines).append(where)
                    self.people += [where] if kind == "speech" else []

    def one(self, rng, lines=None):
        """Somebody's sentence, at a peak of 0.6: one of `lines`, or of all."""
        lines = lines or self.lines
        samples, offset, count = lines[rng.integers(len(lines))]
        return samples[offset : offset + count].astype(np.float32) / 32768

    def music(self, count, rng):
        """A piece of music that people made, or of one of twenty tunes, which take long to make."""
        if self.pieces and rng.random() < 0.6:
            samples, offset, length = self.pieces[rng.integers(len(self.pieces))]
            at = offset + int(rng.integers(max(1, length - count)))
            piece = np.resize(samples[at : min(at + count, offset + length)].astype(np.float32), count)
            return piece / (piece.std() + 1e-6)
        if not self.tunes:
            self.tunes = [sound.music(60 * RATE, rng) for _ in range(20)]
        tune = self.tunes[rng.integers(20)]
        return np.resize(np.roll(tune, -int(rng.integers(len(tune)))), count)

    def television(self, count, rng):
        """Somebody talks on, over others or over music."""
        wave = np.zeros(count, np.float32)
        for voice in range(rng.integers(1, 3)):
            at = -int(rng.integers(RATE))
            while at < count:
                said = self.one(rng)[max(0, -at) :] * (0.4 if voice else 1)
                piece = said[: count - max(0, at)]
                wave[max(0, at) : max(0, at) + len(piece)] += piece
                at = max(0, at) + len(said) + int(rng.integers(RATE // 2))
        if rng.random() < 0.4:
            wave = wave + self.music(count, rng) * rng.uniform(0.02, 0.1)
        return wave


def stretched(wave, slower):
    """`wave` so many times as long at the same pitch: pieces of 25 ms, each taken from where it fits best (WSOLA)."""
    size, hop, reach = 400, 200, 80
    window = np.hanning(size + 1)[:size]
    count = int(len(wave) * slower) // hop + 1
    padded = np.pad(wave, (reach, size + 2 * reach + hop + int(hop / slower)))
    longer, follow = np.zeros(count * hop + size), padded[:size]
    for piece in range(count):
        at = int(piece * hop / slower)
        at += int(np.correlate(padded[at : at + size + 2 * reach], follow, "valid").argmax()) if piece else reach
        longer[piece * hop : piece * hop + size] += window * padded[at : at + size]
        follow = padded[at + hop : at + hop + size]
    return longer[: int(len(wave) * slower)].astype(np.float32)


def varied(wave, rng):
    """`wave` at another speed, now and then with a shorter or longer throat instead and a tempo of its own; and
    how many times as long it is."""
    count, roll = len(wave), rng.random()
    if roll < 0.6:
        speed = np.exp(rng.uniform(-0.17, 0.17))
        wave = np.interp(np.arange(0, count - 1, speed), np.arange(count), wave).astype(np.float32)
        if roll < 0.3:
            wave = stretched(wave, speed * np.exp(rng.uniform(-0.12, 0.12)))
    return wave, len(wave) / count


# What is around a recording: how often the speaker is far away; noise, television, music; how far these are below, in dB.
AROUND = {"far": 0.18, "company": (0.32, 0.54, 0.65), "decibel": (4, 24)}
HARSH = {"far": 0.30, "company": (0.22, 0.62, 0.70), "decibel": (7, 24)}
TELEVISION = {"far": 0.15, "company": (0.1, 0.9, 1.0), "decibel": (5, 22)}


def surroundings(wave, level, rng, recordings, around=AROUND):
    """What room, microphone and company do to a recording whose speech is as loud as `level`."""
    far = rng.random() < around["far"]
    if far or rng.random() < 0.4:
        wave = sound.room(wave, rng, far)
    if rng.random() < 0.6:
        wave = sound.colour(wave, rng)
    roll = rng.random()
    noise, television, music = around["company"]
    if roll < music:
        other = sound.noise if roll < noise else recordings.television if roll < television else recordings.music
        other = other(len(wave), rng)
        wave = wave + other * (level / np.sqrt((other**2).mean() + 1e-9) * 10 ** (-rng.uniform(*around["decibel"]) / 20))
    if rng.random() < 0.6:
        wave = wave + rng.standard_normal(len(wave)).astype(np.float32) * level * 10 ** rng.uniform(-3.5, -1.2)
    if rng.random() < 0.06:
        limit = np.abs(wave).max() * rng.uniform(0.15, 0.6)
        wave = np.clip(wave, -limit, limit)
    return (wave * 10 ** rng.uniform(-2, 0.1)).astype(np.float32)


def scene(clips, rng, recordings, around):
    """Clips, and the samples at which a keyword ends in them, in one recording: others speak before, between
    and after them. Returns the seconds at which keywords end too."""
    pieces, ends, levels = [np.zeros(int(RATE * rng.uniform(2.0, 2.4)), np.float32)], [], []
    for clip, end in clips:
        clip, longer = varied(clip, rng)
        end = int(end * longer)
        clip = clip * 10 ** rng.uniform(-0.2, 0.1)
        levels.append(sound.loudness(clip))
        if rng.random() < 0.4:  # somebody spoke until just now
            until = len(pieces[-1]) - int(RATE * rng.uniform(0.0, 0.9))
            said = recordings.one(rng)[-max(until, 1) :]
            if until >= len(said):
                pieces[-1][until - len(said) : until] += said * 10 ** rng.uniform(-1, 0.1)
        begin = sum(map(len, pieces))
        ends += [(begin + end) / RATE] if end else []
        pieces += [clip, np.zeros(int(RATE * rng.uniform(0.35, 1.2)), np.float32)]
        if rng.random() < 0.3 and len(clip) - end < RATE // 4:  # and goes on speaking
            said = recordings.one(rng)
            said = said[bounds(said)[0] :]
            at = int(RATE * max(0, rng.uniform(-0.3, 0.4)))
            said = said[: max(0, len(pieces[-1]) - at)]
            pieces[-1][at : at + len(said)] += said * 10 ** rng.uniform(-0.3, 0.2)
    return surroundings(np.concatenate(pieces), np.median(levels), rng, recordings, around), ends


def labelled(embeddings, ends=(), keyword=None):
    """For each embedding what the window that ends with it is: 1, 0, or -1 where it does not matter."""
    labels = np.full(len(embeddings), -1, np.int8)
    at = features.ends(embeddings)
    known = np.zeros(len(at), np.int8)
    for end in ends:
        known[(at > end - keyword.border) & (at < end + keyword.over) & (known == 0)] = -1
        known[(at >= end + keyword.fire[0]) & (at <= end + keyword.fire[1])] = 1
    labels[features.WINDOW - 1 :] = known
    return labels


def save_features(path, parts):
    """Embeddings in a row with their labels."""
    embeddings, labels = (np.concatenate(column) for column in zip(*parts))
    # Whole or not at all, however it is interrupted.
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, embeddings=embeddings.astype(np.float16), labels=labels)
    part.rename(path)
    print(path.name, len(labels), flush=True)


def scenes(studio, keyword, number, again):
    """The features of a shard of clips, four at a time in a new scene; `again` counts the
    times. From the third on only the keyword is there, and in the last two seldom without a television."""
    path = studio.out / "features" / f"{keyword.name}-{number}-{again}.npz"
    if path.exists():
        return
    rng, recordings = np.random.default_rng([number, again, len(keyword.name)]), studio.around(is_aside(number))
    clips = studio.out / "speech" / f"{keyword.name}-{number}"
    samples = np.memmap(clips.with_suffix(".i16"), np.int16, "r")
    lines = [json.loads(line) for line in clips.with_suffix(".jsonl").open()]
    lines = [line for line in lines if (line["say"] in keyword.phrases if line["end"] else again < 2)]
    rng.shuffle(lines)
    parts = []
    for four in (lines[at : at + 4] for at in range(0, len(lines), 4)):
        cut = [samples[line["offset"] : line["offset"] + line["samples"]].astype(np.float32) / 32768 for line in four]
        wave, ends = scene([(clip, line["end"]) for clip, line in zip(cut, four)], rng, recordings, HARSH if again < 4 else TELEVISION)
        embeddings = studio.front(wave)
        parts.append((embeddings, labelled(embeddings, ends, keyword)))
    save_features(path, parts)


def talk(count, rng, one):
    """Sentences one after another, some without a pause, at changing loudness."""
    wave, at = np.zeros(count, np.float32), 0
    while at < count:
        said = one(rng)[: count - at]
        wave[at : at + len(said)] += said * 10 ** rng.uniform(-0.5, 0.2)
        at += len(said) + int(RATE * rng.uniform(0, 1.2) * (rng.random() < 0.75))
    return wave


def wordless(count, rng, music=sound.music):
    """Noise, tones, music and near silence in turn."""
    pieces, length = [], 0
    while length < count:
        size = int(RATE * rng.uniform(1, 8))
        kind = rng.choice([sound.noise, sound.tones, music])
        pieces.append(kind(size, rng) * 10 ** rng.uniform(-4, -0.8) * (rng.random() < 0.9))
        length += size
    wave = np.concatenate(pieces)[:count]
    return (wave + rng.standard_normal(count) * 10 ** rng.uniform(-5, -3)).astype(np.float32)


def streams(studio, number, part, count=200, seconds=30):
    """The features of a shard of streams without a keyword."""
    path = studio.out / "features" / f"streams-{number}-{part}.npz"
    if path.exists():
        return
    rng, recordings = np.random.default_rng([number, part, 99]), studio.around(is_aside(number))
    parts = []
    for at in range(count):
        if at % 8 == 0:
            wave = wordless(RATE * seconds, rng, recordings.music)
        elif at % 4 == 1:
            wave = recordings.television(RATE * seconds, rng) * 10 ** rng.uniform(-1.5, 0)
        else:
            one = lambda rng: varied(recordings.one(rng), rng)[0]
            wave = surroundings(talk(RATE * seconds, rng, one), 0.15, rng, recordings, (AROUND, HARSH)[at % 2])
        embeddings = studio.front(wave)
        parts.append((embeddings, labelled(embeddings)))
    save_features(path, parts)


def people(studio, number, count=200, seconds=30):
    """The features of a shard of streams in which people speak, one recording after another, near and in quiet rooms; a
    quarter is anybody's speech."""
    path, recordings = studio.out / "features" / f"streams-{number}-people.npz", studio.around(False)
    if path.exists() or not recordings.people:
        return
    rng, parts = np.random.default_rng([number, 7]), []
    for at in range(count):
        wave = np.zeros(RATE * seconds, np.float32)
        begin = int(RATE * rng.uniform(0, 1))
        while begin < len(wave):
            said, _ = varied(recordings.one(rng, recordings.people if at % 4 else None), rng)
            said = said[: len(wave) - begin]
            wave[begin : begin + len(said)] += said / (np.abs(said).max() + 1e-6) * 10 ** rng.uniform(-1.2, -0.1)
            begin += len(said) + int(RATE * rng.uniform(0.1, 1.6))
        if at % 5 == 0:
            wave = surroundings(wave, 0.15, rng, recordings)
        wave = wave + rng.standard_normal(len(wave)) * 10 ** rng.uniform(-4.5, -2.3)
        embeddings = studio.front(wave.astype(np.float32))
        parts.append((embeddings, labelled(embeddings)))
    save_features(path, parts)


def aside_recordings(voices, avoid, count):
    """Sentences by the voices that are kept aside."""
    rng = random.Random(6)
    commands, chatter = language.Catalogue(), language.Talk()
    valid = nano.valid_sentences(commands)
    said = []
    while len(said) < count:
        say = nano.draw(commands, chatter, valid, rng).say
        if not avoid.search(say):
            wave = voices.say(say, rng)
            said.append(wave / np.abs(wave).max() * 0.6)
    aside = Recordings([])
    aside.one = lambda rng: said[rng.integers(count)]
    return aside


def is_aside(number):
    """Whether a shard is kept aside from training: every sixth is."""
    return number % 6 == 0


class Studio:
    """What shards are made with, and where; each part is made when it is first needed. `others` is the folder of what
    else people say, `folders` hold more of it."""

    def __init__(self, out, others, folders=(), avoid=ENDING, shares=(SHARE, SHARE_ASIDE), aside=6000):
        self.out, self.others, self.folders = out, others, [*folders, others]
        self.avoid, self.shares, self.aside = avoid, shares, aside

    @cached_property
    def front(self):
        return features.Frontend()

    def voices(self, aside):
        """Voices for one shard, new each time: how espeak-ng speaks depends a little on what it has said before."""
        return Voices(aside, self.shares[aside])

    @cache
    def around(self, aside):
        """Who is heard around the clips of a shard."""
        if aside:
            return aside_recordings(self.voices(True), self.avoid, self.aside)
        return Recordings(self.folders, self.avoid)

    def disguised(self, wave, rng, at=0):
        """`wave` by another voice, and where its sample `at` is then."""
        import disguise  # The package that it needs is compiled where it is installed.

        return disguise.disguised(wave, rng, at)


def train(out, clips, folders):
    """Clips and features of everything, in shards of 500 clips and of five hours."""
    for name in ("speech", "others", "features"):
        (out / name).mkdir(parents=True, exist_ok=True)
    studio = Studio(out, out / "others", folders)
    for number in range(SHARDS):
        others(studio, number)
        foreign(studio, number)
    for number in range(clips // 500):
        for keyword in KEYWORDS.values():
            speak(studio, keyword, number, 500)
            for again in range(6):
                scenes(studio, keyword, number, again)
        for part in range(3):
            streams(studio, number, part)
        if not is_aside(number):
            people(studio, number)


class Strangers:
    """Voices that nothing is trained on: variants of espeak-ng, and festival."""

    def __init__(self, rng):
        self.rng, self.espeak = rng, speech.Espeak()
        self.manner()

    def manner(self):
        """Somebody else speaks from now on."""
        rng = self.rng
        self.how = (f"{rng.choice(speech.ACCENTS)}+{rng.choice(speech.HELD_OUT)}", rng.randint(130, 200), rng.randint(30, 70))

    def say(self, text):
        return self.espeak.say(text, *self.how)

    def half(self, text):
        """A sentence at a peak of 0.5, its silence cut off."""
        wave = sound.trimmed(self.say(text)[0])
        return wave / np.abs(wave).max() * 0.5


def judged(wave, end, condition, rng, television):
    """The recording of one clip under a condition, and the second at which its keyword ends."""
    begin = rng.uniform(2.3, 3.3)
    level = sound.loudness(wave)
    wave = sound.pause(wave, begin, rng.uniform(1.0, 1.5))
    if condition == "far":
        wave = sound.room(wave, rng, True) * 0.15
        level *= 0.15
    other = sound.noise(len(wave), rng) if condition != "tv" else television(len(wave), rng)
    decibel = {"clean": 45, "noise": rng.uniform(10, 20), "far": rng.uniform(15, 25), "tv": rng.uniform(10, 20)}[condition]
    wave = wave + other * (level / np.sqrt((other**2).mean() + 1e-9) * 10 ** (-decibel / 20))
    return wave * 10 ** rng.uniform(-0.9, 0), begin + end / RATE


def save(folder, name, lines):
    """Writes a manifest."""
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(name, len(lines), flush=True)


def evaluate(out, keywords=tuple(KEYWORDS.values()), avoid=ENDING, robots=speech.FESTIVAL):
    """The sets to judge by: `KEYWORD`, `near_KEYWORD` (what sounds like it) and `negative`. `robots` are the voices of
    festival that speak, too."""
    folder = out / "evaluation"
    rng, dice = random.Random(2079), np.random.default_rng(2079)
    strangers, commands, chatter = Strangers(rng), language.Catalogue(), language.Talk()

    def sentence():
        while True:
            kind = rng.choice(["command", "small", "near", "other", "read", "read"])
            say = language.command(commands, rng).say if kind == "command" else chatter.sample(kind, rng).say
            if not avoid.search(say):
                return say

    # What is said around: a thousand sentences for television and talk, by all strangers.
    said = []
    for at in range(1600):
        strangers.manner()
        said.append(strangers.half(sentence()))
    for voice in robots:
        said += [wave / np.abs(wave).max() * 0.5 for wave in speech.festival([sentence() for _ in range(200)], voice)]
    around = Recordings([])
    around.one = lambda dice: said[dice.integers(len(said))]

    for keyword in keywords:
        for set_, count in ((keyword.name, 400), (f"near_{keyword.name}", 300)):
            (folder / set_).mkdir(parents=True, exist_ok=True)
            words = keyword.phrases
            if set_ != keyword.name:  # half of it never trained on
                words = {text: 1 / len(part) for part in (keyword.near, keyword.unheard) for text in part}
            texts = rng.choices(list(words), words.values(), k=count)
            by_robots = {}
            for part, voice in enumerate(robots):
                chosen = [at for at in range(count) if at // 4 % 8 == part * 4]
                by_robots |= dict(zip(chosen, speech.festival([texts[at] for at in chosen], voice)))
            lines = []
            for at, text in enumerate(texts):
                strangers.manner()
                tail = sentence() if at % 5 < 2 else ""
                if at in by_robots:
                    wave = by_robots[at]
                    end = bounds(wave)[1]
                elif tail:
                    wave, end = with_command(strangers.say, text, tail)
                else:
                    wave = strangers.say(text)[0]
                    end = bounds(wave)[1]
                wave = wave / np.abs(wave).max() * 0.5
                condition = ["clean", "noise", "far", "tv"][at % 4]
                wave, end = judged(wave, end, condition, dice, around.television)
                path = f"{set_}/{at:04}.wav"
                wavfile.write(folder / path, RATE, np.clip(wave * 32767, -32768, 32767).astype(np.int16))
                voice = "festival" if at in by_robots else "espeak-ng"
                about_it = {"condition": condition, "say": text, "voice": voice, "heard": text not in keyword.unheard}
                lines.append({"audio": path, "end": round(end, 3)} | about_it)
            save(folder, set_, lines)

    (folder / "negative").mkdir(exist_ok=True)
    lines, count = [], RATE * 120
    for at in range(160):
        kind = ["talk", "talk", "tv", "talk", "wordless"][at % 5]
        if kind == "talk":
            for _ in range(10):  # new sentences come as time goes by
                strangers.manner()
                said[rng.randrange(len(said))] = strangers.half(sentence())
            wave = talk(count, dice, around.one)
            if at % 2:
                wave = surroundings(wave, 0.12, dice, around)
        elif kind == "tv":
            wave = around.television(count, dice) * 10 ** dice.uniform(-1, 0)
        else:
            wave = wordless(count, dice)
        path = f"negative/{at:04}.wav"
        wavefile = np.clip(wave * 32767, -32768, 32767).astype(np.int16)
        wavfile.write(folder / path, RATE, wavefile)
        lines.append({"audio": path, "seconds": len(wavefile) / RATE, "kind": kind})
    save(folder, "negative", lines)


if __name__ == "__main__":
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else OUT
    if sys.argv[1] == "train":
        folders = sys.argv[4:] or [HERE.parent.parent / "target" / "nano" / "run7" / "speech"]
        train(out, int(sys.argv[3]) if len(sys.argv) > 3 else 6000, folders)
    else:
        evaluate(out)
