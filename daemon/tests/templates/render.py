"""Renders chat templates with Jinja2, set up as transformers sets it up, to compare gemmad's rendering with.

    render.py TEMPLATE...

Reads JSON lines {"template": NAME, "context": {...}}, where NAME is a file's name without its ending. Writes a JSON
line for each: {"prompt": ...}, or {"refused": REASON}.
"""

import json
import sys
from datetime import datetime
from pathlib import Path

from jinja2 import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock
from jinja2.sandbox import ImmutableSandboxedEnvironment

# What `strftime_now` takes for now; the test in Rust has the same moment.
NOW = datetime(2026, 3, 7, 8, 5, 9)


class Generation(Extension):
    """The tag `generation`. transformers notes where it begins and ends; the text is that of its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def refuse(message):
    raise TemplateError(message)


def as_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    made.filters["tojson"] = as_json
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = NOW.strftime
    return made


def main():
    here = environment()
    templates = {Path(path).stem: here.from_string(Path(path).read_text(encoding="utf-8")) for path in sys.argv[1:]}
    for line in sys.stdin:
        case = json.loads(line)
        try:
            answer = {"prompt": templates[case["template"]].render(**case["context"])}
        except (TemplateError, TypeError) as why:
            answer = {"refused": str(why)}
        print(json.dumps(answer), flush=True)


main()
