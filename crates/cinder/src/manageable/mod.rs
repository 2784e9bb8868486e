//! Taking volumes and snapshots over that a storage has already, and letting them go again.

pub mod api;
pub mod flows;
pub mod snapshot_flows;
pub mod snapshots;

use kit::collection::Page;
use kit::{Query, Result};
use serde_json::Value;

/// The part of a list that the query asks for, with what only the detailed list tells.
fn page(mut rows: Vec<Value>, query: &Query, detailed: bool) -> Result<Vec<Value>> {
    let page = Page::parse(query, 1000, 1000)?;
    if let Some((key, ascending)) = page.sort.first() {
        let order = |row: &Value| match key.as_str() {
            "size" => (row["size"].as_u64(), None),
            _ => (None, row["reference"]["source-name"].as_str().map(str::to_owned)),
        };
        rows.sort_by_key(order);
        if !ascending {
            rows.reverse();
        }
    }
    for row in rows.iter_mut().filter(|_| !detailed).filter_map(Value::as_object_mut) {
        row.retain(|key, _| !matches!(key.as_str(), "cinder_id" | "reason_not_safe" | "extra_info"));
    }
    let (skip, take) = (usize::try_from(page.offset).unwrap_or(usize::MAX), usize::try_from(page.limit).unwrap_or(usize::MAX));
    Ok(rows.into_iter().skip(skip).take(take).collect())
}
