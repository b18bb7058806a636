//! Writes the cases of the dead, on a thread of its own: copying and compressing a region must cost the recorder no tick.
//!
//! Called by the recorder. What waits is bounded; a death past that is counted as an error and has its case after the next
//! start, if its region is still there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;

use super::fault::caught;
use super::library::Recordings;
use super::stats::RecorderStats;
use crate::RegionReader;
use crate::case::Shelf;
use crate::listing::chain;

/// Deaths that may wait.
const WAITING: usize = 64;

/// The thread that writes cases.
#[derive(Debug)]
pub(crate) struct Cases {
    deaths: Option<SyncSender<Arc<RegionReader>>>,
    thread: Option<JoinHandle<()>>,
    stats: Arc<RecorderStats>,
}

impl Cases {
    /// Starts to wait for deaths.
    pub(super) fn start(
        recorder: &Path,
        mut shelf: Shelf,
        stats: Arc<RecorderStats>,
        #[cfg(test)] inject: super::recorder::Inject,
    ) -> std::io::Result<Self> {
        let (deaths, waiting) = mpsc::sync_channel::<Arc<RegionReader>>(WAITING);
        let (recorder, counts): (PathBuf, _) = (recorder.to_owned(), Arc::clone(&stats));
        let thread = std::thread::Builder::new().name("tacho-cases".to_owned()).spawn(move || {
            for reader in waiting {
                let put = caught(|| {
                    #[cfg(test)]
                    inject(super::fault::Place::Case(reader.name()));
                    let recordings = Recordings::of_region(&recorder, reader.uuid()).ok();
                    let recorded = recordings.as_ref().and_then(|recordings| recordings.of_uuid(reader.uuid()));
                    shelf.put(&reader, recorded).map_err(|error| chain(&error))
                });
                match put.and_then(|put| put) {
                    Ok(Some(written)) => {
                        RecorderStats::add(&counts.cases, 1);
                        tracing::info!(region = %reader.name(), bytes = written.bytes, "a case was written");
                    }
                    Ok(None) => {}
                    Err(error) => {
                        RecorderStats::add(&counts.case_errors, 1);
                        tracing::warn!(region = %reader.name(), error, "no case was written");
                    }
                }
            }
        })?;
        Ok(Self { deaths: Some(deaths), thread: Some(thread), stats })
    }

    /// Has a case written of a dead region.
    pub(crate) fn write(&self, reader: &Arc<RegionReader>) {
        let sent = self.deaths.as_ref().map(|deaths| deaths.try_send(Arc::clone(reader)));
        if !matches!(sent, Some(Ok(()))) {
            RecorderStats::add(&self.stats.case_errors, 1);
            tracing::warn!(region = %reader.name(), "too many deaths at once: no case of this one yet");
        }
    }
}

impl Drop for Cases {
    fn drop(&mut self) {
        drop(self.deaths.take());
        if let Some(thread) = self.thread.take() {
            // It catches its panics itself.
            let _ = thread.join();
        }
    }
}
