//! Real scrapers at the exporter's door: Debian's Prometheus with native histograms (it asks for protobuf) and without (it
//! asks for OpenMetrics), and VictoriaMetrics (text). Each gets every sample, and nothing that it calls invalid.

use std::process::{Command, Stdio};

use tachograph::{Buckets, ExponentialDurationHistogram, Region};
use tachograph_tests::http::{free_port, get};
use tachograph_tests::process::{Running, binary, eventually};
use tachograph_tests::scraper::{Api, PATIENCE};
use tachograph_tests::tmpfs;

/// A region and an exporter that serves it.
struct Served {
    _exporter: Running,
    port: u16,
    region: Region,
    waits: ExponentialDurationHistogram,
    _dir: tempfile::TempDir,
}

fn served() -> Served {
    let dir = tmpfs::folder();
    let port = free_port();
    let mut command = Command::new(binary("tacho"));
    command.arg("serve").arg("--region-dir").arg(dir.path());
    command.arg("--web.listen-address").arg(format!("127.0.0.1:{port}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let exporter = Running::start(&mut command);
    let region = Region::builder("scraped").dir(dir.path()).build().expect("a region");
    let buckets = Buckets::exponential(3, 1e-6..=100.0);
    let waits = region.exponential_duration_histogram("app_wait_seconds", "Time waited", buckets).expect("room");
    let sizes = region.histogram::<f64>("app_size_bytes", "Sizes", Buckets::bounds([10.0, 1e6])).expect("room");
    region.counter("app_served_total", "Requests served").expect("room").add(41);
    region.gauge::<f64>("app_ratio", "A ratio").expect("room").set(0.1);
    region.info("app_build_info", "What it is", &[("odd", "a\"b\\c\nd ü")]).expect("room");
    // 98 times 3 ms, once nothing, once more than the range holds.
    (0..98).for_each(|_| waits.observe_ns(3_000_000));
    waits.observe_ns(0);
    waits.observe_ns(500_000_000_000);
    [5.0, 7e6].into_iter().for_each(|size| sizes.observe(size));
    eventually("the region in a scrape", PATIENCE, || {
        get(port, "/metrics").filter(|reply| reply.body.contains("app_served_total{"))
    });
    Served { _exporter: exporter, port, region, waits, _dir: dir }
}

/// What every scraper has of the region, whatever the format that it asked for.
fn assert_samples(api: &Api) {
    assert_eq!(api.number("app_served_total{tacho_region=\"scraped\"}"), 41.0);
    assert_eq!(api.number("app_ratio"), 0.1);
    assert_eq!(api.number("app_size_bytes_bucket{le=\"10.0\"}"), 1.0);
    assert_eq!(api.number("app_size_bytes_bucket{le=\"+Inf\"}"), 2.0);
    assert_eq!(api.number("app_size_bytes_sum"), 7_000_005.0);
    assert_eq!(api.number("tacho_region_up{tacho_region=\"scraped\"}"), 1.0);
    let info = api.query("app_build_info");
    assert_eq!(info[0]["metric"]["odd"], "a\"b\\c\nd ü", "{info:?}");
}

#[test]
fn prometheus_without_native_histograms_reads_openmetrics() {
    let served = served();
    let api = Api::prometheus(served.port, "exemplar-storage");
    assert_samples(&api);
    assert_eq!(api.number("app_wait_seconds_count"), 100.0);
    // 3 ms lie between 2^-9 and 2^-8 seconds.
    let median = api.number("histogram_quantile(0.5, app_wait_seconds_bucket)");
    assert!((0.001_953_125..=0.003_906_25).contains(&median), "{median}");
    api.assert_healthy();
    assert!(served.region.path().is_some());
}

#[test]
fn prometheus_with_native_histograms_reads_protobuf() {
    let served = served();
    let api = Api::prometheus(served.port, "native-histograms,exemplar-storage");
    assert_samples(&api);
    assert_eq!(api.number("histogram_count(app_wait_seconds)"), 100.0);
    let sum = api.number("histogram_sum(app_wait_seconds)");
    assert!((sum - 500.294).abs() < 1e-9, "{sum}");
    // Within the bucket of schema 3 that holds 3 ms.
    let (lower, upper) = (2f64.powf(-68.0 / 8.0), 2f64.powf(-67.0 / 8.0));
    let median = api.number("histogram_quantile(0.5, app_wait_seconds)");
    assert!(lower <= median && median <= upper, "{lower} {median} {upper}");
    // It goes on from scrape to scrape.
    served.waits.observe_ns(3_000_000);
    eventually("one more", PATIENCE, || (api.number("histogram_count(app_wait_seconds)") == 101.0).then_some(()));
    api.assert_healthy();
}

#[test]
fn victoria_metrics_calls_no_line_invalid() {
    let served = served();
    let api = Api::victoria_metrics(served.port);
    assert_samples(&api);
    assert_eq!(api.number("app_wait_seconds_count"), 100.0);
    assert_eq!(api.invalid_rows(), 0.0);
    // As many samples as the body has lines.
    let scraped = api.number("scrape_samples_scraped");
    let lines =
        get(served.port, "/metrics").expect("a scrape").body.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(scraped, lines as f64);
}
