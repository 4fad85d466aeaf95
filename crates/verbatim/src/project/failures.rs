//! What an error of a service means for the exit status, and what to do about it. Each tool knows that for its own
//! errors; this only collects them under one name.

use verbatim_console::Failure;

pub(crate) fn registry(error: verbatim_registry::Error) -> Failure {
    verbatim_registry::cli::failure(error)
}

pub(crate) fn image(error: verbatim_image::Error) -> Failure {
    verbatim_image::cli::failure(error)
}

pub(crate) fn argocd(error: verbatim_argocd::Error) -> Failure {
    verbatim_argocd::cli::failure(error)
}
