//! The order in which batches are computed.
//!
//! Speech goes before questions. Within a class two kinds of batches take turns: one with the next token of every
//! generating sequence, the other with rows to be read. Rows with logits and rows without never share a batch, because
//! one row with logits makes all others expensive (`kv_only`): on two cores of a desktop, 9 rows of E2B take 95 ms
//! without logits and one row takes 130 ms with; in one batch they take 370 ms.

use crate::engine::Priority;

/// The work that waits to be computed.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Demand {
    /// The class of the sound whose rows come next.
    pub sound: Option<Priority>,
    /// The classes of the sequences whose next token is to be drawn.
    pub generating: Vec<Priority>,
    /// The classes of the sequences that read their prompts.
    pub reading: Vec<Priority>,
    /// The class of the request that waits for a prefix.
    pub awaits_prefix: Option<Priority>,
    /// Whether a prefix is still to be read.
    pub has_unread_prefix: bool,
}

/// A batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Batch {
    /// The next token of every generating sequence of this class.
    Tokens(Priority),
    /// Rows of sound.
    Sound,
    /// Rows of the prompts of this class.
    Prompts {
        /// The class.
        of: Priority,
        /// Whether nothing of the class is generating, so that no next token is delayed.
        is_alone: bool,
    },
    /// Rows of the prefix that a request waits for.
    AwaitedPrefix,
    /// Rows of a prefix that nothing waits for.
    Prefix,
}

/// The order of the batches.
#[derive(Debug, Default)]
pub(in crate::engine) struct Order {
    /// Whether rows were read in the last batch.
    has_read: bool,
}

impl Order {
    /// The next batch; `None` if there is nothing to compute.
    pub(in crate::engine) fn next(&mut self, demand: &Demand) -> Option<Batch> {
        let awaited = demand.awaits_prefix;
        let sequences = demand.generating.iter().chain(&demand.reading).copied();
        let Some(class) = sequences.chain(demand.sound).chain(awaited).min() else {
            return demand.has_unread_prefix.then_some(Batch::Prefix);
        };
        let is_generating = demand.generating.contains(&class);
        let is_reading = demand.reading.contains(&class);
        let has_sound = demand.sound == Some(class);
        let is_awaited = awaited == Some(class);
        let reads = has_sound || is_reading || is_awaited;
        self.has_read = reads && !(is_generating && self.has_read);
        Some(match self.has_read {
            false => Batch::Tokens(class),
            true if has_sound => Batch::Sound,
            true if is_reading => Batch::Prompts {
                of: class,
                is_alone: !is_generating,
            },
            true => Batch::AwaitedPrefix,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use Priority::{Question, Speech};

    #[test]
    fn speech_goes_before_questions() {
        let demand = Demand {
            sound: Some(Question),
            generating: vec![Question, Speech],
            reading: vec![Question],
            awaits_prefix: Some(Question),
            has_unread_prefix: true,
        };
        let mut order = Order::default();
        for _ in 0..3 {
            assert_eq!(order.next(&demand), Some(Batch::Tokens(Speech)));
        }
    }

    #[test]
    fn a_token_and_rows_of_a_prompt_take_turns() {
        let demand = Demand {
            generating: vec![Speech],
            reading: vec![Speech],
            ..Demand::default()
        };
        let mut order = Order::default();
        let prompts = Batch::Prompts {
            of: Speech,
            is_alone: false,
        };
        for _ in 0..3 {
            assert_eq!(order.next(&demand), Some(prompts));
            assert_eq!(order.next(&demand), Some(Batch::Tokens(Speech)));
        }
    }

    #[test]
    fn a_prefix_is_read_when_nothing_else_is_to_be_computed_or_a_question_waits_for_it() {
        let mut order = Order::default();
        let unread = Demand {
            has_unread_prefix: true,
            ..Demand::default()
        };
        assert_eq!(order.next(&Demand::default()), None);
        assert_eq!(order.next(&unread), Some(Batch::Prefix));
        let awaited = Demand {
            awaits_prefix: Some(Question),
            ..unread.clone()
        };
        assert_eq!(order.next(&awaited), Some(Batch::AwaitedPrefix));
        let beside_speech = Demand {
            generating: vec![Speech],
            ..awaited
        };
        assert_eq!(order.next(&beside_speech), Some(Batch::Tokens(Speech)));
        let by_speech = Demand {
            generating: vec![Question],
            awaits_prefix: Some(Speech),
            ..unread.clone()
        };
        assert_eq!(order.next(&by_speech), Some(Batch::AwaitedPrefix));
    }

    fn demands() -> impl Strategy<Value = Demand> {
        let class = || select(vec![Speech, Question]);
        let classes = || vec(class(), 0..3);
        let prefixes = (option::of(class()), any::<bool>());
        (option::of(class()), classes(), classes(), prefixes).prop_map(
            |(sound, generating, reading, (awaits_prefix, has_unread_prefix))| Demand {
                sound,
                generating,
                reading,
                awaits_prefix,
                has_unread_prefix,
            },
        )
    }

    /// Whether the demand has the batch's work.
    fn has(demand: &Demand, batch: Batch) -> bool {
        match batch {
            Batch::Tokens(class) => demand.generating.contains(&class),
            Batch::Sound => demand.sound.is_some(),
            Batch::Prompts { of, .. } => demand.reading.contains(&of),
            Batch::AwaitedPrefix => demand.awaits_prefix.is_some(),
            Batch::Prefix => demand.has_unread_prefix,
        }
    }

    proptest! {
        #[test]
        fn every_batch_has_work_and_work_has_a_batch(demands in vec(demands(), 1..20)) {
            let mut order = Order::default();
            for demand in demands {
                if let Some(batch) = order.next(&demand) {
                    prop_assert!(has(&demand, batch), "{batch:?}");
                } else {
                    prop_assert!(demand.sound.is_none() && !demand.has_unread_prefix);
                    prop_assert!(demand.generating.is_empty() && demand.reading.is_empty());
                }
            }
        }

        #[test]
        fn no_kind_of_the_most_urgent_class_waits_for_more_than_one_batch(
            before in vec(demands(), 0..5),
            demand in demands(),
        ) {
            let mut order = Order::default();
            for demand in before {
                order.next(&demand);
            }
            let batches: Vec<_> = (0..2).filter_map(|_| order.next(&demand)).collect();
            let urgent = demand.generating.iter().chain(&demand.reading).copied();
            let awaited = demand.awaits_prefix;
            if let Some(class) = urgent.chain(demand.sound).chain(awaited).min() {
                let reads = demand.reading.contains(&class)
                    || demand.sound == Some(class)
                    || awaited == Some(class);
                let is_token = |it: &Batch| *it == Batch::Tokens(class);
                if demand.generating.contains(&class) {
                    prop_assert!(batches.iter().any(is_token), "{batches:?}");
                }
                if reads {
                    prop_assert!(!batches.iter().all(is_token), "{batches:?}");
                }
            }
        }
    }
}
