//! Who may do what: every operation of the API's reference, asked by everybody. `authorization.txt` has one a line: who may (`*` anybody, `R` the
//! project's readers, `M` its members, `G` its managers, `A` administrators, `U` the user, `S` services), method, path, the action, the version.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, NOWHERE};

/// Those who ask, the mightiest last.
const ASKING: [&str; 7] = ["", "q:member", "p:service", "p:reader", "p:member", "p:manager", "p:admin"];

struct Operation<'l> {
    who: &'l str,
    method: &'l str,
    path: &'l str,
    action: Option<&'l str>,
    version: &'l str,
}

impl<'l> Operation<'l> {
    fn read(line: &'l str) -> Operation<'l> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let rest = || words[3..].iter().copied();
        Operation {
            who: words[0],
            method: words[1],
            path: words[2],
            action: rest().find(|word| !word.starts_with("2.")),
            version: rest().find(|word| word.starts_with("2.")).unwrap_or_default(),
        }
    }

    /// The path of a thing that is there, where the rules ask whose it is.
    fn path(&self, server: &str) -> String {
        let mut path = self.path.to_owned();
        for (of, id) in [("/servers/", server), ("/os-quota-sets/", "p"), ("/os-simple-tenant-usage/", "p")] {
            if let Some(rest) = self.path.strip_prefix(of).and_then(|rest| rest.strip_prefix('{')) {
                path = format!("{of}{id}{}", rest.split_once('}').unwrap().1);
            }
        }
        let parts: Vec<&str> = path.split('/').map(|part| if part.starts_with('{') { NOWHERE } else { part }).collect();
        format!("/v2.1{}", parts.join("/"))
    }

    /// A body that is understood by nobody, so that little happens to who may.
    fn body(&self) -> Value {
        match (self.action, self.method) {
            (Some(action), _) => json!({action: {"bogus": 1}}),
            (None, "POST" | "PUT") => json!({"bogus": {}}),
            (None, _) => Value::Null,
        }
    }

    /// Whether an answer to one of the askers is right.
    fn is_right(&self, asker: &str, status: u16) -> bool {
        if asker.is_empty() {
            return status == 401;
        }
        let owned = ["/servers/{", "/os-quota-sets/{", "/os-simple-tenant-usage/{"].iter().any(|of| self.path.starts_with(of));
        let rank = ["reader", "member", "manager", "admin"].iter().position(|role| asker.ends_with(role));
        let may = match (self.who, rank) {
            ("*" | "U", _) => true,
            // what services may beside that is nobody's business here
            ("R" | "M" | "G", None) => return true,
            ("R", Some(_)) => true,
            ("M", Some(rank)) => rank >= 1,
            ("G", Some(rank)) => rank >= 2,
            ("A", rank) => rank == Some(3),
            ("S", rank) => rank.is_none() || rank == Some(3),
            (other, _) => panic!("who is {other}?"),
        };
        match (may, asker.starts_with("q:") && owned) {
            (true, true) if self.who == "*" => true,
            // of what belongs to another project one does not even hear that it is there; a body is looked at before that
            (_, true) => matches!(status, 403 | 404) || (status == 400 && matches!(self.method, "POST" | "PUT")),
            (true, false) => !matches!(status, 401 | 403),
            (false, false) => status == 403,
        }
    }
}

#[tokio::test]
async fn everybody_may_what_the_reference_says() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let unlimited = json!({"quota_set": {"instances": -1, "cores": -1, "ram": -1}});
    let mut wrong = Vec::new();
    for line in include_str!("authorization.txt").lines() {
        let operation = Operation::read(line);
        // one of the operations takes it back
        assert_eq!(cloud.ask(ADMIN, "", "PUT", "/v2.1/os-quota-sets/p", unlimited.clone()).await.status, 200);
        let server = if operation.path.starts_with("/servers/{") { cloud.boot(support::MEMBER).await } else { String::new() };
        for asker in ASKING {
            let answer = cloud.ask(asker, operation.version, operation.method, &operation.path(&server), operation.body()).await;
            let status = answer.status.as_u16();
            if asker.starts_with("q:") && operation.who != "*" && operation.path.starts_with("/servers/{") {
                let of_nothing = cloud.ask(asker, operation.version, operation.method, &operation.path(NOWHERE), operation.body()).await;
                if status != of_nothing.status.as_u16() {
                    wrong.push(format!("{line}: {status} tells {asker:?} that it is there, for of nothing it is {}", of_nothing.status));
                }
            }
            if !operation.is_right(asker, status) {
                wrong.push(format!("{line}: {asker:?} was answered {status} {}", answer.message()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
