//! A model in an instance of its own.

use wasmtime::{Engine, Linker, Module, Store};

use crate::{
    DType, Data, JudgeError, Limits, Tensor,
    guest::{Guest, call_error},
    host::{self, Host},
    tensor::count,
};

/// Severity of what ONNX Runtime logs: nothing short of fatal.
const FATAL: u32 = 4;
/// Tensors in ordinary memory, in ONNX Runtime's numbers.
const CPU: u32 = 1;

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name in the model.
    pub name: String,
    /// Type of the elements; `None` for what is no tensor, or one of a type that is not known.
    pub dtype: Option<DType>,
    /// Dimensions that the model declares.
    pub dims: Vec<Dim>,
}

/// A dimension that a model declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// Always this size.
    Fixed(u32),
    /// Any size; equal names are equal sizes. The name may be empty.
    Symbol(String),
}

/// A model, loaded in an instance of its own.
///
/// A fresh session gives the same outputs, errors and fuel on every machine. One that has run before gives the same outputs;
/// its fuel differs slightly, as its memory is laid out otherwise.
pub struct Session {
    guest: Guest,
    handle: u32,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// Address of each name in the instance, inputs before outputs.
    names: Vec<u32>,
    limits: Limits,
    load_fuel: u64,
    run_fuel: u64,
    ended: bool,
}

type Result<T> = std::result::Result<T, JudgeError>;

impl Session {
    pub(crate) fn load(
        engine: &Engine,
        linker: &Linker<Host>,
        module: &Module,
        model: &[u8],
        limits: Limits,
    ) -> Result<Self> {
        let mut store = Store::new(engine, Host::new(limits.memory));
        store.limiter(|host| host);
        let mut guest = match store.set_fuel(u64::MAX).and_then(|()| host::instantiate(linker, module, &mut store)) {
            Ok((instance, memory)) => Guest::new(store, instance, memory, limits.memory)
                .map_err(|error| JudgeError::Trap(format!("{error:#}")))?,
            Err(error) => return Err(call_error(&error, store.data(), limits.memory)),
        };
        if guest.call(|api| &api.init, (1, FATAL))? != 0 {
            return Err(guest.failure(JudgeError::Load));
        }
        set_fuel(&mut guest, limits.fuel)?;
        let handle = create(&mut guest, model)?;
        let mut session = Self {
            guest,
            handle,
            inputs: Vec::new(),
            outputs: Vec::new(),
            names: Vec::new(),
            limits,
            load_fuel: 0,
            run_fuel: 0,
            ended: false,
        };
        session.read_ports()?;
        session.load_fuel = session.spent();
        Ok(session)
    }

    /// Inputs, in the model's order.
    #[must_use]
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// Outputs, in the model's order.
    #[must_use]
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Instructions of WebAssembly that loading took.
    #[must_use]
    pub fn load_fuel(&self) -> u64 {
        self.load_fuel
    }

    /// Instructions of WebAssembly that the last run took.
    #[must_use]
    pub fn run_fuel(&self) -> u64 {
        self.run_fuel
    }

    /// Bytes of linear memory that the session has, which never become fewer.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.guest.memory_size()
    }

    /// Whether the session runs no more, because a run met a limit.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Runs the model on one tensor for each input, in the model's order, and gives the outputs at the places `wanted`.
    ///
    /// # Errors
    /// `Input` for inputs that the model does not take, `Run` where ONNX Runtime says that the run failed, `Output` for an
    /// output that is no tensor. After `OutOfFuel`, `OutOfMemory`, `Trap`, `StackExhausted` or `HostMemory`, all further runs
    /// give `Ended`.
    pub fn run(&mut self, inputs: &[Tensor], wanted: &[usize]) -> Result<Vec<Tensor>> {
        if self.ended {
            return Err(JudgeError::Ended);
        }
        self.check(inputs, wanted)?;
        set_fuel(&mut self.guest, self.limits.fuel)?;
        self.guest.store.data_mut().refused = false;
        let result = self.run_placed(inputs, wanted);
        self.run_fuel = self.spent();
        self.ended = matches!(&result, Err(error) if error.is_limit() || error.is_host());
        result
    }

    /// Runs the model as `run`, and gives all outputs.
    ///
    /// # Errors
    /// Those of `run`.
    pub fn run_all(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let wanted: Vec<_> = (0..self.outputs.len()).collect();
        self.run(inputs, &wanted)
    }

    fn spent(&self) -> u64 {
        self.limits.fuel.saturating_sub(self.guest.store.get_fuel().unwrap_or_default())
    }

    fn check(&self, inputs: &[Tensor], wanted: &[usize]) -> Result<()> {
        let (given, taken) = (inputs.len(), self.inputs.len());
        if given != taken {
            return Err(JudgeError::Input(format!("{given} inputs, but the model takes {taken}")));
        }
        if let Some(place) = wanted.iter().find(|place| **place >= self.outputs.len()) {
            return Err(JudgeError::Input(format!("no output {place}: the model gives {}", self.outputs.len())));
        }
        for (place, tensor) in inputs.iter().enumerate() {
            // They end at a zero on their way into the session.
            if let Data::Strings(strings) = tensor.data()
                && strings.iter().any(|string| string.contains('\0'))
            {
                return Err(JudgeError::Input(format!("a string of input {place} contains the character U+0000")));
            }
        }
        Ok(())
    }

    fn run_placed(&mut self, inputs: &[Tensor], wanted: &[usize]) -> Result<Vec<Tensor>> {
        let mut placed = Placed::default();
        let result = self.run_with(inputs, wanted, &mut placed);
        // After a limit nothing can be called any more, and the session ends.
        if !matches!(&result, Err(error) if error.is_limit() || error.is_host()) {
            for tensor in placed.tensors {
                self.guest.call(|api| &api.release_tensor, tensor)?;
            }
            for address in placed.memory {
                self.guest.free(address)?;
            }
        }
        result
    }

    fn run_with(&mut self, inputs: &[Tensor], wanted: &[usize], placed: &mut Placed) -> Result<Vec<Tensor>> {
        for tensor in inputs {
            let tensor = place(&mut self.guest, tensor, placed)?;
            placed.tensors.push(tensor);
        }
        let tensors = placed.tensors.clone();
        let (input_names, output_names) = self.names.split_at(self.inputs.len());
        let (input_names, output_names) =
            (input_names.to_vec(), wanted.iter().map(|place| output_names[*place]).collect::<Vec<_>>());
        let guest = &mut self.guest;
        let mut words = |words: &[u32]| -> Result<u32> {
            let address = guest.place_words(words)?;
            placed.memory.push(address);
            Ok(address)
        };
        let (names, values) = (words(&input_names)?, words(&tensors)?);
        let (wanted_names, results) = (words(&output_names)?, words(&vec![0; wanted.len()])?);
        let counts = (tensors.len() as u32, wanted.len() as u32);
        let status = self
            .guest
            .call(|api| &api.run, (self.handle, names, values, counts.0, wanted_names, counts.1, results, 0))?;
        let results = self.guest.words(results, wanted.len())?;
        placed.tensors.extend(results.iter().filter(|tensor| **tensor != 0));
        if status != 0 {
            return Err(self.guest.failure(JudgeError::Run));
        }
        results.iter().zip(wanted).map(|(tensor, output)| take(&mut self.guest, *tensor, *output)).collect()
    }

    fn read_ports(&mut self) -> Result<()> {
        let counts = self.guest.alloc(8)?;
        if self.guest.call(|api| &api.port_counts, (self.handle, counts, counts + 4))? != 0 {
            return Err(self.guest.failure(JudgeError::Load));
        }
        let (inputs, outputs) = (self.guest.u32(counts)?, self.guest.u32(counts + 4)?);
        for place in 0..inputs.saturating_add(outputs) {
            let (port, name) = read_port(&mut self.guest, self.handle, place)?;
            self.names.push(name);
            if place < inputs { &mut self.inputs } else { &mut self.outputs }.push(port);
        }
        self.guest.free(counts)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ports = (&self.inputs, &self.outputs);
        f.debug_struct("Session").field("inputs", ports.0).field("outputs", ports.1).finish_non_exhaustive()
    }
}

/// What a run holds in the instance.
#[derive(Default)]
struct Placed {
    tensors: Vec<u32>,
    memory: Vec<u32>,
}

fn set_fuel(guest: &mut Guest, fuel: u64) -> Result<()> {
    guest.store.set_fuel(fuel).map_err(|error| JudgeError::Trap(format!("{error:#}")))
}

/// Opens a session with the options of the profile: no optimizations, one operator after another. Arena and memory patterns,
/// which change no bits, are ONNX Runtime's defaults.
fn create(guest: &mut Guest, model: &[u8]) -> Result<u32> {
    let (optimization, arena, patterns, sequential, profiling, none) = (0, 1, 1, 0, 0, 0);
    let name = guest.place(b"judge\0")?;
    let options = guest.call(
        |api| &api.create_options,
        (optimization, arena, patterns, sequential, profiling, none, name, FATAL, 0, none),
    )?;
    if options == 0 {
        return Err(guest.failure(JudgeError::Load));
    }
    let file = guest.place(model)?;
    let handle = guest.call(|api| &api.create_session, (file, model.len() as u32, options))?;
    if handle == 0 {
        return Err(guest.failure(JudgeError::Load));
    }
    guest.free(file)?;
    Ok(handle)
}

/// Reads what the model says of an input or output, and the address of its name.
fn read_port(guest: &mut Guest, session: u32, place: u32) -> Result<(Port, u32)> {
    let at = guest.alloc(8)?;
    if guest.call(|api| &api.port, (session, place, at, at + 4))? != 0 {
        return Err(guest.failure(JudgeError::Load));
    }
    let (name_at, facts) = (guest.u32(at)?, guest.u32(at + 4)?);
    let name = text(guest, name_at)?;
    let dtype = DType::from_onnx(guest.u32(facts)?);
    let rank = if dtype.is_some() { guest.u32(facts + 4)? as usize } else { 0 };
    let symbols = guest.words(facts + 8, rank)?;
    let sizes = guest.words(facts + 8 + 4 * rank as u32, rank)?;
    let dims = symbols.into_iter().zip(sizes).map(|(symbol, size)| match symbol {
        0 => Ok(Dim::Fixed(size)),
        symbol => text(guest, symbol).map(Dim::Symbol),
    });
    let dims = dims.collect::<Result<_>>()?;
    guest.call(|api| &api.free_result, facts)?;
    guest.free(at)?;
    Ok((Port { name, dtype, dims }, name_at))
}

fn text(guest: &Guest, at: u32) -> Result<String> {
    Ok(String::from_utf8_lossy(guest.c_string(at)?).into_owned())
}

/// Makes a tensor in the instance.
fn place(guest: &mut Guest, tensor: &Tensor, placed: &mut Placed) -> Result<u32> {
    let dims = guest.place_words(tensor.dims())?;
    placed.memory.push(dims);
    let (data, length) = match tensor.data() {
        Data::Bytes(bytes) => (guest.place(bytes)?, bytes.len()),
        Data::Strings(strings) => {
            let text: Vec<u8> = strings.iter().flat_map(|string| string.bytes().chain([0])).collect();
            let mut at = guest.place(&text)?;
            placed.memory.push(at);
            let mut starts = Vec::with_capacity(strings.len());
            for string in strings {
                starts.push(at);
                at += string.len() as u32 + 1;
            }
            (guest.place_words(&starts)?, 4 * starts.len())
        }
    };
    placed.memory.push(data);
    let (dtype, rank) = (u32::from(tensor.dtype().onnx()), tensor.dims().len() as u32);
    match guest.call(|api| &api.create_tensor, (dtype, data, length as u32, dims, rank, CPU))? {
        0 => Err(guest.failure(JudgeError::Input)),
        tensor => Ok(tensor),
    }
}

/// Copies a tensor out of the instance.
fn take(guest: &mut Guest, tensor: u32, output: usize) -> Result<Tensor> {
    if tensor == 0 {
        return Err(JudgeError::Output { output, reason: "it has no value".to_owned() });
    }
    let facts = guest.alloc(16)?;
    let status = guest.call(|api| &api.tensor_data, (tensor, facts, facts + 4, facts + 8, facts + 12))?;
    if status != 0 {
        let failure = guest.failure(|reason| JudgeError::Output { output, reason });
        guest.free(facts)?;
        return Err(failure);
    }
    let [dtype, data, dims_at, rank] = [0, 4, 8, 12].map(|offset| guest.u32(facts + offset));
    let (dtype, data, dims_at, rank) = (dtype?, data?, dims_at?, rank?);
    guest.free(facts)?;
    let dims = guest.words(dims_at, rank as usize)?;
    let value = read(guest, dtype, data, dims);
    // The dimensions are a copy, as are strings, behind the addresses of theirs.
    guest.call(|api| &api.free_result, dims_at)?;
    if dtype == u32::from(DType::String.onnx()) {
        guest.free(data)?;
    }
    value?.map_err(|reason| JudgeError::Output { output, reason })
}

fn read(guest: &Guest, dtype: u32, data: u32, dims: Vec<u32>) -> Result<std::result::Result<Tensor, String>> {
    let Some(dtype) = DType::from_onnx(dtype) else { return Ok(Err(format!("a tensor of ONNX's type {dtype}"))) };
    let Some(count) = count(&dims) else { return Ok(Err("more elements than memory has bytes".to_owned())) };
    let Some(size) = dtype.size() else {
        let starts = guest.words(data, count)?;
        let mut strings = Vec::with_capacity(count);
        for (place, start) in starts.iter().enumerate() {
            let bytes = match starts.get(place + 1) {
                Some(next) => guest.bytes(*start, next.saturating_sub(*start) as usize)?,
                // Only the last has no end that is told, but a zero behind it.
                None => guest.c_string(*start)?,
            };
            match String::from_utf8(bytes.to_vec()) {
                Ok(string) => strings.push(string),
                Err(_) => return Ok(Err(format!("string {place} is not UTF-8"))),
            }
        }
        return Ok(Tensor::strings(dims, strings).map_err(|error| error.to_string()));
    };
    let Some(length) = count.checked_mul(size) else { return Ok(Err("more bytes than memory has".to_owned())) };
    let bytes = guest.bytes(data, length)?.to_vec();
    Ok(Tensor::new(dtype, dims, bytes).map_err(|error| error.to_string()))
}
