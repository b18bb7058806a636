//! Clients that hold what they have and do nothing: none of them costs the others theirs, or keeps the server from ending. No
//! test measures a time: without what it shows, it would wait until it gives up.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use tachograph::{Counter, Desc, Lease, OpenFamily, OpenRules, Region};
use tachograph_exporter::serve::{Config, Limits, Listen};

use super::{Served, config, folder};

/// When a test gives up: longer than anything takes that works.
const GIVEN_UP: Duration = Duration::from_secs(60);

/// No limit that a test could meet by accident.
const NEVER: Duration = Duration::from_secs(3_600);

fn patient() -> Limits {
    Limits { connections: 256, idle: NEVER, write: NEVER, answer: NEVER, drain: NEVER }
}

/// The other end of a connection on which something was sent, and nothing is.
struct Client(TcpStream);

impl Client {
    fn sending(served: &Served, bytes: &str) -> Self {
        let mut stream = TcpStream::connect(&served.address).expect("a connection");
        stream.set_read_timeout(Some(GIVEN_UP)).expect("set");
        stream.write_all(bytes.as_bytes()).expect("sent");
        Self(stream)
    }

    /// Sends a request and reads its answer, of a known length.
    fn ask(&mut self, request: &str) -> String {
        self.0.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"tacho is healthy\n") {
            assert_eq!(self.0.read(&mut byte).expect("an answer"), 1, "{}", String::from_utf8_lossy(&answer));
            answer.push(byte[0]);
        }
        String::from_utf8(answer).expect("text")
    }

    /// Waits until the server ends the connection, without a byte of an answer.
    fn ends(mut self) {
        let mut byte = [0];
        match self.0.read(&mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("the server holds it: {other:?}"),
        }
    }
}

const HEALTHY: &str = "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";
const HALF: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: te";

/// A region with more in it than the buffers of a socket hold.
fn large(dir: &Path) -> (Region, Vec<Lease<Counter>>) {
    let builder = Region::builder("large").dir(dir).series(7_000).lanes(2).label_bytes(4 << 20).cells(8_000);
    let region = builder.build().expect("a region");
    let rules = OpenRules::new(6_000).label_area(256);
    let family: OpenFamily<Counter, 1> =
        region.open_family(Desc::new("app_large_total", "Many"), ["of"], rules).expect("room");
    let leases = (0..6_000).map(|index| family.with([&format!("{index:0>150}")])).collect();
    (region, leases)
}

#[test]
fn a_connection_without_a_whole_request_ends_after_a_while() {
    let directory = folder();
    let limits = Limits { idle: Duration::from_millis(300), ..patient() };
    let served = Served::start(Config { limits, ..config(directory.path()) });
    for sent in ["", "G", HALF] {
        Client::sending(&served, sent).ends();
    }
    // One that asked goes on, and ends like any other.
    let mut scraper = Client::sending(&served, "");
    assert!(scraper.ask(HEALTHY).starts_with("HTTP/1.1 200"));
    scraper.ends();
    served.end();
}

#[test]
fn past_the_most_connections_the_longest_idle_one_makes_room() {
    let directory = folder();
    let limits = Limits { connections: 3, ..patient() };
    let served = Served::start(Config { limits, ..config(directory.path()) });
    let mut scraper = Client::sending(&served, "");
    assert!(scraper.ask(HEALTHY).starts_with("HTTP/1.1 200"));
    // They are accepted in order, so that this one is once the next is answered; only then does anyone ask again.
    let idle = Client::sending(&served, "");
    let mut half = Client::sending(&served, "");
    assert!(half.ask(HEALTHY).starts_with("HTTP/1.1 200"));
    half.0.write_all(HALF.as_bytes()).expect("sent");
    // What asks again has been without a request for the shortest time.
    assert!(scraper.ask(HEALTHY).starts_with("HTTP/1.1 200"));
    let mut more = Client::sending(&served, "");
    assert!(more.ask(HEALTHY).starts_with("HTTP/1.1 200"));
    idle.ends();
    let mut another = Client::sending(&served, "");
    assert!(another.ask(HEALTHY).starts_with("HTTP/1.1 200"));
    half.ends();
    assert!(scraper.ask(HEALTHY).starts_with("HTTP/1.1 200"));
    served.end();
}

#[test]
fn a_client_that_does_not_read_loses_its_place() {
    let directory = folder();
    let _region = large(directory.path());
    let socket = directory.path().join("tacho.sock");
    let limits = Limits { write: Duration::from_millis(300), ..patient() };
    let listen = vec!["127.0.0.1:0".parse().expect("an address"), Listen::Unix(socket.clone())];
    let served = Served::start(Config { listen, limits, max_requests: 1, ..config(directory.path()) });
    let mut idle = UnixStream::connect(&socket).expect("a connection");
    idle.set_read_timeout(Some(GIVEN_UP)).expect("set");
    idle.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    // Its answer has begun: it has the only place.
    let mut first = [0; 12];
    idle.read_exact(&mut first).expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");
    let begun = std::time::Instant::now();
    loop {
        let (status, head, _) = served.ask("GET", "/metrics?name[]=tacho_scrapes_total");
        match status {
            200 => break,
            503 => assert!(begun.elapsed() < GIVEN_UP, "it keeps its place"),
            other => panic!("{other}: {head}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // And its connection: what is left is less than the whole.
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest);
    assert!(rest.len() < 900_000, "{} bytes were sent to nobody", rest.len());
    served.end();
}

#[test]
fn a_client_that_reads_a_little_now_and_then_loses_its_place() {
    let directory = folder();
    let _region = large(directory.path());
    let socket = directory.path().join("tacho.sock");
    let limits = Limits { answer: Duration::from_millis(300), ..patient() };
    let listen = vec!["127.0.0.1:0".parse().expect("an address"), Listen::Unix(socket.clone())];
    let served = Served::start(Config { listen, limits, max_requests: 1, ..config(directory.path()) });
    let mut slow = UnixStream::connect(&socket).expect("a connection");
    slow.set_read_timeout(Some(GIVEN_UP)).expect("set");
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut first = [0; 12];
    slow.read_exact(&mut first).expect("an answer");
    let mut taken = first.to_vec();
    while served.ask("GET", "/metrics?name[]=tacho_scrapes_total").0 == 503 {
        let mut little = [0; 64];
        let count = slow.read(&mut little).expect("there is more");
        taken.extend_from_slice(&little[..count]);
        // Long before the rest would fit into the buffers of the socket, and the place be free for that.
        assert!(taken.len() < 200_000, "it keeps its place");
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = slow.read_to_end(&mut taken);
    assert!(taken.len() < 900_000, "{} bytes were sent to whom they take too long", taken.len());
    served.end();
}

#[test]
fn the_end_waits_for_answers_and_for_nothing_else() {
    let directory = folder();
    let _region = large(directory.path());
    let socket = directory.path().join("tacho.sock");
    let listen = vec!["127.0.0.1:0".parse().expect("an address"), Listen::Unix(socket.clone())];
    let served = Served::start(Config { listen, limits: patient(), ..config(directory.path()) });
    let _held = ["", HALF].map(|sent| Client::sending(&served, sent));
    let mut slow = UnixStream::connect(&socket).expect("a connection");
    slow.set_read_timeout(Some(GIVEN_UP)).expect("set");
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut answer = vec![0; 12];
    slow.read_exact(&mut answer).expect("an answer");
    let (ended, wait) = std::sync::mpsc::channel();
    let ending = std::thread::spawn(move || {
        served.end();
        let _ = ended.send(());
    });
    assert!(wait.recv_timeout(Duration::from_millis(500)).is_err(), "it ends while an answer is under way");
    // Read to its end, it is whole.
    slow.read_to_end(&mut answer).expect("all of it");
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    assert_eq!(length.parse(), Ok(body.len()));
    assert!(body.len() > 1_000_000, "more than a socket's buffers hold: {}", body.len());
    wait.recv_timeout(GIVEN_UP).expect("it ends, whoever still holds a connection");
    ending.join().expect("in order");
}
