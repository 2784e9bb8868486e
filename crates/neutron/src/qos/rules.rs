//! The rules of a policy, `/qos/policies/{policy_id}/bandwidth_limit_rules` and the like: one of a kind for each direction.

use kit::policy::Target;
use kit::{Context, Error, Path, Query, Reply, Result, ids};
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

use super::{policies, promises, touch_users};
use crate::attributes::{Attribute, Checked, ID, Input};
use crate::fault::{conflict, enforce};
use crate::listing::select_fields;
use crate::resource::{Resource, Seen, changeable, fetch, insert, missing, remove, save, seen, with};
use crate::values::Kind;
use crate::{App, Tx};

pub const BANDWIDTH_LIMIT: &str = "bandwidth_limit";
pub const DSCP_MARKING: &str = "dscp_marking";
pub const MINIMUM_BANDWIDTH: &str = "minimum_bandwidth";
pub const PACKET_RATE_LIMIT: &str = "packet_rate_limit";
pub const MINIMUM_PACKET_RATE: &str = "minimum_packet_rate";

/// Code points that mean something.
const DSCP_MARKS: &[i64] = &[0, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 46, 48, 56];
/// Of whatever a second.
const MOST: i64 = 2_147_483_647;
const DIRECTIONS: &[&str] = &["egress", "ingress"];
/// Both together.
const ANY: &str = "any";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "qos_rules")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub policy_id: String,
    pub rule_type: String,
    /// Empty for kinds that have none.
    pub direction: String,
    pub max_kbps: Option<i64>,
    pub max_burst_kbps: Option<i64>,
    pub min_kbps: Option<i64>,
    pub dscp_mark: Option<i64>,
    pub max_kpps: Option<i64>,
    pub max_burst_kpps: Option<i64>,
    pub min_kpps: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "qos_rule";
    const PLURAL: &'static str = "qos_rules";
    const TABLE: &'static str = "qos_rules";
    const NOUN: &'static str = "QoS rule";
    const NOT_FOUND: &'static str = "QosRuleNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[ID];

    type Table = Entity;

    fn id(&self) -> &str {
        &self.id
    }

    /// A rule is its policy's owner's.
    fn project_id(&self) -> &str {
        ""
    }

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let own = match self.rule_type.as_str() {
            BANDWIDTH_LIMIT => json!({
                "max_kbps": self.max_kbps, "max_burst_kbps": self.max_burst_kbps.unwrap_or_default(), "direction": self.direction,
            }),
            MINIMUM_BANDWIDTH => json!({"min_kbps": self.min_kbps, "direction": self.direction}),
            MINIMUM_PACKET_RATE => json!({"min_kpps": self.min_kpps, "direction": self.direction}),
            PACKET_RATE_LIMIT => json!({
                "max_kpps": self.max_kpps, "max_burst_kpps": self.max_burst_kpps.unwrap_or_default(), "direction": self.direction,
            }),
            _ => json!({"dscp_mark": self.dscp_mark}),
        };
        let Value::Object(mut view) = own else { return Map::new() };
        view.insert("id".into(), json!(self.id));
        view
    }
}

impl Model {
    /// As its policy shows it.
    pub fn in_policy(&self) -> Value {
        let mut view = self.view(&Seen { admin: false, project: String::new() });
        view.insert("type".into(), json!(self.rule_type));
        view.insert("qos_policy_id".into(), json!(self.policy_id));
        Value::Object(view)
    }
}

/// A kind of rule.
pub trait RuleKind: Send + Sync + 'static {
    const TYPE: &'static str;
    /// The key of a body.
    const KEY: &'static str;
    const PLURAL: &'static str;
    const ATTRIBUTES: &'static [Attribute];
    /// When none is said; kinds that have none say nothing.
    const DIRECTION: &'static str = "egress";
}

pub struct BandwidthLimit;
pub struct DscpMarking;
pub struct MinimumBandwidth;
pub struct PacketRateLimit;
pub struct MinimumPacketRate;

impl RuleKind for BandwidthLimit {
    const TYPE: &'static str = BANDWIDTH_LIMIT;
    const KEY: &'static str = "bandwidth_limit_rule";
    const PLURAL: &'static str = "bandwidth_limit_rules";
    const ATTRIBUTES: &'static [Attribute] = &[
        ID,
        Attribute::writable("max_kbps", Kind::Int(0, MOST)).required(),
        Attribute::writable("max_burst_kbps", Kind::Int(0, MOST)),
        Attribute::writable("direction", Kind::OneOf(DIRECTIONS)),
    ];
}

impl RuleKind for DscpMarking {
    const TYPE: &'static str = DSCP_MARKING;
    const KEY: &'static str = "dscp_marking_rule";
    const PLURAL: &'static str = "dscp_marking_rules";
    const ATTRIBUTES: &'static [Attribute] = &[ID, Attribute::writable("dscp_mark", Kind::Int(0, 56)).required()];
    const DIRECTION: &'static str = "";
}

impl RuleKind for MinimumBandwidth {
    const TYPE: &'static str = MINIMUM_BANDWIDTH;
    const KEY: &'static str = "minimum_bandwidth_rule";
    const PLURAL: &'static str = "minimum_bandwidth_rules";
    const ATTRIBUTES: &'static [Attribute] =
        &[ID, Attribute::writable("min_kbps", Kind::Int(0, MOST)).required(), Attribute::writable("direction", Kind::OneOf(DIRECTIONS))];
}

impl RuleKind for PacketRateLimit {
    const TYPE: &'static str = PACKET_RATE_LIMIT;
    const KEY: &'static str = "packet_rate_limit_rule";
    const PLURAL: &'static str = "packet_rate_limit_rules";
    const ATTRIBUTES: &'static [Attribute] = &[
        ID,
        Attribute::writable("max_kpps", Kind::Int(0, MOST)).required(),
        Attribute::writable("max_burst_kpps", Kind::Int(0, MOST)),
        Attribute::writable("direction", Kind::OneOf(DIRECTIONS)),
    ];
}

impl RuleKind for MinimumPacketRate {
    const TYPE: &'static str = MINIMUM_PACKET_RATE;
    const KEY: &'static str = "minimum_packet_rate_rule";
    const PLURAL: &'static str = "minimum_packet_rate_rules";
    const ATTRIBUTES: &'static [Attribute] = &[
        ID,
        Attribute::writable("min_kpps", Kind::Int(0, MOST)).required(),
        Attribute::writable("direction", Kind::OneOf(&[ANY, "egress", "ingress"])),
    ];
    const DIRECTION: &'static str = ANY;
}

/// `GET .../{kind}_rules`
pub async fn list<K: RuleKind>(app: App, ctx: Context, policy: Path<String>, query: Query) -> Result<Reply> {
    let db = app.db().read();
    seen::<policies::Model, _>(db, &ctx, &policy.0).await?;
    let mut rules: Vec<Model> = with(db, "policy_id", &[policy.0]).await?;
    rules.retain(|rule| rule.rule_type == K::TYPE);
    rules.sort_by(|a, b| a.id.cmp(&b.id));
    let mut views: Vec<Map<String, Value>> = rules.iter().map(|rule| rule.view(&Seen::from(&ctx))).collect();
    for key in ["id", "direction", "max_kbps", "max_burst_kbps", "min_kbps", "dscp_mark", "max_kpps", "max_burst_kpps", "min_kpps"] {
        let wanted: Vec<&str> = query.all(key).collect();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        views.retain(|view| wanted.is_empty() || view.get(key).is_some_and(|value| wanted.contains(&text(value).as_str())));
    }
    select_fields(&mut views, &query);
    Reply::ok(&json!({K::PLURAL: views}))
}

/// `POST .../{kind}_rules`
pub async fn create<K: RuleKind>(app: App, ctx: Context, policy: Path<String>, input: Input) -> Result<Reply> {
    let mut body = input.one(K::KEY)?;
    // clients name the owner, who is the policy's
    body.remove("tenant_id");
    body.remove("project_id");
    let checked = Checked::inner(K::ATTRIBUTES, body)?;
    // whose role does not do even for a policy of their own need not know whether there is this one
    enforce(&ctx, "create_policy_rule", &Target::project(ctx.project_id()?))?;
    let by = ctx.clone();
    let rule = app.write(move |tx| {
        Box::pin(async move {
            let mut policy = changeable::<policies::Model, _>(tx.db, &by, "create_policy_rule", &policy.0).await?;
            check_promises::<K>(&tx, &policy).await?;
            let mut rule = Model {
                id: ids::uuid(),
                policy_id: policy.id.clone(),
                rule_type: K::TYPE.to_owned(),
                direction: K::DIRECTION.to_owned(),
                max_kbps: None,
                max_burst_kbps: None,
                min_kbps: None,
                dscp_mark: None,
                max_kpps: None,
                max_burst_kpps: None,
                min_kpps: None,
            };
            apply(&mut rule, &checked)?;
            check_untaken(&tx, &rule).await?;
            if !insert(tx.db, &rule).await? {
                return Err(taken(&rule, ""));
            }
            save(tx.db, &mut policy).await?;
            touch_users(&tx, &policy.id).await?;
            Ok(rule)
        })
    });
    Reply::created(&json!({K::KEY: rule.await?.view(&Seen::from(&ctx))}))
}

/// `GET .../{kind}_rules/{rule_id}`
pub async fn show<K: RuleKind>(app: App, ctx: Context, path: Path<(String, String)>) -> Result<Reply> {
    let db = app.db().read();
    let (policy, id) = path.0;
    seen::<policies::Model, _>(db, &ctx, &policy).await?;
    let rule = fetch::<Model, _>(db, &id).await?.filter(|rule| rule.rule_type == K::TYPE && rule.policy_id == policy);
    Reply::ok(&json!({K::KEY: rule.ok_or_else(|| unknown(&policy, &id))?.view(&Seen::from(&ctx))}))
}

/// `PUT .../{kind}_rules/{rule_id}`
pub async fn update<K: RuleKind>(app: App, ctx: Context, path: Path<(String, String)>, input: Input) -> Result<Reply> {
    let checked = Checked::update(K::ATTRIBUTES, input.one(K::KEY)?)?;
    let by = ctx.clone();
    let rule = app.write(move |tx| {
        Box::pin(async move {
            let (policy, id) = path.0;
            let (mut policy, before) = own_rule::<K>(&tx, &by, &policy, &id, "update").await?;
            let mut rule = before.clone();
            apply(&mut rule, &checked)?;
            if rule != before {
                check_promises::<K>(&tx, &policy).await?;
                check_untaken(&tx, &rule).await?;
                save(tx.db, &mut rule).await?;
                save(tx.db, &mut policy).await?;
                touch_users(&tx, &policy.id).await?;
            }
            Ok(rule)
        })
    });
    Reply::ok(&json!({K::KEY: rule.await?.view(&Seen::from(&ctx))}))
}

/// `DELETE .../{kind}_rules/{rule_id}`
pub async fn delete<K: RuleKind>(app: App, ctx: Context, path: Path<(String, String)>) -> Result<Reply> {
    app.write(move |tx| {
        Box::pin(async move {
            let (policy, id) = path.0;
            let (mut policy, rule) = own_rule::<K>(&tx, &ctx, &policy, &id, "delete").await?;
            check_promises::<K>(&tx, &policy).await?;
            remove::<Model, _>(tx.db, &rule.id).await?;
            save(tx.db, &mut policy).await?;
            touch_users(&tx, &policy.id).await
        })
    })
    .await?;
    Reply::no_content()
}

/// The policy of a rule, for the paths that name only the rule.
async fn policy_of(app: &App, rule: String) -> Result<Path<(String, String)>> {
    let found: Option<Model> = fetch(app.db().read(), &rule).await?;
    let policy = found.ok_or_else(|| missing::<Model>(&rule))?.policy_id;
    Ok(Path((policy, rule)))
}

/// `GET /qos/alias-{kind}-rules/{rule_id}`
pub async fn show_alias<K: RuleKind>(app: App, ctx: Context, id: Path<String>) -> Result<Reply> {
    let path = policy_of(&app, id.0).await?;
    show::<K>(app, ctx, path).await
}

/// `PUT /qos/alias-{kind}-rules/{rule_id}`
pub async fn update_alias<K: RuleKind>(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let path = policy_of(&app, id.0).await?;
    update::<K>(app, ctx, path, input).await
}

/// `DELETE /qos/alias-{kind}-rules/{rule_id}`
pub async fn delete_alias<K: RuleKind>(app: App, ctx: Context, id: Path<String>) -> Result<Reply> {
    let path = policy_of(&app, id.0).await?;
    delete::<K>(app, ctx, path).await
}

async fn own_rule<K: RuleKind>(tx: &Tx<'_>, ctx: &Context, policy: &str, id: &str, verb: &str) -> Result<(policies::Model, Model)> {
    let policy: policies::Model = changeable(tx.db, ctx, &format!("{verb}_policy_rule"), policy).await?;
    let rule = fetch::<Model, _>(tx.db, id).await?.filter(|rule| rule.rule_type == K::TYPE && rule.policy_id == policy.id);
    let rule = rule.ok_or_else(|| unknown(&policy.id, id))?;
    Ok((policy, rule))
}

/// What ports were promised stays.
async fn check_promises<K: RuleKind>(tx: &Tx<'_>, policy: &policies::Model) -> Result<()> {
    if [MINIMUM_BANDWIDTH, MINIMUM_PACKET_RATE].contains(&K::TYPE) { promises::check_unkept(tx, &policy.id).await } else { Ok(()) }
}

fn apply(rule: &mut Model, checked: &Checked) -> Result<()> {
    checked.set("direction", &mut rule.direction)?;
    for (name, place) in [
        ("max_kbps", &mut rule.max_kbps),
        ("max_burst_kbps", &mut rule.max_burst_kbps),
        ("min_kbps", &mut rule.min_kbps),
        ("dscp_mark", &mut rule.dscp_mark),
        ("max_kpps", &mut rule.max_kpps),
        ("max_burst_kpps", &mut rule.max_burst_kpps),
        ("min_kpps", &mut rule.min_kpps),
    ] {
        if let Some(number) = checked.get::<i64>(name)? {
            *place = Some(number);
        }
    }
    match rule.dscp_mark {
        Some(mark) if !DSCP_MARKS.contains(&mark) => {
            Err(crate::fault::invalid_attribute("dscp_mark", format!("'{mark}' is not in {DSCP_MARKS:?}")))
        }
        _ => Ok(()),
    }
}

/// One rule of a kind for each direction; one for both is that of each.
async fn check_untaken(tx: &Tx<'_>, rule: &Model) -> Result<()> {
    let rules: Vec<Model> = with(tx.db, "policy_id", std::slice::from_ref(&rule.policy_id)).await?;
    let crosses = |other: &&Model| {
        let same = other.direction == rule.direction || other.direction == ANY || rule.direction == ANY;
        other.rule_type == rule.rule_type && same && other.id != rule.id
    };
    rules.iter().find(crosses).map_or(Ok(()), |other| Err(taken(rule, &other.id)))
}

fn taken(rule: &Model, by: &str) -> Error {
    let message = format!("Rule {} conflicts with rule {by} which already exists in QoS Policy {}.", rule.rule_type, rule.policy_id);
    conflict("QoSRulesConflict", message)
}

fn unknown(policy: &str, id: &str) -> Error {
    Error::not_found(format!("QoS rule {id} for policy {policy} could not be found.")).code("QosRuleNotFound")
}
