//! An application under one user, its reader under another: what the group may see, what nobody else may, and that
//! nobody takes "not allowed to look" for "nothing there".
//!
//! Needs root, to become two other users: a user namespace maps one id only. The ids are numbers that need no account.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tachograph_tests::exposition::Exposition;
use tachograph_tests::http::{free_port, get};
use tachograph_tests::process::{Running, binary, eventually};
use tachograph_tests::raw::as_user;
use tachograph_tests::tmpfs;

const WRITER: u32 = 12_345;
const GROUP: u32 = 23_456;
const READER: u32 = 65_534;
const MESSAGES: &str = "mc_actor_messages_total{actor_type=\"meeting\"}";
const LIMIT: Duration = Duration::from_secs(30);

/// The binaries where every user may run them: the tree itself may stand in somebody's home.
struct Programs(tempfile::TempDir);

impl Programs {
    fn new() -> Self {
        let root = nix::unistd::geteuid().is_root();
        assert!(root, "these tests become two other users: run them as root (`sudo ./ci/e2e.sh`)");
        let folder = tempfile::tempdir().expect("a temporary folder");
        mode(folder.path(), 0o755);
        for name in ["tacho", "meeting-controller"] {
            // Not by this process: a child that another test is just forking would hold the copy open for writing, and a
            // program that is can't be started ("Text file busy").
            let copied = Command::new("cp").arg(binary(name)).arg(folder.path().join(name)).status();
            assert!(copied.is_ok_and(|copied| copied.success()), "a copy of {name}");
        }
        Self(folder)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.0.path().join(name));
        command.current_dir("/").env_remove("TACHOGRAPH_DIR").stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null());
        command
    }

    /// A controller of the writer's, with these groups, once its region has values.
    fn controller(&self, dir: &Path, name: &str, gid: u32, args: &[&str]) -> Running {
        let mut command = self.command("meeting-controller");
        command.args(["--region", name, "--rate", "100", "--meetings", "2", "--region-dir"]).arg(dir).args(args);
        // A umask that leaves the group nothing: what the group needs is granted on purpose, not by luck.
        as_user(&mut command, WRITER, gid, &[], 0o077);
        let running = Running::start(&mut command);
        let pid = u64::from(running.0.id());
        eventually("the region has values", LIMIT, || {
            let shown = json(&root(&["show", name, "--json", "--region-dir", text(dir)]));
            let prom = root(&["show", name, "--format", "prom", "--region-dir", text(dir)]);
            let values = Exposition::parse(&String::from_utf8_lossy(&prom.stdout)).values;
            let busy =
                |series: &str, least: u64| values.get(series).and_then(|value| value.parse().ok()) >= Some(least);
            let all_there = busy("mc_meetings_active", 2) && busy(MESSAGES, 1);
            (shown["region"]["pid"] == pid && all_there).then_some(())
        });
        running
    }

    /// `tacho` as the reader, a member of these groups.
    fn reader(&self, groups: &[u32], args: &[&str]) -> Output {
        let mut command = self.command("tacho");
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        as_user(&mut command, READER, READER, groups, 0o022);
        command.output().expect("tacho runs")
    }

    fn serve(&self, groups: &[u32], dirs: &[&Path]) -> (Running, u16) {
        let port = free_port();
        let mut command = self.command("tacho");
        command.args(["serve", "--web.listen-address", &format!("127.0.0.1:{port}")]);
        for dir in dirs {
            command.arg("--region-dir").arg(dir);
        }
        as_user(&mut command, READER, READER, groups, 0o022);
        let running = Running::start(&mut command);
        eventually("the first scrape", LIMIT, || get(port, "/metrics"));
        (running, port)
    }
}

fn root(args: &[&str]) -> Output {
    tachograph_tests::process::tacho(args)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8 path")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

/// A folder of the writer's for the group, on tmpfs.
fn shared_folder(bits: u32) -> tempfile::TempDir {
    let folder = tmpfs::folder();
    chown(folder.path(), Some(WRITER), Some(GROUP)).expect("chown");
    mode(folder.path(), bits);
    folder
}

fn kill(mut running: Running) {
    running.signal(Signal::SIGKILL);
    running.wait(LIMIT);
}

/// Everything about each file below a folder that a reader could change: all but the access time.
fn picture(dir: &Path) -> BTreeMap<PathBuf, [i64; 9]> {
    let mut files = BTreeMap::new();
    for path in fs::read_dir(dir).expect("the folder").map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            files.extend(picture(&path));
        }
        let stat = path.symlink_metadata().expect("metadata");
        let identity = [stat.ino() as i64, stat.nlink() as i64, i64::from(stat.mode()), stat.size() as i64];
        let [ino, nlink, mode, size] = identity;
        let times = [stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec()];
        let [mtime, mtime_ns, ctime, ctime_ns] = times;
        files.insert(path, [ino, nlink, mode, size, mtime, mtime_ns, ctime, ctime_ns, i64::from(stat.gid())]);
    }
    files
}

/// Both layouts of OPERATIONS: a directory of the application's group, and a setgid one of another group.
#[test]
fn the_group_reads_the_living_the_dead_and_the_archived_and_changes_nothing() {
    let programs = Programs::new();
    for (bits, writers_group) in [(0o750, GROUP), (0o2750, WRITER)] {
        let folder = shared_folder(bits);
        let dir = folder.path();
        kill(programs.controller(dir, "living", writers_group, &[]));
        let mut closed = programs.controller(dir, "closed", writers_group, &["--for", "1"]);
        assert_eq!(closed.wait(LIMIT), Some(0), "it ends by itself");
        kill(programs.controller(dir, "dead", writers_group, &[]));
        let living = programs.controller(dir, "living", writers_group, &[]);
        let before = picture(dir);
        assert_eq!(before.keys().filter(|path| path.extension().is_some_and(|end| end == "tacho")).count(), 4);

        let read = |args: &[&str]| programs.reader(&[GROUP], &[args, &["--region-dir", text(dir)]].concat());
        let listed = read(&["ls", "--json", "--archived"]);
        assert_eq!(listed.status.code(), Some(0), "{bits:o}: {}", said(&listed));
        let listed = json(&listed);
        let regions = listed["regions"].as_array().expect("regions");
        let verdicts: Vec<(&str, &str, bool)> = regions
            .iter()
            .map(|region| {
                let word = |key: &str| region[key].as_str().expect("text");
                (word("name"), word("verdict"), region["archived"].as_bool().expect("a bool"))
            })
            .collect();
        let mut expected = [
            ("closed", "closed", false),
            ("dead", "crashed", false),
            ("living", "crashed", true),
            ("living", "running", false),
        ];
        expected.sort_unstable();
        let mut found = verdicts.clone();
        found.sort_unstable();
        assert_eq!(found, expected, "{bits:o}");
        let alive = regions.iter().find(|region| region["verdict"] == "running").expect("the living one");
        assert_eq!(alive["pid"], u64::from(living.0.id()));
        for region in ["living", "closed", "dead", "living@crash"] {
            let shown = read(&["show", region, "--format", "prom"]);
            assert_eq!(shown.status.code(), Some(0), "{region}: {}", said(&shown));
            let shown = Exposition::parse(&String::from_utf8(shown.stdout).expect("text"));
            assert!(shown.integer(MESSAGES) > 0, "{region}");
            let verified = read(&["verify", region]);
            assert_eq!(verified.status.code(), Some(0), "{region}: {}", said(&verified));
        }
        let (_serve, port) = programs.serve(&[GROUP], &[dir]);
        let body = get(port, "/metrics").expect("a scrape").body;
        for line in [
            "tacho_region_up{tacho_region=\"living\"} 1",
            "tacho_region_up{tacho_region=\"dead\"} 0",
            "tacho_region_problems 0",
        ] {
            assert!(body.lines().any(|found| found == line), "{line}: {body}");
        }
        assert_eq!(Exposition::parse_of_region(&body, "living").integer("mc_meetings_active"), 2);
        assert_eq!(picture(dir), before, "{bits:o}: a reader changed something");
        // And could not have: neither make a file, nor write or replace one.
        for attempt in [": >new.tacho", ": >>living.tacho", ": >>living.lock", "rm -f dead.tacho", "mv dead.lock x"] {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", attempt]).current_dir(dir).stderr(Stdio::null());
            as_user(&mut shell, READER, READER, &[GROUP], 0o022);
            assert!(!shell.status().expect("a shell").success(), "{attempt}: the reader may write");
        }
    }
}

/// Whatever is in the way, and wherever: owner and group are named, the exit code says so, and nothing says "empty".
#[test]
fn who_may_not_look_is_told_whose_it_is() {
    let programs = Programs::new();
    let upper = shared_folder(0o755);
    let dir = upper.path().join("regions");
    fs::create_dir(&dir).expect("a folder");
    chown(&dir, Some(WRITER), Some(GROUP)).expect("chown");
    mode(&dir, 0o750);
    let _living = programs.controller(&dir, "living", GROUP, &[]);
    kill(programs.controller(&dir, "dead", GROUP, &[]));
    // Nothing at all; may list only; may enter only; the directory above is closed.
    for (upper_bits, bits) in [(0o755, 0o750), (0o755, 0o754), (0o755, 0o751), (0o750, 0o755)] {
        mode(upper.path(), upper_bits);
        mode(&dir, bits);
        let closed_bits = if upper_bits == 0o750 { upper_bits } else { bits };
        let whose = format!("owner {WRITER}, group {GROUP}, mode {closed_bits:04o}");
        let read = |args: &[&str]| programs.reader(&[], &[args, &["--region-dir", text(&dir)]].concat());
        let listed = read(&["ls"]);
        let heard = said(&listed);
        assert_eq!(listed.status.code(), Some(1), "{bits:o}: {heard}");
        assert!(heard.contains(&whose) && !heard.contains("no regions"), "{bits:o}: {heard}");
        assert_eq!(heard.lines().count(), 1, "said once: {heard}");
        let listed = read(&["ls", "--json", "--archived"]);
        assert_eq!(listed.status.code(), Some(1), "{bits:o}");
        let problems = json(&listed)["problems"].as_array().cloned().expect("problems");
        assert_eq!(problems.len(), 1, "{bits:o}: {problems:?}");
        assert!(problems[0]["error"].as_str().is_some_and(|error| error.contains(&whose)), "{problems:?}");
        for region in ["living", "dead", "dead@crash"] {
            for command in ["show", "verify"] {
                let refused = read(&[command, region]);
                let heard = said(&refused);
                assert_eq!(refused.status.code(), Some(1), "{bits:o} {command} {region}: {heard}");
                // Who may enter may ask for a name; then the file itself is in the way.
                let file = format!("owner {WRITER}, group {GROUP}, mode 0440");
                let named = heard.contains(&whose) || bits == 0o751 && heard.contains(&file);
                assert!(named, "{bits:o} {command} {region}: {heard}");
            }
        }
        let by_path = programs.reader(&[], &["show", text(&dir.join("living.tacho"))]);
        assert_eq!(by_path.status.code(), Some(1));
        assert!(said(&by_path).contains(&format!("owner {WRITER}, group {GROUP}")), "{}", said(&by_path));
    }
}

/// In a directory that a group shares a name is whose it was first. Who wants it, too, is told whose it is.
#[test]
fn a_name_of_another_user_is_refused_with_its_owner() {
    let programs = Programs::new();
    let folder = shared_folder(0o750);
    let dir = folder.path();
    chown(dir, Some(0), Some(GROUP)).expect("chown");
    mode(dir, 0o2770);
    let _living = programs.controller(dir, "mc-0", GROUP, &[]);
    let mut command = programs.command("meeting-controller");
    command.args(["--region", "mc-0", "--region-dir"]).arg(dir).stderr(Stdio::piped());
    as_user(&mut command, READER, READER, &[GROUP], 0o022);
    let refused = command.output().expect("the controller runs");
    let heard = said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{heard}");
    let whose = format!("owner {WRITER}, group {GROUP}, mode 0640, and this is user {READER}");
    assert!(heard.contains(&whose) && heard.contains("build under another name"), "{heard}");
}

/// A lock that can't be asked leaves the verdict open. The administrator opened the region to all, but not its lock.
#[test]
fn without_the_lock_nobody_is_called_dead() {
    let programs = Programs::new();
    let folder = shared_folder(0o755);
    let dir = folder.path();
    let _living = programs.controller(dir, "living", GROUP, &[]);
    mode(&dir.join("living.tacho"), 0o444);
    let read = |args: &[&str]| programs.reader(&[], &[args, &["--region-dir", text(dir)]].concat());
    for args in [&["ls"][..], &["ls", "--json"], &["show", "living"], &["verify", "living"]] {
        let refused = read(args);
        let heard = said(&refused);
        assert_eq!(refused.status.code(), Some(1), "{args:?}: {heard}");
        assert!(heard.contains("whether the writer lives can't be known"), "{args:?}: {heard}");
        assert!(heard.contains(&format!("owner {WRITER}, group {GROUP}, mode 0640")), "{args:?}: {heard}");
        assert!(!heard.contains("crashed") && !heard.contains("no regions"), "{args:?}: {heard}");
    }
    mode(&dir.join("living.lock"), 0o644);
    let listed = read(&["ls", "--json"]);
    assert_eq!(json(&listed)["regions"][0]["verdict"], "running", "{}", said(&listed));
}

/// `serve` goes on with what it may read, says that there is more, and picks it up when it may.
#[test]
fn permission_that_comes_later_is_picked_up() {
    let programs = Programs::new();
    let (open, shut) = (shared_folder(0o750), shared_folder(0o700));
    let _served = programs.controller(open.path(), "served", GROUP, &[]);
    let _hidden = programs.controller(shut.path(), "hidden", GROUP, &[]);
    let (_serve, port) = programs.serve(&[GROUP], &[open.path(), shut.path()]);
    let seen = || {
        let body = get(port, "/metrics").expect("a scrape").body;
        let line = |line: &str| body.lines().any(|found| found == line);
        assert!(line("tacho_region_up{tacho_region=\"served\"} 1"), "the other directory's region: {body}");
        (line("tacho_region_up{tacho_region=\"hidden\"} 1"), line("tacho_region_problems 1"), body.contains("hidden"))
    };
    for _ in 0..2 {
        mode(shut.path(), 0o700);
        assert_eq!(seen(), (false, true, false), "shut");
        mode(shut.path(), 0o750);
        assert_eq!(seen(), (true, false, true), "open");
    }
}
