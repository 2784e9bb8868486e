//! Whether what a token claims still holds, in one query: the user, the scope and everything above it, the roles, the revocation.
//!
//! Roles are looked up anew each time, so that a grant taken away is gone at once, and so are disabled users, projects and domains.

use std::sync::Arc;

use kit::Result;
use kit::clock::Timestamp;
use kit::context::AccessRule;
use sea_orm::{ConnectionTrait, QueryResult, Statement};

use super::claims::{Claims, Scope};
use crate::reference::Reference;
use crate::{Keystone, oauth1, trusts};

/// A token that holds, with all that an answer about it says.
pub struct Standing {
    pub claims: Claims,
    pub user: Named,
    /// The project or domain of the scope.
    pub target: Option<Named>,
    /// The project acts as a domain.
    pub is_domain: bool,
    /// With the implied ones, by name.
    pub roles: Vec<Role>,
    pub application_credential: Option<ApplicationCredential>,
    pub trust: Option<trusts::Model>,
    pub access_token: Option<oauth1::access::Model>,
    pub password_expires_at: Option<Timestamp>,
    pub reference: Arc<Reference>,
}

impl Standing {
    /// The token's end, or its application credential's if that comes first.
    pub fn expires_at(&self) -> Timestamp {
        let credential = self.application_credential.as_ref().and_then(|credential| credential.expires_at);
        credential.map_or(self.claims.expires_at, |end| end.min(self.claims.expires_at))
    }
}

/// Something with a name in a domain.
#[derive(Clone, Debug, Default)]
pub struct Named {
    pub id: String,
    pub name: String,
    pub domain_id: String,
    pub domain_name: String,
}

#[derive(Clone, Debug)]
pub struct Role {
    pub id: String,
    pub name: String,
}

pub struct ApplicationCredential {
    pub id: String,
    pub name: String,
    pub unrestricted: bool,
    pub expires_at: Option<Timestamp>,
    /// What the credential may call, when that is narrowed.
    pub access_rules: Option<Vec<AccessRule>>,
}

/// `line` is the scope and everything above it: a project, its parents, their domain. Rows of all kinds share the columns
/// `kind, id, name, domain_id, domain_name, enabled, since`; the first branch gives them their types. `$1` is the user, `$6` the one whose
/// roles count: the same, or who trusted the user.
const FACTS: &str = "\
WITH RECURSIVE line (id, name, domain_id, parent_id, is_domain, enabled, since, depth) AS (
  SELECT id, name, domain_id, parent_id, is_domain, enabled, tokens_valid_from, 0 FROM projects WHERE id = $2
  UNION ALL
  SELECT p.id, p.name, p.domain_id, p.parent_id, p.is_domain, p.enabled, p.tokens_valid_from, line.depth + 1
  FROM projects p JOIN line ON p.id = line.parent_id)
SELECT 'user' AS kind, u.id AS id, u.name AS name, u.domain_id AS domain_id, d.name AS domain_name,
  CAST(CASE WHEN u.enabled AND d.enabled THEN 1 ELSE 0 END AS BIGINT) AS enabled,
  CAST(CASE WHEN u.tokens_valid_from > d.tokens_valid_from THEN u.tokens_valid_from ELSE d.tokens_valid_from END AS BIGINT) AS since
  FROM users u JOIN projects d ON d.id = u.domain_id WHERE u.id = $1
UNION ALL
SELECT CASE WHEN depth > 0 THEN 'above' WHEN is_domain THEN 'domain' ELSE 'project' END, id, name, domain_id, '',
  CASE WHEN enabled THEN 1 ELSE 0 END, since FROM line
UNION ALL
SELECT 'password', '', '', '', '', 1, password_expires_at FROM users WHERE id = $1 AND password_expires_at IS NOT NULL
UNION ALL
SELECT 'role', a.role_id, '', '', '', 1, 0 FROM assignments a
  WHERE (a.actor_id = $6 OR a.actor_id IN (SELECT group_id FROM group_members WHERE user_id = $6))
  AND ((a.target_id = $2 AND a.target_kind = $3 AND NOT a.inherited)
    OR (a.inherited AND a.target_id IN (SELECT id FROM line WHERE depth > 0)))
UNION ALL
SELECT 'application_credential', id, name, roles, COALESCE(access_rules, 'null'), CASE WHEN unrestricted THEN 1 ELSE 0 END,
  COALESCE(expires_at, 0) FROM application_credentials WHERE id = $5
UNION ALL
SELECT 'revoked', audit_id, '', '', '', 1, 0 FROM revoked_tokens WHERE audit_id = $4
UNION ALL
SELECT 'version', '', '', '', '', 1, value FROM reference_version";

/// What the claims stand for now; `None` when they no longer hold.
pub async fn stands(keystone: &Keystone, claims: Claims) -> Result<Option<Standing>> {
    if claims.expires_at <= Timestamp::now() {
        return Ok(None);
    }
    stands_ever(keystone, claims).await
}

/// The same, also for a token that has expired.
pub async fn stands_ever(keystone: &Keystone, claims: Claims) -> Result<Option<Standing>> {
    let trust = match &claims.trust_id {
        None => None,
        Some(id) => match trusts::store::standing(keystone.db.read(), id).await? {
            None => return Ok(None),
            trust => trust,
        },
    };
    let access_token = match &claims.access_token_id {
        None => None,
        Some(id) => match oauth1::access::standing(keystone.db.read(), id).await? {
            None => return Ok(None),
            token => token,
        },
    };
    let facts = Facts::fetch(keystone, &claims, trust.as_ref()).await?;
    let Some(user) = facts.user else { return Ok(None) };
    if facts.void || claims.issued_at.0 < facts.valid_from {
        return Ok(None);
    }
    let reference = keystone.reference.at(&keystone.db, facts.version).await?;
    let mut role_ids = facts.role_ids;
    if let Some((_, allowed)) = &facts.application_credential {
        role_ids = with_implied(&reference, &role_ids);
        role_ids.retain(|id| allowed.contains(id));
    } else if claims.application_credential_id.is_some() {
        return Ok(None);
    }
    if let Some(trust) = &trust {
        role_ids = with_implied(&reference, &role_ids);
        // a trust of roles that its giver has lost is void as a whole
        if !trust.roles.0.iter().all(|id| role_ids.contains(id)) {
            return Ok(None);
        }
        role_ids.clone_from(&trust.roles.0);
    }
    if let Some(token) = &access_token {
        role_ids = with_implied(&reference, &role_ids);
        role_ids.retain(|id| token.roles.0.contains(id));
    }
    let roles: Vec<Role> = reference
        .expand(role_ids.iter().map(String::as_str))
        .into_iter()
        // a role of a domain only serves to imply others
        .filter(|role| role.domain_id.is_empty())
        .map(|role| Role { id: role.id.clone(), name: role.name.clone() })
        .collect();
    let target_found = match claims.scope {
        Scope::Unscoped | Scope::System => true,
        Scope::Project(_) | Scope::Domain(_) => facts.target.is_some(),
    };
    if !target_found || (claims.scope != Scope::Unscoped && roles.is_empty()) {
        return Ok(None);
    }
    let application_credential = facts.application_credential.map(|(credential, _)| credential);
    Ok(Some(Standing {
        claims,
        user,
        target: facts.target,
        is_domain: facts.is_domain,
        roles,
        application_credential,
        trust,
        access_token,
        password_expires_at: facts.password_expires_at,
        reference,
    }))
}

fn with_implied(reference: &Reference, ids: &[String]) -> Vec<String> {
    reference.expand(ids.iter().map(String::as_str)).into_iter().map(|role| role.id.clone()).collect()
}

/// What the query found.
#[derive(Default)]
struct Facts {
    user: Option<Named>,
    target: Option<Named>,
    domain_name: String,
    is_domain: bool,
    role_ids: Vec<String>,
    /// With the ids of its roles.
    application_credential: Option<(ApplicationCredential, Vec<String>)>,
    password_expires_at: Option<Timestamp>,
    /// Something is disabled, expired or revoked.
    void: bool,
    /// The latest moment at which something above made older tokens void.
    valid_from: i64,
    version: i64,
}

impl Facts {
    async fn fetch(keystone: &Keystone, claims: &Claims, trust: Option<&trusts::Model>) -> Result<Facts> {
        let db = keystone.db.read();
        let credential = claims.application_credential_id.clone().unwrap_or_default();
        let values = [
            claims.user_id.clone(),
            claims.scope.target().to_owned(),
            claims.scope.kind().to_owned(),
            claims.audit_id().to_owned(),
            credential,
            trust.map_or(&claims.user_id, |trust| &trust.trustor_user_id).clone(),
        ];
        let statement = Statement::from_sql_and_values(db.get_database_backend(), FACTS, values.map(Into::into));
        let mut facts = Facts::default();
        for row in db.query_all_raw(statement).await? {
            facts.add(&row)?;
        }
        facts.name_domain();
        Ok(facts)
    }

    fn add(&mut self, row: &QueryResult) -> Result<()> {
        let text = |index: usize| row.try_get_by_index::<String>(index);
        let number = |index: usize| row.try_get_by_index::<i64>(index);
        let named = || Ok::<_, kit::Error>(Named { id: text(1)?, name: text(2)?, domain_id: text(3)?, domain_name: text(4)? });
        let (enabled, since) = (number(5)? != 0, number(6)?);
        match text(0)?.as_str() {
            "role" => self.role_ids.push(text(1)?),
            "revoked" => self.void = true,
            "version" => self.version = since,
            "password" => self.password_expires_at = Some(Timestamp(since)),
            "application_credential" => {
                self.void |= since != 0 && since <= Timestamp::now().0;
                let expires_at = (since != 0).then_some(Timestamp(since));
                let access_rules = serde_json::from_str(&text(4)?)?;
                let credential = ApplicationCredential { id: text(1)?, name: text(2)?, unrestricted: enabled, expires_at, access_rules };
                self.application_credential = Some((credential, serde_json::from_str(&text(3)?)?));
            }
            kind => {
                self.void |= !enabled;
                self.valid_from = self.valid_from.max(since);
                match kind {
                    "user" => self.user = Some(named()?),
                    "above" => self.above(named()?),
                    _ => {
                        self.is_domain = kind == "domain";
                        self.target = Some(named()?);
                    }
                }
            }
        }
        Ok(())
    }

    /// Of what is above the target, the one that is in no domain is the target's domain.
    fn above(&mut self, parent: Named) {
        if parent.domain_id.is_empty() {
            self.domain_name = parent.name;
        }
    }

    /// Names the target's domain; a domain is in itself, for those who ask where it is.
    fn name_domain(&mut self) {
        let Some(target) = &mut self.target else { return };
        if target.domain_id.is_empty() {
            target.domain_id = target.id.clone();
            target.domain_name = target.name.clone();
        } else {
            target.domain_name = std::mem::take(&mut self.domain_name);
        }
    }
}
