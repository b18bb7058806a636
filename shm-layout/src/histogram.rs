//! How many cells a histogram takes. Buckets and sum are stored; the count is their sum, so the two can't disagree.

/// Lane cells of a histogram with `bounds` own bounds: a bucket a bound, one for +Inf, then the sum.
///
/// ```
/// assert_eq!(tachograph_layout::bounds_cells(9), 11);
/// ```
#[must_use]
pub const fn bounds_cells(bounds: u32) -> u32 {
    bounds.saturating_add(2)
}

/// Most buckets that one exponential histogram may have; bounds a lane's memory and a reader's work.
const MAX_EXPONENTIAL_BUCKETS: u32 = 16_384;

/// Buckets of an exponential histogram over `(lower, upper]`: first and last index, both inclusive, in the numbering
/// of Prometheus native histograms, where bucket `i` of schema `s` holds values in `(2^((i-1)/2^s), 2^(i/2^s)]`
/// (source: the Prometheus data model's native histograms, `client_model` comments on `schema`).
///
/// `None` unless `0 <= schema <= 5`, `0 < lower < upper`, both finite, and the range makes no more than 16,384 buckets.
///
/// ```
/// // schema 0: powers of two. (1, 8] is the buckets that end at 2, 4 and 8.
/// assert_eq!(tachograph_layout::exponential_buckets(0, 1.0, 8.0), Some((1, 3)));
/// assert_eq!(tachograph_layout::exponential_buckets(0, -1.0, 8.0), None);
/// ```
#[must_use]
pub fn exponential_buckets(schema: i32, lower: f64, upper: f64) -> Option<(i32, i32)> {
    let range = lower.is_finite() && upper.is_finite() && 0.0 < lower && lower < upper;
    if !range || !(0..=5).contains(&schema) {
        return None;
    }
    let per_doubling = f64::from(1_u32 << schema);
    // The first bucket that holds values above `lower`, and the one that holds `upper`: |log2| is below 1,100, so
    // the products fit an i32 with room.
    let first = (lower.log2() * per_doubling).floor() + 1.0;
    let last = (upper.log2() * per_doubling).ceil();
    let count = last - first + 1.0;
    (count >= 1.0 && count <= f64::from(MAX_EXPONENTIAL_BUCKETS)).then_some((first as i32, last as i32))
}

/// Lane cells of an exponential histogram: the zero bucket, the range's buckets, the overflow, then the sum.
///
/// ```
/// assert_eq!(tachograph_layout::exponential_cells(0, 1.0, 8.0), Some(6));
/// ```
#[must_use]
pub fn exponential_cells(schema: i32, lower: f64, upper: f64) -> Option<u32> {
    let (first, last) = exponential_buckets(schema, lower, upper)?;
    u32::try_from(last - first + 1).ok().map(|buckets| buckets + 3)
}
