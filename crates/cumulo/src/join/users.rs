//! The users that NATS lets in, for clouds whose `[bus]` names a file of them: the controllers' own, who may do everything, and one for each
//! host, who may ask what hosts ask, under its own name, and hear what is said to it. `nats-server` includes the file, in which no host's
//! password is to be read.

use std::fs;
use std::io;
use std::path::Path;

use kit::bus::{Config as Bus, token};

use crate::config::Config;
use crate::volumes::{FILE, SIM};

/// Whom hosts ask.
const ASKED: [&str; 3] = [rpc::conductor::TOPIC, rpc::network::SERVER_TOPIC, rpc::volume::SERVER_TOPIC];
/// What bcrypt's hashes cost whoever connects; the passwords are long and random.
const COST: u32 = 8;
const HEAD: &str = "# The users of the bus, kept by `cumulo host add` and `cumulo host remove`.\nusers = [\n";

/// Lets a host in with this login, whatever it had before.
pub fn let_in(config: &Config, host: &str, (user, password): (&str, &str)) -> Result<(), String> {
    let Some(path) = &config.bus.users else { return Ok(()) };
    let (own, own_password) = config.bus.login().ok_or("bus.url names no user.")?;
    let mut lines = kept(path, &[user])?;
    // written anew, it would cost every controller its connection
    if !lines.iter().any(|line| line.contains(&named(own))) {
        lines.insert(0, format!("  {{{}, password: \"{}\"}}", named(own), hash(own_password)?));
    }
    lines.push(format!("  {{{}, password: \"{}\", permissions: {}}}", named(user), hash(password)?, permissions(config, host)));
    write(path, &lines)
}

/// Lets a user in no more.
pub fn shut_out(config: &Config, user: &str) -> Result<(), String> {
    let Some(path) = &config.bus.users else { return Ok(()) };
    write(path, &kept(path, &[user])?)
}

/// What a host may say and hear.
fn permissions(config: &Config, host: &str) -> String {
    let (Bus { prefix, .. }, name) = (&config.bus, token(host));
    let says = ASKED.iter().map(|topic| format!("{prefix}.{name}.{topic}"));
    // of several conductors, the one that began it
    let says = quoted(says.chain([format!("{prefix}.{name}.{}.>", rpc::conductor::TOPIC)]));
    let storages = [FILE, SIM].into_iter().chain(config.volumes.backends.iter().map(|backend| &*backend.name));
    let topics = [rpc::compute::compute_topic(host), rpc::network::agent_topic(host)];
    let topics = topics.into_iter().chain(storages.map(|storage| rpc::volume::volume_topic(&format!("{host}@{storage}"))));
    let hears = quoted(topics.map(|topic| format!("{prefix}.*.{topic}")).chain([format!("_INBOX.{name}.>")]));
    // an answer is given again after an outage; what is asked may take hours
    format!("{{publish: [{says}], subscribe: [{hears}], allow_responses: {{max: 16, expires: \"24h\"}}}}")
}

fn quoted(subjects: impl Iterator<Item = String>) -> String {
    subjects.map(|subject| format!("\"{subject}\"")).collect::<Vec<_>>().join(", ")
}

fn named(user: &str) -> String {
    format!("user: \"{user}\"")
}

/// The lines of all users but these.
fn kept(path: &Path, but: &[&str]) -> Result<Vec<String>, String> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|error| format!("{} cannot be read: {error}.", path.display()))?,
    };
    let others = |line: &&str| line.starts_with("  {user: ") && !but.iter().any(|user| line.contains(&named(user)));
    Ok(text.lines().filter(others).map(str::to_owned).collect())
}

fn write(path: &Path, lines: &[String]) -> Result<(), String> {
    let text = format!("{HEAD}{}\n]\n", lines.join("\n"));
    let part = path.with_extension("part");
    // NATS, which is another user, reads it
    let written = fs::write(&part, text).and_then(|()| fs::rename(&part, path));
    written.map_err(|error| format!("{} cannot be written: {error}.", path.display()))
}

fn hash(password: &str) -> Result<String, String> {
    let salt = *uuid::Uuid::new_v4().as_bytes();
    bcrypt::hash_with_salt(password, COST, salt).map(|hashed| hashed.to_string()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_user_of_its_own_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.conf");
        let bus = Bus { url: Some("nats://cumulo:p@c:4222".into()), users: Some(path.clone()), ..Bus::default() };
        let config = Config { bus, ..Config::default() };
        let_in(&config, "h1", ("host-h1", "one")).unwrap();
        let_in(&config, "h2", ("host-h2", "two")).unwrap();
        let_in(&config, "h1", ("host-h1", "three")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("user: ").count(), 3);
        let line = text.lines().find(|line| line.contains("host-h1")).unwrap();
        for part in ["\"cumulo.h1.conductor\"", "\"cumulo.*.compute.h1\"", "\"cumulo.*.volume.h1@file\"", "\"_INBOX.h1.>\""] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains("h2") && !line.contains("three"), "{line}");
        let hash = line.split("password: \"").nth(1).unwrap().split('"').next().unwrap();
        assert!(bcrypt::verify("three", hash).unwrap());
        shut_out(&config, "host-h1").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("host-h2") && !text.contains("host-h1"), "{text}");
    }
}
