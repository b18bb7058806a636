//! The writer, a process of its own: this test binary again, running one test that acts its part.
//!
//! It registers as many families as each line of its input says, while its threads write every series that is there.
//! At the end of the input's orders (`end`) it finishes every series, says so, and waits to be closed or killed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use tachograph::Region;
use tachograph_tests::process::Running;

use crate::workload::{FAMILIES, Handle, PAUSE, ROUNDS, THREADS, needs, register};

const DIR: &str = "REGISTERING_DIR";
const NAME: &str = "REGISTERING_NAME";

/// A writer as the test holds it.
pub(crate) struct Writer {
    pub(crate) process: Running,
    lines: Receiver<String>,
}

impl Writer {
    /// Starts it, and waits until its region is there.
    pub(crate) fn start(dir: &Path, name: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("the test's own path"));
        command.args(["--exact", "writer::acts", "--ignored", "--nocapture"]).env(DIR, dir).env(NAME, name);
        let mut process = Running::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let stdout = BufReader::new(process.0.stdout.take().expect("stdout is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let writer = Self { process, lines };
        writer.wait_for("region ready");
        writer
    }

    /// Orders the next families.
    pub(crate) fn order(&mut self, order: &str) {
        let input = self.process.0.stdin.as_mut().expect("stdin is piped");
        writeln!(input, "{order}").and_then(|()| input.flush()).expect("the writer takes orders");
    }

    /// Whether it has said that by now.
    pub(crate) fn said(&self, what: &str) -> bool {
        self.lines.try_iter().any(|line| line.ends_with(what))
    }

    fn wait_for(&self, what: &str) {
        let line = || self.lines.recv_timeout(Duration::from_secs(60)).expect("the writer speaks");
        while !line().ends_with(what) {}
    }
}

#[test]
#[ignore = "the part of the writing process, which the other tests start"]
fn acts() {
    let (Some(dir), Ok(name)) = (std::env::var_os(DIR), std::env::var(NAME)) else {
        panic!("{DIR} and {NAME} are not set: this is no test of its own");
    };
    let needs = needs();
    let builder = Region::builder(name).dir(dir).lanes(THREADS as usize + 3).families(needs.families);
    let builder = builder.series(needs.series).cells(needs.cells + 16).shared(needs.shared);
    let region = builder.string_bytes(needs.string_bytes).build().expect("a region");
    println!("region ready");
    let (mut senders, mut threads): (Vec<Sender<Vec<Handle>>>, Vec<_>) = (Vec::new(), Vec::new());
    for _ in 0..THREADS {
        let (sender, receiver) = channel();
        senders.push(sender);
        threads.push(std::thread::spawn(move || update(&receiver)));
    }
    let mut next = 0;
    let mut lines = std::io::stdin().lines().map_while(Result::ok);
    for order in lines.by_ref().take_while(|line| line != "end") {
        let count: usize = order.parse().expect("a number of families");
        for index in next..(next + count).min(FAMILIES) {
            let handles = register(&region, index);
            senders.iter().for_each(|sender| sender.send(handles.clone()).expect("the threads live"));
            // So that a snapshot, which takes longer, meets many registrations.
            std::thread::sleep(Duration::from_micros(200));
        }
        next = (next + count).min(FAMILIES);
    }
    drop(senders);
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    println!("all done");
    std::io::stdout().flush().expect("stdout");
    lines.for_each(drop);
    region.close();
}

/// Writes every series that comes in, each [`ROUNDS`] times or all the time; ends once no more can come.
fn update(handles: &Receiver<Vec<Handle>>) {
    let mut series: Vec<(Handle, u64)> = Vec::new();
    let mut more = true;
    loop {
        loop {
            match handles.try_recv() {
                Ok(new) => series.extend(new.into_iter().map(|handle| (handle, 0))),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    more = false;
                    break;
                }
            }
        }
        let mut written = 0;
        for (handle, done) in &mut series {
            let level = matches!(handle, Handle::UpDown(..));
            if level || *done < ROUNDS {
                handle.write();
                *done += 1;
                written += u64::from(!level);
            }
        }
        if !more && written == 0 {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    series.into_iter().for_each(|(handle, _)| handle.end());
}
