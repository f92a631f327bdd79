//! The sentence under way, and where it ends.

use std::collections::VecDeque;

use super::boundary::{self, End};
use super::inline::Inline;
use super::lines::Token;
use super::passage::Passage;

/// Most bytes of a sentence that people read. A longer one is cut at the best place there is.
pub const LONGEST: usize = 400;

/// Most bytes of its Markdown, whatever people read of them.
pub const LONGEST_SOURCE: usize = 4 * LONGEST;

/// Bytes of the last words that are kept to tell whether a sentence ends.
pub const SEEN: usize = 100;

/// Longest word, in bytes, that is waited for to see whether a sentence has ended before it.
const LONGEST_WORD: usize = 30;

/// The sentence under way.
#[derive(Debug)]
pub struct Sentence {
    language: String,
    /// Complete passages not taken yet.
    pub complete: VecDeque<Passage>,
    /// Its Markdown.
    pub source: String,
    inline: Inline,
    /// What people read of its last words.
    pub seen: String,
    /// Bytes that people read of it.
    length: usize,
    /// Words of it, with those of the clauses before.
    words: usize,
    /// A possible end, about which the word under way decides.
    open: Option<Open>,
    /// Whether anything was completed.
    is_begun: bool,
}

/// A place where a sentence may end.
#[derive(Debug)]
struct Open {
    /// Where the text after it begins in the Markdown.
    at: usize,
    /// The last words before.
    seen: String,
    /// What people read of the word after.
    next: String,
}

impl Sentence {
    /// The start of a text in this language.
    pub fn new(language: &str) -> Self {
        Self {
            language: language.into(),
            complete: VecDeque::new(),
            source: String::new(),
            inline: Inline::default(),
            seen: String::new(),
            length: 0,
            words: 0,
            open: None,
            is_begun: false,
        }
    }

    /// The rest of the text is in this language.
    pub fn go_on_in(&mut self, language: &str) {
        if self.language != language {
            self.language = language.into();
        }
    }

    /// Takes the next token of the text.
    pub fn take(&mut self, token: Token) {
        match token {
            Token::Character(it) => self.read(it),
            Token::Number(it) => self.source.push_str(&it),
            Token::Row => self.source.push_str("| "),
            Token::End => self.end(),
            Token::Code => {
                self.end();
                self.complete.push_back(Passage::Code);
                self.is_begun = true;
            }
        }
    }

    fn read(&mut self, character: char) {
        let is_seen = self.inline.read(character);
        if character.is_whitespace() {
            self.read_space();
        } else {
            self.source.push(character);
            if is_seen {
                self.see(character);
            }
            if boundary::is_end_without_space(character) && !self.inline.is_open() {
                self.complete(false);
            }
        }
        if self.length > LONGEST || self.source.len() > LONGEST_SOURCE {
            self.cut();
        }
    }

    fn see(&mut self, character: char) {
        self.seen.push(character);
        if self.seen.len() > 2 * SEEN {
            let from = self.seen.ceil_char_boundary(self.seen.len() - SEEN);
            self.seen.drain(..from);
        }
        self.length += character.len_utf8();
        if let Some(open) = &mut self.open {
            open.next.push(character);
            if open.next.len() >= LONGEST_WORD {
                self.decide();
            }
        }
    }

    fn read_space(&mut self) {
        if self.source.is_empty() || self.source.ends_with(' ') {
            return;
        }
        if self.inline.is_open() {
            self.source.push(' ');
            self.see(' ');
            return;
        }
        if self.open.as_ref().is_some_and(|it| !it.next.is_empty()) {
            self.decide();
        }
        self.words += 1;
        match boundary::at(&self.seen, self.words, !self.is_begun, &self.language) {
            End::Yes => return self.complete(boundary::is_clause(&self.seen)),
            End::No => {}
            End::Open => {
                self.open = Some(Open {
                    at: self.source.len() + 1,
                    seen: self.seen.clone(),
                    next: String::new(),
                });
            }
        }
        self.source.push(' ');
        self.seen.push(' ');
        self.length += 1;
    }

    /// Decides whether a sentence has ended before the word under way.
    fn decide(&mut self) {
        if let Some(open) = self.open.take()
            && boundary::before(&open.next, &open.seen, &self.language)
        {
            self.split(open.at, boundary::is_clause(&open.seen));
            self.seen = open.next;
        }
    }

    /// Completes the Markdown up to `at`; the rest is the beginning of the next sentence or clause.
    fn split(&mut self, at: usize, is_clause: bool) {
        let rest = self.source.split_off(at);
        self.complete(is_clause);
        self.length = rest.len();
        self.seen.push_str(&rest);
        self.source = rest;
    }

    /// Completes the part of a long sentence up to its last clause, or else its last word.
    fn cut(&mut self) {
        let spaces = || self.source.match_indices(' ').map(|(at, _)| at + 1).rev();
        let is_pause = |at: &usize| self.source[..*at].trim_end().ends_with(boundary::PAUSES);
        let place = spaces().find(is_pause).or_else(|| spaces().next());
        self.split(place.unwrap_or(self.source.len()), true);
    }

    /// Ends the block, and the sentence with it.
    fn end(&mut self) {
        self.decide();
        self.complete(false);
        self.inline = Inline::default();
    }

    /// Completes the sentence, or a clause of it.
    fn complete(&mut self, is_clause: bool) {
        let sentence = self.source.trim();
        if !sentence.is_empty() {
            self.complete.push_back(Passage::Text(sentence.into()));
            self.is_begun = true;
        }
        self.source.clear();
        self.seen.clear();
        self.length = 0;
        if !is_clause {
            self.words = 0;
        }
        self.open = None;
    }
}
