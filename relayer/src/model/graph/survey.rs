//! What certification asks of a file beside whether it may be run: how deep its graphs are nested, and where the bits of
//! floats become integers.

use std::collections::HashMap;

use super::proto::{Function, Graph, Model, Node};

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Graphs within graphs; 0 for a model without branches and loops. Those of functions count where they are called.
    pub depth: usize,
    /// Inputs of `BitCast` that are floats, or may be: each the name of the value. The first few.
    pub bit_casts: Vec<String>,
}

/// Graphs within graphs at most that the judge is asked to load: its stack has an end, which deeper ones might reach.
pub const MAX_DEPTH: usize = 8;
/// Names of values that are told at most.
const MAX_TOLD: usize = 8;
/// `TensorProto.DataType`: FLOAT, FLOAT16, DOUBLE, BFLOAT16.
const FLOATS: [i32; 4] = [1, 10, 11, 16];
/// Integers and BOOL; not strings, nor floats of eight bits or fewer.
const NO_FLOATS: [i32; 13] = [2, 3, 4, 5, 6, 7, 9, 12, 13, 21, 22, 25, 26];

/// Whether a number of the enum `TensorProto.DataType` is a float.
#[must_use]
pub fn is_float(element: i32) -> bool {
    FLOATS.contains(&element)
}

/// Looks through a file that `inspect` takes. `element` tells the element type of a value of the main graph that a node
/// makes, in the numbers of `TensorProto.DataType`, where it is known.
#[must_use]
pub fn survey(model: &Model, element: &dyn Fn(&str) -> Option<i32>) -> Survey {
    let key = |function: &'_ Function| (function.domain.clone(), function.name.clone(), function.overload.clone());
    let functions = model.functions.iter().map(|function| (key(function), function)).collect();
    let mut walk = Walk { functions, depths: HashMap::new(), element, scopes: Vec::new(), found: Survey::default() };
    for function in &model.functions {
        walk.function(&key(function));
    }
    if let Some(graph) = &model.graph {
        walk.found.depth = walk.graph(graph);
    }
    walk.found
}

type FunctionName = (String, String, String);

struct Walk<'a> {
    functions: HashMap<FunctionName, &'a Function>,
    depths: HashMap<FunctionName, usize>,
    element: &'a dyn Fn(&str) -> Option<i32>,
    /// Values of the graphs around a node, the innermost last, with their types where the file tells them.
    scopes: Vec<HashMap<&'a str, Option<i32>>>,
    found: Survey,
}

impl<'a> Walk<'a> {
    /// Walks a graph; the number of graphs that are nested in it.
    fn graph(&mut self, graph: &'a Graph) -> usize {
        let mut scope = HashMap::new();
        for node in &graph.node {
            scope.extend(node.output.iter().map(|name| (name.as_str(), None)));
        }
        for input in graph.input.iter().chain(&graph.value_info) {
            let tensor = input.r#type.as_ref().and_then(|kind| kind.tensor.as_ref());
            // What a file says of its nodes' values need not be so.
            scope.entry(input.name.as_str()).or_insert(tensor.map(|tensor| tensor.elem_type));
        }
        scope.extend(graph.initializer.iter().map(|tensor| (tensor.name.as_str(), Some(tensor.data_type))));
        self.scopes.push(scope);
        let depth = self.nodes(&graph.node);
        self.scopes.pop();
        depth
    }

    fn nodes(&mut self, nodes: &'a [Node]) -> usize {
        let mut deepest = 0;
        for node in nodes {
            if node.op_type == "BitCast" && matches!(node.domain.as_str(), "" | "ai.onnx") {
                self.bit_cast(node);
            }
            let name = (node.domain.clone(), node.op_type.clone(), node.overload.clone());
            deepest = deepest.max(self.function(&name));
            for graph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
                deepest = deepest.max(1 + self.graph(graph));
            }
        }
        deepest
    }

    /// Graphs that are nested in what a node calls; `inspect` refuses functions that call themselves.
    fn function(&mut self, name: &FunctionName) -> usize {
        if let Some(depth) = self.depths.get(name) {
            return *depth;
        }
        let Some(function) = self.functions.get(name).copied() else { return 0 };
        let depth = self.nodes_of_function(function);
        self.depths.insert(name.clone(), depth);
        depth
    }

    /// Of values within a function no types are known.
    fn nodes_of_function(&mut self, function: &'a Function) -> usize {
        let around = std::mem::take(&mut self.scopes);
        let depth = self.nodes(&function.node);
        self.scopes = around;
        depth
    }

    fn bit_cast(&mut self, node: &'a Node) {
        let Some(name) = node.input.first() else { return };
        let declared = self.scopes.iter().enumerate().rev().find_map(|(depth, scope)| {
            let declared = scope.get(name.as_str())?;
            // Of the main graph's nodes somebody else knows.
            Some(declared.or_else(|| if depth == 0 { (self.element)(name) } else { None }))
        });
        let is_no_float = declared.flatten().is_some_and(|element| NO_FLOATS.contains(&element));
        if !is_no_float && self.found.bit_casts.len() < MAX_TOLD && !self.found.bit_casts.contains(name) {
            self.found.bit_casts.push(name.clone());
        }
    }
}
