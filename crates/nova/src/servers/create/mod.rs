//! `POST /servers`, from top to bottom: read the body, ask the neighbours whether what it names exists, reserve volumes, then write
//! everything and the promise to build it in one transaction, and answer 202. What follows is conductor's.

mod device_fields;
mod devices;
mod image;
mod networks;
mod request;
mod volumes;
mod write;
mod zone;

use http::StatusCode;
use kit::call::Wrapped;
use kit::policy::Target;
use kit::{Context, Error, Reply, Result};
use rpc::compute::{BlockDevice, Flavor, KeyPair, RequestedNetworks};
use sdk::image::ImageInfo;
use serde_json::{Value, json};

pub use devices::volume as volume_device;
pub use image::{active as active_image, check as check_image, check_size as check_image_size};
pub use networks::{free_address, refuse_external};
pub use request::{
    CreateServer, MOST_TAGS, PersonalityFile, address, certificates, disk_config, personality, tags as check_tags, user_data,
};
pub use volumes::{refuse_multiattach, refuse_unavailable, reserve};
pub use write::{checked_hostname, password};

use self::request::Wanted;
use self::zone::Destination;
use crate::instance_actions::record::Span;
use crate::{Nova, flavors, keypairs, numa, server_groups};

/// What was asked for, with everything it names looked up.
struct Checked {
    wanted: Wanted,
    flavor: Flavor,
    image: Option<ImageInfo>,
    key: Option<KeyPair>,
    networks: RequestedNetworks,
    destination: Destination,
    devices: Vec<BlockDevice>,
    /// The server group it joins.
    group: Option<String>,
}

/// `POST /servers`
pub async fn create(app: Nova, ctx: Context, body: Wrapped<CreateServer>) -> Result<Reply> {
    let arrived = Span::since("api_receive_request", "client", "nova-api", ctx.arrived).done(None);
    let token = Span::since("api_check_token", "nova-api", "keystone", ctx.arrived).done_at(ctx.identified);
    let checking = Span::begin("api_check_request", "nova-api", "nova-api");
    let wanted = request::read(&ctx, body.inner, &body.beside)?;
    let checked = check(&app, &ctx, wanted).await?;
    let checking = checking.done(None);
    let writing = Span::begin("api_write_instance", "nova-api", "database");
    let reserved = volumes::reserve_for(&app, &ctx, &checked.devices).await?;
    let created = match write::write(&app, &ctx, checked, reserved.server_id.clone(), reserved.devices.clone()).await {
        Ok(created) => created,
        Err(error) => {
            reserved.release(&app, &ctx).await;
            return Err(error);
        }
    };
    let writing = writing.done(None);
    for server in &created.servers {
        app.events.push(server, &ctx.request_id, [arrived.clone(), token.clone(), checking.clone(), writing.clone()]);
    }
    created.flows.iter().try_for_each(|flow| app.flows().map(|flows| flows.start(flow)))?;
    answer(&ctx, created)
}

/// Looks up what the request names; 400 for what is not there.
async fn check(app: &Nova, ctx: &Context, wanted: Wanted) -> Result<Checked> {
    permit(ctx, &wanted)?;
    let flavor = flavors::for_server(app, ctx, &wanted.flavor_ref).await?;
    let key = match &wanted.key_name {
        Some(name) => Some(keypairs::for_server(app, ctx, name).await?),
        None => None,
    };
    let destination = zone::read(app, ctx, &wanted).await?;
    let networks = networks::read(ctx, wanted.networks.as_ref(), wanted.max_count)?;
    let group = server_groups::for_server(app, ctx, &wanted.hints).await?;
    let image = match &wanted.image_ref {
        Some(id) => Some(image::fetch(app, ctx, id).await?),
        None => None,
    };
    let devices = devices::read(ctx, &wanted.devices, image.as_ref(), &flavor)?;
    let from_volume = devices.iter().any(|d| d.boot_index == Some(0) && d.destination_type == "volume");
    if let Some(image) = &image {
        image::check(image, &flavor, from_volume)?;
        if flavor.root_gb == 0 && !from_volume && !ctx.allows("os_compute_api:servers:create:zero_disk_flavor", &own(ctx)?) {
            return Err(Error::forbidden("Only volume-backed servers are allowed for flavors with zero disk."));
        }
    }
    numa::wanted(&flavor, &image.as_ref().map(ImageInfo::properties).unwrap_or_default())?;
    volumes::check(app, ctx, &devices, wanted.max_count).await?;
    networks::check(app, ctx, &networks).await?;
    networks::check_security_groups(app, ctx, &wanted.security_groups).await?;
    Ok(Checked { wanted, flavor, image, key, networks, destination, devices, group })
}

fn own(ctx: &Context) -> Result<Target> {
    Ok(Target::project(ctx.project_id()?).with("user_id", ctx.user_id()?))
}

/// What only some may ask for with a new server.
fn permit(ctx: &Context, wanted: &Wanted) -> Result<()> {
    let networks = wanted.networks.as_ref().is_some_and(|networks| *networks != json!([]) && *networks != json!("none"));
    for (rule, asked) in [
        ("os_compute_api:servers:create:trusted_certs", wanted.trusted_image_certificates.is_some()),
        ("os_compute_api:servers:create:attach_volume", !wanted.devices.is_empty()),
        ("os_compute_api:servers:create:attach_network", networks),
    ] {
        if asked {
            ctx.enforce(rule, &own(ctx)?)?;
        }
    }
    Ok(())
}

fn answer(ctx: &Context, created: write::Created) -> Result<Reply> {
    if created.return_reservation_id {
        return Reply::accepted(&json!({"reservation_id": created.reservation_id}));
    }
    let id = created.servers.first().ok_or_else(|| Error::internal("no server was written"))?;
    let groups: Vec<Value> = created.security_groups.iter().map(|name| json!({"name": name})).collect();
    let body = json!({"server": {
        "id": id,
        "links": super::view::links(ctx, "servers", id),
        "OS-DCF:diskConfig": created.disk_config,
        "security_groups": groups,
        "adminPass": created.admin_password,
    }});
    let reply = Reply::json(StatusCode::ACCEPTED, &body)?;
    Ok(reply.header("location", &ctx.link(&format!("/servers/{id}"))))
}
