//! A cleaner that removes the files of a living region: the writer goes on, notices at its next tick, and says which one.
//!
//! One test function: the log is the process's.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tachograph::Region;
use tachograph_tests::process::eventually;
use tachograph_tests::tmpfs;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines(&self, about: &str) -> Vec<String> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8_lossy(&bytes).lines().filter(|line| line.contains(about)).map(str::to_owned).collect()
    }
}

#[test]
fn a_writer_notices_which_of_its_files_was_removed() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let folder = tmpfs::folder();
    for (name, removed, said) in
        [("one", "one.tacho", "the region file was unlinked"), ("two", "two.lock", "the lock file was unlinked")]
    {
        let builder = Region::builder(name).dir(folder.path()).tick(Duration::from_millis(20));
        let region = builder.build().expect("a region");
        let served = region.counter("app_served_total", "Requests served").expect("a counter");
        let file = std::fs::File::open(region.path().expect("a file")).expect("the region's file");
        // docs/LAYOUT.md: the control word `unlinked`.
        let unlinked = || {
            let mut word = [0; 8];
            file.read_exact_at(&mut word, 4640).expect("the control block");
            u64::from_le_bytes(word)
        };
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!((unlinked(), log.lines(said).len()), (0, 0), "{name} has both its files");

        std::fs::remove_file(folder.path().join(removed)).expect("the cleaner may");
        eventually("the writer notices", Duration::from_secs(20), || (unlinked() == 1).then_some(()));
        served.inc();
        assert_eq!(served.get(), 1, "the writer goes on");
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(log.lines(said).len(), 1, "said once: {:?}", log.lines("unlinked"));
        region.close();
    }
}
