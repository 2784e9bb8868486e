//! The one transaction of `POST /servers`: quota, rows, block devices, the action, and the promise to build.

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Context, Result, ids};
use rand::Rng;
use rpc::compute::BlockDevice;
use sea_orm::{EntityTrait, Set};

use super::Checked;
use crate::conductor::boot::Boot;
use crate::instance_actions;
use crate::microversions::FULL_HOSTNAME;
use crate::servers::instance::{self, ActiveModel, Spec};
use crate::servers::states::{TaskState, VmState};
use crate::servers::{block_devices, store};
use crate::{Nova, quotas, server_groups, validate};

/// What was written.
pub struct Created {
    pub servers: Vec<String>,
    pub flows: Vec<String>,
    pub reservation_id: String,
    pub return_reservation_id: bool,
    pub admin_password: String,
    pub disk_config: String,
    pub security_groups: Vec<String>,
}

/// Writes the servers, as many as the quota allows between the least and the most asked for.
pub async fn write(app: &Nova, ctx: &Context, checked: Checked, first_id: String, devices: Vec<BlockDevice>) -> Result<Created> {
    let (nova, ctx) = (app.clone(), ctx.clone());
    let password = checked.wanted.admin_password.clone().unwrap_or_else(password);
    let given = password.clone();
    let created = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let wanted = &checked.wanted;
                let flavor = &checked.flavor;
                let project = ctx.project_id()?.to_owned();
                let limits = quotas::limits::of_request(tx, &project, ctx.user_id()?).await?;
                quotas::check_items(&limits, wanted.metadata.len(), &wanted.injected_files)?;
                let need = quotas::Need { cores: i64::from(flavor.vcpus), ram: flavor.ram_mb as i64 };
                let count = quotas::reserve(tx, &limits, &project, need, wanted.min_count, wanted.max_count).await?;
                quotas::check_user(tx, &limits, &project, ctx.user_id()?, need, count).await?;
                let last = store::next_numbers(tx, "instances", count).await?;
                let mut created = Created {
                    servers: Vec::new(),
                    flows: Vec::new(),
                    reservation_id: reservation_id(),
                    return_reservation_id: wanted.return_reservation_id,
                    admin_password: given,
                    disk_config: wanted.disk_config.clone(),
                    security_groups: shown_groups(&wanted.security_groups),
                };
                for index in 0..count {
                    let id = if index == 0 { first_id.clone() } else { ids::uuid() };
                    let mut row = row(&ctx, &checked, &created, &id)?;
                    row.number = Set(last - count + 1 + index);
                    row.launch_index = Set(index);
                    if count > 1 {
                        let name = format!("{}-{}", wanted.name, index + 1);
                        row.hostname = Set(hostname(&name, &id));
                        row.name = Set(name);
                    }
                    instance::Entity::insert(row).exec_without_returning(tx).await?;
                    let rows = devices.iter().enumerate().map(|(n, device)| block_devices::row(&id, n, device));
                    block_devices::Entity::insert_many(rows).exec_without_returning(tx).await?;
                    instance_actions::begin(tx, &ctx, &id, "create").await?;
                    if let Some(group) = &checked.group {
                        server_groups::join(tx, group, &id).await?;
                    }
                    let flow = Boot::new(ctx.caller(), &id);
                    created.flows.push(nova.flows()?.insert(tx, &id, &flow).await?);
                    created.servers.push(id);
                }
                Ok(created)
            })
        })
        .await?;
    for server in &created.servers {
        app.builds.keep_password(server, &password);
    }
    Ok(created)
}

fn row(ctx: &Context, checked: &Checked, created: &Created, id: &str) -> Result<ActiveModel> {
    let (wanted, flavor, now) = (&checked.wanted, &checked.flavor, Timestamp::now());
    let properties = checked.image.as_ref().map(sdk::image::ImageInfo::properties).unwrap_or_default();
    let config_drive = wanted.config_drive || properties.get("img_config_drive").is_some_and(|word| word == "mandatory");
    let spec = Spec {
        kernel_id: properties.get("kernel_id").cloned(),
        ramdisk_id: properties.get("ramdisk_id").cloned(),
        min_ram: checked.image.as_ref().map_or(0, |image| image.min_ram),
        min_disk: checked.image.as_ref().map_or(0, |image| image.min_disk),
        image_properties: properties,
        key: checked.key.clone(),
        injected_files: wanted.injected_files.clone(),
        requested_networks: Some(checked.networks.clone()),
        security_groups: created.security_groups.clone(),
        scheduler_hints: wanted.hints.clone(),
        forced_host: checked.destination.host.clone(),
        requested_zone: checked.destination.zone.clone(),
        trusted_image_certificates: wanted.trusted_image_certificates.clone(),
        boot_roles: ctx.identity.as_ref().map(|identity| identity.roles.join(",")).unwrap_or_default(),
    };
    let from_volume = checked.devices.iter().any(|d| d.boot_index == Some(0) && d.destination_type == "volume");
    Ok(ActiveModel {
        id: Set(id.to_owned()),
        number: Set(0),
        deleted: Set(false),
        project_id: Set(ctx.project_id()?.to_owned()),
        user_id: Set(ctx.user_id()?.to_owned()),
        name: Set(wanted.name.clone()),
        hostname: Set(wanted.hostname.clone().unwrap_or_else(|| hostname(&wanted.name, id))),
        description: Set(wanted.description.clone().or_else(|| (ctx.version.1 < 19).then(|| wanted.name.clone()))),
        vm_state: Set(VmState::Building.word().into()),
        task_state: Set(Some(TaskState::Scheduling.word().into())),
        power_state: Set(0),
        locked: Set(false),
        locked_by: Set(None),
        locked_reason: Set(None),
        host: Set(None),
        node: Set(None),
        availability_zone: Set(checked.destination.zone.clone()),
        image_id: Set(wanted.image_ref.clone().filter(|_| !from_volume)),
        flavor_id: Set(flavor.id.clone()),
        vcpus: Set(i64::from(flavor.vcpus)),
        ram_mb: Set(flavor.ram_mb as i64),
        key_name: Set(checked.key.as_ref().map(|key| key.name.clone())),
        config_drive: Set(config_drive),
        disk_config: Set(wanted.disk_config.clone()),
        access_ip_v4: Set(wanted.access_ip_v4.clone()),
        access_ip_v6: Set(wanted.access_ip_v6.clone()),
        reservation_id: Set(created.reservation_id.clone()),
        launch_index: Set(0),
        root_device_name: Set(None),
        user_data: Set(wanted.user_data.clone()),
        flavor: Set(Json(flavor.clone())),
        metadata: Set(Json(wanted.metadata.clone())),
        tags: Set(Json(wanted.tags.clone())),
        security_groups: Set(Json(created.security_groups.clone())),
        network_info: Set(Json(Vec::new())),
        addresses: Set(String::new()),
        fault: Set(None),
        spec: Set(Json(spec)),
        build_outcome: Set(None),
        shelved: Set(None),
        kept_vm_state: Set(None),
        password: Set(None),
        numa_topology: Set(None),
        created_at: Set(now),
        updated_at: Set(now),
        launched_at: Set(None),
        terminated_at: Set(None),
        deleted_at: Set(None),
    })
}

fn shown_groups(asked: &[String]) -> Vec<String> {
    if asked.is_empty() { vec!["default".into()] } else { asked.to_vec() }
}

/// `r-` and eight letters or digits.
fn reservation_id() -> String {
    format!("r-{}", random(8, b"abcdefghijklmnopqrstuvwxyz0123456789"))
}

/// Twelve letters and digits that cannot be mistaken for each other.
pub fn password() -> String {
    random(12, b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
}

fn random(length: usize, alphabet: &[u8]) -> String {
    let mut rng = rand::rng();
    (0..length).filter_map(|_| alphabet.get(rng.random_range(0..alphabet.len()))).map(|b| char::from(*b)).collect()
}

/// A server's name as a host name.
pub fn hostname(name: &str, id: &str) -> String {
    let letters = name.chars().map(|c| if c == ' ' || c == '_' || c == '.' { '-' } else { c });
    let clean: String = letters.filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let clean: String = clean.to_ascii_lowercase().trim_matches('-').chars().take(63).collect();
    if clean.is_empty() { format!("server-{id}") } else { clean.trim_end_matches('-').to_owned() }
}

/// A host name that the user chose, since 2.90; since 2.94 with a domain.
pub fn checked_hostname(ctx: &Context, name: String) -> Result<String> {
    if ctx.speaks(FULL_HOSTNAME) {
        return validate::fqdn("hostname", name);
    }
    let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let good = letters && (2..=63).contains(&name.len()) && !name.starts_with('-') && !name.ends_with('-');
    let pattern = "^[a-zA-Z0-9]+[a-zA-Z0-9-]*[a-zA-Z0-9]+$";
    if good { Ok(name) } else { Err(validate::invalid("hostname", &name, format!("'{name}' does not match '{pattern}'"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_host_names() {
        assert_eq!(hostname("Ubuntu_test 1.x", "i"), "ubuntu-test-1-x");
        assert_eq!(hostname("日本", "i"), "server-i");
        assert_eq!(hostname(&"a".repeat(100), "i").len(), 63);
        assert_eq!(password().len(), 12);
    }
}
