//! What an operator chooses of the flight recorder.

use std::path::PathBuf;
use std::time::Duration;

/// How a recorder records.
///
/// ```
/// use tachograph_exporter::recording::RecorderConfig;
/// let config = RecorderConfig::new("/var/lib/tacho");
/// assert!(config.problems().is_empty());
/// assert_eq!(config.tiers[0].interval.as_secs(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderConfig {
    /// Where blocks and cases are kept.
    pub directory: PathBuf,
    /// What is kept how long, the finest first. Regions are sampled at the first one's interval.
    pub tiers: Vec<Tier>,
    /// Most bytes of blocks, as their file system counts them in units of 4 KiB.
    pub max_bytes: u64,
}

/// One sample each interval, kept for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// Time between two samples.
    pub interval: Duration,
    /// How long samples are kept, counted back from the newest.
    pub keep: Duration,
}

/// Shortest interval between two samples.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

/// Fewest bytes that a recorder may be limited to.
pub const FEWEST_BYTES: u64 = 1 << 20;

impl RecorderConfig {
    /// The default: each second for 30 minutes, each ten seconds for a day, within 256 MiB.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let tier = |interval, keep| Tier { interval: Duration::from_secs(interval), keep: Duration::from_secs(keep) };
        Self { directory: directory.into(), tiers: vec![tier(1, 30 * 60), tier(10, 24 * 3600)], max_bytes: 256 << 20 }
    }

    /// Everything that is wrong with it; empty where it can record.
    ///
    /// ```
    /// use tachograph_exporter::recording::RecorderConfig;
    /// let mut config = RecorderConfig::new("/var/lib/tacho");
    /// config.tiers[0].interval = std::time::Duration::from_millis(1);
    /// assert!(config.problems()[0].contains("50ms"));
    /// ```
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let Some(finest) = self.tiers.first() else {
            return vec!["--recorder.tiers: at least one tier is needed, such as 1s:30m".to_owned()];
        };
        if self.tiers.len() > 4 {
            problems.push(format!("--recorder.tiers: {} tiers, where 4 are enough", self.tiers.len()));
        }
        if finest.interval < SHORTEST_INTERVAL {
            let interval = finest.interval;
            problems.push(format!("--recorder.tiers: an interval of {interval:?} is too short; 50ms is the shortest"));
        }
        for tier in &self.tiers {
            let (interval, keep) = (tier.interval.as_nanos(), tier.keep);
            let finest = finest.interval.as_nanos().max(1);
            if interval % finest != 0 || interval % 1_000_000 != 0 {
                let interval = tier.interval;
                problems.push(format!(
                    "--recorder.tiers: {interval:?} is no whole number of the first tier's intervals and of milliseconds"
                ));
            }
            if keep < tier.interval {
                problems.push(format!("--recorder.tiers: {keep:?} is shorter than the interval {:?}", tier.interval));
            }
        }
        if !self.tiers.is_sorted_by(|a, b| a.interval < b.interval && a.keep <= b.keep) {
            problems.push("--recorder.tiers: finer ones first, and none kept longer than a coarser one".to_owned());
        }
        // One that is not there yet is made, and one that is gone for a while is waited for.
        let there = self.directory.ancestors().find_map(|path| Some((path, path.metadata().ok()?)));
        if let Some((path, _)) = there.filter(|(_, metadata)| !metadata.is_dir()) {
            let (directory, path) = (self.directory.display(), path.display());
            problems.push(format!(
                "--recorder.dir {directory}: {path} is no directory; name one, or a path where one can be made"
            ));
        }
        if self.max_bytes < FEWEST_BYTES {
            problems.push(format!("--recorder.max-bytes {}: at least {FEWEST_BYTES} are needed", self.max_bytes));
        }
        problems
    }
}

/// Reads a tier as it is written on a command line: `INTERVAL:KEEP`, such as `1s:30m`.
///
/// ```
/// use tachograph_exporter::recording::Tier;
/// let tier: Tier = "50ms:5m".parse().unwrap();
/// assert_eq!((tier.interval.as_millis(), tier.keep.as_secs()), (50, 300));
/// assert!("1s".parse::<Tier>().is_err());
/// ```
impl std::str::FromStr for Tier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no tier: give INTERVAL:KEEP, such as 1s:30m, 50ms:5m or 10s:24h");
        let span = |text: &str| -> Option<Duration> {
            let span: jiff::Span = text.parse().ok()?;
            let span = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
            Duration::try_from(span).ok().filter(|span| !span.is_zero())
        };
        let (interval, keep) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Self { interval: span(interval).ok_or_else(wrong)?, keep: span(keep).ok_or_else(wrong)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_where_no_directory_can_be_is_a_problem_and_one_that_is_still_to_be_made_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let problems = |path: PathBuf| RecorderConfig::new(path).problems();
        for there in [folder.path().to_owned(), folder.path().join("a/b"), "a/relative/one".into()] {
            assert_eq!(problems(there), [""; 0]);
        }
        for path in [file.clone(), file.join("below")] {
            let said = problems(path.clone()).remove(0);
            assert!(said.starts_with(&format!(
                "--recorder.dir {}: {} is no directory",
                path.display(),
                file.display()
            )));
        }
    }
}
