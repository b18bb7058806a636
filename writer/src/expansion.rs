//! What the macros' expansions call: no part of the API, and free to change with the macros.
//!
//! The checks panic in const evaluation, with the words that registration would refuse the same thing with. They track their caller, so that the compiler points at the declaration and not in here.

use crate::naming::{self, Broken};
use crate::text::{Text, equal};
use crate::{LabelSet, LabelValue, Member};

/// Ends const evaluation: "`subject` `name` rule".
#[track_caller]
pub(crate) const fn refuse(subject: &str, name: &str, rule: Broken) -> ! {
    let message = Text::<1024>::new().with(subject).with(" `").with(name).with("` ").with(rule);
    panic!("{}", message.as_str())
}

/// Every choice of one value from each list, the last list's changing fastest.
#[must_use]
pub fn product(lists: &[&[&'static str]]) -> Vec<Vec<&'static str>> {
    let mut sets = vec![Vec::new()];
    for list in lists {
        sets = sets.iter().flat_map(|set| list.iter().map(|value| [set.as_slice(), &[*value]].concat())).collect();
    }
    sets
}

/// Checks a label's name.
#[track_caller]
pub const fn check_label_name(name: &str) {
    if let Err(rule) = naming::check_label(name) {
        refuse("label", name, rule);
    }
}

/// Checks the names of a family's labels, each by itself and against those before it.
#[track_caller]
pub const fn check_label_names(names: &[&str]) {
    let mut index = 0;
    while index < names.len() {
        check_label_name(names[index]);
        let mut before = 0;
        while before < index {
            if equal(names[before], names[index]) {
                refuse("label", names[index], naming::LABEL_TWICE);
            }
            before += 1;
        }
        index += 1;
    }
}

/// Checks the names of an open family's labels.
#[track_caller]
pub(crate) const fn check_open_label_names(names: &[&str]) {
    check_label_names(names);
    let mut index = 0;
    while index < names.len() {
        if equal(names[index], "overflow") {
            refuse("label", names[index], naming::LABEL_OVERFLOW);
        }
        index += 1;
    }
}

/// Checks one value of a label, by itself and against those before it.
#[track_caller]
pub const fn check_label_value<L: LabelValue>(index: usize) {
    let value = L::VALUES[index];
    if value.is_empty() {
        refuse("label", L::KEY, naming::VALUE_EMPTY);
    }
    if value.len() > naming::MAX_TEXT {
        refuse("label", L::KEY, naming::VALUE_LONG);
    }
    let mut before = 0;
    while before < index {
        if equal(L::VALUES[before], value) {
            let label = Text::<512>::new().with(L::KEY).with("` = `").with(value);
            refuse("label", label.as_str(), naming::VALUE_TWICE);
        }
        before += 1;
    }
}

/// Checks a label's name and all its values.
#[track_caller]
pub const fn check_label<L: LabelValue>() {
    check_label_name(L::KEY);
    let mut index = 0;
    while index < L::VALUES.len() {
        check_label_value::<L>(index);
        index += 1;
    }
}

/// Checks the names of a label set.
#[track_caller]
pub const fn check_label_set<L: LabelSet>() {
    check_label_names(L::NAMES);
}

/// Checks every member of a group.
#[track_caller]
pub const fn check_members(members: &[Member]) {
    let mut index = 0;
    while index < members.len() {
        members[index].check();
        index += 1;
    }
}
