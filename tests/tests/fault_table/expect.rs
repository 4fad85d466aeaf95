//! How a command may end in a cell. Pure: the rules that users rely on, as a function of the cell alone. What must be true
//! of the services besides is checked by `run`; above all, that 0 is no lie.

use crate::cell::{Cell, Command, Service, Trouble};

/// The exit statuses that a cell may end with.
///
/// - What passes by itself is waited out: a read is sent again, within its budget (0). If it lasts, the service could not be
///   reached or kept failing (3).
/// - What will not pass is refused at once, and never sent again (7).
/// - Once something was written, a failure is "unfinished" (4), unless what was written has been put back (3 or 7). A
///   write whose answer is lost is looked for, and may turn out to have happened (0).
/// - Content that is not what its digest says is a "no" (1).
/// - A signal ends with 130, whatever was under way.
pub(crate) fn allowed(cell: &Cell) -> Vec<i32> {
    let mut allowed = match (cell.trouble, cell.request.acting) {
        (Trouble::Interrupt | Trouble::Terminate, _) => vec![130],
        (Trouble::Unreachable, false) => vec![3],
        (Trouble::Unreachable, true) => vec![3, 4],
        // Argo CD says 500 of things that stay as they are: what does not render, what it cannot read.
        (Trouble::Status(500), false) if cell.service == Service::ArgoCd => vec![3],
        (trouble, false) if passes(trouble) && cell.for_good => vec![3],
        (trouble, false) if passes(trouble) => vec![0],
        (trouble, true) if passes(trouble) => vec![0, 3, 4],
        (Trouble::Status(_), false) => vec![7],
        (Trouble::Status(_), true) => vec![4, 7],
        (Trouble::Html, false) => vec![3, 7],
        // 200 with a page: perhaps a proxy answers, perhaps it ate the answer.
        (Trouble::Html, true) => vec![0, 3, 4, 7],
        (Trouble::LyingHeader | Trouble::LyingBody, false) => vec![1, 3],
        (Trouble::LyingHeader | Trouble::LyingBody, true) => vec![0, 1, 3, 4],
        _ => vec![0],
    };
    allowed.extend(exceptions(cell));
    allowed
}

/// Whether the same request may be answered well a moment later.
fn passes(trouble: Trouble) -> bool {
    matches!(
        trouble,
        Trouble::Slow
            | Trouble::TooMany
            | Trouble::Status(500 | 502 | 503)
            | Trouble::Truncated
            | Trouble::Reset
    )
}

/// Requests whose failure means something of its own.
fn exceptions(cell: &Cell) -> &'static [i32] {
    let shape = cell.request.shape.as_str();
    let is_persistent = matches!(cell.trouble, Trouble::Unreachable) || cell.for_good;
    match (cell.service, cell.trouble, cell.command) {
        _ if cell.trouble.is_signal() => &[],
        // Nothing but closing the claim is left: the promotion is proven and recorded, and a warning is all.
        (Service::ArgoCd, _, _) if cell.request.last => &[0],
        // What a check beforehand cannot find out is told by the check afterwards.
        (Service::ArgoCd, _, _) if is_optional(shape) && !is_persistent => &[0],
        // The right to look at rendered manifests is not needed, and a pod may go while it is looked at.
        (Service::ArgoCd, Trouble::Status(403 | 404), _)
            if shape.ends_with("/manifests") || shape.ends_with("/resource") =>
        {
            &[0]
        }
        // An engine is not asked twice: what it was asked is long and not repeatable.
        (Service::Engine, Trouble::TooMany, _) => &[7],
        (Service::Engine, trouble, _) if passes(trouble) => &[0, 3],
        // What the engine meets during its push is told in its words; much of it is waited out by the engine.
        (Service::Registry, _, _) if cell.request.by_engine => &[0, 3, 7],
        // A header that nobody asked for is not looked at.
        (Service::Registry, Trouble::LyingHeader, _) if !shape.contains("/manifests/") => &[0],
        // Records that cannot be had are missing facts, and the first environment needs none. A ledger that is cut off
        // is not added to, which is a "no".
        (Service::Registry, _, Command::Promote | Command::Test)
            if cell.request.index > 0 && is_of_records(shape) && !is_persistent =>
        {
            &[0, 1, 4, 7]
        }
        // A page is not what the digest says.
        (Service::Registry, Trouble::Html, _) => &[1],
        // 404 is an answer: nothing is there yet.
        (Service::Registry, Trouble::Status(404), Command::Build) => &[0, 4],
        (Service::Registry, Trouble::LyingBody | Trouble::LyingHeader, Command::Build)
            if !cell.for_good =>
        {
            &[0]
        }
        _ => &[],
    }
}

fn is_optional(shape: &str) -> bool {
    ["/stream/applications", "/can-i/", "/syncwindows"].iter().any(|part| shape.contains(part))
}

fn is_of_records(shape: &str) -> bool {
    ["/referrers/", "/blobs/", "/manifests/"].iter().any(|part| shape.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Request;

    #[track_caller]
    fn check(service: Service, trouble: Trouble, shape: &str, acting: bool, want: &[i32]) {
        let request =
            Request { index: 0, shape: shape.to_owned(), acting, last: false, by_engine: false };
        let cell = Cell { command: Command::Promote, service, trouble, request, for_good: false };
        assert_eq!(allowed(&cell), want, "{cell}");
    }

    #[test]
    fn the_rules() {
        use Service::{ArgoCd, Registry};
        let manifest = "GET /v2/shop/app/manifests/DIGEST";
        let application = "GET /api/v1/applications/shop-dev";
        check(Registry, Trouble::Status(503), manifest, false, &[0]);
        check(Registry, Trouble::Status(401), manifest, false, &[7]);
        check(Registry, Trouble::Unreachable, manifest, false, &[3]);
        check(Registry, Trouble::LyingBody, manifest, false, &[1, 3]);
        check(ArgoCd, Trouble::Status(500), application, false, &[3]);
        check(ArgoCd, Trouble::Reset, "PATCH /api/v1/applications/shop-dev", true, &[0, 3, 4]);
        check(ArgoCd, Trouble::Terminate, application, true, &[130]);
        check(ArgoCd, Trouble::Status(403), application, false, &[7]);
    }
}
