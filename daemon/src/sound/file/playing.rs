//! Packet after packet, to the end of a file or to the first fault.

use std::io::ErrorKind;

use symphonia::core::errors::Error as Fault;
use symphonia::core::formats::{FormatReader, Track, TrackType};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase};

use super::bytes::Section;
use super::container::{self, Kind, Opened, Packets};
use super::decoder::Decoder;
use super::error::FileError;
use super::gathering::Gathering;
use super::raw::{self, Layout};
use super::source::{Exceeded, Limits};
use crate::sound::mix::Mix;

/// The decoded sound of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The sound, 16 kHz mono.
    pub samples: Vec<f32>,
    /// Whether sound is missing: the file is cut short or damaged.
    pub is_incomplete: bool,
}

/// Most packets without sound: pictures of a film, damaged packets. Half a minute of a film has some thousand.
const FRUITLESS: u32 = 20_000;

/// How much shorter sound may be than its file states, in ms: encoders count their padding.
const TOLERANCE_MS: u64 = 100;

/// A file that is played, and those behind it.
pub(super) struct Playing<'a> {
    limits: &'a Limits,
    sound: Gathering,
    is_incomplete: bool,
    /// The first fault that ended it, reported if there is no sound at all.
    fault: Option<FileError>,
    /// Packets that gave no sound.
    fruitless: u32,
}

/// Whether the next packet is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Packet,
    Nothing,
}

impl<'a> Playing<'a> {
    /// Nothing yet.
    pub(super) fn new(limits: &'a Limits, sound: Gathering) -> Self {
        Self {
            limits,
            sound,
            is_incomplete: false,
            fault: None,
            fruitless: 0,
        }
    }

    /// Plays a file. Returns the one behind it, if there may be one.
    ///
    /// # Errors
    /// When it cannot be opened, is too long or takes too much time. A file that ends with a fault counts as played.
    pub(super) fn play(&mut self, file: &Section<'a>) -> Result<Option<Section<'a>>, FileError> {
        let opened = container::open(file, self.limits);
        let opened = match opened {
            // Anything may stand behind a sound.
            Err(error) if !self.sound.is_empty() => {
                self.end_with(error);
                return Ok(None);
            }
            opened => opened?,
        };
        let Opened {
            packets,
            is_cut_short,
            behind,
        } = opened;
        self.is_incomplete |= is_cut_short;
        match packets {
            Packets::Raw(layout, packets) => self.play_raw(&layout, packets)?,
            Packets::Stream(kind, reader) => self.play_stream(kind, reader)?,
        }
        self.sound.end_part();
        Ok(behind)
    }

    /// The sound, and the mix that suits it best.
    ///
    /// # Errors
    /// When there was no sound.
    pub(super) fn finish(self) -> Result<(Decoded, Mix), FileError> {
        if self.sound.is_empty() {
            let nothing = FileError::Damaged("there is no sound in it");
            return Err(self.fault.unwrap_or(nothing));
        }
        let (samples, best) = self.sound.finish();
        let decoded = Decoded {
            samples,
            is_incomplete: self.is_incomplete,
        };
        Ok((decoded, best))
    }

    fn play_raw(&mut self, layout: &Layout, mut packets: raw::Packets) -> Result<(), FileError> {
        let mut decoder = Decoder::new(&layout.parameters())?;
        let stated = Some(self.sound.milliseconds() + packets.milliseconds());
        while let Some(packet) = packets.next()? {
            let Ok(frames) = decoder.decode(&packet) else {
                self.end_with(FileError::Damaged("what it holds makes no sense"));
                break;
            };
            self.sound
                .append(frames.rate, frames.channels, frames.interleaved)?;
            self.check(true, stated)?;
        }
        Ok(())
    }

    fn play_stream(
        &mut self,
        kind: Kind,
        mut reader: Box<dyn FormatReader + 'a>,
    ) -> Result<(), FileError> {
        let before = self.sound.milliseconds();
        let (mut track, mut decoder) = begin(reader.as_ref())?;
        let stated = stated(reader.as_ref(), &track);
        let promised = promised(kind, reader.as_ref(), &track);
        let stated_in_all = stated.map(|stated| before + stated);
        let is_exact = kind == Kind::Flac;
        loop {
            self.limits.allow(kind.allowance());
            let next = match reader.next_packet() {
                Ok(Some(packet)) if packet.track_id == track.id => {
                    self.decode(&mut decoder, &packet)?
                }
                Ok(Some(_)) => self.fruitless(),
                Ok(None) => Next::Nothing,
                // Another stream of sound begins behind the first, and takes its place.
                Err(Fault::ResetRequired) => match begin(reader.as_ref()) {
                    Ok(begun) => {
                        (track, decoder) = begun;
                        Next::Packet
                    }
                    Err(error) => self.end_with(error),
                },
                Err(Fault::IoError(error)) if promised.is_none() && is_end(&error, kind) => {
                    Next::Nothing
                }
                Err(fault) => self.end_with(self.meaning(&fault)),
            };
            self.check(is_exact, stated_in_all)?;
            if next == Next::Nothing {
                break;
            }
        }
        let played = self.sound.milliseconds() - before;
        self.is_incomplete |= promised.is_some_and(|promised| played + TOLERANCE_MS < promised);
        Ok(())
    }

    fn decode(&mut self, decoder: &mut Decoder, packet: &Packet) -> Result<Next, FileError> {
        match decoder.decode(packet) {
            Ok(frames) if frames.interleaved.is_empty() => Ok(self.fruitless()),
            Ok(frames) => {
                self.sound
                    .append(frames.rate, frames.channels, frames.interleaved)?;
                Ok(Next::Packet)
            }
            // A file cut at its beginning starts with packets that refer to missing ones.
            Err(Fault::DecodeError(_)) if self.sound.is_empty() => Ok(self.fruitless()),
            Err(Fault::DecodeError(_)) => {
                self.is_incomplete = true;
                Ok(self.fruitless())
            }
            Err(fault) => Ok(self.end_with(FileError::of(&fault))),
        }
    }

    /// Counts a packet without sound.
    fn fruitless(&mut self) -> Next {
        self.fruitless += 1;
        if self.fruitless > FRUITLESS {
            return self.end_with(FileError::Damaged("there is hardly any sound in it"));
        }
        Next::Packet
    }

    /// Ends with this error: nothing more can be played.
    fn end_with(&mut self, error: FileError) -> Next {
        self.is_incomplete = true;
        self.fault.get_or_insert(error);
        Next::Nothing
    }

    /// The error for a fault that kept the next packet from being read.
    fn meaning(&self, fault: &Fault) -> FileError {
        match fault {
            Fault::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
                FileError::of(fault)
            }
            _ if self.limits.exceeded() == Some(Exceeded::Bytes) => FileError::Header,
            fault => FileError::of(fault),
        }
    }

    /// Checks the limits of length and processor time. `stated`: the whole length that the file states, in
    /// milliseconds.
    fn check(&self, is_exact: bool, stated: Option<u64>) -> Result<(), FileError> {
        if self.sound.is_too_long(is_exact) {
            let stated = stated.filter(|stated| *stated > self.sound.milliseconds());
            return Err(FileError::TooLong(stated));
        }
        self.limits.check().map_err(|_| FileError::Laborious)
    }
}

/// The default track of sound, and its decoder.
fn begin(reader: &dyn FormatReader) -> Result<(Track, Decoder), FileError> {
    let track = reader.default_track(TrackType::Audio);
    let track = track.ok_or(FileError::Unsupported("of an unusual kind".into()))?;
    let parameters = track.codec_params.as_ref().and_then(|it| it.audio());
    let parameters = parameters.ok_or(FileError::Unsupported("of an unusual kind".into()))?;
    let decoder = Decoder::new(parameters)?;
    Ok((track.clone(), decoder))
}

/// The length of the sound that a file states, in milliseconds.
fn stated(reader: &dyn FormatReader, track: &Track) -> Option<u64> {
    let of_file = reader.media_info();
    let of_track = time(track.duration, track.time_base);
    of_track.or_else(|| time(of_file.duration, of_file.time_base))
}

/// The same where it is reliable. The reader of ADTS guesses it from the first packets, and Matroska states the length
/// of the longest track, which may be that of the pictures.
fn promised(kind: Kind, reader: &dyn FormatReader, track: &Track) -> Option<u64> {
    match kind {
        Kind::Adts => None,
        Kind::Matroska if reader.tracks().len() > 1 => time(track.duration, track.time_base),
        _ => stated(reader, track),
    }
}

/// Whether a file of this kind may end so if it states no length. A live recording in Matroska is open at its end.
fn is_end(error: &std::io::Error, kind: Kind) -> bool {
    kind == Kind::Matroska && error.kind() == ErrorKind::UnexpectedEof
}

fn time(duration: Option<Duration>, base: Option<TimeBase>) -> Option<u64> {
    let ticks = duration?.get();
    let base = base?;
    let milliseconds =
        u128::from(ticks) * u128::from(base.numer.get()) * 1000 / u128::from(base.denom.get());
    u64::try_from(milliseconds).ok().filter(|it| *it > 0)
}
