//! Finds the bucket of a value: the number of upper edges that are below it.
//!
//! Made once a family at registration, leaked, and read by every observation; it never changes. A table leads from a
//! value's leading bits (power of two, and a few bits behind) to the edges that share them. Where no two edges do, which
//! `new` sees to if it can, the bucket is that entry plus one comparison: no search, and no branch to mispredict.

use tachograph_layout::Number;

/// A value as the search sees it: a word that compares as the values do, of which the leading bits are the key.
#[allow(unnameable_types, reason = "sealed: users name `HistogramNumber`")]
pub trait Sample: Copy + Send + Sync + std::fmt::Debug + 'static {
    /// What the sum's bits are.
    const NUMBER: Number;
    /// The word: orders as the values do, NaN apart.
    fn word(self) -> u64;
    /// The power of two and `precision` bits behind it, of a word; never smaller for a larger word.
    fn key(word: u64, precision: u32) -> u64;
    /// Whether the value is a number at all.
    fn is_number(self) -> bool;
    /// The bits of a sum with this value added; integers wrap.
    fn add_to(self, sum: u64) -> u64;
    /// From the bits of a sum.
    fn from_sum(bits: u64) -> Self;
}

impl Sample for f64 {
    const NUMBER: Number = Number::F64;

    #[inline]
    fn word(self) -> u64 {
        let bits = self.to_bits();
        // All bits of a negative number turned over, the sign of a positive one: then words compare as numbers do.
        bits ^ ((bits.cast_signed() >> 63).cast_unsigned() | 1 << 63)
    }

    #[inline]
    fn key(word: u64, precision: u32) -> u64 {
        word >> (52 - precision)
    }

    #[inline]
    fn is_number(self) -> bool {
        !self.is_nan()
    }

    #[inline]
    fn add_to(self, sum: u64) -> u64 {
        (Self::from_bits(sum) + self).to_bits()
    }

    #[inline]
    fn from_sum(bits: u64) -> Self {
        Self::from_bits(bits)
    }
}

impl Sample for u64 {
    const NUMBER: Number = Number::U64;

    #[inline]
    fn word(self) -> u64 {
        self
    }

    #[inline]
    fn key(word: u64, precision: u32) -> u64 {
        // 0 shares the key of 1, so that there is a leading one.
        let word = word | 1;
        let leading = word.leading_zeros();
        (Self::from(63 - leading) << precision) + (word << leading >> (63 - precision))
    }

    #[inline]
    fn is_number(self) -> bool {
        true
    }

    #[inline]
    fn add_to(self, sum: u64) -> u64 {
        sum.wrapping_add(self)
    }

    #[inline]
    fn from_sum(bits: u64) -> Self {
        bits
    }
}

/// Most entries of a table.
const MOST_ENTRIES: u64 = 4096;
/// Most bits behind the power of two. 6 tell all edges of the finest exponential schema apart.
const MOST_PRECISION: u32 = 12;

/// The edges of a histogram, and the table that leads to them.
#[allow(unnameable_types, reason = "sealed: stands in the block type of the sealed trait behind `Metric`")]
#[derive(Debug, PartialEq)]
pub struct Search {
    precision: u32,
    /// Key of the lowest edge.
    lowest: u64,
    /// For each key from the lowest edge's to one past the highest's: how many edges have a smaller one.
    starts: Box<[u16]>,
    /// Upper edges as words, ascending, and `u64::MAX` behind them, which nothing is above.
    edges: Box<[u64]>,
    /// The same edges as they are shown.
    uppers: Box<[f64]>,
}

impl Search {
    /// For upper edges (words, ascending) of values of type `N`, and what they are shown as.
    pub(crate) fn new<N: Sample>(words: &[u64], uppers: &[f64]) -> Self {
        let (first, last) = (words.first().copied().unwrap_or(0), words.last().copied().unwrap_or(0));
        let entries = |precision| N::key(last, precision) - N::key(first, precision) + 2;
        let alone = |precision| words.windows(2).all(|pair| N::key(pair[0], precision) < N::key(pair[1], precision));
        let fits = |precision: &u32| entries(*precision) <= MOST_ENTRIES;
        // The fewest bits that tell all edges apart; where none do, as many as the table holds.
        let candidates = (0..=MOST_PRECISION).take_while(fits);
        let precision = candidates.clone().find(|precision| alone(*precision)).or_else(|| candidates.last());
        let precision = precision.unwrap_or(0);
        let lowest = N::key(first, precision);
        let start = |entry| words.partition_point(|word| N::key(*word, precision) < lowest + entry) as u16;
        Self {
            precision,
            lowest,
            starts: (0..entries(precision)).map(start).collect(),
            edges: words.iter().copied().chain([u64::MAX]).collect(),
            uppers: uppers.into(),
        }
    }

    /// The value's bucket: how many edges are below it.
    #[inline]
    pub(crate) fn bucket<N: Sample>(&self, value: N) -> usize {
        let word = value.word();
        let entry = N::key(word, self.precision).saturating_sub(self.lowest);
        // Past the table are the values above every edge.
        let start = self.starts.get(entry as usize).map_or(self.edges.len() - 1, |start| usize::from(*start));
        let bucket = start + usize::from(self.is_above(word, start));
        if self.is_above(word, bucket) { self.bucket_from(word, bucket) } else { bucket }
    }

    #[inline]
    fn is_above(&self, word: u64, edge: usize) -> bool {
        self.edges.get(edge).is_some_and(|edge| word > *edge)
    }

    /// Where several edges share a key.
    #[inline(never)]
    fn bucket_from(&self, word: u64, from: usize) -> usize {
        from + self.edges.get(from..).map_or(0, |edges| edges.partition_point(|edge| word > *edge))
    }

    /// The upper edges as they are shown, without +Inf.
    pub(crate) fn uppers(&self) -> &[f64] {
        &self.uppers
    }
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
            assert_eq!(search.bucket(value), count(words, value.word()), "{value:?} among {words:?}");
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

    #[test]
    fn usual_bounds_need_one_comparison() {
        let usual = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        let search = Search::new::<f64>(&words_of(&usual), &[]);
        let keys: std::collections::HashSet<u64> =
            words_of(&usual).iter().map(|word| f64::key(*word, search.precision)).collect();
        assert_eq!(keys.len(), usual.len());
    }
}
