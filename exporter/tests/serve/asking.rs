//! What a scraper asks for, by its headers and by its query, and what it gets.

use std::net::TcpStream;

use tachograph::Region;
use tachograph_exporter::recording::RecorderConfig;
use tachograph_exporter::serve::Config;

use super::{Served, config, exchange, folder};

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

/// A body of one region would be taken for the whole, and one of the exporter's own metrics alone for a pool without workers.
#[test]
fn where_regions_are_added_up_none_can_be_asked_for_by_itself() {
    let (directory, recorder) = (folder(), folder());
    let regions = ["a", "b"].map(|name| Region::builder(name).dir(directory.path()).build().expect("a region"));
    for region in &regions {
        region.counter("app_served_total", "Requests served").expect("room").add(4);
    }
    let recorder = Some(RecorderConfig::new(recorder.path().join("recorder")));
    let served = Served::start(Config { merge: true, recorder, ..config(directory.path()) });
    assert!(served.get("/metrics").contains("\napp_served_total 8\n"));
    for (query, named) in [
        ("region=a", r#""a""#),
        ("region=b&region=a&name[]=app_served_total", r#""a", "b""#),
        ("region=nobody", r#""nobody""#),
        ("region=%1b[31m%0a", r#""\u{1b}[31m\n""#),
    ] {
        let (status, head, body) = served.ask("GET", &format!("/metrics?{query}"));
        assert_eq!(status, 404, "{head}");
        let reason = "regions are added up (--merge), so none can be asked for by itself: `tacho show NAME` shows";
        assert_eq!(body, format!("{reason} {named}\n"), "{query}");
    }
    // The question was wrong, not the exporter.
    let body = served.get("/metrics");
    assert!(body.contains("\ntacho_scrape_errors_total 0\n") && body.contains("\napp_served_total 8\n"), "{body}");
    served.end();
}
