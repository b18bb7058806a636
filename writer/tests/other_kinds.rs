//! Infos, state sets and watermarks of the smallest value: what they hold, and what is refused.

use tachograph::{
    Aggregation, Counter, Desc, Family, Gauge, Info, LabelValue, Region, RegisterError, Registrable, StateSet,
    WatermarkMax, WatermarkMin,
};

tachograph::label_value! {
    #[derive(Debug)]
    enum Phase: "phase" { Starting = "starting", Serving = "serving", Odd = "a \"b\"\n" }
}
tachograph::label_value! { enum Room: "room" { Red = "red", Blue = "blue" } }

/// By hand, since the macro refuses this at compile time.
#[derive(Clone, Copy)]
struct Twice(usize);

impl LabelValue for Twice {
    const KEY: &'static str = "twice";
    const COUNT: usize = 2;
    const VALUES: &'static [&'static str] = &["same", "same"];

    fn all() -> &'static [Self] {
        &[Self(0), Self(1)]
    }

    fn index(self) -> usize {
        self.0
    }

    fn as_str(self) -> &'static str {
        "same"
    }
}

tachograph::label_value! { enum Reserved: "app_phase" { One = "one" } }

fn region() -> Region {
    Region::private("kinds").expect("private memory")
}

#[test]
fn an_info_is_its_labels() {
    let region = region();
    let labels = [("version", "1.2.3"), ("path", "a\\b")];
    region.info("app_build_info", "Build", &labels).expect("fits");
    region.info("app_build_info", "Build", &labels).expect("the same again");
    let other = region.info("app_build_info", "Build", &[("version", "1.2.4"), ("path", "a\\b")]);
    assert!(matches!(other, Err(RegisterError::Clash { .. })));
    assert!(matches!(region.info("app_build", "", &labels), Err(RegisterError::Name { .. })));
    let twice = region.info("app_x_info", "", &[("a", "1"), ("a", "2")]);
    assert!(matches!(twice, Err(RegisterError::Label { .. })));
    let needs = Info::needs(&Desc::new("app_build_info", "Build"));
    assert_eq!((needs.series, needs.cells, needs.shared), (1, 0, 0));
}

#[test]
fn states_are_bits_of_their_own_series() {
    let region = region();
    let phases: Family<StateSet<Phase>, Room> = region.family(Desc::new("app_phase", "")).expect("fits");
    let (red, blue) = (phases.at(Room::Red), phases.at(Room::Blue));
    assert!(red.states().is_empty());
    red.set(Phase::Starting);
    red.set(Phase::Serving);
    blue.enable(Phase::Odd);
    blue.enable(Phase::Starting);
    blue.disable(Phase::Serving);
    assert_eq!(red.states(), [Phase::Serving]);
    assert_eq!(blue.states(), [Phase::Starting, Phase::Odd]);
    assert!(!red.is_enabled(Phase::Odd) && blue.is_enabled(Phase::Odd));
}

#[test]
fn states_that_break_a_rule_are_refused() {
    let region = region();
    let twice = region.state_set::<Twice>("app_twice", "").map(|_| ());
    assert!(twice.unwrap_err().to_string().contains("stand twice"));
    let family = region.family::<StateSet<Phase>, Reserved>(Desc::new("app_phase", "")).map(|_| ());
    assert!(family.unwrap_err().to_string().contains("the state set's own name"));
    let unit = region.register::<StateSet<Phase>>(Desc::new("app_phase_ratio", "").unit("ratio")).map(|_| ());
    assert!(matches!(unit, Err(RegisterError::Name { .. })));
    region.state_set::<Phase>("app_phase", "").expect("fits");
    let other = region.state_set::<Room>("app_phase", "").map(|_| ());
    assert!(matches!(other, Err(RegisterError::Clash { .. })));
}

#[test]
fn the_smallest_value_of_all_threads_stands() {
    let region = region();
    let least = region.watermark_min::<i64>("app_least", "").expect("fits");
    let ratio = region.watermark_min::<f64>("app_ratio_min", "").expect("fits");
    let most = region.watermark_max::<f64>("app_ratio_max", "").expect("fits");
    assert_eq!((least.get(), ratio.get(), most.get()), (None, None, None));
    std::thread::scope(|scope| {
        for thread in 0..4_i64 {
            scope.spawn(move || {
                for value in [thread, -thread, 10] {
                    least.record(value);
                    ratio.record(value as f64 / 8.0);
                    most.record(value as f64 / 8.0);
                }
                ratio.record(f64::NAN);
                most.record(f64::NAN);
            });
        }
    });
    assert_eq!((least.get(), ratio.get(), most.get()), (Some(-3), Some(-0.375), Some(1.25)));
    assert_eq!(least.since_start().map(|(value, _)| value), Some(-3));
    // The extremes of the type, and infinities.
    most.record(f64::INFINITY);
    ratio.record(f64::NEG_INFINITY);
    least.record(i64::MIN);
    assert_eq!((least.get(), ratio.get(), most.get()), (Some(i64::MIN), Some(f64::NEG_INFINITY), Some(f64::INFINITY)));
    let highest = region.watermark_min::<i64>("app_highest", "").expect("fits");
    highest.record(i64::MAX);
    assert_eq!(highest.get(), Some(i64::MAX - 1), "i64::MAX is recorded as its neighbour");
}

#[test]
fn what_is_added_up_over_regions_is_merged_in_no_other_way() {
    let region = region();
    let merged = |aggregation| Desc::new("app_x", "").aggregation(aggregation);
    let counter = region.register::<Counter>(Desc::new("app_x_total", "").aggregation(Aggregation::Newest)).map(|_| ());
    assert!(counter.unwrap_err().to_string().contains("merged by adding up"));
    region.register::<Gauge>(merged(Aggregation::Newest)).expect("a gauge may");
    let peak = region.register::<WatermarkMax>(merged(Aggregation::Max));
    assert!(peak.is_err(), "the name is a gauge's");
    let least: Result<WatermarkMin, _> = region.register(Desc::new("app_y", "").aggregation(Aggregation::Newest));
    assert!(least.is_ok());
}
