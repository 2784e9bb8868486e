//! Keystone alone on a port, with users `admin` and `demo` (password `secret`): `cargo run -p keystone --example keystone -- DIR PORT`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use keystone::bootstrap::CatalogEntry;
use keystone::{Bootstrap, Config};
use kit::db::Location;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("which directory?")?);
    let port: u16 = arguments.next().ok_or("which port?")?.parse()?;
    let public_url = format!("http://127.0.0.1:{port}");
    let config = Config {
        fernet_keys: dir.join("fernet-keys"),
        token_lifetime: Duration::from_secs(3600),
        public_url: public_url.clone(),
        admin_url: public_url.clone(),
    };
    let keystone = keystone::open(&Location::Sqlite(dir.join("keystone.sqlite")), config).await?;
    let entry = |kind: &str, name: &str, url: &str| CatalogEntry { kind: kind.into(), name: name.into(), url: url.into(), admin_url: None };
    let bootstrap = Bootstrap {
        admin_password: "secret".into(),
        demo_password: "secret".into(),
        service_users: vec![("nova".into(), "secret".into())],
        region: "RegionOne".into(),
        endpoints: vec![
            entry("identity", "keystone", &format!("{public_url}/v3")),
            entry("compute", "nova", "http://127.0.0.1:8774/v2.1"),
            entry("volumev3", "cinderv3", "http://127.0.0.1:8776/v3/$(project_id)s"),
        ],
    };
    keystone.bootstrap(&bootstrap).await?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    kit::serve::serve(listener, keystone.service()?, CancellationToken::new()).await;
    Ok(())
}
