//! The rewrite of a graph, and of the graphs in it.

use std::{collections::HashMap, rc::Rc};

use super::{
    Factor, GuardError, MAX_ADDED, MAX_DEPTH, Weights, facts,
    jitter::{self, Float},
    known::{Kind, Known, Rounded, exact, is_float, kind, outputs_of, unknown},
    names::Names,
    node::{Node, TensorFacts, value_info},
    operators::{Effect, effect, elem, takes_exactly},
    probe::{self, Allowed, Source},
    weights,
    wire::{Field, fields, last, malformed, put_bytes},
};

/// The graphs of a node.
#[derive(Default)]
struct Inner {
    /// Attributes of the node, rewritten where they have graphs.
    attributes: Vec<Option<Vec<u8>>>,
    /// Element types of the node's outputs, if it has a graph.
    outputs: Option<Vec<i64>>,
    /// What hangs on rounded values in what a graph gives.
    rounded: Rounded,
}

/// A float that becomes an integer, which a further output shows as f64.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) operator: String,
    pub(super) node: String,
    pub(super) allowed: Allowed,
}

/// A rewrite under way.
pub(super) struct Rewrite {
    names: Names,
    weights: Weights,
    /// Values with jitter, copies of constants, and probes: what makes the file longer.
    added: usize,
    scopes: Vec<HashMap<String, Known>>,
    used: Vec<Float>,
    pub(super) factors: Vec<Factor>,
    pub(super) probes: Vec<Probe>,
    /// Nodes that multiply unsigned integers with signed ones.
    pub(super) products: Vec<String>,
    /// Whether each output of the model depends on values that are rounded.
    pub(super) rounded: Vec<bool>,
    /// Nodes and outputs of the probes.
    probe_nodes: Vec<u8>,
    probe_outputs: Vec<u8>,
}

type Result<T> = std::result::Result<T, GuardError>;

impl Rewrite {
    pub(super) fn new(weights: Weights) -> Self {
        Self {
            names: Names::default(),
            weights,
            added: 0,
            scopes: Vec::new(),
            used: Vec::new(),
            factors: Vec::new(),
            probes: Vec::new(),
            products: Vec::new(),
            rounded: Vec::new(),
            probe_nodes: Vec::new(),
            probe_outputs: Vec::new(),
        }
    }

    /// Types that have jitter, in the order of their inputs for ε.
    pub(super) fn used(&self) -> &[Float] {
        &self.used
    }

    /// The model's graph, with inputs for ε and k after its own, and outputs of the probes.
    pub(super) fn model(&mut self, graph: &[u8]) -> Result<Vec<u8>> {
        let (graph, outputs) = self.graph(graph, None)?;
        self.rounded = outputs.iter().map(|output| output.rounded.any()).collect();
        let mut out = Vec::new();
        for float in &self.used {
            float.constants().iter().for_each(|node| put_bytes(&mut out, 1, node));
        }
        out.extend(graph);
        for float in &self.used {
            put_bytes(&mut out, 11, &jitter::value(&float.epsilon_name(), float.computed(), true));
        }
        for factor in &self.factors {
            put_bytes(&mut out, 11, &jitter::value(&factor.input, factor.float.computed(), true));
        }
        out.extend(&self.probe_nodes);
        out.extend(&self.probe_outputs);
        Ok(out)
    }

    /// A graph with jitter, and what is known of its outputs. `given` is what a node gives to the inputs of its graph.
    fn graph(&mut self, graph: &[u8], given: Option<&[Option<i64>]>) -> Result<(Vec<u8>, Vec<Known>)> {
        if self.scopes.len() > MAX_DEPTH {
            return Err(GuardError::TooDeep);
        }
        self.scopes.push(HashMap::new());
        let all = fields(graph)?;
        if all.iter().any(|field| field.number == 15) {
            return Err(GuardError::Sparse);
        }
        let (mut others, mut nodes) = (Vec::new(), Vec::new());
        // Constants come before inputs here, for an input may have one as its default.
        for field in all.iter().filter(|field| field.number == 5) {
            put_bytes(&mut others, 5, &self.initializer(field.bytes()?)?);
        }
        let inputs = all.iter().filter(|field| field.number == 11);
        for (place, field) in inputs.enumerate() {
            let given = given.map(|given| given.get(place).copied().flatten());
            put_bytes(&mut others, 11, &self.input(field.bytes()?, given, &mut nodes)?);
        }
        let mut outputs = Vec::new();
        for field in &all {
            match field.number {
                1 => self.node(field.bytes()?, &mut nodes)?,
                5 | 11 => {}
                _ => others.extend(field.raw),
            }
        }
        for field in all.iter().filter(|field| field.number == 12) {
            outputs.push(self.known(&value_info(field.bytes()?)?.0)?);
        }
        self.scopes.pop();
        nodes.extend(others);
        Ok((nodes, outputs))
    }

    fn initializer(&mut self, tensor: &[u8]) -> Result<Vec<u8>> {
        let all = fields(tensor)?;
        let facts = TensorFacts::read(&all)?;
        let name = last(&all, 8).map_or(Ok(""), |field| field.text())?;
        let kind = if facts.is_single() { Kind::Single } else { Kind::Other };
        let Some(float) = Float::of(facts.elem).filter(|_| kind == Kind::Other) else {
            self.declare(name, facts.elem, kind, None)?;
            return Ok(tensor.to_vec());
        };
        self.declare(name, facts.elem, kind, exact(tensor))?;
        weights::tensor(tensor, name, float, self.weights)
    }

    /// An input of a graph: a float has jitter where it comes into the model, and keeps it within.
    fn input(&mut self, value: &[u8], given: Option<Option<i64>>, nodes: &mut Vec<u8>) -> Result<Vec<u8>> {
        let (name, declared) = value_info(value)?;
        if self.scopes.last().is_some_and(|scope| scope.contains_key(&name)) {
            return Ok(value.to_vec());
        }
        let untyped = || GuardError::Untyped(name.clone());
        let elem = given.flatten().or(declared).ok_or_else(untyped)?;
        self.declare(&name, elem, Kind::Other, None)?;
        match Float::of(elem).filter(|_| given.is_none()) {
            Some(float) => Ok(renamed(&fields(value)?, 1, &self.jitter(float, &name, nodes)?)),
            None => Ok(value.to_vec()),
        }
    }

    /// A constant node, with jitter unless it has one element.
    fn constant(&mut self, node: &Node<'_>, nodes: &mut Vec<u8>) -> Result<()> {
        let facts = node.constant().ok_or_else(|| unknown(node))?;
        let kind = if facts.is_single() { Kind::Single } else { Kind::Other };
        let name = node.output.first().copied().unwrap_or_default();
        let (mut attributes, mut without) = (vec![None; node.attributes.len()], None);
        if let Some(float) = Float::of(facts.elem).filter(|_| kind == Kind::Other) {
            for (attribute, changed) in node.attributes.iter().zip(&mut attributes) {
                if let Some(tensor) = attribute.tensor()? {
                    without = exact(&tensor);
                    *changed = Some(attribute.with(5, &weights::tensor(&tensor, name, float, self.weights)?));
                } else if attribute.name == "value_floats" {
                    let mut floats = attribute.floats()?;
                    weights::change(&mut floats, name, float, self.weights);
                    *changed = Some(attribute.with(7, &floats));
                }
            }
        }
        self.declare(name, facts.elem, kind, without)?;
        put_bytes(nodes, 1, &node.with(&[], &[], &attributes));
        Ok(())
    }

    fn node(&mut self, message: &[u8], nodes: &mut Vec<u8>) -> Result<()> {
        let node = Node::read(message)?;
        if node.op == "Constant" && is_standard(&node) {
            return self.constant(&node, nodes);
        }
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            inputs.push(if name.is_empty() { None } else { Some(self.known(name)?) });
        }
        let elems: Vec<Option<i64>> = inputs.iter().map(|known| known.as_ref().map(|known| known.elem)).collect();
        let Inner { attributes: graphs, outputs, rounded } = self.graphs(&node, &elems)?;
        let outputs = outputs.map_or_else(|| outputs_of(&node, &elems), Ok)?;
        let kind = kind(&node, &inputs);
        let rounds = kind == Kind::Other && effect(&node) == Effect::Rounds && graphs.iter().all(Option::is_none);
        if matches!(node.op, "Resize" | "Upsample") && rounds && !elems.first().copied().flatten().is_some_and(is_float)
        {
            return Err(GuardError::HiddenStep { op: node.op.to_owned(), node: node.name.to_owned() });
        }
        let mut read: Vec<String> = node.input.iter().map(|name| (*name).to_owned()).collect();
        for (place, known) in inputs.iter().enumerate().filter(|(place, _)| takes_exactly(node.op, *place)) {
            if let Some(tensor) = known.as_ref().and_then(|known| known.exact.as_ref()) {
                self.add()?;
                read[place] = self.names.fresh();
                put_bytes(nodes, 1, &jitter::constant_of(tensor, &read[place]));
            }
        }
        if facts::is_mixed_product(&node, &elems) {
            self.products.push(facts::named(&node));
        }
        let computes = facts::quantizes(&node, &elems) || outputs.iter().any(|elem| is_float(*elem));
        let rounded = facts::rounded(&node, &inputs, rounded, rounds && computes);
        let (mut after, mut written) = (Vec::new(), Vec::new());
        for (name, elem) in node.output.iter().zip(outputs) {
            let float = Float::of(elem).filter(|_| rounds && !name.is_empty());
            if !name.is_empty() {
                self.declare(name, elem, kind, None)?;
                self.round(name, rounded);
            }
            let made = float.map(|float| self.jitter(float, name, &mut after)).transpose()?;
            written.push(made.unwrap_or((*name).to_owned()));
        }
        put_bytes(nodes, 1, &node.with(&read, &written, &graphs));
        nodes.extend(after);
        let output = node.output.first().and_then(|name| self.known(name).ok()).map(|known| known.elem);
        for (source, allowed) in probe::probes(&node, &elems, output) {
            self.probe(&node, &read, source, allowed)?;
        }
        Ok(())
    }

    /// Rewrites the graphs of a node.
    fn graphs(&mut self, node: &Node<'_>, inputs: &[Option<i64>]) -> Result<Inner> {
        let mut inner = Inner::default();
        for attribute in &node.attributes {
            let Some(graph) = attribute.graph()? else {
                inner.attributes.push(None);
                continue;
            };
            let (given, skipped): (Vec<_>, usize) = match node.op {
                "If" if is_standard(node) => (vec![], 0),
                "Loop" if is_standard(node) => {
                    let states = inputs.iter().skip(2).copied();
                    ([Some(elem::INT64), Some(elem::BOOL)].into_iter().chain(states).collect(), 1)
                }
                "Scan" if is_standard(node) => (inputs.to_vec(), 0),
                _ => return Err(unknown(node)),
            };
            let (graph, known) = self.graph(&graph, Some(&given))?;
            inner.attributes.push(Some(attribute.with(6, &graph)));
            inner.rounded = known.iter().map(|known| known.rounded).fold(inner.rounded, Rounded::or);
            let elems: Vec<i64> = known.into_iter().skip(skipped).map(|known| known.elem).collect();
            if elems.len() < node.output.len() {
                return Err(malformed("a graph has fewer outputs than its node"));
            }
            inner.outputs = Some(elems);
        }
        Ok(inner)
    }

    fn probe(&mut self, node: &Node<'_>, read: &[String], source: Source, allowed: Allowed) -> Result<()> {
        self.add()?;
        let input = |place: usize| read.get(place).filter(|name| !name.is_empty());
        let mut wide = |names: &mut Names, place: usize| {
            let name = names.fresh();
            let cast = input(place).map(|from| jitter::node("Cast", &[from], &name, &[("to", elem::DOUBLE)]));
            cast.map(|node| (put_bytes(&mut self.probe_nodes, 1, &node), name).1)
        };
        let shown = match source {
            Source::Input(place) => wide(&mut self.names, place),
            Source::Power => {
                let operands = (wide(&mut self.names, 0), wide(&mut self.names, 1));
                let (Some(base), Some(exponent)) = operands else { return Err(malformed("a power has no exponent")) };
                let name = self.names.fresh();
                put_bytes(&mut self.probe_nodes, 1, &jitter::node("Pow", &[&base, &exponent], &name, &[]));
                Some(name)
            }
        };
        let Some(shown) = shown else { return Ok(()) };
        if self.scopes.len() > 1 {
            return Err(GuardError::CastInside { op: node.op.to_owned(), node: node.name.to_owned() });
        }
        put_bytes(&mut self.probe_outputs, 12, &jitter::value(&shown, elem::DOUBLE, false));
        self.probes.push(Probe { operator: node.op.to_owned(), node: node.name.to_owned(), allowed });
        Ok(())
    }

    /// Makes nodes that write the value `name` with jitter; gives the name under which the value without is read.
    fn jitter(&mut self, float: Float, name: &str, nodes: &mut Vec<u8>) -> Result<String> {
        self.add()?;
        if !self.used.contains(&float) {
            self.used.push(float);
        }
        let (from, input) = (self.names.fresh(), Names::own("k", &self.factors.len().to_string()));
        for node in jitter::nodes(&mut self.names, float, &from, name, &input) {
            put_bytes(nodes, 1, &node);
        }
        self.factors.push(Factor { value: name.to_owned(), float, input });
        Ok(from)
    }

    /// Counts something that is added to the file.
    fn add(&mut self) -> Result<()> {
        self.added += 1;
        if self.added > MAX_ADDED { Err(GuardError::TooLarge) } else { Ok(()) }
    }

    fn declare(&mut self, name: &str, elem: i64, kind: Kind, exact: Option<Rc<Vec<u8>>>) -> Result<()> {
        Names::check(name)?;
        if !elem::is_known(elem) {
            return Err(GuardError::Type { value: name.to_owned(), elem });
        }
        let scope = self.scopes.last_mut().ok_or_else(|| malformed("it has no graph"))?;
        match scope.insert(name.to_owned(), Known { elem, kind, rounded: Rounded::default(), exact }) {
            Some(_) => Err(GuardError::Twice(name.to_owned())),
            None => Ok(()),
        }
    }

    /// Notes what of a value of the innermost graph hangs on rounded ones.
    fn round(&mut self, name: &str, rounded: Rounded) {
        if let Some(known) = self.scopes.last_mut().and_then(|scope| scope.get_mut(name)) {
            known.rounded = rounded;
        }
    }

    fn known(&self, name: &str) -> Result<Known> {
        let known = self.scopes.iter().rev().find_map(|scope| scope.get(name));
        known.cloned().ok_or_else(|| GuardError::Order(name.to_owned()))
    }
}

fn is_standard(node: &Node<'_>) -> bool {
    matches!(node.domain, "" | "ai.onnx")
}

/// A message with another text in a field.
fn renamed(all: &[Field<'_>], number: u32, name: &str) -> Vec<u8> {
    let mut out: Vec<u8> =
        all.iter().filter(|field| field.number != number).flat_map(|field| field.raw).copied().collect();
    put_bytes(&mut out, number, name.as_bytes());
    out
}
