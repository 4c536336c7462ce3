//! Why a model may not have a lane, each reason with what to do.

use std::fmt;

use oraculum_judge::{Lane, Limits};

use crate::{
    client::examples::Origin,
    model::graph::{effort::Proof, sums::LongSum, survey::MAX_DEPTH},
};

/// Bytes of a file at most: twice to three times as many of memory are needed to load it, and 4 GiB are all that there is.
pub(in crate::client) const MAX_FILE_BYTES: u64 = 700_000_000;
/// Outputs that a card has rules for, at most.
pub(super) const MAX_OUTPUTS: usize = 16;
/// Share of a rule's tolerance that the guard's changes may take on probes: above 1 no answer can be judged.
pub(super) const MAX_PROBE_SHARE: f64 = 0.25;

/// Reason for which a model may not have a lane, or either.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// No node runs the file.
    NotRun(String),
    /// The file has too many bytes.
    TooLarge(u64),
    /// Weights lie in other files.
    WeightsBeside,
    /// A sequence goes in or out.
    Sequences,
    /// The model has too many outputs.
    TooManyOutputs(usize),
    /// An output is no tensor, but something else, in words.
    NoTensor(String, String),
    /// Graphs are nested too deep.
    TooDeep(u32),
    /// Bits of floats, which are named, become integers.
    BitCast(Vec<String>),
    /// The judge does not load the model.
    NotLoaded(String),
    /// Loading meets a limit of the profile.
    LoadLimit(String, Limits),
    /// No inputs were found on which the model runs.
    NoInputs(String),
    /// A run meets a limit of the profile.
    Limit(Origin, String, Limits),
    /// A golden input gives no outputs.
    Fails(Origin, String),
    /// The judge gives another answer than the card records.
    Recorded(Origin),
    /// The model cannot be traced, or a run with candidates as outputs fails.
    NotTraced(String),
    /// A run with a candidate as output gives other bits.
    TraceDiffers(String),
    /// The trace proves too little.
    Proves(Proof),
    /// The guard does not know the model.
    NotGuarded(String),
    /// Nodes multiply unsigned with signed integers, which this machine does not do exactly.
    Products(Vec<String>),
    /// Nodes multiply unsigned with signed integers, and for a reason nobody knows whether this machine does that exactly.
    ProductsUnknown(Vec<String>, String),
    /// The guard's runs have no result.
    GuardUnfinished(String),
    /// An output shows a sum of many numbers.
    LongSum(LongSum),
    /// An output must be equal, and is made of rounded numbers.
    ExactOutput(String),
    /// The guard's changes take much of an output's tolerance on a probe.
    Probe(Origin, String, f64),
    /// The guard's changes take more than all of an output's tolerance.
    Amplifier(Origin, String, f64),
    /// A float becomes an integer that its type does not have.
    Cast(Origin, String),
    /// A run of the guard fails where the plain one does not.
    GuardFails(Origin, String),
}

impl Refusal {
    /// Whether the reason keeps the model out of a lane. What keeps it out of the exact one keeps it out of both.
    #[must_use]
    pub fn concerns(&self, lane: Lane) -> bool {
        lane == Lane::Tolerance
            || !matches!(
                self,
                Self::NotGuarded(_)
                    | Self::Products(_)
                    | Self::ProductsUnknown(..)
                    | Self::GuardUnfinished(_)
                    | Self::LongSum(_)
                    | Self::ExactOutput(_)
                    | Self::Probe(..)
                    | Self::Amplifier(..)
                    | Self::Cast(..)
                    | Self::GuardFails(..)
            )
    }

    /// A name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotRun(_) => "not-run",
            Self::TooLarge(_) => "too-large",
            Self::WeightsBeside => "weights-beside",
            Self::Sequences => "sequences",
            Self::TooManyOutputs(_) => "too-many-outputs",
            Self::NoTensor(..) => "no-tensor",
            Self::TooDeep(_) => "too-deep",
            Self::BitCast(_) => "bit-cast",
            Self::NotLoaded(_) => "not-loaded",
            Self::LoadLimit(..) => "load-limit",
            Self::NoInputs(_) => "no-inputs",
            Self::Limit(..) => "limit",
            Self::Fails(..) => "fails",
            Self::Recorded(_) => "recorded",
            Self::NotTraced(_) => "not-traced",
            Self::TraceDiffers(_) => "trace-differs",
            Self::Proves(_) => "proof",
            Self::NotGuarded(_) => "not-guarded",
            Self::Products(_) => "mixed-products",
            Self::ProductsUnknown(..) => "mixed-products-unknown",
            Self::GuardUnfinished(_) => "guard-unfinished",
            Self::LongSum(_) => "long-sum",
            Self::ExactOutput(_) => "exact-output",
            Self::Probe(..) => "probe",
            Self::Amplifier(..) => "amplifier",
            Self::Cast(..) => "cast",
            Self::GuardFails(..) => "guard-fails",
        }
    }
}

/// A finite share of a tolerance.
struct Share(f64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0.0 => f.write_str("0"),
            share if share < 0.0001 => f.write_str("below 0.0001"),
            share if share < 1.0 => write!(f, "{share:.4}"),
            share => write!(f, "{share:.1}"),
        }
    }
}

/// A share of a tolerance, as people read it.
#[must_use]
pub fn shown_share(share: f64) -> String {
    match share.is_infinite() {
        true => "more than any tolerance".to_owned(),
        false => format!("{} of the tolerance", Share(share)),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun(reason) => f.write_str(reason),
            Self::TooLarge(bytes) => write!(
                f,
                "the file has {bytes} bytes, but the judge takes {MAX_FILE_BYTES} at most: export a smaller model, or one with \
                 weights of fewer bits"
            ),
            Self::WeightsBeside => f.write_str(
                "weights lie in files beside the model's, and the judge is given none: save the model as one file",
            ),
            Self::Sequences => f.write_str(
                "a sequence goes in or out, which the judge does not take: export the model with tensors as inputs and outputs",
            ),
            Self::TooManyOutputs(outputs) => write!(
                f,
                "the model has {outputs} outputs, but a card has rules for {MAX_OUTPUTS} at most: export it with fewer"
            ),
            Self::NoTensor(output, kind) => {
                write!(f, "output `{output}` is {kind}: export the model without it{}", crate::model::graph::zipmap(kind))
            }
            Self::TooDeep(depth) => write!(
                f,
                "graphs are nested {depth} deep, but the judge's stack is sure to hold {MAX_DEPTH} only: export the model with fewer \
                 branches and loops within each other"
            ),
            Self::BitCast(names) => write!(
                f,
                "BitCast makes integers of the bits of `{}`, which may be floats, and processors give their NaNs other bits: export \
                 the model with Cast",
                names.join("`, `")
            ),
            Self::NotLoaded(reason) => write!(f, "the judge does not load the model: {reason}; export it for ONNX Runtime {} \
                 with operators for processors", oraculum_judge::ONNX_RUNTIME),
            Self::LoadLimit(reason, Limits { memory, fuel }) => write!(
                f,
                "loading the model meets a limit of the profile: {reason}; raise `fuel={fuel}` in the card's profile (memory is \
                 {memory} bytes at most), or export a smaller model"
            ),
            Self::NoInputs(reason) => write!(
                f,
                "no input was found on which the model runs ({reason}): give inputs that it takes with --inputs"
            ),
            Self::Limit(origin, reason, Limits { memory, fuel }) => write!(
                f,
                "the run of {origin} meets a limit of the profile: {reason}; raise `fuel={fuel}` in the card's profile, \
                 keep inputs smaller (memory is {memory} bytes at most), or export a smaller model"
            ),
            Self::Fails(origin, reason) => {
                write!(f, "the model does not answer {origin}: {reason}; correct the input, or the model")
            }
            Self::Recorded(origin) => write!(
                f,
                "the judge gives another answer to {origin} than the card records: make the model anew with `oraculum model new`"
            ),
            Self::NotTraced(reason) => write!(
                f,
                "a run with values from inside the model as outputs fails: {reason}; nobody could prove that the model was run, so \
                 export it with simpler operators"
            ),
            Self::TraceDiffers(name) => write!(
                f,
                "a run with values from inside the model as outputs, `{name}` among them, gives other bits than a plain one: export \
                 the model anew, and tell those who make this program"
            ),
            Self::Proves(Proof { candidates, published, cheap }) => write!(
                f,
                "of {candidates} values that a trace may have, {published} are outputs and {cheap} take under half of a run, and \
                 half of them must be neither: nobody could prove to have run all of it, so export the model with its work in more \
                 nodes, nearer to its inputs"
            ),
            Self::NotGuarded(reason) => write!(f, "{reason}, or take the exact lane"),
            Self::Products(nodes) => write!(
                f,
                "this machine's processor does not multiply unsigned by signed integers exactly, which {} does: certify on one with \
                 VNNI, export the model with signed integers on both sides, or take the exact lane",
                nodes.join(", ")
            ),
            Self::ProductsUnknown(nodes, reason) => write!(
                f,
                "it is not known whether this machine's processor multiplies unsigned by signed integers exactly, which {} does: \
                 {reason}; install it with `./scripts/setup` or name it with --runtime, or take the exact lane",
                nodes.join(", ")
            ),
            Self::GuardUnfinished(reason) => {
                write!(f, "the guard's runs have no result: {reason}; certify again, or take the exact lane")
            }
            Self::LongSum(LongSum { operator, value, length: None, output }) => write!(
                f,
                "output `{output}` shows a sum that {operator} makes `{value}` of within a branch or loop, where nobody sees how \
                 many numbers it is of: export the model without it, or take the exact lane"
            ),
            Self::LongSum(LongSum { operator, value, length: Some(length), output }) => write!(
                f,
                "output `{output}` shows the sum of {length} numbers that {operator} makes `{value}` of, which machines round too \
                 differently above {}: sum fewer, or take the exact lane",
                crate::model::graph::sums::MAX_SUMMED
            ),
            Self::ExactOutput(output) => write!(
                f,
                "output `{output}` must be equal, but is made of rounded numbers: give it a tolerance, export the \
                 model without it, or take the exact lane"
            ),
            Self::Probe(origin, output, share) => write!(
                f,
                "the guard's small changes take {} of the tolerance of `{output}` on {origin}, where {MAX_PROBE_SHARE} is the most: \
                 widen it (`oraculum model calibrate` proposes how far), or take the exact lane",
                Share(*share)
            ),
            Self::Amplifier(origin, output, share) if share.is_infinite() => write!(
                f,
                "on {origin} the guard's small changes make another answer of `{output}`, which no tolerance would allow: nothing \
                 could be judged there, so export the model without the step that they take, or take the exact lane"
            ),
            Self::Amplifier(origin, output, share) => write!(
                f,
                "the model amplifies rounding: the guard's small changes take {} times the tolerance of `{output}` on {origin}, so \
                 nothing could be judged there; widen it (`oraculum model calibrate` proposes how far), or take the exact lane",
                Share(*share)
            ),
            Self::Cast(origin, reason) => write!(
                f,
                "on {origin} a float becomes an integer that its type does not have, of which machines make different ones: \
                 {reason}; bound it with Clip before the cast, or take the exact lane"
            ),
            Self::GuardFails(origin, reason) => write!(
                f,
                "on {origin} the model fails under small changes of its values: {reason}; export it without steps that may fail, \
                 or take the exact lane"
            ),
        }
    }
}
