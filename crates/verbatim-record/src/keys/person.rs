//! Who holds which keys: keys that share a name of a person are of one person. Reads no records.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::key::KeyId;

/// Whoever holds some keys: all keys that are connected by the names of their owners. A key without names stands alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// The keys.
    pub keys: BTreeSet<KeyId>,
    /// The names under which the person starts CI runs and commits, in lower case.
    pub names: BTreeSet<String>,
}

impl Person {
    /// Whether this is a name of the person. Forges and mail do not tell capitals from small letters.
    pub fn is_called(&self, name: &str) -> bool {
        self.names.contains(&name.trim().to_lowercase())
    }
}

/// The persons behind some keys, in the order of the keys: `a: [anna]`, `b: [anna, root]` and `c: [root]` are one.
pub(super) fn persons<'a>(
    keys: impl IntoIterator<Item = (KeyId, &'a BTreeSet<String>)>,
) -> Vec<Arc<Person>> {
    let own: Vec<Person> = keys
        .into_iter()
        .map(|(key, names)| Person {
            keys: BTreeSet::from([key]),
            names: names.iter().map(|name| name.trim().to_lowercase()).collect(),
        })
        .collect();
    let mut persons: Vec<Person> = Vec::new();
    for mut person in own.iter().cloned() {
        let same = |other: &Person| !other.names.is_disjoint(&person.names);
        let (joined, apart): (Vec<_>, Vec<_>) = persons.into_iter().partition(same);
        for other in joined {
            person.keys.extend(other.keys);
            person.names.extend(other.names);
        }
        persons = apart;
        persons.push(person);
    }
    let persons: Vec<Arc<Person>> = persons.into_iter().map(Arc::new).collect();
    let whose = |one: &Person| persons.iter().find(|person| !person.keys.is_disjoint(&one.keys));
    own.iter().map(|one| whose(one).map_or_else(Arc::default, Arc::clone)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    /// The number of each key's person, counted as they come.
    #[track_caller]
    fn check(keys: &[&[&str]], want: &[usize]) {
        let names: Vec<BTreeSet<String>> = keys
            .iter()
            .map(|names| names.iter().map(|name| (*name).to_owned()).collect())
            .collect();
        let ids = (1..).map(|number| key(number).verifying_key().id());
        let persons = persons(ids.zip(&names));
        let mut seen: Vec<&Arc<Person>> = Vec::new();
        let numbers: Vec<usize> = persons
            .iter()
            .map(|person| {
                seen.iter().position(|one| one == &person).unwrap_or_else(|| {
                    seen.push(person);
                    seen.len() - 1
                })
            })
            .collect();
        assert_eq!(numbers, want, "{keys:?}");
    }

    #[test]
    fn keys_with_a_name_in_common_are_of_one_person() {
        check(&[], &[]);
        // Without names nobody knows.
        check(&[&[], &[]], &[0, 1]);
        check(&[&["anna"], &["bob"]], &[0, 1]);
        check(&[&["anna"], &["Anna "]], &[0, 0]);
        check(&[&["anna"], &["bob"], &["anna", "root"]], &[0, 1, 0]);
        // The third joins two that had nothing in common.
        check(&[&["anna"], &["root"], &["anna", "root"], &["bob"]], &[0, 0, 0, 1]);
        check(&[&["a", "b"], &["c", "d"], &["e"], &["d", "e"], &["b", "c"]], &[0, 0, 0, 0, 0]);
    }
}
