//! SIGKILL at every fail point that a start which adopts passes, over and over in one line of regions: see
//! `tachograph_tests::lineage` for what must hold after each, and while a reader looks on.
//!
//! `ci/torture.sh` runs the long form.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use tachograph_tests::lineage::{ADOPTING, Counts, Deeds, End, Lineage, Share, look_on};
use tachograph_tests::process::heir;
use tachograph_tests::tmpfs::{self, Tmpfs};

/// Where a start keeps what was left, and puts its region in its place.
const STARTING: [&str; 7] = [
    "predecessor-linked",
    "region-named",
    "bursts-written",
    "bursts-named",
    "bursts-removed",
    "retention-dropping",
    "retention-dropped",
];

/// Where a start that is short of room makes some, up to where its region stands.
const ROOM: [&str; 7] = [
    "predecessor-read",
    "stale-removed",
    "temporary-made",
    "temporary-populated",
    "carried-stored",
    "state-live",
    "temporary-protected",
];

/// What a line lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A directory with an archive.
    Plain,
    /// A file stands in the archive's place, so that what is left is kept beside it.
    Blocked,
    /// The region and its archive fill the file system: archived evidence has to go for the next one.
    Cramped,
    /// There is room for one region only, and some pages: the old one has to go for the next one.
    Tight,
}

impl Stage {
    /// Of the file system, where that is one of its own: a region of the heir's takes `REGION`.
    const fn size(self) -> Option<u64> {
        match self {
            Self::Plain | Self::Blocked => None,
            Self::Cramped => Some(3 * REGION + REGION / 2),
            Self::Tight => Some(REGION + REGION / 8),
        }
    }

    const fn is_short_of_room(self) -> bool {
        self.size().is_some()
    }
}

/// Bytes of an heir's region, at least, with what it carries on.
const REGION: u64 = 2 << 20;

/// Where a line lives, and where its deeds are noted.
struct Place {
    folder: tempfile::TempDir,
    own: Option<Tmpfs>,
    stage: Stage,
}

impl Place {
    fn new(stage: Stage) -> Self {
        let folder = tmpfs::folder();
        std::fs::create_dir(folder.path().join("regions")).expect("a directory");
        Self { folder, own: stage.size().map(|bytes| Tmpfs::new(&bytes.to_string())), stage }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.own.as_ref().map_or_else(|| self.folder.path().join("regions"), |own| own.path().to_owned())
    }

    fn deeds(&self) -> std::path::PathBuf {
        self.folder.path().join("deeds")
    }

    fn line(&self) -> Lineage {
        let (dir, deeds) = (self.dir(), self.deeds());
        match self.stage {
            Stage::Plain => Lineage::new(&dir, &deeds),
            Stage::Blocked => {
                let mut line = Lineage::new(&dir, &deeds);
                line.block_archive();
                line
            }
            Stage::Cramped | Stage::Tight => Lineage::tight(&dir, &deeds),
        }
    }
}

/// How often a whole life of an heir, over a region that holds everything, passes each point.
fn passes(stage: Stage) -> BTreeMap<String, u64> {
    let place = Place::new(stage);
    let mut line = place.line();
    // Several deaths, so that there is something to drop and to count.
    (0..5).for_each(|_| assert!(line.live(&End::Die, Share::All)));
    Deeds::create(&place.deeds()).expect("a file for the deeds");
    let output = line.command("count", Share::All).output().expect("the heir runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let count = |line: &str| {
        let (point, count) = line.split_once(' ').expect("a point and a count");
        (point.to_owned(), count.parse().expect("a count"))
    };
    text.lines().map(count).filter(|(_, count)| *count > 0).collect()
}

/// Kills at each point so often, in a line with an archive; in one whose archive is blocked, where it is about how starts
/// keep what was left; and in those that are short of room, about how starts make it.
fn torture(at_each: u64, seed: u64) {
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let with_archive = passes(Stage::Plain);
    let all = [Stage::Plain, Stage::Blocked, Stage::Cramped, Stage::Tight].map(|stage| {
        let mut passes = if stage == Stage::Plain { with_archive.clone() } else { passes(stage) };
        let of_starts = |point: &str| STARTING.contains(&point) || stage.is_short_of_room() && ROOM.contains(&point);
        passes.retain(|point, _| stage == Stage::Plain || !with_archive.contains_key(point) || of_starts(point));
        println!("{stage:?}: {:?}", passes.keys());
        (stage, passes)
    });
    for point in ADOPTING {
        assert!(all.iter().any(|(_, passes)| passes.contains_key(point)), "{point} is passed by no heir");
    }
    let passed = |stage: Stage, point: &str| all.iter().any(|(of, passes)| *of == stage && passes.contains_key(point));
    assert!(passed(Stage::Blocked, "beside-linking"));
    assert!(passed(Stage::Cramped, "room-dropped") && !passed(Stage::Cramped, "totals-kept"));
    assert!(passed(Stage::Tight, "room-dropped") && passed(Stage::Tight, "totals-kept"));
    for (stage, passes) in all {
        torture_line(stage, passes, at_each, &mut random);
    }
}

/// In one line, in an order by chance, with lives between of which some register little.
fn torture_line(stage: Stage, passes: BTreeMap<String, u64>, at_each: u64, random: &mut fastrand::Rng) {
    let mut queue: Vec<&String> = passes.keys().flat_map(|point| (0..at_each).map(move |_| point)).collect();
    random.shuffle(&mut queue);
    let place = Place::new(stage);
    let mut line = place.line();
    let busy = AtomicBool::new(true);
    let (counts, seen) = std::thread::scope(|scope| {
        // A reader's mapping keeps the pages of what was dropped: where room is short, none looks on.
        let dir = place.dir();
        let busy = &busy;
        let looking = !stage.is_short_of_room();
        let onlooker = looking.then(|| scope.spawn(move || look_on(&dir, || busy.load(Ordering::Relaxed))));
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            line.live(&End::Die, Share::All);
            for point in &queue {
                let pass = random.u64(1..=passes[*point]);
                let mut tries = 0;
                // What there is to drop and to continue depends on the lives before.
                while !line.live(&End::At((*point).clone(), pass.min(passes[*point] - tries.min(pass - 1))), Share::All)
                {
                    tries += 1;
                    assert!(tries < 40, "{point} was not passed again");
                    line.live(&End::Die, Share::All);
                }
                // Every other death is followed by a life that takes over little, or nothing.
                let share = [Share::All, Share::Some, Share::None, Share::All][random.usize(0..4)];
                match random.u8(0..4) {
                    0 => drop(line.live(&End::Close, share)),
                    1 => drop(line.live(&End::Die, share)),
                    _ => {}
                }
            }
            if stage == Stage::Blocked {
                line.unblock_archive();
            }
            line.live(&End::Close, Share::All);
            line.counts
        }));
        busy.store(false, Ordering::Relaxed);
        let seen = onlooker.map(|onlooker| onlooker.join().expect("what was seen is right"));
        (lived.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), seen)
    });
    println!("{stage:?}: {counts:?}, {seen:?} values seen by the reader, {} points", passes.len());
    let Counts { kills, regions, unborn, put_aside, values, skipped_lives } = counts;
    assert!(kills >= at_each * passes.len() as u64, "{counts:?}");
    assert!(regions > 0 && unborn > 0 && values > 0 && skipped_lives > 0 && seen != Some(0), "{counts:?}");
    assert_eq!(put_aside > 0, stage == Stage::Tight, "{counts:?}");
}

#[test]
fn a_kill_at_any_fail_point_of_a_line_loses_and_doubles_nothing() {
    torture(20, 20_261_125);
}

/// The points of adopting are what this file says, and the writer has them all.
#[test]
fn every_point_of_adopting_is_the_writers() {
    let output = Command::new(heir()).arg("points").output().expect("the heir runs");
    let points = String::from_utf8(output.stdout).expect("text");
    for point in ADOPTING {
        assert!(points.lines().any(|line| line == point), "{point}");
    }
}

/// The long form: `TACHOGRAPH_KILLS` kills in all; `TACHOGRAPH_SEED` to repeat one.
#[test]
#[ignore = "long: ci/torture.sh runs it"]
fn long() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let kills = number("TACHOGRAPH_KILLS").unwrap_or(2_000);
    torture(
        (kills / passes(Stage::Plain).len() as u64).max(1),
        number("TACHOGRAPH_SEED").unwrap_or_else(|| fastrand::u64(..)),
    );
}
