//! What `verbatim init` finds in the shapes: which values hold the image.

/// What a first configuration is made of.
pub(crate) enum Begun {
    With(&'static [&'static str]),
    /// None can be told, and this is said.
    Not(&'static str),
}

/// What must be found in a shape; `None` for those that are like another one to it.
pub(crate) fn wanted(shape: &str) -> Option<Begun> {
    Some(match shape {
        "helm-digest"
        | "helm-tag-and-digest"
        | "several-sources"
        | "helm-repository"
        | "oci-chart" => Begun::With(&["image.digest", "image.repository", "image.tag"]),
        "helm-sha" => Begun::With(&["image.repository", "image.sha", "image.tag"]),
        "helm-reference" => Begun::With(&["image"]),
        "helm-split" => Begun::Not("image.repository, image.tag"),
        "kustomize-images" | "kustomize-no-images" => Begun::With(&["web"]),
        "plain-manifests" => Begun::Not("plain manifests have no parameters"),
        _ => return None,
    })
}
