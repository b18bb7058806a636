//! Which archived regions are kept: arithmetic over a list of deaths, no file is touched here.
//!
//! Deaths of one region within ten minutes of the one before are a burst (a crash loop). Of a burst the first and the
//! newest are kept and the deaths counted; since the files between them go, what they said of the burst (its last
//! death, its count) stands in the [`Burst`] of the next time. Orderly closed regions are no deaths: they go first.
//! Never chosen: the region just archived, and what died later than it.

/// Deaths at most this far apart belong together.
const BURST_NS: u64 = 600 * 1_000_000_000;

/// One archived region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Death {
    /// Its file in the archive.
    pub(super) file: String,
    /// The region's name.
    pub(super) region: String,
    /// Last sign of life: nanoseconds since the Unix epoch.
    pub(super) died_ns: u64,
    /// Whether it was closed in an orderly way.
    pub(super) closed: bool,
    /// Bytes that it takes.
    pub(super) bytes: u64,
}

/// What is remembered of a burst, by the file of its first kept member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Burst {
    /// File of its first member.
    pub(super) first: String,
    /// Its last death: nanoseconds since the Unix epoch.
    pub(super) last_ns: u64,
    /// How many deaths it had.
    pub(super) deaths: u64,
}

/// The rules of one start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits<'a> {
    /// The region that starts: only its own files are counted against `files`.
    pub(super) region: &'a str,
    /// The file just archived.
    pub(super) just: &'a str,
    /// Most files of the region.
    pub(super) files: usize,
    /// Most bytes of the whole archive; `None` without limit.
    pub(super) bytes: Option<u64>,
}

/// What to drop, and the bursts of the region to remember.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) drop: Vec<String>,
    pub(super) bursts: Vec<Burst>,
}

/// A burst with the members that are still there, oldest first.
struct Group<'a> {
    members: Vec<&'a Death>,
    last_ns: u64,
    deaths: u64,
}

/// Applies the rules.
pub(super) fn plan(deaths: &[Death], remembered: &[Burst], limits: Limits<'_>) -> Plan {
    let just_died = deaths.iter().find(|death| death.file == limits.just).map_or(0, |death| death.died_ns);
    let protected = |death: &Death| death.file == limits.just || death.died_ns > just_died;
    let mut plan = Plan::default();

    let mut groups = groups(deaths.iter().filter(|death| death.region == limits.region), remembered);
    for group in &mut groups {
        let last = group.members.len().saturating_sub(1);
        let mut index = 0;
        group.members.retain(|death| {
            let kept = index == 0 || index == last || protected(death);
            index += 1;
            if !kept {
                plan.drop.push(death.file.clone());
            }
            kept
        });
    }

    let own = |death: &&Death| death.region == limits.region;
    let mut count = deaths.iter().filter(own).count() - plan.drop.len();
    for victim in order(deaths.iter().filter(own), remembered) {
        if count <= limits.files {
            break;
        }
        if !protected(victim) && !plan.drop.contains(&victim.file) {
            plan.drop.push(victim.file.clone());
            count -= 1;
        }
    }

    if let Some(limit) = limits.bytes {
        let kept = deaths.iter().filter(|death| !plan.drop.contains(&death.file));
        let mut bytes = kept.fold(0u64, |bytes, death| bytes.saturating_add(death.bytes));
        for victim in order(deaths.iter(), remembered) {
            if bytes <= limit {
                break;
            }
            if !protected(victim) && !plan.drop.contains(&victim.file) {
                plan.drop.push(victim.file.clone());
                bytes = bytes.saturating_sub(victim.bytes);
            }
        }
    }

    plan.bursts = groups
        .into_iter()
        .filter_map(|group| {
            let first = group.members.iter().find(|death| !plan.drop.contains(&death.file))?;
            Some(Burst { first: first.file.clone(), last_ns: group.last_ns, deaths: group.deaths })
        })
        .collect();
    plan
}

/// The files in the order in which they may go: closed ones first, then burst by burst, in each the first one last.
pub(super) fn order<'a>(deaths: impl Iterator<Item = &'a Death>, remembered: &[Burst]) -> Vec<&'a Death> {
    let (mut closed, crashed): (Vec<_>, Vec<_>) = deaths.partition(|death| death.closed);
    closed.sort_by_key(|death| death.died_ns);
    let mut groups = groups(crashed.into_iter(), remembered);
    groups.sort_by_key(|group| group.last_ns);
    closed.extend(groups.into_iter().flat_map(|group| group.members.into_iter().rev()));
    closed
}

/// The bursts of crashed regions, each region's in order of time.
fn groups<'a>(deaths: impl Iterator<Item = &'a Death>, remembered: &[Burst]) -> Vec<Group<'a>> {
    let mut crashed: Vec<_> = deaths.filter(|death| !death.closed).collect();
    crashed
        .sort_by(|one, other| (&one.region, one.died_ns, &one.file).cmp(&(&other.region, other.died_ns, &other.file)));
    let mut groups: Vec<Group<'_>> = Vec::new();
    for death in crashed {
        let same_burst = |group: &&mut Group<'_>| {
            let same_region = group.members.first().is_some_and(|first| first.region == death.region);
            same_region && death.died_ns <= group.last_ns.saturating_add(BURST_NS)
        };
        match groups.last_mut().filter(same_burst) {
            Some(group) => {
                if death.died_ns > group.last_ns || group.deaths < group.members.len() as u64 + 1 {
                    group.deaths += 1;
                }
                group.last_ns = group.last_ns.max(death.died_ns);
                group.members.push(death);
            }
            None => {
                let known = remembered.iter().find(|burst| burst.first == death.file);
                groups.push(Group {
                    members: vec![death],
                    last_ns: known.map_or(death.died_ns, |burst| burst.last_ns.max(death.died_ns)),
                    deaths: known.map_or(1, |burst| burst.deaths.max(1)),
                });
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    fn death(region: &str, minute: u64) -> Death {
        Death {
            file: format!("{region}.{minute}"),
            region: region.to_owned(),
            died_ns: 1_000_000 * MINUTE + minute * MINUTE,
            closed: false,
            bytes: 100,
        }
    }

    fn closed(region: &str, minute: u64) -> Death {
        Death { closed: true, ..death(region, minute) }
    }

    fn limits(just: &str) -> Limits<'_> {
        Limits { region: "mc", just, files: 4, bytes: None }
    }

    /// Plays deaths one after the other, as starts would; gives the files left and what is remembered.
    fn play(minutes: impl Iterator<Item = u64>, files: usize) -> (Vec<String>, Vec<Burst>) {
        let (mut there, mut bursts) = (Vec::new(), Vec::new());
        for minute in minutes {
            there.push(death("mc", minute));
            let just = format!("mc.{minute}");
            let plan = plan(&there, &bursts, Limits { files, ..limits(&just) });
            there.retain(|death: &Death| !plan.drop.contains(&death.file));
            bursts = plan.bursts;
        }
        (there.into_iter().map(|death| death.file).collect(), bursts)
    }

    #[test]
    fn a_crash_loop_keeps_its_first_and_its_newest_however_long() {
        let (files, bursts) = play((0..=1000).step_by(5), 4);
        assert_eq!(files, ["mc.0", "mc.1000"]);
        assert_eq!(bursts.len(), 1);
        assert_eq!(bursts[0].deaths, 201);
        assert_eq!(bursts[0].first, "mc.0");
    }

    #[test]
    fn the_oldest_burst_goes_first_and_its_first_death_last() {
        let (files, _) = play([0, 5, 100, 105, 200].into_iter(), 4);
        assert_eq!(files, ["mc.0", "mc.100", "mc.105", "mc.200"]);
        let (files, _) = play([0, 5, 100, 105, 200, 205].into_iter(), 4);
        assert_eq!(files, ["mc.100", "mc.105", "mc.200", "mc.205"]);
    }

    #[test]
    fn one_file_is_the_one_just_archived() {
        let (files, bursts) = play([0, 5, 10, 15].into_iter(), 1);
        assert_eq!(files, ["mc.15"]);
        assert_eq!(bursts[0].deaths, 4);
    }

    #[test]
    fn closed_ones_go_before_crashes_and_others_are_not_counted() {
        let deaths = [
            death("mc", 0),
            closed("mc", 50),
            death("mc", 100),
            closed("mc", 150),
            death("mc", 200),
            death("other", 0),
            death("mc", 300),
        ];
        let plan = plan(&deaths, &[], limits("mc.300"));
        assert_eq!(plan.drop, ["mc.50", "mc.150"]);
    }

    #[test]
    fn a_closed_one_just_archived_stays() {
        let deaths = [death("mc", 0), death("mc", 100), death("mc", 200), death("mc", 300), closed("mc", 400)];
        assert_eq!(plan(&deaths, &[], limits("mc.400")).drop, ["mc.0"]);
    }

    #[test]
    fn newer_evidence_is_never_dropped() {
        let deaths: Vec<_> = [0, 100, 200, 300, 400, 500].map(|minute| death("mc", minute)).into();
        assert!(plan(&deaths, &[], Limits { files: 1, ..limits("mc.0") }).drop.is_empty());
    }

    #[test]
    fn the_share_counts_every_region() {
        let deaths = [closed("other", 250), death("other", 0), death("mc", 100), death("mc", 300)];
        let bytes = |bytes| Limits { bytes: Some(bytes), ..limits("mc.300") };
        assert!(plan(&deaths, &[], bytes(400)).drop.is_empty());
        assert_eq!(plan(&deaths, &[], bytes(399)).drop, ["other.250"]);
        assert_eq!(plan(&deaths, &[], bytes(150)).drop, ["other.250", "other.0", "mc.100"]);
        assert_eq!(plan(&deaths, &[], bytes(0)).drop, ["other.250", "other.0", "mc.100"]);
    }
}
