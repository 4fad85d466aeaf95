//! Members that are written and hold nothing: Go writes an empty list, map or text as `null` or `""`, and reads that as
//! absent. So does this. The digest is of the bytes, so nothing is lost by it.

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::{Descriptor, Platform};

/// A value, or the default for `null`.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A text that is not empty.
pub(crate) fn filled_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.filter(|text: &String| !text.is_empty()))
}

/// A platform that names something.
pub(crate) fn filled_platform<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Platform>, D::Error> {
    Ok(Option::deserialize(deserializer)?.filter(|platform: &Platform| !platform.is_empty()))
}

/// A descriptor that names something.
pub(crate) fn filled_descriptor<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Descriptor>, D::Error> {
    let written: Map<String, Value> = or_default(deserializer)?;
    match written.is_empty() {
        true => Ok(None),
        false => Descriptor::deserialize(Value::Object(written)).map(Some).map_err(Error::custom),
    }
}

/// Annotations, without those that are `null`.
pub(crate) fn annotations<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let written: BTreeMap<String, Option<String>> = or_default(deserializer)?;
    Ok(written.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
}

/// Whether a member is written at all: `None` if not, `Some(None)` for `null`.
pub(crate) fn written<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}
