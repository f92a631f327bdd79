//! Files of other programs, whole, cut short, one behind the other, and with too much in them.

use super::*;

#[test]
fn flac_and_vorbis_are_heard_exactly() {
    assert_is_the_tone(&heard(FLAC), 1e-3);
    assert_is_the_tone(&heard(VORBIS), 0.02);
}

#[test]
fn what_telephones_and_programs_write_is_heard() {
    let files: [(&str, &[u8]); 14] = [
        ("mp3", MP3),
        ("mp3 with tags", tone!("tone-lame.mp3")),
        ("opus", OPUS),
        ("opus in webm", WEBM),
        ("opus in webm, live", tone!("tone-live.webm")),
        ("opus in mp4", tone!("tone-opus.mp4")),
        ("opus in caf", CAF),
        ("aac in mp4", M4A),
        ("aac", tone!("tone.aac")),
        ("alac", tone!("tone-alac.m4a")),
        ("mp3 in wav", tone!("tone-mp3.wav")),
        ("ima adpcm", tone!("tone-ima.wav")),
        ("ms adpcm", tone!("tone-ms.wav")),
        ("aiff", AIFF),
    ];
    for (name, bytes) in files {
        let decoded = decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!decoded.is_incomplete, "{name}");
        assert_sounds_like_the_tone(&decoded.samples, 499);
    }
}

#[test]
fn a_length_that_is_only_guessed_makes_no_file_incomplete() {
    let decoded = decoded(tone!("tone-long.aac"));
    assert!(!decoded.is_incomplete);
    assert_sounds_like_the_tone(&decoded.samples, 2999);
}

#[test]
fn opus_is_heard_without_what_its_encoder_added() {
    let samples = heard(OPUS);
    assert!(samples.len().abs_diff(8000) <= 1, "{}", samples.len());
}

#[test]
fn two_files_one_behind_the_other_are_both_heard() {
    let raw = wav(16_000, 1, 16, &sine(440.0, 16_000, 1, 500));
    let pairs: [(&[u8], &[u8]); 8] = [
        (VORBIS, VORBIS),
        (OPUS, OPUS),
        (VORBIS, OPUS),
        (OPUS, VORBIS),
        (MP3, MP3),
        (tone!("tone-lame.mp3"), tone!("tone-lame.mp3")),
        (&raw, &raw),
        (&raw, tone!("tone-mulaw.wav")),
    ];
    for (one, other) in pairs {
        let samples = heard(&[one, other].concat());
        let length = samples.len() / 16;
        assert!((990..1250).contains(&length), "{length} ms");
        let (first, second) = samples.split_at(samples.len() / 2);
        for half in [first, second] {
            let loudest = half.iter().fold(0.0, |max: f32, it| max.max(it.abs()));
            assert!(loudest > 0.4, "{loudest}");
        }
    }
}

#[test]
fn a_file_that_is_cut_short_gives_what_it_has_and_says_so() {
    let raw = wav(16_000, 1, 16, &sine(440.0, 16_000, 1, 500));
    // All the sound of these is in one page of Ogg, which is lost as a whole.
    for file in [VORBIS, OPUS] {
        let cut = &file[..file.len() * 7 / 10];
        match decode(&cut) {
            Ok(decoded) => assert!(decoded.is_incomplete),
            Err(error) => assert!(error.to_string().contains("cut off"), "{error}"),
        }
    }
    let files: [(&str, &[u8]); 4] = [
        ("wav", &raw),
        ("flac", FLAC),
        ("mp3", tone!("tone-lame.mp3")),
        ("aiff", AIFF),
    ];
    for (name, whole) in files {
        let cut = &whole[..whole.len() * 7 / 10];
        let decoded = decode(&cut).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(decoded.is_incomplete, "{name}");
        let length = decoded.samples.len() / 16;
        assert!((100..450).contains(&length), "{name}: {length} ms");
    }
    // The end of an MP4 file says where its sound is.
    let message = refusal(&M4A[..M4A.len() * 7 / 10]);
    assert!(message.contains("it lacks the index"), "{message}");
}

#[test]
fn a_file_that_ends_before_its_sound_is_damaged() {
    let whole = wav(16_000, 1, 16, &sine(440.0, 16_000, 1, 500));
    for bytes in [
        &whole[..44],
        &whole[..30],
        &FLAC[..60],
        &VORBIS[..200],
        &M4A[..40],
    ] {
        let message = refusal(bytes);
        assert!(message.contains("damaged or cut off"), "{message}");
    }
}

#[test]
fn a_file_of_another_kind_is_called_by_its_name_with_what_converts_it() {
    let files: [(&[u8], &str); 6] = [
        (b"#!AMR\n<rest of it>", "an AMR file"),
        (
            b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
            "a Windows Media (WMA or WMV) file",
        ),
        (b"RIFF\0\0\0\0AVI LIST", "an AVI file"),
        (b".snd\0\0\0\x18", "an AU file"),
        (tone!("tone-gsm.wav"), "its sound is GSM 6.10"),
        (
            &[b"OggS".as_slice(), &[0; 24], b"Speex   1.2"].concat(),
            "an Ogg Speex file",
        ),
    ];
    for (bytes, name) in files {
        let message = refusal(bytes);
        assert!(message.contains(name), "{message}");
        assert!(
            message.contains("ffmpeg -i FILE -ar 16000 -ac 1 speech.wav"),
            "{message}"
        );
    }
}

#[test]
fn millions_of_tags_are_refused_at_once() {
    let tags = [b'I', b'D', b'3', 4, 0, 0, 0, 0, 0, 0].repeat(6_000_000);
    assert!(refusal(&tags).contains("more than 1,000 tags"));
}

#[test]
fn tags_and_pictures_before_the_sound_do_no_harm() {
    let mut tag = b"ID3\x04\0\0\x01\x00\x00\x00".to_vec();
    tag.resize(10 + (1 << 21), 0xff);
    let mp3 = [tag, MP3.to_vec()].concat();
    assert_eq!(heard(&mp3), heard(MP3));
    // A picture of 8 MiB among the blocks of a FLAC file.
    let (beginning, rest) = FLAC.split_at(42);
    let picture = [&[6, 0x80, 0, 0][..], &vec![0; 0x80_0000]].concat();
    let flac = [beginning, &picture, rest].concat();
    assert_eq!(heard(&flac), heard(FLAC));
}

#[test]
fn texts_without_end_before_the_sound_are_refused() {
    // An Ogg file whose comments never end: pages that all continue one packet.
    let page = |number: u32, flags: u8, body: &[u8]| {
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend([0; 8]);
        page.extend(7_u32.to_le_bytes());
        page.extend(number.to_le_bytes());
        page.extend([0; 4]);
        page.push(255);
        page.extend([255; 255]);
        page.extend(body);
        let crc = crc(&page);
        page[22..26].copy_from_slice(&crc.to_le_bytes());
        page
    };
    let first = &VORBIS[..58];
    let body = vec![b'x'; 255 * 255];
    let mut file = first.to_vec();
    file[14..18].copy_from_slice(&7_u32.to_le_bytes());
    file[22..26].fill(0);
    let sum = crc(&file);
    file[22..26].copy_from_slice(&sum.to_le_bytes());
    for number in 1..100 {
        file.extend(page(number, u8::from(number > 1), &body));
    }
    let message = refusal(&file);
    assert!(
        message.contains("more texts, pictures or indices than sound"),
        "{message}"
    );
}

/// The checksum of an Ogg page.
fn crc(page: &[u8]) -> u32 {
    page.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}
