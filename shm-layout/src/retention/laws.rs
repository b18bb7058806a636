//! What holds for every sequence of deaths, whatever the clock, the sizes and the other regions do.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60_000_000_000;

/// One end of a process, as its successor finds it.
#[derive(Debug, Clone)]
struct End {
    region: usize,
    closed: bool,
    bytes: u64,
    /// Minutes that the clock went on since the end before; now and then it steps back.
    minutes: i64,
    /// What was remembered is lost before this one is archived.
    forgotten: bool,
}

fn ends(regions: usize, steps: bool) -> impl Strategy<Value = Vec<End>> {
    let minutes = if steps { prop_oneof![4 => 0..30_i64, 1 => -90..0_i64].boxed() } else { (0..30_i64).boxed() };
    let end = (0..regions, prop::bool::weighted(0.25), 0..1_000_u64, minutes, prop::bool::weighted(0.05))
        .prop_map(|(region, closed, bytes, minutes, forgotten)| End { region, closed, bytes, minutes, forgotten });
    prop::collection::vec(end, 1..60)
}

/// An archive that lives through starts: the files, what is remembered, and the clock.
#[derive(Debug, Default)]
struct Archive {
    files: Vec<Death>,
    notes: BTreeMap<String, Vec<Burst>>,
    now_ns: u64,
    archived: u64,
}

/// What one start did.
struct Start {
    region: String,
    just: Death,
    before: Vec<Death>,
    /// Without memory of this region before it.
    noted: Vec<Burst>,
    plan: Plan,
    now_ns: u64,
}

impl Archive {
    fn start(&mut self, end: &End, files: usize, bytes: Option<u64>) -> Start {
        self.now_ns = self.now_ns.max(1_000_000 * MINUTE).saturating_add_signed(end.minutes * MINUTE as i64);
        let region = format!("r{}", end.region);
        self.archived += 1;
        let file = format!("{region}.{:05}", self.archived);
        let (closed, bytes_taken) = (end.closed, end.bytes);
        let just = Death { file, region: region.clone(), died_ns: self.now_ns, closed, bytes: bytes_taken };
        self.files.push(just.clone());
        if end.forgotten {
            self.notes.clear();
        }
        // As the files of notes do: a burst of one death tells of itself.
        let mut noted: Vec<Burst> = self.notes.values().flatten().cloned().collect();
        noted.retain(|burst| burst.deaths > 1);
        let limits = Limits { region: &region, just: &just.file, told: false, now_ns: self.now_ns, files, bytes };
        let plan = plan(&self.files, &noted, limits);
        let before = self.files.clone();
        self.files.retain(|death| !plan.drop.contains(&death.file));
        self.notes.insert(region.clone(), plan.bursts.clone());
        Start { region, just, before, noted, plan, now_ns: self.now_ns }
    }

    fn has(&self, file: &str) -> bool {
        self.files.iter().any(|death| death.file == file)
    }
}

impl Start {
    fn dropped(&self) -> impl Iterator<Item = &Death> {
        self.before.iter().filter(|death| self.plan.drop.contains(&death.file))
    }

    /// The newest crash of some, as a clock that went on tells.
    fn newest<'a>(&self, deaths: impl Iterator<Item = &'a Death>) -> Option<&'a Death> {
        deaths.filter(|death| !death.closed && death.died_ns <= self.now_ns).max_by_key(|death| death.died_ns)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// The count of the running burst is the plain one, however often its process dies: no memory but the notes is kept.
    #[test]
    fn a_burst_is_counted_and_its_first_and_newest_stay(ends in ends(3, false)) {
        let mut archive = Archive::default();
        let mut running: BTreeMap<String, (String, u64, u64)> = BTreeMap::new();
        for end in ends.into_iter().map(|end| End { forgotten: false, ..end }) {
            // No cap: then every burst's first and newest must be there.
            let start = archive.start(&end, usize::MAX, None);
            if start.just.closed {
                continue;
            }
            let just = &start.just;
            let burst = running.entry(start.region.clone()).or_insert_with(|| (just.file.clone(), just.died_ns, 0));
            if just.died_ns - burst.1 > BURST_NS {
                *burst = (just.file.clone(), just.died_ns, 0);
            }
            (burst.1, burst.2) = (just.died_ns, burst.2 + 1);
            let noted = start.plan.bursts.iter().max_by_key(|burst| burst.last_ns).expect("a burst");
            prop_assert_eq!((&noted.first, noted.last_ns, noted.deaths), (&burst.0, burst.1, burst.2));
            for (first, ..) in running.values() {
                prop_assert!(archive.has(first), "the first of a burst went: {}", first);
            }
            prop_assert!(archive.has(&just.file));
        }
    }

    /// Each crash is counted once, in one burst, whatever the clock and the memory do; none is counted that was not.
    #[test]
    fn each_crash_counts_once(ends in ends(3, true), files in 1..6_usize) {
        let mut archive = Archive::default();
        let mut crashes: BTreeMap<String, u64> = BTreeMap::new();
        for end in ends {
            let start = archive.start(&end, files, None);
            let crash = u64::from(!start.just.closed);
            let all = crashes.entry(start.region.clone()).or_default();
            *all += crash;
            let counted: u64 = start.plan.bursts.iter().map(|burst| burst.deaths).sum();
            prop_assert!(counted <= *all, "{} counted of {}", counted, all);
            // Counted before: what is noted of bursts that still have a file, and the files of which nothing is noted.
            let there = start.before.iter().filter(|death| death.region == start.region && !death.closed);
            let there: Vec<&Death> = there.filter(|death| death.file != start.just.file).collect();
            let within = |burst: &Burst, death: &Death| (burst.from_ns..=burst.last_ns).contains(&death.died_ns);
            let noted: Vec<&Burst> = start.noted.iter().filter(|burst| burst.region == start.region).collect();
            let told = noted.iter().filter(|burst| there.iter().any(|death| within(burst, death)));
            let alone = there.iter().filter(|death| !noted.iter().any(|burst| within(burst, death))).count() as u64;
            let before: u64 = told.map(|burst| burst.deaths).sum::<u64>() + alone;
            let left = |burst: &&Burst| start.before.iter().any(|death| death.file == burst.first);
            prop_assert!(start.plan.bursts.iter().all(|burst| left(&burst)));
            // A burst whose last file went in this start is forgotten with it.
            if start.dropped().next().is_none() {
                prop_assert_eq!(counted, before + crash);
            }
            for (one, other) in start.plan.bursts.iter().flat_map(|one| start.plan.bursts.iter().map(move |other| (one, other))) {
                prop_assert!(one.first == other.first || one.last_ns < other.from_ns || other.last_ns < one.from_ns);
            }
        }
    }

    /// Closed before crashed, the newest crash never, nobody else's but for the share, the caps held.
    #[test]
    fn drops_go_by_worth(ends in ends(4, true), files in 1..6_usize, share in prop::option::of(0..8_000_u64)) {
        let mut archive = Archive::default();
        for end in ends {
            let start = archive.start(&end, files, share);
            let own = |death: &&Death| death.region == start.region;
            let kept: Vec<&Death> = start.before.iter().filter(|death| !start.plan.drop.contains(&death.file)).collect();
            for newest in [start.newest(start.before.iter()), start.newest(start.before.iter().filter(own))] {
                // Two at one time are equally new.
                let stays = newest.is_none_or(|newest| kept.iter().any(|death| !death.closed && death.died_ns == newest.died_ns));
                prop_assert!(stays, "the newest crash went: {:?}", newest);
            }
            prop_assert!(start.just.closed || archive.has(&start.just.file), "the crash just archived went");
            let all: u64 = start.before.iter().map(|death| death.bytes).sum();
            let too_many = start.before.iter().filter(own).count() > files;
            let too_large = share.is_some_and(|share| all > share);
            for gone in start.dropped() {
                let inner = start.plan.bursts.iter().any(|burst| (burst.from_ns..=burst.last_ns).contains(&gone.died_ns));
                prop_assert!(own(&gone) || too_large, "another's went without need: {:?}", gone);
                prop_assert!(inner || too_many || too_large, "went without need: {:?}", gone);
                // A crash that is neither in the middle of its burst nor one too many of its region went for the share.
                let closed_stay = |death: &&&Death| death.closed && (own(death) || !own(&gone)) && death.bytes >= gone.bytes;
                if !gone.closed && !inner {
                    let better = kept.iter().find(closed_stay);
                    prop_assert!(better.is_none(), "a crash went and a closed one stayed: {:?} {:?}", gone, better);
                }
            }
            prop_assert!(kept.iter().filter(|death| own(death)).count() <= files.max(1) + start.later(), "too many files");
        }
    }

    /// For the share nothing goes that need not, and nobody else's crash goes where it is not reached.
    #[test]
    fn no_drop_is_useless(ends in ends(4, true), share in 0..6_000_u64) {
        let mut archive = Archive::default();
        for end in ends {
            let start = archive.start(&end, usize::MAX, Some(share));
            let kept: u64 = archive.files.iter().map(|death| death.bytes).sum();
            let middle = |gone: &Death| {
                // What goes without any share: the middle of bursts.
                let limits = Limits {
                    region: &start.region, just: &start.just.file, told: false,
                    now_ns: start.now_ns, files: usize::MAX, bytes: None,
                };
                plan(&start.before, &start.noted, limits).drop.contains(&gone.file)
            };
            for gone in start.dropped().filter(|gone| !middle(gone)) {
                prop_assert!(gone.bytes > 0, "went for nothing: {:?}", gone);
                prop_assert!(kept + gone.bytes > share, "need not have gone: {:?}", gone);
                if !gone.closed && gone.region != start.region {
                    prop_assert!(kept <= share, "another's crash went, and the share is not reached: {:?}", gone);
                }
            }
        }
    }

    /// Whatever somebody writes into the notes: no panic, and the newest crash and the caps are as ever.
    #[test]
    fn hostile_notes_do_no_harm(
        ends in ends(2, true),
        notes in prop::collection::vec((0..2_usize, 0..60_usize, any::<u64>(), any::<u64>(), any::<u64>()), 0..20),
    ) {
        let mut archive = Archive::default();
        for end in ends {
            for &(region, file, from_ns, last_ns, deaths) in &notes {
                let region = format!("r{region}");
                let first = format!("{region}.{file:05}");
                archive.notes.entry(region.clone()).or_default().push(Burst { region, first, from_ns, last_ns, deaths });
            }
            let start = archive.start(&end, 4, Some(3_000));
            prop_assert!(start.just.closed || archive.has(&start.just.file));
        }
    }
}

impl Start {
    /// Own crashes told to be later than the one just archived, and not later than now: nothing goes for an older one.
    fn later(&self) -> usize {
        let later = |death: &&Death| death.died_ns > self.just.died_ns && death.died_ns <= self.now_ns;
        self.before.iter().filter(|death| death.region == self.region && !death.closed).filter(later).count()
    }
}
