//! Medians, percentiles and slopes of small samples.

/// Minimum, median and maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

/// None of an empty sample.
pub(crate) fn summary(sample: &[f64]) -> Option<Summary> {
    let sorted = sorted(sample);
    let middle = sorted.len() / 2;
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    };
    Some(Summary { min, median, max })
}

pub(crate) fn median(sample: &[f64]) -> Option<f64> {
    Some(summary(sample)?.median)
}

/// The smallest value that `percent` of the sample do not exceed (nearest rank); none of an empty one.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a rank is between 1 and the length
pub(crate) fn percentile(sample: &[f64], percent: f64) -> Option<f64> {
    let sorted = sorted(sample);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

/// How much y changes while x grows by one, by least squares; none where x does not vary.
pub(crate) fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let number = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / number;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / number;
    let variance: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let covariance: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    (variance > 0.0).then(|| covariance / variance)
}

fn sorted(sample: &[f64]) -> Vec<f64> {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_values_lies_between_the_two_in_the_middle() {
        assert_eq!(summary(&[4.0, 1.0, 2.0, 10.0]), Some(Summary { min: 1.0, median: 3.0, max: 10.0 }));
        assert_eq!(median(&[5.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(summary(&[]), None);
    }

    #[test]
    fn a_percentile_is_a_value_of_the_sample() {
        let sample: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&sample, 50.0), Some(100.0));
        assert_eq!(percentile(&sample, 99.0), Some(198.0));
        assert_eq!(percentile(&sample, 100.0), Some(200.0));
        assert_eq!(percentile(&sample, 0.0), Some(1.0));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn the_slope_of_a_line_is_found() {
        let points: Vec<_> = (0..10).map(|x| (f64::from(x), 7.0 + 2.5 * f64::from(x))).collect();
        assert!((slope(&points).unwrap() - 2.5).abs() < 1e-9);
        assert_eq!(slope(&[(1.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(slope(&[]), None);
    }
}
