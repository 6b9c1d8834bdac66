//! Generates the rights of the two roles; `export-worker grants` prints them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Catalogue, Use,
    sql::{Part, halves, statement},
};

/// The rights of `export_state` on our own tables.
///
/// It inserts requests for `request create` and `request retry`, and deletes old events for `events prune`; the
/// triggers decide what either may do.
const STATE_GRANTS: &str = "\
grant usage on schema public to export_state;
grant select, insert, update on public.data_export_requests to export_state;
grant select, insert, delete on public.data_export_events to export_state;
grant select on public.data_export_installation to export_state;
grant select on public.data_export_requests_effective to export_state;
grant select on public.data_export_migrations to export_state;
";

/// Gives the SQL for the role that keeps requests and log.
pub fn state_grants() -> &'static str {
    STATE_GRANTS
}

/// Gives the SQL for the role that reads the platform: exactly the columns that the statements name.
///
/// Each relation's rights are revoked first, so that a column which became `omit` is lost, too.
pub(super) fn read_grants(catalogue: &Catalogue) -> String {
    let mut columns: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for entity in &catalogue.entities {
        let read = columns.entry(&entity.relation).or_default();
        let exported = entity.columns.iter().filter(|column| column.use_ != Use::Omit && !column.computed);
        read.extend(exported.map(|column| column.name.as_str()));
        read.extend(entity.order.iter().map(String::as_str));
        read.insert(&entity.by);
    }
    for (relation, read) in catalogue.keys.iter().flat_map(|keys| &keys.reads) {
        columns.entry(relation).or_default().extend(read.iter().map(String::as_str));
    }

    let mut parts = Vec::new();
    for schema in columns.keys().map(|relation| halves(relation).0).collect::<BTreeSet<_>>() {
        parts.extend([
            Part::Sql("grant usage on schema "),
            Part::Name(schema),
            Part::Sql(" to export_read;\n"),
        ]);
    }
    for (relation, read) in &columns {
        parts.extend([
            Part::Sql("revoke all on "),
            Part::Relation(relation),
            Part::Sql(" from export_read;\ngrant select ("),
        ]);
        for (index, column) in read.iter().enumerate() {
            parts.extend([Part::Sql(if index == 0 { "" } else { ", " }), Part::Name(column)]);
        }
        parts.extend([Part::Sql(") on "), Part::Relation(relation), Part::Sql(" to export_read;\n")]);
    }
    statement(&parts).as_str().to_owned()
}
