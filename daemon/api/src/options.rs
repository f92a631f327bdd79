//! Options as clients send them, `a{sv}`, read one by one.
//!
//! Bindings of untyped languages choose D-Bus types themselves: Python sends 20 as `i`, and 1 as `i` where a double is
//! meant. A number is therefore accepted in any type that holds its value. Everything else is strict: an option that
//! does not fit is refused by name, with the type given and the types wanted.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use zbus::{OwnedFd, Signature, Type, Variant};

use crate::{Error, text};

/// Maximum number of characters of an option's name that an error repeats.
const SHOWN: usize = 40;

/// Maximum number of options in a call. No call knows as many; reading more would only take time.
const MOST: usize = 64;

/// The options of a call, or the reason why they are invalid. A wrong option is not a malformed message: it must fail
/// in the method, with a named error, and not in the deserialisation before it.
#[derive(Debug)]
pub struct Options<T>(Result<T, String>);

impl<T> Options<T> {
    /// The options.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] that names the first option that does not fit, and what would fit.
    pub fn read(self) -> Result<T, Error> {
        self.0.map_err(Error::InvalidArgument)
    }
}

impl<T> Type for Options<T> {
    const SIGNATURE: &'static Signature = <HashMap<&str, Variant<'_>> as Type>::SIGNATURE;
}

/// A dictionary of options, all of them optional.
pub trait FromOptions: Default {
    /// Names of the options.
    const NAMES: &'static [&'static str];

    /// Sets the option of this name.
    ///
    /// # Errors
    /// There is no such option, or `value` does not fit it.
    fn set(&mut self, name: &str, value: Given<'_>) -> Result<(), Unfit>;
}

/// The value of an option as it was sent.
#[derive(Debug)]
pub enum Given<'a> {
    /// `b`.
    Flag(bool),
    /// `y`, `n`, `q`, `i`, `u`, `x` or `t`, with that letter.
    Whole(i128, char),
    /// `d`.
    Number(f64),
    /// `s`.
    Text(&'a str),
    /// `h`.
    Descriptor(OwnedFd),
}

/// Why an option cannot be set.
#[derive(Debug, PartialEq)]
pub enum Unfit {
    /// There is no option of this name.
    Unknown,
    /// Its type is not among those wanted.
    Type {
        /// The type given, in words.
        given: String,
        /// The types wanted.
        wanted: &'static str,
    },
    /// Its value is not among those wanted.
    Value {
        /// The value given.
        given: String,
        /// The values wanted.
        wanted: String,
    },
    /// A text is longer than is accepted.
    Long {
        /// Its length, in bytes.
        bytes: usize,
        /// Maximum length, in bytes.
        most: usize,
    },
}

impl Given<'_> {
    /// A boolean, in type `b` only: 1 is not `true`.
    ///
    /// # Errors
    /// [`Unfit::Type`].
    pub fn flag(self) -> Result<bool, Unfit> {
        match self {
            Self::Flag(flag) => Ok(flag),
            other => Err(other.but_wanted("a boolean (b)")),
        }
    }

    /// A whole number from 0 to 4294967295, in any integer type, or as a double without a fraction.
    ///
    /// # Errors
    /// [`Unfit::Type`], [`Unfit::Value`].
    pub fn whole(self) -> Result<u32, Unfit> {
        let out_of_range = |given: String| Unfit::Value {
            given,
            wanted: format!("a whole number from 0 to {}", u32::MAX),
        };
        match self {
            Self::Whole(number, _) => {
                u32::try_from(number).map_err(|_| out_of_range(number.to_string()))
            }
            Self::Number(number) => {
                let fits = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
                // It is whole and in range.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                fits.then_some(number as u32)
                    .ok_or_else(|| out_of_range(number.to_string()))
            }
            other => Err(other.but_wanted("a whole number (u, or any other type of number)")),
        }
    }

    /// A number, as a double or in any integer type.
    ///
    /// # Errors
    /// [`Unfit::Type`].
    pub fn number(self) -> Result<f64, Unfit> {
        match self {
            Self::Number(number) => Ok(number),
            // Above 2^53 it is rounded.
            #[allow(clippy::cast_precision_loss)]
            Self::Whole(number, _) => Ok(number as f64),
            other => Err(other.but_wanted("a number (d, or any other type of number)")),
        }
    }

    /// A text of at most `most` bytes. A longer one is not copied.
    ///
    /// # Errors
    /// [`Unfit::Type`], [`Unfit::Long`].
    pub fn text(self, most: usize) -> Result<String, Unfit> {
        match self {
            Self::Text(text) if text.len() <= most => Ok(text.into()),
            Self::Text(text) => Err(Unfit::Long {
                bytes: text.len(),
                most,
            }),
            other => Err(other.but_wanted("a string (s)")),
        }
    }

    /// A file descriptor.
    ///
    /// # Errors
    /// [`Unfit::Type`].
    pub fn descriptor(self) -> Result<OwnedFd, Unfit> {
        match self {
            Self::Descriptor(descriptor) => Ok(descriptor),
            other => Err(other.but_wanted("a file descriptor (h)")),
        }
    }

    fn but_wanted(&self, wanted: &'static str) -> Unfit {
        let given = match self {
            Self::Flag(_) => "a boolean (b)".into(),
            Self::Whole(_, kind) => format!("an integer ({kind})"),
            Self::Number(_) => "a double (d)".into(),
            Self::Text(_) => "a string (s)".into(),
            Self::Descriptor(_) => "a file descriptor (h)".into(),
        };
        Unfit::Type { given, wanted }
    }
}

impl Unfit {
    /// Message about the option `name`; `names` are those that exist, and may be empty.
    fn of(self, name: &str, names: &[&str]) -> String {
        match self {
            Self::Unknown if names.is_empty() => format!("there is no option `{name}`"),
            Self::Unknown => format!(
                "there is no option `{name}`; there are {}",
                names.join(", ")
            ),
            Self::Type { given, wanted } => format!("{name} is {given} but must be {wanted}"),
            Self::Value { given, wanted } => format!("{name} is {given} but must be {wanted}"),
            Self::Long { bytes, most } => {
                format!("{name} has {bytes} bytes, and at most {most} are taken; shorten it")
            }
        }
    }
}

impl<'de, T: FromOptions> Deserialize<'de> for Options<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Dictionary(PhantomData))
    }
}

/// Reads a dictionary, to its end even if an option does not fit, because further arguments may follow it.
struct Dictionary<T>(PhantomData<T>);

impl<'de, T: FromOptions> Visitor<'de> for Dictionary<T> {
    type Value = Options<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a dictionary of options")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut options = Ok(T::default());
        let mut seen = Vec::new();
        let mut count = 0;
        while let Some(name) = entries.next_key::<&str>()? {
            count += 1;
            if count > MOST {
                return Err(de::Error::custom(format!(
                    "there are more than {MOST} options"
                )));
            }
            let value = entries.next_value_seed(Entry { name })?;
            let Ok(so_far) = &mut options else { continue };
            let known = T::NAMES.iter().find(|known| **known == name);
            let set = if seen.contains(&known) {
                Err(format!("{name} is given twice"))
            } else {
                let set = so_far.set(name, value);
                set.map_err(|unfit| unfit.of(&text::line(name, SHOWN), T::NAMES))
            };
            match set {
                Ok(()) => seen.push(known),
                Err(why) => options = Err(why),
            }
        }
        Ok(Options(options))
    }
}

/// Reads the value of one option without copying it. A container fits no option and is refused without being read:
/// its elements would take far more memory than in the message.
struct Entry<'a> {
    name: &'a str,
}

impl<'de> DeserializeSeed<'de> for Entry<'_> {
    type Value = Given<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Given<'de>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entry<'_> {
    type Value = Given<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a variant")
    }

    /// A variant is a signature followed by a value.
    fn visit_seq<A: SeqAccess<'de>>(self, mut variant: A) -> Result<Given<'de>, A::Error> {
        let nothing = || de::Error::custom("a variant without a value");
        let signature = variant.next_element::<Signature>()?.ok_or_else(nothing)?;
        let whole = |number: i128| Given::Whole(number, kind(&signature));
        Ok(match signature {
            Signature::Bool => Given::Flag(variant.next_element()?.ok_or_else(nothing)?),
            Signature::U8 => whole(variant.next_element::<u8>()?.ok_or_else(nothing)?.into()),
            Signature::I16 => whole(variant.next_element::<i16>()?.ok_or_else(nothing)?.into()),
            Signature::U16 => whole(variant.next_element::<u16>()?.ok_or_else(nothing)?.into()),
            Signature::I32 => whole(variant.next_element::<i32>()?.ok_or_else(nothing)?.into()),
            Signature::U32 => whole(variant.next_element::<u32>()?.ok_or_else(nothing)?.into()),
            Signature::I64 => whole(variant.next_element::<i64>()?.ok_or_else(nothing)?.into()),
            Signature::U64 => whole(variant.next_element::<u64>()?.ok_or_else(nothing)?.into()),
            Signature::F64 => Given::Number(variant.next_element()?.ok_or_else(nothing)?),
            Signature::Str => Given::Text(variant.next_element()?.ok_or_else(nothing)?),
            Signature::Fd => Given::Descriptor(variant.next_element()?.ok_or_else(nothing)?),
            ref other => {
                let unfit = Unfit::Type {
                    given: format!("of type `{other}`"),
                    wanted: "a boolean, a number, a string or a file descriptor",
                };
                return Err(de::Error::custom(
                    unfit.of(&text::line(self.name, SHOWN), &[]),
                ));
            }
        })
    }
}

fn kind(signature: &Signature) -> char {
    signature.to_string().chars().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use zbus::wire::serialized::Context;
    use zbus::wire::{LE, to_bytes};

    use super::*;
    use crate::{AskOptions, SayOptions};

    /// Reads these options as the daemon does.
    fn read<T: FromOptions>(options: &HashMap<&str, Variant<'_>>) -> Result<T, String> {
        let bytes = to_bytes(Context::new(LE, 0), options).unwrap();
        match bytes.deserialize::<Options<T>>() {
            Ok((Options(options), _)) => options,
            Err(error) => Err(error.to_string()),
        }
    }

    fn ask(name: &str, value: impl Into<Variant<'static>>) -> Result<AskOptions, String> {
        read(&HashMap::from([(name, value.into())]))
    }

    #[test]
    fn a_number_counts_in_every_type_that_holds_it() {
        let twenty: [Variant<'_>; 8] = [
            20u8.into(),
            20i16.into(),
            20u16.into(),
            20i32.into(),
            20u32.into(),
            20i64.into(),
            20u64.into(),
            20.0f64.into(),
        ];
        for value in twenty {
            let options = ask("max_tokens", value.try_clone().unwrap()).unwrap();
            assert_eq!(options.max_tokens, Some(20), "{value:?}");
            let options = ask("temperature", value.try_clone().unwrap()).unwrap();
            assert_eq!(options.temperature, Some(20.0), "{value:?}");
        }
        assert_eq!(ask("seed", 7i64).unwrap().seed, Some(7));
        let volume = HashMap::from([("volume", 1i32.into())]);
        assert_eq!(read::<SayOptions>(&volume).unwrap().volume, Some(1.0));
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_was_given_and_what_is_wanted() {
        let wrong = [
            ask("max_tokens", "20"),
            ask("max_tokens", true),
            ask("max_tokens", -3i32),
            ask("max_tokens", 20.5f64),
            ask("max_tokens", f64::NAN),
            ask("seed", u64::MAX),
            ask("temperature", "hot"),
            ask("thinking", 1i32),
            ask("system", 5u32),
            ask("audio", 5u32),
            ask("schema", vec![1u8, 2, 3]),
            ask("colour", "blue"),
            ask("colour", vec!["blue"]),
        ];
        let said = wrong.map(|read| read.unwrap_err());
        assert_eq!(
            said,
            [
                "max_tokens is a string (s) but must be a whole number (u, or any other type of number)",
                "max_tokens is a boolean (b) but must be a whole number (u, or any other type of number)",
                "max_tokens is -3 but must be a whole number from 0 to 4294967295",
                "max_tokens is 20.5 but must be a whole number from 0 to 4294967295",
                "max_tokens is NaN but must be a whole number from 0 to 4294967295",
                "seed is 18446744073709551615 but must be a whole number from 0 to 4294967295",
                "temperature is a string (s) but must be a number (d, or any other type of number)",
                "thinking is an integer (i) but must be a boolean (b)",
                "system is an integer (u) but must be a string (s)",
                "audio is an integer (u) but must be a file descriptor (h)",
                "schema is of type `ay` but must be a boolean, a number, a string or a file descriptor",
                "there is no option `colour`; there are system, audio, max_tokens, min_tokens, temperature, \
                 top_k, top_p, seed, schema, thinking, protocol, conversation, commands",
                "colour is of type `as` but must be a boolean, a number, a string or a file descriptor",
            ]
        );
    }

    #[test]
    fn a_text_that_is_too_long_and_a_name_without_end_are_not_copied() {
        let long = ask("schema", "x".repeat(AskOptions::LONGEST_SCHEMA + 1)).unwrap_err();
        assert!(long.starts_with("schema has "), "{long}");
        let name = "ä".repeat(1_000_000);
        let unknown = ask(&name, 1u8).unwrap_err();
        assert!(unknown.len() < 300, "{} bytes", unknown.len());
    }

    #[test]
    fn a_name_that_moves_the_cursor_is_repeated_without_that() {
        let unknown = ask("a\u{1b}[2J\nb", 1u8).unwrap_err();
        assert!(
            unknown.starts_with("there is no option `a\u{fffd}[2J b`; "),
            "{unknown}"
        );
    }

    #[test]
    fn every_option_that_a_client_can_set_is_read() {
        let all = AskOptions {
            system: Some("Be brief.".into()),
            audio: None,
            max_tokens: Some(1),
            min_tokens: Some(2),
            temperature: Some(0.5),
            top_k: Some(3),
            top_p: Some(0.25),
            seed: Some(4),
            schema: Some("{}".into()),
            thinking: Some(true),
            protocol: Some(true),
            conversation: Some("garden".into()),
            commands: Some(true),
        };
        let bytes = to_bytes(Context::new(LE, 0), &all).unwrap();
        let (options, _): (Options<AskOptions>, _) = bytes.deserialize().unwrap();
        let read = options.read().unwrap();
        assert_eq!(format!("{read:?}"), format!("{all:?}"));
        for name in AskOptions::NAMES {
            let unfit = AskOptions::default().set(name, Given::Whole(1, 'u'));
            assert_ne!(unfit, Err(Unfit::Unknown), "{name}");
        }
    }
}
