//! A user as the API shows it; never the password.

use kit::Context;
use serde_json::{Value, json};

use super::Model;
use crate::{Keystone, list};

pub fn user(keystone: &Keystone, ctx: &Context, user: &Model) -> Value {
    let enabled = user.enabled && !keystone.config.security.is_inactive(user);
    let known = json!({
        "id": user.id, "name": user.name, "domain_id": user.domain_id, "enabled": enabled, "options": user.options.0,
        "password_expires_at": user.password_expires_at.map(|end| end.to_micros()),
    });
    let mut object = list::object(ctx, &format!("/users/{}", user.id), known, &user.extra);
    if let (Some(project), Value::Object(map)) = (&user.default_project_id, &mut object) {
        map.insert("default_project_id".into(), project.clone().into());
    }
    object
}
