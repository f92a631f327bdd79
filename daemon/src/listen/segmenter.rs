//! Cuts the stream of sound into utterances: one stretch of speech each, with a little around it.
//!
//! No devices and no clocks: the same samples give the same utterances, however they are pushed.

use super::foreground::Foreground;
use super::vad::{FRAME, Vad};
use crate::config;
use crate::sound::resample::samples;

/// Silence kept after the last speech of an utterance, in ms, so that the final consonant is not cut.
const TRAILING_MS: u32 = 160;

/// Extra time to be sure of an end while others go on talking in the background, in ms: loudness falls some time after
/// the person has stopped.
const DOUBT_MS: u32 = 48;

/// Additional sound kept while no utterance may begin, in ms.
const BARRED_MS: u32 = 600;

/// Additional sound kept while it may be speech but is not known to be a voice, in ms.
const UNDECIDED_MS: u32 = 600;

/// Audio kept from before a barge-in guess, in ms: the detector's longest delay plus a margin.
const GUESSED_MS: u32 = 320;

/// A step of an utterance.
#[derive(Debug, Clone, PartialEq)]
pub enum Segment {
    /// An utterance began.
    Started {
        /// Where its speech began, or a little earlier, in samples from the start of the stream.
        speech_begin: u64,
    },
    /// More of the utterance, 16 kHz mono; the first holds the pre-roll.
    Sound(Vec<f32>),
    /// The utterance may be over. If so, all its sound has come.
    Paused {
        /// Where its last speech ended, in samples from the start of the stream.
        speech_end: u64,
    },
    /// The utterance goes on: more sound follows.
    Resumed,
    /// The utterance is over, or has its maximum length.
    Ended {
        /// Where its last speech ended, in samples from the start of the stream.
        speech_end: u64,
    },
}

/// Whether the words before a pause are complete, judged by their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// Nothing is missing.
    Complete,
    /// Something seems to be missing.
    Incomplete,
}

/// Whose utterance is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// Anybody's.
    Anybody,
    /// That of a person as loud as the last speaker: not of a television that is quieter.
    Same,
}

/// Finds the utterances in a stream of 16 kHz mono samples.
pub struct Segmenter {
    vad: Vad,
    foreground: Foreground,
    /// Samples kept while nobody speaks: the pre-roll and the onset itself.
    keep: usize,
    /// Samples kept from before the first faint beginning of a voice.
    pre_roll: usize,
    /// Samples of silence that end an utterance.
    endpoint: usize,
    /// The same when it is known to be complete.
    endpoint_complete: usize,
    /// The same when it seems to be incomplete.
    endpoint_incomplete: usize,
    /// Samples of silence after which it may have ended. They belong to it.
    trailing: usize,
    /// Most samples in an utterance.
    longest: usize,
    /// Samples that fill no frame yet, and the same samples as they are judged.
    frame: Vec<f32>,
    judged: Vec<f32>,
    /// Samples in whole frames since the start of the stream.
    position: u64,
    /// Sound not told yet: the possible beginning of an utterance, or silence in it that may be its end.
    held: Vec<f32>,
    utterance: Option<Utterance>,
    awaited: Speaker,
    /// Whether no utterance may begin for now.
    is_barred: bool,
    /// Whether speech was guessed to begin since that was so.
    is_guessed: bool,
    /// Samples for which a guessed beginning is still kept, until a new onset confirms it.
    unconfirmed: usize,
    /// Samples for which the beginning of what may be a voice is still kept.
    undecided: usize,
}

/// The utterance being heard.
#[derive(Debug, Clone, Copy, Default)]
struct Utterance {
    /// Samples told.
    told: usize,
    /// Samples since the last speech.
    silence: usize,
    /// Samples since the person spoke; at least as many.
    absence: usize,
    /// Where the speech before a pause ended.
    paused: Option<u64>,
    /// The sense of the words before the pause, once it is known.
    sense: Option<Sense>,
}

impl Segmenter {
    /// A segmenter at the start of a stream, with the thresholds and times of the configuration.
    #[must_use]
    pub fn new(config: &config::Voice) -> Self {
        let endpoint = samples(config.endpoint_ms.get());
        let longest = samples(config.longest_ms.get());
        Self {
            vad: Vad::new(config),
            foreground: Foreground::new(),
            keep: samples(config.pre_roll_ms.get() + config.onset_ms.get()).min(longest / 2),
            pre_roll: samples(config.pre_roll_ms.get()),
            endpoint,
            endpoint_complete: samples(config.endpoint_command_ms.get()).min(endpoint),
            endpoint_incomplete: samples(config.endpoint_doubt_ms.get()).max(endpoint),
            trailing: samples(TRAILING_MS).min(endpoint),
            longest,
            frame: Vec::with_capacity(FRAME),
            judged: Vec::with_capacity(FRAME),
            position: 0,
            held: Vec::new(),
            utterance: None,
            awaited: Speaker::Anybody,
            is_barred: false,
            is_guessed: false,
            unconfirmed: 0,
            undecided: 0,
        }
    }

    /// Hears the next samples of the stream and returns what they complete, in order.
    pub fn push(&mut self, input: &[f32]) -> Vec<Segment> {
        self.push_judged(input, input)
    }

    /// The same, but speech is detected in `judged`: the same sound, as long, with more of the echo removed.
    pub fn push_judged(&mut self, input: &[f32], judged: &[f32]) -> Vec<Segment> {
        let mut segments = Vec::new();
        self.frames(input, judged, |it, frame, judged| {
            it.hear(frame, judged, &mut segments);
        });
        segments
    }

    /// Hears the next samples of the stream as background of the utterances to come, and forgets sound that was to
    /// become one.
    pub fn overhear(&mut self, input: &[f32]) {
        self.held.clear();
        self.utterance = None;
        self.frames(input, input, |it, frame, _| {
            it.vad.overhear(frame);
            it.position += FRAME as u64;
            it.foreground.hear(frame);
            it.foreground.add_to_background();
        });
    }

    /// Calls `each` with every complete frame.
    fn frames(
        &mut self,
        input: &[f32],
        judged: &[f32],
        mut each: impl FnMut(&mut Self, &[f32; FRAME], &[f32; FRAME]),
    ) {
        let mut rest = input.iter().zip(judged);
        while rest.len() > 0 {
            for (sample, judged) in rest.by_ref().take(FRAME - self.frame.len()) {
                self.frame.push(*sample);
                self.judged.push(*judged);
            }
            if let (Ok(frame), Ok(judged)) = (
                <[f32; FRAME]>::try_from(self.frame.as_slice()),
                <[f32; FRAME]>::try_from(self.judged.as_slice()),
            ) {
                self.frame.clear();
                self.judged.clear();
                each(self, &frame, &judged);
            }
        }
    }

    /// Whether speech at this level, in dBFS, may be that of the speaker waited for.
    #[must_use]
    pub fn may_be_awaited(&self, level: f32) -> bool {
        match self.awaited {
            Speaker::Anybody => true,
            Speaker::Same => self.foreground.is_same_at(level),
        }
    }

    /// Sets the speaker whose utterances are waited for, until the next call.
    pub fn await_speech_of(&mut self, speaker: Speaker) {
        self.awaited = speaker;
    }

    /// `true` lets no utterance begin, because the speech may be the assistant's. `false` lets one begin after a new
    /// onset; a guessed beginning is part of it.
    pub fn bar(&mut self, is_barred: bool) {
        if self.is_barred && !is_barred {
            self.vad.close();
            if self.is_guessed {
                self.unconfirmed = samples(BARRED_MS);
            }
        }
        self.is_guessed = false;
        self.is_barred = is_barred;
    }

    /// Forgets what was heard more than [`GUESSED_MS`] ago, because a person seems to have begun since.
    pub fn guess_beginning(&mut self) {
        self.forget_all_but(samples(GUESSED_MS));
        self.is_guessed = true;
    }

    /// Takes the sense of the words before the present pause, if there is one.
    pub fn understand(&mut self, sense: Sense) {
        if let Some(utterance) = &mut self.utterance
            && utterance.paused.is_some()
        {
            utterance.sense = Some(sense);
        }
    }

    /// Drops the utterance being heard; no more of it is told. Speech that goes on begins another after a new onset.
    pub fn give_up(&mut self) {
        if self.utterance.take().is_some() {
            self.vad.close();
        }
    }

    /// Skips `samples` samples of the stream unheard, and forgets what came before them.
    pub fn skip(&mut self, samples: usize) {
        self.position += (self.frame.len() + samples) as u64;
        self.frame.clear();
        self.judged.clear();
        self.held.clear();
        self.utterance = None;
        self.vad.reset();
    }

    /// Keeps the end of the skipped samples as the possible beginning of an utterance.
    pub fn recall(&mut self, last: &[f32]) {
        self.vad.overhear(last);
        self.held = last.into();
    }

    fn hear(&mut self, frame: &[f32; FRAME], judged: &[f32; FRAME], segments: &mut Vec<Segment>) {
        self.position += FRAME as u64;
        self.held.extend_from_slice(frame);
        self.foreground.hear(judged);
        let is_speech = self.vad.hear(judged);
        if self.utterance.is_none() {
            self.foreground.add_to_background();
        }
        if self.vad.is_undecided() {
            self.undecided = samples(UNDECIDED_MS);
        }
        match self.utterance {
            Some(utterance) => self.go_on(utterance, is_speech, segments),
            None if self.is_barred => self.forget_all_but(self.keep + samples(BARRED_MS)),
            None if is_speech && self.is_awaited() => {
                let begun = self.vad.begun();
                if self.unconfirmed == 0 {
                    self.forget_all_but(self.keep.max(begun + self.pre_roll));
                }
                (self.unconfirmed, self.undecided) = (0, 0);
                let speech_begin = self.position.saturating_sub(begun as u64);
                segments.push(Segment::Started { speech_begin });
                let told = self.tell(segments);
                self.foreground.begin();
                self.utterance = Some(Utterance {
                    told,
                    ..Utterance::default()
                });
            }
            None if self.unconfirmed > 0 => {
                self.unconfirmed = self.unconfirmed.saturating_sub(FRAME);
                self.forget_all_but(self.keep + samples(BARRED_MS));
            }
            // If it is a voice, it began before it was known to be one.
            None if self.undecided > 0 => {
                self.undecided = self.undecided.saturating_sub(FRAME);
                self.forget_all_but((self.keep + samples(UNDECIDED_MS)).min(self.longest / 2));
            }
            None => self.forget_all_but(self.keep),
        }
    }

    fn is_awaited(&self) -> bool {
        self.may_be_awaited(self.foreground.level())
    }

    fn go_on(&mut self, mut it: Utterance, is_speech: bool, segments: &mut Vec<Segment>) {
        let is_person = is_speech && self.foreground.is_person();
        if !is_person {
            self.foreground.add_to_background();
        }
        it.silence = if is_speech { 0 } else { it.silence + FRAME };
        it.absence = if is_person { 0 } else { it.absence + FRAME };
        if is_person && it.paused.take().is_some() {
            it.sense = None;
            segments.push(Segment::Resumed);
        }
        if it.paused.is_none() {
            it.told += self.tell(segments);
        }
        let doubt = samples(DOUBT_MS);
        let is_over = |silence| it.silence >= silence || it.absence >= silence + doubt;
        let endpoint = match it.sense {
            None => self.endpoint,
            Some(Sense::Complete) => self.endpoint_complete,
            Some(Sense::Incomplete) => self.endpoint_incomplete,
        };
        let is_too_long = it.told + self.held.len() + FRAME > self.longest;
        if is_too_long {
            // Who talks as long as that without a pause is a television.
            self.foreground.learn_speaker();
        }
        if is_over(endpoint) || is_too_long {
            let speech_end = it.paused.unwrap_or(self.position - it.silence as u64);
            segments.push(Segment::Ended { speech_end });
            self.vad.close();
            self.utterance = None;
            return self.forget_all_but(self.keep);
        }
        if is_over(self.trailing) && it.paused.is_none() {
            let speech_end = self.position - it.absence as u64;
            it.paused = Some(speech_end);
            segments.push(Segment::Paused { speech_end });
        }
        self.utterance = Some(it);
    }

    /// Tells the held sound; returns the number of its samples.
    fn tell(&mut self, segments: &mut Vec<Segment>) -> usize {
        let told = self.held.len();
        match segments.last_mut() {
            Some(Segment::Sound(sound)) => sound.append(&mut self.held),
            _ => segments.push(Segment::Sound(std::mem::take(&mut self.held))),
        }
        told
    }

    fn forget_all_but(&mut self, last: usize) {
        self.held.drain(..self.held.len().saturating_sub(last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::testing::{noise, silence, sine, spoken};

    #[test]
    fn what_is_said_after_an_utterance_was_given_up_is_another() {
        let words = spoken("one two three four five six seven eight nine ten eleven twelve");
        let sound = [silence(500), words, silence(1500)].concat();
        let (first, rest) = sound.split_at(samples(1500));
        let mut segmenter = Segmenter::new(&config::Voice::default());
        let before = segmenter.push(first);
        assert!(matches!(before[0], Segment::Started { .. }));
        segmenter.give_up();
        let after = collect(segmenter.push(rest));
        assert_eq!(after.len(), 1, "{after:?}");
        let length = after[0].1.len();
        assert!(length > samples(1500), "{length} samples");
    }

    #[test]
    fn whoever_talks_without_a_pause_is_heard_to_the_end() {
        let count = "one two three four five six seven eight nine ten ";
        let words = spoken(&count.repeat(10));
        assert!(words.len() > samples(25_000), "{} samples", words.len());
        let sound = [silence(500), words, silence(1500)].concat();
        assert_eq!(utterances(&sound).len(), 1);
    }

    #[test]
    fn an_interruption_begins_where_it_was_guessed_to() {
        let words = spoken("stop the music and tell me the time please");
        let sound = [silence(500), words, silence(1500)].concat();
        let (guess, certain) = (samples(850), samples(1250));
        let mut segmenter = Segmenter::new(&config::Voice::default());
        segmenter.bar(true);
        let mut heard = segmenter.push(&sound[..guess]);
        segmenter.guess_beginning();
        heard.extend(segmenter.push(&sound[guess..certain]));
        assert_eq!(heard, []);
        segmenter.bar(false);
        let ended = collect(segmenter.push(&sound[certain..]));
        let [(_, heard)] = ended.as_slice() else {
            panic!("{} utterances", ended.len())
        };
        let begin = place(&heard[..samples(1000)], &sound);
        assert!(begin <= guess - samples(GUESSED_MS) + FRAME, "{begin}");
    }

    #[test]
    fn an_utterance_is_told_with_the_time_at_which_its_speech_began() {
        let words = spoken("turn on the kitchen light");
        let sound = [noise(0.0005, 1000), words, silence(1500)].concat();
        let Segment::Started { speech_begin } = segments(&sound)[0] else {
            panic!("no utterance")
        };
        let begin = usize::try_from(speech_begin).unwrap();
        assert!(begin.abs_diff(samples(1000)) < samples(150), "{begin}");
    }

    fn segments(sound: &[f32]) -> Vec<Segment> {
        Segmenter::new(&config::Voice::default()).push(sound)
    }

    /// The ended utterances: where their speech ended, and their samples.
    fn utterances(sound: &[f32]) -> Vec<(usize, Vec<f32>)> {
        collect(segments(sound))
    }

    /// The same of these segments, which must follow each other as on the bus.
    fn collect(segments: Vec<Segment>) -> Vec<(usize, Vec<f32>)> {
        let (mut ended, mut heard, mut paused) = (Vec::new(), None, None);
        for segment in segments {
            match segment {
                Segment::Started { .. } => assert_eq!(heard.replace(Vec::new()), None),
                Segment::Sound(sound) => {
                    assert_eq!(paused, None, "sound after the end");
                    heard.as_mut().unwrap().extend(sound);
                }
                Segment::Paused { speech_end } => assert_eq!(paused.replace(speech_end), None),
                Segment::Resumed => assert!(paused.take().is_some()),
                Segment::Ended { speech_end } => {
                    assert!(paused.take().is_none_or(|paused| paused == speech_end));
                    let end = usize::try_from(speech_end).unwrap();
                    ended.push((end, heard.take().unwrap()));
                }
            }
        }
        ended
    }

    /// The same segments, with consecutive sound joined.
    fn joined(segments: Vec<Segment>) -> Vec<Segment> {
        segments.into_iter().fold(Vec::new(), |mut all, segment| {
            match (all.last_mut(), segment) {
                (Some(Segment::Sound(sound)), Segment::Sound(more)) => sound.extend(more),
                (_, segment) => all.push(segment),
            }
            all
        })
    }

    /// Position of `part` in `whole`, which must contain it.
    fn place(part: &[f32], whole: &[f32]) -> usize {
        whole
            .windows(part.len())
            .position(|window| window == part)
            .expect("a stretch of the sound")
    }

    #[test]
    fn an_utterance_is_the_stretch_of_sound_around_the_speech() {
        let words = spoken("turn on the kitchen light");
        let (begin, end) = (samples(1000), samples(1000) + words.len());
        let sound = [silence(1000), words, silence(1000)].concat();
        let ended = utterances(&sound);
        let [(speech_end, heard)] = ended.as_slice() else {
            panic!("{} utterances", ended.len())
        };
        // Silence is the same everywhere, so the stretch is found by its end.
        let last = speech_end + samples(TRAILING_MS).next_multiple_of(FRAME);
        assert_eq!(heard, &sound[last - heard.len()..last]);
        let first = last - heard.len();
        assert!(
            first < begin && begin - first < samples(300),
            "pre-roll {}",
            begin - first
        );
        assert!(
            speech_end.abs_diff(end) < samples(250),
            "speech to {speech_end}, words to {end}"
        );
    }

    #[test]
    fn every_syllable_is_inside_the_utterance() {
        for text in [
            "stop",
            "yes",
            "no",
            "turn left",
            "what time is it",
            "one two three four five",
        ] {
            let words = spoken(text);
            let loud = |sample: &&f32| sample.abs() > 0.05;
            let sound = [noise(0.001, 700), words.clone(), noise(0.001, 900)].concat();
            let ended = utterances(&sound);
            let [(_, heard)] = ended.as_slice() else {
                panic!("{text}: {} utterances", ended.len())
            };
            let (all, kept) = (
                words.iter().filter(loud).count(),
                heard.iter().filter(loud).count(),
            );
            assert_eq!(kept, all, "{text}: loud samples");
        }
    }

    #[test]
    fn a_short_pause_stays_inside_and_a_long_one_separates() {
        let (one, two) = (spoken("turn on the light"), spoken("and close the door"));
        let with_pause = |pause| {
            let sound = [
                silence(500),
                one.clone(),
                silence(pause),
                two.clone(),
                silence(1000),
            ]
            .concat();
            utterances(&sound).len()
        };
        assert_eq!(with_pause(100), 1);
        assert_eq!(with_pause(1200), 2);
    }

    #[test]
    fn cutting_the_pushes_anywhere_gives_the_same_segments() {
        let sound = [
            noise(0.01, 700),
            spoken("turn on the kitchen light"),
            silence(900),
            spoken("and what time is it"),
            silence(900),
        ]
        .concat();
        let whole = joined(segments(&sound));
        assert_eq!(collect(whole.clone()).len(), 2);
        for size in [1, 100, 255, 256, 257, 1600, 10_000] {
            let mut segmenter = Segmenter::new(&config::Voice::default());
            let cut: Vec<_> = sound
                .chunks(size)
                .flat_map(|piece| segmenter.push(piece))
                .collect();
            assert!(joined(cut) == whole, "in pieces of {size}");
        }
    }

    #[test]
    fn a_pause_that_is_no_end_is_taken_back_and_nothing_of_it_is_missing() {
        let (one, two) = (spoken("turn on the light"), spoken("and close the door"));
        let sound = [silence(500), one, silence(250), two, silence(1000)].concat();
        let segments = segments(&sound);
        let count = |kind: fn(&Segment) -> bool| segments.iter().filter(|it| kind(it)).count();
        assert!(count(|it| matches!(it, Segment::Resumed)) >= 1);
        assert_eq!(
            count(|it| matches!(it, Segment::Paused { .. })),
            count(|it| matches!(it, Segment::Resumed)) + 1
        );
        let ended = collect(segments);
        let [(_, heard)] = ended.as_slice() else {
            panic!("{} utterances", ended.len())
        };
        place(heard, &sound);
    }

    /// Number of utterances that two commands make with `pause_ms` of silence between them, if each is understood as
    /// `sense`.
    fn utterances_understood(sense: Option<Sense>, pause_ms: usize) -> usize {
        let (one, two) = (spoken("turn on the light"), spoken("and close the door"));
        let sound = [silence(500), one, silence(pause_ms), two, silence(1500)].concat();
        let mut segmenter = Segmenter::new(&config::Voice::default());
        let mut all = Vec::new();
        for piece in sound.chunks(FRAME) {
            let segments = segmenter.push(piece);
            if matches!(segments.last(), Some(Segment::Paused { .. }))
                && let Some(sense) = sense
            {
                segmenter.understand(sense);
            }
            all.extend(segments);
        }
        collect(all).len()
    }

    #[test]
    fn a_whole_command_ends_sooner_and_half_of_one_later() {
        for (pause_ms, sense, utterances) in [
            (250, None, 1),
            (250, Some(Sense::Complete), 2),
            (600, None, 2),
            (600, Some(Sense::Incomplete), 1),
            (1200, Some(Sense::Incomplete), 2),
        ] {
            let made = utterances_understood(sense, pause_ms);
            assert_eq!(made, utterances, "{pause_ms} ms, {sense:?}");
        }
    }

    #[test]
    fn an_utterance_ends_although_a_television_goes_on() {
        let others =
            spoken("the government announced today that it will build new railways in the north");
        let television: Vec<_> = others
            .repeat(5)
            .iter()
            .map(|sample| sample * 0.25)
            .collect();
        let words = spoken("turn on the kitchen light");
        let begin = samples(12_000);
        let mut sound = television;
        for (sample, word) in sound[begin..].iter_mut().zip(&words) {
            *sample += word;
        }
        let after = begin + words.len();
        let ended = utterances(&sound[..after + samples(2000)]);
        let (speech_end, heard) = ended.last().unwrap();
        assert!(
            speech_end.abs_diff(after) < samples(400),
            "speech to {speech_end}, words to {after}"
        );
        let place = place(&heard[heard.len() - FRAME..], &sound);
        assert!(place < after + samples(400), "the television is heard too");
    }

    #[test]
    fn what_was_overheard_is_known_as_the_background() {
        let others = spoken("the government announced today that it will build new railways");
        let television = others.repeat(6).into_iter().map(|sample| sample * 0.25);
        let mut sound: Vec<_> = television.collect();
        let words = spoken("turn on the kitchen light");
        let begin = samples(12_000);
        for (sample, word) in sound[begin..].iter_mut().zip(&words) {
            *sample += word;
        }
        let mut segmenter = Segmenter::new(&config::Voice::default());
        for piece in sound[..begin].chunks(500) {
            segmenter.overhear(piece);
        }
        let ended = collect(segmenter.push(&sound[begin..]));
        let after = begin + words.len();
        assert!(
            ended[0].0.abs_diff(after) < samples(400),
            "speech to {}, words to {after}",
            ended[0].0
        );
    }

    #[test]
    fn only_somebody_as_loud_as_before_is_heard_where_that_is_wanted() {
        let words = spoken("turn on the kitchen light");
        let quieter: Vec<_> = words.iter().map(|sample| sample * 0.2).collect();
        let gap = noise(0.0005, 1500);
        let mut segmenter = Segmenter::new(&config::Voice::default());
        let mut count = |sound: &[f32], speaker| {
            segmenter.await_speech_of(speaker);
            let sound = [sound, &gap].concat();
            let ended = collect(segmenter.push(&sound));
            let heard = ended.first().map_or(0, |(_, heard)| heard.len());
            assert!(
                heard == 0 || heard > words.len() - samples(300),
                "{heard} samples"
            );
            ended.len()
        };
        assert_eq!(count(&words, Speaker::Anybody), 1);
        assert_eq!(count(&quieter, Speaker::Same), 0);
        assert_eq!(count(&words, Speaker::Same), 1);
        assert_eq!(count(&quieter, Speaker::Anybody), 1);
    }

    #[test]
    fn whoever_becomes_quieter_is_heard_to_the_end() {
        let (loud, low) = (spoken("turn on the light"), spoken("in the kitchen please"));
        let low: Vec<_> = low.iter().map(|sample| sample * 0.2).collect();
        let sound = [noise(0.001, 1000), loud, low, noise(0.001, 1000)].concat();
        let [(speech_end, _)] = utterances(&sound)[..] else {
            panic!("several utterances")
        };
        assert!(
            sound.len() - speech_end < samples(1250),
            "{speech_end} of {}",
            sound.len()
        );
    }

    #[test]
    fn silence_a_tone_and_white_noise_open_nothing() {
        for sound in [
            silence(5000),
            sine(440.0, 16_000, 1, 5000),
            noise(0.3, 5000),
        ] {
            assert!(segments(&sound).is_empty());
        }
    }

    #[test]
    fn endless_speech_is_cut_at_the_longest_utterance_and_loses_nothing_between() {
        let mut config = config::Voice::default();
        config.longest_ms = config::Bounded::new(5000).unwrap();
        let words = spoken("one two three four five six seven eight nine ten");
        let sound = words.repeat(6);
        let ended = collect(Segmenter::new(&config).push(&sound));
        for (_, heard) in &ended {
            assert!(heard.len() <= 80_000, "{} samples", heard.len());
        }
        assert!(ended.len() >= 3, "{} utterances", ended.len());
        let second = place(&ended[1].1, &sound[80_000 - 2 * FRAME..]);
        assert!(second < 3 * FRAME, "a gap of {second} samples");
    }

    #[test]
    fn a_skipped_stretch_is_not_heard_but_counts() {
        let mut segmenter = Segmenter::new(&config::Voice::default());
        let words = [spoken("turn on the kitchen light"), silence(1000)].concat();
        let before = segmenter.push(&words[..16_000]);
        assert!(matches!(before[0], Segment::Started { .. }));
        segmenter.skip(100_000);
        let again = collect(segmenter.push(&words));
        let [(speech_end, heard)] = again.as_slice() else {
            panic!("{} utterances", again.len())
        };
        assert!(*speech_end > 116_000 && heard.len() < words.len());
    }
}
