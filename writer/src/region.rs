//! The region as its application holds it: built or private, where families are registered (`region/families.rs`), and
//! what is closed at the end.

mod families;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::time::ClockId;
use tachograph_layout::{Control, RegionState, SectionKind, publish};

use crate::fail_point::FailPoint;
use crate::marks::Marks;
use crate::process::{self, Attached};
use crate::register::Registry;
use crate::start::Started;
use crate::{Adopted, BuildError, Builder, housekeeping};

/// One shared-memory file and the right to write it. Cheap to clone; all clones are the same region.
///
/// The mapping lives as long as the process, so handles stay good whatever happens to the `Region`. When the last clone
/// is dropped, the region is closed as by [`Region::close`]; during a panic's unwinding it is marked unwound instead.
///
/// ```
/// let region = tachograph::Region::private("doc")?;
/// let served = region.counter("app_served_total", "Requests served")?;
/// let again = region.counter("app_served_total", "Requests served")?;
/// served.inc();
/// assert_eq!(again.get(), 1); // same name, same cells
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Region(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    attached: &'static Attached,
    registry: Mutex<Registry>,
    marks: &'static Marks,
    path: Option<PathBuf>,
    uuid: [u8; 16],
}

impl Region {
    /// Starts building a region by its name: 1 to 64 of `A-Za-z0-9._-`, not starting with a dot. Names are for slots,
    /// not for processes (`mc-0`, never a pid): the next process of the same name takes the region over.
    ///
    /// ```no_run
    /// let region = tachograph::Region::builder("mc-0").version("1.4.2").build()?;
    /// println!("{}", region.path().unwrap().display());
    /// # Ok::<(), tachograph::BuildError>(())
    /// ```
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name)
    }

    /// A small region in private memory that no reader can see: for tests.
    ///
    /// # Errors
    /// [`BuildError`] for a bad name, or where there is no memory.
    ///
    /// ```
    /// let region = tachograph::Region::private("test")?;
    /// assert!(region.is_private());
    /// # Ok::<(), tachograph::BuildError>(())
    /// ```
    pub fn private(name: impl Into<String>) -> Result<Self, BuildError> {
        Self::builder(name).private()
    }

    pub(crate) fn from_started(started: Started) -> Self {
        let (starting, lock) = started.lock.map(|lock| (lock.starting, lock.fd)).unzip();
        let crash = started.layout.section(SectionKind::Crash);
        let attached = Attached::new(&started.name, started.map, crash, started.tick, lock, started.file);
        let attached = process::attach(attached);
        if let Some(adoption) = started.adoption {
            let _ = attached.adoption.set(adoption);
        }
        // In the list, the lock's descriptor is closed in a forked child by that.
        drop(starting);
        FailPoint::RegionAttached.pass();
        housekeeping::watch(attached);
        let marks = Marks::new(attached, &started.layout);
        let registry = Mutex::new(Registry::new(attached, started.layout));
        Self(Arc::new(Inner { attached, registry, marks, path: started.path, uuid: started.uuid }))
    }

    /// The region as its process knows it.
    #[cfg(feature = "metrics")]
    pub(crate) fn attached(&self) -> &'static Attached {
        self.0.attached
    }

    /// The region, without being one of those that keep it open.
    #[cfg(feature = "metrics")]
    pub(crate) fn downgrade(&self) -> WeakRegion {
        WeakRegion(Arc::downgrade(&self.0))
    }

    /// The region's activities, pulses and notes.
    pub(crate) fn marks(&self) -> &'static Marks {
        self.0.marks
    }

    /// What `act` does under the mutex of registration; `None`, and nothing done, where the region has ended.
    pub(crate) fn with_registry<T>(&self, act: impl FnOnce(&mut Registry) -> T) -> Option<T> {
        // As in `create`.
        if self.0.attached.ended.load(Relaxed) {
            return None;
        }
        Some(act(&mut self.0.registry.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The region's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.attached.name
    }

    /// Where the region's file is; `None` for a private region.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The region's unique id, new for each region ever built.
    #[must_use]
    pub fn uuid(&self) -> [u8; 16] {
        self.0.uuid
    }

    /// What became of the totals of the region before, where this one was built with [`crate::OnExisting::Adopt`] and
    /// continues it. What nothing matched is told by the log, too: ten ticks after the last registration, or at the end.
    #[must_use]
    pub fn adopted(&self) -> Option<Adopted> {
        self.0.attached.adoption.get().map(|adoption| adoption.adopted())
    }

    /// Whether the region is in private memory, where no reader can see it.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.0.path.is_none()
    }

    /// Closes the region in an orderly way: readers say `closed`, and the name is free for another region.
    ///
    /// Handles stay good and write into the closed region; registering in it is an error. The file stays for readers
    /// until the next start of the same name archives it.
    ///
    /// ```
    /// let region = tachograph::Region::private("doc")?;
    /// let clone = region.clone();
    /// region.close();
    /// assert!(clone.counter("app_late_total", "Too late").is_err());
    /// # Ok::<(), tachograph::BuildError>(())
    /// ```
    pub fn close(self) {
        self.0.end(RegionState::Closed);
    }
}

/// A region that is closed when its other holders drop it.
#[cfg(feature = "metrics")]
#[derive(Debug, Clone)]
pub(crate) struct WeakRegion(std::sync::Weak<Inner>);

#[cfg(feature = "metrics")]
impl WeakRegion {
    /// The region, where somebody holds it still.
    pub(crate) fn upgrade(&self) -> Option<Region> {
        self.0.upgrade().map(Region)
    }
}

impl Inner {
    fn end(&self, state: RegionState) {
        // In a forked child the region has ended long since, and its parent's file is out of reach.
        if self.attached.ended.swap(true, Relaxed) {
            return;
        }
        if let Some(adoption) = self.attached.adoption.get() {
            adoption.say();
        }
        FailPoint::CloseBegun.pass();
        let now = housekeeping::clock_ns(ClockId::Realtime);
        // SYNC(region-live): the last word of this region; a reader that finds it finds every value before it.
        let word = |word: usize| {
            if word == 0 {
                FailPoint::CloseTimed.pass();
            }
            Some(self.attached.control(Control::STATE + word as u64 * 8))
        };
        publish(word, &[state.to_wire(), now]);
        FailPoint::CloseStored.pass();
        self.attached.release();
        FailPoint::LockReleased.pass();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let unwinding = std::thread::panicking();
        self.end(if unwinding { RegionState::Unwound } else { RegionState::Closed });
    }
}
