//! One value of a document, read a level at a time.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::json;
use crate::snapshot::{BsonValue, Decimal, bson_fields, bson_kind as kind, decimal, json_quote, number_text, write_value};

/// Members or elements of one value; a value with more is compared as a whole.
const ITEMS: usize = 100_000;

/// A value of valid JSON text, or of BSON.
#[derive(Debug, Clone, Copy)]
pub enum Node<'a> {
    Json(&'a str),
    Bson(BsonValue<'a>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Object,
    Array,
    Leaf,
}

pub type Member<'a> = (Cow<'a, str>, Node<'a>);

impl<'a> Node<'a> {
    /// `None` when it is no JSON.
    pub fn json(text: &'a [u8]) -> Option<Self> {
        json::valid(text).map(Node::Json)
    }

    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Node::Json(text) => text.as_bytes(),
            Node::Bson(value) => value.bytes,
        }
    }

    /// The same bytes of the same type.
    pub fn identical(&self, other: &Self) -> bool {
        self.bytes() == other.bytes() && self.types(other).is_none()
    }

    pub fn shape(&self) -> Shape {
        match self {
            Node::Json(text) if text.starts_with('{') => Shape::Object,
            Node::Json(text) if text.starts_with('[') => Shape::Array,
            Node::Bson(value) if value.kind == kind::DOCUMENT => Shape::Object,
            Node::Bson(value) if value.kind == kind::ARRAY => Shape::Array,
            _ => Shape::Leaf,
        }
    }

    /// The members of an object in their order, each name once. `None` when it is damaged, has too many, or is BSON with a
    /// name twice: a path would not say which.
    pub fn members(&self) -> Option<Vec<Member<'a>>> {
        let all: Vec<Member<'a>> = match self {
            Node::Json(text) => json::members(text, ITEMS)?,
            Node::Bson(value) => {
                let field = |field: crate::snapshot::BsonField<'a>| {
                    std::str::from_utf8(field.name).ok().map(|name| (Cow::Borrowed(name), Node::Bson(field.value)))
                };
                bson_fields(value.bytes).take(ITEMS + 1).map(|each| each.ok().and_then(field)).collect::<Option<_>>()?
            }
        };
        if all.len() > ITEMS {
            return None;
        }
        let mut last = std::collections::HashMap::with_capacity(all.len());
        for (at, (name, _)) in all.iter().enumerate() {
            last.insert(name.clone(), at);
        }
        match self {
            _ if last.len() == all.len() => Some(all),
            Node::Bson(_) => None,
            Node::Json(_) => {
                Some(all.into_iter().enumerate().filter(|(at, (name, _))| last.get(name) == Some(at)).map(|(_, member)| member).collect())
            }
        }
    }

    /// The elements of an array. `None` when it is damaged or has too many.
    pub fn items(&self) -> Option<Vec<Node<'a>>> {
        let all: Vec<Node<'a>> = match self {
            Node::Json(text) => json::items(text, ITEMS)?,
            Node::Bson(value) => {
                let items = bson_fields(value.bytes).take(ITEMS + 1);
                items.map(|each| each.ok().map(|field| Node::Bson(field.value))).collect::<Option<_>>()?
            }
        };
        (all.len() <= ITEMS).then_some(all)
    }

    /// Equality of two values that are not both objects or both arrays, or that are compared as a whole.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Node::Json(one), Node::Json(two)) => json::same(one, two),
            (Node::Bson(one), Node::Bson(two)) => one == two || (one.kind == two.kind && same_number(*one, *two)),
            _ => false,
        }
    }

    /// For people: JSON as it stands, BSON numbers as digits, other BSON as canonical extended JSON.
    pub fn text(&self) -> String {
        match self {
            Node::Bson(value) => number_text(*value).unwrap_or_else(|| self.exact()),
            Node::Json(_) => self.exact(),
        }
    }

    /// As JSON that gives the value back.
    pub fn exact(&self) -> String {
        match self {
            Node::Json(text) => (*text).to_owned(),
            Node::Bson(value) => {
                let mut out = String::new();
                write_value(*value, &mut out);
                out
            }
        }
    }

    /// The names of an object's members as a JSON array.
    pub fn names(&self) -> String {
        let mut out = String::from("[");
        for (at, (name, _)) in self.members().unwrap_or_default().iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            json_quote(name, &mut out);
        }
        out.push(']');
        out
    }

    /// The names of both types, where two BSON values are of different ones.
    pub fn types(&self, other: &Self) -> Option<(&'static str, &'static str)> {
        match (self, other) {
            (Node::Bson(one), Node::Bson(two)) if one.kind != two.kind => Some((type_name(one.kind), type_name(two.kind))),
            _ => None,
        }
    }

    /// The same for values that are equal, as far as it goes into them.
    pub fn digest(&self, depth: usize) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.shape_byte().hash(&mut hasher);
        let inside = if depth == 0 { None } else { self.digest_inside(depth, &mut hasher) };
        if inside.is_none() {
            match self {
                Node::Json(text) if self.shape() == Shape::Leaf => json::canonical(text).hash(&mut hasher),
                // Values that are compared as a whole have nothing in common that is cheap to find.
                Node::Json(_) => {}
                Node::Bson(value) => match number_text(*value) {
                    Some(text) => if text == "-0.0" { "0.0" } else { &text }.hash(&mut hasher),
                    None => value.bytes.hash(&mut hasher),
                },
            }
        }
        hasher.finish()
    }

    fn digest_inside(&self, depth: usize, hasher: &mut DefaultHasher) -> Option<()> {
        match self.shape() {
            Shape::Object => {
                let all = self.members()?.iter().fold(0_u64, |all, (name, node)| {
                    let mut one = DefaultHasher::new();
                    name.hash(&mut one);
                    node.digest(depth - 1).hash(&mut one);
                    all.wrapping_add(one.finish())
                });
                all.hash(hasher);
            }
            Shape::Array => self.items()?.iter().for_each(|node| node.digest(depth - 1).hash(hasher)),
            Shape::Leaf => return None,
        }
        Some(())
    }

    fn shape_byte(&self) -> u8 {
        match self {
            Node::Json(text) => text.as_bytes().first().copied().filter(|byte| b"[{\"tfn".contains(byte)).unwrap_or(b'0'),
            Node::Bson(value) => value.kind,
        }
    }
}

fn same_number(one: BsonValue<'_>, two: BsonValue<'_>) -> bool {
    match one.kind {
        kind::DOUBLE => one.fixed().map(f64::from_le_bytes).zip(two.fixed().map(f64::from_le_bytes)).is_some_and(|(one, two)| {
            #[allow(clippy::float_cmp)]
            let equal = one == two;
            equal || (one.is_nan() && two.is_nan())
        }),
        kind::DECIMAL128 => match (one.fixed().map(decimal), two.fixed().map(decimal)) {
            (Some(Decimal::NaN), Some(Decimal::NaN)) => true,
            (Some(Decimal::Finite { coefficient: 0, exponent: one, .. }), Some(Decimal::Finite { coefficient: 0, exponent: two, .. })) => {
                one == two
            }
            _ => false,
        },
        _ => false,
    }
}

fn type_name(kind: u8) -> &'static str {
    match kind {
        kind::DOUBLE => "double",
        kind::STRING => "string",
        kind::DOCUMENT => "object",
        kind::ARRAY => "array",
        kind::BINARY => "binary",
        kind::UNDEFINED => "undefined",
        kind::OBJECT_ID => "objectId",
        kind::BOOLEAN => "boolean",
        kind::DATE => "date",
        kind::NULL => "null",
        kind::REGEX => "regular expression",
        kind::DB_POINTER => "dbPointer",
        kind::CODE => "code",
        kind::SYMBOL => "symbol",
        kind::CODE_WITH_SCOPE => "code with scope",
        kind::INT32 => "int32",
        kind::TIMESTAMP => "timestamp",
        kind::INT64 => "int64",
        kind::DECIMAL128 => "decimal128",
        kind::MIN_KEY => "minKey",
        kind::MAX_KEY => "maxKey",
        _ => "unknown type",
    }
}
