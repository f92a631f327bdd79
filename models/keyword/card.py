"""Writes the card of a keyword: how good it is, what it was made with, and how to use it."""

CONDITIONS = {
    "clean": "in a quiet room", "noise": "through noise, 10 to 20 dB below", "far": "from afar",
    "tv": "against a television, 10 to 20 dB below",
}
KINDS = {"talk": "unbroken talk", "tv": "television", "wordless": "noise, tones, music"}


def percent(share):
    return f"{share * 100:.1f} %"


def table(figures):
    """The rows of figures, as `evaluate.judge` gives them."""
    rows = [(f"missed, all ({figures['positives']} recordings)", percent(figures["false_rejects"]))]
    shares = figures["by_condition"]
    rows += [(f"of these, {where}", percent(shares[name])) for name, where in CONDITIONS.items() if name in shares]
    rows += [(f"of these, spoken by {name}", percent(share)) for name, share in figures["by_voice"].items()]
    rows += [(f"false alarms an hour ({figures['hours']:.1f} h)", f"{figures['false_accepts_per_hour']:.2f}")]
    rows += [(f"of these, {KINDS[name]}", f"{hourly:.2f}") for name, hourly in figures["by_kind"].items()]
    rows += [("near misses accepted (300)", percent(figures["near_misses_accepted"]))]
    return "\n".join(f"| {name} | {value} |" for name, value in rows)


def choices(figures):
    """A row for each threshold and patience."""
    return "\n".join(f"| {name} | {percent(missed)} | {hourly:.2f} |" for name, (missed, hourly) in figures["at"].items())


def card(phrase, name, figures, made, sha256):
    """Text of the card. `made` says with what it was made: {what: value}."""
    mistaken = ", ".join(f"“{text}”" for text in figures["of_these"]) or "none"
    made = "\n".join(f"| {what} | {value} |" for what, value in made.items())
    return f"""# “{phrase}”

`{name}.onnx` spots “{phrase}”. It is in openWakeWord's format and was made by `gemmactl keyword train "{phrase}"`.
SHA-256: `{sha256}`

## How to use it

    sudo cp {name}.onnx /var/lib/gemmad/models/
    sudo chmod 644 /var/lib/gemmad/models/{name}.onnx

```toml
# /etc/gemmad/gemmad.toml
[voice]
mode = "wake"

[keyword]
words = [
  {{ model = "/var/lib/gemmad/models/{name}.onnx", means = "wake", threshold = 0.5, patience = 1 }},
]
```

    sudo gemmactl reload

`means = "halt"` makes it end everything under way instead. After false alarms, raise `threshold` or `patience`; after
misses, lower `threshold`.

## How good it is

At threshold 0.5 and patience 1, by synthetic voices that it was not trained on. No person has spoken to it.

| figure | value |
|---|---|
{table(figures)}

Near misses that were accepted: {mistaken}.

| threshold and patience | missed | false alarms an hour |
|---|---|---|
{choices(figures)}

## What it was made with

| what | value |
|---|---|
{made}
"""
