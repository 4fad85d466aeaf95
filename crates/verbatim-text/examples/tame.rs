//! Shows what of the standard input would be printed: `printf 'a\r::error::b' | cargo run -p verbatim-text --example tame`.

#![expect(clippy::print_stdout, reason = "an example prints its answer")]

fn main() -> std::io::Result<()> {
    let text = std::io::read_to_string(std::io::stdin())?;
    println!("{}", verbatim_text::tamed(&text, false));
    Ok(())
}
