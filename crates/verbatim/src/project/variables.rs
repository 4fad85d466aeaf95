//! The environment variables of a job: keys and tokens are among them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};

use secrecy::zeroize::Zeroize as _;

/// The environment variables, by name. Values that are not UTF-8 are left out: none that is read here may be one. They cannot
/// be printed, and are wiped when nobody needs them any more.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Variables(BTreeMap<String, String>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Drop for Variables {
    fn drop(&mut self) {
        self.0.values_mut().for_each(|value| value.zeroize());
    }
}

impl Deref for Variables {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Variables {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_printed() {
        let variables: Variables =
            [("VERBATIM_KEY".to_owned(), "secret".to_owned())].into_iter().collect();
        assert_eq!(format!("{variables:?}"), r#"{"VERBATIM_KEY"}"#);
        assert_eq!(variables.get("VERBATIM_KEY").map(String::as_str), Some("secret"));
    }
}
