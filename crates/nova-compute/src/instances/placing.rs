//! What of the host's NUMA nodes an instance gets, and that conductor knows of it.

use std::collections::{HashMap, HashSet};

use kit::Result;
use rpc::compute::Instance;
use rpc::conductor::{ReportHost, SaveInstance};
use rpc::numa::Placed;

use crate::host::Host;
use crate::hypervisor::Placement;
use crate::report;

/// What it has here, from now on if it had nothing yet.
pub async fn claim(host: &Host, instance: &Instance) -> Result<Option<Placed>> {
    let placed = host.numa.take(&instance.id, instance.numa_wanted.as_ref()).await?;
    if placed != instance.numa {
        tell(host).await;
        // of one that is still to come, its own host has the word
        if instance.host.as_deref() == Some(host.name()) {
            host.save(SaveInstance { numa: Some(placed.clone()), ..host.change(&instance.id) }).await?;
        }
    }
    Ok(placed)
}

/// Where its guest is to be.
pub async fn place(host: &Host, instance: &Instance) -> Result<Placement> {
    let placed = claim(host, instance).await?;
    Ok(host.numa.placement(instance.flavor.vcpus, placed.as_ref()))
}

/// Nothing here is its own any more.
pub async fn release(host: &Host, instance_id: &str) -> Result<()> {
    if host.numa.release(instance_id).await? {
        tell(host).await;
    }
    Ok(())
}

/// What it had before its resize is free.
pub async fn forget_aside(host: &Host, instance_id: &str) -> Result<()> {
    if host.numa.forget_aside(instance_id).await? {
        tell(host).await;
    }
    Ok(())
}

/// Has the scheduler know what is left, before anybody hears that it is taken or free.
async fn tell(host: &Host) {
    let inventory = Some(report::inventory(&host.config, &*host.hypervisor, &host.numa));
    let message = ReportHost { host: host.name().to_owned(), inventory, instances: None };
    if let Err(error) = host.ask(message).await {
        tracing::warn!(%error, "conductor hears later what is left of this host's processors");
        host.report_now.notify_one();
    }
}

/// Goes on with what an earlier process gave to those who are here: the known ones, and those of whom there are files.
pub async fn restore(host: &Host, known: &HashMap<String, Instance>) -> Result<()> {
    let mut others = HashSet::new();
    if let Some(store) = &host.store {
        let mut entries = tokio::fs::read_dir(&store.instances).await?;
        while let Some(entry) = entries.next_entry().await? {
            others.extend(entry.file_name().into_string());
        }
    }
    host.numa.restore(known, &others).await
}
