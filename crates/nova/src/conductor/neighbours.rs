//! What a server has at the neighbours and must not leave behind: ports nova made, and attachments of volumes.

use kit::Result;
use sdk::Auth;
use sdk::network::{Port, UpdatePort};

use crate::Nova;
use crate::servers::instance::Model;

/// Deletes the ports nova made for a server and frees those it was given; ends its attachments. All of it may be gone already.
pub async fn release(app: &Nova, instance_id: &str) -> Result<()> {
    release_ports(app, instance_id).await?;
    release_volumes(app, instance_id).await
}

async fn release_ports(app: &Nova, instance_id: &str) -> Result<()> {
    let auth = app.session.auth("").await?;
    let server = crate::servers::store::load(app.db.read(), instance_id).await?;
    let given = server.as_ref().map(given_ports).unwrap_or_default();
    for port in app.cloud.network.ports(&auth, &[("device_id", instance_id)]).await? {
        if given.contains(&port.id) {
            free_port(app, &auth, &port.id).await?;
        } else {
            app.cloud.network.delete_port(&auth, &port.id).await?;
        }
    }
    Ok(())
}

/// Lets go of what was to be plugged and never was: the port that was given, or those that the host made on its way.
pub async fn release_unplugged(app: &Nova, server: &Model, given: Option<&str>) -> Result<()> {
    let (auth, users) = (app.session.auth("").await?, given_ports(server));
    for port in unplugged(app, server).await? {
        match given {
            Some(given) if given == port.id => free_port(app, &auth, given).await?,
            None if !users.contains(&port.id) => app.cloud.network.delete_port(&auth, &port.id).await?,
            _ => {}
        }
    }
    Ok(())
}

/// Frees the ports of a server that it does not show; nobody knows any more who made them.
pub async fn free_unplugged(app: &Nova, server: &Model) -> Result<()> {
    let auth = app.session.auth("").await?;
    for port in unplugged(app, server).await? {
        free_port(app, &auth, &port.id).await?;
    }
    Ok(())
}

async fn unplugged(app: &Nova, server: &Model) -> Result<Vec<Port>> {
    let mut ports = app.cloud.network.ports(&app.session.auth("").await?, &[("device_id", &server.id)]).await?;
    ports.retain(|port| server.network_info.0.iter().all(|nic| nic.port_id != port.id));
    Ok(ports)
}

async fn free_port(app: &Nova, auth: &Auth, id: &str) -> Result<()> {
    sdk::found(app.cloud.network.update_port(auth, id, &UpdatePort::unbind()).await)?;
    Ok(())
}

/// Ports the user made; they outlive the server.
fn given_ports(server: &Model) -> Vec<String> {
    use rpc::compute::RequestedNetworks;
    let mut given: Vec<String> = match &server.spec.0.requested_networks {
        Some(RequestedNetworks::These(these)) => these.iter().filter_map(|r| r.port_id.clone()).collect(),
        Some(RequestedNetworks::Auto | RequestedNetworks::Allocate | RequestedNetworks::None) | None => Vec::new(),
    };
    given.extend(server.network_info.0.iter().filter(|nic| !nic.created_by_nova).map(|nic| nic.port_id.clone()));
    given
}

async fn release_volumes(app: &Nova, instance_id: &str) -> Result<()> {
    let devices = crate::servers::store::block_devices_of(app.db.read(), instance_id).await?;
    if !devices.iter().any(|d| d.destination_type == "volume") {
        return Ok(());
    }
    let auth = app.session.auth("").await?;
    for device in devices {
        if let Some(attachment) = &device.attachment_id {
            sdk::found(app.cloud.volume.delete_attachment(&auth, attachment).await)?;
        }
        if let (Some(volume), true) = (&device.volume_id, device.delete_on_termination) {
            // cinder refuses while something still uses it; then it is not ours to delete
            match sdk::found(app.cloud.volume.delete(&auth, volume).await) {
                Ok(_) => {}
                Err(error) if matches!(error.status, 400 | 409) => tracing::warn!(volume, %error, "a volume was left"),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
