//! SIGKILL at every named fail point of the writer, and at any moment: see `tachograph_tests::campaign` for what must
//! hold after each. The list of points is the writer's own; one that no life passes fails the test.
//!
//! `ci/torture.sh` runs the long form.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tachograph_tests::campaign::{Campaign, Counts, End, watch};
use tachograph_tests::ledger::Ledger;
use tachograph_tests::lineage::ADOPTING;
use tachograph_tests::process::{binary, victim};
use tachograph_tests::tmpfs::{self, Tmpfs};

/// What a victim starts over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Nothing.
    Empty,
    /// The first region that was ever left there.
    First,
    /// A region left by the victim before, and an archive.
    Old,
    /// As `Old`, but a file stands in the archive's place, so that what is left is kept beside it.
    Blocked,
    /// What was kept beside the archive while that was blocked is there, and nothing is in its place any more.
    Unblocked,
    /// As `Old`, on a file system that has no room for another region beside the archive.
    Cramped,
}

/// Fewest lives that a campaign in one directory is made of, before a new one is begun.
const LIVES: u64 = 200;

/// A region of the victim's takes about 2 MiB: there is room for three of them.
const CRAMPED: &str = "7000k";

fn points() -> Vec<String> {
    let output = Command::new(victim()).arg("points").output().expect("the victim runs");
    let points: Vec<String> = String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect();
    assert!(points.len() >= 30, "{points:?}");
    // Those of a start that adopts are passed by no other: tests/tests/lineage.rs is about them.
    points.into_iter().filter(|point| !ADOPTING.contains(&point.as_str())).collect()
}

/// How often a whole life passes each point, by stage.
fn passes() -> BTreeMap<(Stage, String), u64> {
    let mut passes = BTreeMap::new();
    for stage in [Stage::Empty, Stage::First, Stage::Old, Stage::Blocked, Stage::Unblocked, Stage::Cramped] {
        let place = Place::new(stage);
        let mut campaign = place.campaign();
        let before: &[End] = match stage {
            Stage::Empty => &[],
            Stage::First => &[End::Die],
            Stage::Old | Stage::Blocked => &[End::Die, End::Die, End::Die, End::Die],
            Stage::Unblocked => &[End::Die, End::Die],
            Stage::Cramped => &[End::Die, End::Die, End::Close],
        };
        if matches!(stage, Stage::Blocked | Stage::Unblocked) {
            campaign.block_archive();
        }
        for end in before {
            campaign.live(end);
        }
        if stage == Stage::Unblocked {
            campaign.unblock_archive();
        }
        Ledger::create(&place.ledger()).expect("a ledger");
        let output = Command::new(victim()).arg("run").arg(place.dir()).arg(place.ledger()).arg("count").output();
        let output = output.expect("the victim runs");
        assert!(output.status.success(), "{stage:?}: {}", String::from_utf8_lossy(&output.stderr));
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let (point, count) = line.split_once(' ').expect("a point and a count");
            passes.insert((stage, point.to_owned()), count.parse().expect("a count"));
        }
    }
    passes
}

/// A directory of a stage.
struct Place {
    folder: tempfile::TempDir,
    cramped: Option<Tmpfs>,
}

impl Place {
    fn new(stage: Stage) -> Self {
        let folder = tmpfs::folder();
        std::fs::create_dir(folder.path().join("regions")).expect("a directory");
        Self { folder, cramped: (stage == Stage::Cramped).then(|| Tmpfs::new(CRAMPED)) }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.cramped.as_ref().map_or_else(|| self.folder.path().join("regions"), |tmpfs| tmpfs.path().to_owned())
    }

    fn ledger(&self) -> std::path::PathBuf {
        self.folder.path().join("ledger")
    }

    fn campaign(&self) -> Campaign {
        Campaign::new(&self.dir(), &self.ledger(), self.cramped.is_some())
    }
}

/// Runs `body` while another thread looks at the region's name. Not where room is short: a reader's mapping keeps the
/// pages of what was dropped, and then more has to go.
fn watched<T>(place: &Place, body: impl FnOnce() -> T) -> T {
    if place.cramped.is_some() {
        return body();
    }
    let dir = place.dir();
    let busy = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&dir, || busy.load(Ordering::Relaxed)));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        busy.store(false, Ordering::Relaxed);
        watcher.join().expect("nothing half-made had the region's name");
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Kills at random points of a list in one directory, each followed by a whole life.
fn campaign(
    stage: Stage,
    points: &[(String, u64)],
    kills: u64,
    random: &mut fastrand::Rng,
) -> (Counts, BTreeMap<String, u64>) {
    let mut hits = BTreeMap::new();
    let mut counts = Counts::default();
    let mut queue: Vec<&(String, u64)> = Vec::new();
    let mut done = 0;
    while done < kills {
        let place = Place::new(stage);
        let mut campaign = place.campaign();
        watched(&place, || {
            let mut lives = 0;
            if matches!(stage, Stage::Blocked | Stage::Unblocked) {
                campaign.block_archive();
            }
            if stage != Stage::Empty {
                campaign.live(&End::Die);
            }
            if stage == Stage::Unblocked {
                campaign.live(&End::Die);
                campaign.unblock_archive();
            }
            while done < kills && lives < LIVES {
                if queue.is_empty() {
                    queue = points.iter().collect();
                    random.shuffle(&mut queue);
                }
                let (point, most) = queue[queue.len() - 1];
                let mut tries = 0;
                // What a start finds to drop depends on the lives before: another life, and it finds something.
                while !campaign.live(&End::At(point.clone(), random.u64(1..=*most))) {
                    tries += 1;
                    assert!(tries < 40, "{stage:?}: {point} was not passed again");
                    campaign.live(if random.bool() { &End::Close } else { &End::Die });
                }
                queue.pop();
                *hits.entry(point.clone()).or_insert(0) += 1;
                done += 1;
                lives += 1;
                if matches!(stage, Stage::Empty | Stage::First | Stage::Unblocked) {
                    // The next start is to find what this stage is of.
                    campaign.live(&End::Close);
                    break;
                }
                // Often enough several die in a row without a whole life between.
                if random.u8(0..4) > 0 {
                    campaign.live(if random.bool() { &End::Close } else { &End::Die });
                }
            }
            campaign.live(&End::Close);
        });
        add(&mut counts, campaign.counts);
    }
    (counts, hits)
}

fn add(all: &mut Counts, more: Counts) {
    all.kills += more.kills;
    all.deaths += more.deaths;
    all.temporaries += more.temporaries;
    all.nameless += more.nameless;
    all.values += more.values;
}

/// Kills at any moment of a life.
fn at_any_moment(kills: u64, random: &mut fastrand::Rng) -> Counts {
    let mut counts = Counts::default();
    while counts.kills < kills {
        let place = Place::new(Stage::Old);
        let mut campaign = place.campaign();
        let started = Instant::now();
        campaign.live(&End::Close);
        let life = started.elapsed().as_micros() as u64;
        watched(&place, || {
            for _ in 0..LIVES {
                campaign.live(&End::After(Duration::from_micros(random.u64(0..life))));
                if campaign.counts.kills + counts.kills >= kills {
                    break;
                }
            }
            campaign.live(&End::Close);
        });
        add(&mut counts, campaign.counts);
    }
    counts
}

/// Kills at each point, spread over the stages in which it is passed, and at any moment.
fn torture(at_each: u64, any: u64, seed: u64) {
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let passes = passes();
    let mut all = BTreeMap::<String, u64>::new();
    let mut total = Counts::default();
    let stages = |point: &String| -> Vec<Stage> {
        passes.iter().filter(|((_, name), count)| name == point && **count > 0).map(|((stage, _), _)| *stage).collect()
    };
    let points = points();
    for point in &points {
        assert!(!stages(point).is_empty(), "fail point {point} is passed by no life in any stage");
    }
    // In rounds, so that a stage's directory sees all its points in one campaign.
    let mut due: BTreeMap<Stage, Vec<(String, u64)>> = BTreeMap::new();
    for point in &points {
        let stages = stages(point);
        // Where a point is passed over an old archive too, the other stages get one kill in ten each.
        let usual = stages.iter().find(|stage| **stage == Stage::Old).or_else(|| stages.last());
        for kill in 0..at_each {
            let stage = stages.get(kill as usize % 10).or(usual).expect("it has a stage");
            due.entry(*stage).or_default().push((point.clone(), passes[&(*stage, point.clone())]));
        }
    }
    for (stage, points) in &due {
        let started = Instant::now();
        let (counts, hits) = campaign(*stage, points, points.len() as u64, &mut random);
        println!("{stage:?}: {counts:?} in {:.1} s", started.elapsed().as_secs_f64());
        hits.into_iter().for_each(|(point, hits)| *all.entry(point).or_insert(0) += hits);
        add(&mut total, counts);
    }
    let started = Instant::now();
    let counts = at_any_moment(any, &mut random);
    println!("at any moment: {counts:?} in {:.1} s", started.elapsed().as_secs_f64());
    add(&mut total, counts);
    for point in &points {
        println!("{:>8} {point}", all.get(point).copied().unwrap_or(0));
        assert!(all.get(point) >= Some(&at_each), "{point}");
    }
    println!("all: {total:?}");
    assert!(total.deaths > 0 && total.temporaries > 0 && total.nameless > 0 && total.values > 0, "{total:?}");
}

#[test]
fn a_kill_at_any_fail_point_loses_nothing_and_leaves_nothing_half_made() {
    torture(20, 50, 20_261_123);
}

/// The names of the points are in the victim, and in no program that users get: the feature reached it alone.
#[test]
fn no_other_program_has_fail_points() {
    let has = |program: &Path, point: &str| {
        let searched = Command::new("grep").args(["-qaF", point]).arg(program).status().expect("grep runs");
        assert!(matches!(searched.code(), Some(0 | 1)), "{} is searched", program.display());
        searched.success()
    };
    for point in ["temporary-populated", "retention-dropping", "marks-stored"] {
        assert!(has(&victim(), point), "{point}");
        for program in ["tacho", "meeting-controller"] {
            assert!(!has(&binary(program), point), "{program} was built with fail points: {point}");
        }
    }
}

/// The long form: `TACHOGRAPH_KILLS` kills in all, a quarter of them at any moment; `TACHOGRAPH_SEED` to repeat one.
#[test]
#[ignore = "long: ci/torture.sh runs it"]
fn long() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let kills = number("TACHOGRAPH_KILLS").unwrap_or(10_000);
    let points = points().len() as u64;
    let at_each = (kills * 3 / 4).div_ceil(points).max(1);
    let any = kills.saturating_sub(at_each * points).max(1);
    torture(at_each, any, number("TACHOGRAPH_SEED").unwrap_or_else(|| fastrand::u64(..)));
}
