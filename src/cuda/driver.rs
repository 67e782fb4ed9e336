//! The CUDA driver's library, loaded when a device is first asked for: streams, memory and launches, with no toolkit
//! to build or install. All the unsafe code of CUDA is here and in `launch.rs`.
//!
//! Results are read as numbers: a newer driver has errors that this table does not know. A function that the library
//! lacks is an error, too.

#![allow(unsafe_code, reason = "the driver's interface is C")]

use crate::error::{Error, ErrorKind, Result};
#[cfg(not(target_family = "wasm"))]
use libloading::Library;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::ptr::{null, null_mut};
use std::sync::{Arc, OnceLock};

/// The oldest driver, as CUDA's versions are written: 12.0, of December 2022.
const OLDEST_DRIVER: c_int = 12_000;

/// The least compute capability that the kernels are compiled for: Turing, of 2018.
const LEAST_CAPABILITY: (c_int, c_int) = (7, 5);

/// Names of the library.
const LIBRARIES: [&str; 2] = ["libcuda.so.1", "libcuda.so"];

/// The kernels (docs/cuda.md), as the driver takes them.
static PTX: &str = concat!(include_str!("kernels/kernels.ptx"), "\0");

/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR`
const CAPABILITY: [c_int; 2] = [75, 76];
/// `CU_STREAM_NON_BLOCKING`
const NON_BLOCKING: c_uint = 1;

/// A context, module, function or stream.
type Handle = *mut c_void;
/// An address in a device's memory.
pub(super) type Address = u64;

/// WebAssembly loads no library.
#[cfg(target_family = "wasm")]
enum Library {}

#[cfg(target_family = "wasm")]
impl Library {
    /// # Safety
    /// None is needed: there is none to load.
    unsafe fn new(_: &str) -> std::result::Result<Self, ()> {
        Err(())
    }

    /// # Safety
    /// None is needed: there is no library.
    unsafe fn get<T>(&self, _: &[u8]) -> std::result::Result<&'static T, ()> {
        match *self {}
    }
}

/// The functions of the library that are used: names, symbols and arguments.
macro_rules! functions {
    ($($name:ident = $symbol:literal ($($argument:ty),*);)*) => {
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl Functions {
            /// Finds all of them.
            fn load(library: &'static Library) -> Result<Self> {
                $(
                    // SAFETY: the type is that of the function in the driver's interface, which keeps a symbol's type
                    // for ever (a changed one has another suffix), and the library is never unloaded.
                    let $name = unsafe {
                        let found = library.get::<unsafe extern "C" fn($($argument),*) -> c_int>($symbol);
                        *found.map_err(|_| {
                            let symbol = String::from_utf8_lossy($symbol);
                            failure(format!("the CUDA driver is too old: it has no {symbol}"))
                        })?
                    };
                )*
                Ok(Self { $($name,)* })
            }
        }
    };
}

functions! {
    init = b"cuInit" (c_uint);
    driver_version = b"cuDriverGetVersion" (*mut c_int);
    error_string = b"cuGetErrorString" (c_int, *mut *const c_char);
    device_count = b"cuDeviceGetCount" (*mut c_int);
    device = b"cuDeviceGet" (*mut c_int, c_int);
    device_name = b"cuDeviceGetName" (*mut c_char, c_int, c_int);
    device_attribute = b"cuDeviceGetAttribute" (*mut c_int, c_int, c_int);
    retain_context = b"cuDevicePrimaryCtxRetain" (*mut Handle, c_int);
    release_context = b"cuDevicePrimaryCtxRelease_v2" (c_int);
    set_context = b"cuCtxSetCurrent" (Handle);
    load_module = b"cuModuleLoadData" (*mut Handle, *const c_void);
    unload_module = b"cuModuleUnload" (Handle);
    function = b"cuModuleGetFunction" (*mut Handle, Handle, *const c_char);
    create_stream = b"cuStreamCreate" (*mut Handle, c_uint);
    destroy_stream = b"cuStreamDestroy_v2" (Handle);
    synchronize = b"cuStreamSynchronize" (Handle);
    allocate = b"cuMemAlloc_v2" (*mut Address, usize);
    free = b"cuMemFree_v2" (Address);
    set = b"cuMemsetD8Async" (Address, u8, usize, Handle);
    copy_in = b"cuMemcpyHtoDAsync_v2" (Address, *const c_void, usize, Handle);
    copy_out = b"cuMemcpyDtoHAsync_v2" (*mut c_void, Address, usize, Handle);
    copy_within = b"cuMemcpyDtoDAsync_v2" (Address, Address, usize, Handle);
    launch = b"cuLaunchKernel" (
        Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void
    );
}

/// An error of the device or its driver.
fn failure(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Device, message)
}

/// The library, loaded once and ready; the reason where there is none.
fn functions() -> Result<&'static Functions> {
    static LOADED: OnceLock<Result<Functions>> = OnceLock::new();
    let load = || {
        // SAFETY: the library is the driver's, whose initialisation any thread may run.
        let open = |name: &&str| unsafe { Library::new(*name) }.ok();
        let library = LIBRARIES.iter().find_map(open);
        let library = library.ok_or_else(|| {
            failure(match cfg!(target_feature = "crt-static") {
                true => "this program is linked statically: it loads no CUDA driver",
                false => "there is no CUDA driver on this machine",
            })
        })?;
        let functions = Functions::load(Box::leak(Box::new(library)))?;
        let mut version = 0;
        // SAFETY: the address is of an integer; the version can be asked before anything else.
        let result = unsafe { (functions.driver_version)(&mut version) };
        functions.check("asking for its version", result)?;
        if version < OLDEST_DRIVER {
            let shown = |version: c_int| format!("{}.{}", version / 1000, version % 1000 / 10);
            return Err(failure(format!(
                "the CUDA driver is of version {}, expected {} at least",
                shown(version),
                shown(OLDEST_DRIVER)
            )));
        }
        // SAFETY: 0 is the only flag there is.
        let result = unsafe { (functions.init)(0) };
        functions.check("starting it", result)?;
        Ok(functions)
    };
    LOADED.get_or_init(load).as_ref().map_err(Error::duplicate)
}

impl Functions {
    /// Returns the error that `result` is, while doing `what`.
    fn check(&self, what: &str, result: c_int) -> Result<()> {
        if result == 0 {
            return Ok(());
        }
        let mut text = null();
        // SAFETY: the address is of a pointer, which becomes that of a static string, or null.
        let text = unsafe {
            match (self.error_string)(result, &mut text) {
                0 if !text.is_null() => CStr::from_ptr(text).to_string_lossy().into_owned(),
                _ => format!("error {result}"),
            }
        };
        Err(failure(format!("the CUDA device failed while {what}: {text}")))
    }
}

/// A device with the kernels loaded; clones are the same one.
#[derive(Clone)]
pub struct Device(Arc<Loaded>);

struct Loaded {
    functions: &'static Functions,
    device: c_int,
    name: String,
    context: Handle,
    module: Handle,
    kernels: OnceLock<Vec<Handle>>,
}

// SAFETY: the driver's functions may be called from any thread; each call here first makes the context that of
// its thread.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

impl Device {
    /// Opens device `ordinal`, counted from 0.
    ///
    /// # Errors
    /// [`ErrorKind::Device`] where there is no driver or no such device, or either is too old.
    pub fn open(ordinal: u32) -> Result<Self> {
        let functions = functions()?;
        let mut count = 0;
        // SAFETY: the address is of an integer.
        let result = unsafe { (functions.device_count)(&mut count) };
        functions.check("counting devices", result)?;
        let index = c_int::try_from(ordinal).ok().filter(|&index| index < count);
        let index = index.ok_or_else(|| match count {
            0 => failure("there is no CUDA device on this machine"),
            n => failure(format!(
                "there is no CUDA device {ordinal}: this machine has {n}, counted from 0"
            )),
        })?;
        let mut device = 0;
        // SAFETY: the address is of an integer, the index below the count.
        let result = unsafe { (functions.device)(&mut device, index) };
        functions.check("opening it", result)?;
        let name = name(functions, device)?;
        let mut capability = [0; 2];
        for (value, attribute) in capability.iter_mut().zip(CAPABILITY) {
            // SAFETY: the address is of an integer, the device is one.
            let result = unsafe { (functions.device_attribute)(value, attribute, device) };
            functions.check("asking for its capability", result)?;
        }
        let [major, minor] = capability;
        if (major, minor) < LEAST_CAPABILITY {
            let (least_major, least_minor) = LEAST_CAPABILITY;
            return Err(failure(format!(
                "CUDA device {ordinal}, {name}, has compute capability {major}.{minor}, expected \
                 {least_major}.{least_minor} at least"
            )));
        }
        let mut context = null_mut();
        // SAFETY: the address is of a pointer, the device is one.
        let result = unsafe { (functions.retain_context)(&mut context, device) };
        functions.check("opening it", result)?;
        // From here on dropped with all that it has.
        let mut loaded = Loaded {
            functions,
            device,
            name,
            context,
            module: null_mut(),
            kernels: OnceLock::new(),
        };
        loaded.enter()?;
        // SAFETY: the address is of a pointer, the text ends with a zero.
        let result = unsafe { (functions.load_module)(&mut loaded.module, PTX.as_ptr().cast()) };
        functions.check("loading the kernels", result)?;
        let mut kernels = Vec::new();
        for name in super::launch::KERNELS {
            let mut kernel = null_mut();
            // SAFETY: the address is of a pointer, the name ends with a zero.
            let result = unsafe { (functions.function)(&mut kernel, loaded.module, name.as_ptr()) };
            functions.check(&format!("finding the kernel {name:?}"), result)?;
            kernels.push(kernel);
        }
        loaded.kernels.get_or_init(|| kernels);
        Ok(Self(Arc::new(loaded)))
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns a new stream.
    ///
    /// # Errors
    /// [`ErrorKind::Device`]
    pub fn stream(&self) -> Result<Stream> {
        self.0.enter()?;
        let mut handle = null_mut();
        // SAFETY: the address is of a pointer.
        let result = unsafe { (self.0.functions.create_stream)(&mut handle, NON_BLOCKING) };
        self.0.functions.check("making a stream", result)?;
        Ok(Stream { device: self.clone(), handle })
    }
}

fn name(functions: &Functions, device: c_int) -> Result<String> {
    let mut name = [0u8; 256];
    // SAFETY: the buffer has the length that is told, and a zero at its end.
    let result = unsafe { (functions.device_name)(name.as_mut_ptr().cast(), 255, device) };
    functions.check("asking for its name", result)?;
    let name = CStr::from_bytes_until_nul(&name).expect("the last byte is zero");
    Ok(name.to_string_lossy().into_owned())
}

impl Loaded {
    /// Makes the context that of this thread.
    fn enter(&self) -> Result<()> {
        // SAFETY: the context is retained.
        self.functions.check("entering it", unsafe { (self.functions.set_context)(self.context) })
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: nothing that belongs to the context is left: buffers and streams keep the device. What fails at
        // the end has no consequences.
        unsafe {
            if self.enter().is_ok() && !self.module.is_null() {
                (self.functions.unload_module)(self.module);
            }
            (self.functions.release_context)(self.device);
        }
    }
}

/// A number that a device takes as it is.
///
/// # Safety
/// All bit patterns are values, and there is no padding.
pub unsafe trait Element: Copy + Default + 'static {}
// SAFETY: integers and floats.
unsafe impl Element for f32 {}
// SAFETY: as above.
unsafe impl Element for i32 {}
// SAFETY: as above.
unsafe impl Element for u32 {}
// SAFETY: as above.
unsafe impl Element for u64 {}
// SAFETY: as above.
unsafe impl Element for u16 {}
// SAFETY: as above.
unsafe impl Element for i8 {}

/// Memory of a device: `len` numbers.
pub struct Buffer<T> {
    device: Device,
    pub(super) address: Address,
    len: usize,
    element: PhantomData<T>,
}

impl<T> Buffer<T> {
    /// Returns how many numbers it holds.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        let loaded = &self.device.0;
        if loaded.enter().is_ok() {
            // SAFETY: the address was allocated here; the driver frees it when no launch uses it any more.
            unsafe { (loaded.functions.free)(self.address) };
        }
    }
}

/// An order of copies and launches: each begins when the one before is done.
pub struct Stream {
    device: Device,
    handle: Handle,
}

// SAFETY: as for the device.
unsafe impl Send for Stream {}
// SAFETY: as for the device.
unsafe impl Sync for Stream {}

impl Stream {
    /// Returns `len` zeros.
    ///
    /// # Errors
    /// [`ErrorKind::Device`]: also where its memory is used up.
    pub fn zeros<T: Element>(&self, len: usize) -> Result<Buffer<T>> {
        let functions = self.enter()?;
        let bytes = len.max(1).checked_mul(size_of::<T>());
        let bytes =
            bytes.ok_or_else(|| failure("no CUDA device has memory for so many numbers"))?;
        let mut address = 0;
        // SAFETY: the address is of an integer.
        let result = unsafe { (functions.allocate)(&mut address, bytes) };
        functions.check(&format!("allocating {bytes} bytes"), result)?;
        let buffer = Buffer { device: self.device.clone(), address, len, element: PhantomData };
        // SAFETY: the buffer has so many bytes.
        let result = unsafe { (functions.set)(address, 0, bytes, self.handle) };
        functions.check("clearing memory", result)?;
        Ok(buffer)
    }

    /// Returns a buffer of `data`.
    ///
    /// # Errors
    /// Those of [`zeros`](Self::zeros).
    pub fn upload<T: Element>(&self, data: &[T]) -> Result<Buffer<T>> {
        let mut buffer = self.zeros(data.len())?;
        self.write(&mut buffer, data)?;
        Ok(buffer)
    }

    /// Writes `data` to the beginning of `to`.
    ///
    /// # Errors
    /// [`ErrorKind::Device`]
    ///
    /// # Panics
    /// Where `to` is shorter.
    pub fn write<T: Element>(&self, to: &mut Buffer<T>, data: &[T]) -> Result<()> {
        assert!(data.len() <= to.len, "{} numbers for a buffer of {}", data.len(), to.len);
        let functions = self.enter()?;
        let from = data.as_ptr().cast();
        // SAFETY: both have so many bytes; memory that is not locked was copied when the call returns.
        let result =
            unsafe { (functions.copy_in)(to.address, from, size_of_val(data), self.handle) };
        functions.check("copying to it", result)
    }

    /// Waits for all before, and reads the beginning of `from`.
    ///
    /// # Errors
    /// [`ErrorKind::Device`]: also that of any launch before.
    ///
    /// # Panics
    /// Where `from` is shorter.
    pub fn read<T: Element>(&self, from: &Buffer<T>, data: &mut [T]) -> Result<()> {
        assert!(data.len() <= from.len, "{} numbers of a buffer of {}", data.len(), from.len);
        let functions = self.enter()?;
        let to = data.as_mut_ptr().cast();
        // SAFETY: both have so many bytes, of which any are a number; the next call waits until they are written.
        let result =
            unsafe { (functions.copy_out)(to, from.address, size_of_val(data), self.handle) };
        let copied = functions.check("copying from it", result);
        self.wait().and(copied)
    }

    /// Copies `len` numbers of `buffer` from place `from` on to place `to` on.
    ///
    /// # Errors
    /// [`ErrorKind::Device`]
    ///
    /// # Panics
    /// Where the buffer is shorter, or the places overlap.
    pub fn copy_within<T: Element>(
        &self,
        buffer: &mut Buffer<T>,
        [from, to]: [usize; 2],
        len: usize,
    ) -> Result<()> {
        assert!(
            from.max(to) + len <= buffer.len && from.abs_diff(to) >= len,
            "copies within a buffer"
        );
        let functions = self.enter()?;
        let at = |place: usize| buffer.address + (place * size_of::<T>()) as u64;
        // SAFETY: the buffer has both places.
        let result =
            unsafe { (functions.copy_within)(at(to), at(from), len * size_of::<T>(), self.handle) };
        functions.check("copying in it", result)
    }

    /// Waits for all before.
    ///
    /// # Errors
    /// [`ErrorKind::Device`]: also that of any launch before.
    pub fn wait(&self) -> Result<()> {
        let functions = self.enter()?;
        // SAFETY: the stream is one.
        functions.check("computing", unsafe { (functions.synchronize)(self.handle) })
    }

    /// Launches kernel number `kernel` of [`KERNELS`](super::launch::KERNELS) on so many blocks, across and down.
    ///
    /// # Safety
    /// The arguments are those of the kernel, in its order; buffers among them outlive what the stream has to do,
    /// and have the lengths that the others say.
    pub(super) unsafe fn launch(
        &self,
        kernel: usize,
        [across, down]: [u32; 2],
        threads: u32,
        arguments: &mut [*mut c_void],
    ) -> Result<()> {
        let functions = self.enter()?;
        let Loaded { kernels, .. } = &*self.device.0;
        let kernel = kernels.get().expect("an open device has them")[kernel];
        // SAFETY: as the caller says.
        let result = unsafe {
            (functions.launch)(
                kernel,
                across,
                down,
                1,
                threads,
                1,
                1,
                0,
                self.handle,
                arguments.as_mut_ptr(),
                null_mut(),
            )
        };
        functions.check("launching a kernel", result)
    }

    fn enter(&self) -> Result<&'static Functions> {
        self.device.0.enter().map(|()| self.device.0.functions)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Ok(functions) = self.enter() {
            // SAFETY: the stream is one, and done.
            unsafe {
                (functions.synchronize)(self.handle);
                (functions.destroy_stream)(self.handle);
            }
        }
    }
}
