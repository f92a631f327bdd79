//! WAV and AIFF headers as recorders, telephone exchanges and editors write them, right or wrong.

use gemmad_testbed::speech;

use super::*;

/// The tone as 16-bit samples at 16 kHz.
fn samples() -> Vec<u8> {
    let tone = wav(16_000, 1, 16, &sine(440.0, 16_000, 1, 500));
    tone[44..].to_vec()
}

/// A chunk of WAV that claims `claimed` bytes.
#[allow(clippy::trivially_copy_pass_by_ref)] // As literals of bytes are.
fn chunk(id: &[u8; 4], claimed: u32, body: &[u8]) -> Vec<u8> {
    [id.as_slice(), &claimed.to_le_bytes(), body].concat()
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As literals of bytes are.
fn honest(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    chunk(id, u32::try_from(body.len()).unwrap(), body)
}

/// The beginning of a chunk `fmt `.
fn format(tag: u16, channels: u16, rate: u32, align: u16, bits: u16) -> Vec<u8> {
    [
        tag.to_le_bytes().as_slice(),
        &channels.to_le_bytes(),
        &rate.to_le_bytes(),
        &rate.wrapping_mul(align.into()).to_le_bytes(),
        &align.to_le_bytes(),
        &bits.to_le_bytes(),
    ]
    .concat()
}

/// A WAV file of these chunks.
fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let chunks = chunks.concat();
    let length = u32::try_from(chunks.len() + 4).unwrap();
    [b"RIFF".as_slice(), &length.to_le_bytes(), b"WAVE", &chunks].concat()
}

/// The tone in a WAV file whose sound claims `length` bytes.
fn claiming(length: u32) -> Vec<u8> {
    riff(&[
        honest(b"fmt ", &format(1, 1, 16_000, 2, 16)),
        chunk(b"data", length, &samples()),
    ])
}

#[test]
fn wav_of_every_depth_rate_and_channel_count_is_heard() {
    for (bits, worst) in [(8, 0.012), (16, 1e-3), (24, 1e-3), (32, 1e-3)] {
        for (rate, channels) in [(16_000, 1), (48_000, 2), (8_000, 1), (44_100, 6)] {
            let bytes = wav(rate, channels, bits, &sine(440.0, rate, channels, 500));
            assert_is_the_tone(&heard(&bytes), worst);
        }
    }
}

#[test]
fn wav_with_floats_is_heard() {
    let tone = sine(440.0, 48_000, 2, 500);
    let short: Vec<u8> = tone.iter().flat_map(|it| it.to_le_bytes()).collect();
    let long = tone.iter().flat_map(|it| f64::from(*it).to_le_bytes());
    let long: Vec<u8> = long.collect();
    for (bits, data) in [(32, short), (64, long)] {
        let format = format(3, 2, 48_000, bits / 4, bits);
        let bytes = riff(&[honest(b"fmt ", &format), honest(b"data", &data)]);
        assert_is_the_tone(&heard(&bytes), 1e-3);
    }
}

#[test]
fn sixteen_bits_at_16_khz_mono_are_exactly_the_samples_of_the_file() {
    let samples = [0_i16, 1, -1, 12345, i16::MAX, i16::MIN].repeat(400);
    let data: Vec<u8> = samples.iter().flat_map(|it| it.to_le_bytes()).collect();
    let format = format(1, 1, RATE, 2, 16);
    let bytes = riff(&[honest(b"fmt ", &format), honest(b"data", &data)]);
    let expected = samples.iter().map(|it| f32::from(*it) / 32768.0);
    assert_eq!(heard(&bytes), expected.collect::<Vec<_>>());
}

#[test]
fn a_recorder_that_was_killed_or_wrote_into_a_pipe_loses_no_sound() {
    let whole = heard(&claiming(16_000));
    for length in [
        0,
        0x7fff_f000,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fff0,
        u32::MAX,
    ] {
        assert_eq!(heard(&claiming(length)), whole, "{length:#x}");
    }
    let piped = speech::piped("turn on the kitchen light", "en").unwrap();
    let mut closed = piped.clone();
    closed[40..44].copy_from_slice(&u32::try_from(piped.len() - 44).unwrap().to_le_bytes());
    assert_eq!(heard(&piped), heard(&closed));
}

#[test]
fn a_length_of_the_whole_file_that_lies_costs_no_sound() {
    let honest = claiming(16_000);
    for lie in [0, 36, 8_000, 0x7fff_ffff, u32::MAX] {
        let mut bytes = honest.clone();
        bytes[4..8].copy_from_slice(&lie.to_le_bytes());
        assert_eq!(heard(&bytes), heard(&honest), "{lie}");
    }
}

#[test]
fn a_sound_that_claims_more_than_there_is_is_cut_short() {
    let decoded = decoded(&claiming(16_001));
    assert!(decoded.is_incomplete);
    assert_eq!(decoded.samples.len(), 8000);
    let half = claiming(16_000);
    assert_eq!(super::decoded(&half[..44 + 8_001]).samples.len(), 4_000);
}

#[test]
fn formats_of_any_length_are_read() {
    let data = honest(b"data", &samples());
    let pcm = format(1, 1, 16_000, 2, 16);
    for more in [0, 2, 4, 8, 24, 60] {
        let format = [pcm.clone(), vec![0; more]].concat();
        let bytes = riff(&[honest(b"fmt ", &format), data.clone()]);
        assert_is_the_tone(&heard(&bytes), 1e-3);
    }
    // The oldest one does not even say how many bits there are.
    let bytes = riff(&[honest(b"fmt ", &pcm[..14]), data]);
    assert_is_the_tone(&heard(&bytes), 1e-3);
}

#[test]
fn the_two_laws_of_telephony_are_heard_behind_formats_of_any_length() {
    let mulaw = tone!("tone-mulaw.wav");
    let place = mulaw.windows(4).position(|it| it == b"data").unwrap();
    let data = honest(b"data", &mulaw[place + 8..]);
    for more in [0, 2, 4, 24] {
        let format = [format(7, 1, 8_000, 1, 8), vec![0; more]].concat();
        let bytes = riff(&[honest(b"fmt ", &format), data.clone()]);
        assert_sounds_like_the_tone(&heard(&bytes), 499);
    }
    // Silence in A-law; symphonia's own tests check what is decoded.
    let format = format(6, 1, 8_000, 1, 8);
    let bytes = riff(&[honest(b"fmt ", &format), honest(b"data", &[0xd5; 4000])]);
    assert_eq!(heard(&bytes).len(), 8000);
}

#[test]
fn twelve_and_twenty_bits_are_heard_in_the_bytes_they_fill() {
    let tone = sine(440.0, 16_000, 1, 500);
    for (bits, align) in [(12_u16, 2_usize), (20, 3), (20, 4), (24, 4), (10, 2)] {
        let data = tone.iter().flat_map(|sample| {
            #[expect(clippy::cast_possible_truncation, reason = "samples are in -1 to 1")]
            let whole = (f64::from(*sample) * f64::from(i32::MAX)) as i32;
            let upper = whole & (-1 << (32 - bits));
            upper.to_le_bytes()[4 - align..].to_vec()
        });
        let data = honest(b"data", &data.collect::<Vec<_>>());
        let width = u16::try_from(align).unwrap();
        let extensible = [
            format(0xfffe, 1, 16_000, width, 8 * width),
            22_u16.to_le_bytes().to_vec(),
            bits.to_le_bytes().to_vec(),
            vec![0; 4],
            vec![
                1, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71,
            ],
        ];
        let mut formats = vec![extensible.concat()];
        // Only the extensible format can state 24 bits in four bytes.
        if bits != 24 {
            formats.push(format(1, 1, 16_000, width, bits));
        }
        for format in formats {
            let bytes = riff(&[honest(b"fmt ", &format), data.clone()]);
            assert_is_the_tone(&heard(&bytes), 2e-3);
        }
    }
}

#[test]
fn a_chunk_that_lies_about_its_length_hides_no_sound() {
    let format = honest(b"fmt ", &format(1, 1, 16_000, 2, 16));
    let data = honest(b"data", &samples());
    let title = b"INFOISFT\x0e\0\0\0data of a day";
    let lists = [
        // Without the byte that makes an odd length even.
        honest(b"LIST", b"INFO!"),
        // Too long for the file, for what follows, and too short.
        chunk(b"LIST", 0x00ff_ffff, title),
        chunk(b"LIST", 500, title),
        chunk(b"LIST", 6, title),
        chunk(b"LIST", u32::MAX, title),
        // Right, and full of what could be taken for sound.
        honest(b"JUNK", b"data\xff\xff\xff\x00data\x10\x27\x00\x00"),
    ];
    for list in lists {
        for chunks in [
            [format.clone(), list.clone(), data.clone()],
            [list.clone(), format.clone(), data.clone()],
        ] {
            assert_is_the_tone(&heard(&riff(&chunks)), 1e-3);
        }
    }
}

#[test]
fn what_stands_behind_the_sound_is_not_heard() {
    let format = honest(b"fmt ", &format(1, 1, 16_000, 2, 16));
    let data = honest(b"data", &samples());
    let list = honest(b"LIST", &[0x7f; 4000]);
    assert_is_the_tone(&heard(&riff(&[format, data, list])), 1e-3);
}

#[test]
fn wav_of_64_bits_is_heard() {
    let format = honest(b"fmt ", &format(1, 1, 16_000, 2, 16));
    let lengths = [16_100_u64, 16_000, 8_000];
    let ds64: Vec<u8> = lengths.iter().flat_map(|it| it.to_le_bytes()).collect();
    let ds64 = honest(b"ds64", &[ds64, vec![0; 4]].concat());
    let behind = honest(b"LIST", &[0x7f; 400]);
    let data = chunk(b"data", u32::MAX, &samples());
    let mut bytes = riff(&[ds64, format, data, behind]);
    for name in [b"RF64", b"BW64"] {
        bytes[..4].copy_from_slice(name);
        bytes[4..8].fill(0xff);
        assert_is_the_tone(&heard(&bytes), 1e-3);
    }
}

#[test]
fn absurd_rates_and_channel_counts_are_refused_by_name() {
    let data = honest(b"data", &vec![0; 64_000]);
    let file = |rate, channels| {
        riff(&[
            honest(b"fmt ", &format(1, channels, rate, 2, 16)),
            data.clone(),
        ])
    };
    for rate in [0, 1, 3_999, 10_000_000, u32::MAX] {
        let message = refusal(&file(rate, 1));
        let expected = format!("claims {rate} samples per second");
        assert!(message.contains(&expected), "{message}");
    }
    for channels in [0, 255, u16::MAX] {
        let message = refusal(&file(16_000, channels));
        let expected = format!("claims {channels} channels");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn aiff_is_heard_whatever_its_lengths_claim() {
    let whole = heard(AIFF);
    let place = AIFF.windows(4).position(|it| it == b"SSND").unwrap() + 4;
    for length in [0, 0x7fff_fff0, u32::MAX] {
        let mut bytes = AIFF.to_vec();
        bytes[place..place + 4].copy_from_slice(&u32::to_be_bytes(length));
        bytes[4..8].copy_from_slice(&u32::to_be_bytes(length));
        assert_eq!(heard(&bytes), whole, "{length:#x}");
    }
}

#[test]
fn aiff_with_the_smaller_end_first_is_heard() {
    let data = samples();
    let common = [
        [0, 1].as_slice(),
        &8000_u32.to_be_bytes(),
        &16_u16.to_be_bytes(),
        &[0x40, 0x0c, 0xfa, 0, 0, 0, 0, 0, 0, 0],
        b"sowt\x04sowt\0",
    ]
    .concat();
    let chunk = |id: &[u8; 4], body: &[u8]| {
        let length = u32::try_from(body.len()).unwrap();
        [id.as_slice(), &length.to_be_bytes(), body].concat()
    };
    let sound = chunk(b"SSND", &[&[0; 8], data.as_slice()].concat());
    let chunks = [chunk(b"COMM", &common), sound].concat();
    let length = u32::try_from(chunks.len() + 4).unwrap();
    let bytes = [b"FORM".as_slice(), &length.to_be_bytes(), b"AIFC", &chunks].concat();
    assert_is_the_tone(&heard(&bytes), 1e-3);
}
