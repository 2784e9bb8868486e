//! `/os-security-group-rules`, until 2.35: incoming rules of neutron's security groups.

use kit::{Context, Error, Json, Path, Reply, Result};
use serde_json::{Map, Value, json};

use super::security_groups::{Names, fetch, rule_view};
use super::{accepted, as_bad_request, gone};
use crate::{Nova, validate};

/// `POST /os-security-group-rules`
pub async fn create(app: Nova, ctx: Context, body: Json<Value>) -> Result<Reply> {
    let asked = validate::only(body.0, "security_group_rule", ctx.strict)?;
    let parent = asked.get("parent_group_id").and_then(Value::as_str).ok_or_else(|| Error::bad_request("Invalid parent group id"))?;
    let group = fetch(&app, &ctx, parent).await?;
    let rule = json!({"security_group_rule": read(&asked, &group["id"])?});
    let made = as_bad_request(app.cloud.network.0.post(&ctx.auth(), "/v2.0/security-group-rules", &rule).await)?;
    let made: Value = made.take("security_group_rule")?;
    let names = Names::beside(&app, &ctx, &json!({"security_group_rules": [made]})).await?;
    Reply::ok(&json!({"security_group_rule": rule_view(&made, &names)}))
}

/// `DELETE /os-security-group-rules/{id}`
pub async fn delete(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let path = format!("/v2.0/security-group-rules/{}", kit::call::percent_encode(&id.0));
    gone(app.cloud.network.0.delete(&ctx.auth(), &path).await, || format!("Security group rule {} not found.", id.0))?;
    Ok(accepted())
}

/// The rule in neutron's words.
fn read(asked: &Map<String, Value>, parent: &Value) -> Result<Value> {
    let given = |key: &str| asked.get(key).filter(|value| !value.is_null() && value.as_str() != Some(""));
    let protocol = match given("ip_protocol") {
        Some(Value::String(text)) if matches!(text.to_ascii_lowercase().as_str(), "tcp" | "udp" | "icmp") => text.to_ascii_lowercase(),
        Some(Value::String(text)) => return Err(Error::bad_request(format!("Invalid IP protocol {text}."))),
        _ => return Err(Error::bad_request("Ip protocol is required: one of tcp, udp, icmp.")),
    };
    let port = |key: &str| given(key).map(|value| validate::integer(key, value, -1, 65535)).transpose();
    let (from, to) = match (port("from_port")?, port("to_port")?) {
        (Some(from), Some(to)) => (from, to),
        _ => return Err(Error::bad_request("Valid ports are required: from_port and to_port.")),
    };
    if protocol != "icmp" && (from > to || from < 1) {
        return Err(Error::bad_request(format!("Invalid port range {from}:{to}. Former value cannot be greater than the later")));
    }
    let cidr = given("cidr").and_then(Value::as_str);
    let ethertype = if cidr.is_some_and(|cidr| cidr.contains(':')) { "IPv6" } else { "IPv4" };
    let group = given("group_id");
    let bound = |n: i64| if n < 0 { Value::Null } else { json!(n) };
    Ok(json!({
        "direction": "ingress", "security_group_id": parent, "ethertype": ethertype, "protocol": protocol,
        "port_range_min": bound(from), "port_range_max": bound(to), "remote_group_id": group,
        "remote_ip_prefix": if group.is_some() { None } else { Some(cidr.unwrap_or("0.0.0.0/0")) },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_become_neutrons() {
        let asked = |value: Value| value.as_object().cloned().unwrap();
        let tcp = asked(json!({"ip_protocol": "TCP", "from_port": "22", "to_port": 22, "cidr": null, "group_id": ""}));
        let rule = read(&tcp, &json!("g")).unwrap();
        assert_eq!(
            (&rule["protocol"], &rule["port_range_min"], &rule["remote_ip_prefix"]),
            (&json!("tcp"), &json!(22), &json!("0.0.0.0/0"))
        );
        let ping = asked(json!({"ip_protocol": "icmp", "from_port": -1, "to_port": -1, "cidr": "::/0"}));
        let rule = read(&ping, &json!("g")).unwrap();
        assert_eq!((&rule["ethertype"], &rule["port_range_max"]), (&json!("IPv6"), &Value::Null));
        for bad in [
            json!({}),
            json!({"ip_protocol": "ggp", "from_port": 1, "to_port": 2}),
            json!({"ip_protocol": "tcp", "from_port": 2, "to_port": 1}),
        ] {
            assert!(read(&asked(bad), &json!("g")).is_err());
        }
    }
}
