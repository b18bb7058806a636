//! Says who may read what this user may not: owner, group and mode of the file or directory that is in the way.
//!
//! Called where a region, its lock or its directory was refused. Only looks, and never fails: what can't be looked at
//! is told by the directory above it, which is what refused.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User};

/// Who may read `path`, which this user may not, and what helps. Names the directory above where that is in the way.
pub(crate) fn denied(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // What can be looked at stands in a directory that may be searched: so it is the first thing that may not be.
    let closed = absolute.ancestors().find_map(|on_the_way| Some((on_the_way, on_the_way.metadata().ok()?)));
    let Some((closed, metadata)) = closed else {
        return "not readable for this user".to_owned();
    };
    let place = if closed == absolute { String::new() } else { format!("{}: ", closed.display()) };
    format!(
        "{place}not readable for this user: owner {}, group {}, mode {:04o}; run as its owner or as a member of its group",
        owner(metadata.uid()),
        group(metadata.gid()),
        metadata.mode() & 0o7777,
    )
}

fn owner(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid))
        .ok()
        .flatten()
        .map_or_else(|| uid.to_string(), |user| format!("{} ({uid})", user.name))
}

fn group(gid: u32) -> String {
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    group.map_or_else(|| gid.to_string(), |group| format!("{} ({gid})", group.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_owner_group_and_mode() {
        // Root reads everything, so no refusal is needed to ask; owner, group and mode are the directory's own.
        let directory = tempfile::tempdir().unwrap();
        let text = denied(directory.path());
        let metadata = directory.path().metadata().unwrap();
        assert!(text.contains(&format!("owner {}, group {}", owner(metadata.uid()), group(metadata.gid()))), "{text}");
        assert!(text.contains(", mode 0") && text.contains("run as"), "{text}");
        assert_eq!(owner(4_000_000_000), "4000000000");
    }

    #[test]
    fn what_can_not_be_looked_at_is_told_by_the_directory_above() {
        let directory = tempfile::tempdir().unwrap();
        let text = denied(&directory.path().join("a/b"));
        assert!(text.starts_with(&format!("{}: not readable", directory.path().display())), "{text}");
    }
}
