//! `rebuild`: the server is made anew from an image, and keeps its id, addresses and volumes.

use std::collections::BTreeMap;

use kit::db::Json;
use kit::policy::Target;
use kit::{Context, Error, Reply, Result, Versioned};
use sdk::image::ImageInfo;
use sea_orm::Set;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::actions::Action;
use super::instance::{ActiveModel, Model};
use super::states::rules::REBUILD;
use super::{api, begin, create, store};
use crate::conductor::host_task::{Former, HostTask, Work};
use crate::microversions::{HOSTNAME, REIMAGE_VOLUMES, USER_DATA_ON_REBUILD};
use crate::{Nova, keypairs, numa, quotas, validate};

/// The object under `rebuild`.
#[derive(Deserialize, Serialize, Versioned)]
pub struct Rebuild {
    #[serde(rename = "imageRef")]
    pub image_ref: Option<String>,
    pub name: Option<String>,
    #[serde(rename = "adminPass")]
    pub admin_pass: Option<String>,
    #[serde(rename = "accessIPv4")]
    pub access_ip_v4: Option<String>,
    #[serde(rename = "accessIPv6")]
    pub access_ip_v6: Option<String>,
    pub metadata: Option<Value>,
    #[serde(rename = "OS-DCF:diskConfig")]
    pub disk_config: Option<String>,
    #[until(2.56)]
    pub personality: Option<Vec<create::PersonalityFile>>,
    pub preserve_ephemeral: Option<Value>,
    #[since(2.19)]
    pub description: Option<Option<String>>,
    #[since(2.54)]
    pub key_name: Option<Option<String>>,
    #[since(2.57)]
    pub user_data: Option<Option<String>>,
    #[since(2.63)]
    pub trusted_image_certificates: Option<Option<Vec<String>>>,
    #[since(2.90)]
    pub hostname: Option<String>,
}

/// `{"rebuild": {"imageRef": "..."}}`
pub async fn rebuild(action: Action) -> Result<Reply> {
    let wanted: Rebuild = action.read()?;
    let Action { app, ctx, server, .. } = action;
    let reference = wanted.image_ref.clone().unwrap_or_default();
    let image = kit::ids::parse_uuid(validate::id_of(&reference));
    let image = image.ok_or_else(|| validate::invalid("imageRef", &reference, format!("'{reference}' is not a 'uuid'")))?;
    let preserve_ephemeral = wanted.preserve_ephemeral.as_ref().map_or(Ok(false), |v| validate::boolean("preserve_ephemeral", v))?;
    let password = wanted.admin_pass.clone().unwrap_or_else(create::password);
    let change = change(&app, &ctx, &server, wanted).await?;
    REBUILD.check(&server, ctx.is_admin())?;
    begin::host_of(&server)?;
    let image = create::active_image(&app, &ctx, &image).await?;
    let volume = root_volume(&app, &server.id).await?;
    create::check_image(&image, &server.flavor.0, volume.is_some())?;
    refuse_other_nodes(&server, &image)?;
    let reimage = match &volume {
        Some(volume) => reimage(&app, &ctx, volume, &image).await?,
        None => None,
    };
    let change = with_image(change, &server, &image, volume.is_some());
    app.builds.keep_password(&server.id, &password);
    let another = reimage.is_some() || (volume.is_none() && server.image_id.as_ref() != Some(&image.id));
    let former = another.then(|| Box::new(Former { image_id: server.image_id.clone(), spec: server.spec.0.clone() }));
    let task = HostTask::new(ctx.caller(), &server.id, Work::Rebuild { preserve_ephemeral, reimage, former });
    let id = server.id.clone();
    begin::promise(&app, &ctx, server, &REBUILD, change, task).await?;
    let row = store::fetch(&app, &ctx, &id).await?;
    let user_data = row.user_data.clone();
    let mut body = api::after_change(&app, &ctx, row).await?;
    if let Some(server) = body.get_mut("server").and_then(Value::as_object_mut) {
        server.insert("adminPass".to_owned(), Value::String(password));
        // told below under its plain name instead
        server.remove("OS-EXT-SRV-ATTR:user_data");
        if ctx.speaks(USER_DATA_ON_REBUILD) {
            server.insert("user_data".to_owned(), Value::from(user_data));
        }
    }
    Ok(Reply::accepted(&body)?.header("location", &ctx.link(&format!("/servers/{id}"))))
}

/// The volume a server boots from, if it does.
async fn root_volume(app: &Nova, server: &str) -> Result<Option<String>> {
    let devices = store::block_devices_of(app.db.read(), server).await?;
    let root = devices.into_iter().find(|device| device.boot_index == Some(0) && device.destination_type == "volume");
    Ok(root.and_then(|device| device.volume_id))
}

/// A server keeps its place on its host, so the new image must ask for the same.
fn refuse_other_nodes(server: &Model, image: &ImageInfo) -> Result<()> {
    let flavor = &server.flavor.0;
    if numa::wanted(flavor, &image.properties())? == numa::of_server(flavor, &server.spec.0.image_properties) {
        return Ok(());
    }
    Err(Error::bad_request(
        "An instance's NUMA topology cannot be changed as part of a rebuild. The image provided is invalid for this instance.",
    ))
}

/// What the volume is filled with: until 2.92 nothing, so that only the image it has already can be asked for.
async fn reimage(app: &Nova, ctx: &Context, volume: &str, image: &ImageInfo) -> Result<Option<String>> {
    let volume = app.cloud.volume.show(&ctx.auth(), volume).await?;
    if ctx.speaks(REIMAGE_VOLUMES) {
        if image.min_disk > volume.size {
            return Err(Error::bad_request(format!(
                "Volume {} is smaller than the minimum size specified in image metadata. Volume size is {} bytes, minimum size is {} bytes.",
                volume.id,
                volume.size << 30,
                image.min_disk << 30
            )));
        }
        return Ok(Some(image.id.clone()));
    }
    match volume.volume_image_metadata.get("image_id") {
        Some(before) if *before == image.id => Ok(None),
        _ => Err(Error::bad_request("Unable to rebuild with a different image for a volume-backed server.")),
    }
}

/// What the body changes about the server itself.
async fn change(app: &Nova, ctx: &Context, server: &Model, wanted: Rebuild) -> Result<ActiveModel> {
    let mut change = <ActiveModel as Default>::default();
    let mut spec = server.spec.0.clone();
    if let Some(name) = &wanted.name {
        change.name = Set(validate::relaxed_name(ctx.strict, "name", name)?);
    }
    if let Some(description) = wanted.description {
        validate::description(description.as_deref())?;
        change.description = Set(description);
    }
    if let Some(address) = wanted.access_ip_v4 {
        change.access_ip_v4 = Set(create::address("accessIPv4", Some(address))?);
    }
    if let Some(address) = wanted.access_ip_v6 {
        change.access_ip_v6 = Set(create::address("accessIPv6", Some(address))?);
    }
    if wanted.disk_config.is_some() {
        change.disk_config = Set(create::disk_config(wanted.disk_config)?);
    }
    if let Some(metadata) = &wanted.metadata {
        let metadata: BTreeMap<String, String> = validate::texts("metadata", metadata)?;
        validate::metadata("metadata", &metadata)?;
        quotas::metadata(app.db.read(), &server.project_id, metadata.len()).await?;
        change.metadata = Set(Json(metadata));
    }
    if let Some(user_data) = wanted.user_data {
        change.user_data = Set(create::user_data(user_data)?);
    }
    if let Some(name) = wanted.key_name {
        let key = match &name {
            Some(name) => Some(keypairs::for_server(app, ctx, name).await?),
            None => None,
        };
        (change.key_name, spec.key) = (Set(name), key);
    }
    if let Some(certificates) = wanted.trusted_image_certificates {
        ctx.enforce("os_compute_api:servers:rebuild:trusted_certs", &Target::project(&server.project_id).with("user_id", &server.user_id))?;
        spec.trusted_image_certificates = create::certificates(certificates)?;
    }
    if let Some(hostname) = wanted.hostname.filter(|_| ctx.speaks(HOSTNAME)) {
        change.hostname = Set(create::checked_hostname(ctx, hostname)?);
    }
    if let Some(files) = wanted.personality {
        spec.injected_files = create::personality(files)?;
    }
    change.spec = Set(Json(spec));
    Ok(change)
}

fn with_image(mut change: ActiveModel, server: &Model, image: &ImageInfo, from_volume: bool) -> ActiveModel {
    let mut spec = match change.spec.take() {
        Some(Json(spec)) => spec,
        None => server.spec.0.clone(),
    };
    spec.image_properties = image.properties();
    spec.kernel_id = spec.image_properties.get("kernel_id").cloned();
    spec.ramdisk_id = spec.image_properties.get("ramdisk_id").cloned();
    (spec.min_ram, spec.min_disk) = (image.min_ram, image.min_disk);
    // one that boots from a volume shows no image
    if !from_volume {
        change.image_id = Set(Some(image.id.clone()));
    }
    change.spec = Set(Json(spec));
    change
}
