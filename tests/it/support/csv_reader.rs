//! Reads CSV and distinguishes NULL (`None`) from the empty string, for COPY's files and for ours.

pub(crate) type Record = Vec<Option<String>>;

/// Returns the records of a text whose lines end with `end`.
pub(crate) fn records(text: &str, end: &str) -> Vec<Record> {
    let mut records = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut record = Vec::new();
        loop {
            let field;
            (field, rest) = field_of(rest, end);
            record.push(field);
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix(end).unwrap();
        records.push(record);
    }
    records
}

fn field_of<'t>(text: &'t str, end: &str) -> (Option<String>, &'t str) {
    let Some(mut rest) = text.strip_prefix('"') else {
        let length = text.find(|c| c == ',' || end.starts_with(c)).unwrap();
        let (field, rest) = text.split_at(length);
        return ((!field.is_empty()).then(|| field.to_owned()), rest);
    };
    let mut field = String::new();
    loop {
        let (piece, tail) = rest.split_once('"').unwrap();
        field.push_str(piece);
        match tail.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return (Some(field), tail),
        }
    }
}
