//! Walks every node of a model, with its subgraphs and functions, and finds what may not be run.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    domains::RESERVED_DOMAINS,
    external, operators,
    proto::{Attribute, Function, Graph, Node, SparseTensor, Tensor},
    refused::{MAX_CALLS, MAX_NODES, Refused},
};

/// Reasons that are kept where all are wanted.
const MAX_REFUSALS: usize = 16;

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
    /// Where all refusals are wanted, those of nodes so far.
    refusals: Option<Vec<Refused>>,
    /// Functions that are being counted, each called by the one before.
    calls: usize,
}

impl<'a> Judge<'a> {
    /// Knows nothing but the nodes of the main graph that would train, were an input of theirs not the constant `false`.
    pub(super) fn new(inactive: HashSet<*const Node>) -> Self {
        Self { inactive, ..Self::default() }
    }

    /// The same, but nodes that are refused do not end the walk: each reason is kept once, `MAX_REFUSALS` of them at most.
    pub(super) fn collecting(inactive: HashSet<*const Node>) -> Self {
        Self { refusals: Some(Vec::new()), ..Self::new(inactive) }
    }

    /// Reasons that were kept, and files beside the model's own that hold weights.
    pub(super) fn into_parts(self) -> (Vec<Refused>, BTreeSet<String>) {
        (self.refusals.unwrap_or_default(), self.external)
    }

    fn refuse(&mut self, refused: Refused) -> Result<(), Refused> {
        let Some(refusals) = &mut self.refusals else { return Err(refused) };
        if refusals.len() < MAX_REFUSALS && !refusals.contains(&refused) {
            refusals.push(refused);
        }
        Ok(())
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
                let (domain, name) = (function.domain.clone(), function.name.clone());
                self.refuse(Refused::ReservedFunction { domain, name })?;
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
            match external::location(tensor) {
                Ok(location) => self.external.extend(location),
                Err(refused) => self.refuse(refused)?,
            }
        }
        graph.sparse_initializer.iter().try_for_each(|tensor| self.sparse(tensor))?;
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
            operators::judge(node).or_else(|refused| self.refuse(refused))?;
            let trains = training(node).filter(|_| !self.inactive.contains(&std::ptr::from_ref(node)));
            if let Some(training) = trains {
                self.refuse(Refused::TrainingDropout { training: training.to_owned() })?;
            }
        }
        for attribute in &node.attribute {
            cost = cost.saturating_add(self.attribute(attribute)?);
        }
        Ok(cost)
    }

    fn attribute(&mut self, attribute: &'a Attribute) -> Result<usize, Refused> {
        attribute.t.iter().chain(&attribute.tensors).try_for_each(|tensor| self.tensor(tensor))?;
        attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors).try_for_each(|tensor| self.sparse(tensor))?;
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
        if self.calls == MAX_CALLS {
            return Err(Refused::DeepFunctions);
        }
        self.calls += 1;
        self.costs.insert(name, None);
        let mut cost = self.nodes(&function.node)?;
        for attribute in &function.attribute_proto {
            cost = cost.saturating_add(self.attribute(attribute)?);
        }
        self.costs.insert(name, Some(cost));
        self.calls -= 1;
        Ok(cost)
    }

    /// Refuses a tensor whose values lie in another file.
    fn tensor(&mut self, tensor: &Tensor) -> Result<(), Refused> {
        // An entry is refused even where the location says "inside": some runtimes go by the entries alone.
        if tensor.data_location != 0 || !tensor.external_data.is_empty() {
            return self.refuse(Refused::ExternalData { tensor: tensor.name.clone() });
        }
        Ok(())
    }

    fn sparse(&mut self, sparse: &SparseTensor) -> Result<(), Refused> {
        sparse.values.iter().chain(&sparse.indices).try_for_each(|tensor| self.tensor(tensor))
    }
}

/// The input of a Dropout that says whether it drops at random: since opset 12 the third.
pub(super) fn training(node: &Node) -> Option<&str> {
    node.input.get(2).map(String::as_str).filter(|training| node.op_type == "Dropout" && !training.is_empty())
}
