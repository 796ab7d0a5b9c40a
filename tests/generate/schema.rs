//! Kafka's message schemas: JSON with comments, read into plain structs.

use std::collections::BTreeSet;

use serde_json::Value;

/// A range of versions, empty if the first is greater than the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub first: i16,
    pub last: i16,
}

impl Versions {
    pub const NONE: Versions = Versions { first: 0, last: -1 };

    fn parse(text: &str) -> Versions {
        let number = |s: &str| s.parse::<i16>().unwrap_or_else(|e| panic!("version {text:?}: {e}"));
        match (text, text.split_once('-'), text.strip_suffix('+')) {
            ("none", ..) => Versions::NONE,
            (_, Some((first, last)), _) => Versions { first: number(first), last: number(last) },
            (_, _, Some(first)) => Versions { first: number(first), last: i16::MAX },
            _ => Versions { first: number(text), last: number(text) },
        }
    }

    pub fn is_empty(self) -> bool {
        self.first > self.last
    }

    pub fn and(self, other: Versions) -> Versions {
        let both = Versions { first: self.first.max(other.first), last: self.last.min(other.last) };
        if both.is_empty() { Versions::NONE } else { both }
    }

    pub fn covers(self, other: Versions) -> bool {
        self.and(other) == other
    }

    /// What lies before `other`; tagged versions always reach to the end of a field's versions.
    pub fn before(self, other: Versions) -> Versions {
        if other.is_empty() {
            return self;
        }
        assert!(other.last >= self.last, "{other:?} does not reach the end of {self:?}");
        self.and(Versions { first: 0, last: other.first - 1 })
    }
}

/// What a field's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int(&'static str),
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

impl Type {
    fn parse(text: &str) -> Type {
        match text {
            "bool" => Type::Bool,
            "int8" => Type::Int("i8"),
            "int16" => Type::Int("i16"),
            "int32" => Type::Int("i32"),
            "int64" => Type::Int("i64"),
            "uint16" => Type::Int("u16"),
            "uint32" => Type::Int("u32"),
            "float64" => Type::Float64,
            "uuid" => Type::Uuid,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "records" => Type::Records,
            _ => match text.strip_prefix("[]") {
                Some(element) => Type::Array(Box::new(Type::parse(element))),
                None => Type::Struct(text.to_string()),
            },
        }
    }

    /// The struct of a field or of an array's elements.
    pub fn structure(&self) -> Option<&str> {
        match self {
            Type::Struct(name) => Some(name),
            Type::Array(element) => element.structure(),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub type_text: String,
    pub kind: Type,
    pub versions: Versions,
    pub nullable: Versions,
    pub tag: Option<u32>,
    pub tagged: Versions,
    pub default: String,
    pub ignorable: bool,
    /// False for the one field that keeps its long form in flexible versions.
    pub may_be_compact: bool,
}

/// A struct and the versions of its message in which it can occur.
#[derive(Clone, Debug)]
pub struct Struct {
    pub name: String,
    pub versions: Versions,
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug)]
pub struct Schema {
    pub name: String,
    pub kind: String,
    pub key: Option<i16>,
    pub versions: Versions,
    pub flexible: Versions,
    pub latest_version_unstable: bool,
    pub listeners: Vec<String>,
    /// The message itself first.
    pub structs: Vec<Struct>,
}

/// The schema in a file, None for a message without versions: one that Kafka has removed.
pub fn parse(text: &str) -> Option<Schema> {
    let json: Value = serde_json::from_str(&strip_comments(text)).unwrap_or_else(|e| panic!("{e}: {text}"));
    let name = word(&json, "name").to_string();
    let versions = Versions::parse(word(&json, "validVersions"));
    if versions.is_empty() {
        return None;
    }
    let mut structs = Vec::new();
    collect(&name, versions, &json, &mut structs);
    for common in list(&json, "commonStructs") {
        let own = Versions::parse(word(common, "versions")).and(versions);
        collect(word(common, "name"), own, common, &mut structs);
    }
    let mut names = BTreeSet::new();
    assert!(structs.iter().all(|s| names.insert(s.name.clone())), "{name} has two structs of one name");
    Some(Schema {
        kind: word(&json, "type").to_string(),
        key: json.get("apiKey").map(|key| key.as_i64().unwrap() as i16),
        versions,
        flexible: Versions::parse(json.get("flexibleVersions").map_or("none", |v| v.as_str().unwrap())),
        latest_version_unstable: flag(&json, "latestVersionUnstable"),
        listeners: list(&json, "listeners").iter().map(|l| l.as_str().unwrap().to_string()).collect(),
        structs,
        name,
    })
}

/// The struct with the fields of `json`, then the structs that are declared inside its fields.
fn collect(name: &str, versions: Versions, json: &Value, structs: &mut Vec<Struct>) {
    let all: Vec<(Field, &Value)> = list(json, "fields").iter().map(|f| (field(f), f)).collect();
    let kept = all.iter().map(|(field, _)| field).filter(|f| !f.versions.and(versions).is_empty());
    structs.push(Struct { name: name.to_string(), versions, fields: kept.cloned().collect() });
    for (field, json) in &all {
        let own = field.versions.and(versions);
        if json.get("fields").is_some() && !own.is_empty() {
            collect(field.kind.structure().unwrap(), own, json, structs);
        }
    }
}

fn field(json: &Value) -> Field {
    const KNOWN: [&str; 15] = [
        "name",
        "type",
        "versions",
        "nullableVersions",
        "tag",
        "taggedVersions",
        "default",
        "ignorable",
        "flexibleVersions",
        "fields", // these shape the bytes, the rest does not
        "about",
        "mapKey",
        "entityType",
        "zeroCopy",
        "comment",
    ];
    for key in json.as_object().unwrap().keys() {
        assert!(KNOWN.contains(&key.as_str()), "an unknown property {key} in {json}");
    }
    let range = |key| json.get(key).map_or(Versions::NONE, |v| Versions::parse(v.as_str().unwrap()));
    let default = match json.get("default") {
        // No quotes: as if there were no default, unlike "null".
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    Field {
        name: word(json, "name").to_string(),
        type_text: word(json, "type").to_string(),
        kind: Type::parse(word(json, "type")),
        // A tagged field may leave out where it is, which is then where it is tagged.
        versions: range(if json.get("versions").is_some() { "versions" } else { "taggedVersions" }),
        nullable: range("nullableVersions"),
        tag: json.get("tag").map(|tag| tag.as_u64().unwrap() as u32),
        tagged: range("taggedVersions"),
        default,
        ignorable: flag(json, "ignorable"),
        may_be_compact: json.get("flexibleVersions").is_none(),
    }
}

fn word<'a>(json: &'a Value, key: &str) -> &'a str {
    json.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no {key} in {json}"))
}

fn list<'a>(json: &'a Value, key: &str) -> &'a [Value] {
    json.get(key).map_or(&[], |v| v.as_array().unwrap())
}

fn flag(json: &Value, key: &str) -> bool {
    match json.get(key) {
        None => false,
        Some(Value::Bool(value)) => *value,
        Some(value) => value.as_str() == Some("true"),
    }
}

/// The text without `//` comments; those in strings stay.
fn strip_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let mut in_string = false;
        let mut escaped = false;
        let mut end = line.len();
        for (i, c) in line.char_indices() {
            match c {
                '"' if !escaped => in_string = !in_string,
                '/' if !in_string && line[i..].starts_with("//") => {
                    end = i;
                    break;
                }
                _ => {}
            }
            escaped = c == '\\' && !escaped;
        }
        out.push_str(&line[..end]);
        out.push('\n');
    }
    out
}
