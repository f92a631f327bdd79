"""Trains a keyword of one's own: `python3 own.py PHRASE [--out DIR] [--clips N]`, which is `gemmactl keyword train`.

Writes PHRASE.onnx and PHRASE.md, its card, into DIR. This file needs Python alone: it checks what is there, installs
the packages of `requirements-own.txt` into the user's cache folder, and runs `steps.py` with them. All that was made
stays in the cache folder, so that the same command goes on where it was stopped.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
# What the packages are made for.
PYTHONS = (3, 11), (3, 13)


def complain(message, code=1):
    """Ends with a message: what went wrong, why, and what to do."""
    tell(f"gemmactl: {message}")
    sys.exit(code)


def tell(message):
    print(message, file=sys.stderr, flush=True)


def phrase_of(text):
    """The phrase as it is looked up: small letters, single spaces."""
    phrase = " ".join(text.lower().replace("’", "'").split())
    if not re.fullmatch(r"[a-z']+( [a-z']+){0,3}", phrase):
        complain(
            f"“{text}” cannot become a keyword: it is one to four English words of letters and apostrophes. "
            "Write numbers and other signs as they are said",
            2,
        )
    return phrase


def name_of(phrase):
    """The name of the phrase's files."""
    return re.sub(r"[^a-z]+", "_", phrase.replace("'", ""))


def cache():
    """The user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "gemmad" / "keyword"


def check():
    """What has to be there before anything is installed."""
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        complain(
            f"this is Python {sys.version.split()[0]}, and PyTorch is installed for 3.11 to 3.13. Install one of these, "
            "and put it first in PATH as `python3`"
        )
    if not shutil.which("espeak-ng"):
        complain("the voices of espeak-ng are needed, and it is not installed. Install it: `sudo apt install espeak-ng`")


def install(folder, requirements):
    """Installs the packages of a file, unless that was done; what went wrong, if anything did."""
    wanted, done = (HERE / requirements).read_text(), folder / requirements
    if done.exists() and done.read_text() == wanted:
        return ""
    names = ", ".join(re.findall(r"^[\w-]+", wanted, re.MULTILINE))
    tell(f"installing {names} in {folder}, the first time only")
    options = ["--disable-pip-version-check", "--quiet", "-r", HERE / requirements]
    pip = [folder / "bin" / "python", "-m", "pip", "install", *options]
    ended = subprocess.run(pip, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if ended.returncode:
        return "".join(ended.stderr.strip().splitlines()[-1:]) or "pip does not say why"
    done.write_text(wanted)
    return ""


def packages(folder):
    """A virtual environment with the packages, in `folder`."""
    if not (folder / "bin" / "pip").exists():
        try:
            venv.create(folder, with_pip=True, clear=True)
        except (subprocess.CalledProcessError, ImportError):
            complain("Python cannot make a virtual environment here. Install what it needs: `sudo apt install python3-venv`")
    if wrong := install(folder, "requirements-own.txt"):
        complain(
            f"cannot install Python packages in {folder}: {wrong}. See that there is a network and 8 GB of disk, then run the "
            "same command again"
        )
    if install(folder, "requirements-compiled.txt"):
        tell(
            "two packages that bring more voices were not installed: they are compiled, which takes Debian's build-essential "
            "and python3-dev. It goes on without them"
        )


def arguments():
    parser = argparse.ArgumentParser(description="Trains a keyword of one's own.")
    parser.add_argument("phrase")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder to write to")
    parser.add_argument("--clips", type=int, default=6000, help="clips to learn from, at least 1000")
    return parser.parse_args()


def main():
    options = arguments()
    phrase = phrase_of(options.phrase)
    if options.clips < 1000:
        complain(f"{options.clips} clips are too few to learn from. Take 1000 or more", 2)
    if not options.out.is_dir() or not os.access(options.out, os.W_OK):
        complain(f"{options.out} is no folder that can be written to. Make it, or name another one with --out", 2)
    check()
    try:
        cache().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        complain(f"cannot make {cache()}: {error.strerror}. Name another folder in XDG_CACHE_HOME")
    packages(cache() / "python")
    python = cache() / "python" / "bin" / "python"
    steps = [phrase, name_of(phrase), options.out.resolve(), cache(), options.clips]
    os.execv(python, [str(python), str(HERE / "steps.py"), *map(str, steps)])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
