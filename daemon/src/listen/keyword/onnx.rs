//! Files in ONNX format for tests: a model with a given window that never hears a word.

use super::features::EMBEDDING;

/// A model with a window of `window` embeddings, or an open one, and with `outputs` scores, all 0.
pub(super) fn classifier(window: Option<usize>, outputs: usize) -> Vec<u8> {
    let inputs = window.unwrap_or(16) * EMBEDDING;
    let flatten = [
        text(1, "features"),
        text(2, "flat"),
        text(4, "Flatten"),
        field(5, &[text(1, "axis"), number(3, 1), number(20, 2)].concat()),
    ];
    let multiply = [
        text(1, "flat"),
        text(1, "weights"),
        text(2, "scores"),
        text(4, "MatMul"),
    ];
    let weights = [
        number(1, inputs),
        number(1, outputs),
        number(2, 1),
        text(8, "weights"),
        field(9, &vec![0; inputs * outputs * 4]),
    ];
    let shape = [Some(1), window, Some(EMBEDDING)];
    let graph = [
        field(1, &flatten.concat()),
        field(1, &multiply.concat()),
        text(2, "word"),
        field(5, &weights.concat()),
        field(11, &value("features", &shape)),
        field(12, &value("scores", &[Some(1), Some(outputs)])),
    ];
    let opset = [text(1, ""), number(2, 13)].concat();
    [number(1, 8), field(8, &opset), field(7, &graph.concat())].concat()
}

/// An input or output of floats.
fn value(name: &str, shape: &[Option<usize>]) -> Vec<u8> {
    let dimension = |size: &Option<usize>| match size {
        Some(size) => field(1, &number(1, *size)),
        None => field(1, &text(2, "N")),
    };
    let shape: Vec<u8> = shape.iter().flat_map(dimension).collect();
    let tensor = [number(1, 1), field(2, &shape)].concat();
    [text(1, name), field(2, &field(1, &tensor))].concat()
}

fn text(number: u8, text: &str) -> Vec<u8> {
    field(number, text.as_bytes())
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [
        varint(usize::from(number) << 3 | 2),
        varint(bytes.len()),
        bytes.to_vec(),
    ]
    .concat()
}

fn number(number: u8, value: usize) -> Vec<u8> {
    [varint(usize::from(number) << 3), varint(value)].concat()
}

/// A number in protobuf's encoding: seven bits in each byte.
fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}
