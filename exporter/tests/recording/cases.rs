//! Cases of real deaths: one for each, self-contained, by this recorder or the next; the first and the newest of a burst.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tachograph_exporter::case::{self, Case};
use tachograph_exporter::{Directories, RegionReader, Verdict};

use super::{Place, until};

/// The demo's workload, as a process that can be killed.
struct Victim(Child);

impl Victim {
    fn start(place: &Place, name: &str) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_tacho"))
            .args(["controller-workload", "--", "--region", name, "--until-stdin-closes", "--region-dir"])
            .arg(&place.regions)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let victim = Self(child);
        until("the region of the victim", || victim.region(place, name).is_some());
        victim
    }

    fn region(&self, place: &Place, name: &str) -> Option<RegionReader> {
        let reader = RegionReader::open(&place.regions.join(format!("{name}.tacho"))).ok()?;
        let info = reader.info().ok()?;
        (info.pid == self.0.id() && info.capacity.series.used > 50).then_some(reader)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn cases(place: &Place) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place.recorder.join("cases")).unwrap();
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| case::is_case(path)).collect();
    paths.sort();
    paths
}

#[test]
fn a_death_has_one_case_with_the_region_and_its_last_minutes() {
    let place = Place::new();
    let recorder = place.record();
    let stats = recorder.stats();
    let victim = Victim::start(&place, "mc-0");
    let uuid = victim.region(&place, "mc-0").unwrap().uuid();
    let before = stats.counts().samples;
    until("samples", || stats.counts().samples > before + 10);
    victim.kill();
    until("a case", || stats.counts().cases == 1);
    drop(recorder);
    let [path] = &cases(&place)[..] else { panic!("{:?}", cases(&place)) };
    let case = Case::open(path).unwrap();
    assert_eq!(case.problems(), <[String; 0]>::default());
    let manifest = case.manifest();
    assert_eq!((manifest.name.as_str(), manifest.verdict.as_str()), ("mc-0", "crashed"));
    assert_eq!(manifest.cause.as_deref(), Some("killed"));
    assert!(manifest.facts.is_some_and(|(_, facts)| facts.process.is_some_and(|process| process.resident_bytes > 0)));
    let region = case.region().unwrap();
    assert_eq!((region.uuid(), region.verify()), (uuid, vec![]));
    // The recording ends with the dead region's own last values.
    let recordings = case.recordings().unwrap();
    let recorded = recordings.of_uuid(uuid).unwrap();
    let mut window = recorded.window(0, u64::MAX);
    let mut last = None;
    while let Some(sample) = window.next_sample() {
        let sum: u64 = values(&sample.snapshot);
        last = Some((sample.snapshot.region.verdict, sum, sample.activities.len()));
    }
    let sum = values(&region.snapshot().unwrap());
    let (verdict, recorded_sum, _) = last.unwrap();
    assert_eq!((verdict, recorded_sum), (Verdict::Crashed, sum));
    // tar opens it anywhere.
    let listed = Command::new("tar").arg("tf").arg(path).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("manifest.json\nregion.tacho\nblocks/mc-0."), "{listed}");
    // The next recorder knows that it was written, even where it is gone.
    std::fs::remove_file(path).unwrap();
    let recorder = place.record();
    let stats = recorder.stats();
    until("ticks", || stats.counts().ticks > 4);
    drop(recorder);
    assert_eq!((cases(&place).len(), stats.counts().cases), (0, 0));
}

fn values(snapshot: &tachograph_exporter::Snapshot) -> u64 {
    let value = |index| match snapshot.value(index) {
        tachograph_exporter::Value::U64(value) => value,
        _ => 0,
    };
    (0..snapshot.schema.series.len()).map(value).fold(0, u64::wrapping_add)
}

#[test]
fn a_crash_loop_keeps_the_first_and_the_newest() {
    let place = Place::new();
    let recorder = place.record();
    let stats = recorder.stats();
    let mut uuids = Vec::new();
    for round in 1..=4_u64 {
        let victim = Victim::start(&place, "mc-0");
        uuids.push(victim.region(&place, "mc-0").unwrap().uuid());
        let before = stats.counts().samples;
        until("samples", || stats.counts().samples > before + 3);
        victim.kill();
        // The last one is dead when its successor stands in its place; the recorder may see both in one tick.
        if round == 4 {
            until("cases", || stats.counts().cases == round);
        }
    }
    drop(recorder);
    let kept: Vec<[u8; 16]> =
        cases(&place).iter().map(|path| Case::open(path).unwrap().region().unwrap().uuid()).collect();
    assert_eq!(kept, [uuids[0], uuids[3]]);
}

#[test]
fn a_death_between_two_recorders_has_its_case() {
    let place = Place::new();
    let recorder = place.record();
    let stats = recorder.stats();
    let victim = Victim::start(&place, "mc-0");
    let uuid = victim.region(&place, "mc-0").unwrap().uuid();
    let before = stats.counts().samples;
    until("samples", || stats.counts().samples > before + 3);
    drop(recorder);
    victim.kill();
    // Its successor moves it to the archive.
    let successor = Victim::start(&place, "mc-0");
    let recorder = place.record();
    let stats = recorder.stats();
    until("a case", || stats.counts().cases == 1);
    drop(recorder);
    successor.kill();
    assert_eq!(Case::open(&cases(&place)[0]).unwrap().region().unwrap().uuid(), uuid);
}

#[test]
fn a_death_that_no_recorder_saw_has_its_case_out_of_the_archive() {
    let place = Place::new();
    // Before the first recorder: it was never sampled.
    let victim = Victim::start(&place, "mc-0");
    let unseen = victim.region(&place, "mc-0").unwrap().uuid();
    victim.kill();
    let successor = Victim::start(&place, "mc-0");
    let recorder = place.record();
    let stats = recorder.stats();
    until("its case", || stats.counts().cases == 1);
    // While it records: one that lived and died between two of its ticks.
    let elsewhere = Place::new();
    let victim = Victim::start(&elsewhere, "mc-1");
    let between = victim.region(&elsewhere, "mc-1").unwrap().uuid();
    victim.kill();
    let archived = format!("mc-1.20260101T000000Z.{:032x}.tacho", u128::from_be_bytes(between));
    std::fs::rename(elsewhere.regions.join("mc-1.tacho"), place.regions.join("archive").join(archived)).unwrap();
    until("its case", || stats.counts().cases == 2);
    drop(recorder);
    successor.kill();
    // The next one knows of both, and writes that of the successor alone.
    let recorder = place.record();
    let stats = recorder.stats();
    until("the successor's", || stats.counts().cases == 1 && stats.counts().ticks > 10);
    drop(recorder);
    let told: Vec<([u8; 16], String)> = cases(&place)
        .iter()
        .map(|path| {
            let case = Case::open(path).unwrap();
            (case.region().unwrap().uuid(), case.manifest().verdict.clone())
        })
        .collect();
    let has = |uuid| told.contains(&(uuid, "crashed".to_owned()));
    assert!(told.len() == 3 && has(unseen) && has(between), "{told:?}");
    assert_eq!(stats.counts().cases, 1);
}

#[test]
fn a_forged_case_leads_nowhere() {
    let place = Place::new();
    let victim = Victim::start(&place, "mc-0");
    let path = place.regions.join("by-hand.case.tar.gz");
    case::write(&victim.region(&place, "mc-0").unwrap(), None, &path).unwrap();
    let again = case::write(&victim.region(&place, "mc-0").unwrap(), None, &path).unwrap_err().to_string();
    assert!(again.contains("not overwritten"), "{again}");
    victim.kill();
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_end(&mut tar).unwrap();
    let zip = |tar: &[u8]| {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(tar).unwrap();
        std::fs::write(&path, encoder.finish().unwrap()).unwrap();
    };
    // Members of other names, links, and paths that lead out are not taken.
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = |name: &[u8], kind: tar::EntryType| {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
        header.set_size(if kind == tar::EntryType::Regular { 4 } else { 0 });
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.as_gnu_mut().unwrap().linkname[..11].copy_from_slice(b"/etc/passwd");
        header.set_cksum();
        let body: &[u8] = if kind == tar::EntryType::Regular { b"evil" } else { b"" };
        builder.append(&header, body).unwrap();
    };
    let out = place.regions.join("evil.tachorec");
    header(b"../../evil", tar::EntryType::Regular);
    header(out.to_string_lossy().as_bytes(), tar::EntryType::Regular);
    header(b"blocks/../evil.tachorec", tar::EntryType::Regular);
    header(b"region.tacho", tar::EntryType::Symlink);
    let mut forged = builder.into_inner().unwrap();
    forged.truncate(forged.len() - 1024);
    forged.extend_from_slice(&tar);
    zip(&forged);
    let case = Case::open(&path).unwrap();
    assert!(case.problems().is_empty() && case.region().is_ok() && !out.exists());
    // A changed byte of the region is told; a cut archive too.
    let mut damaged = tar.clone();
    let at = damaged.len() - 5000;
    damaged[at] ^= 1;
    zip(&damaged);
    let case = Case::open(&path).unwrap();
    assert!(case.problems()[0].contains("region.tacho: its checksum is wrong"), "{:?}", case.problems());
    zip(&tar[..tar.len() / 2]);
    assert!(!Case::open(&path).unwrap().problems().is_empty());
    for (bytes, what) in [(b"no archive".as_slice(), "not an archive"), (b"".as_slice(), "manifest")] {
        zip(bytes);
        let error = Case::open(&path).unwrap_err().to_string();
        assert!(error.contains(what) || error.contains("not an archive"), "{error}");
    }
    let _ = Directories::from_args(vec![]);
}
