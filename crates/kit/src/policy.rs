//! May they? Rules in the language of oslo.policy, with the names and defaults of the real services.
//!
//! A service gives its table of `(rule, expression)`; an expression is `role:admin`, `project_id:%(project_id)s`, `rule:other`, `@`, `!`,
//! joined by `and`, `or`, `not` and parentheses. Route tables name the rule of each operation.

use std::collections::HashMap;

use yaml_rust2::{Yaml, YamlLoader};

use crate::context::Identity;
use crate::{Error, Result};

/// A rule for routes that need no token at all.
pub const PUBLIC: &str = "";
/// A rule for routes that any valid token may use.
pub const ANY: &str = "@";

/// Rules that every service's defaults build on (the roles of the "secure RBAC" defaults).
pub const BASE: &[(&str, &str)] = &[
    ("context_is_admin", "role:admin"),
    ("admin_api", "role:admin"),
    ("service_api", "role:service"),
    ("service_or_admin", "role:admin or role:service"),
    ("project_reader_api", "role:reader and project_id:%(project_id)s"),
    ("project_member_api", "role:member and project_id:%(project_id)s"),
    ("project_manager_api", "role:manager and project_id:%(project_id)s"),
    ("project_reader_or_admin", "rule:admin_api or rule:project_reader_api"),
    ("project_member_or_admin", "rule:admin_api or rule:project_member_api"),
    ("project_manager_or_admin", "rule:admin_api or rule:project_manager_api"),
    ("reader_or_service", "rule:project_reader_or_admin or rule:service_api"),
    ("member_or_service", "rule:project_member_or_admin or rule:service_api"),
];

/// To whom the thing acted upon belongs.
#[derive(Clone, Debug, Default)]
pub struct Target(Vec<(&'static str, String)>);

impl Target {
    pub fn new() -> Target {
        Target::default()
    }

    /// Something of a project.
    pub fn project(id: &str) -> Target {
        Target::new().with("project_id", id)
    }

    pub fn with(mut self, key: &'static str, value: &str) -> Target {
        self.0.push((key, value.to_owned()));
        self
    }

    fn get(&self, key: &str) -> Option<&str> {
        let find = |key: &str| self.0.iter().find(|(have, _)| *have == key).map(|(_, value)| value.as_str());
        // published policy files have several names for the same: older ones, and those of the thing they belong to
        find(key).or_else(|| match key {
            "tenant_id" => find("project_id"),
            "user_id" | "credential.user_id" | "token.user_id" => find("user.id"),
            "domain.id" => find("domain_id"),
            key if key.ends_with(".domain_id") => find("domain_id"),
            _ => None,
        })
    }
}

/// The rules of one service.
#[derive(Clone, Default)]
pub struct Policy(HashMap<String, Check>);

impl Policy {
    /// The service's defaults on top of [`BASE`].
    pub fn new(defaults: &[(&str, &str)]) -> Result<Policy> {
        let mut policy = Policy::default();
        for (name, expression) in BASE.iter().chain(defaults) {
            policy.set(name, expression)?;
        }
        Ok(policy)
    }

    /// Replaces one rule.
    pub fn set(&mut self, name: &str, expression: &str) -> Result<()> {
        let check = parse(expression).ok_or_else(|| Error::bad_request(format!("Policy rule {name} cannot be read: {expression}")))?;
        self.0.insert(name.to_owned(), check);
        Ok(())
    }

    /// These rules with an operator's over them: the text of a `policy.yaml`, which maps names to expressions.
    pub fn overridden(&self, yaml: &str) -> Result<Policy> {
        let wrong = |why: String| Error::bad_request(format!("The policy file cannot be read: {why}"));
        let documents = YamlLoader::load_from_str(yaml).map_err(|error| wrong(error.to_string()))?;
        let mut policy = self.clone();
        match documents.first() {
            None | Some(Yaml::Null) => {}
            Some(Yaml::Hash(rules)) => {
                for (name, expression) in rules {
                    let name = name.as_str().ok_or_else(|| wrong(format!("{name:?} is no rule's name")))?;
                    let expression = expression.as_str().ok_or_else(|| wrong(format!("the rule {name} is not text")))?;
                    policy.set(name, expression)?;
                }
            }
            Some(_) => return Err(wrong("it does not map rules to expressions".into())),
        }
        Ok(policy)
    }

    pub fn knows(&self, rule: &str) -> bool {
        self.0.contains_key(rule)
    }

    /// Whether `rule` lets `who` act on `target`. A rule nobody defined lets nobody but an administrator.
    pub fn check(&self, rule: &str, who: &Identity, target: &Target) -> bool {
        match self.0.get(rule) {
            _ if rule == ANY => true,
            Some(check) => self.eval(check, who, target, 0),
            None => who.has_role("admin"),
        }
    }

    fn eval(&self, check: &Check, who: &Identity, target: &Target, depth: usize) -> bool {
        match check {
            Check::True => true,
            Check::False => false,
            Check::Not(inner) => !self.eval(inner, who, target, depth),
            Check::And(all) => all.iter().all(|c| self.eval(c, who, target, depth)),
            Check::Or(any) => any.iter().any(|c| self.eval(c, who, target, depth)),
            Check::Role(role) => who.has_role(role),
            // rules may name rules; a circle of them is refused rather than followed
            Check::Rule(name) => depth < 32 && self.0.get(name).is_some_and(|c| self.eval(c, who, target, depth + 1)),
            Check::Match(left, right) => {
                let left = credential(who, left).or_else(|| literal(left));
                let right = match right.strip_prefix("%(").and_then(|r| r.strip_suffix(")s")) {
                    Some(key) => target.get(key.trim_start_matches("target.")).map(str::to_owned),
                    None => Some(right.clone()),
                };
                left.is_some() && left == right
            }
        }
    }
}

/// What an identity says about itself, by oslo.policy's names.
fn credential(who: &Identity, key: &str) -> Option<String> {
    match key {
        "user_id" => Some(who.user.id.clone()),
        "user_domain_id" => Some(who.user.domain_id.clone()),
        "project_id" | "tenant_id" => who.project.as_ref().map(|p| p.id.clone()),
        "project_domain_id" => who.project.as_ref().map(|p| p.domain_id.clone()),
        "domain_id" => who.domain.as_ref().map(|d| d.id.clone()),
        "system_scope" => who.system.then(|| "all".to_owned()),
        "is_admin" => Some(if who.has_role("admin") { "True" } else { "False" }.to_owned()),
        _ => None,
    }
}

/// `'literal'` or a bare word such as `None` or `True` on the left of a comparison.
fn literal(text: &str) -> Option<String> {
    text.strip_prefix('\'')
        .and_then(|t| t.strip_suffix('\''))
        .or(matches!(text, "True" | "False" | "None").then_some(text))
        .map(str::to_owned)
}

#[derive(Clone, Debug, PartialEq)]
enum Check {
    True,
    False,
    Not(Box<Check>),
    And(Vec<Check>),
    Or(Vec<Check>),
    Role(String),
    Rule(String),
    Match(String, String),
}

fn parse(expression: &str) -> Option<Check> {
    let spaced = space_parentheses(expression);
    let mut words = spaced.split_whitespace().peekable();
    if words.peek().is_none() {
        return Some(Check::True);
    }
    let check = parse_or(&mut words)?;
    words.next().is_none().then_some(check)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// Parentheses stand alone, except those of `%(name)s`.
fn space_parentheses(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut in_template = false;
    let mut previous = ' ';
    for c in text.chars() {
        match c {
            '(' if previous == '%' => {
                in_template = true;
                out.push(c);
            }
            ')' if in_template => {
                in_template = false;
                out.push(c);
            }
            '(' | ')' => out.extend([' ', c, ' ']),
            _ => out.push(c),
        }
        previous = c;
    }
    out
}

fn parse_or(words: &mut Words<'_>) -> Option<Check> {
    let mut any = vec![parse_and(words)?];
    while words.next_if(|w| w.eq_ignore_ascii_case("or")).is_some() {
        any.push(parse_and(words)?);
    }
    if any.len() == 1 { any.pop() } else { Some(Check::Or(any)) }
}

fn parse_and(words: &mut Words<'_>) -> Option<Check> {
    let mut all = vec![parse_not(words)?];
    while words.next_if(|w| w.eq_ignore_ascii_case("and")).is_some() {
        all.push(parse_not(words)?);
    }
    if all.len() == 1 { all.pop() } else { Some(Check::And(all)) }
}

fn parse_not(words: &mut Words<'_>) -> Option<Check> {
    match words.next()? {
        word if word.eq_ignore_ascii_case("not") => Some(Check::Not(Box::new(parse_not(words)?))),
        "(" => {
            let inner = parse_or(words)?;
            (words.next()? == ")").then_some(inner)
        }
        "@" => Some(Check::True),
        "!" => Some(Check::False),
        word => {
            let (left, right) = word.split_once(':')?;
            Some(match left {
                "role" => Check::Role(right.to_owned()),
                "rule" => Check::Rule(right.to_owned()),
                _ => Check::Match(left.to_owned(), right.to_owned()),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Named;

    fn who(project: &str, roles: &[&str]) -> Identity {
        Identity {
            project: Some(Named { id: project.into(), ..Named::default() }),
            roles: roles.iter().map(|r| (*r).to_owned()).collect(),
            ..Identity::default()
        }
    }

    #[test]
    fn members_act_in_their_own_project_and_admins_everywhere() {
        let policy = Policy::new(&[("servers:create", "rule:project_member_or_admin")]).unwrap();
        let mine = Target::project("p1");
        assert!(policy.check("servers:create", &who("p1", &["member", "reader"]), &mine));
        assert!(!policy.check("servers:create", &who("p1", &["reader"]), &mine));
        assert!(!policy.check("servers:create", &who("p2", &["member"]), &mine));
        assert!(policy.check("servers:create", &who("p2", &["admin"]), &mine));
        assert!(!policy.check("nobody:defined", &who("p1", &["member"]), &mine));
    }

    #[test]
    fn an_operators_file_goes_before_the_defaults() {
        let policy = Policy::new(&[("list", "@"), ("show", "@")]).unwrap();
        let text = "# ours\n\"list\": \"rule:auditor\"\nauditor: >\n  role:auditor\n  or role:admin\nshow: '!'\n";
        let changed = policy.overridden(text).unwrap();
        let allowed = |rule: &str, role: &str| changed.check(rule, &who("p1", &[role]), &Target::new());
        assert!(allowed("list", "auditor") && allowed("list", "admin") && !allowed("list", "member") && !allowed("show", "admin"));
        assert!(policy.overridden("# nothing\n").unwrap().check("list", &who("p1", &[]), &Target::new()));
        for wrong in ["- a list", "list: [1]", "list: 'role:a and'", "list: 'unfinished"] {
            assert!(policy.overridden(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn reads_the_whole_language() {
        let mut policy = Policy::new(&[]).unwrap();
        for (expression, allowed) in [
            ("", true),
            ("@", true),
            ("!", false),
            ("not role:member", false),
            ("(role:x or role:member) and not (role:y and @)", true),
            ("is_admin:True", false),
            ("'p1':%(project_id)s", true),
            ("project_id:%(target.project_id)s", true),
            ("rule:circle", false),
        ] {
            policy.set("circle", "rule:circle").unwrap();
            policy.set("r", expression).unwrap();
            assert_eq!(policy.check("r", &who("p1", &["member"]), &Target::project("p1")), allowed, "{expression}");
        }
        assert!(policy.set("r", "role:a and").is_err());
        assert!(policy.set("r", "(role:a").is_err());
    }
}
