//! Sound files: whatever a client hands over becomes what the model hears, or a named error.
//!
//! The bytes come from anybody who may talk to the daemon, so everything is bounded here: how much
//! is read, which rates and channel counts are believed, how much is decoded.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::ops::RangeInclusive;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Fault;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;

use super::resample::{RATE, Resampler};
use crate::engine::{LONGEST_SECONDS, SHORTEST_MS};

mod wav;

/// Most bytes a file may have: 30 s of 8 channels of 32 bits at 48 kHz would be 44 MiB.
const LARGEST: u64 = 64 << 20;

/// Sample rates that are believed: from below telephony to what studio cards do.
const RATES: RangeInclusive<u32> = 4_000..=384_000;

/// Channel counts that are believed.
const CHANNELS: RangeInclusive<usize> = 1..=32;

/// Why a sound file was refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading failed.
    #[error("the sound cannot be read: {0}; pass a file or a pipe that is open for reading")]
    Unreadable(io::Error),
    /// There are no bytes.
    #[error("the sound file is empty (0 bytes); check whatever wrote it")]
    Empty,
    /// There are too many bytes.
    #[error("the sound file is larger than {mib} MiB; convert it to 16 kHz mono, or to FLAC", mib = LARGEST >> 20)]
    TooLarge,
    /// The content is no known sound format, whatever the name says.
    #[error("this is not a sound file ({0}); WAV, FLAC, MP3 and Ogg Vorbis are understood")]
    NotSound(String),
    /// A known container with something inside that we cannot decode.
    #[error(
        "the sound is encoded in a way that is not supported ({0}); convert it to WAV, FLAC, MP3 or Ogg Vorbis"
    )]
    Unsupported(String),
    /// The sample rate makes no sense.
    #[error(
        "the file claims {0} samples per second, and {low} to {high} are believed; \
         it is damaged, or convert it to 16000",
        low = RATES.start(),
        high = RATES.end()
    )]
    Rate(u32),
    /// The number of channels makes no sense.
    #[error(
        "the file claims {0} channels, and {low} to {high} are believed; \
         it is damaged, or convert it to mono",
        low = CHANNELS.start(),
        high = CHANNELS.end()
    )]
    Channels(usize),
    /// It looks like sound, but nothing in it can be decoded.
    #[error("the sound file is damaged or cut off ({0}); record or copy it again")]
    Damaged(String),
    /// Too little sound.
    #[error("the sound is {0} ms long; speech needs at least {SHORTEST_MS} ms")]
    TooShort(u64),
    /// Too much sound. The length is in milliseconds.
    #[error(
        "the sound is {s}.{tenth} s long; Gemma 4 hears at most {LONGEST_SECONDS} s: cut it into pieces",
        s = .0.div_ceil(100) / 10,
        tenth = .0.div_ceil(100) % 10
    )]
    TooLong(u64),
}

/// Decodes a sound file, read from the descriptor's position to its end, to 16 kHz mono samples.
///
/// What kind of file it is follows from its content. A pipe does as well as a regular file; reading
/// one blocks until its writer closes it. A file that ends too early gives the sound it has.
///
/// # Errors
/// [`FileError`] says what is wrong with the file and what to do about it.
pub fn decode(file: File) -> Result<Vec<f32>, FileError> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(FileError::Unreadable)?;
    if bytes.is_empty() {
        return Err(FileError::Empty);
    }
    if bytes.len() as u64 > LARGEST {
        return Err(FileError::TooLarge);
    }
    decode_bytes(bytes)
}

fn decode_bytes(mut bytes: Vec<u8>) -> Result<Vec<f32>, FileError> {
    wav::make_honest(&mut bytes)?;
    let source = MediaSourceStream::new(
        Box::new(Cursor::new(bytes)),
        MediaSourceStreamOptions::default(),
    );
    let mut reader = symphonia::default::get_probe()
        .probe(
            &Hint::new(),
            source,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .map_err(unrecognised)?;
    let track = reader
        .default_track(TrackType::Audio)
        .ok_or_else(|| FileError::NotSound("no sound in it".into()))?
        .clone();
    let mut decoder = decoder(&track)?;
    let samples = decode_track(reader.as_mut(), &track, decoder.as_mut())?;
    let milliseconds = milliseconds(samples.len());
    if milliseconds < u64::from(SHORTEST_MS) {
        return Err(FileError::TooShort(milliseconds));
    }
    Ok(samples)
}

/// The error for a file that no format reader took.
fn unrecognised(fault: Fault) -> FileError {
    match fault {
        Fault::Unsupported(_) => FileError::NotSound("no known format".into()),
        fault => FileError::Damaged(fault.to_string()),
    }
}

fn decoder(track: &Track) -> Result<Box<dyn AudioDecoder>, FileError> {
    let parameters: &AudioCodecParameters = track
        .codec_params
        .as_ref()
        .and_then(|parameters| parameters.audio())
        .ok_or_else(|| FileError::Unsupported("no known codec".into()))?;
    if let Some(rate) = parameters.sample_rate {
        check(rate, *CHANNELS.start())?;
    }
    if let Some(channels) = &parameters.channels {
        check(*RATES.start(), channels.count())?;
    }
    symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|fault| FileError::Unsupported(fault.to_string()))
}

fn check(rate: u32, channels: usize) -> Result<(), FileError> {
    if !RATES.contains(&rate) {
        return Err(FileError::Rate(rate));
    }
    if !CHANNELS.contains(&channels) {
        return Err(FileError::Channels(channels));
    }
    Ok(())
}

/// Decodes packet after packet until the end, the first fault that is not confined to a packet, or
/// more than the model can hear.
fn decode_track(
    reader: &mut dyn FormatReader,
    track: &Track,
    decoder: &mut dyn AudioDecoder,
) -> Result<Vec<f32>, FileError> {
    let mut sound = Sound::default();
    let fault = loop {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break None,
            Err(fault) => break Some(fault),
        };
        if packet.track_id != track.id {
            continue;
        }
        match decoder.decode(&packet) {
            Ok(audio) => sound.append(&audio)?,
            Err(Fault::DecodeError(_)) => {}
            Err(fault) => break Some(fault),
        }
        if sound.samples.len() as u64 > u64::from(LONGEST_SECONDS) * u64::from(RATE) {
            let left = milliseconds_left(reader, track);
            return Err(FileError::TooLong(
                milliseconds(sound.samples.len()).saturating_add(left),
            ));
        }
    };
    let samples = sound.finish();
    if samples.is_empty() {
        let reason = fault.map_or("there is no sound in it".into(), |fault| fault.to_string());
        return Err(FileError::Damaged(reason));
    }
    Ok(samples)
}

/// The length of what was not decoded, as the packets state it.
fn milliseconds_left(reader: &mut dyn FormatReader, track: &Track) -> u64 {
    let Some(base) = track.time_base else {
        return 0;
    };
    let mut ticks = 0u64;
    while let Ok(Some(packet)) = reader.next_packet() {
        if packet.track_id == track.id {
            ticks = ticks.saturating_add(packet.dur.get());
        }
    }
    let milliseconds =
        u128::from(ticks) * u128::from(base.numer.get()) * 1000 / u128::from(base.denom.get());
    u64::try_from(milliseconds).unwrap_or(u64::MAX)
}

/// The length of so many samples at [`RATE`], rounded down.
fn milliseconds(samples: usize) -> u64 {
    samples as u64 * 1000 / u64::from(RATE)
}

/// The sound decoded so far.
#[derive(Default)]
struct Sound {
    /// Made when the first packet shows the true rate and number of channels.
    resampler: Option<(Resampler, u32, usize)>,
    interleaved: Vec<f32>,
    samples: Vec<f32>,
}

impl Sound {
    fn append(&mut self, audio: &GenericAudioBufferRef<'_>) -> Result<(), FileError> {
        let (rate, channels) = (audio.spec().rate(), audio.spec().channels().count());
        check(rate, channels)?;
        let (resampler, first_rate, first_channels) = self.resampler.get_or_insert_with(|| {
            (
                Resampler::new(rate, u16::try_from(channels).unwrap_or(1)),
                rate,
                channels,
            )
        });
        if (rate, channels) != (*first_rate, *first_channels) {
            return Err(FileError::Damaged(
                "rate or channels change in the middle".into(),
            ));
        }
        audio.copy_to_vec_interleaved(&mut self.interleaved);
        resampler.push(&self.interleaved, &mut self.samples);
        Ok(())
    }

    fn finish(mut self) -> Vec<f32> {
        if let Some((resampler, ..)) = self.resampler {
            resampler.flush(&mut self.samples);
        }
        self.samples
    }
}

#[cfg(test)]
mod tests;
