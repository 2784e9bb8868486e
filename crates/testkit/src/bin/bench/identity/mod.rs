//! Logging in and asking about tokens: how many a second, what that does to everybody else, and whether it stays so with many users.

mod load;
mod many;

use std::path::Path;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, Version};
use sdk::identity::Identity;
use sdk::{Auth, Endpoint};
use serde_json::{Map, Value, json};

use crate::cloud::Cloud;
use crate::yardstick::wrk_at;
use crate::{Outcome, note};
use load::{at_a_pace, flat_out};

const LENGTH: Duration = Duration::from_secs(5);
const CONNECTIONS: [usize; 3] = [1, 8, 32];

pub async fn measure(binary: &Path) -> Outcome<Value> {
    let cloud = Cloud::start(binary, &["--sim-hosts", "1"]).await?;
    let somebody = Somebody::new(&cloud, "demo", "demo")?;
    note("password hashes");
    let hashes = tokio::task::spawn_blocking(hashes).await??;
    note("logins");
    let logins = each(async |connections| {
        let somebody = somebody.clone();
        let went = flat_out(connections, LENGTH, move || somebody.clone().logs_in()).await?;
        let mut figures = went.figures();
        figures["of_hashes_per_second"] = json!(went.per_second / hashes.per_second);
        Ok(figures)
    });
    let logins = logins.await?;
    note("tokens by token, by application credential, and asked about");
    let token = somebody.token().await?;
    let by_token = issued(&somebody, json!({"methods": ["token"], "token": {"id": token}}), true).await?;
    let credential = somebody.application_credential(&token).await?;
    let by_credential =
        issued(&somebody, json!({"methods": ["application_credential"], "application_credential": credential}), false).await?;
    let validated = each(async |connections| {
        let subject = format!("X-Subject-Token: {token}");
        let load = wrk_at(connections, "http://127.0.0.1:5000/v3/auth/tokens?nocatalog", &token, &[&subject], LENGTH.as_secs()).await?;
        Ok(json!({"per_second": load.per_second, "p99_ms": load.p99_ms}))
    });
    let validated = validated.await?;
    note("others, while 8 clients log in without pause");
    let beside = beside_logins(&somebody, &token).await?;
    note("100,000 users and 10,000 projects");
    let many = many::measure(binary, cloud).await?;
    Ok(json!({
        "hash": {"ms": hashes.ms, "per_second_on_all_cores": hashes.per_second},
        "logins": logins, "issue_by_token": by_token, "issue_by_application_credential": by_credential, "validate": validated,
        "beside_8_logging_in": beside, "many": many,
    }))
}

/// The same with few and many connections.
async fn each(measure: impl AsyncFn(usize) -> Outcome<Value>) -> Outcome<Value> {
    let mut figures = Map::new();
    for connections in CONNECTIONS {
        figures.insert(connections.to_string(), measure(connections).await?);
    }
    Ok(figures.into())
}

/// What a login cannot be faster than: keystone's hash, alone and on all cores.
struct Hashes {
    ms: f64,
    per_second: f64,
}

fn hashes() -> Outcome<Hashes> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(19 * 1024, 2, 1, None).map_err(|error| error.to_string())?);
    let one = || argon2.hash_password_into(b"correct horse", b"battery staple!!", &mut [0; 32]).map_err(|error| error.to_string());
    let mut alone = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        one()?;
        alone.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let began = Instant::now();
    let count: usize = std::thread::scope(|scope| {
        let hash = || (0..).take_while(|_| began.elapsed() < LENGTH / 2 && one().is_ok()).count();
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(hash)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
    });
    Ok(Hashes { ms: crate::median(&mut alone), per_second: count as f64 / began.elapsed().as_secs_f64() })
}

async fn issued(somebody: &Somebody, identity: Value, scoped: bool) -> Outcome<Value> {
    let mut body = json!({"auth": {"identity": identity}});
    if scoped {
        body["auth"]["scope"] = json!({"project": {"name": somebody.project, "domain": {"id": "default"}}});
    }
    let issue = async |connections| {
        let (keystone, body) = (somebody.keystone.clone(), body.clone());
        let ask = move || {
            let (keystone, body) = (keystone.clone(), body.clone());
            async move { Ok(keystone.0.post(&Auth::nobody(), "/v3/auth/tokens", &body).await.map(drop)?) }
        };
        Ok(flat_out(connections, LENGTH, ask).await?.figures())
    };
    each(issue).await
}

/// What others see, alone and while 8 clients log in without pause.
async fn beside_logins(somebody: &Somebody, token: &str) -> Outcome<Value> {
    let mut headers = Auth::token(token).headers();
    headers.insert("x-subject-token", token.parse()?);
    let mut figures = Map::new();
    for (name, api, path) in
        [("token_validate", "http://127.0.0.1:5000", "/v3/auth/tokens?nocatalog"), ("servers", "http://127.0.0.1:8774", "/v2.1/servers")]
    {
        let endpoint = Endpoint::http(api);
        let ask = || {
            let (endpoint, headers) = (endpoint.clone(), headers.clone());
            async move {
                let answer = endpoint.send(http::Method::GET, path, headers, sdk::Body::empty()).await?;
                let status = answer.status();
                http_body_util::BodyExt::collect(answer.into_body()).await?;
                if status == 200 { Ok(()) } else { Err(format!("{path} answered {status}").into()) }
            }
        };
        at_a_pace(Duration::from_secs(1), ask).await?;
        let alone = at_a_pace(2 * LENGTH, ask).await?;
        let crowd = somebody.clone();
        let crowd = tokio::spawn(flat_out(8, 2 * LENGTH + Duration::from_secs(1), move || crowd.clone().logs_in()));
        tokio::time::sleep(Duration::from_millis(500)).await;
        let beside = at_a_pace(2 * LENGTH, ask).await?;
        let logins = crowd.await??.per_second;
        figures.insert(
            name.to_owned(),
            json!({
                "p50_ms_alone": alone.ms(0.5), "p50_ms": beside.ms(0.5), "p99_ms_alone": alone.ms(0.99), "p99_ms": beside.ms(0.99),
                "p99_ratio": beside.ms(0.99) / alone.ms(0.99), "aim_p99_ratio": 3, "logins_per_second": logins,
            }),
        );
    }
    Ok(figures.into())
}

/// A user and the project in which they work.
#[derive(Clone)]
struct Somebody {
    keystone: Identity,
    user: String,
    password: String,
    project: String,
}

impl Somebody {
    /// One with demo's password.
    fn new(cloud: &Cloud, user: &str, project: &str) -> Outcome<Somebody> {
        let keystone = Identity::new(Endpoint::http("http://127.0.0.1:5000"));
        Ok(Somebody { keystone, user: user.into(), password: cloud.secret("demo_password")?, project: project.into() })
    }

    async fn token(&self) -> Outcome<String> {
        Ok(self.keystone.login(&self.user, &self.password, &self.project).await?)
    }

    async fn logs_in(self) -> Outcome<()> {
        self.token().await.map(drop)
    }

    /// The id and the secret of a new one.
    async fn application_credential(&self, token: &str) -> Outcome<Value> {
        let auth = Auth::token(token);
        let user = self.keystone.validate(&auth, token).await?.user.id;
        let body = json!({"application_credential": {"name": "bench"}});
        let path = format!("/v3/users/{user}/application_credentials");
        let made: Value = self.keystone.0.post(&auth, &path, &body).await?.take("application_credential")?;
        Ok(json!({"id": made["id"], "secret": made["secret"]}))
    }
}
