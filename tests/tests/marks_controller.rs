//! The controller's actors as a reader finds them: stalled, panicked, and after kill -9. Their ids are in no metrics format.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use tachograph_exporter::evidence::{ActivityState, Evidence, Level, Stuck};
use tachograph_exporter::{RegionReader, Severity};
use tachograph_tests::controller::Controller;
use tachograph_tests::process::{eventually, tacho};
use tachograph_tests::tmpfs;

fn evidence(path: &Path) -> Option<Evidence> {
    RegionReader::open(path).ok()?.evidence().ok()
}

#[test]
fn a_stalled_and_a_panicked_meeting_are_told_until_after_the_kill() {
    let folder = tmpfs::folder();
    let path = folder.path().join("mc.tacho");
    let faults = ["--rate", "2000", "--churn", "20", "--panic-meeting-every", "0.4", "--stall-meeting", "0.3"];
    let mut controller = Controller::start(folder.path(), "mc", &faults);
    let told = |found: &Evidence| {
        let stalled = found.activities.actors.iter().find(|actor| actor.doing.as_deref() == Some("stall"));
        let panicked = found.activities.actors.iter().find(|actor| actor.state == ActivityState::Unwound);
        let line = found.notes.lines.iter().any(|note| note.level == Level::Error && note.text.contains("panicked"));
        let full = stalled.is_some_and(|actor| actor.mailbox_depth == actor.mailbox_capacity);
        full && panicked.is_some_and(|actor| actor.doing.as_deref() == Some("panic")) && line
    };
    let found = eventually("both faults", Duration::from_secs(30), || evidence(&path).filter(|found| told(found)));
    let stalled = found.activities.actors.iter().find(|actor| actor.doing.as_deref() == Some("stall")).expect("told");
    assert_eq!((stalled.actor.actor_type.as_str(), stalled.mailbox_capacity), ("meeting", 500));
    assert_eq!(stalled.stuck(u64::MAX), Some(Stuck::Full));
    for actor_type in ["controller", "connection"] {
        let mut all = found.activities.actors.iter().filter(|actor| actor.actor.actor_type == actor_type);
        assert!(
            all.any(|actor| actor.state == ActivityState::Live && actor.handled > 0),
            "no {actor_type} handled any"
        );
    }
    let beats = found.pulses.loops.iter().find(|pulse| pulse.name == "control-loop").expect("a pulse");
    assert!(!beats.broken, "{beats:?}");
    eventually("beats", Duration::from_secs(10), || {
        let now = evidence(&path)?.pulses.loops.into_iter().find(|pulse| pulse.name == "control-loop")?;
        (now.count > beats.count).then_some(())
    });

    let panicked = found.panics.latest.last().expect("a panic in the ring");
    let actor = panicked.by.actor.as_ref().unwrap_or_else(|| panic!("no actor panicked: {panicked:?}"));
    assert_eq!(actor.actor_type, "meeting", "{panicked:?}");

    controller.process.signal(Signal::SIGKILL);
    controller.process.wait(Duration::from_secs(10));
    let reader = RegionReader::open(&path).expect("a region");
    let dead = reader.evidence().expect("evidence");
    assert!(told(&dead), "{dead:?}");
    assert_eq!(dead.activities.overflows, 0);
    let findings = reader.verify();
    assert!(findings.iter().all(|finding| finding.severity != Severity::Error), "{findings:?}");

    // Ids are for people: no metrics format has one.
    let dir = folder.path().to_str().expect("UTF-8 path");
    let ids: Vec<&str> = dead
        .activities
        .actors
        .iter()
        .filter(|actor| actor.actor.actor_type != "controller")
        .map(|actor| actor.actor.id.as_str())
        .collect();
    assert!(ids.len() > 10, "{ids:?}");
    for format in ["--format=prom", "--format=openmetrics", "--json"] {
        let shown = tacho(&["show", "mc", format, "--region-dir", dir]);
        let mut text = String::from_utf8(shown.stdout).expect("text");
        if format == "--json" {
            // Beside the values it has the evidence, which is about actors.
            let all: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            text = all["families"].to_string();
        }
        assert!(text.contains("mc_actor_messages_total"), "{format}: {text}");
        for id in &ids {
            assert!(!text.contains(&format!("\"{id}\"")), "{format} shows {id}");
        }
    }
}

/// Killed at any moment, with actors coming and going: what is in the region stands or is left out.
#[test]
fn kill_9_leaves_slots_that_read() {
    for round in 0..15_u64 {
        let folder = tmpfs::folder();
        let path = folder.path().join("mc.tacho");
        let mut controller = Controller::start(folder.path(), "mc", &["--rate", "20000", "--churn", "2000"]);
        eventually("actors", Duration::from_secs(20), || {
            evidence(&path).filter(|found| found.activities.actors.len() > 50)
        });
        std::thread::sleep(Duration::from_millis(round * 7 % 50));
        controller.process.signal(Signal::SIGKILL);
        controller.process.wait(Duration::from_secs(10));
        let reader = RegionReader::open(&path).expect("a region");
        let found = reader.evidence().expect("evidence");
        assert!(
            found.activities.left_out <= 16,
            "no more than threads that were claiming: {}",
            found.activities.left_out
        );
        for actor in &found.activities.actors {
            assert!(["controller", "meeting", "connection"].contains(&&*actor.actor.actor_type), "{actor:?}");
            assert!(!actor.actor.id.is_empty() && actor.mailbox_depth <= actor.mailbox_capacity, "{actor:?}");
            assert_ne!(actor.doing.as_deref(), Some("(damaged)"), "{actor:?}");
        }
        let findings = reader.verify();
        assert!(findings.iter().all(|finding| finding.severity != Severity::Error), "{findings:?}");
    }
}
