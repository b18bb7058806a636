// Names, units and HELP that registration would refuse are refused before it.
use tachograph::{Counter, Gauge, Metrics};

type Hits = Counter;

#[derive(Metrics)]
#[metrics(prefix = "app")]
struct AppMetrics {
    /// A counter without `_total`, under an alias.
    #[metric(name = "app_hits")]
    hits: Hits,
    /// A gauge with it.
    waiting_total: Gauge<i64>,
    /// No metric name.
    #[metric(name = "app-served_total")]
    served: Counter,
    /// A unit that the name does not end in.
    #[metric(name = "app_sent_total", unit = "bytes")]
    sent: Counter,
    /// A name that a histogram's parts have.
    latency_sum: Gauge<f64>,
}

#[derive(Metrics)]
#[metrics(prefix = "tacho")]
struct Reserved {
    /// The exporter's own.
    up: Gauge<i64>,
}

tachograph::metrics! {
    struct Declared {
        served: Counter = "declared_served_total",
    }
}

fn main() {}
