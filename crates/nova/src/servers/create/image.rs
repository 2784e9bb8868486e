//! The image a new server boots from: is it there, is it ready, does it fit into the flavor?

use kit::{Context, Error, Kind, Result};
use rpc::compute::Flavor;
use sdk::image::ImageInfo;

use crate::Nova;

const GIB: u64 = 1 << 30;

/// Asks glance for the image, with the user's token.
pub async fn fetch(app: &Nova, ctx: &Context, id: &str) -> Result<ImageInfo> {
    let image = sdk::found(app.cloud.image.show(&ctx.auth(), id).await).map_err(|error| match error.status {
        403 => Error::bad_request("Can not find requested image"),
        0 => Error::new(Kind::Unavailable, "The image service does not answer.").source(error),
        _ => Error::from(error),
    })?;
    image.ok_or_else(|| Error::bad_request("Can not find requested image"))
}

/// An image of an action on a server: it must be there and have its data.
pub async fn active(app: &Nova, ctx: &Context, id: &str) -> Result<ImageInfo> {
    let image = fetch(app, ctx, id).await?;
    if image.status == "active" { Ok(image) } else { Err(Error::bad_request(format!("Image {id} is not active."))) }
}

/// Refuses an image that is not active or does not fit.
pub fn check(image: &ImageInfo, flavor: &Flavor, boots_from_volume: bool) -> Result<()> {
    if image.status != "active" {
        return Err(Error::bad_request(format!("Image {} is not active.", image.id)));
    }
    let size = image.virtual_size.unwrap_or(0).max(image.size.unwrap_or(0));
    check_size((image.min_ram, image.min_disk, size), flavor, boots_from_volume)
}

/// Refuses a flavor that is too small for an image: for the memory and the disk it asks for at least, and for its size.
pub fn check_size((min_ram, min_disk, size): (u64, u64, u64), flavor: &Flavor, boots_from_volume: bool) -> Result<()> {
    if min_ram > flavor.ram_mb {
        return Err(Error::bad_request("Flavor's memory is too small for requested image."));
    }
    // root_gb 0 means as large as the image
    if boots_from_volume || flavor.root_gb == 0 {
        return Ok(());
    }
    let disk = flavor.root_gb * GIB;
    if size > disk {
        return Err(Error::bad_request(format!(
            "Flavor's disk is too small for requested image. Flavor disk is {disk} bytes, image is {size} bytes."
        )));
    }
    let least = min_disk * GIB;
    if least > disk {
        return Err(Error::bad_request(format!(
            "Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is {disk} bytes, minimum size is {least} bytes."
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::tests::a_flavor;

    #[test]
    fn images_must_be_ready_and_fit() {
        let flavor = a_flavor(512, 1);
        let image = ImageInfo { id: "i".into(), status: "active".into(), ..ImageInfo::default() };
        let words = |image: &ImageInfo| check(image, &flavor, false).map_err(|e| e.message);
        assert_eq!(words(&image), Ok(()));
        assert_eq!(words(&ImageInfo { status: "queued".into(), ..image.clone() }), Err("Image i is not active.".into()));
        assert_eq!(words(&ImageInfo { min_ram: 513, ..image.clone() }), Err("Flavor's memory is too small for requested image.".into()));
        let large = ImageInfo { virtual_size: Some(2 * GIB), ..image.clone() };
        assert!(words(&large).unwrap_err().starts_with("Flavor's disk is too small for requested image."));
        assert!(check(&large, &flavor, true).is_ok());
        let picky = ImageInfo { min_disk: 2, ..image };
        assert!(words(&picky).unwrap_err().starts_with("Flavor's disk is smaller than the minimum size"));
    }
}
