//! The server over real sockets: what Prometheus, a browser and a curious person get.
#![cfg(feature = "server")]

mod asking;
mod connections;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use tachograph::Region;
use tachograph_exporter::serve::{Config, Listen, ServeError, Server};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A folder for regions on tmpfs.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("a folder on tmpfs")
}

/// A server on a port that the system chose.
struct Served {
    runtime: Runtime,
    address: String,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    fn start(config: Config) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = runtime.block_on(Server::bind(&config)).expect("a server");
        let address = server.addresses().remove(0);
        let (end, ended) = oneshot::channel::<()>();
        let task = runtime.spawn(server.run(async {
            let _ = ended.await;
        }));
        Self { runtime, address, end, task }
    }

    fn dir(directory: &Path) -> Self {
        Self::start(config(directory))
    }

    /// Sends a request; gives status, head and body.
    fn ask(&self, method: &str, path: &str) -> (u16, String, String) {
        let stream = TcpStream::connect(&self.address).expect("a connection");
        ask(stream, method, path)
    }

    fn get(&self, path: &str) -> String {
        let (status, head, body) = self.ask("GET", path);
        assert_eq!(status, 200, "{head}\n{body}");
        body
    }

    fn end(self) {
        self.end.send(()).expect("it still serves");
        self.runtime.block_on(self.task).expect("it ends in order");
    }
}

fn config(directory: &Path) -> Config {
    Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        region_dirs: vec![directory.to_owned()],
        ..Config::default()
    }
}

fn ask(mut stream: impl Read + Write, method: &str, path: &str) -> (u16, String, String) {
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: tacho\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_ascii_lowercase(), body.to_owned())
}

#[test]
fn without_a_region_there_are_the_exporters_own_metrics() {
    let directory = folder();
    let served = Served::dir(directory.path());
    let (status, head, body) = served.ask("GET", "/metrics");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    for wanted in [
        "\ntacho_exporter_build_info{revision=\"",
        "\ntacho_region_problems 0\n",
        "\ntacho_family_clashes{result=\"left_out\"} 0\n",
        "\ntacho_family_clashes{result=\"shown\"} 0\n",
        "\ntacho_scrapes_total 1\n",
        "\ntacho_scrape_errors_total 0\n",
        "\nprocess_start_time_seconds ",
    ] {
        assert!(body.contains(wanted), "{wanted:?} is not in\n{body}");
    }
    let cpu = body.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total ")).expect("CPU time");
    let cpu: f64 = cpu.parse().expect("a number");
    assert!(cpu > 0.0 && cpu.fract() != 0.0, "in fractions of a second: {cpu}");
    assert!(served.get("/metrics").contains("\ntacho_scrapes_total 2\n"));
    served.end();
}

#[test]
fn a_healthy_region_is_served_beside_garbage() {
    let directory = folder();
    let region = Region::builder("healthy").dir(directory.path()).version("1.2").build().expect("a region");
    region.counter("app_served_total", "Requests served").expect("a counter").add(41);
    std::fs::write(directory.path().join("garbage.tacho"), [0x5a; 70_000]).expect("a file");
    std::fs::write(directory.path().join("empty.tacho"), []).expect("a file");
    let served = Served::dir(directory.path());
    let body = served.get("/metrics");
    assert!(body.contains("\napp_served_total{tacho_region=\"healthy\"} 41\n"), "{body}");
    assert!(body.contains("\ntacho_region_up{tacho_region=\"healthy\"} 1\n"), "{body}");
    assert!(body.contains("\ntacho_region_problems 2\n"), "{body}");
    let info = body.lines().find(|line| line.starts_with("tacho_region_info{")).expect("the region's info");
    assert!(info.contains("state=\"running\"") && info.contains("version=\"1.2\""), "{info}");

    let list: serde_json::Value = serde_json::from_str(&served.get("/api/v1/regions")).expect("JSON");
    assert_eq!(list["version"], 1);
    assert_eq!(list["regions"][0]["name"], "healthy");
    assert_eq!(list["regions"][0]["verdict"], "running");
    assert_eq!(list["problems"].as_array().map(Vec::len), Some(2));
    let values: serde_json::Value =
        serde_json::from_str(&served.get("/api/v1/regions/healthy?filter=app_*")).expect("JSON");
    assert_eq!(values["families"][0]["series"][0]["value"], 41);
    assert_eq!(served.ask("GET", "/api/v1/regions/nobody").0, 404);
    assert_eq!(served.ask("GET", "/api/v1/regions/healthy?limit=x").0, 400);

    // A region that closed goes at once; that it is down, and what it was, stays.
    region.close();
    let body = served.get("/metrics");
    assert!(!body.contains("app_served_total"), "{body}");
    assert!(body.contains("\ntacho_region_up{tacho_region=\"healthy\"} 0\n"), "{body}");
    assert!(body.contains("state=\"closed\""), "{body}");

    // And a new one of that name is there in the next scrape.
    let again = Region::builder("healthy").dir(directory.path()).build().expect("a region");
    again.counter("app_served_total", "Requests served").expect("a counter").inc();
    let body = served.get("/metrics");
    assert!(body.contains("\napp_served_total{tacho_region=\"healthy\"} 1\n"), "{body}");
    served.end();
}

#[test]
fn two_directories_with_one_name_serve_the_older_region() {
    let (first, second) = (folder(), folder());
    let old = Region::builder("same").dir(first.path()).build().expect("a region");
    old.counter("app_a_total", "A").expect("a counter").add(1);
    let young = Region::builder("same").dir(second.path()).build().expect("a region");
    young.counter("app_a_total", "A").expect("a counter").add(2);
    let both = vec![second.path().to_owned(), first.path().to_owned()];
    let served = Served::start(Config { region_dirs: both, ..config(first.path()) });
    let body = served.get("/metrics");
    assert!(body.contains("\napp_a_total{tacho_region=\"same\"} 1\n"), "{body}");
    assert!(body.contains("\ntacho_region_problems 1\n"), "{body}");
    served.end();
}

#[test]
fn series_that_could_not_be_told_apart_are_a_500_and_no_cut_body() {
    let directory = folder();
    let regions = ["a", "b"].map(|name| Region::builder(name).dir(directory.path()).build().expect("a region"));
    for region in &regions {
        region.counter("app_a_total", "A").expect("a counter").inc();
    }
    let served = Served::start(Config { region_label: String::new(), ..config(directory.path()) });
    let (status, _, body) = served.ask("GET", "/metrics");
    assert_eq!(status, 500);
    assert!(body.contains("--region-label"), "{body}");
    let [_stays, goes] = regions;
    goes.close();
    assert!(served.get("/metrics").contains("\napp_a_total 1\n"));
    served.end();
}

#[test]
fn other_paths_and_methods() {
    let directory = folder();
    let served = Served::start(Config { telemetry_path: "/m".into(), ..config(directory.path()) });
    for path in ["/-/healthy", "/-/ready", "/m", "/", "/api/v1/regions"] {
        let (status, head, body) = served.ask("HEAD", path);
        assert_eq!((status, body.as_str()), (200, ""), "{path}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        assert!(length.parse::<usize>().expect("a number") > 0, "{path}");
        let (status, head, _) = served.ask("POST", path);
        assert_eq!(status, 405, "{path}");
        assert!(head.contains("allow: get,head"), "{head}");
    }
    for path in ["/metrics", "/nothing", "/api/v1/nothing", "/-/nothing"] {
        assert_eq!(served.ask("GET", path).0, 404, "{path}");
    }
    let page = served.get("/");
    assert!(page.contains("<a href=\"m\">metrics</a>") && !page.contains("{{"), "{page}");
    assert!(!page.contains("//cdn") && !page.contains("src=\"http"), "self-contained");
    served.end();
}

/// What was sent back for these bytes, until the server closed: status, head in small letters, body.
fn exchange(mut stream: impl Read + Write, request: &[u8]) -> (u16, String, Vec<u8>) {
    // The server may answer and close before it read everything.
    let _ = stream.write_all(request);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    let end = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
    let body = reply.split_off(end + 4);
    let head = String::from_utf8(reply).expect("a head is ASCII").to_ascii_lowercase();
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), head, body)
}

#[test]
fn odd_requests_get_a_status_and_a_length() {
    let directory = folder();
    let region = Region::builder("mc-0").dir(directory.path()).build().expect("a region");
    region.counter("app_served_total", "Requests served").expect("a counter").add(41);
    let socket = directory.path().join("tacho.sock");
    let listen = vec!["127.0.0.1:0".parse().unwrap(), Listen::Unix(socket.clone())];
    let served = Served::start(Config { listen, ..config(directory.path()) });
    let one = "/metrics?name[]=app_served_total";
    let get =
        |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    let json = "content-type: application/json\r\n";
    let text = "content-type: text/plain; version=0.0.4; charset=utf-8\r\n";
    for (request, status, said) in [
        (get(one, ""), 200, text),
        (
            get(one, "Range: bytes=0-3\r\nIf-None-Match: *\r\nIf-Modified-Since: Wed, 01 Jan 2070 00:00:00 GMT\r\n"),
            200,
            text,
        ),
        (get(one, "Accept: text/html\r\nAccept: application/json\r\n"), 200, json),
        (get(one, "Accept: application/json, \u{e9}/x\r\n"), 200, json),
        (get(one, &format!("Accept: {}application/json\r\n", "text/html;q=0.1,".repeat(4_000))), 200, json),
        (get(one, "Accept: */*;q=0\r\n"), 200, text),
        (get(one, "Expect: 100-continue\r\nContent-Length: 5\r\n"), 200, text),
        (get(one, "Content-Length: 5\r\n") + "hello", 200, text),
        (get(one, "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n", 200, text),
        (get(one, "X-Prometheus-Scrape-Timeout-Seconds: 1e400\r\n"), 200, text),
        (get("http://elsewhere/metrics?name[]=app_served_total", ""), 200, text),
        ("GET /metrics?name[]=app_served_total HTTP/1.0\r\n\r\n".to_owned(), 200, text),
        ("GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), 200, text),
        (get("/metrics?region=mc-0&region=%00", ""), 200, text),
        (get("/metrics?region=%00", ""), 404, "content-length: "),
        (get("/metrics?region=%ff", ""), 404, "content-length: "),
        (get(&format!("/metrics?region={}", "a".repeat(60_000)), ""), 404, "content-length: "),
        (get(&format!("/metrics?region={}", "a".repeat(66_000)), ""), 414, "content-length: 0"),
        (get(&format!("/metrics?region={}", "a".repeat(1_000_000)), ""), 431, "content-length: 0"),
        (get(one, &"A: b\r\n".repeat(200)), 431, "content-length: 0"),
        (get(&format!("/{}", "a".repeat(60_000)), ""), 404, "content-length: 10"),
        (get("/metrics/", ""), 404, "content-length: 10"),
        (get("//metrics", ""), 404, "content-length: 10"),
        (get("/api/v1/regions/%00", ""), 404, "content-length: "),
        (get("/api/v1/regions/%ff", ""), 400, "content-length: "),
        (get("/api/v1/regions/..%2f..%2fetc%2fpasswd", ""), 404, "content-length: "),
        (get("/api/v1/regions/mc-0?limit=-1", ""), 400, "content-length: "),
        (get(one, "Content-Length: 3\r\nContent-Length: 4\r\n"), 400, "content-length: 0"),
        (get(one, "A : b\r\n"), 400, "content-length: 0"),
        ("GET /metrics\r\n\r\n".to_owned(), 400, "content-length: 0"),
        ("TRACE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), 405, "allow: get,head"),
    ] {
        let shown: String = request.chars().take(120).collect();
        let (got, head, body) =
            exchange(TcpStream::connect(&served.address).expect("a connection"), request.as_bytes());
        assert_eq!(got, status, "{shown:?}: {head}");
        assert!(head.contains(said), "{shown:?}: {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        assert_eq!(length.parse(), Ok(body.len()), "{shown:?}: {head}");
        let body = String::from_utf8_lossy(&body);
        assert!(status != 200 || body.contains("41"), "{shown:?}: {body}");
        assert!(!body.contains('\0') && !body.contains('\u{1b}'), "{shown:?}: {body:?}");
    }
    // Several requests in one go, one with a body; each gets its answer, in order.
    let first = get(one, "Content-Length: 5\r\n").replace("Connection: close\r\n", "") + "hello";
    let second = get("/-/healthy", "").replace("Connection: close\r\n", "");
    for stream in [true, false] {
        let all = format!("{first}{second}{}", get("/nothing", ""));
        let (status, _, body) = if stream {
            exchange(TcpStream::connect(&served.address).expect("a connection"), all.as_bytes())
        } else {
            exchange(UnixStream::connect(&socket).expect("a connection"), all.as_bytes())
        };
        let body = String::from_utf8(body).expect("text");
        let healthy = body.find("tacho is healthy").expect("the second");
        assert!(
            status == 200 && body.find(" 41\n") < Some(healthy) && body[healthy..].contains("404 Not Found"),
            "{body}"
        );
    }
    served.end();
}

#[test]
fn what_was_asked_for_is_said_again_without_its_control_characters() {
    let directory = folder();
    let served = Served::dir(directory.path());
    for (query, quoted) in [("region=%1b[31mred", r#""\u{1b}[31mred""#), ("%1b[31m=x", r#""\u{1b}[31m""#)] {
        let (status, _, body) = served.ask("GET", &format!("/metrics?{query}"));
        assert!((400..=404).contains(&status) && body.contains(quoted), "{body:?}");
        assert!(!body.trim_end().contains(char::is_control), "{body:?}");
    }
    served.end();
}

#[test]
fn a_unix_socket_serves_and_goes_when_the_server_ends() {
    let directory = folder();
    let path = directory.path().join("tacho.sock");
    let listen = |path: &Path| vec![Listen::Unix(path.to_owned())];
    // A stale one, as a killed exporter leaves it.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let served = Served::start(Config { listen: listen(&path), ..config(directory.path()) });
    assert_eq!(served.address, format!("unix:{}", path.display()));
    assert_eq!(ask(UnixStream::connect(&path).expect("a connection"), "GET", "/-/healthy").0, 200);
    served.end();
    assert!(!path.exists());
}

#[test]
fn an_address_in_use_is_named_with_what_helps() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let config = Config { listen: vec![address.parse().unwrap()], ..Config::default() };
    let runtime = Runtime::new().unwrap();
    let error = runtime.block_on(Server::bind(&config)).expect_err("in use");
    let text = error.to_string();
    assert!(text.contains(&address) && text.contains("--web.listen-address"), "{text}");
    let wrong = Config { telemetry_path: "x".into(), region_label: "a b".into(), ..Config::default() };
    let error = runtime.block_on(Server::bind(&wrong)).expect_err("wrong");
    assert!(
        matches!(&error, ServeError::Config(text) if text.contains("telemetry") && text.contains("label")),
        "{error}"
    );
}

#[test]
fn evidence_is_told_to_this_machine_only() {
    let folder = folder();
    let _region = Region::builder("mc-0").dir(folder.path()).build().unwrap();
    let private = Served::dir(folder.path());
    let evidence: serde_json::Value = serde_json::from_str(&private.get("/api/v1/regions/mc-0/evidence")).unwrap();
    assert_eq!(evidence["region"]["name"], "mc-0");
    assert_eq!(evidence["evidence"]["notes"]["lost"], 0);
    assert_eq!(private.ask("GET", "/api/v1/regions/other/evidence").0, 404);
    private.end();
    let everywhere =
        Served::start(Config { listen: vec!["0.0.0.0:0".parse::<Listen>().unwrap()], ..config(folder.path()) });
    let (status, _, body) = everywhere.ask("GET", "/api/v1/regions/mc-0/evidence");
    assert_eq!(status, 403, "asked over loopback, but others reach that listener too: {body}");
    assert_eq!(everywhere.ask("GET", "/api/v1/regions/mc-0").0, 200);
    everywhere.end();
}

/// What a death leaves may be gone before anybody scrapes.
#[test]
fn a_death_is_counted_with_its_cause_though_nobody_scrapes() {
    let (directory, recorder) = (folder(), folder());
    let recorded = tachograph_exporter::recording::RecorderConfig::new(recorder.path().join("recorder"));
    let ledger = recorded.directory.join("deaths.json");
    let served = Served::start(Config { recorder: Some(recorded), ..config(directory.path()) });
    let region = Region::builder("mc-0").dir(directory.path()).build().expect("a region");
    let path = region.path().expect("it has a file").to_owned();
    let living = std::fs::read(&path).expect("its bytes");
    region.close();
    std::fs::remove_file(&path).expect("the closed one goes");
    // One whose lock is free and that was not closed, while its process runs on.
    std::fs::write(&path, living).expect("room");
    let start = std::time::Instant::now();
    while !std::fs::read_to_string(&ledger).is_ok_and(|book| book.contains("\"exec\":1")) {
        assert!(start.elapsed() < std::time::Duration::from_secs(30), "it is not counted");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::fs::remove_file(&path).expect("the evidence goes");
    let body = served.get("/metrics");
    assert!(body.contains("tacho_crashes_total{cause=\"exec\"} 1\n"), "{body}");
    assert!(body.contains("tacho_crashes_total{cause=\"unseen\"} 0\n"), "{body}");
    served.end();
}
