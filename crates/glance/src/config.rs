//! What an operator decides.

use std::path::PathBuf;
use std::time::Duration;

use kit::db::Location;
use outside::objects::Place;
use outside::web::Rules;

/// The image service's settings.
#[derive(Clone, Debug)]
pub struct Config {
    pub database: Location,
    /// What this process is called among those that share the database; each has a name of its own and keeps it over a restart.
    pub node: String,
    /// Where files are while they are on their way, staged or cached: `STATE_DIR/images`.
    pub directory: PathBuf,
    /// Where images are kept. The first is the one taken when nobody names another.
    pub stores: Vec<StoreConfig>,
    /// Bytes an image may have.
    pub image_size_cap: u64,
    /// Refuse a file that is not what its `disk_format` says.
    pub require_image_format_match: bool,
    /// What a project may have.
    pub limits: Limits,
    /// From where users may have images downloaded.
    pub web: Rules,
    /// The disk format that imported images are converted to.
    pub convert_to: Option<DiskFormat>,
    /// Bytes of images that are cached here; none without.
    pub cache_max_size: Option<u64>,
    /// How long the data of a deleted image stays, in which it can be brought back; it goes at once without.
    pub delayed_delete: Option<Duration>,
    /// Tell clients where an image is: as `direct_url`, and as `locations`, which they may then change.
    pub show_image_direct_url: bool,
    pub show_multiple_locations: bool,
}

/// A store, by the name that users see.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    pub id: String,
    pub description: String,
    pub read_only: bool,
    pub place: Place,
}

/// What `qemu-img` can convert an image to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFormat {
    Raw,
    Qcow2,
}

impl DiskFormat {
    pub fn as_str(self) -> &'static str {
        match self {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        }
    }
}

/// What a project may have; no limit where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// MiB of images, a copy in each store counted.
    pub image_size_total: Option<u64>,
    /// MiB of staged data.
    pub image_stage_total: Option<u64>,
    pub image_count_total: Option<u64>,
    /// Images whose data is on its way at once.
    pub image_count_uploading: Option<u64>,
}

impl Config {
    /// Glance's defaults: one store, `file`, in the directory.
    pub fn new(database: Location, directory: PathBuf) -> Config {
        let store = StoreConfig {
            id: "file".into(),
            description: "Files of this host".into(),
            read_only: false,
            place: Place::Directory(directory.clone()),
        };
        Config {
            database,
            node: "glance".into(),
            directory,
            stores: vec![store],
            image_size_cap: 1 << 40,
            require_image_format_match: true,
            limits: Limits::default(),
            web: Rules::default(),
            convert_to: None,
            cache_max_size: Some(10 << 30),
            delayed_delete: None,
            show_image_direct_url: false,
            show_multiple_locations: false,
        }
    }
}
