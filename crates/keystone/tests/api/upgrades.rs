//! Databases of earlier versions are brought up to date, with all that is in them.

use kit::db::{Db, Migration};
use sea_orm::ConnectionTrait;

use crate::common::Cloud;

/// All there are, by their files in the crate, where cargo runs its tests.
fn migrations() -> Vec<Migration> {
    let mut files: Vec<_> = std::fs::read_dir("migrations").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let migration = |(version, file)| Migration { version, sql: String::leak(std::fs::read_to_string(file).unwrap()) };
    (1..).zip(files).map(migration).collect()
}

#[tokio::test]
async fn a_database_of_every_earlier_version_is_brought_up_to_date() {
    let migrations = migrations();
    for version in 1..migrations.len() {
        let fill = async |location: &kit::db::Location| {
            let old = Db::open(location, &migrations[..version]).await.unwrap();
            let somebody = "INSERT INTO users (id, name, domain_id, enabled, tokens_valid_from, options, extra) \
                            VALUES ('a1', 'ann', 'default', TRUE, 0, '{}', '{\"email\": \"ann@example.org\"}')";
            old.write(move |tx| Box::pin(async move { Ok(tx.execute_unprepared(somebody).await.map(drop)?) })).await.unwrap();
        };
        let cloud = Cloud::upon(fill, |_| {}).await;
        let ann = cloud.get(&cloud.admin().await, "/v3/users?name=ann").await.expect(200);
        let ann = &ann.body["users"][0];
        assert_eq!((ann["id"].as_str(), ann["email"].as_str()), (Some("a1"), Some("ann@example.org")), "version {version}");
    }
}
