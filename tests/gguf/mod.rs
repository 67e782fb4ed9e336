//! GGUF files, written from folders as llama.cpp's converter writes them.

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::Value;
use std::path::Path;

/// Parts of layers, by their names in transformers.
const PARTS: [(&str, &str); 11] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// A file's metadata and tensors.
#[derive(Default)]
pub struct GgufFile {
    keys: Vec<Vec<u8>>,
    /// Names, dimensions (innermost first), types and data.
    tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
    /// Parts whose heads' rows stand in turns, and the heads.
    interleaved: Vec<(&'static str, usize)>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

impl GgufFile {
    fn key(&mut self, name: &str, kind: u32, value: &[u8]) {
        self.keys.push([&text(name)[..], &kind.to_le_bytes(), value].concat());
    }

    pub fn number(&mut self, name: &str, value: u64) {
        self.key(name, 4, &(value as u32).to_le_bytes());
    }

    pub fn fraction(&mut self, name: &str, value: f64) {
        self.key(name, 6, &(value as f32).to_le_bytes());
    }

    pub fn text(&mut self, name: &str, value: &str) {
        self.key(name, 8, &text(value));
    }

    /// Adds a tensor of `n` zeros.
    pub fn tensor(&mut self, name: &str, n: usize) {
        self.tensors.push((name.to_owned(), vec![n as u64], 0, vec![0; 4 * n]));
    }

    /// Stores the weights `name`, as transformers calls them, as the blocks `bytes` of the type `kind`, rows in order.
    pub fn blocks(&mut self, name: &str, kind: u32, bytes: &[u8]) {
        let name = gguf_name(name);
        let heads = self.interleaved.iter().find(|(part, _)| name.split('.').nth(2) == Some(part));
        let (_, dims, old_kind, old) =
            self.tensors.iter_mut().find(|(other, ..)| *other == name).unwrap();
        *old_kind = kind;
        *old = match heads {
            Some((_, heads)) => interleave(bytes, dims[1] as usize, *heads),
            None => bytes.to_vec(),
        };
    }

    fn texts(&mut self, name: &str, values: &[String]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| text(value)).collect();
        self.array(name, 8, &bytes, values.len() as u64);
    }

    fn array(&mut self, name: &str, kind: u32, values: &[u8], n: u64) {
        let value = [&kind.to_le_bytes()[..], &n.to_le_bytes(), values].concat();
        self.key(name, 9, &value);
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let count = |n: usize| (n as u64).to_le_bytes();
        let mut out =
            [&b"GGUF\x03\0\0\0"[..], &count(self.tensors.len()), &count(self.keys.len())].concat();
        out.extend(self.keys.concat());
        let mut data = Vec::new();
        for (name, dims, kind, bytes) in &self.tensors {
            out.extend(text(name));
            out.extend((dims.len() as u32).to_le_bytes());
            dims.iter().for_each(|dim| out.extend(dim.to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend(count(data.len()));
            data.extend_from_slice(bytes);
            data.resize(data.len().next_multiple_of(32), 0);
        }
        out.resize(out.len().next_multiple_of(32), 0);
        [out, data].concat()
    }

    /// Writes the Llama or Qwen3 in `folder`.
    pub fn of_folder(folder: &Path) -> Self {
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let json = |name: &str| serde_json::from_slice::<Value>(&read(name)).unwrap();
        let (config, tokenizer) = (json("config.json"), json("tokenizer.json"));
        let mut file = Self::default();
        let name = config["model_type"].as_str().unwrap().to_owned();
        file.text("general.architecture", &name);
        for (key, from) in [
            ("embedding_length", "hidden_size"),
            ("feed_forward_length", "intermediate_size"),
            ("block_count", "num_hidden_layers"),
            ("attention.head_count", "num_attention_heads"),
            ("attention.head_count_kv", "num_key_value_heads"),
            ("attention.key_length", "head_dim"),
            ("context_length", "max_position_embeddings"),
        ] {
            if let Some(n) = config[from].as_u64() {
                file.number(&format!("{name}.{key}"), n);
            }
        }
        for (key, from) in
            [("attention.layer_norm_rms_epsilon", "rms_norm_eps"), ("rope.freq_base", "rope_theta")]
        {
            if let Some(x) = config[from].as_f64().or(config["rope_parameters"][from].as_f64()) {
                file.fraction(&format!("{name}.{key}"), x);
            }
        }
        file.number("tokenizer.ggml.bos_token_id", config["bos_token_id"].as_u64().unwrap());
        file.tokenizer(&tokenizer, config["vocab_size"].as_u64().unwrap() as usize);
        let heads = config["num_attention_heads"].as_u64().unwrap();
        let kv_heads = config["num_key_value_heads"].as_u64().unwrap_or(heads);
        if name == "llama" {
            file.interleaved = vec![("attn_q", heads as usize), ("attn_k", kv_heads as usize)];
        }
        file.tensors(&read("model.safetensors"));
        file
    }

    fn tokenizer(&mut self, tokenizer: &Value, size: usize) {
        let mut tokens: Vec<String> = (0..size).map(|id| format!("[PAD{id}]")).collect();
        let mut kinds = vec![5i32; size];
        for (token, id) in tokenizer["model"]["vocab"].as_object().unwrap() {
            let id = id.as_u64().unwrap() as usize;
            (tokens[id], kinds[id]) = (token.clone(), 1);
        }
        for added in tokenizer["added_tokens"].as_array().into_iter().flatten() {
            kinds[added["id"].as_u64().unwrap() as usize] = 3;
        }
        let merges = tokenizer["model"]["merges"].as_array().unwrap();
        let part = |pair: &Value, i: usize| pair[i].as_str().unwrap().to_owned();
        let line = |merge: &Value| match merge.as_str() {
            Some(line) => line.to_owned(),
            None => part(merge, 0) + " " + &part(merge, 1),
        };
        let merges: Vec<_> = merges.iter().map(line).collect();
        self.text("tokenizer.ggml.model", "gpt2");
        self.text("tokenizer.ggml.pre", "gpt-2");
        self.texts("tokenizer.ggml.tokens", &tokens);
        self.texts("tokenizer.ggml.merges", &merges);
        let kinds: Vec<u8> = kinds.iter().flat_map(|kind| kind.to_le_bytes()).collect();
        self.array("tokenizer.ggml.token_type", 5, &kinds, size as u64);
    }

    fn tensors(&mut self, weights: &[u8]) {
        for (name, view) in SafeTensors::deserialize(weights).unwrap().tensors() {
            let kind = match view.dtype() {
                Dtype::F32 => 0,
                Dtype::F16 => 1,
                Dtype::BF16 => 30,
                other => panic!("{name} is {other:?}"),
            };
            let name = gguf_name(&name);
            let heads =
                self.interleaved.iter().find(|(part, _)| name.split('.').nth(2) == Some(part));
            let bytes = match heads {
                Some((_, heads)) => interleave(view.data(), view.shape()[0], *heads),
                None => view.data().to_vec(),
            };
            let dims = view.shape().iter().rev().map(|&dim| dim as u64).collect();
            self.tensors.push((name, dims, kind, bytes));
        }
    }
}

fn gguf_name(name: &str) -> String {
    match name {
        "model.embed_tokens.weight" => return "token_embd.weight".to_owned(),
        "model.norm.weight" => return "output_norm.weight".to_owned(),
        "lm_head.weight" => return "output.weight".to_owned(),
        _ => (),
    }
    let (index, rest) = name.strip_prefix("model.layers.").unwrap().split_once('.').unwrap();
    let (part, kind) = rest.rsplit_once('.').unwrap();
    let (_, part) = PARTS.iter().find(|(name, _)| *name == part).unwrap();
    format!("blk.{index}.{part}.{kind}")
}

/// Puts rows of both halves of each head in turns.
fn interleave(bytes: &[u8], rows: usize, heads: usize) -> Vec<u8> {
    let (width, head) = (bytes.len() / rows, rows / heads);
    let row = |row: usize| &bytes[row * width..][..width];
    let places = (0..rows).map(|i| i / head * head + i % head / 2 + i % 2 * (head / 2));
    places.flat_map(|place| row(place).to_vec()).collect()
}
