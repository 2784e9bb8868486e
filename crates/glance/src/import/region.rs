//! The import method `glance-download`: an image of another region's glance, which is found in the catalog and asked with the user's own token.
//!
//! Where the catalog leads to is the operator's word, so that internal addresses may be reached; what a user names is a region and an image.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kit::{Context, Error, Result, ids};
use sdk::identity::Identity;
use sdk::image::{Image as Glances, ImageInfo};
use sdk::{Auth, Endpoint};

use super::Method;
use crate::Glance;
use crate::data::scratch::Received;

/// The properties that come along, by how they begin.
const ADOPTED: &[&str] = &["hw_", "trait:", "os_distro", "os_secure_boot", "os_type"];

/// How the other regions are found and reached.
#[derive(Clone)]
pub struct Regions {
    pub identity: Identity,
    /// Whose certificates are believed, where that is not for the host to say.
    pub authorities: Option<PathBuf>,
}

/// An image elsewhere, and who asks for it.
#[derive(Clone)]
pub struct Remote {
    region: String,
    image_id: String,
    interface: String,
    auth: Auth,
}

impl Remote {
    /// What a request names.
    pub fn read(ctx: &Context, method: &Method) -> Result<Remote> {
        let needed = |key: &str, value: &Option<String>| {
            let message = format!("'{key}' needs to be set for glance-download import method");
            value.clone().ok_or_else(|| Error::bad_request(message))
        };
        let region = needed("glance_region", &method.glance_region)?;
        let named = needed("glance_image_id", &method.glance_image_id)?;
        let unlike = || Error::bad_request(format!("Remote image id does not look like a UUID: {named}"));
        let image_id = ids::parse_uuid(&named).ok_or_else(unlike)?;
        let interface = method.glance_service_interface.clone().unwrap_or_else(|| "public".to_owned());
        Ok(Remote { region, image_id, interface, auth: ctx.auth() })
    }

    /// The image and its bytes, as many as it says it has, and those it says they are.
    pub async fn fetch(&self, app: &Glance, room: u64) -> Result<(ImageInfo, Received)> {
        let glance = self.find(app).await?;
        let far = |error: sdk::Error| Error::bad_request(format!("Image {} of region {}: {}", self.image_id, self.region, error.message));
        let info = glance.show(&self.auth, &self.image_id).await.map_err(far)?;
        if info.status != "active" {
            return Err(Error::bad_request(format!("Source image status should be active instead of {}", info.status)));
        }
        let unknown = || Error::bad_request(format!("Size attribute of remote image {} could not be determined.", self.image_id));
        let expected = info.size.ok_or_else(unknown)?;
        let download = glance.download(&self.auth, &self.image_id).await.map_err(far)?;
        let received = app.scratch.receive(download.body, room).await?;
        if received.size != expected {
            let size = received.size;
            return Err(Error::bad_request(format!("The downloaded data size {size} is different from expected {expected}")));
        }
        let sha512 = info.os_hash_value.as_deref().filter(|_| info.os_hash_algo.as_deref() == Some("sha512"));
        super::run::check_hash(&received.sha512, sha512)?;
        Ok((info, received))
    }

    async fn find(&self, app: &Glance) -> Result<Glances> {
        let missing = || Error::bad_request(format!("{} glance endpoint not found for region {}", self.interface, self.region));
        let regions = app.regions.as_ref().ok_or_else(missing)?;
        let catalog = regions.identity.catalog(&self.auth).await.map_err(|error| Error::bad_request(error.message))?;
        let mut places = catalog.into_iter().filter(|service| service.r#type == "image").flat_map(|service| service.endpoints);
        let here = |region: &Option<String>| region.as_ref().is_some_and(|region| region.eq_ignore_ascii_case(&self.region));
        let place = places.find(|place| place.interface == self.interface && here(&place.region)).ok_or_else(missing)?;
        // some catalogs lead to the version, not to its root
        let url = place.url.trim_end_matches('/').trim_end_matches("/v2");
        let endpoint = match &regions.authorities {
            Some(file) => Endpoint::trusting(file, url).map_err(|error| Error::unavailable(error.message))?,
            None => Endpoint::http(url),
        };
        Ok(Glances::new(endpoint))
    }
}

/// The properties of an image that one made from it has, too.
pub fn adopted(info: &ImageInfo) -> BTreeMap<String, String> {
    info.properties().into_iter().filter(|(name, _)| ADOPTED.iter().any(|begin| name.starts_with(begin))).collect()
}
