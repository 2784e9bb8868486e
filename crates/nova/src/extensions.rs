//! `/extensions`: a relic that older clients read to learn what there is.

use kit::{Context, Error, Path, Reply, Result};
use serde_json::{Value, json};

use crate::Nova;

/// Alias and name.
const EXTENSIONS: &[(&str, &str)] = &[
    ("OS-DCF", "DiskConfig"),
    ("OS-EXT-AZ", "ExtendedAvailabilityZone"),
    ("OS-EXT-IPS", "ExtendedIps"),
    ("OS-EXT-IPS-MAC", "ExtendedIpsMac"),
    ("OS-EXT-SRV-ATTR", "ExtendedServerAttributes"),
    ("OS-EXT-STS", "ExtendedStatus"),
    ("OS-FLV-DISABLED", "FlavorDisabled"),
    ("OS-FLV-EXT-DATA", "FlavorExtraData"),
    ("OS-SCH-HNT", "SchedulerHints"),
    ("OS-SRV-USG", "ServerUsage"),
    ("os-admin-actions", "AdminActions"),
    ("os-admin-password", "AdminPassword"),
    ("os-aggregates", "Aggregates"),
    ("os-assisted-volume-snapshots", "AssistedVolumeSnapshots"),
    ("os-attach-interfaces", "AttachInterfaces"),
    ("os-availability-zone", "AvailabilityZone"),
    ("os-block-device-mapping-v2-boot", "BlockDeviceMappingV2Boot"),
    ("os-config-drive", "ConfigDrive"),
    ("os-console-output", "ConsoleOutput"),
    ("os-consoles", "Consoles"),
    ("os-create-backup", "CreateBackup"),
    ("os-deferred-delete", "DeferredDelete"),
    ("os-evacuate", "Evacuate"),
    ("os-extended-hypervisors", "ExtendedHypervisors"),
    ("os-extended-quotas", "ExtendedQuotas"),
    ("os-extended-services", "ExtendedServices"),
    ("os-extended-services-delete", "ExtendedServicesDelete"),
    ("os-extended-volumes", "ExtendedVolumes"),
    ("os-flavor-access", "FlavorAccess"),
    ("os-flavor-extra-specs", "FlavorExtraSpecs"),
    ("os-flavor-manage", "FlavorManage"),
    ("os-flavor-rxtx", "FlavorRxtx"),
    ("os-flavor-swap", "FlavorSwap"),
    ("os-floating-ip-pools", "FloatingIpPools"),
    ("os-floating-ips", "FloatingIps"),
    ("os-hosts", "Hosts"),
    ("os-hypervisor-status", "HypervisorStatus"),
    ("os-hypervisors", "Hypervisors"),
    ("os-instance-actions", "InstanceActions"),
    ("os-instance_usage_audit_log", "InstanceUsageAuditLog"),
    ("os-keypairs", "Keypairs"),
    ("os-lock-server", "LockServer"),
    ("os-migrate-server", "MigrateServer"),
    ("os-migrations", "Migrations"),
    ("os-multinic", "Multinic"),
    ("os-multiple-create", "MultipleCreate"),
    ("os-networks", "Networks"),
    ("os-pause-server", "PauseServer"),
    ("os-quota-class-sets", "QuotaClasses"),
    ("os-quota-sets", "Quotas"),
    ("os-rescue", "Rescue"),
    ("os-security-groups", "SecurityGroups"),
    ("os-server-external-events", "ServerExternalEvents"),
    ("os-server-group-quotas", "ServerGroupQuotas"),
    ("os-server-groups", "ServerGroups"),
    ("os-server-sort-keys", "ServerSortKeys"),
    ("os-server-diagnostics", "ServerDiagnostics"),
    ("os-server-password", "ServerPassword"),
    ("os-services", "Services"),
    ("os-shelve", "Shelve"),
    ("os-simple-tenant-usage", "SimpleTenantUsage"),
    ("os-suspend-server", "SuspendServer"),
    ("os-tenant-networks", "TenantNetworks"),
    ("os-used-limits", "UsedLimits"),
    ("os-used-limits-for-admin", "UsedLimitsForAdmin"),
    ("os-user-data", "UserData"),
    ("os-user-quotas", "UserQuotas"),
    ("os-volumes", "Volumes"),
    ("flavors", "Flavors"),
    ("image-metadata", "ImageMetadata"),
    ("images", "Images"),
    ("ips", "Ips"),
    ("limits", "Limits"),
    ("server-metadata", "ServerMetadata"),
    ("servers", "Servers"),
    ("versions", "Versions"),
];

fn view((alias, name): &(&str, &str)) -> Value {
    json!({
        "alias": alias, "name": name, "description": name, "links": [], "updated": "2014-12-03T00:00:00Z",
        "namespace": "http://docs.openstack.org/compute/ext/fake_xml",
    })
}

/// `GET /extensions`
pub async fn list(_: Nova, _: Context) -> Result<Reply> {
    Reply::ok(&json!({"extensions": EXTENSIONS.iter().map(view).collect::<Vec<_>>()}))
}

/// `GET /extensions/{alias}`
pub async fn show(_: Nova, _: Context, alias: Path<String>) -> Result<Reply> {
    let found = EXTENSIONS.iter().find(|(have, _)| *have == alias.0);
    let found = found.ok_or_else(|| Error::not_found("The resource could not be found."))?;
    Reply::ok(&json!({"extension": view(found)}))
}
