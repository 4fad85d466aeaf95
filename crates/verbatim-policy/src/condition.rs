//! Conditions of a team's own, in the Common Expression Language. <https://cel.dev>
//!
//! No policy must stop a pipeline by accident: text, nesting and the steps of all loops together are bounded, names are
//! checked when the policy is read, and what goes wrong later is an error that names the field, never a yes.

mod check;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cel::parser::Parser;
use cel::{Context, ExecutionError, IdedExpr, Value};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Longest text of a condition, in bytes. Parser and evaluation recurse as deep as the text is nested.
const MAX_TEXT: usize = 1000;

/// Deepest nesting that the parser follows.
const MAX_PARSER_DEPTH: u16 = 40;

/// Steps of all loops of one evaluation together. Enough to look at ten thousand records once, or to compare two hundred
/// with two hundred.
const MAX_STEPS: u32 = 40_000;

/// Steps of one turn of a loop that builds a list. Each turn copies the list, so two thousand take half a second.
const STEPS_OF_COPY: u32 = 20;

/// The function that every loop calls with its number of steps; nobody can write this name.
const STEP: &str = "@step";

/// A checked condition. Two are equal if their texts are.
#[derive(Clone)]
pub struct Condition {
    text: String,
    expression: Arc<IdedExpr>,
    variables: BTreeSet<String>,
}

/// Why a text is not a condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Longer than 1000 bytes.
    #[error("it has {0} bytes; at most {MAX_TEXT} are allowed")]
    TooLong(usize),
    /// Nested too deeply, or with too many parts.
    #[error("it is too large: {0}")]
    TooLarge(&'static str),
    /// Not an expression of the language.
    #[error("it does not compile, at line {line}, column {column}: {message}")]
    Syntax {
        /// The complaint of the parser.
        message: String,
        /// Where, from 1; in characters.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// A name that does not exist.
    #[error("unknown name `{name}`; known are {}", .known.join(", "))]
    UnknownVariable {
        /// The unknown name.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// A function that does not exist.
    #[error("unknown function `{0}`")]
    UnknownFunction(String),
}

/// Why a condition could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// A field is not there.
    #[error("there is no field `{0}`")]
    MissingField(String),
    /// It loops too often.
    #[error(
        "it takes more than {MAX_STEPS} steps; `exists` and `all` take one for each item, `map` and `filter` {STEPS_OF_COPY}"
    )]
    TooManySteps,
    /// It yields neither true nor false.
    #[error("it gives {0}, not true or false")]
    NotBool(String),
    /// Any other error of the language.
    #[error("{0}")]
    Failed(String),
}

/// The values that conditions look at, by name.
pub type Variables = BTreeMap<String, serde_json::Value>;

impl Condition {
    /// Reads a condition over these variables and `now`.
    ///
    /// # Errors
    /// If it is too large, does not compile, or uses an unknown name.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, ConditionError> {
        if text.len() > MAX_TEXT {
            return Err(ConditionError::TooLong(text.len()));
        }
        check::brackets(text)?;
        let parser = Parser::new().max_recursion_depth(MAX_PARSER_DEPTH);
        let mut expression = parser.parse(text).map_err(|errors| syntax(&errors))?;
        let variables = check::names(&expression, known)?;
        check::count_steps(&mut expression);
        Ok(Self { text: text.to_owned(), expression: Arc::new(expression), variables })
    }

    /// The variables that it uses.
    pub fn variables(&self) -> &BTreeSet<String> {
        &self.variables
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// If it cannot be evaluated, or yields neither true nor false.
    pub fn holds(&self, variables: &Variables, now: Timestamp) -> Result<bool, EvaluationError> {
        let steps = Arc::new(AtomicU32::new(0));
        let context = self.context(variables, now, Arc::clone(&steps))?;
        let outcome = Value::resolve(&self.expression, &context);
        // `||` may forget an error for its other branch, but not that there were too many steps.
        if steps.load(Ordering::Relaxed) > MAX_STEPS {
            return Err(EvaluationError::TooManySteps);
        }
        match outcome {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(EvaluationError::NotBool(format!("a {}", other.type_of()))),
            Err(ExecutionError::NoSuchKey(field)) => {
                Err(EvaluationError::MissingField(check::path_of(&self.expression, &field)))
            }
            Err(error) => Err(EvaluationError::Failed(error.to_string())),
        }
    }

    fn context(
        &self,
        variables: &Variables,
        now: Timestamp,
        steps: Arc<AtomicU32>,
    ) -> Result<Context<'_, '_>, EvaluationError> {
        let failed = |error: &dyn fmt::Display| EvaluationError::Failed(error.to_string());
        let mut context = Context::default();
        for name in &self.variables {
            // `now` is a time of the language, so that conditions can count with it.
            if name == "now" {
                let now = chrono::DateTime::from_timestamp(now.as_second(), 0).unwrap_or_default();
                context.add_variable_from_value("now", Value::Timestamp(now.fixed_offset()));
            } else if let Some(value) = variables.get(name) {
                context.add_variable_from_value(name.as_str(), value_of(value));
            }
        }
        let step = move |cost: i64| -> Result<bool, ExecutionError> {
            let cost = u32::try_from(cost).unwrap_or(MAX_STEPS);
            if steps.fetch_add(cost, Ordering::Relaxed).saturating_add(cost) <= MAX_STEPS {
                return Ok(true);
            }
            Err(ExecutionError::function_error(STEP, "too many steps"))
        };
        context.add_function(STEP, step).map_err(|error| failed(&error))?;
        Ok(context)
    }
}

/// JSON as a value of the language. Whole numbers are `int`: the language does not mix them with its unsigned ones.
fn value_of(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(items) => Value::List(items.iter().map(value_of).collect::<Vec<_>>().into()),
        Json::Object(entries) => entries
            .iter()
            .map(|(key, value)| (key.clone(), value_of(value)))
            .collect::<std::collections::HashMap<String, Value>>()
            .into(),
    }
}

fn syntax(errors: &cel::ParseErrors) -> ConditionError {
    let Some(first) = errors.errors.first() else {
        return ConditionError::Syntax { message: errors.to_string(), line: 1, column: 1 };
    };
    let (line, column) = first.pos;
    ConditionError::Syntax {
        message: first.msg.clone(),
        line: usize::try_from(line).unwrap_or(1),
        column: usize::try_from(column).unwrap_or(1),
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.text).finish()
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Condition {}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
