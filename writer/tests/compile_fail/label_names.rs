// Names and values that Prometheus or the exporter could not show.
use tachograph::{Counter, Family, LabelSet, LabelValue, Metrics};

#[derive(Clone, Copy, LabelValue)]
enum Le {
    Small,
}

#[derive(Clone, Copy, LabelValue)]
#[label(name = "tacho_kind")]
enum Kind {
    Small,
}

#[derive(Clone, Copy, LabelValue)]
#[label(name = "not-a-name")]
enum Dashed {
    Small,
}

#[derive(Clone, Copy, LabelValue)]
enum Twice {
    Small,
    Large,
    #[label(value = "small")]
    Tiny,
}

#[derive(Clone, Copy, LabelValue)]
enum Empty {
    #[label(value = "")]
    Small,
}

tachograph::label_value! {
    enum Declared: "__reserved" { Small = "small" }
}

#[derive(Clone, Copy, LabelValue)]
enum Peer {
    Front,
    Back,
}

#[derive(Clone, Copy, LabelSet)]
struct Pair {
    from: Peer,
    to: Peer,
}

#[derive(Metrics)]
struct Pairs {
    /// Calls between peers.
    calls: Family<Counter, (Peer, Peer)>,
}

fn main() {}
