//! Every kernel on every instruction set of this machine against `ops::reference`, bit for bit.

use crate::random::Random;
use half::{bf16, f16};
use llmzip::ops::{
    self, ActivationBits, AttentionShape, Bf16, GroupMatrix, GroupRows, GroupShape, Isa, KvCache,
    LayerNormGradients, PackedMatrix, Pinned, QuantMatrix, QuantRows, QueryRow, ScalePrecision,
    Weight,
    arch::{Kernel, LANES, Simd},
    reference,
};

/// Lengths around vector, tile and panel edges.
const LENGTHS: [usize; 14] = [1, 2, 7, 15, 16, 17, 31, 32, 33, 64, 100, 255, 256, 509];

#[track_caller]
fn assert_same_bits(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}: lengths");
    let differ = got.iter().zip(expected).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    if let Some(i) = got.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits()) {
        panic!(
            "{what}: {differ} of {} differ, first [{i}]: {:e}, expected {:e}",
            got.len(),
            got[i],
            expected[i]
        );
    }
}

fn for_each_path(check: impl Fn(Isa, &mut Random)) {
    for isa in Isa::available() {
        check(isa, &mut Random::new(1));
    }
}

/// Whether Miri leaves out a case of so many products: it takes ten thousand times a processor's time.
fn is_for_no_interpreter(n_products: usize) -> bool {
    cfg!(miri) && n_products > 5_000
}

/// Fused multiply-adds of lanes.
struct Fma<'a>([&'a [f32; LANES]; 3]);

impl Kernel for Fma<'_> {
    type Output = [f32; LANES];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; LANES] {
        let [a, b, c] = self.0.map(|x| s.load(x));
        let mut out = [0.0; LANES];
        s.store(s.fma(a, b, c), &mut out);
        out
    }
}

/// Factors and a summand whose sum lies just beside the middle between two neighbouring floats, or on it: where two
/// roundings differ from one.
fn near_the_middle(random: &mut Random) -> [f32; 3] {
    let bits = random.bits();
    let unit = f32::from_bits(0x3f80_0000 | bits as u32 & 0x7f_ffff); // 1 to 2
    let exponent = |n: u64| 2f32.powi(-((n % 149) as i32));
    let (c, scale) = match bits >> 60 {
        0 => (0.0, 1.0),
        1 => (unit * 2f32.powi(-126), 2f32.powi(-126)), // the smallest of all precision
        2 => (unit * exponent(bits >> 32), 2f32.powi(-126)), // subnormal, or far above the product
        _ => (unit, 1.0),
    };
    // Half of c's last place, with an error of a few units in the product's last places.
    let error = ((bits >> 40) % 5) as f32 * 2f32.powi(-23);
    let half = scale * 2f32.powi(-24);
    let a = if bits >> 39 & 1 == 0 { 1.0 - error / 2.0 } else { 1.0 + error };
    let b = if bits >> 38 & 1 == 0 { 1.0 + error } else { 1.0 - error };
    let sign = |bit: u32| if bits >> bit & 1 == 0 { 1.0 } else { -1.0 };
    // A product of which one half is subnormal would not be exact: the other takes the scale.
    [sign(37) * a * half.sqrt(), sign(36) * b * half.sqrt(), sign(35) * c]
}

/// The C library's, or an instruction, is the oracle.
#[test]
fn fused_multiply_adds_round_once() {
    for_each_path(|isa, random| {
        let n = if cfg!(miri) { 4 } else { 20_000 };
        for round in 0..n {
            let cases: [[f32; 3]; LANES] = std::array::from_fn(|l| match (round + l) % 4 {
                0 => [(); 3].map(|()| f32::from_bits(random.bits() as u32)),
                _ => near_the_middle(random),
            });
            let lanes: [_; 3] = std::array::from_fn(|i| cases.map(|case| case[i]));
            let all = isa.run(Fma(lanes.each_ref()));
            for ([a, b, c], got) in cases.into_iter().zip(all) {
                let expected = a.mul_add(b, c);
                let is_same = got.to_bits() == expected.to_bits();
                let is_same = is_same || got.is_nan() && expected.is_nan();
                assert!(is_same, "{isa:?}: {a:e} * {b:e} + {c:e}: {got:e}, not {expected:e}");
            }
        }
    });
}

#[test]
fn matmul_equals_the_reference() {
    let shapes = [(1, 1), (7, 5), (16, 16), (33, 47), (64, 100), (256, 64), (100, 257), (509, 130)];
    for_each_path(|isa, random| {
        for (k, n) in shapes {
            if is_for_no_interpreter(3 * k * n) {
                continue;
            }
            let w = random.values(k * n);
            let bias = random.values(n);
            let with_bias = PackedMatrix::pack(k, n, |i| &w[i * k..][..k], &bias);
            let column = |k: usize| (0..n).map(move |i| (i, k));
            let columns: Vec<f32> =
                (0..k).flat_map(column).map(|(i, column)| w[i * k + column]).collect();
            let without = PackedMatrix::pack_columns(k, n, |i| &columns[i * n..][..n]);
            for rows in [1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 24, 25, 64] {
                if is_for_no_interpreter(rows * k * n) {
                    continue;
                }
                let x = random.values(rows * k);
                for (packed, bias) in [(&with_bias, &bias), (&without, &vec![0.0; n])] {
                    let mut y = vec![f32::NAN; rows * n];
                    ops::matmul(isa, &x, packed, &mut y);
                    let expected: Vec<f32> = x
                        .chunks_exact(k)
                        .flat_map(|x| reference::matmul_row(x, &w, bias))
                        .collect();
                    assert_same_bits(&y, &expected, &format!("{isa:?} {rows} x {k} x {n}"));
                }
            }
        }
    });
}

/// Weights that are kept as halves, of every kind: subnormal, zeros of both signs, the greatest.
#[test]
fn matmul_of_halves_equals_that_of_the_same_floats() {
    for_each_path(|isa, random| {
        let f16s: Vec<f32> = (0..=u16::MAX).map(|bits| f16::from_bits(bits).to_f32()).collect();
        let bf16s: Vec<f32> = (0..=u16::MAX).map(|bits| bf16::from_bits(bits).to_f32()).collect();
        check_halves::<f16>(isa, random, &f16s);
        // Sums of these stay finite.
        let small: Vec<f32> = bf16s.into_iter().filter(|w| w.abs() < 1e30).collect();
        check_halves::<bf16>(isa, random, &small);
    });
}

/// Products with matrices of all finite numbers among `values`.
fn check_halves<W: Weight>(isa: Isa, random: &mut Random, values: &[f32]) {
    let finite: Vec<f32> = values.iter().copied().filter(|w| w.is_finite()).collect();
    for (k, n) in [(1, 1), (33, 47), (64, finite.len() / 64)] {
        if is_for_no_interpreter(3 * k * n) {
            continue;
        }
        let w = &finite[finite.len() - k * n..];
        let bias = random.values(n);
        let row = |i: usize| &w[i * k..][..k];
        let halves =
            PackedMatrix::<W>::pack_with(k, n, |i, out| out.copy_from_slice(row(i)), &bias);
        let floats = PackedMatrix::pack(k, n, row, &bias);
        let mut unpacked = vec![0.0; k];
        for i in 0..n {
            halves.unpack_row(i, &mut unpacked);
            assert_same_bits(&unpacked, row(i), "unpacked");
        }
        for rows in [1, 3, 12, 13] {
            let x = random.values(rows * k);
            let [mut y, mut expected] = [vec![f32::NAN; rows * n], vec![f32::NAN; rows * n]];
            ops::matmul(isa, &x, &halves, &mut y);
            ops::matmul(isa, &x, &floats, &mut expected);
            assert_same_bits(&y, &expected, &format!("{isa:?} {rows} x {k} x {n}"));
        }
    }
}

/// Every path, with and without instructions for dot products of bytes.
fn for_each_int8_path(check: impl Fn(Isa, &str, &mut Random)) {
    for isa in Isa::available() {
        check(isa, &format!("{isa:?}"), &mut Random::new(1));
        check(
            isa.without_byte_products(),
            &format!("{isa:?} without byte products"),
            &mut Random::new(1),
        );
    }
}

/// Integers in all of a byte's range, its ends among them.
fn bytes(random: &mut Random, n: usize) -> Vec<i8> {
    (0..n).map(|_| random.bits() as i8).collect()
}

/// Compares a product of both kinds of activations with its definition.
fn check_int8(isa: Isa, path: &str, x: &[f32], k: usize, w: &[i8], scales: &[f32], bias: &[f32]) {
    let n = scales.len();
    let fill = |i: usize, out: &mut [i8]| {
        out.copy_from_slice(&w[i * k..][..k]);
        scales[i]
    };
    let packed = QuantMatrix::pack_with(k, n, fill, bias);
    let bias = if bias.is_empty() { &vec![0.0; n] } else { bias };
    type Definition = fn(&[f32], &[i8], &[f32], &[f32]) -> Vec<f32>;
    let kinds: [(ActivationBits, Definition); 2] = [
        (ActivationBits::Eight, reference::matmul_w8a8_row),
        (ActivationBits::Sixteen, reference::matmul_w8a16_row),
    ];
    for (bits, definition) in kinds {
        let mut rows = QuantRows::default();
        rows.quantize(isa, bits, x, k);
        let mut y = vec![f32::NAN; x.len() / k * n];
        ops::matmul_int8(isa, &rows, &packed, &mut y);
        let expected = x.chunks_exact(k).flat_map(|x| definition(x, w, scales, bias));
        let expected: Vec<f32> = expected.collect();
        assert_same_bits(&y, &expected, &format!("{path} {bits:?} {} x {k} x {n}", x.len() / k));
    }
}

#[test]
fn int8_matmul_equals_the_reference() {
    let shapes = [(1, 1), (2, 3), (3, 17), (7, 5), (16, 16), (33, 47), (64, 100), (101, 257)];
    for_each_int8_path(|isa, path, random| {
        for (k, n) in shapes {
            if is_for_no_interpreter(3 * k * n) {
                continue;
            }
            let (w, scales, bias) = (bytes(random, k * n), random.values(n), random.values(n));
            // Weights up to 128 and 64: smaller ones may take another way.
            let smaller = [0, 1].map(|shift| w.iter().map(|w| w >> shift).collect::<Vec<_>>());
            for (i, rows) in [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 25, 64].into_iter().enumerate() {
                if is_for_no_interpreter(rows * k * n) {
                    continue;
                }
                let x = random.values(rows * k);
                check_int8(isa, path, &x, k, &smaller[(i + n) % 2], &scales, &bias);
            }
            check_int8(isa, path, &random.values(3 * k), k, &w, &scales, &[]);
        }
    });
}

/// The greatest sums there can be, where products that saturate or sums of 16 bits would show.
#[test]
#[cfg_attr(miri, ignore = "long rows take it too long")]
fn int8_matmul_is_exact_at_the_extremes() {
    let k = ops::MAX_INPUTS;
    let x: Vec<f32> = (0..3 * k)
        .map(|i| match i / k {
            0 => 1.0,
            1 => -1.0,
            _ if i % 2 == 0 => 1.0,
            _ => -1.0,
        })
        .collect();
    for_each_int8_path(|isa, path, _| {
        for (least, greatest) in [(-128, 127), (-65, 65), (-64, 64)] {
            let rows: [&dyn Fn(usize) -> i8; 4] =
                [&|_| least, &|_| greatest, &|i| if i % 2 == 0 { least } else { greatest }, &|_| 0];
            let w: Vec<i8> = rows.iter().flat_map(|row| (0..k).map(row)).collect();
            check_int8(isa, path, &x, k, &w, &[1.0, 0.5, 1e-3, 1.0], &[0.0, 1.0, -1.0, 0.25]);
        }
    });
}

/// Rows that scale to nothing, to subnormals and to infinity, ties, and both zeros.
#[test]
fn int8_rows_at_the_edges_equal_the_reference() {
    let tie = |limit: f32| [limit, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5];
    let row = |x: f32| [x, -x, 0.0, -0.0, x / 2.0, x / 127.0, x / 254.0, x / 3.0];
    let magnitudes = [0.0, 1e-45, 1e-38, 7.8e-31, 7.9e-31, 1e-30, 1.0, 1e30, f32::MAX];
    let mut x: Vec<f32> = [127.0, 32_767.0].into_iter().flat_map(tie).collect();
    x.extend(magnitudes.into_iter().flat_map(row));
    for_each_int8_path(|isa, path, random| {
        let w = bytes(random, 8 * 33);
        for scale in [1.0, 0.0, 1e-40, 1e-10, 1e10] {
            check_int8(isa, path, &x, 8, &w, &[scale; 33], &random.values(33));
        }
    });
}

/// A row that is not finite gives no finite output: it cannot pass unnoticed.
#[test]
fn int8_rows_that_are_not_finite_show() {
    for_each_int8_path(|isa, path, random| {
        let w = bytes(random, 16 * 20);
        let fill = |i: usize, out: &mut [i8]| {
            out.copy_from_slice(&w[i * 16..][..16]);
            1.0
        };
        let w = QuantMatrix::pack_with(16, 20, fill, &[]);
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for bits in [ActivationBits::Eight, ActivationBits::Sixteen] {
                let mut x = random.values(32);
                x[random.bits() as usize % 16] = bad;
                let (mut rows, mut y) = (QuantRows::default(), vec![0.0; 40]);
                rows.quantize(isa, bits, &x, 16);
                ops::matmul_int8(isa, &rows, &w, &mut y);
                assert!(y[..20].iter().all(|y| !y.is_finite()), "{path} {bits:?} {bad}: {y:?}");
                assert!(y[20..].iter().all(|y| y.is_finite()), "{path} {bits:?} {bad}: {y:?}");
            }
        }
    });
}

#[test]
fn weights_are_quantized_as_the_reference_does() {
    let mut random = Random::new(1);
    for k in LENGTHS {
        for scale in [0.0, 1e-42, 1e-31, 1.0, 1e38] {
            let row: Vec<f32> = random.values(k).iter().map(|x| x * scale).collect();
            let mut integers = vec![0; k];
            let scale = ops::quantize_weights(&row, &mut integers);
            let (expected, expected_scale) = reference::quantize(&row, 127.0);
            assert_eq!(scale.to_bits(), expected_scale.to_bits(), "{k}");
            assert!(integers.iter().map(|&q| i32::from(q)).eq(expected), "{k}");
        }
    }
}

/// A layer of four-bit weights, drawn.
struct Int4Case {
    shape: GroupShape,
    integers: Vec<u8>,
    scales: Vec<f32>,
    offsets: Vec<f32>,
    bias: Vec<f32>,
    order: Vec<u32>,
}

impl Int4Case {
    fn new(random: &mut Random, shape: GroupShape, is_plain: bool) -> Self {
        let GroupShape { inputs, outputs, .. } = shape;
        let n = outputs * shape.groups();
        let mut order: Vec<u32> = (0..inputs as u32).collect();
        for k in 1..inputs {
            order.swap(k, random.bits() as usize % (k + 1));
        }
        Self {
            shape,
            integers: (0..inputs * outputs).map(|_| random.bits() as u8 & 15).collect(),
            scales: random.values(n),
            offsets: if is_plain { Vec::new() } else { random.values(n) },
            bias: if is_plain { Vec::new() } else { random.values(outputs) },
            order: if is_plain { Vec::new() } else { order },
        }
    }

    fn packed(&self) -> GroupMatrix {
        let (k, groups) = (self.shape.inputs, self.shape.groups());
        let has_offsets = !self.offsets.is_empty();
        let fill = |i: usize, row: ops::GroupRow<'_>| {
            row.integers.copy_from_slice(&self.integers[i * k..][..k]);
            row.scales.copy_from_slice(&self.scales[i * groups..][..groups]);
            if has_offsets {
                row.offsets.copy_from_slice(&self.offsets[i * groups..][..groups]);
            }
        };
        GroupMatrix::pack_with(self.shape, has_offsets, self.order.clone(), fill, &self.bias)
    }

    /// Compares products of both kinds of activations with their definition. x: `[rows][inputs]`
    fn check(&self, isa: Isa, path: &str, x: &[f32]) {
        let GroupShape { inputs, outputs, group } = self.shape;
        let packed = self.packed();
        let w = reference::Groups {
            integers: &self.integers,
            group,
            scales: &self.scales,
            offsets: &self.offsets,
        };
        let zeros = vec![0.0; outputs];
        let bias = if self.bias.is_empty() { &zeros } else { &self.bias };
        let ordered = |x: &[f32]| -> Vec<f32> {
            let at = |k: usize| self.order.get(k).map_or(k, |&at| at as usize);
            (0..inputs).map(|k| x[at(k)]).collect()
        };
        for (bits, limit) in [(ActivationBits::Eight, 127.0), (ActivationBits::Sixteen, 32_639.0)] {
            let mut rows = GroupRows::default();
            rows.quantize(isa, bits, x, (inputs, group), packed.order());
            let mut y = vec![f32::NAN; x.len() / inputs * outputs];
            ops::matmul_int4(isa, &rows, &packed, &mut y);
            let expected = x
                .chunks_exact(inputs)
                .flat_map(|x| reference::matmul_int4_row(&ordered(x), limit, &w, bias));
            let expected: Vec<f32> = expected.collect();
            let rows = x.len() / inputs;
            assert_same_bits(&y, &expected, &format!("{path} {bits:?} {rows} x {:?}", self.shape));
        }
    }
}

#[test]
fn int4_matmul_equals_the_reference() {
    let shapes = [
        (1, 1, 8),
        (7, 5, 32),
        (32, 16, 32),
        (33, 47, 32),
        (64, 100, 64),
        (100, 17, 64),
        (257, 130, 128),
        (72, 33, 24),
        (300, 40, 304),
    ];
    for_each_int8_path(|isa, path, random| {
        for (inputs, outputs, group) in shapes {
            if is_for_no_interpreter(3 * inputs * outputs) {
                continue;
            }
            let shape = GroupShape { inputs, outputs, group };
            let [plain, full] =
                [true, false].map(|is_plain| Int4Case::new(random, shape, is_plain));
            for rows in [1, 2, 3, 4, 5, 6, 7, 12, 13, 25] {
                if is_for_no_interpreter(rows * inputs * outputs) {
                    continue;
                }
                full.check(isa, path, &random.values(rows * inputs));
            }
            plain.check(isa, path, &random.values(3 * inputs));
        }
    });
}

/// The greatest sums that there can be, where sums of 16 or of 32 bits would overflow.
#[test]
#[cfg_attr(miri, ignore = "long rows take it too long")]
fn int4_matmul_is_exact_at_the_extremes() {
    let (inputs, outputs) = (ops::MAX_INPUTS, 4);
    let signs: [fn(usize) -> f32; 4] = [
        |_| 1.0,
        |_| -1.0,
        |i| if i % 2 == 0 { 1.0 } else { -1.0 },
        |i| {
            // -128 in the lower byte of 16 bits.
            if i % 9 == 0 { 1.0 } else { -128.0 / 32_639.0 }
        },
    ];
    let x: Vec<f32> = signs.iter().flat_map(|sign| (0..inputs).map(sign)).collect();
    for_each_int8_path(|isa, path, random| {
        for group in [32, 128, ops::MAX_GROUP] {
            let shape = GroupShape { inputs, outputs, group };
            let mut case = Int4Case::new(random, shape, true);
            let ends: [fn(usize) -> u8; 4] = [|_| 0, |_| 15, |i| (i % 2) as u8 * 15, |_| 8];
            case.integers = ends.iter().flat_map(|end| (0..inputs).map(end)).collect();
            case.check(isa, path, &x);
        }
    });
}

/// Rows that scale to nothing and to infinity, ties, both zeros; rows that are not finite show.
#[test]
fn int4_rows_at_the_edges_equal_the_reference() {
    let tie = |limit: f32| [limit, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5];
    let row = |x: f32| [x, -x, 0.0, -0.0, x / 2.0, x / 127.0, x / 254.0, x / 3.0];
    let magnitudes = [0.0, 1e-45, 1e-38, 7.8e-31, 7.9e-31, 1e-30, 1.0, 1e30, f32::MAX];
    let mut x: Vec<f32> = [127.0, 32_639.0].into_iter().flat_map(tie).collect();
    x.extend(magnitudes.into_iter().flat_map(row));
    for_each_int8_path(|isa, path, random| {
        let shape = GroupShape { inputs: 8, outputs: 33, group: 8 };
        let mut case = Int4Case::new(random, shape, false);
        for scale in [1.0, 0.0, 1e-40, 1e-10] {
            case.scales.fill(scale);
            case.check(isa, path, &x);
        }
        let packed = case.packed();
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for bits in [ActivationBits::Eight, ActivationBits::Sixteen] {
                let mut x = random.values(16);
                x[random.bits() as usize % 8] = bad;
                let (mut rows, mut y) = (GroupRows::default(), vec![0.0; 66]);
                rows.quantize(isa, bits, &x, (8, 8), packed.order());
                ops::matmul_int4(isa, &rows, &packed, &mut y);
                assert!(y[..33].iter().all(|y| !y.is_finite()), "{path} {bits:?} {bad}: {y:?}");
                assert!(y[33..].iter().all(|y| y.is_finite()), "{path} {bits:?} {bad}: {y:?}");
            }
        }
    });
}

/// Packed weights are had back, in the order of x, each rounded once.
#[test]
fn int4_weights_unpack_to_what_they_stand_for() {
    let random = &mut Random::new(1);
    for (inputs, outputs, group) in [(7, 5, 32), (100, 17, 64), (64, 33, 32)] {
        for is_plain in [true, false] {
            let shape = GroupShape { inputs, outputs, group };
            let case = Int4Case::new(random, shape, is_plain);
            let packed = case.packed();
            for i in 0..outputs {
                let (mut row, mut expected) = (vec![f32::NAN; inputs], vec![f32::NAN; inputs]);
                packed.unpack_row(i, &mut row);
                for k in 0..inputs {
                    let g = i * shape.groups() + k / group;
                    let q = f64::from(case.integers[i * inputs + k]) - 8.0;
                    let offset = f64::from(case.offsets.get(g).copied().unwrap_or(0.0));
                    let at = case.order.get(k).map_or(k, |&at| at as usize);
                    // The product is exact in binary64; values are such that the sum is, too.
                    expected[at] = (q * f64::from(case.scales[g]) + offset) as f32;
                }
                assert_same_bits(&row, &expected, &format!("{shape:?}, output {i}"));
            }
        }
    }
}

#[test]
fn groups_of_four_bits_are_the_nearest() {
    let mut random = Random::new(1);
    let precisions = [ScalePrecision::F32, ScalePrecision::F16, ScalePrecision::Bf16];
    for precision in precisions {
        for magnitude in [0.0, 1e-42, 1e-4, 1.0, 1e4] {
            let w: Vec<f32> = random.values(128).iter().map(|x| x * magnitude).collect();
            let mut integers = vec![99; 128];
            let scale = ops::quantize_group4(&w, precision, &mut integers);
            assert_eq!(scale, precision.round(scale), "{precision:?} stores it");
            let greatest = w.iter().fold(0.0f32, |m, w| m.max(w.abs()));
            assert!((scale - greatest / 7.5).abs() <= greatest / 1000.0 + 1e-7, "{magnitude}");
            for (&w, &q) in w.iter().zip(&integers) {
                assert!(q <= 15);
                let error = (f64::from(w) - (f64::from(q) - 8.0) * f64::from(scale)).abs();
                let most = if scale == 0.0 { f64::from(greatest) } else { 0.55 * f64::from(scale) };
                assert!(error <= most, "{precision:?}: {w} as {q} * {scale}");
            }
        }
    }
    let mut integers = [0; 6];
    let scale =
        ops::quantize_group4(&[7.5, -7.5, 0.5, 1.5, -0.5, 0.0], ScalePrecision::F16, &mut integers);
    assert_eq!((scale, integers), (1.0, [15, 0, 8, 10, 8, 8]), "ties to even, clamped");
}

#[test]
fn sums_equal_the_reference() {
    for_each_path(|isa, random| {
        for n in LENGTHS {
            let x = random.values(n);
            assert_same_bits(
                &[ops::sum16(isa, &x)],
                &[reference::sum16(&x)],
                &format!("{isa:?} {n}"),
            );
        }
    });
}

#[test]
fn norms_equal_the_reference() {
    for_each_path(|isa, random| {
        for c in LENGTHS {
            let (gain, bias) = (random.values(c), random.values(c));
            let x = random.values(3 * c);
            let mut out = vec![f32::NAN; 3 * c];
            ops::rms_norm(isa, &x, &gain, 1e-5, &mut out);
            let expected = x.chunks(c).flat_map(|x| reference::rms_norm(x, &gain, 1e-5));
            assert_same_bits(&out, &expected.collect::<Vec<_>>(), &format!("rms {isa:?} {c}"));
            ops::layer_norm(isa, &x, &gain, &bias, 1e-5, &mut out);
            let expected = x.chunks(c).flat_map(|x| reference::layer_norm(x, &gain, &bias, 1e-5));
            assert_same_bits(&out, &expected.collect::<Vec<_>>(), &format!("layer {isa:?} {c}"));
        }
    });
}

/// Values that cover each branch of the elementwise functions: small, large, past the clamps, zeros
/// of both signs.
fn edge_values(random: &mut Random) -> Vec<f32> {
    let mut x = vec![
        0.0,
        -0.0,
        -87.0,
        -87.000_01,
        88.0,
        88.000_01,
        1e-40,
        -1e-40,
        1e30,
        -1e30,
        f32::NEG_INFINITY,
    ];
    let n = if cfg!(miri) { 20 } else { 1000 };
    x.extend(random.values(n).iter().map(|x| x * 40.0));
    x.extend(random.values(n));
    x
}

#[test]
fn elementwise_functions_equal_the_reference() {
    type Case = (&'static str, fn(Isa, &mut [f32]), fn(f32) -> f32);
    let cases: [Case; 5] = [
        ("exp", ops::exp, reference::exp),
        ("gelu_erf", ops::gelu_erf, reference::gelu_erf),
        ("gelu_tanh", ops::gelu_tanh, reference::gelu_tanh),
        ("sigmoid", ops::sigmoid, reference::sigmoid),
        ("tanh", ops::tanh, reference::tanh),
    ];
    for_each_path(|isa, random| {
        let finite: Vec<f32> = edge_values(random).into_iter().filter(|x| x.abs() < 1e10).collect();
        for (name, kernel, definition) in cases {
            let input = if name == "exp" { edge_values(random) } else { finite.clone() };
            let mut x = input.clone();
            kernel(isa, &mut x);
            let expected: Vec<f32> = input.iter().map(|&x| definition(x)).collect();
            assert_same_bits(&x, &expected, &format!("{name} {isa:?}"));
        }
        let (mut x, y) = (finite.clone(), random.values(finite.len()));
        ops::silu_mul(isa, &mut x, &y);
        let expected = finite.iter().zip(&y).map(|(&x, y)| reference::silu(x) * y);
        assert_same_bits(&x, &expected.collect::<Vec<_>>(), &format!("silu_mul {isa:?}"));
        let mut x = finite.clone();
        ops::add_assign(isa, &mut x, &y);
        let expected = finite.iter().zip(&y).map(|(x, y)| x + y);
        assert_same_bits(&x, &expected.collect::<Vec<_>>(), &format!("add_assign {isa:?}"));
    });
}

/// Each gradient that is added to stands at something, so that the addition shows.
#[test]
fn backward_passes_equal_the_reference() {
    type Slope = (&'static str, fn(Isa, &mut [f32], &[f32]), fn(f32) -> f32);
    let slopes: [Slope; 2] = [
        ("gelu_erf_backward", ops::gelu_erf_backward, reference::gelu_erf_slope),
        ("gelu_tanh_backward", ops::gelu_tanh_backward, reference::gelu_tanh_slope),
    ];
    type Definition = fn(&[f32], &[f32], f32, &[f32]) -> [Vec<f32>; 2];
    let sum = |a: &[f32], b: &[f32]| -> Vec<f32> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
    for_each_path(|isa, random| {
        for c in LENGTHS {
            let x: Vec<f32> = random.values(c).iter().map(|x| 4.0 * x).collect();
            let (dy, gain, old) = (random.values(c), random.values(c), random.values(c));
            for (name, kernel, slope) in slopes {
                let mut got = dy.clone();
                kernel(isa, &mut got, &x);
                let expected: Vec<f32> = dy.iter().zip(&x).map(|(d, &x)| d * slope(x)).collect();
                assert_same_bits(&got, &expected, &format!("{name} {isa:?} {c}"));
            }
            let kinds: [(&str, Definition); 2] = [
                ("rms_norm", reference::rms_norm_backward),
                ("layer_norm", reference::layer_norm_backward),
            ];
            for (name, definition) in kinds {
                let (mut dy_left, mut dx, mut d_gain) = (dy.clone(), old.clone(), vec![0.0; c]);
                let mut d_bias = old.clone();
                match name {
                    "rms_norm" => {
                        d_gain.copy_from_slice(&old);
                        let out = (&mut dx[..], &mut d_gain[..]);
                        ops::rms_norm_backward(isa, &x, &gain, 1e-5, &mut dy_left, out.0, out.1);
                    }
                    _ => {
                        let sums = LayerNormGradients { gain: &mut d_gain, bias: &mut d_bias };
                        ops::layer_norm_backward(isa, &x, &gain, 1e-5, &mut dy_left, &mut dx, sums);
                        assert_same_bits(&d_bias, &sum(&old, &dy), &format!("bias {isa:?} {c}"));
                    }
                }
                let [expected_dx, expected_gain] = definition(&x, &gain, 1e-5, &dy);
                let what = format!("{name} {isa:?} {c}");
                assert_same_bits(&dx, &sum(&old, &expected_dx), &what);
                let expected_gain =
                    if name == "rms_norm" { sum(&old, &expected_gain) } else { expected_gain };
                assert_same_bits(&d_gain, &expected_gain, &format!("{what}: gain"));
            }
            let (p, mut got) = (random.values(2 * c), random.values(2 * c));
            let rows = got.chunks(c).zip(p.chunks(c));
            let expected: Vec<f32> =
                rows.flat_map(|(dp, p)| reference::softmax_backward(p, 0.3, dp)).collect();
            ops::softmax_backward(isa, c, &p, 0.3, &mut got);
            assert_same_bits(&got, &expected, &format!("softmax_backward {isa:?} {c}"));
        }
    });
}

#[test]
fn recurrent_cells_equal_the_reference() {
    for_each_path(|isa, random| {
        for n in LENGTHS.into_iter().filter(|&n| n > 0) {
            let mut values = |n: usize| -> Vec<f32> {
                let scale = 4.0 * random.values(1)[0];
                random.values(n).iter().map(|x| x * scale * 30.0).collect()
            };
            let (x, y, h) = (values(4 * n), values(4 * n), values(n));
            let (mut got, mut gates) = (h.clone(), x[..3 * n].to_vec());
            ops::gru_cell(isa, &mut gates, &y[..3 * n], &mut got);
            let expected = reference::gru_cell(&x[..3 * n], &y[..3 * n], &h);
            assert_same_bits(&got, &expected.0, &format!("gru_cell {isa:?} {n}"));
            assert_same_bits(&gates, &expected.1, &format!("gru_cell's gates {isa:?} {n}"));
            let (mut got, mut memory, mut gates) = (vec![f32::NAN; n], h.clone(), x.clone());
            ops::lstm_cell(isa, &mut gates, &y, &mut got, &mut memory);
            let expected = reference::lstm_cell(&x, &y, &h);
            assert_same_bits(&got, &expected.0, &format!("lstm_cell {isa:?} {n}"));
            assert_same_bits(&memory, &expected.1, &format!("lstm_cell's c {isa:?} {n}"));
            assert_same_bits(&gates, &expected.2, &format!("lstm_cell's gates {isa:?} {n}"));
        }
    });
}

/// The definitions themselves against `f64` functions: tolerances are the ones that
/// `docs/numerics.md` states.
#[test]
#[cfg_attr(miri, ignore = "160,000 values take it too long")]
fn the_reference_is_accurate() {
    for i in -80_000..=80_000 {
        let x = i as f32 / 1000.0;
        let relative = (f64::from(reference::exp(x)) / libm::exp(f64::from(x)) - 1.0).abs();
        assert!(relative < 2.4e-7, "exp({x}) is off by {relative:e}");
    }
    for i in -8_000..=8_000 {
        let x = i as f32 / 1000.0;
        let (d, root) = (f64::from(x), std::f64::consts::FRAC_1_SQRT_2);
        let erf = 0.5 * d * (1.0 + libm::erf(d * root));
        assert!((f64::from(reference::gelu_erf(x)) - erf).abs() < 5e-7, "gelu_erf({x})");
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (d + 0.044715 * d * d * d);
        let tanh = 0.5 * d * (1.0 + libm::tanh(inner));
        assert!((f64::from(reference::gelu_tanh(x)) - tanh).abs() < 2e-6, "gelu_tanh({x})");
        let silu = d / (1.0 + libm::exp(-d));
        assert!((f64::from(reference::silu(x)) - silu).abs() < 1e-6, "silu({x})");
        let sigmoid = 1.0 / (1.0 + libm::exp(-d));
        assert!((f64::from(reference::sigmoid(x)) - sigmoid).abs() < 3e-7, "sigmoid({x})");
        assert!((f64::from(reference::tanh(x)) - libm::tanh(d)).abs() < 3e-7, "tanh({x})");
    }
}

#[test]
fn softmax_and_counts_equal_the_reference() {
    for_each_path(|isa, random| {
        for n in LENGTHS.into_iter().chain([4095, 4096, 50_304]) {
            if is_for_no_interpreter(20 * n) {
                continue;
            }
            let logits: Vec<f32> = random.values(n).iter().map(|x| x * 8.0).collect();
            let mut counts = vec![0; n];
            assert!(ops::counts(isa, &mut logits.clone(), &mut counts));
            assert_eq!(counts, reference::counts(&logits), "counts {isa:?} {n}");
            let total: u64 = counts.iter().map(|&c| u64::from(c)).sum();
            assert!((total as f64 / 2f64.powi(30) - 1.0).abs() < 1e-3, "{n} counts sum to {total}");
            let mut p = logits.clone();
            ops::softmax(isa, &mut p);
            let mut e = logits.clone();
            let r = 1.0 / reference::softmax_parts(&mut e);
            let expected: Vec<f32> = e.iter().map(|e| e * r).collect();
            assert_same_bits(&p, &expected, &format!("softmax {isa:?} {n}"));
        }
    });
}

/// What a model that overflows makes is defined, too: both sides must go wrong in the same way.
#[test]
fn numbers_that_are_none_have_one_result() {
    for_each_path(|isa, random| {
        for n in LENGTHS {
            for at in [0, n / 2, n - 1] {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut x: Vec<f32> = random.values(n).iter().map(|x| x * 8.0).collect();
                    x[at] = bad;
                    x[n / 3] = f32::NAN;
                    let what = format!("{isa:?} {bad} at {at} of {n}");
                    let mut found = x.clone();
                    ops::exp(isa, &mut found);
                    let expected: Vec<f32> = x.iter().map(|&x| reference::exp(x)).collect();
                    assert_same_bits(&found, &expected, &format!("exp {what}"));
                    let mut found = x.clone();
                    ops::softmax(isa, &mut found);
                    let r = 1.0 / reference::softmax_parts(&mut x);
                    let expected: Vec<f32> = x.iter().map(|e| e * r).collect();
                    assert_same_bits(&found, &expected, &format!("softmax {what}"));
                }
            }
        }
    });
}

#[test]
fn counts_notice_what_is_not_finite() {
    for_each_path(|isa, random| {
        for (n, at) in [(33, 0), (33, 32), (64, 17)] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut logits = random.values(n);
                logits[at] = bad;
                assert!(!ops::counts(isa, &mut logits, &mut vec![0; n]), "{isa:?} {bad} at {at}");
            }
        }
    });
}

#[test]
fn attention_equals_the_reference() {
    let shapes = [(4, 1, 64), (4, 4, 16), (4, 2, 24), (6, 2, 8), (8, 1, 20), (5, 1, 80), (2, 1, 5)];
    for_each_path(|isa, random| {
        for (heads, kv_heads, head_dim) in shapes {
            for (window, ahead) in [(1, 0), (5, 3), (16, 0), (40, 25)] {
                if is_for_no_interpreter(heads * head_dim * window * (3 * window + 40)) {
                    continue;
                }
                let shape = AttentionShape { heads, kv_heads, head_dim, window, scale: 0.2 };
                for pinned in [0, 1, 16, 21] {
                    check_attention(isa, random, shape, ahead, pinned);
                }
            }
        }
    });
}

/// Stores rows in batches of `ahead + 1`, past the ring's length, and attends from each row of the
/// batch, which sees so many pinned keys, too.
fn check_attention(
    isa: Isa,
    random: &mut Random,
    shape: AttentionShape,
    ahead: usize,
    count: usize,
) {
    let AttentionShape { heads, kv_heads, head_dim: d, window, scale } = shape;
    let lane = 1;
    let mut cache = KvCache::<Bf16>::new(2, kv_heads, d, window, ahead);
    let mut pinned = KvCache::<Bf16>::new(1, kv_heads, d, count, 0);
    let pinned_rows: Vec<_> =
        (0..count).map(|i| stored(random, &mut pinned, 0, i, shape)).collect();
    let mut rows = Vec::new();
    for batch in 0..(3 * window + 40) / (ahead + 1) {
        let positions = batch * (ahead + 1)..(batch + 1) * (ahead + 1);
        for position in positions.clone() {
            rows.push(stored(random, &mut cache, lane, position, shape));
            stored(random, &mut cache, 0, position, shape);
        }
        for position in positions {
            let (q, pinned_q) = (random.values(heads * d), random.values(heads * d));
            let mut out = vec![f32::NAN; heads * d];
            let of_pinned = Pinned { cache: &pinned, count, q: &pinned_q };
            let row = QueryRow { lane, position, q: &q, pinned: (count > 0).then_some(of_pinned) };
            ops::attention(isa, &shape, &cache, &row, &mut out, &mut Default::default());
            for head in 0..heads {
                let kv = head / (heads / kv_heads) * d;
                let seen = &rows[(position + 1).saturating_sub(window)..=position];
                let kept = |rows: &[[Vec<f32>; 2]], i: usize| -> Vec<f32> {
                    rows.iter().flat_map(|row| &row[i][kv..kv + d]).copied().collect()
                };
                let expected = reference::attention_head(
                    [&q, &pinned_q].map(|q| &q[head * d..][..d]),
                    [kept(seen, 0), kept(&pinned_rows, 0)].each_ref().map(Vec::as_slice),
                    &[kept(seen, 1), kept(&pinned_rows, 1)].concat(),
                    scale,
                );
                let what = format!(
                    "{isa:?} {shape:?} ahead {ahead} position {position} head {head}, {count} pinned"
                );
                assert_same_bits(&out[head * d..][..d], &expected, &what);
            }
        }
    }
}

/// Stores random keys and values; returns them as they are kept.
fn stored(
    random: &mut Random,
    cache: &mut KvCache<Bf16>,
    lane: usize,
    position: usize,
    shape: AttentionShape,
) -> [Vec<f32>; 2] {
    let kv = [(); 2].map(|()| random.values(shape.kv_heads * shape.head_dim));
    cache.store(lane, position, &kv[0], &kv[1]);
    kv.map(|x| x.into_iter().map(reference::round_bf16).collect())
}

#[test]
#[cfg_attr(miri, ignore = "libm takes square roots by an instruction, which it cannot")]
fn rotation_equals_the_reference() {
    let mut random = Random::new(1);
    let rotary = ops::Rotary::new(24, 10_000.0, ops::RotaryScaling::None);
    let (mut cos, mut sin) = (vec![0.0; 12], vec![0.0; 12]);
    for position in [0, 1, 2, 1000, 1_000_000] {
        rotary.at(position, &mut cos, &mut sin);
        let mut x = random.values(3 * 32);
        let mut expected = x.clone();
        ops::rotate(&mut x, 32, &cos, &sin);
        expected.chunks_mut(32).for_each(|head| reference::rotate(&mut head[..24], &cos, &sin));
        assert_same_bits(&x, &expected, &format!("position {position}"));
    }
}

/// Archives depend on every bit of them, and they are libm's: another version must give the same.
#[test]
#[cfg_attr(miri, ignore = "libm takes square roots by an instruction, which it cannot")]
fn rotations_are_pinned() {
    use ops::RotaryScaling::{Linear, Llama3, None};
    let llama3 = Llama3 { factor: 8.0, low: 1.0, high: 4.0, positions: 8192.0 };
    let cases = [
        (64, 10_000.0, None, "790d6fb6072e0f12"),
        (128, 1_000_000.0, None, "9527ace4bfba4930"),
        (128, 10_000.0, Linear(2.5), "14400fc7b9ea4b80"),
        (128, 500_000.0, llama3, "5f65173e9d715699"),
    ];
    for (dims, theta, scaling, expected) in cases {
        let rotary = ops::Rotary::new(dims, theta, scaling);
        let (mut cos, mut sin) = (vec![0.0; dims / 2], vec![0.0; dims / 2]);
        let mut hasher = blake3::Hasher::new();
        let far = (0..24).flat_map(|log2| [(1 << log2) - 1, 1 << log2, 3 << log2]);
        for position in (0..4096).chain(far) {
            rotary.at(position, &mut cos, &mut sin);
            for x in cos.iter().chain(&sin) {
                hasher.update(&x.to_le_bytes());
            }
        }
        let found = &hasher.finalize().to_hex()[..16];
        assert_eq!(found, expected, "{dims} dimensions, base {theta}, {scaling:?}");
    }
}
