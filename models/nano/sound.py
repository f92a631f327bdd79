"""Sound around and over speech: noise, rooms, music, microphones; and the mel spectrogram."""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

RATE = 16000
FRAME, HOP, FFT, MELS = 320, 160, 512, 128
FLOOR = 1e-3


def _filterbank(warp=1.0):
    """HTK mel filters, 0 to 8000 Hz, not normalised by area: (257, 128). With `warp` they hear a vocal
    tract so many times as long (vocal tract length perturbation, Jaitly and Hinton 2013)."""
    points = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), MELS + 2) / 2595) - 1)
    knee = 4800 * min(1, 1 / warp)
    points = np.where(points <= knee, points * warp, 8000 - (8000 - knee * warp) / (8000 - knee) * (8000 - points))
    bins = np.arange(FFT // 2 + 1) * RATE / FFT
    rise = (bins[:, None] - points[:-2]) / (points[1:-1] - points[:-2])
    fall = (points[2:] - bins[:, None]) / (points[2:] - points[1:-1])
    return np.maximum(0, np.minimum(rise, fall)).astype(np.float32)


FILTERS = _filterbank()
WARPED = [_filterbank(warp) for warp in np.linspace(0.86, 1.16, 13)]
WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)).astype(np.float32)


def mel(sound, add=False, filters=FILTERS):
    """Log mel magnitudes, (frames, 128). llama.cpp takes log(max(x, floor)); the reference, and this
    with `add`, log(x + floor)."""
    count = max(1, (len(sound) + HOP - FRAME - 1) // HOP + 1)
    padded = np.zeros(HOP + max(len(sound), count * HOP + FRAME), np.float32)
    padded[HOP : HOP + len(sound)] = sound
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP][:count] * WINDOW
    power = np.abs(rfft(frames, FFT, axis=1)) @ filters
    return np.log(power + FLOOR if add else np.maximum(power, FLOOR)).astype(np.float32)


def loudness(sound):
    """Root mean square of the louder half of 20 ms pieces: of the speech, not of the pauses."""
    pieces = sound[: len(sound) // 320 * 320].reshape(-1, 320)
    power = np.sort((pieces**2).mean(1)) if len(pieces) else np.array([1e-9])
    return float(np.sqrt(power[len(power) // 2 :].mean()) + 1e-6)


def noise(count, rng):
    """Stationary noise between white and brown, sometimes with a mains hum or a band taken out."""
    size = next_fast_len(count)
    spectrum = rfft(rng.standard_normal(size).astype(np.float32))
    frequency = np.maximum(rfftfreq(size, 1 / RATE), 20)
    spectrum *= frequency ** -rng.uniform(0, 1.2)
    if rng.random() < 0.3:
        centre = rng.uniform(100, 5000)
        spectrum *= 0.1 + np.exp(-(np.log(frequency / centre) ** 2) * rng.uniform(0.5, 4))
    sound = irfft(spectrum, size)[:count]
    if rng.random() < 0.3:
        time = np.arange(count) / RATE
        pitch = rng.choice([50, 60, 100, 120, 180]) * rng.uniform(0.99, 1.01)
        hum = sum(np.sin(2 * np.pi * pitch * k * time + k) / k for k in range(1, 8))
        sound = sound / (sound.std() + 1e-9) + hum * rng.uniform(0.2, 2)
    if rng.random() < 0.3:
        sound = sound * (0.3 + np.abs(np.sin(np.arange(count) / RATE * rng.uniform(0.5, 6) + rng.uniform(0, 6))))
    return (sound / (sound.std() + 1e-9)).astype(np.float32)


def tones(count, rng):
    """Beeps, sweeps, dial tones."""
    time = np.arange(count) / RATE
    kind = rng.integers(4)
    pitch = rng.uniform(80, 3000)
    if kind == 0:
        sound = np.sin(2 * np.pi * pitch * time)
    elif kind == 1:
        sound = np.sin(2 * np.pi * (pitch * time + rng.uniform(-500, 500) * time**2))
    elif kind == 2:
        sound = np.sin(2 * np.pi * pitch * time) + np.sin(2 * np.pi * pitch * rng.uniform(1.1, 2.5) * time)
    else:
        sound = np.sign(np.sin(2 * np.pi * pitch * time)) * 0.5
    if rng.random() < 0.5:
        sound = sound * (np.sin(2 * np.pi * rng.uniform(0.5, 5) * time) > rng.uniform(-0.5, 0.7))
    return (sound / (sound.std() + 1e-9)).astype(np.float32)


def music(count, rng):
    """Chords, a melody and a drum that keep a tempo."""
    sound = np.zeros(count + 2 * RATE, np.float32)
    beat = int(RATE * rng.uniform(0.2, 0.6))
    root = rng.uniform(80, 220)
    harmonics = 1 / np.arange(1, 9) ** rng.uniform(0.8, 2.5)
    for start in range(0, count, beat):
        notes = [0, 4, 7] if (start // beat) % 4 == 0 else [rng.choice([0, 2, 4, 5, 7, 9, 11, 12, 14, 16])]
        length = int(beat * rng.uniform(0.8, 2.5))
        time = np.arange(length) / RATE
        decay = np.exp(-time * rng.uniform(1, 8))
        for note in notes:
            pitch = root * 2 ** (note / 12) * rng.choice([1, 2])
            wave = sum(a * np.sin(2 * np.pi * pitch * (k + 1) * time) for k, a in enumerate(harmonics))
            sound[start : start + length] += (wave * decay)[: len(sound) - start]
        if rng.random() < 0.6:
            hit = rng.standard_normal(beat // 2) * np.exp(-np.arange(beat // 2) / RATE * 40)
            sound[start : start + beat // 2] += hit * rng.uniform(0.3, 1.5)
    sound = sound[:count]
    return (sound / (sound.std() + 1e-9)).astype(np.float32)


def room(sound, rng, far=False):
    """Reverberation; `far` makes the speaker stand far away."""
    decay = rng.uniform(0.08, 0.5) if not far else rng.uniform(0.25, 0.7)
    length = int(RATE * decay)
    response = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    response *= rng.uniform(0.05, 0.35) / np.sqrt((response**2).sum()) * (2.2 if far else 1)
    response[: int(RATE * rng.uniform(0.001, 0.006))] = 0
    response[0] = 1
    size = next_fast_len(len(sound) + length)
    wet = irfft(rfft(sound, size) * rfft(response.astype(np.float32), size), size)
    return wet[: len(sound)].astype(np.float32)


def colour(sound, rng):
    """A microphone's frequency response: a tilt, a bump, sometimes a telephone's band."""
    size = next_fast_len(len(sound))
    frequency = np.maximum(rfftfreq(size, 1 / RATE), 50)
    octaves = np.log2(frequency / 1000)
    decibel = rng.uniform(-4, 4) * octaves / 2 + rng.uniform(-8, 8) * np.exp(-((octaves - rng.uniform(-3, 3)) ** 2))
    gain = 10 ** (decibel / 20)
    if rng.random() < 0.12:
        gain = gain / (1 + (rng.uniform(150, 300) / frequency) ** 4) / (1 + (frequency / rng.uniform(3000, 4000)) ** 8)
    return irfft(rfft(sound, size) * gain.astype(np.float32), size)[: len(sound)].astype(np.float32)


def mix(sound, other, decibel):
    """`other` under `sound` at a signal-to-noise ratio in dB."""
    gain = loudness(sound) / (np.sqrt((other**2).mean()) + 1e-9) * 10 ** (-decibel / 20)
    return sound + other * gain


def pause(sound, before, after):
    """Silence around speech, in seconds."""
    return np.pad(sound, (int(before * RATE), int(after * RATE)))


def trimmed(sound):
    """`sound` without the silence at both ends."""
    loud = np.flatnonzero(np.abs(sound) > 0.01 * np.abs(sound).max())
    return sound if len(loud) == 0 else sound[max(0, loud[0] - 160) : loud[-1] + 480]


def augment(sound, rng, babble, strength=1.0):
    """What a recording may do to clean speech. Returns the sound, how much faster it is, and how many
    seconds of silence were put before it. `babble` gives other speech."""
    speed = 1.0
    if rng.random() < 0.7:
        speed = float(np.exp(rng.uniform(-0.16, 0.16)))
        at = np.arange(0, len(sound) - 1, speed)
        sound = np.interp(at, np.arange(len(sound)), sound).astype(np.float32)
    before = float(rng.choice([0, 0.03, 0.1, 0.3])) * rng.random() if rng.random() < 0.85 else rng.uniform(0.3, 1.2)
    after = rng.uniform(0, 0.3) if rng.random() < 0.85 else rng.uniform(0.3, 1.0)
    sound = pause(sound, before, after)
    far = rng.random() < 0.12 * strength
    if far or rng.random() < 0.35 * strength:
        sound = room(sound, rng, far)
    if rng.random() < 0.6 * strength:
        sound = colour(sound, rng)
    roll = rng.random()
    if roll < 0.34 * strength:
        sound = mix(sound, noise(len(sound), rng), rng.uniform(3, 24))
    elif roll < 0.62 * strength:
        sound = mix(sound, babble(len(sound), rng), rng.uniform(5, 20))
    elif roll < 0.68 * strength:
        sound = mix(sound, music(len(sound), rng), rng.uniform(8, 25))
    if rng.random() < 0.5:
        sound = sound + rng.standard_normal(len(sound)).astype(np.float32) * 10 ** rng.uniform(-5, -2.5)
    sound = sound * (10 ** rng.uniform(-1.5, -0.3) / (np.abs(sound).max() + 1e-6))
    if rng.random() < 0.06 * strength:
        limit = np.abs(sound).max() * rng.uniform(0.15, 0.6)
        sound = np.clip(sound, -limit, limit)
    return sound.astype(np.float32), speed, before


def nothing(rng, babble=None):
    """Up to five seconds without words."""
    count = int(RATE * rng.uniform(0.3, 4.0))
    kind = rng.integers(5)
    level = 10 ** rng.uniform(-4, -0.7)
    if kind == 0:
        sound = rng.standard_normal(count) * 10 ** rng.uniform(-6, -3) * (rng.random() < 0.7)
    elif kind == 1:
        sound = noise(count, rng) * level
    elif kind == 2:
        sound = tones(count, rng) * level
    elif kind == 3:
        sound = music(count, rng) * level
    else:
        sound = noise(count, rng) * np.exp(-np.arange(count) / RATE * rng.uniform(1, 20)) * 10 ** rng.uniform(-2, -0.5)
    return np.clip(sound, -1, 1).astype(np.float32)
