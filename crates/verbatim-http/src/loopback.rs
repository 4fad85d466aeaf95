//! Which hosts are this machine: they may be spoken to in plain HTTP, and no proxy stands before them.

use url::{Host, Url};

/// Whether a URL leads to this machine: `localhost` and names below it, 127.0.0.0/8, `::1`.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        let cases = [
            ("http://localhost:5000/", true),
            ("http://registry.localhost/", true),
            ("http://LOCALHOST/", true),
            ("http://127.8.9.1/", true),
            // Other spellings of 127.0.0.1.
            ("http://2130706433/", true),
            ("http://0x7f.1/", true),
            ("http://[::1]:8080/", true),
            ("http://notlocalhost/", false),
            ("http://localhost.example.com/", false),
            ("http://127.0.0.1.example.com/", false),
            ("http://10.0.0.1/", false),
            ("file:///x", false),
        ];
        for (url, want) in cases {
            assert_eq!(is_loopback(&url.parse().unwrap()), want, "{url}");
        }
    }
}
