//! The kind of a file, by its first bytes alone, and the reader for it.

use symphonia::core::errors::Error as Fault;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::default::formats::{
    AdtsReader, CafReader, FlacReader, IsoMp4Reader, MkvReader, MpaReader, OggReader,
};

use super::bytes::Section;
use super::error::FileError;
use super::raw::{self, Layout};
use super::source::{Exceeded, Limits, Source};
use super::wave::{self, Content, Wave};
use super::{aiff, tags};

/// A sound whose packets can be read.
pub(super) struct Opened<'a> {
    /// The packets.
    pub packets: Packets<'a>,
    /// Whether the file ends before its sound does.
    pub is_cut_short: bool,
    /// The file behind this one, if there is one.
    pub behind: Option<Section<'a>>,
}

/// Where packets come from.
pub(super) enum Packets<'a> {
    /// One after the other.
    Raw(Layout, raw::Packets<'a>),
    /// From a format reader of symphonia.
    Stream(Kind, Box<dyn FormatReader + 'a>),
}

/// Formats for which symphonia has a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// AAC of broadcasts.
    Adts,
    Caf,
    Flac,
    Matroska,
    Mp4,
    /// MP3, MP2 and MP1.
    Mpeg,
    Ogg,
}

impl Kind {
    /// Most bytes that may be read before the first packet, and then for each packet. Readers keep a file's texts in
    /// memory, in Ogg at ten to forty times their length, and the index of CAF at sixteen times; otherwise a file
    /// begins with nothing but its sound.
    pub(super) fn allowance(self) -> u64 {
        match self {
            Self::Adts | Self::Mpeg | Self::Ogg => 1 << 17,
            Self::Caf => 1 << 18,
            Self::Flac | Self::Matroska | Self::Mp4 => 1 << 20,
        }
    }

    /// Whether its reader has to seek. Without seeking, the others do not look for the end, which takes time and is not
    /// needed.
    fn is_sought(self) -> bool {
        matches!(self, Self::Caf | Self::Mp4)
    }
}

/// Determines the kind of a file, and opens its first sound.
///
/// # Errors
/// When it is not a sound file, or no sound is in it.
pub(super) fn open<'a>(file: &Section<'a>, limits: &'a Limits) -> Result<Opened<'a>, FileError> {
    let file = tags::without_id3(file)?;
    let mut start = [0; 36];
    file.fill(&mut start, 0)?;
    let begin: [u8; 12] = std::array::from_fn(|place| start[place]);
    if wave::is_wave(begin) {
        return open_wave(&file, limits);
    }
    if aiff::is_aiff(begin) {
        let (layout, extent) = aiff::read(&file)?;
        return Ok(Opened {
            packets: raw(layout, file.part(extent.range)),
            is_cut_short: extent.is_cut_short,
            behind: None,
        });
    }
    if begin.starts_with(b"fLaC") {
        let (head, sound) = tags::without_blocks(&file)?;
        return stream(Kind::Flac, head, sound, limits);
    }
    if let Some(name) = foreign(&start) {
        return Err(FileError::Foreign(name));
    }
    let kind = match begin {
        [b'O', b'g', b'g', b'S', ..] => Kind::Ogg,
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Kind::Mp4,
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Kind::Matroska,
        [b'c', b'a', b'f', b'f', ..] => Kind::Caf,
        // A sync word and layer 0, which MPEG audio proper never has.
        [0xff, second, ..] if second & 0xf6 == 0xf0 => Kind::Adts,
        _ => Kind::Mpeg,
    };
    stream(kind, Vec::new(), file, limits)
}

fn open_wave<'a>(file: &Section<'a>, limits: &'a Limits) -> Result<Opened<'a>, FileError> {
    let Wave { content, extent } = wave::read(file)?;
    let sound = file.part(extent.range.clone());
    let opened = match content {
        Content::Mpeg => stream(Kind::Mpeg, Vec::new(), sound, limits)?,
        Content::Raw(layout) => Opened {
            packets: raw(layout, sound),
            is_cut_short: false,
            behind: None,
        },
    };
    Ok(Opened {
        is_cut_short: extent.is_cut_short,
        behind: behind_wave(file, extent.range.end)?,
        ..opened
    })
}

/// The WAV file behind one whose sound ends at `end`, if there is one.
fn behind_wave<'a>(file: &Section<'a>, end: u64) -> Result<Option<Section<'a>>, FileError> {
    for start in [end, end + end % 2] {
        let next = file.from(start);
        if next.array::<12>(0)?.is_some_and(wave::is_wave) {
            return Ok(Some(next));
        }
    }
    Ok(None)
}

fn raw(layout: Layout, sound: Section) -> Packets {
    Packets::Raw(layout.clone(), raw::Packets::new(layout, sound))
}

fn stream<'a>(
    kind: Kind,
    head: Vec<u8>,
    section: Section<'a>,
    limits: &'a Limits,
) -> Result<Opened<'a>, FileError> {
    let source = Source::new(head, section, kind.is_sought(), limits);
    let source = MediaSourceStream::new(Box::new(source), MediaSourceStreamOptions::default());
    limits.allow(kind.allowance());
    let reader = read(kind, source).map_err(|fault| unread(kind, &fault, limits))?;
    Ok(Opened {
        packets: Packets::Stream(kind, reader),
        is_cut_short: false,
        behind: None,
    })
}

fn read<'a>(
    kind: Kind,
    source: MediaSourceStream<'a>,
) -> Result<Box<dyn FormatReader + 'a>, Fault> {
    let options = FormatOptions::default();
    Ok(match kind {
        Kind::Adts => Box::new(AdtsReader::try_new(source, options)?),
        Kind::Caf => Box::new(CafReader::try_new(source, options)?),
        Kind::Flac => Box::new(FlacReader::try_new(source, options)?),
        Kind::Matroska => Box::new(MkvReader::try_new(source, options)?),
        Kind::Mp4 => Box::new(IsoMp4Reader::try_new(source, options)?),
        Kind::Mpeg => Box::new(MpaReader::try_new(source, options)?),
        Kind::Ogg => Box::new(OggReader::try_new(source, options)?),
    })
}

/// Why the beginning of such a file could not be read.
fn unread(kind: Kind, fault: &Fault, limits: &Limits) -> FileError {
    log::debug!("{kind:?} not read: {fault}");
    match limits.exceeded() {
        // A file of no known kind was searched for MPEG's frames.
        _ if kind == Kind::Mpeg => FileError::NotSound,
        Some(Exceeded::Bytes) => FileError::Header,
        Some(Exceeded::Time) => FileError::Laborious,
        None if kind == Kind::Mp4 && matches!(fault, Fault::Unsupported(_)) => {
            FileError::Damaged("it lacks the index that a recorder writes last")
        }
        None => FileError::of(fault),
    }
}

/// Kinds of files without a reader: the name, and the bytes at a position near the beginning.
const FOREIGN: &[(&str, usize, &[u8])] = &[
    ("an AMR", 0, b"#!AMR"),
    ("a SILK", 0, b"#!SILK"),
    ("a SILK", 1, b"#!SILK"),
    ("a Windows Media (WMA or WMV)", 0, &[0x30, 0x26, 0xb2, 0x75]),
    ("an AVI", 8, b"AVI "),
    ("a RIFX", 0, b"RIFX"),
    ("a Wave64", 0, b"riff\x2e\x91\xcf\x11"),
    ("an AU", 0, b".snd"),
    ("an 8SVX", 8, b"8SVX"),
    ("a NIST SPHERE", 0, b"NIST_1A"),
    ("a VOC", 0, b"Creative Voice File"),
    ("an FLV", 0, b"FLV\x01"),
    ("a Monkey's Audio", 0, b"MAC "),
    ("a Musepack", 0, b"MPCK"),
    ("a Musepack", 0, b"MP+"),
    ("a MIDI", 0, b"MThd"),
    ("a TTA", 0, b"TTA1"),
    ("a DSD", 0, b"DSD "),
    ("a WavPack", 0, b"wvpk"),
    ("a RealMedia", 0, b".ra\xfd"),
    ("a RealMedia", 0, b".RMF"),
    ("an MPEG video", 0, &[0, 0, 1, 0xba]),
    ("an MPEG video", 0, &[0, 0, 1, 0xb3]),
    ("an AC-3", 0, &[0x0b, 0x77]),
    ("an Ogg Speex", 28, b"Speex   "),
    ("an old QuickTime", 4, b"moov"),
    ("an old QuickTime", 4, b"mdat"),
    ("an old QuickTime", 4, b"wide"),
];

fn foreign(start: &[u8]) -> Option<&'static str> {
    let is_here = |(_, place, what): &&(_, usize, &[u8])| {
        start
            .get(*place..)
            .is_some_and(|rest| rest.starts_with(what))
    };
    FOREIGN.iter().find(is_here).map(|(name, ..)| *name)
}
