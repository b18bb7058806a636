//! What a parse may still copy, make and show: what keeps a file that refers to the same over and over from costing more
//! than a small multiple of its own size.
//!
//! Called by the parser before each copy. One budget for all families, so that many small lies cost no more than one.

use crate::label_block;
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

/// Bytes of a line beside names, labels and states: the region's label, `le`, braces and the number.
const LINE: u64 = 128;

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

    /// Charges the lines that a series of these labels will be shown as.
    pub(super) fn lines(&mut self, lines: Lines, labels: &str) -> Result<(), String> {
        self.shown = self
            .shown
            .checked_sub(lines.bytes(labels))
            .ok_or("the region's series would be shown as far more bytes than it has")?;
        Ok(())
    }

    fn spend(&mut self, bytes: u64) -> Result<(), String> {
        self.text = self.text.checked_sub(bytes).ok_or("the region's strings are used more often than it can hold")?;
        Ok(())
    }
}

/// What each series of a family will be shown as, less its labels: summed up once a family, since the states of a family
/// may be as long as all else that it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    count: u64,
    /// Bytes of all of them.
    bytes: u64,
}

impl Lines {
    pub(super) fn of(family: &Family) -> Self {
        let name = family.name.len() as u64;
        let (count, bytes) = match family.kind {
            Kind::HistogramBounds | Kind::HistogramExponential => {
                let count = family.bounds.len() as u64 + 3;
                (count, count * name)
            }
            // The name stands in each line twice: a state is the value of a label of that name.
            Kind::StateSet => {
                let states = family.states.iter().map(|state| 2 * name + label_block::escaped(state).len() as u64);
                (family.states.len() as u64, states.sum())
            }
            _ => (1, name),
        };
        Self { count, bytes: bytes + LINE * count }
    }

    fn bytes(self, labels: &str) -> u64 {
        self.bytes + self.count * labels.len() as u64
    }
}
