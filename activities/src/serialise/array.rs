//! Arrays of any dimension, written as nested JSON arrays.

use std::borrow::Cow;

use super::{
    ValueKind,
    half::escape_halves,
    json_token::{push_compacted, push_quoted},
    value::{Shape, Unreadable, fixed, jsonb, push, utf8},
};

/// PostgreSQL's own limit.
const MAX_DIMENSIONS: usize = 6;

/// Appends the JSON token of an array. Returns whether half characters were escaped in it.
pub(super) fn push_array(kind: &ValueKind, bytes: &[u8], out: &mut String) -> Result<bool, Unreadable> {
    let mut input = Input { rest: bytes, has_halves: false };
    let dimensions = usize::try_from(input.int()?).map_err(|_| Unreadable)?;
    let _has_nulls = input.int()?;
    let _element_type = input.int()?;
    if dimensions > MAX_DIMENSIONS {
        return Err(Unreadable);
    }
    let mut lengths = [0usize; MAX_DIMENSIONS];
    for length in &mut lengths[..dimensions] {
        *length = usize::try_from(input.int()?).map_err(|_| Unreadable)?;
        let _lower_bound = input.int()?;
    }
    let lengths = &lengths[..dimensions];
    if lengths.is_empty() || lengths.contains(&0) {
        out.push_str("[]");
    } else {
        push_dimension(kind, lengths, &mut input, out)?;
    }
    if input.rest.is_empty() { Ok(input.has_halves) } else { Err(Unreadable) }
}

fn push_dimension(
    kind: &ValueKind,
    lengths: &[usize],
    input: &mut Input<'_>,
    out: &mut String,
) -> Result<(), Unreadable> {
    let [length, inner @ ..] = lengths else { return push_element(kind, input, out) };
    for index in 0..*length {
        out.push(if index == 0 { '[' } else { ',' });
        push_dimension(kind, inner, input, out)?;
    }
    out.push(']');
    Ok(())
}

fn push_element(kind: &ValueKind, input: &mut Input<'_>, out: &mut String) -> Result<(), Unreadable> {
    let length = input.int()?;
    if length == -1 {
        out.push_str("null");
        return Ok(());
    }
    let bytes = input.take(usize::try_from(length).map_err(|_| Unreadable)?)?;
    match kind {
        ValueKind::Text => push_quoted(utf8(bytes)?, out),
        ValueKind::Json => {
            let token = escape_halves(utf8(bytes)?);
            input.has_halves |= matches!(token, Cow::Owned(_));
            push_compacted(&token, out);
        }
        ValueKind::Jsonb => push_compacted(jsonb(bytes)?, out),
        // A domain over an array is an element type like any other.
        ValueKind::Array(element) => input.has_halves |= push_array(element, bytes, out)?,
        ValueKind::Bytea => {
            out.push_str("\"\\");
            push(kind, bytes, out)?;
            out.push('"');
        }
        _ => {
            let start = out.len();
            if push(kind, bytes, out)? == Shape::Quoted {
                // These texts are short, and none has a character that JSON escapes.
                out.insert(start, '"');
                out.push('"');
            }
        }
    }
    Ok(())
}

struct Input<'v> {
    rest: &'v [u8],
    has_halves: bool,
}

impl<'v> Input<'v> {
    fn take(&mut self, length: usize) -> Result<&'v [u8], Unreadable> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(Unreadable)?;
        self.rest = rest;
        Ok(head)
    }

    fn int(&mut self) -> Result<i32, Unreadable> {
        Ok(i32::from_be_bytes(fixed(self.take(4)?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(kind: ValueKind, dimensions: &[i32], elements: &[Option<&[u8]>]) -> Result<String, Unreadable> {
        let mut bytes = Vec::new();
        let mut int = |value: i32| bytes.extend(value.to_be_bytes());
        int(i32::try_from(dimensions.len()).unwrap());
        int(0);
        int(25);
        for length in dimensions {
            int(*length);
            int(1);
        }
        for element in elements {
            match element {
                None => bytes.extend((-1i32).to_be_bytes()),
                Some(value) => {
                    bytes.extend(i32::try_from(value.len()).unwrap().to_be_bytes());
                    bytes.extend(*value);
                }
            }
        }
        let mut out = String::new();
        push_array(&kind, &bytes, &mut out).map(|_| out)
    }

    #[test]
    fn dimensions_nest_and_null_stays_null() {
        let elements = [Some(&b"a\"b"[..]), None, Some(b""), Some(b"NULL")];
        assert_eq!(array(ValueKind::Text, &[2, 2], &elements).unwrap(), r#"[["a\"b",null],["","NULL"]]"#);
        assert_eq!(array(ValueKind::Text, &[], &[]).unwrap(), "[]");
        assert_eq!(array(ValueKind::Bytea, &[1], &[Some(b"\x01\xff")]).unwrap(), r#"["\\x01ff"]"#);
        assert_eq!(
            array(ValueKind::Jsonb, &[1], &[Some(b"\x01{\"a\": [1, 2]}")]).unwrap(),
            r#"[{"a":[1,2]}]"#
        );
        assert_eq!(array(ValueKind::Date, &[1], &[Some(&[0; 4])]).unwrap(), r#"["2000-01-01"]"#);
    }

    #[test]
    fn a_malformed_array_is_unreadable_and_allocates_nothing_for_what_it_claims() {
        assert_eq!(array(ValueKind::Text, &[i32::MAX], &[]), Err(Unreadable));
        assert_eq!(array(ValueKind::Text, &[-1], &[]), Err(Unreadable));
        assert_eq!(array(ValueKind::Text, &[1; 7], &[]), Err(Unreadable));
        assert_eq!(array(ValueKind::Text, &[1], &[None, None]), Err(Unreadable));
    }
}
