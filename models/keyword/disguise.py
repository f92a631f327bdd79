"""Makes somebody else of a voice, so that a handful of synthesisers are many people.

WORLD (Morise, Yokomori and Ozawa 2016) takes a sentence apart: pitch, spectral envelope, and how much of each band is
breath. It is put together with another throat, melody, larynx and rhythm.
"""

import numpy as np
import pyworld
from scipy.ndimage import gaussian_filter

from speech import RATE

# What WORLD says of each frame is so far apart, in samples.
FRAME = 80


def disguised(wave, rng, at=0):
    """`wave` (16 kHz, in [-1, 1]) by somebody else, and where its sample `at` is then; `rng` is one of `random`'s."""
    samples = np.ascontiguousarray(wave, np.float64)
    rough, times = pyworld.dio(samples, RATE)
    pitch = pyworld.stonemask(samples, rough, times, RATE)
    envelope = np.log(pyworld.cheaptrick(samples, pitch, times, RATE) + 1e-16)
    breath = pyworld.d4c(samples, pitch, times, RATE)
    throat = np.exp(rng.uniform(-0.18, 0.18))
    when = _rhythm(len(pitch), rng)
    frames = np.rint(np.interp(np.arange(int(when[-1]) + 1), when, np.arange(len(pitch)))).astype(int)
    spoken = pyworld.synthesize(
        _melody(pitch, rng)[frames],
        np.ascontiguousarray(np.exp(_longer(_blurred(envelope, rng), throat))[frames]),
        np.ascontiguousarray(_longer(breath, throat)[frames] ** np.exp(rng.uniform(-1.0, 0.7))),
        RATE,
    )
    return spoken.astype(np.float32), int(np.interp(at / FRAME, np.arange(len(when)), when) * FRAME)


def _rhythm(count, rng):
    """When each of `count` frames comes, in frames: some syllables are quicker, some slower."""
    knots = np.arange(0, count + 50, 25)
    slower = np.exp(np.interp(np.arange(count), knots, [rng.gauss(0, 0.17) for _ in knots]))
    return np.cumsum(slower) - slower[0]


def _melody(pitch, rng):
    """Higher or lower, and livelier or flatter."""
    voiced = pitch > 0
    if not voiced.any():
        return pitch
    mean = np.log(pitch[voiced]).mean()
    other = mean + rng.uniform(-0.4, 0.4) + rng.uniform(0.1, 1.6) * (np.log(pitch, where=voiced, out=np.zeros_like(pitch)) - mean)
    return np.where(voiced, np.exp(np.clip(other, np.log(55), np.log(420))), 0.0)


def _blurred(envelope, rng):
    """As flat as what a statistical voice says, or with more relief than it had."""
    if rng.random() < 0.5:
        envelope = gaussian_filter(envelope, (rng.uniform(0.3, 4), rng.uniform(0.3, 5)))
    mean = envelope.mean(0)
    return mean + (envelope - mean) * rng.uniform(0.75, 1.2)


def _longer(spectra, throat):
    """(frames, bins) as a vocal tract so many times as long makes them."""
    bins = np.arange(spectra.shape[1])
    return np.stack([np.interp(bins * throat, bins, row) for row in spectra])
