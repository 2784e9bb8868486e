//! `/floatingip_pools`: the subnets of external networks, out of which floating IPs can be had.

use kit::{Context, Query, Reply, Result};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Map, Value, json};

use crate::listing::select_fields;
use crate::resource::{visible, with};
use crate::{App, networks, subnets};

/// `GET /floatingip_pools`
pub async fn list(app: App, ctx: Context, query: Query) -> Result<Reply> {
    let db = app.db().read();
    let external = networks::Entity::find().filter(visible::<networks::Model>(&ctx)?).filter(networks::Column::External.eq(true));
    let external: Vec<String> = external.all(db).await?.into_iter().map(|network| network.id).collect();
    let mut subnets: Vec<subnets::Model> = with(db, "network_id", &external).await?;
    subnets.retain(subnets::Model::is_v4);
    subnets.sort_by(|a, b| (&a.network_id, &a.id).cmp(&(&b.network_id, &b.id)));
    let mut pools: Vec<Map<String, Value>> = subnets.iter().map(view).collect();
    for key in ["subnet_id", "subnet_name", "network_id", "cidr", "project_id", "tenant_id"] {
        let wanted: Vec<&str> = query.all(key).collect();
        pools.retain(|pool| wanted.is_empty() || pool.get(key).and_then(Value::as_str).is_some_and(|value| wanted.contains(&value)));
    }
    select_fields(&mut pools, &query);
    Reply::ok(&json!({"floatingip_pools": pools}))
}

fn view(subnet: &subnets::Model) -> Map<String, Value> {
    let view = json!({
        "subnet_id": subnet.id, "subnet_name": subnet.name, "network_id": subnet.network_id, "cidr": subnet.cidr,
        "project_id": subnet.project_id, "tenant_id": subnet.project_id,
    });
    if let Value::Object(view) = view { view } else { Map::new() }
}
