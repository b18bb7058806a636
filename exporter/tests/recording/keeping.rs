//! What is kept: within the bytes that were allowed, whatever comes and goes; across restarts of the recorder; by one at a time.

use std::time::Duration;

use tachograph::{Desc, OpenRules, Region};
use tachograph_exporter::recording::{FEWEST_BYTES, Recorder, RecorderConfig, RecorderError, StoreError, Tier};

use super::{Place, blocks, until, until_within};

/// Bytes of all blocks, as a file system counts them.
fn bytes(place: &Place) -> u64 {
    blocks(&place.recorder)
        .iter()
        .filter_map(|path| path.metadata().ok())
        .map(|metadata| metadata.len().next_multiple_of(4096))
        .sum()
}

#[test]
fn the_cap_is_held_under_churn() {
    // The long form: TACHOGRAPH_RECORDER_CAP_MIB=64.
    let mib = std::env::var("TACHOGRAPH_RECORDER_CAP_MIB");
    let cap = mib.map_or(FEWEST_BYTES, |mib| mib.parse::<u64>().expect("a number of MiB") << 20);
    // Beyond the cap, so that blocks go.
    let enough = cap + (2 * cap).min(16 << 20);
    let place = Place::new();
    let region = Region::builder("app").dir(&place.regions).series(4000).label_bytes(1 << 20).build().unwrap();
    let rules = OpenRules::new(2000);
    let rules = rules.linger(Duration::ZERO);
    let peers =
        region.open_family::<tachograph::Counter, 1>(Desc::new("app_sent_total", "Sent"), ["peer"], rules).unwrap();
    let recorder = Recorder::start(RecorderConfig { max_bytes: cap, ..place.config() }, place.directories()).unwrap();
    let stats = recorder.stats();
    let mut most = 0;
    let mut round = 0_u64;
    until_within(Duration::from_secs(600), "more than the cap", || {
        let leases: Vec<_> = (0..1500).map(|peer| peers.with([&noise(round << 16 | peer)])).collect();
        leases.iter().for_each(|lease| lease.inc());
        round += 1;
        most = most.max(bytes(&place));
        assert!(most <= cap, "{most} bytes in round {round}");
        stats.counts().written > enough
    });
    assert_eq!((stats.counts().errors, stats.counts().failing), (0, 0));
    drop(recorder);
    assert!(most > cap / 2, "it keeps what it may: {most}");
    let recordings = place.recordings();
    let mut window = recordings.regions()[0].window(0, u64::MAX);
    let mut count = 0;
    while window.next_sample().is_some() {
        count += 1;
    }
    assert!(count > 2 && window.problems().is_empty(), "{count}, {:?}", window.problems());
}

/// A name of 64 characters that compression shortens by half at most.
fn noise(seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..4).map(|_| format!("{:016x}", random.u64(..))).collect()
}

#[test]
fn a_restart_goes_on_with_new_blocks_and_leaves_a_gap() {
    let place = Place::new();
    let region = Region::builder("app").dir(&place.regions).build().unwrap();
    region.counter("app_served_total", "Served").unwrap().add(7);
    for run in 1..=3_u64 {
        let recorder = place.record();
        let stats = recorder.stats();
        until("samples", || stats.counts().ticks > 5);
        drop(recorder);
        std::thread::sleep(Duration::from_millis(300));
        let fine = blocks(&place.recorder).into_iter().filter(|path| path.to_string_lossy().contains(".50ms.")).count();
        assert_eq!(fine as u64, run);
    }
    let recordings = place.recordings();
    let [recorded] = recordings.regions() else { panic!("{recordings:?}") };
    let mut window = recorded.window(0, u64::MAX);
    let (mut gaps, mut last) = (0, 0);
    while let Some(sample) = window.next_sample() {
        assert!(sample.realtime_ns > last);
        last = sample.realtime_ns;
        gaps += usize::from(window.gap_ns().is_some_and(|gap| gap >= 300_000_000));
    }
    assert_eq!(gaps, 2);
}

#[test]
fn a_directory_is_one_recorders_and_safe() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let recorder = place.record();
    assert_eq!(place.recorder.metadata().unwrap().permissions().mode() & 0o777, 0o750);
    let error = Recorder::start(place.config(), place.directories()).unwrap_err();
    assert!(matches!(&error, RecorderError::Store(StoreError::Taken { .. })), "{error}");
    drop(recorder);
    std::fs::set_permissions(&place.recorder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = Recorder::start(place.config(), place.directories()).unwrap_err().to_string();
    assert!(error.contains("writable by others") && error.contains("chmod 0750"), "{error}");
    let link = place.regions.join("link");
    std::os::unix::fs::symlink(&place.recorder, &link).unwrap();
    let error = Recorder::start(RecorderConfig::new(&link), place.directories()).unwrap_err().to_string();
    assert!(error.contains("can't be opened as a directory"), "{error}");
    let tier = Tier { interval: Duration::from_millis(1), keep: Duration::from_secs(1) };
    let config = RecorderConfig { tiers: vec![tier], max_bytes: 1, ..RecorderConfig::new(&link) };
    let error = Recorder::start(config, place.directories()).unwrap_err().to_string();
    assert!(error.contains("50ms is the shortest") && error.contains("--recorder.max-bytes 1"), "{error}");
}

#[test]
fn what_is_removed_under_a_recorder_is_made_anew() {
    let place = Place::new();
    let region = Region::builder("app").dir(&place.regions).build().unwrap();
    let served = region.counter("app_served_total", "Served").unwrap();
    let recorder = place.record();
    let stats = recorder.stats();
    let more_ticks = || {
        let now = stats.counts().ticks;
        until("ticks", || {
            served.inc();
            stats.counts().ticks > now + 6
        });
    };
    let samples = || {
        let recordings = place.recordings();
        let mut window = recordings.regions()[0].window(0, u64::MAX);
        std::iter::from_fn(|| window.next_sample().map(|_| ())).count()
    };
    more_ticks();
    // The blocks alone: new ones are begun.
    blocks(&place.recorder).iter().for_each(|path| std::fs::remove_file(path).unwrap());
    more_ticks();
    assert!(samples() > 2);
    // Blocks and cases, not the lock.
    std::fs::remove_dir_all(place.recorder.join("blocks")).unwrap();
    more_ticks();
    assert!(samples() > 2);
    // All of it; a second recorder is still kept away.
    std::fs::remove_dir_all(&place.recorder).unwrap();
    more_ticks();
    assert!(samples() > 2);
    let second = Recorder::start(place.config(), place.directories()).unwrap_err();
    assert!(matches!(&second, RecorderError::Store(StoreError::Taken { .. })), "{second}");
    // It can't be made: that is counted and told, until it can.
    std::fs::rename(&place.recorder, place.regions.join("aside")).unwrap();
    std::fs::write(&place.recorder, "in the way").unwrap();
    until("a failure", || stats.counts().failing == 1);
    std::fs::remove_file(&place.recorder).unwrap();
    until("recording again", || stats.counts().failing == 0);
    more_ticks();
    assert!(samples() > 2);
}
