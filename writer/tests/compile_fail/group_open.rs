// Settings of open families that are missing, of another kind's, or refused by registration.
use tachograph::{Counter, Metrics, OpenFamily};

#[derive(Metrics)]
#[metrics(prefix = "app")]
struct Refused {
    /// No settings at all.
    bare: OpenFamily<Counter, 1>,
    /// No budget.
    #[metric(labels = ["peer"])]
    unbounded: OpenFamily<Counter, 1>,
    /// No labels.
    #[metric(budget = 100)]
    unnamed: OpenFamily<Counter, 1>,
    /// One too few.
    #[metric(labels = ["peer"], budget = 100)]
    few: OpenFamily<Counter, 2>,
    /// None.
    #[metric(labels = [], budget = 100)]
    none: OpenFamily<Counter, 0>,
    /// No label's name.
    #[metric(labels = ["peer-name"], budget = 100)]
    malformed: OpenFamily<Counter, 1>,
    /// Reserved.
    #[metric(labels = ["peer", "le"], budget = 100)]
    reserved: OpenFamily<Counter, 2>,
    /// Twice.
    #[metric(labels = ["peer", "peer"], budget = 100)]
    twice: OpenFamily<Counter, 2>,
    /// The overflow series'.
    #[metric(labels = ["overflow"], budget = 100)]
    overflow: OpenFamily<Counter, 1>,
    /// Not open.
    #[metric(labels = ["peer"], budget = 100)]
    served: Counter,
    /// Not open.
    #[metric(linger_seconds = 60)]
    lingering: Counter,
}

fn main() {}
