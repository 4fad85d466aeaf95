//! The check of a condition before its evaluation: its size and the names in it; and the counting of steps, which is
//! built into its loops.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::operators::LOGICAL_AND;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue};
use cel::common::types::CelInt;

use super::{ConditionError, STEP, STEPS_OF_COPY};

/// How deep brackets may be nested.
const MAX_BRACKETS: usize = 16;

/// How many parts a condition may have after its macros were expanded.
const MAX_PARTS: usize = 600;

/// How deep its parts may be nested: a chain of a hundred fields, or of a hundred `&&`.
const MAX_DEPTH: usize = 120;

/// The functions of the language, besides its operators and macros. `matches` is not among them: a regular expression can
/// cost more than all the rest.
const FUNCTIONS: &[&str] = &[
    "size",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "type",
    "timestamp",
    "duration",
    "contains",
    "startsWith",
    "endsWith",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfYear",
    "getDayOfWeek",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];

/// Refuses text that is nested too deeply, before anything recurses into it. Brackets in strings count too, which refuses
/// only what nobody writes.
pub(super) fn brackets(text: &str) -> Result<(), ConditionError> {
    let mut depth = 0_usize;
    for character in text.chars() {
        match character {
            '(' | '[' | '{' | '?' => depth += 1,
            ')' | ']' | '}' | ':' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_BRACKETS {
            return Err(ConditionError::TooLarge("its brackets are nested too deeply"));
        }
    }
    Ok(())
}

/// The variables in use, after a check that every variable and function is known.
pub(super) fn names(
    expression: &IdedExpr,
    known: &[&str],
) -> Result<BTreeSet<String>, ConditionError> {
    let mut check = ExpressionCheck { known, used: BTreeSet::new(), scope: Vec::new(), parts: 0 };
    check.expression(expression, 0)?;
    Ok(check.used)
}

struct ExpressionCheck<'a> {
    known: &'a [&'a str],
    used: BTreeSet<String>,
    /// The variables of the loops around.
    scope: Vec<String>,
    parts: usize,
}

impl ExpressionCheck<'_> {
    fn expression(&mut self, expression: &IdedExpr, depth: usize) -> Result<(), ConditionError> {
        self.parts += 1;
        if depth > MAX_DEPTH || self.parts > MAX_PARTS {
            return Err(ConditionError::TooLarge("it has too many parts"));
        }
        if let Expr::Ident(name) = &expression.expr {
            return self.variable(name);
        }
        if let Expr::Call(call) = &expression.expr {
            function(call)?;
        }
        let Expr::Comprehension(comprehension) = &expression.expr else {
            return children(expression)
                .into_iter()
                .try_for_each(|child| self.expression(child, depth + 1));
        };
        let outside = [&comprehension.iter_range, &comprehension.accu_init];
        outside.into_iter().try_for_each(|child| self.expression(child, depth + 1))?;
        let outer = self.scope.len();
        self.scope.push(comprehension.iter_var.clone());
        self.scope.extend(comprehension.iter_var2.clone());
        self.scope.push(comprehension.accu_var.clone());
        let inside = [&comprehension.loop_cond, &comprehension.loop_step, &comprehension.result];
        let checked = inside.into_iter().try_for_each(|child| self.expression(child, depth + 1));
        self.scope.truncate(outer);
        checked
    }

    fn variable(&mut self, name: &str) -> Result<(), ConditionError> {
        if self.scope.iter().any(|of_loop| of_loop == name) {
            return Ok(());
        }
        if !self.known.contains(&name) && name != "now" {
            let mut known: Vec<String> = self.known.iter().map(|it| (*it).to_owned()).collect();
            known.push("now".to_owned());
            return Err(ConditionError::UnknownVariable { name: name.to_owned(), known });
        }
        self.used.insert(name.to_owned());
        Ok(())
    }
}

fn function(call: &CallExpr) -> Result<(), ConditionError> {
    let name = call.func_name.as_str();
    let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
    if is_operator || FUNCTIONS.contains(&name) {
        return Ok(());
    }
    Err(ConditionError::UnknownFunction(name.to_owned()))
}

/// The parts of an expression, but for a loop's.
fn children(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|it| of_entry(&it.expr)).collect(),
        Expr::Struct(made) => made.entries.iter().flat_map(|it| of_entry(&it.expr)).collect(),
        Expr::Select(select) => vec![&*select.operand],
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Comprehension(_) => {
            Vec::new()
        }
    }
}

fn of_entry(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

/// Makes every loop call [`STEP`] before each turn. The expression was checked, so it is not deep.
pub(super) fn count_steps(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Comprehension(comprehension) => {
            let parts = [
                &mut comprehension.iter_range,
                &mut comprehension.accu_init,
                &mut comprehension.loop_cond,
                &mut comprehension.loop_step,
                &mut comprehension.result,
            ];
            parts.into_iter().for_each(count_steps);
            let condition = std::mem::take(&mut comprehension.loop_cond);
            let builds_a_list = matches!(comprehension.accu_init.expr, Expr::List(_));
            let cost = if builds_a_list { STEPS_OF_COPY } else { 1 };
            let cost = Expr::Literal(LiteralValue::Int(CelInt::from(i64::from(cost))));
            let step = call(STEP, vec![IdedExpr { id: 0, expr: cost }]);
            comprehension.loop_cond = call(LOGICAL_AND, vec![step, condition]);
        }
        Expr::Call(call) => {
            call.target.as_deref_mut().into_iter().chain(&mut call.args).for_each(count_steps);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(count_steps),
        Expr::Map(map) => map.entries.iter_mut().for_each(|it| entry(&mut it.expr)),
        Expr::Struct(made) => made.entries.iter_mut().for_each(|it| entry(&mut it.expr)),
        Expr::Select(select) => count_steps(&mut select.operand),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

fn entry(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::StructField(field) => count_steps(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            count_steps(&mut entry.key);
            count_steps(&mut entry.value);
        }
    }
}

fn call(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    let call = CallExpr { func_name: name.to_owned(), target: None, args };
    IdedExpr { id: 0, expr: Expr::Call(call) }
}

/// The path to a field for people: `release.labels.team`, not `team`. The first of several places; the field alone if
/// there is none.
pub(super) fn path_of(expression: &IdedExpr, field: &str) -> String {
    find(expression, field).unwrap_or_else(|| field.to_owned())
}

fn find(expression: &IdedExpr, field: &str) -> Option<String> {
    if let Expr::Select(select) = &expression.expr
        && select.field == field
        && !select.test
    {
        return written(expression);
    }
    match &expression.expr {
        Expr::Comprehension(it) => [&it.iter_range, &it.loop_step, &it.result]
            .into_iter()
            .find_map(|child| find(child, field)),
        _ => children(expression).into_iter().find_map(|child| find(child, field)),
    }
}

/// A chain of fields as it was written.
fn written(expression: &IdedExpr) -> Option<String> {
    match &expression.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) => Some(format!("{}.{}", written(&select.operand)?, select.field)),
        _ => None,
    }
}
