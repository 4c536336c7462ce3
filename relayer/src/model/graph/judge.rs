//! Walks every node of a model, with its subgraphs and functions, and finds what may not be run.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    domains::RESERVED_DOMAINS,
    external, operators,
    proto::{Attribute, Function, Graph, Node, SparseTensor, Tensor},
    refused::{MAX_NODES, Refused},
};

type FunctionName<'a> = (&'a str, &'a str, &'a str);

/// What is known of a model while its nodes are judged.
#[derive(Default)]
pub(super) struct Judge<'a> {
    functions: HashMap<FunctionName<'a>, &'a Function>,
    /// Nodes of each function, written out; `None` while they are being counted.
    costs: HashMap<FunctionName<'a>, Option<usize>>,
    /// Nodes of the main graph that would train, were an input of theirs not the constant `false`.
    inactive: HashSet<*const Node>,
    /// Files beside the model's own that hold weights of graphs.
    pub(super) external: BTreeSet<String>,
}

impl<'a> Judge<'a> {
    /// Knows nothing but the nodes of the main graph that would train, were an input of theirs not the constant `false`.
    pub(super) fn new(inactive: HashSet<*const Node>) -> Self {
        Self { inactive, ..Self::default() }
    }

    /// Judges all functions, those that nothing calls as well: runtimes may read them.
    ///
    /// # Errors
    /// `Refused::ReservedFunction` for a name, `RecursiveFunction`; else as `graph`.
    pub(super) fn functions(&mut self, functions: &'a [Function]) -> Result<(), Refused> {
        for function in functions {
            let reserved = |prefix: &&str| {
                let rest = function.domain.strip_prefix(*prefix);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            if function.domain.is_empty() || RESERVED_DOMAINS.iter().any(reserved) {
                return Err(Refused::ReservedFunction { domain: function.domain.clone(), name: function.name.clone() });
            }
            let key = (function.domain.as_str(), function.name.as_str(), function.overload.as_str());
            self.functions.insert(key, function);
        }
        let names: Vec<_> = self.functions.keys().copied().collect();
        names.into_iter().try_for_each(|name| self.function(name).map(|_| ()))
    }

    /// Judges a graph; returns the number of its nodes, written out.
    ///
    /// # Errors
    /// `Refused::ExternalData` or `ExternalPath` for weights, `TooManyNodes`, and what a node may be refused for.
    pub(super) fn graph(&mut self, graph: &'a Graph) -> Result<usize, Refused> {
        for tensor in &graph.initializer {
            self.external.extend(external::location(tensor)?);
        }
        graph.sparse_initializer.iter().try_for_each(sparse)?;
        self.nodes(&graph.node)
    }

    fn nodes(&mut self, nodes: &'a [Node]) -> Result<usize, Refused> {
        let mut total = 0usize;
        for node in nodes {
            total = total.saturating_add(self.node(node)?);
            if total > MAX_NODES {
                return Err(Refused::TooManyNodes);
            }
        }
        Ok(total)
    }

    fn node(&mut self, node: &'a Node) -> Result<usize, Refused> {
        let name = (node.domain.as_str(), node.op_type.as_str(), node.overload.as_str());
        let mut cost = 1usize;
        if self.functions.contains_key(&name) {
            cost = cost.saturating_add(self.function(name)?);
        } else {
            operators::judge(node)?;
            let trains = training(node).filter(|_| !self.inactive.contains(&std::ptr::from_ref(node)));
            if let Some(training) = trains {
                return Err(Refused::TrainingDropout { training: training.to_owned() });
            }
        }
        for attribute in &node.attribute {
            cost = cost.saturating_add(self.attribute(attribute)?);
        }
        Ok(cost)
    }

    fn attribute(&mut self, attribute: &'a Attribute) -> Result<usize, Refused> {
        attribute.t.iter().chain(&attribute.tensors).try_for_each(tensor)?;
        attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors).try_for_each(sparse)?;
        let mut cost = 0usize;
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            cost = cost.saturating_add(self.graph(graph)?);
        }
        Ok(cost)
    }

    fn function(&mut self, name: FunctionName<'a>) -> Result<usize, Refused> {
        match self.costs.get(&name) {
            Some(Some(cost)) => return Ok(*cost),
            Some(None) => return Err(Refused::RecursiveFunction { name: name.1.to_owned() }),
            None => {}
        }
        let Some(function) = self.functions.get(&name).copied() else { return Ok(0) };
        self.costs.insert(name, None);
        let mut cost = self.nodes(&function.node)?;
        for attribute in &function.attribute_proto {
            cost = cost.saturating_add(self.attribute(attribute)?);
        }
        self.costs.insert(name, Some(cost));
        Ok(cost)
    }
}

/// The input of a Dropout that says whether it drops at random: since opset 12 the third.
pub(super) fn training(node: &Node) -> Option<&str> {
    node.input.get(2).map(String::as_str).filter(|training| node.op_type == "Dropout" && !training.is_empty())
}

/// Refuses a tensor whose values lie in another file.
fn tensor(tensor: &Tensor) -> Result<(), Refused> {
    // An entry is refused even where the location says "inside": some runtimes go by the entries alone.
    if tensor.data_location != 0 || !tensor.external_data.is_empty() {
        return Err(Refused::ExternalData { tensor: tensor.name.clone() });
    }
    Ok(())
}

fn sparse(sparse: &SparseTensor) -> Result<(), Refused> {
    sparse.values.iter().chain(&sparse.indices).try_for_each(tensor)
}
