//! Weights that lie in files beside the model's own.

use std::path::{Component, Path};

use super::{proto::Tensor, refused::Refused};

/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// The file that an initializer's values lie in, as a path within the model's folder; `None` if they are in the model.
///
/// # Errors
/// `Refused::ExternalData` where the tensor does not say clearly whether they do, `ExternalPath` for another path.
pub(super) fn location(tensor: &Tensor) -> Result<Option<String>, Refused> {
    match (tensor.data_location, &tensor.external_data[..]) {
        (0, []) => return Ok(None),
        (EXTERNAL, _) => {}
        // Some runtimes go by the entries alone.
        _ => return Err(Refused::ExternalData { tensor: tensor.name.clone() }),
    }
    let mut locations = tensor.external_data.iter().filter(|entry| entry.key == "location").map(|entry| &entry.value);
    match (locations.next(), locations.next()) {
        (Some(location), None) if is_within(location) => Ok(Some(location.clone())),
        (Some(location), None) => {
            Err(Refused::ExternalPath { tensor: tensor.name.clone(), location: location.clone() })
        }
        _ => Err(Refused::ExternalData { tensor: tensor.name.clone() }),
    }
}

/// Whether a path names a file below a folder, as it is written and on every system: names with `/` between, and no more.
///
/// ONNX Runtime takes the location `*/_ORT_MEM_ADDR_/*` for an address in its own memory.
#[must_use]
pub fn is_within(path: &str) -> bool {
    let plain = !path.is_empty() && !path.contains(['\\', ':', '*', '\0']) && !path.contains("_ORT_MEM_ADDR_");
    let names = path.split('/').all(|name| !matches!(name, "" | "." | ".."));
    plain && names && Path::new(path).components().all(|component| matches!(component, Component::Normal(_)))
}
