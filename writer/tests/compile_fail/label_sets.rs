// Sets that are none.
use tachograph::{Counter, Family, LabelSet, LabelValue, Metrics};

#[derive(Clone, Copy, LabelValue)]
enum A {
    X,
}
#[derive(Clone, Copy, LabelValue)]
enum B {
    X,
}
#[derive(Clone, Copy, LabelValue)]
enum C {
    X,
}
#[derive(Clone, Copy, LabelValue)]
enum D {
    X,
}
#[derive(Clone, Copy, LabelValue)]
enum E {
    X,
}

#[derive(Clone, Copy, LabelSet)]
struct Five {
    a: A,
    b: B,
    c: C,
    d: D,
    e: E,
}

#[derive(Clone, Copy, LabelSet)]
struct Tuple(A, B);

#[derive(Clone, Copy, LabelSet)]
enum NoStruct {
    X,
}

#[derive(Clone, Copy, LabelSet)]
struct NoLabel {
    a: A,
    host: &'static str,
}

#[derive(Metrics)]
struct FiveInATuple {
    /// Too many.
    calls: Family<Counter, (A, B, C, D, E)>,
}

fn main() {}
