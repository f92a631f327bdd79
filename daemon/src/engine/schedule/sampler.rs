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

    /// The next token, one of `choice`. `logits` has one entry for each token of the vocabulary.
    pub(in crate::engine) fn sample(
        &mut self,
        logits: &[f32],
        choice: &Choice<'_>,
        candidates: &mut Candidates,
    ) -> Token {
        match self {
            Self::Greedy => likeliest(logits, choice),
            Self::Chain(chain) => {
                candidates.data.clear();
                candidates.data.extend(
                    (0..)
                        .zip(logits)
                        .filter(|(id, _)| choice.holds(*id))
                        .map(|(id, logit)| LlamaTokenData::new(LlamaToken(id), *logit, 0.0)),
                );
                candidates.sorted = false;
                candidates.selected = None;
                chain.apply(candidates);
                match candidates.selected_token() {
                    Some(token) => {
                        chain.accept(token);
                        token.0
                    }
                    // NaN logits select nothing.
                    None => likeliest(logits, choice),
                }
            }
        }
    }
}

/// Which tokens may be drawn.
pub(in crate::engine) enum Choice<'a> {
    /// All tokens but these, each list sorted.
    Except([&'a [Token]; 2]),
    /// The tokens that a grammar allows; at least one.
    Among(&'a Allowed),
}

impl Choice<'_> {
    fn holds(&self, token: Token) -> bool {
        match self {
            Self::Except(barred) => barred.iter().all(|it| it.binary_search(&token).is_err()),
            Self::Among(allowed) => allowed.holds(token),
        }
    }

    /// The token drawn if the logits prefer none, such as when all are NaN.
    fn any(&self) -> Token {
        match self {
            Self::Except(_) => 0,
            Self::Among(allowed) => allowed.first(),
        }
    }
}

fn likeliest(logits: &[f32], choice: &Choice<'_>) -> Token {
    let mut best = (choice.any(), f32::NEG_INFINITY);
    for (id, logit) in (0..).zip(logits) {
        if *logit > best.1 && choice.holds(id) {
            best = (id, *logit);
        }
    }
    best.0
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
            .map(|_| sampler.sample(logits, &Choice::Except([&[9], &[]]), &mut candidates))
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
    fn a_barred_token_is_never_drawn() {
        let logits = [5.0, 0.0, 0.1];
        let mut candidates = Candidates::new(Vec::new(), false);
        let greedy = Sampler::new(&sampling(0.0, 1)).sample(
            &logits,
            &Choice::Except([&[], &[0]]),
            &mut candidates,
        );
        assert_eq!(greedy, 2);
        let mut drawn = Sampler::new(&sampling(1.0, 1));
        assert!((0..50).all(|_| drawn.sample(
            &logits,
            &Choice::Except([&[], &[0]]),
            &mut candidates
        ) != 0));
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
