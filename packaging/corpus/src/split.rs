//! What a recording may be used for.

use serde::{Deserialize, Serialize};

/// What a recording may be used for. A group of recordings is in one split only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// A model under Apache-2.0 may learn from it.
    Training,
    /// Thresholds may be chosen by it.
    Tuning,
    /// Figures are measured on it. Nothing is ever chosen by it.
    HeldOut,
}

impl Split {
    /// All splits, in the order of the page.
    pub const ALL: [Self; 3] = [Self::Training, Self::Tuning, Self::HeldOut];

    /// The split of a group: training if the licence allows it, else one of the others by the group's name. So a
    /// group keeps its split when others are added.
    pub fn of(group: &str, licence: &str) -> Self {
        if allows_training(licence) {
            return Self::Training;
        }
        if hash(group) & 1 == 0 {
            Self::Tuning
        } else {
            Self::HeldOut
        }
    }

    /// Its name in the list.
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Tuning => "tuning",
            Self::HeldOut => "held-out",
        }
    }
}

/// Whether a model under Apache-2.0 may be trained on recordings under this licence (SPDX): attribution is all it asks
/// for. Share-alike, copyleft and non-commercial licences do not.
pub fn allows_training(licence: &str) -> bool {
    const FREE: [&str; 9] = [
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "ISC",
        "LicenseRef-public-domain",
        "MIT",
        "Unlicense",
        "Zlib",
    ];
    let version = licence.strip_prefix("CC-BY-");
    // `CC-BY-3.0`, but neither `CC-BY-SA-3.0` nor `CC-BY-NC-3.0`.
    let is_attribution =
        version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()));
    is_attribution || FREE.contains(&licence)
}

/// The same number for the same text on every machine (FNV-1a, its bits mixed once more so that the lowest depends
/// on all).
fn hash(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_licences_that_ask_for_no_more_than_attribution_allow_training() {
        for licence in [
            "CC0-1.0",
            "CC-BY-3.0",
            "CC-BY-4.0",
            "MIT",
            "BSD-3-Clause",
            "LicenseRef-public-domain",
        ] {
            assert_eq!(Split::of("any", licence), Split::Training, "{licence}");
        }
        for licence in [
            "CC-BY-SA-3.0",
            "CC-BY-NC-4.0",
            "GPL-2.0-only",
            "LGPL-2.1-only",
            "own",
        ] {
            assert_ne!(Split::of("any", licence), Split::Training, "{licence}");
        }
    }

    #[test]
    fn a_group_keeps_its_split_for_ever() {
        let splits =
            ["vm-goodbye", "vm-intro", "digits/1", "digits/2"].map(|group| Split::of(group, "own"));
        assert_eq!(
            splits,
            [
                Split::HeldOut,
                Split::HeldOut,
                Split::HeldOut,
                Split::Tuning
            ]
        );
    }

    #[test]
    fn about_half_of_the_groups_are_held_out() {
        let groups = (0..1000).map(|number| format!("song-{number}.ogg"));
        let held_out = groups.filter(|group| Split::of(group, "own") == Split::HeldOut);
        let count = held_out.count();
        assert!((450..550).contains(&count), "{count}");
    }
}
