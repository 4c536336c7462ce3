//! The first version of the jitter guard and of the cast check: `guard=1` in profile strings.
//!
//! Machines round differently. A verdict about a model in the tolerance lane is allowed only where that cannot matter: the
//! guard runs the model with small changes of every value that is rounded, and a verdict needs all runs to be equal to the
//! judge's by the card's own rule. Where a float becomes an integer that the type does not have, machines differ without any
//! rounding; such floats are looked at.
//!
//! ```text
//! Guard::of ──▶ the model with k and ε as further inputs ──▶ Guard::check: four runs with +ε, and four with −ε
//!   rewrite   node by node      operators  types, and who rounds          wire   fields, in the file's order
//!   jitter    y·(1 + ε·sin …)   weights    constants, changed likewise    probe  floats that become integers
//!   facts     what certification asks beside
//! ```
//!
//! All of this decides votes, so it never changes: `vectors/guard.json` has rewritten files and verdicts. Another rewrite is
//! another version.

mod error;
mod facts;
mod jitter;
mod known;
mod names;
mod node;
mod operators;
mod probe;
mod rewrite;
mod weights;
mod wire;

use sha2::{Digest, Sha256};

use crate::{DType, Judge, JudgeError, Limits, Session, Tensor};

pub use error::{GuardError, GuardVerdict, Speaks};
use jitter::Float;
use rewrite::{Probe, Rewrite};
pub use weights::Weights;
use wire::{fields, last, malformed, merged, put_bytes, put_int};

/// Scales of k, a pair each. With a small k a value has nearly the same angle in both runs of a pair, so that these change the
/// answer by opposite amounts, however deep the model: of a step that is nearer than the change, one of them is beyond. With
/// large ones even neighbors among floats have unrelated angles, so that they do not change alike: else a near tie stayed one.
const SCALES: [f64; 4] = [256.0, 16_777_216.0, 33_554_432.0, 67_108_864.0];
/// What the factors k are made of, with the pair and the value's name.
const SEED: &[u8] = b"oraculum guard 1";
/// Graphs within graphs.
const MAX_DEPTH: usize = 8;
/// Values with jitter, and whatever else makes a rewritten file longer, each by about a thousand bytes at most.
const MAX_ADDED: usize = 1 << 16;
/// How much more fuel than a plain run a run with jitter may take: nine nodes more for each that rounds.
const FUEL: u64 = 32;
/// The first version of the standard operators of which the nodes of the guard can be.
const OPSET: i64 = 9;
/// The version for a file that names none.
const NO_OPSET: i64 = 17;

/// A value with jitter, and the input for its factor k.
#[derive(Clone, Debug)]
struct Factor {
    value: String,
    float: Float,
    input: String,
}

impl Factor {
    /// The factor of a pair: at least its scale, and below twice that.
    fn k(&self, pair: u8) -> f64 {
        let hash = Sha256::new().chain_update(SEED).chain_update([pair]).chain_update(&self.value).finalize();
        // 23 bits, as many as f32 has behind its first.
        let fraction = f64::from(u32::from_be_bytes([0, hash[0], hash[1], hash[2]]) >> 1) * 2f64.powi(-23);
        (1.0 + fraction) * SCALES.get(usize::from(pair)).copied().unwrap_or(1.0)
    }
}

/// A model, ready to be guarded.
#[derive(Clone, Debug)]
pub struct Guard<'m> {
    model: &'m [u8],
    epsilons: Vec<Float>,
    factors: Vec<Factor>,
    probes: Vec<Probe>,
    products: Vec<String>,
    rounded: Vec<bool>,
}

/// A run of the rewritten file.
#[derive(Clone, Debug, PartialEq)]
pub struct JitteredRun {
    /// Outputs of the model.
    pub outputs: Vec<Tensor>,
    /// What the cast check says of it, if anything.
    pub cast: Option<Speaks>,
}

impl<'m> Guard<'m> {
    /// Reads a model.
    ///
    /// # Errors
    /// Every variant of `GuardError`: the model cannot be guarded, hence not be in the tolerance lane.
    pub fn of(model: &'m [u8]) -> Result<Self, GuardError> {
        let (_, rewrite) = rewritten(model, Weights::Plain)?;
        let epsilons = rewrite.used().to_vec();
        let Rewrite { factors, probes, products, rounded, .. } = rewrite;
        Ok(Self { model, epsilons, factors, probes, products, rounded })
    }

    /// The rewritten file: the model with an input for ε of each float type and one for k of each value behind its own, and
    /// outputs behind its own that show floats which become integers.
    ///
    /// # Errors
    /// None that `of` does not give.
    pub fn file(&self, weights: Weights) -> Result<Vec<u8>, GuardError> {
        rewritten(self.model, weights).map(|(file, _)| file)
    }

    /// Values of the model that have jitter.
    #[must_use]
    pub fn jittered(&self) -> usize {
        self.factors.len()
    }

    /// Nodes that multiply unsigned integers of eight bits with signed ones, each by its operator and name. Processors that add
    /// two such products in sixteen bits get other integers.
    #[must_use]
    pub fn mixed_products(&self) -> &[String] {
        &self.products
    }

    /// Whether an output depends on values that are rounded, for each output of the model.
    #[must_use]
    pub fn rounded(&self) -> &[bool] {
        &self.rounded
    }

    /// Whether the model makes integers of floats, which the cast check looks at.
    #[must_use]
    pub fn looks_at_casts(&self) -> bool {
        !self.probes.is_empty()
    }

    /// Runs that are made of the file with these weights; those without jitter are of interest to the cast check only.
    #[must_use]
    pub fn runs(weights: Weights) -> &'static [u8] {
        match weights {
            Weights::Plain => &[0],
            Weights::Plus => &[1, 3, 5, 7],
            Weights::Minus => &[2, 4, 6, 8],
        }
    }

    /// Limits of the guard's runs, for plain runs of these.
    #[must_use]
    pub fn limits(limits: Limits) -> Limits {
        Limits { fuel: limits.fuel.saturating_mul(FUEL), ..limits.traced() }
    }

    /// Inputs of a run of the rewritten file: 0 is without jitter, 1 to 8 are with.
    #[must_use]
    pub fn inputs(&self, run: u8, inputs: &[Tensor]) -> Vec<Tensor> {
        let pair = run.saturating_sub(1) / 2;
        let sign = if run == 0 { 0.0 } else { [1.0, -1.0][usize::from(run.saturating_sub(1) % 2)] };
        let epsilons = self.epsilons.iter().map(|float| scalar(*float, sign * float.epsilon()));
        let factors = self.factors.iter().map(|factor| scalar(factor.float, factor.k(pair)));
        inputs.iter().cloned().chain(epsilons.chain(factors).flatten()).collect()
    }

    /// Says whether a verdict is allowed about the outputs `canonical` at the places `wanted`, which a plain run of the judge
    /// on `inputs` within `limits` gave.
    ///
    /// `agrees` is the card's own rule: whether the first outputs, of a run with jitter, are equal to the second, the canonical
    /// ones. The four runs with +ε are made in one fresh session, those with −ε in another, for to load a model takes longer
    /// than to run it: k and ε are inputs, not constants of eight files. Only weights are constants, hence two sessions (the
    /// example `guard` prints what each costs). A model that makes integers of floats is run without jitter before.
    ///
    /// # Errors
    /// `StackExhausted` and `HostMemory`, which say nothing about the model. After all else the guard speaks.
    pub fn check(
        &self,
        judge: &Judge,
        limits: Limits,
        inputs: &[Tensor],
        wanted: &[usize],
        canonical: &[Tensor],
        agrees: &dyn Fn(&[Tensor], &[Tensor]) -> bool,
    ) -> Result<GuardVerdict, JudgeError> {
        let plain = self.looks_at_casts().then_some(Weights::Plain);
        for weights in plain.into_iter().chain([Weights::Plus, Weights::Minus]) {
            let loaded = self.file(weights).map_err(|error| JudgeError::Load(error.to_string()));
            let mut session = match loaded.and_then(|file| judge.load(&file, Self::limits(limits))) {
                Ok(session) => session,
                Err(error) if error.is_host() => return Err(error),
                Err(error) => return Ok(GuardVerdict::Speaks(Speaks::NotLoaded(error))),
            };
            for run in Self::runs(weights).iter().copied() {
                match self.run(&mut session, run, inputs, wanted) {
                    Ok(JitteredRun { cast: Some(speaks), .. }) => return Ok(GuardVerdict::Speaks(speaks)),
                    Ok(JitteredRun { outputs, .. }) if agrees(&outputs, canonical) => {}
                    Ok(_) => return Ok(GuardVerdict::Speaks(Speaks::Unstable { run })),
                    Err(error) if error.is_host() => return Err(error),
                    Err(error) => return Ok(GuardVerdict::Speaks(Speaks::Failed { run, error })),
                }
            }
        }
        Ok(GuardVerdict::Silent)
    }

    /// Makes a run in a session of the rewritten file, and gives the model's outputs at the places `wanted`.
    ///
    /// # Errors
    /// Those of `Session::run`.
    pub fn run(
        &self,
        session: &mut Session,
        run: u8,
        inputs: &[Tensor],
        wanted: &[usize],
    ) -> Result<JitteredRun, JudgeError> {
        let outputs = session.outputs().len();
        let first = outputs.saturating_sub(self.probes.len());
        let places: Vec<usize> = wanted.iter().copied().chain(first..outputs).collect();
        let mut outputs = session.run(&self.inputs(run, inputs), &places)?;
        let shown = outputs.split_off(wanted.len());
        let cast = self.probes.iter().zip(&shown).find_map(|(probe, shown)| {
            let (element, value) = probe.allowed.violated(shown)?;
            let (operator, node) = (probe.operator.clone(), probe.node.clone());
            Some(Speaks::Cast { run, operator, node, element, value: value.to_string() })
        });
        Ok(JitteredRun { outputs, cast })
    }
}

/// The file of a model with jitter, and what was rewritten.
fn rewritten(model: &[u8], weights: Weights) -> Result<(Vec<u8>, Rewrite), GuardError> {
    let all = fields(model)?;
    if all.iter().any(|field| field.number == 25) {
        return Err(GuardError::Functions);
    }
    let graph = merged(&all, 7)?.ok_or_else(|| malformed("it has no graph"))?;
    let opset = opset(&all)?;
    let mut rewrite = Rewrite::new(weights);
    let graph = rewrite.model(&graph)?;
    let mut file: Vec<u8> = Vec::with_capacity(graph.len() + 256);
    all.iter().filter(|field| field.number != 7).for_each(|field| file.extend(field.raw));
    if opset.is_none() {
        let mut import = Vec::new();
        put_int(&mut import, 2, NO_OPSET);
        put_bytes(&mut file, 8, &import);
    }
    put_bytes(&mut file, 7, &graph);
    Ok((file, rewrite))
}

/// A scalar of the type in which jitter of a float type is computed.
fn scalar(float: Float, value: f64) -> Option<Tensor> {
    match float {
        Float::F64 => Tensor::new(DType::F64, vec![], value.to_le_bytes().to_vec()).ok(),
        _ => Tensor::new(DType::F32, vec![], (value as f32).to_le_bytes().to_vec()).ok(),
    }
}

/// The version of the standard operators that a file names.
fn opset(model: &[wire::Field<'_>]) -> Result<Option<i64>, GuardError> {
    let mut found = None;
    for field in model.iter().filter(|field| field.number == 8) {
        let import = fields(field.bytes()?)?;
        let domain = last(&import, 1).map_or(Ok(""), |field| field.text())?;
        if matches!(domain, "" | "ai.onnx") {
            let version = last(&import, 2).map_or(Ok(0), |field| field.int())?;
            if version < OPSET {
                return Err(GuardError::Opset(version));
            }
            found = Some(version);
        }
    }
    Ok(found)
}
