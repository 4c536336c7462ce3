//! Runs with the candidates of the trace as further outputs, eight at a time, as traces have them.

use std::collections::{HashMap, HashSet};

use oraculum_judge::{JudgeError, Session, Tensor};

use super::{Examined, Warm, count, shortened, told};
use crate::{
    engine::backends::{
        canonical::words::explained,
        child::{
            wire::{
                Failure, FailureKind,
                examine::{Drew, Finding, LongSum, Proof},
            },
            worker::{ReportFinding, failure},
        },
    },
    model::graph::{Shapes, effort, proto::Graph, sums, survey},
    text,
};

/// Values of a draw, as many as a trace has at most.
const DRAWN: usize = 8;

/// Dimensions of values.
type Dims = HashMap<String, Vec<u64>>;

impl Examined {
    /// Makes the draws, which together have every candidate, and says what the candidates prove.
    ///
    /// # Errors
    /// `FailureKind::Memory` where this machine is at fault, `Runtime` where nobody listens.
    pub(super) fn draws(&self, report: &mut ReportFinding<'_>) -> Result<(), Failure> {
        let draws = self.candidates.len().div_ceil(DRAWN);
        let mut dims = Dims::new();
        for draw in 0..draws {
            // From all over the model, as a seed draws them.
            let names: Vec<String> = self.candidates.iter().skip(draw).step_by(draws).cloned().collect();
            let (mut drew, result) = (Drew { draws: count(draws), ..Drew::default() }, self.draw(&names, &mut dims));
            match result {
                Ok(true) => {}
                Ok(false) => drew.differs = names.first().map(|name| text::shown(name)),
                Err(error) if error.is_host() => return Err(shortened(explained(&error))),
                Err(error) => drew.failure = Some(shortened(explained(&error))),
            }
            told(report(Finding::Drew(drew), Vec::new()))?;
        }
        told(report(Finding::Proof(self.proof(dims)?), Vec::new()))
    }

    /// Runs all inputs with some candidates as outputs; whether the others have the bits of the plain runs.
    fn draw(&self, names: &[String], dims: &mut Dims) -> Result<bool, JudgeError> {
        let heaviest = self.heaviest();
        let mut is_same = true;
        let load = || self.judge.load_with_outputs(&self.file, names, self.limits.traced());
        let mut warm = Warm::open(&load)?;
        for (place, kept) in self.kept.iter().enumerate() {
            let (drawn, outputs) = warm.run(&|session| {
                let (wanted, drawn) = places(session, kept.outputs.len(), names);
                Ok((drawn, session.run(&kept.inputs, &wanted)?))
            })?;
            is_same &= outputs.get(..kept.outputs.len()) == Some(&kept.outputs[..]);
            if Some(place) == heaviest {
                dims.extend(sizes(names, &drawn, &outputs));
            }
        }
        Ok(is_same)
    }

    /// The run that took most.
    fn heaviest(&self) -> Option<usize> {
        (0..self.kept.len()).max_by_key(|place| self.kept[*place].fuel)
    }

    /// What the candidates prove by that run, and the long sums in it; `dims` are those of the candidates.
    fn proof(&self, mut dims: Dims) -> Result<Proof, Failure> {
        let model = self.model.as_ref().and_then(|model| model.graph.as_ref());
        let (Some(graph), Some(heaviest)) = (model, self.heaviest()) else {
            return Err(failure(FailureKind::Runtime, "there is no run to look at".to_owned()));
        };
        let kept = &self.kept[heaviest];
        dims.extend(self.constants(graph).unwrap_or_default());
        let mut shapes = Shapes::new();
        for tensor in &graph.initializer {
            let shape = tensor.dims.iter().map(|dim| u64::try_from(*dim).unwrap_or_default());
            shapes.insert(&tensor.name, shape.collect());
        }
        let weights: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        let inputs = graph.input.iter().filter(|input| !weights.contains(input.name.as_str()));
        for (input, tensor) in inputs.zip(&kept.inputs) {
            shapes.insert(&input.name, tensor.dims().iter().map(|dim| u64::from(*dim)).collect());
        }
        shapes.extend(dims.iter().map(|(name, shape)| (name.as_str(), shape.clone())));
        let costs = effort::costs(graph, &shapes, kept.fuel);
        let effort::Proof { candidates, published, cheap } = effort::proof(graph, &costs, &self.candidates);
        let declared: HashMap<&str, i32> = graph
            .initializer
            .iter()
            .map(|tensor| (tensor.name.as_str(), tensor.data_type))
            .chain(
                graph
                    .input
                    .iter()
                    .filter_map(|input| Some((input.name.as_str(), input.r#type.as_ref()?.tensor.as_ref()?.elem_type))),
            )
            .collect();
        let is_float = |name: &str| {
            let element = self.elements.get(name).or_else(|| declared.get(name));
            element.is_some_and(|element| survey::is_float(*element))
        };
        let told = |sum: sums::LongSum| LongSum {
            operator: text::shown(&sum.operator),
            value: text::shown(&sum.value),
            length: sum.length,
            output: text::shown(&sum.output),
        };
        let long_sums = sums::long_sums(graph, &shapes, &is_float).into_iter().map(told).collect();
        Ok(Proof { candidates, published, cheap, long_sums })
    }

    /// Dimensions of values that depend on no input, in the run that took most; none where they cannot be had at once.
    fn constants(&self, graph: &Graph) -> Option<Dims> {
        let kept = &self.kept[self.heaviest()?];
        let known: HashSet<&String> = self.candidates.iter().collect();
        let made = graph.node.iter().flat_map(|node| &node.output).filter(|name| self.elements.contains_key(*name));
        let mut names: Vec<String> = made.filter(|name| !known.contains(name)).cloned().collect();
        names.sort_unstable();
        names.dedup();
        let mut session = self.judge.load_with_outputs(&self.file, &names, self.limits.traced()).ok()?;
        let (wanted, drawn) = places(&session, 0, &names);
        let outputs = session.run(&kept.inputs, &wanted).ok()?;
        Some(sizes(&names, &drawn, &outputs).collect())
    }
}

/// Dimensions of named values, which lie at the places `drawn` of the outputs.
fn sizes<'a>(
    names: &'a [String],
    drawn: &'a [Option<usize>],
    outputs: &'a [Tensor],
) -> impl Iterator<Item = (String, Vec<u64>)> + 'a {
    let shape = |place: usize| outputs.get(place).map(|tensor| tensor.dims().iter().copied().map(u64::from).collect());
    names.iter().zip(drawn).filter_map(move |(name, place)| Some((name.clone(), shape((*place)?)?)))
}

/// Places of the model's own outputs and of named ones among those of a session, each once, and which of the places that are
/// wanted each name has; a name that the session lacks has none.
fn places(session: &Session, own: usize, names: &[String]) -> (Vec<usize>, Vec<Option<usize>>) {
    let mut wanted: Vec<usize> = (0..own).collect();
    let at: HashMap<&str, usize> =
        session.outputs().iter().enumerate().map(|(place, port)| (port.name.as_str(), place)).collect();
    let mut drawn = Vec::with_capacity(names.len());
    for name in names {
        drawn.push(at.get(name.as_str()).map(|place| {
            wanted.iter().position(|wanted| wanted == place).unwrap_or_else(|| {
                wanted.push(*place);
                wanted.len() - 1
            })
        }));
    }
    (wanted, drawn)
}
