//! The opcodes of Python's pickle that PyTorch writes a state dict with, and their values.
//!
//! `Lib/pickletools.py` of CPython describes them. Nothing is called: a call becomes a [`Value`].
//! Values stand in one list and name each other by their places in it, so that a small pickle can
//! make neither many values nor deep ones.

use crate::error::Result;
use crate::models::invalid;
use std::collections::HashMap;

/// The place of a value.
pub type Id = usize;

/// The result of an opcode.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Integer(i64),
    Text(String),
    /// A module's name and one in it, with a space between.
    Global(String),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A call: the callable and its arguments.
    Call(Id, Id),
    /// A persistent id: a storage outside the pickle.
    Persistent(Id),
    /// None, truth values, floats and lists, which describe no tensors.
    Other,
}

/// Runs a pickle; returns its values and the place of the last.
///
/// # Errors
/// `InvalidModel` where it is damaged or has an opcode that no state dict needs.
pub fn run(pickle: &[u8]) -> Result<(Vec<Value>, Id)> {
    let mut machine = Machine { rest: pickle, ..Machine::default() };
    loop {
        let at = pickle.len() - machine.rest.len();
        match machine.step() {
            Some(None) => (),
            Some(Some(last)) => return Ok((machine.values, last)),
            None => return Err(invalid(format!("unsupported or malformed opcode at byte {at}"))),
        }
    }
}

#[derive(Default)]
struct Machine<'a> {
    rest: &'a [u8],
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Machine<'_> {
    /// Runs the next opcode; gives the last value at the end. `None`: it is malformed.
    fn step(&mut self) -> Option<Option<Id>> {
        match self.byte()? {
            0x80 => drop(self.byte()?), // protocol
            b'.' => return Some(Some(self.stack.pop()?)),
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(format!("{module} {name}")));
            }
            b'K' => self.integer::<1>()?,
            b'M' => self.integer::<2>()?,
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Value::Integer(number.into()));
            }
            0x8a => {
                let len = usize::from(self.byte()?);
                let bytes = self.take(len).filter(|bytes| bytes.len() <= 8)?;
                let sign = if bytes.last().is_some_and(|&byte| byte >= 0x80) { -1 } else { 0 };
                let join = |number, &byte: &u8| number << 8 | i64::from(byte);
                let number = bytes.iter().rev().fold(sign, join);
                self.push(Value::Integer(number));
            }
            b'X' => {
                let len = u32::from_le_bytes(self.array()?);
                let text = self.take(usize::try_from(len).ok()?)?;
                let text = str::from_utf8(text).ok()?.to_owned();
                self.push(Value::Text(text));
            }
            b'G' => {
                self.array::<8>()?;
                self.push(Value::Other);
            }
            b'N' | 0x88 | 0x89 | b']' => self.push(Value::Other),
            b'}' => self.push(Value::Dict(Vec::new())),
            b'(' => self.marks.push(self.stack.len()),
            b')' => self.push(Value::Tuple(Vec::new())),
            b't' => {
                let items = self.since_mark()?;
                self.push(Value::Tuple(items));
            }
            n @ 0x85..=0x87 => {
                let start = self.stack.len().checked_sub(usize::from(n - 0x84))?;
                let items = self.stack.split_off(start);
                self.push(Value::Tuple(items));
            }
            b'Q' => {
                let id = self.stack.pop()?;
                self.push(Value::Persistent(id));
            }
            b'R' | 0x81 => {
                let (with, called) = (self.stack.pop()?, self.stack.pop()?);
                let makes_dict = matches!(&self.values[called], Value::Global(name)
                    if name == "collections OrderedDict" || name == "collections defaultdict");
                let dict = Value::Dict(Vec::new());
                self.push(if makes_dict { dict } else { Value::Call(called, with) });
            }
            b'b' | b'a' => drop(self.stack.pop()?), // state of an object, item of a list
            b'e' => drop(self.since_mark()?),
            b's' => {
                let (value, key) = (self.stack.pop()?, self.stack.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(&items)?;
            }
            b'q' => {
                let place = self.byte()?.into();
                self.memo.insert(place, *self.stack.last()?);
            }
            b'r' => {
                let place = u32::from_le_bytes(self.array()?);
                self.memo.insert(place, *self.stack.last()?);
            }
            b'h' => {
                let place = self.byte()?.into();
                self.stack.push(*self.memo.get(&place)?);
            }
            b'j' => {
                let place = u32::from_le_bytes(self.array()?);
                self.stack.push(*self.memo.get(&place)?);
            }
            _ => return None,
        }
        Some(None)
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    /// Adds keys and values, in turn, to the dict on the stack.
    fn set(&mut self, items: &[Id]) -> Option<()> {
        let Value::Dict(entries) = &mut self.values[*self.stack.last()?] else { return None };
        let (pairs, rest) = items.as_chunks();
        entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
        rest.is_empty().then_some(())
    }

    /// Takes what was pushed since the last mark.
    fn since_mark(&mut self) -> Option<Vec<Id>> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len())?;
        Some(self.stack.split_off(mark))
    }

    /// An unsigned integer of `N` bytes.
    fn integer<const N: usize>(&mut self) -> Option<()> {
        let bytes = self.array::<N>()?;
        let number = bytes.iter().rev().fold(0, |number, &byte| number << 8 | i64::from(byte));
        self.push(Value::Integer(number));
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    /// Text up to the next line break.
    fn line(&mut self) -> Option<String> {
        let len = self.rest.iter().position(|&byte| byte == b'\n')?;
        let line = str::from_utf8(self.take(len)?).ok()?.to_owned();
        self.byte()?;
        Some(line)
    }
}
