//! The config drive: what the metadata service tells, on a small read-only disk, for guests that cannot or should not ask the network.

pub mod iso;

use kit::Result;

use crate::metadata::Documents;

/// The label guests look for.
pub const LABEL: &str = "config-2";

/// The image of an instance's config drive.
pub fn image(documents: &Documents) -> Result<Vec<u8>> {
    Ok(iso::image(LABEL, &documents.drive()?))
}
