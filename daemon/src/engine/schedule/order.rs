//! The order in which batches are computed.
//!
//! Speech goes before questions. Questions take turns with the one that has a context of its own. Within a class two kinds of batches take turns: one with the next token of every
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
    /// Whether there is a question with a context of its own.
    pub has_long: bool,
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
    /// Rows of the question with a context of its own.
    Long,
}

/// The order of the batches.
#[derive(Debug, Default)]
pub(in crate::engine) struct Order {
    /// Whether rows were read in the last batch.
    has_read: bool,
    /// Whether the last batch was of the question with a context of its own.
    was_long: bool,
}

impl Order {
    /// The next batch; `None` if there is nothing to compute.
    pub(in crate::engine) fn next(&mut self, demand: &Demand) -> Option<Batch> {
        let awaited = demand.awaits_prefix;
        let sequences = demand.generating.iter().chain(&demand.reading).copied();
        let Some(class) = sequences.chain(demand.sound).chain(awaited).min() else {
            let prefix = demand.has_unread_prefix.then_some(Batch::Prefix);
            return prefix.or(demand.has_long.then_some(Batch::Long));
        };
        self.was_long = class == Priority::Question && demand.has_long && !self.was_long;
        if self.was_long {
            return Some(Batch::Long);
        }
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
            has_long: true,
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
        let others = (option::of(class()), any::<bool>(), any::<bool>());
        (option::of(class()), classes(), classes(), others).prop_map(
            |(sound, generating, reading, (awaits_prefix, has_unread_prefix, has_long))| Demand {
                sound,
                generating,
                reading,
                awaits_prefix,
                has_unread_prefix,
                has_long,
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
            Batch::Long => demand.has_long,
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
                    prop_assert!(demand.sound.is_none());
                    prop_assert!(!demand.has_unread_prefix && !demand.has_long);
                    prop_assert!(demand.generating.is_empty() && demand.reading.is_empty());
                }
            }
        }

        #[test]
        fn no_kind_of_the_most_urgent_class_waits_for_more_than_one_batch_and_a_long_question(
            before in vec(demands(), 0..5),
            demand in demands(),
        ) {
            let mut order = Order::default();
            for demand in before {
                order.next(&demand);
            }
            // Every other may be of a long question.
            let batches: Vec<_> = (0..4).filter_map(|_| order.next(&demand)).collect();
            prop_assert!(batches.iter().filter(|it| **it == Batch::Long).count() <= 2 || batches.iter().all(|it| *it == Batch::Long));
            let urgent = demand.generating.iter().chain(&demand.reading).copied();
            let awaited = demand.awaits_prefix;
            if let Some(class) = urgent.chain(demand.sound).chain(awaited).min() {
                let reads = demand.reading.contains(&class)
                    || demand.sound == Some(class)
                    || awaited == Some(class);
                let batches: Vec<_> = batches.into_iter().filter(|it| *it != Batch::Long).collect();
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
