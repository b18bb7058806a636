//! Which archived regions are kept: arithmetic over a list of deaths, no file is touched here. Applied by a writer's start
//! and by `tacho gc`, and how both tell an archived file by its name and read the book of bursts.
//!
//! Deaths of one region within ten minutes of another are a burst (a crash loop). Of a burst the first and the newest
//! are kept and the deaths counted; since the files between them go, what they said of the burst (its span, its count)
//! stands in the [`Burst`] of the next time. Orderly closed regions are no deaths: they go first, the one just archived
//! too. Never chosen: the region's newest crash, the newest of all, and what crashed after the region just archived.
//!
//! Clocks step back. A death later than now is told by a clock that was wrong: it came before all that is known, and the
//! region just archived is the newest of its name, whatever its time.

#[cfg(test)]
mod laws;

/// Deaths at most this far apart belong together.
const BURST_NS: u64 = 600 * 1_000_000_000;

/// One archived region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// Its file in the archive.
    pub file: String,
    /// The region's name.
    pub region: String,
    /// Last sign of life: nanoseconds since the Unix epoch.
    pub died_ns: u64,
    /// Whether it was closed in an orderly way.
    pub closed: bool,
    /// Bytes that it takes.
    pub bytes: u64,
}

/// The region's name in the name of an archived file, `<name>.<time>.<uuid>.tacho`; `None` for files that no writer put
/// there.
///
/// ```
/// use tachograph_layout::retention::region_of;
/// assert_eq!(region_of("mc-0.20261123T104512Z.0123456789abcdef0123456789abcdef.tacho"), Some("mc-0"));
/// assert_eq!(region_of("mc-0.tacho"), None);
/// ```
#[must_use]
pub fn region_of(file: &str) -> Option<&str> {
    let (rest, _uuid) = file.strip_suffix(".tacho")?.rsplit_once('.')?;
    let (region, stamp) = rest.rsplit_once('.')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let stamp = stamp.strip_suffix('Z')?;
    let (day, time) = stamp.split_once('T')?;
    let is_stamp = day.len() == 8 && time.len() == 6 && digits(day) && digits(time);
    (is_stamp && !region.is_empty() && !region.starts_with('.')).then_some(region)
}

/// When a writer died, by its last sign of life and its file's last change (ctime), both in nanoseconds since the Unix epoch: no
/// death is later than that change, whatever the file's bytes say, since the archive's rename is one.
///
/// Kernels stamp files by the last tick of a timer, some milliseconds behind the clock that writers read. A sign within a second
/// of the change is no later than it: else the death would be another one after the next rename, and be counted twice.
///
/// ```
/// use tachograph_layout::retention::died_ns;
/// let (change, millisecond) = (1_700_000_000_000_000_000, 1_000_000);
/// assert_eq!(died_ns(change + 3 * millisecond, change), change + 3 * millisecond);
/// assert_eq!(died_ns(u64::MAX, change), change);
/// ```
#[must_use]
pub const fn died_ns(last_sign_ns: u64, changed_ns: u64) -> u64 {
    const BEHIND_NS: u64 = 1_000_000_000;
    if last_sign_ns <= changed_ns.saturating_add(BEHIND_NS) { last_sign_ns } else { changed_ns }
}

/// What is remembered of a burst of which at least one file is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burst {
    /// The region's name.
    pub region: String,
    /// File of its first death that is left.
    pub first: String,
    /// Its earliest death: nanoseconds since the Unix epoch, as the next.
    pub from_ns: u64,
    /// Its latest death.
    pub last_ns: u64,
    /// How many deaths it had, at least 1.
    pub deaths: u64,
}

impl Burst {
    /// From a line of the book `archive/.<name>.bursts`: the file of the first death, the latest death, how many, the
    /// earliest. `None` for a line that says nothing.
    ///
    /// ```
    /// use tachograph_layout::retention::Burst;
    /// let burst = Burst::of_line("mc-0", "a.tacho 900 3 100").unwrap();
    /// assert_eq!((burst.from_ns, burst.last_ns, burst.deaths), (100, 900, 3));
    /// assert_eq!(burst.line(), "a.tacho 900 3 100\n");
    /// assert_eq!(Burst::of_line("mc-0", "a.tacho 900"), None);
    /// ```
    #[must_use]
    pub fn of_line(region: &str, line: &str) -> Option<Self> {
        let [first, last, deaths, from] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
        Some(Self {
            region: region.to_owned(),
            first: first.to_owned(),
            from_ns: from.parse().ok()?,
            last_ns: last.parse().ok()?,
            deaths: deaths.parse().ok()?,
        })
    }

    /// Its line in the book.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {} {} {}\n", self.first, self.last_ns, self.deaths, self.from_ns)
    }

    /// Whether so many deaths can have this span: else somebody else wrote it.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        let longest = self.deaths.saturating_sub(1).saturating_mul(BURST_NS);
        self.deaths > 0 && self.last_ns.checked_sub(self.from_ns).is_some_and(|span| span <= longest)
    }
}

/// The rules of one start.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// The region that starts: only its own files are counted against `files`.
    pub region: &'a str,
    /// The file just archived.
    pub just: &'a str,
    /// Whether it is counted in what is remembered already: a start that was cut off noted it.
    pub told: bool,
    /// The time: nanoseconds since the Unix epoch.
    pub now_ns: u64,
    /// Most files of the region, at least 1.
    pub files: usize,
    /// Most bytes of the whole archive; `None` without limit.
    pub bytes: Option<u64>,
}

/// What to drop, and the bursts of the region to remember.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Files to drop.
    pub drop: Vec<String>,
    /// The region's bursts, to be noted before anything is dropped.
    pub bursts: Vec<Burst>,
}

/// A burst with the members that are still there: the first one first, the newest last.
struct Group<'a> {
    members: Vec<&'a Death>,
    from_ns: u64,
    last_ns: u64,
    deaths: u64,
}

/// Applies the rules.
///
/// ```
/// use tachograph_layout::retention::{Death, Limits, plan};
/// let death = |minute: u64| Death {
///     file: format!("mc-0.{minute}"),
///     region: "mc-0".into(),
///     died_ns: minute * 60_000_000_000,
///     closed: false,
///     bytes: 4096,
/// };
/// let limits = Limits { region: "mc-0", just: "mc-0.9", told: false, now_ns: u64::MAX, files: 4, bytes: None };
/// // Of a burst the first and the newest stay, and the count.
/// let plan = plan(&[death(1), death(5), death(9)], &[], limits);
/// assert_eq!(plan.drop, ["mc-0.5"]);
/// assert_eq!(plan.bursts[0].deaths, 3);
/// ```
#[must_use]
pub fn plan(deaths: &[Death], remembered: &[Burst], limits: Limits<'_>) -> Plan {
    let Limits { region, just, now_ns, .. } = limits;
    let own = |death: &&Death| death.region == region;
    let just_died = deaths.iter().find(|death| death.file == just).map_or(0, |death| death.died_ns);
    let newest = newest(deaths.iter(), just, now_ns);
    let own_newest = self::newest(deaths.iter().filter(own), just, now_ns);
    let protected = |death: &Death| {
        let later = death.died_ns > just_died && death.died_ns <= now_ns;
        let is = |other: Option<&Death>| other.is_some_and(|other| other.file == death.file);
        !death.closed && (death.file == just || later || is(newest) || is(own_newest))
    };
    let mut plan = Plan::default();

    let groups = groups(deaths.iter().filter(own), remembered, if limits.told { "" } else { just });
    for group in &groups {
        let inner = group.members.get(1..group.members.len() - 1).unwrap_or_default();
        plan.drop.extend(inner.iter().filter(|death| !protected(death)).map(|death| death.file.clone()));
    }

    // What may go, the least telling first; taken anew where something went.
    let victims = |dropped: &[String]| -> Vec<&Death> {
        let mut victims = order(deaths.iter(), remembered, just, now_ns);
        victims.retain(|death| !protected(death) && !dropped.contains(&death.file));
        victims
    };

    let there = deaths.iter().filter(own).count() - plan.drop.len();
    let over = there.saturating_sub(limits.files.max(1));
    let mut go = victims(&plan.drop);
    go.retain(own);
    plan.drop.extend(go.into_iter().take(over).map(|death| death.file.clone()));

    if let Some(limit) = limits.bytes {
        let kept = deaths.iter().filter(|death| !plan.drop.contains(&death.file));
        let over = kept.fold(0u64, |sum, death| sum.saturating_add(death.bytes)).saturating_sub(limit);
        let mut go = victims(&plan.drop);
        if sum(&go) < over {
            // The share can't be reached: then no other region's crash goes for it.
            go.retain(|death| death.closed || own(death));
        }
        plan.drop.extend(enough(&go, over).into_iter().map(|death| death.file.clone()));
    }

    plan.bursts = groups
        .into_iter()
        .filter_map(|group| {
            let first = group.members.iter().find(|death| !plan.drop.contains(&death.file))?;
            let Group { from_ns, last_ns, deaths, .. } = group;
            Some(Burst { region: region.to_owned(), first: first.file.clone(), from_ns, last_ns, deaths })
        })
        .collect();
    plan
}

/// Of victims in their order, those that must go so that `bytes` come free: all where that is not enough, else none
/// that could stay.
#[must_use]
pub fn enough<'a>(victims: &[&'a Death], bytes: u64) -> Vec<&'a Death> {
    let mut freed = 0u64;
    let mut go = Vec::new();
    for victim in victims.iter().filter(|victim| victim.bytes > 0) {
        if freed >= bytes {
            break;
        }
        freed = freed.saturating_add(victim.bytes);
        go.push(*victim);
    }
    // A large one that was needed may make up for smaller ones before it: the most telling of those stay.
    for index in (0..go.len()).rev() {
        let without = go.get(index).map_or(0, |victim| freed - victim.bytes.min(freed));
        if without >= bytes {
            freed = without;
            go.remove(index);
        }
    }
    go
}

/// Bytes of all of them.
#[must_use]
pub fn sum(deaths: &[&Death]) -> u64 {
    deaths.iter().fold(0, |sum, death| sum.saturating_add(death.bytes))
}

/// The files in the order in which they may go: closed ones first, then burst by burst, in each the first one last; and
/// at the very end the newest crash of each region. Where it came in, `just` is the last of its kind.
pub fn order<'a>(
    deaths: impl Iterator<Item = &'a Death>,
    remembered: &[Burst],
    just: &str,
    now_ns: u64,
) -> Vec<&'a Death> {
    let (mut order, mut crashed): (Vec<_>, Vec<_>) = deaths.partition(|death| death.closed);
    order.sort_by_key(|death| (death.file == just, death.died_ns, &death.file));
    crashed.sort_by_key(|death| &death.region);
    let (mut bursts, mut newest_ones) = (Vec::new(), Vec::new());
    for region in crashed.chunk_by(|one, other| one.region == other.region) {
        newest_ones.extend(newest(region.iter().copied(), just, now_ns));
        bursts.extend(groups(region.iter().copied(), remembered, just));
    }
    bursts.sort_by_key(|burst| (burst.last_ns <= now_ns, burst.last_ns));
    newest_ones.sort_by_key(|death| (death.file == just, death.died_ns <= now_ns, death.died_ns, &death.file));
    let is_newest = |death: &&Death| newest_ones.iter().any(|newest| newest.file == death.file);
    order
        .extend(bursts.into_iter().flat_map(|burst| burst.members.into_iter().rev()).filter(|death| !is_newest(death)));
    order.extend(newest_ones);
    order
}

/// The newest crash of them.
fn newest<'a>(deaths: impl Iterator<Item = &'a Death>, just: &str, now_ns: u64) -> Option<&'a Death> {
    let crashed = deaths.filter(|death| !death.closed);
    crashed.max_by_key(|death| (death.died_ns <= now_ns, death.died_ns, death.file == just, &death.file))
}

/// The bursts among one region's files.
fn groups<'a>(deaths: impl Iterator<Item = &'a Death>, remembered: &[Burst], just: &str) -> Vec<Group<'a>> {
    let mut crashed: Vec<_> = deaths.filter(|death| !death.closed).collect();
    crashed.sort_by_key(|death| (death.died_ns, &death.file));
    let just = crashed.iter().position(|death| death.file == just).map(|index| crashed.remove(index));

    // What was seen before belongs to the burst that it was told of.
    let mut groups: Vec<Group<'_>> = Vec::new();
    let known = |burst: &&Burst| burst.is_possible() && crashed.iter().all(|death| death.region == burst.region);
    let mut rest = crashed.clone();
    for burst in remembered.iter().filter(known) {
        let is_member = |death: &&Death| (burst.from_ns..=burst.last_ns).contains(&death.died_ns);
        let (mut members, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_member);
        rest = others;
        members.sort_by_key(|death| death.file != burst.first);
        if !members.is_empty() {
            let deaths = burst.deaths.max(members.len() as u64);
            groups.push(Group { members, from_ns: burst.from_ns, last_ns: burst.last_ns, deaths });
        }
    }
    // Of the others the times tell.
    for chain in rest.chunk_by(|one, other| other.died_ns - one.died_ns <= BURST_NS) {
        if let (Some(first), Some(last)) = (chain.first(), chain.last()) {
            let (from_ns, last_ns) = (first.died_ns, last.died_ns);
            groups.push(Group { members: chain.to_vec(), from_ns, last_ns, deaths: chain.len() as u64 });
        }
    }
    // The death just told belongs to the nearest, so that no two bursts grow into each other.
    if let Some(just) = just {
        let at = just.died_ns;
        let apart = |group: &Group<'_>| group.from_ns.saturating_sub(at).max(at.saturating_sub(group.last_ns));
        let near = groups.iter_mut().filter(|group| apart(group) <= BURST_NS);
        match near.min_by_key(|group| (apart(group), std::cmp::Reverse(group.last_ns))) {
            Some(group) => {
                group.members.push(just);
                group.from_ns = group.from_ns.min(at);
                group.last_ns = group.last_ns.max(at);
                group.deaths = group.deaths.saturating_add(1);
            }
            None => groups.push(Group { members: vec![just], from_ns: at, last_ns: at, deaths: 1 }),
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
        Limits { region: "mc", just, told: false, now_ns: 2_000_000 * MINUTE, files: 4, bytes: None }
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
    fn what_was_noted_but_not_dropped_is_counted_once() {
        // Killed after the deaths of minutes 0 to 15 were noted, and before the middle ones were dropped.
        let there = [0, 5, 10, 15].map(|minute| death("mc", minute));
        let noted = plan(&there, &[], limits("mc.15")).bursts;
        assert_eq!(noted[0].deaths, 4);
        let again = plan(&there, &noted, Limits { told: true, ..limits("mc.15") });
        assert_eq!((again.bursts, again.drop), (noted.clone(), vec!["mc.5".to_owned(), "mc.10".to_owned()]));
        let there = [0, 5, 10, 15, 20].map(|minute| death("mc", minute));
        assert_eq!(plan(&there, &noted, limits("mc.20")).bursts[0].deaths, 5);
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
    fn a_closed_one_just_archived_goes_before_any_crash_and_after_other_closed_ones() {
        let mut deaths = vec![death("mc", 0), death("mc", 100), death("mc", 200), death("mc", 300), closed("mc", 400)];
        assert_eq!(plan(&deaths, &[], limits("mc.400")).drop, ["mc.400"]);
        deaths[1].closed = true;
        assert_eq!(plan(&deaths, &[], limits("mc.400")).drop, ["mc.100"]);
    }

    #[test]
    fn a_large_closed_one_does_not_cost_a_crash() {
        let large = Death { bytes: 1_000, ..closed("mc", 400) };
        let deaths = [death("mc", 0), death("other", 100), large];
        assert_eq!(plan(&deaths, &[], Limits { bytes: Some(500), ..limits("mc.400") }).drop, ["mc.400"]);
    }

    #[test]
    fn other_regions_pay_for_a_large_crash_only_where_that_reaches_the_share() {
        let large = Death { bytes: 1_000, ..death("mc", 400) };
        let deaths = [death("mc", 0), death("other", 100), death("other", 200), closed("other", 300), large];
        let plan = |bytes| plan(&deaths, &[], Limits { bytes: Some(bytes), ..limits("mc.400") }).drop;
        assert_eq!(plan(999), ["other.300", "mc.0"]);
        assert_eq!(plan(1_100), ["other.300", "mc.0", "other.100"]);
    }

    #[test]
    fn a_small_one_stays_where_a_large_one_has_to_go_anyway() {
        let deaths = [death("mc", 0), Death { bytes: 1_000, ..death("mc", 100) }, death("mc", 200)];
        let limits = Limits { bytes: Some(300), ..limits("mc.200") };
        assert_eq!(plan(&deaths, &[], limits).drop, ["mc.100"]);
    }

    #[test]
    fn a_note_that_can_not_be_true_is_passed_over() {
        let deaths = [0, 100, 200].map(|minute| death("mc", minute));
        let (region, first) = ("mc".to_owned(), "mc.0".to_owned());
        let note = Burst { region, first, from_ns: 0, last_ns: u64::MAX, deaths: 9 };
        let plan = plan(&deaths, &[note], limits("mc.200"));
        assert!(plan.drop.is_empty(), "three bursts were taken for one: {plan:?}");
        assert_eq!(plan.bursts.iter().map(|burst| burst.deaths).sum::<u64>(), 3);
    }

    #[test]
    fn a_death_in_the_future_is_an_old_one() {
        let deaths = [50, 60, 0, 20].map(|minute| death("mc", minute));
        let now_ns = deaths[3].died_ns;
        assert_eq!(plan(&deaths, &[], Limits { now_ns, files: 2, ..limits("mc.20") }).drop, ["mc.60", "mc.50"]);
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
        assert_eq!(plan(&deaths, &[], bytes(150)).drop, ["other.250", "mc.100", "other.0"]);
    }
}
