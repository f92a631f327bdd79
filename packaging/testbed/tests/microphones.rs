//! The microphones, recorded by ordinary programs that do not use this crate.

use std::{process::Stdio, time::Duration};

use gemmad_testbed::{Encoding, Error, Microphone, speech};
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// A program that records 16-bit mono samples at 16 kHz from its default device.
struct Recorder {
    sound: ChildStdout,
    _program: Child,
}

impl Recorder {
    async fn start(microphone: &Microphone, command: &str) -> Self {
        let mut words = command.split(' ');
        let mut program = Command::new(words.next().unwrap())
            .args(words)
            .envs(microphone.env())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut recorder = Self {
            sound: program.stdout.take().unwrap(),
            _program: program,
        };
        // The program records once samples arrive.
        recorder.take(800).await;
        recorder
    }

    async fn take(&mut self, samples: usize) -> Vec<i16> {
        let mut bytes = vec![0; 2 * samples];
        self.sound.read_exact(&mut bytes).await.unwrap();
        let (frames, _) = bytes.as_chunks::<2>();
        frames.iter().copied().map(i16::from_le_bytes).collect()
    }
}

const ARECORD: &str = "arecord -q -t raw -f S16_LE -r 16000 -c 1";
const PAREC: &str = "parec --raw --format=s16le --rate=16000 --channels=1 --latency-msec=20";

/// Plays speech into the microphone while a program records it, and returns the samples of both.
async fn say_and_record(microphone: &Microphone, command: &str) -> (Vec<i16>, Vec<i16>) {
    let words = speech::say("good morning", "en-us").unwrap();
    let mut recorder = Recorder::start(microphone, command).await;
    let wanted = words.len() + 16_000;
    let (played, heard) = tokio::join!(microphone.play(&words), recorder.take(wanted));
    played.unwrap();
    #[expect(clippy::cast_possible_truncation)]
    let said = words.iter().map(|x| (x * 32767.0).round() as i16);
    (said.collect(), heard)
}

fn contains(heard: &[i16], said: &[i16]) -> bool {
    heard.windows(said.len()).any(|window| window == said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_hears_through_alsa_to_the_sample_what_is_played() {
    let microphone = Microphone::alsa().unwrap();
    for period in [100, 441, 4000] {
        let command = format!(
            "{ARECORD} --period-size={period} --buffer-size={}",
            2 * period
        );
        let (said, heard) = say_and_record(&microphone, &command).await;
        assert!(contains(&heard, &said), "with a period of {period}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_hears_through_pulseaudio_to_the_sample_what_is_played() {
    let microphone = Microphone::pulse(Encoding::default()).await.unwrap();
    let (said, heard) = say_and_record(&microphone, PAREC).await;
    assert!(contains(&heard, &said));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_microphone_of_48_khz_and_two_channels_carries_the_same_sound() {
    let encoding = Encoding::of_16_bits(48_000, 2);
    let microphone = Microphone::pulse(encoding).await.unwrap();
    let (said, heard) = say_and_record(&microphone, PAREC).await;
    let energy = |samples: &[i16]| samples.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
    let ratio = energy(&heard) / energy(&said);
    assert!((0.9..1.1).contains(&ratio), "{ratio}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_played_while_nobody_records_is_lost() {
    let microphone = Microphone::alsa().unwrap();
    drop(Recorder::start(&microphone, ARECORD).await);
    let words = speech::say("a secret", "en-us").unwrap();
    microphone.play(&words).await.unwrap();
    let mut recorder = Recorder::start(&microphone, ARECORD).await;
    assert!(
        recorder
            .take(16_000)
            .await
            .iter()
            .all(|&sample| sample == 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unplugged_microphone_is_silent_and_cannot_be_played_into_until_it_is_back() {
    let mut microphone = Microphone::alsa().unwrap();
    let mut recorder = Recorder::start(&microphone, ARECORD).await;
    microphone.unplug();
    let words = speech::say("hello", "en-us").unwrap();
    assert!(matches!(
        microphone.play(&words).await,
        Err(Error::Unplugged)
    ));
    let more = timeout(Duration::from_millis(500), recorder.take(16_000)).await;
    assert!(more.is_err(), "something still comes");
    microphone.plug_in().await.unwrap();
    let (said, heard) = say_and_record(&microphone, ARECORD).await;
    assert!(contains(&heard, &said));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unplugged_sound_server_ends_the_recording_and_comes_back() {
    let mut microphone = Microphone::pulse(Encoding::default()).await.unwrap();
    let mut recorder = Recorder::start(&microphone, PAREC).await;
    microphone.unplug();
    let mut rest = Vec::new();
    recorder.sound.read_to_end(&mut rest).await.unwrap();
    microphone.plug_in().await.unwrap();
    let (said, heard) = say_and_record(&microphone, PAREC).await;
    assert!(contains(&heard, &said));
}
