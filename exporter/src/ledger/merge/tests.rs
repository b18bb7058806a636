//! How pictures of several regions become one, rule by rule, without a region.

use super::*;

/// One region's picture: a family with these cells of its only series.
fn part(name: &str, family: Family, cells: &[u64]) -> Part {
    several(name, family, &[("", cells)])
}

fn several(name: &str, mut family: Family, all: &[(&str, &[u64])]) -> Part {
    let (mut schema, mut words) = (Schema::default(), Vec::new());
    for (labels, cells) in all {
        assert_eq!(cells.len(), cells_of(&family), "as many as its kind has");
        let one = crate::Series {
            family: 0,
            slot: 0,
            generation: 0,
            labels,
            created_realtime_ns: 5,
            retired: false,
            cell: words.len() as u64,
            cells: cells.len() as u32,
        };
        schema.series.push(one);
        words.extend_from_slice(cells);
    }
    family.series = 0..all.len();
    let in_shared_plane = family.kind.in_shared_plane();
    schema.families.push(family);
    let (lane, shared) = if in_shared_plane { (Vec::new(), words) } else { (words, Vec::new()) };
    let picture = Snapshot::from_parts(RegionInfo::default(), Arc::new(schema), lane, shared).unwrap();
    Part { name: format!("region {name}"), picture: Arc::new(picture), folded: false }
}

fn family(kind: Kind, number: Number) -> Family {
    Family::new("app_x", "Some", kind, number)
}

/// The sum, and what was said of it.
fn sum(parts: &[Part]) -> (Snapshot, Vec<String>) {
    let merge = Merge::new(parts);
    (merge.sum(parts).unwrap(), merge.clashes.all().collect())
}

/// The cells of the only series of the sum of three.
fn of_three(family: &Family, cells: [&[u64]; 3]) -> Vec<u64> {
    let parts: Vec<Part> =
        ["a", "b", "c"].iter().zip(cells).map(|(name, cells)| part(name, family.clone(), cells)).collect();
    let (sum, clashes) = sum(&parts);
    assert_eq!(clashes, Vec::<String>::new());
    assert_eq!(sum.schema.series.len(), 1);
    [sum.lane, sum.shared].concat()
}

fn floats<const N: usize>(values: [f64; N]) -> [u64; N] {
    values.map(f64::to_bits)
}

#[test]
fn counters_add_up_and_stop_at_the_end() {
    let whole = family(Kind::Counter, Number::U64);
    assert_eq!(of_three(&whole, [&[1], &[20], &[300]]), [321]);
    assert_eq!(of_three(&whole, [&[u64::MAX - 1], &[1], &[7]]), [u64::MAX], "and never fall");
    let real = family(Kind::Counter, Number::F64);
    assert_eq!(of_three(&real, [&floats([0.5]), &floats([0.25]), &floats([1.0])]), floats([1.75]));
    // One that was spoilt does not spoil the others, wherever it stands.
    for spoilt in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(of_three(&real, [&floats([0.5]), &floats([spoilt]), &floats([1.0])]), floats([1.5]));
        assert_eq!(of_three(&real, [&floats([spoilt]), &floats([0.5]), &floats([1.0])]), floats([1.5]));
    }
}

#[test]
fn up_down_counters_add_their_ups_and_their_downs() {
    let family = family(Kind::UpDownCounter, Number::I64);
    assert_eq!(of_three(&family, [&[5, 3], &[10, 20], &[0, 1]]), [15, 24]);
    assert_eq!(of_three(&family, [&[u64::MAX, 0], &[2, 0], &[0, 0]]), [1, 0], "only the difference is shown");
}

#[test]
fn gauges_become_what_their_family_declares() {
    let minus = (-4_i64).cast_unsigned();
    for (aggregation, whole, real) in [
        (Aggregation::Sum, 3, 1.5),
        (Aggregation::Min, minus, -4.5),
        (Aggregation::Max, 5, 5.5),
        (Aggregation::Newest, 2, 0.5),
    ] {
        let declared = |number| Family { aggregation, ..family(Kind::Gauge, number) };
        assert_eq!(of_three(&declared(Number::I64), [&[5], &[minus], &[2]]), [whole], "{aggregation:?}");
        let three = [&floats([5.5])[..], &floats([-4.5]), &floats([0.5])];
        assert_eq!(of_three(&declared(Number::F64), three), floats([real]), "{aggregation:?}");
    }
    // The first one is no more than the others are: no 0 stands before it.
    for (aggregation, sign) in [(Aggregation::Min, 1), (Aggregation::Max, -1)] {
        let declared = |number| Family { aggregation, ..family(Kind::Gauge, number) };
        let whole = [5, 4, 7].map(|value: i64| [(sign * value).cast_unsigned()]);
        assert_eq!(of_three(&declared(Number::I64), whole.each_ref().map(|cell| &cell[..])), whole[1]);
        let real = [5.5, 4.5, 7.5].map(|value| floats([sign as f64 * value]));
        assert_eq!(of_three(&declared(Number::F64), real.each_ref().map(|cell| &cell[..])), real[1]);
    }
    let end = i64::MAX.cast_unsigned();
    assert_eq!(of_three(&family(Kind::Gauge, Number::I64), [&[end], &[end], &[0]]), [end]);
}

#[test]
fn a_watermark_is_the_extreme_and_when_that_was() {
    for kind in [Kind::WatermarkMax, Kind::WatermarkMin] {
        let family = family(kind, Number::U64);
        assert_eq!(of_three(&family, [&[4, 9, 10, 100], &[7, 2, 30, 300], &[1, 1, 20, 200]]), [7, 9, 30, 300]);
    }
}

#[test]
fn a_state_is_on_where_it_is_on_in_some_region() {
    let states = Family { states: vec!["a".into(), "b".into(), "c".into()], ..family(Kind::StateSet, Number::U64) };
    assert_eq!(of_three(&states, [&[0b001], &[0b100], &[0b001]]), [0b101]);
}

#[test]
fn infos_stand_side_by_side() {
    let info = family(Kind::Info, Number::U64);
    let parts =
        ["1", "2", "1"].map(|version| several(version, info.clone(), &[(&format!("version=\"{version}\""), &[])]));
    let (sum, _) = sum(&parts);
    let labels: Vec<&str> = sum.schema.series.iter().map(|series| series.labels).collect();
    assert_eq!(labels, ["version=\"1\"", "version=\"2\""]);
}

fn histogram(bounds: &[f64], number: Number) -> Family {
    Family { bounds: bounds.to_vec(), ..family(Kind::HistogramBounds, number) }
}

#[test]
fn histograms_of_the_same_bounds_add_bucket_by_bucket() {
    let whole = histogram(&[0.1, 1.0], Number::U64);
    assert_eq!(of_three(&whole, [&[1, 2, 3, 10], &[10, 20, 30, 100], &[0, 0, 1, 5]]), [11, 22, 34, 115]);
    let real = histogram(&[0.1, 1.0], Number::F64);
    let sum = f64::to_bits;
    assert_eq!(
        of_three(&real, [&[1, 2, 3, sum(0.5)], &[10, 20, 30, sum(-2.0)], &[0, 0, 1, sum(f64::NAN)]]),
        [11, 22, 34, sum(-1.5)]
    );
    let exponential = Family { kind: Kind::HistogramExponential, schema: 1, range: (0.1, 1.0), ..whole };
    assert_eq!(of_three(&exponential, [&[1, 2, 3, 10], &[10, 20, 30, 100], &[0, 0, 1, 5]]), [11, 22, 34, 115]);
}

#[test]
fn of_two_shapes_the_oldest_stands_and_the_rest_is_named_once() {
    let stands = histogram(&[0.1, 1.0], Number::U64);
    let others = [
        ("bounds", histogram(&[0.1, 2.0], Number::U64), 4),
        ("numbers", histogram(&[0.1, 1.0], Number::F64), 4),
        ("scale", Family { scale: 1e-9, ..stands.clone() }, 4),
        ("kind", family(Kind::Counter, Number::U64), 1),
        ("schema", Family { kind: Kind::HistogramExponential, schema: 2, ..stands.clone() }, 4),
    ];
    for (what, other, cells) in others {
        let other = |name| several(name, other.clone(), &[("", &vec![1; cells]), ("a=\"1\"", &vec![1; cells])]);
        let parts =
            [part("old", stands.clone(), &[1, 1, 1, 1]), other("new"), part("last", stands.clone(), &[1, 1, 1, 1])];
        let (sum, clashes) = sum(&parts);
        assert_eq!(sum.lane, [2, 2, 2, 2], "{what}");
        assert_eq!(sum.schema.families.len(), 1, "{what}");
        assert_eq!(clashes.len(), 1, "{what}: {clashes:?}");
        assert!(clashes[0].starts_with("family app_x of region new is left out of the sum"), "{clashes:?}");
    }
}

#[test]
fn of_two_shapes_the_one_that_the_folded_have_stands_so_that_no_total_begins_anew() {
    let (old, new) = (histogram(&[0.1, 1.0], Number::U64), histogram(&[0.1, 2.0], Number::U64));
    let folded = |family: &Family| Part { folded: true, ..part("gone", family.clone(), &[5, 5, 5, 5]) };
    let living = |name: &str, family: &Family| part(name, family.clone(), &[1, 1, 1, 1]);
    let stands = |parts: &[Part]| {
        let (sum, _) = sum(parts);
        (sum.schema.families[0].bounds[1], sum.lane[0])
    };
    // The older one has what the folded have not.
    assert_eq!(stands(&[living("a", &new), living("b", &old), folded(&old)]), (1.0, 6));
    assert_eq!(
        stands(&[living("a", &new), living("b", &new), folded(&old)]),
        (2.0, 2),
        "nobody has the old one any more"
    );
    assert_eq!(stands(&[folded(&old)]), (1.0, 5));
    assert_eq!(stands(&[living("a", &old), living("b", &new), folded(&old)]), (1.0, 6), "both say the same");
    // Where the folded have both, or neither, the older one of the living.
    for gone in [&[folded(&old), folded(&new)][..], &[folded(&new), folded(&old)], &[]] {
        for (older, younger) in [(&old, &new), (&new, &old)] {
            let all = [&[living("a", older), living("b", younger)], gone].concat();
            assert_eq!(stands(&all).0, older.bounds[1], "{} are gone", gone.len());
        }
    }
}

#[test]
fn another_help_or_unit_is_added_up_under_the_oldest_and_named_once() {
    let old = family(Kind::Counter, Number::U64);
    for (what, other) in
        [("HELP", Family { help: "Other".into(), ..old.clone() }), ("UNIT", Family { unit: "x".into(), ..old.clone() })]
    {
        let parts = [part("a", old.clone(), &[1]), part("b", other.clone(), &[2]), part("c", old.clone(), &[4])];
        let (sum, clashes) = sum(&parts);
        assert_eq!(sum.lane, [7]);
        assert_eq!((sum.schema.families[0].help.as_str(), sum.schema.families[0].unit.as_str()), ("Some", ""));
        assert_eq!(clashes, [format!("family app_x of region b is added up under the {what} of an older one")]);
    }
    // What is carried on has neither, and those of the folded are those of their time.
    let bare = Family { help: String::new(), ..old.clone() };
    let gone = Part { folded: true, ..part("gone", Family { help: "Once".into(), ..old.clone() }, &[8]) };
    let (sum, clashes) = sum(&[part("a", bare, &[1]), part("b", old, &[2]), gone]);
    assert_eq!((sum.lane, sum.schema.families[0].help.as_str(), clashes.len()), (vec![11], "Some", 0));
}

#[test]
fn series_meet_by_their_labels_and_not_by_their_place() {
    let counter = Family { label_names: vec!["a".into()], ..family(Kind::Counter, Number::U64) };
    let parts = [
        several("a", counter.clone(), &[("a=\"1\"", &[1]), ("a=\"2\"", &[20]), ("a=\"3\"", &[300])]),
        several("b", counter.clone(), &[("a=\"3\"", &[3]), ("a=\"1\"", &[1]), ("a=\"4\"", &[4])]),
        several("c", counter, &[("a=\"2\"", &[5]), ("a=\"3\"", &[5])]),
    ];
    let (sum, _) = sum(&parts);
    let shown: Vec<(&str, u64)> =
        sum.schema.series.iter().map(|one| (one.labels, sum.lane[one.cell as usize])).collect();
    assert_eq!(shown, [("a=\"1\"", 2), ("a=\"2\"", 25), ("a=\"3\"", 308), ("a=\"4\"", 4)]);
}

#[test]
fn series_side_by_side_add_up_each_by_itself_whatever_their_kind() {
    type Two = [Vec<u64>; 2];
    let real = |value: f64| value.to_bits();
    let states = Family { states: vec!["a".into(), "b".into()], ..family(Kind::StateSet, Number::U64) };
    let whole = |kind, number| family(kind, number);
    let cases: [(Family, Two, Two); 8] = [
        (whole(Kind::Counter, Number::U64), [vec![1], vec![2]], [vec![2], vec![4]]),
        (whole(Kind::Counter, Number::F64), [vec![real(0.5)], vec![real(0.25)]], [vec![real(1.0)], vec![real(0.5)]]),
        (whole(Kind::UpDownCounter, Number::I64), [vec![5, 1], vec![7, 2]], [vec![10, 2], vec![14, 4]]),
        (whole(Kind::Gauge, Number::I64), [vec![3], vec![4]], [vec![6], vec![8]]),
        (states, [vec![1], vec![2]], [vec![1], vec![2]]),
        (
            whole(Kind::WatermarkMax, Number::U64),
            [vec![4, 9, 10, 100], vec![5, 8, 20, 200]],
            [vec![4, 9, 10, 100], vec![5, 8, 20, 200]],
        ),
        (histogram(&[1.0], Number::U64), [vec![1, 2, 3], vec![4, 5, 6]], [vec![2, 4, 6], vec![8, 10, 12]]),
        (
            histogram(&[1.0], Number::F64),
            [vec![1, 2, real(0.5)], vec![4, 5, real(1.5)]],
            [vec![2, 4, real(1.0)], vec![8, 10, real(3.0)]],
        ),
    ];
    for (family, [one, two], wanted) in cases {
        let part = |name| several(name, family.clone(), &[("a=\"1\"", &one), ("a=\"2\"", &two)]);
        let (sum, _) = sum(&[part("a"), part("b")]);
        assert_eq!([sum.lane, sum.shared].concat(), wanted.concat(), "{:?} {:?}", family.kind, family.number);
    }
}
