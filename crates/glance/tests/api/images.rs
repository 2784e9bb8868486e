//! Glance's API, as its pages describe it.

use std::collections::BTreeMap;

use crate::common::{ADMIN, ALICE, BOB, Cloud, cloud, open};
use axum::body::Body;
use bytes::Bytes;
use serde_json::json;
use sha2::Digest;

#[tokio::test]
async fn discovery_and_errors_have_glances_shapes() {
    let cloud = cloud().await;
    let root = cloud.get("", "/").await;
    assert_eq!(root.status, 300);
    assert_eq!(root.json()["versions"][0]["status"], "CURRENT");
    assert_eq!(cloud.get("", "/v2").await.status, 300);
    assert_eq!(cloud.get("", "/nope").await.status, 300);
    let nobody = cloud.get("", "/v2/images").await;
    assert_eq!((nobody.status.as_u16(), nobody.json()["code"].as_str().unwrap()), (401, "401 Unauthorized"));
    assert!(nobody.headers.contains_key("www-authenticate"));
    let missing = cloud.get(ALICE, "/v2/images/nope").await;
    assert_eq!(
        missing.json(),
        json!({"message": "No image found with ID nope<br /><br />\n\n\n", "code": "404 Not Found", "title": "Not Found"})
    );
    let page = cloud.ask(ALICE, "GET", "/v2/images/nope", &[], Body::empty()).await;
    assert!(String::from_utf8_lossy(&page.bytes).contains("<h1>404 Not Found</h1>"));
    // an image whose id is empty is none, not the list of all
    for method in ["GET", "DELETE"] {
        assert_eq!(cloud.ask(ALICE, method, "/v2/images/", &[], Body::empty()).await.status, 404);
    }
    let method = cloud.ask(ALICE, "DELETE", "/v2/images", &[], Body::empty()).await;
    assert_eq!((method.status.as_u16(), method.headers["allow"].to_str().unwrap()), (405, "GET, POST"));
    assert_eq!(cloud.get(ALICE, "/v2/schemas/image").await.json()["additionalProperties"], json!({"type": "string"}));
}

#[tokio::test]
async fn create_upload_show_download_delete() {
    let cloud = cloud().await;
    let body = json!({"name": "disk", "disk_format": "raw", "container_format": "bare", "tags": ["a"],
        "owner_specified.openstack.md5": "x", "hw_disk_bus": "virtio"});
    let id = cloud.create(ALICE, body).await;
    assert_eq!(cloud.get(ALICE, &format!("/v2/images/{id}/file")).await.status, 204);
    let content = b"hello image".repeat(1000);
    assert_eq!(cloud.upload(ALICE, &id, Body::from(content.clone())).await.status, 204);
    let image = cloud.get(ALICE, &format!("/v2/images/{id}")).await.json();
    assert_eq!((image["status"].as_str(), image["size"].as_u64()), (Some("active"), Some(11_000)));
    assert_eq!(image["owner_specified.openstack.md5"], "x");
    assert_eq!(image["os_hash_value"], format!("{:x}", sha2::Sha512::digest(&content)));
    assert_eq!((image["owner"].as_str(), image["visibility"].as_str()), (Some("alice"), Some("shared")));
    let file = cloud.get(ALICE, &format!("/v2/images/{id}/file")).await;
    assert_eq!(file.headers["content-md5"].to_str().unwrap(), image["checksum"].as_str().unwrap());
    assert_eq!((file.headers["content-length"].to_str().unwrap(), &file.bytes[..]), ("11000", &content[..]));
    let part = cloud.ask(ALICE, "GET", &format!("/v2/images/{id}/file"), &[("range", "bytes=6-10")], Body::empty()).await;
    assert_eq!(
        (part.status.as_u16(), &part.bytes[..], part.headers["content-range"].to_str().unwrap()),
        (206, &b"image"[..], "bytes 6-10/11000")
    );
    let beyond = cloud.ask(ALICE, "GET", &format!("/v2/images/{id}/file"), &[("range", "bytes=11000-")], Body::empty()).await;
    assert_eq!(beyond.status, 416);
    assert_eq!(cloud.upload(ALICE, &id, Body::from("again")).await.status, 409);
    assert_eq!(cloud.ask(ALICE, "DELETE", &format!("/v2/images/{id}"), &[], Body::empty()).await.status, 204);
    assert_eq!(cloud.get(ALICE, &format!("/v2/images/{id}")).await.status, 404);
    assert_eq!(cloud.files(), 0);
}

#[tokio::test]
async fn creation_refuses_what_it_must() {
    let cloud = cloud().await;
    let kinds = [
        (json!({"status": "active"}), 403),
        (json!({"os_glance_x": "y"}), 403),
        (json!({"visibility": "public"}), 403),
        (json!({"owner": "bob"}), 403),
        (json!({"id": "x"}), 400),
        (json!({"disk_format": "floppy"}), 400),
        (json!({"custom": 1}), 400),
        (json!({"custom": "a\u{0}b"}), 400),
        (json!({"min_ram": -1}), 400),
        (json!({"visibility": "secret"}), 400),
        (json!([]), 400),
    ];
    for (body, status) in kinds {
        assert_eq!(cloud.send(ALICE, "POST", "/v2/images", &body).await.status, status, "{body}");
    }
    assert_eq!(cloud.send("alice:reader", "POST", "/v2/images", &json!({})).await.status, 403);
    let id = cloud.create(ALICE, json!({"id": "5f0e6b9e-6d3c-4f3a-9a43-0d1d5b2f6f10"})).await;
    assert_eq!(cloud.send(ALICE, "POST", "/v2/images", &json!({"id": id})).await.status, 409);
    let many: BTreeMap<String, String> = (0..129).map(|n| (format!("p{n}"), "v".to_owned())).collect();
    assert_eq!(cloud.send(ALICE, "POST", "/v2/images", &json!(many)).await.status, 413);
    // no formats, no data
    assert_eq!(cloud.upload(ALICE, &id, Body::from("x")).await.status, 400);
    let media = [("content-type", "application/json")];
    assert_eq!(cloud.ask(ALICE, "PUT", &format!("/v2/images/{id}/file"), &media, Body::empty()).await.status, 415);
}

#[tokio::test]
async fn projects_see_what_they_should() {
    let cloud = cloud().await;
    for (who, name, visibility) in
        [(ALICE, "mine", "private"), (ALICE, "lent", "shared"), (ALICE, "known", "community"), (ADMIN, "all", "public")]
    {
        cloud.create(who, json!({"name": name, "visibility": visibility})).await;
    }
    let sort = "sort_key=name&sort_dir=asc";
    assert_eq!(cloud.names(BOB, sort).await, ["all"]);
    assert_eq!(cloud.names(BOB, &format!("{sort}&visibility=community")).await, ["known"]);
    assert_eq!(cloud.names(BOB, &format!("{sort}&visibility=all")).await, ["all", "known"]);
    assert_eq!(cloud.names(ALICE, sort).await, ["all", "known", "lent", "mine"]);
    assert_eq!(cloud.names(ADMIN, sort).await, ["all", "lent", "mine"]);
    let id_of = async |name: &str| {
        cloud.get(ADMIN, &format!("/v2/images?visibility=all&name={name}")).await.json()["images"][0]["id"].as_str().unwrap().to_owned()
    };
    let (mine, lent, all) = (id_of("mine").await, id_of("lent").await, id_of("all").await);
    assert_eq!(cloud.get(BOB, &format!("/v2/images/{mine}")).await.status, 404);
    assert_eq!(cloud.patch(BOB, &all, json!([{"op": "replace", "path": "/name", "value": "x"}])).await.status, 403);
    assert_eq!(cloud.ask(BOB, "DELETE", &format!("/v2/images/{all}"), &[], Body::empty()).await.status, 403);
    assert_eq!(cloud.ask(BOB, "DELETE", &format!("/v2/images/{mine}"), &[], Body::empty()).await.status, 404);

    let members = format!("/v2/images/{lent}/members");
    assert_eq!(cloud.get(BOB, &format!("/v2/images/{lent}")).await.status, 404);
    let invited = cloud.send(ALICE, "POST", &members, &json!({"member": "bob"})).await;
    assert_eq!((invited.status.as_u16(), invited.json()["status"].as_str()), (200, Some("pending")));
    assert_eq!(cloud.send(ALICE, "POST", &members, &json!({"member": "bob"})).await.status, 409);
    assert_eq!(cloud.get(BOB, &format!("/v2/images/{lent}")).await.status, 200);
    assert_eq!(cloud.names(BOB, sort).await, ["all"], "not before it is accepted");
    assert_eq!(cloud.send(ALICE, "PUT", &format!("{members}/bob"), &json!({"status": "accepted"})).await.status, 403);
    assert_eq!(cloud.send(BOB, "PUT", &format!("{members}/bob"), &json!({"status": "accepted"})).await.status, 200);
    assert_eq!(cloud.names(BOB, sort).await, ["all", "lent"]);
    assert_eq!(cloud.send(BOB, "POST", &members, &json!({"member": "carol"})).await.status, 403);
    assert_eq!(cloud.ask(ALICE, "DELETE", &format!("{members}/bob"), &[], Body::empty()).await.status, 204);
    assert_eq!(cloud.get(BOB, &format!("/v2/images/{lent}")).await.status, 404);
    assert_eq!(cloud.send(ALICE, "POST", &format!("/v2/images/{mine}/members"), &json!({"member": "bob"})).await.status, 403);
}

#[tokio::test]
async fn lists_filter_sort_and_page() {
    let cloud = cloud().await;
    for n in 0..7 {
        cloud
            .create(
                ALICE,
                json!({"name": format!("i{n}"), "min_ram": n, "tags": [if n % 2 == 0 { "even" } else { "odd" }], "os_hidden": n == 6, "color": "red"}),
            )
            .await;
    }
    assert_eq!(cloud.names(ALICE, "sort=name:asc&tag=even").await, ["i0", "i2", "i4"]);
    assert_eq!(cloud.names(ALICE, "os_hidden=true").await, ["i6"]);
    assert_eq!(cloud.names(ALICE, "name=in:i1,i3&sort=name:desc").await, ["i3", "i1"]);
    assert_eq!(cloud.names(ALICE, "color=blue").await.len(), 0);
    assert_eq!(cloud.names(ALICE, "color=red&status=queued&limit=2").await, ["i5", "i4"]);
    assert_eq!(cloud.names(ALICE, "status=nonsense").await.len(), 0);
    assert_eq!(cloud.names(ALICE, "limit=0").await.len(), 0);
    for bad in ["limit=-1", "marker=nope", "sort_key=shoe", "sort_dir=up&sort_key=name", "visibility=x", "created_at=gt:then"] {
        assert_eq!(cloud.get(ALICE, &format!("/v2/images?{bad}")).await.status, 400, "{bad}");
    }
    // disk_format is null everywhere: pages must not lose the rows
    for sort in ["disk_format:asc,name:asc", "name:desc", "size:asc"] {
        let (mut next, mut seen) = (Some(format!("/v2/images?limit=2&sort={sort}")), Vec::new());
        while let Some(path) = next {
            let page = cloud.get(ALICE, &path).await.json();
            seen.extend(page["images"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap().to_owned()));
            next = page["next"].as_str().map(str::to_owned);
        }
        seen.sort();
        assert_eq!(seen, ["i0", "i1", "i2", "i3", "i4", "i5"], "{sort}");
    }
}

#[tokio::test]
async fn patches_protection_tags_and_deactivation() {
    let cloud = cloud().await;
    let id = cloud.raw_image(ALICE, "x").await;
    let change = json!([{"op": "replace", "path": "/protected", "value": true}, {"op": "add", "path": "/os_distro", "value": "debian"}]);
    let patched = cloud.patch(ALICE, &id, change).await;
    assert_eq!((patched.status.as_u16(), patched.json()["os_distro"].as_str()), (200, Some("debian")));
    assert_eq!(cloud.ask(ALICE, "DELETE", &format!("/v2/images/{id}"), &[], Body::empty()).await.status, 403);
    assert_eq!(cloud.patch(ALICE, &id, json!([{"op": "replace", "path": "/nope", "value": "v"}])).await.status, 409);
    assert_eq!(cloud.patch(ALICE, &id, json!([{"op": "replace", "path": "/visibility", "value": "public"}])).await.status, 403);
    let plain = cloud.send(ALICE, "PATCH", &format!("/v2/images/{id}"), &json!([])).await;
    assert_eq!(plain.status, 415);

    let tag = format!("/v2/images/{id}/tags/two%20words");
    assert_eq!(cloud.ask(ALICE, "PUT", &tag, &[], Body::empty()).await.status, 204);
    assert_eq!(cloud.ask(ALICE, "PUT", &tag, &[], Body::empty()).await.status, 204);
    assert_eq!(cloud.get(ALICE, &format!("/v2/images/{id}")).await.json()["tags"], json!(["two words"]));
    assert_eq!(cloud.ask(ALICE, "DELETE", &tag, &[], Body::empty()).await.status, 204);
    assert_eq!(cloud.ask(ALICE, "DELETE", &tag, &[], Body::empty()).await.status, 404);

    let act =
        async |who: &str, what: &str| cloud.ask(who, "POST", &format!("/v2/images/{id}/actions/{what}"), &[], Body::empty()).await.status;
    assert_eq!(act(ADMIN, "deactivate").await, 403, "queued");
    cloud.upload(ALICE, &id, Body::from("data")).await;
    assert_eq!(act(ADMIN, "deactivate").await, 204);
    assert_eq!(cloud.get(ALICE, &format!("/v2/images/{id}/file")).await.status, 403);
    assert_eq!(cloud.get(ADMIN, &format!("/v2/images/{id}/file")).await.status, 200);
    assert_eq!(act(ADMIN, "reactivate").await, 204);
    assert_eq!(cloud.patch(ALICE, &id, json!([{"op": "replace", "path": "/disk_format", "value": "qcow2"}])).await.status, 403);
}

#[tokio::test]
async fn a_broken_upload_leaves_a_queued_image_and_no_bytes() {
    let cloud = cloud().await;
    let id = cloud.raw_image(ALICE, "x").await;
    let pieces = vec![Ok(Bytes::from_static(b"some")), Err(std::io::Error::other("gone"))];
    assert_eq!(cloud.upload(ALICE, &id, Body::from_stream(futures::stream::iter(pieces))).await.status, 400);
    assert_eq!((cloud.status(&id).await.as_str(), cloud.files()), ("queued", 0));
    // the client goes away and nobody waits for the answer
    let (sender, receiver) = futures::channel::mpsc::unbounded::<Result<Bytes, std::io::Error>>();
    sender.unbounded_send(Ok(Bytes::from_static(b"some"))).unwrap();
    let path = format!("/v2/images/{id}/file");
    let media = [("content-type", "application/octet-stream")];
    let upload = cloud.raw(ALICE, "PUT", &path, &media, Body::from_stream(receiver));
    assert!(tokio::time::timeout(std::time::Duration::from_millis(1000), upload).await.is_err());
    assert_eq!(cloud.status(&id).await, "saving");
    sender.unbounded_send(Err(std::io::Error::other("reset"))).unwrap();
    for _ in 0..100 {
        if cloud.status(&id).await == "queued" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!((cloud.status(&id).await.as_str(), cloud.files()), ("queued", 0));
    // nothing at all is an image of no bytes
    assert_eq!(cloud.upload(ALICE, &id, Body::empty()).await.status, 204);
    assert_eq!(cloud.get(ALICE, &format!("/v2/images/{id}")).await.json()["size"], 0);
}

#[tokio::test]
async fn dangerous_and_mislabelled_files_are_refused() {
    let cloud = cloud().await;
    let mut qcow2 = vec![0u8; 1024];
    qcow2[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    qcow2[8..16].copy_from_slice(&512u64.to_be_bytes());
    let id = cloud.create(ALICE, json!({"disk_format": "qcow2", "container_format": "bare"})).await;
    assert_eq!(cloud.upload(ALICE, &id, Body::from(qcow2)).await.status, 400);
    assert_eq!(cloud.upload(ALICE, &id, Body::from("not qcow2")).await.status, 415);
    assert_eq!((cloud.status(&id).await.as_str(), cloud.files()), ("queued", 0));
    let large = [("content-type", "application/octet-stream"), ("content-length", "999999999999")];
    assert_eq!(cloud.ask(ALICE, "PUT", &format!("/v2/images/{id}/file"), &large, Body::empty()).await.status, 413);
}

#[tokio::test]
async fn a_crash_leaves_no_lies_and_no_waste() {
    let first = cloud().await;
    let (kept, lost) = (first.raw_image(ALICE, "kept").await, first.raw_image(ALICE, "lost").await);
    first.upload(ALICE, &kept, Body::from("data")).await;
    // an upload that will never end, and somebody else's file
    let path = format!("/v2/images/{lost}/file");
    let upload = first.raw(
        ALICE,
        "PUT",
        &path,
        &[("content-type", "application/octet-stream")],
        Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()),
    );
    assert!(tokio::time::timeout(std::time::Duration::from_millis(1000), upload).await.is_err());
    // one whose data was being staged, and one whose data is
    let (staging, staged) = (first.raw_image(ALICE, "staging").await, first.raw_image(ALICE, "staged").await);
    let media = [("content-type", "application/octet-stream")];
    assert_eq!(first.ask(ALICE, "PUT", &format!("/v2/images/{staged}/stage"), &media, Body::from("data")).await.status, 204);
    let path = format!("/v2/images/{staging}/stage");
    let stage = first.raw(ALICE, "PUT", &path, &media, Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()));
    assert!(tokio::time::timeout(std::time::Duration::from_millis(200), stage).await.is_err());
    let images = first.dir.path().join("images");
    std::fs::write(images.join("README"), "not ours").unwrap();
    let Cloud { dir, .. } = first;
    let again = open(dir).await;
    assert_eq!((again.status(&kept).await.as_str(), again.status(&lost).await.as_str()), ("active", "queued"));
    assert_eq!((again.status(&staging).await.as_str(), again.status(&staged).await.as_str()), ("queued", "uploading"));
    assert_eq!(again.files(), 3, "the kept image, the staged data, and what is not ours");
}

#[tokio::test]
async fn staged_data_is_imported() {
    let cloud = cloud().await;
    let id = cloud.raw_image(ALICE, "x").await;
    let import = format!("/v2/images/{id}/import");
    assert_eq!(cloud.send(ALICE, "POST", &import, &json!({"method": {"name": "telepathy"}})).await.status, 400);
    assert_eq!(cloud.send(ALICE, "POST", &import, &json!({"method": {"name": "glance-direct"}})).await.status, 409);
    let media = [("content-type", "application/octet-stream")];
    assert_eq!(cloud.ask(ALICE, "PUT", &format!("/v2/images/{id}/stage"), &media, Body::from("data")).await.status, 204);
    assert_eq!(cloud.status(&id).await, "uploading");
    assert_eq!(cloud.send(ALICE, "POST", &import, &json!({"method": {"name": "glance-direct"}})).await.status, 202);
    for _ in 0..100 {
        if cloud.status(&id).await == "active" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(&cloud.get(ALICE, &format!("/v2/images/{id}/file")).await.bytes[..], b"data");
    assert_eq!(cloud.files(), 1);
}

#[tokio::test]
async fn bootstrap_registers_once() {
    let cloud = cloud().await;
    let file = cloud.dir.path().join("guest.img");
    std::fs::write(&file, vec![1; 4096]).unwrap();
    let properties = BTreeMap::from([("os_distro".to_owned(), "debian".to_owned()), ("min_disk".to_owned(), "1".to_owned())]);
    let id = cloud.glance.register("cumulo-guest", &file, "admin", properties.clone()).await.unwrap();
    assert_eq!(cloud.glance.register("cumulo-guest", &file, "admin", properties.clone()).await.unwrap(), id);
    let image = cloud.get(BOB, &format!("/v2/images/{id}")).await.json();
    assert_eq!(
        (image["status"].as_str(), image["visibility"].as_str(), image["min_disk"].as_u64()),
        (Some("active"), Some("public"), Some(1))
    );
    assert_eq!(cloud.get(BOB, &format!("/v2/images/{id}/file")).await.bytes.len(), 4096);
    // somebody else's image of that name has nothing to do with it
    let namesake = cloud.create(ADMIN, json!({"name": "cumulo-guest", "visibility": "public"})).await;
    std::fs::write(&file, vec![2; 8192]).unwrap();
    let newer = cloud.glance.register("cumulo-guest", &file, "admin", properties.clone()).await.unwrap();
    assert_ne!(newer, id);
    assert_eq!(cloud.get(BOB, &format!("/v2/images/{id}")).await.status, 404);
    assert_eq!(cloud.get(BOB, &format!("/v2/images/{namesake}")).await.status, 200);
    assert_eq!(cloud.files(), 1);
    // written again, but the same bytes
    std::fs::write(&file, vec![2; 8192]).unwrap();
    assert_eq!(cloud.glance.register("cumulo-guest", &file, "admin", properties).await.unwrap(), newer);
}

#[tokio::test]
async fn an_image_deleted_during_its_upload_stays_deleted() {
    let cloud = cloud().await;
    let id = cloud.raw_image(ALICE, "x").await;
    let (sender, receiver) = futures::channel::mpsc::unbounded::<Result<Bytes, std::io::Error>>();
    sender.unbounded_send(Ok(Bytes::from_static(b"some"))).unwrap();
    let path = format!("/v2/images/{id}/file");
    let media = [("content-type", "application/octet-stream")];
    let upload = cloud.ask(ALICE, "PUT", &path, &media, Body::from_stream(receiver));
    let delete = async {
        while cloud.status(&id).await != "saving" {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(cloud.ask(ALICE, "DELETE", &format!("/v2/images/{id}"), &[], Body::empty()).await.status, 204);
        // the id is spent
        assert_eq!(cloud.send(ALICE, "POST", "/v2/images", &json!({"id": id})).await.status, 409);
        drop(sender);
    };
    let (answer, ()) = tokio::join!(upload, delete);
    assert_eq!((answer.status.as_u16(), cloud.files()), (410, 0));
}

#[tokio::test]
async fn a_name_may_be_changed_during_an_upload() {
    let cloud = cloud().await;
    let id = cloud.raw_image(ALICE, "x").await;
    let (sender, receiver) = futures::channel::mpsc::unbounded::<Result<Bytes, std::io::Error>>();
    let path = format!("/v2/images/{id}/file");
    let media = [("content-type", "application/octet-stream")];
    let upload = cloud.ask(ALICE, "PUT", &path, &media, Body::from_stream(receiver));
    let rename = async {
        while cloud.status(&id).await != "saving" {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let change = json!([{"op": "replace", "path": "/name", "value": "y"}]);
        assert_eq!(cloud.patch(ALICE, &id, change).await.status, 200);
        drop(sender);
    };
    let (answer, ()) = tokio::join!(upload, rename);
    assert_eq!(answer.status, 204);
    let image = cloud.get(ALICE, &format!("/v2/images/{id}")).await.json();
    assert_eq!((image["name"].as_str(), image["status"].as_str()), (Some("y"), Some("active")));
}

#[tokio::test]
async fn the_typed_client_speaks_to_it() {
    let cloud = cloud().await;
    let client = sdk::image::Image::new(sdk::Endpoint::local(std::sync::Arc::new(cloud.service.clone()), "http://glance"));
    let auth = sdk::Auth::token(ALICE);
    let fields = json!({"name": "disk 1", "disk_format": "raw", "container_format": "bare", "hw_disk_bus": "virtio"});
    let made = client.create(&auth, fields.as_object().unwrap()).await.unwrap();
    assert_eq!(client.download(&auth, &made.id).await.err().unwrap().status, 404);
    client.upload(&auth, &made.id, Body::from("content"), Some(7)).await.unwrap();
    let shown = client.find(&auth, "disk 1").await.unwrap().unwrap();
    assert_eq!((shown.status.as_str(), shown.size, shown.virtual_size), ("active", Some(7), Some(7)));
    assert_eq!(shown.properties(), BTreeMap::from([("hw_disk_bus".to_owned(), "virtio".to_owned())]));
    let file = client.download(&auth, &made.id).await.unwrap();
    assert_eq!((file.size, file.md5), (Some(7), shown.checksum));
    assert_eq!(&axum::body::to_bytes(file.body, 100).await.unwrap()[..], b"content");
    for n in 0..30 {
        client.create(&auth, json!({"name": format!("n{n}")}).as_object().unwrap()).await.unwrap();
    }
    assert_eq!(client.list(&auth, &[]).await.unwrap().len(), 31, "over all pages");
    let patched = client.patch(&auth, &made.id, &[json!({"op": "replace", "path": "/name", "value": "x"})]).await.unwrap();
    assert_eq!(patched.name.as_deref(), Some("x"));
    client.delete(&auth, &made.id).await.unwrap();
    let gone = client.show(&auth, &made.id).await.unwrap_err();
    assert!(gone.is_not_found() && gone.message.starts_with("No image found"), "{gone}");
}

#[tokio::test]
async fn a_kept_answer_ends_with_the_next_change_and_is_nobody_elses() {
    let cloud = cloud().await;
    let id = cloud.raw_image(ALICE, "one").await;
    let path = format!("/v2/images/{id}");
    for name in ["one", "two", "three"] {
        cloud.patch(ALICE, &id, json!([{"op": "replace", "path": "/name", "value": name}])).await;
        for _ in 0..2 {
            assert_eq!(cloud.get(ALICE, &path).await.json()["name"], name);
            assert_eq!(cloud.names(ALICE, "").await, [name]);
            assert_eq!(cloud.get(BOB, &path).await.status, 404);
        }
    }
    cloud.send(ALICE, "POST", &format!("{path}/members"), &json!({"member": "bob"})).await;
    assert_eq!(cloud.get(BOB, &path).await.status, 200);
    cloud.ask(ALICE, "DELETE", &path, &[], Body::empty()).await;
    assert_eq!(cloud.get(ALICE, &path).await.status, 404);
    assert_eq!(cloud.names(ALICE, "").await.len(), 0);
}
