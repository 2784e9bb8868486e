//! The index of the API: every operation, who may, and what does it.

use kit::Routes;
use kit::policy::ANY;

use crate::volumes::{actions, create, delete, metadata};
use crate::{Cinder, attachments, backups, discovery, manageable, messages, qos, quotas, services, snapshots, transfers, types, volumes};

pub fn routes() -> Routes<Cinder> {
    Routes::new()
        .get("/", ANY, discovery::v3)
        .merge(volume_routes())
        .merge(attachment_routes())
        .merge(snapshot_routes())
        .merge(type_routes())
        .merge(transfer_routes())
        .merge(backup_routes())
        .merge(manageable_routes())
        .merge(message_routes())
        .merge(project_routes())
        .merge(service_routes())
}

fn volume_routes() -> Routes<Cinder> {
    Routes::new()
        .get("/volumes", "volume:get_all", volumes::api::list)
        .post("/volumes", "volume:create", create::create)
        .get("/volumes/detail", "volume:get_all", volumes::api::detail)
        .get("/volumes/summary", "volume:get_all", volumes::api::summary)
        .since(3, 12)
        .get("/volumes/{volume_id}", "volume:get", volumes::api::show)
        .put("/volumes/{volume_id}", "volume:update", volumes::api::update)
        .delete("/volumes/{volume_id}", "volume:delete", delete::delete)
        // each action has a rule of its own
        .post("/volumes/{volume_id}/action", ANY, actions::act)
        .get("/volumes/{volume_id}/metadata", "volume:get_volume_metadata", metadata::list)
        .post("/volumes/{volume_id}/metadata", "volume:create_volume_metadata", metadata::merge)
        .put("/volumes/{volume_id}/metadata", "volume:update_volume_metadata", metadata::replace)
        .get("/volumes/{volume_id}/metadata/{key}", "volume:get_volume_metadata", metadata::show)
        .put("/volumes/{volume_id}/metadata/{key}", "volume:update_volume_metadata", metadata::set)
        .delete("/volumes/{volume_id}/metadata/{key}", "volume:delete_volume_metadata", metadata::delete)
        .get("/volumes/{volume_id}/encryption", "volume_extension:volume_encryption_metadata", volumes::api::encryption)
        .get("/volumes/{volume_id}/encryption/{key}", "volume_extension:volume_encryption_metadata", volumes::api::encryption_item)
}

fn attachment_routes() -> Routes<Cinder> {
    Routes::new()
        .get("/attachments", "volume:get_all", attachments::api::list)
        .since(3, 27)
        .post("/attachments", "volume:attachment_create", attachments::api::create)
        .since(3, 27)
        .get("/attachments/detail", "volume:get_all", attachments::api::detail)
        .since(3, 27)
        .get("/attachments/{attachment_id}", "volume:get", attachments::api::show)
        .since(3, 27)
        .put("/attachments/{attachment_id}", "volume:attachment_update", attachments::api::update)
        .since(3, 27)
        .delete("/attachments/{attachment_id}", "volume:attachment_delete", attachments::api::delete)
        .since(3, 27)
        .post("/attachments/{attachment_id}/action", "volume:attachment_complete", attachments::api::action)
        .since(3, 44)
}

fn snapshot_routes() -> Routes<Cinder> {
    Routes::new()
        .get("/snapshots", "volume:get_all_snapshots", snapshots::api::list)
        .post("/snapshots", "volume:create_snapshot", snapshots::api::create)
        .get("/snapshots/detail", "volume:get_all_snapshots", snapshots::api::detail)
        .get("/snapshots/{snapshot_id}", "volume:get_snapshot", snapshots::api::show)
        .put("/snapshots/{snapshot_id}", "volume:update_snapshot", snapshots::api::update)
        .delete("/snapshots/{snapshot_id}", "volume:delete_snapshot", snapshots::api::delete)
        // each action has a rule of its own
        .post("/snapshots/{snapshot_id}/action", ANY, snapshots::actions::act)
        .get("/snapshots/{snapshot_id}/metadata", "volume:get_snapshot_metadata", snapshots::metadata::list)
        .post("/snapshots/{snapshot_id}/metadata", "volume:update_snapshot_metadata", snapshots::metadata::merge)
        .put("/snapshots/{snapshot_id}/metadata", "volume:update_snapshot_metadata", snapshots::metadata::replace)
        .get("/snapshots/{snapshot_id}/metadata/{key}", "volume:get_snapshot_metadata", snapshots::metadata::show)
        .put("/snapshots/{snapshot_id}/metadata/{key}", "volume:update_snapshot_metadata", snapshots::metadata::set)
        .delete("/snapshots/{snapshot_id}/metadata/{key}", "volume:delete_snapshot_metadata", snapshots::metadata::delete)
}

fn type_routes() -> Routes<Cinder> {
    Routes::new()
        .get("/types", "volume_extension:type_get_all", types::api::list)
        .post("/types", "volume_extension:type_create", types::api::create)
        .get("/types/{volume_type_id}", "volume_extension:type_get", types::api::show)
        .put("/types/{volume_type_id}", "volume_extension:type_update", types::api::update)
        .delete("/types/{volume_type_id}", "volume_extension:type_delete", types::api::delete)
        .get("/types/{volume_type_id}/extra_specs", "volume_extension:types_extra_specs:index", types::specs::list)
        .post("/types/{volume_type_id}/extra_specs", "volume_extension:types_extra_specs:create", types::specs::create)
        .get("/types/{volume_type_id}/extra_specs/{key}", "volume_extension:types_extra_specs:show", types::specs::show)
        .put("/types/{volume_type_id}/extra_specs/{key}", "volume_extension:types_extra_specs:update", types::specs::update)
        .delete("/types/{volume_type_id}/extra_specs/{key}", "volume_extension:types_extra_specs:delete", types::specs::delete)
        .get("/types/{volume_type_id}/os-volume-type-access", "volume_extension:volume_type_access:get_all_for_type", types::access::list)
        .post("/types/{volume_type_id}/action", "volume_extension:volume_type_access", types::access::act)
        .get("/default-types", "volume_extension:default_get_all", types::defaults::list)
        .since(3, 62)
        .get("/default-types/{project_id}", "volume_extension:default_get", types::defaults::show)
        .since(3, 62)
        .put("/default-types/{project_id}", "volume_extension:default_set_or_update", types::defaults::set)
        .since(3, 62)
        .delete("/default-types/{project_id}", "volume_extension:default_unset", types::defaults::unset)
        .since(3, 62)
        .get("/qos-specs", "volume_extension:qos_specs_manage:get_all", qos::api::list)
        .post("/qos-specs", "volume_extension:qos_specs_manage:create", qos::api::create)
        .get("/qos-specs/{qos_id}", "volume_extension:qos_specs_manage:get", qos::api::show)
        .put("/qos-specs/{qos_id}", "volume_extension:qos_specs_manage:update", qos::api::update)
        .delete("/qos-specs/{qos_id}", "volume_extension:qos_specs_manage:delete", qos::api::delete)
        .put("/qos-specs/{qos_id}/delete_keys", "volume_extension:qos_specs_manage:update", qos::api::delete_keys)
        .get("/qos-specs/{qos_id}/associations", "volume_extension:qos_specs_manage:get_all", qos::associations::list)
        .get("/qos-specs/{qos_id}/associate", "volume_extension:qos_specs_manage:update", qos::associations::associate)
        .get("/qos-specs/{qos_id}/disassociate", "volume_extension:qos_specs_manage:update", qos::associations::disassociate)
        .get("/qos-specs/{qos_id}/disassociate_all", "volume_extension:qos_specs_manage:update", qos::associations::disassociate_all)
}

fn transfer_routes() -> Routes<Cinder> {
    Routes::new()
        .get("/os-volume-transfer", "volume:get_all_transfers", transfers::api::list)
        .post("/os-volume-transfer", "volume:create_transfer", transfers::api::create)
        .get("/os-volume-transfer/detail", "volume:get_all_transfers", transfers::api::detail)
        .get("/os-volume-transfer/{transfer_id}", "volume:get_transfer", transfers::api::show)
        .delete("/os-volume-transfer/{transfer_id}", "volume:delete_transfer", transfers::api::delete)
        .post("/os-volume-transfer/{transfer_id}/accept", "volume:accept_transfer", transfers::accept::accept)
        .get("/volume-transfers", "volume:get_all_transfers", transfers::api::list)
        .since(3, 55)
        .post("/volume-transfers", "volume:create_transfer", transfers::api::create)
        .since(3, 55)
        .get("/volume-transfers/detail", "volume:get_all_transfers", transfers::api::detail)
        .since(3, 55)
        .get("/volume-transfers/{transfer_id}", "volume:get_transfer", transfers::api::show)
        .since(3, 55)
        .delete("/volume-transfers/{transfer_id}", "volume:delete_transfer", transfers::api::delete)
        .since(3, 55)
        .post("/volume-transfers/{transfer_id}/accept", "volume:accept_transfer", transfers::accept::accept)
        .since(3, 55)
}

fn backup_routes() -> Routes<Cinder> {
    Routes::new()
        .get("/backups", "backup:get_all", backups::api::list)
        .post("/backups", "backup:create", backups::create::create)
        .get("/backups/detail", "backup:get_all", backups::api::detail)
        .post("/backups/import_record", "backup:backup-import", backups::records::import)
        .get("/backups/{backup_id}", "backup:get", backups::api::show)
        .put("/backups/{backup_id}", "backup:update", backups::api::update)
        .since(3, 9)
        .delete("/backups/{backup_id}", "backup:delete", backups::api::delete)
        .post("/backups/{backup_id}/restore", "backup:restore", backups::restore::restore)
        .get("/backups/{backup_id}/export_record", "backup:export-import", backups::records::export)
        // each action has a rule of its own
        .post("/backups/{backup_id}/action", ANY, backups::api::act)
}

fn manageable_routes() -> Routes<Cinder> {
    Routes::new()
        .get("/manageable_volumes", "volume_extension:list_manageable", manageable::api::list)
        .since(3, 8)
        .post("/manageable_volumes", "volume_extension:volume_manage", manageable::api::create)
        .since(3, 8)
        .get("/manageable_volumes/detail", "volume_extension:list_manageable", manageable::api::detail)
        .since(3, 8)
        .get("/os-volume-manage", "volume_extension:list_manageable", manageable::api::list)
        .post("/os-volume-manage", "volume_extension:volume_manage", manageable::api::create)
        .get("/os-volume-manage/detail", "volume_extension:list_manageable", manageable::api::detail)
}

fn message_routes() -> Routes<Cinder> {
    Routes::new()
        .get("/messages", "message:get_all", messages::api::list)
        .since(3, 3)
        .get("/messages/{message_id}", "message:get", messages::api::show)
        .since(3, 3)
        .delete("/messages/{message_id}", "message:delete", messages::api::delete)
        .since(3, 3)
}

fn project_routes() -> Routes<Cinder> {
    Routes::new()
        .get("/limits", "limits_extension:used_limits", quotas::api::limits)
        .get("/os-quota-sets/{project_id}", "volume_extension:quotas:show", quotas::api::show)
        .deferred()
        .put("/os-quota-sets/{project_id}", "volume_extension:quotas:update", quotas::api::update)
        .deferred()
        .delete("/os-quota-sets/{project_id}", "volume_extension:quotas:delete", quotas::api::delete)
        .deferred()
        .get("/os-quota-sets/{project_id}/defaults", "volume_extension:quotas:show", quotas::api::defaults)
        .deferred()
        .get("/os-quota-class-sets/{class_name}", "volume_extension:quota_classes", quotas::api::show_class)
        .put("/os-quota-class-sets/{class_name}", "volume_extension:quota_classes", quotas::api::update_class)
}

fn service_routes() -> Routes<Cinder> {
    Routes::new()
        .get("/os-services", "volume_extension:services:index", services::api::list)
        .put("/os-services/enable", "volume_extension:services:update", services::api::enable)
        .put("/os-services/disable", "volume_extension:services:update", services::api::disable)
        .put("/os-services/disable-log-reason", "volume_extension:services:update", services::api::disable_with_reason)
        .get("/scheduler-stats/get_pools", "scheduler_extension:scheduler_stats:get_pools", services::api::pools)
        .get("/os-availability-zone", "volume:availability_zone_list", services::api::zones)
        .get("/extensions", ANY, services::api::extensions)
        .get("/resource_filters", ANY, services::api::resource_filters)
        .since(3, 33)
}
