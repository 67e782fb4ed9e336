//! Chunks and archives with steering vectors.

use crate::family::{FAMILIES, folder};
use llmzip::archive::{self, ModelName, ModelSource, NamedSteering, Options, SteeringName};
use llmzip::codec::{self, ChunkOptions, Codec, Parameters};
use llmzip::models::{Context, Model, Steering, SteeringFile};
use llmzip::ops::Isa;
use llmzip::{Error, ErrorKind, Result};
use std::sync::Arc;

const RECURRENT: [&str; 2] = ["gru", "lstm"];

/// A small model of a family.
fn open(name: &str) -> Model {
    Model::open_on(folder(name).path(), Isa::detect()).unwrap()
}

pub fn text() -> Vec<u8> {
    b"the cat and the hat in the box, again and again.\n".repeat(20)
}

fn model() -> Arc<Model> {
    Arc::new(Model::default_model(Isa::detect()).unwrap())
}

fn options() -> Options {
    Options::default().mix(false).lanes(3).chunk_size(700)
}

pub fn compress(model: &Model, options: &Options) -> Result<Vec<u8>> {
    let mut packed = Vec::new();
    archive::compress(&text()[..], &mut packed, model, options, &|_| ()).map(|_| packed)
}

pub fn decompress(packed: &[u8], models: &dyn ModelSource, threads: usize) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    let options = Options::default().threads(threads);
    archive::decompress(packed, &mut plain, models, &options, &|_| ()).map(|_| plain)
}

/// A file of vectors that are embeddings of no token.
fn file(model: &Model) -> Vec<u8> {
    let network = model.network().as_transformer().unwrap();
    let steering = Steering::random(network, 5, 99).unwrap();
    SteeringFile { steering, model: model.identity().hex() }.to_bytes()
}

/// A model and files of steering vectors.
struct Stored(Arc<Model>, Vec<Vec<u8>>);

impl ModelSource for Stored {
    fn find(&self, wanted: &ModelName) -> Result<Arc<Model>> {
        self.0.find(wanted)
    }

    fn find_steering(&self, wanted: &SteeringName) -> Result<Arc<Steering>> {
        let SteeringName::Digest { digest, .. } = wanted else { return Err(wanted.missing()) };
        let is_it = |file: &&Vec<u8>| blake3::hash(file) == *digest;
        let file = self.1.iter().find(is_it).ok_or_else(|| wanted.missing())?;
        Ok(Arc::new(SteeringFile::parse(file)?.steering))
    }
}

fn with<'a>(codec: Codec<'a>, parameters: &'a Parameters, steering: &'a Steering) -> Codec<'a> {
    Codec { parameters, steering, ..codec }
}

/// A code of the same bits, by whatever instruction set and number of threads, which needs the vectors.
#[test]
fn every_family_round_trips() {
    for name in FAMILIES.iter().filter(|name| !RECURRENT.contains(name)) {
        let folder = folder(name);
        let open = |isa| Model::open_on(folder.path(), isa).unwrap();
        let model = open(Isa::detect());
        let network = model.network().as_transformer().unwrap();
        let steering = Steering::random(network, 5, 7).unwrap();
        let parameters = Parameters { context: Some(Context::new(24)), ..Parameters::default() };
        for mix in [false, true] {
            let options = ChunkOptions { level: 9, lanes: Some(3), mix };
            let coded = codec::encode(
                with(Codec::new(&model, 1), &parameters, &steering),
                &text(),
                &options,
            )
            .unwrap();
            for threads in [1, 3] {
                let plain = codec::decode(
                    with(Codec::new(&model, threads), &parameters, &steering),
                    &coded,
                )
                .unwrap();
                assert!(plain == text(), "{name}, {threads} threads");
            }
            let without = with(Codec::new(&model, 1), &parameters, Steering::NONE);
            let other = codec::encode(without, &text(), &options).unwrap();
            if !mix {
                assert!(other.payload != coded.payload, "{name}: the vectors do nothing");
            }
            for isa in Isa::available() {
                let other = open(isa);
                let again = codec::encode(
                    with(Codec::new(&other, 2), &parameters, &steering),
                    &text(),
                    &options,
                )
                .unwrap();
                assert!(again.payload == coded.payload, "{name}, {isa:?}");
            }
        }
    }
}

#[test]
fn archives_name_their_vectors() {
    let model = model();
    let random = NamedSteering::random(&model, 3, 7).unwrap();
    let of_file = NamedSteering::of_file(&file(&model), "some.steer", &model).unwrap();
    let models = Stored(Arc::clone(&model), vec![b"no vectors".into(), file(&model)]);
    let plain = compress(&model, &options()).unwrap();
    for (steering, prefix) in [(random, &b""[..]), (of_file, b"the cat")] {
        let options = options().steering(steering.clone()).prefix(prefix);
        let packed = compress(&model, &options).unwrap();
        assert!(packed != plain, "{}", steering.name());
        assert!(decompress(&packed, &models, 2).unwrap() == text(), "{}", steering.name());
        let listed = archive::list(std::io::Cursor::new(&packed)).unwrap();
        assert_eq!(listed[0].steering.as_ref(), Some(steering.name()));
    }
}

#[test]
fn missing_and_wrong_vectors_are_named() {
    let model = model();
    let says = |error: Error, kind: ErrorKind, words: &str| {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    let file = file(&model);
    let options = options().steering(NamedSteering::of_file(&file, "some", &model).unwrap());
    let packed = compress(&model, &options).unwrap();
    let models = Stored(Arc::clone(&model), Vec::new());
    let error = decompress(&packed, &models, 1).unwrap_err();
    says(error, ErrorKind::ModelMissing, "steering vectors 'some'");
    let other = open("qwen3-tied");
    let error = NamedSteering::of_file(&file, "some", &other).unwrap_err();
    says(error, ErrorKind::InvalidArgument, "are for the model");
    let gru = open("gru");
    let error = NamedSteering::random(&gru, 1, 1).unwrap_err();
    says(error, ErrorKind::InvalidArgument, "recurrent");
    for count in [0, 65] {
        let error = NamedSteering::random(&model, count, 1).unwrap_err();
        says(error, ErrorKind::InvalidArgument, "expected 1 to 64");
    }
}

/// An archive that needs no language model names no vectors.
#[test]
fn levels_without_the_model_ignore_vectors() {
    let model = model();
    let steering = NamedSteering::random(&model, 3, 7).unwrap();
    let options = Options::default().level(2);
    let packed = compress(&model, &options).unwrap();
    assert!(compress(&model, &options.steering(steering)).unwrap() == packed);
}

/// Every flipped bit of the extension is noticed.
#[test]
fn flipped_bits_are_noticed() {
    let model = model();
    let options = options().steering(NamedSteering::random(&model, 3, 7).unwrap());
    let packed = compress(&model, &options).unwrap();
    let plain = compress(&model, &self::options()).unwrap();
    let first = packed.iter().zip(&plain).position(|(a, b)| a != b).unwrap();
    for bit in 8 * first..8 * (first + 8) {
        let mut flipped = packed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = decompress(&flipped, &model, 1).unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::Truncated
            ),
            "{error}"
        );
    }
}
