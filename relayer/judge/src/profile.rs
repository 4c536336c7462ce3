//! Profile strings: what a card says about how its outputs are judged.

use std::{fmt, str::FromStr};

/// Version of ONNX Runtime in the judge.
pub const ONNX_RUNTIME: &str = "1.30.0";
/// SHA-256 of the judge: `dist/ort-wasm-simd-threaded.wasm` of npm's `onnxruntime-web` of that version.
pub const WASM_SHA256: &str = "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2";

/// The part of a profile string between lane and limits.
const ENGINE: &str = "onnxruntime-wasm=1.30.0;sha256=3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2;\
                      threads=1;execution=sequential;optimization=off;nan=canonical";
const PAGE: u64 = 65_536;
/// Linear memory that the judge starts with, in bytes.
const INITIAL_MEMORY: u64 = 256 * PAGE;
/// Linear memory of a traced run, in bytes: all that WebAssembly has, less a page.
const TRACED_MEMORY: u64 = 4_294_901_760;

/// What a session may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, in bytes: a multiple of 65,536.
    pub memory: u64,
    /// Instructions of WebAssembly: loading has as many, and each run.
    pub fuel: u64,
}

impl Limits {
    /// The limits of cards that need no others.
    pub const DEFAULT: Self = Self { memory: 2_147_418_112, fuel: 10_000_000_000 };

    /// Limits of the traced run that goes with a plain run of these.
    #[must_use]
    pub fn traced(self) -> Self {
        Self { memory: TRACED_MEMORY, fuel: self.fuel.saturating_mul(2) }
    }
}

/// How answers of a model are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// An answer is the judge's own bytes.
    Exact,
    /// An answer is within the card's tolerance of the judge's, where the first version of the jitter guard is silent.
    Tolerance,
}

/// A profile string, understood: the judge, the lane and the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How answers are judged.
    pub lane: Lane,
    /// What a judgement may use.
    pub limits: Limits,
}

impl Profile {
    /// The profile of cards in the exact lane that need no other limits.
    pub const EXACT: Self = Self { lane: Lane::Exact, limits: Limits::DEFAULT };
    /// The profile of cards in the tolerance lane that need no other limits.
    pub const TOLERANCE: Self = Self { lane: Lane::Tolerance, limits: Limits::DEFAULT };
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limits { memory, fuel } = self.limits;
        write!(f, "lane={};{ENGINE};memory={memory};fuel={fuel}", self.lane)
    }
}

impl fmt::Display for Lane {
    /// The lane as profile strings have it, with what belongs to it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Tolerance => "tolerance;guard=1",
        })
    }
}

/// Reason for which a profile string is not one of this judge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The lane is missing or unknown.
    #[error("the profile begins with neither `lane=exact;` nor `lane=tolerance;guard=1;`")]
    Lane,
    /// The profile names another judge, or other settings.
    #[error("the profile is not of this judge, whose profiles say `{ENGINE}` after the lane")]
    OtherJudge,
    /// A limit is missing, is no plain number, or is outside what the judge can hold to.
    #[error(
        "the profile's limits must be `memory=BYTES;fuel=NUMBER`, memory a multiple of {PAGE} from {INITIAL_MEMORY} to {}, fuel \
         from 1 to {}",
        Limits::DEFAULT.memory,
        u64::MAX / 2
    )]
    Limits,
}

impl FromStr for Profile {
    type Err = ProfileError;

    /// Reads a profile string. There is one string for each profile: what is printed is what was read.
    fn from_str(text: &str) -> Result<Self, ProfileError> {
        let (lane, rest) = [Lane::Exact, Lane::Tolerance]
            .into_iter()
            .find_map(|lane| Some((lane, text.strip_prefix(&format!("lane={lane};"))?)))
            .ok_or(ProfileError::Lane)?;
        let limits =
            rest.strip_prefix(ENGINE).and_then(|rest| rest.strip_prefix(';')).ok_or(ProfileError::OtherJudge)?;
        let (memory, fuel) = limits
            .strip_prefix("memory=")
            .and_then(|rest| rest.split_once(";fuel="))
            .and_then(|(memory, fuel)| Some((memory.parse().ok()?, fuel.parse().ok()?)))
            .ok_or(ProfileError::Limits)?;
        let profile = Self { lane, limits: Limits { memory, fuel } };
        let fits = memory % PAGE == 0
            && (INITIAL_MEMORY..=Limits::DEFAULT.memory).contains(&memory)
            && (1..=u64::MAX / 2).contains(&fuel);
        // `+5` and `05` are numbers to Rust, too.
        if fits && profile.to_string() == text { Ok(profile) } else { Err(ProfileError::Limits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: &str = "lane=exact;onnxruntime-wasm=1.30.0;\
        sha256=3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2;threads=1;execution=sequential;\
        optimization=off;nan=canonical;memory=2147418112;fuel=10000000000";

    #[test]
    fn profiles_are_read_as_they_are_printed() {
        assert_eq!(Profile::EXACT.to_string(), EXACT);
        assert_eq!(EXACT.parse(), Ok(Profile::EXACT));
        let tolerance = EXACT.replace("lane=exact", "lane=tolerance;guard=1");
        assert_eq!(tolerance.parse(), Ok(Profile::TOLERANCE));
        assert_eq!(Profile::TOLERANCE.to_string(), tolerance);
        let small = EXACT.replace("2147418112", "16777216").replace("fuel=10000000000", "fuel=1");
        assert_eq!(small.parse::<Profile>().map(|profile| profile.limits), Ok(Limits { memory: 16_777_216, fuel: 1 }));
    }

    #[test]
    fn the_profile_names_the_file_and_the_version() {
        assert!(ENGINE.contains(&format!("onnxruntime-wasm={ONNX_RUNTIME};sha256={WASM_SHA256};")));
    }

    #[test]
    fn an_altered_profile_is_refused_with_its_reason() {
        for (from, to, error) in [
            ("lane=exact", "lane=other", ProfileError::Lane),
            ("lane=exact;", "", ProfileError::Lane),
            ("lane=exact", "lane=tolerance;guard=2", ProfileError::Lane),
            ("lane=exact", "lane=exact;guard=1", ProfileError::OtherJudge),
            ("1.30.0", "1.30.1", ProfileError::OtherJudge),
            ("3398", "3399", ProfileError::OtherJudge),
            ("optimization=off", "optimization=basic", ProfileError::OtherJudge),
            ("nan=canonical;", "", ProfileError::OtherJudge),
            ("memory=2147418112", "memory=2147418113", ProfileError::Limits),
            ("memory=2147418112", "memory=4294901760", ProfileError::Limits),
            ("memory=2147418112", "memory=65536", ProfileError::Limits),
            ("memory=2147418112", "memory=+2147418112", ProfileError::Limits),
            ("fuel=10000000000", "fuel=010000000000", ProfileError::Limits),
            ("fuel=10000000000", "fuel=0", ProfileError::Limits),
            ("fuel=10000000000", "fuel=18446744073709551615", ProfileError::Limits),
            ("fuel=10000000000", "fuel=10000000000;", ProfileError::Limits),
            ("fuel=10000000000", "fuel=10000000000 ", ProfileError::Limits),
        ] {
            let altered = EXACT.replace(from, to);
            assert_ne!(altered, EXACT, "{from}");
            assert_eq!(altered.parse::<Profile>(), Err(error), "{altered}");
        }
        assert_eq!("".parse::<Profile>(), Err(ProfileError::Lane));
        let native = "onnxruntime=1.30.0;provider=cpu;intra_op=1;inter_op=1;execution=sequential;optimization=basic";
        assert_eq!(native.parse::<Profile>(), Err(ProfileError::Lane));
    }
}
