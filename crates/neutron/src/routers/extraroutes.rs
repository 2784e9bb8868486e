//! `add_extraroutes` and `remove_extraroutes`: routes that come and go without touching the others.

use kit::{Context, Path, Reply, Result};
use serde_json::Value;

use super::Model;
use super::api::check_routes;
use crate::agents::Touched;
use crate::attributes::Input;
use crate::fault::invalid_attribute;
use crate::resource::{Resource, changeable, save};
use crate::subnets::Route;
use crate::values::{Kind, normalize};
use crate::{App, listing};

/// `PUT /routers/{router_id}/add_extraroutes`: what is there already stays.
pub async fn add(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    change(app, ctx, id.0, input, |have, new| {
        let missing: Vec<Route> = new.into_iter().filter(|route| !have.contains(route)).collect();
        have.extend(missing);
    })
    .await
}

/// `PUT /routers/{router_id}/remove_extraroutes`: what is not there is no error.
pub async fn remove(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    change(app, ctx, id.0, input, |have, gone| have.retain(|route| !gone.contains(route))).await
}

async fn change(app: App, ctx: Context, id: String, input: Input, edit: fn(&mut Vec<Route>, Vec<Route>)) -> Result<Reply> {
    let if_match = input.if_match;
    let body = input.one(Model::KEY)?;
    let routes = normalize(Kind::Routes, body.get("routes").cloned().unwrap_or(Value::Null));
    let routes: Vec<Route> = serde_json::from_value(routes.map_err(|reason| invalid_attribute("routes", reason))?)?;
    let by = ctx.clone();
    let router = app.write(move |tx| {
        Box::pin(async move {
            let mut router: Model = changeable(tx.db, &by, "update_router", &id).await?;
            if_match.check(router.revision_number)?;
            let before = router.clone();
            edit(&mut router.routes.0, routes);
            if router != before {
                check_routes(&tx, &router, &router.routes.0).await?;
                save(tx.db, &mut router).await?;
                tx.touch(Touched::Router(router.id.clone()));
            }
            Ok(router)
        })
    });
    listing::updated(&app, &ctx, router.await?).await
}
