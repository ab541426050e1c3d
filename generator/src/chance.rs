//! Choosing by weight.

use fastrand::Rng;

/// One of the options, each as often as its weight says.
pub(crate) fn choose<'a, T>(rng: &mut Rng, options: &'a [(u32, T)]) -> &'a T {
    let total: u32 = options.iter().map(|(weight, _)| weight).sum();
    let mut point = rng.u32(..total);
    for (weight, option) in options {
        if point < *weight {
            return option;
        }
        point -= weight;
    }
    unreachable!("the point lies below the sum of all weights")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_as_often_as_they_weigh() {
        let mut rng = Rng::with_seed(7);
        let seldom = (0..10_000).filter(|_| *choose(&mut rng, &[(1, true), (9, false)])).count();
        assert!((900..1100).contains(&seldom), "{seldom}");
    }
}
