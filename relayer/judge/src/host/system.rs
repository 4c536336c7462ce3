//! What an operating system would give: memory, and nothing else. There are no files, threads, time zones or environment,
//! and the clock counts how often it was asked.

use wasmtime::{Caller, Linker};

use super::{Host, MODULE, write, write_u32};

/// The code ended the process.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Stopped(&'static str);

const PAGE: u64 = 65_536;
/// Growth beyond what is needed, at most, in bytes.
const SPARE: u64 = 96 << 20;

/// WASI's numbers of errors; system calls have them negative.
mod errno {
    pub(super) const AGAIN: i32 = 6;
    pub(super) const BAD_DESCRIPTOR: i32 = 8;
    pub(super) const INVALID: i32 = 28;
    pub(super) const NO_ENTRY: i32 = 44;
    pub(super) const NOT_SUPPORTED: i32 = 52;
}

/// Nanoseconds that a clock tells.
fn now(caller: &mut Caller<'_, Host>) -> u64 {
    let ticks = &mut caller.data_mut().ticks;
    *ticks = ticks.wrapping_add(1);
    ticks.wrapping_mul(1_000)
}

/// Grows the memory to a size, as Emscripten does where the limit is the maximum: by a fifth more than needed, or less.
fn grow_heap(mut caller: Caller<'_, Host>, needed: u32) -> wasmtime::Result<u32> {
    let memory = caller.data().memory()?;
    let limit = caller.data().memory_limit;
    let (needed, size) = (u64::from(needed), memory.data_size(&caller) as u64);
    if needed <= size {
        return Ok(0);
    }
    if needed > limit {
        caller.data_mut().refused = true;
        return Ok(0);
    }
    for share in [5, 10, 20] {
        // A fifth, a tenth, a twentieth.
        let generous = (size + size / share).min(needed.saturating_add(SPARE));
        let target = needed.max(generous).next_multiple_of(PAGE).min(limit);
        if memory.grow(&mut caller, target.saturating_sub(size).div_ceil(PAGE)).is_ok() {
            caller.data_mut().host_refused = None;
            return Ok(1);
        }
    }
    Ok(0)
}

/// Code that JavaScript would run: 1042604 reads external data, of which there is none; the others ask for debug symbols.
fn script(code: u32) -> i32 {
    i32::from(code == 1_042_604)
}

/// The 1st of January 1970, a Thursday, whatever the time.
fn write_calendar(mut caller: Caller<'_, Host>, at: u32) -> wasmtime::Result<()> {
    for (place, value) in [0u32, 0, 0, 1, 0, 70, 4, 0, 0, 0].into_iter().enumerate() {
        write_u32(&mut caller, at.wrapping_add(4 * place as u32), value)?;
    }
    Ok(())
}

pub(super) fn define(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    memory_and_process(linker)?;
    clocks(linker)?;
    files(linker)?;
    threads_and_debugging(linker)
}

fn memory_and_process(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "la", grow_heap)?;
    linker.func_wrap(MODULE, "na", |caller: Caller<'_, Host>| caller.data().memory_limit as u32)?;
    linker.func_wrap(MODULE, "xa", |_: i32, _: i32, _: i32, _: i32, _: i64, _: i32, _: i32| -errno::NOT_SUPPORTED)?;
    linker.func_wrap(MODULE, "ya", |_: i32, _: i32, _: i32, _: i32, _: i32, _: i64| -errno::NOT_SUPPORTED)?;
    let stop = |why| move || -> wasmtime::Result<()> { Err(Stopped(why).into()) };
    linker.func_wrap(MODULE, "Ra", stop("the code aborted"))?;
    linker.func_wrap(MODULE, "Na", stop("the code left its main function"))?;
    let exit = |_: i32| -> wasmtime::Result<()> { Err(Stopped("the code exited").into()) };
    linker.func_wrap(MODULE, "ta", exit)?;
    linker.func_wrap(MODULE, "Sa", exit)?;
    // The environment is empty.
    linker.func_wrap(MODULE, "Ga", |_: i32, _: i32| 0)?;
    linker.func_wrap(MODULE, "Ha", |mut caller: Caller<'_, Host>, count: u32, bytes: u32| {
        write_u32(&mut caller, count, 0)?;
        write_u32(&mut caller, bytes, 0)?;
        wasmtime::Result::Ok(0)
    })?;
    Ok(())
}

fn clocks(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "u", |mut caller: Caller<'_, Host>| now(&mut caller) as f64 / 1e6)?;
    linker.func_wrap(MODULE, "Pa", |mut caller: Caller<'_, Host>| now(&mut caller) as f64 / 1e6)?;
    linker.func_wrap(MODULE, "Qa", |mut caller: Caller<'_, Host>, clock: i32, _: i64, at: u32| {
        if !(0..=3).contains(&clock) {
            return wasmtime::Result::Ok(errno::INVALID);
        }
        let now = now(&mut caller);
        write(&mut caller, at, &now.to_le_bytes())?;
        Ok(0)
    })?;
    linker.func_wrap(MODULE, "za", |caller: Caller<'_, Host>, _: i64, at: u32| write_calendar(caller, at))?;
    linker.func_wrap(MODULE, "Aa", |caller: Caller<'_, Host>, _: i64, at: u32| write_calendar(caller, at))?;
    linker.func_wrap(MODULE, "Ba", |_: i32| 0i64)?;
    linker.func_wrap(
        MODULE,
        "Ta",
        |mut caller: Caller<'_, Host>, zone: u32, daylight: u32, name: u32, summer: u32| {
            write_u32(&mut caller, zone, 0)?;
            write_u32(&mut caller, daylight, 0)?;
            write(&mut caller, name, b"UTC\0")?;
            write(&mut caller, summer, b"UTC\0")
        },
    )?;
    // Timers, of which none runs.
    linker.func_wrap(MODULE, "ka", |_: i32, _: f64| 0)?;
    Ok(())
}

fn files(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    // Descriptors: close, read, read at, seek. None is open but the standard ones.
    linker.func_wrap(MODULE, "I", |_: i32| errno::BAD_DESCRIPTOR)?;
    linker.func_wrap(MODULE, "Y", |_: i32, _: i32, _: i32, _: i32| errno::BAD_DESCRIPTOR)?;
    linker.func_wrap(MODULE, "wa", |_: i32, _: i32, _: i32, _: i64, _: i32| errno::BAD_DESCRIPTOR)?;
    linker.func_wrap(MODULE, "Da", |_: i32, _: i64, _: i32, _: i32| errno::BAD_DESCRIPTOR)?;
    // Writing, to standard output or error: taken, and not shown.
    linker.func_wrap(MODULE, "X", |mut caller: Caller<'_, Host>, _: i32, parts: u32, count: u32, written: u32| {
        let mut total = 0u32;
        for part in 0..count {
            let at = parts.wrapping_add(part.wrapping_mul(8)).wrapping_add(4);
            total = total.wrapping_add(super::read_u32(&caller, at)?);
        }
        write_u32(&mut caller, written, total)?;
        wasmtime::Result::Ok(0)
    })?;
    linker.func_wrap(MODULE, "F", |_: i32, _: i32| {})?;
    // Paths and descriptors by system calls.
    for name in ["M", "Ca", "Ma", "pa", "sa"] {
        linker.func_wrap(MODULE, name, |_: i32, _: i32, _: i32| -errno::NO_ENTRY)?;
    }
    for name in ["Z", "Ia", "ra"] {
        linker.func_wrap(MODULE, name, |_: i32, _: i32, _: i32, _: i32| -errno::NO_ENTRY)?;
    }
    for name in ["Ja", "Ka", "La", "qa"] {
        linker.func_wrap(MODULE, name, |_: i32, _: i32| -errno::NO_ENTRY)?;
    }
    linker.func_wrap(MODULE, "oa", |_: i32| -errno::NO_ENTRY)?;
    Ok(())
}

fn threads_and_debugging(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    // The only thread.
    linker.func_wrap(MODULE, "Fa", |mut caller: Caller<'_, Host>, thread: u32| {
        let runtime = caller.data().runtime()?;
        runtime.thread_init.call(&mut caller, (thread, 1, 1, 1, 131_072, 0))?;
        runtime.tls_init.call(&mut caller, ())?;
        wasmtime::Result::Ok(())
    })?;
    // Cores, and making a thread.
    linker.func_wrap(MODULE, "H", || 1)?;
    linker.func_wrap(MODULE, "ua", |_: i32, _: i32, _: i32, _: i32| errno::AGAIN)?;
    linker.func_wrap(MODULE, "va", |_: i32, _: i32, _: i32, _: i32, _: i32| -> wasmtime::Result<f64> {
        Err(Stopped("the code called another thread").into())
    })?;
    // Mailboxes of threads, their end, what keeps them alive, and whether they may block.
    linker.func_wrap(MODULE, "Ea", |_: i32| {})?;
    linker.func_wrap(MODULE, "Oa", |_: i32| {})?;
    linker.func_wrap(MODULE, "U", |_: i32| {})?;
    linker.func_wrap(MODULE, "ma", |_: i32, _: i32| {})?;
    linker.func_wrap(MODULE, "V", || {})?;
    linker.func_wrap(MODULE, "ja", || {})?;
    // Scripts, symbols and addresses of the call stack.
    linker.func_wrap(MODULE, "W", |code: u32, _: i32, _: i32| script(code))?;
    linker.func_wrap(MODULE, "T", || 0)?;
    linker.func_wrap(MODULE, "S", |_: i32| 0)?;
    linker.func_wrap(MODULE, "ba", || 0)?;
    linker.func_wrap(MODULE, "Ua", |_: i32, _: i32, _: i32| 0)?;
    Ok(())
}
