//! `GET /limits`: what a project may have and has, as one page.

use kit::policy::Target;
use kit::{Context, Query, Reply, Result};
use serde_json::{Value, json};

use crate::microversions::STRICT;
use crate::{Nova, quotas, validate};

/// Name on the wire, resource, and the last version that shows it.
const LIMITS: &[(&str, &str, u16)] = &[
    ("maxServerMeta", "metadata_items", u16::MAX),
    ("maxImageMeta", "metadata_items", 38),
    ("maxTotalInstances", "instances", u16::MAX),
    ("maxTotalCores", "cores", u16::MAX),
    ("maxTotalRAMSize", "ram", u16::MAX),
    ("maxTotalKeypairs", "key_pairs", u16::MAX),
    ("maxServerGroups", "server_groups", u16::MAX),
    ("maxServerGroupMembers", "server_group_members", u16::MAX),
    ("maxPersonality", "injected_files", 56),
    ("maxPersonalitySize", "injected_file_content_bytes", 56),
    ("maxTotalFloatingIps", "floating_ips", 35),
    ("maxSecurityGroups", "security_groups", 35),
    ("maxSecurityGroupRules", "security_group_rules", 35),
];

/// `GET /limits`
pub async fn show(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    validate::query_keys(&ctx, &query, STRICT, &["reserved", "tenant_id"])?;
    let project = match query.get("tenant_id") {
        Some(other) => {
            ctx.enforce("os_compute_api:limits:other_project", &Target::project(other))?;
            other.to_owned()
        }
        None => ctx.project_id()?.to_owned(),
    };
    let (limits, used) = (quotas::limits::all(app.db.read(), &project).await?, quotas::usage(app.db.read(), &project).await?);
    let shown = LIMITS.iter().filter(|(_, _, until)| ctx.version.1 <= *until);
    let mut absolute: serde_json::Map<String, Value> =
        shown.map(|(name, resource, _)| ((*name).to_owned(), json!(limits.get(*resource)))).collect();
    let uses = json!({
        "totalInstancesUsed": used.instances, "totalCoresUsed": used.cores, "totalRAMUsed": used.ram,
        "totalServerGroupsUsed": crate::server_groups::count(&app, &project).await?,
    });
    if let Value::Object(uses) = uses {
        absolute.extend(uses);
    }
    if ctx.version.1 <= 35 {
        absolute.insert("totalFloatingIpsUsed".into(), json!(0));
        absolute.insert("totalSecurityGroupsUsed".into(), json!(0));
    }
    Reply::ok(&json!({"limits": {"rate": [], "absolute": absolute}}))
}
