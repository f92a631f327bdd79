"""Finds what sounds like a phrase: the words that a keyword must not be taken for.

Words are compared as espeak-ng says them. It needs nothing but the program `espeak-ng`.
"""

import itertools
import random
import re
import subprocess

# Sounds of one kind are more alike than others.
KINDS = [set("pbtdkgʔɾ"), set("fvθðszʃʒhxç"), {"tʃ", "dʒ"}, set("mnŋ"), set("lɹrwj")]
VOWEL = re.compile(r"[aeiouyæøœɐɑɒɔəɚɛɜɝɪʊʌᵻɵʉ]")
# Vowels that fast speech does not tell apart.
WEAK = set("əɐᵻɪɚ")
# Nearer than this, not even people hear a difference: a name in another spelling.
SAME = 0.45
# Around a phrase: what people say with it, without saying it.
AROUND = [
    "my name is {last}", "where is {last}", "I saw {last} yesterday", "{last} said hello", "ask {last}", "call {last}",
    "{last} and {first}", "{first} what is that", "{first} there", "{first} you", "{last} {last}", "{first} {first}",
]


def phones(ipa):
    """The sounds in a line of `espeak-ng --ipa --sep=_`, without stress and length."""
    return [sound for sound in re.split(r"[_ ]+", re.sub(r"[ˈˌː\u200d]", "", ipa.strip())) if sound]


def spoken(texts):
    """The sounds of each text: {text: [sound, ...]}."""
    command = ["espeak-ng", "-q", "--ipa", "--sep=_", "-v", "en-us"]
    said = subprocess.run(command, input="".join(f"{text}\n" for text in texts), text=True, check=True, capture_output=True)
    return dict(zip(texts, map(phones, said.stdout.splitlines()), strict=True))


def cost(one, other):
    """How unlike two sounds are, from 0 to 1.2."""
    if one == other:
        return 0
    vowels = [bool(VOWEL.match(sound)) for sound in (one, other)]
    if all(vowels):
        return 0.2 if {one, other} <= WEAK else 0.5
    if any(vowels):
        return 1.2
    return 0.6 if any({one, other} <= kind for kind in KINDS) else 1


def distance(one, other):
    """How many sounds are to be changed, added or left out to get from one word to another (Levenshtein), less for
    changes to a sound that is alike."""
    row = list(range(len(other) + 1))
    for count, sound in enumerate(one, 1):
        before, row = row, [count]
        for at, wanted in enumerate(other):
            row.append(min(before[at + 1] + 1, row[at] + 1, before[at] + cost(sound, wanted)))
    return row[-1]


def nearest(sounds, lexicon, count):
    """The `count` words of `lexicon` ({word: sounds}) that sound most like `sounds`, without those that sound the same."""
    # Another length alone is further than the nearest words are.
    likely = {word: said for word, said in lexicon.items() if abs(len(said) - len(sounds)) <= 3}
    unique = {tuple(said): word for word, said in likely.items()}
    far = {word: distance(sounds, said) for said, word in unique.items()}
    return sorted((word for word in far if far[word] >= SAME), key=lambda word: (far[word], word))[:count]


def parts(phrase):
    """Pieces of the phrase as it is written: without its beginning or end, its halves, each word."""
    half = len(phrase) // 2
    pieces = [phrase[1:], phrase[2:], phrase[:-1], phrase[:-2], phrase[:half], phrase[half:], *phrase.split()]
    return [piece.strip() for piece in pieces if len(piece.strip()) > 1 and piece.strip() != phrase]


def pairs(alike, rng, count):
    """`count` phrases all of whose words are others. `alike` holds the words nearest to each word."""
    every = [" ".join(words) for words in itertools.product(*(words[:12] for words in alike))]
    return rng.sample(every, min(count, len(every)))


def misses(phrase, lexicon, count=160):
    """Up to `count` texts that sound like the phrase but are not it, the likeliest to be taken for it first.
    `lexicon` holds the words to choose among, and their sounds."""
    words = phrase.split()
    said = spoken([phrase, *words])
    alike = [nearest(said[word], lexicon, 30) for word in words]
    whole = nearest(said[phrase], lexicon, 30 if len(words) > 1 else 120)
    sources = [whole, parts(phrase)]
    if len(words) > 1:
        swapped = [" ".join([*words[:at], other, *words[at + 1 :]]) for at, others in enumerate(alike) for other in others]
        both = pairs(alike, random.Random(phrase), 30)
        around = [text.format(first=words[0], last=words[-1]) for text in AROUND]
        alone = [word for others in alike for word in others[:12]]
        sources += [swapped, both, around, alone]
    in_turn = itertools.zip_longest(*sources)
    found = list(dict.fromkeys(text for texts in in_turn for text in texts if text))
    return different(phrase, said[phrase], found)[:count]


def different(phrase, sounds, texts):
    """Those of `texts` that neither contain the phrase nor sound the same."""
    within = re.compile(rf"\b{re.escape(phrase)}\b")
    said = spoken(texts)
    holds = lambda text: within.search(text) or "_".join(sounds) in "_".join(said[text])
    return [text for text in texts if not holds(text) and distance(sounds, said[text]) >= SAME]
