//! Who may what: every operation as nobody, as a reader, a member and a manager of the image's project, as another project's member, as an
//! administrator. The expectations are those of the API's page, row by row.

use crate::common::{ADMIN, ALICE, BOB, Cloud, cloud};
use axum::body::Body;
use serde_json::json;

const READER: &str = "alice:reader";
const MANAGER: &str = "alice:manager,member,reader";
/// With the column of what each is answered; managers may what members may.
const WHO: [(&str, usize); 6] = [("", 0), (READER, 1), (ALICE, 2), (MANAGER, 2), (BOB, 3), (ADMIN, 4)];
const NOBODY: u16 = 401;

/// One operation on a private image of Alice's: method, path, media type, body, and the statuses for nobody, reader, member, stranger, admin.
type Row = (&'static str, &'static str, &'static str, &'static str, [u16; 5]);

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";
const PATCH: &str = "application/openstack-images-v2.1-json-patch";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("GET",    "/v2/images",                 JSON,  "",   [NOBODY, 200, 200, 200, 200]),
    ("POST",   "/v2/images",                 JSON,  "{}", [NOBODY, 403, 201, 201, 201]),
    ("GET",    "/v2/images/ID",              JSON,  "",   [NOBODY, 200, 200, 404, 200]),
    ("PATCH",  "/v2/images/ID",              PATCH, "[]", [NOBODY, 403, 200, 404, 200]),
    ("GET",    "/v2/images/ID/file",         JSON,  "",   [NOBODY, 403, 204, 404, 204]),
    ("PUT",    "/v2/images/ID/file",         BYTES, "x",  [NOBODY, 403, 204, 404, 204]),
    ("PUT",    "/v2/images/ID/stage",        BYTES, "x",  [NOBODY, 403, 204, 404, 204]),
    ("POST",   "/v2/images/ID/import",       JSON,  r#"{"method": {"name": "glance-direct"}}"#, [NOBODY, 403, 409, 404, 409]),
    ("GET",    "/v2/images/ID/tasks",        JSON,  "",   [NOBODY, 200, 200, 404, 200]),
    ("PUT",    "/v2/images/ID/tags/t",       JSON,  "",   [NOBODY, 403, 204, 404, 204]),
    ("DELETE", "/v2/images/ID/tags/t",       JSON,  "",   [NOBODY, 403, 404, 404, 404]),
    ("GET",    "/v2/images/ID/locations",    JSON,  "",   [NOBODY, 403, 403, 403, 200]),
    ("POST",   "/v2/images/ID/actions/deactivate", JSON, "", [NOBODY, 403, 403, 404, 403]),
    ("DELETE", "/v2/images/ID",              JSON,  "",   [NOBODY, 403, 204, 404, 204]),
    ("GET",    "/v2/info/import",            JSON,  "",   [NOBODY, 200, 200, 200, 200]),
    ("GET",    "/v2/info/stores",            JSON,  "",   [NOBODY, 200, 200, 200, 200]),
    ("GET",    "/v2/info/stores/detail",     JSON,  "",   [NOBODY, 403, 403, 403, 200]),
    ("GET",    "/v2/info/usage",             JSON,  "",   [NOBODY, 200, 200, 200, 200]),
    ("DELETE", "/v2/stores/file/ID",         JSON,  "",   [NOBODY, 403, 403, 403, 409]),
    ("GET",    "/v2/cache",                  JSON,  "",   [NOBODY, 403, 403, 403, 200]),
    ("DELETE", "/v2/cache",                  JSON,  "",   [NOBODY, 403, 403, 403, 204]),
    ("PUT",    "/v2/cache/ID",               JSON,  "",   [NOBODY, 403, 403, 403, 400]),
    ("GET",    "/v2/tasks",                  JSON,  "",   [NOBODY, 403, 403, 403, 200]),
    ("POST",   "/v2/tasks",                  JSON,  "{}", [NOBODY, 403, 403, 403, 400]),
    ("GET",    "/v2/schemas/image",          JSON,  "",   [NOBODY, 200, 200, 200, 200]),
    ("GET",    "/v2/metadefs/namespaces",    JSON,  "",   [NOBODY, 200, 200, 200, 200]),
    ("POST",   "/v2/metadefs/namespaces",    JSON,  r#"{"namespace": "n"}"#, [NOBODY, 403, 403, 403, 201]),
    ("GET",    "/v2/metadefs/resource_types", JSON, "",   [NOBODY, 200, 200, 200, 200]),
    ("GET",    "/v2/metadefs/namespaces/OS::OperatingSystem", JSON, "", [NOBODY, 200, 200, 200, 200]),
    ("DELETE", "/v2/metadefs/namespaces/OS::OperatingSystem", JSON, "", [NOBODY, 403, 403, 403, 403]),
    ("POST",   "/v2/metadefs/namespaces/OS::OperatingSystem/tags/t", JSON, "", [NOBODY, 403, 403, 403, 201]),
    ("GET",    "/v2/nonsense",               JSON,  "",   [NOBODY, 404, 404, 404, 404]),
];

async fn private_image(cloud: &Cloud) -> String {
    cloud.create(ALICE, json!({"disk_format": "raw", "container_format": "bare", "visibility": "private"})).await
}

#[tokio::test]
async fn every_operation_as_everybody() {
    let cloud = cloud().await;
    for (method, path, media, body, expected) in ROWS {
        for (who, column) in WHO {
            let status = expected[column];
            let path = path.replace("ID", &private_image(&cloud).await);
            let answer = cloud.ask(who, method, &path, &[("content-type", media)], Body::from(*body)).await;
            assert_eq!(answer.status.as_u16(), status, "{method} {path} as {who:?}: {}", String::from_utf8_lossy(&answer.bytes));
        }
    }
}

#[tokio::test]
async fn bodies_of_any_shape_are_no_fault_of_ours() {
    let cloud = cloud().await;
    let id = private_image(&cloud).await;
    let writes =
        ["/v2/images", "/v2/images/ID/import", "/v2/images/ID/members", "/v2/images/ID/locations", "/v2/tasks", "/v2/metadefs/namespaces"];
    for path in writes {
        for body in [
            "",
            "{",
            "null",
            "[]",
            "1",
            "\"x\"",
            "{}",
            r#"{"method": []}"#,
            r#"{"type": "import", "input": {}}"#,
            r#"{"namespace": {}}"#,
            "\u{0}",
        ] {
            let answer = cloud.ask(ADMIN, "POST", &path.replace("ID", &id), &[("content-type", JSON)], Body::from(body)).await;
            assert!(answer.status.as_u16() < 500, "{path} {body}: {}", answer.status);
        }
    }
}
