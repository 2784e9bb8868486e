//! The same requests to a cloud that has hardly any users and to one that has very many. Those are written into the database: their passwords
//! alone would take an hour to hash.

use std::path::Path;

use kit::db::{Db, Location};
use sdk::{Auth, Body};
use sea_orm::ConnectionTrait;
use serde_json::{Map, Value, json};

use super::Somebody;
use super::load::in_turn;
use crate::Outcome;
use crate::cloud::Cloud;

/// Users with demo's password, each a member of one project of ten.
const FILL: [&str; 3] = [
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
     INSERT INTO projects (id, name, domain_id, parent_id, is_domain, description, enabled, tokens_valid_from, tags, options, extra) \
     SELECT lower(hex(randomblob(16))), 'project-' || i, 'default', 'default', FALSE, '', TRUE, 0, '[]', '{}', '{}' FROM n",
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
     INSERT INTO users (id, name, domain_id, password_hash, enabled, tokens_valid_from, options, extra) \
     SELECT lower(hex(randomblob(16))), 'user-' || i, 'default', \
       (SELECT password_hash FROM users WHERE domain_id = 'default' AND name = 'demo'), TRUE, 0, '{}', '{}' FROM n",
    "INSERT INTO assignments (actor_kind, actor_id, target_kind, target_id, role_id, inherited) \
     SELECT 'user', u.id, 'project', \
       (SELECT id FROM projects WHERE domain_id = 'default' AND name = 'project-' || (1 + CAST(substr(u.name, 6) AS INTEGER) % 10000)), \
       (SELECT id FROM roles WHERE domain_id = '' AND name = 'member'), FALSE \
     FROM users u WHERE u.name LIKE 'user-%'",
];
/// Requests of each kind.
const TIMES: usize = 200;

pub async fn measure(binary: &Path, cloud: Cloud) -> Outcome<Value> {
    let few = figures(&cloud, "demo", "demo").await?;
    let state = cloud.stop().await?;
    fill(state.path()).await?;
    let cloud = Cloud::start_in(binary, &["--sim-hosts", "1"], state).await?;
    let many = figures(&cloud, "user-50000", "project-1").await?;
    let seconds_to_start = cloud.ready.as_secs_f64();
    cloud.end().await?;
    let compared = few.into_iter().zip(many).map(|((name, few), (_, many))| {
        let figures = json!({"ms_with_few": few, "ms": many, "ratio": many / few, "aim_ratio": 2});
        (name.to_owned(), figures)
    });
    let mut compared: Map<String, Value> = compared.collect();
    compared.insert("start_s".into(), json!(seconds_to_start));
    Ok(compared.into())
}

async fn fill(state: &Path) -> Outcome<()> {
    let db = Db::open(&Location::Sqlite(state.join("db/keystone.sqlite")), &[]).await?;
    let fill = db.write(|tx| {
        Box::pin(async move {
            for statement in FILL {
                tx.execute_unprepared(statement).await?;
            }
            Ok(())
        })
    });
    Ok(fill.await?)
}

/// Milliseconds of the middle request of each kind. Pages are short, so that a small cloud fills them too.
async fn figures(cloud: &Cloud, user: &str, project: &str) -> Outcome<Vec<(&'static str, f64)>> {
    let somebody = Somebody::new(cloud, user, project)?;
    let admin = cloud.admin().await?;
    let mut figures = Vec::new();
    for (name, path) in [
        ("users_page", "/v3/users?limit=5"),
        ("users_page_of_domain", "/v3/users?domain_id=default&limit=5"),
        ("users_by_name", "/v3/users?name=demo"),
        ("users_sorted", "/v3/users?sort_key=name&limit=5"),
        ("projects_page", "/v3/projects?limit=3"),
        ("domains", "/v3/domains"),
    ] {
        let keystone = &somebody.keystone.0;
        let went = in_turn(TIMES, async |_| Ok(keystone.get(&admin.auth, path).await.map(drop)?)).await?;
        figures.push((name, went.ms(0.5)));
    }
    let logins = in_turn(TIMES / 10, |_| somebody.clone().logs_in()).await?;
    figures.push(("login", logins.ms(0.5)));
    let (tokens, issues) = tokens(&somebody).await?;
    figures.push(("issue_by_token", issues));
    // each for the first time: afterwards it is remembered
    let validate = async |turn: usize| {
        let token = tokens.get(turn).ok_or("too few tokens")?;
        Ok(somebody.keystone.validate(&Auth::token(token), token).await.map(drop)?)
    };
    figures.push(("validate", in_turn(TIMES, validate).await?.ms(0.5)));
    Ok(figures)
}

/// New tokens from an old one, and the time that the middle one took.
async fn tokens(somebody: &Somebody) -> Outcome<(Vec<String>, f64)> {
    let first = somebody.token().await?;
    let scope = json!({"project": {"name": somebody.project, "domain": {"id": "default"}}});
    let body = json!({"auth": {"identity": {"methods": ["token"], "token": {"id": first}}, "scope": scope}});
    let mut headers = http::HeaderMap::new();
    headers.insert("content-type", "application/json".parse()?);
    let mut tokens = Vec::new();
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let asked = std::time::Instant::now();
        let answer = somebody.keystone.0.send(http::Method::POST, "/v3/auth/tokens", headers.clone(), Body::from(body.to_string())).await?;
        times.push(asked.elapsed().as_secs_f64() * 1000.0);
        let token = answer.headers().get("x-subject-token").ok_or("no token was issued")?;
        tokens.push(token.to_str()?.to_owned());
    }
    Ok((tokens, crate::median(&mut times)))
}
