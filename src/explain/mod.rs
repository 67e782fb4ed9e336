//! A page that shows what each token of a text costs under a language model: `llmzip explain`, and the page in `web/`.
//!
//! Beside the layers. The page is whole in itself: no script, and nothing from elsewhere.

mod numbers;

use crate::codec::Parameters;
use crate::error::Result;
use crate::models::{Model, TokenCost};

pub use numbers::{counted, grouped};

/// The page around the text.
const PAGE: &str = include_str!("page.html");

/// Classes of colours: a bit each, the last for all that cost more.
const CLASSES: usize = 17;

/// Returns the page, in HTML, of `text`, which `name` has, or more of it where it `is_cut`: coloured by the bits that `model` alone
/// gives each token, in one lane, as a chunk of the text would have it.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a model of fewer than 4 positions.
pub fn page(model: &Model, name: &str, text: &[u8], is_cut: bool) -> Result<String> {
    let table_log2 = Parameters::DEFAULT.table_log2;
    let Parameters { context, .. } = Parameters::new(model, None, table_log2, None)?;
    let costs = model.token_costs(context, text);
    let bits = costs.iter().fold(0.0, |sum, cost| sum + cost.bits);
    let mut summary = format!(
        "{}{} in {} take {} bits by the language model {} alone",
        if is_cut { "The first " } else { "" },
        counted(text.len() as u64, "byte"),
        counted(costs.len() as u64, "token"),
        grouped(bits.round() as u64),
        escaped(&model.identity().label),
    );
    if !text.is_empty() {
        summary += &format!(": {:.3} bits per byte", bits / text.len() as f64);
    }
    let of_class = |class: usize| match class + 1 {
        CLASSES => format!("<span class=\"c{class}\">{class}+</span>"),
        _ => format!("<span class=\"c{class}\">{class}</span>"),
    };
    let class = |class: usize| format!(".c{class} {{ --bits: {class} }}\n");
    Ok(filled(&[
        ("{title}", &escaped(name)),
        ("{classes}", (0..CLASSES).map(class).collect::<String>().trim_end()),
        ("{summary}", &(summary + ".")),
        ("{legend}", &(0..CLASSES).map(of_class).collect::<Vec<_>>().join(" ")),
        ("{text}", &spans(&costs)),
    ]))
}

/// Returns [`PAGE`] with each name replaced by its value, in the order of the page.
fn filled(values: &[(&str, &str)]) -> String {
    let (mut page, mut rest) = (String::new(), PAGE);
    while let Some((at, name, value)) = values
        .iter()
        .filter_map(|(name, value)| Some((rest.find(name)?, name, value)))
        .min_by_key(|(at, ..)| *at)
    {
        page += &rest[..at];
        page += value;
        rest = &rest[at + name.len()..];
    }
    page + rest
}

/// Returns the text of `costs` as spans of their colours. Tokens that make a character together have one.
fn spans(costs: &[TokenCost<'_>]) -> String {
    let (mut out, mut bytes, mut bits) = (String::new(), Vec::new(), 0.0);
    for (i, cost) in costs.iter().enumerate() {
        bytes.extend_from_slice(cost.bytes);
        bits += cost.bits;
        let is_cut = |bytes: &[u8]| {
            let last = bytes.utf8_chunks().last();
            std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_none())
                && last.is_some_and(|chunk| chunk.invalid().len() < 4)
        };
        if i + 1 < costs.len() && is_cut(&bytes) {
            continue;
        }
        let class = (bits as usize).min(CLASSES - 1);
        out += &format!("<span class=\"c{class}\" title=\"{bits:.2} bits\">");
        for chunk in bytes.utf8_chunks() {
            out += &escaped(chunk.valid());
            chunk.invalid().iter().for_each(|byte| out += &format!("\\x{byte:02x}"));
        }
        out += "</span>";
        bytes.clear();
        bits = 0.0;
    }
    out
}

/// Returns `text` for a page: markup spelled out, ends of lines marked, other control characters as pictures.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' => out += "<i></i>\n",
            '\t' => out.push('\t'),
            '\0'..='\x1f' => out.extend(char::from_u32(0x2400 + u32::from(c))),
            '\x7f' => out.push('\u{2421}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(bytes: &[u8], bits: f64) -> TokenCost<'_> {
        TokenCost { bytes, bits }
    }

    #[test]
    fn markup_in_a_text_is_text() {
        let costs = [cost(b"<b>&\"", 0.0), cost(b"\r\n\0", 99.5)];
        let expected = "<span class=\"c0\" title=\"0.00 bits\">&lt;b&gt;&amp;&quot;</span>\
                        <span class=\"c16\" title=\"99.50 bits\">\u{240d}<i></i>\n\u{2400}</span>";
        assert_eq!(spans(&costs), expected);
    }

    #[test]
    fn tokens_that_make_a_character_stand_together() {
        let costs =
            [cost(b"a\xe2", 1.5), cost(b"\x82", 2.0), cost(b"\xac", 3.25), cost(b"\xff", 1.0)];
        let expected = "<span class=\"c6\" title=\"6.75 bits\">a\u{20ac}</span>\
                        <span class=\"c1\" title=\"1.00 bits\">\\xff</span>";
        assert_eq!(spans(&costs), expected);
        assert!(spans(&[cost(b"\xe2", 1.0)]).contains("\\xe2"));
    }

    #[test]
    fn a_page_is_filled_in_once() {
        let page = filled(&[("{title}", "{text}"), ("{text}", "{title}")]);
        assert_eq!(page.matches("{text}").count(), PAGE.matches("{title}").count());
        assert!(page.contains("<pre>{title}</pre>"));
    }
}
