//! How a model's inputs are typed: the same way wherever a model is asked.

use std::{error::Error, io::Read, path::Path};

use clap::Args;

use crate::{
    client::{JsonInput, Ports, input_from_arrays, input_from_json, input_from_text},
    oip,
};

/// The inputs of a model.
#[derive(Debug, Args)]
pub(super) struct InputArgs {
    /// One input as nested JSON arrays of the model's shape; repeat it for each input, in the model's order. Or all
    /// inputs as Open Inference Protocol JSON: the JSON itself, a file with it, or `-` for standard input.
    #[arg(long, visible_alias = "inputs", alias = "input-json", value_name = "JSON|FILE", allow_hyphen_values = true)]
    pub(super) input: Vec<String>,
    /// Words for a model whose one input is a text.
    #[arg(long, value_name = "WORDS", conflicts_with = "input")]
    pub(super) text: Option<String>,
}

/// What a value of `--input` is.
#[derive(Debug, PartialEq, Eq)]
enum Typed<'a> {
    /// One input, as JSON.
    Array,
    /// All inputs, as an Open Inference Protocol request.
    Request,
    /// Where that request is.
    File(&'a Path),
}

impl<'a> Typed<'a> {
    fn of(value: &'a str) -> Self {
        match value.trim_start().chars().next() {
            Some('[') => Self::Array,
            Some('{') => Self::Request,
            // A scalar, unless it is the name of a file.
            _ if value != "-" && !Path::new(value).exists() && oip::read_json(value.as_bytes()).is_ok() => Self::Array,
            _ => Self::File(Path::new(value)),
        }
    }
}

impl InputArgs {
    /// The inputs for a model, packed, with the outputs that they name.
    ///
    /// # Errors
    /// `InputError`, or a sentence about a file that cannot be read.
    pub(super) fn read(&self, ports: &Ports) -> Result<JsonInput, Box<dyn Error + Send + Sync>> {
        if let Some(words) = &self.text {
            return Ok(JsonInput { packed: input_from_text(words, ports)?, mask: 0, id: None });
        }
        if let [only] = &self.input[..] {
            match Typed::of(only) {
                Typed::Array => {}
                Typed::Request => return Ok(input_from_json(only.as_bytes(), ports)?),
                Typed::File(path) => return Ok(input_from_json(&read_file(path)?, ports)?),
            }
        }
        Ok(JsonInput { packed: input_from_arrays(&self.input, ports)?, mask: 0, id: None })
    }
}

/// Reads a file or, for `-`, standard input.
///
/// # Errors
/// A sentence that names the file.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    if path == Path::new("-") {
        let mut json = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut json);
        return read.map(|_| json).map_err(|error| format!("standard input cannot be read: {error}"));
    }
    let remedy = "name a file with Open Inference Protocol JSON, or write the JSON itself";
    std::fs::read(path).map_err(|error| format!("--input {}: {error}; {remedy}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_json_or_the_name_of_a_file() {
        for json in ["[[1,2]]", " [1]", "-3.5", "NaN", "\"words\"", "true", "[[1,2"] {
            assert_eq!(Typed::of(json), Typed::Array, "{json}");
        }
        assert_eq!(Typed::of(r#"{"inputs":[]}"#), Typed::Request);
        for path in ["-", "request.json", "/tmp", "./1"] {
            assert_eq!(Typed::of(path), Typed::File(Path::new(path)));
        }
    }
}
