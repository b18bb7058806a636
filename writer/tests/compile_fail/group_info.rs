// An info in a group has no place for what it tells.
use tachograph::{Info, Metrics, OpenFamily};

#[derive(Metrics)]
#[metrics(prefix = "app")]
struct Refused {
    /// What was built.
    build: Info,
    /// What runs: its labels are known when it starts.
    #[metric(labels = ["version", "revision"], budget = 1)]
    running: OpenFamily<Info, 2>,
}

tachograph::metrics! {
    struct Declared {
        /// What was built.
        build: Info = "app_build_info",
    }
}

fn main() {}
