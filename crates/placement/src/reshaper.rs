//! `/reshaper`: moves inventories between providers together with what is drawn from them, all or nothing.

use std::collections::BTreeMap;

use kit::{Context, Error, Reply, Result};
use serde::Deserialize;

use crate::allocations::{ManagedConsumer, claim, read_consumers};
use crate::input::{Body, uuid};
use crate::inventories::{self, Replace, check_all};
use crate::providers::store;
use crate::{Placement, classes};

/// Body of `POST /reshaper`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reshape {
    inventories: BTreeMap<String, Replace>,
    allocations: BTreeMap<String, ManagedConsumer>,
}

pub async fn reshape(app: Placement, ctx: Context, body: Body<Reshape>) -> Result<Reply> {
    let Reshape { inventories: wanted, allocations } = body.0;
    let mut shapes = BTreeMap::new();
    for (provider, shape) in wanted {
        check_all(&ctx, &provider, &shape.inventories)?;
        shapes.insert(uuid("resource provider", &provider)?, shape);
    }
    let claims = read_consumers(&ctx, allocations)?;
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let mut providers = Vec::new();
                for (uuid, shape) in &shapes {
                    let provider =
                        store::fetch_at(tx, uuid, shape.resource_provider_generation).await.map_err(|error| named(uuid, error))?;
                    classes::check_stocked(tx, uuid, shape.inventories.keys()).await?;
                    inventories::set(tx, &provider, &shape.inventories).await?;
                    store::advance(tx, uuid, provider.generation).await?;
                    providers.push((provider, shape));
                }
                // new inventories first, then the claims move over, then what is empty can go
                claim::apply(tx, &claims).await?;
                for (provider, shape) in providers {
                    inventories::drop_others(tx, &provider, &shape.inventories).await?;
                }
                Ok(())
            })
        })
        .await?;
    Reply::no_content()
}

/// A provider that is not there is a mistake of the body, not a missing page.
fn named(uuid: &str, error: Error) -> Error {
    if !error.is_not_found() {
        return error;
    }
    let words = format!("Resource provider {uuid} in inventories not found: {}", error.message);
    Error::bad_request(words).code("placement.resource_provider.not_found")
}
