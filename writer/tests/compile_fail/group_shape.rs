// What is no group of metrics.
use tachograph::{Counter, Metrics};

#[derive(Metrics)]
struct Tuple(Counter);

#[derive(Metrics)]
enum NoStruct {
    A,
}

#[derive(Metrics)]
struct Generic<T> {
    /// Served.
    served: T,
}

fn main() {}
