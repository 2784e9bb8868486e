//! The policy rules, with glance's names and defaults.

const MEMBER: &str = "role:admin or (role:member and project_id:%(project_id)s)";
const VISIBLE_READER: &str = "role:admin or role:service or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s or \
    project_id:%(caller_id)s and ('community':%(visibility)s or 'public':%(visibility)s)))";
const VISIBLE_MEMBER: &str = "role:admin or role:service or (role:member and (project_id:%(project_id)s or project_id:%(member_id)s or \
    project_id:%(caller_id)s and ('community':%(visibility)s or 'public':%(visibility)s)))";

/// A public namespace is everybody's to read, whosever it is.
const METADEF_READER: &str =
    "role:admin or (role:reader and (project_id:%(project_id)s or (project_id:%(caller_id)s and 'public':%(visibility)s)))";

pub const RULES: &[(&str, &str)] = &[
    ("add_image", MEMBER),
    ("delete_image", MEMBER),
    ("get_image", VISIBLE_READER),
    ("get_images", "role:admin or role:service or (role:reader and project_id:%(project_id)s)"),
    ("modify_image", MEMBER),
    ("publicize_image", "role:admin"),
    ("communitize_image", MEMBER),
    ("download_image", VISIBLE_MEMBER),
    ("upload_image", MEMBER),
    ("delete_image_location", "role:admin"),
    ("add_image_location", MEMBER),
    ("fetch_image_location", "role:admin or role:service"),
    ("get_image_location", VISIBLE_READER),
    ("set_image_location", MEMBER),
    ("copy_image", "role:admin"),
    ("deactivate", MEMBER),
    ("reactivate", MEMBER),
    ("add_member", MEMBER),
    ("delete_member", MEMBER),
    ("get_member", "role:admin or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)"),
    ("get_members", "role:admin or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)"),
    ("stores_info_detail", "role:admin or role:service"),
    ("cache_list", "role:admin"),
    ("cache_image", "role:admin"),
    ("cache_delete", "role:admin"),
    ("tasks_api_access", "role:admin"),
    ("modify_member", "role:admin or (role:member and project_id:%(member_id)s)"),
    ("metadef_admin", "role:admin"),
    ("get_metadef_namespace", METADEF_READER),
    ("get_metadef_object", METADEF_READER),
    ("get_metadef_objects", METADEF_READER),
    ("get_metadef_property", METADEF_READER),
    ("get_metadef_properties", METADEF_READER),
    ("get_metadef_tag", METADEF_READER),
    ("get_metadef_tags", METADEF_READER),
    ("get_metadef_resource_type", METADEF_READER),
    ("get_metadef_namespaces", "role:admin or role:reader"),
    ("list_metadef_resource_types", "role:admin or role:reader"),
    ("add_metadef_namespace", "rule:metadef_admin"),
    ("modify_metadef_namespace", "rule:metadef_admin"),
    ("delete_metadef_namespace", "rule:metadef_admin"),
    ("add_metadef_object", "rule:metadef_admin"),
    ("modify_metadef_object", "rule:metadef_admin"),
    ("delete_metadef_object", "rule:metadef_admin"),
    ("add_metadef_property", "rule:metadef_admin"),
    ("modify_metadef_property", "rule:metadef_admin"),
    ("remove_metadef_property", "rule:metadef_admin"),
    ("add_metadef_tag", "rule:metadef_admin"),
    ("add_metadef_tags", "rule:metadef_admin"),
    ("modify_metadef_tag", "rule:metadef_admin"),
    ("delete_metadef_tag", "rule:metadef_admin"),
    ("delete_metadef_tags", "rule:metadef_admin"),
    ("add_metadef_resource_type_association", "rule:metadef_admin"),
    ("remove_metadef_resource_type_association", "rule:metadef_admin"),
];
