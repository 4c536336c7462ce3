//! The part of an ONNX file that names values: which of them depend on an input, and files with further outputs.

use std::collections::{HashMap, HashSet};

use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Initializer>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<Value>,
    #[prost(message, repeated, tag = "15")]
    sparse_initializer: Vec<SparseInitializer>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(message, optional, tag = "6")]
    g: Option<Graph>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<Graph>,
}

#[derive(Clone, PartialEq, Message)]
struct Initializer {
    #[prost(string, tag = "8")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct SparseInitializer {
    #[prost(message, optional, tag = "1")]
    values: Option<Initializer>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    name: String,
}

/// A file that is no ONNX model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file is no ONNX model: {0}")]
pub(crate) struct NoModel(String);

/// Names of values in a model.
pub(crate) struct Names {
    /// Outputs of top-level nodes that depend on an input, in the file's order.
    pub(crate) dependent: Vec<String>,
    /// Outputs of the model.
    pub(crate) outputs: HashSet<String>,
}

impl Names {
    pub(crate) fn read(model: &[u8]) -> Result<Self, NoModel> {
        let model = Model::decode(model).map_err(|error| NoModel(error.to_string()))?;
        let graph = model.graph.ok_or_else(|| NoModel("it has no graph".to_owned()))?;
        let dependent = dependent(&graph);
        Ok(Self { dependent, outputs: graph.output.into_iter().map(|value| value.name).collect() })
    }
}

/// The model with further outputs. Protobuf merges messages that follow one another, so nothing of the file is written anew.
pub(crate) fn with_outputs<'a>(model: &[u8], names: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let output: Vec<_> = names.map(|name| Value { name: name.to_owned() }).collect();
    let mut bytes = model.to_vec();
    if !output.is_empty() {
        let further = Model { graph: Some(Graph { output, ..Graph::default() }) };
        bytes.extend(further.encode_to_vec());
    }
    bytes
}

fn dependent(graph: &Graph) -> Vec<String> {
    let constant: HashSet<&str> = constants(graph).collect();
    let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, node) in graph.node.iter().enumerate() {
        for name in reads(node) {
            readers.entry(name).or_default().push(place);
        }
    }
    let mut reached = vec![false; graph.node.len()];
    let inputs = graph.input.iter().map(|input| input.name.as_str());
    let mut names: Vec<&str> = inputs.filter(|name| !constant.contains(name)).collect();
    while let Some(name) = names.pop() {
        for place in readers.remove(name).unwrap_or_default() {
            if !std::mem::replace(&mut reached[place], true) {
                names.extend(graph.node[place].output.iter().map(String::as_str));
            }
        }
    }
    let mut seen = HashSet::new();
    let nodes = graph.node.iter().zip(reached).filter(|(_, reached)| *reached);
    let outputs = nodes.flat_map(|(node, _)| &node.output);
    outputs.filter(|name| !name.is_empty() && seen.insert(name.as_str())).cloned().collect()
}

/// Names that a node reads: its inputs, and what its graphs take from around them.
fn reads(node: &Node) -> HashSet<&str> {
    let mut names: HashSet<&str> = node.input.iter().map(String::as_str).collect();
    for graph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
        let inner: HashSet<&str> = constants(graph)
            .chain(graph.input.iter().map(|value| value.name.as_str()))
            .chain(graph.node.iter().flat_map(|node| &node.output).map(String::as_str))
            .collect();
        let taken = graph.node.iter().flat_map(reads).chain(graph.output.iter().map(|value| value.name.as_str()));
        names.extend(taken.filter(|name| !inner.contains(name)));
    }
    names.remove("");
    names
}

fn constants(graph: &Graph) -> impl Iterator<Item = &str> {
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    graph.initializer.iter().chain(sparse).map(|initializer| initializer.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(input: &[&str], output: &[&str], graph: Option<Graph>) -> Node {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let attribute = graph.map(|g| Attribute { g: Some(g), graphs: vec![] }).into_iter().collect();
        Node { input: owned(input), output: owned(output), attribute }
    }

    fn values(names: &[&str]) -> Vec<Value> {
        names.iter().map(|name| Value { name: (*name).to_owned() }).collect()
    }

    fn file(graph: Graph) -> Vec<u8> {
        Model { graph: Some(graph) }.encode_to_vec()
    }

    #[test]
    fn values_that_depend_on_an_input_are_named_in_the_files_order() {
        let captures =
            Graph { node: vec![node(&["own", "b"], &["own2"], None)], input: values(&["own"]), ..Graph::default() };
        let shadows = Graph { node: vec![node(&["a"], &["z"], None)], input: values(&["a"]), ..Graph::default() };
        let graph = Graph {
            node: vec![
                node(&["w"], &["c"], None),
                // Reads a value of a later node, as no valid file does.
                node(&["b"], &["d", "", "e"], None),
                node(&["a", "w"], &["b"], None),
                node(&["c"], &["f"], Some(captures)),
                node(&["c"], &["g"], Some(shadows)),
                node(&["with_default"], &["h"], None),
                node(&["f"], &["b"], None),
            ],
            initializer: ["w", "with_default"].map(|name| Initializer { name: name.to_owned() }).into(),
            input: values(&["a", "with_default"]),
            output: values(&["d", "f"]),
            ..Graph::default()
        };
        let names = Names::read(&file(graph)).unwrap();
        assert_eq!(names.dependent, ["d", "e", "b", "f"]);
        assert_eq!(names.outputs, ["d", "f"].map(str::to_owned).into());
    }

    #[test]
    fn outputs_are_added_behind_the_files_bytes() {
        let graph = Graph { node: vec![node(&["a"], &["b"], None)], output: values(&["b"]), ..Graph::default() };
        let before = file(graph.clone());
        let after = with_outputs(&before, ["x", "y"].into_iter());
        assert!(after.starts_with(&before));
        let merged = Model::decode(after.as_slice()).unwrap().graph.unwrap();
        assert_eq!(merged, Graph { output: values(&["b", "x", "y"]), ..graph });
        assert_eq!(with_outputs(&before, std::iter::empty()), before);
    }

    #[test]
    fn a_file_that_is_no_model_is_refused() {
        assert!(Names::read(b"no model").is_err());
        assert!(Names::read(b"").is_err());
    }
}
