//! What an operator demands of passwords: how long they last, how often they may be used again, how many wrong ones lock an account.
//!
//! The names are those of keystone's section `security_compliance`; as there, nothing is demanded by default.

use std::time::Duration;

use fancy_regex::Regex;
use kit::clock::Timestamp;
use kit::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Passwords;
use crate::users::Model;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The operator's demands; zero for none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecurityCompliance {
    /// Wrong passwords that lock an account.
    pub lockout_failure_attempts: u32,
    /// Seconds it stays locked.
    pub lockout_duration: u64,
    pub password_expires_days: u32,
    /// Passwords, the present one among them, that a user may not choose again.
    pub unique_last_password_count: u32,
    /// Days a user keeps a password before choosing another.
    pub minimum_password_age: u32,
    /// A password that an administrator set must be changed by its user first.
    pub change_password_upon_first_use: bool,
    /// What every new password must match from its beginning, as Python's `re` reads it; and what users are told of it.
    pub password_regex: Option<String>,
    pub password_regex_description: Option<String>,
    /// Days without a login after which a user is disabled.
    pub disable_user_account_days_inactive: u32,
    /// Failed logins of an account in a minute before it answers 429.
    pub failed_logins_per_minute: u32,
}

impl Default for SecurityCompliance {
    fn default() -> SecurityCompliance {
        SecurityCompliance {
            lockout_failure_attempts: 0,
            lockout_duration: 1800,
            password_expires_days: 0,
            unique_last_password_count: 0,
            minimum_password_age: 0,
            change_password_upon_first_use: false,
            password_regex: None,
            password_regex_description: None,
            disable_user_account_days_inactive: 0,
            failed_logins_per_minute: 30,
        }
    }
}

impl SecurityCompliance {
    /// Whether wrong passwords have locked the account, and that is not over yet.
    pub fn is_locked(&self, user: &Model) -> bool {
        let over = user.failed_login_at.plus(Duration::from_secs(self.lockout_duration));
        self.counts_failures(user) && user.failed_logins >= i64::from(self.lockout_failure_attempts) && over > Timestamp::now()
    }

    /// Whether wrong passwords of this user are counted at all.
    pub fn counts_failures(&self, user: &Model) -> bool {
        self.lockout_failure_attempts > 0 && !option(user, "ignore_lockout_failure_attempts")
    }

    /// Whether the user has stayed away for too long.
    pub fn is_inactive(&self, user: &Model) -> bool {
        let days = Duration::from_secs(u64::from(self.disable_user_account_days_inactive) * DAY.as_secs());
        let noted = user.last_active_at > Timestamp::default();
        !days.is_zero() && noted && !option(user, "ignore_user_inactivity") && user.last_active_at.plus(days) <= Timestamp::now()
    }

    /// What every new password must match; an operator's mistake is named.
    pub fn pattern(&self) -> Result<Option<Regex>> {
        let Some(regex) = &self.password_regex else { return Ok(None) };
        let wrong = |error| Error::bad_request(format!("security_compliance.password_regex {regex:?} cannot be read: {error}"));
        Regex::new(&format!("^(?:{regex})")).map(Some).map_err(wrong)
    }

    /// 400 for a password that is not what the operator demands of all.
    pub fn check_form(&self, pattern: Option<&Regex>, password: &str) -> Result<()> {
        // one that takes too long to compare is none that matches
        if pattern.is_none_or(|pattern| pattern.is_match(password).unwrap_or(false)) {
            return Ok(());
        }
        let words = self.password_regex_description.as_deref().unwrap_or("it does not have the form that is demanded");
        Err(Error::bad_request(format!("The password does not match the requirements: {words}.")))
    }

    /// The user with a password that an administrator, or whoever made the user, chose.
    pub fn given(&self, user: Model, hash: String) -> Model {
        let must_change = self.change_password_upon_first_use && !option(&user, "ignore_change_password_upon_first_use");
        let user = self.chosen(user, hash);
        if must_change { Model { password_expires_at: Some(Timestamp::now()), ..user } } else { user }
    }

    /// The user with a password of the user's own choice.
    pub fn chosen(&self, user: Model, hash: String) -> Model {
        let now = Timestamp::now();
        let lasts = self.password_expires_days > 0 && !option(&user, "ignore_password_expiry");
        let mut history = user.password_history.0.clone();
        history.splice(0..0, user.password_hash.clone());
        history.truncate((self.unique_last_password_count.saturating_sub(1)) as usize);
        Model {
            password_hash: Some(hash),
            password_set_at: now,
            password_expires_at: lasts.then(|| now.plus(DAY * self.password_expires_days)),
            password_history: kit::db::Json(history),
            failed_logins: 0,
            tokens_valid_from: now,
            ..user
        }
    }

    /// Whether the user may choose this password now.
    pub async fn check_choice(&self, passwords: &Passwords, user: &Model, password: &str) -> Result<()> {
        if option(user, "lock_password") {
            return Err(Error::bad_request(
                "You cannot change your password at this time due to password policy disallowing password changes. Please contact your \
                 administrator to reset your password.",
            ));
        }
        let (age, least) = (Timestamp::now().since(user.password_set_at), DAY * self.minimum_password_age);
        let must_change = user.password_expires_at.is_some_and(|end| end <= Timestamp::now());
        if age < least && !must_change {
            let left = (least - age).as_secs().div_ceil(DAY.as_secs());
            return Err(Error::bad_request(format!(
                "You cannot change your password at this time due to the minimum password age. Once you change your password, it must be \
                 used for {} day(s) before it can be changed. Please try again in {left} day(s) or contact your administrator to reset \
                 your password.",
                self.minimum_password_age
            )));
        }
        let count = self.unique_last_password_count;
        let earlier = user.password_hash.iter().chain(&user.password_history.0).take(count as usize);
        for hash in earlier {
            if passwords.verify(password, Some(hash)).await? {
                return Err(Error::bad_request(format!(
                    "The new password cannot be identical to a previous password. The total number which includes the new password must \
                     be unique is {count}."
                )));
            }
        }
        Ok(())
    }
}

/// An option of a user that is set.
pub fn option(user: &Model, name: &str) -> bool {
    user.options.0.get(name) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_demanded_from_the_beginning() {
        let form = |regex: &str| SecurityCompliance { password_regex: Some(regex.into()), ..SecurityCompliance::default() };
        let security = form(r"^(?=.*\d)(?=.*[a-zA-Z]).{7,}$");
        let pattern = security.pattern().unwrap();
        assert!(security.check_form(pattern.as_ref(), "correct1horse").is_ok());
        assert!(
            security.check_form(pattern.as_ref(), "short1").is_err() && security.check_form(pattern.as_ref(), "nodigitsatall").is_err()
        );
        let security = form("[a-z]{3}");
        let pattern = security.pattern().unwrap();
        assert!(security.check_form(pattern.as_ref(), "abc!").is_ok() && security.check_form(pattern.as_ref(), "!abc").is_err());
        assert!(form("(").pattern().is_err());
    }

    #[test]
    fn who_stays_away_is_disabled_unless_exempt() {
        let security = SecurityCompliance { disable_user_account_days_inactive: 3, ..SecurityCompliance::default() };
        let ago = |days: i64| Timestamp(Timestamp::now().0 - days * 86_400_000_000);
        let mut user = Model { last_active_at: ago(4), ..Model::new("u".into(), "ann".into(), "default".into()) };
        assert!(security.is_inactive(&user) && !SecurityCompliance::default().is_inactive(&user));
        user.options.0.insert("ignore_user_inactivity".into(), true.into());
        assert!(!security.is_inactive(&user));
        let user = Model { last_active_at: ago(2), ..Model::new("u".into(), "ann".into(), "default".into()) };
        assert!(!security.is_inactive(&user));
    }
}
