//! Choosing the next token from its logits.

use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

use crate::engine::Sampling;
use crate::engine::grammar::Allowed;
use crate::engine::llama::model::Token;

/// How a request chooses its tokens.
pub(in crate::engine) enum Sampler {
    /// Always the likeliest token; of equally likely ones the first, as llama.cpp's greedy sampler does.
    Greedy,
    /// llama.cpp's chain: top-k, top-p, temperature, draw.
    Chain(LlamaSampler),
}

/// Buffer for the candidates of one draw, reused from token to token: 3 MB with Gemma's 262144 tokens.
pub(in crate::engine) type Candidates = LlamaTokenDataArray;

impl Sampler {
    pub(in crate::engine) fn new(sampling: &Sampling) -> Self {
        if sampling.temperature.get() == 0.0 {
            return Self::Greedy;
        }
        Self::Chain(LlamaSampler::chain(
            [
                LlamaSampler::top_k(i32::try_from(sampling.top_k).unwrap_or(i32::MAX)),
                LlamaSampler::top_p(sampling.top_p.get(), 1),
                LlamaSampler::temp(sampling.temperature.get()),
                LlamaSampler::dist(sampling.seed),
            ],
            true,
        ))
    }

    /// The next token, one of `choice`; `None` if no logit of these is finite. `logits` has one entry for each token of
    /// the vocabulary.
    pub(in crate::engine) fn sample(
        &mut self,
        logits: &[f32],
        choice: &Choice<'_>,
        candidates: &mut Candidates,
    ) -> Option<Token> {
        match self {
            Self::Greedy => likeliest(logits, choice),
            Self::Chain(chain) => {
                candidates.data.clear();
                candidates.data.extend(
                    (0..)
                        .zip(logits)
                        .filter(|(id, logit)| logit.is_finite() && choice.holds(*id))
                        .map(|(id, logit)| LlamaTokenData::new(LlamaToken(id), *logit, 0.0)),
                );
                if candidates.data.is_empty() {
                    return None;
                }
                candidates.sorted = false;
                candidates.selected = None;
                chain.apply(candidates);
                let token = candidates.selected_token()?;
                chain.accept(token);
                Some(token.0)
            }
        }
    }
}

/// Which tokens may be drawn.
pub(in crate::engine) enum Choice<'a> {
    /// All tokens but these, each list sorted.
    Except([&'a [Token]; 3]),
    /// The tokens that a grammar allows, at least one, but these, sorted.
    Among(&'a Allowed, &'a [Token]),
}

impl Choice<'_> {
    fn holds(&self, token: Token) -> bool {
        let is_barred = |barred: &[Token]| barred.binary_search(&token).is_ok();
        match self {
            Self::Except(barred) => !barred.iter().any(|it| is_barred(it)),
            Self::Among(allowed, barred) => allowed.holds(token) && !is_barred(barred),
        }
    }
}

fn likeliest(logits: &[f32], choice: &Choice<'_>) -> Option<Token> {
    let (mut best, mut most) = (None, f32::NEG_INFINITY);
    for (id, logit) in (0..).zip(logits) {
        if *logit > most && logit.is_finite() && choice.holds(id) {
            (best, most) = (Some(id), *logit);
        }
    }
    best
}

/// Natural logarithm of the probability that the model gives to `token` among its whole vocabulary, at temperature 1.
pub(in crate::engine) fn log_probability(logits: &[f32], token: Token) -> f32 {
    let logit = usize::try_from(token).ok().and_then(|id| logits.get(id));
    let logit = logit.copied().unwrap_or(f32::NEG_INFINITY);
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // All the others together change the sum by less than 3e-6, if there are 262,144.
    let likely = logits.iter().filter(|it| **it > most - 25.0);
    let sum: f32 = likely.map(|it| (it - most).exp()).sum();
    logit - most - sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Fraction, Temperature};

    fn sampling(temperature: f32, seed: u32) -> Sampling {
        Sampling {
            temperature: Temperature::new(temperature).unwrap(),
            top_k: 3,
            top_p: Fraction::new(1.0).unwrap(),
            seed,
        }
    }

    fn draw(sampler: &mut Sampler, logits: &[f32], times: usize) -> Vec<Token> {
        let mut candidates = Candidates::new(Vec::new(), false);
        (0..times)
            .filter_map(|_| {
                sampler.sample(logits, &Choice::Except([&[9], &[], &[]]), &mut candidates)
            })
            .collect()
    }

    #[test]
    fn probabilities_are_those_of_the_softmax() {
        let logits = [1.0, 3.0, -2.0, 0.5];
        let sum: f32 = logits.iter().map(|it: &f32| it.exp()).sum();
        for (id, logit) in (0..).zip(logits) {
            let probability = log_probability(&logits, id).exp();
            assert!((probability - logit.exp() / sum).abs() < 1e-6);
        }
        assert!(log_probability(&[0.0, -300.0], 1) < -299.0);
    }

    #[test]
    fn temperature_zero_takes_the_first_of_the_likeliest() {
        let mut sampler = Sampler::new(&sampling(0.0, 1));
        assert_eq!(draw(&mut sampler, &[0.5, 2.0, 2.0, f32::NAN], 2), [1, 1]);
    }

    #[test]
    fn nothing_is_drawn_from_logits_that_are_no_numbers() {
        for temperature in [0.0, 1.0] {
            let mut sampler = Sampler::new(&sampling(temperature, 1));
            for logits in [[f32::NAN; 3], [f32::INFINITY; 3], [f32::NEG_INFINITY; 3]] {
                assert!(draw(&mut sampler, &logits, 1).is_empty());
            }
            assert_eq!(draw(&mut sampler, &[f32::NAN, f32::INFINITY, 1.0], 1), [2]);
        }
    }

    #[test]
    fn a_barred_token_is_never_drawn() {
        let logits = [5.0, 0.0, 0.1];
        let mut candidates = Candidates::new(Vec::new(), false);
        let greedy = Sampler::new(&sampling(0.0, 1)).sample(
            &logits,
            &Choice::Except([&[], &[0], &[]]),
            &mut candidates,
        );
        assert_eq!(greedy, Some(2));
        let mut drawn = Sampler::new(&sampling(1.0, 1));
        assert!((0..50).all(|_| drawn.sample(
            &logits,
            &Choice::Except([&[], &[0], &[]]),
            &mut candidates
        ) != Some(0)));
    }

    #[test]
    fn the_same_seed_draws_the_same_tokens_and_another_seed_others() {
        let logits = [0.0, 0.1, 0.2, 0.3, -9.0];
        let run = |seed| draw(&mut Sampler::new(&sampling(1.0, seed)), &logits, 64);
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn top_k_leaves_out_the_rest() {
        let logits = [0.0, 0.1, 0.2, 0.3, 0.4];
        let tokens = draw(&mut Sampler::new(&sampling(2.0, 3)), &logits, 200);
        assert!(tokens.iter().all(|token| *token >= 2), "{tokens:?}");
        assert!([2, 3, 4].iter().all(|token| tokens.contains(token)));
    }
}
