//! Readers of the exposition formats that are not ours, run as `tests/readers/read.py`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::body::{Body, Format};
use crate::rules;

/// What a body says: the bits of each value by its series (name and labels, as JSON).
#[derive(Debug, Default)]
pub struct Read {
    /// Samples, without those that say when something was created.
    pub samples: BTreeMap<String, String>,
    /// Those, by the name that the format has for them.
    pub created: BTreeMap<String, String>,
    /// Type, help and unit by family.
    pub families: BTreeMap<String, [String; 3]>,
    /// Native histograms by family and labels.
    pub native: BTreeMap<String, Value>,
}

/// Reads a body of the exporter's by `openmetrics`, `text` or `protobuf`.
///
/// # Panics
/// As [`read_foreign`], and where it breaks one of the rules that these readers do not know ([`crate::rules`]).
pub fn read(format: &str, body: &[u8]) -> Read {
    let known = match format {
        "openmetrics" => Format::OpenMetrics,
        "protobuf" => Format::Protobuf,
        _ => Format::Text,
    };
    let faults = rules::faults(&Body::read(known, body), true);
    assert!(faults.is_empty(), "{format}: {faults:#?}");
    read_foreign(format, body)
}

/// Reads a body that is not the exporter's.
///
/// # Panics
/// Where the reader refuses it, with what it says; where a series stands twice; where Python or what `ci/install.sh` puts
/// below `target/tools` is missing.
pub fn read_foreign(format: &str, body: &[u8]) -> Read {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = root.join("../target/tools/python");
    assert!(packages.join("prometheus_client").is_dir(), "Python's readers are missing: run ./ci/install.sh");
    let mut reader = Command::new("python3")
        .arg(root.join("readers/read.py"))
        .arg(format)
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is there: run ./ci/install.sh");
    let mut input = reader.stdin.take().expect("stdin is piped");
    let bytes = body.to_vec();
    // Beside: a reader that refuses the body may not read all of it.
    let writing = std::thread::spawn(move || input.write_all(&bytes));
    let output = reader.wait_with_output().expect("the reader ends");
    let _ = writing.join();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{format} is refused: {said}");
    let parsed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut read = Read::default();
    for (place, list) in [(&mut read.samples, &parsed["samples"]), (&mut read.created, &parsed["created"])] {
        for sample in list.as_array().expect("a list") {
            let series = series(&sample[0], &sample[1]);
            let bits = sample[2].as_str().expect("bits").to_owned();
            assert!(place.insert(series.clone(), bits).is_none(), "{format}: {series} stands twice");
        }
    }
    for (name, family) in parsed["families"].as_object().expect("families") {
        let text = |index: usize| family[index].as_str().expect("text").to_owned();
        read.families.insert(name.clone(), [text(0), text(1), text(2)]);
    }
    for histogram in parsed["native"].as_array().expect("a list") {
        read.native.insert(series(&histogram[0], &histogram[1]), histogram[2].clone());
    }
    read
}

/// A series as one word: its name and its labels, sorted.
pub fn series(name: &Value, labels: &Value) -> String {
    let labels: BTreeMap<&String, &Value> = labels.as_object().expect("labels").iter().collect();
    format!("{}{labels:?}", name.as_str().expect("a name"))
}

/// A value as [`Read`] has it.
pub fn bits(value: f64) -> String {
    if value.is_nan() { "nan".to_owned() } else { format!("{:016x}", value.to_bits()) }
}
