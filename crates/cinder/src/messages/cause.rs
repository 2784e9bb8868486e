//! Why something did not come about: cinder's numbers and words, as event ids end with them.

/// A number and a sentence.
pub type Cause = (&'static str, &'static str);

pub const UNKNOWN_ERROR: Cause = ("001", "An unknown error occurred.");
pub const DRIVER_NOT_INITIALIZED: Cause = ("002", "Driver is not initialized at present.");
pub const NO_BACKEND_AVAILABLE: Cause = ("003", "Could not find any available weighted backend.");
pub const FAILED_TO_UPLOAD_VOLUME: Cause = ("004", "Failed to upload volume to image at backend.");
pub const QUOTA_EXCEED: Cause = ("006", "Not enough quota resource for operation.");
pub const NOT_ENOUGH_SPACE_FOR_IMAGE: Cause = ("007", "Image used for creating volume exceeds available space.");
pub const UNMANAGE_ENC_NOT_SUPPORTED: Cause = ("008", "Unmanaging encrypted volumes is not supported.");
pub const NOTIFY_COMPUTE_SERVICE_FAILED: Cause = ("009", "Compute service failed to extend volume.");
pub const DRIVER_FAILED_EXTEND: Cause = ("010", "Volume Driver failed to extend volume.");
pub const DRIVER_FAILED_CREATE: Cause = ("012", "Driver failed to create the volume.");
pub const SNAPSHOT_CREATE_ERROR: Cause = ("013", "Snapshot failed to create.");
pub const SNAPSHOT_IS_BUSY: Cause = ("015", "Snapshot is busy.");
pub const SNAPSHOT_DELETE_ERROR: Cause = ("016", "Snapshot failed to delete.");
pub const BACKUP_SERVICE_DOWN: Cause = ("018", "Backup service is down.");
pub const BACKUP_CREATE_DRIVER_ERROR: Cause = ("020", "Backup driver failed to create backup.");
pub const BACKUP_SCHEDULE_ERROR: Cause = ("024", "Backup failed to schedule. Service not found for creating backup.");
pub const BACKUP_DELETE_DRIVER_ERROR: Cause = ("025", "Backup driver failed to delete backup.");
pub const BACKUP_RESTORE_ERROR: Cause = ("026", "Backup driver failed to restore backup.");
pub const REIMAGE_VOLUME_FAILED: Cause = ("028", "Compute service failed to reimage volume.");
pub const IMAGE_FORMAT_UNACCEPTABLE: Cause =
    ("029", "The image disk format must be the same as the volume format for the volume type you are requesting.");
