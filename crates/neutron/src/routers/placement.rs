//! Which hosts carry a router: one, or with `ha` one that forwards and others that stand by and take over when it falls silent.

use futures::future::BoxFuture;
use kit::Result;
use kit::clock::Timestamp;
use sea_orm::ConnectionTrait;

use super::{Model, ha};
use crate::agents::{self, Touched};
use crate::resource::{fetch, locked, save};
use crate::{App, Tx, sql};

/// Hosts that carry a router with `ha`.
const HA_HOSTS: usize = 3;
/// Routers placed in one go.
const BATCH: u32 = 100;

/// Puts a router, and its ports, on a host, which says when they work there.
pub async fn place(tx: &Tx<'_>, id: &str, host: &str) -> Result<()> {
    let mut router: Model = locked(tx.db, id).await?;
    if router.host == host {
        return Ok(());
    }
    router.host = host.to_owned();
    router.held = host.is_empty();
    save(tx.db, &mut router).await?;
    let ports = "SELECT id FROM ports WHERE device_id = $1 AND device_owner IN ('network:router_interface', 'network:router_gateway')";
    for port in sql::texts(tx.db, ports, [id.into()]).await? {
        sql::execute(tx.db, "UPDATE ports SET host_id = $1, status = 'DOWN' WHERE id = $2", [host.into(), port.as_str().into()]).await?;
        tx.touch(Touched::Port(port));
    }
    sql::execute(tx.db, "UPDATE floatingips SET status = 'DOWN' WHERE router_id = $1", [id.into()]).await?;
    sql::execute(tx.db, "DELETE FROM standby_routers WHERE router_id = $1 AND host = $2", [id.into(), host.into()]).await?;
    tx.touch(Touched::Router(id.to_owned()));
    ha::settle(tx, &router).await
}

/// Hosts that stand by for a router.
pub async fn standbys<C: ConnectionTrait>(db: &C, router: &str) -> Result<Vec<String>> {
    sql::texts(db, "SELECT host FROM standby_routers WHERE router_id = $1 ORDER BY host", [router.into()]).await
}

/// Gives a router with `ha` hosts that stand by, and takes them from one without.
pub async fn settle_standbys(app: &App, tx: &Tx<'_>, router: &Model) -> Result<()> {
    let have = standbys(tx.db, &router.id).await?;
    if !router.ha {
        sql::execute(tx.db, "DELETE FROM standby_routers WHERE router_id = $1", [router.id.as_str().into()]).await?;
    } else if have.len() + 1 < HA_HOSTS && !router.host.is_empty() {
        let others = agents::l3_hosts(app, tx.db).await?;
        let new = others.into_iter().filter(|host| *host != router.host && !have.contains(host)).take(HA_HOSTS - 1 - have.len());
        for host in new {
            let insert = "INSERT INTO standby_routers (router_id, host) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            sql::execute(tx.db, insert, [router.id.as_str().into(), host.into()]).await?;
        }
    }
    if standbys(tx.db, &router.id).await? != have {
        tx.touch(Touched::Router(router.id.clone()));
    }
    ha::settle(tx, router).await
}

/// Takes a router off a host, as an administrator wants it: one that stands by goes on with it, and it gets no new host by itself.
pub async fn take_off(tx: &Tx<'_>, id: &str, host: &str) -> Result<bool> {
    let standbys = standbys(tx.db, id).await?;
    let router: Model = locked(tx.db, id).await?;
    let delete = "DELETE FROM standby_routers WHERE router_id = $1 AND host = $2";
    if router.host == host {
        place(tx, id, standbys.first().map(String::as_str).unwrap_or_default()).await?;
    } else if sql::execute(tx.db, delete, [id.into(), host.into()]).await? == 0 {
        return Ok(false);
    }
    sql::execute(tx.db, "UPDATE routers SET held = TRUE WHERE id = $1", [id.into()]).await?;
    tx.touch(Touched::Router(id.to_owned()));
    if let Some(router) = fetch::<Model, _>(tx.db, id).await? {
        ha::settle(tx, &router).await?;
    }
    Ok(true)
}

/// Puts a router on a host, as an administrator wants it; one with `ha` that has a host already stands by there.
pub async fn put_on(tx: &Tx<'_>, router: &Model, host: &str) -> Result<()> {
    if router.ha && !router.host.is_empty() {
        let insert = "INSERT INTO standby_routers (router_id, host) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        sql::execute(tx.db, insert, [router.id.as_str().into(), host.into()]).await?;
        tx.touch(Touched::Router(router.id.clone()));
        ha::settle(tx, router).await?;
    } else {
        place(tx, &router.id, host).await?;
    }
    sql::execute(tx.db, "UPDATE routers SET held = FALSE WHERE id = $1", [router.id.as_str().into()]).await.map(drop)
}

/// Gives routers that have no host one, as soon as there is one, and lets others take over from hosts that fell silent.
pub async fn reconcile(app: &App) -> Result<()> {
    let db = app.db().read();
    let homeless = sql::texts(db, &format!("SELECT id FROM routers WHERE host = '' AND NOT held LIMIT {BATCH}"), []).await?;
    let since = Timestamp::now().minus(app.config().ha_takeover_time).0;
    let silent = if app.listening().for_long_enough(app.config().ha_takeover_time) { carried_in_silence(db, since).await? } else { vec![] };
    let short = "SELECT r.id FROM routers r WHERE r.ha AND NOT r.held AND r.host <> '' \
                 AND (SELECT COUNT(*) FROM standby_routers s WHERE s.router_id = r.id) < $1";
    let short = sql::texts(db, &format!("{short} LIMIT {BATCH}"), [(HA_HOSTS as i64 - 1).into()]).await?;
    // one after the other: a change that held one router would wait for those who hold the next
    for id in homeless {
        change(app, id, |app, tx, router| Box::pin(find_home(app, tx, router))).await?;
    }
    for id in silent {
        change(app, id, move |_, tx, router| Box::pin(take_over(tx, router, since))).await?;
    }
    for id in short {
        change(app, id, |app, tx, router| Box::pin(settle_standbys(app, tx, router))).await?;
    }
    Ok(())
}

/// Routers with `ha` whose host was not heard since.
async fn carried_in_silence<C: ConnectionTrait>(db: &C, since: i64) -> Result<Vec<String>> {
    let silent = "SELECT r.id FROM routers r WHERE r.ha AND r.host <> '' AND NOT EXISTS \
                  (SELECT 1 FROM agents a WHERE a.host = r.host AND a.agent_type = 'L3 agent' AND a.heartbeat_at > $1)";
    sql::texts(db, &format!("{silent} LIMIT {BATCH}"), [since.into()]).await
}

/// Changes a router, if it is still there.
async fn change<F>(app: &App, id: String, how: F) -> Result<()>
where
    F: for<'t> FnOnce(&'t App, &'t Tx<'t>, &'t Model) -> BoxFuture<'t, Result<()>> + Send + 'static,
{
    let on = app.clone();
    app.write(move |tx| {
        Box::pin(async move {
            match fetch::<Model, _>(tx.db, &id).await? {
                Some(router) => how(&on, &tx, &router).await,
                None => Ok(()),
            }
        })
    })
    .await
}

async fn find_home(app: &App, tx: &Tx<'_>, router: &Model) -> Result<()> {
    match agents::l3_hosts(app, tx.db).await?.first() {
        Some(host) => place(tx, &router.id, host).await,
        None => Ok(()),
    }
}

/// The first host that stands by and is heard of forwards from now on; the silent one stands by.
async fn take_over(tx: &Tx<'_>, router: &Model, since: i64) -> Result<()> {
    let alive = "SELECT s.host FROM standby_routers s JOIN agents a ON a.host = s.host AND a.agent_type = 'L3 agent' \
                 WHERE s.router_id = $1 AND a.heartbeat_at > $2 ORDER BY s.host LIMIT 1";
    let id = router.id.as_str();
    let Some(next) = sql::texts(tx.db, alive, [id.into(), since.into()]).await?.pop() else { return Ok(()) };
    tracing::warn!(router = id, from = router.host, to = next, "the host of the router is silent; another takes over");
    let insert = "INSERT INTO standby_routers (router_id, host) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    sql::execute(tx.db, insert, [id.into(), router.host.as_str().into()]).await?;
    place(tx, id, &next).await
}
