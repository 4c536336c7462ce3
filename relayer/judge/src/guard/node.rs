//! The parts of nodes, attributes, tensors and types that a rewrite reads.

use super::{
    GuardError,
    operators::elem,
    wire::{Field, fields, floats, ints, last, malformed, merged, put_bytes},
};

/// A node, in the numbers of `NodeProto`.
pub(super) struct Node<'a> {
    pub(super) input: Vec<&'a str>,
    pub(super) output: Vec<&'a str>,
    pub(super) name: &'a str,
    pub(super) op: &'a str,
    pub(super) domain: &'a str,
    pub(super) attributes: Vec<Attribute<'a>>,
    fields: Vec<Field<'a>>,
}

/// An attribute, in the numbers of `AttributeProto`.
pub(super) struct Attribute<'a> {
    pub(super) name: &'a str,
    fields: Vec<Field<'a>>,
}

/// What a tensor in a file says of itself.
pub(super) struct TensorFacts {
    pub(super) elem: i64,
    pub(super) dims: Vec<i64>,
}

impl TensorFacts {
    pub(super) fn read(tensor: &[Field<'_>]) -> Result<Self, GuardError> {
        Ok(Self { elem: last(tensor, 2).map_or(Ok(0), |field| field.int())?, dims: ints(tensor, 1)? })
    }

    /// Whether the tensor has one element.
    pub(super) fn is_single(&self) -> bool {
        self.dims.iter().all(|dim| *dim == 1)
    }
}

impl<'a> Attribute<'a> {
    fn read(message: &'a [u8]) -> Result<Self, GuardError> {
        let fields = fields(message)?;
        let name = last(&fields, 1).map_or(Ok(""), |field| field.text())?;
        Ok(Self { name, fields })
    }

    /// The graph of the attribute.
    pub(super) fn graph(&self) -> Result<Option<Vec<u8>>, GuardError> {
        merged(&self.fields, 6)
    }

    fn has_graphs(&self) -> bool {
        self.fields.iter().any(|field| field.number == 11)
    }

    /// The tensor of the attribute.
    pub(super) fn tensor(&self) -> Result<Option<Vec<u8>>, GuardError> {
        merged(&self.fields, 5)
    }

    /// The floats of the attribute, as bytes.
    pub(super) fn floats(&self) -> Result<Vec<u8>, GuardError> {
        floats(&self.fields, 7, 4)
    }

    /// The attribute with another message or list in the field `number`.
    pub(super) fn with(&self, number: u32, bytes: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> =
            self.fields.iter().filter(|field| field.number != number).flat_map(|field| field.raw).copied().collect();
        put_bytes(&mut out, number, bytes);
        out
    }
}

impl<'a> Node<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Self, GuardError> {
        let all = fields(message)?;
        let texts = |number| all.iter().filter(move |field| field.number == number).map(Field::text).collect();
        let text = |number| last(&all, number).map_or(Ok(""), |field| field.text());
        let attributes = all.iter().filter(|field| field.number == 5);
        let node = Self {
            input: Result::from_iter::<Vec<_>>(texts(1))?,
            output: Result::from_iter::<Vec<_>>(texts(2))?,
            name: text(3)?,
            op: text(4)?,
            domain: text(7)?,
            attributes: attributes.map(|field| Attribute::read(field.bytes()?)).collect::<Result<_, _>>()?,
            fields: all,
        };
        if node.attributes.iter().any(Attribute::has_graphs) {
            return Err(GuardError::Operator { op: node.op.to_owned(), domain: node.domain.to_owned() });
        }
        Ok(node)
    }

    /// The node with other names of inputs and outputs, and other attributes.
    pub(super) fn with(&self, input: &[String], output: &[String], attributes: &[Option<Vec<u8>>]) -> Vec<u8> {
        let (mut input, mut output, mut attributes) = (input.iter(), output.iter(), attributes.iter());
        let mut out = Vec::new();
        for field in &self.fields {
            let replaced: Option<&[u8]> = match field.number {
                1 => input.next().map(|name| name.as_bytes()),
                2 => output.next().map(|name| name.as_bytes()),
                5 => attributes.next().and_then(|attribute| attribute.as_deref()),
                _ => None,
            };
            match replaced {
                Some(bytes) => put_bytes(&mut out, field.number, bytes),
                None => out.extend(field.raw),
            }
        }
        out
    }

    fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        last(&self.attribute(name)?.fields, 3)?.int().ok()
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        last(&self.attribute(name)?.fields, 4)?.text().ok()
    }

    pub(super) fn tensor(&self, name: &str) -> Option<TensorFacts> {
        let tensor = merged(&self.attribute(name)?.fields, 5).ok()??;
        TensorFacts::read(&fields(&tensor).ok()?).ok()
    }

    /// What a `Constant` node gives; `None` for a sparse one.
    pub(super) fn constant(&self) -> Option<TensorFacts> {
        let single = |elem| Some(TensorFacts { elem, dims: vec![] });
        // A list of one element counts as longer: its jitter does no harm.
        let list = |elem| Some(TensorFacts { elem, dims: vec![2] });
        match self.attributes.iter().find(|attribute| attribute.name.starts_with("value"))?.name {
            "value" => self.tensor("value"),
            "value_float" => single(elem::FLOAT),
            "value_floats" => list(elem::FLOAT),
            "value_int" => single(elem::INT64),
            "value_ints" => list(elem::INT64),
            "value_string" => single(elem::STRING),
            "value_strings" => list(elem::STRING),
            _ => None,
        }
    }
}

/// Name and element type of an input of a graph, in the numbers of `ValueInfoProto`; `None` for a type that is not told.
pub(super) fn value_info(message: &[u8]) -> Result<(String, Option<i64>), GuardError> {
    let all = fields(message)?;
    let name = last(&all, 1).map_or(Ok(""), |field| field.text())?;
    let kind = merged(&all, 2)?.unwrap_or_default();
    Ok((name.to_owned(), element(&kind, 0)?))
}

/// Element type of a tensor, or of what a sequence or optional value holds.
fn element(kind: &[u8], depth: usize) -> Result<Option<i64>, GuardError> {
    let all = fields(kind)?;
    if let Some(tensor) = merged(&all, 1)? {
        return last(&fields(&tensor)?, 1).map(|field| field.int()).transpose();
    }
    for number in [4, 9] {
        if let Some(holder) = merged(&all, number)? {
            if depth == 2 {
                return Err(malformed("a type is nested too deeply"));
            }
            let inner = merged(&fields(&holder)?, 1)?.unwrap_or_default();
            return element(&inner, depth + 1);
        }
    }
    Ok(None)
}
