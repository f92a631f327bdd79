//! What synthesisers do not read in English, or read wrong: units, amounts of money, ranges, fractions, signs.
//!
//! What they do read is left to them: numbers, years, ordinals, times, percentages of other languages.

use super::boundary;

/// Signs behind a number and what they mean, for one and for many.
const UNITS: [(&str, &str, &str); 42] = [
    ("%", "percent", "percent"),
    ("GB", "gigabyte", "gigabytes"),
    ("GHz", "gigahertz", "gigahertz"),
    ("Gbit", "gigabit", "gigabits"),
    ("Hz", "hertz", "hertz"),
    ("KB", "kilobyte", "kilobytes"),
    ("L", "litre", "litres"),
    ("MB", "megabyte", "megabytes"),
    ("MHz", "megahertz", "megahertz"),
    ("Mbit", "megabit", "megabits"),
    ("TB", "terabyte", "terabytes"),
    ("V", "volt", "volts"),
    ("W", "watt", "watts"),
    ("cm", "centimetre", "centimetres"),
    ("cm²", "square centimetre", "square centimetres"),
    ("dB", "decibel", "decibels"),
    ("ft", "foot", "feet"),
    ("g", "gram", "grams"),
    ("h", "hour", "hours"),
    ("kB", "kilobyte", "kilobytes"),
    ("kHz", "kilohertz", "kilohertz"),
    ("kW", "kilowatt", "kilowatts"),
    ("kWh", "kilowatt hour", "kilowatt hours"),
    ("kg", "kilogram", "kilograms"),
    ("km", "kilometre", "kilometres"),
    ("km²", "square kilometre", "square kilometres"),
    ("l", "litre", "litres"),
    ("lb", "pound", "pounds"),
    ("m", "metre", "metres"),
    ("mg", "milligram", "milligrams"),
    ("min", "minute", "minutes"),
    ("ml", "millilitre", "millilitres"),
    ("mm", "millimetre", "millimetres"),
    ("mph", "mile per hour", "miles per hour"),
    ("ms", "millisecond", "milliseconds"),
    ("m²", "square metre", "square metres"),
    ("m³", "cubic metre", "cubic metres"),
    ("oz", "ounce", "ounces"),
    ("s", "second", "seconds"),
    ("°", "degree", "degrees"),
    ("°C", "degree Celsius", "degrees Celsius"),
    ("°F", "degree Fahrenheit", "degrees Fahrenheit"),
];

/// Signs of money, before or behind the amount, for one and for many.
const CURRENCIES: [(char, &str, &str); 5] = [
    ('$', "dollar", "dollars"),
    ('€', "euro", "euros"),
    ('£', "pound", "pounds"),
    ('¥', "yen", "yen"),
    ('₹', "rupee", "rupees"),
];

/// Letters behind an amount of money.
const SCALES: [(&str, &str); 10] = [
    ("k", "thousand"),
    ("K", "thousand"),
    ("m", "million"),
    ("mn", "million"),
    ("M", "million"),
    ("b", "billion"),
    ("bn", "billion"),
    ("B", "billion"),
    ("tn", "trillion"),
    ("T", "trillion"),
];

/// Words behind an amount of money.
const LARGE: [&str; 5] = ["hundred", "thousand", "million", "billion", "trillion"];

/// The fractions that Unicode has a character for. Others may be dates or scores.
const FRACTIONS: [(char, &str, &str); 18] = [
    ('½', "1/2", "one half"),
    ('⅓', "1/3", "one third"),
    ('⅔', "2/3", "two thirds"),
    ('¼', "1/4", "one quarter"),
    ('¾', "3/4", "three quarters"),
    ('⅕', "1/5", "one fifth"),
    ('⅖', "2/5", "two fifths"),
    ('⅗', "3/5", "three fifths"),
    ('⅘', "4/5", "four fifths"),
    ('⅙', "1/6", "one sixth"),
    ('⅚', "5/6", "five sixths"),
    ('⅐', "1/7", "one seventh"),
    ('⅛', "1/8", "one eighth"),
    ('⅜', "3/8", "three eighths"),
    ('⅝', "5/8", "five eighths"),
    ('⅞', "7/8", "seven eighths"),
    ('⅑', "1/9", "one ninth"),
    ('⅒', "1/10", "one tenth"),
];

/// Signs that stand alone.
const SIGNS: [(&str, &str); 18] = [
    ("&", "and"),
    ("+", "plus"),
    ("=", "equals"),
    ("−", "minus"),
    ("×", "times"),
    ("÷", "divided by"),
    ("±", "plus or minus"),
    ("<", "is less than"),
    (">", "is more than"),
    ("≤", "is at most"),
    ("≥", "is at least"),
    ("≠", "is not equal to"),
    ("≈", "is about"),
    ("→", "to"),
    ("->", "to"),
    ("=>", "to"),
    ("⇒", "to"),
    ("@", "at"),
];

/// Signs before a number.
const PREFIXES: [(char, &str); 9] = [
    ('-', "minus"),
    ('−', "minus"),
    ('~', "about"),
    ('≈', "about"),
    ('#', "number"),
    ('<', "less than"),
    ('>', "more than"),
    ('≤', "at most"),
    ('≥', "at least"),
];

/// Abbreviations with a full stop that are read as a word, and whether only before a number.
const ABBREVIATIONS: [(&str, &str, bool); 34] = [
    ("Jan", "January", true),
    ("Feb", "February", true),
    ("Mar", "March", true),
    ("Apr", "April", true),
    ("Jun", "June", true),
    ("Jul", "July", true),
    ("Aug", "August", true),
    ("Sep", "September", true),
    ("Sept", "September", true),
    ("Oct", "October", true),
    ("Nov", "November", true),
    ("Dec", "December", true),
    ("Mon", "Monday", true),
    ("Tue", "Tuesday", true),
    ("Tues", "Tuesday", true),
    ("Wed", "Wednesday", true),
    ("Thu", "Thursday", true),
    ("Thur", "Thursday", true),
    ("Thurs", "Thursday", true),
    ("Fri", "Friday", true),
    ("Sat", "Saturday", true),
    ("Sun", "Sunday", true),
    ("No", "number", true),
    ("ca", "about", true),
    ("ch", "chapter", true),
    ("fig", "figure", true),
    ("incl", "including", true),
    ("max", "maximum", true),
    ("min", "minimum", true),
    ("pp", "pages", true),
    ("tel", "telephone", true),
    ("vol", "volume", true),
    ("vs", "versus", false),
    ("approx", "approximately", false),
];

/// A word and the mark that ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// The word without marks around it.
    pub core: &'a str,
    /// The mark that ends it; empty if there is none.
    pub end: &'a str,
}

/// Words as they are read.
#[derive(Debug, PartialEq, Eq)]
pub struct Phrase {
    /// The words that are read.
    pub said: String,
    /// How many words that stands for. The mark that ends the last is still to be read, unless it is the full stop of
    /// an abbreviation.
    pub words: usize,
    /// Whether that is the full stop of an abbreviation.
    pub is_abbreviation: bool,
}

/// The reading of the first of these words, and perhaps of some after it; `None` if it is read as it is written.
#[must_use]
pub fn read(words: &[Word<'_>]) -> Option<Phrase> {
    let first = words.first()?;
    let next = words
        .get(1)
        .filter(|_| first.end.is_empty())
        .map(|it| it.core);
    let after = words.get(1).map_or("", |it| it.core);
    if let Some(said) = abbreviation(*first, after) {
        return Some(Phrase {
            said: said.into(),
            words: 1,
            is_abbreviation: true,
        });
    }
    let (said, words) = quantity(first.core, next).or_else(|| Some((word(first.core)?, 1)))?;
    Some(Phrase {
        said,
        words,
        is_abbreviation: false,
    })
}

fn abbreviation(word: Word<'_>, next: &str) -> Option<&'static str> {
    let is_before_number = starts_with_digit(next);
    let known = ABBREVIATIONS.iter().find(|(it, _, before_number)| {
        boundary::is_written(word.core, it) && (is_before_number || !before_number)
    });
    known.filter(|_| word.end == ".").map(|(_, said, _)| *said)
}

/// The reading of a word that is no number.
fn word(core: &str) -> Option<String> {
    if let Some((_, said)) = SIGNS.iter().find(|(it, _)| *it == core) {
        return Some((*said).into());
    }
    let mut letters = core.chars();
    if let (Some('A'..='G'), Some('#'), None) = (letters.next(), letters.next(), letters.next()) {
        return Some(format!("{} sharp", &core[..1]));
    }
    // Without a number, only a unit of two parts counts as one.
    let is_long = core.split_once('/').is_some_and(|(unit, _)| unit.len() > 1);
    is_long.then(|| unit(core, true)).flatten()
}

/// The reading of a number with what belongs to it, and how many words that is.
fn quantity(core: &str, next: Option<&str>) -> Option<(String, usize)> {
    if let Some(said) = fraction(core) {
        return Some((said, 1));
    }
    let (first, rest) = Amount::read(core)?;
    if !rest.is_empty() {
        return range(&first, rest, next).or_else(|| Some((pair(&first, rest)?, 1)));
    }
    if first.is_bare()
        && let Some(fraction) = next.and_then(fraction)
    {
        return Some((format!("{} and {fraction}", first.number), 2));
    }
    first.read_with(next)
}

/// The reading of two amounts with a dash between. A hyphen counts only where [`may_be_range`] says so.
fn range(first: &Amount<'_>, rest: &str, next: Option<&str>) -> Option<(String, usize)> {
    let between = rest.chars().next().filter(|it| "-–—".contains(*it))?;
    let (second, rest) = Amount::read(&rest[between.len_utf8()..])?;
    let (low, high) = (first.number, second.number);
    if !rest.is_empty() || between == '-' && !may_be_range(low, high) {
        return None;
    }
    let (said, words) = second.read_with(next).unwrap_or((high.into(), 1));
    Some((format!("{} to {said}", first.said()), words))
}

/// Whether a hyphen between these two numbers can mean "to": the second is larger, or both are times, and they are no
/// phone number.
#[must_use]
pub fn may_be_range(low: &str, high: &str) -> bool {
    let value = |text: &str| text.replace(',', "").parse::<f64>();
    let is_code = low.len() > 1 && low.starts_with('0') && !low.contains(['.', ',']);
    let is_phone = is_code || (low.len(), high.len()) == (3, 4);
    match (low.contains(':'), high.contains(':')) {
        (false, false) => {
            !is_phone && matches!((value(low), value(high)), (Ok(low), Ok(high)) if low < high)
        }
        (has_low, has_high) => has_low && has_high,
    }
}

/// The reading of two numbers with a slash, where people say both: `24/7`, `50/50`. Or of an amount for something:
/// `$5/month`.
fn pair(first: &Amount<'_>, rest: &str) -> Option<String> {
    let second = rest.strip_prefix('/')?;
    let is_word = second.len() > 1 && second.chars().all(|it| it.is_ascii_lowercase());
    let counts = first.currency.is_some() || first.unit.is_some();
    if is_word || counts && !second.is_empty() && second.chars().all(char::is_alphabetic) {
        let one = UNITS.iter().find(|(it, ..)| *it == second);
        return Some(format!(
            "{} per {}",
            first.said(),
            one.map_or(second, |(_, one, _)| one)
        ));
    }
    let is_said = second == first.number || (first.number, second) == ("24", "7");
    (first.is_bare() && is_said).then(|| format!("{} {second}", first.number))
}

/// Whether it is a fraction that people have words for.
#[must_use]
pub fn is_fraction(core: &str) -> bool {
    fraction(core).is_some()
}

fn fraction(core: &str) -> Option<String> {
    if let Some((.., said)) = FRACTIONS.iter().find(|(_, it, _)| *it == core) {
        return Some((*said).into());
    }
    let last = core.chars().next_back()?;
    let (.., said) = FRACTIONS.iter().find(|(it, ..)| *it == last)?;
    let whole = &core[..core.len() - last.len_utf8()];
    let is_whole = !whole.is_empty() && whole.chars().all(|it| it.is_ascii_digit());
    if is_whole {
        Some(format!("{whole} and {said}"))
    } else {
        whole.is_empty().then(|| (*said).into())
    }
}

/// A number with its signs.
struct Amount<'a> {
    /// Words before it.
    prefix: String,
    number: &'a str,
    scale: Option<&'static str>,
    /// The name of the money, for one and for many.
    currency: Option<(&'static str, &'static str)>,
    unit: Option<String>,
}

impl<'a> Amount<'a> {
    /// Reads an amount, and returns what follows it.
    fn read(text: &'a str) -> Option<(Self, &'a str)> {
        let mut rest = text;
        let mut prefix = String::new();
        let mut currency = None;
        while let Some(sign) = rest.chars().next().filter(|it| !it.is_ascii_digit()) {
            rest = &rest[sign.len_utf8()..];
            if let Some(found) = currency_of(sign).filter(|_| currency.is_none()) {
                currency = Some(found);
            } else {
                let found = PREFIXES.iter().find(|(it, _)| *it == sign);
                let (_, word) = found.filter(|_| prefix.is_empty())?;
                prefix.extend([word, " "]);
            }
        }
        let is_part = |it: char| it.is_ascii_digit() || ".,:".contains(it);
        let end = rest.find(|it| !is_part(it)).unwrap_or(rest.len());
        let number = rest[..end].trim_end_matches(|it: char| !it.is_ascii_digit());
        let after = &rest[number.len()..];
        let mut amount = Self {
            prefix,
            number,
            scale: None,
            currency,
            unit: None,
        };
        (!number.is_empty()).then_some(())?;
        let rest = amount.read_sign(after);
        Some((amount, rest))
    }

    /// Reads what stands directly behind the number, and returns what follows that.
    fn read_sign(&mut self, text: &'a str) -> &'a str {
        let end = text.find(['-', '–', '—']).unwrap_or(text.len());
        let (sign, rest) = text.split_at(end);
        let name = &sign[..sign.find('/').unwrap_or(sign.len())];
        if let (Some(_), Some((_, scale))) =
            (self.currency, SCALES.iter().find(|(it, _)| *it == name))
        {
            self.scale = Some(scale);
            return &text[name.len()..];
        }
        let mut letters = name.chars();
        if let (None, Some(found), None) = (
            self.currency,
            letters.next().and_then(currency_of),
            letters.next(),
        ) {
            self.currency = Some(found);
            return &text[name.len()..];
        }
        // `1990s` are no seconds.
        if self.currency.is_none() && sign != "s" {
            self.unit = unit(sign, self.number != "1");
        }
        if self.unit.is_some() { rest } else { text }
    }

    /// Whether it is a number and nothing else.
    fn is_bare(&self) -> bool {
        self.prefix.is_empty() && self.has_no_unit() && self.currency.is_none()
    }

    fn has_no_unit(&self) -> bool {
        self.scale.is_none() && self.unit.is_none()
    }

    /// The reading of it, and of the next word if that belongs to it; `None` if it is read as it is written.
    fn read_with(mut self, next: Option<&str>) -> Option<(String, usize)> {
        let mut words = 1;
        if let Some(next) = next.filter(|_| self.has_no_unit()) {
            let mut letters = next.chars();
            let sign = letters
                .next()
                .and_then(currency_of)
                .filter(|_| letters.next().is_none());
            if self.currency.is_some() {
                self.scale = LARGE.into_iter().find(|it| *it == next);
            } else if sign.is_some() {
                self.currency = sign;
            } else {
                self.unit = unit(next, self.number != "1");
            }
            if !self.has_no_unit() || sign.is_some() {
                words = 2;
            }
        }
        (!self.is_bare()).then(|| (self.said(), words))
    }

    fn said(&self) -> String {
        let mut said = format!("{}{}", self.prefix, self.number);
        if let Some(scale) = self.scale {
            said.extend([" ", scale]);
        }
        if let Some((one, many)) = self.currency {
            let is_one = self.number == "1" && self.scale.is_none();
            said.extend([" ", if is_one { one } else { many }]);
        }
        if let Some(unit) = &self.unit {
            said.extend([" ", unit]);
        }
        said
    }
}

fn currency_of(sign: char) -> Option<(&'static str, &'static str)> {
    let (_, one, many) = CURRENCIES.iter().find(|(it, ..)| *it == sign)?;
    Some((one, many))
}

/// The name of a unit, which may be one per another.
fn unit(sign: &str, are_many: bool) -> Option<String> {
    let find = |sign: &str| UNITS.iter().find(|(it, ..)| *it == sign);
    let (sign, per) = match sign.split_once('/') {
        Some((sign, per)) => (sign, Some(find(per)?.1)),
        None => (sign, None),
    };
    let (_, one, many) = find(sign)?;
    let name = if are_many { many } else { one };
    Some(match per {
        Some(per) => format!("{name} per {per}"),
        None => (*name).into(),
    })
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|it: char| it.is_ascii_digit())
}
