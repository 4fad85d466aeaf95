//! Parses references given as arguments, and says what each means: `parse nginx localhost:5000/shop:1.2`.

use verbatim_oci::Reference;

#[expect(clippy::print_stdout, reason = "it is a program")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut texts: Vec<String> = std::env::args().skip(1).collect();
    if texts.is_empty() {
        texts.push("nginx:1.29".to_owned());
    }
    for text in texts {
        let reference: Reference = text.parse()?;
        println!("{text}");
        println!("  in full   {reference}");
        println!("  asked as  {}", reference.manifest_name());
        match reference.digest {
            Some(digest) => println!("  names     {}, whatever its tag", digest.short()),
            None => println!("  names     what the tag points to when you ask"),
        }
    }
    Ok(())
}
