//! The two questions: of all projects, and of one.

use std::collections::BTreeMap;
use std::time::Duration;

use kit::clock::Timestamp;
use kit::collection::{Page, next_href};
use kit::db::Json;
use kit::microversion::Microversion;
use kit::policy::Target;
use kit::{Context, Error, Path, Query, Reply, Result};
use rpc::compute::Flavor;
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, FromQueryResult, QueryOrder, QuerySelect};
use serde_json::json;

use super::account::{Period, ServerUsage, TenantUsage};
use crate::microversions::STRICT;
use crate::servers::instance::{Column, Entity};
use crate::{Nova, validate};

/// Usage comes in pages of servers.
const PAGES: Microversion = Microversion(2, 40);
/// What is meant when no start is said.
const FOUR_WEEKS: Duration = Duration::from_secs(4 * 7 * 24 * 3600);

/// The columns that count.
#[derive(FromQueryResult)]
struct Row {
    id: String,
    project_id: String,
    name: String,
    vm_state: String,
    flavor: Json<Flavor>,
    launched_at: Option<Timestamp>,
    terminated_at: Option<Timestamp>,
}

/// `GET /os-simple-tenant-usage`
pub async fn list(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    let known: &[&str] = if ctx.speaks(PAGES) { &["start", "end", "detailed", "limit", "marker"] } else { &["start", "end", "detailed"] };
    validate::query_keys(&ctx, &query, STRICT, known)?;
    let asked = Asked::read(&app, &ctx, &query)?;
    let detailed = query.get("detailed") == Some("1");
    let rows = asked.rows(&app, None).await?;
    let mut usages: BTreeMap<String, TenantUsage> = BTreeMap::new();
    let next = asked.next(&ctx, &query, "/os-simple-tenant-usage", &rows);
    for row in rows {
        let usage = usages.entry(row.project_id.clone()).or_insert_with(|| TenantUsage::new(&row.project_id, &asked.period, detailed));
        usage.add(asked.usage(row));
    }
    let mut body = json!({"tenant_usages": usages.into_values().collect::<Vec<_>>()});
    if let Some(next) = next {
        body["tenant_usages_links"] = next;
    }
    Reply::ok(&body)
}

/// `GET /os-simple-tenant-usage/{project}`: with the servers; nothing at all when there was none.
pub async fn show(app: Nova, ctx: Context, project: Path<String>, query: Query) -> Result<Reply> {
    ctx.authorize(&Target::project(&project.0))?;
    let known: &[&str] = if ctx.speaks(PAGES) { &["start", "end", "limit", "marker"] } else { &["start", "end"] };
    validate::query_keys(&ctx, &query, STRICT, known)?;
    let asked = Asked::read(&app, &ctx, &query)?;
    let rows = asked.rows(&app, Some(&project.0)).await?;
    if rows.is_empty() {
        return Reply::ok(&json!({"tenant_usage": {}}));
    }
    let next = asked.next(&ctx, &query, &format!("/os-simple-tenant-usage/{}", project.0), &rows);
    let mut usage = TenantUsage::new(&project.0, &asked.period, true);
    rows.into_iter().for_each(|row| usage.add(asked.usage(row)));
    let mut body = json!({"tenant_usage": usage});
    if let Some(next) = next {
        body["tenant_usage_links"] = next;
    }
    Reply::ok(&body)
}

/// A question: the period, and the page of servers where the version has pages.
struct Asked {
    period: Period,
    page: Option<Page>,
}

impl Asked {
    fn read(app: &Nova, ctx: &Context, query: &Query) -> Result<Asked> {
        let now = Timestamp::now();
        let time = |key: &str, default: Timestamp| match query.get(key).filter(|text| !text.is_empty()) {
            None => Ok(default),
            Some(text) => Timestamp::parse(text).ok_or_else(|| Error::bad_request("Datetime is in invalid format")),
        };
        let (start, stop) = (time("start", now.minus(FOUR_WEEKS))?, time("end", now)?);
        if start > stop {
            return Err(Error::bad_request("Invalid start time. The start time cannot occur after the end time."));
        }
        let page = ctx.speaks(PAGES).then(|| Page::parse(query, app.config.max_limit, app.config.max_limit)).transpose()?;
        Ok(Asked { period: Period { start, stop, now }, page })
    }

    /// The servers that lived in the period, by id.
    async fn rows(&self, app: &Nova, project: Option<&str>) -> Result<Vec<Row>> {
        let lived = Condition::all()
            .add(Column::LaunchedAt.lt(self.period.stop))
            .add(Condition::any().add(Column::TerminatedAt.is_null()).add(Column::TerminatedAt.gt(self.period.start)));
        let columns =
            [Column::Id, Column::ProjectId, Column::Name, Column::VmState, Column::Flavor, Column::LaunchedAt, Column::TerminatedAt];
        let mut select = Entity::find().select_only().columns(columns).filter(lived).order_by_asc(Column::Id);
        if let Some(project) = project {
            select = select.filter(Column::ProjectId.eq(project));
        }
        if let Some(page) = &self.page {
            select = select.limit(page.limit);
            if let Some(marker) = &page.marker {
                let known = Entity::find_by_id(marker).count(app.db.read()).await? > 0;
                if !known {
                    return Err(Error::bad_request(format!("marker [{marker}] not found")));
                }
                select = select.filter(Column::Id.gt(marker));
            }
        }
        Ok(select.into_model::<Row>().all(app.db.read()).await?)
    }

    fn usage(&self, row: Row) -> ServerUsage {
        let (flavor, began) = (row.flavor.0, row.launched_at.unwrap_or(self.period.stop));
        ServerUsage {
            hours: self.period.hours(began, row.terminated_at),
            flavor: flavor.name,
            vcpus: i64::from(flavor.vcpus),
            memory_mb: flavor.ram_mb as i64,
            local_gb: (flavor.root_gb + flavor.ephemeral_gb) as i64,
            state: if row.terminated_at.is_some() { "terminated".into() } else { row.vm_state },
            started_at: began.to_micros(),
            ended_at: row.terminated_at.map(Timestamp::to_micros),
            uptime: self.period.uptime(began, row.terminated_at),
            instance_id: row.id,
            name: row.name,
            tenant_id: row.project_id,
        }
    }

    /// The link to the next page, when this one is full.
    fn next(&self, ctx: &Context, query: &Query, path: &str, rows: &[Row]) -> Option<serde_json::Value> {
        let page = self.page.as_ref()?;
        let last = rows.last().filter(|_| rows.len() as u64 == page.limit)?;
        Some(json!([{"rel": "next", "href": next_href(&ctx.link(path), query, &last.id)}]))
    }
}
