//! `tacho demo`, as a newcomer runs it.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tachograph_tests::http::{free_port, get};
use tachograph_tests::process::{Running, binary, eventually, tacho};
use tachograph_tests::tmpfs;

#[test]
fn it_ends_by_itself_and_says_where_to_look() {
    let folder = tmpfs::folder();
    let dir = folder.path().to_str().expect("UTF-8 path");
    let address = format!("127.0.0.1:{}", free_port());
    let output = tacho(&["demo", "--for", "2", "--region-dir", dir, "--web.listen-address", &address]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for wanted in
        [format!("http://{address}/metrics"), "tacho".into(), "show meeting-controller".into(), "kill -9".into()]
    {
        assert!(said.contains(&wanted), "{wanted:?} is not in:\n{said}");
    }
    let listed = tacho(&["ls", "--json", "--region-dir", dir]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["regions"][0]["verdict"], "closed", "the child ended in order: {listed}");
}

#[test]
fn a_port_in_use_and_a_missing_directory_are_clear_errors() {
    let folder = tmpfs::folder();
    let dir = folder.path().to_str().expect("UTF-8 path");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let output = tacho(&["demo", "--for", "1", "--region-dir", dir, "--web.listen-address", &address]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("--web.listen-address"), "{said}");

    let address = format!("127.0.0.1:{}", free_port());
    let output = tacho(&["demo", "--for", "1", "--region-dir", "/nowhere/at/all", "--web.listen-address", &address]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/nowhere/at/all"), "{said}");
}

#[test]
fn a_killed_controller_is_told_and_the_demo_serves_on() {
    let folder = tmpfs::folder();
    let dir = folder.path().to_str().expect("UTF-8 path").to_owned();
    let port = free_port();
    let mut command = Command::new(binary("tacho"));
    command.args(["demo", "--region-dir", &dir, "--web.listen-address", &format!("127.0.0.1:{port}")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut demo = Running::start(&mut command);
    let pid = eventually("the controller's pid", Duration::from_secs(30), || {
        let listed = tacho(&["ls", "--json", "--region-dir", &dir]);
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).ok()?;
        (listed["regions"][0]["verdict"] == "running").then(|| listed["regions"][0]["pid"].as_i64())?
    });
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).expect("the controller is there");
    let scrape = eventually("region down in a scrape", Duration::from_secs(10), || {
        get(port, "/metrics")
            .filter(|reply| reply.body.contains("tacho_region_up{tacho_region=\"meeting-controller\"} 0"))
    });
    assert!(!scrape.body.contains("mc_meetings_active"), "a dead region's series go at once");
    demo.signal(Signal::SIGTERM);
    assert_eq!(demo.wait(Duration::from_secs(20)), Some(0));
}

#[test]
fn the_controller_ends_with_a_killed_demo() {
    let folder = tmpfs::folder();
    let dir = folder.path().to_str().expect("UTF-8 path").to_owned();
    let mut command = Command::new(binary("tacho"));
    command.args(["demo", "--region-dir", &dir, "--web.listen-address", &format!("127.0.0.1:{}", free_port())]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let demo = Running::start(&mut command);
    let verdict = || {
        let listed = tacho(&["ls", "--json", "--region-dir", &dir]);
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).ok()?;
        listed["regions"][0]["verdict"].as_str().map(str::to_owned)
    };
    eventually("a running controller", Duration::from_secs(30), || (verdict()? == "running").then_some(()));
    demo.signal(Signal::SIGKILL);
    eventually("an orderly end of the controller", Duration::from_secs(20), || (verdict()? == "closed").then_some(()));
}
