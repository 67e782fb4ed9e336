//! Files as PyTorch writes them: a ZIP archive, not compressed, of a pickled state dict and its
//! storage.

use super::tensors::{Shapes, safetensors};

/// A state dict in the operations that PyTorch uses, and the one storage of all its tensors.
pub fn pickle(shapes: &Shapes) -> (Vec<u8>, Vec<u8>) {
    let (_, storage) = safetensors(shapes);
    let mut out = b"\x80\x02}(".to_vec();
    let mut offset = 0;
    for (name, shape) in shapes {
        text(&mut out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, "0");
        text(&mut out, "cpu");
        integer(&mut out, storage.len() / 4);
        out.extend(b"tQ");
        integer(&mut out, offset);
        tuple(&mut out, shape);
        let stride = |axis| shape[axis + 1..].iter().product();
        tuple(&mut out, &(0..shape.len()).map(stride).collect::<Vec<usize>>());
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        offset += shape.iter().product::<usize>();
    }
    out.extend(b"u.");
    (out, storage)
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.bytes());
}

fn integer(out: &mut Vec<u8>, number: usize) {
    out.push(b'J');
    out.extend((number as i32).to_le_bytes());
}

fn tuple(out: &mut Vec<u8>, numbers: &[usize]) {
    out.push(b'(');
    numbers.iter().for_each(|&number| integer(out, number));
    out.push(b't');
}

/// The file of a pickle and a storage, whatever is in them.
pub fn file(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    let entries = [("archive/data.pkl", pickle), ("archive/data/0", storage)];
    for (name, content) in entries {
        let at = out.len() as u32;
        let len = (content.len() as u32).to_le_bytes();
        // Versions, flags, method (0: stored), time and date; then checksum and lengths.
        let mut fields = vec![10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        fields.extend(crc32fast::hash(content).to_le_bytes());
        fields.extend([len, len].concat());
        fields.extend((name.len() as u32).to_le_bytes()); // and no extra field
        out.extend([b"PK\x03\x04", &fields[..], name.as_bytes(), content].concat());
        directory.extend([b"PK\x01\x02\x0A\0", &fields[..], &[0; 10]].concat());
        directory.extend([&at.to_le_bytes()[..], name.as_bytes()].concat());
    }
    let n = (entries.len() as u16).to_le_bytes();
    let at = out.len() as u32;
    out.extend(&directory);
    out.extend([b"PK\x05\x06\0\0\0\0", &n[..], &n].concat());
    out.extend([&(directory.len() as u32).to_le_bytes()[..], &at.to_le_bytes(), &[0, 0]].concat());
    out
}
