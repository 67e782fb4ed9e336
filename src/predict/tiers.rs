//! How much work the byte model does, by tier.

use super::contexts::MAX_CONTEXTS;
use super::mixer::ONE;

/// How much each tier does.
pub struct Tier {
    /// Contexts used, the first of [`super::contexts::Lane::contexts`].
    pub n_contexts: usize,
    /// Shortest matches followed, one model each.
    pub match_lengths: &'static [u32],
    /// Sets of mixer weights, the first of `ByteModel::selectors`.
    pub n_sets: usize,
    /// Greatest size of a correction map, log2 of contexts.
    pub apm_log2: u32,
}

/// Tiers 1 to 3.
const TIERS: [Tier; 3] = [
    Tier { n_contexts: 6, match_lengths: &[6], n_sets: 1, apm_log2: 11 },
    Tier { n_contexts: 9, match_lengths: &[6], n_sets: 3, apm_log2: 14 },
    Tier { n_contexts: MAX_CONTEXTS, match_lengths: &[12, 5], n_sets: 5, apm_log2: 16 },
];

/// Weights the mixer starts with: with a language model, that one leads.
const LM_WEIGHTS: [i32; 3] = [ONE * 45 / 100, ONE * 15 / 100, ONE * 15 / 100];
const MATCH_WEIGHT: [i32; 2] = [ONE * 25 / 100, ONE * 15 / 100];
const CONTEXT_WEIGHT: [i32; 2] = [ONE * 25 / 100, ONE * 5 / 100];

impl Tier {
    /// The tier of this number; others count as the nearest.
    pub fn numbered(tier: u8) -> &'static Tier {
        &TIERS[tier.clamp(1, 3) as usize - 1]
    }

    /// What the mixer starts with, in the order in which `ByteModel::predict` adds inputs.
    pub fn initial_weights(&self, with_lm: bool) -> Vec<i32> {
        let lm = if with_lm { &LM_WEIGHTS[..] } else { &[] };
        let (matches, contexts) =
            (MATCH_WEIGHT[with_lm as usize], CONTEXT_WEIGHT[with_lm as usize]);
        let mut weights = lm.to_vec();
        weights.extend([matches, 0].repeat(self.match_lengths.len()));
        weights.extend([0, 0]); // the constant and order 0
        weights.extend([contexts, 0].repeat(self.n_contexts));
        weights
    }
}
