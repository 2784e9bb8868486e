//! Who is calling, asked of keystone, for every service in the same way.
//!
//! Each service keeps a small cache of what keystone said about a token, for one second: so revocation is honoured within a second and a
//! busy client costs keystone one question a second. In one process the question goes straight into keystone's router; between machines
//! it is `GET /v3/auth/tokens`. The token checks itself: it is both the asking and the asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use crate::context::Identity;
use crate::{Error, Kind, Result};

/// How long an answer of keystone is believed.
const BELIEF: Duration = Duration::from_secs(1);
/// Tokens remembered at once.
const CACHE: usize = 10_000;

/// Turns a token into an identity, by the service's own means.
pub struct Authenticator<S> {
    keystone: Source<S>,
    /// `http://host:5000`, for the 401 answer's challenge.
    public_url: String,
    cache: Mutex<HashMap<String, (Instant, Arc<Identity>)>>,
}

enum Source<S> {
    /// Another process or router: the public API.
    Api(sdk::identity::Identity),
    /// Keystone itself.
    Own(fn(S, String) -> BoxFuture<'static, Result<Identity>>),
}

impl<S: Clone> Authenticator<S> {
    /// Ask keystone's public API.
    pub fn new(keystone: sdk::Endpoint, public_url: &str) -> Authenticator<S> {
        Authenticator {
            keystone: Source::Api(sdk::identity::Identity::new(keystone)),
            public_url: public_url.trim_end_matches('/').to_owned(),
            cache: Mutex::default(),
        }
    }

    /// For keystone, which knows.
    pub fn own(check: fn(S, String) -> BoxFuture<'static, Result<Identity>>, public_url: &str) -> Authenticator<S> {
        Authenticator { keystone: Source::Own(check), public_url: public_url.trim_end_matches('/').to_owned(), cache: Mutex::default() }
    }

    /// The value of `WWW-Authenticate` on a 401.
    pub fn challenge(&self) -> String {
        format!("Keystone uri=\"{}\"", self.public_url)
    }

    /// Who the token speaks for; 401 when it speaks for nobody, 503 when keystone cannot be asked.
    pub async fn identify(&self, app: &S, token: &str) -> Result<Arc<Identity>> {
        self.identify_for(app, token, None).await
    }

    /// The same, also for a token that has ended when a service vouches for it with its own.
    pub async fn identify_for(&self, app: &S, token: &str, service: Option<&str>) -> Result<Arc<Identity>> {
        if token.is_empty() {
            return Err(Error::unauthorized());
        }
        if let Source::Own(check) = &self.keystone {
            return check(app.clone(), token.to_owned()).await.map(Arc::new);
        }
        if let Some(identity) = self.remembered(token) {
            return Ok(identity);
        }
        let identity = Arc::new(self.ask(token, service).await?);
        self.remember(token, identity.clone());
        Ok(identity)
    }

    async fn ask(&self, token: &str, service: Option<&str>) -> Result<Identity> {
        let Source::Api(keystone) = &self.keystone else { return Err(Error::unauthorized()) };
        let answer = match service {
            Some(service) => keystone.validate_expired(&sdk::Auth::token(service), token).await,
            None => keystone.validate(&sdk::Auth::token(token), token).await,
        };
        match answer {
            Ok(answer) => Ok(identity(answer)),
            Err(error) if matches!(error.status, 401 | 403 | 404) => Err(Error::unauthorized()),
            Err(error) => Err(Error::new(Kind::Unavailable, "The identity service could not be asked about the token.").source(error)),
        }
    }

    fn remembered(&self, token: &str) -> Option<Arc<Identity>> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, identity) = cache.get(token)?;
        let live = identity.expires_at > crate::clock::Timestamp::now().0;
        (at.elapsed() < BELIEF && live).then(|| identity.clone())
    }

    fn remember(&self, token: &str, identity: Arc<Identity>) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE {
            cache.retain(|_, (at, _)| at.elapsed() < BELIEF);
            if cache.len() >= CACHE {
                cache.clear();
            }
        }
        cache.insert(token.to_owned(), (Instant::now(), identity));
    }
}

/// Keystone's answer as the services know it.
fn identity(token: sdk::identity::Token) -> Identity {
    let named = |n: sdk::identity::Named| {
        let domain_id = n.domain.map_or_else(|| n.id.clone(), |d| d.id);
        crate::context::Named { id: n.id, name: n.name, domain_id }
    };
    let (role_ids, roles) = token.roles.into_iter().map(|r| (r.id, r.name)).unzip();
    Identity {
        user: named(token.user),
        project: token.project.map(named),
        domain: token.domain.map(named),
        system: token.system.is_some(),
        roles,
        role_ids,
        expires_at: crate::clock::Timestamp::parse(&token.expires_at).unwrap_or_default().0,
        is_domain: token.is_domain,
        access_rules: token.application_credential.and_then(|credential| credential.access_rules).map(|rules| {
            let rule = |rule: sdk::identity::AccessRule| crate::context::AccessRule {
                id: rule.id,
                service: rule.service,
                path: rule.path,
                method: rule.method,
            };
            rules.into_iter().map(rule).collect()
        }),
    }
}

/// A service's own login, for what it does as itself: renewed before it ends.
#[derive(Clone)]
pub struct ServiceSession(Arc<Login>);

struct Login {
    keystone: sdk::identity::Identity,
    user: String,
    password: String,
    current: tokio::sync::Mutex<Option<(Instant, String)>>,
}

/// A service's token is renewed well before keystone's shortest sensible expiry.
const RENEW: Duration = Duration::from_secs(20 * 60);

impl ServiceSession {
    /// Logs in as `user` of domain Default into project `service`, when first asked.
    pub fn new(keystone: sdk::Endpoint, user: &str, password: &str) -> ServiceSession {
        ServiceSession(Arc::new(Login {
            keystone: sdk::identity::Identity::new(keystone),
            user: user.to_owned(),
            password: password.to_owned(),
            current: tokio::sync::Mutex::new(None),
        }))
    }

    /// A valid token of the service user.
    pub async fn token(&self) -> Result<String> {
        let mut current = self.0.current.lock().await;
        if let Some((at, token)) = &*current
            && at.elapsed() < RENEW
        {
            return Ok(token.clone());
        }
        let token = self.0.keystone.login(&self.0.user, &self.0.password, "service").await?;
        *current = Some((Instant::now(), token.clone()));
        Ok(token)
    }

    /// To call another service as itself.
    pub async fn auth(&self, request_id: &str) -> Result<sdk::Auth> {
        Ok(sdk::Auth::user(&self.token().await?, request_id))
    }

    /// To call another service in a user's name, also when the user's token has ended meanwhile.
    pub async fn on_behalf(&self, caller: &rpc::Caller) -> Result<sdk::Auth> {
        Ok(sdk::Auth::user(&caller.token, &caller.request_id).with_service(&self.token().await?))
    }

    /// Forget the token, after a 401.
    pub async fn renew(&self) {
        *self.0.current.lock().await = None;
    }
}
