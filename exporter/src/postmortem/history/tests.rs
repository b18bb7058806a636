//! What one pass over made-up samples finds.

use super::*;
use crate::recording::{Facts, MemoryFacts};
use crate::schema::Number;
use crate::series::Series;
use crate::{RegionInfo, Verdict};

/// When the writer died.
const END: u64 = 2_000 * SECOND;

/// A counter `mc_served_total`, a gauge `mc_depth`, a histogram `mc_wait_seconds` with bounds 0.1 and 1.
fn schema() -> Arc<Schema> {
    let mut schema = Schema::default();
    let wait = [0.1, 1.0];
    for (index, (name, kind, number)) in [
        ("mc_served_total", Kind::Counter, Number::U64),
        ("mc_depth", Kind::Gauge, Number::I64),
        ("mc_wait_seconds", Kind::HistogramBounds, Number::F64),
    ]
    .into_iter()
    .enumerate()
    {
        let mut family = Family::new(name, "", kind, number);
        family.series = index..index + 1;
        let (cell, cells) = if index == 2 { (1, 4) } else { (0, 1) };
        if index == 2 {
            family.bounds = wait.to_vec();
        }
        schema.families.push(family);
        let labels = "";
        let (slot, created_realtime_ns) = (index as u32, 0);
        schema.series.push(Series {
            family: index,
            slot,
            generation: 0,
            labels,
            created_realtime_ns,
            retired: false,
            cell,
            cells,
        });
    }
    Arc::new(schema)
}

fn sample(schema: &Arc<Schema>, at_ns: u64, served: u64, depth: u64, wait: [u64; 3]) -> Sample {
    let region = RegionInfo { verdict: Verdict::Running, ..RegionInfo::default() };
    let lane = vec![served, wait[0], wait[1], wait[2], 0];
    let snapshot = Snapshot::from_parts(region, Arc::clone(schema), lane, vec![depth]).unwrap();
    Sample {
        realtime_ns: at_ns,
        monotonic_ns: at_ns,
        interval_ns: SECOND,
        lost: 0,
        snapshot,
        activities: Vec::new(),
        facts: Facts::default(),
    }
}

/// A sample a second, from 600 s before the end: `served`, depth and wait by the seconds that are left.
fn found(served: impl Fn(u64) -> u64, depth: impl Fn(u64) -> u64, wait: impl Fn(u64) -> [u64; 3]) -> Found {
    let schema = schema();
    let mut pass = Pass::new(END);
    for left in (0..=600).rev() {
        pass.take(&sample(&schema, END - left * SECOND, served(left), depth(left), wait(left)));
    }
    pass.finish()
}

fn names<T>(list: &List<T>, name: impl Fn(&T) -> &Name) -> Vec<String> {
    list.entries.iter().map(|entry| name(entry).to_string()).collect()
}

#[test]
fn a_series_stopped_where_it_is_silent_for_ten_times_its_own_gap() {
    // One a second until 12 s before the end; every 10 s, and so not silent at all, the other.
    let found = found(|left| 600 - left.max(12), |left| (600 - left) / 10, |_| [0; 3]);
    assert_eq!(names(&found.stopped, |silent| &silent.series), ["mc_served_total"]);
    let silent = &found.stopped.entries[0];
    assert_eq!((silent.silent_seconds, silent.usual_gap_seconds), (12.0, 1.0));
    assert_eq!(silent.last_change_seconds, seconds(END) - 12.0);
    let nine = self::found(|left| 600 - left.max(9), |_| 0, |_| [0; 3]);
    assert!(nine.stopped.entries.is_empty(), "9 s are within 10 times 1 s");
    // Never seen to change often enough: its pace is not known.
    let rare = self::found(|left| u64::from(left < 500), |_| 0, |_| [0; 3]);
    assert!(rare.stopped.entries.is_empty());
}

#[test]
fn what_moved_is_told_by_rate_level_and_quantile() {
    let found = found(
        |left| if left > 10 { 2 * (600 - left) } else { 2 * 590 + 40 * (10 - left) },
        |left| if left > 10 { 3 } else { 300 },
        |left| if left > 10 { [600 - left, 0, 0] } else { [590, 0, 10 - left] },
    );
    let moved = |name: &str| {
        let one = found.moved.as_ref().unwrap().entries.iter().find(|moved| moved.series.name == name);
        one.unwrap_or_else(|| panic!("{name} in {:?}", found.moved)).clone()
    };
    let served = moved("mc_served_total");
    assert_eq!((served.what, served.before.round(), served.last.round()), ("rate", 2.0, 40.0));
    let depth = moved("mc_depth");
    assert_eq!((depth.what, depth.before, depth.last), ("level", 3.0, 300.0));
    let wait = moved("mc_wait_seconds");
    assert_eq!((wait.what, wait.before, wait.last), ("p99", 0.1, f64::INFINITY));
    // A peak that is over is no move of what it is a peak of: its window is longer than the last moments.
    let peak = Family::new("mc_peak", "", Kind::WatermarkMax, Number::I64);
    let mut track = Track::new(series_name("mc_peak", ""), &peak, 0);
    for left in (0..=600).rev() {
        track.take(END - left * SECOND, END, crate::Value::I64(if left > 10 { 42 } else { 0 }));
    }
    assert!(track.moved(END).is_none());
    let still = self::found(|left| 2 * (600 - left), |_| 3, |left| [600 - left, 0, 0]);
    assert_eq!(still.moved.unwrap().entries, []);
}

#[test]
fn a_last_value_at_an_extreme_is_told_with_since_when() {
    let found = found(|_| 0, |left| 500 - left.clamp(20, 500), |_| [0; 3]);
    let [highest] = found.extremes.entries.as_slice() else { panic!("{:?}", found.extremes) };
    assert_eq!((highest.which, highest.value, highest.since_seconds), ("highest", 480.0, seconds(END) - 20.0));
    let falling = self::found(|_| 0, |left| 5 + left, |_| [0; 3]);
    assert_eq!((falling.extremes.entries[0].which, falling.extremes.entries[0].value), ("lowest", 5.0));
    let often = self::found(|_| 0, |left| 5 + left % 3, |_| [0; 3]);
    assert!(often.extremes.entries.is_empty(), "it was there from the first sample on");
    assert!(self::found(|_| 0, |_| 5, |_| [0; 3]).extremes.entries.is_empty(), "it never was another");
}

#[test]
fn actors_kills_and_gaps_come_from_the_samples() {
    let schema = schema();
    let mut pass = Pass::new(END);
    let actor = Actor { actor_type: "meeting".into(), id: "m-7".into() };
    for left in (0..=60).rev() {
        let at_ns = END - left * SECOND;
        let mut sample = sample(&schema, at_ns, 0, 0, [0; 3]);
        // Messages of 2 s each, until the last one, which is never done; the mailbox fills 20 s before the end.
        let begun = if left > 30 { at_ns - (60 - left) % 2 * SECOND } else { END - 30 * SECOND };
        sample.activities = vec![Activity {
            actor: actor.clone(),
            doing: Some("Join".into()),
            since_monotonic_ns: begun,
            mailbox_depth: if left > 20 { 1 } else { 4 },
            mailbox_capacity: 4,
            ..Activity::default()
        }];
        let oom_kills = 7 + u64::from(left < 5);
        sample.facts.memory = Some(MemoryFacts { oom_kills, usage_bytes: 90, ..MemoryFacts::default() });
        pass.take(&sample);
        if left == 40 {
            pass.gap(9 * SECOND);
        }
    }
    let found = pass.finish();
    assert_eq!(found.usual.get(&actor), Some(&SECOND));
    assert_eq!(found.full_since, [(actor, END - 20 * SECOND)]);
    assert_eq!(found.gaps, [(END - 40 * SECOND, 9 * SECOND)]);
    let span = found.span.unwrap();
    assert_eq!((span.samples, span.gaps, span.longest_gap_seconds), (61, 1, 9.0));
    assert_eq!(found.first_kills, Some(7));
}
