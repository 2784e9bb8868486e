//! The calls that Cumulo's parts make to the image API.

use std::collections::BTreeMap;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::query::{encode, query};
use crate::transport::UPLOAD;
use crate::{Auth, Body, Endpoint, Error, Result, found};

/// Glance.
#[derive(Clone)]
pub struct Image(pub Endpoint);

/// An image as glance shows it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ImageInfo {
    pub id: String,
    #[serde(default)]
    pub name: Option<String>,
    /// `queued`, `saving`, `active`, `deactivated`, ...
    pub status: String,
    pub visibility: String,
    #[serde(default)]
    pub owner: Option<String>,
    #[serde(default)]
    pub disk_format: Option<String>,
    #[serde(default)]
    pub container_format: Option<String>,
    /// Bytes of the file.
    #[serde(default)]
    pub size: Option<u64>,
    /// Bytes of the disk inside it.
    #[serde(default)]
    pub virtual_size: Option<u64>,
    /// MD5 of the file.
    #[serde(default)]
    pub checksum: Option<String>,
    /// `sha512`
    #[serde(default)]
    pub os_hash_algo: Option<String>,
    #[serde(default)]
    pub os_hash_value: Option<String>,
    /// GiB a disk needs to hold it.
    #[serde(default)]
    pub min_disk: u64,
    /// MiB a guest needs to run it.
    #[serde(default)]
    pub min_ram: u64,
    #[serde(default)]
    pub protected: bool,
    #[serde(default)]
    pub os_hidden: bool,
    #[serde(default)]
    pub tags: Vec<String>,
    pub created_at: String,
    pub updated_at: String,
    /// Everything else: custom properties, and links.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl ImageInfo {
    /// The custom properties: `hw_disk_bus` and friends.
    pub fn properties(&self) -> BTreeMap<String, String> {
        let own = |key: &str| !matches!(key, "self" | "file" | "schema" | "stores" | "direct_url" | "locations");
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.other.iter().filter(|(key, _)| own(key)).filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect()
    }
}

/// An image's file on its way: the stream, and what its end must match.
pub struct Download {
    pub body: Body,
    pub size: Option<u64>,
    /// MD5, as `Content-MD5` has it.
    pub md5: Option<String>,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub struct Page {
    pub images: Vec<ImageInfo>,
    #[serde(default)]
    pub next: Option<String>,
}

/// Pages one call follows, at most.
const PAGES: usize = 1000;

impl Image {
    pub fn new(endpoint: Endpoint) -> Image {
        Image(endpoint)
    }

    /// The image with this id; 404 when it is not there or not visible.
    pub async fn show(&self, auth: &Auth, id: &str) -> Result<ImageInfo> {
        self.0.get(auth, &path(id)).await?.whole()
    }

    /// All images the caller sees that match `filters`: `[("name", "cirros")]`, `[("visibility", "all")]`.
    pub async fn list(&self, auth: &Auth, filters: &[(&str, &str)]) -> Result<Vec<ImageInfo>> {
        let mut images = Vec::new();
        let mut next = Some(format!("/v2/images{}", query(filters)));
        for _ in 0..PAGES {
            let Some(path) = next.take() else { return Ok(images) };
            let page: Page = self.0.get(auth, &path).await?.whole()?;
            images.extend(page.images);
            next = page.next;
        }
        Err(Error::silent("the list of images does not end"))
    }

    /// One page, with `limit`, `marker`, `sort` among the parameters.
    pub async fn page(&self, auth: &Auth, parameters: &[(&str, &str)]) -> Result<Page> {
        self.0.get(auth, &format!("/v2/images{}", query(parameters))).await?.whole()
    }

    /// The image with this id, or the only one with this name.
    pub async fn find(&self, auth: &Auth, id_or_name: &str) -> Result<Option<ImageInfo>> {
        if let Some(image) = found(self.show(auth, id_or_name).await)? {
            return Ok(Some(image));
        }
        let mut named = self.list(auth, &[("name", id_or_name)]).await?;
        match named.len() {
            0 | 1 => Ok(named.pop()),
            n => Err(Error { status: 409, code: None, message: format!("{n} images have the name {id_or_name}; use an id.") }),
        }
    }

    /// Makes an image without a file. `fields` are its attributes and custom properties, flat.
    pub async fn create(&self, auth: &Auth, fields: &Map<String, Value>) -> Result<ImageInfo> {
        self.0.post(auth, "/v2/images", fields).await?.whole()
    }

    /// Gives an image its file. The stream may take its time; `size` is sent along when known.
    pub async fn upload(&self, auth: &Auth, id: &str, body: Body, size: Option<u64>) -> Result<()> {
        let mut headers = auth.headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if let Some(size) = size {
            headers.insert(CONTENT_LENGTH, size.into());
        }
        let answer = self.0.send_within(UPLOAD, Method::PUT, &format!("{}/file", path(id)), headers, body).await?;
        self.0.answer(answer).await.map(drop)
    }

    /// The image's file, as a stream that the caller checks against [`Download::md5`] or the image's `os_hash_value`.
    pub async fn download(&self, auth: &Auth, id: &str) -> Result<Download> {
        let answer = self.0.send(Method::GET, &format!("{}/file", path(id)), auth.headers(), Body::empty()).await?;
        match answer.status().as_u16() {
            200 => Ok(download(answer)),
            204 => Err(Error { status: 404, code: None, message: format!("Image {id} has no data") }),
            _ => match self.0.answer(answer).await {
                Ok(answer) => Err(Error::silent(format!("glance answered {} to a download", answer.status))),
                Err(error) => Err(error),
            },
        }
    }

    /// Changes attributes and custom properties: `[{"op": "replace", "path": "/name", "value": "x"}]`.
    pub async fn patch(&self, auth: &Auth, id: &str, operations: &[Value]) -> Result<ImageInfo> {
        let media = [("content-type", "application/openstack-images-v2.1-json-patch")];
        self.0.call_with(auth, Method::PATCH, &path(id), Some(&operations), &media).await?.whole()
    }

    pub async fn delete(&self, auth: &Auth, id: &str) -> Result<()> {
        self.0.delete(auth, &path(id)).await.map(drop)
    }
}

fn path(id: &str) -> String {
    format!("/v2/images/{}", encode(id))
}

fn download(answer: Response<Body>) -> Download {
    let text = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (size, md5) = (text("content-length").and_then(|n| n.parse().ok()), text("content-md5"));
    Download { body: answer.into_body(), size, md5 }
}
