//! ONNX Runtime's functions in an instance, and its memory.

use wasmtime::{Instance, Memory, Store, Trap, TypedFunc};

use crate::{
    JudgeError,
    host::{Host, Stopped, Thrown},
};

/// An instance, with the exports that are called.
pub(crate) struct Guest {
    pub(crate) store: Store<Host>,
    memory: Memory,
    pub(crate) api: Api,
    memory_limit: u64,
}

/// Parameters of the longer functions.
type Words8 = (u32, u32, u32, u32, u32, u32, u32, u32);
type Words10 = (u32, u32, u32, u32, u32, u32, u32, u32, u32, u32);

/// Exports by their minified names; the parameters are those of `onnxruntime/wasm/api.h`.
pub(crate) struct Api {
    pub(crate) init: TypedFunc<(u32, u32), i32>,
    last_error: TypedFunc<(u32, u32), i32>,
    pub(crate) create_options: TypedFunc<Words10, u32>,
    pub(crate) create_session: TypedFunc<(u32, u32, u32), u32>,
    pub(crate) port_counts: TypedFunc<(u32, u32, u32), i32>,
    pub(crate) port: TypedFunc<(u32, u32, u32, u32), i32>,
    pub(crate) free_result: TypedFunc<u32, i32>,
    pub(crate) create_tensor: TypedFunc<(u32, u32, u32, u32, u32, u32), u32>,
    pub(crate) tensor_data: TypedFunc<(u32, u32, u32, u32, u32), i32>,
    pub(crate) release_tensor: TypedFunc<u32, i32>,
    pub(crate) run: TypedFunc<Words8, i32>,
    malloc: TypedFunc<u32, u32>,
    pub(crate) free: TypedFunc<u32, ()>,
}

type Result<T> = std::result::Result<T, JudgeError>;

impl Guest {
    pub(crate) fn new(
        mut store: Store<Host>,
        instance: Instance,
        memory: Memory,
        memory_limit: u64,
    ) -> wasmtime::Result<Self> {
        let api = Api {
            init: instance.get_typed_func(&mut store, "Wa")?,
            last_error: instance.get_typed_func(&mut store, "Xa")?,
            create_options: instance.get_typed_func(&mut store, "Ya")?,
            create_session: instance.get_typed_func(&mut store, "bb")?,
            port_counts: instance.get_typed_func(&mut store, "db")?,
            port: instance.get_typed_func(&mut store, "eb")?,
            free_result: instance.get_typed_func(&mut store, "fb")?,
            create_tensor: instance.get_typed_func(&mut store, "gb")?,
            tensor_data: instance.get_typed_func(&mut store, "hb")?,
            release_tensor: instance.get_typed_func(&mut store, "ib")?,
            run: instance.get_typed_func(&mut store, "sb")?,
            malloc: instance.get_typed_func(&mut store, "wb")?,
            free: instance.get_typed_func(&mut store, "vb")?,
        };
        Ok(Self { store, memory, api, memory_limit })
    }

    /// Calls an export.
    pub(crate) fn call<P: wasmtime::WasmParams, R: wasmtime::WasmResults>(
        &mut self,
        function: impl Fn(&Api) -> &TypedFunc<P, R>,
        params: P,
    ) -> Result<R> {
        let result = function(&self.api).call(&mut self.store, params);
        if let Some(reason) = self.store.data_mut().host_refused.take() {
            return Err(JudgeError::HostMemory(reason));
        }
        result.map_err(|error| self.error(&error))
    }

    /// The reason for which a call did not return.
    fn error(&self, error: &wasmtime::Error) -> JudgeError {
        call_error(error, self.store.data(), self.memory_limit)
    }

    /// ONNX Runtime's last message; a limit where that was the reason for the failure.
    pub(crate) fn failure(&mut self, reason: impl Fn(String) -> JudgeError) -> JudgeError {
        if std::mem::take(&mut self.store.data_mut().refused) {
            return JudgeError::OutOfMemory { limit: self.memory_limit };
        }
        self.message().map_or_else(|error| error, reason)
    }

    fn message(&mut self) -> Result<String> {
        let at = self.alloc(8)?;
        self.call(|api| &api.last_error, (at, at + 4))?;
        let message = self.u32(at + 4)?;
        let message = if message == 0 { Vec::new() } else { self.c_string(message)?.to_vec() };
        self.free(at)?;
        Ok(String::from_utf8_lossy(&message).into_owned())
    }

    /// Bytes of linear memory now; it never shrinks.
    pub(crate) fn memory_size(&self) -> u64 {
        self.memory.data_size(&self.store) as u64
    }

    /// Memory of the instance, to be freed; never address 0.
    pub(crate) fn alloc(&mut self, size: usize) -> Result<u32> {
        let limit = self.memory_limit;
        let size = u32::try_from(size.max(1)).map_err(|_| JudgeError::OutOfMemory { limit })?;
        match self.call(|api| &api.malloc, size)? {
            0 => Err(JudgeError::OutOfMemory { limit }),
            address => Ok(address),
        }
    }

    /// Memory of the instance with a copy of some bytes.
    pub(crate) fn place(&mut self, bytes: &[u8]) -> Result<u32> {
        let address = self.alloc(bytes.len())?;
        self.memory.write(&mut self.store, address as usize, bytes).map_err(outside)?;
        Ok(address)
    }

    /// Memory of the instance with a list of words.
    pub(crate) fn place_words(&mut self, words: &[u32]) -> Result<u32> {
        self.place(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>())
    }

    pub(crate) fn free(&mut self, address: u32) -> Result<()> {
        self.call(|api| &api.free, address)
    }

    pub(crate) fn bytes(&self, at: u32, length: usize) -> Result<&[u8]> {
        let memory = self.memory.data(&self.store);
        memory.get(at as usize..).and_then(|rest| rest.get(..length)).ok_or_else(|| outside(()))
    }

    pub(crate) fn u32(&self, at: u32) -> Result<u32> {
        Ok(self.words(at, 1)?[0])
    }

    pub(crate) fn words(&self, at: u32, count: usize) -> Result<Vec<u32>> {
        let bytes = self.bytes(at, count.checked_mul(4).ok_or_else(|| outside(()))?)?;
        Ok(bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    /// Bytes up to the next zero.
    pub(crate) fn c_string(&self, at: u32) -> Result<&[u8]> {
        let rest = self.memory.data(&self.store).get(at as usize..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == 0).ok_or_else(|| outside(()))?;
        Ok(&rest[..length])
    }
}

fn outside<T>(_: T) -> JudgeError {
    JudgeError::Trap("an address outside the memory".to_owned())
}

/// The reason for which a call into an instance did not return.
pub(crate) fn call_error(error: &wasmtime::Error, host: &Host, limit: u64) -> JudgeError {
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return JudgeError::OutOfFuel,
        Some(Trap::StackOverflow) => return JudgeError::StackExhausted,
        _ if host.refused => return JudgeError::OutOfMemory { limit },
        Some(trap) => return JudgeError::Trap(trap.to_string()),
        None => {}
    }
    if error.is::<Thrown>() || error.is::<Stopped>() {
        return JudgeError::Trap(error.to_string());
    }
    match host.memory_is_made() {
        true => JudgeError::Trap(format!("{error:#}")),
        false => JudgeError::HostMemory(format!("{error:#}")),
    }
}
