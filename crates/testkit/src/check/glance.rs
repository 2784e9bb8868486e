//! What glance has: images with their files, and no file that is of none.

use std::collections::BTreeSet;

use super::book::Book;
use super::place::{Place, names_in};
use super::{Findings, Outcome};

/// Directories among the images' files that are not of one image.
const OTHERS: [&str; 3] = ["cache", "incoming", "staging"];

pub struct Glance {
    images: BTreeSet<String>,
    /// Id and status of those whose data is on its way.
    passing: Vec<[String; 2]>,
    /// Image and name of what is in the directory.
    files: Vec<[String; 2]>,
    /// Names that are on their way in or out.
    going: BTreeSet<String>,
    /// What is remembered of images that wait to be removed for good.
    waiting: String,
}

impl Glance {
    pub async fn read(book: &Book) -> Outcome<Glance> {
        let transfers: BTreeSet<String> = book.column("SELECT name FROM image_transfers").await?;
        let leftovers: BTreeSet<String> = book.column("SELECT name FROM image_leftovers").await?;
        Ok(Glance {
            images: book.column("SELECT id FROM images").await?,
            passing: book
                .rows(
                    "SELECT id, status FROM images WHERE status IN ('saving', 'importing') AND id NOT IN (SELECT image_id FROM image_transfers)",
                )
                .await?,
            files: book.rows("SELECT image_id, name FROM image_locations WHERE store = 'file'").await?,
            going: transfers.into_iter().chain(leftovers).collect(),
            waiting: book.column::<Vec<String>>("SELECT image FROM pending_deletes").await?.concat(),
        })
    }

    /// `place` is one that has the images.
    pub fn check(&self, place: &Place, findings: &mut Findings) {
        for [id, status] in &self.passing {
            findings.say(format!("glance: image {id} stays {status}, and nobody brings its data"));
        }
        for [image, name] in self.files.iter().filter(|[_, name]| !place.images.join(name).is_file()) {
            findings.say(format!("glance: image {image} has no file {name}"));
        }
        for name in names_in(&place.images).iter().filter(|name| !OTHERS.contains(&name.as_str())) {
            let plain = name.strip_suffix(".partial").unwrap_or(name);
            let known = self.files.iter().any(|[_, known]| known == name) || self.going.contains(plain) || self.waiting.contains(plain);
            if !known {
                findings.say(format!("glance: the file {name} is no image's"));
            }
        }
        for id in names_in(&place.images.join("staging")).iter().filter(|id| !self.images.contains(*id)) {
            findings.say(format!("glance: the staged file {id} is no image's"));
        }
        let incoming = place.images.join("incoming");
        for node in names_in(&incoming).iter().filter(|_| self.going.is_empty()) {
            for name in names_in(&incoming.join(node)) {
                findings.say(format!("glance: the file {name} comes in at {node}, and nobody brings it"));
            }
        }
    }
}
