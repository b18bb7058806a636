//! The alert rules that are shipped: promtool accepts them, they fire when they should, and name metrics that there are.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tachograph_tests::http::{free_port, get};
use tachograph_tests::process::{Running, binary, crash_victim, eventually, tool};

fn deploy() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy"))
}

fn promtool(args: &[&str]) {
    let output = Command::new(tool("promtool")).args(args).current_dir(deploy()).output().expect("promtool starts");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "promtool {args:?}: {}", said.concat());
}

#[test]
fn promtool_accepts_the_rules() {
    promtool(&["check", "rules", "--lint-fatal", "alerts.yml"]);
}

#[test]
fn the_rules_fire_when_they_should() {
    promtool(&["test", "rules", "alerts_test.yml"]);
}

#[test]
fn the_rules_name_metrics_that_there_are() {
    let folder = tachograph_tests::tmpfs::folder();
    let _region = tachograph::Region::builder("mc-0").dir(folder.path()).build().expect("a region");
    // A crash, of which some of them tell.
    let mut victim = Command::new(crash_victim());
    victim.arg(folder.path()).args(["hooks", "underscore_exit"]).stdin(Stdio::null());
    victim.status().expect("the victim runs");
    let port = free_port();
    let mut serve = Command::new(binary("tacho"));
    serve.arg("serve").arg("--region-dir").arg(folder.path());
    let book = tempfile::tempdir().expect("a folder");
    serve.arg("--merge").arg("--recorder.dir").arg(book.path());
    serve.arg("--web.listen-address").arg(format!("127.0.0.1:{port}"));
    let _serve = Running::start(serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
    let body = eventually("a scrape", Duration::from_secs(30), || get(port, "/metrics")).body;
    let rules = std::fs::read_to_string(deploy().join("alerts.yml")).expect("the rules");
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let words: Vec<&str> = rules.split(|char| !is_word(char)).filter(|word| word.starts_with("tacho_")).collect();
    let metrics: Vec<&str> = words.into_iter().filter(|word| *word != "tacho_region").collect();
    assert!(metrics.len() >= 15, "{metrics:?}");
    for metric in metrics {
        assert!(body.contains(&format!("\n# TYPE {metric} ")), "{metric} is not among\n{body}");
    }
}
