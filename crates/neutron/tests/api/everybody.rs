//! Every operation of the API as everybody: `operations.txt` is the API's own list of operations with who may do them, and each line of it is
//! tried as nobody, reader, member, manager, another project's member, service and administrator, about things of the project `demo`.
//!
//! Who: `*` any token, `R` readers of the project, `M` its members, `G` its managers, `S` services, `A` administrators, who may everything.
//! A third word is the extension that an operation came with: without it the operation is not there at all.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Agent, Cloud, DEMO, cloud, id};

const OPERATIONS: &str = include_str!("operations.txt");
const NOWHERE: &str = "0badf00d-0000-4000-8000-00000000dead";

/// What belongs to no project: all may read it.
const COMMON: &[&str] = &["/extensions", "/default-security-group-rules", "/flavors"];

/// Tokens, and the letters of what these may. Services are users' deputies besides, which says nothing about a project's things.
const PERSONAS: &[(&str, &str)] = &[
    ("", ""),
    ("demo/reader", "*R"),
    ("demo/member", "*RM"),
    ("demo/manager", "*RMG"),
    ("other/manager", "*RMG"),
    ("service/service", "*S"),
    ("admin/admin", "*RMGSA"),
];

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_what_the_api_says_and_no_more() {
    let cloud = cloud().await;
    let things = Things::make(&cloud).await;
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for line in OPERATIONS.lines() {
        let words: Vec<&str> = line.split(" : ").collect();
        let (path, extension) = (words[0], words.get(2));
        let there = match extension {
            Some(alias) => cloud.call(ADMIN, Method::GET, &format!("/v2.0/extensions/{alias}"), None).await.0 == 200,
            None => true,
        };
        for operation in words[1].split("; ") {
            let [method, _, who] = operation.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let method: Method = method.parse().unwrap();
            for (token, letters) in PERSONAS {
                let Some(may) = may(token, letters, who, path, &method) else { continue };
                // what really would be removed by those who may is left to other tests
                if may && there && method == Method::DELETE {
                    continue;
                }
                let body = (method == Method::POST || method == Method::PUT).then(|| things.body(path, &method));
                let place = format!("/v2.0{}", things.fill(path));
                // of what counts its changes, nothing is changed
                let (status, answer) = cloud.call_if(token, method.clone(), &place, body, Some("revision_number=999999")).await;
                let as_said = match there {
                    // whoever may not know of these gets an empty list
                    true if path == "/agents" && !may && status == 200 => answer == json!({"agents": []}),
                    true if path == "/network-ip-availabilities" && !may && status == 200 => {
                        answer == json!({"network_ip_availabilities": []})
                    }
                    true => is_refusal(status, &answer, &place) != may && status < 500 && status != 405,
                    false => status == if token.is_empty() { 401 } else { 404 },
                };
                if !as_said {
                    wrong.push(format!("{method} {path} ({who}) as {token:?}: {status} {answer}"));
                }
                tried += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 1000, "{tried}");
}

/// Whether somebody may do something; `None` where the list does not say.
fn may(token: &str, letters: &str, who: &str, path: &str, method: &Method) -> Option<bool> {
    let may = who.chars().any(|letter| letters.contains(letter));
    match token {
        "other/manager" if who == "*" || COMMON.iter().any(|common| path.starts_with(common)) => (*method == Method::GET).then_some(true),
        "other/manager" if path.contains('{') => Some(false),
        // their own collections are as open to them as demo's are to demo; what they would name there is not theirs
        "other/manager" => (*method == Method::GET).then_some(may),
        "service/service" if !"SA*".contains(who) => None,
        _ => Some(may),
    }
}

/// Whether an answer says that this caller may not, or may not know.
fn is_refusal(status: u16, answer: &Value, place: &str) -> bool {
    let message = answer["NeutronError"]["message"].as_str().unwrap_or_default();
    let about_it = place.split('/').any(|word| word.len() == 36 && message.contains(word));
    let hidden = message == "The resource could not be found." || (about_it && message.ends_with("could not be found."));
    matches!(status, 401 | 403) || (status == 404 && hidden)
}

/// Things there are, so that only who asks decides.
struct Things(Vec<(&'static str, String)>);

impl Things {
    async fn make(cloud: &Cloud) -> Things {
        cloud.bootstrapped().await;
        let _agent = Agent::start(cloud, "host1").await;
        let public = cloud.named("networks", "public").await;
        let (network, subnet) = cloud.network(DEMO, "10.0.0.0/24").await;
        let (port, parent) = (id(&cloud.port(DEMO, &network).await), id(&cloud.port(DEMO, &network).await));
        cloud.bind(&port, "host1", "server").await;
        let floating = json!({"floating_network_id": public});
        let trunk = json!({"port_id": parent});
        let share = json!({"object_type": "network", "object_id": network, "action": "access_as_shared", "target_tenant": "third"});
        let mut things = Things(vec![("public", public), ("network_id", network), ("subnet_id", subnet), ("port_id", port)]);
        for (key, plural, kind, body) in [
            ("subnetpool_id", "subnetpools", "subnetpool", json!({"name": "p", "prefixes": ["10.64.0.0/16"]})),
            ("address_scope_id", "address-scopes", "address_scope", json!({"name": "s", "ip_version": 4})),
            ("router_id", "routers", "router", json!({"name": "r"})),
            ("floatingip_id", "floatingips", "floatingip", floating),
            ("security_group_id", "security-groups", "security_group", json!({"name": "g"})),
            ("address_group_id", "address-groups", "address_group", json!({"name": "a"})),
            ("trunk_id", "trunks", "trunk", trunk),
            ("rbac_policy_id", "rbac-policies", "rbac_policy", share),
        ] {
            things.0.push((key, id(&cloud.make(DEMO, plural, kind, body).await)));
        }
        things.quality(cloud).await;
        let inner = cloud.port(DEMO, &cloud.named("networks", "private").await).await;
        let forwarding = json!({"internal_port_id": inner["id"], "internal_ip_address": inner["fixed_ips"][0]["ip_address"],
            "internal_port": 80, "external_port": 80, "protocol": "tcp"});
        let path = format!("floatingips/{}/port_forwardings", things.id("floatingip_id"));
        things.0.push(("port_forwarding_id", id(&cloud.make(DEMO, &path, "port_forwarding", forwarding).await)));
        for (key, plural, kind, body) in [
            ("flavor_id", "flavors", "flavor", json!({"service_type": "L3_ROUTER_NAT"})),
            ("profile_id", "service_profiles", "service_profile", json!({"metainfo": "{}"})),
        ] {
            things.0.push((key, id(&cloud.make(ADMIN, plural, kind, body).await)));
        }
        let segment = id(&cloud.get(ADMIN, &format!("/segments?network_id={}", things.id("network_id"))).await["segments"][0]);
        let range = json!({"network_type": "vxlan", "minimum": 900, "maximum": 909, "shared": false, "project_id": "demo"});
        let range = id(&cloud.make(ADMIN, "network_segment_ranges", "network_segment_range", range).await);
        things.0.extend([("segment_id", segment), ("network_segment_range_id", range)]);
        let (path, kind) = ("security-groups-default-statefulness", "security_groups_default_statefulness");
        things.0.push(("id", id(&cloud.make("demo/manager", path, kind, json!({"project_id": "demo"})).await)));
        let group = things.id("security_group_id");
        let rule = id(&cloud.get(DEMO, &format!("/security-group-rules?security_group_id={group}")).await["security_group_rules"][0]);
        let default = id(&cloud.get(ADMIN, "/default-security-group-rules").await["default_security_group_rules"][0]);
        let agent = id(&cloud.get(ADMIN, "/agents?agent_type=L3%20agent").await["agents"][0]);
        things.0.extend([("security_group_rule_id", rule), ("default_security_group_rule_id", default), ("agent_id", agent)]);
        for (key, word) in
            [("alias", "router"), ("host", "host1"), ("project_id", "demo"), ("rule_type", "bandwidth_limit"), ("tag", "red")]
        {
            things.0.push((key, word.to_owned()));
        }
        things
    }

    /// Policies with a rule of each kind, and a label.
    async fn quality(&mut self, cloud: &Cloud) {
        const MANAGER: &str = "demo/manager";
        let policy = id(&cloud.make(MANAGER, "qos/policies", "policy", json!({"name": "q"})).await);
        for (kind, body) in KINDS_OF_RULES {
            let body: Value = serde_json::from_str(body).unwrap();
            let path = format!("/v2.0/qos/policies/{policy}/{kind}s");
            let (status, made) = cloud.call(MANAGER, Method::POST, &path, Some(json!({*kind: body}))).await;
            // kinds that no extension stands for are not there
            if status == 201 {
                self.0.push((*kind, id(&made[*kind])));
            }
        }
        let label = id(&cloud.make(MANAGER, "metering/metering-labels", "metering_label", json!({"name": "l"})).await);
        let rule = json!({"metering_label_id": label, "direction": "ingress", "remote_ip_prefix": "10.0.0.0/8"});
        let rule = id(&cloud.make(MANAGER, "metering/metering-label-rules", "metering_label_rule", rule).await);
        self.0.extend([("policy_id", policy), ("metering_label_id", label), ("metering_label_rule_id", rule)]);
    }

    fn id(&self, key: &str) -> String {
        self.0.iter().find(|(known, _)| *known == key).map_or_else(|| NOWHERE.to_owned(), |(_, id)| id.clone())
    }

    /// A path about them.
    fn fill(&self, path: &str) -> String {
        let kind = KINDS_OF_RULES.iter().map(|(kind, _)| *kind).find(|kind| path.contains(&format!("/{kind}s/")));
        let word = |word: &str| match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
            Some("rule_id") => self.id(kind.unwrap_or_default()),
            Some(key) => self.id(key),
            None => word.to_owned(),
        };
        path.split('/').map(word).collect::<Vec<_>>().join("/")
    }

    /// What is asked for there: as little as is understood.
    fn body(&self, path: &str, method: &Method) -> Value {
        let (collection, last) = path.trim_end_matches("/{tag}").rsplit_once('/').unwrap();
        let named = |name: &str| json!(self.id(name));
        let wish = |wish: Value| if *method == Method::PUT { json!({}) } else { wish };
        let about = if last.starts_with('{') { collection.rsplit('/').next().unwrap_or_default() } else { last };
        match about {
            "tags" => json!({"tags": ["red"]}),
            "activate" => json!({}),
            "networks" => json!({"network": {}}),
            "subnets" => json!({"subnet": wish(json!({"network_id": named("network_id"), "ip_version": 4, "cidr": "10.0.0.0/24"}))}),
            "ports" => json!({"port": wish(json!({"network_id": named("network_id")}))}),
            "bindings" => json!({"binding": {"host": "host2"}}),
            "subnetpools" => json!({"subnetpool": wish(json!({"name": "p", "prefixes": ["10.65.0.0/16"]}))}),
            "add_prefixes" | "remove_prefixes" => json!({"prefixes": ["10.66.0.0/16"]}),
            "onboard_network_subnets" | "dhcp-networks" => json!({"network_id": named("network_id")}),
            "address-scopes" => json!({"address_scope": wish(json!({"ip_version": 4}))}),
            "routers" => json!({"router": {}}),
            "add_router_interface" => json!({"subnet_id": NOWHERE}),
            "add_allowed_address_pairs" | "remove_allowed_address_pairs" => json!({"port": {"allowed_address_pairs": []}}),
            "add_extraroutes" | "remove_extraroutes" => json!({"router": {"routes": []}}),
            "l3-routers" => json!({"router_id": named("router_id")}),
            "floatingips" => json!({"floatingip": wish(json!({"floating_network_id": named("public")}))}),
            "port_forwardings" => json!({"port_forwarding": wish(json!({"internal_port_id": named("port_id"), "protocol": "tcp",
                "internal_ip_address": "10.0.0.2", "internal_port": 22, "external_port": 22}))}),
            "security-groups" => json!({"security_group": wish(json!({"name": "g"}))}),
            "security-group-rules" => {
                json!({"security_group_rule": {"security_group_id": named("security_group_id"), "direction": "ingress"}})
            }
            "default-security-group-rules" => json!({"default_security_group_rule": {"direction": "ingress"}}),
            "security-groups-default-statefulness" => {
                json!({"security_groups_default_statefulness": wish(json!({"project_id": "demo"}))})
            }
            "address-groups" => json!({"address_group": wish(json!({"name": "a"}))}),
            "add_addresses" | "remove_addresses" => json!({"addresses": ["10.0.0.0/24"]}),
            "segments" => json!({"segment": wish(json!({"network_id": named("network_id"), "network_type": "vxlan"}))}),
            "network_segment_ranges" => {
                json!({"network_segment_range": wish(json!({"network_type": "vxlan", "minimum": 950, "maximum": 959}))})
            }
            "trunks" => json!({"trunk": wish(json!({"port_id": named("port_id")}))}),
            "add_subports" | "remove_subports" => json!({"sub_ports": []}),
            "quotas" => json!({"quota": {}}),
            "rbac-policies" => json!({"rbac_policy": wish(json!({"object_type": "network", "object_id": named("network_id"),
                "action": "access_as_shared", "target_tenant": "third"}))}),
            "agents" => json!({"agent": {}}),
            "policies" => json!({"policy": wish(json!({"name": "q"}))}),
            "metering-labels" => json!({"metering_label": {"name": "l"}}),
            "metering-label-rules" => json!({"metering_label_rule": {"metering_label_id": named("metering_label_id"),
                "direction": "ingress", "remote_ip_prefix": "10.9.0.0/16"}}),
            "flavors" => json!({"flavor": wish(json!({"name": "f", "service_type": "L3_ROUTER_NAT"}))}),
            "service_profiles" if path.starts_with("/flavors") => json!({"service_profile": {"id": NOWHERE}}),
            "service_profiles" => json!({"service_profile": wish(json!({"metainfo": "{}"}))}),
            other => match KINDS_OF_RULES.iter().find(|(kind, _)| other.strip_suffix('s') == Some(*kind)) {
                Some((kind, body)) => json!({*kind: wish(serde_json::from_str(body).unwrap())}),
                None => json!({}),
            },
        }
    }
}

const KINDS_OF_RULES: &[(&str, &str)] = &[
    ("bandwidth_limit_rule", r#"{"max_kbps": 1000}"#),
    ("dscp_marking_rule", r#"{"dscp_mark": 8}"#),
    ("minimum_bandwidth_rule", r#"{"min_kbps": 1000}"#),
    ("minimum_packet_rate_rule", r#"{"min_kpps": 1000}"#),
    ("packet_rate_limit_rule", r#"{"max_kpps": 1000}"#),
];
