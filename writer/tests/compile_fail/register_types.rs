// What is not a single metric, registered as one.
use tachograph::{Counter, Desc, Family, LabelValue, OpenFamily, Region};

#[derive(Clone, Copy, LabelValue)]
enum Outcome {
    Ok,
    Failed,
}

fn main() {
    let region = Region::private("test").unwrap();
    let desc = || Desc::new("app_calls_total", "Calls");
    let _ = region.register::<Family<Counter, Outcome>>(desc());
    let _ = region.register::<OpenFamily<Counter, 1>>(desc());
    let _: u64 = region.register(desc()).unwrap();
}
