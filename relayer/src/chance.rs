//! Chance, as far as a node needs any: in the length of its pauses. A simulation seeds it, so that a life can be lived again.

use std::cell::RefCell;

use rand::{Rng, SeedableRng, rngs::SmallRng};

thread_local! {
    static SOURCE: RefCell<SmallRng> = RefCell::new(SmallRng::from_rng(&mut rand::rng()));
}

/// A number from 0 to 1.
#[must_use]
pub fn share() -> f64 {
    SOURCE.with_borrow_mut(|source| source.random_range(0.0..=1.0))
}

/// Makes the numbers of this thread follow from a seed.
#[cfg(feature = "chaos")]
pub fn seed(seed: u64) {
    SOURCE.set(SmallRng::seed_from_u64(seed));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_lie_between_nothing_and_all_and_differ() {
        let shares: Vec<f64> = (0..100).map(|_| share()).collect();
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
        assert!(shares.iter().any(|share| *share < 0.5) && shares.iter().any(|share| *share > 0.5));
    }
}
