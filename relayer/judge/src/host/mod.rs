//! What the WebAssembly file imports: 100 functions and one memory, by minified names that hold for this file only.
//!
//! The names come from `ort-wasm-simd-threaded.mjs` beside the file, whose functions these replace.

mod exceptions;
mod system;

pub(crate) use exceptions::Thrown;
pub(crate) use system::Stopped;

use std::{any::Any, collections::HashMap, sync::Arc};

use wasmtime::{Caller, Linker, Memory, MemoryType, ResourceLimiter, Store, Table, TypedFunc};

use exceptions::Exceptions;

/// Module that all imports belong to.
const MODULE: &str = "a";
/// Pages of 64 KiB that the file's memory begins with, and has at most.
const PAGES: (u32, u32) = (256, 65_536);

/// State of an instance outside its memory.
pub(crate) struct Host {
    memory: Option<Memory>,
    /// Behind an `Arc`, as what it holds is dear to copy.
    runtime: Option<Arc<Runtime>>,
    /// Functions of the table that were called, by their places; the file never changes the table.
    functions: HashMap<u32, Arc<dyn Any + Send + Sync>>,
    exceptions: Exceptions,
    /// Times that a clock was asked.
    ticks: u64,
    /// Limit of the linear memory, in bytes.
    memory_limit: u64,
    /// Whether the limit refused memory.
    pub(crate) refused: bool,
    /// Why this machine refused memory that the limit allows.
    pub(crate) host_refused: Option<String>,
}

/// Exports that imports call back.
struct Runtime {
    table: Table,
    thread_init: TypedFunc<(u32, u32, u32, u32, u32, u32), ()>,
    tls_init: TypedFunc<(), u32>,
    set_threw: TypedFunc<(u32, u32), ()>,
    set_temp_ret: TypedFunc<u32, ()>,
    stack_save: TypedFunc<(), u32>,
    stack_restore: TypedFunc<u32, ()>,
    retain_exception: TypedFunc<u32, ()>,
    release_exception: TypedFunc<u32, ()>,
    can_catch: TypedFunc<(u32, u32, u32), u32>,
    exception_pointer: TypedFunc<u32, u32>,
}

impl Host {
    pub(crate) fn new(memory_limit: u64) -> Self {
        Self {
            memory: None,
            runtime: None,
            functions: HashMap::new(),
            exceptions: Exceptions::default(),
            ticks: 0,
            memory_limit,
            refused: false,
            host_refused: None,
        }
    }

    /// Whether the instance has its memory.
    pub(crate) fn memory_is_made(&self) -> bool {
        self.memory.is_some()
    }

    fn memory(&self) -> wasmtime::Result<Memory> {
        self.memory.ok_or_else(|| wasmtime::Error::msg("the memory is not there yet"))
    }

    fn runtime(&self) -> wasmtime::Result<Arc<Runtime>> {
        self.runtime.clone().ok_or_else(|| wasmtime::Error::msg("an import was called while the instance was made"))
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = desired as u64 <= self.memory_limit && maximum.is_none_or(|maximum| desired <= maximum);
        self.refused |= !allowed;
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if !self.refused {
            self.host_refused = Some(error.to_string());
        }
        Ok(())
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

/// Defines every import but the memory, which each instance has its own of.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    exceptions::define(&mut linker)?;
    system::define(&mut linker)?;
    Ok(linker)
}

/// Makes an instance and runs its constructors.
pub(crate) fn instantiate(
    linker: &Linker<Host>,
    module: &wasmtime::Module,
    store: &mut Store<Host>,
) -> wasmtime::Result<(wasmtime::Instance, Memory)> {
    let memory = Memory::new(&mut *store, MemoryType::new(PAGES.0, Some(PAGES.1)))?;
    store.data_mut().memory = Some(memory);
    let mut linker = linker.clone();
    linker.define(&*store, MODULE, "a", memory)?;
    let instance = linker.instantiate(&mut *store, module)?;
    let table = instance
        .get_table(&mut *store, "yb")
        .ok_or_else(|| wasmtime::Error::msg("the file exports no table of functions"))?;
    let runtime = Runtime {
        table,
        thread_init: instance.get_typed_func(&mut *store, "zb")?,
        tls_init: instance.get_typed_func(&mut *store, "xb")?,
        set_threw: instance.get_typed_func(&mut *store, "Gb")?,
        set_temp_ret: instance.get_typed_func(&mut *store, "Hb")?,
        stack_save: instance.get_typed_func(&mut *store, "Lb")?,
        stack_restore: instance.get_typed_func(&mut *store, "Jb")?,
        retain_exception: instance.get_typed_func(&mut *store, "Nb")?,
        release_exception: instance.get_typed_func(&mut *store, "Mb")?,
        can_catch: instance.get_typed_func(&mut *store, "Ob")?,
        exception_pointer: instance.get_typed_func(&mut *store, "Pb")?,
    };
    store.data_mut().runtime = Some(Arc::new(runtime));
    instance.get_typed_func::<(), ()>(&mut *store, "Va")?.call(&mut *store, ())?;
    Ok((instance, memory))
}

fn write(caller: &mut Caller<'_, Host>, at: u32, bytes: &[u8]) -> wasmtime::Result<()> {
    let memory = caller.data().memory()?;
    Ok(memory.write(caller, at as usize, bytes)?)
}

fn write_u32(caller: &mut Caller<'_, Host>, at: u32, value: u32) -> wasmtime::Result<()> {
    write(caller, at, &value.to_le_bytes())
}

fn read<const N: usize>(caller: &Caller<'_, Host>, at: u32) -> wasmtime::Result<[u8; N]> {
    let mut bytes = [0; N];
    caller.data().memory()?.read(caller, at as usize, &mut bytes)?;
    Ok(bytes)
}

fn read_u32(caller: &Caller<'_, Host>, at: u32) -> wasmtime::Result<u32> {
    read(caller, at).map(u32::from_le_bytes)
}
