//! Reads samples from the output of a synthesiser while it is written: a WAV file, or samples without a header.
//!
//! A program that writes a WAV file into a pipe cannot know its length, and states a huge one. So the sound lasts as
//! long as bytes come, unless the stated length is plausible.

/// Least length that stands for "not known": espeak-ng writes `0x7fff_f000`, others all ones.
const UNKNOWN: u32 = 0x7fff_0000;

/// Most bytes before the sound of a WAV file.
const LONGEST_HEADER: usize = 1 << 16;

/// How samples are written, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sample {
    U8,
    I16,
    I24,
    I32,
    F32,
}

impl Sample {
    fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::I16 => 2,
            Self::I24 => 3,
            Self::I32 | Self::F32 => 4,
        }
    }

    /// The sample in as many bytes, in -1 to 1.
    #[expect(
        clippy::cast_precision_loss,
        reason = "24 bits are more than anybody hears"
    )]
    fn read(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Self::U8, [a]) => (f32::from(*a) - 128.0) / 128.0,
            (Self::I16, [a, b]) => f32::from(i16::from_le_bytes([*a, *b])) / 32_768.0,
            (Self::I24, [a, b, c]) => {
                i32::from_le_bytes([0, *a, *b, *c]) as f32 / -(i32::MIN as f32)
            }
            (Self::I32, [a, b, c, d]) => {
                i32::from_le_bytes([*a, *b, *c, *d]) as f32 / -(i32::MIN as f32)
            }
            // NaN would stay in every filter on the way, those of the echo canceller too.
            (Self::F32, [a, b, c, d]) => match f32::from_le_bytes([*a, *b, *c, *d]) {
                number if number.is_nan() => 0.0,
                number => number.clamp(-1.0, 1.0),
            },
            _ => 0.0,
        }
    }
}

/// Rate, channels and type of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Frames a second.
    pub rate: u32,
    /// Samples in a frame.
    pub channels: u16,
    sample: Sample,
}

/// Reads samples from bytes, however these are cut.
#[derive(Debug)]
pub struct Reader {
    /// Rate of 16-bit mono samples without a header; `None`: there has to be one.
    raw: Option<u32>,
    state: State,
    /// Bytes that were not understood yet.
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// Nothing is known.
    Start,
    /// Inside a WAV file, before its sound.
    Header(Option<Format>),
    /// In the sound, with the number of bytes left if that is known.
    Sound(Format, Option<usize>),
}

impl Reader {
    /// Reads a WAV file, or if `raw` gives their rate, 16-bit mono samples.
    #[must_use]
    pub fn new(raw: Option<u32>) -> Self {
        Self {
            raw,
            state: State::Start,
            bytes: Vec::new(),
        }
    }

    /// Reads on; returns the samples that are now complete, interleaved, and their format, if there are any.
    ///
    /// # Errors
    /// When it is no sound that can be played, and why.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<(Format, Vec<f32>)>, &'static str> {
        self.bytes.extend_from_slice(bytes);
        loop {
            match self.state {
                State::Start => {
                    if self.bytes.len() < 12 && b"RIFF".starts_with(head(&self.bytes, 4)) {
                        return Ok(None);
                    }
                    self.start()?;
                }
                State::Header(format) => {
                    if !self.read_chunk(format)? {
                        return Ok(None);
                    }
                }
                State::Sound(format, left) => return Ok(self.take(format, left)),
            }
        }
    }

    fn start(&mut self) -> Result<(), &'static str> {
        if self.bytes.starts_with(b"RIFF") && self.bytes[8..].starts_with(b"WAVE") {
            self.bytes.drain(..12);
            self.state = State::Header(None);
            return Ok(());
        }
        let rate = self.raw.ok_or("it is no WAV file")?;
        let format = Format {
            rate,
            channels: 1,
            sample: Sample::I16,
        };
        self.state = State::Sound(format, None);
        Ok(())
    }

    /// Reads the next chunk of a WAV file, if all of it is there, or as much as matters; returns whether it is.
    fn read_chunk(&mut self, mut format: Option<Format>) -> Result<bool, &'static str> {
        let Some((header, body)) = self.bytes.split_first_chunk::<8>() else {
            return Ok(false);
        };
        let [name @ .., a, b, c, d] = *header;
        let length = u32::from_le_bytes([a, b, c, d]);
        // Chunks begin at even positions.
        let padded = length as usize + length as usize % 2;
        if name == *b"data" {
            let format = format.ok_or("its header does not say what it holds")?;
            let known = length != 0 && length < UNKNOWN;
            self.state = State::Sound(format, known.then_some(length as usize));
            self.bytes.drain(..8);
            return Ok(true);
        }
        if padded > LONGEST_HEADER {
            return Err("its header is too long");
        }
        if body.len() < padded {
            return Ok(false);
        }
        if name == *b"fmt " {
            // Bytes behind the chunk may be there already.
            format = Some(Format::read(&body[..length as usize])?);
        }
        self.state = State::Header(format);
        self.bytes.drain(..8 + padded);
        Ok(true)
    }

    /// Takes the whole frames there are.
    fn take(&mut self, format: Format, left: Option<usize>) -> Option<(Format, Vec<f32>)> {
        let frame = usize::from(format.channels) * format.sample.bytes();
        let there = left.map_or(self.bytes.len(), |left| left.min(self.bytes.len()));
        let whole = there / frame * frame;
        let samples = self.bytes[..whole].chunks_exact(format.sample.bytes());
        let samples: Vec<f32> = samples.map(|it| format.sample.read(it)).collect();
        self.bytes.drain(..whole);
        if let Some(left) = left {
            self.state = State::Sound(format, Some(left - whole));
            if left - whole < frame {
                // What follows the sound is no sound.
                self.bytes.clear();
            }
        }
        (!samples.is_empty()).then_some((format, samples))
    }
}

impl Format {
    /// Reads a `fmt ` chunk.
    fn read(chunk: &[u8]) -> Result<Self, &'static str> {
        let &[
            k0,
            k1,
            c0,
            c1,
            r0,
            r1,
            r2,
            r3,
            _,
            _,
            _,
            _,
            _,
            _,
            bits,
            _,
            ..,
        ] = chunk
        else {
            return Err("its header is too short");
        };
        let kind = match u16::from_le_bytes([k0, k1]) {
            // The extensible format states its kind later.
            0xfffe => chunk.get(24).copied().map_or(0, u16::from),
            kind => kind,
        };
        let sample = match (kind, bits) {
            (1, 8) => Sample::U8,
            (1, 16) => Sample::I16,
            (1, 24) => Sample::I24,
            (1, 32) => Sample::I32,
            (3, 32) => Sample::F32,
            _ => return Err("its samples are compressed, or of an unusual size"),
        };
        let channels = u16::from_le_bytes([c0, c1]);
        let rate = u32::from_le_bytes([r0, r1, r2, r3]);
        if !(1..=8).contains(&channels) || !(1000..=384_000).contains(&rate) {
            return Err("its rate or number of channels is absurd");
        }
        Ok(Self {
            rate,
            channels,
            sample,
        })
    }
}

fn head(bytes: &[u8], length: usize) -> &[u8] {
    &bytes[..length.min(bytes.len())]
}

#[cfg(test)]
mod tests {
    use gemmad_testbed::speech;
    use proptest::prelude::*;

    use super::*;

    /// The samples of these bytes in pieces of that size, and their rate and channels.
    fn read(
        raw: Option<u32>,
        bytes: &[u8],
        size: usize,
    ) -> Result<(u32, u16, Vec<f32>), &'static str> {
        let mut reader = Reader::new(raw);
        let mut all = (0, 0, Vec::new());
        for piece in bytes.chunks(size) {
            if let Some((format, samples)) = reader.push(piece)? {
                (all.0, all.1) = (format.rate, format.channels);
                all.2.extend(samples);
            }
        }
        Ok(all)
    }

    fn wav(kind: u16, bits: u16, length: u32, data: &[u8]) -> Vec<u8> {
        let mut wav = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        wav.extend(kind.to_le_bytes());
        wav.extend(2_u16.to_le_bytes());
        wav.extend(8000_u32.to_le_bytes());
        wav.extend([0; 6]);
        wav.extend(bits.to_le_bytes());
        wav.extend(b"data");
        wav.extend(length.to_le_bytes());
        wav.extend(data);
        wav
    }

    #[test]
    fn what_espeak_writes_to_a_pipe_is_read_to_its_end_however_it_comes() {
        let wav = speech::piped("yes", "en").unwrap();
        let (rate, channels, samples) = read(None, &wav, wav.len()).unwrap();
        assert_eq!((rate, channels), (22_050, 1));
        assert_eq!(samples.len(), (wav.len() - 44) / 2);
        for size in [1, 3, 44, 4096] {
            assert_eq!(
                read(None, &wav, size).unwrap().2,
                samples,
                "in pieces of {size}"
            );
        }
    }

    #[test]
    fn every_usual_type_of_sample_is_read() {
        let half = [0.5, -0.5];
        for (kind, bits, data) in [
            (1, 8, vec![192, 64]),
            (1, 16, vec![0, 64, 0, 192]),
            (1, 24, vec![0, 0, 64, 0, 0, 192]),
            (1, 32, vec![0, 0, 0, 64, 0, 0, 0, 192]),
            (
                3,
                32,
                [0.5_f32.to_le_bytes(), (-0.5_f32).to_le_bytes()].concat(),
            ),
        ] {
            let wav = wav(kind, bits, u32::MAX, &data);
            assert_eq!(
                read(None, &wav, 5).unwrap(),
                (8000, 2, half.into()),
                "{kind} {bits}"
            );
        }
    }

    #[test]
    fn what_follows_a_length_that_is_meant_is_no_sound() {
        let wav = wav(
            1,
            16,
            4,
            &[0, 64, 0, 192, b'L', b'I', b'S', b'T', 9, 9, 9, 9],
        );
        assert_eq!(read(None, &wav, 7).unwrap().2, [0.5, -0.5]);
    }

    #[test]
    fn a_header_is_read_to_its_end_and_no_further_however_it_comes() {
        let mut short = wav(1, 16, 4, &[0, 64, 0, 192]);
        let at = short.windows(4).position(|it| it == b"fmt ").unwrap();
        short[at + 4] = 14;
        for size in [1, 7, short.len()] {
            let refused = read(None, &short, size);
            assert_eq!(
                refused,
                Err("its header is too short"),
                "in pieces of {size}"
            );
        }
    }

    #[test]
    fn samples_that_are_no_numbers_are_silent_and_none_is_louder_than_full_scale() {
        let numbers = [
            f32::NAN,
            -f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            1e9,
            0.25,
        ];
        let wav = wav(3, 32, u32::MAX, &numbers.map(f32::to_le_bytes).concat());
        let samples = read(None, &wav, 9).unwrap().2;
        assert_eq!(samples, [0.0, 0.0, 1.0, -1.0, 1.0, 0.25]);
    }

    #[test]
    fn without_a_header_the_configured_rate_counts_and_else_it_is_refused() {
        let bytes = [0, 64, 0, 192];
        assert_eq!(
            read(Some(16_000), &bytes, 3).unwrap(),
            (16_000, 1, vec![0.5, -0.5])
        );
        assert_eq!(read(None, b"Traceback (most", 15), Err("it is no WAV file"));
        assert!(read(None, &wav(85, 16, 4, &[0; 4]), 50).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_or_refused(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200), start in 0..3_usize, size in 1..50_usize,
        ) {
            let start: &[u8] = [&b""[..], b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0"][start];
            bytes.splice(..0, start.iter().copied());
            prop_assert_eq!(read(Some(8000), &bytes, size), read(Some(8000), &bytes, bytes.len().max(1)));
        }
    }
}
