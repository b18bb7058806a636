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

/// Finest schema.
const MAX_SCHEMA: i32 = 5;

/// Explicit bits of the significands of the edges within a doubling at schema 5; every coarser schema's are among them.
///
/// These are the bits that Prometheus itself has (its table of bounds in [0.5, 1), times 2), which are up to three units
/// below the nearest binary64 of 2^(n/32): a bucket here must be the bucket there, for every value.
#[rustfmt::skip]
const SIGNIFICANDS: [u64; 32] = [
    0x0000000000000, 0x059b0d3158574, 0x0b5586cf9890f, 0x11301d0125b50, 0x172b83c7d517b, 0x1d4873168b9aa,
    0x2387a6e756238, 0x29e9df51fdee1, 0x306fe0a31b715, 0x371a7373aa9ca, 0x3dea64c123422, 0x44e086061892d,
    0x4bfdad5362a27, 0x5342b569d4f81, 0x5ab07dd485429, 0x6247eb03a5584, 0x6a09e667f3bcc, 0x71f75e8ec5f73,
    0x7a11473eb0186, 0x82589994cce11, 0x8ace5422aa0db, 0x93737b0cdc5e4, 0x9c49182a3f08f, 0xa5503b23e255b,
    0xae89f995ad3ac, 0xb7f76f2fb5e45, 0xc199bdd85529a, 0xcb720dcef9066, 0xd5818dcfba486, 0xdfc97337b9b5d,
    0xea4afa2a490d8, 0xf50765b6e453e,
];

/// Number of the significand bits that a binary64 stores.
const STORED_BITS: u32 = f64::MANTISSA_DIGITS - 1;

/// Upper edge, inclusive, of bucket `index` of a schema from 0 to 5: 2^(index/2^schema), as Prometheus has it. Infinite
/// past the largest number, 0 below the smallest normal one.
///
/// ```
/// use tachograph_layout::exponential_upper;
/// assert_eq!(exponential_upper(0, 3), 8.0);
/// assert_eq!(exponential_upper(3, -8), 0.5);
/// assert_eq!(exponential_upper(5, 16), 1.414213562373095); // 2^(1/2), less a bit: as in Prometheus' table
/// ```
#[must_use]
pub const fn exponential_upper(schema: i32, index: i32) -> f64 {
    let schema = known(schema);
    let per_doubling = 1 << schema;
    let (exponent, step) = (index.div_euclid(per_doubling), index.rem_euclid(per_doubling) << (MAX_SCHEMA - schema));
    match exponent {
        ..-1022 => 0.0,
        1024.. => f64::INFINITY,
        _ => f64::from_bits(((exponent + 1023) as u64) << STORED_BITS | SIGNIFICANDS[step as usize]),
    }
}

/// The bucket of a schema from 0 to 5 that holds a value, a positive normal number.
///
/// ```
/// use tachograph_layout::exponential_index;
/// assert_eq!(exponential_index(0, 8.0), 3); // upper bounds are inclusive
/// assert_eq!(exponential_index(0, 8.5), 4);
/// ```
#[must_use]
pub const fn exponential_index(schema: i32, value: f64) -> i32 {
    let schema = known(schema);
    let exponent = (value.to_bits() >> STORED_BITS & 0x7ff) as i32 - 1023;
    let significand = value.to_bits() & ((1 << STORED_BITS) - 1);
    let (mut below, mut step) = (0, 0);
    while step < SIGNIFICANDS.len() && SIGNIFICANDS[step] < significand {
        below += 1;
        step += 1 << (MAX_SCHEMA - schema);
    }
    (exponent << schema) + below
}

/// Buckets of an exponential histogram over a range: first and last index, both inclusive, in the numbering of
/// Prometheus' native histograms, where bucket `i` of schema `s` holds values in `(2^((i-1)/2^s), 2^(i/2^s)]`
/// (source: the Prometheus data model's native histograms, `client_model` comments on `schema`). The first is the
/// one that holds the next number above `lower`, the last the one that holds `upper`.
///
/// `None` unless `0 <= schema <= 5`, `0 < lower < upper`, `lower` is normal, the last bucket's upper edge finite, and the
/// range makes no more than 16,384 buckets.
///
/// ```
/// // schema 0: powers of two. (1, 8] is the buckets that end at 2, 4 and 8.
/// assert_eq!(tachograph_layout::exponential_buckets(0, 1.0, 8.0), Some((1, 3)));
/// assert_eq!(tachograph_layout::exponential_buckets(0, -1.0, 8.0), None);
/// ```
#[must_use]
pub const fn exponential_buckets(schema: i32, lower: f64, upper: f64) -> Option<(i32, i32)> {
    let range = lower.is_normal() && upper.is_normal() && 0.0 < lower && lower < upper;
    if !range || schema != known(schema) {
        return None;
    }
    let (first, last) = (exponential_index(schema, lower.next_up()), exponential_index(schema, upper));
    let few = first <= last && last.abs_diff(first) < MAX_EXPONENTIAL_BUCKETS;
    if few && exponential_upper(schema, last).is_finite() { Some((first, last)) } else { None }
}

/// The known schema that is nearest.
const fn known(schema: i32) -> i32 {
    match schema {
        ..0 => 0,
        0..=MAX_SCHEMA => schema,
        _ => MAX_SCHEMA,
    }
}

/// Lane cells of an exponential histogram: the zero bucket, the range's buckets, the overflow, then the sum.
///
/// ```
/// assert_eq!(tachograph_layout::exponential_cells(0, 1.0, 8.0), Some(6));
/// ```
#[must_use]
pub const fn exponential_cells(schema: i32, lower: f64, upper: f64) -> Option<u32> {
    match exponential_buckets(schema, lower, upper) {
        Some((first, last)) => Some(last.abs_diff(first) + 4),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_is_above_the_edge_below_its_bucket_and_not_above_its_own(
            schema in 0..=5, value in f64::MIN_POSITIVE..=f64::MAX, exponent in -1000..1000_i32, step in -2..=2_i64,
        ) {
            // Anywhere, and next to an edge.
            let edge = exponential_upper(schema, exponent);
            let near = f64::from_bits(edge.to_bits().saturating_add_signed(step));
            for value in [value, near, f64::from_bits(value.to_bits() ^ 1)] {
                let index = exponential_index(schema, value);
                prop_assert!(exponential_upper(schema, index - 1) < value);
                prop_assert!(value <= exponential_upper(schema, index));
                prop_assert!(exponential_index(schema, value.next_up()) >= index);
            }
        }

        #[test]
        fn a_coarser_schemas_buckets_are_made_of_whole_buckets(
            schema in 1..=5, value in f64::MIN_POSITIVE..=f64::MAX, exponent in -900..900_i32, step in -2..=2_i64,
        ) {
            let edge = exponential_upper(schema, exponent);
            for value in [value, f64::from_bits(edge.to_bits().saturating_add_signed(step))] {
                let (fine, coarse) = (exponential_index(schema, value), exponential_index(schema - 1, value));
                prop_assert_eq!((fine + 1).div_euclid(2), coarse, "{}", value);
            }
        }
    }

    #[test]
    fn ranges_that_make_no_buckets() {
        for (schema, lower, upper) in [
            (-1, 1.0, 2.0),
            (6, 1.0, 2.0),
            (0, 0.0, 1.0),
            (0, 2.0, 1.0),
            (0, 1.0, 1.0),
            (0, f64::NAN, 1.0),
            (0, 1.0, f64::INFINITY),
            (0, f64::MIN_POSITIVE / 2.0, 1.0),
            (0, 1.0, f64::MAX), // its bucket's upper edge is 2^1024
            (5, 1e-300, 1e300), // too many
        ] {
            assert_eq!(exponential_buckets(schema, lower, upper), None, "{schema} {lower} {upper}");
        }
        assert_eq!(exponential_buckets(0, f64::MIN_POSITIVE, 2f64.powi(1023)), Some((-1021, 1023)));
        assert_eq!(exponential_buckets(0, 1.5, 1.75), Some((1, 1)), "a range within one bucket");
    }
}
