//! The builder: what a region is called, where it goes, how much it holds, and what becomes of one that is there.
//!
//! Only [`Builder::build`] and its two siblings touch anything; all else is remembered. Called by the application.

use std::path::PathBuf;
use std::time::Duration;

use tachograph_layout::{Geometry, LANE_HEADER_CELLS, Layout, MAX_LANES, SECTION_ALIGN, StrRef, fix_lane_count};

use crate::archive::Rules;
use crate::build_error::BuildError;
use crate::directory::Directory;
use crate::start::{self, Plan, Started};
use crate::{Metrics, Needs, Region, lane, process};

/// What becomes of a region that a dead process left under the same name.
///
/// ```
/// assert_eq!(tachograph::OnExisting::default(), tachograph::OnExisting::Archive);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnExisting {
    /// Move it to `archive/` beside it, with the time it was built and its uuid in the name; see
    /// [`Builder::keep_archived`] for how many are kept.
    #[default]
    Archive,
    /// Archive it, and continue its counters and histograms: a series that is registered with the name, kind, number, label
    /// names, label values and buckets that one of them had begins with that one's total and keeps its created time,
    /// whether that region was closed or left by a crash, whatever its capacities and lanes were, and in whatever order.
    ///
    /// Gauges, up-down counters, watermarks, infos and state sets begin anew: they tell of a process. What nothing
    /// registered matches is told once by the log and by [`Region::adopted`], and is kept in the region for the one that
    /// adopts it. Where what is there can't be continued (no region, another user's, another region's copy, damaged), it
    /// is archived, with a warning.
    Adopt,
    /// Fail with [`BuildError::Exists`], whether it was closed or left by a crash.
    Refuse,
}

/// Builds a [`Region`].
///
/// ```
/// use tachograph::Region;
/// let dir = tempfile::tempdir_in("/dev/shm")?;
/// let region = Region::builder("mc-0").dir(dir.path()).series(100).version("1.2.3").build()?;
/// assert_eq!(region.path(), Some(dir.path().join("mc-0.tacho").as_path()));
///
/// // Capacities by hand, for what is registered without a group, and other rules for what dies.
/// use std::time::Duration;
/// let builder = Region::builder("mc-1").dir(dir.path()).allow_disk_backed(false).keep_archived(8).archive_share(10);
/// let builder = builder.families(50).cells(2_000).shared(64).bounds(512).string_bytes(1 << 16).label_bytes(1 << 16);
/// let region = builder.headroom(50).lanes(24).tick(Duration::from_millis(500)).build()?;
/// assert_ne!(region.uuid(), [0; 16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    name: String,
    dir: Option<PathBuf>,
    allow_disk_backed: bool,
    lanes: Option<usize>,
    asked: Asked,
    needs: Option<Needs>,
    headroom: u32,
    version: String,
    tick: Duration,
    on_existing: OnExisting,
    rules: Rules,
    crash_hooks: bool,
}

/// Capacities that were set by hand.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    families: Option<u32>,
    series: Option<u32>,
    cells: Option<u32>,
    string_bytes: Option<u32>,
    label_bytes: Option<u32>,
    shared: Option<u32>,
    bounds: Option<u32>,
    activities: Option<u32>,
}

/// Shortest tick: below it housekeeping would cost what it should watch.
const SHORTEST_TICK: Duration = Duration::from_millis(10);

impl Builder {
    /// A builder with all defaults.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            dir: None,
            allow_disk_backed: false,
            lanes: None,
            asked: Asked::default(),
            needs: None,
            headroom: 25,
            version: String::new(),
            tick: Duration::from_secs(1),
            on_existing: OnExisting::default(),
            rules: Rules { files: 4, share: 25 },
            crash_hooks: false,
        }
    }

    /// The region directory. Without: `$TACHOGRAPH_DIR`, else `/run/tachograph` where it exists, is writable and is
    /// tmpfs, else `/dev/shm/tachograph-<uid>`, which is made where it is missing.
    ///
    /// It must belong to the user or to root and not be writable by others; a directory that its group may write must
    /// be setgid. It must be on tmpfs, and must not be a symbolic link.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Whether a directory on a disk file system will do. There a store into a page that is being written back can
    /// stall the thread that makes it; the default is to refuse.
    pub fn allow_disk_backed(mut self, allow: bool) -> Self {
        self.allow_disk_backed = allow;
        self
    }

    /// Lanes: how many threads write without sharing a cell, and one shared lane. The number is the process's: the
    /// first region that is built fixes it, and a later wish is only logged. Default: cores + 8, at least 16; at most
    /// 1,024.
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.lanes = Some(lanes);
        self
    }

    /// Families that the region holds.
    pub fn families(mut self, families: u32) -> Self {
        self.asked.families = Some(families);
        self
    }

    /// Series that the region holds.
    pub fn series(mut self, series: u32) -> Self {
        self.asked.series = Some(series);
        self
    }

    /// Cells that a lane holds: 1 a counter, 2 an up-down counter, 4 a watermark, one a bucket of a histogram.
    pub fn cells(mut self, cells: u32) -> Self {
        self.asked.cells = Some(cells);
        self
    }

    /// Bytes of names, help and labels that the region holds.
    pub fn string_bytes(mut self, bytes: u32) -> Self {
        self.asked.string_bytes = Some(bytes);
        self
    }

    /// Bytes of label areas that the region holds, for open label sets.
    pub fn label_bytes(mut self, bytes: u32) -> Self {
        self.asked.label_bytes = Some(bytes);
        self
    }

    /// Gauges and state sets that the region holds.
    pub fn shared(mut self, lines: u32) -> Self {
        self.asked.shared = Some(lines);
        self
    }

    /// Histogram bounds that the region holds.
    pub fn bounds(mut self, words: u32) -> Self {
        self.asked.bounds = Some(words);
        self
    }

    /// Activity slots that the region holds: how many actors have one at a time. Default 256, 256 bytes each. Those
    /// beyond are counted and mark nothing. [`Builder::fit`] does not know them: their number is the load's, not the
    /// program's.
    ///
    /// ```
    /// let region = tachograph::Region::builder("doc").activities(1).private()?;
    /// let first = region.activity("worker", "1", 0);
    /// let second = region.activity("worker", "2", 0);
    /// assert!(first.has_slot() && !second.has_slot());
    /// # Ok::<(), tachograph::BuildError>(())
    /// ```
    pub fn activities(mut self, slots: u32) -> Self {
        self.asked.activities = Some(slots);
        self
    }

    /// Sizes the region by what a group of metrics needs; called for several groups, by their sum. Headroom is added,
    /// and what fills a 64 KiB section of the file costs nothing and is added too. A capacity set by hand stands.
    ///
    /// ```
    /// #[derive(tachograph::Metrics)]
    /// #[metrics(prefix = "app")]
    /// struct AppMetrics {
    ///     /// Requests served.
    ///     served: tachograph::Counter,
    /// }
    /// let region = tachograph::Region::builder("test").fit::<AppMetrics>().private()?;
    /// let metrics = region.metrics::<AppMetrics>()?;
    /// metrics.served.inc();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fit<M: Metrics>(mut self) -> Self {
        *self.needs.get_or_insert_default() += M::needs();
        self
    }

    /// Percent that [`Builder::fit`] adds to what the groups need. Default 25.
    pub fn headroom(mut self, percent: u32) -> Self {
        self.headroom = percent;
        self
    }

    /// The application's own version, shown beside the region; at most 64 bytes of it are kept.
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Period of the heartbeat, at least 10 ms. Default 1 s. A heartbeat older than 5 periods is stale.
    pub fn tick(mut self, period: Duration) -> Self {
        self.tick = period.max(SHORTEST_TICK);
        self
    }

    /// What becomes of a region that a dead process left under the same name. Default [`OnExisting::Archive`].
    pub fn on_existing(mut self, on_existing: OnExisting) -> Self {
        self.on_existing = on_existing;
        self
    }

    /// Archived regions of this name that are kept, at least 1. Default 4.
    ///
    /// Crashes within ten minutes of each other are a burst, of which the first and the newest are kept. Orderly closed
    /// regions go before crashed ones, then the oldest burst; never the newest crash.
    pub fn keep_archived(mut self, files: usize) -> Self {
        self.rules.files = files.max(1);
        self
    }

    /// Percent of the file system that the archive of the whole directory may take, at most 100. Default 25.
    pub fn archive_share(mut self, percent: u8) -> Self {
        self.rules.share = percent.min(100);
        self
    }

    /// Whether the process leaves its last words in its regions: each panic (message, place, thread, frames; survived ones
    /// too), and the fatal signal that ends it (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS). Default: no.
    ///
    /// The hooks are the process's: once on, they stay, and write into every region that it has in use. They come before
    /// the panic hook and the signal handlers that are there, and call them; the process ends by the same signal, with the
    /// same message of std's, as without. What an application installs later comes before them, and should call them in
    /// turn. SIGTERM and its like are never touched. While nothing crashes the hooks cost nothing.
    ///
    /// A stack overflow is recorded in threads that have an alternate stack for signals: those that std starts, and `main`.
    ///
    /// ```
    /// let region = tachograph::Region::builder("doc").crash_hooks(true).private()?;
    /// let survived = std::panic::catch_unwind(|| panic!("told, then survived"));
    /// assert!(survived.is_err());
    /// # Ok::<(), tachograph::BuildError>(())
    /// ```
    pub fn crash_hooks(mut self, on: bool) -> Self {
        self.crash_hooks = on;
        self
    }

    /// Builds the region: a file of its full size, every page present, under the region's lock.
    ///
    /// # Errors
    /// [`BuildError`], naming what is wrong, where, and the remedy. Nothing half-made is left behind.
    pub fn build(self) -> Result<Region, BuildError> {
        let started = self.start()?;
        Ok(self.finish(started))
    }

    /// Builds the region, or one in private memory with a warning in the log where that fails: metrics must never be
    /// an outage. A name that is no region name is made one.
    ///
    /// # Panics
    /// Where the process has no address space left even for the smallest private region (64 MiB a lane are reserved,
    /// not used).
    ///
    /// ```
    /// let region = tachograph::Region::builder("mc-0").dir("/nowhere").build_or_private();
    /// assert!(region.is_private());
    /// ```
    #[must_use]
    pub fn build_or_private(self) -> Region {
        let error = match self.start() {
            Ok(started) => return self.finish(started),
            Err(error) => error,
        };
        start::warn_private(&self.name, &error);
        let mut fallback = self;
        fallback.name = usable_name(&fallback.name);
        if fallback.layout().is_err() {
            fallback.asked = Asked::default();
            fallback.needs = None;
        }
        match fallback.private() {
            Ok(region) => region,
            Err(error) => panic!("not even a private region: {}", crate::build_error::one_line(&error)),
        }
    }

    /// Builds the region in private memory, for tests: it has no file, and no other process sees it.
    ///
    /// # Errors
    /// [`BuildError`] where name or capacities are wrong or the kernel gives no memory.
    pub fn private(self) -> Result<Region, BuildError> {
        let started = self.plan()?.in_private_memory()?;
        Ok(self.attach(started))
    }

    fn start(&self) -> Result<Started, BuildError> {
        let plan = self.plan()?;
        let directory = Directory::choose(self.dir.as_deref(), self.allow_disk_backed)?;
        plan.in_directory(&directory, self.on_existing, self.rules)
    }

    fn finish(&self, started: Started) -> Region {
        start::log(&started);
        self.attach(started)
    }

    fn attach(&self, started: Started) -> Region {
        let region = Region::from_started(started);
        if self.crash_hooks {
            process::hook_crashes();
        }
        region
    }

    fn plan(&self) -> Result<Plan, BuildError> {
        if !is_usable_name(&self.name) {
            return Err(BuildError::Name { name: self.name.clone() });
        }
        Ok(Plan {
            name: self.name.clone(),
            version: self.version.clone(),
            tick: self.tick,
            layout: self.layout()?,
            largest: self.needs.as_ref().map(|needs| needs.largest.clone()).unwrap_or_default(),
        })
    }

    fn layout(&self) -> Result<Layout, BuildError> {
        let lanes = self.fix_lanes();
        let fitted = self.needs.as_ref().map_or_else(Geometry::default, |needs| fitted(needs, self.headroom));
        let asked = &self.asked;
        let geometry = Geometry {
            families: asked.families.unwrap_or(fitted.families),
            series: asked.series.unwrap_or(fitted.series),
            string_bytes: asked.string_bytes.unwrap_or(fitted.string_bytes),
            label_bytes: asked.label_bytes.unwrap_or(fitted.label_bytes),
            bounds: asked.bounds.unwrap_or(fitted.bounds),
            shared: asked.shared.unwrap_or(fitted.shared),
            cells: asked.cells.unwrap_or(fitted.cells),
            activities: asked.activities.unwrap_or(fitted.activities),
            lanes,
        };
        geometry.layout().map_err(|error| BuildError::Capacity { name: self.name.clone(), error })
    }

    /// Fixes the process's lanes, where this is the first region that is sized.
    fn fix_lanes(&self) -> u32 {
        let fixed = self.lanes.map_or_else(lane::default_count, fix_lane_count);
        if self.lanes.is_some_and(|lanes| lanes.clamp(1, MAX_LANES) != fixed) {
            tracing::warn!(
                region = self.name,
                asked = self.lanes,
                lanes = fixed,
                "the number of lanes is the process's and was fixed by its first region"
            );
        }
        fixed as u32
    }
}

/// A geometry for what is needed and headroom; whatever the 64 KiB that sections are made of hold beyond is given too.
fn fitted(needs: &Needs, headroom: u32) -> Geometry {
    let fill = |needed: u32, entry: u64, extra: u64| {
        let with_headroom = (u64::from(needed) * (100 + u64::from(headroom))).div_ceil(100).max(1);
        let bytes = (with_headroom + extra).saturating_mul(entry).next_multiple_of(SECTION_ALIGN);
        u32::try_from(bytes / entry - extra).unwrap_or(u32::MAX)
    };
    // What headroom alone would take beyond the most that a region holds must not fail the build.
    let most = |needed: u32, filled: u32, max: u32| filled.min(max).max(needed);
    let max_cells = (tachograph_layout::LANE_DISTANCE / 8 - LANE_HEADER_CELLS) as u32;
    Geometry {
        families: most(needs.families, fill(needs.families, 256, 0), 65_536),
        series: most(needs.series, fill(needs.series, 64, 0), 1 << 24),
        string_bytes: fill(needs.string_bytes, 1, 0),
        label_bytes: most(needs.label_bytes, fill(needs.label_bytes, 1, 0), u32::MAX - StrRef::MAX_LEN),
        bounds: most(needs.bounds, fill(needs.bounds, 8, 0), 1 << 24),
        shared: most(needs.shared, fill(needs.shared, 64, 0), 1 << 24),
        cells: most(needs.cells, fill(needs.cells, 8, LANE_HEADER_CELLS as u64), max_cells),
        ..Geometry::default()
    }
}

fn is_usable_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(is_name_byte)
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// A region name that resembles `name`.
fn usable_name(name: &str) -> String {
    let letter = |letter: char| if letter.is_ascii() && is_name_byte(letter as u8) { letter } else { '_' };
    let name: String = name.trim_start_matches('.').chars().take(64).map(letter).collect();
    if name.is_empty() { "private".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["mc-0", "A", "a.b_c-1", "-", &"x".repeat(64)] {
            assert!(is_usable_name(good), "{good}");
        }
        for bad in ["", ".x", "..", "a/b", "a b", "ä", "a\0", &"x".repeat(65)] {
            assert!(!is_usable_name(bad), "{bad}");
            assert!(is_usable_name(&usable_name(bad)), "{bad}");
        }
    }

    #[test]
    fn a_fit_fills_whole_sections() {
        let small = fitted(&Needs::default(), 25);
        assert_eq!((small.families, small.series, small.shared), (256, 1024, 1024));
        assert_eq!((small.cells, small.string_bytes, small.bounds), (8_176, 65_536, 8_192));
        let needs = Needs { series: 1000, cells: 8_176, ..Needs::default() };
        let none = fitted(&needs, 0);
        assert_eq!((none.series, none.cells), (1024, 8_176));
        let quarter = fitted(&needs, 25);
        assert_eq!((quarter.series, quarter.cells), (2048, 16_368));
    }

    #[test]
    fn headroom_alone_never_goes_beyond_what_a_region_holds() {
        let needs = Needs { families: 65_000, cells: 8_000_000, ..Needs::default() };
        let geometry = fitted(&needs, u32::MAX);
        assert_eq!((geometry.families, geometry.cells), (65_536, 8_388_592));
        let most = fitted(&Needs { label_bytes: 4 << 28, ..Needs::default() }, u32::MAX);
        assert!(most.label_bytes > 4 << 28 && Geometry { lanes: 1, ..most }.layout().is_ok());
        let too_many = fitted(&Needs { families: 70_000, ..Needs::default() }, 25);
        assert!(too_many.layout().is_err());
    }
}
