//! Writes the golden region of the present layout version: `cargo run -p tachograph-tests --example make-golden -- FILE`.
//!
//! Run once a layout version. The file is then kept as it is, and read by `tests/golden.rs` for ever: what this version
//! wrote, every later one must read.

use std::error::Error;

use tachograph::{Counter, Desc, Family, Gauge, Region};

tachograph::label_value! {
    enum Outcome: "outcome" { Ok = "ok", Failed = "failed", Odd = "quote \" backslash \\ newline \n ü" }
}
tachograph::label_value! {
    enum Verb: "verb" { Get = "get", Put = "put" }
}

fn main() -> Result<(), Box<dyn Error>> {
    let target = std::env::args().nth(1).ok_or("usage: make-golden FILE")?;
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let region = Region::builder("golden")
        .dir(folder.path())
        .lanes(3)
        .families(16)
        .series(64)
        .cells(128)
        .shared(16)
        .string_bytes(4096)
        .version("golden 1.0")
        .build()?;
    let requests: Family<Counter, (Verb, Outcome)> =
        region.family(Desc::new("golden_requests_total", "Requests, with \\ and\nnewline in HELP"))?;
    let spent = region.float_counter("golden_spent_seconds_total", "Time spent")?;
    let depth = region.gauge::<i64>("golden_depth", "A negative gauge")?;
    let ratio: Gauge<f64> = region.register(Desc::new("golden_fill_ratio", "A gauge of f64").unit("ratio"))?;
    let in_flight = region.updown_counter("golden_in_flight", "Raised in one lane, lowered in another")?;
    let peak = region.watermark_max("golden_peak", "Largest value")?;
    let large = region.counter("golden_large_total", "Beyond 2^53")?;

    requests.at((Verb::Get, Outcome::Ok)).add(1);
    requests.at((Verb::Put, Outcome::Odd)).add(6);
    spent.add(1.5);
    depth.set(-42);
    ratio.set(1e-7);
    in_flight.add(5);
    peak.record(17);
    large.add(u64::MAX - 1);
    // Lanes 2 and, with no lane left, the shared lane 0.
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            requests.at((Verb::Get, Outcome::Ok)).add(10);
            spent.add(0.25);
            in_flight.sub(3);
            peak.record(23);
            let shared = scope.spawn(|| {
                requests.at((Verb::Get, Outcome::Ok)).add(100);
                peak.record(19);
            });
            shared.join()
        });
        other.join()
    })
    .and_then(|inner| inner)
    .map_err(|_| "a thread panicked")?;
    let path = region.path().ok_or("the region has no file")?.to_owned();
    region.close();
    let mut bytes = std::fs::read(path)?;
    // Where it was made is nobody's business: lengths and bytes of the host's name and the executable's path.
    for blank in [200..204, 208..212, 376..440, 504..760] {
        bytes.get_mut(blank).ok_or("the file is too short")?.fill(0);
    }
    std::fs::write(target, bytes)?;
    Ok(())
}
