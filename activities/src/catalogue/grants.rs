//! The rights of the two database roles: columns of the catalogue for one, our three tables for the other.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::{
    Catalogue, Use,
    quote::{ident, relation, split},
};

/// Gives the SQL that lets `role` read the exported columns, the keys and what the key queries read; nothing else.
pub fn read_grants(catalogue: &Catalogue, role: &str) -> String {
    let mut columns: IndexMap<&str, BTreeSet<&str>> = IndexMap::new();
    for entity in catalogue.entities() {
        let of = columns.entry(&entity.relation).or_default();
        of.insert(&entity.by);
        of.extend(
            entity.columns.iter().filter(|c| c.use_ != Use::Omit && !c.computed).map(|c| c.name.as_str()),
        );
    }
    for (name, names) in catalogue.keys().iter().flat_map(|keys| &keys.reads) {
        columns.entry(name).or_default().extend(names.iter().map(String::as_str));
    }
    let schemas: BTreeSet<&str> = columns.keys().map(|name| split(name).0).collect();
    let role = ident(role);
    let mut sql = String::new();
    for schema in schemas {
        sql += &format!("grant usage on schema {} to {role};\n", ident(schema));
    }
    for (name, columns) in columns {
        let columns = columns.into_iter().map(ident).collect::<Vec<_>>().join(", ");
        let name = relation(name);
        // First everything is taken away: a column that became `omit` must not stay readable.
        sql += &format!("revoke all on {name} from {role};\n");
        sql += &format!("grant select ({columns}) on {name} to {role};\n");
    }
    sql
}

/// Gives the SQL that lets `role` work the queue and write the log.
pub fn state_grants(role: &str) -> String {
    let role = ident(role);
    format!(
        "grant usage on schema public to {role};\n\
         grant select, insert, update on public.data_export_requests to {role};\n\
         grant select, insert, delete on public.data_export_events to {role};\n\
         grant select on public.data_export_installation to {role};\n\
         grant select on public.data_export_requests_effective to {role};\n\
         grant select on public.data_export_migrations to {role};\n"
    )
}
