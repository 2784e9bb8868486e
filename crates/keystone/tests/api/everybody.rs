//! Every operation of the API as everybody: `operations.txt` is the API's own list of operations with who may do them, and each line of it is
//! tried as nobody, reader, member, manager, another project's member, a domain's reader and manager, the system's reader, and administrator.
//!
//! Who: `*` any token, `U` the user it is about (`O`: and nobody else), `P` users of the project, `M` users of the domain's projects, `D` a reader of the domain, `G` a
//! manager of the domain, `A` administrators (reads also the system's reader), `S` services, `Y` the system's reader alone. What may not be done answers 401 or 403; what may be done answers anything else.

use http::Method;
use serde_json::{Value, json};

use crate::common::{Answer, Cloud, project};

const OPERATIONS: &str = include_str!("operations.txt");

/// What somebody is, and the token that says so.
struct Persona {
    name: &'static str,
    token: String,
    /// The letters of those who may what this one may, for reads and for changes.
    reads: &'static str,
    changes: &'static str,
}

#[tokio::test]
async fn everybody_may_what_the_api_says_and_no_more() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let things = Things::make(&cloud, &admin).await;
    let personas = personas(&cloud, &admin).await;
    let mut wrong = Vec::new();
    let mut tried = 0;
    for line in OPERATIONS.lines() {
        let (path, operations) = line.split_once(" : ").unwrap();
        for operation in operations.split("; ") {
            let [method, _, who] = operation.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let method: Method = method.parse().unwrap();
            // logging in and changing one's password need no token
            if who == "*" && method == Method::POST {
                continue;
            }
            for persona in &personas {
                let read = matches!(method, Method::GET | Method::HEAD);
                let letters = if read { persona.reads } else { persona.changes };
                // whose it is shows only in some paths; without that it is everybody's own
                let own = !["{user_id}", "{credential_id}", "{trust_id}", "/auth/tokens"].iter().any(|id| path.contains(id))
                    && persona.name != "nobody";
                let may = who.chars().any(|letter| letters.contains(letter)) || (who == "U" && own);
                // what really would be removed by those who may is left to other tests
                if may && method == Method::DELETE && (persona.name != "admin" || path == "/auth/tokens") {
                    continue;
                }
                let place = things.fill(path, may && !read && persona.name == "admin");
                let headers = [("x-auth-token", persona.token.as_str()), ("x-subject-token", things.token.as_str())];
                let body = if read || method == Method::DELETE { String::new() } else { "{}".into() };
                let answer = cloud.send(method.clone(), &format!("/v3{place}"), &headers, body).await;
                let refused = answer.status == 401 || is_policy(&method, &answer);
                if refused == may || answer.status == 405 || answer.status == 500 {
                    wrong.push(format!("{method} {path} ({who}) as {}: {} {}", persona.name, answer.status, answer.body));
                }
                tried += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 1500, "{tried}");
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
        Persona { name: "nobody", token: String::new(), reads: "", changes: "" },
        Persona { name: "admin", token: admin.to_owned(), reads: "*UPMDGAS", changes: "*UPMDGAS" },
        Persona { name: "the user", token: cloud.demo().await, reads: "*UPMO", changes: "*UO" },
    ];
    let place = |kind: &str, id: &str| format!("{kind}/{id}");
    for (name, role, place, scope, reads, changes) in [
        ("reader", "reader", place("projects", &demo), project("demo"), "*PM", "*"),
        ("member", "member", place("projects", &demo), project("demo"), "*PM", "*"),
        ("manager", "manager", place("projects", &demo), project("demo"), "*PM", "*"),
        ("another project's member", "member", place("projects", &elsewhere), project("service"), "*M", "*"),
        ("the domain's reader", "reader", place("domains", "default"), json!({"domain": {"id": "default"}}), "*MD", "*"),
        ("the domain's manager", "manager", place("domains", "default"), json!({"domain": {"id": "default"}}), "*MDG", "*G"),
        ("the system's reader", "reader", "system".to_owned(), json!({"system": {"all": true}}), "*UPMDGASY", "*"),
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

/// Things there are, so that only who asks decides.
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
