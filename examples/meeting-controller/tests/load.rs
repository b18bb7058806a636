//! The load's own totals against the region's: what was answered and what was counted must be equal, exactly.

use std::sync::Arc;
use std::time::Duration;

use meeting_controller::load::{Load, LoadConfig, Totals};
use meeting_controller::{ActorMetrics, ActorType, Controller, ControllerConfig, Fact, McMetrics, Witness};
use tachograph::Region;
use tokio_util::sync::CancellationToken;

fn config(seed: u64) -> LoadConfig {
    LoadConfig {
        meetings: 4,
        connections_per_meeting: 5,
        rate: 5_000.0,
        churn: 300.0,
        seed,
        duration: Some(Duration::from_secs(2)),
        panic_meeting_every: None,
        stall_meeting: None,
    }
}

async fn run(config: LoadConfig) -> (Totals, McMetrics, Arc<Witness>, Region) {
    let region = Region::private("test").unwrap();
    let metrics = region.metrics::<McMetrics>().unwrap();
    let witness = Arc::new(Witness::unlimited());
    let actors = ActorMetrics::new(metrics).with_witness(Arc::clone(&witness));
    let controller = Controller::spawn(ControllerConfig::default(), &actors);
    let totals = Load::new(config, controller.clone(), CancellationToken::new()).run().await;
    controller.shutdown().await;
    (totals, metrics, witness, region)
}

#[tokio::test(start_paused = true)]
async fn totals_equal_the_region() {
    let (totals, metrics, witness, _region) = run(config(3)).await;
    assert_eq!((totals.sent, totals.dropped), (10_000, 0));
    let asked = totals.joined + totals.left + totals.disconnected + totals.reconnected;
    assert_eq!((totals.refused, totals.unanswered), (0, 0));
    assert_eq!(metrics.messages.at(ActorType::Meeting).get(), totals.sent + asked);
    assert_eq!(metrics.messages.at(ActorType::Controller).get(), totals.created + totals.removed);
    assert!(totals.left > 0 && totals.reconnected > 0);
    for actor in [ActorType::Controller, ActorType::Meeting, ActorType::Connection] {
        assert_eq!(metrics.messages.at(actor).get(), witness.done(Fact::Message(actor)));
        assert_eq!(metrics.dropped.at(actor).get(), witness.done(Fact::Dropped(actor)));
        assert_eq!(metrics.mailbox_depth.at(actor).get(), 0);
    }
    let delivered = metrics.messages.at(ActorType::Connection).get() + metrics.dropped.at(ActorType::Connection).get();
    assert!(delivered > 0 && delivered <= totals.sent);
}

#[tokio::test(start_paused = true)]
async fn faults_are_counted_exactly() {
    let mut config = config(5);
    config.panic_meeting_every = Some(Duration::from_millis(300));
    config.stall_meeting = Some(Duration::from_secs(1));
    let (totals, metrics, _witness, _region) = run(config).await;
    assert_eq!((totals.panicked + 1, totals.stalled), (totals.created - 4 - totals.removed + 1, 1));
    assert_eq!(metrics.panics.at(ActorType::Meeting).get(), totals.panicked);
    assert!(totals.panicked > 0 && totals.dropped >= 100);
    assert_eq!(metrics.dropped.at(ActorType::Meeting).get(), totals.dropped);
    assert_eq!(metrics.mailbox_peak.at(ActorType::Meeting).get(), Some(500));
    assert_eq!((metrics.meetings.get(), metrics.connections.get(), metrics.participants.get()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_seed_makes_the_same_run() {
    let (one, ..) = run(config(11)).await;
    let (two, ..) = run(config(11)).await;
    let (other, ..) = run(config(12)).await;
    assert_eq!(one, two);
    assert_ne!(one, other);
}
