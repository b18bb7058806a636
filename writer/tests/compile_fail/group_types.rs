// Fields that are neither a metric nor a group.
use tachograph::{Counter, Gauge, Metrics};

#[derive(Metrics)]
struct Pool {
    /// Connections open.
    open: Gauge<i64>,
}

#[derive(Metrics)]
struct AppMetrics {
    /// Requests served.
    served: u64,
    /// A group that does not say so.
    pool: Pool,
    #[metrics(nested)]
    failed: Counter,
}

fn main() {}
