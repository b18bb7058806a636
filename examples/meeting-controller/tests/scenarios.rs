//! What must hold of the controller's metrics, one numbered scenario a test. Values are read back by the handles.
//!
//! Time is paused where a scenario is about time: it advances only while every task waits, so what a parent learns
//! within a second it learns without the next message. Scenario 12 was about counters that no longer exist; 25 stands in
//! `allocations.rs`.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meeting_controller::connection::ConnectionMessage;
use meeting_controller::controller::{ControllerMessage, Status};
use meeting_controller::heartbeat::{self, Heartbeat, HeartbeatSink, Intervals};
use meeting_controller::load::{Load, LoadConfig};
use meeting_controller::meeting::MeetingMessage;
use meeting_controller::metrics::{
    CallerType, ConnectionStatus, ExpectedCaller, FailureReason, FenceReason, GrpcService, JoinError, JoinStatus,
    MediaEvent, RefreshError, StoreOperation, TokenType, ValidationResult,
};
use meeting_controller::supervision::Outcome;
use meeting_controller::{
    ActorMetrics, ActorType, Controller, ControllerConfig, ControllerError, ControllerHandle, ControllerMetrics, Fact,
    HeartbeatStatus, HeartbeatType, MailboxLevel, MailboxMonitor, McMetrics, MeetingError, MeetingHandle, Refused,
    actor,
};
use tachograph::{DurationHistogram, LabelValue, Region};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

struct World {
    // Held so that the region does not close.
    _region: Region,
    metrics: McMetrics,
    actors: ActorMetrics,
}

fn world() -> World {
    let region = Region::private("test").unwrap();
    let metrics = region.metrics::<McMetrics>().unwrap();
    World { _region: region, metrics, actors: ActorMetrics::new(metrics) }
}

impl World {
    fn controller(&self) -> ControllerHandle {
        Controller::spawn(ControllerConfig::default(), &self.actors)
    }

    /// Meetings, connections, participants.
    fn active(&self) -> (i64, i64, i64) {
        (self.metrics.meetings.get(), self.metrics.connections.get(), self.metrics.participants.get())
    }

    fn depth(&self, actor: ActorType) -> i64 {
        self.metrics.actors.mailbox_depth.at(actor).get()
    }

    fn monitor(&self, actor: ActorType, capacity: usize) -> MailboxMonitor {
        MailboxMonitor::new(actor, "an-id", capacity, &self.actors)
    }
}

/// Lets all tasks run until they wait; under paused time this takes no time.
async fn settle() {
    sleep(Duration::from_millis(10)).await;
}

async fn stalled_meeting(controller: &ControllerHandle) -> MeetingHandle {
    let meeting = controller.create("stalled").await.unwrap();
    meeting.address().send(MeetingMessage::Stall).await.unwrap();
    settle().await;
    meeting
}

#[tokio::test(start_paused = true)]
async fn scenario_01_meetings_gauge() {
    let world = world();
    let controller = world.controller();
    for name in ["one", "two", "three"] {
        controller.create(name).await.unwrap();
    }
    controller.remove("two").await.unwrap();
    assert_eq!(controller.create("one").await.unwrap_err(), ControllerError::Conflict);
    assert_eq!(controller.remove("four").await, Err(ControllerError::UnknownMeeting));
    assert_eq!(controller.get("two").await.unwrap_err(), ControllerError::UnknownMeeting);
    assert_eq!(controller.get("one").await.unwrap().id().as_ref(), "one");
    assert_eq!(world.active(), (2, 0, 0));
    let status = controller.status().await.unwrap();
    assert_eq!(status, Status { meetings: 2, connections: 0, mailbox_depth: 0, draining: false });
}

#[test]
fn scenario_02_connections_gauge() {
    let world = world();
    (0..5).for_each(|_| world.actors.connection_created());
    world.actors.connection_closed();
    assert_eq!(world.active(), (0, 4, 0));
}

#[tokio::test(start_paused = true)]
async fn scenario_03_join_disconnect_reconnect() {
    let world = world();
    let controller = world.controller();
    let meeting = controller.create("m").await.unwrap();
    let first = meeting.join("ada").await.unwrap();
    assert_eq!(meeting.join("ada").await, Err(MeetingError::AlreadyJoined));
    assert_eq!(world.active(), (1, 1, 1));
    // The grace period counts from the disconnect, however long it was connected.
    sleep(Duration::from_secs(100)).await;
    meeting.disconnect(&first.connection).await.unwrap();
    assert_eq!(world.active(), (1, 0, 1));
    assert_eq!(meeting.disconnect(&first.connection).await, Err(MeetingError::UnknownConnection));
    assert_eq!(world.active(), (1, 0, 1));
    sleep(Duration::from_secs(29)).await;
    let second = meeting.reconnect("ada", first.token).await.unwrap();
    assert_eq!(world.active(), (1, 1, 1));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.active(), (1, 1, 1));
    // Back while the old connection still lives: it is replaced, and its late end changes nothing.
    let third = meeting.reconnect("ada", second.token).await.unwrap();
    assert_eq!(world.active(), (1, 1, 1));
    assert_eq!(meeting.disconnect(&second.connection).await, Err(MeetingError::UnknownConnection));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.active(), (1, 1, 1));
    // Away, back and away again: the first grace period must not end the second.
    meeting.disconnect(&third.connection).await.unwrap();
    sleep(Duration::from_secs(20)).await;
    let fourth = meeting.reconnect("ada", third.token).await.unwrap();
    meeting.disconnect(&fourth.connection).await.unwrap();
    sleep(Duration::from_secs(20)).await;
    assert_eq!(world.active(), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn scenario_04_reconnect_failure() {
    let world = world();
    let controller = world.controller();
    let meeting = controller.create("m").await.unwrap();
    let joined = meeting.join("ada").await.unwrap();
    meeting.disconnect(&joined.connection).await.unwrap();
    assert_eq!(meeting.reconnect("ada", joined.token + 1).await, Err(MeetingError::WrongToken));
    assert_eq!(world.active(), (1, 0, 1));
    let again = meeting.reconnect("ada", joined.token).await.unwrap();
    assert_eq!(meeting.reconnect("ada", joined.token).await, Err(MeetingError::WrongToken));
    assert_eq!(world.active(), (1, 1, 1));
    meeting.disconnect(&again.connection).await.unwrap();
    sleep(Duration::from_secs(31)).await;
    assert_eq!(meeting.reconnect("ada", again.token).await, Err(MeetingError::UnknownParticipant));
    assert_eq!(world.active(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn scenario_05_grace_expiry() {
    let world = world();
    let controller = world.controller();
    let meeting = controller.create("m").await.unwrap();
    let joined = meeting.join("ada").await.unwrap();
    meeting.join("bea").await.unwrap();
    meeting.disconnect(&joined.connection).await.unwrap();
    sleep(Duration::from_secs(29)).await;
    assert_eq!(world.active(), (1, 1, 2));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.active(), (1, 1, 1));
    sleep(Duration::from_secs(100)).await;
    assert_eq!(world.active(), (1, 1, 1));
    assert_eq!(meeting.leave("ada").await, Err(MeetingError::UnknownParticipant));
    assert_eq!(world.active(), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn scenario_05_grace_is_configurable() {
    let world = world();
    let mut config = ControllerConfig::default();
    config.grace = Duration::from_millis(500);
    let controller = Controller::spawn(config, &world.actors);
    let meeting = controller.create("m").await.unwrap();
    let joined = meeting.join("ada").await.unwrap();
    meeting.disconnect(&joined.connection).await.unwrap();
    sleep(Duration::from_millis(490)).await;
    assert_eq!(world.active(), (1, 0, 1));
    sleep(Duration::from_millis(20)).await;
    assert_eq!(world.active(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn scenario_06_leave() {
    let world = world();
    let controller = world.controller();
    let meeting = controller.create("m").await.unwrap();
    meeting.join("ada").await.unwrap();
    meeting.join("bea").await.unwrap();
    meeting.leave("ada").await.unwrap();
    assert_eq!(world.active(), (1, 1, 1));
    assert_eq!(meeting.leave("ada").await, Err(MeetingError::UnknownParticipant));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.active(), (1, 1, 1));
}

#[tokio::test]
async fn scenario_07_mass_leave() {
    for members in [4, 100] {
        let world = world();
        let controller = world.controller();
        let meeting = controller.create("m").await.unwrap();
        let names: Vec<String> = (0..members).map(|member| format!("member-{member}")).collect();
        for name in &names {
            meeting.join(name).await.unwrap();
        }
        assert_eq!(world.active(), (1, members, members));
        let leaves = names.into_iter().map(|name| {
            let meeting = meeting.clone();
            tokio::spawn(async move { meeting.leave(&name).await })
        });
        for leave in leaves.collect::<Vec<_>>() {
            leave.await.unwrap().unwrap();
        }
        assert_eq!(world.active(), (1, 0, 0));
        controller.shutdown().await;
        assert_eq!(world.active(), (0, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn scenario_08_end_remove_shutdown() {
    for end in ["end", "remove", "shutdown", "panic"] {
        let world = world();
        let controller = world.controller();
        let meeting = controller.create("m").await.unwrap();
        meeting.join("ada").await.unwrap();
        let away = meeting.join("bea").await.unwrap();
        meeting.disconnect(&away.connection).await.unwrap();
        meeting.join("cay").await.unwrap();
        assert_eq!(world.active(), (1, 2, 3));
        match end {
            "end" => meeting.address().send(MeetingMessage::End).await.unwrap(),
            "remove" => controller.remove("m").await.unwrap(),
            "panic" => meeting.address().send(MeetingMessage::Panic).await.unwrap(),
            _ => assert_eq!(controller.shutdown().await, Outcome::Finished),
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!(world.active(), (0, 0, 0), "{end}");
        let panics = u64::from(end == "panic");
        assert_eq!(world.metrics.actors.panics.at(ActorType::Meeting).get(), panics, "{end}");
        assert!(ActorType::all().iter().all(|&actor| world.depth(actor) == 0), "{end}");
        assert!(meeting.join("dee").await.is_err(), "{end}");
        assert_eq!(world.active(), (0, 0, 0), "{end}");
    }
}

#[tokio::test(start_paused = true)]
async fn scenario_08_shutdown_handles_what_was_taken_in() {
    let world = world();
    let controller = world.controller();
    let meeting = controller.create("m").await.unwrap();
    meeting.join("ada").await.unwrap();
    let before = world.metrics.actors.messages.at(ActorType::Meeting).get();
    for sequence in 0..150 {
        meeting.address().offer(MeetingMessage::Signal { sequence }).await.unwrap();
    }
    controller.shutdown().await;
    assert_eq!(world.metrics.actors.messages.at(ActorType::Meeting).get(), before + 150);
    assert_eq!(world.metrics.actors.messages.at(ActorType::Connection).get(), 150);
    assert_eq!(world.metrics.actors.dropped.at(ActorType::Connection).get(), 0);
    assert!(matches!(controller.create("late").await, Err(ControllerError::Refused(_))));
}

#[test]
fn scenario_09_underflow_first_step() {
    let world = world();
    world.actors.meeting_removed();
    world.actors.connection_closed();
    world.actors.participant_left();
    assert_eq!(world.active(), (0, 0, 0));
    let monitor = world.monitor(ActorType::Meeting, 10);
    monitor.take();
    assert_eq!((monitor.depth(), monitor.level(), world.depth(ActorType::Meeting)), (0, MailboxLevel::Normal, 0));
}

#[test]
fn scenario_10_underflow_later_steps() {
    let world = world();
    for _ in 0..2 {
        world.actors.meeting_removed();
        world.actors.connection_closed();
        world.actors.participant_left();
        assert_eq!(world.active(), (0, 0, 0));
    }
    world.actors.meeting_created();
    world.actors.connection_created();
    world.actors.participant_joined();
    assert_eq!(world.active(), (1, 1, 1));
    let monitor = world.monitor(ActorType::Meeting, 10);
    monitor.take();
    monitor.take();
    assert!(monitor.put());
    assert_eq!((monitor.depth(), world.depth(ActorType::Meeting)), (1, 1));
}

fn busy(seed: u64) -> LoadConfig {
    LoadConfig {
        meetings: 5,
        connections_per_meeting: 8,
        rate: 2_000.0,
        churn: 200.0,
        seed,
        duration: Some(Duration::from_secs(3)),
        panic_meeting_every: Some(Duration::from_millis(700)),
        no_replacement: false,
        stall_meeting: Some(Duration::from_secs(2)),
    }
}

#[tokio::test(start_paused = true)]
async fn scenario_11_single_source_of_truth() {
    for seed in 0..5 {
        let world = world();
        let controller = world.controller();
        let view = ControllerMetrics::new(world.metrics);
        let totals = Load::new(busy(seed), controller.clone(), &world.actors, CancellationToken::new()).run().await;
        settle().await;
        let (meetings, _, participants) = world.active();
        assert_eq!(meetings as u64, totals.created - totals.removed - totals.panicked);
        assert_eq!((view.snapshot().meetings, view.snapshot().participants), (meetings as u64, participants as u64));
        assert_eq!(controller.status().await.unwrap().meetings, meetings as u64);
        assert!(meetings > 0 && participants > 0);
        controller.shutdown().await;
        assert_eq!((view.snapshot().meetings, view.snapshot().participants), (0, 0));
    }
}

#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<(u64, Heartbeat)>>>, Option<Instant>);

impl Collected {
    fn beats(&self) -> MutexGuard<'_, Vec<(u64, Heartbeat)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seconds(&self, kind: HeartbeatType) -> Vec<u64> {
        self.beats().iter().filter(|(_, beat)| beat.kind() == kind).map(|(second, _)| *second).collect()
    }
}

impl HeartbeatSink for Collected {
    type Error = &'static str;

    async fn send(&mut self, heartbeat: &Heartbeat) -> Result<(), Self::Error> {
        let second = self.1.map_or(0, |start| start.elapsed().as_secs());
        self.beats().push((second, heartbeat.clone()));
        sleep(Duration::from_millis(30)).await;
        if second == 20 { Err("not now") } else { Ok(()) }
    }
}

#[tokio::test(start_paused = true)]
async fn scenario_13_heartbeat_payload() {
    use meeting_controller::HeartbeatStatus::{Error, Success};
    let world = world();
    let controller = world.controller();
    let mut last = None;
    for meeting in ["one", "two", "three"] {
        last = Some(controller.create(meeting).await.unwrap());
    }
    let meeting = last.unwrap();
    for member in 0..7 {
        meeting.join(&format!("member-{member}")).await.unwrap();
    }
    meeting.leave("member-0").await.unwrap();
    meeting.leave("member-1").await.unwrap();
    let sink = Collected(Arc::default(), Some(Instant::now()));
    let cancel = CancellationToken::new();
    let task = tokio::spawn(heartbeat::run(
        ControllerConfig::default(),
        Intervals::default(),
        world.actors.clone(),
        sink.clone(),
        cancel.clone(),
    ));
    sleep(Duration::from_secs(31)).await;
    controller.remove("one").await.unwrap();
    sleep(Duration::from_secs(30)).await;
    cancel.cancel();
    task.await.unwrap();
    assert_eq!(sink.seconds(HeartbeatType::Fast), [0, 10, 20, 30, 40, 50, 60]);
    assert_eq!(sink.seconds(HeartbeatType::Comprehensive), [0, 30, 60]);
    for (second, beat) in sink.beats().iter() {
        let meetings = if *second <= 30 { 3 } else { 2 };
        assert_eq!((beat.current_meetings, beat.current_participants), (meetings, 5), "at {second}");
        assert_eq!((beat.controller_id.as_str(), beat.max_meetings, beat.max_participants), ("mc-0", 1_000, 100_000));
        if let Some(memory) = beat.usage.and_then(|usage| usage.memory_percent) {
            assert!(memory > 0.0 && memory <= 100.0);
        }
    }
    let count = |status, kind| world.metrics.gc.heartbeats.at((status, kind)).get();
    assert_eq!((count(Success, HeartbeatType::Fast), count(Error, HeartbeatType::Fast)), (6, 1));
    assert_eq!((count(Success, HeartbeatType::Comprehensive), count(Error, HeartbeatType::Comprehensive)), (3, 0));
    // The round trip counts whether the heartbeat was taken or not.
    for (kind, beats) in [(HeartbeatType::Fast, 7), (HeartbeatType::Comprehensive, 3)] {
        let latency = world.metrics.gc.heartbeat_latency.at(kind);
        assert_eq!((latency.count(), latency.sum()), (beats, Duration::from_millis(30) * beats as u32));
    }
}

#[test]
fn scenario_14_panics_per_type() {
    let world = world();
    world.actors.record(Fact::Panic(ActorType::Controller));
    world.actors.record(Fact::Panic(ActorType::Meeting));
    world.actors.record(Fact::Panic(ActorType::Meeting));
    let panics = ActorType::all().iter().map(|&actor| world.metrics.actors.panics.at(actor).get());
    assert_eq!(panics.collect::<Vec<_>>(), [1, 2, 0]);
    // What lies beside it is untouched.
    assert!(ActorType::all().iter().all(|&actor| world.metrics.actors.messages.at(actor).get() == 0));
    assert!(ActorType::all().iter().all(|&actor| world.metrics.actors.dropped.at(actor).get() == 0));
}

#[tokio::test(start_paused = true)]
async fn scenario_15_panics_through_supervision() {
    let world = world();
    let controller = world.controller();
    let one = controller.create("one").await.unwrap();
    let two = controller.create("two").await.unwrap();
    one.join("ada").await.unwrap();
    two.join("bea").await.unwrap();
    let panics = |actor| world.metrics.actors.panics.at(actor).get();

    // A meeting: known within a second, though nobody sends the controller anything.
    one.address().send(MeetingMessage::Panic).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!((panics(ActorType::Meeting), world.active()), (1, (1, 1, 1)));
    assert_eq!(controller.remove("one").await, Err(ControllerError::UnknownMeeting));

    // A connection: its participant is away, and gone after the grace period.
    let message = MeetingMessage::ToConnection { participant: "bea".into(), message: ConnectionMessage::Panic };
    two.address().send(message).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!((panics(ActorType::Connection), world.active()), (1, (1, 0, 1)));
    sleep(Duration::from_secs(30)).await;
    assert_eq!(world.active(), (1, 0, 0));

    // One that ends by itself is no panic.
    two.join("cay").await.unwrap();
    let message = MeetingMessage::ToConnection { participant: "cay".into(), message: ConnectionMessage::HangUp };
    two.address().send(message).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!((panics(ActorType::Connection), world.active()), (1, (1, 0, 1)));

    // The controller itself: it takes its meetings with it, and is watched too.
    controller.address().send(ControllerMessage::Panic).await.unwrap();
    let outcome = controller.ended().await;
    assert!(matches!(outcome, Outcome::Panicked(message) if message.contains("controller")));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.active(), (0, 0, 0));
    assert_eq!(ActorType::all().iter().map(|&actor| panics(actor)).collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn scenario_15_a_stalled_parent_still_supervises() {
    let world = world();
    let controller = world.controller();
    let meeting = controller.create("m").await.unwrap();
    let ada = meeting.join("ada").await.unwrap();
    let message = MeetingMessage::ToConnection { participant: "ada".into(), message: ConnectionMessage::Panic };
    meeting.address().send(message).await.unwrap();
    meeting.address().send(MeetingMessage::Stall).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.metrics.actors.panics.at(ActorType::Connection).get(), 1);
    assert_eq!(world.active(), (1, 0, 1));
    assert_eq!(&*ada.connection, "m/connection-1");
}

#[tokio::test(start_paused = true)]
async fn scenario_16_drops() {
    let world = world();
    let monitor = world.monitor(ActorType::Meeting, 10);
    for _ in 0..3 {
        monitor.refuse().await;
    }
    world.monitor(ActorType::Connection, 10).refuse().await;
    let dropped = |actor| world.metrics.actors.dropped.at(actor).get();
    let by_type = || ActorType::all().iter().map(|&actor| dropped(actor)).collect::<Vec<_>>();
    assert_eq!(by_type(), [0, 3, 1]);
    assert_eq!((monitor.depth(), world.metrics.actors.mailbox_depth_peak.at(ActorType::Meeting).get()), (0, None));
    assert_eq!(monitor.level(), MailboxLevel::Critical);

    // By real overflow: a meeting that takes nothing.
    let controller = world.controller();
    let meeting = stalled_meeting(&controller).await;
    for sequence in 0..500 {
        meeting.address().offer(MeetingMessage::Signal { sequence }).await.unwrap();
    }
    for sequence in 0..7 {
        let refused = meeting.address().offer(MeetingMessage::Signal { sequence }).await;
        assert_eq!(refused, Err(Refused::Full));
    }
    assert_eq!(by_type(), [0, 10, 1]);
    assert_eq!((meeting.address().monitor().depth(), world.depth(ActorType::Meeting)), (500, 500));
    assert_eq!(meeting.address().monitor().level(), MailboxLevel::Critical);
    assert_eq!(world.metrics.actors.mailbox_depth_peak.at(ActorType::Meeting).get(), Some(500));

    // And of one that is gone.
    controller.remove("stalled").await.unwrap();
    assert_eq!(meeting.address().offer(MeetingMessage::End).await, Err(Refused::Closed));
    assert_eq!(by_type(), [0, 11, 1]);
    assert_eq!(world.depth(ActorType::Meeting), 0);
}

#[test]
fn scenario_17_one_mailbox() {
    let world = world();
    let monitor = world.monitor(ActorType::Meeting, 10);
    (0..5).for_each(|_| assert!(monitor.put()));
    let peak = || world.metrics.actors.mailbox_depth_peak.at(ActorType::Meeting).get();
    assert_eq!((world.depth(ActorType::Meeting), peak()), (5, Some(5)));
    (0..2).for_each(|_| monitor.take());
    assert_eq!((world.depth(ActorType::Meeting), monitor.depth(), peak()), (3, 3, Some(5)));
    assert_eq!(
        world.metrics.actors.mailbox_depth_peak.at(ActorType::Meeting).since_start().map(|(peak, _)| peak),
        Some(5)
    );
}

#[tokio::test]
async fn scenario_18_several_mailboxes() {
    let world = world();
    let (a, a_mailbox) = actor::mailbox::<u32>(ActorType::Meeting, "a", 500, &world.actors);
    let (b, mut b_mailbox) = actor::mailbox::<u32>(ActorType::Meeting, "b", 500, &world.actors);
    for message in 0..150 {
        a.offer(message).await.unwrap();
    }
    assert_eq!(world.depth(ActorType::Meeting), 150);
    b.offer(7).await.unwrap();
    assert_eq!(world.depth(ActorType::Meeting), 151);
    assert_eq!(b_mailbox.take().await, Some(7));
    assert_eq!(world.depth(ActorType::Meeting), 150);
    // The fullest single one, not the sum.
    assert_eq!(world.metrics.actors.mailbox_depth_peak.at(ActorType::Meeting).get(), Some(150));
    // The actor ends by a panic, with 150 outstanding, and its address lives on.
    let actor = tokio::spawn(async move {
        let _mailbox = a_mailbox;
        panic!("an actor's panic");
    });
    assert!(actor.await.unwrap_err().is_panic());
    assert_eq!(world.depth(ActorType::Meeting), 0);
    assert_eq!(a.offer(1).await, Err(Refused::Closed));
    assert_eq!((world.depth(ActorType::Meeting), a.monitor().depth()), (0, 0));

    let monitors: Vec<_> = ActorType::all().iter().map(|&actor| world.monitor(actor, 10)).collect();
    for monitor in &monitors {
        (0..5).for_each(|_| assert!(monitor.put()));
    }
    assert!(ActorType::all().iter().all(|&actor| world.depth(actor) == 5));
    drop(monitors);
    assert!(ActorType::all().iter().all(|&actor| world.depth(actor) == 0));
}

#[test]
fn scenario_18_withdrawal_races_with_senders() {
    let world = world();
    for _ in 0..200 {
        let monitor = world.monitor(ActorType::Meeting, 1_000);
        std::thread::scope(|scope| {
            scope.spawn(|| while monitor.put() {});
            scope.spawn(|| (0..50).for_each(|_| monitor.take()));
            scope.spawn(|| monitor.end());
        });
        assert_eq!((world.depth(ActorType::Meeting), monitor.depth()), (0, 0));
    }
}

/// Where a subscriber writes, and a test reads.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Logs {
    fn count(&self, level: &str) -> usize {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).lines().filter(|line| line.contains(level)).count()
    }

    fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + use<> {
        let logs = self.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || logs.clone())
            .finish()
    }
}

#[tokio::test]
async fn scenario_19_levels() {
    use MailboxLevel::{Critical, Normal, Warning};
    let world = world();
    let logs = Logs::default();
    let _subscriber = tracing::subscriber::set_default(logs.subscriber());
    for (actor, warning, critical) in
        [(ActorType::Controller, 100, 500), (ActorType::Meeting, 100, 500), (ActorType::Connection, 50, 200)]
    {
        let said = (logs.count("DEBUG"), logs.count("WARN"));
        let since = || (logs.count("DEBUG") - said.0, logs.count("WARN") - said.1);
        let monitor = world.monitor(actor, 1_000);
        let fill = |depth| while monitor.depth() < depth && monitor.put() {};
        let empty = |depth| {
            while monitor.depth() > depth {
                monitor.take()
            }
        };
        fill(warning);
        assert_eq!((monitor.level(), since()), (Normal, (0, 0)));
        fill(warning + 1);
        assert_eq!((monitor.level(), since()), (Warning, (1, 0)));
        fill(critical);
        assert_eq!((monitor.level(), since()), (Warning, (1, 0)));
        fill(critical + 1);
        assert_eq!((monitor.level(), since()), (Critical, (1, 1)));
        fill(critical + 90);
        assert_eq!((monitor.level(), since()), (Critical, (1, 1)));
        // Falling says nothing, and re-arms.
        empty(critical);
        assert_eq!((monitor.level(), since()), (Warning, (1, 1)));
        fill(critical + 1);
        assert_eq!((monitor.level(), since()), (Critical, (1, 2)));
        empty(0);
        assert_eq!((monitor.level(), since()), (Normal, (1, 2)));
        fill(warning + 1);
        assert_eq!((monitor.level(), since()), (Warning, (2, 2)));
    }
    // Full is Critical whatever the size, and so is a refusal.
    let said = logs.count("WARN");
    let small = world.monitor(ActorType::Meeting, 3);
    assert!(small.put() && small.put());
    assert_eq!(small.level(), Normal);
    assert!(small.put());
    assert_eq!((small.level(), logs.count("WARN") - said), (Critical, 1));
    small.refuse().await;
    assert_eq!((small.level(), logs.count("WARN") - said), (Critical, 1));
    small.take();
    assert_eq!(small.level(), Normal);
    small.refuse().await;
    assert_eq!((small.level(), logs.count("WARN") - said), (Critical, 2));
    assert!(logs.0.lock().unwrap().windows(5).any(|bytes| bytes == b"an-id"));
}

#[tokio::test(start_paused = true)]
async fn scenario_20_true_depth() {
    let world = world();
    let controller = world.controller();
    let meeting = stalled_meeting(&controller).await;
    for sequence in 0..450 {
        meeting.address().offer(MeetingMessage::Signal { sequence }).await.unwrap();
    }
    settle().await;
    assert_eq!((meeting.address().monitor().depth(), world.depth(ActorType::Meeting)), (450, 450));
    assert_eq!(meeting.address().monitor().level(), MailboxLevel::Warning);
    assert_eq!(world.metrics.actors.mailbox_depth_peak.at(ActorType::Meeting).get(), Some(450));
    // An orderly end handles them all.
    let before = world.metrics.actors.messages.at(ActorType::Meeting).get();
    controller.shutdown().await;
    assert_eq!(world.metrics.actors.messages.at(ActorType::Meeting).get() - before, 450);
    assert_eq!(world.depth(ActorType::Meeting), 0);
}

fn pairs<L: LabelValue>() -> Vec<String> {
    L::VALUES.iter().map(|value| format!("{}={value}", L::KEY)).collect()
}

#[tokio::test(start_paused = true)]
async fn scenario_21_labels() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let region = Region::builder("labels").dir(dir.path()).fit::<McMetrics>().build().unwrap();
    let actors = ActorMetrics::new(region.metrics::<McMetrics>().unwrap());
    let controller = Controller::spawn(ControllerConfig::default(), &actors);
    let meeting = controller.create("quarterly-review").await.unwrap();
    let joined = meeting.join("ada-lovelace").await.unwrap();
    Load::new(busy(7), controller.clone(), &actors, CancellationToken::new()).run().await;
    let bytes = std::fs::read(region.path().unwrap()).unwrap();
    controller.shutdown().await;

    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    for id in
        ["quarterly-review", "ada-lovelace", &*joined.connection, "meeting-0000", "participant-0000", "connection-1"]
    {
        assert!(!holds(id), "{id} is in the region");
    }
    // Every text of the form name="value" in the region is a label pair. A name has two letters at least: addresses in the
    // record of a panic may hold the two bytes between name and value by chance.
    let text: String = bytes.iter().map(|&byte| if byte.is_ascii_graphic() { byte as char } else { ' ' }).collect();
    let mut found = BTreeSet::new();
    for (start, _) in text.match_indices("=\"") {
        let key: String = text[..start].chars().rev().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let value: String = text[start + 2..].chars().take_while(|c| *c != '"').collect();
        if key.len() < 2 {
            continue;
        }
        found.insert(format!("{}={value}", key.chars().rev().collect::<String>()));
    }
    let allowed: BTreeSet<String> = [
        pairs::<ActorType>(),
        pairs::<HeartbeatStatus>(),
        pairs::<HeartbeatType>(),
        pairs::<StoreOperation>(),
        pairs::<FenceReason>(),
        pairs::<RefreshError>(),
        pairs::<ConnectionStatus>(),
        pairs::<ValidationResult>(),
        pairs::<TokenType>(),
        pairs::<FailureReason>(),
        pairs::<JoinStatus>(),
        pairs::<JoinError>(),
        pairs::<MediaEvent>(),
        pairs::<GrpcService>(),
        pairs::<ExpectedCaller>(),
        pairs::<CallerType>(),
    ]
    .into_iter()
    .flatten()
    .collect();
    // In the file texts stand back to back, so that the one before may seem part of a key.
    let found: BTreeSet<String> = found
        .into_iter()
        .map(|pair| match allowed.iter().filter(|known| pair.ends_with(*known)).max_by_key(|known| known.len()) {
            Some(known) => known.clone(),
            None => pair,
        })
        .collect();
    // Nothing else, and all of them: a closed set is there whether it was used or not.
    assert_eq!(found, allowed);
}

#[test]
fn scenario_22_eight_threads() {
    const CREATED: u64 = 100_000;
    for _ in 0..3 {
        let world = world();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let monitor = world.monitor(ActorType::Connection, usize::MAX >> 1);
                    for turn in 0..CREATED {
                        world.actors.connection_created();
                        world.actors.record(Fact::Message(ActorType::Connection));
                        assert!(monitor.put());
                        if turn >= 10 {
                            world.actors.connection_closed();
                            monitor.take();
                        }
                    }
                });
            }
        });
        assert_eq!(world.active(), (0, 80, 0));
        assert_eq!(world.metrics.actors.messages.at(ActorType::Connection).get(), 8 * CREATED);
        assert_eq!(world.depth(ActorType::Connection), 0);
        assert_eq!(world.metrics.actors.mailbox_depth_peak.at(ActorType::Connection).get(), Some(11));
    }
}

/// On the edge is in the bucket; a nanosecond more is in the next one.
#[test]
fn scenario_23_bucket_edges() {
    let world = world();
    let metrics = world.metrics;
    let get = metrics.store.latency.at(StoreOperation::Get);
    for microseconds in [1_000, 1_100, 2_000_000] {
        get.observe(Duration::from_micros(microseconds));
    }
    let counts = |histogram: DurationHistogram| histogram.buckets().into_iter().map(|(_, count)| count);
    assert_eq!(counts(get).collect::<Vec<_>>(), [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!((get.count(), get.sum()), (3, Duration::from_micros(2_002_100)));
    assert!(counts(metrics.store.latency.at(StoreOperation::Set)).all(|count| count == 0), "what lies beside it");

    let b1 = ["0.001", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1"];
    let b2 = ["0.01", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5"];
    let b3 = ["0.01", "0.025", "0.05", "0.1", "0.2", "0.5", "1", "2", "5"];
    for (histogram, bounds) in [
        (metrics.gc.heartbeat_latency.at(HeartbeatType::Fast), &b1[..]),
        (metrics.store.latency.at(StoreOperation::Zrange), &b1),
        (metrics.media.register_meeting_duration, &b1),
        (metrics.token.refresh_duration, &b2),
        (metrics.sessions.join_duration.at(JoinStatus::Failure), &b3),
    ] {
        let shown: Vec<String> = histogram.buckets().iter().map(|(bound, _)| bound.to_string()).collect();
        assert_eq!(shown, [bounds, &["inf"]].concat());
        for (place, (bound, _)) in histogram.buckets().into_iter().enumerate() {
            let before: Vec<u64> = counts(histogram).collect();
            let edge = if bound.is_finite() { Duration::from_secs_f64(bound) } else { Duration::MAX };
            histogram.observe(edge);
            histogram.observe(edge.saturating_add(Duration::from_nanos(1)));
            let mut expected = before;
            expected[place] += 1;
            let next = (place + 1).min(expected.len() - 1);
            expected[next] += 1;
            assert_eq!(counts(histogram).collect::<Vec<_>>(), expected, "around {bound}");
        }
    }
}

#[tokio::test]
async fn scenario_24_no_reader() {
    let world = world();
    assert_eq!(world.active(), (0, 0, 0));
    // Every series of a closed set is there, at 0. (Of the whole catalogue, as exported, `tests/tests/catalogue.rs` shows it.)
    let region = Region::private("empty").unwrap();
    let empty = region.metrics::<McMetrics>().unwrap();
    assert!(StoreOperation::all().iter().all(|&operation| empty.store.latency.at(operation).count() == 0));
    assert!(JoinError::all().iter().all(|&error| empty.sessions.join_failures.at(error).get() == 0));
    assert!(ActorType::all().iter().all(|&actor| world.depth(actor) == 0));
    // Nobody reads; nothing waits.
    let controller = world.controller();
    let mut config = busy(24);
    config.duration = Some(Duration::from_secs(1));
    let totals = Load::new(config, controller.clone(), &world.actors, CancellationToken::new()).run().await;
    controller.shutdown().await;
    assert!(totals.sent > 0);
    assert_eq!(world.active(), (0, 0, 0));
}
