"""The language the model knows: what people say, and what it answers.

Everything comes from two kinds of files: the command catalogues in `configs/commands`, which the
daemon reads too, and `talk.toml` beside this file, which holds what is *not* a command.
"""

import ast
import hashlib
import itertools
import random
import re
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).parent
# In a checkout, or where the package puts them.
COMMANDS = next(path for path in (HERE.parent.parent / "configs" / "commands", HERE.parent / "commands") if path.is_dir())

UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
# Numbers that sound alike: these are what a small ear confuses.
PAIRS = [n for ten in range(13, 20) for n in (ten, (ten - 10) * 10)]


@dataclass
class Utterance:
    """One thing said and what is to be answered."""

    say: str  # words as spoken, numbers spelled out
    calls: list = field(default_factory=list)  # [(name, {key: value})]
    reply: str = ""  # words, when there are no calls
    kind: str = "command"
    pattern: str = ""  # the sentence with its parameters still open

    def answer(self):
        """What the model writes, without the token that ends its turn."""
        if self.calls:
            return "".join(call_text(name, arguments) for name, arguments in self.calls)
        return self.reply


def share(text):
    """A stable number in [0, 1) for `text`: decides what is held out of training."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def value_text(value):
    """A value in Gemma 4's notation."""
    if isinstance(value, str):
        return f'<|"|>{value}<|"|>'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ",".join(value_text(item) for item in value) + "]"
    return f"{value:g}"


def call_text(name, arguments):
    """A call in Gemma 4's notation, keys sorted."""
    body = ",".join(f"{key}:{value_text(arguments[key])}" for key in sorted(arguments))
    return f"<|tool_call>call:{name}{{{body}}}<tool_call|>"


def number_words(value, rng):
    """How somebody says a number from 0 to 999, halves included."""
    whole, rest = int(value), value - int(value)
    words = []
    if whole >= 100:
        hundreds = "a" if whole < 200 and rng.random() < 0.3 else UNITS[whole // 100]
        words += [hundreds, "hundred"]
        if whole % 100 and rng.random() < 0.4:
            words.append("and")
        whole %= 100
        if whole == 0:
            return " ".join(words)
    if whole >= 20:
        words.append(TENS[whole // 10])
        if whole % 10:
            words.append(UNITS[whole % 10])
    else:
        words.append(UNITS[whole])
    if rest:
        words += ["point", UNITS[round(rest * 10)]]
    return " ".join(words)


def written(say):
    """The transcript of `say`: digits for numbers, a capital, a full stop."""
    words, out, at = say.split(), [], 0
    while at < len(words):
        value, end = _number(words, at)
        if value is None:
            out.append(words[at])
            at += 1
        else:
            out.append(value)
            at = end
    text = re.sub(r"\b(1?\d) (15|30|45)\b", r"\1:\2", " ".join(out))
    first = re.match(r"(what|how|who|where|why|when|will|do|does|did|can|could|have|are|is|should)\b", say)
    return text[:1].upper() + text[1:] + ("?" if first else ".")


def _number(words, at):
    """The number that starts at `at` as digits, and where it ends."""
    word = words[at]
    value, end = None, at
    following = words[at + 1] if at + 1 < len(words) else ""
    if following == "hundred" and (word == "a" or word in UNITS[1:10]):
        value, end = 100 * (1 if word == "a" else UNITS.index(word)), at + 2
        skip = end + 1 if words[end:end + 1] == ["and"] else end
        small, after = _below_hundred(words, skip)
        if small:
            value, end = value + small, after
    else:
        value, end = _below_hundred(words, at)
    if value is None:
        return None, at
    if words[end:end + 1] == ["point"] and words[end + 1:end + 2] and words[end + 1] in UNITS[:10]:
        return f"{value}.{UNITS.index(words[end + 1])}", end + 2
    return str(value), end


def _below_hundred(words, at):
    word = words[at] if at < len(words) else ""
    if word in TENS[2:]:
        value = 10 * TENS.index(word)
        if at + 1 < len(words) and words[at + 1] in UNITS[1:10]:
            return value + UNITS.index(words[at + 1]), at + 2
        return value, at + 1
    if word in UNITS:
        return UNITS.index(word), at + 1
    return None, at


def choose(template, rng):
    """One way through the (a|b) choices of a template."""
    def pick(match):
        return rng.choice(match.group(1).split("|"))
    while "(" in template:
        template = re.sub(r"\(([^()]*)\)", pick, template)
    return " ".join(template.split())


def ways(template):
    """How many ways through a template there are."""
    count = 1
    for group in re.findall(r"\(([^()]*)\)", template):
        count *= len(group.split("|"))
    return count


class Catalogue:
    """Both command files."""

    def __init__(self):
        self.commands = {}
        for path in sorted(COMMANDS.glob("*.toml")):
            self.commands |= tomllib.loads(path.read_text())["commands"]
        self.phrases = [(name, phrase) for name, command in self.commands.items() for phrase in command["phrases"]]
        self.spared = set(self.spare())
        self.weights = self.likelihoods()

    def likelihoods(self):
        """How likely each phrase is. A command is as likely as the roots of its numbers of phrases and of
        values, but none, however simple, less than one in a hundred: the simplest is `stop`."""
        weights, totals = [], Counter()
        for name, command in self.commands.items():
            breadth = sum(spread(p) for p in command.get("parameters", {}).values())
            for phrase in command["phrases"]:
                slots = phrase["say"].count("{")
                weights.append((1 + slots) * (1 + breadth) ** 0.5 / len(command["phrases"]) ** 0.5)
                totals[name] += weights[-1]
        least = 0.012 * sum(weights)
        return [weight * max(1, least / totals[name]) for (name, _), weight in zip(self.phrases, weights)]

    def sample(self, rng, only=None):
        """A command as somebody might say it; `only` names the commands to choose among."""
        while True:
            name, phrase = rng.choices(self.phrases, self.weights)[0]
            if only is None or name in only:
                return self.fill(name, phrase, rng)

    def fill(self, name, phrase, rng):
        """One utterance of a phrase."""
        parameters = self.commands[name].get("parameters", {})
        pattern = choose(phrase["say"], rng)
        arguments = dict(phrase.get("call", {}))
        words = {}
        for slot in re.findall(r"\{(\w+)\}", pattern):
            arguments[slot], words[slot] = draw(parameters[slot], phrase.get("spoken", {}).get(slot, {}), rng)
        say = pattern.format(**words)
        held = ways(phrase["say"]) >= 6
        missing = [key for key, p in parameters.items() if key not in arguments and "default" not in p and p.get("required", True)]
        if missing:
            return Utterance(say, reply=parameters[missing[0]]["ask"], kind="ask", pattern=pattern if held else "")
        for key, parameter in parameters.items():
            if key not in arguments and "default" in parameter:
                arguments[key] = parameter["default"]
        return Utterance(say, [(name, arguments)], pattern=pattern if held else "")

    def holds_out(self, utterance):
        """Whether the utterance's values together are kept out of training."""
        texts = [call_text(name, arguments) for name, arguments in utterance.calls if len(arguments) >= 2]
        return any(share("combo" + text) < 0.10 and text not in self.spared for text in texts)

    def spare(self):
        """Combinations that would be held out, but that no value may go unheard: where all combinations of
        an enumerated value are, one is trained on."""
        for name, command in self.commands.items():
            parameters = command.get("parameters", {})
            if len(parameters) < 2 or any("values" not in p for p in parameters.values()):
                continue
            combinations = [dict(zip(parameters, values)) for values in itertools.product(*(p["values"] for p in parameters.values()))]
            for key, parameter in parameters.items():
                for value in parameter["values"]:
                    texts = [call_text(name, arguments) for arguments in combinations if arguments[key] == value]
                    if all(share("combo" + text) < 0.10 for text in texts):
                        yield max(texts, key=share)

    def declaration(self, name):
        """A command as a tool for the chat template (OpenAI's shape)."""
        command = self.commands[name]
        properties = {}
        for key, parameter in command.get("parameters", {}).items():
            kind = {"enum": "string", "list": "array"}.get(parameter["type"], parameter["type"])
            entry = {"type": kind}
            if "values" in parameter:
                entry["enum"] = parameter["values"]
            if kind == "array":
                entry["items"] = {"type": "string"}
            properties[key] = entry
        required = [key for key, p in command.get("parameters", {}).items() if "default" not in p and p.get("required", True)]
        parameters = {"type": "object", "properties": properties, "required": required}
        return {"type": "function", "function": {"name": name, "description": command["description"], "parameters": parameters}}


def spread(parameter):
    """Roughly how many values a parameter has."""
    if parameter["type"] in ("integer", "number"):
        return 8 + ((parameter["max"] - parameter["min"]) / parameter.get("step", 1)) ** 0.6
    return len(parameter.get("values", parameter.get("samples", [0, 1])))


def draw(parameter, spoken, rng):
    """A value of a parameter, and its words."""
    kind = parameter["type"]
    if kind in ("integer", "number"):
        step = parameter.get("step", 1)
        low, high = parameter["min"], parameter["max"]
        pairs = [n for n in PAIRS if low <= n <= high]
        roll = rng.random()
        if pairs and roll < 0.25:
            value = rng.choice(pairs)
        elif roll < 0.6:
            value = rng.randint(low, min(high, 100))
        else:
            value = low + step * rng.randint(0, int((high - low) / step))
        return value, number_words(value, rng)
    if kind == "list":
        items = rng.sample(parameter["samples"], rng.choice([1, 1, 1, 2, 2, 3]))
        return items, " and ".join([" ".join(items[:-1]), items[-1]]) if len(items) > 1 else items[0]
    if kind == "string":
        value = rng.choice(parameter["samples"])
        return value, value
    spoken = parameter.get("spoken", {}) | spoken
    values = [v for v in parameter["values"] if spoken.get(v, [v])]
    value = rng.choice(values)
    return value, rng.choice(spoken.get(value, [value.replace("_", " ")]))


class Talk:
    """What is not a command."""

    def __init__(self):
        self.data = tomllib.loads((HERE / "talk.toml").read_text())
        self.small = [(say, group["reply"]) for group in self.data["small"] for say in group["say"]]
        self.near = [say for group in self.data["near"] for say in group["say"]]
        self.other = [say for group in self.data["other"] for say in group["say"]]
        self.read = read_aloud()

    def sample(self, kind, rng):
        """An utterance of kind small, near, other or read."""
        if kind == "small":
            say, reply = rng.choice(self.small)
            return Utterance(choose(say, rng), reply=reply, kind=kind)
        if kind == "read":
            say = pattern = rng.choice(self.read)
        else:
            pattern = rng.choice(getattr(self, kind))
            say = self.words(choose(pattern, rng), rng)
        return Utterance(say, reply=self.data["refusal"], kind=kind, pattern=pattern)

    def words(self, text, rng):
        def word(match):
            if match.group(1) == "number":
                return number_words(rng.choice([rng.randint(2, 20), rng.randint(2, 99), rng.randint(2, 999)]), rng)
            return rng.choice(self.data["words"][match.group(1)])
        return re.sub(r"\{(\w+)\}", word, text)


def read_aloud():
    """Sentences of the Python library's own documentation: speech about nothing the model knows."""
    sentences = set()
    root = Path(random.__file__).parent
    for path in sorted(root.glob("*.py")) + sorted(root.glob("*/*.py")):
        if "site-packages" in path.parts or "test" in str(path.relative_to(root)) or "idlelib" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
                for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n", ast.get_docstring(node) or ""):
                    words = sentence.strip().rstrip(".!?").replace(",", "").split()
                    plain = all(re.fullmatch(r"[A-Za-z][a-z']*", w) for w in words)
                    numbers = set(UNITS + TENS + ["hundred", "point"])
                    if 3 <= len(words) <= 11 and plain and not numbers & set(words):
                        sentences.add(" ".join(words)[0].lower() + " ".join(words)[1:])
    return sorted(sentences)


POLITE = ["{}", "{}", "{}", "{}", "please {}", "{} please", "can you {}", "could you {}", "could you please {}", "hey robot {}", "okay {}", "I want you to {}"]
VERBS = set("turn switch dim set change make heat warm start cancel stop delete clear play put pause hold resume continue skip raise increase lower decrease mute unmute open close lock unlock tell give add call phone ring move go drive back rotate spin find take charge return follow come pick grab lift get fetch bring drop leave look point tilt wait activate prepare remind wake".split())


def hasty(utterance):
    """The same without articles."""
    bare = lambda text: re.sub(r"\b(the|a|an) (?!hundred)", "", text)
    return replace(utterance, say=bare(utterance.say), pattern=bare(utterance.pattern))


def command(catalogue, rng, haste=0.0):
    """A command with the manners people add; `haste` is the share of those without articles."""
    utterance = catalogue.sample(rng)
    if haste and rng.random() < haste:
        utterance = hasty(utterance)
    if utterance.say.split()[0] in VERBS:
        frame = rng.choice(POLITE)
    else:
        frame = rng.choice(["{}", "{}", "{}", "{} please", "please {}", "okay {}"])
    if frame.endswith(" please") and utterance.say.endswith("please"):
        frame = "{}"
    utterance.say = frame.format(utterance.say)
    return utterance


def listing(catalogue, rng):
    """A command with several things in a list, which are easily lost."""
    lists = {name for name, c in catalogue.commands.items() if any(p["type"] == "list" for p in c.get("parameters", {}).values())}
    while True:
        utterance = catalogue.sample(rng, lists)
        for _, arguments in utterance.calls:
            if any(isinstance(value, list) and len(value) > 1 for value in arguments.values()):
                return utterance


def compound(catalogue, rng):
    """Two commands in one utterance, sometimes three."""
    parts = []
    count = 3 if rng.random() < 0.12 else 2
    while len(parts) < count:
        part = catalogue.sample(rng)
        if part.calls and part.say.split()[0] in VERBS | {"mute", "full"} and not part.say.endswith("please"):
            parts.append(part)
    joins = [rng.choice([" and ", " then ", " and then "]) for _ in parts[1:]]
    say = parts[0].say + "".join(join + part.say for join, part in zip(joins, parts[1:]))
    return Utterance(say, [call for part in parts for call in part.calls], kind="compound")


def cut_off(catalogue, rng, valid):
    """The beginning of a command, too short to be one."""
    while True:
        words = catalogue.sample(rng).say.split()
        if len(words) < 4:
            continue
        kept = " ".join(words[: rng.randint(1, len(words) // 2)])
        if kept not in valid and kept.split()[0] not in ("stop", "halt", "freeze"):
            return Utterance(kept, reply=Talk_refusal, kind="cut")


def spliced(catalogue, talk, rng, valid):
    """The words of a command and of other talk, cut and joined anywhere: what no template foresees."""
    while True:
        parts = [catalogue.sample(rng).say.split(), talk.sample(rng.choice(["near", "other"]), rng)]
        if held_out_wording(parts[1]):
            continue
        parts[1] = parts[1].say.split()
        rng.shuffle(parts)
        first, second = (rng.randint(1, max(1, len(words) - 1)) for words in parts)
        words = parts[0][:first] + parts[1][second:]
        pieces = (" ".join(words[a:b]) for a in range(len(words)) for b in range(a + 1, len(words) + 1))
        if 2 <= len(words) <= 10 and not any(piece in valid for piece in pieces):
            return Utterance(" ".join(words), reply=Talk_refusal, kind="spliced")


Talk_refusal = tomllib.loads((HERE / "talk.toml").read_text())["refusal"]


def held_out_wording(utterance):
    """Whether the sentence is kept out of training."""
    limit = {"near": 0.15, "other": 0.15, "read": 0.12}.get(utterance.kind, 0.06)
    return bool(utterance.pattern) and share("wording" + utterance.pattern) < limit


if __name__ == "__main__":
    rng = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    catalogue, talk = Catalogue(), Talk()
    print(len(talk.read), "sentences to read aloud")
    for _ in range(40):
        for utterance in (command(catalogue, rng), talk.sample(rng.choice(["small", "near", "other", "read"]), rng)):
            print(f"{utterance.say!r:70} {written(utterance.say)!r:60} {utterance.answer()}")
    for _ in range(8):
        print(compound(catalogue, rng))
