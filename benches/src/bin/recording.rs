//! Bytes that the flight recorder writes a sample, and the share of a core that it takes at one sample a second, of a region of
//! 2,000 scalars: `cargo run --release -p tachograph-benches --bin recording -- [--json]`.

use tachograph_benches::recorder::{Load, SCALARS, measure};

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    for (name, load) in [("mostly_idle", Load::MostlyIdle), ("mixed", Load::Mixed)] {
        let measured = measure(load, 200);
        let scalar_bytes = measured.tick_bytes / SCALARS as f64;
        let core_percent = measured.tick_ns / 1e9 * 100.0;
        if json {
            println!(
                "{}",
                serde_json::json!({
                    "load": name, "scalars": SCALARS, "samples": measured.samples,
                    "sample_bytes": measured.tick_bytes.round(), "scalar_bytes": (scalar_bytes * 1e3).round() / 1e3,
                    "sample_bytes_with_structure": measured.sample_bytes.round(),
                    "tick_ns": measured.tick_ns.round(), "core_percent_at_1s": (core_percent * 1e4).round() / 1e4,
                })
            );
        } else {
            println!(
                "{name:<12} {:>6.0} bytes a sample, {scalar_bytes:.3} a scalar ({:.0} with the structure, over {} samples); {:.0} us a \
                 tick, {core_percent:.3} % of a core at 1 s",
                measured.tick_bytes,
                measured.sample_bytes,
                measured.samples,
                measured.tick_ns / 1e3
            );
        }
    }
}
