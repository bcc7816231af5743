//! Labels by which images and containers are found again.
//!
//! Labels are inherited: a container has those of its image, an image those of its base. So a label alone proves nothing: an image
//! also carries its key in its comment, and a temporary container is told by its name.

/// What it is made of: the content key of an image or of one of its layers. A temporary container has the key of what it is for.
pub(super) const BUILD: &str = "towpath.build";
/// The base as it was named.
pub(super) const BASE: &str = "towpath.base";
/// The base's id.
pub(super) const BASE_DIGEST: &str = "towpath.base-digest";
/// Name of the definition that the image was built from first.
pub(super) const NAME: &str = "towpath.name";

/// Starts all labels of this crate; a definition's own may not.
pub(super) const PREFIX: &str = "towpath.";

/// The comment of an image that was built for this key.
pub(super) fn comment(key: &str) -> String {
    format!("{BUILD}={key}")
}
