//! `[contact]`: where a person gets mail. Columns of an entity hold it, and it is read when a mail goes out.

use super::{CatalogueColumn, Entity, Use, document::Value};

/// The key set of the account itself.
const ACCOUNT: &str = "account";

/// The columns of an entity that say where its person gets mail.
#[derive(Clone, Debug)]
pub(super) struct Contact {
    /// The entity, with no column but these.
    pub(super) listing: Entity,
    pub(super) email: String,
    /// NULL or false in it means that the address is not known to be theirs.
    pub(super) verified: Option<String>,
    pub(super) locale: Option<String>,
}

/// Parses the section; `entities` are those of the same catalogue.
pub(super) fn parse(value: &Value<'_>, entities: &[Entity]) -> anyhow::Result<Contact> {
    let table = value.table()?;
    table.only(&["entity", "email", "verified", "locale"])?;
    let place = table.required("entity")?;
    let wanted = place.text()?;
    let entity = entities.iter().find(|entity| entity.name == wanted);
    let entity = entity.ok_or_else(|| place.error(format_args!("there is no [entity.{wanted}]")))?;
    if entity.keys != ACCOUNT {
        return Err(place.error(format_args!(
            "[entity.{wanted}] is not selected by `keys = \"{ACCOUNT}\"`, so a row of it may be another person's"
        )));
    }
    let mut columns: Vec<CatalogueColumn> = Vec::new();
    let mut column = |place: Value<'_>| -> anyhow::Result<String> {
        let name = place.text()?;
        let found = entity.columns.iter().find(|column| column.name == name && !column.computed);
        let Some(found) = found else {
            return Err(place.error(format_args!("`{name}` is not one of the columns of [entity.{wanted}]")));
        };
        columns.push(CatalogueColumn { use_: Use::Export, parts: None, ..found.clone() });
        Ok(name)
    };
    let email = column(table.required("email")?)?;
    let verified = table.optional("verified").map(&mut column).transpose()?;
    let locale = table.optional("locale").map(&mut column).transpose()?;
    Ok(Contact {
        listing: Entity { columns, about: String::new(), ..entity.clone() },
        email,
        verified,
        locale,
    })
}
