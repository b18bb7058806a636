//! What a histogram's buckets say: count, quantiles, and what was observed between two snapshots.
//!
//! Pure arithmetic over bounds and counts, both foreign: nothing panics, and no count falls from a bucket to the next.
//! Called by every output for people; of it a metrics format takes how buckets add up, and leaves the rest to its readers.

/// A count and one bucket more. Never wraps, whatever a file says, and stays within what native buckets can be: their readers
/// refuse more, and with it all that stands beside it.
#[inline]
pub(crate) const fn plus(count: u64, bucket: u64) -> u64 {
    const MOST: u64 = i64::MAX as u64;
    let count = count.saturating_add(bucket);
    if count < MOST { count } else { MOST }
}

/// How many observations the buckets hold.
///
/// ```
/// assert_eq!(tachograph_exporter::distribution::count(&[1, 2, 3]), 6);
/// ```
#[must_use]
pub fn count(buckets: &[u64]) -> u64 {
    buckets.iter().fold(0, |count, bucket| plus(count, *bucket))
}

/// The upper bound of the bucket that holds the observation of that share (0 to 1): the true quantile is at most that.
/// +Inf past the last bound; `None` where nothing was observed.
///
/// ```
/// use tachograph_exporter::distribution::quantile;
/// let (bounds, buckets) = ([0.1, 0.5], [8, 1, 1]);
/// assert_eq!(quantile(&bounds, &buckets, 0.5), Some(0.1));
/// assert_eq!(quantile(&bounds, &buckets, 0.9), Some(0.5));
/// assert_eq!(quantile(&bounds, &buckets, 0.99), Some(f64::INFINITY));
/// assert_eq!(quantile(&bounds, &[0, 0, 0], 0.5), None);
/// ```
#[must_use]
pub fn quantile(bounds: &[f64], buckets: &[u64], share: f64) -> Option<f64> {
    let rank = (count(buckets) as f64 * share).ceil().max(1.0);
    let mut seen = 0_u64;
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    let mut reached = bounds.zip(buckets).filter(|(_, bucket)| {
        seen = plus(seen, **bucket);
        seen as f64 >= rank
    });
    reached.next().map(|(bound, _)| bound)
}

/// What was observed from one look to a later one of the same histogram, bucket by bucket. A bucket that fell, as after a
/// restart, counts from 0.
///
/// ```
/// use tachograph_exporter::distribution::between;
/// assert_eq!(between(&[1, 5], &[3, 5]), [2, 0]);
/// assert_eq!(between(&[10, 0], &[3, 1]), [3, 1]);
/// ```
#[must_use]
pub fn between(earlier: &[u64], later: &[u64]) -> Vec<u64> {
    let restarted = earlier.len() != later.len() || earlier.iter().zip(later).any(|(before, after)| after < before);
    let before = |index: usize| if restarted { 0 } else { earlier.get(index).copied().unwrap_or(0) };
    later.iter().enumerate().map(|(index, after)| after.wrapping_sub(before(index))).collect()
}
