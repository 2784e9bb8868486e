//! Files of any size pass in constant memory: alone in its process, so that the measure is its own.

#![allow(clippy::unwrap_used)]

mod common;

use axum::body::Body;
use bytes::Bytes;
use common::{ALICE, cloud};
use futures::StreamExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_files_stream_in_constant_memory() {
    const PIECE: usize = 1 << 20;
    let pieces: usize = std::env::var("CUMULO_TEST_UPLOAD_MB").ok().and_then(|n| n.parse().ok()).unwrap_or(32);
    let cloud = cloud().await;
    let id = cloud.raw_image(ALICE, "large").await;
    let zeros = Bytes::from(vec![0; PIECE]);
    let before = resident();
    let stream = futures::stream::iter((0..pieces).map(move |_| Ok::<_, std::io::Error>(zeros.clone())));
    assert_eq!(cloud.upload(ALICE, &id, Body::from_stream(stream)).await.status, 204);
    let path = format!("/v2/images/{id}/file");
    let mut body = cloud.raw(ALICE, "GET", &path, &[], Body::empty()).await.into_body().into_data_stream();
    let mut size = 0;
    while let Some(piece) = body.next().await {
        size += piece.unwrap().len();
    }
    assert_eq!(size, pieces * PIECE);
    assert!(resident() < before + (16 << 20), "memory grew from {before} to {}", resident());
}

/// Bytes of memory this process has.
fn resident() -> usize {
    let pages: usize = std::fs::read_to_string("/proc/self/statm").unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}
