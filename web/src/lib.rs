//! llmzip as a WebAssembly module, for the page beside it, or for Node (`docs/web.md`).
//!
//! Bytes go through the module's memory. The caller asks for a place by [`input`], writes there, and calls [`compress`],
//! [`decompress`] or [`explain`]; what these made, or what went wrong in a sentence, is at [`output`]. One call at a
//! time. A trap means that memory has ended, or a bug: the instance is to be thrown away.

use llmzip::archive::{self, BuiltinModels, Summary};
use llmzip::{Isa, Options, explain};
use std::cell::RefCell;
use std::sync::LazyLock;

/// Bytes of memory that coding may plan with: a module has 4 GiB at most, and input and output are in them.
const MEMORY: u64 = 1 << 30;

/// Most bytes that an archive may become.
const MAX_OUTPUT: u64 = 1 << 29;

thread_local! {
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The model, loaded when it is first used.
static MODELS: LazyLock<BuiltinModels> = LazyLock::new(|| BuiltinModels::new(Isa::detect()));

#[link(wasm_import_module = "llmzip")]
unsafe extern "C" {
    /// Called with the number of plain bytes just processed; they add up to the content's length, to twice
    /// that where archives are verified.
    safe fn progress(n_bytes: f64);
}

/// Makes room for `len` bytes, all 0, in place of the input before; returns their address, 0 where there is no room.
#[unsafe(no_mangle)]
pub extern "C" fn input(len: usize) -> *mut u8 {
    INPUT.with_borrow_mut(|input| {
        *input = Vec::new();
        if input.try_reserve_exact(len).is_err() {
            return std::ptr::null_mut();
        }
        input.resize(len, 0);
        input.as_mut_ptr()
    })
}

/// Compresses the input at `level`, 1 to 9; decodes what it made to compare it, where `verify` is not 0. Returns 1, with
/// the archive as the output, or 0, with a message.
#[unsafe(no_mangle)]
pub extern "C" fn compress(level: u8, verify: u32) -> u32 {
    run(|input| {
        let options = options().level(level).verify(verify != 0);
        let (model, mut out) = (MODELS.default_model()?, Vec::new());
        archive::compress(input, &mut out, &model, &options, &report)?;
        Ok(out)
    })
}

/// Decompresses the input. Returns 1, with the content as the output, or 0, with a message.
#[unsafe(no_mangle)]
pub extern "C" fn decompress() -> u32 {
    run(|input| {
        let (options, mut out) = (options().max_output(MAX_OUTPUT), Vec::new());
        let _: Summary = archive::decompress(input, &mut out, &*MODELS, &options, &report)?;
        Ok(out)
    })
}

/// Colours a text, which is the input after the first `name_len` bytes: its name. Returns 1, with the page of
/// `llmzip explain` as the output, or 0, with a message. `is_cut`: whether the text is only a beginning.
#[unsafe(no_mangle)]
pub extern "C" fn explain(name_len: usize, is_cut: u32) -> u32 {
    run(|input| {
        let (name, text) = input.split_at(name_len.min(input.len()));
        let (model, name) = (MODELS.default_model()?, String::from_utf8_lossy(name));
        explain::page(&*model, &name, text, is_cut != 0).map(String::into_bytes)
    })
}

/// Puts into the output the library's version and the instruction set that it runs on. Returns 1.
#[unsafe(no_mangle)]
pub extern "C" fn about() -> u32 {
    run(|_| {
        Ok(format!("llmzip {}, {}", env!("CARGO_PKG_VERSION"), Isa::detect().name()).into_bytes())
    })
}

/// Returns the address of the last call's output. It stands until the next call.
#[unsafe(no_mangle)]
pub extern "C" fn output() -> *const u8 {
    OUTPUT.with_borrow(|output| output.as_ptr())
}

/// Returns the length of the last call's output, in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn output_len() -> usize {
    OUTPUT.with_borrow(Vec::len)
}

fn options() -> Options {
    Options::default().memory(MEMORY)
}

fn report(n_bytes: u64) {
    progress(n_bytes as f64);
}

/// Puts what `work` makes of the input into the output, or its error.
fn run(work: impl FnOnce(&[u8]) -> llmzip::Result<Vec<u8>>) -> u32 {
    OUTPUT.set(Vec::new());
    let result = INPUT.with_borrow(|input| work(input));
    let done = result.is_ok();
    OUTPUT.set(result.unwrap_or_else(|error| error.to_string().into_bytes()));
    done.into()
}

/// Fills hash tables' seeds, for which the tokenizers crate wants random numbers, with zeros: who makes tables slow by
/// chosen text slows his own page.
///
/// # Safety
/// `len` bytes from `to` on can be written.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(
    to: *mut u8,
    len: usize,
) -> Result<(), getrandom::Error> {
    // SAFETY: as the caller promises.
    unsafe { to.write_bytes(0, len) };
    Ok(())
}
