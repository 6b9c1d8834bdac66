//! Columns whose ids are of several tables, and the columns beside them that say of which: `owner_id` and `owner_type`.

/// Returns the names that the column beside `id` may have: as in Rails, in camel case, without a separator, and as in
/// Django, where `content_type_id` is beside `object_id`.
pub(super) fn kinds_of(id: &str) -> Vec<String> {
    let mut kinds = Vec::new();
    for (end, kind) in [("id", "type"), ("Id", "Type"), ("ID", "TYPE")] {
        if let Some(stem) = id.strip_suffix(end).filter(|stem| !stem.trim_end_matches('_').is_empty()) {
            kinds.push(format!("{stem}{kind}"));
        }
    }
    if id == "object_id" {
        kinds.push("content_type_id".to_owned());
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_beside_an_id_is_found_however_it_is_spelt() {
        for (id, kinds) in [
            ("owner_id", &["owner_type"][..]),
            ("targetid", &["targettype"]),
            ("ownerId", &["ownerType"]),
            ("OWNER_ID", &["OWNER_TYPE"]),
            ("object_id", &["object_type", "content_type_id"]),
            ("id", &[]),
            ("_id", &[]),
            ("user", &[]),
        ] {
            assert_eq!(kinds_of(id), kinds, "{id}");
        }
    }
}
