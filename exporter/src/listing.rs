//! Lists regions with what people want to know of each at a glance: `tacho ls`, and the page behind `/`.

use std::collections::HashMap;
use std::error::Error;

use crate::json::{Now, RegionEntry};
use crate::{Directories, Problem, Scan, Verdict};

/// The regions of some directories as they are listed.
///
/// ```
/// use tachograph_exporter::{Directories, listing::Listing};
/// let directory = tempfile::tempdir()?;
/// let listing = Listing::of(&Directories::from_args(vec![directory.path().into()]), true);
/// assert!(listing.entries.is_empty() && listing.problems.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Listing {
    /// The regions, by name.
    pub entries: Vec<RegionEntry>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

impl Listing {
    /// Lists regions with how often each name crashed, and the archived ones where asked for.
    #[must_use]
    pub fn of(directories: &Directories, archived: bool) -> Self {
        let now = Now::read();
        let Scan { regions, mut problems } = directories.scan();
        let archive = directories.archived(None);
        problems.extend(archive.problems.into_iter().filter(|problem| !problems.contains(problem)).collect::<Vec<_>>());
        let mut infos = Vec::new();
        let mut crashes: HashMap<String, u64> = HashMap::new();
        let places =
            regions.iter().map(|reader| (reader, true)).chain(archive.regions.iter().map(|reader| (reader, archived)));
        for (reader, listed) in places {
            // Of those that are only counted the verdict is enough.
            let counted =
                reader.verdict().and_then(|verdict| Ok((verdict, listed.then(|| reader.info()).transpose()?)));
            match counted {
                Ok((verdict, region)) => {
                    if verdict == Verdict::Crashed {
                        *crashes.entry(reader.name().to_owned()).or_default() += 1;
                    }
                    infos.extend(region);
                }
                Err(error) => problems.push(Problem { path: reader.path().to_owned(), error: chain(&error) }),
            }
        }
        infos.sort_by(|a, b| (&a.name, b.created_realtime_ns).cmp(&(&b.name, a.created_realtime_ns)));
        let crashes = |name: &str| crashes.get(name).copied().unwrap_or(0);
        let entries = infos.into_iter().map(|region| {
            let count = crashes(&region.name);
            RegionEntry::new(region, now, count)
        });
        Self { entries: entries.collect(), problems }
    }
}

/// An error with its causes, as one line.
///
/// ```
/// let error = tachograph_exporter::RegionReader::open("/nowhere/mc-0.tacho".as_ref()).unwrap_err();
/// assert!(tachograph_exporter::listing::chain(&error).contains("No such file"));
/// ```
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some messages say their cause already.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
