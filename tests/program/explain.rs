//! `llmzip explain`: the page has the text, and the costs of the model alone.

use crate::shell::Shell;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

/// The text of a page: what stands between tags, as a browser shows it.
fn text_of(page: &str) -> String {
    let (_, rest) = page.split_once("<pre>").unwrap();
    let (body, _) = rest.split_once("</pre>").unwrap();
    let pieces = body.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
    let text: String = pieces.collect();
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// The bits that the tokens of a page cost, together.
fn bits_of(page: &str) -> f64 {
    let titles = page.split("title=\"").skip(1);
    titles.map(|title| title.split_once(" bits").unwrap().0.parse::<f64>().unwrap()).sum()
}

#[test]
fn its_page_has_the_text_and_what_evaluate_says_of_it() {
    let shell = Shell::new();
    let text = "if (a < b && c > \"d\") { return \u{20ac}5; }\nThe end of the story.\n";
    shell.write("a.txt", text.as_bytes());
    shell.run(&["explain", "a.txt"]).expect(0);
    let page = String::from_utf8(shell.read("a.txt.html")).unwrap();
    assert_eq!(text_of(&page), text);
    let evaluated = shell.run(&["models", "evaluate", "default", "--text", "a.txt", "--json"]);
    let evaluated: serde_json::Value = serde_json::from_slice(&evaluated.expect(0).stdout).unwrap();
    let bits = evaluated["evaluations"][0]["bits"].as_f64().unwrap();
    // Each is shown to a hundredth.
    assert!((bits_of(&page) - bits).abs() < 0.005 * text.len() as f64, "{bits}");
    assert!(page.contains(&format!("{:.3} bits per byte", bits / text.len() as f64)));
}

#[test]
fn it_overwrites_only_with_f_and_is_a_filter() {
    let shell = Shell::new();
    shell.write("a", b"abc \xff");
    shell.write("a.html", b"mine");
    shell.run(&["explain", "a"]).expect(1).saying("exists");
    assert_eq!(shell.read("a.html"), b"mine");
    shell.run(&["explain", "-f", "a"]).expect(0);
    let page = shell.read("a.html");
    let piped = shell.run(&["explain", "a", "-o", "-"]).expect(0);
    assert!(piped.stdout == page);
    assert!(String::from_utf8(page).unwrap().contains("\\xff"));
    let cut = shell.run(&["explain", "--bytes", "2", "a", "-o", "-"]).expect(0);
    let cut = String::from_utf8(cut.stdout).unwrap();
    assert!(cut.contains("The first 2 bytes") && text_of(&cut) == "ab", "{cut}");
    shell.run(&["explain", "."]).expect(1).saying("is a directory, expected a file");
    shell.write("empty", b"");
    shell.run(&["explain", "empty"]).expect(0);
    assert_eq!(text_of(std::str::from_utf8(&shell.read("empty.html")).unwrap()), "");
}

/// A page gets the mode of its text, and never replaces it, whatever its name.
#[test]
fn its_page_is_as_private_as_the_text_and_another_file() {
    let shell = Shell::new();
    shell.write("secret", b"abc");
    std::fs::set_permissions(shell.path("secret"), Permissions::from_mode(0o600)).unwrap();
    shell.run(&["explain", "secret"]).expect(0);
    let mode = shell.path("secret.html").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::os::unix::fs::symlink("secret", shell.path("link")).unwrap();
    for name in ["secret", "link", "./secret"] {
        shell.run(&["explain", "-f", "secret", "-o", name]).expect(2).saying("another name");
        assert_eq!(shell.read("secret"), b"abc");
    }
}
