//! Finds the bucket of a value: the number of upper edges that are below it.
//!
//! Made once a family at registration, leaked, and read by every observation; it never changes. A table leads from a
//! value's leading bits (power of two, and a few bits behind) to the one edge that shares them: the bucket is that entry
//! plus one comparison, without a branch that depends on the value. Keys that several edges share, which `new` avoids if
//! it can, are marked; only their values are searched for.

use tachograph_layout::Number;

/// A value as the search sees it.
#[allow(unnameable_types, reason = "sealed: users name `HistogramNumber`")]
pub trait Sample: Copy + Send + Sync + std::fmt::Debug + 'static {
    /// What the sum's bits are.
    const NUMBER: Number;
    /// What nothing is above.
    const LAST: Self;
    /// A word that orders as the values do, NaN apart.
    fn word(self) -> u64;
    /// The value of a word.
    fn from_word(word: u64) -> Self;
    /// The value's bits, as they are stored.
    fn to_bits(self) -> u64;
    /// From the bits.
    fn from_bits(bits: u64) -> Self;
    /// How far it is from `base`, to the nearest f64: never less for a larger value. Integers are that far from 0.
    fn distance(self, base: f64) -> f64;
    /// Whether it is above another.
    fn is_above(self, other: Self) -> bool;
    /// Whether the value is a number at all.
    fn is_number(self) -> bool;
    /// The bits of a sum with this value added; integers wrap.
    fn add_to(self, sum: u64) -> u64;
}

impl Sample for f64 {
    const NUMBER: Number = Number::F64;
    const LAST: Self = Self::INFINITY;

    fn word(self) -> u64 {
        let bits = self.to_bits();
        // All bits of a negative number turned over, the sign of a positive one: then words compare as numbers do.
        bits ^ ((bits.cast_signed() >> 63).cast_unsigned() | 1 << 63)
    }

    fn from_word(word: u64) -> Self {
        Self::from_bits(if word >> 63 == 1 { word ^ 1 << 63 } else { !word })
    }

    #[inline]
    fn to_bits(self) -> u64 {
        self.to_bits()
    }

    #[inline]
    fn from_bits(bits: u64) -> Self {
        Self::from_bits(bits)
    }

    #[inline]
    fn distance(self, base: f64) -> f64 {
        self - base
    }

    #[inline]
    fn is_above(self, other: Self) -> bool {
        self > other
    }

    #[inline]
    fn is_number(self) -> bool {
        !self.is_nan()
    }

    #[inline]
    fn add_to(self, sum: u64) -> u64 {
        (Self::from_bits(sum) + self).to_bits()
    }
}

impl Sample for u64 {
    const NUMBER: Number = Number::U64;
    const LAST: Self = Self::MAX;

    fn word(self) -> u64 {
        self
    }

    fn from_word(word: u64) -> Self {
        word
    }

    #[inline]
    fn to_bits(self) -> u64 {
        self
    }

    #[inline]
    fn from_bits(bits: u64) -> Self {
        bits
    }

    #[inline]
    fn distance(self, _: f64) -> f64 {
        // Signed, since that conversion is one instruction; those beyond are alike.
        self.min(i64::MAX as Self).cast_signed() as f64
    }

    #[inline]
    fn is_above(self, other: Self) -> bool {
        self > other
    }

    #[inline]
    fn is_number(self) -> bool {
        true
    }

    #[inline]
    fn add_to(self, sum: u64) -> u64 {
        sum.wrapping_add(self)
    }
}

/// Most entries of a table.
const MOST_ENTRIES: u64 = 4096;
/// Most bits behind the power of two. 6 tell all edges of the finest exponential schema apart.
const MOST_PRECISION: u32 = 12;
/// The entry of a key that several edges share: beyond every edge, of which there are at most 16,384.
const SEVERAL: u16 = u16::MAX;

/// The edges of a histogram, and the table that leads to them.
#[allow(unnameable_types, reason = "sealed: stands in the block type of the sealed trait behind `Metric`")]
#[derive(Debug, PartialEq)]
pub struct Search {
    /// What distances are taken from: 0, or below where edges are.
    base: f64,
    /// Distances below have the key of this one, the first entry's: at least 0, so that keys order as distances do.
    low: f64,
    /// Distances above have the key of this one, the last entry's, which is above every edge's.
    high: f64,
    /// A key is what is left of a distance's bits when so many are shifted out.
    shift: u32,
    /// Key of `low`.
    lowest: u64,
    /// For each key from `low`'s to `high`'s: how many edges have a smaller one; or [`SEVERAL`].
    starts: Box<[u16]>,
    /// The bits of the upper edges, ascending, and of a last one that nothing is above.
    edges: Box<[u64]>,
    /// The same edges as they are shown.
    uppers: Box<[f64]>,
}

impl Search {
    /// For upper edges (words, ascending) of values of type `N`, and what they are shown as.
    pub(crate) fn new<N: Sample>(words: &[u64], uppers: &[f64]) -> Self {
        let (first, last) = (words.first().copied().unwrap_or(0), words.last().copied().unwrap_or(0));
        // All below the second edge share the first entry: a first edge far below any other costs no table.
        let second = words.iter().copied().find(|word| *word > first).unwrap_or(first);
        let base = base(N::from_word(second).distance(0.0), N::from_word(last).distance(0.0));
        let distances: Vec<f64> = words.iter().map(|word| N::from_word(*word).distance(base).max(0.0)).collect();
        let key = |distance: f64, precision: u32| distance.to_bits() >> (52 - precision);
        let key_of = |word: u64, precision| key(N::from_word(word).distance(base).max(0.0), precision);
        let lowest = |precision| key_of(first, precision).max(key_of(second, precision).saturating_sub(1));
        let entries = |precision| key_of(last, precision) - lowest(precision) + 2;
        let alone = |precision| distances.windows(2).all(|pair| key(pair[0], precision) < key(pair[1], precision));
        let fits = |precision: &u32| entries(*precision) <= MOST_ENTRIES;
        // The fewest bits that tell all edges apart; where none do, as many as the table holds.
        let candidates = (0..=MOST_PRECISION).take_while(fits);
        let precision = candidates.clone().find(|precision| alone(*precision)).or_else(|| candidates.last());
        let precision = precision.unwrap_or(0);
        let (lowest, shift) = (lowest(precision), 52 - precision);
        let below = |bound| distances.partition_point(|distance| key(*distance, precision) < bound);
        let start = |entry| {
            let start = if entry == 0 { 0 } else { below(lowest + entry) };
            if below(lowest + entry + 1) - start > 1 { SEVERAL } else { start as u16 }
        };
        Self {
            base,
            low: f64::from_bits(lowest << shift),
            high: f64::from_bits((key_of(last, precision) + 1) << shift),
            shift,
            lowest,
            starts: (0..entries(precision)).map(start).collect(),
            edges: words.iter().map(|word| N::from_word(*word).to_bits()).chain([N::LAST.to_bits()]).collect(),
            uppers: uppers.into(),
        }
    }

    /// The value's bucket, how many edges are below it, where one comparison tells; `None` where several edges share its
    /// key: then [`Search::search`] does.
    #[inline]
    pub(crate) fn look_up<N: Sample>(&self, value: N) -> Option<usize> {
        // Values come in any order, and a mispredicted branch costs more than all the rest: these two are `maxsd` and
        // `minsd`, where a clamp of whole numbers becomes branches.
        let distance = value.distance(self.base);
        let distance = if distance > self.low { distance } else { self.low };
        let distance = if distance < self.high { distance } else { self.high };
        let entry = (distance.to_bits() >> (self.shift & 63)).wrapping_sub(self.lowest);
        // The table has every entry up to that of `high`; `SEVERAL` is no edge.
        let start = usize::from(*self.starts.get(entry as usize)?);
        let edge = N::from_bits(*self.edges.get(start)?);
        Some(start + usize::from(value.is_above(edge)))
    }

    /// The value's bucket.
    pub(crate) fn search<N: Sample>(&self, value: N) -> usize {
        self.edges.partition_point(|edge| value.is_above(N::from_bits(*edge)))
    }

    /// The upper edges as they are shown, without +Inf.
    pub(crate) fn uppers(&self) -> &[f64] {
        &self.uppers
    }
}

/// What distances are taken from, for edges of which these are the second and the last: 0, or where the second is below
/// that, twice as far below, so that it and all above it have distances above 0; but no lower than lets the last's be finite.
fn base(second: f64, last: f64) -> f64 {
    (second * 2.0).min(0.0).max(last - f64::MAX).max(f64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition that the table must agree with.
    fn count(words: &[u64], word: u64) -> usize {
        words.iter().filter(|edge| word > **edge).count()
    }

    fn check<N: Sample>(words: &[u64], values: impl IntoIterator<Item = N>) {
        let search = Search::new::<N>(words, &[]);
        assert!(search.starts.len() as u64 <= MOST_ENTRIES);
        for value in values {
            let bucket = count(words, value.word());
            assert_eq!(search.search(value), bucket, "{value:?} among {words:?}");
            assert!(search.look_up(value).is_none_or(|found| found == bucket), "{value:?} among {words:?}");
        }
    }

    fn words_of(bounds: &[f64]) -> Vec<u64> {
        bounds.iter().map(|bound| bound.word()).collect()
    }

    fn around(bounds: &[f64]) -> Vec<f64> {
        let near = bounds.iter().flat_map(|bound| [bound.next_down(), *bound, bound.next_up(), bound * 1.01, -bound]);
        near.chain([0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 5e-324, -5e-324]).collect()
    }

    #[test]
    fn edges_and_their_neighbours_are_told_apart() {
        for bounds in [
            vec![1.0],
            vec![0.0],
            vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
            vec![-100.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 100.0],
            vec![0.0, 5e-324, f64::MIN_POSITIVE, f64::MAX],
            vec![f64::MIN, f64::MAX],
            vec![f64::MIN],
            vec![f64::MIN, -1.0, f64::MAX],
            vec![-1e308, -0.9e308, 1e308],
            vec![-1e300, -5.0, -5e-324, 0.0, 5e-324, 3.0, 1e300],
            (0..700).map(|step| 1.0 + f64::from(step) * f64::EPSILON).collect(), // all share most of their bits
        ] {
            let values = around(&bounds);
            check(&words_of(&bounds), values);
        }
    }

    #[test]
    fn integers_are_told_apart() {
        for words in [
            vec![0],
            vec![0, 1, 2, 3, 4],
            vec![1_000, 1_001, 1_002, 5_000_000],
            vec![0, 0, 0, 1, 1, 2], // as nanoseconds below one make it
            vec![u64::MAX - 1, u64::MAX],
            (0..64).map(|bit| 1 << bit).collect(),
        ] {
            let near = words.iter().flat_map(|word| [word.saturating_sub(1), *word, word.saturating_add(1)]);
            check::<u64>(&words, near.chain([0, 1, u64::MAX]).collect::<Vec<_>>());
        }
    }

    /// How many keys have more than one edge.
    fn shared<N: Sample>(words: &[u64]) -> usize {
        Search::new::<N>(words, &[]).starts.iter().filter(|start| **start == SEVERAL).count()
    }

    #[test]
    fn usual_bounds_need_one_comparison() {
        let usual = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        assert_eq!(shared::<f64>(&words_of(&usual)), 0);
        assert_eq!(shared::<u64>(&usual.map(|seconds| (seconds * 1e9) as u64)), 0);
        assert_eq!(shared::<u64>(&[0, 1, 2, 3, 4, 5, 10]), 0);
        assert_eq!(shared::<f64>(&words_of(&[-100.0, -10.0, -1.0, 0.0, 1.0, 10.0, 100.0])), 0);
        for schema in 0..=5 {
            let edges: Vec<f64> = (-20 << schema..=7 << schema)
                .map(|index| tachograph_layout::exponential_upper(schema, index))
                .collect();
            assert_eq!(shared::<f64>(&words_of(&edges)), 0, "schema {schema}");
            let nanoseconds: Vec<u64> = edges.iter().map(|seconds| (seconds * 1e9) as u64).collect();
            assert_eq!(shared::<u64>(&nanoseconds), 0, "schema {schema} in nanoseconds");
        }
    }

    #[test]
    fn a_first_edge_far_below_the_others_makes_no_large_table() {
        assert_eq!(Search::new::<f64>(&words_of(&[0.0, 1.0, 2.0]), &[]).starts.len(), 4);
        assert_eq!(Search::new::<f64>(&words_of(&[-1e300, 1.0, 2.0]), &[]).starts.len(), 4);
        assert_eq!(Search::new::<u64>(&[0, 1, 2], &[]).starts.len(), 4);
    }
}
