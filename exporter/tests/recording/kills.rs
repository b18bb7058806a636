//! `kill -9` of the recorder at any moment: never more than the tick in progress is lost, and no block is unreadable.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tachograph::Region;
use tachograph_exporter::recording::Recordings;

use super::{Place, blocks};

fn serve(place: &Place) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tacho"))
        .args(["serve", "--web.listen-address=127.0.0.1:0", "--log.level=error", "--recorder.tiers=50ms:1h,100ms:10h"])
        .arg(format!("--recorder.dir={}", place.recorder.display()))
        .arg(format!("--region-dir={}", place.regions.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// How many good samples each block has, and when the last one was.
fn samples(place: &Place) -> BTreeMap<PathBuf, (usize, u64)> {
    let read = |path: PathBuf| {
        let recordings = Recordings::open(&path).ok()?;
        let mut window = recordings.regions().first()?.window(0, u64::MAX);
        let (mut count, mut last) = (0, 0);
        while let Some(sample) = window.next_sample() {
            assert!(sample.realtime_ns > last, "{}", path.display());
            (count, last) = (count + 1, sample.realtime_ns);
        }
        Some((path, (count, last)))
    };
    if !place.recorder.join("blocks").is_dir() {
        return BTreeMap::new();
    }
    blocks(&place.recorder).into_iter().filter_map(read).collect()
}

/// 40 kills, or as many as `$TACHOGRAPH_RECORDER_KILLS` says.
#[test]
fn a_killed_recorder_loses_the_tick_in_progress_at_most() {
    let kills: u64 = std::env::var("TACHOGRAPH_RECORDER_KILLS").ok().map_or(40, |kills| kills.parse().unwrap());
    let place = Place::new();
    let region = Region::builder("app").dir(&place.regions).series(2000).build().unwrap();
    let counters: Vec<tachograph::Counter> =
        (0..200).map(|n| region.counter(&format!("app_load_{n}_total"), "Load").unwrap()).collect();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load = std::thread::spawn({
        let (stop, counters) = (std::sync::Arc::clone(&stop), counters.clone());
        move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                counters.iter().for_each(|counter| counter.inc());
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    });
    let mut known = samples(&place);
    for kill in 0..kills {
        let mut recorder = serve(&place);
        std::thread::sleep(Duration::from_millis(30 + kill * 37 % 270));
        // What can be read while it writes must be there after its death.
        let seen = samples(&place);
        recorder.kill().unwrap();
        recorder.wait().unwrap();
        let after = samples(&place);
        for (path, (count, last)) in &seen {
            let kept = after.get(path).unwrap_or_else(|| panic!("{} is unreadable", path.display()));
            assert!(kept.0 >= *count && kept.1 >= *last, "{}: {seen:?}, then {after:?}", path.display());
        }
        for (path, before) in &known {
            assert_eq!(after.get(path), Some(before), "a block of a recorder before changed");
        }
        // Each block is either whole to its last byte, or torn within one tick: less than 4 KiB here.
        for path in after.keys().filter(|path| !known.contains_key(*path)) {
            let bytes = std::fs::read(path).unwrap();
            let mut at = 8;
            while let Some(head) = bytes.get(at..at + 8) {
                let next = at + 8 + u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
                if next > bytes.len() {
                    break;
                }
                at = next;
            }
            assert!(bytes.len() - at < 4096, "{}: {} bytes torn", path.display(), bytes.len() - at);
        }
        known = after;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    load.join().unwrap();
    let total: usize = known.values().map(|(count, _)| count).sum();
    assert!(total as u64 > kills, "{total} samples of {kills} recorders");
}
