//! Writes small ONNX files.

/// Element types in ONNX's numbers.
pub(crate) const F32: i64 = 1;
pub(crate) const I32: i64 = 6;
pub(crate) const I64: i64 = 7;
pub(crate) const BOOL: i64 = 9;
pub(crate) const F64: i64 = 11;

/// A model, or a graph in one.
#[derive(Clone, Default)]
pub(crate) struct Graph {
    nodes: Vec<u8>,
    constants: Vec<u8>,
    ports: Vec<u8>,
    count: usize,
    /// What names of values begin with: graphs in graphs have their own.
    prefix: &'static str,
}

/// An attribute of a node.
pub(crate) enum Attribute<'a> {
    Int(&'a str, i64),
    Ints(&'a str, &'a [i64]),
    Text(&'a str, &'a str),
    Graph(&'a str, &'a Graph),
}

impl Graph {
    pub(crate) fn within(prefix: &'static str) -> Self {
        Self { prefix, ..Self::default() }
    }

    fn fresh(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{}{kind}{}", self.prefix, self.count)
    }

    pub(crate) fn input(&mut self, name: &str, elem: i64, dims: &[i64]) -> String {
        self.port(11, name, elem, dims);
        name.to_owned()
    }

    pub(crate) fn output(&mut self, name: &str, elem: i64, dims: &[i64]) {
        self.port(12, name, elem, dims);
    }

    /// An input or output; dimensions below 0 are any.
    fn port(&mut self, number: u64, name: &str, elem: i64, dims: &[i64]) {
        let dims: Vec<u8> =
            dims.iter().flat_map(|dim| bytes(1, &if *dim < 0 { bytes(2, b"N") } else { int(1, *dim) })).collect();
        let tensor = [int(1, elem), bytes(2, &dims)].concat();
        self.ports.extend(bytes(number, &[bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()));
    }

    pub(crate) fn floats(&mut self, dims: &[i64], values: &[f32]) -> String {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(F32, dims, &raw)
    }

    pub(crate) fn ints(&mut self, dims: &[i64], values: &[i64]) -> String {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(I64, dims, &raw)
    }

    pub(crate) fn constant(&mut self, elem: i64, dims: &[i64], raw: &[u8]) -> String {
        let name = self.fresh("c");
        let dims: Vec<u8> = dims.iter().flat_map(|dim| int(1, *dim)).collect();
        let tensor = [dims, int(2, elem), bytes(8, name.as_bytes()), bytes(9, raw)].concat();
        self.constants.extend(bytes(5, &tensor));
        name
    }

    /// Adds a node with one output; gives its name.
    pub(crate) fn node(&mut self, op: &str, inputs: &[&str], attributes: &[Attribute<'_>]) -> String {
        self.nodes(op, inputs, 1, attributes).remove(0)
    }

    pub(crate) fn nodes(
        &mut self,
        op: &str,
        inputs: &[&str],
        outputs: usize,
        attributes: &[Attribute<'_>],
    ) -> Vec<String> {
        let outputs: Vec<String> = (0..outputs).map(|_| self.fresh("v")).collect();
        let mut node: Vec<u8> = inputs.iter().flat_map(|name| bytes(1, name.as_bytes())).collect();
        outputs.iter().for_each(|name| node.extend(bytes(2, name.as_bytes())));
        node.extend([bytes(3, format!("{op} of {}", outputs[0]).as_bytes()), bytes(4, op.as_bytes())].concat());
        for attribute in attributes {
            node.extend(bytes(5, &attribute.encoded()));
        }
        self.nodes.extend(bytes(1, &node));
        outputs
    }

    fn encoded(&self) -> Vec<u8> {
        [&self.nodes[..], &bytes(2, b"graph"), &self.constants, &self.ports].concat()
    }

    /// The file of a model of this graph.
    pub(crate) fn file(&self) -> Vec<u8> {
        self.file_of(17)
    }

    /// The file, of a version of the standard operators.
    pub(crate) fn file_of(&self, opset: i64) -> Vec<u8> {
        [int(1, 8), bytes(8, &int(2, opset)), bytes(7, &self.encoded())].concat()
    }
}

impl Attribute<'_> {
    fn encoded(&self) -> Vec<u8> {
        let (name, rest, kind) = match self {
            Self::Int(name, value) => (name, int(3, *value), 2),
            Self::Ints(name, values) => (name, values.iter().flat_map(|value| int(8, *value)).collect(), 7),
            Self::Text(name, text) => (name, bytes(4, text.as_bytes()), 3),
            Self::Graph(name, graph) => (name, bytes(6, &graph.encoded()), 5),
        };
        [bytes(1, name.as_bytes()), rest, int(20, kind)].concat()
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

pub(crate) fn int(number: u64, value: i64) -> Vec<u8> {
    [varint(number << 3), varint(value as u64)].concat()
}

pub(crate) fn bytes(number: u64, bytes: &[u8]) -> Vec<u8> {
    [&varint(number << 3 | 2), &varint(bytes.len() as u64), bytes].concat()
}
