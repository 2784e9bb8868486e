//! The values of attributes: what is accepted, in which spellings, and the one form in which it is kept.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

/// How a refusal of what is no number ends.
pub const NO_INTEGER: &str = "is not an integer";

/// What an attribute may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    BoolOrNull,
    Int(i64, i64),
    /// A number, as such or as text, or null.
    IntOrNull(i64, i64),
    /// 4 or 6.
    IpVersion,
    /// Text up to so many characters.
    Text(usize),
    /// The same, or null.
    TextOrNull(usize),
    /// The same; null is the empty one.
    TextOrEmpty(usize),
    /// A host's name, or nothing.
    DnsName,
    /// A domain that ends with a dot, or nothing.
    DnsDomain,
    Uuid,
    UuidOrNull,
    /// Ids; null is an empty list.
    Uuids,
    IpOrNull,
    Ips,
    /// Host bits are cut off.
    CidrOrNull,
    Cidrs,
    /// The same, with their lengths said.
    Prefixes,
    /// Null is any.
    MacOrNull,
    /// One of these words.
    OneOf(&'static [&'static str]),
    OneOfOrNull(&'static [&'static str]),
    /// Words, without a duplicate.
    Words,
    Routes,
    Pools,
    FixedIps,
    AddressPairs,
    DhcpOptions,
    SubPorts,
    /// What carries a network, in parts.
    Segments,
    /// `80:90`
    PortRange,
    ObjectOrNull,
    /// What is said to backends: `{"openvswitch": {"other_config": {"tx-steering": "hash"}}}`, or null.
    Hints,
}

/// The value as it is kept, or why it is refused.
pub fn normalize(kind: Kind, value: Value) -> Result<Value, String> {
    match kind {
        Kind::BoolOrNull if value.is_null() => Ok(value),
        Kind::Bool | Kind::BoolOrNull => {
            boolean(&value).map(Value::Bool).ok_or_else(|| format!("'{}' cannot be converted to boolean", plain(&value)))
        }
        Kind::Text(max) => text(&value, max).map(Value::from),
        Kind::TextOrEmpty(_) | Kind::DnsName | Kind::DnsDomain if value.is_null() => Ok(json!("")),
        Kind::TextOrEmpty(max) => text(&value, max).map(Value::from),
        Kind::DnsName => dns(&value, false).map(Value::from),
        Kind::DnsDomain => dns(&value, true).map(Value::from),
        Kind::Uuid => uuid(&value).map(Value::from),
        Kind::IntOrNull(..)
        | Kind::TextOrNull(_)
        | Kind::UuidOrNull
        | Kind::IpOrNull
        | Kind::CidrOrNull
        | Kind::OneOfOrNull(_)
        | Kind::MacOrNull
        | Kind::ObjectOrNull
        | Kind::Hints
            if value.is_null() =>
        {
            Ok(value)
        }
        Kind::Int(min, max) | Kind::IntOrNull(min, max) => int(&value, min, max),
        Kind::IpVersion => match int(&value, i64::MIN, i64::MAX)? {
            version if version == json!(4) || version == json!(6) => Ok(version),
            other => Err(format!("'{other}' is not in [4, 6]")),
        },
        Kind::TextOrNull(max) => text(&value, max).map(Value::from),
        Kind::UuidOrNull => uuid(&value).map(Value::from),
        Kind::IpOrNull => ip(&value).map(|ip| json!(ip)),
        Kind::Uuids => list(value, |item| uuid(&item).map(Value::from)),
        Kind::Ips => list(value, |item| ip(&item).map(|ip| json!(ip))),
        Kind::CidrOrNull => cidr(&value).map(|cidr| json!(cidr.trunc())),
        Kind::Cidrs => list(value, |item| cidr(&item).map(|cidr| json!(cidr.trunc()))),
        Kind::Prefixes => list(value, |item| match item.as_str() {
            Some(text) if text.contains('/') => cidr(&item).map(|cidr| json!(cidr.trunc())),
            _ => Err(format!("'{}' isn't a recognized IP subnet cidr", plain(&item))),
        }),
        Kind::MacOrNull => mac(&value).map(Value::from),
        Kind::OneOf(words) | Kind::OneOfOrNull(words) => {
            let word = plain(&value);
            if words.contains(&word.as_str()) { Ok(json!(word)) } else { Err(format!("'{word}' is not in ['{}']", words.join("', '"))) }
        }
        Kind::Words => list(value, |item| text(&item, 255).map(Value::from)),
        Kind::Routes => list(value, |item| object(item, &["destination", "nexthop"], route)),
        // null is no list of these: an empty one means none
        Kind::Pools | Kind::FixedIps if value.is_null() => Err("'None' is not a list".into()),
        Kind::Pools => list(value, |item| object(item, &["start", "end"], pool)),
        Kind::FixedIps => list(value, |item| object(item, &["subnet_id", "ip_address"], fixed_ip)),
        Kind::AddressPairs => list(value, |item| object(item, &["ip_address", "mac_address"], address_pair)),
        Kind::DhcpOptions => list(value, |item| object(item, &["opt_name", "opt_value", "ip_version"], dhcp_option)),
        Kind::Segments => each(value, |item| object(item, SEGMENT, segment)),
        Kind::PortRange => port_range(&value).map(Value::from),
        Kind::SubPorts => list(value, |item| object(item, &["port_id", "segmentation_type", "segmentation_id"], sub_port)),
        Kind::Hints => object(value, &["openvswitch"], |hints| within(hints, "openvswitch", &["other_config"], other_config)),
        Kind::ObjectOrNull => {
            if value.is_object() {
                Ok(value)
            } else {
                Err(format!("'{}' is not a dictionary", plain(&value)))
            }
        }
    }
}

/// Neutron's booleans: JSON's, and the words and numbers old clients send.
pub fn boolean(value: &Value) -> Option<bool> {
    match plain(value).trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// `fa:16:3e:` and three random bytes.
pub fn random_mac() -> String {
    let [a, b, c]: [u8; 3] = rand::random();
    format!("fa:16:3e:{a:02x}:{b:02x}:{c:02x}")
}

/// A value as neutron's messages write it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn int(value: &Value, min: i64, max: i64) -> Result<Value, String> {
    let number = plain(value).parse::<i64>().map_err(|_| format!("'{}' {NO_INTEGER}", plain(value)))?;
    if number < min {
        return Err(format!("'{number}' is too small - must be at least '{min}'"));
    }
    if number > max {
        return Err(format!("'{number}' is too large - must be no larger than '{max}'"));
    }
    Ok(json!(number))
}

fn text(value: &Value, max: usize) -> Result<String, String> {
    let text = value.as_str().ok_or_else(|| format!("'{}' is not a valid string", plain(value)))?;
    // PostgreSQL keeps no such text
    if text.contains('\0') {
        return Err("it contains a null character".into());
    }
    if text.chars().count() > max {
        return Err(format!("'{text}' exceeds maximum length of {max}"));
    }
    Ok(text.to_owned())
}

/// Labels of letters, digits and hyphens.
fn dns(value: &Value, domain: bool) -> Result<String, String> {
    let name = text(value, 255)?;
    if name.is_empty() {
        return Ok(name);
    }
    if domain && !name.ends_with('.') {
        return Err(format!("'{name}' is not a FQDN: it does not end with '.'"));
    }
    let label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        inner && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.trim_end_matches('.').split('.').all(label) {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(format!("'{name}' not a valid PQDN or FQDN"))
    }
}

/// A port is a range of one.
fn port_range(value: &Value) -> Result<String, String> {
    let text = plain(value);
    let refuse = || format!("'{text}' is not a valid port range");
    let (first, last) = text.split_once(':').unwrap_or((&text, &text));
    let (first, last) = (first.parse::<u16>().map_err(|_| refuse())?, last.parse::<u16>().map_err(|_| refuse())?);
    if first == 0 || first > last { Err(refuse()) } else { Ok(format!("{first}:{last}")) }
}

fn uuid(value: &Value) -> Result<String, String> {
    value.as_str().and_then(kit::ids::parse_uuid).ok_or_else(|| format!("'{}' is not a valid UUID", plain(value)))
}

fn ip(value: &Value) -> Result<IpAddr, String> {
    let address = value.as_str().and_then(|text| text.parse().ok());
    address.ok_or_else(|| format!("'{}' is not a valid IP address", plain(value)))
}

/// A prefix; a bare address is the prefix of one.
pub fn cidr(value: &Value) -> Result<IpNet, String> {
    let text = value.as_str().unwrap_or_default();
    let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    net.ok_or_else(|| format!("'{}' is not a valid IP subnet", plain(value)))
}

fn mac(value: &Value) -> Result<String, String> {
    let refuse = || format!("'{}' is not a valid MAC address", plain(value));
    let text = value.as_str().unwrap_or_default().to_ascii_lowercase().replace('-', ":");
    let bytes: Vec<u8> = text.split(':').filter(|p| p.len() == 2).filter_map(|p| u8::from_str_radix(p, 16).ok()).collect();
    match bytes.as_slice() {
        // group addresses and the empty one are nobody's
        [first, ..] if bytes.len() == 6 && text.len() == 17 && first & 1 == 0 && bytes.iter().any(|b| *b != 0) => Ok(text),
        _ => Err(refuse()),
    }
}

fn items(value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => Ok(items),
        other => Err(format!("'{}' is not a list", plain(&other))),
    }
}

/// Each of them, also of those that are the same.
fn each(value: Value, check: impl Fn(Value) -> Result<Value, String>) -> Result<Value, String> {
    items(value)?.into_iter().map(check).collect::<Result<Vec<Value>, String>>().map(Value::Array)
}

fn list(value: Value, each: impl Fn(Value) -> Result<Value, String>) -> Result<Value, String> {
    let items = items(value)?;
    let mut out: Vec<Value> = Vec::with_capacity(items.len());
    for item in items {
        let item = each(item)?;
        // two wishes for any address of one subnet are two wishes
        if out.contains(&item) && item.get("subnet_id").is_none() {
            return Err(format!("Duplicate items in the list: '{}'", plain(&item)));
        }
        out.push(item);
    }
    Ok(Value::Array(out))
}

type Fields = Map<String, Value>;

fn object(value: Value, keys: &[&str], check: impl Fn(Fields) -> Result<Fields, String>) -> Result<Value, String> {
    let Value::Object(fields) = value else { return Err(format!("'{}' is not a dictionary", plain(&value))) };
    if let Some(unknown) = fields.keys().find(|key| !keys.contains(&key.as_str())) {
        return Err(format!("Unexpected key '{unknown}'; expected are {}", keys.join(", ")));
    }
    check(fields).map(Value::Object)
}

fn route(mut fields: Fields) -> Result<Fields, String> {
    let destination = cidr(fields.get("destination").unwrap_or(&Value::Null))?;
    let nexthop = ip(fields.get("nexthop").unwrap_or(&Value::Null))?;
    fields.insert("destination".into(), json!(destination));
    fields.insert("nexthop".into(), json!(nexthop));
    Ok(fields)
}

fn pool(mut fields: Fields) -> Result<Fields, String> {
    for key in ["start", "end"] {
        let address = ip(fields.get(key).unwrap_or(&Value::Null))?;
        fields.insert(key.into(), json!(address));
    }
    Ok(fields)
}

fn fixed_ip(mut fields: Fields) -> Result<Fields, String> {
    fields.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
    if let Some(subnet) = fields.get("subnet_id") {
        let subnet = uuid(subnet)?;
        fields.insert("subnet_id".into(), json!(subnet));
    }
    if let Some(address) = fields.get("ip_address") {
        let address = ip(address)?;
        fields.insert("ip_address".into(), json!(address));
    }
    if fields.is_empty() { Err("IP allocation requires subnet_id or ip_address".into()) } else { Ok(fields) }
}

fn address_pair(mut fields: Fields) -> Result<Fields, String> {
    let address = fields.get("ip_address").ok_or("AllowedAddressPair must contain ip_address")?;
    if cidr(address)?.addr().is_multicast() {
        return Err(format!("'{}' is a multicast address", plain(address)));
    }
    if let Some(address) = fields.get("mac_address").filter(|m| !m.is_null()) {
        let address = mac(address)?;
        fields.insert("mac_address".into(), json!(address));
    }
    Ok(fields)
}

/// An object as the value of a key, if it has that.
fn within(mut fields: Fields, key: &str, keys: &[&str], check: fn(Fields) -> Result<Fields, String>) -> Result<Fields, String> {
    if let Some(value) = fields.remove(key) {
        fields.insert(key.to_owned(), object(value, keys, check)?);
    }
    Ok(fields)
}

fn other_config(fields: Fields) -> Result<Fields, String> {
    within(fields, "other_config", &["tx-steering"], |config| match config.get("tx-steering").map(plain).as_deref() {
        None | Some("thread" | "hash") => Ok(config),
        Some(other) => Err(format!("'{other}' is not in ['thread', 'hash']")),
    })
}

/// The keys of a segment.
const SEGMENT: &[&str] = &["provider:network_type", "provider:physical_network", "provider:segmentation_id"];

/// Clients write "" and 0 for what they do not say.
fn segment(mut fields: Fields) -> Result<Fields, String> {
    fields.retain(|_, value| !value.is_null() && value != "" && value != 0);
    if let Some(id) = fields.get("provider:segmentation_id") {
        let id = int(id, 1, i64::MAX)?;
        fields.insert("provider:segmentation_id".into(), id);
    }
    Ok(fields)
}

fn sub_port(mut fields: Fields) -> Result<Fields, String> {
    let port = uuid(fields.get("port_id").unwrap_or(&Value::Null))?;
    fields.insert("port_id".into(), json!(port));
    fields.retain(|_, value| !value.is_null());
    if let Some(id) = fields.get("segmentation_id") {
        let id = int(id, 0, i64::from(u32::MAX))?;
        fields.insert("segmentation_id".into(), id);
    }
    if fields.get("segmentation_type").is_some_and(|kind| !kind.is_string()) {
        return Err("segmentation_type is not a valid string".into());
    }
    Ok(fields)
}

fn dhcp_option(fields: Fields) -> Result<Fields, String> {
    let name = text(fields.get("opt_name").unwrap_or(&Value::Null), 64)?;
    if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!("'{name}' is not a valid option name"));
    }
    match fields.get("opt_value") {
        None | Some(Value::Null) => {}
        Some(value) => {
            let value = text(value, 255)?;
            // it ends up in a line of a file
            if value.chars().any(char::is_control) {
                return Err("opt_value contains control characters".into());
            }
        }
    }
    match fields.get("ip_version") {
        None | Some(Value::Null) => Ok(fields),
        Some(version) if matches!(plain(version).as_str(), "4" | "6") => Ok(fields),
        Some(version) => Err(format!("'{}' is not in [4, 6]", plain(version))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_come_to_one_form() {
        assert_eq!(normalize(Kind::Bool, json!("True")), Ok(json!(true)));
        assert_eq!(normalize(Kind::Int(0, 10), json!("7")), Ok(json!(7)));
        assert_eq!(normalize(Kind::CidrOrNull, json!("10.1.2.3/24")), Ok(json!("10.1.2.0/24")));
        assert_eq!(normalize(Kind::MacOrNull, json!("FA-16-3E-00-00-01")), Ok(json!("fa:16:3e:00:00:01")));
        assert_eq!(normalize(Kind::Uuids, Value::Null), Ok(json!([])));
        assert_eq!(normalize(Kind::IpOrNull, json!("FD00::0001")), Ok(json!("fd00::1")));
    }

    #[test]
    fn nonsense_is_refused() {
        for (kind, value) in [
            (Kind::Bool, json!("maybe")),
            (Kind::Int(1, 5), json!(9)),
            (Kind::Uuid, json!("x")),
            (Kind::MacOrNull, json!("01:00:5e:00:00:01")),
            (Kind::MacOrNull, json!("00:00:00:00:00:00")),
            (Kind::Text(2), json!("abc")),
            (Kind::FixedIps, json!([{}])),
            (Kind::FixedIps, json!([{"bad": 1}])),
            (Kind::Ips, json!("10.0.0.1")),
            (Kind::Ips, json!(["10.0.0.1", "10.0.0.1"])),
            (Kind::Hints, json!({"ovn": {}})),
            (Kind::Hints, json!({"openvswitch": {"other_config": {"tx-steering": "both"}}})),
        ] {
            assert!(normalize(kind, value.clone()).is_err(), "{value}");
        }
    }
}
