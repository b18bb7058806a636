//! What a scraper asks for, by its headers and by its query, and what it gets.

use std::net::TcpStream;

use tachograph::Region;

use super::{Served, exchange, folder};

#[test]
fn what_is_said_of_the_target_is_said_first_in_openmetrics() {
    let directory = folder();
    let region = Region::builder("mc-0").dir(directory.path()).build().expect("a region");
    region.counter("app_served_total", "Requests served").expect("room").inc();
    region.info("app_build_info", "What it was built of", &[("version", "1.2")]).expect("room");
    region.info("target_info", "What is scraped", &[("service_name", "app")]).expect("room");
    let served = Served::dir(directory.path());
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
        Accept: application/openmetrics-text; version=1.0.0\r\n\r\n";
    let stream = TcpStream::connect(&served.address).expect("a connection");
    let (status, head, body) = exchange(stream, request.as_bytes());
    let body = String::from_utf8(body).expect("text");
    assert!(status == 200 && head.contains("openmetrics"), "{head}");
    let first = "# TYPE target info\n# HELP target What is scraped\n\
        target_info{service_name=\"app\",tacho_region=\"mc-0\"} 1\n";
    assert!(body.starts_with(first), "{body}");
    served.end();
}
