//! What the hosts say of their ports and floating IPs: only a wired port is ACTIVE, and only a floating IP that leads to one.

use kit::Result;

use super::{ACTIVE, DOWN, Model, turn};
use crate::resource::{save, with};
use crate::{App, floatingips, nova, trunks};

/// A host wired some ports and unwired others; floating IPs are among them. Nova hears of ports that its servers use.
pub async fn wired(app: &App, host: String, up: Vec<String>, down: Vec<String>) -> Result<()> {
    app.write(move |tx| {
        Box::pin(async move {
            let reported: Vec<String> = up.iter().chain(&down).cloned().collect();
            turn(&tx, reported.clone()).await?;
            let statuses = [(up, ACTIVE), (down, DOWN)];
            for (ids, status) in &statuses {
                let event = if *status == ACTIVE { "network-vif-plugged" } else { "network-vif-unplugged" };
                let mut ports: Vec<Model> = with(tx.db, "id", ids).await?;
                ports.sort_by(|a, b| a.id.cmp(&b.id));
                for mut port in ports {
                    // a host that lost the port meanwhile has no say in it
                    if port.host_id != host || port.status == *status {
                        continue;
                    }
                    port.status = (*status).into();
                    save(tx.db, &mut port).await?;
                    if port.is_servers() {
                        tx.tell_nova(nova::event(event, &port));
                    }
                }
            }
            trunks::wired(&tx, &reported).await?;
            for (ids, status) in statuses {
                floatingips::carried(&tx, &host, &ids, status).await?;
            }
            Ok(())
        })
    })
    .await
}
