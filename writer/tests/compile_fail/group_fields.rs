// Fields that lack something, or say what is not known.
use tachograph::{Counter, Gauge, Metrics};

#[derive(Metrics)]
#[metrics(prefix = "pool_")]
struct Pool {
    /// Connections open.
    open: Gauge<i64>,
}

#[derive(Metrics)]
#[metrics(namespace = "app")]
#[metric(unit = "bytes")]
struct AppMetrics {
    served: Counter,
    ///
    failed: Counter,
    /// Bytes sent.
    #[metric(units = "bytes")]
    sent: Counter,
    /// Bytes received.
    #[metric(unit = "bytes", unit = "octets")]
    received: Counter,
    /// Jobs waiting.
    #[metric(aggregation = Average)]
    waiting: Gauge<i64>,
    /// Jobs running.
    #[metric(name = 3)]
    running: Gauge<i64>,
    #[metrics(prefix = "read")]
    readers: Pool,
    #[metrics(nested, prefix = "1st")]
    #[metric(unit = "bytes")]
    writers: Pool,
}

fn main() {}
