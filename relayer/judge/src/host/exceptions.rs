//! C++ exceptions, as Emscripten implements them with the host's help.
//!
//! `throw` is an import that never returns: here it gives an error, which unwinds the WebAssembly frames. What may throw is
//! called by an import `invoke_*`, which catches that error, restores the stack and tells the caller by `setThrew`. Which
//! handler fits is decided by the file itself.

use std::sync::Arc;

use wasmtime::{Caller, Linker, Ref, TypedFunc, WasmParams, WasmResults};

use super::{Host, MODULE, Runtime, read, read_u32, write, write_u32};

/// A C++ exception on its way.
#[derive(Debug, thiserror::Error)]
#[error("an exception that nothing catches")]
pub(crate) struct Thrown;

/// Exceptions of an instance, by their addresses.
#[derive(Default)]
pub(super) struct Exceptions {
    /// The exception thrown last; 0 for none.
    last: u32,
    /// Exceptions in their handlers, the innermost last.
    caught: Vec<u32>,
    /// Exceptions that are in no handler.
    uncaught: u32,
}

/// The header before an exception: offsets from its address, downwards.
struct Header(u32);

impl Header {
    const SIZE: u32 = 24;

    fn of(exception: u32) -> Self {
        Self(exception.wrapping_sub(Self::SIZE))
    }

    fn r#type(&self) -> u32 {
        self.0.wrapping_add(4)
    }

    fn destructor(&self) -> u32 {
        self.0.wrapping_add(8)
    }

    fn caught(&self) -> u32 {
        self.0.wrapping_add(12)
    }

    fn rethrown(&self) -> u32 {
        self.0.wrapping_add(13)
    }

    fn adjusted_pointer(&self) -> u32 {
        self.0.wrapping_add(16)
    }
}

type Result<T> = wasmtime::Result<T>;

/// Calls a function of the table. A C++ exception ends here.
fn invoke<P: WasmParams + 'static, R: WasmResults + Default + 'static>(
    mut caller: Caller<'_, Host>,
    function: u32,
    params: P,
) -> Result<R> {
    let runtime = caller.data().runtime()?;
    let stack = runtime.stack_save.call(&mut caller, ())?;
    let result = table_function::<P, R>(&mut caller, &runtime, function)?.call(&mut caller, params);
    match result {
        Err(error) if error.is::<Thrown>() => {
            runtime.stack_restore.call(&mut caller, stack)?;
            runtime.set_threw.call(&mut caller, (1, 0))?;
            Ok(R::default())
        }
        other => other,
    }
}

/// A function of the table, whose type is checked once.
fn table_function<P: WasmParams + 'static, R: WasmResults + 'static>(
    caller: &mut Caller<'_, Host>,
    runtime: &Runtime,
    place: u32,
) -> Result<Arc<TypedFunc<P, R>>> {
    if let Some(known) = caller.data().functions.get(&place)
        && let Ok(function) = known.clone().downcast()
    {
        return Ok(function);
    }
    let Some(Ref::Func(Some(function))) = runtime.table.get(&mut *caller, place.into()) else {
        return Err(wasmtime::Trap::IndirectCallToNull.into());
    };
    let function = Arc::new(function.typed::<P, R>(&*caller)?);
    caller.data_mut().functions.insert(place, function.clone());
    Ok(function)
}

/// Chooses the handler, by its type, of the exception thrown last; tells it by the temporary return value.
fn find_handler(mut caller: Caller<'_, Host>, types: &[u32]) -> Result<u32> {
    let runtime = caller.data().runtime()?;
    let exception = caller.data().exceptions.last;
    let mut handler = 0;
    if exception != 0 {
        let header = Header::of(exception);
        write_u32(&mut caller, header.adjusted_pointer(), exception)?;
        handler = read_u32(&caller, header.r#type())?;
        if handler != 0 {
            for &candidate in types {
                if candidate == 0 || candidate == handler {
                    break;
                }
                if runtime.can_catch.call(&mut caller, (candidate, handler, header.adjusted_pointer()))? != 0 {
                    handler = candidate;
                    break;
                }
            }
        }
    }
    runtime.set_temp_ret.call(&mut caller, handler)?;
    Ok(exception)
}

fn throw(mut caller: Caller<'_, Host>, exception: u32, r#type: u32, destructor: u32) -> Result<()> {
    let header = Header::of(exception);
    write_u32(&mut caller, header.adjusted_pointer(), 0)?;
    write_u32(&mut caller, header.r#type(), r#type)?;
    write_u32(&mut caller, header.destructor(), destructor)?;
    let runtime = caller.data().runtime()?;
    runtime.retain_exception.call(&mut caller, exception)?;
    let exceptions = &mut caller.data_mut().exceptions;
    exceptions.last = exception;
    exceptions.uncaught = exceptions.uncaught.wrapping_add(1);
    Err(Thrown.into())
}

fn rethrow(mut caller: Caller<'_, Host>) -> Result<()> {
    let exception = caller.data_mut().exceptions.caught.pop();
    let exception = exception.ok_or_else(|| wasmtime::Error::msg("no exception to throw again"))?;
    let header = Header::of(exception);
    if read(&caller, header.rethrown())? == [0u8] {
        write(&mut caller, header.rethrown(), &[1])?;
        write(&mut caller, header.caught(), &[0])?;
        let exceptions = &mut caller.data_mut().exceptions;
        exceptions.caught.push(exception);
        exceptions.uncaught = exceptions.uncaught.wrapping_add(1);
    }
    let runtime = caller.data().runtime()?;
    runtime.retain_exception.call(&mut caller, exception)?;
    caller.data_mut().exceptions.last = exception;
    Err(Thrown.into())
}

fn begin_catch(mut caller: Caller<'_, Host>, exception: u32) -> Result<u32> {
    let header = Header::of(exception);
    if read(&caller, header.caught())? == [0u8] {
        write(&mut caller, header.caught(), &[1])?;
        let exceptions = &mut caller.data_mut().exceptions;
        exceptions.uncaught = exceptions.uncaught.wrapping_sub(1);
    }
    write(&mut caller, header.rethrown(), &[0])?;
    caller.data_mut().exceptions.caught.push(exception);
    let runtime = caller.data().runtime()?;
    runtime.exception_pointer.call(&mut caller, exception)
}

fn end_catch(mut caller: Caller<'_, Host>) -> Result<()> {
    let runtime = caller.data().runtime()?;
    runtime.set_threw.call(&mut caller, (0, 0))?;
    let exception = caller.data_mut().exceptions.caught.pop();
    let exception = exception.ok_or_else(|| wasmtime::Error::msg("no handler to leave"))?;
    runtime.release_exception.call(&mut caller, exception)?;
    caller.data_mut().exceptions.last = 0;
    Ok(())
}

/// Goes on with an exception that no handler of this frame took.
fn resume(mut caller: Caller<'_, Host>, exception: u32) -> Result<()> {
    let exceptions = &mut caller.data_mut().exceptions;
    if exceptions.last == 0 {
        exceptions.last = exception;
    }
    Err(Thrown.into())
}

macro_rules! invokes {
    ($linker:ident: $($name:literal ($($param:ident: $type:ty),*) -> $result:ty;)*) => {$(
        $linker.func_wrap(
            MODULE,
            $name,
            |caller: Caller<'_, Host>, function: u32 $(, $param: $type)*| -> Result<$result> {
                invoke::<($($type,)*), $result>(caller, function, ($($param,)*))
            },
        )?;
    )*};
}

pub(super) fn define(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap(MODULE, "b", throw)?;
    linker.func_wrap(MODULE, "e", |caller: Caller<'_, Host>| find_handler(caller, &[]))?;
    linker.func_wrap(MODULE, "f", begin_catch)?;
    // A type is its own number.
    linker.func_wrap(MODULE, "g", |r#type: u32| r#type)?;
    linker.func_wrap(MODULE, "h", |caller: Caller<'_, Host>, a: u32, b: u32, c: u32, d: u32| {
        find_handler(caller, &[a, b, c, d])
    })?;
    linker.func_wrap(MODULE, "j", resume)?;
    linker.func_wrap(MODULE, "k", |caller: Caller<'_, Host>, a: u32| find_handler(caller, &[a]))?;
    linker.func_wrap(MODULE, "w", end_catch)?;
    linker.func_wrap(MODULE, "G", |caller: Caller<'_, Host>| caller.data().exceptions.uncaught)?;
    linker.func_wrap(MODULE, "L", rethrow)?;
    invokes! { linker:
        "c" () -> ();
        "d" (a: i32) -> i32;
        "i" (a: i32, b: i32) -> ();
        "l" (a: i32, b: i32, c: i32) -> ();
        "m" (a: i32, b: i32) -> i32;
        "n" (a: i32, b: i32, c: i32) -> i32;
        "o" (a: i32, b: i32, c: i32, d: i32, e: i32, f: i32) -> i32;
        "p" (a: i32, b: i32, c: i32, d: i32) -> ();
        "q" (a: i32) -> ();
        "r" (a: i32, b: i32, c: i32, d: i32) -> i32;
        "s" (a: i32, b: i32, c: i32, d: i32, e: i32) -> ();
        "t" (a: i32, b: i32, c: i32, d: i32, e: i32, f: i32) -> ();
        "v" () -> i32;
        "x" (a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i32) -> ();
        "y" (a: i32, b: i32) -> i64;
        "z" (a: i32, b: i64) -> i32;
        "A" (a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i32, h: i32, i: i32, j: i32) -> ();
        "B" (a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i32, h: i32, i: i32, j: i32, k: i32, l: i32, m: i32, n: i32, o: i32) -> ();
        "C" (a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i32, h: i32, i: i32, j: i32, k: i32) -> i32;
        "D" (a: i32, b: i32, c: i32, d: i32) -> i64;
        "E" (a: i32, b: i32, c: i32, d: i32, e: i32) -> i32;
        "J" (a: i32, b: i32, c: i32, d: i32, e: i64) -> i32;
        "K" (a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i32, h: i32, i: i32, j: i32, k: i32) -> ();
        "N" (a: i32, b: i32, c: i32) -> f64;
        "O" (a: i32, b: i32, c: i32) -> f32;
        "P" (a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i32) -> i32;
        "Q" () -> i64;
        "R" (a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i32, h: i32) -> ();
        "_" (a: i32, b: i32, c: f32) -> ();
        "$" (a: i32, b: i32) -> f64;
        "aa" (a: i32, b: i32) -> f32;
        "ca" (a: i32, b: i32, c: i32, d: i32, e: f64) -> i32;
        "da" (a: i32, b: i32, c: i32, d: i64) -> i32;
        "ea" (a: i32, b: i32, c: i64) -> i32;
        "fa" (a: i64, b: i32, c: i32) -> i32;
        "ga" (a: i32) -> i64;
        "ha" (a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i64) -> ();
        "ia" (a: i32, b: i32, c: i32, d: i32, e: i32, f: i64) -> ();
    }
    Ok(())
}
