//! A project as the API shows it.

use kit::Context;
use serde_json::{Value, json};

use super::Model;
use crate::list;

pub fn project(ctx: &Context, project: &Model) -> Value {
    let domain_id = Some(&project.domain_id).filter(|id| !id.is_empty());
    let known = json!({
        "id": project.id, "name": project.name, "domain_id": domain_id, "description": project.description, "enabled": project.enabled,
        "parent_id": project.parent_id, "is_domain": project.is_domain, "tags": project.tags.0, "options": project.options.0,
    });
    list::object(ctx, &format!("/projects/{}", project.id), known, &project.extra)
}
