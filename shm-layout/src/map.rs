//! Mappings: the writer's, whose lanes lie a constant distance apart, and the reader's, read-only and in file order.
//!
//! Nothing here opens or names a file. A writer's map is leaked on purpose once its region is published: handles
//! point into it for the life of the process.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::cells::{CellShape, LaneBlock, LaneCell, ShapedBlock, SharedBlock};
use crate::{LANE_DISTANCE, Layout, SectionKind, WordView, lane_count};

/// Why memory can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The file system has no room for the file's pages.
    #[error("no room for {needed} bytes")]
    Full {
        /// Bytes of the whole region.
        needed: u64,
    },
    /// The kernel refused a mapping.
    #[error("mapping {needed} bytes failed")]
    Refused {
        /// Bytes asked for.
        needed: u64,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The layout has another number of lanes than the process.
    #[error("{found} lanes where this process has {expected}")]
    Lanes {
        /// Lanes of the layout.
        found: u64,
        /// Lanes of the process.
        expected: usize,
    },
}

/// A stretch of address space, unmapped on drop.
#[derive(Debug)]
struct Reservation {
    base: NonNull<u8>,
    len: usize,
    /// What was mapped, of which `base` and `len` are the part in use.
    whole: (NonNull<u8>, usize),
}

impl Reservation {
    fn new(len: usize) -> Result<Self, MapError> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::empty(), flags) };
        let base = base.map_err(|errno| refused(len, errno))?;
        let base = NonNull::new(base.cast()).ok_or_else(|| refused(len, Errno::NOMEM))?;
        Ok(Self { base, len, whole: (base, len) })
    }

    /// A stretch that starts at a multiple of `LANE_DISTANCE`.
    fn of_lanes(lanes: usize) -> Result<Self, MapError> {
        let len = lanes * LANE_DISTANCE;
        let whole = Self::new(len + LANE_DISTANCE)?;
        let lead = whole.base.align_offset(LANE_DISTANCE);
        // SAFETY: `lead < LANE_DISTANCE`, so the aligned address is inside the stretch, and `len` bytes follow it.
        let base = unsafe { whole.base.add(lead) };
        let aligned = Self { base, len, whole: (whole.base, whole.len) };
        std::mem::forget(whole);
        Ok(aligned)
    }

    /// Puts `len` bytes of a file (or, without one, private zeroed memory) over the reservation at `at`.
    fn place(&self, at: usize, len: usize, file: Option<(BorrowedFd<'_>, u64)>) -> Result<(), Errno> {
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(Errno::INVAL);
        }
        // SAFETY: `at < self.len`, so the address is inside the reservation (or one past it where `len` is 0).
        let address: *mut c_void = unsafe { self.base.add(at) }.as_ptr().cast();
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        match file {
            Some((file, offset)) => {
                let flags = MapFlags::SHARED | MapFlags::FIXED;
                // SAFETY: MAP_FIXED replaces only pages of this reservation, which nothing else uses.
                unsafe { rustix::mm::mmap(address, len, protection, flags, file, offset) }.map(drop)
            }
            None => {
                let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
                // SAFETY: as above; words already handed out stay mapped, aligned and zeroed or not, still atomics.
                unsafe { rustix::mm::mmap_anonymous(address, len, protection, flags) }.map(drop)
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the whole reservation is this value's own, and a `WriterMap` gives out 'static words only once
        // leaked, when this never runs. An error leaves the memory mapped, which harms nobody.
        let _ = unsafe { rustix::mm::munmap(self.whole.0.as_ptr().cast(), self.whole.1) };
    }
}

/// A writer's map of its region: everything before the lanes in one piece, then each lane at its distance.
#[derive(Debug)]
pub struct WriterMap {
    main: Reservation,
    lanes: Reservation,
    main_len: usize,
    lane_len: usize,
    lane_count: usize,
}

// SAFETY: the map owns its address space, and what it gives out are atomics.
unsafe impl Send for WriterMap {}
// SAFETY: as for Send: methods on `&self` give out atomics or make system calls on the map's own pages.
unsafe impl Sync for WriterMap {}

impl WriterMap {
    /// Maps a file of exactly `layout.file_len()` bytes, shared and writable. The pages are not populated yet.
    ///
    /// # Errors
    /// [`MapError`] where the layout's lanes are not the process's, or the kernel refuses.
    pub fn of_file(file: impl AsFd, layout: &Layout) -> Result<Self, MapError> {
        Self::new(Some(file.as_fd()), layout)
    }

    /// Maps private zeroed memory in the same shape: for tests, and for a region that must not fail.
    ///
    /// # Errors
    /// As [`WriterMap::of_file`].
    ///
    /// ```
    /// use tachograph_layout::{fix_lane_count, Geometry, WriterMap};
    /// let lanes = fix_lane_count(16) as u32;
    /// let layout = Geometry { lanes, ..Geometry::default() }.layout()?;
    /// let map = WriterMap::private(&layout)?.leak();
    /// map.word(4096).unwrap().store(1, std::sync::atomic::Ordering::Relaxed);
    /// assert_eq!(map.view().load(4096), Some(1));
    /// assert!(map.word(layout.main_len()).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn private(layout: &Layout) -> Result<Self, MapError> {
        Self::new(None, layout)
    }

    fn new(file: Option<BorrowedFd<'_>>, layout: &Layout) -> Result<Self, MapError> {
        let section = layout.section(SectionKind::Lanes);
        let lane_count = lane_count();
        if section.count != lane_count as u64 || section.stride > LANE_DISTANCE as u64 {
            return Err(MapError::Lanes { found: section.count, expected: lane_count });
        }
        let (main_len, lane_len) = (layout.main_len() as usize, section.stride as usize);
        let main = Reservation::new(main_len)?;
        main.place(0, main_len, file.map(|file| (file, 0))).map_err(|errno| refused(main_len, errno))?;
        let lanes = Reservation::of_lanes(lane_count)?;
        for lane in 0..lane_count {
            let offset = section.offset + lane as u64 * section.stride;
            let placed = lanes.place(lane * LANE_DISTANCE, lane_len, file.map(|file| (file, offset)));
            placed.map_err(|errno| refused(lane_len, errno))?;
        }
        Ok(Self { main, lanes, main_len, lane_len, lane_count })
    }

    /// Makes every page of the region present and writable, so that no later store faults.
    ///
    /// # Errors
    /// [`MapError::Full`] where the file system (or the memory cgroup) has no room; [`MapError::Refused`] otherwise.
    pub fn populate(&self) -> Result<(), MapError> {
        let needed = self.bytes();
        for (base, len) in self.pieces() {
            // SAFETY: MADV_POPULATE_WRITE on pages that this map owns only makes them present; contents stay.
            match unsafe { rustix::mm::madvise(base.as_ptr().cast(), len, Advice::LinuxPopulateWrite) } {
                Ok(()) => {}
                // A tmpfs that has no page left answers the write fault with SIGBUS, and so populate with EFAULT.
                Err(Errno::FAULT | Errno::NOMEM | Errno::NOSPC) => return Err(MapError::Full { needed }),
                // Before Linux 5.14 there is no such advice; the file's blocks were allocated by the caller.
                Err(Errno::INVAL) => self.touch(base, len),
                Err(errno) => return Err(refused(len, errno)),
            }
        }
        Ok(())
    }

    /// Touches each page with a store of what it holds, on kernels without MADV_POPULATE_WRITE.
    fn touch(&self, base: NonNull<u8>, len: usize) {
        // SAFETY: the piece is mapped while `self` lives, and only 8-byte atomics touch it.
        let piece = unsafe { WordView::new(base, len) };
        for page in (0..len as u64).step_by(4096) {
            if let Some(word) = piece.word(page) {
                word.fetch_or(0, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }

    /// Asks the kernel to keep the region's pages in memory; says whether it does, for all of them.
    #[must_use]
    pub fn lock_memory(&self) -> bool {
        self.pieces().all(|(base, len)| {
            // SAFETY: mlock of pages that this map owns changes no contents and no address.
            unsafe { rustix::mm::mlock(base.as_ptr().cast(), len) }.is_ok()
        })
    }

    /// Gives up ever unmapping: from here on words and cells are good for the life of the process.
    #[must_use]
    pub fn leak(self) -> &'static Self {
        Box::leak(Box::new(self))
    }

    /// Puts private zeroed memory in place of the file, so that a forked child's handles write into nothing.
    ///
    /// Async-signal-safe: system calls only. Says whether every page could be replaced.
    pub fn detach(&self) -> bool {
        let main = self.main.place(0, self.main_len, None).is_ok();
        (0..self.lane_count)
            .fold(main, |all, lane| self.lanes.place(lane * LANE_DISTANCE, self.lane_len, None).is_ok() && all)
    }

    /// Bytes of the whole region.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        (self.main_len + self.lane_len * self.lane_count) as u64
    }

    /// A read view of everything before the lanes.
    #[must_use]
    pub fn view(&self) -> WordView<'_> {
        // SAFETY: the main piece is mapped while `self` lives, and only 8-byte atomics touch it.
        unsafe { WordView::new(self.main.base, self.main_len) }
    }

    /// The word at a byte offset of the file, anywhere before the lanes; `None` outside.
    #[must_use]
    #[inline]
    pub fn word(&'static self, offset: u64) -> Option<&'static AtomicU64> {
        self.view().word(offset)
    }

    /// `N` words from a byte offset of the file, anywhere before the lanes; `None` where any of them is outside.
    #[must_use]
    pub fn words<const N: usize>(&'static self, offset: u64) -> Option<&'static [AtomicU64; N]> {
        self.view().array(offset)
    }

    /// The lane cells of `series` series of `N` cells each, by the index of the first cell in its lane; `None` where
    /// there is no series or they are not all inside the lane.
    #[must_use]
    pub fn lane_block<const N: usize>(&'static self, first: u64, series: u64) -> Option<LaneBlock<N>> {
        let cell = self.lane_cell(first, series, N as u64)?;
        // SAFETY: `series >= 1`, and `series * N` cells from `first` on end inside the lane: `lane_cell` checked it.
        Some(unsafe { LaneBlock::new(cell, series as usize) })
    }

    /// As [`WriterMap::lane_block`], where the number of cells a series is known only at run time.
    #[must_use]
    pub fn shaped_block<T>(
        &'static self,
        first: u64,
        series: u64,
        shape: &'static CellShape<T>,
    ) -> Option<ShapedBlock<T>> {
        let cell = self.lane_cell(first, series, shape.cells() as u64)?;
        // SAFETY: `series >= 1`, and `series * shape.cells()` cells from `first` on end inside the lane: `lane_cell`
        // checked it.
        Some(unsafe { ShapedBlock::new(cell, series as usize, shape) })
    }

    /// The first of `series * cells` cells; `None` where there is no series or they are not all inside the lane.
    fn lane_cell(&'static self, first: u64, series: u64, cells: u64) -> Option<LaneCell> {
        let end = series.checked_mul(cells)?.checked_add(first)?.checked_mul(8)?;
        if end > self.lane_len as u64 || series == 0 {
            return None;
        }
        // SAFETY: `first * 8` is inside lane 0 (or at its end, where `cells` is 0), which is mapped.
        let pointer = unsafe { self.lanes.base.add(first as usize * 8) };
        // SAFETY: 8-byte aligned (a page plus a multiple of 8), in lane 0; `&'static self` exists only for a leaked
        // map, and `new` made `lane_count()` lanes `LANE_DISTANCE` apart, the first at a multiple of it.
        Some(unsafe { LaneCell::new(pointer.cast()) })
    }

    /// The lines of `series` series of the shared plane, by the byte offset of the first in the file; `None` where
    /// there is no series or they are not all before the lanes.
    #[must_use]
    pub fn shared_block(&'static self, offset: u64, series: u64) -> Option<SharedBlock> {
        let end = series.checked_mul(64)?.checked_add(offset)?;
        if end > self.main_len as u64 || !offset.is_multiple_of(8) || series == 0 {
            return None;
        }
        // SAFETY: `offset < main_len`, so the line is inside the main piece, which is mapped.
        let pointer = unsafe { self.main.base.add(offset as usize) };
        // SAFETY: all lines are inside the main piece (checked above), which `&'static self` keeps mapped for good.
        Some(unsafe { SharedBlock::new(pointer.cast(), series as usize) })
    }

    fn pieces(&self) -> impl Iterator<Item = (NonNull<u8>, usize)> + '_ {
        let lanes = (0..self.lane_count).map(|lane| {
            // SAFETY: the reservation holds `lane_count` lanes of `LANE_DISTANCE` bytes.
            (unsafe { self.lanes.base.add(lane * LANE_DISTANCE) }, self.lane_len)
        });
        std::iter::once((self.main.base, self.main_len)).chain(lanes)
    }
}

fn refused(needed: usize, errno: Errno) -> MapError {
    MapError::Refused { needed: needed as u64, source: errno.into() }
}

/// A reader's map of a whole region file: read-only, in file order.
#[derive(Debug)]
pub struct ReaderMap {
    map: memmap2::MmapRaw,
}

impl ReaderMap {
    /// Maps `len` bytes of a file, read-only. The caller has checked that the file is that long; if it is cut under
    /// the map, a load from a page that is gone raises SIGBUS, which the exporter guards against.
    ///
    /// # Errors
    /// What the kernel said; `InvalidInput` for an empty file.
    ///
    /// ```
    /// use std::io::Write;
    /// let mut file = tempfile::tempfile()?;
    /// file.write_all(&7u64.to_le_bytes())?;
    /// let map = tachograph_layout::ReaderMap::new(&file, 8)?;
    /// assert_eq!(map.view().load(0), Some(7));
    /// assert_eq!(map.view().load(8), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(file: &std::fs::File, len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        if len == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self { map: memmap2::MmapOptions::new().len(len).map_raw_read_only(file)? })
    }

    /// The addresses that the map takes, for a guard against the file being cut.
    #[must_use]
    pub fn addresses(&self) -> std::ops::Range<usize> {
        let start = self.map.as_ptr().addr();
        start..start + self.map.len()
    }

    /// The words of the file.
    #[must_use]
    pub fn view(&self) -> WordView<'_> {
        let base = NonNull::new(self.map.as_ptr().cast_mut()).unwrap_or(NonNull::dangling());
        // SAFETY: `MmapRaw` maps `len` bytes at `as_ptr()`, page-aligned and never null, until it is dropped, which
        // the view's lifetime forbids; nothing else in this process touches those bytes.
        unsafe { WordView::new(base, self.map.len()) }
    }
}
