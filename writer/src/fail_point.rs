//! The named places between two steps of a region's life at which a killed process leaves a state of its own.
//!
//! They are passed where a region is started, registered in, archived and closed; never where a value is written. Only
//! the feature `fail-points`, which nothing but the project's own torture turns on, makes anything of them: there a test
//! arms one by [`FailPoint::on_pass`]. In any other build [`FailPoint::pass`] is an empty function and the names are not
//! in the program. The list below is the only one: tests run through [`FailPoint::ALL`].

macro_rules! fail_points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)+) => {
        /// A place in the writer at which a test may end the process.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum FailPoint {
            $($(#[$doc])* $point,)+
        }

        #[cfg(feature = "fail-points")]
        impl FailPoint {
            /// Every one, in the order in which a start, a registration and a close pass them.
            pub const ALL: &[Self] = &[$(Self::$point),+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

fail_points! {
    /// The lock file is there and open, not locked yet.
    LockOpened = "lock-opened",
    /// The lock is held.
    LockTaken = "lock-taken",
    /// The archive directory was made; its mode may lack bits.
    ArchiveMade = "archive-made",
    /// The dead region is about to be renamed into the archive.
    ArchiveMoving = "archive-moving",
    /// What was kept beside the archive is about to be renamed into it.
    Gathering = "gathering",
    /// What was kept beside the archive is in it.
    Gathered = "gathered",
    /// The archive is of no use: the dead region is about to be renamed to a hidden name beside it.
    BesideMoving = "beside-moving",
    /// The dead region is in the archive or beside it, and its name is free.
    ArchiveMoved = "archive-moved",
    /// The count of a burst is written to a file that has not its name yet.
    BurstsWritten = "bursts-written",
    /// The count of a burst is in its place; nothing was dropped yet.
    BurstsNamed = "bursts-named",
    /// There is no burst to remember: its file is removed.
    BurstsRemoved = "bursts-removed",
    /// Retention is about to drop an archived file.
    RetentionDropping = "retention-dropping",
    /// Retention dropped an archived file.
    RetentionDropped = "retention-dropped",
    /// The region that is to be continued was read.
    PredecessorRead = "predecessor-read",
    /// The totals of the region that has to go are written to a file that has not its name yet.
    TotalsWritten = "totals-written",
    /// The totals of the region that has to go are in their place.
    TotalsKept = "totals-kept",
    /// Totals that were put aside are removed: a region has the name that holds them.
    TotalsRemoved = "totals-removed",
    /// Temporary files of starts that were cut off are gone.
    StaleRemoved = "stale-removed",
    /// The file system is full: archived evidence is about to be dropped for the new region.
    RoomDropping = "room-dropping",
    /// The file system was full: archived evidence was dropped for the new region.
    RoomDropped = "room-dropped",
    /// The temporary file is there, empty.
    TemporaryMade = "temporary-made",
    /// The temporary file has its length.
    TemporarySized = "temporary-sized",
    /// Every page of the temporary file is there.
    TemporaryPopulated = "temporary-populated",
    /// All totals of the predecessor are in the section of carried families.
    CarriedStored = "carried-stored",
    /// Header and control words are filled in; the state says that it is being built.
    HeaderFilled = "header-filled",
    /// The state says that the region is live; the file has not its name yet.
    StateLive = "state-live",
    /// The temporary file is read-only.
    TemporaryProtected = "temporary-protected",
    /// The archive is of no use: the predecessor is about to have a hidden name beside it too.
    BesideLinking = "beside-linking",
    /// The predecessor has its name in the archive or beside it, and still the region's.
    PredecessorLinked = "predecessor-linked",
    /// The region has its name.
    RegionNamed = "region-named",
    /// The region is in the process's list: forks know of it.
    RegionAttached = "region-attached",
    /// The strings of a family are stored.
    StringsStored = "strings-stored",
    /// The marks of strings and cells in use are raised.
    MarksStored = "marks-stored",
    /// The total that a series continues is in its cells; the series is not published.
    TotalStored = "total-stored",
    /// A series that continues a total is published; the total is not marked as taken.
    TotalPublished = "total-published",
    /// The total is marked as taken.
    TotalMarked = "total-marked",
    /// The record of a family is published.
    FamilyStored = "family-stored",
    /// The mark of families in use is raised.
    FamiliesUsed = "families-used",
    /// One more series of a family is published.
    SeriesStored = "series-stored",
    /// The mark of series in use is raised: the registration is complete.
    SeriesUsed = "series-used",
    /// The region is being closed: nothing registers in it any more.
    CloseBegun = "close-begun",
    /// The time of the close is stored; the state says that the region is live.
    CloseTimed = "close-timed",
    /// The state says that the region is closed; the lock is held.
    CloseStored = "close-stored",
    /// The lock is let go.
    LockReleased = "lock-released",
}

impl FailPoint {
    /// Passes the place.
    #[inline(always)]
    pub(crate) fn pass(self) {
        #[cfg(feature = "fail-points")]
        fail::fail_point!(self.name());
    }
}

#[cfg(feature = "fail-points")]
impl FailPoint {
    /// The one of a name.
    ///
    /// ```
    /// use tachograph::fail_point::FailPoint;
    /// assert_eq!(FailPoint::named("lock-taken"), Some(FailPoint::LockTaken));
    /// assert!(FailPoint::ALL.contains(&FailPoint::LockTaken));
    /// ```
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|point| point.name() == name)
    }

    /// Calls `action` in every thread that passes the place from now on, before it goes on; replaces what was there.
    ///
    /// # Errors
    /// What the `fail` crate says where it does not take the name; never in practice.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use tachograph::{Region, fail_point::FailPoint};
    /// static SERIES: AtomicU32 = AtomicU32::new(0);
    /// FailPoint::SeriesStored.on_pass(|| { SERIES.fetch_add(1, Ordering::Relaxed); })?;
    /// let region = Region::private("doc")?;
    /// region.counter("app_served_total", "Requests served")?;
    /// assert_eq!(SERIES.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_pass(self, action: impl Fn() + Send + Sync + 'static) -> Result<(), String> {
        fail::cfg_callback(self.name(), action)
    }
}
