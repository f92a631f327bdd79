"""Makes somebody else of a voice, so that a handful of synthesisers are many people.

WORLD (Morise, Yokomori and Ozawa 2016) takes a sentence apart: pitch, spectral envelope, and how much of each band is
breath. It is put together with another throat, melody and larynx.
"""

import numpy as np
import pyworld
from scipy.ndimage import gaussian_filter

from speech import RATE


def disguised(wave, rng):
    """`wave` (16 kHz, in [-1, 1]) by somebody else, in the same time; `rng` is one of `random`'s."""
    samples = np.ascontiguousarray(wave, np.float64)
    rough, times = pyworld.dio(samples, RATE)
    pitch = pyworld.stonemask(samples, rough, times, RATE)
    envelope = np.log(pyworld.cheaptrick(samples, pitch, times, RATE) + 1e-16)
    breath = pyworld.d4c(samples, pitch, times, RATE)
    throat = np.exp(rng.uniform(-0.18, 0.18))
    spoken = pyworld.synthesize(
        _melody(pitch, rng),
        np.ascontiguousarray(np.exp(_longer(_blurred(envelope, rng), throat))),
        np.ascontiguousarray(_longer(breath, throat) ** np.exp(rng.uniform(-1.0, 0.7))),
        RATE,
    )
    return np.resize(spoken, len(wave)).astype(np.float32)


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
