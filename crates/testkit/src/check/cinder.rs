//! What cinder has: volumes, who uses them, and whether what is counted is there.

use std::collections::{BTreeMap, BTreeSet};

use super::book::{Book, number};
use super::nova::Nova;
use super::{Findings, Outcome};

/// States that nothing stays in: flows are in the middle of them, or servers.
const PASSING: [&str; 16] = [
    "creating",
    "downloading",
    "attaching",
    "detaching",
    "extending",
    "uploading",
    "retyping",
    "reverting",
    "backing-up",
    "restoring-backup",
    "restoring",
    "managing",
    "unmanaging",
    "deleting",
    "migrating",
    "starting",
];
/// Of volumes that are being made to take the place of others.
const TARGET: &str = "target:";

pub struct Volume {
    pub status: String,
    /// `HOST@BACKEND#POOL`
    pub host: String,
    migration: String,
    /// Under which id its data is kept.
    pub data: String,
}

pub struct Attachment {
    pub volume: String,
    pub instance: String,
}

pub struct Cinder {
    pub volumes: BTreeMap<String, Volume>,
    pub attachments: BTreeMap<String, Attachment>,
    /// Kind, id, status, volume.
    kept: Vec<[String; 4]>,
    /// Project, resource, counted, used.
    counts: Vec<(String, String, i64, i64)>,
}

impl Cinder {
    pub async fn read(book: &Book) -> Outcome<Cinder> {
        let volumes = book.rows::<5>("SELECT id, status, host, migration_status, COALESCE(name_id, id) FROM volumes").await?;
        let attachments = book.rows::<3>("SELECT id, volume_id, instance_id FROM attachments").await?;
        Ok(Cinder {
            volumes: (volumes.into_iter())
                .map(|[id, status, host, migration, data]| (id, Volume { status, host, migration, data }))
                .collect(),
            attachments: attachments.into_iter().map(|[id, volume, instance]| (id, Attachment { volume, instance })).collect(),
            kept: book
                .rows(
                    "SELECT 'snapshot', id, status, volume_id FROM snapshots UNION ALL SELECT 'backup', id, status, '' FROM backups \
                     UNION ALL SELECT 'group', id, status, '' FROM volume_groups",
                )
                .await?,
            counts: counts(book).await?,
        })
    }

    /// The volume whose data this is.
    pub fn of_data(&self, data: &str) -> Option<(&String, &Volume)> {
        self.volumes.iter().find(|(_, volume)| volume.data == data)
    }

    /// Somebody uses it, or it is busy.
    pub fn is_used(&self, id: &str, volume: &Volume) -> bool {
        is_passing(&volume.status) || is_passing(&volume.migration) || self.attachments.values().any(|use_| use_.volume == id)
    }

    pub fn check(&self, nova: &Nova, findings: &mut Findings) {
        for (id, volume) in &self.volumes {
            self.check_volume(id, volume, findings);
        }
        for [kind, id, status, volume] in &self.kept {
            if is_passing(status) {
                findings.say(format!("cinder: {kind} {id} stays {status}"));
            }
            if !volume.is_empty() && !self.volumes.contains_key(volume) {
                findings.say(format!("cinder: {kind} {id} is of volume {volume}, which there is not"));
            }
        }
        for (id, attachment) in &self.attachments {
            self.check_attachment(id, attachment, nova, findings);
        }
        for device in nova.devices.iter().filter(|device| nova.is_settled(&device.instance)) {
            let (instance, volume, attachment) = (&device.instance, &device.volume, &device.attachment);
            if nova.servers.get(instance).is_some_and(|server| server.vm_state == "error") {
                continue;
            }
            if !self.volumes.contains_key(volume) {
                findings.say(format!("cinder: server {instance} has volume {volume}, which there is not"));
            } else if self.attachments.get(attachment).is_none_or(|known| known.volume != *volume) {
                findings.say(format!("cinder: server {instance} has volume {volume} by attachment {attachment:?}, which there is not"));
            }
        }
        for (project, resource, counted, used) in self.counts.iter().filter(|(_, _, counted, used)| counted != used) {
            findings.say(format!("cinder: project {project} is counted with {counted} of the resource {resource}, and uses {used}"));
        }
    }

    fn check_volume(&self, id: &str, volume: &Volume, findings: &mut Findings) {
        let Volume { status, migration, .. } = volume;
        if is_passing(status) {
            findings.say(format!("cinder: volume {id} stays {status}"));
        }
        if is_passing(migration) || migration.starts_with(TARGET) {
            findings.say(format!("cinder: volume {id} stays with the migration status {migration}"));
        }
        let attachments = self.attachments.values().filter(|attachment| attachment.volume == id).count();
        let fits = match status.as_str() {
            "available" => attachments == 0,
            "in-use" => attachments > 0,
            _ => true,
        };
        if !fits {
            findings.say(format!("cinder: volume {id} is {status} with {attachments} attachments"));
        }
    }

    fn check_attachment(&self, id: &str, attachment: &Attachment, nova: &Nova, findings: &mut Findings) {
        let Attachment { volume, instance } = attachment;
        if !self.volumes.contains_key(volume) {
            findings.say(format!("cinder: attachment {id} is of volume {volume}, which there is not"));
        }
        if instance.is_empty() {
            return;
        }
        let known = || nova.devices.iter().any(|device| device.attachment == id && device.instance == *instance);
        match nova.servers.contains_key(instance) {
            false => findings.say(format!("cinder: attachment {id} of volume {volume} is to server {instance}, which there is not")),
            true if nova.is_settled(instance) && !known() => {
                findings.say(format!("cinder: attachment {id} of volume {volume} is to server {instance}, which does not know it"));
            }
            true => {}
        }
    }
}

fn is_passing(status: &str) -> bool {
    PASSING.contains(&status)
}

/// What is counted for projects, beside what they have.
async fn counts(book: &Book) -> Outcome<Vec<(String, String, i64, i64)>> {
    let volumes = format!("volumes WHERE migration_status IS NULL OR migration_status NOT LIKE '{TARGET}%'");
    let both = format!("(SELECT project_id, size FROM {volumes} UNION ALL SELECT project_id, size FROM snapshots) b");
    let queries = [
        ("volumes", "COUNT(*)", volumes.as_str()),
        ("gigabytes", "SUM(size)", &both),
        ("snapshots", "COUNT(*)", "snapshots"),
        ("backups", "COUNT(*)", "backups"),
        ("backup_gigabytes", "SUM(size)", "backups"),
        ("groups", "COUNT(*)", "volume_groups"),
    ];
    let counted = book.rows::<3>("SELECT project_id, resource, CAST(in_use AS TEXT) FROM quota_usages").await?;
    let counted: BTreeMap<(String, String), i64> =
        counted.into_iter().map(|[project, resource, used]| ((project, resource), number(&used))).collect();
    let mut all = Vec::new();
    for (resource, what, of) in queries {
        let sql = format!("SELECT project_id, CAST({what} AS TEXT) FROM {of} GROUP BY project_id");
        let used: BTreeMap<String, i64> = book.rows::<2>(&sql).await?.into_iter().map(|[project, used]| (project, number(&used))).collect();
        let told = counted.keys().filter(|(_, counted)| counted == resource).map(|(project, _)| project);
        for project in used.keys().chain(told).collect::<BTreeSet<_>>() {
            let told = counted.get(&(project.clone(), resource.to_owned())).copied().unwrap_or_default();
            all.push((project.clone(), resource.to_owned(), told, used.get(project).copied().unwrap_or_default()));
        }
    }
    Ok(all)
}
