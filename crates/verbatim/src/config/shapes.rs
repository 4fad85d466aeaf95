//! Values that may be written in a short and in a long form, read by hand: serde's `untagged` would hide
//! which key of the long form was wrong, and where. Must not hold meaning beyond the shape.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::model::Wave;

/// A value that may be given by its name alone instead of by a mapping.
pub(crate) trait FromName: Sized {
    /// What is expected, for messages.
    const EXPECTED: &'static str;
    /// The value that the name alone stands for; `None` if it stands for nothing.
    fn try_from_name(name: String) -> Option<Self>;
}

/// `name` or `{ name: …, … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameOr<T>(pub T);

impl<'de, T: FromName + Deserialize<'de>> Deserialize<'de> for NameOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape<T>(PhantomData<T>);
        impl<'de, T: FromName + Deserialize<'de>> Visitor<'de> for Shape<T> {
            type Value = NameOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                let value = T::try_from_name(name.to_owned());
                value.map(NameOr).ok_or_else(|| E::invalid_value(Unexpected::Str(name), &self))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(NameOr)
            }
        }
        deserializer.deserialize_any(Shape(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for NameOr<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}OrName", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "type": "string" }, long] })
    }
}

/// One `T`, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Many<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Shape<T> {
            type Value = Many<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping or a list of mappings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Many)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| Many(vec![one]))
            }
        }
        deserializer.deserialize_any(Shape(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Many<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}OrMany", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

/// A list of `I`, or one mapping `M`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum ListOr<I, M> {
    List(Vec<I>),
    Map(M),
}

impl<'de, I: Deserialize<'de>, M: Deserialize<'de>> Deserialize<'de> for ListOr<I, M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape<I, M>(PhantomData<(I, M)>);
        impl<'de, I: Deserialize<'de>, M: Deserialize<'de>> Visitor<'de> for Shape<I, M> {
            type Value = ListOr<I, M>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list or a mapping")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(ListOr::List)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                M::deserialize(MapAccessDeserializer::new(map)).map(ListOr::Map)
            }
        }
        deserializer.deserialize_any(Shape(PhantomData))
    }
}

impl<I: JsonSchema, M: JsonSchema> JsonSchema for ListOr<I, M> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}sOr{}", I::schema_name(), M::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<I>();
        let map = generator.subschema_for::<M>();
        json_schema!({ "anyOf": [{ "type": "array", "items": item }, map] })
    }
}

/// A length of time, written `30s`, `5m`, `1h30m`, `14d`. A day is 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period(pub Duration);

/// Why a text is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a length of time such as 30s, 5m, 1h30m or 14d")]
pub(crate) struct PeriodError;

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let days_are_hours = SpanRelativeTo::days_are_24_hours();
        text.parse::<Span>()
            .and_then(|span| span.to_duration(days_are_hours))
            .ok()
            .and_then(|signed| Duration::try_from(signed).ok())
            .map(Self)
            .ok_or(PeriodError)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape;
        impl Visitor<'_> for Shape {
            type Value = Period;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time such as 30s, 5m or 1h30m")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Period, E> {
                text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Shape)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length of time such as 30s, 5m or 1h30m",
            "examples": ["30s", "5m", "1h30m"],
        })
    }
}

/// How far a release has come after a wave: a number of applications, or a part of them such as `25%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaveFile(pub Wave);

impl<'de> Deserialize<'de> for WaveFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape;
        impl Visitor<'_> for Shape {
            type Value = WaveFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of applications from 1, or a part of them such as 25%")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<WaveFile, E> {
                match usize::try_from(number) {
                    Ok(count @ 1..) => Ok(WaveFile(Wave::Count(count))),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
                }
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<WaveFile, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<WaveFile, E> {
                let percent = text.strip_suffix('%').and_then(|number| number.parse().ok());
                match percent {
                    Some(percent @ 1..=100) => Ok(WaveFile(Wave::Percent(percent))),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Shape)
    }
}

impl JsonSchema for WaveFile {
    fn schema_name() -> Cow<'static, str> {
        "Wave".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": "^(100|[1-9][0-9]?)%$" },
            ],
            "description": "How many applications have the release after a wave, or which part of them",
            "examples": [1, "25%"],
        })
    }
}
