//! Packets → samples, for every codec.

use std::sync::LazyLock;

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_AC3, CODEC_ID_DCA, CODEC_ID_EAC3, CODEC_ID_MP1, CODEC_ID_MP2,
    CODEC_ID_MP3, CODEC_ID_OPUS, CODEC_ID_SPEEX, CODEC_ID_VORBIS, CODEC_ID_WMA,
};
use symphonia::core::codecs::audio::{
    AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions,
};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error as Fault;
use symphonia::core::packet::Packet;

use super::error::{CHANNELS, FileError, RATES, check};
use super::opus::{self, Opus};
use super::vorbis;

/// Most frames in a packet for which a decoder may reserve memory before it has seen one.
const LONGEST_PACKET: u64 = 1 << 17;

/// Symphonia's decoders.
static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs
});

/// Decodes the packets of one stream.
pub(super) struct Decoder {
    codec: Codec,
    interleaved: Vec<f32>,
}

enum Codec {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(Box<Opus>),
}

/// Samples of whole frames.
pub(super) struct Frames<'a> {
    pub rate: u32,
    pub channels: usize,
    pub interleaved: &'a [f32],
}

impl Decoder {
    /// A decoder for a stream with these parameters.
    ///
    /// # Errors
    /// When nothing here decodes it, or it asks for more than any recording needs.
    pub(super) fn new(parameters: &AudioCodecParameters) -> Result<Self, FileError> {
        check(
            parameters.sample_rate.unwrap_or(*RATES.start()),
            parameters
                .channels
                .as_ref()
                .map_or(*CHANNELS.start(), Channels::count),
        )?;
        let is_bomb = parameters.codec == CODEC_ID_VORBIS
            && !vorbis::is_modest(parameters.extra_data.as_deref().unwrap_or_default());
        if is_bomb || parameters.max_frames_per_packet.unwrap_or(0) > LONGEST_PACKET {
            return Err(FileError::Header);
        }
        let codec = if parameters.codec == CODEC_ID_OPUS {
            Codec::Opus(Box::new(Opus::new(parameters)?))
        } else {
            // The length that an MP3 file states is often an estimate, and leaves out another file behind it.
            let is_mpeg = [CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3].contains(&parameters.codec);
            let options = AudioDecoderOptions::default().gapless(!is_mpeg);
            let decoder = CODECS.make_audio_decoder(parameters, &options);
            Codec::Symphonia(decoder.map_err(|fault| undecodable(parameters, &fault))?)
        };
        Ok(Self {
            codec,
            interleaved: Vec::new(),
        })
    }

    /// The frames of a packet.
    ///
    /// # Errors
    /// [`Fault::DecodeError`] when the packet is damaged, any other when no more can come.
    pub(super) fn decode(&mut self, packet: &Packet) -> Result<Frames<'_>, Fault> {
        match &mut self.codec {
            Codec::Symphonia(decoder) => {
                let audio = decoder.decode(packet)?;
                audio.copy_to_vec_interleaved(&mut self.interleaved);
                Ok(Frames {
                    rate: audio.spec().rate(),
                    channels: audio.spec().channels().count(),
                    interleaved: &self.interleaved,
                })
            }
            Codec::Opus(decoder) => {
                let channels = decoder.channels();
                let trimmed = usize::try_from(packet.trim_end.get()).unwrap_or(usize::MAX);
                let interleaved = decoder.decode(&packet.data, trimmed);
                Ok(Frames {
                    rate: opus::RATE,
                    channels,
                    interleaved: interleaved.ok_or(Fault::DecodeError("opus"))?,
                })
            }
        }
    }
}

fn undecodable(parameters: &AudioCodecParameters, fault: &Fault) -> FileError {
    log::debug!("{} not decoded: {fault}", parameters.codec);
    match fault {
        Fault::Unsupported(_) => FileError::Unsupported(name(parameters.codec).into()),
        _ => FileError::Damaged("its header makes no sense"),
    }
}

/// The common name of a codec.
fn name(codec: AudioCodecId) -> &'static str {
    match codec {
        CODEC_ID_AAC => "AAC of more than two channels, or HE-AAC",
        CODEC_ID_AC3 | CODEC_ID_EAC3 => "AC-3",
        CODEC_ID_DCA => "DTS",
        CODEC_ID_SPEEX => "Speex",
        CODEC_ID_WMA => "Windows Media Audio",
        _ => "of an unusual kind",
    }
}
