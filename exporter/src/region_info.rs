//! Facts about a region and its writer, beside its values: what the listing, the API and every report tell of it.
//!
//! Plain data that borrows nothing. `reader/info.rs` takes it from a map, `recording/` from a recording.

use std::path::PathBuf;

use serde::{Serialize, Serializer};
use tachograph_layout::RegionState;

use crate::Verdict;
use crate::cause::Cause;
use crate::promise::Promise;

/// How much of a capacity is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Usage {
    /// Used; never more than `capacity`, whatever the file says.
    pub used: u64,
    /// What the region holds at most.
    pub capacity: u64,
}

/// What of a region is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Capacity {
    /// Series slots.
    pub series: Usage,
    /// Families.
    pub families: Usage,
    /// Cells of a lane, the lane's header cells included.
    pub cells: Usage,
    /// Bytes of strings.
    pub strings: Usage,
    /// Bytes of the label areas of open families.
    pub label_areas: Usage,
    /// Words of histogram bounds.
    pub bounds: Usage,
    /// Lines of the shared plane.
    pub shared: Usage,
    /// Lanes ever used, the shared lane 0 included.
    pub lanes: Usage,
}

/// All facts about a region and its writer. Serializes as `ls --json` and the API show them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RegionInfo {
    /// The region's name.
    pub name: String,
    /// Where its file was opened.
    #[serde(serialize_with = "path")]
    pub path: PathBuf,
    /// Its own id; serialized as 32 hexadecimal digits.
    #[serde(serialize_with = "hex")]
    pub uuid: [u8; 16],
    /// What became of its writer.
    pub verdict: Verdict,
    /// Why the writer ended; `None` unless it crashed.
    pub cause: Option<Cause>,
    /// Name of the fatal signal, where that is the cause: `SIGSEGV`. `None` also where its record is unfinished.
    pub signal: Option<String>,
    /// The promises that a hung writer broke.
    pub broken_promises: Vec<Promise>,
    /// Of a copy out of a case that was written while the writer lived: running or hung, as it was then.
    pub copied_as: Option<Verdict>,
    /// When that was: nanoseconds since the Unix epoch; 0 where [`Self::copied_as`] is `None`.
    pub copied_realtime_ns: u64,
    /// Writer's process id, in its own pid namespace.
    pub pid: u32,
    /// Inode of the writer's pid namespace.
    pub pid_namespace: u64,
    /// Writer's start, in clock ticks since boot.
    pub process_start_ticks: u64,
    /// Clock ticks a second.
    pub ticks_per_second: u32,
    /// Boot that the region was written in; serialized as 32 hexadecimal digits.
    #[serde(serialize_with = "hex")]
    pub boot_id: [u8; 16],
    /// When it was built: nanoseconds since the Unix epoch.
    pub created_realtime_ns: u64,
    /// When it was built, on the monotonic clock.
    pub created_monotonic_ns: u64,
    /// Period of the housekeeping tick in nanoseconds.
    pub tick_period_ns: u64,
    /// Ticks so far.
    pub ticks: u64,
    /// When the last tick was, on the monotonic clock.
    pub tick_monotonic_ns: u64,
    /// When the last tick was: nanoseconds since the Unix epoch.
    pub tick_realtime_ns: u64,
    /// The region's own word on its state; `None` where it is no known state.
    #[serde(serialize_with = "state")]
    pub state: Option<RegionState>,
    /// When that state was stored: nanoseconds since the Unix epoch.
    pub state_realtime_ns: u64,
    /// When the signal that the writer died of was recorded: nanoseconds since the Unix epoch; 0 where none was.
    pub fatal_realtime_ns: u64,
    /// Path of the writer's executable.
    pub exe: String,
    /// Host name.
    pub host: String,
    /// The application's version.
    pub version: String,
    /// The executable's build id, in hexadecimal.
    pub build_id: String,
    /// The region whose counters it continues; zero where none. That one's totals are in this one, now or once its process
    /// registers them: who adds regions up must not count both.
    #[serde(serialize_with = "hex")]
    pub predecessor: [u8; 16],
    /// How often its lineage was restarted with counters continued.
    pub restarts: u64,
    /// What is used of what it holds.
    pub capacity: Capacity,
    /// The writer's pages can't be swapped out.
    pub memory_locked: bool,
    /// Threads that found no free lane.
    pub lane_overflows: u64,
    /// Registrations refused.
    pub registrations_dropped: u64,
    /// Label sets that went to an overflow series.
    pub label_overflows: u64,
    /// Observations dropped (NaN, or negative where that has no meaning).
    pub dropped_observations: u64,
    /// Panics that the writer's crash hooks saw, of a living writer all of them survived; 0 without hooks, and in a
    /// recording.
    pub panics: u64,
    /// The file lost its name under its writer.
    pub unlinked: bool,
    /// Length of the file.
    pub file_len: u64,
    /// The file stands in an `archive` directory.
    pub archived: bool,
}

impl RegionInfo {
    /// Why the verdict is what it is, in a few words: the signal or cause of a crash, the first broken promise; of a
    /// living writer without one how many panics it survived, where there were any.
    ///
    /// ```
    /// use tachograph_exporter::{RegionInfo, Verdict, cause::Cause};
    /// let killed = RegionInfo { cause: Some(Cause::Killed), ..RegionInfo::default() };
    /// assert_eq!(killed.why().as_deref(), Some("killed"));
    /// let signal = RegionInfo { cause: Some(Cause::Signal), signal: Some("SIGBUS".into()), ..killed };
    /// assert_eq!(signal.why().as_deref(), Some("SIGBUS"));
    /// let running = RegionInfo { verdict: Verdict::Running, ..RegionInfo::default() };
    /// assert_eq!(running.why(), None);
    /// assert_eq!(RegionInfo { panics: 2, ..running }.why().as_deref(), Some("survived 2 panics"));
    /// ```
    #[must_use]
    pub fn why(&self) -> Option<String> {
        if let Some(promise) = self.broken_promises.first() {
            return Some(promise.to_string());
        }
        match self.panics {
            1 if self.verdict.is_alive() => return Some("survived a panic".to_owned()),
            2.. if self.verdict.is_alive() => return Some(format!("survived {} panics", self.panics)),
            _ => {}
        }
        self.signal.clone().or_else(|| self.cause.map(|cause| cause.to_string()))
    }

    /// How long the writer lived so far, in nanoseconds, by the wall clock: until `now_realtime_ns` for a living one,
    /// until its end, as far as that is known, otherwise.
    ///
    /// ```
    /// use tachograph_exporter::{RegionInfo, Verdict};
    /// let dead = RegionInfo { created_realtime_ns: 10, tick_realtime_ns: 25, ..RegionInfo::default() };
    /// assert_eq!(dead.uptime_ns(100), 15);
    /// let alive = RegionInfo { verdict: Verdict::Running, ..dead };
    /// assert_eq!(alive.uptime_ns(100), 90);
    /// ```
    #[must_use]
    pub const fn uptime_ns(&self, now_realtime_ns: u64) -> u64 {
        self.at_ns(now_realtime_ns).saturating_sub(self.created_realtime_ns)
    }

    /// The moment that its values are of, in nanoseconds since the Unix epoch: now for a living writer's, else
    /// [`Self::ended_ns`].
    ///
    /// ```
    /// use tachograph_exporter::{RegionInfo, Verdict};
    /// let dead = RegionInfo { tick_realtime_ns: 25, verdict: Verdict::Crashed, ..RegionInfo::default() };
    /// assert_eq!(dead.at_ns(100), 25);
    /// ```
    #[must_use]
    pub const fn at_ns(&self, now_realtime_ns: u64) -> u64 {
        if self.verdict.is_alive() { now_realtime_ns } else { self.ended_ns() }
    }

    /// When the writer last gave a sign of life (built, ticked or changed state): nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn last_sign_ns(&self) -> u64 {
        let mut last = self.created_realtime_ns;
        if self.tick_realtime_ns > last {
            last = self.tick_realtime_ns;
        }
        if self.state_realtime_ns > last {
            last = self.state_realtime_ns;
        }
        last
    }

    /// The best-known end of the writer, in nanoseconds since the Unix epoch: of a case of a living one, when it was
    /// written; else when it closed, exited or unwound, or when its fatal signal was recorded; else the last sign of life,
    /// at or shortly after which it ended ([`Self::ended_exactly`]).
    ///
    /// ```
    /// use tachograph_exporter::{RegionInfo, Verdict};
    /// let killed = RegionInfo { verdict: Verdict::Crashed, tick_realtime_ns: 25, ..RegionInfo::default() };
    /// assert_eq!((killed.ended_ns(), killed.ended_exactly()), (25, false));
    /// let signal = RegionInfo { fatal_realtime_ns: 31, ..killed };
    /// assert_eq!((signal.ended_ns(), signal.ended_exactly()), (31, true));
    /// ```
    #[must_use]
    pub const fn ended_ns(&self) -> u64 {
        match self.exact_end_ns() {
            Some(end) => end,
            None => self.last_sign_ns(),
        }
    }

    /// Whether the moment of [`Self::ended_ns`] was noted as it came.
    #[must_use]
    pub const fn ended_exactly(&self) -> bool {
        self.exact_end_ns().is_some()
    }

    const fn exact_end_ns(&self) -> Option<u64> {
        if self.copied_realtime_ns > 0 {
            return Some(self.copied_realtime_ns);
        }
        match self.state {
            // It outlived the signal.
            Some(RegionState::Closed) => {}
            _ if self.fatal_realtime_ns > 0 => return Some(self.fatal_realtime_ns),
            Some(RegionState::Unwound | RegionState::Exited) => {}
            _ => return None,
        }
        // A time that is older than the region was stored by nobody.
        if self.state_realtime_ns >= self.created_realtime_ns { Some(self.state_realtime_ns) } else { None }
    }
}

fn path<S: Serializer>(path: &std::path::Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

fn hex<S: Serializer>(bytes: &[u8; 16], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{:032x}", u128::from_be_bytes(*bytes)))
}

fn state<S: Serializer>(state: &Option<RegionState>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match state {
        Some(RegionState::Building) => "building",
        Some(RegionState::Live) => "live",
        Some(RegionState::Closed) => "closed",
        Some(RegionState::Unwound) => "unwound",
        Some(RegionState::Exited) => "exited",
        None => "unknown",
    })
}
