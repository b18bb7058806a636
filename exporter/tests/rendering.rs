//! Text format 0.0.4, to the byte: every kind, escapes, several regions, clashes. What is rendered is also read back by
//! a small parser that shares no code with the renderer.

use std::sync::Arc;

use tachograph_exporter::exposition::{Exposition, Format};
use tachograph_exporter::filter::Filter;
use tachograph_exporter::json::{self, Now, RegionEntry};
use tachograph_exporter::plan::{Options, Plan, PlanError, Source};
use tachograph_exporter::{Family, Kind, Number, RegionInfo, Schema, Series, Snapshot, Verdict, table};

/// Builds a snapshot family by family.
#[derive(Default)]
struct Builder {
    schema: Schema,
    lane: Vec<u64>,
    shared: Vec<u64>,
}

impl Builder {
    /// Adds a family whose series have these label blocks and cells.
    fn family(mut self, mut family: Family, series: &[(&str, &[u64])]) -> Self {
        let start = self.schema.series.len();
        for (slot, (labels, cells)) in series.iter().enumerate() {
            let plane = if family.kind.in_shared_plane() { &mut self.shared } else { &mut self.lane };
            self.schema.series.push(Series {
                family: self.schema.families.len(),
                slot: slot as u32,
                generation: 0,
                labels,
                created_realtime_ns: 0,
                retired: false,
                cell: plane.len() as u64,
                cells: cells.len() as u32,
            });
            plane.extend_from_slice(cells);
        }
        family.series = start..self.schema.series.len();
        self.schema.families.push(family);
        self
    }

    fn build(self, name: &str, created_realtime_ns: u64) -> Source {
        let region = RegionInfo {
            name: name.to_owned(),
            path: format!("/run/tachograph/{name}.tacho").into(),
            verdict: Verdict::Running,
            created_realtime_ns,
            ..RegionInfo::default()
        };
        let snapshot = Snapshot::from_parts(region, Arc::new(self.schema), self.lane, self.shared);
        Source::region(Arc::new(snapshot.expect("consistent parts")))
    }
}

fn counter(name: &str) -> Family {
    Family::new(name, "Help.", Kind::Counter, Number::U64)
}

fn bounds(name: &str, bounds: &[f64]) -> Family {
    let family = Family::new(name, "Help.", Kind::HistogramBounds, Number::F64);
    Family { bounds: bounds.to_vec(), ..family }
}

fn rendered(sources: &[Source], options: &Options) -> (String, Vec<String>) {
    let plan = Plan::new(sources, options).expect("a plan");
    let mut out = Vec::new();
    assert!(Exposition::new(Format::Text).render(&plan, sources, &mut out));
    let lines = out.iter().filter(|byte| **byte == b'\n').count();
    let comments = out.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"#")).count();
    assert_eq!(plan.lines(), lines - comments);
    let clashes = plan.clashes().iter().map(ToString::to_string).collect();
    (String::from_utf8(out).expect("UTF-8"), clashes)
}

/// Name, labels and value of a line.
type Sample = (String, Vec<(String, String)>, f64);

/// A body read back, as strictly as Prometheus' own reader.
fn parse(body: &str) -> Vec<Sample> {
    assert!(body.is_empty() || body.ends_with('\n'), "the last line ends, too");
    let mut samples = Vec::new();
    let mut typed = std::collections::HashSet::new();
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (word, name) = (words.next().unwrap(), words.next().unwrap());
            assert!(["HELP", "TYPE"].contains(&word), "{line}");
            assert!(typed.insert(format!("{word} {name}")), "twice: {line}");
            continue;
        }
        let end = line.find(['{', ' ']).expect("a name ends");
        let (name, mut rest) = line.split_at(end);
        let mut labels = Vec::new();
        if let Some(block) = rest.strip_prefix('{') {
            let mut chars = block.chars();
            loop {
                let label: String = chars.by_ref().take_while(|char| *char != '=').collect();
                assert_eq!(chars.next(), Some('"'), "{line}");
                let mut value = String::new();
                loop {
                    match chars.next().expect("a value ends") {
                        '"' => break,
                        '\\' => value.push(match chars.next() {
                            Some('n') => '\n',
                            Some(char @ ('\\' | '"')) => char,
                            other => panic!("escape {other:?} in {line}"),
                        }),
                        char => value.push(char),
                    }
                }
                assert!(labels.iter().all(|(known, _)| *known != label), "label twice: {line}");
                labels.push((label, value));
                match chars.next() {
                    Some(',') => {}
                    Some('}') => break,
                    other => panic!("{other:?} after a label in {line}"),
                }
            }
            rest = chars.as_str();
        }
        let value = rest.strip_prefix(' ').expect("one space");
        let number = match value {
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            "NaN" => f64::NAN,
            value => value.parse().expect("a number"),
        };
        let sample = (name.to_owned(), labels, number);
        assert!(samples.iter().all(|(n, l, _)| (n, l) != (&sample.0, &sample.1)), "series twice: {line}");
        samples.push(sample);
    }
    samples
}

/// One family of every kind.
fn every_kind() -> Builder {
    let stateset = Family::new("app_mode", "What it does.", Kind::StateSet, Number::U64);
    let stateset = Family { states: vec!["idle".into(), "bu\"sy\\".into()], ..stateset };
    let exponential = Family::new("app_wait_seconds", "Time waited.", Kind::HistogramExponential, Number::U64);
    let exponential = Family { bounds: vec![1.0, 2.0, 4.0], scale: 1e-9, range: (1e9, 4e9), ..exponential };
    let seconds = Family::new("app_spent_seconds_total", "Time spent.", Kind::Counter, Number::F64);
    let nanos = Family::new("app_busy_seconds_total", "Time busy.", Kind::Counter, Number::U64);
    let nanos = Family { scale: 1e-9, ..nanos };
    let peak = Family::new("app_peak", "Highest.", Kind::WatermarkMax, Number::I64);
    let low = Family::new("app_low", "Lowest.", Kind::WatermarkMin, Number::F64);
    Builder::default()
        .family(counter("app_served_total"), &[(r#"kind="a""#, &[u64::MAX]), (r#"kind="b""#, &[0])])
        .family(seconds, &[("", &[1234.5_f64.to_bits()])])
        .family(nanos, &[("", &[5_000_000])])
        .family(Family::new("app_depth", "Depth.", Kind::Gauge, Number::I64), &[("", &[(-5_i64).cast_unsigned()])])
        .family(Family::new("app_ratio", "Ratio.", Kind::Gauge, Number::F64), &[("", &[f64::INFINITY.to_bits()])])
        .family(Family::new("app_live", "Live.", Kind::UpDownCounter, Number::I64), &[("", &[9, 2])])
        .family(bounds("app_size_bytes", &[10.0, 1e6]), &[("", &[3, 2, 1, 2_000_100.5_f64.to_bits()])])
        .family(exponential, &[(r#"q="x""#, &[1, 0, 2, 1, 9_500_000_000])])
        .family(Family::new("app_build_info", "Build.", Kind::Info, Number::U64), &[(r#"version="1""#, &[])])
        .family(stateset, &[("", &[0b10])])
        .family(peak, &[("", &[0, 0, 0, 0])])
        .family(low, &[("", &[0, 0, 0, 0])])
}

#[test]
fn every_kind_to_the_byte() {
    let (body, clashes) = rendered(&[every_kind().build("mc-0", 1)], &Options::default());
    let expected = r#"# HELP app_build_info Build.
# TYPE app_build_info gauge
app_build_info{version="1",tacho_region="mc-0"} 1
# HELP app_busy_seconds_total Time busy.
# TYPE app_busy_seconds_total counter
app_busy_seconds_total{tacho_region="mc-0"} 0.005
# HELP app_depth Depth.
# TYPE app_depth gauge
app_depth{tacho_region="mc-0"} -5
# HELP app_live Live.
# TYPE app_live gauge
app_live{tacho_region="mc-0"} 7
# HELP app_low Lowest.
# TYPE app_low gauge
app_low{tacho_region="mc-0"} NaN
# HELP app_mode What it does.
# TYPE app_mode gauge
app_mode{tacho_region="mc-0",app_mode="idle"} 0
app_mode{tacho_region="mc-0",app_mode="bu\"sy\\"} 1
# HELP app_peak Highest.
# TYPE app_peak gauge
app_peak{tacho_region="mc-0"} 0
# HELP app_ratio Ratio.
# TYPE app_ratio gauge
app_ratio{tacho_region="mc-0"} +Inf
# HELP app_served_total Help.
# TYPE app_served_total counter
app_served_total{kind="a",tacho_region="mc-0"} 18446744073709551615
app_served_total{kind="b",tacho_region="mc-0"} 0
# HELP app_size_bytes Help.
# TYPE app_size_bytes histogram
app_size_bytes_bucket{tacho_region="mc-0",le="10.0"} 3
app_size_bytes_bucket{tacho_region="mc-0",le="1e+06"} 5
app_size_bytes_bucket{tacho_region="mc-0",le="+Inf"} 6
app_size_bytes_sum{tacho_region="mc-0"} 2.0001005e+06
app_size_bytes_count{tacho_region="mc-0"} 6
# HELP app_spent_seconds_total Time spent.
# TYPE app_spent_seconds_total counter
app_spent_seconds_total{tacho_region="mc-0"} 1234.5
# HELP app_wait_seconds Time waited.
# TYPE app_wait_seconds histogram
app_wait_seconds_bucket{q="x",tacho_region="mc-0",le="1.0"} 1
app_wait_seconds_bucket{q="x",tacho_region="mc-0",le="2.0"} 1
app_wait_seconds_bucket{q="x",tacho_region="mc-0",le="4.0"} 3
app_wait_seconds_bucket{q="x",tacho_region="mc-0",le="+Inf"} 4
app_wait_seconds_sum{q="x",tacho_region="mc-0"} 9.5
app_wait_seconds_count{q="x",tacho_region="mc-0"} 4
"#;
    assert_eq!(body, expected);
    assert!(clashes.is_empty());
    assert_eq!(parse(&body).len(), 23);
}

#[test]
fn every_kind_in_openmetrics_to_the_byte() {
    let mut builder = every_kind();
    for family in &mut builder.schema.families {
        family.unit = if family.name.contains("seconds") { "seconds".to_owned() } else { String::new() };
    }
    let created_realtime_ns = 1_520_430_000_123_456_789;
    builder.schema.series =
        builder.schema.series.iter().map(|series| Series { created_realtime_ns, ..series }).collect();
    let sources = [builder.build("mc-0", 1)];
    let plan = Plan::new(&sources, &Options::default()).expect("a plan");
    let mut out = Vec::new();
    let exposition = Exposition { created: true, ..Exposition::new(Format::OpenMetrics) };
    assert!(exposition.render(&plan, &sources, &mut out));
    let expected = r#"# TYPE app_build info
# HELP app_build Build.
app_build_info{version="1",tacho_region="mc-0"} 1
# TYPE app_busy_seconds counter
# UNIT app_busy_seconds seconds
# HELP app_busy_seconds Time busy.
app_busy_seconds_total{tacho_region="mc-0"} 0.005
app_busy_seconds_created{tacho_region="mc-0"} 1520430000.123
# TYPE app_depth gauge
# HELP app_depth Depth.
app_depth{tacho_region="mc-0"} -5
# TYPE app_live gauge
# HELP app_live Live.
app_live{tacho_region="mc-0"} 7
# TYPE app_low gauge
# HELP app_low Lowest.
app_low{tacho_region="mc-0"} NaN
# TYPE app_mode stateset
# HELP app_mode What it does.
app_mode{tacho_region="mc-0",app_mode="idle"} 0
app_mode{tacho_region="mc-0",app_mode="bu\"sy\\"} 1
# TYPE app_peak gauge
# HELP app_peak Highest.
app_peak{tacho_region="mc-0"} 0
# TYPE app_ratio gauge
# HELP app_ratio Ratio.
app_ratio{tacho_region="mc-0"} +Inf
# TYPE app_served counter
# HELP app_served Help.
app_served_total{kind="a",tacho_region="mc-0"} 18446744073709551615
app_served_created{kind="a",tacho_region="mc-0"} 1520430000.123
app_served_total{kind="b",tacho_region="mc-0"} 0
app_served_created{kind="b",tacho_region="mc-0"} 1520430000.123
# TYPE app_size_bytes histogram
# HELP app_size_bytes Help.
app_size_bytes_bucket{tacho_region="mc-0",le="10.0"} 3
app_size_bytes_bucket{tacho_region="mc-0",le="1e+06"} 5
app_size_bytes_bucket{tacho_region="mc-0",le="+Inf"} 6
app_size_bytes_sum{tacho_region="mc-0"} 2.0001005e+06
app_size_bytes_count{tacho_region="mc-0"} 6
app_size_bytes_created{tacho_region="mc-0"} 1520430000.123
# TYPE app_spent_seconds counter
# UNIT app_spent_seconds seconds
# HELP app_spent_seconds Time spent.
app_spent_seconds_total{tacho_region="mc-0"} 1234.5
app_spent_seconds_created{tacho_region="mc-0"} 1520430000.123
# TYPE app_wait_seconds histogram
# UNIT app_wait_seconds seconds
# HELP app_wait_seconds Time waited.
app_wait_seconds_bucket{q="x",tacho_region="mc-0",le="1.0"} 1
app_wait_seconds_bucket{q="x",tacho_region="mc-0",le="2.0"} 1
app_wait_seconds_bucket{q="x",tacho_region="mc-0",le="4.0"} 3
app_wait_seconds_bucket{q="x",tacho_region="mc-0",le="+Inf"} 4
app_wait_seconds_sum{q="x",tacho_region="mc-0"} 9.5
app_wait_seconds_count{q="x",tacho_region="mc-0"} 4
app_wait_seconds_created{q="x",tacho_region="mc-0"} 1520430000.123
# EOF
"#;
    assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
}

#[test]
fn what_a_strict_reader_would_refuse_is_left_out_of_openmetrics() {
    let negative = bounds("neg_seconds", &[-1.0, 1.0]);
    let falling = Family::new("fell_total", "Help.", Kind::Counter, Number::F64);
    let sources = [Builder::default()
        .family(falling, &[("", &[f64::NAN.to_bits()]), ("", &[(-1.0_f64).to_bits()])])
        .family(negative, &[("", &[1, 0, 0, (-3.0_f64).to_bits()])])
        .family(bounds("sum_seconds", &[1.0]), &[("", &[1, 0, (-3.0_f64).to_bits()])])
        .build("r", 0)];
    let plan = Plan::new(&sources, &Options { region_label: String::new() }).expect("a plan");
    let mut out = Vec::new();
    assert!(Exposition::new(Format::OpenMetrics).render(&plan, &sources, &mut out));
    let body = String::from_utf8(out).expect("UTF-8");
    let samples: Vec<&str> = body.lines().filter(|line| !line.starts_with('#')).collect();
    let expected = [
        "neg_seconds_bucket{le=\"-1.0\"} 1",
        "neg_seconds_bucket{le=\"1.0\"} 1",
        "neg_seconds_bucket{le=\"+Inf\"} 1",
        "sum_seconds_bucket{le=\"1.0\"} 1",
        "sum_seconds_bucket{le=\"+Inf\"} 1",
    ];
    assert_eq!(samples, expected);
    // Text 0.0.4 has no such rule.
    assert!(rendered(&sources, &Options { region_label: String::new() }).0.contains("neg_seconds_sum -3\n"));
}

#[test]
fn when_a_series_was_created_is_told_where_asked_for_and_where_it_is_shown() {
    let times = [0, 1, 999_999, 1_520_430_000_123_456_789, 4_102_444_800_000_000_000, u64::MAX];
    let shown = Family::new("app_a_total", "Help.", Kind::Counter, Number::F64);
    let values: Vec<[u64; 1]> = (0..times.len()).map(|value| [(value as f64).to_bits()]).collect();
    let labels: Vec<String> = (0..times.len()).map(|index| format!("n=\"{index}\"")).collect();
    let series: Vec<(&str, &[u64])> =
        labels.iter().zip(&values).map(|(label, value)| (label.as_str(), &value[..])).collect();
    let hidden = Family { name: "app_b_total".into(), ..shown.clone() };
    let mut builder = Builder::default().family(shown, &series).family(hidden, &[("", &[f64::NAN.to_bits()])]);
    let timed = builder.schema.series.iter().zip(times.iter().chain(&[7]));
    builder.schema.series = timed.map(|(series, time)| Series { created_realtime_ns: *time, ..series }).collect();
    let sources = [builder.build("r", 0)];
    let plan = Plan::new(&sources, &Options { region_label: String::new() }).expect("a plan");
    let created = |created| {
        let mut out = Vec::new();
        assert!(Exposition { created, ..Exposition::new(Format::OpenMetrics) }.render(&plan, &sources, &mut out));
        let body = String::from_utf8(out).expect("UTF-8");
        body.lines().filter(|line| line.contains("_created")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(created(false).is_empty());
    // None of a series whose time is not known, nor of one whose value no reader would take.
    assert_eq!(
        created(true),
        [
            "app_a_created{n=\"1\"} 0.000",
            "app_a_created{n=\"2\"} 0.000",
            "app_a_created{n=\"3\"} 1520430000.123",
            "app_a_created{n=\"4\"} 4102444800.000",
            "app_a_created{n=\"5\"} 18446744073.709",
        ]
    );
}

#[test]
fn help_and_labels_survive_the_way_through_the_format() {
    let help = "a\\b \"c\"\nd\re";
    let family = Family { help: help.to_owned(), label_names: vec!["l".into()], ..counter("app_x_total") };
    let source = Builder::default().family(family, &[(r#"l="a\"b\\c\nd ü""#, &[1])]).build("r", 0);
    let (body, _) = rendered(&[source], &Options::default());
    assert!(body.starts_with("# HELP app_x_total a\\\\b \"c\"\\nd e\n# TYPE"), "{body}");
    let samples = parse(&body);
    assert_eq!(samples[0].1[0], ("l".to_owned(), "a\"b\\c\nd ü".to_owned()));
    let silent = Family { help: String::new(), ..counter("app_y_total") };
    let (body, _) = rendered(&[Builder::default().family(silent, &[("", &[1])]).build("r", 0)], &Options::default());
    assert_eq!(body, "# TYPE app_y_total counter\napp_y_total{tacho_region=\"r\"} 1\n");
}

#[test]
fn families_of_all_regions_stand_together() {
    let region = |name: &str, created, value| {
        Builder::default()
            .family(counter("b_total"), &[("", &[value])])
            .family(counter("a_total"), &[("", &[value + 1])])
            .build(name, created)
    };
    let sources = [region("z", 1, 10), region("y", 2, 20)];
    let (body, _) = rendered(&sources, &Options::default());
    let expected = "# HELP a_total Help.\n# TYPE a_total counter\na_total{tacho_region=\"y\"} 21\na_total{tacho_region=\"z\"} 11\n\
                    # HELP b_total Help.\n# TYPE b_total counter\nb_total{tacho_region=\"y\"} 20\nb_total{tacho_region=\"z\"} 10\n";
    assert_eq!(body, expected);
    // Whoever else is in view: the same bytes for the same series.
    let (alone, _) = rendered(&sources[..1], &Options::default());
    assert!(alone.lines().all(|line| body.contains(line)));
    let renamed = Options { region_label: "shard".into() };
    assert!(rendered(&sources, &renamed).0.contains("a_total{shard=\"y\"} 21\n"));
}

#[test]
fn without_a_region_label_there_can_be_one_region() {
    let region = |name: &str| Builder::default().family(counter("a_total"), &[("", &[1])]).build(name, 0);
    let none = Options { region_label: String::new() };
    assert_eq!(rendered(&[region("a")], &none).0.lines().last(), Some("a_total 1"));
    let two = Plan::new(&[region("a"), region("b")], &none);
    assert!(matches!(two, Err(PlanError::LabelNeeded { regions: 2 })));
    let same = Plan::new(&[region("a"), region("a")], &Options::default());
    assert!(matches!(same, Err(PlanError::SameName { .. })));
}

#[test]
fn the_oldest_region_stands_where_families_clash() {
    let old = Builder::default()
        .family(counter("kind_total"), &[("", &[1])])
        .family(bounds("bounds_seconds", &[1.0]), &[("", &[1, 0, 0])])
        .build("old", 1);
    let young = Builder::default()
        .family(Family::new("kind_total", "Other.", Kind::Gauge, Number::I64), &[("", &[2])])
        .family(bounds("bounds_seconds", &[1.0, 2.0]), &[("", &[1, 0, 0, 0])])
        .family(counter("bounds_seconds_count"), &[("", &[3])])
        .family(counter("fine_total"), &[("", &[4])])
        .family(
            Family { label_names: vec!["tacho_region".into()], ..counter("own_total") },
            &[(r#"tacho_region="x""#, &[5])],
        )
        .family(Family { label_names: vec!["le".into()], ..bounds("le_seconds", &[1.0]) }, &[(r#"le="x""#, &[1, 0, 0])])
        .build("young", 2);
    // The order in which they are found does not matter.
    let (body, clashes) = rendered(&[young, old], &Options::default());
    assert_eq!(
        clashes,
        [
            "family kind_total of region young is left out: it is of kind gauge, and region old has one of kind counter under that name",
            "family bounds_seconds of region young is left out: its bounds are not those of region old's histogram of that name",
            "family bounds_seconds_count of region young is left out: its bounds_seconds_count would be read as a part of bounds_seconds",
            "family own_total of region young is left out: it has a label tacho_region of its own",
            "family le_seconds of region young is left out: it has a label le of its own",
        ]
    );
    let names: Vec<String> = parse(&body).into_iter().map(|(name, ..)| name).collect();
    let expected = [
        "bounds_seconds_bucket",
        "bounds_seconds_bucket",
        "bounds_seconds_sum",
        "bounds_seconds_count",
        "fine_total",
        "kind_total",
    ];
    assert_eq!(names, expected);
}

#[test]
fn no_series_of_a_region_stands_beside_the_same_of_the_exporters_own() {
    let family = |name: &str| Family::new(name, "Help.", Kind::Gauge, Number::I64);
    let named = |name: &str, labels: &[&str]| Family {
        label_names: labels.iter().map(|label| (*label).to_owned()).collect(),
        ..family(name)
    };
    let own = Builder::default()
        .family(named("process_threads", &[]), &[("", &[1]), (r#"tacho_region="a""#, &[2])])
        .family(family("process_open_fds"), &[("", &[3])])
        .build("", 0);
    let own = Source::own(own.snapshot);
    let region = |name: &str| {
        Builder::default()
            .family(family("process_threads"), &[("", &[4])])
            .family(named("process_open_fds", &["kind"]), &[(r#"kind="socket""#, &[5])])
            .build(name, 1)
    };
    // Of region b the exporter says nothing: that one's own stands.
    let (body, clashes) = rendered(&[own.clone(), region("a"), region("b")], &Options::default());
    assert_eq!(clashes, ["family process_threads of region a is left out: the exporter shows the same series"]);
    let threads: Vec<f64> =
        parse(&body).into_iter().filter(|(name, ..)| name == "process_threads").map(|(.., value)| value).collect();
    assert_eq!(threads, [1.0, 2.0, 4.0]);
    // Without a label there is nothing that tells them apart.
    let (body, clashes) = rendered(&[own, region("a")], &Options { region_label: String::new() });
    assert_eq!(clashes.len(), 2, "{clashes:?}");
    assert!(clashes[0].ends_with("the exporter has a family of that name, and no label tells their series apart"));
    assert_eq!(parse(&body).len(), 3, "{body}");
}

#[test]
fn a_label_that_is_added_stands_once() {
    let mode =
        Family { states: vec!["a".into(), "b".into()], ..Family::new("mode", "Help.", Kind::StateSet, Number::U64) };
    let region = || Builder::default().family(mode.clone(), &[("", &[1])]).family(counter("a_total"), &[("", &[1])]);
    let options = |label: &str| Options { region_label: label.into() };
    let (body, clashes) = rendered(&[region().build("r", 1)], &options("mode"));
    assert_eq!(clashes, ["family mode of region r is left out: it has a label mode of its own"]);
    assert_eq!(parse(&body), [("a_total".to_owned(), vec![("mode".to_owned(), "r".to_owned())], 1.0)]);
    assert_eq!(parse(&rendered(&[region().build("r", 1)], &options("shard")).0).len(), 3);
    // The label that an open family's overflow series has.
    assert!(!options("overflow").is_usable() && options("shard").is_usable());
}

/// A scraper writes `up` and some `scrape_*` at each scrape; a series of that name and the target's labels alone would be written over
/// them.
#[test]
fn a_scraper_s_own_series_are_nobody_elses() {
    let none = Options { region_label: String::new() };
    let region = |labels: &str, names: &[&str]| {
        let label_names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        ["up", "scrape_duration_seconds", "upper"].into_iter().fold(Builder::default(), |builder, name| {
            let family = Family::new(name, "Help.", Kind::Gauge, Number::I64);
            builder.family(Family { label_names: label_names.clone(), ..family }, &[(labels, &[0])])
        })
    };
    for (labels, names, shown) in [("", &[][..], 1), (r#"pool="""#, &["pool"], 1), (r#"pool="a""#, &["pool"], 3)] {
        let (body, clashes) = rendered(&[region(labels, names).build("r", 1)], &none);
        assert_eq!((parse(&body).len(), clashes.len()), (shown, 3 - shown), "{body}");
        let (body, clashes) = rendered(&[region(labels, names).build("r", 1)], &Options::default());
        assert_eq!((parse(&body).len(), clashes.len()), (3, 0), "{body}");
    }
}

#[test]
fn an_empty_label_tells_no_series_apart() {
    let threads = |labels: &str, names: &[&str]| {
        let label_names = names.iter().map(|name| (*name).to_owned()).collect();
        let family = Family { label_names, ..Family::new("process_threads", "Help.", Kind::Gauge, Number::I64) };
        Builder::default().family(family, &[(labels, &[3])])
    };
    let own = Source::own(threads(r#"tacho_region="r""#, &["tacho_region"]).build("", 1).snapshot);
    for (region, shown) in [
        (threads("", &[]), 1),
        // To Prometheus the same series.
        (threads(r#"pool="""#, &["pool"]), 1),
        (threads(r#"pool="a""#, &["pool"]), 2),
    ] {
        let (body, clashes) = rendered(&[own.clone(), region.build("r", 2)], &Options::default());
        assert_eq!((parse(&body).len(), clashes.len()), (shown, 2 - shown), "{body}");
    }
}

#[test]
fn a_plan_stands_until_structure_or_regions_change() {
    let make = |value| Builder::default().family(counter("a_total"), &[("", &[value])]).build("r", 7);
    let first = make(1);
    let plan = Plan::new(std::slice::from_ref(&first), &Options::default()).expect("a plan");
    let snapshot = &first.snapshot;
    let next =
        Snapshot::from_parts(snapshot.region.clone(), Arc::clone(&snapshot.schema), vec![2], vec![]).expect("parts");
    let next = Source::region(Arc::new(next));
    assert!(plan.fits(std::slice::from_ref(&next)));
    let mut out = Vec::new();
    assert!(Exposition::new(Format::Text).render(&plan, std::slice::from_ref(&next), &mut out));
    assert!(out.ends_with(b" 2\n"));
    out.clear();
    // An equal structure that is another one: the plan can't know, and refuses.
    for other in [vec![make(1)], vec![next.clone(), make(1)], vec![]] {
        assert!(!plan.fits(&other) && !Exposition::new(Format::Text).render(&plan, &other, &mut out) && out.is_empty());
    }
    let own = Source::own(Arc::clone(&next.snapshot));
    assert!(!plan.fits(&[own]));
}

#[test]
fn an_empty_family_and_no_region_at_all_give_no_line() {
    let (body, _) = rendered(&[Builder::default().family(counter("a_total"), &[]).build("r", 0)], &Options::default());
    assert_eq!(body, "");
    assert_eq!(rendered(&[], &Options::default()).0, "");
}

#[test]
fn the_table_and_json_show_the_same_values() {
    let source = every_kind().build("mc-0", 1_700_000_000_000_000_000);
    let shown = table::values(&source.snapshot, &Filter::new("app_[!x]*"));
    assert_eq!(shown.lines().count(), 1, "no such metric: the header only");
    let shown = table::values(&source.snapshot, &Filter::new("app_s*"));
    let expected = "METRIC                      KIND       VALUE\n\
                    app_served_total{kind=\"a\"}  counter    18446744073709551615\n\
                    app_served_total{kind=\"b\"}  counter    0\n\
                    app_spent_seconds_total     counter    1234.5\n\
                    app_size_bytes              histogram  count 6, sum 2.0001005e+06, mean 333350, p50 <= 10, p99 past the last bound\n";
    assert_eq!(shown, expected);

    let entry = RegionEntry::new(source.snapshot.region.clone(), Now::read(), 0);
    let all = json::values(&entry, &source.snapshot, &Filter::default(), usize::MAX);
    assert_eq!(all["version"], 1);
    assert_eq!(all["region"]["name"], "mc-0");
    assert_eq!(all["truncated"], false);
    let family = |name: &str| {
        let families = all["families"].as_array().expect("families");
        families.iter().find(|family| family["name"] == name).cloned().expect("the family")
    };
    assert_eq!(family("app_served_total")["series"][0]["value"], u64::MAX);
    assert_eq!(family("app_served_total")["series"][0]["labels"]["kind"], "a");
    assert_eq!(family("app_ratio")["series"][0]["value"], "+Inf");
    assert!(family("app_low")["series"][0]["value"].is_null());
    assert_eq!(family("app_peak")["series"][0]["value"], 0);
    assert_eq!(family("app_mode")["series"][0]["states"]["idle"], false);
    assert_eq!(family("app_wait_seconds")["series"][0]["count"], 4);
    assert_eq!(family("app_wait_seconds")["series"][0]["buckets"][3]["upper"], "+Inf");
    let few = json::values(&entry, &source.snapshot, &Filter::default(), 1);
    assert_eq!(few["truncated"], true);
}
