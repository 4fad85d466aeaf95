//! Prints addresses as they may be shown, and whether they are this machine:
//! `cargo run -p verbatim-http --example address -- https://me:secret@git.example.com/a.git http://127.0.0.1:5000`.

#![expect(clippy::print_stdout, reason = "an example prints its answer")]

fn main() {
    for address in std::env::args().skip(1) {
        let shown = verbatim_http::RedactedUrl::of_repository(&address);
        let is_here = url::Url::parse(&address).is_ok_and(|url| verbatim_http::is_loopback(&url));
        println!("{shown}{}", if is_here { " (this machine)" } else { "" });
    }
}
