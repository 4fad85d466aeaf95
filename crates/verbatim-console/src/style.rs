//! Colours. They mark what the words say already, so nothing is lost without them.
//!
//! These functions always colour; the [`Console`](crate::Console) removes colours that are not wanted.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Something that is as it should be.
pub fn good(text: impl Display) -> String {
    paint(AnsiColor::Green.on_default(), text)
}

/// Something that is not as it should be.
pub fn bad(text: impl Display) -> String {
    paint(AnsiColor::Red.on_default().bold(), text)
}

/// Something to look at.
pub fn attention(text: impl Display) -> String {
    paint(AnsiColor::Yellow.on_default(), text)
}

/// What a line is about.
pub fn strong(text: impl Display) -> String {
    paint(Style::new().bold(), text)
}

/// What can be skipped.
pub fn dim(text: impl Display) -> String {
    paint(Style::new().dimmed(), text)
}
