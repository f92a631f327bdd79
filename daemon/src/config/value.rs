//! Numbers whose range is part of their type.

use serde::{Deserialize, Deserializer, Serialize, de};

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bounded<const MIN: u32, const MAX: u32>(pub(super) u32);

impl<const MIN: u32, const MAX: u32> Bounded<MIN, MAX> {
    /// The number, or `None` outside the range.
    #[must_use]
    pub fn new(value: u32) -> Option<Self> {
        (MIN..=MAX).contains(&value).then_some(Self(value))
    }

    /// A constant of the source code. In a `const`, a number outside the range does not compile.
    pub(crate) const fn within(value: u32) -> Self {
        assert!(MIN <= value && value <= MAX);
        Self(value)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = i64::deserialize(deserializer)?;
        u32::try_from(value)
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| {
                de::Error::custom(format!(
                    "{value} is out of range: it must be {MIN} to {MAX}"
                ))
            })
    }
}

/// A number above 0 and up to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fraction(pub(super) f32);

impl Fraction {
    /// The number, or `None` outside the range.
    #[must_use]
    pub fn new(value: f32) -> Option<Self> {
        (value > 0.0 && value <= 1.0).then_some(Self(value))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f32::deserialize(deserializer)?;
        Self::new(value).ok_or_else(|| {
            de::Error::custom(format!("{value} is out of range: it must be above 0, to 1"))
        })
    }
}

/// A sampling temperature, 0 to 2; 0 is greedy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Temperature(pub(super) f32);

impl Temperature {
    /// Greedy sampling: always the likeliest token.
    pub const GREEDY: Self = Self(0.0);

    /// The temperature, or `None` outside the range.
    #[must_use]
    pub fn new(value: f32) -> Option<Self> {
        (0.0..=2.0).contains(&value).then_some(Self(value))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Temperature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f32::deserialize(deserializer)?;
        Self::new(value)
            .ok_or_else(|| de::Error::custom(format!("{value} is out of range: it must be 0 to 2")))
    }
}
