//! Where the demo is found, and what it says: when it runs, when its workload dies, and at the end.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use serde_json::{Map, Value as Json, json};
use tachograph_exporter::json::Now;
use tachograph_exporter::{RegionInfo, RegionReader, table};

use super::{REGION, say, totals};
use crate::output;

/// Where the demo is found, and how to say so.
pub(super) struct Place {
    pub(super) address: String,
    pub(super) url: Option<String>,
    /// This executable as it can be called, and the flags that lead to the region.
    pub(super) command: (String, String),
    pub(super) recorder_dir: PathBuf,
    pub(super) json: bool,
}

impl Place {
    fn metrics(&self) -> String {
        self.url.as_ref().map_or_else(|| format!("{} /metrics", self.address), |url| format!("{url}/metrics"))
    }

    fn page(&self) -> String {
        self.url.as_ref().map_or_else(|| format!("{} /", self.address), |url| format!("{url}/"))
    }

    pub(super) fn say_running(&self, reader: &RegionReader, pid: u32) {
        if self.json {
            return say(&format!(
                "{}\n",
                json!({
                    "version": 1,
                    "event": "running",
                    "pid": pid,
                    "region": REGION,
                    "path": reader.path().display().to_string(),
                    "address": self.address,
                    "metrics": self.metrics(),
                    "recorder_dir": self.recorder_dir.display().to_string(),
                    "page": self.page(),
                })
            ));
        }
        let (tacho, flags) = &self.command;
        let curl = match &self.url {
            Some(url) => format!("curl {url}/metrics"),
            None => format!("curl --unix-socket {} http://tacho/metrics", self.address.trim_start_matches("unix:")),
        };
        let rows = [
            ("", "A meeting controller is running under load; every number it counts is in shared memory.".to_owned()),
            ("workload", format!("pid {pid}")),
            ("region", reader.path().display().to_string()),
            ("", String::new()),
            ("", "Look at it:".to_owned()),
            ("page", self.page()),
            ("metrics", curl),
            ("list", format!("{tacho} ls{flags}")),
            ("values", format!("{tacho} show {REGION}{flags}")),
            (
                "history",
                format!(
                    "{tacho} history {REGION} 'mc_actor_messages_total' --plot --recorder.dir={}",
                    quoted(&self.recorder_dir)
                ),
            ),
            ("", String::new()),
            ("", "Then kill it, and see that nothing is lost:".to_owned()),
            ("crash", format!("kill -9 {pid}")),
            ("verdict", format!("{tacho} ls{flags}")),
            ("last values", format!("{tacho} show {REGION}{flags}")),
            ("", String::new()),
            ("", "Ctrl-C ends the demo.".to_owned()),
        ];
        let mut text = String::new();
        for (name, value) in rows {
            let _ = match name {
                "" => writeln!(text, "{value}"),
                name => writeln!(text, "  {name:<13}{value}"),
            };
        }
        say(&text);
    }

    pub(super) fn say_death(&self, reader: &RegionReader, exit: &ExitStatus, pid: u32) {
        let verdict = reader.verdict().map_or_else(|error| error.to_string(), |verdict| verdict.to_string());
        if self.json {
            let exit = exit.to_string();
            let event = json!({"version": 1, "event": "died", "pid": pid, "exit": exit, "verdict": verdict});
            return say(&format!("{event}\n"));
        }
        let (tacho, flags) = &self.command;
        say(&format!(
            "\nThe workload, pid {pid}, is dead ({exit}). Its region says: {verdict}. What it counted is still there:\n  \
             {tacho} show {REGION}{flags}\nThe exporter goes on: tacho_region_up of it is 0 now. Ctrl-C ends the demo.\n"
        ));
    }

    pub(super) fn say_totals(&self, reader: &RegionReader) {
        let snapshot = match reader.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => return output::say(&tachograph_exporter::listing::chain(&error)),
        };
        let totals = totals(&snapshot);
        let RegionInfo { verdict, .. } = snapshot.region;
        if self.json {
            let object: Map<String, Json> = totals.into_iter().map(|(name, total)| (name, json!(total))).collect();
            return say(&format!(
                "{}\n",
                json!({"version": 1, "event": "ended", "verdict": verdict, "totals": object})
            ));
        }
        let uptime = table::span(snapshot.region.uptime_ns(Now::read().realtime_ns) as f64 / 1e9);
        let mut table = table::Table::new(&["TOTAL", ">COUNT"]);
        for (name, total) in totals.into_iter().filter(|(_, total)| *total > 0) {
            table.row(vec![name, total.to_string()]);
        }
        say(&format!(
            "\nThe demo has ended. The workload lived {uptime}; its region is {verdict}. What it counted:\n{table}"
        ));
    }
}

/// How to call this executable: by name where that is what the shell would find.
pub(super) fn command(directory: Option<&Path>) -> (String, String) {
    let executable = std::env::current_exe().unwrap_or_else(|_| "tacho".into());
    let same =
        |path: PathBuf| path.canonicalize().is_ok_and(|path| executable.canonicalize().is_ok_and(|own| own == path));
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::split_paths(&paths).map(|path| path.join("tacho")).find(|path| path.is_file());
    let tacho = if first.is_some_and(same) { "tacho".to_owned() } else { quoted(&executable) };
    (tacho, directory.map_or_else(String::new, |directory| format!(" --region-dir {}", quoted(directory))))
}

/// A path as a shell takes it.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(&byte);
    if text.bytes().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
