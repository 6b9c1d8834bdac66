//! Leaves parts of a JSON value out, or replaces the ids in them: other people's names inside a payload.
//!
//! A path such as `author.id` names members of objects. A list has no step of its own: `mentions.email` is the `email`
//! of each mention. `*` matches any one member, and alone also a value that is no object.

use std::fmt;

use super::{json_token::end_of_string, pseudonym::Pseudonyms, value::Unreadable};

/// A column has no more paths than a bit set has bits.
pub const MOST_PATHS: usize = 64;

/// What happens to a column, or to a part of its values. Of two paths with as many names, the later one in this order
/// decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// It is exported as it is.
    Export,
    /// Ids of other people are replaced.
    Pseudonym,
    /// It is left out; a column is not even read.
    Omit,
}

/// The paths of one column. What no path names is exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    paths: Vec<Part>,
}

/// One path, and what happens to the values there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    text: String,
    steps: Vec<Step>,
    use_: Use,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Any,
}

/// Why a text is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// A step is empty, or a quote is not closed.
    #[error(
        "is not a path: write names with points between them, such as `author.id`; a name with a point goes in quotes"
    )]
    Form,
    /// There are more than [`MOST_PATHS`].
    #[error("a column may have {MOST_PATHS} paths at most")]
    TooMany,
}

impl Parts {
    /// Parses paths. The error comes with the index of the path.
    pub fn new(paths: impl IntoIterator<Item = (String, Use)>) -> Result<Self, (usize, BadPath)> {
        let mut parts = Vec::new();
        for (index, (text, use_)) in paths.into_iter().enumerate() {
            if index == MOST_PATHS {
                return Err((index, BadPath::TooMany));
            }
            let steps = parse(&text).ok_or((index, BadPath::Form))?;
            parts.push(Part { text, steps, use_ });
        }
        Ok(Self { paths: parts })
    }

    /// Returns the paths with this use, in the order of the catalogue.
    pub fn with(&self, use_: Use) -> impl Iterator<Item = &str> {
        self.paths.iter().filter(move |part| part.use_ == use_).map(|part| part.text.as_str())
    }

    /// Appends a JSON token without the parts that are left out. Nothing is appended if the whole value is left out.
    ///
    /// # Errors
    /// A token that is not JSON.
    pub fn apply(&self, token: &str, pseudonyms: &Pseudonyms, out: &mut String) -> Result<(), Unreadable> {
        let root = Place { active: self.all(), use_: self.root() };
        Walk { parts: self, bytes: token.as_bytes(), token, at: 0, pseudonyms, out }.value(root)
    }

    fn all(&self) -> u64 {
        u64::MAX
            .checked_shr(u32::try_from(MOST_PATHS - self.paths.len()).unwrap_or_default())
            .unwrap_or_default()
    }

    /// What happens to a value that is no object: `*` alone says it.
    fn root(&self) -> Use {
        let any = self.paths.iter().find(|part| part.steps == [Step::Any]);
        any.map_or(Use::Export, |part| part.use_)
    }

    /// Returns the place of a member of an object; `None` is a name that no path can spell.
    fn member(&self, object: Place, depth: usize, name: Option<&str>) -> Place {
        let mut active = 0;
        let mut decided: Option<(usize, Use)> = None;
        for (index, part) in self.paths.iter().enumerate() {
            let is_met = object.active & (1 << index) != 0
                && match part.steps.get(depth) {
                    Some(Step::Name(wanted)) => name == Some(wanted.as_str()),
                    Some(Step::Any) => true,
                    None => false,
                };
            if !is_met {
                continue;
            }
            active |= 1 << index;
            if part.steps.len() == depth + 1 {
                let names = part.steps.iter().filter(|step| **step != Step::Any).count();
                decided = decided.max(Some((names, part.use_)));
            }
        }
        Place { active, use_: decided.map_or(object.use_, |(_, use_)| use_) }
    }

    /// Returns whether a path leads from a place on this depth to something that stays.
    fn leads_on(&self, active: u64, depth: usize) -> bool {
        let mut paths = self.paths.iter().enumerate().filter(|(index, _)| active & (1 << index) != 0);
        paths.any(|(_, part)| part.steps.len() > depth && part.use_ != Use::Omit)
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (use_, what) in [
            (Use::Export, "exported at"),
            (Use::Pseudonym, "ids of other people replaced by a pseudonym at"),
            (Use::Omit, "left out at"),
        ] {
            let paths: Vec<_> = self.with(use_).collect();
            if !paths.is_empty() {
                write!(f, "; {what} {}", paths.join(", "))?;
            }
        }
        Ok(())
    }
}

fn parse(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path;
    loop {
        let after = if let Some(quoted) = rest.strip_prefix('"') {
            let (name, after) = quoted.split_once('"')?;
            steps.push(Step::Name(name.to_owned()));
            after
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            steps.push(match &rest[..end] {
                "" => return None,
                "*" => Step::Any,
                name => Step::Name(name.to_owned()),
            });
            &rest[end..]
        };
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(steps),
            None => return None,
        }
    }
}

/// Which paths still lead on here, one bit each, and what happens to the values.
#[derive(Clone, Copy)]
struct Place {
    active: u64,
    use_: Use,
}

/// An object or a list that is open.
struct Open {
    place: Place,
    /// The number of objects around its members.
    depth: usize,
    is_object: bool,
    is_empty: bool,
}

/// One pass over a token. It keeps its own stack, so no document is too deep for it.
struct Walk<'w> {
    parts: &'w Parts,
    token: &'w str,
    bytes: &'w [u8],
    at: usize,
    pseudonyms: &'w Pseudonyms,
    out: &'w mut String,
}

impl<'w> Walk<'w> {
    fn value(&mut self, root: Place) -> Result<(), Unreadable> {
        let mut open: Vec<Open> = Vec::new();
        let mut place = root;
        loop {
            let depth = open.last().map_or(0, |around| around.depth);
            match self.peek()? {
                bracket @ (b'{' | b'[') => {
                    let is_object = bracket == b'{';
                    self.at += 1;
                    self.out.push(char::from(bracket));
                    open.push(Open {
                        place,
                        depth: depth + usize::from(is_object),
                        is_object,
                        is_empty: true,
                    });
                }
                _ => self.scalar(place.use_)?,
            }
            match self.next(&mut open)? {
                Some(next) => place = next,
                None => return Ok(()),
            }
        }
    }

    /// Goes to the next value that stays, closes what ends before it, and returns its place.
    fn next(&mut self, open: &mut Vec<Open>) -> Result<Option<Place>, Unreadable> {
        loop {
            let Some(around) = open.last_mut() else { return Ok(None) };
            match self.peek()? {
                b',' => self.at += 1,
                bracket @ (b'}' | b']') => {
                    if (bracket == b'}') != around.is_object {
                        return Err(Unreadable);
                    }
                    self.at += 1;
                    self.out.push(char::from(bracket));
                    open.pop();
                }
                _ => {
                    let mut name = "";
                    let mut place = around.place;
                    if around.is_object {
                        name = self.string()?;
                        let plain = serde_json::from_str::<String>(name).ok();
                        place = self.parts.member(place, around.depth - 1, plain.as_deref());
                        if self.peek()? != b':' {
                            return Err(Unreadable);
                        }
                        self.at += 1;
                    }
                    let is_scalar = !matches!(self.peek()?, b'{' | b'[');
                    let stays = place.use_ != Use::Omit
                        || (!is_scalar && self.parts.leads_on(place.active, around.depth));
                    if !stays {
                        self.skip()?;
                        continue;
                    }
                    if !std::mem::replace(&mut around.is_empty, false) {
                        self.out.push(',');
                    }
                    if around.is_object {
                        self.out.push_str(name);
                        self.out.push(':');
                    }
                    return Ok(Some(place));
                }
            }
        }
    }

    fn scalar(&mut self, use_: Use) -> Result<(), Unreadable> {
        let from = self.at;
        self.skip()?;
        let text = &self.token[from..self.at];
        match use_ {
            Use::Omit => {}
            Use::Export => self.out.push_str(text),
            Use::Pseudonym if matches!(text, "null" | "true" | "false") => self.out.push_str(text),
            Use::Pseudonym => {
                // A text with half a character is no id that anything else could name.
                let id = match text.starts_with('"') {
                    true => serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()),
                    false => text.to_owned(),
                };
                self.pseudonyms.push_quoted(&id, self.out);
            }
        }
        Ok(())
    }

    /// Returns the next byte that is no white space.
    fn peek(&mut self) -> Result<u8, Unreadable> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied().ok_or(Unreadable)
    }

    /// Consumes a string and returns it with its quotes.
    fn string(&mut self) -> Result<&'w str, Unreadable> {
        let from = self.at;
        if self.bytes.get(from) != Some(&b'"') {
            return Err(Unreadable);
        }
        self.at = end_of_string(self.bytes, from + 1);
        self.token.get(from..self.at).ok_or(Unreadable)
    }

    /// Consumes any value.
    fn skip(&mut self) -> Result<(), Unreadable> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.at = end_of_string(self.bytes, self.at + 1),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1).ok_or(Unreadable)?;
                    self.at += 1;
                }
                b',' | b':' => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    let is_end = |byte: &u8| b" \t\n\r,:{}[]\"".contains(byte);
                    let rest = &self.bytes[self.at..];
                    self.at += rest.iter().position(is_end).unwrap_or(rest.len());
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user_id::UserId;

    fn parts(paths: &[(&str, Use)]) -> Parts {
        Parts::new(paths.iter().map(|(path, use_)| ((*path).to_owned(), *use_))).unwrap()
    }

    fn applied(paths: &[(&str, Use)], token: &str) -> String {
        let pseudonyms = Pseudonyms::new(b"salt", &"7".parse::<UserId>().unwrap()).unwrap();
        let mut out = String::new();
        parts(paths).apply(token, &pseudonyms, &mut out).unwrap();
        out
    }

    use Use::{Export, Omit, Pseudonym};

    #[test]
    fn a_part_is_left_out_wherever_it_stands() {
        let token =
            r#"{"author": {"name": "Eve", "id": 1}, "to": [{"mail": "m", "at": 2.50e+3}, []], "n": null}"#;
        assert_eq!(applied(&[], token), token.replace(": ", ":").replace(", ", ","));
        let without = r#"{"author":{"id":1},"to":[{"at":2.50e+3},[]],"n":null}"#;
        assert_eq!(applied(&[("author.name", Omit), ("to.mail", Omit)], token), without);
        assert_eq!(applied(&[("*.name", Omit), ("*.mail", Omit)], token), without);
        assert_eq!(applied(&[("author", Omit), ("to", Omit), ("n", Omit)], token), "{}");
        // A name may be written with escapes, and twice.
        assert_eq!(
            applied(&[("ab", Omit)], r#"{"a\u0062":1,"ab":[{"ab":2}],"x":{"ab":3}}"#),
            r#"{"x":{"ab":3}}"#
        );
        assert_eq!(applied(&[("\"a.b\".c", Omit)], r#"{"a.b":{"c":1,"d":2}}"#), r#"{"a.b":{"d":2}}"#);
    }

    #[test]
    fn only_the_named_parts_stay_when_everything_else_is_left_out() {
        let only = [("*", Omit), ("text", Export), ("author.id", Pseudonym), ("author.tags", Export)];
        let token =
            r#"{"text":"t","author":{"id":7,"name":"n","tags":["a",{"b":1}]},"secret":{"id":1},"x":["y"]}"#;
        assert_eq!(applied(&only, token), r#"{"text":"t","author":{"id":"7","tags":["a",{"b":1}]}}"#);
        assert_eq!(applied(&only, r#"[{"text":1},"loose",[2],{"z":1}]"#), r#"[{"text":1},[],{}]"#);
        // A value without members has no named part.
        for loose in ["\"loose\"", "1", "true"] {
            assert_eq!(applied(&only, loose), "");
        }
    }

    #[test]
    fn ids_become_the_pseudonyms_of_the_other_files() {
        let (mut number, mut text) = (String::new(), String::new());
        let pseudonyms = Pseudonyms::new(b"salt", &"7".parse::<UserId>().unwrap()).unwrap();
        pseudonyms.push_quoted("8", &mut number);
        pseudonyms.push_quoted("u-\"é", &mut text);
        assert_eq!(
            applied(&[("by", Pseudonym)], r#"{"by":[8,"8","u-\"\u00e9",7,"7",null,true,{"deep":8}],"n":8}"#),
            format!(r#"{{"by":[{number},{number},{text},"7","7",null,true,{{"deep":{number}}}],"n":8}}"#)
        );
    }

    #[test]
    fn the_path_with_more_names_decides_and_of_two_such_the_stricter() {
        let token = r#"{"a":{"b":1,"c":2}}"#;
        assert_eq!(applied(&[("*.*", Omit), ("a.b", Export)], token), r#"{"a":{"b":1}}"#);
        assert_eq!(applied(&[("a.*", Export), ("*.b", Omit)], token), r#"{"a":{"c":2}}"#);
        assert_eq!(applied(&[("*.b", Omit), ("a.*", Export)], token), r#"{"a":{"c":2}}"#);
    }

    #[test]
    fn a_document_of_any_depth_is_walked_and_a_broken_one_is_refused() {
        let deep = "[{\"a\":".repeat(100_000) + "1" + &"}]".repeat(100_000);
        assert_eq!(applied(&[("b", Omit)], &deep), deep);
        assert_eq!(applied(&[("a", Omit)], &deep), "[{}]");
        let pseudonyms = Pseudonyms::new(b"salt", &UserId::forgotten()).unwrap();
        for broken in ["", "{", "[1", "{\"a\" 1}", "{1:2}", "{\"a\":}", "{\"a\":\"", "{\"a", "[}", "{]", "}"]
        {
            let applied = parts(&[("a", Omit)]).apply(broken, &pseudonyms, &mut String::new());
            assert_eq!(applied, Err(Unreadable), "{broken}");
        }
    }

    #[test]
    fn a_text_that_is_no_path_is_refused() {
        for bad in ["", ".", "a.", ".a", "a..b", "\"a", "\"a\"b"] {
            let paths = [("ok".to_owned(), Omit), (bad.to_owned(), Omit)];
            assert_eq!(Parts::new(paths), Err((1, BadPath::Form)), "{bad}");
        }
        let many = (0..=MOST_PATHS).map(|path| (format!("p{path}"), Omit));
        assert_eq!(Parts::new(many), Err((MOST_PATHS, BadPath::TooMany)));
        // The last of the most still counts.
        let most = (0..MOST_PATHS).map(|path| (format!("p{path}"), Omit));
        let pseudonyms = Pseudonyms::new(b"salt", &UserId::forgotten()).unwrap();
        let mut out = String::new();
        Parts::new(most).unwrap().apply(r#"{"p0":1,"p63":1,"p64":1}"#, &pseudonyms, &mut out).unwrap();
        assert_eq!(out, r#"{"p64":1}"#);
    }
}
