//! The facts that are counted: one value a counter series. A fact names the series it is counted in, and a place in the
//! arrays of a `Witness`. Made by whoever counts; holds no state.

use tachograph::LabelValue;

use crate::metrics::{ActorType, HeartbeatStatus, HeartbeatType};

/// Something that happens and is counted, in exactly one series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// An actor handled a message.
    Message(ActorType),
    /// A mailbox of an actor refused a message.
    Dropped(ActorType),
    /// An actor panicked.
    Panic(ActorType),
    /// A heartbeat was sent.
    Heartbeat(HeartbeatStatus, HeartbeatType),
}

impl Fact {
    /// How many facts, and so counter series, there are.
    pub const COUNT: usize = 3 * ACTORS + <HeartbeatStatus as LabelValue>::COUNT * BEATS;

    /// Every fact, in index order.
    pub fn all() -> impl Iterator<Item = Self> {
        let actors = |fact: fn(ActorType) -> Self| ActorType::all().iter().map(move |&actor| fact(actor));
        let beats = HeartbeatStatus::all()
            .iter()
            .flat_map(|&status| HeartbeatType::all().iter().map(move |&beat| Self::Heartbeat(status, beat)));
        actors(Self::Message).chain(actors(Self::Dropped)).chain(actors(Self::Panic)).chain(beats)
    }

    /// The fact's place: below [`Fact::COUNT`].
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Message(actor) => LabelValue::index(actor),
            Self::Dropped(actor) => ACTORS + LabelValue::index(actor),
            Self::Panic(actor) => 2 * ACTORS + LabelValue::index(actor),
            Self::Heartbeat(status, beat) => 3 * ACTORS + LabelValue::index(status) * BEATS + LabelValue::index(beat),
        }
    }

    /// The series as Prometheus shows it.
    ///
    /// ```
    /// use meeting_controller::{ActorType, Fact};
    /// assert_eq!(Fact::Panic(ActorType::Meeting).series(), r#"mc_actor_panics_total{actor_type="meeting"}"#);
    /// ```
    #[must_use]
    pub fn series(self) -> String {
        let of = |name: &str, actor: ActorType| format!("{name}{{{}=\"{}\"}}", ActorType::KEY, actor.as_str());
        match self {
            Self::Message(actor) => of("mc_actor_messages_total", actor),
            Self::Dropped(actor) => of("mc_messages_dropped_total", actor),
            Self::Panic(actor) => of("mc_actor_panics_total", actor),
            Self::Heartbeat(status, beat) => format!(
                "mc_gc_heartbeats_total{{{}=\"{}\",{}=\"{}\"}}",
                HeartbeatStatus::KEY,
                status.as_str(),
                HeartbeatType::KEY,
                beat.as_str()
            ),
        }
    }
}

const ACTORS: usize = <ActorType as LabelValue>::COUNT;
const BEATS: usize = <HeartbeatType as LabelValue>::COUNT;

#[cfg(test)]
mod tests {
    use super::Fact;

    #[test]
    fn indices_are_the_order_and_the_series_differ() {
        let facts: Vec<Fact> = Fact::all().collect();
        assert_eq!(facts.len(), Fact::COUNT);
        assert!(facts.iter().enumerate().all(|(place, fact)| fact.index() == place));
        let series: std::collections::HashSet<String> = facts.iter().map(|fact| fact.series()).collect();
        assert_eq!(series.len(), Fact::COUNT);
    }
}
