//! `add_prefixes`, `remove_prefixes` and `onboard_network_subnets` of subnet pools.

use ipnet::IpNet;
use kit::{Context, Path, Reply, Result};
use serde_json::{Value, json};

use super::Model;
use crate::attributes::Input;
use crate::fault::{bad_request, conflict, invalid_attribute};
use crate::plain::Plain;
use crate::resource::{changeable, save, with};
use crate::values::{Kind, normalize};
use crate::{App, networks, subnets};

fn prefixes(body: &Value) -> Result<Vec<IpNet>> {
    let prefixes = body.get("prefixes").cloned().unwrap_or(Value::Null);
    let checked = normalize(Kind::Cidrs, prefixes).map_err(|reason| invalid_attribute("prefixes", reason))?;
    serde_json::from_value(checked).map_err(|error| invalid_attribute("prefixes", error))
}

/// `PUT /subnetpools/{subnetpool_id}/add_prefixes`
pub async fn add(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let new = prefixes(&input.into_body())?;
    let pool = app.write(move |tx| {
        Box::pin(async move {
            let before: Model = changeable(tx.db, &ctx, "update_subnetpool", &id.0).await?;
            let mut pool = before.clone();
            pool.prefixes.0.extend(new);
            pool.check_lengths()?;
            pool.prefixes.0 = IpNet::aggregate(&pool.prefixes.0);
            pool.changing(&before, &tx, &ctx).await?;
            save(tx.db, &mut pool).await?;
            Ok(pool)
        })
    });
    Reply::ok(&json!({"prefixes": pool.await?.prefixes.0}))
}

/// `PUT /subnetpools/{subnetpool_id}/remove_prefixes`: those of which nothing is given out.
pub async fn remove(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let gone = prefixes(&input.into_body())?;
    let pool = app.write(move |tx| {
        Box::pin(async move {
            let mut pool: Model = changeable(tx.db, &ctx, "update_subnetpool", &id.0).await?;
            let given: Vec<subnets::Model> = with(tx.db, "subnetpool_id", std::slice::from_ref(&pool.id)).await?;
            let overlaps = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
            if given.iter().filter_map(subnets::Model::net).any(|net| gone.iter().any(|gone| overlaps(gone, &net))) {
                let message = "Illegal subnetpool prefix removal: prefixes with subnets allocated from them cannot be removed.";
                return Err(conflict("IllegalSubnetPoolPrefixUpdate", message));
            }
            pool.prefixes.0 = pool.prefixes.0.iter().flat_map(|prefix| super::allocate::without(*prefix, &gone)).collect();
            pool.prefixes.0 = IpNet::aggregate(&pool.prefixes.0);
            save(tx.db, &mut pool).await?;
            Ok(pool)
        })
    });
    Reply::ok(&json!({"prefixes": pool.await?.prefixes.0}))
}

/// `PUT /subnetpools/{subnetpool_id}/onboard_network_subnets`: a network's subnets become the pool's.
pub async fn onboard(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let body = input.into_body();
    let network = body.get("network_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    app.write(move |tx| {
        Box::pin(async move {
            // networks come before pools, as for subnets that are made out of one
            networks::turn(&tx, vec![network.clone()]).await?;
            let before: Model = changeable(tx.db, &ctx, "update_subnetpool", &id.0).await?;
            let network: networks::Model = changeable(tx.db, &ctx, "update_network", &network).await?;
            let subnets: Vec<subnets::Model> = with(tx.db, "network_id", std::slice::from_ref(&network.id)).await?;
            let subnets: Vec<subnets::Model> = subnets.into_iter().filter(|subnet| subnet.ip_version == before.ip_version).collect();
            if subnets.iter().any(|subnet| subnet.subnetpool_id.is_some()) {
                let message = format!("Illegal update to prefixes: subnets of network {} belong to a subnet pool already.", network.id);
                return Err(bad_request("IllegalSubnetPoolUpdate", message));
            }
            let mut pool = before.clone();
            pool.prefixes.0.extend(subnets.iter().filter_map(subnets::Model::net));
            pool.prefixes.0 = IpNet::aggregate(&pool.prefixes.0);
            pool.changing(&before, &tx, &ctx).await?;
            save(tx.db, &mut pool).await?;
            for mut subnet in subnets {
                subnet.subnetpool_id = Some(pool.id.clone());
                save(tx.db, &mut subnet).await?;
            }
            pool.touch_routers(&tx).await
        })
    })
    .await?;
    Reply::ok(&json!({}))
}
