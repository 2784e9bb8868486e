//! The state directory: where everything that outlives a process is, private to its owner.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kit::files::{make_private, write_private};
use serde::{Deserialize, Serialize};

use crate::apis::Api;
use crate::config::Config;
use crate::roles::Roles;

/// The services that log in to each other.
pub const SERVICES: [&str; 5] = ["nova", "neutron", "cinder", "glance", "placement"];

/// The directory and what is where in it.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

/// Secrets made once, kept in `secrets.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Secrets {
    /// Hosts have no business with those of people.
    #[serde(default)]
    pub admin_password: String,
    #[serde(default)]
    pub demo_password: String,
    /// As whom the services of a host log in; each as the user of its own name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_user: Option<String>,
    /// One for each of [`SERVICES`], derived names as in keystone.
    pub service_password: String,
    /// Shared by nova's metadata service and the metadata proxies.
    pub metadata_secret: String,
}

/// Held while a cloud runs in a state directory.
pub struct Lock(#[allow(dead_code)] nix::fcntl::Flock<File>);

impl StateDir {
    /// `/var/lib/cumulo` for root, the user's own state directory otherwise.
    pub fn default_path() -> PathBuf {
        if nix::unistd::geteuid().is_root() {
            return "/var/lib/cumulo".into();
        }
        let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
        let base = base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")));
        base.unwrap_or_else(std::env::temp_dir).join("cumulo")
    }

    /// Makes it when absent, for its owner alone.
    pub fn create(path: &Path) -> Result<StateDir, String> {
        let say = |error: io::Error| format!("The state directory {} cannot be made: {error}.", path.display());
        if !path.exists() {
            private_dir(path).map_err(say)?;
        }
        let path = fs::canonicalize(path).map_err(say)?;
        let state = StateDir(path);
        for dir in ["db", "log", "run"] {
            private_dir(&state.0.join(dir)).map_err(say)?;
        }
        Ok(state)
    }

    /// One that exists.
    pub fn existing(path: &Path) -> Result<StateDir, String> {
        let path = fs::canonicalize(path).map_err(|_| format!("There is no cloud in {}; `cumulo up` starts one.", path.display()))?;
        Ok(StateDir(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Only one cloud at a time uses a state directory.
    pub fn lock(&self) -> Result<Lock, String> {
        let path = self.join("run/lock");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| format!("{}: {error}.", path.display()))?;
        match nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Lock(lock)),
            Err(_) => Err(format!("A cloud already runs in {}; `cumulo down` stops it.", self.0.display())),
        }
    }

    /// Where what all controllers have in common is.
    pub fn shared(&self, config: &Config) -> PathBuf {
        config.shared_dir.clone().unwrap_or_else(|| self.0.clone())
    }

    /// The secrets; made at the first call, unless this process is part of a cloud that has them: a host must be given them.
    pub fn secrets(&self, config: &Config, roles: &Roles) -> Result<Secrets, String> {
        let path = self.shared(config).join("secrets.toml");
        match Secrets::read(&path)? {
            Some(secrets) => Ok(secrets),
            None if roles.control() => Secrets::make(&path),
            None => Err(format!("{} is missing; a controller has it.", path.display())),
        }
    }

    /// Writes a private file, whole or not at all.
    pub fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.join(name);
        write_private(&path, text.as_bytes()).map_err(|error| format!("{} cannot be written: {error}.", path.display()))
    }

    /// What the running, or last, cloud was told; the commands beside it read this.
    pub fn effective(&self) -> Result<Config, String> {
        let path = self.join("run/effective.toml");
        let text =
            fs::read_to_string(&path).map_err(|_| format!("No cloud has run in {} yet; `cumulo up` starts one.", self.0.display()))?;
        toml::from_str(&text).map_err(|error| format!("{} is damaged: {}", path.display(), error.message()))
    }

    /// The process that runs here, when there is one.
    pub fn running(&self) -> Option<i32> {
        let pid: i32 = fs::read_to_string(self.join("cumulo.pid")).ok()?.trim().parse().ok()?;
        // the lock, not the number, tells whether it lives: numbers are used again
        self.lock().is_err().then_some(pid)
    }

    /// What a shell sources and what `OS_CLOUD` names.
    pub fn write_client_files(&self, config: &Config, secrets: &Secrets) -> Result<(), String> {
        let auth = format!("{}/v3", config.endpoint(Api::Keystone));
        let region = &config.region;
        let authorities = config.endpoints.ca_file.as_deref().map(|file| file.display().to_string());
        let cacert = authorities.iter().map(|file| format!("export OS_CACERT={file}\n")).collect::<String>();
        let openrc = format!(
            "# source this, then use any OpenStack client\nfor v in $(env | sed -n 's/^\\(OS_[A-Z_]*\\)=.*/\\1/p'); do unset $v; done\n\
             export OS_AUTH_URL={auth}\nexport OS_USERNAME=admin\nexport OS_PASSWORD={}\nexport OS_PROJECT_NAME=admin\n\
             export OS_USER_DOMAIN_NAME=Default\nexport OS_PROJECT_DOMAIN_NAME=Default\nexport OS_REGION_NAME={region}\n\
             export OS_IDENTITY_API_VERSION=3\nexport OS_CLIENT_CONFIG_FILE={}\n{cacert}",
            secrets.admin_password,
            self.join("clouds.yaml").display(),
        );
        let cacert = authorities.iter().map(|file| format!("    cacert: {file}\n")).collect::<String>();
        let cloud = |name: &str, user: &str, password: &str, project: &str| {
            format!(
                "  {name}:\n    region_name: {region}\n{cacert}    identity_api_version: 3\n    auth:\n      auth_url: {auth}\n      username: {user}\n      \
                 password: {password}\n      project_name: {project}\n      user_domain_name: Default\n      project_domain_name: Default\n"
            )
        };
        let clouds = format!(
            "clouds:\n{}{}",
            cloud("cumulo", "admin", &secrets.admin_password, "admin"),
            cloud("cumulo-demo", "demo", &secrets.demo_password, "demo"),
        );
        self.write("openrc", &openrc)?;
        self.write("clouds.yaml", &clouds)
    }
}

impl Secrets {
    /// Those that are there.
    pub fn read(path: &Path) -> Result<Option<Secrets>, String> {
        match fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map(Some).map_err(|error| format!("{} is damaged: {}", path.display(), error.message())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{} cannot be read: {error}.", path.display())),
        }
    }

    /// New ones; or those that another process made meanwhile.
    fn make(path: &Path) -> Result<Secrets, String> {
        let secrets = Secrets {
            admin_password: random()?,
            demo_password: random()?,
            service_user: None,
            service_password: random()?,
            metadata_secret: random()?,
        };
        let text = toml::to_string(&secrets).map_err(|error| error.to_string())?;
        make_private(path, text.as_bytes()).map_err(|error| format!("{} cannot be written: {error}.", path.display()))?;
        Ok(Secrets::read(path)?.unwrap_or(secrets))
    }
}

/// Makes a directory for its owner alone, unless it is there.
fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// 24 characters that need no quoting anywhere.
pub fn random() -> Result<String, String> {
    let mut bytes = [0u8; 12];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).map_err(|error| format!("/dev/urandom: {error}."))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_are_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::create(&dir.path().join("s")).unwrap();
        let secrets = || state.secrets(&Config::default(), &Roles::new(Vec::new())).unwrap();
        let first = secrets();
        assert_eq!(secrets().admin_password, first.admin_password);
        assert_ne!(first.admin_password, first.service_password);
        let mode = fs::metadata(state.join("secrets.toml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn one_cloud_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::create(dir.path()).unwrap();
        let lock = state.lock().unwrap();
        assert!(state.lock().is_err());
        drop(lock);
        assert!(state.lock().is_ok());
    }
}
