//! A login to the running cloud, for the commands beside it. They use the public APIs like any other client.

use sdk::{Answer, Auth, Endpoint};
use serde_json::Value;

use crate::state::StateDir;

/// The cloud as the administrator, or as the user demo, sees it.
pub struct Api {
    auth: Auth,
    pub compute: Endpoint,
    pub network: Endpoint,
    pub image: Endpoint,
}

impl Api {
    /// Logs in as `admin` into project admin.
    pub async fn admin(state: &StateDir) -> Result<Api, String> {
        let password = state.secrets()?.admin_password;
        Api::login(state, "admin", &password, "admin").await
    }

    /// Logs in as `demo` into project demo.
    pub async fn demo(state: &StateDir) -> Result<Api, String> {
        let password = state.secrets()?.demo_password;
        Api::login(state, "demo", &password, "demo").await
    }

    async fn login(state: &StateDir, user: &str, password: &str, project: &str) -> Result<Api, String> {
        let config = state.effective()?;
        let endpoint = |port: u16, path: &str| Endpoint::http(&format!("{}{path}", config.url(port)));
        let keystone = sdk::identity::Identity::new(endpoint(config.ports.keystone, ""));
        let token = keystone
            .login(user, password, project)
            .await
            .map_err(|error| format!("Cannot log in: {error}. Is the cloud up (`cumulo status`)?"))?;
        Ok(Api {
            auth: Auth::token(&token),
            compute: endpoint(config.ports.nova, "/v2.1"),
            network: endpoint(config.ports.neutron, "/v2.0"),
            image: endpoint(config.ports.glance, "/v2"),
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
