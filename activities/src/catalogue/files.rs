//! `[files.NAME]`: files of the user that are in object storage. Rows of an entity hold their keys.

use anyhow::anyhow;

use super::{CatalogueColumn, Entity, Use, document::Value, parse::is_entity_name};

/// Larger files are not included, unless the catalogue says so.
const DEFAULT_MAX_BYTES: u64 = 1 << 30;

/// Files whose keys are in a column of an entity.
#[derive(Clone, Debug)]
pub struct FileSet {
    /// Its name, which its folder in the archive has too.
    pub name: String,
    /// What they are, in words for the person whose data it is.
    pub about: String,
    /// The bucket that holds them.
    pub bucket: String,
    /// The address of its store; `None` is the store of the archives.
    pub endpoint: Option<String>,
    /// A text that the values begin with and the keys do not, such as the address of the bucket.
    pub strip: Option<String>,
    /// Larger files are not included.
    pub max_bytes: u64,
    /// The entity, with no column but those that list the files.
    pub(crate) listing: Entity,
    /// Indexes in the listing of the columns that hold name and type of a file.
    pub(crate) file_name: Option<usize>,
    pub(crate) content_type: Option<usize>,
}

impl FileSet {
    /// Returns the key that a value of the column names; `None` if the file is elsewhere.
    pub(crate) fn key<'v>(&self, value: &'v str) -> Option<&'v str> {
        let key = match &self.strip {
            Some(strip) => value.strip_prefix(strip.as_str())?,
            None => value,
        };
        (!key.is_empty()).then_some(key)
    }

    /// Returns the indexes in the listing of the columns that name a row.
    pub(crate) fn row(&self) -> impl Iterator<Item = usize> + '_ {
        let position = |name: &String| self.listing.columns.iter().position(|column| &column.name == name);
        self.listing.order.iter().filter_map(position)
    }

    /// The index in the listing of the column that holds the key.
    pub(crate) const KEY: usize = 0;
}

/// Parses a set of files; `entities` are those of the same catalogue.
pub(super) fn parse(name: &str, value: &Value<'_>, entities: &[Entity]) -> anyhow::Result<FileSet> {
    if !is_entity_name(name) {
        return Err(
            value.error("its name becomes the name of a folder and must match ^[a-z][a-z0-9_]{0,62}$")
        );
    }
    let table = value.table()?;
    table.only(&[
        "entity",
        "key",
        "name",
        "content_type",
        "bucket",
        "endpoint",
        "strip",
        "max_bytes",
        "about",
    ])?;
    let place = table.required("entity")?;
    let wanted = place.text()?;
    let entity = entities.iter().find(|entity| entity.name == wanted);
    let entity = entity.ok_or_else(|| place.error(format_args!("there is no [entity.{wanted}]")))?;
    let mut listed: Vec<&CatalogueColumn> = vec![column(&table.required("key")?, entity)?];
    let mut index = |key: &str| -> anyhow::Result<Option<usize>> {
        let Some(place) = table.optional(key) else { return Ok(None) };
        Ok(Some(add(&mut listed, column(&place, entity)?)))
    };
    let (file_name, content_type) = (index("name")?, index("content_type")?);
    for name in &entity.order {
        add(&mut listed, find(name, entity).ok_or_else(|| anyhow!("`{name}` is not a column"))?);
    }
    let columns =
        listed.into_iter().map(|column| CatalogueColumn { use_: Use::Export, parts: None, ..column.clone() });
    let text = |key: &str| table.optional(key).map(|place| place.text()).transpose();
    Ok(FileSet {
        name: name.to_owned(),
        about: table.required("about")?.text()?,
        bucket: table.required("bucket")?.text()?,
        endpoint: text("endpoint")?,
        strip: text("strip")?,
        max_bytes: match table.optional("max_bytes") {
            Some(place) => place.whole()?,
            None => DEFAULT_MAX_BYTES,
        },
        listing: Entity { columns: columns.collect(), about: String::new(), ..entity.clone() },
        file_name,
        content_type,
    })
}

fn column<'e>(place: &Value<'_>, entity: &'e Entity) -> anyhow::Result<&'e CatalogueColumn> {
    let name = place.text()?;
    let found = find(&name, entity);
    found.ok_or_else(|| {
        place.error(format_args!("`{name}` is not one of the columns of [entity.{}]", entity.name))
    })
}

fn find<'e>(name: &str, entity: &'e Entity) -> Option<&'e CatalogueColumn> {
    entity.columns.iter().find(|column| column.name == name && !column.computed)
}

/// Adds a column unless it is there, and returns its index.
fn add<'e>(listed: &mut Vec<&'e CatalogueColumn>, column: &'e CatalogueColumn) -> usize {
    if let Some(index) = listed.iter().position(|other| other.name == column.name) {
        return index;
    }
    listed.push(column);
    listed.len() - 1
}
