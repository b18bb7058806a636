//! kill -9 of the loaded controller at any moment: every counter and every histogram within its bounds, no half-made
//! series, and what the commands say of the dead region.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use tachograph_tests::catalogue::CATALOGUE;
use tachograph_tests::controller::Controller;
use tachograph_tests::exposition::{Exposition, key};
use tachograph_tests::process::{eventually, tacho};
use tachograph_tests::tmpfs;

const LOAD: &[&str] = &[
    "--acks",
    "--meetings",
    "20",
    "--connections-per-meeting",
    "5",
    "--rate",
    "20000",
    "--churn",
    "50",
    "--panic-meeting-every",
    "0.2",
];

fn show(dir: &Path, region: &str) -> Exposition {
    let shown = tacho(&["show", region, "--format", "prom", "--region-dir", dir.to_str().expect("UTF-8 path")]);
    assert_eq!(shown.status.code(), Some(0), "{}", String::from_utf8_lossy(&shown.stderr));
    Exposition::parse(&String::from_utf8(shown.stdout).expect("text"))
}

fn json(args: &[&str]) -> (Option<i32>, serde_json::Value) {
    let output = tacho(args);
    let text = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"));
    (output.status.code(), value)
}

/// Twenty kills, spread over the first seconds of the load by a multiplicative step so that each is at another phase.
#[test]
fn every_counter_is_within_its_bounds_after_kill_9() {
    let folder = tmpfs::folder();
    let dir = folder.path();
    let dir_text = dir.to_str().expect("UTF-8 path");
    for round in 0..20_u64 {
        let mut controller = Controller::start(dir, "mc-kill", &[LOAD, &["--seed", &round.to_string()]].concat());
        eventually("the first acks", Duration::from_secs(20), || (controller.lines() > 2).then_some(()));
        std::thread::sleep(Duration::from_micros(round.wrapping_mul(7_919_333) % 700_000));
        controller.process.signal(Signal::SIGKILL);
        assert_eq!(controller.process.wait(Duration::from_secs(10)), None, "it ended by the signal");

        let (code, listed) = json(&["ls", "--json", "--region-dir", dir_text]);
        assert_eq!(code, Some(0), "ls exits 0 on a crashed region");
        assert_eq!(listed["regions"][0]["name"], "mc-kill");
        assert_eq!(listed["regions"][0]["verdict"], "crashed", "{listed}");

        let (code, verified) = json(&["verify", "mc-kill", "--json", "--region-dir", dir_text]);
        assert_eq!(code, Some(0), "round {round}: {verified}");

        let shown = show(dir, "mc-kill");
        check_histograms(&shown, &controller.last_sums(), &format!("round {round}"));
        let acks = controller.last_acks();
        assert!(acks.len() > 100, "the load announces its counters: {acks:?}");
        assert!(acks.values().any(|bounds| bounds.done > 0), "the load was running");
        for (series, bounds) in acks {
            let value = shown.integer(&series);
            assert!(
                i128::from(bounds.done) <= value && value <= i128::from(bounds.about),
                "round {round}: {series} is {value}, announced {bounds:?}"
            );
        }
    }
    // Each start archived the region before it: the newest of the burst and the first are kept.
    let archived: Vec<_> = std::fs::read_dir(dir.join("archive"))
        .expect("an archive")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .filter(|name| name.ends_with(".tacho"))
        .collect();
    assert_eq!(archived.len(), 2, "first and newest of a burst: {archived:?}");
    let (_, crashed) = json(&["show", "mc-kill@crash", "--json", "--region-dir", dir_text]);
    assert_eq!(crashed["version"], 1);
}

/// No simulated latency is over 5 s, but a join has several steps.
const LONGEST: f64 = 10.0;

/// Every histogram of a killed controller: buckets that add up, and a sum that they and the acks allow. (Its count is a
/// counter to the acks.)
fn check_histograms(shown: &Exposition, sums: &BTreeMap<String, u64>, context: &str) {
    let histograms: Vec<_> = CATALOGUE
        .iter()
        .filter(|family| !family.bounds.is_empty())
        .flat_map(|family| family.histograms(shown))
        .collect();
    assert_eq!(histograms.len(), sums.len(), "the load announces every sum");
    assert!(histograms.iter().map(|histogram| histogram.count).sum::<i128>() > 0, "{context}: nothing observed");
    for histogram in histograms {
        let sum = histogram.sum_ns as f64 / 1e9;
        assert!(histogram.cumulative.is_sorted_by_key(|(_, count)| *count), "{context}: {histogram:?}");
        assert_eq!(histogram.cumulative.last().map(|(_, count)| *count), Some(histogram.count), "{context}");
        assert!(sums[&histogram.sum] <= histogram.sum_ns, "{context}: {histogram:?}, announced {sums:?}");
        // The bucket comes first. All events of a series come from one task, so one of them may lack in the sum.
        let (least, most) = histogram.sum_bounds(LONGEST);
        assert!(least - LONGEST <= sum && sum <= most + 1e-9, "{context}: not in {least}..={most}: {histogram:?}");
    }
}

/// Quiet before the kill: the region holds exactly what was done.
#[test]
fn a_load_that_was_quiet_is_exact_after_kill_9() {
    let folder = tmpfs::folder();
    let args = ["--acks", "--meetings", "3", "--connections-per-meeting", "4", "--rate", "0", "--churn", "0"];
    let mut controller = Controller::start(folder.path(), "mc-quiet", &args);
    eventually("some quiet acks", Duration::from_secs(30), || (controller.lines() > 100).then_some(()));
    controller.process.signal(Signal::SIGKILL);
    controller.process.wait(Duration::from_secs(10));
    let shown = show(folder.path(), "mc-quiet");
    // The token is refreshed now and then: what was not, is exact, sums to the nanosecond.
    let quiet = |series: &String| !series.starts_with("mc_token_refresh") && !series.contains("operation=\"set\"");
    for (series, bounds) in controller.last_acks().into_iter().filter(|(series, _)| quiet(series)) {
        assert_eq!(shown.integer(&series), i128::from(bounds.done), "{series}");
    }
    let sums = controller.last_sums();
    check_histograms(&shown, &sums, "quiet");
    for histogram in CATALOGUE.iter().filter(|family| !family.bounds.is_empty()).flat_map(|f| f.histograms(&shown)) {
        if quiet(&histogram.sum) {
            assert_eq!(histogram.sum_ns, sums[&histogram.sum], "{histogram:?}");
        }
    }
    assert_eq!(shown.integer("mc_session_joins_total{status=\"success\"}"), 12);
    assert_eq!(shown.integer("mc_meetings_active"), 3);
    assert_eq!(shown.integer("mc_connections_active"), 12);
}

/// The totals that the load prints at an orderly end are the region's, exactly; nothing of any id is exposed.
#[test]
fn scenario_11_and_21_totals_equal_the_region_and_no_id_is_exposed() {
    let folder = tmpfs::folder();
    let args = ["--meetings", "10", "--connections-per-meeting", "5", "--rate", "5000", "--churn", "20", "--for", "2"];
    let mut controller = Controller::start(folder.path(), "mc-totals", &args);
    assert_eq!(controller.process.wait(Duration::from_secs(60)), Some(0), "{}", controller.process.stderr());
    let totals = controller.totals();
    let shown = show(folder.path(), "mc-totals");
    let counters = totals["counters"].as_object().expect("counters");
    let counts = |line: &String| {
        CATALOGUE.iter().any(|family| {
            (family.kind == "counter" && family.keys().contains(line))
                || (family.kind == "histogram" && line.starts_with(&format!("{}_count", family.name)))
        })
    };
    let counted: BTreeSet<String> = shown.values.keys().filter(|line| counts(line)).cloned().collect();
    assert_eq!(
        counters.keys().map(|series| key(series)).collect::<BTreeSet<_>>(),
        counted,
        "each counter, and no other"
    );
    for (series, total) in counters {
        let total = total.as_u64().expect("a whole number");
        assert_eq!(shown.integer(&key(series)), i128::from(total), "{series}");
    }
    for histogram in CATALOGUE.iter().filter(|family| !family.bounds.is_empty()).flat_map(|f| f.histograms(&shown)) {
        let total = totals["sums_ns"].as_object().and_then(|sums| {
            sums.iter().find(|(series, _)| key(series) == histogram.sum).and_then(|(_, sum)| sum.as_u64())
        });
        assert_eq!(Some(histogram.sum_ns), total, "{histogram:?}");
    }
    let report = |what: &str| i128::from(totals["report"][what].as_u64().expect("a whole number"));
    let sum = |family: &str| -> i128 {
        shown.values.keys().filter(|key| key.starts_with(family)).map(|key| shown.integer(key)).sum()
    };
    assert!(report("sent") > 1_000 && report("joined") >= 50, "the load was running: {totals}");
    assert_eq!(sum("mc_messages_dropped_total"), report("dropped"));
    assert_eq!(sum("mc_actor_panics_total"), report("panicked"));
    // Orderly shutdown brings every level to 0 (scenario 8).
    for level in ["mc_meetings_active", "mc_connections_active", "mc_participants_active"] {
        assert_eq!(shown.integer(level), 0, "{level}");
    }
    assert_eq!(sum("mc_actor_mailbox_depth{"), 0);
    let catalogue: BTreeSet<String> = CATALOGUE.iter().flat_map(|family| family.keys()).collect();
    for line in shown.values.keys() {
        assert!(catalogue.contains(line), "{line} is not in the catalogue");
    }
    let (code, listed) = json(&["ls", "--json", "--region-dir", folder.path().to_str().expect("UTF-8 path")]);
    assert_eq!((code, listed["regions"][0]["verdict"].as_str()), (Some(0), Some("closed")));
}
