//! Bounds on the memory and processor time for decoding a sound file, with hostile files too. It is the only test of
//! its program, because it measures the process.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::time::Duration;

use gemmad::sound::decode;
use rustix::time::{ClockId, clock_gettime};

/// Maximum memory for one file, in KiB. The reader of Matroska keeps texts at 17 times their length; the others take
/// 8 MiB.
const MOST_KIB: u64 = 24 << 10;

/// Maximum processor time for one file, whether it is decoded or refused.
const LONGEST: Duration = Duration::from_secs(3);

/// Size of the largest file that is accepted, in bytes.
const LARGEST: usize = 64 << 20;

/// A file of `start`, filled up to the largest size with `more`.
fn filled(start: &[u8], more: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    let mut writer = BufWriter::new(&file);
    writer.write_all(start).unwrap();
    for _ in 0..(LARGEST - start.len()) / more.len() {
        writer.write_all(more).unwrap();
    }
    drop(writer);
    (&file).seek(SeekFrom::Start(0)).unwrap();
    file
}

/// A file of these bytes.
fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// A value of this process in `/proc/self/status`, in KiB.
fn kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.unwrap().trim_start_matches(':').trim();
    number.trim_end_matches(" kB").parse().unwrap()
}

fn wav(bits: u16, rate: u32, channels: u16) -> Vec<u8> {
    let align = channels * bits / 8;
    [
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0".as_slice(),
        &channels.to_le_bytes(),
        &rate.to_le_bytes(),
        &rate.wrapping_mul(align.into()).to_le_bytes(),
        &align.to_le_bytes(),
        &bits.to_le_bytes(),
        b"data\xff\xff\xff\xff",
    ]
    .concat()
}

/// A box of MP4.
#[allow(clippy::trivially_copy_pass_by_ref)] // As literals of bytes are.
fn atom(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 8).unwrap();
    [&length.to_be_bytes(), name.as_slice(), body].concat()
}

/// An Ogg page, with its checksum.
fn page(number: u32, flags: u8, segments: &[u8], body: &[u8]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend([0; 8]);
    page.extend([1, 0, 0, 0]);
    page.extend(number.to_le_bytes());
    page.extend([0; 4]);
    page.push(u8::try_from(segments.len()).unwrap());
    page.extend(segments);
    page.extend(body);
    let crc = page.iter().fold(0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    });
    page[22..26].copy_from_slice(&crc.to_le_bytes());
    page
}

/// An Ogg Opus file with as many comments as possible.
fn comments() -> File {
    let head = b"OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0";
    let mut file = page(0, 2, &[19], head);
    let comment = b"\x03\0\0\0A=B";
    let mut tags = b"OpusTags\0\0\0\0\xff\xff\xff\x00".to_vec();
    while tags.len() < 16 << 20 {
        tags.extend(comment);
    }
    for (number, body) in (1..).zip(tags.chunks_exact(255 * 255)) {
        file.extend(page(number, u8::from(number > 1), &[255; 255], body));
    }
    self::file(&file)
}

/// A Vorbis file whose codebooks, a few dozen bytes each, expand to tables of 16 MiB.
fn codebooks() -> File {
    let mut bits = Vec::new();
    let mut write = |value: u64, count: u32| bits.extend((0..count).map(|it| value >> it & 1 == 1));
    write(63, 8);
    for _ in 0..64 {
        // 131,072 entries of 32 dimensions, ordered, all with codewords of 17 bits; lookup of type 1 with one
        // multiplicand of 1 bit.
        for (value, count) in [
            (0x0056_4342, 24),
            (32, 16),
            (1 << 17, 24),
            (1, 1),
            (16, 5),
            (1 << 17, 18),
            (1, 4),
            (0, 32),
            (0, 32),
            (0, 4),
            (0, 1),
            (0, 1),
        ] {
            write(value, count);
        }
    }
    let byte = |bits: &[bool]| {
        let bits = bits.iter().enumerate();
        bits.fold(0_u8, |byte, (place, bit)| byte | u8::from(*bit) << place)
    };
    let setup: Vec<u8> = bits.chunks(8).map(byte).collect();
    let identification = b"\x01vorbis\0\0\0\0\x01\x80\xbb\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xb8\x01";
    let comment = b"\x03vorbis\0\0\0\0\0\0\0\0\x01";
    let setup = [b"\x05vorbis".as_slice(), &setup].concat();
    let lacing = |length: usize| {
        let mut segments = vec![255; length / 255];
        segments.push(u8::try_from(length % 255).unwrap());
        segments
    };
    let segments = [lacing(comment.len()), lacing(setup.len())].concat();
    file(
        &[
            page(0, 2, &[30], identification),
            page(1, 0, &segments, &[comment.as_slice(), &setup].concat()),
            page(2, 4, &[1], &[0]),
        ]
        .concat(),
    )
}

/// A FLAC file of a header and as many empty blocks as possible.
fn blocks() -> File {
    filled(
        b"fLaC\0\0\0\x22\x10\0\x10\0\0\0\0\0\0\0\x03\xe8\0\xf0",
        &[1, 0, 0, 0],
    )
}

/// An MP4 file whose index has millions of entries.
fn index() -> File {
    let kind = atom(b"ftyp", b"M4A \0\0\0\0");
    let mut table = vec![0, 0, 0, 0];
    table.extend(8_000_000_u32.to_be_bytes());
    table.extend((0..8_000_000).flat_map(|_| [0, 0, 0, 1, 0, 0, 0, 0]));
    table.truncate(60 << 20);
    let mut nested = atom(b"stts", &table);
    for name in [b"stbl", b"minf", b"mdia", b"trak", b"moov"] {
        nested = atom(name, &nested);
    }
    file(&[kind, nested].concat())
}

/// A `WebM` file with as many texts as possible.
fn texts() -> File {
    let header = b"\x1a\x45\xdf\xa3\x87\x42\x82\x84webm";
    let segment = b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff";
    let tags = b"\x12\x54\xc3\x67\x01\0\0\0\x03\0\0\0";
    let tag = b"\x73\x73\x8b\x67\xc8\x88\x45\xa3\x81A\x44\x87\x81B";
    filled(&[header.as_slice(), segment, tags].concat(), tag)
}

/// A CAF file with a table of millions of packets.
fn packets() -> File {
    let mut start = b"caff\0\x01\0\0desc\0\0\0\0\0\0\0\x20".to_vec();
    start.extend(48_000_f64.to_be_bytes());
    start.extend(b"opus\0\0\0\0\0\0\0\0\0\0\x03\xc0\0\0\0\x01\0\0\0\0");
    start.extend(b"pakt\0\0\0\0\x03\0\0\0");
    start.extend(40_000_000_u64.to_be_bytes());
    start.extend(40_000_000_u64.to_be_bytes());
    start.extend([0; 8]);
    filled(&start, &[1])
}

#[test]
fn no_file_takes_more_than_24_mib_or_3_s_whatever_is_in_it() {
    let sync_words = [0xff, 0xfb, 0x90, 0x00].repeat(64);
    // Pages that claim 64 KiB, every 32 bytes, none of which has the right checksum.
    let pages = [b"OggS\0\0".as_slice(), &[0xff; 20], &[255; 6]].concat();
    let opus = page(0, 2, &[19], b"OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0");
    let files = [
        ("nothing", filled(b"", &[0; 4096])),
        ("wav of 8 bits", filled(&wav(8, 383_987, 1), &[0x80; 4096])),
        (
            "wav of 32 channels",
            filled(&wav(8, 384_000, 32), &[0x80; 4096]),
        ),
        (
            "wav of stereo",
            filled(&wav(16, 384_000, 2), &[1, 0, 0xff, 0xff]),
        ),
        ("empty tags", filled(b"", b"ID3\x04\0\0\0\0\0\0")),
        ("sync words", filled(b"", &sync_words)),
        ("chunks", filled(&wav(16, 16_000, 1)[..36], b"JUNK\0\0\0\0")),
        ("ogg pages", filled(&opus, &pages)),
        ("ogg streams", filled(b"", &opus)),
        ("ogg comments", comments()),
        ("vorbis codebooks", codebooks()),
        ("flac blocks", blocks()),
        ("mp4 index", index()),
        ("webm texts", texts()),
        ("caf packets", packets()),
    ];
    // A panic of a reader is caught; its backtrace would take memory of its own.
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
    // Decodes one file first, so that memory allocated only once does not count.
    let _ = decode(&files[1].1);
    for (name, file) in files {
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = kib("VmRSS");
        let began = processor_time();
        let outcome = decode(&file);
        let took = processor_time().saturating_sub(began);
        let peak = kib("VmHWM").saturating_sub(before);
        let outcome = outcome.map(|decoded| decoded.samples.len());
        println!("{name}: {took:?}, {peak} KiB: {outcome:?}");
        assert!(peak <= MOST_KIB, "{name}: {peak} KiB");
        assert!(took <= LONGEST, "{name}: {took:?}");
        // A file without sound is refused; of any other at most 30 s are decoded.
        assert!(outcome.unwrap_or_default() <= 30 * 16_000, "{name}");
    }
}
