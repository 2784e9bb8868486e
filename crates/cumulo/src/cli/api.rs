//! A login to the running cloud, for the commands beside it. They use the public APIs like any other client.

use sdk::{Answer, Auth, Endpoint};
use serde_json::Value;

use crate::apis;
use crate::state::{Secrets, StateDir};

/// The cloud as the administrator, or as the user demo, sees it.
pub struct Api {
    auth: Auth,
    pub identity: Endpoint,
    pub compute: Endpoint,
    pub network: Endpoint,
    pub image: Endpoint,
}

impl Api {
    /// Logs in as `admin` into project admin; where the keystone is somebody else's, as the user nova that this cloud has there.
    pub async fn admin(state: &StateDir) -> Result<Api, String> {
        match state.effective()?.identity.service_password {
            Some(password) => Api::login(state, "nova", &password, "service").await,
            None => Api::login(state, "admin", &secrets(state)?.admin_password, "admin").await,
        }
    }

    /// Logs in as `demo` into project demo.
    pub async fn demo(state: &StateDir) -> Result<Api, String> {
        let password = secrets(state)?.demo_password;
        Api::login(state, "demo", &password, "demo").await
    }

    async fn login(state: &StateDir, user: &str, password: &str, project: &str) -> Result<Api, String> {
        let config = state.effective()?;
        let keystone = sdk::identity::Identity::new(config.connect(apis::Api::Keystone, "")?);
        let token = keystone
            .login(user, password, project)
            .await
            .map_err(|error| format!("Cannot log in: {error}. Is the cloud up (`cumulo status`)?"))?;
        Ok(Api {
            auth: Auth::token(&token),
            identity: config.connect(apis::Api::Keystone, "/v3")?,
            compute: config.connect(apis::Api::Nova, "/v2.1")?,
            network: config.connect(apis::Api::Neutron, "/v2.0")?,
            image: config.connect(apis::Api::Glance, "/v2")?,
        })
    }

    pub async fn get(&self, endpoint: &Endpoint, path: &str, key: &str) -> Result<Value, String> {
        take(endpoint.get(&self.auth, path).await, key)
    }

    /// At a compute microversion.
    pub async fn get_at(&self, version: &str, path: &str, key: &str) -> Result<Value, String> {
        let header = format!("compute {version}");
        let extra = [("openstack-api-version", header.as_str())];
        take(self.compute.call_with(&self.auth, http::Method::GET, path, None::<&Value>, &extra).await, key)
    }

    pub async fn post(&self, endpoint: &Endpoint, path: &str, body: &Value, key: &str) -> Result<Value, String> {
        take(endpoint.post(&self.auth, path, body).await, key)
    }

    /// A change of something of keystone.
    pub async fn change(&self, method: http::Method, path: &str, body: Option<&Value>) -> Result<(), String> {
        self.identity.call(&self.auth, method, path, body).await.map(drop).map_err(|error| error.to_string())
    }

    /// A POST for which "it exists already" is as good as success.
    pub async fn ensure(&self, endpoint: &Endpoint, path: &str, body: &Value) -> Result<(), String> {
        match endpoint.post(&self.auth, path, body).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A DELETE for which "there is none" is as good as success.
    pub async fn remove(&self, endpoint: &Endpoint, path: &str) -> Result<(), String> {
        sdk::found(endpoint.delete(&self.auth, path).await).map(drop).map_err(|error| error.to_string())
    }
}

fn take(answer: sdk::Result<Answer>, key: &str) -> Result<Value, String> {
    answer.map_err(|error| error.to_string())?.take(key).map_err(|error| error.to_string())
}

/// Text at a path of keys, empty when there is none.
pub fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items of a list.
pub fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Runs a command's conversation with the cloud.
pub fn block_on<T>(conversation: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(conversation)
}

fn secrets(state: &StateDir) -> Result<Secrets, String> {
    let path = state.shared(&state.effective()?).join("secrets.toml");
    Secrets::read(&path)?.ok_or_else(|| format!("{} is missing.", path.display()))
}
