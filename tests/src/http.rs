//! A scrape, as plain as it gets: one HTTP/1.1 request over a loopback socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// A response.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header lines, as sent.
    pub headers: String,
    /// Body.
    pub body: String,
}

/// A loopback port that was free a moment ago.
///
/// # Panics
/// Where the kernel has none.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

/// A response whose body may be no text.
#[derive(Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Header lines in small letters.
    pub headers: String,
    /// Body.
    pub body: Vec<u8>,
}

/// GETs a path with a text for a body; `None` where nobody answers.
pub fn get(port: u16, path: &str) -> Option<Response> {
    let (headers, body) = exchange(port, path, &[])?;
    let status = headers.split(' ').nth(1)?.parse().ok()?;
    Some(Response { status, headers, body: String::from_utf8(body).ok()? })
}

/// GETs a path with these header lines; `None` where nobody answers.
pub fn get_with(port: u16, path: &str, headers: &[&str]) -> Option<Reply> {
    let (headers, body) = exchange(port, path, headers)?;
    let status = headers.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, headers: headers.to_ascii_lowercase(), body })
}

fn exchange(port: u16, path: &str, headers: &[&str]) -> Option<(String, Vec<u8>)> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n").ok()?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).ok()?;
    let end = reply.windows(4).position(|window| window == b"\r\n\r\n")?;
    let body = reply.split_off(end + 4);
    reply.truncate(end);
    Some((String::from_utf8(reply).ok()?, body))
}
