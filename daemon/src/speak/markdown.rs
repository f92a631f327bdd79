//! Markdown, read by `pulldown-cmark`: what a line begins, and what people read of a paragraph.

use std::borrow::Cow;

use pulldown_cmark::{
    BrokenLink, CodeBlockKind, CowStr, Event, LinkType, Options, Parser, Tag, TagEnd,
};

use super::formula;

/// Stands for the text of a block that is open before a line.
const WORD: &str = "x\n";

/// Put before the text of a paragraph, so that it begins nothing else.
const GUARD: &str = "\u{2060} ";

/// Extensions of Markdown that are known of blocks.
const BLOCKS: Options = Options::ENABLE_TASKLISTS
    .union(Options::ENABLE_OLD_FOOTNOTES)
    .union(Options::ENABLE_GFM);

/// Extensions of Markdown that are known inside paragraphs.
const INLINES: Options = Options::ENABLE_STRIKETHROUGH
    .union(Options::ENABLE_MATH)
    .union(Options::ENABLE_OLD_FOOTNOTES);

/// What a line begins.
#[derive(Debug, PartialEq, Eq)]
pub enum Begins {
    /// Nothing that is read: it is empty, a rule, an underline or a definition. What stands before it ends.
    Nothing,
    /// Text.
    Text(Text),
    /// Code between fences.
    Code(Fence),
}

/// Where the text of a line begins, and how.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Its first byte in the line. The number of an item belongs to it.
    pub at: usize,
    /// Where that number ends; the same if there is none.
    pub after_number: usize,
    /// Whether it begins a paragraph, an item or a heading; if not, it goes on with the one before.
    pub is_new: bool,
    /// Whether it ends with the line.
    pub is_line: bool,
}

/// The line that begins code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The character it consists of.
    pub mark: char,
    /// How many of them there are. The fence that ends the code has at least as many.
    pub length: usize,
    /// Whether the code is quoted.
    pub is_quoted: bool,
}

/// What is open before a line: the beginning of the line that opened it, with a word for its text. So the parser can
/// tell what the next line is without all that came before. Empty between blocks.
#[derive(Debug, Default)]
pub struct Context {
    line: String,
    /// Columns of white space before it.
    indent: usize,
}

impl Context {
    /// Whether a paragraph is open, which the next line may go on with.
    pub fn has_paragraph(&self) -> bool {
        self.line.ends_with(WORD)
    }

    /// What `line` begins, which is a head if not `is_whole`. Remembers what is open after it.
    pub fn begin(&mut self, line: &str, is_whole: bool) -> Begins {
        let text = line.trim_start();
        let before = line.len() - text.len();
        if text.is_empty() {
            self.end_paragraph();
            return Begins::Nothing;
        }
        let indent = columns(&line[..before]);
        // Only fences make code. An indented line is text, which people indent for other reasons too.
        let is_inside = !self.line.is_empty() && self.line != WORD;
        let shown = if is_inside {
            indent.saturating_sub(self.indent)
        } else {
            0
        };
        let end = if is_whole { "\n" } else { "" };
        let is_quoted = self.has_paragraph() && self.line.contains('>');
        let known = if is_quoted {
            Cow::Borrowed(text)
        } else {
            without_comparison(text)
        };
        let source = format!("{}{:shown$}{known}{end}", self.line, "");
        let from = self.line.len();
        let place = |at: usize| (at - from - shown.min(at - from)) + before;
        match look(&source, from) {
            Found::Text(found) => {
                let (at, number) = (place(found.at), place(found.number));
                let head = &line[before..at];
                self.follow(&found, head, indent);
                Begins::Text(Text {
                    at: number,
                    after_number: at,
                    is_new: found.is_new,
                    is_line: found.is_heading,
                })
            }
            Found::Code(at) => {
                let is_quoted = source[from..at].contains('>') || self.line.starts_with('>');
                let fence = source[at..].trim_start();
                let mark = fence.chars().next().unwrap_or('`');
                let length = fence.len() - fence.trim_start_matches(mark).len();
                self.end_paragraph();
                Begins::Code(Fence {
                    mark,
                    length,
                    is_quoted,
                })
            }
            Found::Nothing if is_whole => {
                self.line.clear();
                Begins::Nothing
            }
            // The rest of the line is not known, and must not be lost.
            Found::Nothing => {
                let is_read = text.contains(char::is_alphanumeric);
                let at = if is_read { before } else { line.len() };
                let is_new = !self.has_paragraph();
                self.line = WORD.into();
                Begins::Text(Text {
                    at,
                    after_number: at,
                    is_new,
                    is_line: false,
                })
            }
        }
    }

    /// Ends the paragraph, but not the item or quotation it is in.
    fn end_paragraph(&mut self) {
        if self.line == WORD {
            self.line.clear();
        } else if self.has_paragraph() {
            self.line.push('\n');
        }
    }

    /// Remembers what is open after text that was found behind `head`.
    fn follow(&mut self, found: &FoundText, head: &str, indent: usize) {
        if found.opens {
            self.line = format!("{head}{WORD}");
            self.indent = indent;
        } else if found.is_inside {
            self.line.truncate(self.line.trim_end().len());
            self.line.push('\n');
        } else {
            self.line = WORD.into();
        }
        if found.is_heading {
            self.end_paragraph();
        }
    }
}

/// Columns of white space; a tab is worth four.
fn columns(space: &str) -> usize {
    space.chars().map(|it| if it == '\t' { 4 } else { 1 }).sum()
}

/// The start of a line with a letter in place of a `>` before a number, which means "more than" and quotes nothing.
fn without_comparison(line: &str) -> Cow<'_, str> {
    let is_mark = |it: char| it.is_whitespace() || it.is_ascii_digit() || ">-*+.)".contains(it);
    let end = line.find(|it| !is_mark(it)).unwrap_or(line.len());
    let mut quotes = line[..end].match_indices('>').map(|(at, _)| at);
    let is_compared = |at: &usize| {
        let after = &line[at + 1..];
        let after = after.strip_prefix('=').map_or(after, str::trim_start);
        let number = after.trim_start_matches(['$', '€', '£', '¥', '₹']);
        let rest = number.trim_start_matches(|it: char| it.is_ascii_digit());
        // `>1. Boil water` quotes an item.
        let is_item = [". ", ") "].iter().any(|it| rest.starts_with(it));
        rest.len() < number.len() && !is_item
    };
    match quotes.find(is_compared) {
        Some(at) => format!("{}x{}", &line[..at], &line[at + 1..]).into(),
        None => line.into(),
    }
}

/// What the parser finds in a line.
enum Found {
    Nothing,
    Text(FoundText),
    /// Code, and the position of its fence.
    Code(usize),
}

#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // Each is found by itself.
struct FoundText {
    at: usize,
    /// Where the number of its item begins; `at` if there is none.
    number: usize,
    is_new: bool,
    is_heading: bool,
    /// Whether the line opens what the text is in: an item, a quotation, a footnote.
    opens: bool,
    /// Whether something is open that was opened before.
    is_inside: bool,
}

/// What the last line of `source` begins, which starts at `from`.
fn look(source: &str, from: usize) -> Found {
    let mut text = FoundText::default();
    let mut number = None;
    let mut is_ordered = Vec::new();
    let mut depth = 0;
    for (event, range) in Parser::new_ext(source, BLOCKS).into_offset_iter() {
        let is_here = range.start >= from;
        match event {
            // It underlines the paragraph before.
            Event::Start(Tag::Heading { .. }) if !is_here && range.end > from => {
                return Found::Nothing;
            }
            Event::Start(Tag::Heading { .. }) if !is_here => {}
            Event::Start(Tag::Heading { .. }) => (text.is_new, text.is_heading) = (true, true),
            Event::Start(Tag::List(first)) => is_ordered.push(first.is_some()),
            Event::End(TagEnd::List(_)) => drop(is_ordered.pop()),
            Event::Start(Tag::Item | Tag::BlockQuote(_) | Tag::FootnoteDefinition(_)) => {
                depth += 1;
                if is_here {
                    (text.is_new, text.opens) = (true, true);
                    if is_ordered.last() == Some(&true) {
                        number.get_or_insert(range.start);
                    }
                }
            }
            Event::End(TagEnd::Item | TagEnd::BlockQuote(_) | TagEnd::FootnoteDefinition) => {
                depth -= 1;
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(_))) if is_here => {
                return Found::Code(range.start);
            }
            Event::Start(Tag::Paragraph | Tag::HtmlBlock | Tag::CodeBlock(_)) => {
                text.is_new |= is_here;
            }
            Event::Rule if is_here => return Found::Nothing,
            Event::SoftBreak | Event::HardBreak | Event::TaskListMarker(_) | Event::End(_) => {}
            _ if is_here => {
                text.at = range.start;
                text.number = number.unwrap_or(range.start);
                text.is_inside = depth > 0;
                return Found::Text(text);
            }
            _ => {}
        }
    }
    // An item may consist of its number alone.
    number.map_or(Found::Nothing, |number| {
        Found::Text(FoundText {
            at: source.trim_end().len(),
            number,
            ..text
        })
    })
}

/// What people read of a part of a paragraph, of a heading, or of a row of a table: its words, the words of links
/// instead of addresses, and no tags. Pictures are read by their descriptions. Badges are not read: pictures in links,
/// or of certain addresses.
#[must_use]
pub fn read(source: &str, is_english: bool) -> String {
    let guarded = format!("{GUARD}{source}");
    // A link whose definition may stand elsewhere counts as a link.
    let mut link = |link: BrokenLink<'_>| {
        let is_link = !matches!(
            link.link_type,
            LinkType::Shortcut | LinkType::ShortcutUnknown
        );
        is_link.then_some((CowStr::Borrowed(""), CowStr::Borrowed("")))
    };
    let events = Parser::new_with_broken_link_callback(&guarded, INLINES, Some(&mut link));
    let mut text = String::with_capacity(source.len());
    let (mut links, mut badges) = (0, 0);
    for event in events {
        match event {
            Event::Start(Tag::Link { .. }) => links += 1,
            Event::End(TagEnd::Link) => links -= 1,
            Event::Start(Tag::Image { dest_url, .. }) if links > 0 || is_badge(&dest_url) => {
                badges += 1;
            }
            Event::Start(Tag::Image { .. }) if badges > 0 => badges += 1,
            Event::End(TagEnd::Image) if badges > 0 => badges -= 1,
            _ if badges > 0 => {}
            Event::Text(it) | Event::Code(it) => text.push_str(&it),
            Event::InlineMath(it) if !formula::is_likely(&it) => {
                text.extend(["$", &*it, "$"]);
            }
            Event::InlineMath(it) | Event::DisplayMath(it) => {
                text.extend([" ", &formula::read(&it, is_english), " "]);
            }
            Event::InlineHtml(_) | Event::Html(_) | Event::SoftBreak | Event::HardBreak => {
                text.push(' ');
            }
            _ => {}
        }
    }
    let text = text.trim_start_matches(GUARD.trim_end()).trim();
    if source.starts_with('|') {
        let cells = text.split('|').map(str::trim);
        let cells: Vec<_> = cells.filter(|it| !it.is_empty()).collect();
        return cells.join(", ");
    }
    text.into()
}

/// Whether a picture shows the state of a project.
fn is_badge(address: &str) -> bool {
    address.contains("shields.io") || address.contains("badge")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the lines begin, one after the other: `-` nothing, `+` a new block, `.` one that goes on, `#` a line, and
    /// the text; a fence as it is.
    fn begins(text: &str) -> Vec<String> {
        let mut context = Context::default();
        let lines = text.lines().map(|line| match context.begin(line, true) {
            Begins::Nothing => "-".into(),
            Begins::Code(fence) => fence.mark.to_string().repeat(fence.length),
            Begins::Text(text) => {
                let sign = match (text.is_line, text.is_new) {
                    (true, _) => '#',
                    (false, true) => '+',
                    (false, false) => '.',
                };
                format!("{sign}{}", &line[text.at..])
            }
        });
        lines.collect()
    }

    #[test]
    fn marks_at_the_start_of_lines_tell_what_they_are() {
        assert_eq!(
            begins(
                "# Tea\nBoil\n\n- [x] a cup\n* [ ] **tea**\n+ b\n> so\n---\n1) c\n7. d\n    ~~~~ x"
            ),
            [
                "#Tea", "+Boil", "-", "+a cup", "+**tea**", "+b", "+so", "-", "+1) c", "+7. d",
                "~~~~"
            ]
        );
        assert_eq!(
            begins("Title\n=====\nText\n---"),
            ["+Title", "-", "+Text", "-"]
        );
        assert_eq!(
            begins("[a]: http://b.c\n[^1]: d\n\n> [!NOTE]\n> e"),
            ["-", "+d", "-", "-", "+e"]
        );
    }

    #[test]
    fn text_after_a_heading_in_a_quotation_or_an_item_is_a_block_of_its_own() {
        assert_eq!(
            begins("># a\n> b\n- # c\n  d\n> # e\nf\n\ng\n> h\n> ---\n> i"),
            [
                "#a", "+b", "#c", "+d", "#e", "+f", "-", "+g", "+h", "-", "+i"
            ]
        );
    }

    #[test]
    fn lines_that_go_on_with_a_paragraph_begin_nothing_whatever_they_look_like() {
        assert_eq!(
            begins("See section\n7. for more\n#tag"),
            ["+See section", ".7. for more", ".#tag"]
        );
        assert_eq!(
            begins("- This causes a\n  segmentation fault\n- so\nlazy"),
            ["+This causes a", ".segmentation fault", "+so", ".lazy"]
        );
        assert_eq!(begins("> one\n> two\nthree"), ["+one", ".two", ".three"]);
        assert_eq!(
            begins("**Bold** words\n*and* more"),
            ["+**Bold** words", ".*and* more"]
        );
    }

    #[test]
    fn comparisons_with_a_number_are_no_quotations() {
        assert_eq!(
            begins(">90% of\n> so\n>5 b\n\n>=3 c\n- >$5 d\n>1. e\n\n> >5 f"),
            [
                "+>90% of", "+so", ".5 b", "-", "+>=3 c", "+>$5 d", "+1. e", "-", "+>5 f"
            ]
        );
    }

    #[test]
    fn items_in_items_are_items_however_deep_they_are_indented() {
        assert_eq!(
            begins("1. a\n    - b\n    - c\n        - d\n    - e\n2. f\n\n   g\n\nh\n    i"),
            [
                "+1. a", "+b", "+c", "+d", "+e", "+2. f", "-", "+g", "-", "+h", ".i"
            ]
        );
    }

    #[test]
    fn text_is_read_without_marks_addresses_badges_and_tags() {
        for (source, read_out) in [
            (
                "The **best** *tea* `x_y` ~~not~~ \\*so\\*",
                "The best tea x_y not *so*",
            ),
            (
                "See [the docs](https://e.org/a?b=(c)) or [these][1].",
                "See the docs or these.",
            ),
            ("![A cat](cat.png) sits", "A cat sits"),
            (
                "[![Build](https://e.org/b.svg)](https://e.org) ![v](https://img.shields.io/v) Hi",
                "Hi",
            ),
            (
                "<a href=\"x\"><img alt=\"One. Two.\">there</a> &amp; 2 &lt; 3",
                "there  & 2 < 3",
            ),
            ("<!-- not this > --> but this", "but this"),
            ("so[^1] it [is] 7. # - > + |", "so it [is] 7. # - > + |"),
            ("| a | **b** | |", "a, b"),
            ("$5 and $10, $x$", "$5 and $10,  x"),
        ] {
            assert_eq!(read(source, true), read_out, "{source}");
        }
    }
}
