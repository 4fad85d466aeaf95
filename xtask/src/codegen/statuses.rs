//! The exit statuses as a page, from the one table in the code.

use verbatim_console::ExitStatus;

use super::Generated;

pub(super) fn page() -> Generated {
    let mut text = String::from(
        "<!-- Made by `cargo xtask codegen` from the code; changes here are lost. -->\n\
         # Exit statuses\n\n\
         Every tool ends with one of these, and with no other. `--format json` prints the word too.\n\n\
         | status | word | meaning | a pipeline should |\n|---|---|---|---|\n",
    );
    for status in ExitStatus::ALL {
        text.push_str(&format!(
            "| {} | `{}` | {} | {} |\n",
            status.code(),
            status.name(),
            status.meaning(),
            status.advice()
        ));
    }
    Generated::new("docs/exit-codes.md", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_row() {
        let page = page();
        for status in ExitStatus::ALL {
            assert!(
                page.text.contains(&format!("\n| {} | `{}` |", status.code(), status.name())),
                "{status:?}"
            );
        }
    }
}
