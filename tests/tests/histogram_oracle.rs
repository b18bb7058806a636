//! Histograms against others that are known to be right: the `prometheus` crate's for own bounds, and for exponential
//! buckets the algorithm of Prometheus' Go client, with its table.

use proptest::prelude::*;
use tachograph::{Buckets, Region};
use tachograph_exporter::{RegionReader, Schema, Value};

/// A region with a file, and a reader of it.
fn region() -> (tempfile::TempDir, Region) {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let region = Region::builder("oracle").dir(folder.path()).build().expect("a region");
    (folder, region)
}

/// Bounds, buckets and sum of the region's one histogram, as its reader has them.
fn read(region: &Region) -> (Vec<f64>, Vec<u64>, f64) {
    let reader = RegionReader::open(region.path().expect("a file")).expect("a region");
    let snapshot = reader.snapshot().expect("a snapshot");
    let Schema { families, damaged, .. } = &*snapshot.schema;
    assert_eq!((families.len(), damaged.len()), (1, 0), "{damaged:?}");
    match snapshot.value(0) {
        Value::Histogram { buckets, sum } => (families[0].bounds.clone(), buckets.to_vec(), sum),
        other => panic!("{other:?}"),
    }
}

/// Bounds: finite, distinct, ascending; of all magnitudes, or close together.
fn bounds() -> impl Strategy<Value = Vec<f64>> {
    let magnitude = (-1e3..1e3_f64, -250..250_i32).prop_map(|(value, exponent)| value * 10f64.powi(exponent));
    let close = (-40..40_i32).prop_map(|step| 1.0 + f64::from(step) * f64::EPSILON);
    let plain = (-200..200_i32).prop_map(|tenths| f64::from(tenths) / 10.0);
    prop::collection::vec(prop_oneof![magnitude, close, plain], 1..40).prop_map(|mut bounds| {
        bounds.iter_mut().for_each(|bound| *bound += 0.0);
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        bounds
    })
}

/// Values at the bounds, their neighbours, and anywhere.
fn values(bounds: &[f64], more: &[f64]) -> Vec<f64> {
    let near = bounds.iter().flat_map(|bound| [*bound, bound.next_up(), bound.next_down()]);
    near.chain(more.iter().copied()).filter(|value| !value.is_nan()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn own_bounds_count_as_the_prometheus_crate(bounds in bounds(), more in prop::collection::vec(any::<f64>(), 0..20)) {
        let (_folder, region) = region();
        let ours = region.histogram::<f64>("x", "", Buckets::bounds(bounds.iter().copied())).expect("fits");
        let options = prometheus::HistogramOpts::new("x", "x").buckets(bounds.clone());
        let theirs = prometheus::Histogram::with_opts(options).expect("ascending");
        for value in values(&bounds, &more) {
            ours.observe(value);
            theirs.observe(value);
        }
        let (shown, buckets, sum) = read(&region);
        prop_assert_eq!(&shown, &bounds);
        let metric = prometheus::core::Metric::metric(&theirs);
        let metric = metric.get_histogram();
        let cumulative = buckets.iter().scan(0, |sum, bucket| { *sum += bucket; Some(*sum) });
        for (theirs, ours) in metric.get_bucket().iter().zip(cumulative) {
            prop_assert_eq!(ours, theirs.cumulative_count(), "le {}", theirs.upper_bound());
        }
        prop_assert_eq!(buckets.iter().sum::<u64>(), metric.get_sample_count());
        prop_assert_eq!(sum.to_bits(), metric.get_sample_sum().to_bits());
        prop_assert_eq!(ours.buckets().into_iter().map(|(_, count)| count).collect::<Vec<_>>(), buckets);
        prop_assert_eq!(ours.sum().to_bits(), sum.to_bits());
    }

    #[test]
    fn exponential_buckets_are_those_of_prometheus(
        schema in 0..=5,
        lower in (-250..200_i32, 1.0..2.0_f64),
        octaves in 1..30_i32,
        steps in prop::collection::vec(any::<u32>(), 40),
        more in prop::collection::vec(0.0..=f64::MAX, 10),
    ) {
        let lower = lower.1 * 2f64.powi(lower.0);
        let range = lower..=lower * 2f64.powi(octaves);
        let (_folder, region) = region();
        let ours = region.exponential_histogram("x", "", Buckets::exponential(schema, range.clone())).expect("fits");
        let uppers: Vec<f64> = ours.buckets().into_iter().map(|(upper, _)| upper).collect();
        let some: Vec<f64> = steps.iter().map(|step| uppers[*step as usize % (uppers.len() - 1)]).collect();
        let mut expected = vec![0; uppers.len()];
        let first = go::bucket(schema, lower.next_up());
        for value in values(&some, &more) {
            ours.observe(value);
            let bucket = if value <= lower { 0 } else { (go::bucket(schema, value) - first + 1) as usize };
            expected[bucket.min(uppers.len() - 1)] += 1;
        }
        let (shown, buckets, _) = read(&region);
        prop_assert_eq!(&buckets, &expected);
        prop_assert_eq!(&shown[..], &uppers[..uppers.len() - 1]);
        // The last bucket is the one that holds the range's upper end.
        prop_assert_eq!(shown.len() as i32 - 1, go::bucket(schema, *range.end()) - first + 1);
    }

    #[test]
    fn durations_count_as_their_seconds_would(
        schema in 0..=5,
        lower in 1..1_000_000_u32,
        octaves in 1..25_i32,
        more in prop::collection::vec(any::<u64>(), 10),
    ) {
        let lower = f64::from(lower) / 1e9;
        let buckets = Buckets::exponential(schema, lower..=lower * 2f64.powi(octaves));
        let (_folder, region) = region();
        let ours = region.exponential_duration_histogram("x_seconds", "", buckets.clone()).expect("fits");
        let private = Region::private("seconds").expect("private memory");
        let seconds = private.exponential_histogram("x_seconds", "", buckets).expect("fits");
        let edges: Vec<u64> = seconds.buckets().into_iter().map(|(upper, _)| (upper * 1e9) as u64).collect();
        for near in edges.iter().chain(&more) {
            for nanoseconds in [near.saturating_sub(1), *near, near.saturating_add(1)] {
                ours.observe_ns(nanoseconds);
                seconds.observe(nanoseconds as f64 / 1e9);
            }
        }
        prop_assert_eq!(ours.buckets(), seconds.buckets());
        prop_assert_eq!(read(&region).1, ours.buckets().into_iter().map(|(_, count)| count).collect::<Vec<_>>());
    }

    /// Two histograms added up are the histogram of both.
    #[test]
    fn buckets_add_up(values in prop::collection::vec(0.0..1e3_f64, 1..100), split in any::<prop::sample::Index>()) {
        let region = Region::private("sum").expect("private memory");
        let [one, two, both] = ["one", "two", "both"].map(|name| {
            region.exponential_histogram(name, "", Buckets::exponential(4, 1e-3..=500.0)).expect("fits")
        });
        let (left, right) = values.split_at(split.index(values.len()));
        left.iter().for_each(|value| one.observe(*value));
        right.iter().for_each(|value| two.observe(*value));
        values.iter().for_each(|value| both.observe(*value));
        let added: Vec<u64> = one.buckets().iter().zip(two.buckets()).map(|(one, two)| one.1 + two.1).collect();
        prop_assert_eq!(added, both.buckets().into_iter().map(|(_, count)| count).collect::<Vec<_>>());
    }
}

/// Every edge of every schema, over all powers of two, and its neighbours.
#[test]
fn every_edge_is_prometheus_own() {
    for schema in 0..=5 {
        let per_doubling = 1 << schema;
        let region = Region::builder("edges").cells(80_000).private().expect("private memory");
        let (low, high) = if schema == 5 { (-250, 250) } else { (-500, 500) };
        let range = 2f64.powi(low)..=2f64.powi(high);
        let ours = region.exponential_histogram("x", "", Buckets::exponential(schema, range)).expect("fits");
        let buckets = ours.buckets();
        assert_eq!(buckets.len() as i32, (high - low) * per_doubling + 2);
        for (upper, _) in &buckets[..buckets.len() - 1] {
            let bucket = go::bucket(schema, *upper);
            assert_eq!(go::bucket(schema, upper.next_up()), bucket + 1, "{upper} is no edge of schema {schema}");
            for value in [upper.next_down(), *upper, upper.next_up()] {
                ours.observe(value);
            }
        }
        // Each bucket has its own edge, what is next below it, and what is next above the edge before.
        let counts: Vec<u64> = ours.buckets().into_iter().map(|(_, count)| count).collect();
        assert_eq!((counts[0], counts[counts.len() - 1]), (2, 1));
        assert!(counts[1..counts.len() - 1].iter().all(|count| *count == 3), "schema {schema}");
    }
}

/// Which bucket a value is in, by the algorithm of Prometheus' Go client: the fraction in [0.5, 1) is looked up among the
/// bounds of the schema, and the exponent shifts what is found.
mod go {
    /// `nativeHistogramBounds[5]` of client_golang (and `exponentialBounds` of Prometheus): every coarser schema's are
    /// each second of the next finer one's.
    const BOUNDS: [f64; 32] = [
        0.5,
        0.5109485743270583,
        0.5221368912137069,
        0.5335702003384117,
        0.5452538663326288,
        0.5571933712979462,
        0.5693943173783458,
        0.5818624293887887,
        0.5946035575013605,
        0.6076236799902344,
        0.620928906036742,
        0.6345254785958666,
        0.6484197773255048,
        0.6626183215798706,
        0.6771277734684463,
        0.6919549409819159,
        0.7071067811865475,
        0.7225904034885232,
        0.7384130729697496,
        0.7545822137967112,
        0.7711054127039704,
        0.7879904225539431,
        0.805245165974627,
        0.8228777390769823,
        0.8408964152537144,
        0.8593096490612387,
        0.8781260801866495,
        0.8973545375015533,
        0.9170040432046711,
        0.9370838170551498,
        0.9576032806985735,
        0.9785720620876999,
    ];

    pub(crate) fn bucket(schema: i32, value: f64) -> i32 {
        let (fraction, exponent) = frexp(value);
        let bounds: Vec<f64> = BOUNDS.iter().copied().step_by(1 << (5 - schema)).collect();
        bounds.partition_point(|bound| *bound < fraction) as i32 + (exponent - 1) * bounds.len() as i32
    }

    /// `value` = fraction * 2^exponent, the fraction in [0.5, 1). By arithmetic: another way than the writer's.
    fn frexp(mut value: f64) -> (f64, i32) {
        let mut exponent = 0;
        while value >= 1.0 {
            value /= 2.0;
            exponent += 1;
        }
        while value < 0.5 && value > 0.0 {
            value *= 2.0;
            exponent -= 1;
        }
        (value, exponent)
    }
}
