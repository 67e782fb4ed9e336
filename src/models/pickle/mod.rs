//! Tensors of a state dict as `torch.save` writes it: a ZIP archive of a pickle, which says what
//! tensors there are, and their storages.
//!
//! The pickle is read, never executed, and no length in it is believed before the bytes are there.

mod machine;
mod zip;

use super::invalid;
use crate::error::Result;
use machine::{Id, Value};
use safetensors::Dtype;
use std::collections::HashMap;
use std::ops::Range;
use zip::Member;

/// A longer pickle is refused: it says no more than names and shapes.
const MAX_PICKLE: u64 = 1 << 22;

/// Names with more bytes, and tensors with more axes, are passed over.
const MAX_NAME: usize = 1 << 10;
const MAX_AXES: usize = 8;

/// A tensor in the file.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// `None`: neither f32, f16 nor bf16.
    pub dtype: Option<Dtype>,
    pub shape: Vec<usize>,
    /// Steps between elements along each axis, in elements.
    strides: Vec<usize>,
    /// The first element, counted in the storage.
    offset: usize,
    /// Bytes of the file.
    storage: Range<u64>,
}

/// The tensors of a file of `len` bytes. `read` gives so many bytes from a place on.
///
/// # Errors
/// `InvalidModel` where it is no state dict; those of `read`.
pub fn tensors(
    len: u64,
    mut read: impl FnMut(u64, u64) -> Result<Vec<u8>>,
) -> Result<HashMap<String, Tensor>> {
    let members = zip::members(len, &mut read)?;
    let is_pickle = |member: &&Member| member.name.ends_with("/data.pkl");
    let pickle = members.iter().find(is_pickle).ok_or_else(|| invalid("it has no data.pkl"))?;
    if pickle.len > MAX_PICKLE {
        let len = pickle.len;
        return Err(invalid(format!("a pickle of {len} bytes, expected at most {MAX_PICKLE}")));
    }
    let folder = pickle.name.trim_end_matches("data.pkl");
    let by_name = members.iter().map(|member| (member.name.as_str(), member)).collect();
    let order = format!("{folder}byteorder");
    if let Some(member) = members.iter().find(|member| member.name == order)
        && read(member.start, member.len.min(16))? != b"little"
    {
        return Err(invalid("its numbers are not little-endian"));
    }
    let bytes = read(pickle.start, pickle.len)?;
    let (values, last) = machine::run(&bytes).map_err(|e| e.at("data.pkl"))?;
    let state = StateDict { values: &values, folder, members: by_name };
    state.tensors(last).ok_or_else(|| invalid("data.pkl: not a state dict"))
}

impl Tensor {
    /// The bytes of the file from its first element, of `size` bytes, to the end of the last;
    /// `None` where they are not in its storage or elements share their places.
    pub fn span(&self, size: usize) -> Option<Range<u64>> {
        let n = self.shape.iter().try_fold(1usize, |n, &len| n.checked_mul(len))?;
        let steps = self.shape.iter().zip(&self.strides);
        let last = steps.clone().try_fold(0usize, |last, (&len, &stride)| {
            last.checked_add(len.checked_sub(1)?.checked_mul(stride)?)
        })?;
        let elements = last.checked_add(1).filter(|&elements| elements >= n)?;
        let start = self.offset.checked_mul(size)? as u64;
        let span = elements.checked_mul(size)? as u64;
        let Range { start: first, end } = self.storage;
        start.checked_add(span).filter(|&len| len <= end - first)?;
        Some(first + start..first + start + span)
    }

    /// Its elements, of `size` bytes each, in order of its axes, out of the bytes of
    /// [`Tensor::span`].
    pub fn elements(&self, bytes: Vec<u8>, size: usize) -> Vec<u8> {
        if self.is_contiguous() {
            return bytes;
        }
        let n = self.shape.iter().product();
        let place = |number| self.place(number) * size;
        (0..n).flat_map(|number| &bytes[place(number)..][..size]).copied().collect()
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&len, &stride)| {
            let fits = len == 1 || stride == expected;
            expected *= len;
            fits
        })
    }

    /// Where the element of `number` is, counted from the first.
    fn place(&self, mut number: usize) -> usize {
        let mut place = 0;
        for (&len, &stride) in self.shape.iter().zip(&self.strides).rev() {
            place += number % len * stride;
            number /= len;
        }
        place
    }
}

/// The values of a pickle, to be looked through.
struct StateDict<'a> {
    values: &'a [Value],
    /// Of the archive, with a slash.
    folder: &'a str,
    members: HashMap<&'a str, &'a Member>,
}

impl StateDict<'_> {
    /// The tensors of the dict at `id`; what is no tensor is left out.
    fn tensors(&self, id: Id) -> Option<HashMap<String, Tensor>> {
        let Value::Dict(entries) = &self.values[id] else { return None };
        let entry = |&(name, value): &(Id, Id)| {
            Some((self.text(name)?.to_owned(), self.tensor(self.unwrapped(value)?)?))
        };
        Some(entries.iter().filter_map(entry).collect())
    }

    /// The function that was called for `id`, and its arguments.
    fn call(&self, id: Id) -> Option<(&str, &[Id])> {
        let Value::Call(called, with) = self.values[id] else { return None };
        Some((self.global(called)?, self.tuple(with)?))
    }

    /// The arguments of the call that makes the tensor `id`, out of what may be around it.
    fn unwrapped(&self, id: Id) -> Option<&[Id]> {
        match self.call(id)? {
            ("torch._utils _rebuild_tensor_v2", arguments) => Some(arguments),
            ("torch._utils _rebuild_parameter", &[tensor, ..]) => match self.call(tensor)? {
                ("torch._utils _rebuild_tensor_v2", arguments) => Some(arguments),
                _ => None,
            },
            ("torch._tensor _rebuild_from_type_v2", &[called, _, arguments, ..])
                if self.global(called)? == "torch._utils _rebuild_tensor_v2" =>
            {
                self.tuple(arguments)
            }
            _ => None,
        }
    }

    /// A tensor of storage, offset, shape, strides and more.
    fn tensor(&self, arguments: &[Id]) -> Option<Tensor> {
        let &[storage, offset, shape, strides, ..] = arguments else { return None };
        let Value::Persistent(storage) = self.values[storage] else { return None };
        let &[_, kind, key, ..] = self.tuple(storage)? else { return None };
        let storage = format!("{}data/{}", self.folder, self.text(key)?);
        let storage = self.members.get(storage.as_str())?;
        let (shape, strides) = (self.numbers(shape)?, self.numbers(strides)?);
        let dtype = match self.global(kind)? {
            "torch FloatStorage" => Some(Dtype::F32),
            "torch HalfStorage" => Some(Dtype::F16),
            "torch BFloat16Storage" => Some(Dtype::BF16),
            _ => None,
        };
        let storage = storage.start..storage.start + storage.len;
        let offset = self.number(offset)?;
        (shape.len() == strides.len()).then_some(Tensor { dtype, shape, strides, offset, storage })
    }

    fn text(&self, id: Id) -> Option<&str> {
        match &self.values[id] {
            Value::Text(text) if text.len() <= MAX_NAME => Some(text),
            _ => None,
        }
    }

    fn global(&self, id: Id) -> Option<&str> {
        if let Value::Global(name) = &self.values[id] { Some(name) } else { None }
    }

    fn tuple(&self, id: Id) -> Option<&[Id]> {
        if let Value::Tuple(items) = &self.values[id] { Some(items) } else { None }
    }

    fn numbers(&self, id: Id) -> Option<Vec<usize>> {
        let items = self.tuple(id).filter(|items| items.len() <= MAX_AXES)?;
        items.iter().map(|&id| self.number(id)).collect()
    }

    fn number(&self, id: Id) -> Option<usize> {
        if let Value::Integer(number) = self.values[id] { number.try_into().ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::Tensor;

    fn tensor(shape: &[usize], strides: &[usize], offset: usize, storage_len: u64) -> Tensor {
        let (shape, strides) = (shape.to_vec(), strides.to_vec());
        Tensor { dtype: None, shape, strides, offset, storage: 100..100 + storage_len }
    }

    #[test]
    fn transposed_tensors_are_read_by_their_axes() {
        let tensor = tensor(&[2, 3], &[1, 2], 1, 28);
        assert_eq!(tensor.span(4), Some(104..128));
        assert!(!tensor.is_contiguous());
        assert_eq!(
            (0..6).map(|number| tensor.place(number)).collect::<Vec<_>>(),
            [0, 2, 4, 1, 3, 5]
        );
    }

    #[test]
    fn elements_are_within_the_storage_and_apart() {
        assert_eq!(tensor(&[2, 3], &[3, 1], 0, 24).span(4), Some(100..124));
        assert!(tensor(&[2, 1, 3], &[3, 9, 1], 0, 24).is_contiguous());
        for (shape, strides, offset) in [
            (&[2, 3][..], &[3, 1][..], 1),
            (&[2, 3], &[0, 1], 0),
            (&[0], &[1], 0),
            (&[1 << 40, 1 << 40], &[1 << 40, 1], 0),
            (&[2], &[usize::MAX], 0),
            (&[1], &[1], usize::MAX),
        ] {
            assert_eq!(tensor(shape, strides, offset, 24).span(4), None, "{shape:?}");
        }
    }
}
