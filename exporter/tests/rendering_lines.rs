//! Every line of a body against a renderer that is as plain as can be: names and labels of any length, values of any width,
//! again and again while values change and series come and go.

use std::fmt::Write as _;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use tachograph_exporter::exposition::{Exposition, Format};
use tachograph_exporter::plan::{Options, Plan, Source};
use tachograph_exporter::{Family, Kind, Number, RegionInfo, Schema, Series, Snapshot};

const BOUNDS: [f64; 3] = [0.5, 10.0, 1e6];

/// A family as the plain renderer sees it: a kind, and each series' label value and cells.
#[derive(Debug, Clone)]
struct Plain {
    kind: Kind,
    number: Number,
    series: Vec<(String, Vec<u64>)>,
}

const SHAPES: [(Kind, Number, usize); 6] = [
    (Kind::Counter, Number::U64, 1),
    (Kind::Counter, Number::F64, 1),
    (Kind::Gauge, Number::I64, 1),
    (Kind::Gauge, Number::F64, 1),
    (Kind::UpDownCounter, Number::I64, 2),
    (Kind::HistogramBounds, Number::F64, BOUNDS.len() + 2),
];

/// Integers of every width, and the bits of floats of every size.
fn cell(number: Number) -> BoxedStrategy<u64> {
    let integer = prop_oneof![
        (any::<u64>(), 0_u32..64).prop_map(|(value, shift)| value >> shift),
        (0_u32..20, 0_u64..2).prop_map(|(power, less)| 10_u64.pow(power) - less),
        Just(u64::MAX),
    ];
    let float = prop_oneof![
        any::<f64>(),
        (-2e6..2e6_f64, 0_i32..12).prop_map(|(value, scale)| value / 10_f64.powi(scale)),
        (-2_000_000_i64..2_000_000).prop_map(|value| value as f64),
        prop::sample::select(vec![0.0, -0.0, 1e300, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]),
    ];
    if number == Number::F64 { float.prop_map(f64::to_bits).boxed() } else { integer.boxed() }
}

fn family() -> impl Strategy<Value = Plain> {
    prop::sample::select(SHAPES.to_vec()).prop_flat_map(|(kind, number, cells)| {
        // Lengths about the sizes in which texts are copied, and some that no page holds.
        let label = prop_oneof![30 => "[a-z]{0,140}", 1 => "[a-z]{65000,66000}"];
        let integers = if kind == Kind::HistogramBounds { Number::U64 } else { number };
        let cells = (vec(cell(integers), cells), cell(number)).prop_map(move |(mut cells, sum)| {
            if let (Kind::HistogramBounds, Some(last)) = (kind, cells.last_mut()) {
                *last = sum;
            }
            cells
        });
        vec((label, cells), 0..40).prop_map(move |series| Plain { kind, number, series })
    })
}

/// The digits of the standard library in the form of Go's `%g` with the shortest digits.
fn go(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "NaN".into() } else { format!("{}Inf", if value > 0.0 { '+' } else { '-' }) };
    }
    let shortest = format!("{value:e}");
    let (digits, exponent) = shortest.split_once('e').expect("an exponent");
    let exponent: i32 = exponent.parse().expect("a number");
    let after_the_first = digits.bytes().filter(u8::is_ascii_digit).count() - 1;
    if value == 0.0 || (-4..6).contains(&exponent) {
        return format!("{value:.*}", after_the_first.saturating_add_signed(-exponent as isize));
    }
    // As many digits again, since of two that are as near as each other the shortest form is not the even one.
    let nearest = format!("{value:.after_the_first$e}");
    let (digits, _) = nearest.split_once('e').expect("an exponent");
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// What the families must look like.
fn plainly(families: &[Plain]) -> String {
    let mut body = String::new();
    for (index, Plain { kind, number, series }) in families.iter().enumerate().filter(|(_, one)| !one.series.is_empty())
    {
        let name = format!("app_{index:02}");
        let word = match kind {
            Kind::Counter => "counter",
            Kind::HistogramBounds => "histogram",
            _ => "gauge",
        };
        writeln!(body, "# HELP {name} Help.\n# TYPE {name} {word}").expect("a string takes it");
        for (label, cells) in series {
            let labels = format!("l=\"{label}\",tacho_region=\"r\"");
            let mut line = |suffix: &str, more: &str, value: String| {
                writeln!(body, "{name}{suffix}{{{labels}{more}}} {value}").expect("a string takes it");
            };
            match (kind, number) {
                (Kind::HistogramBounds, _) => {
                    let mut count = 0_u64;
                    for (le, cell) in ["0.5", "10.0", "1e+06", "+Inf"].into_iter().zip(cells) {
                        // Never more than native buckets can be, and never less than the bucket before.
                        count = count.saturating_add(*cell).min(i64::MAX as u64);
                        line("_bucket", &format!(",le=\"{le}\""), count.to_string());
                    }
                    line("_sum", "", go(f64::from_bits(cells[cells.len() - 1])));
                    line("_count", "", count.to_string());
                }
                (Kind::UpDownCounter, _) => line("", "", cells[0].wrapping_sub(cells[1]).cast_signed().to_string()),
                (_, Number::U64) => line("", "", cells[0].to_string()),
                (_, Number::I64) => line("", "", cells[0].cast_signed().to_string()),
                (_, Number::F64) => line("", "", go(f64::from_bits(cells[0]))),
            }
        }
    }
    body
}

fn snapshot(families: &[Plain], schema: Option<Arc<Schema>>) -> Snapshot {
    let (mut lane, mut shared, mut made) = (Vec::new(), Vec::new(), Schema::default());
    for (index, Plain { kind, number, series }) in families.iter().enumerate() {
        let mut family = Family::new(format!("app_{index:02}"), "Help.", *kind, *number);
        family.label_names = vec!["l".into()];
        if *kind == Kind::HistogramBounds {
            family.bounds = BOUNDS.to_vec();
        }
        family.series = made.series.len()..made.series.len() + series.len();
        for (slot, (label, cells)) in (0..).zip(series) {
            let plane = if kind.in_shared_plane() { &mut shared } else { &mut lane };
            made.series.push(Series {
                family: index,
                slot,
                generation: 0,
                labels: &format!("l=\"{label}\""),
                created_realtime_ns: 0,
                retired: false,
                cell: plane.len() as u64,
                cells: cells.len() as u32,
            });
            plane.extend_from_slice(cells);
        }
        made.families.push(family);
    }
    let region = RegionInfo { name: "r".into(), ..RegionInfo::default() };
    Snapshot::from_parts(region, schema.unwrap_or_else(|| Arc::new(made)), lane, shared).expect("consistent parts")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_body_is_what_a_plain_renderer_writes(rounds in vec((vec(family(), 0..5), any::<u64>()), 1..4)) {
        for (mut families, changes) in rounds {
            let mut sources = [Source::region(Arc::new(snapshot(&families, None)))];
            let plan = Plan::new(&sources, &Options::default()).expect("a plan");
            // Twice by one plan: the second time integers are of another width.
            for _ in 0..2 {
                // Behind what is there already, in a buffer of whatever size.
                let mut out = b"before".to_vec();
                prop_assert!(Exposition::new(Format::Text).render(&plan, &sources, &mut out));
                for format in [Format::Text, Format::OpenMetrics, Format::Protobuf, Format::Json] {
                    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
                    let exposition = Exposition { created: true, ..Exposition::new(format) };
                    prop_assert!(exposition.render(&plan, &sources, &mut whole));
                    prop_assert!(exposition.render_pieces(&plan, &sources, &mut |piece| pieces.extend_from_slice(piece)));
                    prop_assert!(whole == pieces, "{format:?} in pieces is another body");
                }
                let body = String::from_utf8(out).expect("UTF-8");
                prop_assert_eq!(body, format!("before{}", plainly(&families)));
                for plain in families.iter_mut().filter(|plain| plain.number != Number::F64) {
                    plain.series.iter_mut().for_each(|(_, cells)| cells[0] = cells[0].rotate_left(changes as u32) ^ changes);
                }
                let schema = Arc::clone(&sources[0].snapshot.schema);
                sources = [Source::region(Arc::new(snapshot(&families, Some(schema))))];
            }
        }
    }
}
