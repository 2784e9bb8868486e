//! The rules of security groups. They are made and deleted, never changed; the same rule exists once in a group.

use ipnet::IpNet;
use kit::clock::Timestamp;
use kit::{Context, Path, Reply, Result, ids};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Condition, ExprTrait, Query};
use serde_json::{Map, Value, json};

use super::Model as Group;
use crate::agents::Touched;
use crate::attributes::{Attribute, Checked, IfMatch, Input};
use crate::fault::{bad_request, conflict, invalid_input};
use crate::resource::{Resource, Seen, changeable, extend, insert, locked, missing, remove, save, seen, standard_view, with};
use crate::values::Kind;
use crate::{App, Tx, address_groups, listing, quotas, rbac, sql};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "security_group_rules")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub security_group_id: String,
    pub description: String,
    pub direction: String,
    pub ethertype: String,
    pub protocol: Option<String>,
    pub port_range_min: Option<i64>,
    pub port_range_max: Option<i64>,
    pub remote_ip_prefix: Option<String>,
    pub remote_group_id: Option<String>,
    pub remote_address_group_id: Option<String>,
    /// All that makes two rules the same rule.
    pub fingerprint: String,
    pub revision_number: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

const ETHERTYPES: &[&str] = &["IPv4", "IPv6"];

/// Protocols by name, with their numbers.
const PROTOCOLS: &[(&str, u8)] = &[
    ("ah", 51),
    ("dccp", 33),
    ("egp", 8),
    ("esp", 50),
    ("gre", 47),
    ("hopopt", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ip", 0),
    ("ipip", 4),
    ("ipv6-encap", 41),
    ("ipv6-frag", 44),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ipv6-route", 43),
    ("ospf", 89),
    ("pgm", 113),
    ("rsvp", 46),
    ("sctp", 132),
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("vrrp", 112),
];

impl Resource for Model {
    const KEY: &'static str = "security_group_rule";
    const PLURAL: &'static str = "security_group_rules";
    const TABLE: &'static str = "security_group_rules";
    const NOUN: &'static str = "Security group rule";
    const NOT_FOUND: &'static str = "SecurityGroupRuleNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[
        Attribute::fixed("security_group_id", Kind::Uuid).required(),
        Attribute::fixed("direction", Kind::OneOf(&["ingress", "egress"])).required(),
        Attribute::fixed("ethertype", Kind::OneOf(ETHERTYPES)),
        Attribute::fixed("protocol", Kind::TextOrNull(40)),
        Attribute::fixed("port_range_min", Kind::IntOrNull(i64::MIN, i64::MAX)),
        Attribute::fixed("port_range_max", Kind::IntOrNull(i64::MIN, i64::MAX)),
        Attribute::fixed("remote_ip_prefix", Kind::TextOrNull(64)),
        Attribute::fixed("remote_group_id", Kind::TextOrNull(255)),
        Attribute::fixed("remote_address_group_id", Kind::UuidOrNull),
    ];

    crate::standard!(untagged);

    /// A group comes with its rules, one's own and a shared one.
    fn visible(project: &str) -> Condition {
        let shared = rbac::objects("security_group", project);
        let mine = Query::select().column("id").from("security_groups").and_where(Expr::col("project_id").eq(project)).to_owned();
        Condition::any()
            .add(Column::ProjectId.eq(project))
            .add(Column::SecurityGroupId.in_subquery(mine))
            .add(Column::SecurityGroupId.in_subquery(shared))
    }

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let mut view = standard_view(&self.id, &self.project_id, &self.description, self.revision_number, self.created_at, self.updated_at);
        extend(
            &mut view,
            json!({
                "security_group_id": self.security_group_id, "direction": self.direction, "ethertype": self.ethertype,
                "protocol": self.protocol, "port_range_min": self.port_range_min, "port_range_max": self.port_range_max,
                "remote_ip_prefix": self.remote_ip_prefix, "remote_group_id": self.remote_group_id, "remote_address_group_id": self.remote_address_group_id,
                "normalized_cidr": self.normalized_cidr(), "belongs_to_default_sg": false,
            }),
        );
        view
    }

    async fn views(db: &DatabaseConnection, rows: Vec<Self>, seen: &Seen) -> Result<Vec<Map<String, Value>>> {
        let mut ids: Vec<String> = rows.iter().map(|rule| rule.security_group_id.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        let groups: Vec<Group> = with(db, "id", &ids).await?;
        let default = |rule: &Model| groups.iter().any(|group| group.id == rule.security_group_id && group.name == super::DEFAULT);
        let view = |rule: &Model| {
            let mut view = rule.view(seen);
            view.insert("belongs_to_default_sg".into(), json!(default(rule)));
            view
        };
        Ok(rows.iter().map(view).collect())
    }
}

impl Model {
    /// The remote prefix, which stays as it was written, without its host bits.
    pub fn normalized_cidr(&self) -> Option<IpNet> {
        self.remote_ip_prefix.as_ref()?.parse::<IpNet>().ok().map(|net| net.trunc())
    }
}

/// `POST /security-group-rules`
pub async fn create(app: App, ctx: Context, input: Input) -> Result<Reply> {
    let (bodies, bulk) = input.many(Model::KEY, Model::PLURAL)?;
    let mut rules = Vec::with_capacity(bodies.len());
    for mut body in bodies {
        // a protocol's number comes as a number or as text
        if let Some(number) = body.get("protocol").filter(|v| v.is_number()).map(ToString::to_string) {
            body.insert("protocol".into(), json!(number));
        }
        let same = |text: &str| ETHERTYPES.iter().find(|known| known.eq_ignore_ascii_case(text));
        if let Some(ethertype) = body.get("ethertype").and_then(Value::as_str).and_then(same) {
            body.insert("ethertype".into(), json!(ethertype));
        }
        rules.push(wanted(&Checked::create(&ctx, Model::KEY, Model::ATTRIBUTES, body)?)?);
    }
    let by = ctx.clone();
    let rules = app.write(move |tx| {
        Box::pin(async move {
            for rule in &rules {
                make(&tx, &by, rule).await?;
            }
            Ok(rules)
        })
    });
    listing::created(&app, &ctx, rules.await?, bulk).await
}

async fn make(tx: &Tx<'_>, ctx: &Context, rule: &Model) -> Result<()> {
    let mut group: Group = seen(tx.db, ctx, &rule.security_group_id).await?;
    if group.project_id != rule.project_id && !ctx.is_admin() {
        return Err(missing::<Group>(&rule.security_group_id));
    }
    if let Some(remote) = &rule.remote_group_id {
        seen::<Group, _>(tx.db, ctx, remote).await?;
    }
    if let Some(remote) = &rule.remote_address_group_id {
        seen::<address_groups::Model, _>(tx.db, ctx, remote).await?;
    }
    quotas::spend(tx, &rule.project_id, "security_group_rule", 1).await?;
    if !insert(tx.db, rule).await? {
        let same = "SELECT id FROM security_group_rules WHERE security_group_id = $1 AND fingerprint = $2";
        let same = sql::texts(tx.db, same, [rule.security_group_id.as_str().into(), rule.fingerprint.as_str().into()]).await?;
        let id = same.first().map(String::as_str).unwrap_or_default();
        return Err(conflict("SecurityGroupRuleExists", format!("Security group rule already exists. Rule id is {id}.")));
    }
    save(tx.db, &mut group).await?;
    tx.touch(Touched::Group(group.id));
    Ok(())
}

/// `DELETE /security-group-rules/{security_group_rule_id}`
pub async fn delete(app: App, ctx: Context, id: Path<String>, if_match: IfMatch) -> Result<Reply> {
    app.write(move |tx| {
        Box::pin(async move {
            let rule: Model = seen(tx.db, &ctx, &id.0).await?;
            // before its rule, as a group that goes with its rules
            let mut group: Group = locked(tx.db, &rule.security_group_id).await?;
            let rule: Model = changeable(tx.db, &ctx, "delete_security_group_rule", &id.0).await?;
            if_match.check(rule.revision_number)?;
            remove::<Model, _>(tx.db, &rule.id).await?;
            save(tx.db, &mut group).await?;
            tx.touch(Touched::Group(group.id));
            Ok(())
        })
    })
    .await?;
    Reply::no_content()
}

fn wanted(checked: &Checked) -> Result<Model> {
    let optional = |name: &str| checked.get::<Option<String>>(name).map(|value| value.flatten().filter(|text| !text.is_empty()));
    let port = |name: &str| checked.get::<Option<i64>>(name).map(Option::flatten);
    let now = Timestamp::now();
    let mut rule = Model {
        id: ids::uuid(),
        project_id: checked.text("project_id")?,
        security_group_id: checked.text("security_group_id")?,
        description: checked.text("description")?,
        direction: checked.text("direction")?,
        ethertype: checked.or("ethertype", "IPv4".to_owned())?,
        protocol: optional("protocol")?.filter(|p| !p.eq_ignore_ascii_case("any")),
        port_range_min: port("port_range_min")?,
        port_range_max: port("port_range_max")?,
        remote_ip_prefix: optional("remote_ip_prefix")?,
        remote_group_id: optional("remote_group_id")?,
        remote_address_group_id: optional("remote_address_group_id")?,
        fingerprint: String::new(),
        revision_number: 0,
        created_at: now,
        updated_at: now,
    };
    check(&mut rule)?;
    Ok(rule)
}

/// Whether a rule makes sense; brings it into the one form and says what makes it the same as another.
pub fn check(rule: &mut Model) -> Result<()> {
    check_protocol(rule)?;
    check_ports(rule)?;
    check_remote(rule)?;
    rule.fingerprint = fingerprint(rule);
    Ok(())
}

fn check_protocol(rule: &mut Model) -> Result<()> {
    let Some(protocol) = &rule.protocol else { return Ok(()) };
    let lower = protocol.to_ascii_lowercase();
    let known = PROTOCOLS.iter().any(|(name, _)| *name == lower) || lower.parse::<u8>().is_ok();
    if !known {
        let message = format!(
            "Security group rule protocol {protocol} not supported. Only protocol values and integer representations [0 to 255] are supported."
        );
        return Err(bad_request("SecurityGroupRuleInvalidProtocol", message));
    }
    if rule.ethertype == "IPv4"
        && (lower.starts_with("ipv6-") || matches!(lower.as_str(), "icmpv6" | "41" | "43" | "44" | "58" | "59" | "60"))
    {
        let message = format!("Invalid ethertype IPv4 for protocol {lower}.");
        return Err(bad_request("SecurityGroupEthertypeConflictWithProtocol", message));
    }
    rule.protocol = Some(lower);
    Ok(())
}

/// A protocol's number; ICMP of an IPv6 rule is ICMPv6.
fn protocol_number(rule: &Model) -> Option<u8> {
    let protocol = rule.protocol.as_deref()?;
    let number = protocol.parse().ok().or_else(|| PROTOCOLS.iter().find(|(name, _)| *name == protocol).map(|(_, number)| *number))?;
    Some(if number == 1 && rule.ethertype == "IPv6" { 58 } else { number })
}

fn check_ports(rule: &Model) -> Result<()> {
    let (min, max) = (rule.port_range_min, rule.port_range_max);
    if min.is_none() && max.is_none() {
        return Ok(());
    }
    if let Some(wrong) = [min, max].into_iter().flatten().find(|n| !(0..=65_535).contains(n)) {
        return Err(bad_request("SecurityGroupInvalidPortValue", format!("Invalid value for port {wrong}")));
    }
    match protocol_number(rule) {
        None | Some(0) => Err(bad_request("SecurityGroupProtocolRequiredWithPorts", "Must also specify protocol if port range is given.")),
        Some(1 | 58) => {
            let fields = [("type", "port-range-min", min), ("code", "port-range-max", max)];
            if let Some((field, name, Some(wrong))) = fields.into_iter().find(|(_, _, n)| n.is_some_and(|n| n > 255)) {
                let message = format!("Invalid value for ICMP {field} ({name}) {wrong}. It must be 0 to 255.");
                return Err(bad_request("SecurityGroupInvalidIcmpValue", message));
            }
            if min.is_none() {
                let message = format!(
                    "ICMP code (port-range-max) {} is provided but ICMP type (port-range-min) is missing.",
                    max.unwrap_or_default()
                );
                return Err(bad_request("SecurityGroupMissingIcmpType", message));
            }
            Ok(())
        }
        Some(6 | 17 | 33 | 132 | 136) => match (min, max) {
            (Some(0), _) | (_, Some(0)) => Err(bad_request("SecurityGroupInvalidPortValue", "Invalid value for port 0")),
            (Some(min), Some(max)) if min <= max => Ok(()),
            _ => Err(bad_request("SecurityGroupInvalidPortRange", "For TCP/UDP protocols, port_range_min must be <= port_range_max")),
        },
        Some(_) => {
            let protocol = rule.protocol.as_deref().unwrap_or_default();
            Err(bad_request("SecurityGroupInvalidProtocolForPort", format!("Protocol {protocol} does not support port ranges.")))
        }
    }
}

fn check_remote(rule: &mut Model) -> Result<()> {
    let remotes = [rule.remote_ip_prefix.is_some(), rule.remote_group_id.is_some(), rule.remote_address_group_id.is_some()];
    if remotes.into_iter().filter(|there| *there).count() > 1 {
        let message = "Only remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.";
        return Err(bad_request("SecurityGroupRemoteGroupAndRemoteIpPrefix", message));
    }
    let Some(prefix) = &rule.remote_ip_prefix else { return Ok(()) };
    let net: IpNet = crate::values::cidr(&json!(prefix)).map_err(invalid_input)?;
    if net.addr().is_ipv4() != (rule.ethertype == "IPv4") {
        let message = format!("Conflicting value ethertype {} for CIDR {prefix}", rule.ethertype);
        return Err(bad_request("SecurityGroupRuleParameterConflict", message));
    }
    rule.remote_ip_prefix = Some(net.to_string());
    Ok(())
}

fn fingerprint(rule: &Model) -> String {
    // everybody is nobody in particular
    let prefix = rule.normalized_cidr().filter(|net| net.prefix_len() > 0).map(|net| net.to_string());
    let number = |n: Option<i64>| n.map(|n| n.to_string()).unwrap_or_default();
    format!(
        "{}|{}|{}|{}|{}|{}|{}{}",
        rule.direction,
        rule.ethertype,
        protocol_number(rule).map(|n| n.to_string()).unwrap_or_default(),
        number(rule.port_range_min),
        number(rule.port_range_max),
        prefix.as_deref().unwrap_or_default(),
        rule.remote_group_id.as_deref().unwrap_or_default(),
        rule.remote_address_group_id.as_deref().map(|id| format!("|{id}")).unwrap_or_default()
    )
}
