//! What a parse may still copy, make and show: what keeps a file that refers to the same over and over from costing more
//! than a small multiple of its own size.
//!
//! Called by the parser before each copy. One budget for all families, so that many small lies cost no more than one.

use crate::schema::{Family, Kind};

/// Bytes that any string may have without asking the budget, so that what one damaged record refers to can't keep the
/// others from being read.
const FREE_TEXT: u64 = 256;
/// What a name out of a list of names costs beyond its bytes.
const NAME_COST: u64 = 64;

/// Bytes of exposition that a byte of the file may make. An honest region of labelled histograms makes fewer than it
/// has bytes itself, since each bucket's line has a cell in every lane.
const SHOWN_SHARE: u64 = 8;
/// Bytes of exposition that any region may make.
const SHOWN_FREE: u64 = 1 << 20;

/// What is left.
pub(super) struct Budget {
    /// Bytes of text that may still be copied, less what each string may take without asking ([`FREE_TEXT`]).
    text: u64,
    /// Histogram bounds that may still be made.
    bounds: u64,
    /// Bytes that all lines of an exposition may still take, less their numbers.
    shown: u64,
}

impl Budget {
    /// For a file of `len` bytes, whose families have this many `bounds` and buckets at most.
    ///
    /// A writer that shares equal strings may refer to one more than once: the text may be the whole file.
    pub(super) const fn new(len: u64, bounds: u64) -> Self {
        Self { text: len, bounds, shown: SHOWN_SHARE * len + SHOWN_FREE }
    }

    /// Charges a string.
    pub(super) fn string(&mut self, len: u64) -> Result<(), String> {
        self.spend(len.saturating_sub(FREE_TEXT))
    }

    /// Charges the names out of a list that has been charged as a string.
    pub(super) fn names(&mut self, commas: usize) -> Result<(), String> {
        self.spend(NAME_COST * commas as u64)
    }

    /// Charges histogram bounds. It keeps families that share bounds or cells from multiplying work.
    pub(super) fn bounds(&mut self, count: u64) -> Result<(), String> {
        self.bounds = self.bounds.checked_sub(count).ok_or("the families' bounds are more than the region can hold")?;
        Ok(())
    }

    /// Charges the lines that a series will be shown as: each repeats name and labels.
    pub(super) fn lines(&mut self, family: &Family, labels: &str) -> Result<(), String> {
        let lines = match family.kind {
            Kind::HistogramBounds | Kind::HistogramExponential => family.bounds.len() + 3,
            Kind::StateSet => family.states.len(),
            _ => 1,
        };
        // Room for the region's label, `le` and braces is in the sum; 128 bytes a line.
        let cost = (lines * (family.name.len() + labels.len() + 128)) as u64;
        self.shown =
            self.shown.checked_sub(cost).ok_or("the region's series would be shown as far more bytes than it has")?;
        Ok(())
    }

    fn spend(&mut self, bytes: u64) -> Result<(), String> {
        self.text = self.text.checked_sub(bytes).ok_or("the region's strings are used more often than it can hold")?;
        Ok(())
    }
}
