//! From the buckets that a description asks for to the shape of the histogram's series: all that can be wrong with them
//! is said here, at registration.

use tachograph_layout::{bounds_cells, exponential_buckets, exponential_upper};

use super::search::Sample;
use crate::Desc;
use crate::desc::BucketRule;
use crate::shape::Shape;

/// What raw values are, beside what they are shown as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raw {
    /// The shown value itself, as an f64.
    Float,
    /// The shown value itself, a whole number that is not negative.
    Whole,
    /// Nanoseconds, shown in seconds.
    Nanoseconds,
}

/// Most own bounds of a histogram: as many as an exponential one may have buckets.
pub(crate) const MOST_BOUNDS: usize = 16_384;
/// The buckets of an exponential histogram that names none: of schema 3, from a microsecond to 100 seconds.
pub(crate) const DEFAULT: (i32, f64, f64) = (3, 1e-6, 100.0);

/// The shape of a histogram with own bounds.
pub(crate) fn own(desc: &Desc, raw: Raw) -> Result<Shape, String> {
    let bounds = match desc.buckets.as_ref().map(|buckets| &buckets.0) {
        Some(BucketRule::Bounds(bounds)) => bounds,
        Some(BucketRule::Exponential { .. }) => {
            return Err("is a histogram with own bounds, asked for with exponential buckets: \
                        name bounds, or take an exponential kind"
                .to_owned());
        }
        None => {
            return Err("is a histogram and names no bounds: \
                        give its `Desc` `buckets(Buckets::bounds([..]))`, or take an exponential kind"
                .to_owned());
        }
    };
    raw.check_unit(desc)?;
    if bounds.is_empty() || bounds.len() > MOST_BOUNDS {
        return Err(format!("has {} bounds: at least 1 and at most {MOST_BOUNDS}", bounds.len()));
    }
    if let Some((index, bound)) = bounds.iter().enumerate().find(|(_, bound)| !bound.is_finite()) {
        return Err(format!("has bound {index}, {bound}: bounds are finite, and +Inf is always there unnamed"));
    }
    if let Some((index, pair)) = bounds.windows(2).enumerate().find(|(_, pair)| pair[0] >= pair[1]) {
        return Err(format!("has bound {}, {}, not above the one before, {}", index + 1, pair[1], pair[0]));
    }
    // Minus zero is zero; its bits are not.
    let uppers: Vec<f64> = bounds.iter().map(|bound| bound + 0.0).collect();
    let stored = uppers.iter().map(|bound| raw.exactly(*bound)).collect::<Result<Vec<u64>, _>>()?;
    let edges = match raw {
        Raw::Float => uppers.iter().map(|bound| bound.word()).collect(),
        Raw::Whole | Raw::Nanoseconds => stored.clone(),
    };
    let cells = bounds_cells(stored.len() as u32);
    Ok(Shape { cells, scale: raw.scale(), bounds: stored, exponential: None, edges, uppers, states: Vec::new() })
}

/// The shape of an exponential histogram.
pub(crate) fn exponential(desc: &Desc, raw: Raw) -> Result<Shape, String> {
    let (schema, lower, upper) = match desc.buckets.as_ref().map(|buckets| &buckets.0) {
        Some(BucketRule::Exponential { schema, lower, upper }) => (*schema, *lower, *upper),
        Some(BucketRule::Bounds(_)) => {
            return Err("is an exponential histogram, asked for with own bounds: \
                        give `Buckets::exponential(schema, range)`, or take a kind with own bounds"
                .to_owned());
        }
        None => DEFAULT,
    };
    raw.check_unit(desc)?;
    let (first, last) = exponential_buckets(schema, lower, upper).ok_or_else(|| {
        format!(
            "asks for exponential buckets of schema {schema} over {lower:?} to {upper:?}: schema is 0 to 5, the range \
             goes upwards between 2^-1022 and 2^1023, and makes at most 16384 buckets"
        )
    })?;
    let uppers: Vec<f64> =
        [lower].into_iter().chain((first..=last).map(|index| exponential_upper(schema, index))).collect();
    let edges: Vec<u64> = uppers.iter().map(|upper| raw.at_most(*upper)).collect();
    let cells = bounds_cells(edges.len() as u32);
    let exponential = Some((schema, lower, upper));
    Ok(Shape { cells, scale: raw.scale(), bounds: Vec::new(), exponential, edges, uppers, states: Vec::new() })
}

impl Raw {
    const fn scale(self) -> f64 {
        match self {
            Self::Float | Self::Whole => 1.0,
            Self::Nanoseconds => 1e-9,
        }
    }

    fn check_unit(self, desc: &Desc) -> Result<(), String> {
        match (self, desc.unit.as_str()) {
            (Self::Float | Self::Whole, _) | (Self::Nanoseconds, "" | "seconds") => Ok(()),
            (Self::Nanoseconds, unit) => {
                Err(format!("is a histogram of durations, which are shown in seconds, not in {unit}"))
            }
        }
    }

    /// The bits of the raw value that is shown as `bound`, where there is one.
    fn exactly(self, bound: f64) -> Result<u64, String> {
        // 2^64 is the first that does not fit.
        let whole = |value: f64| (0.0..18_446_744_073_709_551_616.0).contains(&value) && value.fract() == 0.0;
        match self {
            Self::Float => Ok(bound.to_bits()),
            Self::Whole if whole(bound) => Ok(bound as u64),
            Self::Whole => Err(format!("counts whole numbers, and has bound {bound}")),
            Self::Nanoseconds => {
                let nanoseconds = (bound * 1e9).round();
                if whole(nanoseconds) && nanoseconds / 1e9 == bound {
                    Ok(nanoseconds as u64)
                } else {
                    Err(format!(
                        "counts nanoseconds, and has bound {bound:?}: bounds are in seconds, to the nanosecond"
                    ))
                }
            }
        }
    }

    /// The largest raw value that is shown as at most `upper`, a positive number, as a word.
    fn at_most(self, upper: f64) -> u64 {
        match self {
            Self::Float => upper.word(),
            Self::Whole => upper as u64,
            Self::Nanoseconds => nanoseconds_at_most(upper),
        }
    }
}

/// The most nanoseconds that are shown as at most so many seconds, a positive number: what is shown is the quotient by
/// 10^9, rounded to an f64, so that 1000 ns are at most 1e-6 s, whose f64 is a little less. `u64::MAX` where none are more.
fn nanoseconds_at_most(seconds: f64) -> u64 {
    // The product is off by at most 2^12; past the largest integer the cast saturates.
    let guess = (seconds * 1e9) as u64;
    let (mut fits, mut exceeds) = (guess.saturating_sub(1 << 13), guess.saturating_add(1 << 13));
    let is_shown_within = |nanoseconds: u64| nanoseconds as f64 / 1e9 <= seconds;
    if is_shown_within(exceeds) {
        return exceeds;
    }
    while exceeds - fits > 1 {
        let middle = fits + (exceeds - fits) / 2;
        if is_shown_within(middle) {
            fits = middle;
        } else {
            exceeds = middle;
        }
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Buckets;

    #[test]
    fn edges_in_nanoseconds_are_the_last_that_are_shown_within() {
        for (seconds, nanoseconds) in [
            (1.0, 1_000_000_000),
            (1.0_f64.next_down(), 999_999_999),
            (1e-6, 1_000), // the f64 is below a millionth, and is what 1000 ns are shown as
            (0.1, 100_000_000),
            (2f64.powi(-30), 0), // 0.93 ns
            (1e-300, 0),
            (1e11, u64::MAX),
            (f64::MAX, u64::MAX),
        ] {
            assert_eq!(nanoseconds_at_most(seconds), nanoseconds, "{seconds}");
        }
        for index in -200..=270 {
            let edge = exponential_upper(3, index);
            let last = nanoseconds_at_most(edge);
            assert!(last as f64 / 1e9 <= edge, "{edge}");
            assert!((last + 1) as f64 / 1e9 > edge, "{edge}");
        }
    }

    #[test]
    fn bounds_of_durations_are_those_that_are_shown() {
        let bounds = [1e-9, 1e-6, 0.000_25, 0.005, 0.01, 0.1, 0.3, 2.5, 60.0, 3_600.0];
        let shape = own(&Desc::new("x_seconds", "").buckets(Buckets::bounds(bounds)), Raw::Nanoseconds).expect("fits");
        assert_eq!(shape.bounds[..4], [1, 1_000, 250_000, 5_000_000]);
        for (word, bound) in shape.bounds.iter().zip(bounds) {
            assert_eq!(*word as f64 / 1e9, bound);
        }
        let fine = own(&Desc::new("x_seconds", "").buckets(Buckets::bounds([1.5e-9])), Raw::Nanoseconds);
        assert!(fine.is_err_and(|rule| rule.contains("nanosecond")));
    }
}
