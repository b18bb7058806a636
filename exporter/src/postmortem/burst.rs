//! Bursts: the crashes of one name that follow each other within ten minutes. The archive keeps the first and the newest of
//! each, and a count of those between (`archive/.<name>.bursts`). Crashes of other names within seconds are told beside them.
//! Reads times and that file; decides nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::RegionInfo;
use crate::bursts;

/// Deaths at most this far apart belong together, in nanoseconds.
const APART_NS: u64 = 600 * 1_000_000_000;

/// The crashes around one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Burst {
    /// How many, those that are not kept any more too.
    pub deaths: u64,
    /// The first one: seconds since the Unix epoch.
    pub first_seconds: f64,
    /// The newest one.
    pub last_seconds: f64,
    /// Whether the report is on the first one, which tells the cause better than those that follow.
    pub is_first: bool,
    /// Where the first one that is kept is, if the report is on another.
    pub first_path: Option<String>,
}

/// Crashes of whatever names that follow each other within this are told together, in nanoseconds: one may have brought
/// down the others.
const TOGETHER_NS: u64 = 10 * 1_000_000_000;

/// Another region that crashed about the same time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Other {
    /// Its name.
    pub region: String,
    /// Where it is.
    pub path: String,
    /// Its end, as well as it is known: seconds since the Unix epoch.
    pub at_seconds: f64,
    /// Of what, in a few words.
    pub why: Option<String>,
}

/// The first of the crashes that belong with the newest: going back from it, those of a name that is among them within ten
/// minutes, and those of any name within ten seconds.
pub(crate) fn first_of_newest<'a>(crashes: impl IntoIterator<Item = &'a RegionInfo>) -> Option<&'a RegionInfo> {
    let mut sorted: Vec<&RegionInfo> = crashes.into_iter().collect();
    sorted.sort_by_key(|crash| std::cmp::Reverse(crash.ended_ns()));
    let mut first = *sorted.first()?;
    let mut names: HashMap<&str, u64> = HashMap::new();
    for crash in sorted {
        let at_ns = crash.ended_ns();
        let again = names.get(crash.name.as_str()).is_some_and(|next| next - at_ns <= APART_NS);
        if again || first.ended_ns() - at_ns <= TOGETHER_NS {
            first = crash;
            names.insert(&crash.name, at_ns);
        }
    }
    Some(first)
}

/// The crashes of other names that go together with this one, the first one first.
pub(crate) fn others<'a>(region: &RegionInfo, crashes: impl IntoIterator<Item = &'a RegionInfo>) -> Vec<Other> {
    let mut sorted: Vec<&RegionInfo> = crashes.into_iter().collect();
    sorted.sort_by_key(|crash| crash.ended_ns());
    let mut together = sorted.chunk_by(|one, next| next.ended_ns() - one.ended_ns() <= TOGETHER_NS);
    let group = together.find(|group| group.iter().any(|crash| crash.uuid == region.uuid)).unwrap_or_default();
    let other = |crash: &&RegionInfo| Other {
        region: crash.name.clone(),
        path: crash.path.display().to_string(),
        at_seconds: crash.ended_ns() as f64 / 1e9,
        why: crash.why(),
    };
    group.iter().filter(|crash| crash.name != region.name).map(other).collect()
}

/// The region directory that a region belongs to.
pub(crate) fn home(path: &Path, archived: bool) -> PathBuf {
    let above = |path: &Path| path.parent().map_or_else(PathBuf::new, Path::to_owned);
    let beside = above(path);
    if archived { above(&beside) } else { beside }
}

/// The crashes of one name that belong together, the first one first.
pub(crate) fn groups(mut crashes: Vec<RegionInfo>) -> Vec<Vec<RegionInfo>> {
    crashes.sort_by_key(RegionInfo::last_sign_ns);
    let mut groups: Vec<Vec<RegionInfo>> = Vec::new();
    for crash in crashes {
        let near = |last: &RegionInfo| crash.last_sign_ns() - last.last_sign_ns() <= APART_NS;
        match groups.last_mut().filter(|group| group.last().is_some_and(near)) {
            Some(group) => group.push(crash),
            None => groups.push(vec![crash]),
        }
    }
    groups
}

impl Burst {
    /// The burst of one crash among all of its name. `None` where it is alone.
    pub(crate) fn of(region: &RegionInfo, crashes: Vec<RegionInfo>) -> Option<Self> {
        let directory = home(&region.path, region.archived);
        let groups = groups(crashes);
        let group = groups.into_iter().find(|group| group.iter().any(|crash| crash.uuid == region.uuid))?;
        let (first, last) = (group.first()?, group.last()?);
        let (first_ns, last_ns) = (first.last_sign_ns(), last.last_sign_ns());
        // The book counts what was archived: one that is later, still in its place, comes on top.
        let in_place =
            |after: u64| group.iter().filter(|crash| !crash.archived && crash.last_sign_ns() > after).count();
        let noted = noted(&directory, &region.name, first_ns, last_ns);
        let noted = noted.map_or(0, |noted| noted.deaths.saturating_add(in_place(noted.last_ns) as u64));
        let deaths = noted.max(group.len() as u64);
        let is_first = first.uuid == region.uuid;
        (deaths > 1).then(|| Self {
            deaths,
            first_seconds: first_ns as f64 / 1e9,
            last_seconds: last_ns as f64 / 1e9,
            is_first,
            first_path: (!is_first).then(|| first.path.display().to_string()),
        })
    }
}

/// What the archive noted of a burst that overlaps this span.
fn noted(directory: &Path, name: &str, first_ns: u64, last_ns: u64) -> Option<tachograph_layout::retention::Burst> {
    // The archive's book; where that can't be used, the application keeps it beside its regions.
    let books = [directory.join("archive"), directory.to_owned()].map(|place| bursts::read(&place, name));
    let near = books.into_iter().flatten().filter(|burst| burst.from_ns <= last_ns && first_ns <= burst.last_ns);
    near.max_by_key(|burst| burst.deaths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crash(minute: u64) -> RegionInfo {
        RegionInfo { tick_realtime_ns: minute * 60_000_000_000, uuid: [minute as u8; 16], ..RegionInfo::default() }
    }

    #[test]
    fn ten_minutes_apart_is_another_burst() {
        let groups = groups([25, 0, 10, 14].map(crash).to_vec());
        let minutes: Vec<Vec<u64>> = groups
            .iter()
            .map(|group| group.iter().map(|crash| crash.tick_realtime_ns / 60_000_000_000).collect())
            .collect();
        assert_eq!(minutes, [vec![0, 10, 14], vec![25]]);
    }

    fn named(name: &str, second: u64) -> RegionInfo {
        let uuid = [name.len() as u8 ^ second as u8; 16];
        RegionInfo { name: name.into(), tick_realtime_ns: second * 1_000_000_000, uuid, ..RegionInfo::default() }
    }

    #[test]
    fn of_names_that_crash_together_the_first_one_is_the_first() {
        let crashes = [named("c", 1_004), named("a", 1_000), named("b", 1_002), named("a", 700), named("d", 680)];
        let first = first_of_newest(&crashes).unwrap();
        assert_eq!((first.name.as_str(), first.tick_realtime_ns), ("a", 700_000_000_000), "its name crashed before");
        let names = |region: &RegionInfo| -> Vec<String> {
            others(region, &crashes).into_iter().map(|other| other.region).collect()
        };
        assert_eq!(names(&crashes[1]), ["b", "c"]);
        assert_eq!(names(&crashes[0]), ["a", "b"]);
        assert!(names(&crashes[3]).is_empty() && first_of_newest(&[]).is_none());
    }

    #[test]
    fn a_burst_tells_whether_this_is_its_first() {
        let crashes = || [0, 5].map(crash).to_vec();
        let first = Burst::of(&crash(0), crashes()).unwrap();
        assert!(first.is_first && first.deaths == 2 && first.first_path.is_none());
        assert!(!Burst::of(&crash(5), crashes()).unwrap().is_first);
        assert_eq!(Burst::of(&crash(0), vec![crash(0)]), None);
    }

    #[test]
    fn what_the_archive_dropped_is_counted_and_the_one_in_its_place_too() {
        let place = tempfile::tempdir().unwrap();
        let archive = place.path().join("archive");
        std::fs::create_dir(&archive).unwrap();
        std::fs::write(archive.join(".mc.bursts"), format!("mc.a.tacho {} 49 0\n", 4 * 60_000_000_000_u64)).unwrap();
        let of = |minute, archived, path: &Path| RegionInfo {
            name: "mc".into(),
            archived,
            path: path.join("mc.tacho"),
            ..crash(minute)
        };
        let crashes = || vec![of(0, true, &archive), of(4, true, &archive), of(5, false, place.path())];
        assert_eq!(Burst::of(&crashes()[2], crashes()).unwrap().deaths, 50);
        assert_eq!(Burst::of(&crashes()[0], crashes()).unwrap().deaths, 50);
        assert_eq!(Burst::of(&crashes()[0], crashes()[..2].to_vec()).unwrap().deaths, 49);
    }
}
