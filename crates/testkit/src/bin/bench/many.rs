//! A page of servers among very many: all of one project's, and those of a thousand projects. The yardstick is the same page where there are
//! no others. The servers are written into nova's database while the cloud is down, as copies of one that was booted.

use std::path::Path;
use std::time::Instant;

use kit::db::{Db, Location};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};

use crate::cloud::{Api, Cloud};
use crate::{Outcome, boots, median, note};

/// Servers on a page.
const PAGE: usize = 1000;
/// Servers there are in the end.
const MANY: usize = 100_000;
/// Whose they are: every so many-th is the administrator's.
const PROJECTS: usize = 1000;
/// Pages fetched for one figure.
const TURNS: usize = 15;

pub async fn measure(binary: &Path) -> Outcome<Value> {
    let arguments = ["--sim-hosts", "2"];
    let cloud = Cloud::start(binary, &arguments).await?;
    let api = cloud.admin().await?;
    let (image, network) = (api.any_image().await?, api.network("many", "10.128.0.0/16").await?);
    boots::throughput(&api, &image, &network, 1, 1).await?;
    let mut state = cloud.stop().await?;
    let mut figures = serde_json::Map::new();
    for (name, servers, projects) in
        [("servers_1000", PAGE, 1), ("servers_100000", MANY, 1), ("servers_100000_projects_1000", MANY, PROJECTS)]
    {
        note(&format!("a page among {servers} servers of {projects} projects"));
        fill(state.path(), servers, projects).await?;
        let cloud = Cloud::start_in(binary, &arguments, state).await?;
        let api = cloud.admin().await?;
        let query = if projects == 1 { "" } else { "&all_tenants=1" };
        let (own, whole) = (page(&api, "").await?, page(&api, query).await?);
        figures.insert(name.into(), json!({"own_page_ms": own, "page_of_all_projects_ms": whole, "rss_mb": cloud.rss_mb()?}));
        state = cloud.stop().await?;
    }
    figures.insert("servers_of_a_page".into(), json!(PAGE));
    Ok(Value::Object(figures))
}

/// The median time of one page, each with a query of its own so that none is answered from memory.
async fn page(api: &Api, query: &str) -> Outcome<f64> {
    let mut millis = Vec::with_capacity(TURNS);
    for turn in 0..TURNS {
        let path = format!("/servers/detail?limit={}{query}", PAGE - turn);
        let began = Instant::now();
        let servers: Vec<Value> = api.compute.get(&api.auth, &path).await?.take("servers")?;
        if query.contains("all_tenants") && servers.len() + turn != PAGE {
            return Err(format!("a page has {} servers", servers.len()).into());
        }
        millis.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(&mut millis))
}

/// Copies of the first server until there are so many, spread over so many projects.
async fn fill(state: &Path, servers: usize, projects: usize) -> Outcome<()> {
    let db = Db::open(&Location::Sqlite(state.join("db/nova.sqlite")), &[]).await?;
    let columns: Vec<String> = column_names(&db).await?;
    let value = |column: &String| match column.as_str() {
        "id" => "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8' || \
                 substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))"
            .to_owned(),
        "number" => "1000 + n.x".to_owned(),
        "created_at" => "s.created_at + n.x".to_owned(),
        // on no host, so that nobody misses their guests
        "host" | "node" => "NULL".to_owned(),
        "project_id" if projects > 1 => {
            format!("CASE WHEN n.x % {projects} = 0 THEN s.project_id ELSE printf('%032x', n.x % {projects}) END")
        }
        other => format!("s.{other}"),
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    let copy = format!(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {}) INSERT INTO instances ({}) SELECT {} FROM instances s, n \
         WHERE s.id = (SELECT id FROM instances WHERE number < 1000 ORDER BY number LIMIT 1)",
        servers.saturating_sub(1).max(1),
        columns.join(", "),
        values.join(", ")
    );
    db.write(move |tx| {
        Box::pin(async move {
            tx.execute_unprepared("DELETE FROM instances WHERE number >= 1000").await?;
            tx.execute_unprepared(&copy).await?;
            Ok(())
        })
    })
    .await?;
    Ok(())
}

async fn column_names(db: &Db) -> Outcome<Vec<String>> {
    let statement = Statement::from_string(db.read().get_database_backend(), "SELECT name FROM pragma_table_info('instances')");
    let rows = db.read().query_all_raw(statement).await?;
    Ok(rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?)
}
