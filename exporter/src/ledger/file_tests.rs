//! The ledger's file when it is damaged, cut or not a ledger: said, put aside, never half believed, never a panic.

use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::content::Content;
use super::durable::MOST_UNREADABLE;
use super::tests::{Folders, NAME, served};
use super::*;
use tachograph::OnExisting;

/// A folder with a ledger of 7, 8, and then 9 counted: whole, and two changes. The region is gone.
fn written() -> (Folders, Vec<u8>) {
    let folders = Folders::new();
    let region = folders.region("a", OnExisting::Archive);
    let mut exporter = folders.exporter();
    for count in [7, 1, 1] {
        served(&region).add(count);
        exporter.total(NAME);
    }
    region.close();
    std::fs::remove_file(folders.regions.path().join("a.tacho")).unwrap();
    let bytes = std::fs::read(folders.ledger()).unwrap();
    (folders, bytes)
}

/// What a ledger of these bytes tells; `None` where it is refused.
fn told(bytes: &[u8]) -> Option<u64> {
    let read = file::parse(bytes.to_vec()).ok()?;
    let mut content = Content::decode(read.whole()).ok()?;
    read.changes().try_for_each(|change| content.change(change)).ok()?;
    Some(content.standing.values().flat_map(|(_, pictures)| pictures).map(|picture| picture.lane[0]).sum())
}

/// Where the room for changes begins.
fn room(bytes: &[u8]) -> usize {
    let len = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
    (32 + len).next_multiple_of(4096)
}

#[test]
fn one_that_is_cut_is_refused_whole() {
    let (_folders, bytes) = written();
    assert_eq!(told(&bytes), Some(9));
    let lens = (0..room(&bytes)).chain([room(&bytes) + 4096, room(&bytes) + 8192, bytes.len() - 1]);
    for len in lens {
        assert_eq!(told(&bytes[..len]), None, "{len} bytes");
    }
}

#[test]
fn a_byte_that_is_wrong_is_refused_or_was_in_the_last_change() {
    let (_folders, bytes) = written();
    let start = room(&bytes);
    let len = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
    let frames = [start, start + 4096];
    let within = |at: usize| frames.iter().flat_map(move |frame| *frame..*frame + 40).any(|byte| byte == at);
    for at in (0..32 + len).chain((start..start + 8192).filter(|at| within(*at))) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        let told = told(&bytes);
        match at {
            _ if at < start + 4096 => assert_eq!(told, None, "byte {at}"),
            // As an exporter leaves it that is killed while it writes.
            _ => assert!([Some(8), Some(9)].contains(&told), "byte {at}: {told:?}"),
        }
    }
}

#[test]
fn a_last_change_that_is_torn_is_cut_and_what_follows_is_kept() {
    let (folders, bytes) = written();
    let last = room(&bytes) + 4096;
    // The beginning of it is there, and the rest not.
    for len in [1, 8, 23, 24, 30] {
        let mut torn = bytes.clone();
        torn[last + len..].fill(0);
        std::fs::write(folders.ledger(), &torn).unwrap();
        assert_eq!(folders.exporter().total(NAME), 8, "{len} bytes of it");
        assert_eq!(folders.exporter().total(NAME), 8);
    }
    assert!(!folders.aside(1).exists());
}

#[test]
fn what_is_no_ledger_is_put_aside_and_nothing_is_written_over() {
    let (folders, bytes) = written();
    let path = folders.ledger();
    let mut newer = bytes.clone();
    newer[8] = 3;
    let mut others = vec![
        ("version 3", newer),
        ("does not begin", b"not a ledger at all".to_vec()),
        ("does not begin", Vec::new()),
        ("cut short", bytes[..bytes.len() / 2].to_vec()),
    ];
    for (number, (why, bytes)) in (1..).zip(others.drain(..)) {
        std::fs::write(&path, &bytes).unwrap();
        let error = file::read(&path).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(folders.exporter().total(NAME), 0);
        assert_eq!(std::fs::read(folders.aside(number)).unwrap(), bytes);
    }
    // Nor is one that is not plain, or leads elsewhere.
    let elsewhere = folders.book.path().join("elsewhere");
    std::fs::write(&elsewhere, &bytes).unwrap();
    std::fs::remove_file(&path).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(file::read(&path).unwrap_err().to_string().contains("symbolic link"));
    assert_eq!(folders.exporter().total(NAME), 0);
    assert_eq!(std::fs::read(&elsewhere).unwrap(), bytes, "what it leads to is as it was");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("inside"), "").unwrap();
    assert!(file::read(&path).unwrap_err().to_string().contains("not a plain file"));
    assert_eq!(folders.exporter().total(NAME), 0);
    assert!(folders.aside(6).join("inside").exists());
    // Until there are so many that somebody should look.
    for number in 7..=MOST_UNREADABLE {
        std::fs::write(folders.aside(number), "").unwrap();
    }
    std::fs::write(&path, "no ledger").unwrap();
    let mut exporter = folders.exporter();
    assert!(exporter.look().is_none(), "nothing is durable yet");
    assert!(!exporter.ledger.condition().durable);
    assert_eq!(std::fs::read(&path).unwrap(), b"no ledger");
    std::fs::remove_file(folders.aside(3)).unwrap();
    exporter.total(NAME);
    assert!(exporter.ledger.condition().durable);
    assert_eq!(std::fs::read(folders.aside(3)).unwrap(), b"no ledger");
}

#[test]
fn one_of_another_user_is_not_believed() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: no file can be given away");
        return;
    }
    let (folders, _) = written();
    std::os::unix::fs::chown(folders.ledger(), Some(12_345), None).unwrap();
    assert!(file::read(&folders.ledger()).unwrap_err().to_string().contains("belongs to user 12345"));
    assert_eq!(folders.exporter().total(NAME), 0);
    assert!(folders.aside(1).exists());
}

#[test]
fn a_length_that_is_not_there_makes_no_room() {
    // A hole of 200 MiB that says that all of it is the ledger, and one that is longer than any is.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut head = [0; 32];
    head[..8].copy_from_slice(b"TACHOLDG");
    head[8] = 2;
    head[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&path, head).unwrap();
    assert!(file::read(&path).is_err());
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    assert!(file::read(&path).unwrap_err().to_string().contains("at most"));
}

/// A ledger of these bytes, with right checksums.
fn sealed(whole: &[u8], changes: &[Vec<u8>]) -> Option<u64> {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut book) = (folder.path().join(FILE), None);
    Book::replace(&mut book, &path, whole).unwrap();
    changes.iter().for_each(|change| assert!(book.as_mut().unwrap().append(change).unwrap()));
    told(&std::fs::read(&path).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Scribbled on where the checksums then say that all is well: taken or refused.
    #[test]
    fn no_bytes_make_it_panic(
        scribbles in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        change: Vec<u8>,
    ) {
        let (_folders, bytes) = written();
        let read = file::parse(bytes).unwrap();
        let mut whole = read.whole().to_vec();
        for (at, byte) in &scribbles {
            let at = at.index(whole.len());
            whole[at] = *byte;
        }
        let mut changes: Vec<Vec<u8>> = read.changes().map(<[u8]>::to_vec).collect();
        sealed(&whole, &changes);
        for (at, byte) in &scribbles {
            let at = at.index(changes[0].len());
            changes[0][at] = *byte;
        }
        changes.push(change);
        sealed(read.whole(), &changes);
    }

    /// Scribbled on anywhere: what is told was told once, or nothing is.
    #[test]
    fn damage_is_never_believed(scribbles in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let (_folders, mut bytes) = written();
        let end = room(&bytes) + 12_288;
        for (at, byte) in scribbles {
            let at = at.index(end);
            bytes[at] = byte;
        }
        prop_assert!([None, Some(7), Some(8), Some(9)].contains(&told(&bytes)));
    }
}
