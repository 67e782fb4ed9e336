//! Four-bit checkpoints: the layouts of others are one network, close to that of the floats they stand for; what
//! `models quantize --bits 4` writes is read on every path; what is malformed is refused.

use super::quantize::{Tensors, configure, folder, logits, read, refusal, relative_error, write};
use crate::gguf::GgufFile;
use crate::random::Random;
use crate::shell::Shell;
use half::f16;
use llmzip::models::Model;
use llmzip::ops::Isa;
use safetensors::tensor::Dtype;
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

/// Inputs of a group; of the 176 inputs of one layer eleven groups.
const GROUP: usize = 16;

/// A linear layer: weight k of output n is (q[n][k] - z[n][g]) * s[n][g], g being the group of k.
struct Layer {
    module: String,
    inputs: usize,
    outputs: usize,
    /// `[N][K]`, 0 to 15.
    q: Vec<u8>,
    /// `[N][K/G]`, 0 to 15.
    z: Vec<u8>,
    /// `[N][K/G]`
    s: Vec<f16>,
    /// The group of each input.
    groups: Vec<usize>,
}

impl Layer {
    fn weight(&self, n: usize, k: usize) -> f32 {
        let at = n * (self.inputs / GROUP) + self.groups[k];
        let integer = f32::from(self.q[n * self.inputs + k]) - f32::from(self.z[at]);
        integer * self.s[at].to_f32()
    }
}

/// The tiny Llama with random integers for its layers, and all its other tensors.
fn layers(folder: &Path, is_symmetric: bool, is_ordered: bool) -> (Vec<Layer>, Tensors) {
    let mut random = Random::new(26);
    let mut rest = read(&folder.join("model.safetensors"));
    let names: Vec<String> = rest.keys().filter(|name| name.contains("_proj")).cloned().collect();
    let layers = names.into_iter().map(|name| {
        let (_, shape, _) = rest.remove(&name).unwrap();
        let (outputs, inputs) = (shape[0], shape[1]);
        let n_groups = outputs * inputs / GROUP;
        let mut nibbles =
            |n: usize| (0..n).map(|_| (random.bits() >> 60) as u8).collect::<Vec<_>>();
        let (q, z) = (nibbles(outputs * inputs), nibbles(n_groups));
        let s = random.values(n_groups).into_iter().map(|x| f16::from_f32(0.01 + 0.004 * x.abs()));
        let mut groups: Vec<usize> = (0..inputs).map(|k| k / GROUP).collect();
        if !is_ordered {
            for k in (1..inputs).rev() {
                groups.swap(k, random.bits() as usize % (k + 1));
            }
        }
        Layer {
            module: name.strip_suffix(".weight").unwrap().to_owned(),
            inputs,
            outputs,
            q,
            z: if is_symmetric { vec![8; n_groups] } else { z },
            s: s.collect(),
            groups,
        }
    });
    (layers.collect(), rest)
}

/// Words of eight integers each, `value(row, column)` for each of `rows * columns`; `places` says where in a word each
/// of eight columns is.
fn packed(
    rows: usize,
    columns: usize,
    places: [usize; 8],
    value: impl Fn(usize, usize) -> u8,
) -> (Dtype, Vec<usize>, Vec<u8>) {
    let mut bytes = Vec::new();
    for row in 0..rows {
        for word in 0..columns.div_ceil(8) {
            let of = |i: usize| {
                let column = 8 * word + i;
                u32::from(if column < columns { value(row, column) } else { 0 }) << (4 * places[i])
            };
            bytes.extend((0..8).map(of).sum::<u32>().to_le_bytes());
        }
    }
    (Dtype::I32, vec![rows, columns.div_ceil(8)], bytes)
}

/// The transpose of a matrix of words.
fn transposed((dtype, shape, bytes): (Dtype, Vec<usize>, Vec<u8>)) -> (Dtype, Vec<usize>, Vec<u8>) {
    let (rows, columns) = (shape[0], shape[1]);
    let at = |i: usize| 4 * ((i % rows) * columns + i / rows);
    let words = (0..rows * columns).flat_map(|i| bytes[at(i)..][..4].to_vec());
    (dtype, vec![columns, rows], words.collect())
}

const IN_ORDER: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

fn floats(shape: Vec<usize>, values: impl Iterator<Item = f16>) -> (Dtype, Vec<usize>, Vec<u8>) {
    (Dtype::F16, shape, values.flat_map(f16::to_le_bytes).collect())
}

fn index(layer: &Layer) -> (Dtype, Vec<usize>, Vec<u8>) {
    let groups = layer.groups.iter().flat_map(|&group| (group as u32).to_le_bytes());
    (Dtype::I32, vec![layer.inputs], groups.collect())
}

/// compressed-tensors' tensors of a layer.
fn compressed(layer: &Layer, has_zeros: bool, tensors: &mut Tensors) {
    let Layer { inputs, outputs, q, z, s, .. } = layer;
    let n_groups = inputs / GROUP;
    let mut put = |part: &str, tensor| tensors.insert(format!("{}.{part}", layer.module), tensor);
    put("weight_packed", packed(*outputs, *inputs, IN_ORDER, |n, k| q[n * inputs + k]));
    put("weight_scale", floats(vec![*outputs, n_groups], s.iter().copied()));
    let shape = [*outputs, *inputs].into_iter().flat_map(|n| (n as u64).to_le_bytes());
    put("weight_shape", (Dtype::I64, vec![2], shape.collect()));
    if has_zeros {
        let zeros = packed(n_groups, *outputs, IN_ORDER, |g, n| z[n * n_groups + g]);
        put("weight_zero_point", transposed(zeros));
    }
    if !layer.groups.is_sorted() {
        put("weight_g_idx", index(layer));
    }
}

/// AutoAWQ's tensors of a layer.
fn awq(layer: &Layer, tensors: &mut Tensors) {
    const PLACES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];
    let Layer { inputs, outputs, q, z, s, .. } = layer;
    let n_groups = inputs / GROUP;
    let mut put = |part: &str, tensor| tensors.insert(format!("{}.{part}", layer.module), tensor);
    put("qweight", packed(*inputs, *outputs, PLACES, |k, n| q[n * inputs + k]));
    put("qzeros", packed(n_groups, *outputs, PLACES, |g, n| z[n * n_groups + g]));
    let scales = (0..n_groups).flat_map(|g| (0..*outputs).map(move |n| s[n * n_groups + g]));
    put("scales", floats(vec![n_groups, *outputs], scales));
}

/// GPTQ's tensors of a layer, its zero points less `less`.
fn gptq(layer: &Layer, less: u8, tensors: &mut Tensors) {
    let Layer { inputs, outputs, q, z, s, .. } = layer;
    let n_groups = inputs / GROUP;
    let mut put = |part: &str, tensor| tensors.insert(format!("{}.{part}", layer.module), tensor);
    put("qweight", transposed(packed(*outputs, *inputs, IN_ORDER, |n, k| q[n * inputs + k])));
    let zero = |g: usize, n: usize| z[n * n_groups + g].wrapping_sub(less) & 15;
    put("qzeros", packed(n_groups, *outputs, IN_ORDER, zero));
    let scales = (0..n_groups).flat_map(|g| (0..*outputs).map(move |n| s[n * n_groups + g]));
    put("scales", floats(vec![n_groups, *outputs], scales));
    put("g_idx", index(layer));
}

fn compressed_config(is_symmetric: bool) -> Value {
    let weights = json!({"num_bits": 4, "type": "int", "symmetric": is_symmetric, "strategy": "group", "group_size": GROUP});
    json!({
        "quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["lm_head"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}
    })
}

/// The tiny Llama with `tensors` in place of its weights.
fn model(tensors: &Tensors, quantization: Option<Value>) -> TempDir {
    let folder = folder("llama-gqa-tied");
    write(&folder.path().join("model.safetensors"), tensors);
    if let Some(quantization) = quantization {
        configure(folder.path(), |config| config["quantization_config"] = quantization);
    }
    folder
}

/// Logits of a folder.
fn logits_of(folder: &TempDir, isa: Isa) -> Vec<u32> {
    logits(&Model::open_on(folder.path(), isa).unwrap(), 12)
}

/// The same integers in each layout.
#[test]
fn layouts_are_one_network() {
    let source = folder("llama-gqa-tied");
    for (is_symmetric, is_ordered) in [(true, true), (false, true), (false, false)] {
        let (layers, rest) = layers(source.path(), is_symmetric, is_ordered);
        let with = |put: &dyn Fn(&Layer, &mut Tensors)| {
            let mut tensors = rest.clone();
            layers.iter().for_each(|layer| put(layer, &mut tensors));
            tensors
        };
        let tensors = with(&|layer, t| compressed(layer, !is_symmetric, t));
        let config = compressed_config(is_symmetric);
        let folders = [(tensors, config)].into_iter().chain([
            (with(&|layer, t| gptq(layer, 1, t)), json!({"quant_method": "gptq", "bits": 4, "group_size": GROUP})),
            (
                with(&|layer, t| gptq(layer, 0, t)),
                json!({"quant_method": "gptq", "bits": 4, "group_size": GROUP, "checkpoint_format": "gptq_v2"}),
            ),
        ]);
        let awq_config = json!({"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm", "zero_point": true});
        let folders = folders.chain(is_ordered.then(|| (with(&awq), awq_config)));
        let wide = with(&|layer, t| {
            let weights =
                (0..layer.outputs).flat_map(|n| (0..layer.inputs).map(move |k| layer.weight(n, k)));
            let bytes = weights.flat_map(f32::to_le_bytes).collect();
            let name = format!("{}.weight", layer.module);
            t.insert(name, (Dtype::F32, vec![layer.outputs, layer.inputs], bytes));
        });
        let in_floats = logits_of(&model(&wide, None), Isa::detect());
        let mut first: Option<Vec<u32>> = None;
        for (tensors, config) in folders {
            let method = config["quant_method"].to_string();
            let folder = model(&tensors, Some(config));
            for isa in
                Isa::available().into_iter().flat_map(|isa| [isa, isa.without_byte_products()])
            {
                let got = logits_of(&folder, isa);
                let error = relative_error(&got, &in_floats);
                assert!(
                    error < 2e-3,
                    "{method} symmetric {is_symmetric} in order {is_ordered}: {error}"
                );
                assert!(*first.get_or_insert_with(|| got.clone()) == got, "{method} {isa:?}");
            }
        }
    }
}

/// What is written is a four-bit model by itself, close to its floats, and makes archives.
#[test]
fn models_are_quantized_to_four_bits() {
    let shell = Shell::new();
    let source = folder("qwen3-tied");
    let path = source.path().to_str().unwrap();
    shell
        .run(&["models", "quantize", path, "--bits", "4", "--group", "32", "-o", "four"])
        .expect(0);
    let four = shell.path("four");
    let in_floats = logits_of(&source, Isa::detect());
    let of = |isa| logits(&Model::open_on(&four, isa).unwrap(), 12);
    let expected = of(Isa::detect());
    for isa in Isa::available() {
        assert!(of(isa) == expected, "{isa:?}");
    }
    let error = relative_error(&expected, &in_floats);
    assert!((1e-2..0.5).contains(&error), "{error}");
    let tensors = read(&four.join("model.safetensors"));
    let part = |part: &str| &tensors[&format!("model.layers.0.mlp.down_proj.{part}")];
    assert_eq!(
        (part("weight_packed").0, &part("weight_packed").1[..]),
        (Dtype::I32, &[64, 20][..])
    );
    assert_eq!(part("weight_scale").1, [64, 5]);
    assert!(tensors.contains_key("model.embed_tokens.weight"));
    let text = b"the same words and the same words again and again".repeat(8);
    let archive = shell.pipe(&["-m", "four"], &text).expect(0).stdout;
    assert!(shell.pipe(&["-dc", "-m", "four"], &archive).expect(0).stdout == text);
    shell
        .run(&["models", "quantize", "four", "--bits", "4", "-o", "again"])
        .expect(1)
        .saying("quantized already");
}

/// Cuts the feed-forward layers of a Llama of 176 to 160, which groups of 32 divide.
fn narrow(folder: &Path) {
    let path = folder.join("model.safetensors");
    let mut tensors = read(&path);
    for (name, (dtype, shape, bytes)) in &mut tensors {
        let len = dtype.bitsize() / 8;
        match &shape[..] {
            [176, columns] => bytes.truncate(160 * columns * len),
            [_, 176] if name.contains("down_proj") => {
                *bytes =
                    bytes.chunks(176 * len).flat_map(|row| &row[..160 * len]).copied().collect();
            }
            _ => continue,
        }
        shape.iter_mut().filter(|n| **n == 176).for_each(|n| *n = 160);
    }
    write(&path, &tensors);
    configure(folder, |config| config["intermediate_size"] = json!(160));
}

/// A linear layer of a compressed-tensors checkpoint in groups of 32: names, integers of each row, scales.
struct Groups {
    module: String,
    inputs: usize,
    integers: Vec<u8>,
    scales: Vec<f16>,
}

impl Groups {
    /// Blocks of a GGUF file: of each group what `head(output, group)` says, then its integers.
    fn blocks(&self, head: impl Fn(usize, usize) -> Vec<u8>) -> Vec<u8> {
        let n_groups = self.inputs / 32;
        let block = |(i, q): (usize, &[u8])| {
            let low_and_high = (0..16).map(|k| q[k] | q[k + 16] << 4).collect();
            [head(i / n_groups, i % n_groups), low_and_high].concat()
        };
        self.integers.chunks(32).enumerate().flat_map(block).collect()
    }

    fn scale(&self, output: usize, group: usize) -> Vec<u8> {
        self.scales[output * (self.inputs / 32) + group].to_le_bytes().to_vec()
    }
}

/// Takes the layers from what `models quantize --group 32` wrote, with scales that are powers of two: those of 16 bits
/// say the same.
fn groups(tensors: &mut Tensors) -> Vec<Groups> {
    let modules = tensors.keys().filter_map(|name| name.strip_suffix(".weight_packed"));
    let modules: Vec<String> = modules.map(str::to_owned).collect();
    let layers = modules.into_iter().map(|module| {
        let (_, shape, words) = &tensors[&format!("{module}.weight_packed")];
        let integers = words.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect();
        let inputs = 8 * shape[1];
        let (dtype, _, scales) = tensors.get_mut(&format!("{module}.weight_scale")).unwrap();
        assert_eq!(*dtype, Dtype::F32);
        let power =
            |bytes: &[u8; 4]| f16::from_f32(f32::from_le_bytes(*bytes).log2().round().exp2());
        let halves: Vec<f16> = scales.as_chunks().0.iter().map(power).collect();
        *dtype = Dtype::F16;
        *scales = halves.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        Groups { module, inputs, integers, scales: halves }
    });
    layers.collect()
}

/// Blocks of four bits are the integers of a checkpoint in groups of 32: the same bits, whether with minima or without, in
/// both orders of heads' rows. Of queries, keys and values all are, or all are halves.
#[test]
fn blocks_of_gguf_files_are_computed_with_as_they_are() {
    for name in ["llama-gqa-tied", "qwen2-tied", "qwen3-tied"] {
        let source = crate::family::folder(name);
        if name.starts_with("llama") {
            narrow(source.path());
        }
        let shell = Shell::new();
        let path = source.path().to_str().unwrap();
        let quantize = ["models", "quantize", path, "--bits", "4", "--group", "32", "-o", "four"];
        shell.run(&quantize).expect(0);
        let four = shell.path("four");
        let weights = four.join("model.safetensors");
        let mut tensors = read(&weights);
        let layers = groups(&mut tensors);
        assert_eq!(layers.len(), 14, "{name}");
        let of_file = |change: &dyn Fn(&mut GgufFile)| {
            let mut file = GgufFile::of_folder(source.path());
            change(&mut file);
            shell.write("some.gguf", &file.to_bytes());
            logits(&Model::open_on(&shell.path("some.gguf"), Isa::detect()).unwrap(), 12)
        };
        let of_folder = |tensors: &Tensors| {
            write(&weights, tensors);
            logits(&Model::open_on(&four, Isa::detect()).unwrap(), 12)
        };
        let q4_0 = |layer: &Groups, file: &mut GgufFile| {
            let blocks = layer.blocks(|n, g| layer.scale(n, g));
            file.blocks(&format!("{}.weight", layer.module), 2, &blocks);
        };
        let found = of_file(&|file| layers.iter().for_each(|layer| q4_0(layer, file)));
        assert!(found == of_folder(&tensors), "{name}");

        // Values in floats: so are queries and keys, whose halves are exact.
        let is_value = |layer: &&Groups| layer.module.ends_with("v_proj");
        let is_of_one =
            |layer: &Groups| ["q_proj", "k_proj"].iter().any(|end| layer.module.ends_with(end));
        let halves = |layer: &Groups, file: &mut GgufFile| {
            let scale = |i: usize| layer.scales[i / 32].to_f32();
            let wide = |(i, &q): (usize, &u8)| f16::from_f32((f32::from(q) - 8.0) * scale(i));
            let halves = layer.integers.iter().enumerate().map(wide);
            let bytes: Vec<u8> = halves.flat_map(f16::to_le_bytes).collect();
            file.blocks(&format!("{}.weight", layer.module), 1, &bytes);
        };
        let [mixed, apart] = [false, true].map(|in_halves| {
            of_file(&|file| {
                for layer in layers.iter().filter(|layer| !is_value(layer)) {
                    match in_halves && is_of_one(layer) {
                        true => halves(layer, file),
                        false => q4_0(layer, file),
                    }
                }
            })
        });
        assert!(mixed == apart && mixed != found, "{name}");

        let mut random = Random::new(27);
        let zeros =
            |layer: &Groups| layer.scales.iter().map(|_| random.bits() as u8 & 15).collect();
        let zeros: Vec<Vec<u8>> = layers.iter().map(zeros).collect();
        for (layer, z) in layers.iter().zip(&zeros) {
            let n_groups = layer.inputs / 32;
            let outputs = z.len() / n_groups;
            let words = packed(n_groups, outputs, IN_ORDER, |g, n| z[n * n_groups + g]);
            tensors.insert(format!("{}.weight_zero_point", layer.module), transposed(words));
        }
        configure(&four, |config| {
            config["quantization_config"]["config_groups"]["group_0"]["weights"]["symmetric"] =
                json!(false);
        });
        let found = of_file(&|file| {
            for (layer, z) in layers.iter().zip(&zeros) {
                let minimum = |n: usize, g: usize| {
                    let at = n * (layer.inputs / 32) + g;
                    f16::from_f32(-f32::from(z[at]) * layer.scales[at].to_f32()).to_le_bytes()
                };
                let head = |n, g| [&layer.scale(n, g)[..], &minimum(n, g)].concat();
                file.blocks(&format!("{}.weight", layer.module), 3, &layer.blocks(head));
            }
        });
        assert!(found == of_folder(&tensors), "{name} with minima");
    }
}

/// Integers chosen for texts are better there than the nearest, whatever is folded into what comes before: norms with and
/// without biases, values of as many heads, what a gate multiplies.
#[test]
fn awq_changes_outputs_less_than_the_nearest_integers() {
    let mut random = Random::new(31);
    let text: Vec<u8> = (0..40_000).map(|_| random.bits() as u8).collect();
    for name in ["qwen3-tied", "gpt-neox-parallel-f16", "llama-mha-untied-bf16"] {
        let shell = Shell::new();
        shell.write("text", &text);
        let source = folder(name);
        if name.starts_with("llama") {
            narrow(source.path());
        }
        let path = source.path().to_str().unwrap();
        let quantize = ["models", "quantize", path, "--group", "32"];
        shell.run(&[&quantize[..], &["--bits", "4", "-o", "nearest"]].concat()).expect(0);
        let awq = ["--awq", "--data", "text", "--samples", "8", "--json", "-o", "awq"];
        let said = shell.run(&[&quantize[..], &awq].concat()).expect(0).stdout;
        let document: Value = serde_json::from_slice(&said).unwrap();
        let layers = document["models"][0]["rounded"].as_array().unwrap();
        assert!(layers.len() >= 8, "{name}: {}", layers.len());
        for layer in layers {
            let [error, nearest] =
                ["error", "error_of_nearest"].map(|key| layer[key].as_f64().unwrap());
            assert!(error < nearest && nearest < 0.1, "{name}: {layer}");
        }
        let in_floats = logits_of(&source, Isa::detect());
        let [nearest, awq] = ["nearest", "awq"].map(|folder| {
            let model = Model::open_on(&shell.path(folder), Isa::detect()).unwrap();
            relative_error(&logits(&model, 12), &in_floats)
        });
        println!("{name}: {awq} {nearest}");
        assert!(awq < nearest, "{name}: {awq} {nearest}");
    }
}

/// What `--awq` cannot be done with is said before anything is written.
#[test]
fn awq_without_sense_is_refused() {
    let shell = Shell::new();
    shell.write("text", b"some text");
    shell.write("empty", b"");
    let source = folder("qwen3-tied");
    let path = source.path().to_str().unwrap();
    let quantize = |arguments: &[&str]| {
        let arguments = [&["models", "quantize", path, "-o", "four"], arguments].concat();
        shell.run(&arguments)
    };
    quantize(&["--awq"]).expect(2).saying("--data");
    quantize(&["--data", "text"]).expect(2).saying("--awq");
    quantize(&["--awq", "--data", "text", "--bits", "8"]).expect(2).saying("expected 8, or 4");
    quantize(&["--awq", "--data", "none"]).expect(1).saying("none");
    quantize(&["--awq", "--data", "empty"]).expect(2).saying("no text");
    shell
        .run(&["models", "quantize", "--awq", "--data", "text"])
        .expect(1)
        .saying("quantized already");
    assert!(!shell.path("four").exists() && !shell.path("default-int4").exists());
}

/// Formats that are not read are named; tensors that do not fit are, too.
#[test]
fn other_four_bits_are_refused() {
    let source = folder("llama-gqa-tied");
    let (layers, mut tensors) = layers(source.path(), false, true);
    layers.iter().for_each(|layer| compressed(layer, true, &mut tensors));
    let good = compressed_config(false);
    let with = |pointer: &str, value: Value| {
        let mut config = good.clone();
        *config.pointer_mut(pointer).unwrap() = value;
        config
    };
    let cases = [
        (with("/format", json!("marlin-24")), "marlin-24"),
        (with("/format", json!("nvfp4-pack-quantized")), "nvfp4"),
        (with("/config_groups/group_0/weights/num_bits", json!(3)), "num_bits"),
        (with("/config_groups/group_0/weights/type", json!("float")), "float"),
        (with("/config_groups/group_0/weights/group_size", json!(12)), "multiple of 8"),
        (with("/config_groups", json!({})), "config_groups"),
        (json!({"quant_method": "fp8"}), "fp8"),
        (json!({"quant_method": "awq", "bits": 4, "group_size": 16, "version": "gemv"}), "gemv"),
        (json!({"quant_method": "gptq", "bits": 3, "group_size": 16}), "bits"),
        (
            json!({"quant_method": "gptq", "bits": 4, "group_size": 16, "checkpoint_format": "marlin"}),
            "marlin",
        ),
    ];
    for (config, expected) in cases {
        let message = refusal(model(&tensors, Some(config.clone())).path());
        assert!(message.contains(expected), "{config}: {message}");
    }
    for part in ["weight_packed", "weight_scale", "weight_zero_point"] {
        let name = format!("model.layers.0.mlp.down_proj.{part}");
        let mut cut = tensors.clone();
        let (_, shape, data) = cut.get_mut(&name).unwrap();
        data.truncate(data.len() / shape[1]);
        shape[1] = 1;
        shape[0] = data.len() / if part == "weight_scale" { 2 } else { 4 };
        let message = refusal(model(&cut, Some(good.clone())).path());
        assert!(message.contains(&name), "{message}");
    }
    let mut bad = tensors.clone();
    let scale = bad.get_mut("model.layers.0.mlp.down_proj.weight_scale").unwrap();
    scale.2[..2].copy_from_slice(&f16::INFINITY.to_le_bytes());
    assert!(refusal(model(&bad, Some(good)).path()).contains("down_proj"));
}
