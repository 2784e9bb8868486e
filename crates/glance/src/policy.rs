//! The policy rules, with glance's names and defaults.

const MEMBER: &str = "role:admin or (role:member and project_id:%(project_id)s)";
const VISIBLE_READER: &str = "role:admin or role:service or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s or \
    project_id:%(caller_id)s and ('community':%(visibility)s or 'public':%(visibility)s)))";
const VISIBLE_MEMBER: &str = "role:admin or role:service or (role:member and (project_id:%(project_id)s or project_id:%(member_id)s or \
    project_id:%(caller_id)s and ('community':%(visibility)s or 'public':%(visibility)s)))";

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
    ("deactivate", MEMBER),
    ("reactivate", MEMBER),
    ("add_member", MEMBER),
    ("delete_member", MEMBER),
    ("get_member", "role:admin or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)"),
    ("get_members", "role:admin or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)"),
    ("modify_member", "role:admin or (role:member and project_id:%(member_id)s)"),
];
