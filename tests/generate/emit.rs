//! A schema as Rust: its structs, and how they are read and written.
//!
//! In the generated code `v` is the version, `f` says whether the version is flexible.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::schema::{Field, Schema, Struct, Type, Versions};

/// How a range of versions is told apart from the others that can occur.
enum When {
    Always,
    Never,
    If(String),
}

impl When {
    fn of(range: Versions, context: Versions) -> When {
        let both = range.and(context);
        match (both.is_empty(), both.first == context.first, both.last == context.last) {
            (true, ..) => When::Never,
            (_, true, true) => When::Always,
            (_, false, true) => When::If(format!("v >= {}", both.first)),
            (_, true, false) => When::If(format!("v <= {}", both.last)),
            _ if both.first == both.last => When::If(format!("v == {}", both.first)),
            _ => When::If(format!("({}..={}).contains(&v)", both.first, both.last)),
        }
    }

    fn not(self) -> When {
        let negated = |c: String| match c.split_once(' ') {
            Some(("v", rest)) => match rest.split_once(' ').unwrap() {
                (">=", n) => format!("v < {n}"),
                ("<=", n) => format!("v > {n}"),
                (_, n) => format!("v != {n}"),
            },
            _ => format!("!{c}"),
        };
        match self {
            When::Always => When::Never,
            When::Never => When::Always,
            When::If(c) => When::If(negated(c)),
        }
    }

    fn literal(&self) -> &str {
        match self {
            When::Always => "true",
            When::Never => "false",
            When::If(condition) => condition,
        }
    }
}

/// What is known about a message while its structs are written.
pub struct Emitter<'s> {
    schema: &'s Schema,
    /// The structs that borrow from the frame.
    borrowing: BTreeSet<&'s str>,
    structs: BTreeMap<&'s str, &'s Struct>,
}

/// A field within the struct that holds it.
struct Place<'e> {
    emitter: &'e Emitter<'e>,
    context: Versions,
    field: &'e Field,
}

impl<'s> Emitter<'s> {
    pub fn new(schema: &'s Schema) -> Emitter<'s> {
        let structs: BTreeMap<_, _> = schema.structs.iter().map(|s| (s.name.as_str(), s)).collect();
        let mut borrowing = BTreeSet::new();
        loop {
            let before = borrowing.len();
            for s in &schema.structs {
                if s.fields.iter().any(|f| borrows(&f.kind, &borrowing)) {
                    borrowing.insert(s.name.as_str());
                }
            }
            if borrowing.len() == before {
                return Emitter { schema, borrowing, structs };
            }
        }
    }

    /// The whole file, not yet formatted.
    pub fn file(&self) -> String {
        let body: String = self.schema.structs.iter().map(|s| self.structure(s)).collect();
        let uuid = if body.contains("Uuid") { "use crate::base::Uuid;\n" } else { "" };
        format!(
            "//! {}\n\n{uuid}use crate::wire::codec::{{DecodeError, Element, Message, Reader, Writer}};\n{body}",
            self.facts()
        )
    }

    /// One line on the message.
    pub fn facts(&self) -> String {
        let Schema { name, kind, key, versions, flexible, .. } = self.schema;
        let key = match (kind.as_str(), key) {
            ("request" | "response", Some(key)) => format!("{kind} of API key {key}"),
            ("coordinator-key" | "coordinator-value", Some(key)) => format!("{kind} of record type {key}"),
            (_, Some(key)) => format!("{kind} record {key}"),
            (_, None) => kind.clone(),
        };
        let flexible = match flexible.and(*versions) {
            Versions::NONE => "never flexible".to_string(),
            flexible => format!("flexible v{}", range_text(flexible, *versions)),
        };
        format!("`{name}`: {key}, v{}, {flexible}.", range_text(*versions, Versions::NONE))
    }

    fn type_name(&self, name: &str, lifetime: &str) -> String {
        if self.borrowing.contains(name) { format!("{name}<{lifetime}>") } else { name.to_string() }
    }

    fn structure(&self, s: &Struct) -> String {
        let mut out = String::new();
        let places: Vec<Place<'_>> =
            s.fields.iter().map(|field| Place { emitter: self, context: s.versions, field }).collect();
        let natural = places.iter().all(Place::default_is_natural);
        let top = s.name == self.schema.name;
        let versions = range_text(s.versions, self.schema.versions);
        let doc =
            if top { self.facts() } else { format!("`{}` of `{}`, v{versions}.", s.name, self.schema.name) };
        let derived = if natural { "Clone, Debug, Default, PartialEq" } else { "Clone, Debug, PartialEq" };
        let _ = writeln!(out, "\n/// {doc}\n#[derive({derived})]");
        let _ = writeln!(out, "pub struct {} {{", self.type_name(&s.name, "'a"));
        for place in &places {
            let name = snake(&place.field.name);
            let _ = writeln!(out, "/// {}\npub {name}: {},", place.facts(), place.rust_type());
        }
        out.push_str("}\n");
        if !natural {
            let _ = writeln!(out, "\nimpl Default for {} {{", self.type_name(&s.name, "'_"));
            out.push_str("fn default() -> Self {\nSelf {\n");
            for place in &places {
                let _ = writeln!(out, "{}: {},", snake(&place.field.name), place.default());
            }
            out.push_str("}\n}\n}\n");
        }
        let _ = writeln!(out, "\nimpl<'a> Element<'a> for {} {{", self.type_name(&s.name, "'a"));
        let _ = writeln!(out, "const WIRE_MIN: usize = {};\n", self.wire_min(s));
        let (get, put) = (self.get(s, &places), self.put(s, &places));
        let _ = writeln!(
            out,
            "fn get({}: &mut Reader<'a>, {}: i16) -> Result<Self, DecodeError> {{\n{get}}}\n",
            used(&get, "r"),
            used(&get, "v")
        );
        let _ = writeln!(
            out,
            "fn put(&self, {}: &mut Writer, {}: i16) {{\n{put}}}\n}}",
            used(&put, "w"),
            used(&put, "v")
        );
        if top {
            let flexible = match self.schema.flexible.and(self.schema.versions) {
                Versions::NONE => "None".to_string(),
                flexible => format!("Some({})", flexible.first),
            };
            let Versions { first, last } = self.schema.versions;
            let _ = writeln!(
                out,
                "\nimpl{} for {} {{\nconst NAME: &'static str = {:?};\nconst KEY: i16 = {};\n\
                 const VERSIONS: std::ops::RangeInclusive<i16> = {first}..={last};\n\
                 const FLEXIBLE_FROM: Option<i16> = {flexible};\n}}",
                if self.borrowing.contains(s.name.as_str()) { "<'a> Message<'a>" } else { " Message<'_>" },
                self.type_name(&s.name, "'a"),
                s.name,
                self.schema.key.unwrap_or(-1),
            );
        }
        out
    }

    /// The body of `get`.
    fn get(&self, s: &Struct, places: &[Place<'_>]) -> String {
        let flexible = When::of(self.schema.flexible, s.versions);
        let tagged: Vec<&Place<'_>> = places.iter().filter(|p| !p.tagged().is_empty()).collect();
        let mut fields = String::new();
        for place in places {
            let value = match When::of(place.untagged(), s.versions) {
                When::Always => place.read(place.untagged()),
                When::Never => place.default(),
                When::If(c) => {
                    format!("if {c} {{ {} }} else {{ {} }}", place.read(place.untagged()), place.default())
                }
            };
            let _ = writeln!(fields, "{}: {value},", snake(&place.field.name));
        }
        let literal = format!("Self {{\n{fields}}}");
        let mut arms = String::new();
        for place in &tagged {
            let (name, value) = (snake(&place.field.name), place.read_tagged());
            let guard = match When::of(place.tagged(), s.versions.and(self.schema.flexible)) {
                When::If(c) => format!(" if {c}"),
                _ => String::new(),
            };
            let _ = writeln!(arms, "{}{guard} => m.{name} = {value},", place.field.tag.unwrap());
        }
        let tags = if tagged.is_empty() {
            "r.skip_tags()?;\n".to_string()
        } else {
            format!("r.tags(|r, tag| {{\nmatch tag {{\n{arms}_ => return Ok(false),\n}}\nOk(true)\n}})?;\n")
        };
        let tags = match &flexible {
            When::Always => tags,
            When::Never => String::new(),
            When::If(_) => format!("if f {{\n{tags}}}\n"),
        };
        let m = if tagged.is_empty() { "m" } else { "mut m" };
        let body = if tags.is_empty() {
            format!("Ok({literal})\n")
        } else {
            format!("let {m} = {literal};\n{tags}Ok(m)\n")
        };
        with_flexible(&flexible, body)
    }

    /// The body of `put`.
    fn put(&self, s: &Struct, places: &[Place<'_>]) -> String {
        let flexible = When::of(self.schema.flexible, s.versions);
        let mut body = String::new();
        // By rising tag, which is not always the schema's order.
        let mut tags = BTreeMap::new();
        for place in places {
            let absent = When::of(place.field.versions, s.versions).not();
            let lacks = format!("w.lacks({}, {:?});", place.is_set(), place.field.name);
            let checked = !place.field.ignorable;
            match When::of(place.untagged(), s.versions) {
                When::Always => body.push_str(&place.write(place.untagged())),
                When::If(c) if place.tagged().is_empty() && checked => {
                    let _ =
                        writeln!(body, "if {c} {{ {} }} else {{ {lacks} }}", place.write(place.untagged()));
                }
                When::If(c) => {
                    let _ = writeln!(body, "if {c} {{ {} }}", place.write(place.untagged()));
                }
                When::Never => {}
            }
            if place.tagged().is_empty() {
                continue;
            }
            if checked && let When::If(c) = absent {
                let _ = writeln!(body, "if {c} {{ {lacks} }}");
            }
            let set = match When::of(place.tagged(), s.versions.and(self.schema.flexible)) {
                When::If(c) => format!("{c} && {}", place.is_set()),
                _ => place.is_set(),
            };
            let tag = place.field.tag.unwrap();
            let write = format!("if {set} {{ w.tag(t, {tag}, |w| {{ {} }}); }}\n", place.write_tagged());
            assert!(tags.insert(tag, write).is_none(), "{} has tag {tag} twice", s.name);
        }
        let tags: String = tags.into_values().collect();
        let tags =
            if tags.is_empty() { "w.tags();\n".to_string() } else { format!("let t = w.tags();\n{tags}") };
        match &flexible {
            When::Always => body.push_str(&tags),
            When::Never => {}
            When::If(_) => {
                let _ = writeln!(body, "if f {{\n{tags}}}");
            }
        }
        with_flexible(&flexible, body)
    }

    /// The fewest bytes of a struct over all versions.
    fn wire_min(&self, s: &Struct) -> usize {
        let Versions { first, last } = s.versions;
        (first..=last).map(|version| self.wire_min_at(s, version)).min().unwrap()
    }

    fn wire_min_at(&self, s: &Struct, version: i16) -> usize {
        let at = Versions { first: version, last: version };
        let flexible = self.schema.flexible.covers(at);
        let present = s.fields.iter().filter(|f| f.versions.covers(at) && !(flexible && f.tagged.covers(at)));
        let fields: usize = present
            .map(|f| match &f.kind {
                Type::Bool => 1,
                Type::Int(name) => number_bytes(name),
                Type::Float64 => 8,
                Type::Uuid => 16,
                Type::String if !f.may_be_compact => 2,
                _ if flexible => match &f.kind {
                    Type::Struct(name) if !f.nullable.covers(at) => {
                        self.wire_min_at(self.structs[name.as_str()], version)
                    }
                    _ => 1,
                },
                Type::String => 2,
                Type::Struct(_) if f.nullable.covers(at) => 1,
                Type::Struct(name) => self.wire_min_at(self.structs[name.as_str()], version),
                Type::Bytes | Type::Records | Type::Array(_) => 4,
            })
            .sum();
        fields + usize::from(flexible)
    }
}

impl Place<'_> {
    /// The versions in which the field is a tagged one.
    fn tagged(&self) -> Versions {
        self.field.tagged.and(self.field.versions).and(self.context).and(self.emitter.schema.flexible)
    }

    fn untagged(&self) -> Versions {
        self.field.versions.and(self.context).before(self.tagged())
    }

    fn nullable(&self) -> bool {
        !self.field.nullable.and(self.field.versions).and(self.context).is_empty()
    }

    fn facts(&self) -> String {
        let Field { name, type_text, versions, nullable, tag, default, ignorable, .. } = self.field;
        let mut facts =
            format!("`{name}`: {type_text}, v{}", range_text(versions.and(self.context), self.context));
        let mut add = |what: &str, range: Versions| {
            if !range.is_empty() {
                let all = range == versions.and(self.context);
                let range =
                    if all { String::new() } else { format!(" v{}", range_text(range, self.context)) };
                let _ = write!(facts, ", {what}{range}");
            }
        };
        add("nullable", nullable.and(*versions).and(self.context));
        if let Some(tag) = tag {
            add(&format!("tag {tag}"), self.tagged());
        }
        if !self.default_is_natural() {
            let empty = default.is_empty();
            let _ = write!(facts, ", default {}", if empty { "empty" } else { default });
        }
        if *ignorable {
            facts.push_str(", ignorable");
        }
        facts + "."
    }

    fn rust_type(&self) -> String {
        let plain = self.plain_type(&self.field.kind);
        if self.nullable() { format!("Option<{plain}>") } else { plain }
    }

    fn plain_type(&self, kind: &Type) -> String {
        match kind {
            Type::Bool => "bool".into(),
            Type::Int(name) => (*name).into(),
            Type::Float64 => "f64".into(),
            Type::Uuid => "Uuid".into(),
            Type::String => "&'a str".into(),
            Type::Bytes | Type::Records => "&'a [u8]".into(),
            Type::Struct(name) => self.emitter.type_name(name, "'a"),
            Type::Array(element) => format!("Vec<{}>", self.plain_type(element)),
        }
    }

    fn default_is_natural(&self) -> bool {
        matches!(
            self.default().as_str(),
            "0" | "0.0" | "false" | "\"\"" | "None" | "&[]" | "Vec::new()" | "Uuid::ZERO"
        ) || (!self.nullable() && matches!(self.field.kind, Type::Struct(_)))
    }

    fn default(&self) -> String {
        let text = self.field.default.as_str();
        if text == "null" {
            assert!(self.nullable(), "{} is null by default, but never nullable", self.field.name);
            return "None".into();
        }
        let plain = match &self.field.kind {
            Type::Bool => if text == "true" { "true" } else { "false" }.into(),
            Type::Int(name) => number(name, text),
            Type::Float64 => {
                if text.is_empty() {
                    "0.0".into()
                } else {
                    format!("{text}_f64")
                }
            }
            Type::Uuid if text.is_empty() => "Uuid::ZERO".into(),
            Type::String => format!("{text:?}"),
            Type::Bytes | Type::Records if text.is_empty() => "&[]".into(),
            Type::Array(_) if text.is_empty() => "Vec::new()".into(),
            Type::Struct(name) if text.is_empty() => format!("{name}::default()"),
            other => panic!("{}: a default {text} for {other:?}", self.field.name),
        };
        // A nullable records field without a default is null in Kafka too.
        match (self.nullable(), &self.field.kind) {
            (true, Type::Records) => "None".into(),
            (true, _) => format!("Some({plain})"),
            (false, _) => plain,
        }
    }

    /// An expression: whether the field has another value than its default.
    fn is_set(&self) -> String {
        let name = format!("self.{}", snake(&self.field.name));
        match (self.default().as_str(), &self.field.kind) {
            ("None", _) => format!("{name}.is_some()"),
            ("false", _) => name,
            ("true", _) => format!("!{name}"),
            ("\"\"" | "&[]" | "Vec::new()", _) => format!("!{name}.is_empty()"),
            ("Some(Vec::new())", _) => format!("{name}.as_ref().is_none_or(|x| !x.is_empty())"),
            (default, _) => format!("{name} != {default}"),
        }
    }

    /// The flexibility of the field's value in `range`, as an expression.
    fn flex(&self, range: Versions) -> &'static str {
        let flexible = self.emitter.schema.flexible;
        match () {
            () if !self.field.may_be_compact || flexible.and(range).is_empty() => "false",
            () if flexible.covers(range) => "true",
            () => "f",
        }
    }

    /// An expression that reads the field in `range`, as the untagged field it is there.
    fn read(&self, range: Versions) -> String {
        let f = self.flex(range);
        let null = When::of(self.field.nullable, range);
        let (prefix, allowed) = match (self.nullable(), &null) {
            (false, _) => ("", String::new()),
            (true, When::Always) => ("nullable_", String::new()),
            (true, null) => ("maybe_", format!(", {}", null.literal())),
        };
        match &self.field.kind {
            Type::Bool => "r.bool()?".into(),
            Type::Int(name) => format!("r.{name}()?"),
            Type::Float64 => "r.f64()?".into(),
            Type::Uuid => "r.uuid()?".into(),
            Type::String => format!("r.{prefix}string({f}{allowed})?"),
            Type::Bytes | Type::Records => format!("r.{prefix}bytes({f}{allowed})?"),
            Type::Array(element) if **element == Type::String => format!("r.{prefix}strings({f}{allowed})?"),
            Type::Array(_) => format!("r.{prefix}array({f}, v{allowed})?"),
            Type::Struct(name) => match (self.nullable(), null) {
                (false, _) => format!("{name}::get(r, v)?"),
                (true, When::Always) => "r.nullable_struct(v)?".into(),
                (true, When::Never) => format!("Some({name}::get(r, v)?)"),
                (true, When::If(c)) => {
                    format!("if {c} {{ r.nullable_struct(v)? }} else {{ Some({name}::get(r, v)?) }}")
                }
            },
        }
    }

    fn read_tagged(&self) -> String {
        match (&self.field.kind, self.nullable()) {
            (Type::Struct(_), true) => "r.tagged_struct(v)?".into(),
            _ => self.read(self.tagged()),
        }
    }

    /// A statement that writes the field in `range`, as the untagged field it is there.
    fn write(&self, range: Versions) -> String {
        let (name, f) = (format!("self.{}", snake(&self.field.name)), self.flex(range));
        let null = When::of(self.field.nullable, range);
        let (prefix, allowed) = match (self.nullable(), &null) {
            (false, _) => ("", String::new()),
            (true, When::Always) => ("nullable_", String::new()),
            (true, null) => ("maybe_", format!(", {}, {:?}", null.literal(), self.field.name)),
        };
        let array = if self.nullable() { format!("{name}.as_deref()") } else { format!("&{name}") };
        match &self.field.kind {
            Type::Bool => format!("w.bool({name});\n"),
            Type::Int(kind) => format!("w.{kind}({name});\n"),
            Type::Float64 => format!("w.f64({name});\n"),
            Type::Uuid => format!("w.uuid({name});\n"),
            // It may repeat what a client sent, with words around it.
            Type::String if prefix == "nullable_" && name.ends_with("error_message") => {
                format!("w.error_text({f}, {name});\n")
            }
            Type::String => format!("w.{prefix}string({f}, {name}{allowed});\n"),
            Type::Bytes | Type::Records => format!("w.{prefix}bytes({f}, {name}{allowed});\n"),
            Type::Array(element) if **element == Type::String => {
                format!("w.{prefix}strings({f}, {array}{allowed});\n")
            }
            Type::Array(_) => format!("w.{prefix}array({f}, {array}, v{allowed});\n"),
            Type::Struct(_) if !self.nullable() => format!("{name}.put(w, v);\n"),
            Type::Struct(_) => match null {
                When::Always => format!("w.nullable_struct({name}.as_ref(), v);\n"),
                _ => panic!("{}: a struct that is nullable in some versions only", self.field.name),
            },
        }
    }

    fn write_tagged(&self) -> String {
        match (&self.field.kind, self.nullable()) {
            (Type::Struct(_), true) => {
                format!("w.tagged_struct(self.{}.as_ref(), v);", snake(&self.field.name))
            }
            _ => self.write(self.tagged()),
        }
    }
}

fn borrows(kind: &Type, borrowing: &BTreeSet<&str>) -> bool {
    match kind {
        Type::String | Type::Bytes | Type::Records => true,
        Type::Struct(name) => borrowing.contains(name.as_str()),
        Type::Array(element) => borrows(element, borrowing),
        _ => false,
    }
}

fn with_flexible(flexible: &When, body: String) -> String {
    match flexible {
        When::If(c) if has_word(&body, "f") => format!("let f = {c};\n{body}"),
        _ => body,
    }
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

/// The name of a parameter, marked if the code does not use it.
fn used(code: &str, word: &str) -> String {
    if has_word(code, word) { word.to_string() } else { format!("_{word}") }
}

fn range_text(range: Versions, context: Versions) -> String {
    match range {
        Versions { first, last } if first == last => first.to_string(),
        Versions { first, last } if last == context.last => format!("{first}+"),
        Versions { first, last } => format!("{first}-{last}"),
    }
}

fn number_bytes(name: &str) -> usize {
    name[1..].parse::<usize>().unwrap() / 8
}

fn number(name: &str, text: &str) -> String {
    let value: i64 = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).unwrap(),
        None if text.is_empty() => 0,
        None => text.parse().unwrap(),
    };
    match (name, value) {
        ("i64", i64::MAX) => "i64::MAX".into(),
        ("i32", v) if v == i64::from(i32::MAX) => "i32::MAX".into(),
        ("i32", v) if v == i64::from(i32::MIN) => "i32::MIN".into(),
        (_, v) if v.abs() >= 10_000 => {
            let digits = v.abs().to_string();
            let (head, tail) = digits.split_at(digits.len() - 3);
            assert!(head.len() <= 3, "{v} needs two separators");
            format!("{}{head}_{tail}", if v < 0 { "-" } else { "" })
        }
        (_, v) => v.to_string(),
    }
}

/// Kafka's camel case as snake case, `r#` in front of Rust's own words.
pub fn snake(name: &str) -> String {
    let chars: Vec<char> = name.replace("KRaft", "Kraft").chars().collect();
    let mut out = String::new();
    for (i, c) in chars.iter().enumerate() {
        let after_small = i > 0 && !chars[i - 1].is_uppercase();
        let before_small = i > 0 && chars.get(i + 1).is_some_and(|n| n.is_lowercase());
        if c.is_uppercase() && (after_small || before_small) {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    match out.as_str() {
        "type" | "match" | "enum" | "struct" | "where" | "ref" | "move" => format!("r#{out}"),
        _ => out,
    }
}
