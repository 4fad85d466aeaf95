//! How a command may end in a cell. Pure: the rules that users rely on, as a function of the cell alone. What must be true
//! of the services besides is checked by `run`; above all, that 0 is no lie.

use crate::cell::{Cell, Service, Trouble};
use crate::scene::{Command, Setting};

/// The exit statuses that a cell may end with. Several only where requests run side by side, so that chance decides what
/// a fault meets first.
///
/// - What passes by itself is waited out: a read is sent again, within its budget (0). If it lasts, the service could not be
///   reached or kept failing (3).
/// - What will not pass is refused at once, and never sent again (7).
/// - Once something was written, a failure is "unfinished" (4), unless what was written has been put back (3 or 7). A
///   write whose answer is lost is looked for, and may turn out to have happened (0).
/// - Content that is not what its digest says is a "no" (1), and so is a gate whose facts cannot be had.
/// - A signal ends with 130, whatever was under way.
pub(crate) fn allowed(cell: &Cell) -> Vec<i32> {
    if cell.trouble.is_signal() {
        return vec![130];
    }
    match (cell.service, cell.request.acting) {
        (Service::Engine, _) => engine(cell),
        (Service::Registry, _) if cell.request.by_engine => registry_of_the_engine(cell),
        (Service::Registry, false) => registry_read(cell),
        // What was pushed is looked at before it is recorded.
        (Service::Registry, true) if is_description(cell) => registry_read(cell),
        (Service::Registry, true) => registry_after_a_write(cell),
        (Service::ArgoCd, false) => argocd_read(cell),
        (Service::ArgoCd, true) => argocd_after_a_write(cell),
    }
}

fn is_description(cell: &Cell) -> bool {
    cell.scene.command == Command::Build
        && cell.request.shape.starts_with("GET /v2/shop/app/blobs/")
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

/// Short questions are asked again; a build is not, and a push once, if the connection broke.
fn engine(cell: &Cell) -> Vec<i32> {
    let shape = cell.request.shape.as_str();
    let is_question = shape.starts_with("GET ");
    let is_push = shape.ends_with("/push");
    match cell.trouble {
        Trouble::Unreachable => vec![3],
        Trouble::Status(401 | 403 | 404) => vec![7],
        Trouble::Html => vec![3],
        trouble if is_question && passes(trouble) && !cell.for_good => vec![0],
        _ if is_question => vec![3],
        // A silent engine may be at work.
        Trouble::Slow => vec![4],
        // Half of an answer may hold all that is asked for.
        Trouble::Reset | Trouble::Truncated if is_push => vec![0],
        // The image may have been named before the answer broke off.
        Trouble::Truncated => vec![0, 3, 4],
        _ => vec![3],
    }
}

/// What the engine meets during its push is told in its words; what may pass it waits out by itself. Of what it takes for
/// an answer, nothing is known here: then the manifest that is read back decides.
fn registry_of_the_engine(cell: &Cell) -> Vec<i32> {
    match cell.trouble {
        Trouble::Unreachable => vec![3],
        // Silence on this side is silence on the other.
        Trouble::Slow => vec![0, 4],
        Trouble::Status(401 | 403) => vec![0, 7],
        Trouble::Status(404) => vec![0, 3, 7],
        Trouble::Html => vec![0, 3],
        _ => vec![0, 3],
    }
}

/// What it means that something cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacking {
    /// The command cannot go on.
    Everything,
    /// A gate cannot be opened.
    Fact,
    /// One of several, by chance.
    Any,
}

fn registry_lacking(cell: &Cell) -> Lacking {
    let shape = cell.request.shape.as_str();
    let own = match cell.scene.command {
        Command::PromoteGated => "LEDGER-staging",
        Command::Build | Command::Promote | Command::Test => "LEDGER-dev",
    };
    match cell.scene.command {
        _ if cell.request.first || shape.contains(own) || shape.ends_with("/token") => {
            Lacking::Everything
        }
        // A release whose layers are not there could not be pulled.
        _ if shape.starts_with("HEAD ") && shape.ends_with("/LAYER") => Lacking::Everything,
        // Its records tell whether it is older, if the repository does not.
        _ if shape.contains("OLDER") => Lacking::Any,
        // A blob does not tell whose record it is.
        Command::Promote | Command::PromoteGated if shape.contains("/blobs/") => Lacking::Any,
        Command::PromoteGated => Lacking::Fact,
        // A veto may be among the records of the release, so an environment without gates needs them, too.
        Command::Promote if shape.contains("RELEASE") => Lacking::Fact,
        Command::Promote => Lacking::Any,
        Command::Build | Command::Test => Lacking::Everything,
    }
}

fn registry_read(cell: &Cell) -> Vec<i32> {
    let shape = cell.request.shape.as_str();
    let lacking = registry_lacking(cell);
    let is_listing = shape.contains("/referrers/") || shape.contains("FALLBACK");
    let is_manifest = shape.contains("/manifests/") && !shape.contains("FALLBACK");
    if passes(cell.trouble) {
        return vec![if cell.for_good { 3 } else { 0 }];
    }
    if cell.scene.command != Command::Build && shape.ends_with("/manifests/TAG") {
        return tag_beside_a_digest(cell.trouble);
    }
    let failure = match cell.trouble {
        // Whatever else is asked for at this moment fails, too; what has been asked for already may be enough.
        Trouble::Unreachable => {
            return match lacking {
                Lacking::Everything => vec![3],
                Lacking::Fact => vec![1, 3],
                Lacking::Any => vec![1, 3, 4],
            };
        }
        // Nothing is listed, as far as the registry says; a record that is known from elsewhere is fetched all the same.
        Trouble::Status(404)
            if is_listing
                && !(cell.scene.command == Command::PromoteGated && shape.contains("RELEASE")) =>
        {
            return vec![0];
        }
        // Where it is listed by the tag as well, the API is not missed.
        Trouble::Status(_)
            if cell.scene.setting == Setting::FallbackTag && shape.contains("/referrers/") =>
        {
            return match lacking {
                Lacking::Everything => vec![0, 7],
                Lacking::Fact => vec![1],
                Lacking::Any => vec![0],
            };
        }
        // The tag lists the records of the release; the ledger has none yet, and a page is not "none".
        Trouble::Html | Trouble::LyingBody
            if cell.scene.setting == Setting::FallbackTag
                && shape.ends_with("/referrers/RELEASE") =>
        {
            return vec![0];
        }
        // Nothing is there yet.
        Trouble::Status(404) if shape.ends_with("/TAG") && !cell.for_good => 0,
        Trouble::Status(_) => 7,
        // The answer to a HEAD is its status.
        Trouble::Html | Trouble::LyingHeader | Trouble::LyingBody if shape.starts_with("HEAD ") => {
            return vec![0];
        }
        // The bytes of a record are those of the digest that was asked for, whatever a header says.
        Trouble::LyingHeader if shape.contains("/manifests/RECORD-") => return vec![0],
        // A header that nobody asked for is not looked at.
        Trouble::LyingHeader if !shape.contains("/manifests/") => return vec![0],
        Trouble::Html if shape.ends_with("/token") || is_listing => 3,
        Trouble::LyingBody if shape.ends_with("/token") => 7,
        Trouble::LyingBody if is_listing && !shape.contains("FALLBACK") => 3,
        // A tag says nothing of the content.
        Trouble::Html if shape.ends_with("/TAG") => 3,
        Trouble::LyingHeader | Trouble::LyingBody
            if cell.scene.command == Command::Build && is_manifest && !cell.for_good =>
        {
            0
        }
        _ => 1,
    };
    match lacking {
        Lacking::Everything => vec![failure],
        Lacking::Fact => vec![1],
        Lacking::Any => vec![0, 1, failure],
    }
}

/// The digest says which release is meant. The tag beside it has to be one that the release has, or had by its records.
fn tag_beside_a_digest(trouble: Trouble) -> Vec<i32> {
    match trouble {
        Trouble::Status(404) => vec![0],
        Trouble::Status(_) => vec![7],
        Trouble::Unreachable | Trouble::Html => vec![3],
        // Another content may be what the tag names now, or none that its digest fits.
        _ => vec![0, 1],
    }
}

/// A promotion is proven, a test is run, an image is pushed; what is left is the record.
fn registry_after_a_write(cell: &Cell) -> Vec<i32> {
    let shape = cell.request.shape.as_str();
    let is_blob = shape.starts_with("HEAD ") || shape.contains("/uploads/");
    match cell.trouble {
        Trouble::Unreachable => vec![4],
        trouble if passes(trouble) => vec![0],
        // Content that cannot be looked for is sent.
        Trouble::Status(_) if shape.starts_with("HEAD ") => vec![0, 4],
        Trouble::Status(404) if shape.starts_with("GET ") => vec![0, 4],
        // The artifact of an environment is the same for everybody: an earlier run may have put it there.
        Trouble::Status(_) if shape.starts_with("PUT ") && shape.contains("/manifests/LEDGER") => {
            vec![0, 4]
        }
        Trouble::Status(_) => vec![4],
        // What was stored is read back.
        Trouble::Html if shape.starts_with("PUT ") || shape.starts_with("POST ") => vec![0, 4],
        Trouble::LyingHeader if shape.starts_with("PUT ") => vec![4],
        Trouble::LyingBody if shape.contains("/referrers/") || shape.contains("FALLBACK") => {
            vec![0, 4]
        }
        _ if is_blob => vec![0],
        _ => vec![0, 1, 4],
    }
}

fn argocd_read(cell: &Cell) -> Vec<i32> {
    let shape = cell.request.shape.as_str();
    let is_gated = cell.scene.command == Command::PromoteGated;
    let optional = ["/stream/applications", "/can-i/", "/syncwindows", "/api/version"];
    let is_optional = optional.iter().any(|part| shape.contains(part)) || is_list(shape);
    let failure = match cell.trouble {
        // What a check beforehand cannot find out is told by the check afterwards.
        trouble if is_optional && trouble != Trouble::Unreachable => return vec![0],
        // What runs in the environment before is a fact for a gate.
        _ if is_gated && cell.for_good => return vec![1],
        Trouble::Unreachable if is_gated => return vec![1, 3],
        // Argo CD says 500 of things that stay as they are: what does not render, what it cannot read.
        Trouble::Status(500) => 3,
        trouble if passes(trouble) && !cell.for_good => return vec![0],
        Trouble::Status(401 | 403 | 404) | Trouble::Html => 7,
        _ => 3,
    };
    match is_gated && shape.contains("shop-dev") {
        true => vec![1],
        // What they would show is predicted where that can be had.
        false if shape.ends_with("/manifests") => vec![0, failure],
        false => vec![failure],
    }
}

/// Where the list cannot be had, each application is read.
fn is_list(shape: &str) -> bool {
    shape == "GET /api/v1/applications"
}

fn argocd_after_a_write(cell: &Cell) -> Vec<i32> {
    let shape = cell.request.shape.as_str();
    // Nothing but closing the claim is left: the promotion is proven and recorded, and a warning is all.
    if cell.request.last {
        return vec![0, 4];
    }
    // The right to look at rendered manifests is not needed, and a pod may go while it is looked at.
    let may_be_hidden = shape.ends_with("/manifests") || shape.ends_with("/resource");
    match cell.trouble {
        Trouble::Unreachable => vec![3, 4],
        _ if is_list(shape) => vec![0, 4, 7],
        Trouble::Status(403 | 404) if may_be_hidden => vec![0, 4, 7],
        // While it waits, only credentials that are refused end it; what is not found may be there a moment later.
        Trouble::Status(404) if shape.starts_with("GET ") => vec![0, 4, 7],
        // A look at the tree then only names pods that fail to start.
        Trouble::Status(_) if shape.ends_with("/resource-tree") => vec![0, 4, 7],
        Trouble::Status(500) => vec![0, 3, 4],
        trouble if passes(trouble) => vec![0, 4],
        // Put back what was written, or tell that it stands.
        Trouble::Status(_) => vec![4, 7],
        // 200 with a page: perhaps a proxy answers, perhaps it ate the answer.
        _ => vec![0, 4, 7],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Request;
    use crate::scene::Scene;

    #[track_caller]
    fn check(
        command: Command,
        service: Service,
        trouble: Trouble,
        shape: &str,
        acting: bool,
        want: &[i32],
    ) {
        let first = shape.ends_with("/manifests/RELEASE") || shape == "GET /_ping";
        let request = Request {
            shape: shape.to_owned(),
            nth: 0,
            first,
            acting,
            last: false,
            by_engine: false,
        };
        let scene = Scene::plain(command);
        let cell = Cell { scene, service, trouble, request, for_good: false };
        assert_eq!(allowed(&cell), want, "{cell}");
    }

    #[test]
    fn the_rules() {
        use Command::{Build, Promote, PromoteGated};
        use Service::{ArgoCd, Engine, Registry};
        let release = "GET /v2/shop/app/manifests/RELEASE";
        for (trouble, want) in [
            (Trouble::Status(503), 0),
            (Trouble::Status(401), 7),
            (Trouble::Unreachable, 3),
            (Trouble::LyingBody, 1),
            (Trouble::Terminate, 130),
        ] {
            check(Promote, Registry, trouble, release, false, &[want]);
        }
        let records = "GET /v2/shop/app/referrers/RELEASE";
        check(Promote, Registry, Trouble::Status(403), records, false, &[1]);
        check(PromoteGated, Registry, Trouble::Status(403), records, false, &[1]);
        let tag = "GET /v2/shop/app/manifests/TAG";
        check(PromoteGated, Registry, Trouble::Status(404), tag, false, &[0]);
        check(PromoteGated, Registry, Trouble::Status(403), tag, false, &[7]);
        check(Build, Registry, Trouble::Status(403), tag, false, &[7]);
        let own = "GET /v2/shop/app/referrers/LEDGER-staging";
        check(PromoteGated, Registry, Trouble::Status(403), own, false, &[7]);
        check(PromoteGated, Registry, Trouble::Html, own, false, &[3]);
        let other = "GET /v2/shop/app/manifests/RECORD-LEDGER-dev";
        check(PromoteGated, Registry, Trouble::Status(404), other, false, &[1]);
        let application = "GET /api/v1/applications/shop-dev";
        check(Promote, ArgoCd, Trouble::Status(500), application, false, &[3]);
        check(Promote, ArgoCd, Trouble::Status(403), application, false, &[7]);
        check(PromoteGated, ArgoCd, Trouble::Status(403), application, false, &[1]);
        check(Promote, ArgoCd, Trouble::Terminate, application, true, &[130]);
        check(Build, Engine, Trouble::TooMany, "GET /_ping", false, &[0]);
        check(Build, Engine, Trouble::TooMany, "POST /build", true, &[3]);
        check(Build, Engine, Trouble::Slow, "POST /images/IMAGE/push", true, &[4]);
    }
}
