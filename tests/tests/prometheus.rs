//! Real readers: Debian's promtool and Prometheus server on the demo's output.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tachograph_tests::catalogue::CATALOGUE;
use tachograph_tests::exposition::Exposition;
use tachograph_tests::http::{free_port, get};
use tachograph_tests::process::{Running, binary, eventually, tool};
use tachograph_tests::tmpfs;

struct Demo {
    process: Running,
    port: u16,
    _folder: tempfile::TempDir,
}

fn demo() -> Demo {
    let folder = tmpfs::folder();
    let port = free_port();
    let mut command = Command::new(binary("tacho"));
    command.arg("demo").arg("--region-dir").arg(folder.path());
    command.arg("--web.listen-address").arg(format!("127.0.0.1:{port}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let process = Running::start(&mut command);
    eventually("the demo's metrics", Duration::from_secs(30), || {
        get(port, "/metrics").filter(|reply| reply.status == 200 && reply.body.contains("mc_meetings_active"))
    });
    Demo { process, port, _folder: folder }
}

#[test]
fn promtool_accepts_the_demos_output() {
    let demo = demo();
    let scrape = get(demo.port, "/metrics").expect("a scrape");
    assert!(scrape.headers.to_lowercase().contains("content-type: text/plain; version=0.0.4; charset=utf-8"));
    assert!(scrape.headers.to_lowercase().contains("content-length: "));
    let parsed = Exposition::parse(&scrape.body);
    assert!(parsed.types.keys().all(|family| parsed.helps.contains(family)), "every family has its HELP");
    for family in CATALOGUE {
        assert_eq!(parsed.types.get(family.name).map(String::as_str), Some(family.kind), "{}", family.name);
    }
    let joins: i128 = CATALOGUE
        .iter()
        .filter(|family| family.name == "mc_session_join_duration_seconds")
        .flat_map(|family| family.histograms(&parsed))
        .map(|histogram| histogram.count)
        .sum();
    assert!(joins > 0, "the demo's clients join");
    let mut check = Command::new(tool("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    check.stdin.take().expect("stdin is piped").write_all(scrape.body.as_bytes()).expect("promtool reads");
    let output = check.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "promtool check metrics");
}

#[test]
fn prometheus_scrapes_the_demo_and_answers() {
    let mut demo = demo();
    let port = free_port();
    let data = tempfile::tempdir().expect("a folder for Prometheus");
    let config = data.path().join("prometheus.yml");
    std::fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: tacho\n  static_configs:\n  - targets: ['127.0.0.1:{}']\n",
            demo.port
        ),
    )
    .expect("a config");
    let mut command = Command::new(tool("prometheus"));
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", data.path().join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Running::start(&mut command);

    let ask = |query: &str| -> Option<serde_json::Value> {
        let reply = get(port, &format!("/api/v1/query?query={query}"))?;
        let value: serde_json::Value = serde_json::from_str(reply.body.trim()).ok()?;
        value["data"]["result"].as_array()?.first().cloned()
    };
    let meetings =
        eventually("mc_meetings_active in Prometheus", Duration::from_secs(60), || ask("mc_meetings_active"));
    assert_eq!(meetings["metric"]["tacho_region"], "meeting-controller", "{meetings}");
    let value: f64 = meetings["value"][1].as_str().expect("a value").parse().expect("a number");
    assert!(value >= 1.0, "the demo has meetings: {meetings}");
    let rate = eventually("a rate of messages", Duration::from_secs(60), || {
        let rate = ask("sum(rate(mc_actor_messages_total%5B10s%5D))")?;
        (rate["value"][1].as_str()?.parse::<f64>().ok()? > 0.0).then_some(rate)
    });
    assert!(rate["value"][1].is_string());
    let targets = get(port, "/api/v1/targets").expect("targets");
    let targets: serde_json::Value = serde_json::from_str(targets.body.trim()).expect("JSON");
    let target = &targets["data"]["activeTargets"][0];
    assert_eq!((target["health"].as_str(), target["lastError"].as_str()), (Some("up"), Some("")), "{target}");

    demo.process.signal(Signal::SIGINT);
    assert_eq!(demo.process.wait(Duration::from_secs(20)), Some(0), "Ctrl-C ends the demo tidily");
}
