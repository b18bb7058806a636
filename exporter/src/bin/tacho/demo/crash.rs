//! `tacho demo --crash`: a meeting stalls and its mailbox fills, another one panics, the process aborts; then the report.
//!
//! The faults are the reference controller's own options. The minutes before are recorded as `tacho serve --recorder.dir`
//! does it, into a directory that goes with the demo.

use std::path::PathBuf;
use std::time::Duration;

use tachograph_exporter::Directories;
use tachograph_exporter::postmortem::{Neighbours, Subject};
use tachograph_exporter::recording::{RecorderConfig, Recordings, Tier};
use tachograph_exporter::serve::{Config, Server};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::place::command;
use super::workload::Workload;
use super::{DemoError, REGION, check_directory, check_owner, say};
use crate::cli::Demo;
use crate::serve::ended;

/// What goes wrong, and when.
const FAULTS: [&str; 17] = [
    "--meetings",
    "2",
    "--connections-per-meeting",
    "6",
    "--rate",
    "200",
    "--churn",
    "0",
    // With this one the meeting that panics is not the one that stalls.
    "--seed",
    "2",
    "--stall-meeting",
    "5",
    "--panic-meeting-every",
    "8",
    "--no-replacement",
    "--abort-after",
    "13",
];
/// How long the crash may take.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
/// How often the recorder samples, and how long it goes on after the death.
const INTERVAL: Duration = Duration::from_millis(200);

pub(super) async fn demo(args: &Demo) -> Result<(), DemoError> {
    let mut end = std::pin::pin!(ended());
    let region_dirs: Vec<PathBuf> = args.region_dir.iter().cloned().collect();
    let recorded = tempfile::tempdir().map_err(DemoError::Recording)?;
    let recorder = RecorderConfig {
        tiers: vec![Tier { interval: INTERVAL, keep: Duration::from_secs(600) }],
        max_bytes: 16 << 20,
        ..RecorderConfig::new(recorded.path())
    };
    let (listen, region_dirs_of_server) = (vec![args.listen.clone()], region_dirs.clone());
    let config = Config { listen, region_dirs: region_dirs_of_server, recorder: Some(recorder), ..Config::default() };
    let server = Server::bind(&config).await?;
    check_directory(args.region_dir.as_deref())?;
    let directories = Directories::from_args(region_dirs);
    check_owner(&directories)?;

    let mut workload = Workload::start(args.region_dir.as_deref(), &FAULTS)?;
    let reader = tokio::select! {
        reader = workload.wait_for_region(&directories) => reader?,
        () = &mut end => return workload.end().await,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(async {
        // The sender being dropped means the same.
        let _ = stopped.await;
    }));
    if !args.json {
        say(&format!(
            "A meeting controller is running, pid {}. In the next 15 seconds one of its meetings stalls and its mailbox\n\
             fills, another one panics, and then the process aborts. It is recorded meanwhile.\n\n",
            workload.pid
        ));
    }
    let status = tokio::select! {
        status = timeout(LONGEST, workload.child.wait()) => status.map_err(|_| DemoError::Survived)?.map_err(DemoError::Wait)?,
        () = &mut end => return workload.end().await,
    };
    workload.dead = true;
    if std::os::unix::process::ExitStatusExt::signal(&status).is_none() {
        return Err(DemoError::NotCrashed { status, stderr: workload.stderr_text().await });
    }
    // The recorder looks at the dead once more, and is then closed, so that all it saw is on disk.
    tokio::time::sleep(INTERVAL * 3).await;
    let _ = stop.send(());
    // It ends by itself within its own limit.
    let _ = serving.await;

    let recordings = Recordings::open(recorded.path())?;
    let recorded = recordings.of_uuid(reader.uuid());
    let neighbours = Neighbours::of(&directories);
    let report = Subject { reader: &reader, neighbours: &neighbours, recorded, known: None };
    let report = report.report()?;
    if args.json {
        say(&format!("{}\n", serde_json::to_string(&report).unwrap_or_default()));
        return Ok(());
    }
    let (tacho, flags) = command(args.region_dir.as_deref());
    say(&format!(
        "{report}\nThat was `{tacho} postmortem {REGION}{flags} --recorder.dir=DIR`, with the recording of this demo, which \
         is gone now.\nThe region stays: {tacho} show {REGION}{flags}\n"
    ));
    Ok(())
}
