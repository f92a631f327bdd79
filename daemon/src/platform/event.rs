//! The events an operator looks for in the journal: `journalctl MESSAGE_ID=…`, or by name
//! `journalctl GEMMAD_EVENT=utterance`. `packaging/catalog/gemmad.catalog` explains each
//! (`journalctl -x`).

/// Names of events, and their `MESSAGE_ID`s. An ID was made with `systemd-id128 new` and never changes.
const EVENTS: [(&str, &str); 12] = [
    ("started", "91c3715b6426461884299b91feb735f7"),
    ("model-loaded", "bbcca804937742749698ea3272276616"),
    ("answered", "7982aff538e5464488cb39dfb08a1d7c"),
    ("utterance", "f99a7dfb1fce4fb6bdea3d4be255444a"),
    ("keyword", "22a1f543f3c640d0b2e0a170b933982e"),
    ("barge-in", "c415c4308e504eacaa5f122cd8bdbbf8"),
    ("command", "11e4560508194b8fb84b55a766a17c4e"),
    ("degraded", "b9ea8157b7bc4572aeb331a151910cc1"),
    ("memory-scarce", "3150cb72b3b5400eb791c9625566ffa9"),
    ("error", "21e79317ba3d407d835e96667ec4265c"),
    ("reloaded", "cfd8608de59f4b95b1970e71e857f54f"),
    ("stopping", "6e83f6a309274da1acde50680b9596de"),
];

/// The `MESSAGE_ID` of an event.
#[must_use]
pub fn id(name: &str) -> Option<&'static str> {
    let mut events = EVENTS.iter();
    events.find(|(event, _)| *event == name).map(|(_, id)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_explains_every_event_and_no_other() {
        let catalog = include_str!("../../../packaging/catalog/gemmad.catalog");
        let explained: Vec<_> = catalog
            .lines()
            .filter_map(|line| line.strip_prefix("-- "))
            .collect();
        assert_eq!(explained, EVENTS.map(|(_, id)| id));
    }
}
