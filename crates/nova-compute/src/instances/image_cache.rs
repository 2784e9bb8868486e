//! Images brought here before they are needed, so that servers begin sooner.

use rpc::compute::CacheImages;

use crate::host::Host;

/// Brings the images that are not here yet, one after the other. One that cannot be had is left for the build that wants it to complain about.
pub async fn cache(host: Host, message: CacheImages) {
    let Some(store) = &host.store else { return };
    let Ok(auth) = host.session.on_behalf(&message.caller).await else { return };
    for id in message.image_ids {
        let brought = async {
            let image = host.cloud.image.show(&auth, &id).await?;
            store.images.fetch(&host.cloud.image, &auth, &image).await
        };
        if let Err(error) = brought.await {
            tracing::warn!(image = id, %error, "an image could not be cached");
        }
    }
}
