//! SIGKILL at every fail point that a start which adopts passes, over and over in one line of regions: see
//! `tachograph_tests::lineage` for what must hold after each, and while a reader looks on.
//!
//! `ci/torture.sh` runs the long form.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use tachograph_tests::lineage::{ADOPTING, Counts, Deeds, End, Lineage, Share, look_on};
use tachograph_tests::process::heir;
use tachograph_tests::tmpfs;

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

/// How often a whole life of an heir, over a region that holds everything, passes each point.
fn passes(blocked: bool) -> BTreeMap<String, u64> {
    let folder = tmpfs::folder();
    let (dir, deeds) = places(folder.path());
    let mut line = Lineage::new(&dir, &deeds);
    if blocked {
        line.block_archive();
    }
    // Several deaths, so that there is something to drop and to count.
    (0..5).for_each(|_| assert!(line.live(&End::Die, Share::All)));
    Deeds::create(&deeds).expect("a file for the deeds");
    let output = line.command("count", Share::All).output().expect("the heir runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let count = |line: &str| {
        let (point, count) = line.split_once(' ').expect("a point and a count");
        (point.to_owned(), count.parse().expect("a count"))
    };
    text.lines().map(count).filter(|(_, count)| *count > 0).collect()
}

fn places(folder: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let dir = folder.join("regions");
    std::fs::create_dir(&dir).expect("a directory");
    (dir, folder.join("deeds"))
}

/// Kills at each point so often, in a line with an archive; and in one whose archive is blocked, where it is about how
/// starts keep what was left.
fn torture(at_each: u64, seed: u64) {
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (with_archive, mut without) = (passes(false), passes(true));
    for point in ADOPTING {
        assert!(with_archive.contains_key(point) || without.contains_key(point), "{point} is passed by no heir");
    }
    without.retain(|point, _| !with_archive.contains_key(point) || STARTING.contains(&point.as_str()));
    assert!(without.len() > STARTING.len() / 2 && without.contains_key("beside-linking"), "{without:?}");
    torture_line(false, with_archive, at_each, &mut random);
    torture_line(true, without, at_each, &mut random);
}

/// In one line, in an order by chance, with lives between of which some register little.
fn torture_line(blocked: bool, passes: BTreeMap<String, u64>, at_each: u64, random: &mut fastrand::Rng) {
    let mut queue: Vec<&String> = passes.keys().flat_map(|point| (0..at_each).map(move |_| point)).collect();
    random.shuffle(&mut queue);
    let folder = tmpfs::folder();
    let (dir, deeds) = places(folder.path());
    let mut line = Lineage::new(&dir, &deeds);
    if blocked {
        line.block_archive();
    }
    let busy = AtomicBool::new(true);
    let (counts, seen) = std::thread::scope(|scope| {
        let onlooker = scope.spawn(|| look_on(&dir, || busy.load(Ordering::Relaxed)));
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
            if blocked {
                line.unblock_archive();
            }
            line.live(&End::Close, Share::All);
            line.counts
        }));
        busy.store(false, Ordering::Relaxed);
        let seen = onlooker.join().expect("what was seen is right");
        (lived.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), seen)
    });
    println!("{counts:?}, {seen} values seen by the reader, {} points", passes.len());
    let Counts { kills, regions, unborn, values, skipped_lives } = counts;
    assert!(kills >= at_each * passes.len() as u64, "{counts:?}");
    assert!(regions > 0 && unborn > 0 && values > 0 && skipped_lives > 0 && seen > 0, "{counts:?}");
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
        (kills / passes(false).len() as u64).max(1),
        number("TACHOGRAPH_SEED").unwrap_or_else(|| fastrand::u64(..)),
    );
}
