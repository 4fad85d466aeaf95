//! The help of every command as pages of documentation.
//!
//! The text is clap's own, so that the page and `--help` cannot differ.

use clap::Command;

use super::Generated;

/// Where the pages lie; nothing else lies there.
pub(super) const FOLDER: &str = "docs/cli";

/// Narrow enough for a page, wide enough that no example breaks.
const WIDTH: usize = 100;

/// One page for the tool, its commands one after the other, and one page for each group of commands in it.
pub(super) fn pages(command: Command) -> Vec<Generated> {
    let mut command = command.term_width(WIDTH);
    // Commands that are described only when they are asked for become known by this.
    command.build();
    let mut command = without_values(command);
    let name = command.get_name().to_owned();
    let mut pages = Vec::new();
    let mut text = opening(&mut command, &name);
    for sub in visible(&mut command) {
        let full = format!("{name} {}", sub.get_name());
        if visible(sub).next().is_some() {
            let file = full.replace(' ', "-");
            text.push_str(&format!("\n## {full}\n\nSee [{full}]({file}.md).\n"));
            let mut page = opening(sub, &full);
            sections(sub, &full, &mut page);
            pages.push(Generated::new(format!("{FOLDER}/{file}.md"), page));
        } else {
            text.push_str(&section(sub, &full));
        }
    }
    pages.insert(0, Generated::new(format!("{FOLDER}/{name}.md"), text));
    pages
}

/// Without the values that the variables of this shell have: a page is the same wherever it is made.
fn without_values(command: Command) -> Command {
    command.mut_args(|argument| argument.hide_env_values(true)).mut_subcommands(without_values)
}

fn opening(command: &mut Command, name: &str) -> String {
    format!(
        "<!-- Made by `cargo xtask codegen` from the code; changes here are lost. -->\n# {name}\n\n{}",
        block(command)
    )
}

fn sections(command: &mut Command, name: &str, text: &mut String) {
    for sub in visible(command) {
        let full = format!("{name} {}", sub.get_name());
        text.push_str(&section(sub, &full));
        sections(sub, &full, text);
    }
}

fn section(command: &mut Command, name: &str) -> String {
    format!("\n## {name}\n\n{}", block(command))
}

fn block(command: &mut Command) -> String {
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    format!("```text\n{}\n```\n", lines.join("\n").trim_end())
}

fn visible(command: &mut Command) -> impl Iterator<Item = &mut Command> {
    command.get_subcommands_mut().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn groups_have_pages_of_their_own_and_hidden_commands_none() {
        let tool = Command::new("tool")
            .about("Does it")
            .subcommand(
                Command::new("plain")
                    .about("Plainly")
                    .arg(Arg::new("name").help("Whose").env("PATH")),
            )
            .subcommand(Command::new("secret").hide(true))
            .subcommand(
                Command::new("group")
                    .about("Together")
                    .subcommand(Command::new("one").about("First")),
            );
        let pages = pages(tool);
        let paths: Vec<_> = pages.iter().map(|page| page.path.as_str()).collect();
        assert_eq!(paths, ["docs/cli/tool.md", "docs/cli/tool-group.md"]);
        assert!(
            pages[0].text.contains("## tool plain\n\n```text\nPlainly\n\nUsage: tool plain [name]"),
            "{}",
            pages[0].text
        );
        assert!(pages[0].text.contains("[tool group](tool-group.md)"));
        assert!(pages[0].text.contains("[env: PATH]"), "{}", pages[0].text);
        assert!(!pages[0].text.contains("secret"));
        assert!(
            pages[1].text.contains("## tool group one\n\n```text\nFirst\n"),
            "{}",
            pages[1].text
        );
    }
}
