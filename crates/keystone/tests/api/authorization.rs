//! Every operation of the API as everybody: `authorization.txt` is the API's own list of operations with who may do them, and each line of it is
//! tried as nobody, reader, member, manager, another project's member, a domain's and the system's people, a service, and an administrator.
//!
//! Who: `N` nobody too, `*` any token, `U` the user it is about (`O`: and nobody else), `P` users of the project, `M` users of the domain's
//! projects, `D` a reader of the domain, `G` a manager of the domain, `E` its administrator, `A` administrators of the cloud (reads also the
//! system's reader; `X`: not that one), `S` services, `Y` the system's reader and `Z` its administrator alone. What may not be done answers 401
//! or 403; what may be done answers anything else.

use http::Method;
use serde_json::{Value, json};
use testkit::authorization::{Answered, Operation, Persona, operations, try_all};

use crate::common::{Answer, Cloud, project};

const OPERATIONS: &str = include_str!("authorization.txt");

#[tokio::test]
async fn everybody_may_what_the_api_says_and_no_more() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let things = Things::make(&cloud, &admin).await;
    let personas = personas(&cloud, &admin).await;
    let tried =
        try_all(&operations(OPERATIONS), &personas, async |operation, persona| ask(&cloud, &things, operation, persona).await).await;
    assert!(tried.wrong.is_empty(), "{} of {}:\n{}", tried.wrong.len(), tried.count, tried.wrong.join("\n"));
    assert!(tried.count > 2500, "{}", tried.count);
}

/// Asks about things that are there, so that only who asks decides; administrators, who may change everything, about things that are not.
async fn ask(cloud: &Cloud, things: &Things, operation: &Operation<'_>, persona: &Persona) -> Option<Answered> {
    let Operation { method, path, who, .. } = operation;
    // logging in and changing one's password need no token
    if *who == "N" && *method == Method::POST {
        return None;
    }
    let may = persona.may(operation);
    let administers = persona.changes.contains('E');
    // what really would be removed by those who may is left to other tests
    if may && *method == Method::DELETE && (!administers || *path == "/auth/tokens") {
        return None;
    }
    let place = things.fill(path, may && !operation.is_read() && administers);
    let headers = [("x-auth-token", persona.token.as_str()), ("x-subject-token", things.token.as_str())];
    let body = if operation.is_read() || *method == Method::DELETE { "" } else { "{}" };
    let answer = cloud.send(method.clone(), &format!("/v3{place}"), &headers, body).await;
    let refused = answer.status == 401 && *who != "N" || is_policy(method, &answer);
    Some(Answered { status: answer.status, refused, words: answer.body.to_string() })
}

/// Whether a refusal is policy's: others are about the state of things. HEAD does not say.
fn is_policy(method: &Method, answer: &Answer) -> bool {
    let words = answer.body["error"]["message"].as_str().unwrap_or_default();
    let of_policy = words.starts_with("You are not authorized to perform the requested action: identity:");
    answer.status == 403 && (of_policy || *method == Method::HEAD)
}

async fn personas(cloud: &Cloud, admin: &str) -> Vec<Persona> {
    let demo = cloud.id(admin, "projects", "demo").await;
    let elsewhere = cloud.id(admin, "projects", "service").await;
    let mut personas = vec![
        Persona { name: "nobody", token: String::new(), reads: "N", changes: "N" },
        Persona { name: "admin", token: admin.to_owned(), reads: "N*UPMDGASEX", changes: "N*UPMDGASEX" },
        Persona { name: "the user", token: cloud.demo().await, reads: "N*UPMO", changes: "N*UO" },
    ];
    let (in_demo, in_service) = (format!("projects/{demo}"), format!("projects/{elsewhere}"));
    let (domain, system) = (json!({"domain": {"id": "default"}}), json!({"system": {"all": true}}));
    for (name, role, place, scope, reads, changes) in [
        ("reader", "reader", in_demo.as_str(), project("demo"), "N*PM", "N*"),
        ("member", "member", &in_demo, project("demo"), "N*PM", "N*"),
        ("manager", "manager", &in_demo, project("demo"), "N*PM", "N*"),
        ("another project's member", "member", &in_service, project("service"), "N*M", "N*"),
        ("a service", "service", &in_service, project("service"), "N*MS", "N*S"),
        ("the domain's reader", "reader", "domains/default", domain.clone(), "N*MD", "N*"),
        ("the domain's manager", "manager", "domains/default", domain.clone(), "N*MDG", "N*G"),
        ("the domain's administrator", "admin", "domains/default", domain, "N*MDGE", "N*GE"),
        ("the system's reader", "reader", "system", system.clone(), "N*UPMDGASY", "N*"),
        ("the system's administrator", "admin", "system", system, "N*UPMDGASEXY", "N*UPMDGASEXZ"),
    ] {
        let user = name.replace([' ', '\''], "-");
        let made = cloud.post(admin, "/v3/users", json!({"user": {"name": user, "password": "pass"}})).await.expect(201);
        let id = made.body["user"]["id"].as_str().unwrap().to_owned();
        let role = cloud.id(admin, "roles", role).await;
        cloud.put(admin, &format!("/v3/{place}/users/{id}/roles/{role}")).await.expect(204);
        let token = cloud.login(&user, "pass", scope).await.token();
        personas.push(Persona { name, token, reads, changes });
    }
    personas
}

/// Things there are.
struct Things {
    /// What stands for the words in braces.
    ids: Vec<(&'static str, String)>,
    token: String,
}

impl Things {
    async fn make(cloud: &Cloud, admin: &str) -> Things {
        let demo = cloud.demo().await;
        let user = cloud.id(admin, "users", "demo").await;
        let place = cloud.id(admin, "projects", "demo").await;
        let made = async |token: &str, path: &str, kind: &str, body: Value| -> String {
            let answer = cloud.post(token, path, json!({kind: body})).await.expect(201);
            answer.body[kind]["id"].as_str().unwrap().to_owned()
        };
        let group = made(admin, "/v3/groups", "group", json!({"name": "crew"})).await;
        let credential = made(&demo, "/v3/credentials", "credential", json!({"type": "cert", "blob": "x"})).await;
        let trust = json!({"trustor_user_id": user, "trustee_user_id": cloud.id(admin, "users", "nova").await, "impersonation": false});
        let trust = made(&demo, "/v3/OS-TRUST/trusts", "trust", trust).await;
        let path = format!("/v3/users/{user}/credentials/OS-EC2");
        let access = cloud.post(&demo, &path, json!({"tenant_id": place})).await.expect(201);
        let access = access.body["credential"]["access"].as_str().unwrap().to_owned();
        let ids = vec![
            ("access", access),
            ("limit_id", limit(cloud, admin, &place).await),
            ("user_id", user),
            ("project_id", place),
            ("domain_id", "default".to_owned()),
            ("group_id", group),
            ("role_id", cloud.id(admin, "roles", "reader").await),
            ("credential_id", credential),
            ("trust_id", trust),
        ];
        Things { ids, token: cloud.demo().await }
    }

    /// A path about them; `harmless` has nothing in it that could really be changed.
    fn fill(&self, path: &str, harmless: bool) -> String {
        let words = path.split('/').map(|word| {
            let Some(key) = word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) else { return word.to_owned() };
            let known = self.ids.iter().find(|(known, _)| *known == key).map(|(_, id)| id.clone());
            match known {
                Some(id) if !harmless => id,
                Some(_) | None => "missing".to_owned(),
            }
        });
        words.collect::<Vec<_>>().join("/")
    }
}

/// A limit of a project.
async fn limit(cloud: &Cloud, admin: &str, project: &str) -> String {
    let service = cloud.id(admin, "services", "nova").await;
    let registered = json!({"registered_limits": [{"service_id": service, "resource_name": "servers", "default_limit": 10}]});
    cloud.post(admin, "/v3/registered_limits", registered).await.expect(201);
    let limit = json!({"limits": [{"project_id": project, "service_id": service, "resource_name": "servers", "resource_limit": 5}]});
    let made = cloud.post(admin, "/v3/limits", limit).await.expect(201);
    made.body["limits"][0]["id"].as_str().unwrap().to_owned()
}
