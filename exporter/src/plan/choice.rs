//! Which families are rendered: those of one name together, and of two that clash the older region's.
//!
//! Called by [`super::Plan::new`]. A family clashes where it can't stand under the HELP and TYPE of the one that is there, or
//! where one of its sample names would be read as a part of another family, in whichever format.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{Clash, Options, Source};
use crate::label_block::pairs;
use crate::schema::{Family, Kind};

/// A family: index of its source, and index into that source's families.
pub(super) type Entry = (usize, usize);

/// What is rendered and what is left out.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Families of one name, the one that stands first in each; sorted by name, `target_info` before all.
    pub(super) families: Vec<Vec<Entry>>,
    /// What was left out, in the order of age and then of registration.
    pub(super) clashes: Vec<Clash>,
}

/// The family that an entry stands for.
pub(super) fn family(sources: &[Source], (source, index): Entry) -> Option<&Family> {
    sources.get(source)?.snapshot.schema.families.get(index)
}

/// Groups the families by name and leaves out what clashes with an older one.
pub(super) fn choose(sources: &[Source], options: &Options) -> Choice {
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by(|a, b| sources[*a].seniority().cmp(&sources[*b].seniority()));
    let mut taken: HashMap<String, &str> = HashMap::new();
    let mut index: HashMap<&str, usize> = HashMap::new();
    let mut choice = Choice::default();
    for source in order {
        let Source { snapshot, labelled } = &sources[source];
        for (place, family) in snapshot.schema.families.iter().enumerate() {
            let label = if *labelled { options.region_label.as_str() } else { "" };
            let known = index.get(family.name.as_str()).copied();
            let first = known.and_then(|known| choice.families.get(known)?.first().copied());
            let reason = reserved(family, label).or_else(|| scraper_s_own(sources, (source, place), label));
            let reason = reason.or_else(|| match first {
                Some(stands) => differs(family, self::family(sources, stands)?, &sources[stands.0])
                    .or_else(|| shown_already(sources, stands, (source, place), label)),
                None => suffix_clash(family, &taken),
            });
            let clash = |reason, left_out| {
                let (region, family) = (snapshot.region.name.clone(), family.name.clone());
                Clash { region, family, reason, left_out }
            };
            if let Some(reason) = reason {
                choice.clashes.push(clash(reason, true));
            } else if let Some(known) = known {
                let told =
                    first.and_then(|stands| told_otherwise(family, self::family(sources, stands)?, &sources[stands.0]));
                choice.clashes.extend(told.map(|reason| clash(reason, false)));
                choice.families[known].push((source, place));
            } else {
                index.insert(&family.name, choice.families.len());
                taken.extend(sample_names(family).into_iter().map(|name| (name, family.name.as_str())));
                choice.families.push(vec![(source, place)]);
            }
        }
    }
    let name = |entries: &[Entry]| entries.first().and_then(|entry| family(sources, *entry)).map(|family| &family.name);
    // What is said about the whole target stands before everything that it is said about: OpenMetrics wants it first.
    let place = |entries: &[Entry]| name(entries).map(|name| (name != "target_info", name));
    choice.families.sort_unstable_by(|a, b| place(a).cmp(&place(b)));
    choice
}

/// Whether a family uses a label that is added to it, here or for its kind.
fn reserved(family: &Family, region_label: &str) -> Option<String> {
    let taken = |name: &str| family.label_names.iter().any(|label| label == name);
    let added = match family.kind {
        Kind::HistogramBounds | Kind::HistogramExponential => "le",
        Kind::StateSet => family.name.as_str(),
        _ => "",
    };
    let twice = |label: &&str| !label.is_empty() && (taken(label) || (*label == region_label && *label == added));
    let label = [region_label, added].into_iter().find(twice)?;
    Some(format!("it has a label {label} of its own"))
}

/// Why a series would be taken for one that a scraper writes by itself at each scrape, `up` and the like.
fn scraper_s_own(sources: &[Source], entry: Entry, label: &str) -> Option<String> {
    let family = family(sources, entry).filter(|family| family.name == "up" || family.name.starts_with("scrape_"))?;
    let mut series = sources[entry.0].snapshot.schema.series.range(family.series.clone());
    // To Prometheus an empty label is none.
    let bare = series.any(|series| pairs(series.labels).all(|(_, value)| value.is_empty()));
    (label.is_empty() && bare)
        .then(|| "Prometheus has a series of that name of its own, and no label is added".to_owned())
}

fn whose(older: &Source) -> String {
    match older.snapshot.region.name.as_str() {
        name if older.labelled => format!("region {name}"),
        "" => "the exporter".to_owned(),
        name => name.to_owned(),
    }
}

/// Why a family can't stand beside one of that name that has no region label, the exporter's own: a series of it would be
/// there twice.
fn shown_already(sources: &[Source], stands: Entry, entry: Entry, label: &str) -> Option<String> {
    let older = &sources[stands.0];
    if older.labelled {
        return None;
    }
    let whose = whose(older);
    if label.is_empty() {
        return Some(format!("{whose} has a family of that name, and no label tells their series apart"));
    }
    let block = format!("{label}=\"{}\"", sources[entry.0].snapshot.region.name);
    let sorted = |labels: &str, more: &str| {
        // To Prometheus an empty label is none.
        let both = pairs(labels).chain(pairs(more)).filter(|(_, value)| !value.is_empty());
        both.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<BTreeSet<_>>()
    };
    let of = |entry: Entry| {
        let family = family(sources, entry)?;
        Some(sources[entry.0].snapshot.schema.series.range(family.series.clone()))
    };
    let theirs: HashSet<_> = of(stands)?.map(|series| sorted(series.labels, "")).collect();
    let twice = of(entry)?.any(|series| theirs.contains(&sorted(series.labels, &block)));
    twice.then(|| format!("{whose} shows the same series"))
}

/// What a family says of itself that the older one, under whose HELP and UNIT it stands, says otherwise.
fn told_otherwise(family: &Family, stands: &Family, older: &Source) -> Option<String> {
    let what = if family.help != stands.help { "HELP" } else { "UNIT" };
    (family.help != stands.help || family.unit != stands.unit)
        .then(|| format!("its {what} is not that of {}", whose(older)))
}

/// Why a family can't stand under the TYPE of an older one; `None` where it can.
fn differs(family: &Family, stands: &Family, older: &Source) -> Option<String> {
    let whose = whose(older);
    if family.kind != stands.kind {
        let (kind, other) = (family.kind.as_str(), stands.kind.as_str());
        return Some(format!("it is of kind {kind}, and {whose} has one of kind {other} under that name"));
    }
    if family.bounds != stands.bounds {
        return Some(format!("its bounds are not those of {whose}'s histogram of that name"));
    }
    None
}

/// Why a family's sample names would be read as another family's; `None` where they are free.
fn suffix_clash(family: &Family, taken: &HashMap<String, &str>) -> Option<String> {
    let (name, other) =
        sample_names(family).into_iter().find_map(|name| taken.get(&name).map(|other| (name, *other)))?;
    Some(format!("its {name} would be read as a part of {other}"))
}

/// All names that a family takes in some format, its own among them: what its lines may begin with, and what OpenMetrics
/// calls it.
fn sample_names(family: &Family) -> Vec<String> {
    let name = &family.name;
    let base = super::openmetrics_name(family);
    let mut names = vec![name.clone()];
    let more: &[&str] = match family.kind {
        Kind::HistogramBounds | Kind::HistogramExponential => &["_bucket", "_sum", "_count", "_created"],
        Kind::Counter => &["_created"],
        _ => &[],
    };
    names.extend(more.iter().map(|suffix| format!("{base}{suffix}")));
    if base != name {
        names.push(base.to_owned());
    }
    names
}
