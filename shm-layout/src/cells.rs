//! Cells: the only place where a pointer into a region becomes a reference, and that is always an `&AtomicU64`.
//!
//! Two unsafe steps stand here: a bounds-checked word of a mapping, and a writer's cell in some lane. Both rest on
//! mappings that [`crate::WriterMap`] and [`crate::ReaderMap`] made; see there for who proves length and lifetime.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    Control, HighWater, LaneOffset, SlotWord, Words, load_acquire, read_owned, read_published, read_stamped,
    read_structure, slot_stands,
};

/// A bounds-checked view of mapped memory as 8-byte words. Never gives out anything but `&AtomicU64` and copies.
///
/// All loads are Relaxed, which is what Rust promises for read-only mappings; where one word publishes others, the
/// reader uses [`WordView::load_acquire`], a Relaxed load and a fence.
#[derive(Debug, Clone, Copy)]
pub struct WordView<'a> {
    base: NonNull<u8>,
    /// Length in bytes, a multiple of 8.
    len: usize,
    mapping: PhantomData<&'a AtomicU64>,
}

// SAFETY: a view only gives out `&AtomicU64` and copies, which any thread may use; it owns nothing.
unsafe impl Send for WordView<'_> {}
// SAFETY: as for Send.
unsafe impl Sync for WordView<'_> {}

impl<'a> WordView<'a> {
    /// A view of `len` bytes at `base`.
    ///
    /// # Safety
    /// - `base` is 8-byte aligned, and `len` bytes from it are mapped, at least readable, for all of `'a`;
    /// - for all of `'a`, this process touches those bytes only through 8-byte atomics.
    pub(crate) const unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len: len & !7, mapping: PhantomData }
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len as u64
    }

    /// Whether there is no word.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The word at a byte offset; `None` where it is not 8-byte aligned or outside the mapping.
    ///
    /// A word of a [`crate::ReaderMap`] must only be loaded, and only Relaxed: its page is read-only.
    #[must_use]
    #[inline]
    pub(crate) fn word(&self, offset: u64) -> Option<&'a AtomicU64> {
        let offset = usize::try_from(offset).ok()?;
        if offset % 8 != 0 || offset >= self.len {
            return None;
        }
        // SAFETY: `offset < len`, both multiples of 8, so the word's 8 bytes are inside the mapping of `Self::new`.
        let pointer = unsafe { self.base.add(offset) };
        // SAFETY: mapped and aligned as just said, for 'a, and only touched by 8-byte atomics (contract of `new`).
        Some(unsafe { AtomicU64::from_ptr(pointer.as_ptr().cast()) })
    }

    /// `N` words from a byte offset; `None` where it is not 8-byte aligned or any of them is outside.
    #[must_use]
    pub(crate) fn array<const N: usize>(&self, offset: u64) -> Option<&'a [AtomicU64; N]> {
        let offset = usize::try_from(offset).ok()?;
        if offset % 8 != 0 || offset.checked_add(N * 8)? > self.len {
            return None;
        }
        // SAFETY: `offset + N * 8 <= len`, so all `N` words are inside the mapping of `Self::new`.
        let pointer = unsafe { self.base.add(offset) };
        // SAFETY: mapped and aligned as just said, for 'a, and only touched by 8-byte atomics (contract of `new`).
        Some(unsafe { pointer.cast().as_ref() })
    }

    /// Loads a word, Relaxed.
    #[must_use]
    #[inline]
    pub fn load(&self, offset: u64) -> Option<u64> {
        self.word(offset).map(|word| word.load(Ordering::Relaxed))
    }

    /// Loads a word so that what its writer stored before it with Release is visible after: Relaxed load, Acquire
    /// fence (a read-only page allows no other atomic load).
    #[must_use]
    #[inline]
    pub fn load_acquire(&self, offset: u64) -> Option<u64> {
        self.word(offset).map(load_acquire)
    }

    /// Copies a published record (see [`crate::publish`]): its state word with Acquire, then the rest. `None` where any
    /// of it is outside.
    #[must_use]
    pub fn record<T: Words>(&self, offset: u64) -> Option<T> {
        let mut words = vec![0; T::WORDS];
        read_published(|index| self.word(offset.checked_add(index as u64 * 8)?), &mut words)?;
        T::from_words(&words)
    }

    /// Copies a stamped record (see [`crate::read_stamped`]) with its number, which the caller holds against the slot.
    /// `None` where there is none, it is being written, or any of it is outside.
    #[must_use]
    pub fn stamped<T: Words>(&self, offset: u64) -> Option<(u64, T)> {
        let mut words = vec![0; T::WORDS];
        let number = read_stamped(|index| self.word(offset.checked_add(index as u64 * 8)?), &mut words)?;
        Some((number, T::from_words(&words)?))
    }

    /// Copies a slot that has one owner at a time (see [`crate::read_owned`]), whose state word is `state_at` bytes from its
    /// start; a record of zeros where the state word says that the slot is not readable. `None` where it was given to
    /// another owner meanwhile, or any of it is outside.
    #[must_use]
    pub fn owned<T: Words>(&self, offset: u64, state_at: u64) -> Option<(SlotWord, T)> {
        let mut words = vec![0; T::WORDS];
        let word = |index: usize| self.word(offset.checked_add(index as u64 * 8)?);
        let found = read_owned(word, usize::try_from(state_at / 8).ok()?, &mut words)?;
        Some((found, T::from_words(&words)?))
    }

    /// Runs `read` as [`crate::read_structure`] does, with the region's structure word. `None`, and nothing run, where the
    /// view holds no control block.
    pub fn read_structure<T>(&self, writer_lives: bool, read: impl FnMut(u64) -> T) -> Option<T> {
        self.word(Control::STRUCTURE).map(|structure| read_structure(structure, writer_lives, read))
    }

    /// The high-water marks of the region, as [`HighWater::load`]. `None` where the view holds no control block.
    #[must_use]
    pub fn high_water(&self) -> Option<HighWater> {
        Some(HighWater::load(self.word(Control::FAMILIES_USED)?, self.word(Control::SERIES_USED)?))
    }

    /// Whether the slot whose state word stands at a byte offset still holds the series that it held when that word was
    /// `found`: see [`crate::slot_stands`]. False where the word is outside.
    #[must_use]
    pub fn slot_stands(&self, offset: u64, found: SlotWord) -> bool {
        self.word(offset).is_some_and(|state| slot_stands(state, found))
    }

    /// Copies words from a byte offset into `out`, each once, Relaxed. `None`, and nothing copied, where any is outside.
    #[must_use]
    pub fn copy(&self, offset: u64, out: &mut [u64]) -> Option<()> {
        self.words(offset, out.len())?.zip(out).for_each(|(word, out)| *out = word.load(Ordering::Relaxed));
        Some(())
    }

    /// Adds the words from each of these byte offsets to `sums`, wrapping. An offset from which any is outside adds
    /// nothing.
    ///
    /// Four lanes are added up at a time, so that a sum is loaded and stored once for four words of a region.
    pub fn add_into(&self, mut offsets: impl Iterator<Item = u64>, sums: &mut [u64]) {
        let len = sums.len();
        loop {
            let four = [offsets.next(), offsets.next(), offsets.next(), offsets.next()];
            if four[0].is_none() {
                return;
            }
            let four = four.map(|offset| offset.and_then(|offset| self.words(offset, len)));
            match four {
                [Some(a), Some(b), Some(c), Some(d)] => {
                    for ((((a, b), c), d), sum) in a.zip(b).zip(c).zip(d).zip(&mut *sums) {
                        let [a, b, c, d] = [a, b, c, d].map(|word| word.load(Ordering::Relaxed));
                        *sum = sum.wrapping_add(a.wrapping_add(b)).wrapping_add(c.wrapping_add(d));
                    }
                }
                fewer => {
                    for words in fewer.into_iter().flatten() {
                        words
                            .zip(&mut *sums)
                            .for_each(|(word, sum)| *sum = sum.wrapping_add(word.load(Ordering::Relaxed)));
                    }
                }
            }
        }
    }

    /// Copies `len` bytes from any byte offset. `None` where any is outside.
    #[must_use]
    pub fn bytes(&self, offset: u64, len: u64) -> Option<Vec<u8>> {
        let start = offset & !7;
        let lead = usize::try_from(offset - start).ok()?;
        let len = usize::try_from(len).ok()?;
        let words = lead.checked_add(len)?.div_ceil(8);
        // Asked before anything is allocated: a length out of a file must not decide how much.
        let found = self.words(start, words)?;
        let mut copy = Vec::with_capacity(words * 8);
        for word in found {
            copy.extend_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        copy.drain(..lead);
        copy.truncate(len);
        Some(copy)
    }

    fn words(&self, offset: u64, count: usize) -> Option<impl Iterator<Item = &'a AtomicU64> + use<'a>> {
        let offset = usize::try_from(offset).ok()?;
        let end = count.checked_mul(8)?.checked_add(offset)?;
        if offset % 8 != 0 || end > self.len {
            return None;
        }
        let base = self.base;
        Some((0..count).map(move |index| {
            // SAFETY: `offset + count * 8 <= len`, checked above, and `index < count`.
            let pointer = unsafe { base.add(offset + index * 8) };
            // SAFETY: mapped and aligned as just said, for 'a, and only touched by 8-byte atomics (contract of `new`).
            unsafe { AtomicU64::from_ptr(pointer.as_ptr().cast()) }
        }))
    }
}

/// A cell of a series: the same place in every lane. This is all that a handle holds: one pointer, to lane 0's.
#[derive(Debug, Clone, Copy)]
pub struct LaneCell(NonNull<AtomicU64>);

// SAFETY: a cell only gives out `&'static AtomicU64`, which any thread may use.
unsafe impl Send for LaneCell {}
// SAFETY: as for Send.
unsafe impl Sync for LaneCell {}

impl LaneCell {
    /// A cell by the address of its word in lane 0.
    ///
    /// # Safety
    /// - `pointer` is 8-byte aligned and in lane 0 of a [`crate::WriterMap`] that is never unmapped;
    /// - that map has `lane_count()` lanes, each `LANE_DISTANCE` bytes from the one before.
    pub(crate) const unsafe fn new(pointer: NonNull<AtomicU64>) -> Self {
        Self(pointer)
    }

    /// The cell's word in one lane.
    #[must_use]
    #[inline]
    pub fn at(self, lane: LaneOffset) -> &'static AtomicU64 {
        // SAFETY: a `LaneOffset` is a whole number of lanes below `lane_count()`, and the contract of `new` says that
        // the map has that many lanes at that distance, so the same place in that lane is mapped.
        let pointer = unsafe { self.0.byte_add(lane.bytes()) };
        // SAFETY: mapped and aligned as just said, never unmapped, and only ever touched as an 8-byte atomic.
        unsafe { pointer.as_ref() }
    }

    /// The word of the lane's header (see [`crate::LANE_HEADER_CELLS`]) that counts dropped observations, in the same
    /// region and lane as this cell.
    #[must_use]
    pub fn dropped_observations(self, lane: LaneOffset) -> &'static AtomicU64 {
        // SAFETY: the same place in that lane is mapped, as in `at`.
        let own = unsafe { self.0.byte_add(lane.bytes()) }.as_ptr();
        // Lanes start at multiples of LANE_DISTANCE, so the lane's first cell is found without a second pointer.
        let first = own.map_addr(|address| address & !(crate::LANE_DISTANCE - 1));
        // SAFETY: `WriterMap` starts every lane at a multiple of LANE_DISTANCE and maps its first cell; the pointer was
        // never narrowed to a reference on its way from the mapping; never unmapped, only touched atomically.
        unsafe { AtomicU64::from_ptr(first.cast()) }
    }
}

/// The lane cells of a run of series that own `N` cells each: a family's, or a single series'.
///
/// `Copy`, and good for the life of the process. Picking a series is arithmetic: no lookup, no lock.
#[derive(Debug, Clone, Copy)]
pub struct LaneBlock<const N: usize> {
    first: LaneCell,
    /// Series in the run, at least 1.
    series: usize,
}

impl<const N: usize> LaneBlock<N> {
    /// `series` series of `N` cells from `first` on.
    ///
    /// # Safety
    /// `series` is at least 1, and `series * N` cells from `first` on are in the same lane.
    pub(crate) const unsafe fn new(first: LaneCell, series: usize) -> Self {
        Self { first, series }
    }

    /// The cells of series `index`; of the first one where there is no such series, so that no index can do harm.
    #[must_use]
    #[inline]
    pub const fn series(self, index: usize) -> LaneCells<N> {
        let index = if index < self.series { index } else { 0 };
        // SAFETY: `index < self.series`, and `new` was promised that many series of `N` cells each.
        LaneCells(LaneCell(unsafe { self.first.0.add(index * N) }))
    }
}

/// The `N` cells of one series.
#[derive(Debug, Clone, Copy)]
pub struct LaneCells<const N: usize>(LaneCell);

impl<const N: usize> LaneCells<N> {
    /// Cell `INDEX`; a compile-time error unless it is below `N`.
    #[must_use]
    #[inline]
    pub const fn cell<const INDEX: usize>(self) -> LaneCell {
        const { assert!(INDEX < N) };
        // SAFETY: `INDEX < N`, checked at compile time, and a `LaneCells` is only made of `N` cells in one lane.
        LaneCell(unsafe { self.0.0.add(INDEX) })
    }
}

/// How many cells each series of a run owns, where that is known only at run time, and what its kind needs to find one
/// of them. Made once a family and leaked.
#[derive(Debug)]
pub struct CellShape<T> {
    /// At least 1; never changes.
    cells: usize,
    detail: T,
}

impl<T> CellShape<T> {
    /// Series of `cells` cells; of one, where that is 0.
    pub const fn new(cells: u32, detail: T) -> Self {
        Self { cells: if cells == 0 { 1 } else { cells as usize }, detail }
    }

    /// Cells a series.
    #[must_use]
    pub const fn cells(&self) -> usize {
        self.cells
    }

    /// What the kind keeps here.
    #[must_use]
    #[inline]
    pub const fn detail(&self) -> &T {
        &self.detail
    }
}

/// The lane cells of a run of series of one [`CellShape`], as [`LaneBlock`] is for a fixed number of cells.
#[derive(Debug)]
pub struct ShapedBlock<T: 'static> {
    cells: ShapedCells<T>,
    /// Series in the run, at least 1.
    series: usize,
}

impl<T> Clone for ShapedBlock<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ShapedBlock<T> {}

impl<T> ShapedBlock<T> {
    /// `series` series from `first` on.
    ///
    /// # Safety
    /// `series` is at least 1, and `series * shape.cells()` cells from `first` on are in the same lane.
    pub(crate) const unsafe fn new(first: LaneCell, series: usize, shape: &'static CellShape<T>) -> Self {
        Self { cells: ShapedCells { first, shape }, series }
    }

    /// The cells of series `index`; of the first one where there is no such series, so that no index can do harm.
    #[must_use]
    #[inline]
    pub const fn series(self, index: usize) -> ShapedCells<T> {
        let index = if index < self.series { index } else { 0 };
        let ShapedCells { first, shape } = self.cells;
        // SAFETY: `index < self.series`, and `new` was promised that many series of `shape.cells` cells each.
        ShapedCells { first: LaneCell(unsafe { first.0.add(index * shape.cells) }), shape }
    }
}

/// The cells of one series of a [`CellShape`].
#[derive(Debug)]
pub struct ShapedCells<T: 'static> {
    first: LaneCell,
    shape: &'static CellShape<T>,
}

impl<T> Clone for ShapedCells<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ShapedCells<T> {}

impl<T> ShapedCells<T> {
    /// Cell `index`; the first one where there is no such cell, so that no index can do harm.
    #[must_use]
    #[inline]
    pub const fn cell(self, index: usize) -> LaneCell {
        let index = if index < self.shape.cells { index } else { 0 };
        // SAFETY: `index < shape.cells`, and a `ShapedCells` is only made of that many cells in one lane.
        LaneCell(unsafe { self.first.0.add(index) })
    }

    /// The last cell.
    #[must_use]
    #[inline]
    pub const fn last(self) -> LaneCell {
        // SAFETY: `shape.cells` is at least 1, and a `ShapedCells` is only made of that many cells in one lane.
        LaneCell(unsafe { self.first.0.add(self.shape.cells - 1) })
    }

    /// The shape of the series.
    #[must_use]
    #[inline]
    pub const fn shape(self) -> &'static CellShape<T> {
        self.shape
    }
}

/// The lines of a run of series in the shared plane: one 64-byte line each, whose first word is the cell.
#[derive(Debug, Clone, Copy)]
pub struct SharedBlock {
    first: NonNull<AtomicU64>,
    /// Series in the run, at least 1.
    series: usize,
}

// SAFETY: a block only gives out `&'static AtomicU64`, which any thread may use.
unsafe impl Send for SharedBlock {}
// SAFETY: as for Send.
unsafe impl Sync for SharedBlock {}

impl SharedBlock {
    /// `series` lines from `first` on.
    ///
    /// # Safety
    /// `series` is at least 1; `series * 64` bytes from `first` on are mapped for the life of the process, 8-byte
    /// aligned, and only ever touched by 8-byte atomics.
    pub(crate) const unsafe fn new(first: NonNull<AtomicU64>, series: usize) -> Self {
        Self { first, series }
    }

    /// The cell of series `index`; of the first one where there is no such series, so that no index can do harm.
    #[must_use]
    #[inline]
    pub const fn series(self, index: usize) -> &'static AtomicU64 {
        let index = if index < self.series { index } else { 0 };
        // SAFETY: `index < self.series`, and `new` was promised that many lines.
        let line = unsafe { self.first.byte_add(index * 64) };
        // SAFETY: mapped for good, aligned, only touched atomically: the contract of `new`.
        unsafe { line.as_ref() }
    }
}
