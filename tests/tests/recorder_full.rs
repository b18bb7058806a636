//! A full file system stops the recording, never the serving; and it starts again when there is room.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use tachograph::Region;
use tachograph_exporter::recording::Recordings;
use tachograph_tests::http;
use tachograph_tests::process::{Running, binary, eventually};
use tachograph_tests::tmpfs::{self, Tmpfs};

#[test]
fn a_full_disk_stops_the_recording_and_nothing_else() {
    let (disk, regions) = (Tmpfs::new("2m"), tmpfs::folder());
    let region = Region::builder("app").dir(regions.path()).build().unwrap();
    let served = region.counter("app_served_total", "Served").unwrap();
    let recorder_dir = disk.path().join("recorder");
    let port = http::free_port();
    let server = Running::start(
        Command::new(binary("tacho"))
            .args(["serve", "--log.level=error", "--recorder.tiers=50ms:10m"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg(format!("--region-dir={}", regions.path().display()))
            .arg(format!("--recorder.dir={}", recorder_dir.display()))
            .stdout(Stdio::null()),
    );
    let metric = |name: &str| -> Option<f64> {
        let body = http::get(port, "/metrics")?.body;
        body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    };
    let limit = Duration::from_secs(60);
    eventually("samples", limit, || metric("tacho_recorder_samples_total").filter(|samples| *samples > 5.0));
    assert_eq!(metric("tacho_recorder_errors_total"), Some(0.0));

    let ballast = disk.path().join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    // What is in the block's last page still fits; then nothing does.
    eventually("errors", limit, || {
        served.inc();
        let failing =
            metric("tacho_recorder_failing") == Some(1.0) && metric("tacho_recorder_errors_total") > Some(5.0);
        failing.then_some(())
    });
    assert_eq!(metric("app_served_total{tacho_region=\"app\"}"), Some(served.get() as f64), "serving goes on");

    let before = metric("tacho_recorder_samples_total");
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    eventually("samples again", limit, || {
        let again = metric("tacho_recorder_failing") == Some(0.0)
            && metric("tacho_recorder_samples_total") > before.map(|before| before + 5.0);
        again.then_some(())
    });
    drop(server);
    let recordings = Recordings::open(&recorder_dir).unwrap();
    let mut window = recordings.regions()[0].window(0, u64::MAX);
    let (mut lost, mut last) = (0, 0);
    while let Some(sample) = window.next_sample() {
        assert!(sample.realtime_ns > last);
        (lost, last) = (lost + sample.lost, sample.realtime_ns);
    }
    assert!(window.problems().is_empty(), "{:?}", window.problems());
    assert!(lost > 5, "{lost} ticks are told as lost");
}
