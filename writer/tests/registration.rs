//! Registration: get-or-create, the rules, and refusals that leave the region as it was.

use tachograph::{Aggregation, Counter, Desc, Family, Gauge, LabelSet, LabelValue, Region, RegisterError};

tachograph::label_value! {
    #[derive(Debug)]
    enum Verb: "verb" { Get = "get", Put = "put" }
}
tachograph::label_value! {
    #[derive(Debug)]
    enum Class: "class" { Ok = "ok", Client = "4xx", Server = "5xx" }
}
/// Labels whose impls are written by hand, past the checks of the macros.
macro_rules! unchecked {
    ($name:ident, $key:literal, $($value:literal),+) => {
        #[derive(Clone, Copy)]
        struct $name;
        impl LabelValue for $name {
            const KEY: &'static str = $key;
            const VALUES: &'static [&'static str] = &[$($value),+];
            fn all() -> &'static [Self] {
                &[Self]
            }
            fn index(self) -> usize {
                0
            }
        }
    };
}
unchecked!(Twice, "twice", "same", "same");
unchecked!(Reserved, "le", "a");
unchecked!(Empty, "empty", "");

fn region() -> Region {
    Region::private("registration").expect("private memory")
}

#[test]
fn the_same_name_gives_the_same_cells_and_a_mismatch_names_both() {
    let region = region();
    let one = region.counter("app_served_total", "Requests served").expect("new");
    let two = region.counter("app_served_total", "Requests served").expect("the same");
    one.inc();
    assert_eq!(two.get(), 1);
    let error = region.float_counter("app_served_total", "Requests served").expect_err("another number");
    let said = error.to_string();
    assert!(matches!(error, RegisterError::Clash { .. }), "{said}");
    assert!(said.contains("counter of u64") && said.contains("counter of f64"), "{said}");
    assert!(region.counter("app_served_total", "Other help").is_err());
}

#[test]
fn every_label_set_has_its_own_cell() {
    let region = region();
    let family: Family<Counter, (Verb, Class)> =
        region.family(Desc::new("app_requests_total", "Requests")).expect("a family");
    for (index, (verb, class)) in [Verb::Get, Verb::Put]
        .into_iter()
        .flat_map(|v| [Class::Ok, Class::Client, Class::Server].map(|c| (v, c)))
        .enumerate()
    {
        assert_eq!((verb, class).index(), index);
        family.at((verb, class)).add(index as u64 + 1);
    }
    assert_eq!(family.at((Verb::Get, Class::Ok)).get(), 1);
    assert_eq!(family.at((Verb::Put, Class::Server)).get(), 6);
    let gauges: Family<Gauge<f64>, Verb> = region.family(Desc::new("app_load_ratio", "Load")).expect("gauges");
    gauges.at(Verb::Put).set(0.5);
    assert_eq!((gauges.at(Verb::Get).get(), gauges.at(Verb::Put).get()), (0.0, 0.5));
}

#[test]
fn names_that_would_be_exposed_twice_are_refused() {
    let region = region();
    region.counter("app_served_total", "Requests served").expect("a counter");
    let error = region.gauge::<i64>("app_served", "Served").expect_err("OpenMetrics shows the counter as app_served");
    assert!(matches!(error, RegisterError::Suffix { .. }), "{error}");
    assert!(error.to_string().contains("app_served_total"), "{error}");
}

#[test]
fn bad_labels_are_refused() {
    let region = region();
    let twice = region.family::<Counter, Twice>(Desc::new("app_a_total", "A"));
    assert!(matches!(twice, Err(RegisterError::Label { .. })), "{twice:?}");
    let reserved = region.family::<Counter, Reserved>(Desc::new("app_b_total", "B"));
    assert!(matches!(reserved, Err(RegisterError::Label { .. })), "{reserved:?}");
    let empty = region.family::<Counter, Empty>(Desc::new("app_d_total", "D"));
    assert!(matches!(empty, Err(RegisterError::Label { .. })), "{empty:?}");
    let same = region.family::<Counter, (Verb, Verb)>(Desc::new("app_c_total", "C"));
    assert!(matches!(same, Err(RegisterError::Label { .. })), "{same:?}");
}

#[test]
fn a_family_that_does_not_fit_is_an_error_that_names_the_builders_method() {
    let region = Region::builder("small").series(4).private().expect("private memory");
    region.counter("app_one_total", "One").expect("room for one");
    let error = region.family::<Counter, (Verb, Class)>(Desc::new("app_six_total", "Six")).expect_err("6 > 3");
    let said = error.to_string();
    assert!(matches!(error, RegisterError::Full { .. }), "{said}");
    assert!(said.contains("app_six_total") && said.contains("`series`"), "{said}");
    region.family::<Counter, Class>(Desc::new("app_three_total", "Three")).expect("nothing was taken by the refusal");
}

#[test]
fn aggregation_is_part_of_the_family() {
    let region = region();
    let desc = || Desc::new("app_cache_bytes", "Cache").unit("bytes");
    region.register::<Gauge<i64>>(desc().aggregation(Aggregation::Max)).expect("a gauge");
    assert!(region.register::<Gauge<i64>>(desc().aggregation(Aggregation::Min)).is_err());
}
