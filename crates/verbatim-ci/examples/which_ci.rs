//! Says which CI this is and what it builds, by the variables of this process.

use verbatim_ci::{detect, shell_exports};

#[expect(clippy::print_stdout, reason = "it is a program")]
#[expect(clippy::disallowed_methods, reason = "a program is the edge that reads the environment")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let context = detect(&std::env::vars().collect());
    let build = context.build.clone().unwrap_or_else(|| "local".to_owned());
    println!("CI      {}", context.kind);
    println!("build   {build}");
    println!("commit  {}", context.revision().unwrap_or("unknown: ask git"));
    if context.may_be_foreign() {
        println!("the code may come from anybody");
    }
    print!("{}", shell_exports([("BUILD", build.as_str())])?);
    Ok(())
}
